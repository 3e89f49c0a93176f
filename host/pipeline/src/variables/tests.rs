//! Templates and the precedence of values.

use expect_test::{Expect, expect};

use super::*;

fn check(template: &str, expected: Expect) {
    let resolved = resolve(template, |reference| match reference.text {
        "source.CommitId" => Some("c0ffee"),
        "source.BranchName" => Some("#{variables.Stage}"),
        "variables.Stage" => Some("prod"),
        _ => None,
    });
    expected.assert_eq(&resolved.unwrap_or_else(|error| format!("error: {error}")));
}

#[test]
fn templates_resolve() {
    check("", expect![""]);
    check("plain # { text }", expect!["plain # { text }"]);
    check("#{source.CommitId}", expect!["c0ffee"]);
    check("a-#{variables.Stage}-#{source.CommitId}!", expect!["a-prod-c0ffee!"]);
    // a value is never resolved again
    check("#{source.BranchName}", expect!["#{variables.Stage}"]);
}

#[test]
fn bad_templates_name_the_place_and_the_mend() {
    check(
        "ab#{source",
        expect!["error: `#{` at byte 2 has no closing `}`: close the reference, as in `#{namespace.key}`"],
    );
    check(
        "#{variables.Stage}#{x",
        expect!["error: `#{` at byte 18 has no closing `}`: close the reference, as in `#{namespace.key}`"],
    );
    for malformed in ["#{}", "#{source}", "#{.key}", "#{source.}", "#{a b.key}", "#{a.b c}", "#{#{a.b}}"] {
        let inner = &malformed[2..malformed.find('}').unwrap()];
        assert_eq!(parse(malformed), Err(TemplateError::Malformed { text: inner.to_owned() }));
    }
    check(
        "#{nobody.knows}",
        expect![
            "error: nothing gives `#{nobody.knows}` a value: check the namespace, the key, and that the action that makes it has run"
        ],
    );
}

/// Whatever a value has in it, the JSON around it stays what it was.
#[test]
fn a_value_in_json_stays_one_value() {
    let check = |template: &str, value: &str, expected: Result<&str, &str>| {
        let resolved = resolve_setting(template, |_| Some(value)).map_err(|error| error.to_string());
        match (&resolved, expected) {
            (Ok(resolved), Ok(expected)) => assert_eq!(resolved, expected, "{template}"),
            (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{template}: {error}"),
            _ => panic!("{template} with {value}: {resolved:?}"),
        }
    };
    let hostile = "a\",\"docs\n";
    check(r##"["site", "#{a.b}"]"##, hostile, Ok(r##"["site", "a\",\"docs\n"]"##));
    check(r##" {"k-#{a.b}": {"v": "#{a.b}#{a.b}"}}"##, "\\", Ok(r##" {"k-\\": {"v": "\\\\"}}"##));
    check(r##"["\"#{a.b}"]"##, "é", Ok(r##"["\"é"]"##));
    check("[#{a.b}]", "7", Ok("[7]"));
    check("[1, #{a.b}]", r##"{"c": []}"##, Ok(r##"[1, {"c": []}]"##));
    for value in ["1, 2", hostile, "", "docs"] {
        check("[#{a.b}]", value, Err("`#{a.b}` stands for a whole JSON value here"));
    }
    // What is not JSON, or is all of it, is taken as it is.
    for template in ["#{a.b}", "[#{a.b}](https://example.com)", "{#{a.b}", "say \"#{a.b}\"", "\"#{a.b}\""] {
        check(template, hostile, Ok(&template.replace("#{a.b}", hostile)));
    }
    check("[\"#{a.b}\"]", &"\"".repeat(RESOLVED_BYTES_MAX / 2), Err("the resolved value is larger than"));
}

#[test]
fn a_resolved_value_is_bounded() {
    let value = "x".repeat(RESOLVED_BYTES_MAX / 2);
    let resolve = |template| resolve(template, |_| Some(value.as_str())).map(|text| text.len());
    assert_eq!(resolve("#{a.b}#{a.b}"), Ok(RESOLVED_BYTES_MAX));
    assert_eq!(resolve("#{a.b}#{a.b}."), Err(TemplateError::TooLarge));
}

#[test]
fn pipeline_variables_take_the_override_before_the_default() {
    let declaration: PipelineDeclaration = serde_json::from_value(serde_json::json!({
        "name": "p", "roleArn": "r", "stages": [],
        "variables": [{"name": "Stage", "defaultValue": "test"}, {"name": "Zone"}, {"name": "Area"}],
    }))
    .unwrap();
    let check = |overrides: &[(&str, &str)], expected: Expect| {
        let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        expected.assert_eq(&match pipeline_variables(&declaration, &overrides) {
            Ok(values) => format!("{values:?}"),
            Err(error) => error.to_string(),
        });
    };
    check(&[], expect!["Values for required variables haven't been provided: Zone,Area"]);
    check(&[("Zone", "z")], expect!["Values for required variables haven't been provided: Area"]);
    check(
        &[("Zone", "z"), ("Area", "a"), ("Unknown", "u")],
        expect![[r#"{"Area": "a", "Stage": "test", "Zone": "z"}"#]],
    );
    check(
        &[("Zone", "z"), ("Area", "a"), ("Stage", "prod")],
        expect![[r#"{"Area": "a", "Stage": "prod", "Zone": "z"}"#]],
    );
    check(
        &[("Zone", "z"), ("Zone", "y")],
        expect!["Variable names must be unique. The following variable name is already in use: Zone"],
    );
}

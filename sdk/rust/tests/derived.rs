//! What the derives and `plugin!` make: a description, and settings read by the same code.

use expect_test::{Expect, expect};
use pipewright_sdk::NamedValue;
use pipewright_sdk::prelude::*;

#[derive(Debug, Settings)]
#[allow(dead_code, reason = "shown by Debug")]
struct Everything {
    /// What is greeted,
    /// and how.
    greeting: String,
    #[setting(default = "3")]
    how_often: u8,
    loudly: Option<bool>,
    #[setting(default = "0.5")]
    volume: f64,
    #[setting(default = "[]")]
    names: Vec<String>,
    #[setting(default = "Formal")]
    manner: Manner,
    #[setting(secret, name = "APIToken")]
    token: Option<u32>,
}

#[derive(Choice, Debug)]
enum Manner {
    Formal,
    Casual,
}

#[test]
fn settings_are_described() {
    let described: String = Everything::describe()
        .into_iter()
        .map(|setting| {
            let required = if setting.required { " required" } else { "" };
            let secret = if setting.secret { " secret" } else { "" };
            let choices = if setting.choices.is_empty() { String::new() } else { format!(" {:?}", setting.choices) };
            let default = setting.default.map(|default| format!(" = {default}")).unwrap_or_default();
            format!(
                "{} {:?}{required}{secret}{default}{choices} {:?}\n",
                setting.name, setting.kind, setting.documentation
            )
        })
        .collect();
    expect![[r#"
        Greeting SettingKind::Text required "What is greeted,\nand how."
        HowOften SettingKind::Number = 3 ""
        Loudly SettingKind::Boolean ""
        Volume SettingKind::Number = 0.5 ""
        Names SettingKind::List = [] ""
        Manner SettingKind::Text = Formal ["Formal", "Casual"] ""
        APIToken SettingKind::Number secret ""
    "#]]
    .assert_eq(&described);
}

fn check(values: &[(&str, &str)], expected: Expect) {
    let values: Vec<NamedValue> =
        values.iter().map(|(name, value)| NamedValue { name: (*name).into(), value: (*value).into() }).collect();
    expected.assert_eq(&match Everything::read(&values) {
        Ok(settings) => format!("{settings:?}"),
        Err(failure) => format!("{:?}: {}", failure.kind, failure.message),
    });
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    check(
        &[("HowOften", "256"), ("Loudly", "true"), ("Manner", "rude"), ("APIToken", "t0p-secret")],
        expect![[r#"
            FailureKind::ConfigurationError: setting `Greeting` is missing; add it to the action's configuration
            setting `HowOften` must be a whole number from 0 to 255, and is `256`; correct it in the action's configuration
            setting `Manner` must be one of `Formal`, `Casual`, and is `rude`; correct it in the action's configuration
            setting `APIToken` must be a whole number from 0 to 4294967295, and is another value; correct it in the action's configuration"#]],
    );
}

#[test]
fn settings_are_read() {
    let greeting = ("Greeting", "hello");
    check(
        &[greeting],
        expect![[
            r#"Everything { greeting: "hello", how_often: 3, loudly: None, volume: 0.5, names: [], manner: Formal, token: None }"#
        ]],
    );
    check(
        &[
            greeting,
            ("HowOften", "255"),
            ("Loudly", "true"),
            ("Names", r#"["a", "b"]"#),
            ("Manner", "Casual"),
            ("APIToken", "7"),
        ],
        expect![[
            r#"Everything { greeting: "hello", how_often: 255, loudly: Some(true), volume: 0.5, names: ["a", "b"], manner: Casual, token: Some(7) }"#
        ]],
    );
    check(
        &[],
        expect!["FailureKind::ConfigurationError: setting `Greeting` is missing; add it to the action's configuration"],
    );
    check(
        &[greeting, ("HowOften", "256")],
        expect![
            "FailureKind::ConfigurationError: setting `HowOften` must be a whole number from 0 to 255, and is `256`; correct it in the action's configuration"
        ],
    );
    check(
        &[greeting, ("Loudly", "yes")],
        expect![
            "FailureKind::ConfigurationError: setting `Loudly` must be `true` or `false`, and is `yes`; correct it in the action's configuration"
        ],
    );
    check(
        &[greeting, ("Volume", "NaN")],
        expect![
            "FailureKind::ConfigurationError: setting `Volume` must be a number, and is `NaN`; correct it in the action's configuration"
        ],
    );
    check(
        &[greeting, ("Names", "a, b")],
        expect![
            "FailureKind::ConfigurationError: setting `Names` must be a JSON array of strings, like `[\"a\", \"b\"]`, and is `a, b`; correct it in the action's configuration"
        ],
    );
    check(
        &[greeting, ("Manner", "rude")],
        expect![
            "FailureKind::ConfigurationError: setting `Manner` must be one of `Formal`, `Casual`, and is `rude`; correct it in the action's configuration"
        ],
    );
    check(
        &[greeting, ("APIToken", "t0p-secret")],
        expect![
            "FailureKind::ConfigurationError: setting `APIToken` must be a whole number from 0 to 4294967295, and is another value; correct it in the action's configuration"
        ],
    );
}

#[derive(Variables)]
struct Counted {
    /// How many.
    number_of_files: usize,
    commit_id: Option<String>,
    #[variable(name = "ETag")]
    tag: String,
}

#[test]
fn variables() {
    let names: Vec<String> = Counted::describe().into_iter().map(|variable| variable.name).collect();
    assert_eq!(names, ["NumberOfFiles", "CommitId", "ETag"]);
    let values = Counted { number_of_files: 2, commit_id: None, tag: "x".into() }.values();
    let values: Vec<_> = values.iter().map(|value| (value.name.as_str(), value.value.as_str())).collect();
    assert_eq!(values, [("NumberOfFiles", "2"), ("ETag", "x")]);
}

/// One plugin with every category, with functions that are called as those that `plugin!` uses: that it compiles is the test.
mod every_category {
    use pipewright_sdk::prelude::*;

    #[action(provider = "Any", outputs = 1, latest = newest)]
    fn fetch(_: &Action, (): ()) -> Result<Fetched> {
        Ok(Fetched { revision: None, report: Report::new("fetched") })
    }

    fn newest(_: &Action, (): ()) -> Result<Option<Revision>> {
        Ok(None)
    }

    #[action(provider = "Any", version = "2", inputs = 0..=5, outputs = 0..=5)]
    fn run(_: &Action, (): ()) -> Result<Report> {
        Ok(Report::new("built").link("log", "https://example.com").external_id("7"))
    }

    #[action(provider = "Any", inputs = 1)]
    fn serves(_: &Action, (): ()) -> Result<Step<Report>> {
        Ok(Step::Waiting(Wait::until_time(1).continuation(&"x")?))
    }

    #[action(provider = "Any", inputs = 1)]
    fn check(_: &Action, (): ()) -> Result<Tested> {
        Ok(Tested { report: Report::new("tested"), cases: vec![TestCase::skipped("a", "no time").at("a.rs", None)] })
    }

    #[action(provider = "Any", inputs = 1)]
    fn export(_: &Action, (): ()) -> Result<Deployed> {
        Ok(Deployed { report: Report::new("deployed"), targets: Vec::new() })
    }

    #[action(owner = "ThirdParty", provider = "Any")]
    fn describe(_: &Action, (): ()) -> Result<Decision> {
        Ok(Decision::approved(None))
    }

    #[action(provider = "Any")]
    fn category(_: &Action, (): ()) -> Result<Report<Vec<(String, String)>>> {
        Ok(Report::new("invoked").variables(vec![("A".to_owned(), "b".to_owned())]))
    }

    /// Its name is that of a function that `asks` uses.
    #[action(provider = "Ask")]
    fn ask(_: &Action, (): ()) -> Result<Report> {
        Ok(Report::new("asked"))
    }

    #[action(owner = "AWS", provider = "AnyRule")]
    fn not_offered(_: &Action, (): ()) -> Result<Verdict> {
        Ok(Verdict::failed("never"))
    }

    plugin! {
        name: "example/every-category",
        asks: [
            ask(Capability::Http("example.com".into()), "to fetch"),
            ask(Capability::Clock, "to wait"),
        ],
        may_run_again: false,
        source: [fetch],
        build: [run, serves],
        test: [check],
        deploy: [export],
        approval: [describe],
        invoke: [category, ask],
        rule: [not_offered],
    }
}

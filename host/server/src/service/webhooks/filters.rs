//! Filters of webhooks: what a JSONPath (RFC 9535, without `match` and `search`) selects of a delivery, and what that must be (S232).
//!
//! Owns the comparison, and what keeps it within bounds. Must not know where a delivery is from.

use std::collections::BTreeMap;

use pipewright_pipeline::webhooks::WebhookFilterRule;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::super::placeholders;

/// What makes a query longer than one walk over its document, and how often a path may have it. Two of the first group, or a second
/// `$`, would walk over the whole document again for each of its values; a list may select the same value for each of its selectors,
/// and each list behind it again.
const AT_MOST: &[(&[&str], usize)] = &[(&["..", "?"], 1), (&["$"], 1), (&[","], 3)];

/// Values in a document, beyond which no filter fits it. The largest deliveries of git hosts have some thousand; one walk over so
/// many takes a tenth of a second.
const VALUES_MAX: usize = 50_000;

/// What a value is compared with.
const WANTED_CHARACTERS_MAX: usize = 64 * 1024;

/// The path of a filter, or why it is none.
fn path(text: &str) -> Result<JsonPath, String> {
    for (parts, max) in AT_MOST {
        if parts.iter().map(|part| text.matches(part).count()).sum::<usize>() > *max {
            let parts = parts.join("` or `");
            return Err(format!("the JsonPath {text:?} has `{parts}` more than {max} times, which is not supported"));
        }
    }
    JsonPath::parse(text).map_err(|error| format!("the JsonPath {text:?} cannot be read: {error}"))
}

/// Why one of the filters is none.
pub fn check(filters: &[WebhookFilterRule]) -> Result<(), String> {
    filters.iter().try_for_each(|filter| path(&filter.json_path).map(drop))
}

/// Whether all fit. `configuration` is that of the action whose values stand for `{Key}` in what is to be equal.
pub fn fit(filters: &[WebhookFilterRule], configuration: &BTreeMap<String, String>, body: &Value) -> bool {
    let mut left = VALUES_MAX;
    filters.is_empty()
        || has_at_most(&mut left, body)
            && filters.iter().all(|filter| {
                // One that cannot be read was refused when it was put.
                let Ok(path) = path(&filter.json_path) else { return false };
                let mut found = path.query(body).into_iter();
                match &filter.match_equals {
                    None => found.next().is_some(),
                    Some(wanted) => {
                        let value = |key: &str| configuration.get(key).map(String::as_str);
                        let Some(wanted) = placeholders::filled(wanted, WANTED_CHARACTERS_MAX, value) else {
                            return false;
                        };
                        found.any(|value| text(value) == wanted)
                    }
                }
            })
}

fn has_at_most(left: &mut usize, value: &Value) -> bool {
    let Some(less) = left.checked_sub(1) else { return false };
    *left = less;
    match value {
        Value::Array(values) => values.iter().all(|value| has_at_most(left, value)),
        Value::Object(members) => members.values().all(|value| has_at_most(left, value)),
        _ => true,
    }
}

/// As it is compared: a string without its quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(path: &str, equals: Option<&str>) -> WebhookFilterRule {
        WebhookFilterRule { json_path: path.to_owned(), match_equals: equals.map(str::to_owned) }
    }

    #[test]
    fn all_filters_fit_or_nothing_does() {
        let body = json!({
            "ref": "refs/heads/main", "action": null, "number": 7, "deleted": false,
            "commits": [{ "id": "a", "files": ["x", "y"] }, { "id": "b", "files": [] }],
        });
        let configuration: BTreeMap<String, String> =
            [("Branch", "main"), ("Odd", "{Branch}")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let check = |rules: &[(&str, Option<&str>)], expected: bool| {
            let rules: Vec<_> = rules.iter().map(|(path, equals)| rule(path, *equals)).collect();
            self::check(&rules).unwrap();
            assert_eq!(fit(&rules, &configuration, &body), expected, "{rules:?}");
        };
        check(&[], true);
        check(&[("$.ref", Some("refs/heads/{Branch}"))], true);
        check(&[("$.ref", Some("refs/heads/main"))], true);
        check(&[("$.ref", Some("refs/heads/{Branch"))], false);
        check(&[("$.ref", Some("refs/heads/{No}"))], false);
        check(&[("$.ref", Some("refs/heads/{Odd}"))], false);
        check(
            &[("$.ref", None), ("$.number", Some("7")), ("$.deleted", Some("false")), ("$.action", Some("null"))],
            true,
        );
        check(&[("$.ref", None), ("$.number", Some("8"))], false);
        check(&[("$.action", None)], true);
        check(&[("$.missing", None)], false);
        check(&[("$.commits[*].id", Some("b"))], true);
        check(&[("$..files[1]", Some("y"))], true);
        check(&[("$.commits[?@.id == 'a']", None)], true);
        check(&[("$.commits[?@.id == 'c']", None)], false);
    }

    #[test]
    fn what_is_no_path_or_would_take_too_long_is_refused() {
        let lists = "$[0,0][0,0][0,0][0,0]";
        for wrong in
            ["ref", "$.", "$[", "$..a..b", "$[?@.a[?@.b]]", "$..[?@.a]", "$[?$.a]", "$[?match(@.a, 'b')]", lists, ""]
        {
            assert!(check(&[rule(wrong, None)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_document_of_too_many_values_fits_nothing() {
        let fits = |values: usize| {
            let body = json!({ "a": vec![0; values], "ref": "x" });
            fit(&[rule("$.ref", Some("x"))], &BTreeMap::new(), &body)
        };
        assert!(fits(VALUES_MAX - 3));
        assert!(!fits(VALUES_MAX - 2));
    }
}

//! Filters of webhooks: what a JSONPath (RFC 9535, without `match` and `search`) selects of a delivery, and what that must be (S232).
//!
//! Owns the comparison, and what keeps it within bounds. Must not know where a delivery is from.

use std::collections::BTreeMap;

use pipewright_pipeline::webhooks::WebhookFilterRule;
use serde_json::Value;
use serde_json_path::JsonPath;

/// Each of them makes a query take as long as its document is large; two of them as long as the square of that.
const ONCE: &[(&str, &str)] = &[("..", "`..`"), ("?", "a `?`"), ("$", "a `$`")];

/// The path of a filter, or why it is none.
fn path(text: &str) -> Result<JsonPath, String> {
    if let Some((_, what)) = ONCE.iter().find(|(part, _)| text.matches(part).count() > 1) {
        return Err(format!("the JsonPath {text:?} has {what} more than once, which is not supported"));
    }
    JsonPath::parse(text).map_err(|error| format!("the JsonPath {text:?} cannot be read: {error}"))
}

/// Why one of the filters is none.
pub fn check(filters: &[WebhookFilterRule]) -> Result<(), String> {
    filters.iter().try_for_each(|filter| path(&filter.json_path).map(drop))
}

/// Whether all fit. `configuration` is that of the action whose values stand for `{Key}` in what is to be equal.
pub fn fit(filters: &[WebhookFilterRule], configuration: &BTreeMap<String, String>, body: &Value) -> bool {
    filters.iter().all(|filter| {
        // One that cannot be read was refused when it was put.
        let Ok(path) = path(&filter.json_path) else { return false };
        let mut found = path.query(body).into_iter();
        match &filter.match_equals {
            None => found.next().is_some(),
            Some(wanted) => {
                let wanted = filled_in(wanted, configuration);
                found.any(|value| text(value) == wanted)
            }
        }
    })
}

/// As it is compared: a string without its quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What has no value in the configuration stays as it stands.
fn filled_in(pattern: &str, configuration: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after.split_once('}').and_then(|(key, after)| Some((configuration.get(key)?, after))) {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
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
        for wrong in ["ref", "$.", "$[", "$..a..b", "$[?@.a[?@.b]]", "$[?$.a]", "$[?match(@.a, 'b')]", ""] {
            assert!(check(&[rule(wrong, None)]).is_err(), "{wrong}");
        }
    }
}

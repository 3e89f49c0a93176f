//! Owns the small languages inside single values: secrets' references, `on-failure`, `$VARIABLE`, and where a buildspec is
//! to be found. Knows nothing of YAML.

use std::collections::BTreeMap;

use crate::model::{OnFailure, Pattern, Retry, SecretReference};

/// What `RETRY` alone means.
const RETRY_TIMES: u32 = 3;
const RETRY_TIMES_MAX: u32 = 100;
/// An ARN of a secret has six colons: `arn:partition:secretsmanager:region:account:secret:name`.
const ARN_PARTS: usize = 7;

/// Whether a shell can spell a variable of this name, and so hands it on.
pub fn is_shell_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(crate) fn secret_reference(text: &str) -> Result<SecretReference, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let id_parts = if text.starts_with("arn:") { ARN_PARTS } else { 1 };
    if parts.len() < id_parts || parts[..id_parts].iter().any(|part| part.is_empty()) {
        return Err(format!("`{text}` names no secret"));
    }
    if parts.len() > id_parts + 3 {
        return Err(format!("`{text}` has more than four parts"));
    }
    let optional =
        |number: usize| parts.get(id_parts + number).filter(|part| !part.is_empty()).map(|it| (*it).to_owned());
    let (version_stage, version_id) = (optional(1), optional(2));
    if version_stage.is_some() && version_id.is_some() {
        return Err(format!("`{text}` gives a stage and an id of the version"));
    }
    Ok(SecretReference { secret_id: parts[..id_parts].join(":"), json_key: optional(0), version_stage, version_id })
}

/// After `RETRY-`, digits up to a `-` or the end are how often; the rest is the pattern.
pub(crate) fn on_failure(text: &str) -> Result<OnFailure, String> {
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "ABORT" => return Ok(OnFailure::Abort),
        "CONTINUE" => return Ok(OnFailure::Continue),
        "RETRY" => return Ok(OnFailure::Retry(Retry { times_max: RETRY_TIMES, pattern: None })),
        _ => {}
    }
    let rest = if upper.starts_with("RETRY-") { &text["RETRY-".len()..] } else { "" };
    if rest.is_empty() {
        return Err(format!("`{text}` says nothing of a failure"));
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, pattern) = match rest.split_at(digits) {
        ("", pattern) => (None, Some(pattern)),
        (count, "") => (Some(count), None),
        (count, after) if after.starts_with('-') => (Some(count), Some(&after[1..])),
        _ => (None, Some(rest)),
    };
    let times_max = match count {
        None => RETRY_TIMES,
        Some(count) => count
            .parse()
            .ok()
            .filter(|count| *count <= RETRY_TIMES_MAX)
            .ok_or_else(|| format!("`{count}` is more often than {RETRY_TIMES_MAX} times"))?,
    };
    let compiled = |pattern: &str| match regex_lite::Regex::new(pattern) {
        Ok(regex) => Ok(Pattern(regex)),
        Err(error) => Err(format!("`{pattern}` is no regular expression ({error})")),
    };
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(compiled).transpose()?;
    Ok(OnFailure::Retry(Retry { times_max, pattern }))
}

/// `$NAME` and `${NAME}` replaced; a variable that is not set is empty, and any other `$` stays.
pub fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result += &rest[..at];
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = braced.unwrap_or((&rest[..end], &rest[end..]));
        if is_shell_name(name) {
            result += variables.get(name).map_or("", String::as_str);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

/// Where the text of a buildspec is, by what a project or a start says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// From the source directory.
    File(String),
    /// What was said is the buildspec.
    Inline,
    /// An object's ARN.
    Object(String),
}

impl Place {
    pub const DEFAULT_FILE: &str = "buildspec.yml";

    /// A mapping with a `version`, in YAML or JSON, is the buildspec itself; all else is a path, which stays below the source
    /// directory.
    pub fn of(said: &str) -> Result<Self, String> {
        let text = said.trim();
        if text.is_empty() {
            return Ok(Self::File(Self::DEFAULT_FILE.to_owned()));
        }
        if text.starts_with("arn:") && !text.contains('\n') {
            return Ok(Self::Object(text.to_owned()));
        }
        let is_mapping = |text: &str| text.starts_with('{') || text.contains("version:");
        if text.contains('\n') || is_mapping(text) {
            return Ok(Self::Inline);
        }
        if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            return Err(format!("the buildspec `{text}` is outside the source: write its path from the source's root"));
        }
        Ok(Self::File(text.trim_start_matches("./").to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_references() {
        let check = |text: &str, expected: Result<[&str; 4], &str>| {
            let parts = secret_reference(text).map(|it| {
                let or_empty = |part: Option<String>| part.unwrap_or_default();
                [it.secret_id, or_empty(it.json_key), or_empty(it.version_stage), or_empty(it.version_id)]
            });
            match (parts, expected) {
                (Ok(parts), Ok(expected)) => assert_eq!(parts, expected, "{text}"),
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{text}: {message}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf";
        check("db", Ok(["db", "", "", ""]));
        check("db:password", Ok(["db", "password", "", ""]));
        check("db:password:AWSPREVIOUS", Ok(["db", "password", "AWSPREVIOUS", ""]));
        check("db:password::id-1", Ok(["db", "password", "", "id-1"]));
        check("db:::", Ok(["db", "", "", ""]));
        check(arn, Ok([arn, "", "", ""]));
        check(&format!("{arn}:password"), Ok([arn, "password", "", ""]));
        check(&format!("{arn}:password::id"), Ok([arn, "password", "", "id"]));
        check("arn:aws:secretsmanager:eu-west-1", Err("names no secret"));
        check(":password", Err("names no secret"));
        check("db:password:stage:id", Err("a stage and an id"));
        check("db:a:b:c:d", Err("more than four parts"));
    }

    #[test]
    fn failures() {
        let check = |text: &str, expected: Result<(u32, Option<&str>), &str>| match (on_failure(text), expected) {
            (Ok(OnFailure::Retry(retry)), Ok((times, pattern))) => {
                assert_eq!(
                    (retry.times_max, retry.pattern.as_ref().map(|it| it.0.as_str())),
                    (times, pattern),
                    "{text}"
                );
            }
            (Err(message), Err(expected)) => assert!(message.contains(expected), "{text}: {message}"),
            (other, _) => panic!("{text}: {other:?}"),
        };
        assert_eq!(on_failure("Abort"), Ok(OnFailure::Abort));
        assert_eq!(on_failure("continue"), Ok(OnFailure::Continue));
        check("RETRY", Ok((3, None)));
        check("Retry-5", Ok((5, None)));
        check("RETRY-0", Ok((0, None)));
        check("RETRY-100", Ok((100, None)));
        check("RETRY-101", Err("more often"));
        check("RETRY-99999999999", Err("more often"));
        check("Retry-.*timed out.*", Ok((3, Some(".*timed out.*"))));
        check("RETRY-2-exit status 7", Ok((2, Some("exit status 7"))));
        check("RETRY-2x", Ok((3, Some("2x"))));
        check("RETRY-2-", Ok((2, None)));
        check("RETRY-", Err("says nothing"));
        check("IGNORE", Err("says nothing"));
        check("RETRY-(", Err("no regular expression"));
    }

    #[test]
    fn expansion() {
        let variables = BTreeMap::from([("A".to_owned(), "x".to_owned()), ("A_B".to_owned(), "y z".to_owned())]);
        let check = |text: &str, expected: &str| assert_eq!(expanded(text, &variables), expected, "{text}");
        check("$A/b", "x/b");
        check("${A}b/$A_B", "xb/y z");
        check("$NONE.", ".");
        check("a$", "a$");
        check("$1 $(date) ${A", "$1 $(date) ${A");
        check("$$A", "$x");
        check("é$A", "éx");
    }

    #[test]
    fn places() {
        let check = |said: &str, expected: Place| assert_eq!(Place::of(said).unwrap(), expected, "{said}");
        check("", Place::File("buildspec.yml".to_owned()));
        check("ci/release.yml", Place::File("ci/release.yml".to_owned()));
        check("./ci.yml", Place::File("ci.yml".to_owned()));
        check("arn:aws:s3:::bucket/buildspec.yml", Place::Object("arn:aws:s3:::bucket/buildspec.yml".to_owned()));
        check("version: 0.2\nphases: {}", Place::Inline);
        check(r#"{"version": "0.2", "phases": {}}"#, Place::Inline);
        assert!(Place::of("../other.yml").is_err());
        assert!(Place::of("/etc/passwd").is_err());
    }
}

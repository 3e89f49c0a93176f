//! Rule `AWS/VariableCheck/1`: compares a variable, as it is resolved when the condition is judged, with a value.
//!
//! MATCHES is about the whole value, as Java's is. Of Java's patterns it knows what needs no going back: no look-around, and
//! no references to groups.

use pipewright_sdk::prelude::*;
use regex_lite::RegexBuilder;

/// Stops a pattern that takes the memory when it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Settings)]
struct Check {
    /// What is compared, such as `#{SourceVariables.BranchName}`.
    variable: String,
    /// `EQ`: is the value; `NE`: is not; `CONTAINS`: has it within; `MATCHES`: is matched by it as a pattern, from end to end.
    operator: Operator,
    /// With what it is compared.
    value: String,
}

#[derive(Choice, Clone, Copy, Debug, PartialEq)]
#[allow(clippy::upper_case_acronyms, reason = "the words of a declaration")]
enum Operator {
    EQ,
    NE,
    CONTAINS,
    MATCHES,
}

/// Passes where a variable compares with a value as it should.
#[action(owner = "AWS", provider = "VariableCheck")]
fn variable_check(_: &Action, check: Check) -> Result<Verdict> {
    let Check { variable, operator, value } = check;
    let (passed, words) = match operator {
        Operator::EQ => (variable == value, "is not"),
        Operator::NE => (variable != value, "is"),
        Operator::CONTAINS => (variable.contains(&value), "does not contain"),
        Operator::MATCHES => (matches(&variable, &value)?, "does not match"),
    };
    Ok(match passed {
        true => Verdict::passed(),
        false => Verdict::failed(format!("`{variable}` {words} `{value}`")),
    })
}

fn matches(variable: &str, pattern: &str) -> Result<bool> {
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build();
    let whole = whole.map_err(|error| {
        Failure::configuration(format!("`Value`: `{pattern}` is no pattern that is understood here: {error}"))
    })?;
    Ok(whole.is_match(variable))
}

plugin! {
    /// Compares variables.
    name: "pipewright/rule-variable-check",
    rule: [variable_check],
}

#[cfg(test)]
mod tests {
    use pipewright_sdk::testing::Host;

    use super::*;

    #[test]
    fn each_operator_compares_in_its_way() {
        let check = |variable: &str, operator, value: &str, reason: Option<&str>| {
            let given = Check { variable: variable.to_owned(), operator, value: value.to_owned() };
            let verdict = variable_check(&Host::new().action(), given).unwrap();
            assert_eq!(
                (verdict.passed, verdict.reason.as_deref()),
                (reason.is_none(), reason),
                "{variable} {operator:?} {value}"
            );
        };
        check("main", Operator::EQ, "main", None);
        check("Main", Operator::EQ, "main", Some("`Main` is not `main`"));
        check("main", Operator::NE, "test", None);
        check("main", Operator::NE, "main", Some("`main` is `main`"));
        check("release/7", Operator::CONTAINS, "lease/", None);
        check("main", Operator::CONTAINS, "release", Some("`main` does not contain `release`"));
        check("", Operator::CONTAINS, "", None);
        check("v1.20", Operator::MATCHES, r"v\d+\.\d+", None);
        check("v1.20-beta", Operator::MATCHES, r"v\d+\.\d+", Some(r"`v1.20-beta` does not match `v\d+\.\d+`"));
        check("b", Operator::MATCHES, "a|b", None);
        check("ab", Operator::MATCHES, "a|b", Some("`ab` does not match `a|b`"));
        check("one\ntwo", Operator::MATCHES, "one", Some("`one\ntwo` does not match `one`"));
    }

    #[test]
    fn what_is_no_pattern_is_a_mistake_of_the_declaration() {
        for pattern in ["(", "(?<=a)b", &"a{999}".repeat(99)] {
            let failure = matches("a", pattern).unwrap_err();
            assert!(failure.message.starts_with("`Value`: "), "{failure:?}");
        }
    }
}

//! The cases of a report as an action tells them: shared by the plugins that read reports. Must not know where a report is
//! from, or how many failed cases are too many.

use pipewright_reports::{Case, Counts, Status, Tests};
use pipewright_sdk::TestCase;

/// Against traces that are longer than anybody reads: CodeBuild shows as much of a message.
const MESSAGE_CHARS_MAX: usize = 5_000;

/// The cases of reports. `excuse` says why a failed one fails no action: it is told as skipped then, with its message.
pub fn cases(tests: &Tests, excuse: Option<&str>) -> Vec<TestCase> {
    tests.cases.iter().map(|case| told(case, excuse)).collect()
}

fn told(case: &Case, excuse: Option<&str>) -> TestCase {
    let name = [&case.suite, &case.prefix, &case.name].map(String::as_str);
    let name: Vec<&str> = name.into_iter().filter(|part| !part.is_empty()).collect();
    let (name, message) = (name.join(" "), case.message.chars().take(MESSAGE_CHARS_MAX).collect::<String>());
    let word = if case.status == Status::Failed { "failed" } else { "error" };
    let told = match (case.status, excuse) {
        (Status::Succeeded, _) => TestCase::passed(name),
        (Status::Failed | Status::Error, None) => {
            let message = if message.is_empty() { format!("{name}: {word}") } else { message };
            TestCase::failed(name, message)
        }
        (Status::Failed | Status::Error, Some(excuse)) => {
            TestCase::skipped(name, format!("{word}: {excuse}\n{message}"))
        }
        (Status::Skipped | Status::Unknown, _) => TestCase::skipped(name, message),
    };
    match &case.file {
        Some(file) => told.at(file, case.line),
        None => told,
    }
}

/// Counts in words: `12 cases: 10 succeeded, 2 failed`.
pub fn counted(counts: &Counts) -> String {
    let parts = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.error, "with an error"),
        (counts.skipped, "skipped"),
        (counts.unknown, "unknown"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    match counts.total() {
        0 => "no cases".to_owned(),
        total => format!("{total} cases: {}", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::Status as Told;

    #[test]
    fn told_as_they_are() {
        let tests = |status, message: &str| Tests {
            cases: vec![Case {
                suite: "suite".to_owned(),
                name: "name".to_owned(),
                status,
                message: message.to_owned(),
                ..Case::default()
            }],
            counts: Counts::default(),
        };
        let check = |status, message: &str, excuse: Option<&str>, expected: Told, text: Option<&str>| {
            let case = cases(&tests(status, message), excuse).remove(0);
            assert_eq!((case.name.as_str(), case.status, case.message.as_deref()), ("suite name", expected, text));
        };
        check(Status::Succeeded, "", None, Told::Passed, None);
        check(Status::Failed, "1 is not 2", None, Told::Failed, Some("1 is not 2"));
        check(Status::Error, "", None, Told::Failed, Some("suite name: error"));
        check(Status::Failed, "1 is not 2", Some("allowed"), Told::Skipped, Some("failed: allowed\n1 is not 2"));
        check(Status::Skipped, "slow", Some("allowed"), Told::Skipped, Some("slow"));
    }

    #[test]
    fn counts_in_words() {
        let counts = Counts { succeeded: 10, failed: 2, ..Counts::default() };
        assert_eq!(counted(&counts), "12 cases: 10 succeeded, 2 failed");
        assert_eq!(counted(&Counts::default()), "no cases");
    }
}

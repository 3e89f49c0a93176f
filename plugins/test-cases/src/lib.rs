//! Reports as an action tells of them, in cases and in results that are kept: shared by the plugins that read reports. Must not
//! know where a report is from, or how many failed cases are too many.

use pipewright_reports::{Case, Counts, Coverage, Ratio, Status, Tests};
use pipewright_sdk::{Result, TestCase, results};

/// Against traces that are longer than anybody reads: four times what the host shows of one. The host hides the secrets in a text
/// before it cuts it, and does not know half of one.
const MESSAGE_CHARS_MAX: usize = 20_000;

/// Of the texts of cases that are handed over at once. The host keeps less.
const RESULTS_BYTES_MAX: usize = 8 << 20;
/// As many files as the host keeps of one report.
const FILES_MAX: usize = 10_000;

/// Has the host keep the results of tests.
///
/// # Errors
/// Job, where there are too many reports, or the name is empty.
pub fn keep_tests(name: &str, tests: &Tests) -> Result<()> {
    let Counts { succeeded, failed, error, skipped, unknown } = tests.counts;
    let counts = results::Counts { succeeded, failed, error, skipped, unknown };
    let mut cases: Vec<results::Case> = tests.cases.iter().map(kept).collect();
    let bytes = |case: &results::Case| case.suite.len() + case.prefix.len() + case.name.len() + case.message.len();
    if cases.iter().map(bytes).sum::<usize>() > RESULTS_BYTES_MAX {
        // Those that somebody looks for.
        let mut left = RESULTS_BYTES_MAX;
        cases.retain(|case| {
            let is_bad = matches!(case.status, results::Status::Failed | results::Status::Error);
            let room = left.checked_sub(bytes(case)).filter(|_| is_bad);
            left = room.unwrap_or(left);
            room.is_some()
        });
    }
    results::tests(name, results::Tests { counts, cases })
}

/// Has the host keep the results of a coverage tool.
///
/// # Errors
/// As [`keep_tests`].
pub fn keep_coverage(name: &str, coverage: &Coverage) -> Result<()> {
    let ratio = |Ratio { covered, total }: Ratio| results::Ratio { covered, total };
    let files = coverage.files.iter().take(FILES_MAX).map(|(path, covered)| results::CoveredFile {
        path: path.clone(),
        lines: ratio(covered.lines),
        branches: ratio(covered.branches),
    });
    let (files, total) = (files.collect(), coverage.total());
    results::coverage(name, results::Coverage { lines: ratio(total.lines), branches: ratio(total.branches), files })
}

fn kept(case: &Case) -> results::Case {
    let status = match case.status {
        Status::Succeeded => results::Status::Succeeded,
        Status::Failed => results::Status::Failed,
        Status::Error => results::Status::Error,
        Status::Skipped => results::Status::Skipped,
        Status::Unknown => results::Status::Unknown,
    };
    results::Case {
        suite: case.suite.clone(),
        prefix: case.prefix.clone(),
        name: case.name.clone(),
        status,
        duration_nanos: case.duration_ns,
        message: cut(&case.message),
        file: case.file.clone(),
        line: case.line,
    }
}

fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The cases of reports. `excuse` says why a failed one fails no action: it is told as skipped then, with its message.
pub fn cases(tests: &Tests, excuse: Option<&str>) -> Vec<TestCase> {
    tests.cases.iter().map(|case| told(case, excuse)).collect()
}

fn told(case: &Case, excuse: Option<&str>) -> TestCase {
    let name = [&case.suite, &case.prefix, &case.name].map(String::as_str);
    let name: Vec<&str> = name.into_iter().filter(|part| !part.is_empty()).collect();
    let (name, message) = (name.join(" "), cut(&case.message));
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
    use pipewright_reports::Covered;
    use pipewright_sdk::Status as Told;
    use pipewright_sdk::testing::{Content, Host};

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
    fn kept_as_they_are() {
        let host = Host::new();
        let case = Case { name: "adds".to_owned(), status: Status::Error, duration_ns: Some(5), ..Case::default() };
        let counts = Counts { error: 1, succeeded: 1, ..Counts::default() };
        keep_tests("unit", &Tests { cases: vec![case], counts }).unwrap();
        let covered = Covered { lines: Ratio { covered: 1, total: 2 }, ..Covered::default() };
        keep_coverage("lines", &Coverage { files: [("a.rs".to_owned(), covered)].into() }).unwrap();
        let [(unit, Content::Tests(tests)), (lines, Content::Coverage(coverage))] = &host.results()[..] else {
            panic!("{:?}", host.results())
        };
        assert_eq!((unit.as_str(), tests.counts.succeeded, tests.counts.error), ("unit", 1, 1));
        let kept = &tests.cases[0];
        assert_eq!((kept.name.as_str(), kept.status, kept.duration_nanos), ("adds", results::Status::Error, Some(5)));
        assert_eq!((lines.as_str(), coverage.lines.covered, coverage.files[0].lines.total), ("lines", 1, 2));
    }

    #[test]
    fn what_the_host_cuts_is_handed_over_whole() {
        let (name, message) = ("a".repeat(1_500), "y".repeat(6_000));
        let case = kept(&Case { name: name.clone(), message: message.clone(), ..Case::default() });
        assert_eq!((case.name, case.message), (name, message));
    }

    #[test]
    fn of_a_great_many_those_that_failed_are_kept() {
        let host = Host::new();
        let case = |status| Case { name: "x".repeat(900), message: "y".repeat(5_000), status, ..Case::default() };
        let mut cases = vec![case(Status::Succeeded); 2_000];
        cases.push(case(Status::Failed));
        keep_tests("unit", &Tests { cases, counts: Counts { succeeded: 2_000, failed: 1, ..Counts::default() } })
            .unwrap();
        let [(_, Content::Tests(tests))] = &host.results()[..] else { panic!("not one report") };
        assert_eq!((tests.cases.len(), tests.cases[0].status), (1, results::Status::Failed));
    }

    #[test]
    fn counts_in_words() {
        let counts = Counts { succeeded: 10, failed: 2, ..Counts::default() };
        assert_eq!(counted(&counts), "12 cases: 10 succeeded, 2 failed");
        assert_eq!(counted(&Counts::default()), "no cases");
    }
}

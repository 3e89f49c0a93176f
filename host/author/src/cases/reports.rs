//! What an action reports of tests and of coverage, in the words in which a case speaks of it.
//!
//! Must not know how it is compared.

use std::collections::BTreeMap;

use pipewright_sandbox::results::{Content, Ratio, Results};
use serde::{Deserialize, Serialize};

/// What is reported of tests or of coverage, as far as it is given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// Of tests: how many cases succeeded.
    pub(super) succeeded: Option<u64>,
    /// How many failed.
    pub(super) failed: Option<u64>,
    /// How many could not find out.
    pub(super) error: Option<u64>,
    /// How many were skipped.
    pub(super) skipped: Option<u64>,
    /// Of how many nothing is known.
    pub(super) unknown: Option<u64>,
    /// The names of the cases, in their order.
    pub(super) cases: Option<Vec<String>>,
    /// Of coverage: how many lines are covered, and how many there are.
    pub(super) lines: Option<Vec<u64>>,
    /// The same of branches.
    pub(super) branches: Option<Vec<u64>>,
}

/// What was reported, by name.
pub(super) fn reports(results: Vec<Results>) -> BTreeMap<String, Report> {
    results.into_iter().map(|Results { name, content }| (name, content.into())).collect()
}

impl From<Content> for Report {
    fn from(content: Content) -> Self {
        let ratio = |Ratio { covered, total }: Ratio| Some(vec![covered, total]);
        match content {
            Content::Tests(tests) => Self {
                succeeded: Some(tests.counts.succeeded),
                failed: Some(tests.counts.failed),
                error: Some(tests.counts.error),
                skipped: Some(tests.counts.skipped),
                unknown: Some(tests.counts.unknown),
                cases: Some(tests.cases.into_iter().map(|case| case.name).collect()),
                ..Self::default()
            },
            Content::Coverage(coverage) => {
                Self { lines: ratio(coverage.lines), branches: ratio(coverage.branches), ..Self::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pipewright_sandbox::results::{Counts, Coverage, Tests};

    use super::*;

    #[test]
    fn reports_are_told_by_their_counts() {
        let counts = Counts { succeeded: 2, failed: 1, ..Counts::default() };
        let tests = Content::Tests(Tests { counts, ..Tests::default() });
        let lines = Ratio { covered: 3, total: 4 };
        let coverage = Content::Coverage(Coverage { lines, ..Coverage::default() });
        let told = reports(vec![
            Results { name: "unit".to_owned(), content: tests },
            Results { name: "lines".to_owned(), content: coverage },
        ]);
        let (unit, covered) = (&told["unit"], &told["lines"]);
        assert_eq!((unit.succeeded, unit.failed, unit.error, &unit.lines), (Some(2), Some(1), Some(0), &None));
        assert_eq!(
            (&covered.lines, &covered.branches, covered.succeeded),
            (&Some(vec![3, 4]), &Some(vec![0, 0]), None)
        );
    }
}

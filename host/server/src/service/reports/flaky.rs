//! Which cases are flaky, by how they ended in the last executions (S181).
//!
//! Pure: must not know where results come from.

use std::collections::{BTreeMap, BTreeSet};

use pipewright_runner::logs::ActionResults;
use pipewright_sandbox::results::{Case, Content, Status};
use serde::Serialize;

/// A case that broke and was mended changed twice.
const CHANGES_MIN: usize = 3;

/// A case, and why it is flaky.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flaky {
    #[serde(flatten)]
    pub case: Key,
    /// It both passed and failed with the same revisions of all sources.
    pub same_revision: bool,
    /// How often its end was another one than the time before.
    pub changes: usize,
    /// How many ends were compared.
    pub runs: usize,
}

/// What makes a case the same one in two executions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    stage_name: String,
    action_name: String,
    report: String,
    test_suite_name: String,
    prefix: String,
    name: String,
}

/// One execution: how each of its cases ended, once for each time.
pub(super) struct Run {
    revisions: Option<String>,
    passed: Vec<(Key, bool)>,
}

impl Run {
    pub(super) fn of(revisions: Option<String>, actions: &[ActionResults]) -> Self {
        let passed = cases(actions).filter_map(|(key, status)| {
            let passed = match status {
                Status::Succeeded => true,
                Status::Failed | Status::Error => false,
                // It did not run.
                Status::Skipped | Status::Unknown => return None,
            };
            Some((key, passed))
        });
        Self { revisions, passed: passed.collect() }
    }
}

fn cases(actions: &[ActionResults]) -> impl Iterator<Item = (Key, Status)> {
    let reports = actions.iter().flat_map(|action| action.reports.iter().map(move |report| (action, report)));
    reports.flat_map(|(action, report)| {
        let cases: &[Case] = match &report.content {
            Content::Tests(tests) => &tests.cases,
            Content::Coverage(_) => &[],
        };
        cases.iter().map(move |case| {
            let key = Key {
                stage_name: action.stage_name.clone(),
                action_name: action.action_name.clone(),
                report: report.name.clone(),
                test_suite_name: case.test_suite_name.clone(),
                prefix: case.prefix.clone(),
                name: case.name.clone(),
            };
            (key, case.status)
        })
    })
}

/// The flaky ones of the cases in `shown`, by `runs`, the oldest first.
pub(super) fn flaky(runs: &[Run], shown: &[ActionResults]) -> Vec<Flaky> {
    let mut ends: BTreeMap<&Key, Vec<(Option<&str>, bool)>> = BTreeMap::new();
    for run in runs {
        for (key, passed) in &run.passed {
            ends.entry(key).or_default().push((run.revisions.as_deref(), *passed));
        }
    }
    let shown: BTreeSet<Key> = cases(shown).map(|(key, _)| key).collect();
    let judged = ends.into_iter().filter(|(key, _)| shown.contains(*key)).filter_map(|(key, ends)| {
        let changes = ends.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        let of_revision = |passed: bool| {
            let all = ends.iter().filter(move |end| end.1 == passed);
            all.filter_map(|end| end.0).collect::<BTreeSet<_>>()
        };
        let same_revision = !of_revision(true).is_disjoint(&of_revision(false));
        let flaky = Flaky { case: key.clone(), same_revision, changes, runs: ends.len() };
        (same_revision || changes >= CHANGES_MIN).then_some(flaky)
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use pipewright_sandbox::results::{Results, Tests};

    use super::*;

    fn actions(cases: &[(&str, Status)]) -> Vec<ActionResults> {
        let case = |(name, status): &(&str, Status)| Case {
            test_suite_name: String::new(),
            prefix: String::new(),
            name: (*name).to_owned(),
            status: *status,
            duration_in_nano_seconds: None,
            message: String::new(),
            file: None,
            line: None,
        };
        let tests = Tests { cases: cases.iter().map(case).collect(), ..Tests::default() };
        vec![ActionResults {
            stage_name: "Test".to_owned(),
            action_name: "Unit".to_owned(),
            action_execution_id: String::new(),
            reports: vec![Results { name: "unit".to_owned(), content: Content::Tests(tests) }],
            at: 0,
        }]
    }

    /// Runs as `+`, `-` and `s`, each of a revision, the oldest first.
    fn check(runs: &[(&str, char)], expected: Option<(bool, usize)>) {
        let status = |end| match end {
            '+' => Status::Succeeded,
            '-' => Status::Error,
            _ => Status::Skipped,
        };
        let run = |(revision, end): &(&str, char)| {
            let revisions = (!revision.is_empty()).then(|| (*revision).to_owned());
            Run::of(revisions, &actions(&[("it", status(*end)), ("other", Status::Succeeded)]))
        };
        let runs: Vec<Run> = runs.iter().map(run).collect();
        let found = flaky(&runs, &actions(&[("it", Status::Failed)]));
        let found: Vec<_> = found.iter().map(|it| (it.case.name.as_str(), it.same_revision, it.changes)).collect();
        let expected: Vec<_> = expected.iter().map(|(same, changes)| ("it", *same, *changes)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn flaky_is_what_differs_for_one_revision_or_changes_often() {
        check(&[("a", '+'), ("a", '-')], Some((true, 1)));
        // It broke and was mended.
        check(&[("a", '+'), ("b", '-'), ("b", '-'), ("c", '+')], None);
        check(&[("a", '+'), ("b", '-'), ("c", '+'), ("d", '-')], Some((false, 3)));
        // What did not run says nothing.
        check(&[("a", '+'), ("a", 's'), ("b", '-')], None);
        // Nobody knows whether it is the same.
        check(&[("", '+'), ("", '-')], None);
        check(&[], None);
    }

    fn other() -> String {
        "other".to_owned()
    }

    #[test]
    fn a_case_is_the_same_one_where_all_its_names_are() {
        let check = |change: fn(&mut ActionResults, &mut Case), is_same: bool| {
            let good = actions(&[("it", Status::Succeeded)]);
            let mut bad = actions(&[("it", Status::Failed)]);
            let Content::Tests(mut tests) = bad[0].reports[0].content.clone() else { unreachable!() };
            change(&mut bad[0], &mut tests.cases[0]);
            bad[0].reports[0].content = Content::Tests(tests);
            let runs = [&good, &bad].map(|actions| Run::of(Some("a".to_owned()), actions));
            assert_eq!(flaky(&runs, &bad).len(), usize::from(is_same));
        };
        check(|_, _| {}, true);
        check(|_, case| case.message = "why".to_owned(), true);
        check(|action, _| action.stage_name = other(), false);
        check(|action, _| action.action_name = other(), false);
        check(|action, _| action.reports[0].name = other(), false);
        check(|_, case| case.test_suite_name = other(), false);
        check(|_, case| case.prefix = other(), false);
        check(|_, case| case.name = other(), false);
    }

    #[test]
    fn a_case_that_is_not_shown_is_not_told() {
        let runs = [Status::Succeeded, Status::Failed].map(|it| Run::of(Some("a".to_owned()), &actions(&[("it", it)])));
        assert!(flaky(&runs, &actions(&[("other", Status::Succeeded)])).is_empty());
    }
}

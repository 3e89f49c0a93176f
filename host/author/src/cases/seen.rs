//! What came of one call, in the words in which a case speaks of it.
//!
//! Must not know what was expected.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pipewright_artifacts::files::Tree;
use pipewright_pipeline::machine::{self, FailureType};
use pipewright_sandbox::CallFailure;
use pipewright_sandbox::abi::{self, Outcome, Wait};
use pipewright_sandbox::seam::{HostCall, Level, Sink};

use super::file::{Link, OutcomeKind, Revision, Target, TargetStatus, TestCase, TestStatus};
use super::limits;
use super::reports::Report;
use pipewright_runner::outcome::{self, failure_of};

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) outcome: OutcomeKind,
    pub(super) failure: Option<(FailureType, String)>,
    /// Of the report, the decision or the wait, or a verdict's reason.
    pub(super) summary: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) links: Vec<Link>,
    pub(super) revision: Option<Revision>,
    pub(super) targets: Vec<Target>,
    pub(super) cases: Vec<TestCase>,
    pub(super) wait: Option<Wait>,
    /// What else there is to know of the call; `of` leaves it empty.
    pub(super) log: String,
    pub(super) denials: Vec<String>,
    pub(super) results: BTreeMap<String, Report>,
    pub(super) outputs: BTreeMap<String, Tree>,
}

impl Seen {
    pub(super) fn of(result: Result<Outcome, CallFailure>) -> Self {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) => {
                let (kind, mut message) = failure_of(&failure);
                if let Some(key) = limits::key_of(&failure) {
                    message.push_str(&format!("\n`limits.{key}` of the case sets it"));
                }
                return Self { failure: Some((kind, message)), ..Self::ended(OutcomeKind::Failed, None) };
            }
        };
        match outcome {
            Outcome::Latest(revision) => {
                Self { revision: revision.map(Into::into), ..Self::ended(OutcomeKind::Succeeded, None) }
            }
            Outcome::Fetched(fetched) => {
                Self { revision: fetched.revision.map(Into::into), ..Self::reported(fetched.report) }
            }
            Outcome::Built(report) | Outcome::Invoked(report) => Self::reported(report),
            Outcome::Deployed(deployed) => {
                let targets = deployed.targets.into_iter().map(Into::into).collect();
                Self { targets, ..Self::reported(deployed.report) }
            }
            Outcome::Tested(tested) => Self::tested(tested),
            Outcome::Decided(decision) => Self::decided(decision.approved, decision.summary),
            Outcome::Verdict(verdict) => Self::decided(verdict.passed, verdict.reason),
            Outcome::Waiting(wait) => {
                Self { wait: Some(wait.clone()), ..Self::ended(OutcomeKind::Waiting, wait.summary) }
            }
        }
    }

    fn ended(outcome: OutcomeKind, summary: Option<String>) -> Self {
        Self {
            outcome,
            failure: None,
            summary,
            external_id: None,
            variables: BTreeMap::new(),
            links: Vec::new(),
            revision: None,
            targets: Vec::new(),
            cases: Vec::new(),
            wait: None,
            log: String::new(),
            denials: Vec::new(),
            results: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    fn reported(report: abi::Report) -> Self {
        Self {
            external_id: report.external_id,
            variables: report.variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
            links: report.links.into_iter().map(|link| Link { title: link.title, url: link.url }).collect(),
            ..Self::ended(OutcomeKind::Succeeded, report.summary)
        }
    }

    fn decided(yes: bool, summary: Option<String>) -> Self {
        Self::ended(if yes { OutcomeKind::Succeeded } else { OutcomeKind::Rejected }, summary)
    }

    /// A failed case fails the action, in the words that a pipeline's user reads.
    fn tested(tested: abi::Tested) -> Self {
        let cases = tested.cases.iter().cloned().map(Into::into).collect();
        let seen = Self { cases, ..Self::reported(tested.report.clone()) };
        match outcome::report(Outcome::Tested(tested)).outcome {
            machine::Outcome::Failed(failed) => {
                let failure = Some((failed.error.kind, failed.error.message));
                Self { outcome: OutcomeKind::Failed, failure, ..seen }
            }
            _ => seen,
        }
    }
}

impl From<abi::Revision> for Revision {
    fn from(revision: abi::Revision) -> Self {
        let abi::Revision { id, summary, url, created } = revision;
        Self { id: Some(id), summary, url, created }
    }
}

impl From<abi::Target> for Target {
    fn from(target: abi::Target) -> Self {
        let status = match target.status {
            abi::TargetStatus::Succeeded => TargetStatus::Succeeded,
            abi::TargetStatus::Failed => TargetStatus::Failed,
            abi::TargetStatus::Skipped => TargetStatus::Skipped,
        };
        Self { id: Some(target.id), kind: Some(target.kind), status: Some(status), url: target.url }
    }
}

impl From<abi::TestCase> for TestCase {
    fn from(case: abi::TestCase) -> Self {
        let status = match case.status {
            abi::Status::Passed => TestStatus::Passed,
            abi::Status::Failed => TestStatus::Failed,
            abi::Status::Skipped => TestStatus::Skipped,
        };
        let (file, line) = case.place.map_or((None, None), |place| (Some(place.file), place.line));
        Self { name: Some(case.name), status: Some(status), message: case.message, file, line }
    }
}

/// Keeps the log of one call; the sandbox limits it.
#[derive(Default)]
pub(super) struct KeptLog(Mutex<String>);

impl KeptLog {
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for KeptLog {
    fn log(&self, _: Level, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    fn progress(&self, _: Option<u8>, _: &str) {}

    fn host_call(&self, _: HostCall) {}
}

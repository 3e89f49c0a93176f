//! Between the ABI's words and the core's: outcomes become reports, resumptions go the other way.
//!
//! Pure. Must not know where an outcome came from.

use std::collections::BTreeMap;

use pipewright_artifacts::files::MadeOutput;
use pipewright_pipeline::machine::{
    self, APPROVAL_SIGNAL, ActionError, Awaited, Decision, ExecutionDetails, Failure, FailureType, Link, Report,
    Resumption, Revision, Success, Timestamp, Verdict, Wait, Wake,
};
use pipewright_sandbox::CallFailure;
use pipewright_sandbox::abi::{self, FailureKind, Outcome, Status, TargetStatus};
use serde_json::{Value, json};

/// Failed cases that the failure's message names; the rest are counted.
const FAILED_CASES_NAMED_MAX: usize = 50;

/// The keys of `ExecutionDetails::details`.
pub const TARGETS: &str = "targets";
pub const CASES: &str = "cases";

/// The kind and message of a call that gave no outcome.
pub fn failure_of(failure: &CallFailure) -> (FailureType, String) {
    match failure {
        CallFailure::Plugin(failure) => (failure_type(failure.kind), failure.message.clone()),
        CallFailure::Trap(message) => (FailureType::JobFailed, format!("the plugin crashed: {message}")),
        CallFailure::Limit(reached) => {
            (FailureType::JobFailed, format!("the limit {} was reached: {}", reached.limit, reached.message))
        }
        CallFailure::Interface(message) => {
            (FailureType::JobFailed, format!("the plugin broke its interface: {message}"))
        }
        CallFailure::Differs(difference) => (FailureType::JobFailed, difference.to_string()),
        CallFailure::Host(error) => (FailureType::SystemUnavailable, format!("the host failed: {error:#}")),
    }
}

/// What a call that gave no outcome means to its action: also what it was refused, with the grants that are missing, which a plugin
/// may hide behind words of its own, and which the operator needs to know.
pub fn failed_call(
    failure: &CallFailure,
    denials: &[String],
    wants_grant: bool,
    remedy: Option<String>,
) -> ActionError {
    let (mut kind, mut message) = failure_of(failure);
    for denial in denials.iter().filter(|denial| !message.contains(denial.as_str())).collect::<Vec<_>>() {
        message.push_str("\nrefused: ");
        message.push_str(denial);
    }
    if wants_grant {
        // By it a client knows that a retry is of no use.
        kind = FailureType::PermissionError;
        message.extend(remedy.map(|remedy| format!("\n{remedy}")));
    }
    ActionError { kind, message }
}

/// Why the first declared output artifact that the plugin did not make fails its action.
pub fn not_made<'a>(declared: impl IntoIterator<Item = &'a str>, made: &[MadeOutput]) -> Option<ActionError> {
    let missing = declared.into_iter().find(|name| !made.iter().any(|made| made.name == **name))?;
    let message = format!(
        "the output artifact {missing} was declared and not made: the plugin wrote nothing to /outputs/{missing}"
    );
    Some(ActionError { kind: FailureType::ConfigurationError, message })
}

pub fn failure_type(kind: FailureKind) -> FailureType {
    match kind {
        FailureKind::JobFailed => FailureType::JobFailed,
        FailureKind::ConfigurationError => FailureType::ConfigurationError,
        FailureKind::PermissionError => FailureType::PermissionError,
        FailureKind::RevisionOutOfSync => FailureType::RevisionOutOfSync,
        FailureKind::RevisionUnavailable => FailureType::RevisionUnavailable,
        FailureKind::SystemUnavailable => FailureType::SystemUnavailable,
    }
}

pub fn waiting(wait: abi::Wait) -> Report {
    let signal = wait.signal.map(|kind| match kind == APPROVAL_SIGNAL {
        true => Awaited::Approval,
        false => Awaited::Signal(kind),
    });
    let time = wait.until.map(|at| Awaited::Time(Timestamp(at)));
    let awaits = signal.into_iter().chain(time).collect();
    Report::waiting(Wait { awaits, continuation: wait.continuation, summary: wait.summary })
}

pub fn resumption(resumed: &Resumption) -> abi::Resumption {
    abi::Resumption {
        continuation: resumed.continuation.clone(),
        wake: match &resumed.wake {
            Wake::Time => abi::Wake::Time,
            Wake::Approval(decision) => {
                abi::Wake::Signal(abi::Signal { kind: APPROVAL_SIGNAL.to_owned(), payload: payload(decision) })
            }
            Wake::Signal { kind, payload } => {
                abi::Wake::Signal(abi::Signal { kind: kind.clone(), payload: payload.to_vec() })
            }
        },
    }
}

/// What an approval's signal carries, as the ABI has it.
fn payload(decision: &Decision) -> Vec<u8> {
    let by = decision.by.as_deref().unwrap_or_default();
    json!({ "status": decision.status, "summary": decision.summary, "by": by }).to_string().into_bytes()
}

/// The report of an outcome, without its artifacts.
pub fn report(outcome: Outcome) -> Report {
    match outcome {
        Outcome::Fetched(fetched) => success(fetched.report, fetched.revision, BTreeMap::new()),
        Outcome::Built(report) | Outcome::Invoked(report) => success(report, None, BTreeMap::new()),
        Outcome::Deployed(deployed) => {
            let targets = deployed.targets.iter().map(target).collect();
            success(deployed.report, None, BTreeMap::from([(TARGETS.to_owned(), Value::Array(targets))]))
        }
        Outcome::Tested(tested) => tested_report(tested),
        Outcome::Decided(decision) => decided(decision),
        Outcome::Verdict(verdict) => {
            let told = ExecutionDetails { summary: verdict.reason, ..ExecutionDetails::default() };
            Report::decided(Verdict { passed: verdict.passed, told })
        }
        Outcome::Waiting(wait) => waiting(wait),
        Outcome::Latest(_) => {
            Report::failed(FailureType::JobFailed, "the plugin answered a question that was not asked")
        }
    }
}

fn success(report: abi::Report, found: Option<abi::Revision>, details: BTreeMap<String, Value>) -> Report {
    let variables = report.variables.iter().map(|v| (v.name.clone(), v.value.clone())).collect();
    Report::succeeded(Success {
        variables,
        artifacts: BTreeMap::new(),
        revision: found.map(revision),
        told: told(report, details),
    })
}

pub fn revision(found: abi::Revision) -> Revision {
    let abi::Revision { id, summary, url, created } = found;
    Revision { id, change: None, summary, url, created: created.map(Timestamp) }
}

fn told(report: abi::Report, details: BTreeMap<String, Value>) -> ExecutionDetails {
    let links = report.links.into_iter().map(|link| Link { title: link.title, url: link.url }).collect();
    ExecutionDetails { summary: report.summary, external_id: report.external_id, links, details }
}

fn target(target: &abi::Target) -> Value {
    let status = match target.status {
        TargetStatus::Succeeded => "Succeeded",
        TargetStatus::Failed => "Failed",
        TargetStatus::Skipped => "Skipped",
    };
    json!({ "id": target.id, "kind": target.kind, "status": status, "url": target.url })
}

/// One failed case fails the action; the message names the first of them, each with its place.
fn tested_report(tested: abi::Tested) -> Report {
    let count = |status: Status| tested.cases.iter().filter(|case| case.status == status).count();
    let counts = json!({
        "passed": count(Status::Passed), "failed": count(Status::Failed), "skipped": count(Status::Skipped),
    });
    let details = BTreeMap::from([(CASES.to_owned(), counts)]);
    let bad: Vec<_> = tested.cases.iter().filter(|case| case.status == Status::Failed).collect();
    if bad.is_empty() {
        return success(tested.report, None, details);
    }
    let mut message = format!("{} of {} cases failed", bad.len(), tested.cases.len());
    for case in bad.iter().take(FAILED_CASES_NAMED_MAX) {
        message.push('\n');
        if let Some(place) = &case.place {
            let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
            message.push_str(&format!("{}{line}: ", place.file));
        }
        message.push_str(case.message.as_deref().unwrap_or(&case.name));
    }
    if bad.len() > FAILED_CASES_NAMED_MAX {
        message.push_str(&format!("\n… and {} more", bad.len() - FAILED_CASES_NAMED_MAX));
    }
    let error = ActionError { kind: FailureType::JobFailed, message };
    machine::Outcome::Failed(Box::new(Failure { error, told: told(tested.report, details) })).into()
}

fn decided(decision: abi::Decision) -> Report {
    let summary = decision.summary;
    if decision.approved {
        let told = ExecutionDetails { summary, ..ExecutionDetails::default() };
        return Report::succeeded(Success { told, ..Success::default() });
    }
    let message = summary.map_or("rejected".to_owned(), |summary| format!("rejected: {summary}"));
    Report::failed(FailureType::JobFailed, message)
}

//! The first format: parts were bare JSON objects, a stage run's index was its position, a wait named a signal, and an
//! execution's actions were a list of pairs.
//!
//! Owns the old shapes of what has changed since. Never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::super::address::{ActionAddress, Address};
use super::super::event::WaitEvent;
use super::super::execution::{
    ActionRun, ActionStatus, Decision, Execution, ExecutionStatus, Progress, StagePhase, StageRun, StageStatus, Start,
    StopRequest,
};
use super::super::ids::{ActionExecutionId, ExecutionId, Timestamp};
use super::super::report::{
    APPROVAL_SIGNAL, ActionError, Awaited, ExecutionDetails, Resumption, Revision, Usage, Variables, Wait, base64,
};
use super::super::state::{Change, Head, Latest, StageHead, Transition};
use crate::declaration::PipelineDeclaration;

/// An archived execution is no part and stands by itself.
pub(super) fn read(bytes: &[u8]) -> serde_json::Result<Change> {
    match serde_json::from_slice::<OldPart>(bytes) {
        Ok(part) => Ok(part.into()),
        Err(error) => match serde_json::from_slice::<OldExecution>(bytes) {
            Ok(execution) => Ok(Change::Archive(Arc::new(execution.into()))),
            Err(_) => Err(error),
        },
    }
}

#[derive(Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time is read, and turned into a part of today")]
enum OldPart {
    Head(OldHead),
    Declaration(Arc<PipelineDeclaration>),
    Start(ExecutionId, Arc<Start>),
    Progress(ExecutionId, OldProgress),
    Action(ExecutionId, Place, OldRun),
}

#[derive(Deserialize)]
struct Place {
    stage: u16,
    action: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldHead {
    version: u32,
    created: Timestamp,
    updated: Timestamp,
    executions: u64,
    stages: Vec<OldStageHead>,
    #[serde(default)]
    outdated_approvals: Vec<ActionExecutionId>,
}

#[derive(Deserialize)]
struct OldStageHead {
    #[serde(default)]
    inbound: Transition,
    #[serde(default)]
    outbound: Transition,
    occupant: Option<ExecutionId>,
    latest: Option<Latest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldProgress {
    status: ExecutionStatus,
    summary: Option<String>,
    #[serde(default)]
    stages: Vec<OldStageRun>,
    inbound_since: Option<Timestamp>,
    stop: Option<StopRequest>,
    attempt: u32,
    updated: Timestamp,
    ended: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldStageRun {
    status: StageStatus,
    started: Timestamp,
    updated: Timestamp,
    #[serde(default)]
    manual_retries: u32,
    last_retry: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldRun {
    id: ActionExecutionId,
    status: ActionStatus,
    started: Timestamp,
    updated: Timestamp,
    deadline: Timestamp,
    call: u32,
    attempt: u32,
    wait: Option<OldWait>,
    resumed: Option<Resumption>,
    decision: Option<Decision>,
    #[serde(default)]
    told: ExecutionDetails,
    #[serde(default)]
    variables: Arc<Variables>,
    #[serde(default)]
    artifacts: BTreeMap<String, String>,
    revision: Option<Revision>,
    error: Option<ActionError>,
}

#[derive(Deserialize)]
struct OldWait {
    until: Option<Timestamp>,
    signal: Option<String>,
    #[serde(default, with = "base64")]
    continuation: Vec<u8>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct OldExecution {
    id: ExecutionId,
    start: Arc<Start>,
    progress: OldProgress,
    #[serde(default)]
    actions: Vec<(Place, OldRun)>,
}

impl From<OldPart> for Change {
    fn from(part: OldPart) -> Change {
        match part {
            OldPart::Head(head) => Change::Head(Arc::new(head.into())),
            OldPart::Declaration(declaration) => Change::Declaration(declaration),
            OldPart::Start(id, start) => Change::Start(id, start),
            OldPart::Progress(id, progress) => Change::Progress(id, progress.into()),
            OldPart::Action(id, place, run) => Change::Run(id, place.into(), Arc::new(run.into())),
        }
    }
}

impl From<Place> for Address {
    fn from(Place { stage, action }: Place) -> Address {
        Address::Action(ActionAddress { stage, action })
    }
}

impl From<OldHead> for Head {
    fn from(old: OldHead) -> Head {
        let OldHead { version, created, updated, executions, stages, outdated_approvals } = old;
        let stages = stages.into_iter().map(StageHead::from).collect();
        Head { version, created, updated, executions, stages, outdated_approvals }
    }
}

impl From<OldStageHead> for StageHead {
    fn from(old: OldStageHead) -> StageHead {
        let OldStageHead { inbound, outbound, occupant, latest } = old;
        StageHead { inbound, outbound, occupant, latest, succeeded: None }
    }
}

impl From<OldProgress> for Progress {
    fn from(old: OldProgress) -> Progress {
        let OldProgress { status, summary, stages, inbound_since, stop, attempt, updated, ended } = old;
        let stages = stages.into_iter().zip(0..).map(|(run, stage)| {
            let OldStageRun { status, started, updated, manual_retries, last_retry } = run;
            let phase = match status {
                StageStatus::Succeeded => StagePhase::OnSuccess,
                StageStatus::Failed => StagePhase::OnFailure,
                _ => StagePhase::Actions,
            };
            StageRun { status, updated, manual_retries, last_retry, ..StageRun::entered(stage, phase, started) }
        });
        Progress { status, summary, stages: stages.collect(), inbound_since, stop, attempt, updated, ended }
    }
}

impl From<OldRun> for ActionRun {
    fn from(old: OldRun) -> ActionRun {
        ActionRun {
            id: old.id,
            status: old.status,
            started: old.started,
            updated: old.updated,
            deadline: old.deadline,
            call: old.call,
            attempt: old.attempt,
            crashes: 0,
            spent: Usage::default(),
            wait: old.wait.map(Wait::from),
            resumed: old.resumed,
            decision: old.decision,
            job: None,
            told: old.told,
            variables: old.variables,
            artifacts: old.artifacts,
            revision: old.revision,
            error: old.error,
        }
    }
}

impl From<OldWait> for Wait {
    fn from(old: OldWait) -> Wait {
        Wait { awaits: awaits(old.until, old.signal), continuation: old.continuation, summary: old.summary }
    }
}

/// What a wait by a time and a signal waits for.
fn awaits(until: Option<Timestamp>, signal: Option<String>) -> Vec<Awaited> {
    let signal = signal.map(|kind| if kind == APPROVAL_SIGNAL { Awaited::Approval } else { Awaited::Signal(kind) });
    signal.into_iter().chain(until.map(Awaited::Time)).collect()
}

/// What an event of a wait says, in this format and in the next.
#[derive(Deserialize)]
pub(in super::super) struct AnyWaiting {
    #[serde(default, rename = "for")]
    awaits: Vec<Awaited>,
    until: Option<Timestamp>,
    signal: Option<String>,
    summary: Option<String>,
}

impl From<AnyWaiting> for WaitEvent {
    fn from(any: AnyWaiting) -> WaitEvent {
        let AnyWaiting { mut awaits, until, signal, summary } = any;
        awaits.extend(self::awaits(until, signal));
        WaitEvent { awaits, summary }
    }
}

impl From<OldExecution> for Execution {
    fn from(old: OldExecution) -> Execution {
        let runs = old.actions.into_iter().map(|(place, run)| (place.into(), Arc::new(run.into())));
        Execution { id: old.id, start: old.start, progress: old.progress.into(), runs: runs.collect() }
    }
}

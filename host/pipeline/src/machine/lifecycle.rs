//! The pipeline itself: it is created, updated and deleted, and its transitions are disabled and enabled.

use std::sync::Arc;

use super::event::{ActionHappening, Event, StageState};
use super::execution::{Execution, ExecutionStatus, StageStatus};
use super::ids::{ActionExecutionId, ExecutionId, Timestamp};
use super::input::TransitionKind;
use super::refusal::Refusal;
use super::state::{Change, Head, StageHead, State, Transition};
use super::step::{Reply, Step};
use super::work::Work;
use super::{stages, stop};
use crate::declaration::PipelineDeclaration;

/// How many approval requests that an update cancelled are remembered: those of one busy stage.
pub const OUTDATED_APPROVALS_COUNT_MAX: usize = 50;

pub(super) fn create(state: &State, mut declaration: Arc<PipelineDeclaration>, at: Timestamp) -> Result<Step, Refusal> {
    if state.head.is_some() {
        return Err(Refusal::PipelineNameInUse(declaration.name.clone()));
    }
    set_version(&mut declaration, 1);
    let stages = vec![StageHead::default(); declaration.stages.len()];
    let head = Head { version: 1, created: at, updated: at, executions: 0, stages, outdated_approvals: Vec::new() };
    Ok(Step {
        changes: vec![Change::Head(head), Change::Declaration(declaration.clone())],
        events: vec![Event::PipelineCreated { declaration }],
        effects: Vec::new(),
        reply: Reply::Version(1),
    })
}

/// A new version: what runs is cancelled (contract §7.3); a stage of the same name keeps its transitions.
pub(super) fn update(work: &mut Work<'_>, mut declaration: Arc<PipelineDeclaration>) -> Reply {
    let mut outdated = cancel_all(work);
    outdated.truncate(OUTDATED_APPROVALS_COUNT_MAX);
    let version = work.head.version + 1;
    set_version(&mut declaration, version);
    let stages = declaration.stages.iter().map(|stage| {
        let before = work.declaration.stages.iter().position(|before| before.name == stage.name);
        before.map_or_else(StageHead::default, |before| work.head.stages[before].clone())
    });
    let stages = stages.collect();
    let head = work.head.to_mut();
    head.version = version;
    head.updated = work.at;
    head.stages = stages;
    head.outdated_approvals = outdated;
    work.freed.clear();
    work.declaration = declaration.clone();
    work.events.push(Event::PipelineUpdated { declaration });
    Reply::Version(version)
}

pub(super) fn delete(mut work: Work<'_>) -> Step {
    cancel_all(&mut work);
    work.events.push(Event::PipelineDeleted { version: work.head.version });
    work.finish_deleted()
}

pub(super) fn change_transition(
    work: &mut Work<'_>,
    stage: &str,
    kind: TransitionKind,
    disabled: Option<String>,
    by: Option<String>,
) -> Result<Reply, Refusal> {
    let index = work.stage_index(stage)?;
    let transition = Transition { enabled: disabled.is_none(), reason: disabled, by, at: Some(work.at) };
    let head = &mut work.head.to_mut().stages[index];
    match kind {
        TransitionKind::Inbound => head.inbound = transition.clone(),
        TransitionKind::Outbound => head.outbound = transition.clone(),
    }
    let opened = match kind {
        TransitionKind::Inbound => index,
        TransitionKind::Outbound => index + 1,
    };
    if opened < work.head.stages.len() {
        work.freed.insert(opened);
    }
    work.events.push(Event::TransitionChanged { stage: stage.to_owned(), kind, transition });
    Ok(Reply::Done)
}

/// Cancels every live execution; gives the tokens of the approval requests that were open.
fn cancel_all(work: &mut Work<'_>) -> Vec<ActionExecutionId> {
    let mut tokens = Vec::new();
    let live: Vec<ExecutionId> = work.executions().map(|execution| execution.id).collect();
    for mut execution in live.into_iter().filter_map(|id| work.take(id)).collect::<Vec<Execution>>() {
        tokens.extend(execution.actions.values().filter_map(|run| run.approval_token()));
        if execution.progress.inbound_since.is_none() {
            stop::abandon_actions(work, &mut execution, &ActionHappening::Canceled);
            stages::leave(work, &mut execution, StageStatus::Cancelled, StageState::Canceled);
        }
        stages::end_execution(work, &mut execution, ExecutionStatus::Cancelled, None);
        work.put(execution);
    }
    tokens
}

fn set_version(declaration: &mut Arc<PipelineDeclaration>, version: u32) {
    if declaration.version != Some(version) {
        Arc::make_mut(declaration).version = Some(version);
    }
}

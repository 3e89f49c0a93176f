//! The pipeline itself: it is created, updated and deleted, and its transitions are disabled and enabled.

use std::sync::Arc;

use super::bounds::{CALLER_CHARS_MAX, TRANSITION_REASON_CHARS_MAX, cut_to};
use super::event::{ActionHappening, Event, StageState};
use super::execution::{Execution, ExecutionStatus, StageStatus};
use super::ids::{ActionExecutionId, ExecutionId, Timestamp};
use super::input::TransitionKind;
use super::refusal::Refusal;
use super::state::{Change, Head, StageHead, State, Transition};
use super::step::{Reply, Step};
use super::work::Work;
use super::{conditions, stages, stop};
use crate::declaration::{ExecutionMode, PipelineDeclaration};
use crate::validate::unsupported;

/// How many approval requests that an update cancelled are remembered: those of one busy stage.
pub const OUTDATED_APPROVALS_COUNT_MAX: usize = 50;

pub(super) fn create(state: &State, mut declaration: Arc<PipelineDeclaration>, at: Timestamp) -> Result<Step, Refusal> {
    if state.head.is_some() {
        return Err(Refusal::PipelineNameInUse(declaration.name.clone()));
    }
    check_size(&declaration)?;
    set_version(&mut declaration, 1);
    let stages = vec![StageHead::default(); declaration.stages.len()];
    let head = Head { version: 1, created: at, updated: at, executions: 0, stages, outdated_approvals: Vec::new() };
    Ok(Step {
        changes: vec![Change::Head(Arc::new(head)), Change::Declaration(declaration.clone())],
        events: vec![Event::PipelineCreated { declaration }],
        effects: Vec::new(),
        reply: Reply::Version(1),
    })
}

/// Nothing is created that could then not be kept.
fn check_size(declaration: &PipelineDeclaration) -> Result<(), Refusal> {
    let problems = unsupported(declaration);
    if problems.is_empty() { Ok(()) } else { Err(Refusal::NotSupported(problems)) }
}

/// A new version: what runs is cancelled; a stage of the same name keeps its transitions, and how it stands.
pub(super) fn update(work: &mut Work<'_>, mut declaration: Arc<PipelineDeclaration>) -> Result<Reply, Refusal> {
    check_size(&declaration)?;
    let mut outdated = cancel_all(work, "The pipeline was updated");
    outdated.truncate(OUTDATED_APPROVALS_COUNT_MAX);
    let version = work.head.version + 1;
    set_version(&mut declaration, version);
    let stages = declaration.stages.iter().map(|stage| {
        let before = work.declaration.stages.iter().position(|before| before.name == stage.name);
        let kept = before.map_or_else(StageHead::default, |before| work.head.stages[before].clone());
        // An execution of an earlier version is no target of a rollback.
        StageHead { succeeded: None, ..kept }
    });
    let mut stages: Vec<StageHead> = stages.collect();
    enable_what_holds_nobody(work, &declaration, &mut stages);
    let at = work.at;
    let head = work.head_mut();
    head.version = version;
    head.updated = at;
    head.stages = stages;
    head.outdated_approvals = outdated;
    work.freed.clear();
    work.declaration = declaration.clone();
    work.events.push(Event::PipelineUpdated { declaration });
    Ok(Reply::Version(version))
}

/// Transitions that were disabled, and that nobody waits in front of any more, are enabled.
fn enable_what_holds_nobody(work: &mut Work<'_>, declaration: &PipelineDeclaration, stages: &mut [StageHead]) {
    let transition = Transition { at: Some(work.at), ..Transition::default() };
    for (index, here) in stages.iter_mut().enumerate() {
        let both = [(TransitionKind::Inbound, &mut here.inbound), (TransitionKind::Outbound, &mut here.outbound)];
        for (kind, kept) in both {
            if !kept.enabled && never_waited_for(declaration, index, kind).is_some() {
                *kept = transition.clone();
                let stage = declaration.stages[index].name.clone();
                work.events.push(Event::TransitionChanged { stage, kind, transition: transition.clone() });
            }
        }
    }
}

/// Why nobody ever waits for a transition.
fn never_waited_for(declaration: &PipelineDeclaration, stage: usize, kind: TransitionKind) -> Option<&'static str> {
    match kind {
        _ if declaration.execution_mode == Some(ExecutionMode::Parallel) => {
            Some("executions of a pipeline of mode PARALLEL do not wait in front of a stage")
        }
        TransitionKind::Inbound if stage == 0 => Some("no transition leads into the first stage"),
        TransitionKind::Outbound if stage + 1 == declaration.stages.len() => {
            Some("no transition leads out of the last stage")
        }
        _ => None,
    }
}

pub(super) fn delete(mut work: Work<'_>) -> Step {
    cancel_all(&mut work, "The pipeline was deleted");
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
    if let Some(why) = never_waited_for(&work.declaration, index, kind).filter(|_| disabled.is_some()) {
        return Err(Refusal::InvalidTransition(why));
    }
    let transition = Transition {
        enabled: disabled.is_none(),
        reason: cut_to(disabled, TRANSITION_REASON_CHARS_MAX),
        by: cut_to(by, CALLER_CHARS_MAX),
        at: Some(work.at),
    };
    let head = &mut work.head_mut().stages[index];
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
fn cancel_all(work: &mut Work<'_>, why: &str) -> Vec<ActionExecutionId> {
    let mut tokens = Vec::new();
    let live: Vec<ExecutionId> = work.executions().map(|execution| execution.id).collect();
    for mut execution in live.into_iter().filter_map(|id| work.take(id)).collect::<Vec<Execution>>() {
        tokens.extend(execution.runs.values().filter_map(|run| run.approval_token()));
        if execution.progress.inbound_since.is_none() {
            stop::abandon_actions(work, &mut execution, &ActionHappening::Canceled);
            conditions::cancel(work, &mut execution);
            stages::leave(work, &mut execution, StageStatus::Cancelled, StageState::Canceled);
        }
        stages::end_execution(work, &mut execution, ExecutionStatus::Cancelled, Some(why.to_owned()));
        work.put(execution);
    }
    tokens
}

fn set_version(declaration: &mut Arc<PipelineDeclaration>, version: u32) {
    if declaration.version != Some(version) {
        Arc::make_mut(declaration).version = Some(version);
    }
}

//! The life of one action execution: it starts, waits and is called again, and ends.
//!
//! Must not know which action comes next (`stages`).

use std::sync::Arc;

use super::effect::Effect;
use super::event::{ActionEvent, ActionHappening, Event};
use super::execution::{APPROVAL_SIGNAL, ActionRun, ActionStatus, Execution};
use super::ids::{ActionExecutionId, Place, TimerId, TimerKind};
use super::input::{Report, SIGNAL_PAYLOAD_BYTES_MAX};
use super::kept::{self, SUMMARY_BYTES_MAX, cut};
use super::refusal::Refusal;
use super::report::{ActionError, CONTINUATION_BYTES_MAX, Failure, FailureType, Resumption, Success, Told, Wait, Wake};
use super::resolve::{self, timers};
use super::stages;
use super::step::Reply;
use super::work::Work;
use crate::declaration::{ActionCategory, ActionDeclaration, ActionOwner};

const MINUTE: u64 = 60 * 1000;

/// How long an action may take, waits included (contract §6). Stops an action that hangs from holding its stage for ever.
fn timeout_milliseconds(action: &ActionDeclaration) -> u64 {
    let id = &action.action_type_id;
    let minutes = match (id.category, id.owner, id.provider.as_str()) {
        _ if action.timeout_in_minutes.is_some() => u64::from(action.timeout_in_minutes.unwrap_or_default()),
        (ActionCategory::Approval, _, _) | (_, ActionOwner::AWS, "StepFunctions") => 7 * 24 * 60,
        (_, ActionOwner::AWS, "CodeDeploy") => 5 * 24 * 60,
        (_, ActionOwner::AWS, "CloudFormation") => 3 * 24 * 60,
        (_, ActionOwner::Custom, _) | (_, ActionOwner::AWS, "Lambda") => 24 * 60,
        (ActionCategory::Deploy, ActionOwner::AWS, "S3") => 90,
        (_, ActionOwner::AWS, "Commands") => 55,
        _ => 60,
    };
    minutes * MINUTE
}

/// Starts an action that has no run yet; one whose variables cannot be resolved fails at once.
pub(super) fn start(work: &mut Work<'_>, execution: &mut Execution, place: Place) {
    let mut run = ActionRun {
        id: work.ids.action_execution(),
        status: ActionStatus::InProgress,
        started: work.at,
        updated: work.at,
        deadline: work.at.plus(timeout_milliseconds(work.action(place))),
        call: 1,
        attempt: 1,
        wait: None,
        resumed: None,
        decision: None,
        told: Told::default(),
        variables: Default::default(),
        artifacts: Default::default(),
        revision: None,
        error: None,
    };
    match resolve::call(&work.declaration, execution, place, &run) {
        Ok(call) => {
            let declared = work.action(place).configuration.as_ref();
            let resolved = Some(&call.configuration).filter(|resolved| declared.is_some_and(|it| it != *resolved));
            let inputs = call.inputs.iter().cloned().collect();
            let started = ActionHappening::Started { inputs, resolved_configuration: resolved.cloned() };
            tell(work, execution, place, run.id, started);
            work.effects.extend(timers(&run).map(|(id, at)| Effect::SetTimer { id, at }));
            work.effects.push(Effect::RunAction(Box::new(call)));
        }
        Err(error) => {
            let started = ActionHappening::Started { inputs: Default::default(), resolved_configuration: None };
            tell(work, execution, place, run.id, started);
            fail(work, execution, place, &mut run, Failure { error, told: Told::default() });
        }
    }
    execution.actions.insert(place, Arc::new(run));
}

/// A call ended.
pub(super) fn reported(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    call: u32,
    report: Report,
) -> Result<Reply, Refusal> {
    let (mut execution, place, mut run) = find(work, action)?;
    if !run.running() || run.call != call {
        return Err(Refusal::Stale);
    }
    match report {
        Report::Succeeded(success) => match objection(work.action(place), &execution, &success) {
            None => succeed(work, &mut execution, place, &mut run, *success),
            Some(error) => finish_failed(work, &mut execution, place, &mut run, Failure { error, told: success.told }),
        },
        Report::Failed(failure) => finish_failed(work, &mut execution, place, &mut run, *failure),
        Report::Waiting(wait) => wait_for(work, &mut execution, place, &mut run, wait),
    }
    settle(work, execution, place, run);
    Ok(Reply::Done)
}

/// Something that an action may wait for. An approval's signal comes from `approvals` alone, or it would need no token.
pub(super) fn signal(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    kind: String,
    payload: Vec<u8>,
) -> Result<Reply, Refusal> {
    if payload.len() > SIGNAL_PAYLOAD_BYTES_MAX {
        return Err(Refusal::SignalTooLarge { bytes: payload.len(), bytes_max: SIGNAL_PAYLOAD_BYTES_MAX });
    }
    let (mut execution, place, mut run) = find(work, action)?;
    let awaited = run.wait.as_ref().and_then(|wait| wait.signal.as_ref());
    if awaited != Some(&kind) || kind == APPROVAL_SIGNAL {
        return Err(Refusal::NotWaiting { kind });
    }
    resume(work, &mut execution, place, &mut run, Wake::Signal { kind, payload: payload.into() });
    settle(work, execution, place, run);
    Ok(Reply::Done)
}

/// A timer rang.
pub(super) fn timer_due(work: &mut Work<'_>, timer: TimerId) -> Result<Reply, Refusal> {
    let (mut execution, place, mut run) = find(work, timer.action)?;
    if !timers(&run).any(|(id, _)| id == timer) {
        return Err(Refusal::Stale);
    }
    match timer.kind {
        TimerKind::Wake { .. } => resume(work, &mut execution, place, &mut run, Wake::Time),
        TimerKind::Timeout => {
            let minutes = run.deadline.0.saturating_sub(run.started.0) / MINUTE;
            let message = format!("The action did not end within its timeout of {minutes} minutes");
            release(work, &execution, &run, Some(timer.kind));
            let error = ActionError::new(FailureType::JobFailed, message);
            fail(work, &execution, place, &mut run, Failure { error, told: Told::default() });
        }
    }
    settle(work, execution, place, run);
    Ok(Reply::Done)
}

/// The host died while a call ran: asks for it again, as a further attempt.
pub(super) fn restarted(work: &mut Work<'_>, action: ActionExecutionId) -> Result<Reply, Refusal> {
    let (mut execution, place, mut run) = find(work, action)?;
    if !run.running() {
        return Err(Refusal::Stale);
    }
    run.attempt += 1;
    tell(work, &execution, place, run.id, ActionHappening::Restarted { attempt: run.attempt });
    run_again(work, &mut execution, place, &mut run);
    settle(work, execution, place, run);
    Ok(Reply::Done)
}

/// Ends an action in progress without an outcome: it is abandoned, or its execution is cancelled.
pub(super) fn abandon(work: &mut Work<'_>, execution: &mut Execution, place: Place, what: ActionHappening) {
    let Some(mut run) = execution.actions.get(&place).filter(|run| run.in_progress()).map(|run| (**run).clone()) else {
        return;
    };
    release(work, execution, &run, None);
    end(work, &mut run, ActionStatus::Abandoned);
    tell(work, execution, place, run.id, what);
    execution.actions.insert(place, Arc::new(run));
}

/// An action in progress, taken out with its execution.
fn find(work: &Work<'_>, action: ActionExecutionId) -> Result<(Execution, Place, ActionRun), Refusal> {
    let mut executions = work.executions();
    executions
        .find_map(|execution| {
            let mut runs = execution.stage_actions(execution.stage());
            let (place, run) = runs.find(|(_, run)| run.id == action && run.in_progress())?;
            Some((execution.clone(), place, (**run).clone()))
        })
        .ok_or(Refusal::Stale)
}

/// Puts a changed action back, and lets its execution go on.
pub(super) fn settle(work: &mut Work<'_>, mut execution: Execution, place: Place, run: ActionRun) {
    let ended = !run.in_progress();
    execution.actions.insert(place, Arc::new(run));
    if ended {
        stages::advance(work, &mut execution);
    }
    work.put(execution);
}

/// What is wrong with a success.
fn objection(action: &ActionDeclaration, execution: &Execution, success: &Success) -> Option<ActionError> {
    let missing = action.outputs().find(|name| !success.artifacts.contains_key(*name));
    let surplus = success.artifacts.keys().find(|name| action.outputs().all(|declared| declared != name.as_str()));
    let message = if let Some(name) = missing {
        Some(format!("The action declares the output artifact {name}, but did not make it"))
    } else if let Some(name) = surplus {
        Some(format!("The action made the output artifact {name}, but does not declare it"))
    } else {
        kept::objection(execution, &success.variables, action.namespace.is_some())
    };
    message.map(|message| ActionError::new(FailureType::JobFailed, message))
}

fn succeed(work: &mut Work<'_>, execution: &mut Execution, place: Place, run: &mut ActionRun, mut success: Success) {
    success.told.clamp();
    clear_timers(work, run, None);
    end(work, run, ActionStatus::Succeeded);
    run.told = success.told;
    run.artifacts = success.artifacts;
    run.revision = success.revision;
    if let Some(revision) = &mut run.revision {
        revision.clamp();
    }
    let variables = Arc::new(success.variables);
    if !variables.is_empty() && work.action(place).namespace.is_some() {
        run.variables = variables.clone();
    }
    let (artifacts, revision, told) = (run.artifacts.clone(), run.revision.clone(), run.told.clone());
    kept::trim(execution, place, run);
    tell(work, execution, place, run.id, ActionHappening::Succeeded { artifacts, variables, revision, told });
}

/// Ends an action in failure that has just reported.
fn finish_failed(work: &mut Work<'_>, execution: &mut Execution, place: Place, run: &mut ActionRun, failure: Failure) {
    clear_timers(work, run, None);
    fail(work, execution, place, run, failure);
}

fn fail(work: &mut Work<'_>, execution: &Execution, place: Place, run: &mut ActionRun, mut failure: Failure) {
    failure.told.clamp();
    let error = ActionError::new(failure.error.kind, failure.error.message);
    end(work, run, ActionStatus::Failed);
    run.told = failure.told;
    run.error = Some(error.clone());
    let told = run.told.clone();
    kept::trim(execution, place, run);
    tell(work, execution, place, run.id, ActionHappening::Failed { error, told });
}

fn wait_for(work: &mut Work<'_>, execution: &mut Execution, place: Place, run: &mut ActionRun, mut wait: Wait) {
    let objection = if wait.until.is_none() && wait.signal.is_none() {
        Some("The action waits for nothing: it must name a time or a signal".to_owned())
    } else if run.decision.is_some() && wait.signal.as_deref() == Some(APPROVAL_SIGNAL) {
        Some("The action asks for an approval again that was answered: a token is good for one answer".to_owned())
    } else if wait.continuation.len() > CONTINUATION_BYTES_MAX {
        let bytes = wait.continuation.len();
        Some(format!("The action's continuation has {bytes} bytes, which is more than {CONTINUATION_BYTES_MAX}"))
    } else {
        None
    };
    if let Some(message) = objection {
        let error = ActionError::new(FailureType::JobFailed, message);
        return finish_failed(work, execution, place, run, Failure { error, told: Told::default() });
    }
    cut(&mut wait.summary, SUMMARY_BYTES_MAX);
    let (until, signal, summary) = (wait.until, wait.signal.clone(), wait.summary.clone());
    tell(work, execution, place, run.id, ActionHappening::Waiting { until, signal, summary });
    run.updated = work.at;
    run.resumed = None;
    run.wait = Some(wait);
    let wake = timers(run).filter(|(id, _)| id.kind != TimerKind::Timeout);
    work.effects.extend(wake.map(|(id, at)| Effect::SetTimer { id, at }));
}

/// Calls a waiting action again.
pub(super) fn resume(work: &mut Work<'_>, execution: &mut Execution, place: Place, run: &mut ActionRun, wake: Wake) {
    let Some(wait) = run.wait.take() else { return };
    let signal = match &wake {
        Wake::Signal { kind, .. } => Some(kind.clone()),
        Wake::Time => None,
    };
    if wait.until.is_some() && signal.is_some() {
        let id = TimerId { action: run.id, kind: TimerKind::Wake { call: run.call } };
        work.effects.push(Effect::ClearTimer { id });
    }
    run.call += 1;
    run.updated = work.at;
    run.resumed = Some(Resumption { continuation: wait.continuation, wake });
    tell(work, execution, place, run.id, ActionHappening::Resumed { call: run.call, signal });
    run_again(work, execution, place, run);
}

fn run_again(work: &mut Work<'_>, execution: &mut Execution, place: Place, run: &mut ActionRun) {
    match resolve::call(&work.declaration, execution, place, run) {
        Ok(call) => work.effects.push(Effect::RunAction(Box::new(call))),
        Err(error) => finish_failed(work, execution, place, run, Failure { error, told: Told::default() }),
    }
}

fn end(work: &Work<'_>, run: &mut ActionRun, status: ActionStatus) {
    run.status = status;
    run.updated = work.at;
    run.wait = None;
    run.resumed = None;
}

/// Calls off what an action in progress has outstanding, but for the timer that is being answered.
fn release(work: &mut Work<'_>, execution: &Execution, run: &ActionRun, due: Option<TimerKind>) {
    clear_timers(work, run, due);
    if run.running() {
        work.effects.push(Effect::StopAction { execution: execution.id, action: run.id });
    }
}

fn clear_timers(work: &mut Work<'_>, run: &ActionRun, due: Option<TimerKind>) {
    let left = timers(run).filter(|(id, _)| Some(id.kind) != due);
    work.effects.extend(left.map(|(id, _)| Effect::ClearTimer { id }));
}

/// Tells what happened to an action.
pub(super) fn tell(
    work: &mut Work<'_>,
    execution: &Execution,
    place: Place,
    action_execution: ActionExecutionId,
    what: ActionHappening,
) {
    let (stage, action) = (&work.declaration.stages[usize::from(place.stage)], work.action(place));
    let event = ActionEvent {
        execution: execution.id,
        version: execution.start.version,
        stage: stage.name.clone(),
        action: action.name.clone(),
        action_execution,
        action_type: action.action_type_id.clone(),
        what,
    };
    work.events.push(Event::Action(Box::new(event)));
}

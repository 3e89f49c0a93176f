//! The life of one execution of an action or of a rule: it starts, waits and is called again, and ends.
//!
//! Must not know which action comes next (`stages`).

use std::sync::Arc;

use super::address::{Address, RuleAddress};
use super::bounds::{self, DIGEST_BYTES_MAX, SUMMARY_CHARS_MAX, cut};
use super::declared::Declared;
use super::effect::Effect;
use super::event::{ActionEvent, ActionHappening, Event, RuleEvent, WaitEvent};
use super::execution::{ActionRun, ActionStatus, Execution};
use super::ids::{ActionExecutionId, TimerId, TimerKind};
use super::input::{ApprovalStatus, SIGNAL_PAYLOAD_BYTES_MAX};
use super::refusal::Refusal;
use super::report::{
    ActionError, Awaited, CALLS_COUNT_MAX, CONTINUATION_BYTES_MAX, ExecutionDetails, Failure, FailureType, Outcome,
    Report, Resumption, SIGNAL_KIND_BYTES_MAX, Success, Usage, Verdict, WAIT_MILLISECONDS_MIN, Wait, Wake,
};
use super::resolve::{self, timers};
use super::step::Reply;
use super::work::Work;
use super::{jobs, stages};

const MINUTE: u64 = 60 * 1000;
/// After so many crashes of the host while an action runs, it is not run again. Stops an action that crashes the host from
/// doing so at each of its starts.
const CRASHES_COUNT_MAX: u32 = 2;

/// Starts an action that has no run yet; one whose variables cannot be resolved fails at once.
pub(super) fn start(work: &mut Work<'_>, execution: &mut Execution, address: Address) {
    let mut run = ActionRun {
        id: work.ids.action_execution(),
        status: ActionStatus::InProgress,
        started: work.at,
        updated: work.at,
        deadline: work.at.plus(work.declared(address).timeout_milliseconds()),
        call: 1,
        attempt: 1,
        crashes: 0,
        spent: Usage::default(),
        wait: None,
        resumed: None,
        decision: None,
        job: None,
        told: ExecutionDetails::default(),
        variables: Default::default(),
        artifacts: Default::default(),
        revision: None,
        error: None,
    };
    match resolve::call(&work.declaration, execution, address, &run) {
        Ok(call) => {
            let declared = work.declared(address).configuration();
            let resolved = Some(&call.configuration).filter(|resolved| declared.is_some_and(|it| it != *resolved));
            let inputs = call.inputs.iter().cloned().collect();
            let started = ActionHappening::Started { inputs, resolved_configuration: resolved.cloned() };
            tell(work, execution, address, run.id, started);
            work.effects.extend(timers(&run).map(|(id, at)| Effect::SetTimer { id, at }));
            work.effects.push(Effect::RunAction(Box::new(call)));
        }
        Err(error) => {
            let started = ActionHappening::Started { inputs: Default::default(), resolved_configuration: None };
            tell(work, execution, address, run.id, started);
            fail(work, execution, address, &mut run, error.into());
        }
    }
    execution.runs.insert(address, Arc::new(run));
}

/// A call ended. What it used counts, however it ended.
pub(super) fn reported(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    call: u32,
    report: Report,
) -> Result<Reply, Refusal> {
    let (execution, address, mut run) = find(work, action)?;
    if !run.running() || run.call != call {
        return Err(Refusal::Stale);
    }
    run.spent.add(report.usage);
    match report.outcome {
        Outcome::Waiting(wait) if !is_decided(work, address, &run) => {
            wait_for(work, &execution, address, &mut run, wait);
        }
        outcome => {
            clear_timers(work, &run, None);
            end(work, &execution, address, &mut run, outcome);
        }
    }
    settle(work, execution, address, run);
    Ok(Reply::Done)
}

/// Something that an action may wait for. A decision comes from `approvals` alone, or it would need no token.
pub(super) fn signal(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    kind: String,
    payload: Vec<u8>,
) -> Result<Reply, Refusal> {
    if payload.len() > SIGNAL_PAYLOAD_BYTES_MAX {
        return Err(Refusal::SignalTooLarge { bytes: payload.len(), bytes_max: SIGNAL_PAYLOAD_BYTES_MAX });
    }
    let (execution, address, mut run) = find(work, action)?;
    let mut awaits = run.wait.iter().flat_map(|wait| &wait.awaits);
    if !awaits.any(|awaited| matches!(awaited, Awaited::Signal(awaited) if *awaited == kind)) {
        return Err(Refusal::NotWaiting { kind });
    }
    resume(work, &execution, address, &mut run, Wake::Signal { kind, payload: payload.into() });
    settle(work, execution, address, run);
    Ok(Reply::Done)
}

/// A timer rang.
pub(super) fn timer_due(work: &mut Work<'_>, timer: TimerId) -> Result<Reply, Refusal> {
    let (execution, address, mut run) = find(work, timer.action)?;
    if !timers(&run).any(|(id, _)| id == timer) {
        return Err(Refusal::Stale);
    }
    match timer.kind {
        TimerKind::Wake { .. } => resume(work, &execution, address, &mut run, Wake::Time),
        TimerKind::Offer { .. } => jobs::lapse(work, &execution, address, &mut run),
        TimerKind::Job { .. } => {
            release(work, &execution, &run, Some(timer.kind));
            let outcome = jobs::not_reported(work.declared(address));
            end(work, &execution, address, &mut run, outcome);
        }
        TimerKind::Timeout => {
            let minutes = run.deadline.0.saturating_sub(run.started.0) / MINUTE;
            let kind = work.declared(address).kind();
            let message = format!("The {kind} did not end within its timeout of {minutes} minutes");
            release(work, &execution, &run, Some(timer.kind));
            let error = ActionError::new(FailureType::JobFailed, message);
            end(work, &execution, address, &mut run, error.into());
        }
    }
    settle(work, execution, address, run);
    Ok(Reply::Done)
}

/// The host went down while a call ran: asks for it again, as a further attempt, unless it may be what crashes the host.
pub(super) fn restarted(work: &mut Work<'_>, action: ActionExecutionId, crashed: bool) -> Result<Reply, Refusal> {
    let (execution, address, mut run) = find(work, action)?;
    if !run.running() {
        return Err(Refusal::Stale);
    }
    run.crashes += u32::from(crashed);
    if run.crashes >= CRASHES_COUNT_MAX {
        let message = format!(
            "The host crashed {} times while the action ran, and it is not run again: perhaps it is the action that crashes \
             the host. The host's log may say more; to run it nevertheless, retry the stage",
            run.crashes
        );
        clear_timers(work, &run, None);
        let error = ActionError::new(FailureType::SystemUnavailable, message);
        end(work, &execution, address, &mut run, error.into());
    } else {
        run.attempt += 1;
        tell(work, &execution, address, run.id, ActionHappening::Restarted { attempt: run.attempt });
        run_again(work, &execution, address, &mut run);
    }
    settle(work, execution, address, run);
    Ok(Reply::Done)
}

/// Ends an action in progress without an outcome: it is abandoned, or its execution is cancelled. What a person has decided
/// stays so.
pub(super) fn abandon(work: &mut Work<'_>, execution: &mut Execution, address: Address, what: ActionHappening) {
    let run = execution.runs.get(&address).filter(|run| run.in_progress());
    let Some(mut run) = run.map(|run| (**run).clone()) else { return };
    release(work, execution, &run, None);
    if is_decided(work, address, &run) {
        end_as_decided(work, execution, address, &mut run, Success::default());
    } else {
        set_ended(work, &mut run, ActionStatus::Abandoned);
        bounds::trim(execution, address, &mut run, work.room_bytes());
        tell(work, execution, address, run.id, what);
    }
    execution.runs.insert(address, Arc::new(run));
}

/// An action in progress, taken out with its execution.
pub(super) fn find(work: &Work<'_>, action: ActionExecutionId) -> Result<(Execution, Address, ActionRun), Refusal> {
    let execution = work.execution_of(action).ok_or(Refusal::Stale)?;
    let mut runs = execution.stage_runs(execution.stage());
    let (address, run) = runs.find(|(_, run)| run.id == action && run.in_progress()).ok_or(Refusal::Stale)?;
    Ok((execution.clone(), address, (**run).clone()))
}

/// Puts a changed action back, and lets its execution go on.
pub(super) fn settle(work: &mut Work<'_>, mut execution: Execution, address: Address, run: ActionRun) {
    let ended = !run.in_progress();
    execution.runs.insert(address, Arc::new(run));
    if ended {
        stages::advance(work, &mut execution);
    }
    work.put(execution);
}

/// Whether a person has fixed how the action ends. An action of another category that asks for an approval decides by itself
/// what to make of it.
fn is_decided(work: &Work<'_>, address: Address, run: &ActionRun) -> bool {
    run.decision.is_some() && work.declared(address).is_approval()
}

/// Ends an action by the outcome of its last call, or as a person has decided.
pub(super) fn end(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, outcome: Outcome) {
    let is_decided = is_decided(work, address, run);
    match outcome {
        Outcome::Succeeded(success) if is_decided => end_as_decided(work, execution, address, run, *success),
        Outcome::Failed(failure) if is_decided => {
            let success = Success { told: failure.told, ..Success::default() };
            end_as_decided(work, execution, address, run, success);
        }
        Outcome::Decided(verdict) if is_decided => {
            let success = Success { told: verdict.told, ..Success::default() };
            end_as_decided(work, execution, address, run, success);
        }
        Outcome::Decided(verdict) => decide(work, execution, address, run, *verdict),
        Outcome::Succeeded(success) => match objection(work, execution, address, &success) {
            None => succeed(work, execution, address, run, *success),
            Some(error) => fail(work, execution, address, run, Failure::instead_of(success.told, error)),
        },
        Outcome::Failed(failure) => fail(work, execution, address, run, *failure),
        Outcome::Waiting(_) => end_as_decided(work, execution, address, run, Success::default()),
    }
}

/// The plugin that was told of a decision adds variables and links, and nothing else.
fn end_as_decided(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, success: Success) {
    let Some(decision) = &run.decision else { return };
    let words = Some(decision.summary.clone()).filter(|words| !words.is_empty());
    let told = ExecutionDetails { summary: words.clone(), links: success.told.links, ..ExecutionDetails::default() };
    match decision.status {
        ApprovalStatus::Approved => {
            let are_kept = work.declared(address).namespace().is_some();
            let made = (&success.variables, None);
            let objection = bounds::variables_objection(execution, made, are_kept, work.room_bytes());
            let variables = if objection.is_none() { success.variables } else { Default::default() };
            succeed(work, execution, address, run, Success { variables, told, ..Success::default() });
        }
        ApprovalStatus::Rejected => {
            let message = words.map_or("rejected".to_owned(), |words| format!("rejected: {words}"));
            let error = ActionError::new(FailureType::JobFailed, message);
            fail(work, execution, address, run, Failure { error, told });
        }
    }
}

/// What is wrong with a success.
fn objection(work: &Work<'_>, execution: &Execution, address: Address, success: &Success) -> Option<ActionError> {
    let Declared::Action(action) = work.declared(address) else {
        return Some(ActionError::new(FailureType::JobFailed, "The rule ended without a verdict"));
    };
    let missing = action.outputs().find(|name| !success.artifacts.contains_key(*name));
    let surplus = success.artifacts.keys().find(|name| action.outputs().all(|declared| declared != name.as_str()));
    let message = if let Some(name) = missing {
        Some(format!("The action declares the output artifact {name}, but did not make it"))
    } else if let Some(name) = surplus {
        Some(format!("The action made the output artifact {name}, but does not declare it"))
    } else if success.artifacts.values().any(|digest| digest.len() > DIGEST_BYTES_MAX) {
        Some(format!("The digest of an output artifact has more than {DIGEST_BYTES_MAX} bytes"))
    } else {
        let are_kept = action.namespace.is_some();
        let made = (&success.variables, success.revision.as_ref());
        bounds::variables_objection(execution, made, are_kept, work.room_bytes())
    };
    message.map(|message| ActionError::new(FailureType::JobFailed, message))
}

/// A rule says whether what it looks at is as its condition wants it.
fn decide(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, mut verdict: Verdict) {
    verdict.told.clamp();
    if let Declared::Action(_) = work.declared(address) {
        let error = ActionError::new(FailureType::JobFailed, "The action gave a verdict, as only a rule does");
        return fail(work, execution, address, run, Failure::instead_of(verdict.told, error));
    }
    if verdict.passed {
        return succeed(work, execution, address, run, Success { told: verdict.told, ..Success::default() });
    }
    set_ended(work, run, ActionStatus::Failed);
    run.told = verdict.told.clone();
    bounds::trim(execution, address, run, work.room_bytes());
    tell(work, execution, address, run.id, ActionHappening::NotPassed { told: verdict.told });
}

fn succeed(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, mut success: Success) {
    success.told.clamp();
    set_ended(work, run, ActionStatus::Succeeded);
    run.told = success.told;
    run.artifacts = success.artifacts;
    run.revision = success.revision;
    if let Some(revision) = &mut run.revision {
        revision.clamp();
    }
    let variables = Arc::new(success.variables);
    if !variables.is_empty() && work.declared(address).namespace().is_some() {
        run.variables = variables.clone();
    }
    let (artifacts, revision, told) = (run.artifacts.clone(), run.revision.clone(), run.told.clone());
    bounds::trim(execution, address, run, work.room_bytes());
    tell(work, execution, address, run.id, ActionHappening::Succeeded { artifacts, variables, revision, told });
}

fn fail(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, mut failure: Failure) {
    failure.told.clamp();
    let error = ActionError::new(failure.error.kind, failure.error.message);
    set_ended(work, run, ActionStatus::Failed);
    run.told = failure.told;
    run.error = Some(error.clone());
    let told = run.told.clone();
    bounds::trim(execution, address, run, work.room_bytes());
    tell(work, execution, address, run.id, ActionHappening::Failed { error, told });
}

fn wait_for(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, mut wait: Wait) {
    if let Some(message) = wait_objection(work.declared(address), run, &wait) {
        clear_timers(work, run, None);
        return fail(work, execution, address, run, ActionError::new(FailureType::JobFailed, message).into());
    }
    let earliest = work.at.plus(WAIT_MILLISECONDS_MIN);
    for awaited in &mut wait.awaits {
        if let Awaited::Time(at) = awaited {
            *at = earliest.max(*at);
        }
    }
    cut(&mut wait.summary, SUMMARY_CHARS_MAX);
    let is_for_job = wait.awaits.iter().any(|awaited| matches!(awaited, Awaited::Job { .. }));
    let event = WaitEvent { awaits: wait.awaits.clone(), summary: wait.summary.clone() };
    tell(work, execution, address, run.id, ActionHappening::Waiting(event));
    run.updated = work.at;
    run.resumed = None;
    run.wait = Some(wait);
    let wake = timers(run).filter(|(id, _)| id.kind != TimerKind::Timeout);
    work.effects.extend(wake.map(|(id, at)| Effect::SetTimer { id, at }));
    if is_for_job {
        jobs::queue(work, execution, address, run);
    }
}

/// What is wrong with a wait.
fn wait_objection(declared: Declared<'_>, run: &ActionRun, wait: &Wait) -> Option<String> {
    let bytes = wait.continuation.len();
    let is_too_long =
        |awaited: &Awaited| matches!(awaited, Awaited::Signal(kind) if kind.len() > SIGNAL_KIND_BYTES_MAX);
    if wait.awaits.is_empty() {
        Some("The action waits for nothing: it must name a time or a signal".to_owned())
    } else if matches!(declared, Declared::Rule(_)) && wait.awaits.contains(&Awaited::Approval) {
        Some("The rule waits for an approval, which only an action can ask for".to_owned())
    } else if run.decision.is_some() && wait.awaits.contains(&Awaited::Approval) {
        Some("The action asks for an approval again that was answered: a token is good for one answer".to_owned())
    } else if bytes > CONTINUATION_BYTES_MAX {
        Some(format!("The action's continuation has {bytes} bytes, which is more than {CONTINUATION_BYTES_MAX}"))
    } else if wait.awaits.iter().any(is_too_long) {
        Some(format!("The kind of the signal that the action waits for has more than {SIGNAL_KIND_BYTES_MAX} bytes"))
    } else if run.call >= CALLS_COUNT_MAX {
        Some(format!("The action was called {} times and waits again: it must wait longer, or end", run.call))
    } else {
        None
    }
}

/// Calls a waiting action again.
pub(super) fn resume(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, wake: Wake) {
    let Some(wait) = run.wait.take() else { return };
    if wait.until().is_some() && wake != Wake::Time {
        let id = TimerId { action: run.id, kind: TimerKind::Wake { call: run.call } };
        work.effects.push(Effect::ClearTimer { id });
    }
    let signal = wake.signal().map(str::to_owned);
    run.call += 1;
    run.updated = work.at;
    run.resumed = Some(Resumption { continuation: wait.continuation, wake });
    tell(work, execution, address, run.id, ActionHappening::Resumed { call: run.call, signal });
    run_again(work, execution, address, run);
}

fn run_again(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun) {
    match resolve::call(&work.declaration, execution, address, run) {
        Ok(call) => work.effects.push(Effect::RunAction(Box::new(call))),
        Err(error) => {
            clear_timers(work, run, None);
            end(work, execution, address, run, error.into());
        }
    }
}

fn set_ended(work: &Work<'_>, run: &mut ActionRun, status: ActionStatus) {
    run.status = status;
    run.updated = work.at;
    run.wait = None;
    run.resumed = None;
    run.job = None;
}

/// Calls off what an action in progress has outstanding, but for the timer that is being answered.
fn release(work: &mut Work<'_>, execution: &Execution, run: &ActionRun, due: Option<TimerKind>) {
    clear_timers(work, run, due);
    if run.running() {
        work.effects.push(Effect::StopAction { execution: execution.id, action: run.id });
    }
}

pub(super) fn clear_timers(work: &mut Work<'_>, run: &ActionRun, due: Option<TimerKind>) {
    let left = timers(run).filter(|(id, _)| Some(id.kind) != due);
    work.effects.extend(left.map(|(id, _)| Effect::ClearTimer { id }));
}

/// Tells what happened to an action.
pub(super) fn tell(
    work: &mut Work<'_>,
    execution: &Execution,
    address: Address,
    action_execution: ActionExecutionId,
    what: ActionHappening,
) {
    let stage = work.declaration.stages[address.stage()].name.clone();
    let before = execution.runs.get(&address).filter(|run| run.id == action_execution);
    let started = before.map_or(work.at, |run| run.started);
    let (execution, version, attempt) = (execution.id, execution.start.version, execution.progress.attempt);
    work.events.push(match (work.declared(address), address) {
        (Declared::Action(declared), _) => Event::Action(Box::new(ActionEvent {
            execution,
            version,
            stage,
            action: declared.name.clone(),
            action_execution,
            action_type: declared.action_type_id.clone(),
            started: Some(started),
            attempt,
            what,
        })),
        (Declared::Rule(declared), Address::Rule(RuleAddress { condition, .. })) => Event::Rule(Box::new(RuleEvent {
            execution,
            version,
            stage,
            condition,
            rule: declared.name.clone(),
            rule_execution: action_execution,
            rule_type: declared.rule_type_id.clone(),
            what,
        })),
        (Declared::Rule(_), Address::Action(_)) => return,
    });
}

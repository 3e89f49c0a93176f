//! A person's answer to an approval request (contract §7.8).
//!
//! The answer becomes a signal to the waiting action, which decides. Must not know how a request is shown.

use serde::Serialize;

use super::actions;
use super::event::ActionHappening;
use super::execution::{APPROVAL_SIGNAL, Decision};
use super::ids::{ActionExecutionId, Place};
use super::input::{ApprovalAnswer, ApprovalStatus};
use super::kept::{SUMMARY_BYTES_MAX, truncate};
use super::refusal::Refusal;
use super::report::Wake;
use super::step::Reply;
use super::work::Work;

/// The payload of an approval's signal (the plugin ABI's `signal`).
#[derive(Serialize)]
struct Payload<'a> {
    status: ApprovalStatus,
    summary: &'a str,
    by: &'a str,
}

pub(super) fn put_result(work: &mut Work<'_>, mut answer: ApprovalAnswer) -> Result<Reply, Refusal> {
    let place = place_of(work, &answer)?;
    let token: ActionExecutionId = answer.token.parse().map_err(|_| Refusal::InvalidApprovalToken)?;
    let mut executions = work.executions();
    let asked = executions.find(|execution| execution.actions.get(&place).is_some_and(|run| run.id == token));
    let Some(mut execution) = asked.cloned() else {
        return Err(match work.head.outdated_approvals.contains(&token) {
            true => Refusal::ApprovalOutdated { pipeline: work.declaration.name.clone() },
            false => Refusal::InvalidApprovalToken,
        });
    };
    let mut run = (*execution.actions[&place]).clone();
    if run.decision.is_some() {
        return Err(Refusal::ApprovalAlreadyCompleted);
    }
    if run.approval_token().is_none() {
        return Err(Refusal::InvalidApprovalToken);
    }
    truncate(&mut answer.summary, SUMMARY_BYTES_MAX);
    let payload =
        Payload { status: answer.status, summary: &answer.summary, by: answer.by.as_deref().unwrap_or_default() };
    let payload = serde_json::to_vec(&payload).unwrap_or_default();
    let decision = Decision { status: answer.status, summary: answer.summary, by: answer.by, at: work.at };
    actions::tell(work, &execution, place, run.id, ActionHappening::Decided(decision.clone()));
    run.decision = Some(decision);
    let wake = Wake::Signal { kind: APPROVAL_SIGNAL.to_owned(), payload: payload.into() };
    actions::resume(work, &mut execution, place, &mut run, wake);
    actions::settle(work, execution, place, run);
    Ok(Reply::Done)
}

fn place_of(work: &Work<'_>, answer: &ApprovalAnswer) -> Result<Place, Refusal> {
    let stage = work.stage_index(&answer.stage)?;
    let mut actions = work.declaration.stages[stage].actions.iter();
    let action = actions.position(|action| action.name == answer.action).ok_or_else(|| Refusal::ActionNotFound {
        pipeline: work.declaration.name.clone(),
        stage: answer.stage.clone(),
        action: answer.action.clone(),
    })?;
    Ok(Place { stage: stage as u16, action: action as u16 })
}

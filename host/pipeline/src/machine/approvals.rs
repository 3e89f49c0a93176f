//! A person's answer to an approval request.
//!
//! The answer fixes how an approval action ends; its plugin is then told. Must not know how a request is shown.

use pipewright_text::cut_chars;

use super::actions;
use super::address::ActionAddress;
use super::bounds::{APPROVAL_SUMMARY_CHARS_MAX, CALLER_CHARS_MAX, cut_to};
use super::event::ActionHappening;
use super::execution::{Decision, Execution};
use super::ids::ActionExecutionId;
use super::input::ApprovalAnswer;
use super::refusal::Refusal;
use super::report::Wake;
use super::step::Reply;
use super::work::Work;

pub(super) fn put_result(work: &mut Work<'_>, mut answer: ApprovalAnswer) -> Result<Reply, Refusal> {
    let address = address_of(work, &answer)?;
    let token: ActionExecutionId = answer.token.parse().map_err(|_| Refusal::InvalidApprovalToken)?;
    // One that was answered may have ended since, and is then looked for among all.
    let is_asked = |execution: &&Execution| execution.action(address).is_some_and(|run| run.id == token);
    let asked = work.execution_of(token).filter(is_asked).or_else(|| work.executions().find(is_asked));
    let Some(execution) = asked.cloned() else {
        return Err(match work.head.outdated_approvals.contains(&token) {
            true => Refusal::ApprovalOutdated { pipeline: work.declaration.name.clone() },
            false => Refusal::InvalidApprovalToken,
        });
    };
    let mut run = execution.action(address).map(|run| (**run).clone()).ok_or(Refusal::InvalidApprovalToken)?;
    if run.decision.is_some() {
        return Err(Refusal::ApprovalAlreadyCompleted);
    }
    if run.approval_token().is_none() {
        return Err(Refusal::InvalidApprovalToken);
    }
    cut_chars(&mut answer.summary, APPROVAL_SUMMARY_CHARS_MAX);
    let by = cut_to(answer.by, CALLER_CHARS_MAX);
    let decision = Decision { status: answer.status, summary: answer.summary, by, at: work.at };
    actions::tell(work, &execution, address.into(), run.id, ActionHappening::Decided(decision.clone()));
    run.decision = Some(decision.clone());
    actions::resume(work, &execution, address.into(), &mut run, Wake::Approval(decision));
    actions::settle(work, execution, address.into(), run);
    Ok(Reply::Done)
}

fn address_of(work: &Work<'_>, answer: &ApprovalAnswer) -> Result<ActionAddress, Refusal> {
    let stage = work.stage_index(&answer.stage)?;
    let mut actions = work.declaration.stages[stage].actions.iter();
    let action = actions.position(|action| action.name == answer.action).ok_or_else(|| Refusal::ActionNotFound {
        pipeline: work.declaration.name.clone(),
        stage: answer.stage.clone(),
        action: answer.action.clone(),
    })?;
    Ok(ActionAddress { stage: stage as u16, action: action as u16 })
}

//! GetPipelineState, EnableStageTransition, DisableStageTransition.
//!
//! Must not know the rules of stages (the core's state machine).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::declaration::{ActionDeclaration, ExecutionMode, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionAddress, ActionRun, ActionStatus, Address, ConditionType, Execution, ExecutionId, Head, InputKind, Revision,
    RuleAddress, StageHead, StageRun, StageStatus, Transition, rules,
};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ActionExecution, ActionRevision, ActionState, ConditionExecution, ConditionState, ExecutionTypeName,
    GetPipelineStateOutput, RetryStageMetadata, RetryTrigger, RuleExecution, RuleState, StageConditionState,
    StageConditionsExecution, StageExecution, StageState, Time, TransitionState,
};

use super::{Context, Service, ServiceError, jobs, views};

/// Executions that wait in front of a stage, of which the first are shown: what is asked for often costs the same however many wait
/// (S105).
const INBOUND_COUNT_MAX: usize = 20;
/// Longest revisionChangeId (S113).
const CHANGE_ID_CHARS_MAX: usize = 100;

pub async fn get(
    service: &Service,
    context: &Context,
    input: requests::GetPipelineStateInput,
) -> Result<GetPipelineStateOutput, ServiceError> {
    let mut reading = service.pipeline(context, &input.name).await?;
    let declaration = Arc::clone(reading.current()?);
    let Some(head) = reading.state.head.clone() else { return Err(ServiceError::host("a pipeline without a head")) };
    let mut latest = HashMap::new();
    for id in head.stages.iter().filter_map(|stage| stage.latest).map(|latest| latest.execution) {
        if let std::collections::hash_map::Entry::Vacant(entry) = latest.entry(id)
            && let Some(execution) = reading.execution(id).await?
        {
            let declaration = reading.declaration(execution.start.version).await?;
            entry.insert(Ran { execution, declaration });
        }
    }
    let stages = (0..declaration.stages.len()).map(|stage| {
        let inbound = reading.state.executions.waiting(stage).take(INBOUND_COUNT_MAX).map(inbound);
        stage_state(stage, inbound.collect(), (&head, &declaration), &latest)
    });
    let mut stage_states: Vec<StageState> = stages.collect();
    let catalogue = service.catalogue(context);
    for (shown, declared) in stage_states.iter_mut().zip(&declaration.stages) {
        for (shown, action) in shown.action_states.iter_mut().zip(&declared.actions) {
            show_addresses(shown, action, catalogue.workers(&action.action_type_id));
        }
    }
    stage_states.iter_mut().for_each(|stage| tell_progress(service, stage));
    Ok(GetPipelineStateOutput {
        pipeline_name: declaration.name.clone(),
        pipeline_version: head.version,
        stage_states,
        created: Time(head.created),
        updated: Time(head.updated),
    })
}

/// An execution, with the declaration that it ran, which may be older than the pipeline's.
struct Ran {
    execution: Arc<Execution>,
    declaration: Arc<PipelineDeclaration>,
}

impl Ran {
    fn stage(&self, name: &str) -> Option<usize> {
        self.declaration.stages.iter().position(|stage| stage.name == name)
    }

    /// The run of what was declared as this is: an update may have given it another index.
    fn action(&self, stage: &str, action: &ActionDeclaration) -> Option<&ActionRun> {
        let stage = self.stage(stage)?;
        let mut actions = self.declaration.stages[stage].actions.iter();
        let same = |it: &ActionDeclaration| it.name == action.name && it.action_type_id == action.action_type_id;
        let address = ActionAddress { stage: stage as u16, action: actions.position(same)? as u16 };
        self.execution.action(address).map(|run| &**run)
    }
}

fn inbound(waiting: ExecutionId) -> StageExecution {
    StageExecution { pipeline_execution_id: waiting.to_string(), status: StageStatus::InProgress, execution_type: None }
}

fn stage_state(
    stage: usize,
    inbound: Vec<StageExecution>,
    (head, declaration): (&Head, &PipelineDeclaration),
    executions: &HashMap<ExecutionId, Ran>,
) -> StageState {
    let (declared, here) = (&declaration.stages[stage], &head.stages[stage]);
    let ran = here.latest.and_then(|latest| executions.get(&latest.execution));
    let actions = declared.actions.iter();
    // Executions that run side by side may wait for one approval each, and the state shows one of them (S63).
    let has_tokens = declaration.execution_mode != Some(ExecutionMode::Parallel);
    let actions = actions.map(|action| {
        let mut state = action_state(action, ran.and_then(|ran| ran.action(&declared.name, action)));
        if let Some(latest) = state.latest_execution.as_mut().filter(|_| !has_tokens) {
            latest.token = None;
        }
        state
    });
    let stage_run = ran.and_then(|ran| ran.execution.stage_run(ran.stage(&declared.name)?));
    let conditions =
        |which| ran.zip(stage_run).and_then(|(ran, run)| condition_state(ran.stage(&declared.name)?, ran, run, which));
    StageState {
        stage_name: declared.name.clone(),
        inbound_execution: inbound.first().cloned(),
        inbound_executions: inbound,
        inbound_transition_state: (stage > 0).then(|| transition(&head.stages[stage - 1], here)),
        action_states: actions.collect(),
        latest_execution: here.latest.map(|latest| StageExecution {
            pipeline_execution_id: latest.execution.to_string(),
            status: latest.status,
            execution_type: ran.and_then(|ran| ExecutionTypeName::of(ran.execution.start.execution_type)),
        }),
        before_entry_condition_state: conditions(ConditionType::BeforeEntry),
        on_success_condition_state: conditions(ConditionType::OnSuccess),
        on_failure_condition_state: conditions(ConditionType::OnFailure),
        retry_stage_metadata: stage_run.filter(|run| run.manual_retries + run.automatic_retries > 0).map(retries),
    }
}

/// What is being called has the summary that it told last of how far it is (S270).
fn tell_progress(service: &Service, stage: &mut StageState) {
    let tell = |id: &str, status: ActionStatus, summary: &mut Option<String>| {
        if status == ActionStatus::InProgress && summary.is_none() {
            *summary = service.progress(id);
        }
    };
    for latest in stage.action_states.iter_mut().filter_map(|action| action.latest_execution.as_mut()) {
        tell(&latest.action_execution_id, latest.status, &mut latest.summary);
    }
    let StageState { before_entry_condition_state, on_success_condition_state, on_failure_condition_state, .. } = stage;
    let states = [before_entry_condition_state, on_success_condition_state, on_failure_condition_state];
    let conditions = states.into_iter().flatten().flat_map(|state| &mut state.condition_states);
    for latest in conditions.flat_map(|it| &mut it.rule_states).filter_map(|rule| rule.latest_execution.as_mut()) {
        tell(&latest.rule_execution_id, latest.status, &mut latest.summary);
    }
}

fn retries(run: &StageRun) -> RetryStageMetadata {
    let attempts = |count: u32| Some(count).filter(|count| *count > 0);
    RetryStageMetadata {
        auto_stage_retry_attempt: attempts(run.automatic_retries),
        manual_stage_retry_attempt: attempts(run.manual_retries),
        latest_retry_trigger: match run.last_retry_automatic {
            true => RetryTrigger::AutomatedStageRetry,
            false => RetryTrigger::ManualStageRetry,
        },
    }
}

/// How a condition stands that was judged in the stage's latest execution.
fn condition_state(stage: usize, ran: &Ran, run: &StageRun, which: ConditionType) -> Option<StageConditionState> {
    let condition = run.condition(which)?;
    let rules = rules(&ran.declaration.stages[stage], which).iter().enumerate().map(|(index, rule)| {
        let address = RuleAddress { stage: stage as u16, condition: which, rule: index as u16 };
        let run = ran.execution.runs.get(&Address::Rule(address));
        RuleState { rule_name: rule.name.clone(), latest_execution: run.map(|run| rule_execution(run)) }
    });
    Some(StageConditionState {
        latest_execution: StageConditionsExecution { status: condition.status, summary: None },
        condition_states: vec![ConditionState {
            latest_execution: ConditionExecution {
                status: condition.status,
                summary: None,
                last_status_change: Time(condition.updated),
            },
            rule_states: rules.collect(),
        }],
    })
}

fn rule_execution(run: &ActionRun) -> RuleExecution {
    let shown = action_execution(run);
    RuleExecution {
        rule_execution_id: shown.action_execution_id,
        status: shown.status,
        summary: shown.summary,
        last_status_change: shown.last_status_change,
        external_execution_id: shown.external_execution_id,
        external_execution_url: shown.external_execution_url,
        error_details: shown.error_details,
    }
}

/// The transition in front of a stage, which may be disabled from either of its ends.
fn transition(before: &StageHead, here: &StageHead) -> TransitionState {
    let shown: &Transition = match (before.outbound.enabled, here.inbound.enabled) {
        (false, true) => &before.outbound,
        _ => &here.inbound,
    };
    TransitionState {
        enabled: shown.enabled,
        last_changed_by: shown.by.clone(),
        last_changed_at: shown.at.map(Time),
        disabled_reason: shown.reason.clone(),
    }
}

/// A revision without a change of its own is one.
fn change_id(revision: &Revision) -> String {
    revision.change.as_ref().unwrap_or(&revision.id).chars().take(CHANGE_ID_CHARS_MAX).collect()
}

fn action_state(action: &ActionDeclaration, run: Option<&ActionRun>) -> ActionState {
    let revision = run.and_then(|run| run.revision.as_ref()).filter(|revision| !revision.id.is_empty());
    let url = views::summary(revision.and_then(|revision| revision.url.as_ref()));
    ActionState {
        action_name: action.name.clone(),
        current_revision: revision.zip(run).map(|(revision, run)| ActionRevision {
            revision_id: revision.id.clone(),
            revision_change_id: change_id(revision),
            created: Time(revision.created.unwrap_or(run.updated)),
        }),
        latest_execution: run.map(action_execution),
        entity_url: None,
        revision_url: url,
    }
}

/// Those that the type has for an action which workers do.
fn show_addresses(shown: &mut ActionState, action: &ActionDeclaration, served: Option<&WorkerType>) {
    let Some((served, settings)) = served.and_then(|served| Some((served, served.settings.as_ref()?))) else { return };
    let (nothing, latest) = (BTreeMap::new(), shown.latest_execution.as_ref());
    let external_id = latest.and_then(|latest| latest.external_execution_id.as_deref());
    let configuration = action.configuration.as_ref().unwrap_or(&nothing);
    let address = |template: &Option<String>| jobs::address(served, template.as_ref()?, configuration, external_id);
    shown.entity_url = address(&settings.entity_url_template);
    shown.revision_url = shown.revision_url.take().or_else(|| address(&settings.revision_url_template));
}

fn action_execution(run: &ActionRun) -> ActionExecution {
    let decision = run.decision.as_ref();
    let said = decision.map(|decision| &decision.summary).filter(|summary| !summary.is_empty());
    let waits = run.wait.as_ref().and_then(|wait| wait.summary.as_ref());
    ActionExecution {
        action_execution_id: run.id.to_string(),
        status: run.status,
        summary: views::summary(said.or(run.told.summary.as_ref()).or(waits)),
        last_status_change: Time(run.updated),
        token: run.approval_token().map(|token| token.to_string()),
        last_updated_by: decision.and_then(|decision| decision.by.clone()),
        external_execution_id: run.told.external_id.clone().filter(|id| !id.is_empty()),
        external_execution_url: views::summary(run.told.links.first().map(|link| &link.url)),
        percent_complete: jobs::percent_complete(&run.told),
        error_details: run.error.as_ref().map(views::error),
    }
}

pub async fn enable_transition(
    service: &Service,
    context: &Context,
    input: requests::EnableStageTransitionInput,
) -> Result<(), ServiceError> {
    let by = Some(context.principal());
    let what = InputKind::EnableTransition { stage: input.stage_name, kind: input.transition_type, by };
    change_transition(service, context, &input.pipeline_name, what).await
}

pub async fn disable_transition(
    service: &Service,
    context: &Context,
    input: requests::DisableStageTransitionInput,
) -> Result<(), ServiceError> {
    let (by, kind) = (Some(context.principal()), input.transition_type);
    let what = InputKind::DisableTransition { stage: input.stage_name, kind, reason: input.reason, by };
    change_transition(service, context, &input.pipeline_name, what).await
}

async fn change_transition(
    service: &Service,
    context: &Context,
    name: &str,
    what: InputKind,
) -> Result<(), ServiceError> {
    let reading = service.pipeline(context, name).await?;
    let reply = service.driver().submit(reading.pipeline, what, &context.cause).await;
    reply.map_err(|error| context.refused(name, error)).map(drop)
}

//! The core's events in EventBridge's shape.
//!
//! Owns the shape. What has no such event (a wait, a transition, the pipeline itself) has none here, but for conditions, rules and
//! the answers to approvals: theirs are in this shape, and say that they are not CodePipeline's.

use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::machine::{
    ActionEvent, ActionHappening, ApprovalStatus, ConditionEvent, ConditionStatus, Decision, Event, ExecutionDetails,
    ExecutionEvent, RuleEvent, StageEvent, StageState,
};
use serde_json::{Map, Value, json};

use super::{Context, Service};
use pipewright_base::Cause;
use pipewright_engine::driver::counts::{action_state, execution_state};
use pipewright_pipeline::machine::Timestamp;

/// Where an event stands, to be told to the client.
pub struct At<'a> {
    pub service: &'a Service,
    pub context: &'a Context,
    pub pipeline: &'a str,
    /// Unique among all events of the host.
    pub id: &'a str,
    pub time: Timestamp,
    /// None of what happened before causes were kept.
    pub cause: Option<&'a Cause>,
}

pub fn time(milliseconds: u64) -> String {
    let at = i64::try_from(milliseconds).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// A `start-time`, which has milliseconds.
fn start_time(started: Timestamp) -> Value {
    let at = i64::try_from(started.0).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).into()
}

pub fn event(at: &At<'_>, event: &Event) -> Option<Value> {
    let kind = detail_type(event)?;
    let mut detail = match event {
        Event::Execution(event) => execution(at, event),
        Event::Stage(event) => stage(at, event),
        Event::Action(event) => match &event.what {
            ActionHappening::Decided(decision) => decided(at, event, decision),
            _ => action(at, event)?,
        },
        Event::Condition(event) => condition(at, event),
        Event::Rule(event) => rule(at, event)?,
        Event::PipelineCreated { .. }
        | Event::PipelineUpdated { .. }
        | Event::PipelineDeleted { .. }
        | Event::TransitionChanged { .. } => return None,
    };
    if let Some(cause) = at.cause {
        detail["cause"] = json!(cause);
    }
    Some(json!({
        "version": "0",
        "id": at.id,
        "detail-type": kind,
        "source": if kind.starts_with("Pipewright") { "pipewright" } else { "aws.codepipeline" },
        "account": at.context.account_id(),
        "time": time(at.time.0),
        "region": at.service.region(),
        "resources": [at.service.arn(at.context, at.pipeline)],
        "detail": detail,
    }))
}

/// What kinds of events there are.
pub const DETAIL_TYPES: [&str; 6] = [
    "CodePipeline Pipeline Execution State Change",
    "CodePipeline Stage Execution State Change",
    "CodePipeline Action Execution State Change",
    "Pipewright Approval Execution State Change",
    "Pipewright Condition Execution State Change",
    "Pipewright Rule Execution State Change",
];

/// Of which kind an event is, if it is told.
pub fn detail_type(event: &Event) -> Option<&'static str> {
    let [of_execution, of_stage, of_action, of_approval, of_condition, of_rule] = DETAIL_TYPES;
    Some(match event {
        Event::Execution(_) => of_execution,
        Event::Stage(_) => of_stage,
        Event::Action(event) if matches!(event.what, ActionHappening::Decided(_)) => of_approval,
        Event::Action(_) => of_action,
        Event::Condition(_) => of_condition,
        Event::Rule(_) => of_rule,
        Event::PipelineCreated { .. }
        | Event::PipelineUpdated { .. }
        | Event::PipelineDeleted { .. }
        | Event::TransitionChanged { .. } => return None,
    })
}

fn execution(at: &At<'_>, event: &ExecutionEvent) -> Value {
    let mut detail = json!({
        "pipeline": at.pipeline,
        "execution-id": event.execution.to_string(),
        "start-time": start_time(event.started),
        "execution-trigger": {
            "trigger-type": event.trigger.kind,
            "trigger-detail": event.trigger.detail,
        },
        "state": execution_state(event.state),
        "version": f64::from(event.version),
        "pipeline-execution-attempt": f64::from(event.attempt),
    });
    if let Some(summary) = &event.summary {
        detail["status-summary"] = json!(summary);
    }
    detail
}

fn stage(at: &At<'_>, event: &StageEvent) -> Value {
    let state = match event.state {
        StageState::Canceled => "CANCELED",
        StageState::Failed => "FAILED",
        StageState::Resumed => "RESUMED",
        // CodePipeline's list of states has no word for it.
        StageState::Skipped => "SKIPPED",
        StageState::Started => "STARTED",
        StageState::Stopped => "STOPPED",
        StageState::Stopping => "STOPPING",
        StageState::Succeeded => "SUCCEEDED",
    };
    let mut detail = json!({
        "pipeline": at.pipeline,
        "execution-id": event.execution.to_string(),
        "stage": event.stage,
        "state": state,
        "version": f64::from(event.version),
        "pipeline-execution-attempt": f64::from(event.attempt),
    });
    if let Some(started) = event.started {
        detail["start-time"] = start_time(started);
    }
    detail
}

fn condition(at: &At<'_>, event: &ConditionEvent) -> Value {
    let mut detail = json!({
        "pipeline": at.pipeline,
        "execution-id": event.execution.to_string(),
        "stage": event.stage,
        "condition": event.condition,
        "state": match event.status {
            ConditionStatus::InProgress => "STARTED",
            ConditionStatus::Succeeded => "SUCCEEDED",
            ConditionStatus::Failed => "FAILED",
            ConditionStatus::Errored => "ERRORED",
            ConditionStatus::Cancelled => "CANCELED",
            ConditionStatus::Abandoned => "ABANDONED",
            ConditionStatus::Overridden => "OVERRIDDEN",
        },
        "version": f64::from(event.version),
    });
    if let Some(by) = &event.by {
        detail["by"] = json!(by);
    }
    detail
}

fn action(at: &At<'_>, event: &ActionEvent) -> Option<Value> {
    let mut detail = run(at, event.version, &event.action_type, &event.what)?;
    if let Some(started) = event.started {
        detail["start-time"] = start_time(started);
    }
    if event.attempt > 0 {
        detail["pipeline-execution-attempt"] = f64::from(event.attempt).into();
    }
    Some(of_action(detail, event))
}

fn of_action(mut detail: Value, event: &ActionEvent) -> Value {
    detail["execution-id"] = json!(event.execution.to_string());
    detail["stage"] = json!(event.stage);
    detail["action"] = json!(event.action);
    detail["action-execution-id"] = json!(event.action_execution.to_string());
    detail
}

/// Who answered an approval, and what.
fn decided(at: &At<'_>, event: &ActionEvent, decision: &Decision) -> Value {
    let detail = json!({
        "pipeline": at.pipeline,
        "state": match decision.status {
            ApprovalStatus::Approved => "APPROVED",
            ApprovalStatus::Rejected => "REJECTED",
        },
        "by": decision.by,
        "summary": decision.summary,
        "version": f64::from(event.version),
    });
    of_action(detail, event)
}

fn rule(at: &At<'_>, event: &RuleEvent) -> Option<Value> {
    let mut detail = run(at, event.version, &event.rule_type.to_type_id(), &event.what)?;
    detail["execution-id"] = json!(event.execution.to_string());
    detail["stage"] = json!(event.stage);
    detail["condition"] = json!(event.condition);
    detail["rule"] = json!(event.rule);
    detail["rule-execution-id"] = json!(event.rule_execution.to_string());
    Some(detail)
}

/// What there is to tell of both.
fn run(at: &At<'_>, version: u32, type_id: &ActionTypeId, what: &ActionHappening) -> Option<Value> {
    // That it is run again after a crash is no change of its state.
    let state = action_state(what).filter(|state| *state != "RESTARTED")?;
    let mut detail = json!({
        "pipeline": at.pipeline,
        "state": state,
        "region": at.service.region(),
        "type": type_id,
        "version": f64::from(version),
    });
    match what {
        ActionHappening::Started { inputs, .. } if !inputs.is_empty() => {
            detail["input-artifacts"] = inputs.keys().map(|name| json!({ "name": name })).collect();
        }
        ActionHappening::Succeeded { artifacts, told, .. } => {
            if !artifacts.is_empty() {
                detail["output-artifacts"] = artifacts.keys().map(|name| json!({ "name": name })).collect();
            }
            detail["execution-result"] = result(told).into();
        }
        ActionHappening::NotPassed { told } => detail["execution-result"] = result(told).into(),
        ActionHappening::Failed { error, told } => {
            let mut result = result(told);
            result.insert("error-code".to_owned(), json!(error.kind));
            result.entry("external-execution-summary").or_insert_with(|| json!(error.message));
            detail["execution-result"] = result.into();
        }
        _ => {}
    }
    Some(detail)
}

fn result(told: &ExecutionDetails) -> Map<String, Value> {
    let url = told.links.first().map(|link| &link.url);
    let members = [
        ("external-execution-id", told.external_id.as_ref()),
        ("external-execution-url", url),
        ("external-execution-summary", told.summary.as_ref()),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect()
}

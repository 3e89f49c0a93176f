//! What happened, for history, the console, notifications and audit.
//!
//! The driver numbers the events per pipeline and stamps them with the step's time. Must not know who reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::ConditionType;
use super::execution::{ConditionStatus, Decision};
use super::ids::{ActionExecutionId, ExecutionId, JobId, Timestamp};
use super::input::{TransitionKind, Trigger};
use super::jobs::JobHappening;
use super::report::{ActionError, Awaited, ExecutionDetails, Revision, Variables};
use super::state::Transition;
use super::stored::v1::AnyWaiting;
use crate::declaration::{ActionTypeId, PipelineDeclaration, RuleTypeId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    PipelineCreated {
        declaration: Arc<PipelineDeclaration>,
    },
    /// The state keeps only the newest declaration; older versions are found in these events.
    PipelineUpdated {
        declaration: Arc<PipelineDeclaration>,
    },
    PipelineDeleted {
        version: u32,
    },
    TransitionChanged {
        stage: String,
        kind: TransitionKind,
        transition: Transition,
    },
    /// CodePipeline Pipeline Execution State Change.
    Execution(ExecutionEvent),
    /// CodePipeline Stage Execution State Change.
    Stage(StageEvent),
    /// CodePipeline Action Execution State Change, and what of an action's life has no place there.
    Action(Box<ActionEvent>),
    /// A stage's condition changed its status.
    Condition(ConditionEvent),
    /// The same as of an action.
    Rule(Box<RuleEvent>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionEvent {
    pub execution: ExecutionId,
    pub number: u64,
    pub version: u32,
    pub started: Timestamp,
    pub attempt: u32,
    pub state: ExecutionState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    pub trigger: Trigger,
    /// The resolved pipeline variables, with `Started`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
}

/// The states of a pipeline execution's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionState {
    Canceled,
    Failed,
    Resumed,
    Started,
    Stopped,
    Stopping,
    Succeeded,
    Superseded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageEvent {
    pub execution: ExecutionId,
    pub version: u32,
    pub stage: String,
    /// When the execution entered the stage; none of what happened before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// 0, and one more for each retry of the stage.
    pub attempt: u32,
    pub state: StageState,
}

/// The states of a stage execution's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StageState {
    Canceled,
    Failed,
    Resumed,
    Skipped,
    Started,
    Stopped,
    Stopping,
    Succeeded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionEvent {
    pub execution: ExecutionId,
    pub version: u32,
    pub stage: String,
    pub action: String,
    pub action_execution: ActionExecutionId,
    pub action_type: ActionTypeId,
    /// When it started; none of what happened before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// That of its pipeline's execution: 1, and one more for each retry; 0 of what happened before it was told.
    #[serde(default)]
    pub attempt: u32,
    pub what: ActionHappening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleEvent {
    pub execution: ExecutionId,
    pub version: u32,
    pub stage: String,
    pub condition: ConditionType,
    pub rule: String,
    pub rule_execution: ActionExecutionId,
    pub rule_type: RuleTypeId,
    pub what: ActionHappening,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionEvent {
    pub execution: ExecutionId,
    pub version: u32,
    pub stage: String,
    pub condition: ConditionType,
    pub status: ConditionStatus,
    /// Who overrode it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionHappening {
    Started {
        /// Input artifacts: name to digest.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        inputs: BTreeMap<String, String>,
        /// The configuration with its variables resolved; none where that is the declaration's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resolved_configuration: Option<BTreeMap<String, String>>,
    },
    /// It waits, as a record and a timer.
    Waiting(WaitEvent),
    /// A person answered an approval request.
    Decided(Decision),
    /// Something happened to the job that it waits for.
    Job {
        job: JobId,
        what: JobHappening,
    },
    /// Its wait is over, and it is called again.
    Resumed {
        call: u32,
        /// The kind of the signal that ended the wait; none where it was the time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// The host died while it ran, and runs it again.
    Restarted {
        attempt: u32,
    },
    Succeeded {
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        artifacts: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "no_variables")]
        variables: Arc<Variables>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<Revision>,
        told: ExecutionDetails,
    },
    Failed {
        error: ActionError,
        told: ExecutionDetails,
    },
    /// A rule was judged, and did not pass.
    NotPassed {
        told: ExecutionDetails,
    },
    Abandoned,
    Canceled,
}

/// What an action waits for, and says meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyWaiting")]
pub struct WaitEvent {
    #[serde(rename = "for")]
    pub awaits: Vec<Awaited>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

fn no_variables(variables: &Arc<Variables>) -> bool {
    variables.is_empty()
}

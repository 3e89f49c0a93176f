//! One pipeline execution: where it is, and what its stages and actions did.
//!
//! Owns the data. Must not know how it changes (`stages`, `actions`, `stop`, `retry`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{ActionExecutionId, ExecutionId, Place, Timestamp};
use super::input::{ApprovalStatus, SourceRevisionOverride, Trigger};
use super::report::{ActionError, Resumption, Revision, Told, Variables, Wait};

/// An execution. Its three kinds of parts are stored one by one, so that a step writes only what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: ExecutionId,
    pub start: Arc<Start>,
    pub progress: Progress,
    /// The latest run of each action that ran; one that a retry discarded is only in the history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "places")]
    pub actions: BTreeMap<Place, Arc<ActionRun>>,
}

/// What is fixed when an execution starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// 1 for a pipeline's first execution: the order of the starts.
    pub number: u64,
    /// The pipeline version that it runs to its end.
    pub version: u32,
    pub at: Timestamp,
    pub trigger: Trigger,
    /// The resolved pipeline variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_revisions: Vec<SourceRevisionOverride>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, String>,
}

/// Where an execution is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub status: ExecutionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The stages it entered, in the declaration's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRun>,
    /// Since when it waits in front of the stage after those; none while it is in the last one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopRequest>,
    /// 1, and one more for each stage retry (contract §7.12, pipeline-execution-attempt).
    pub attempt: u32,
    pub updated: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// CodePipeline's PipelineExecutionStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutionStatus {
    InProgress,
    Stopping,
    Cancelled,
    Stopped,
    Succeeded,
    Superseded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One stage that an execution entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRun {
    pub status: StageStatus,
    pub started: Timestamp,
    pub updated: Timestamp,
    /// How often a person retried it (contract §7.4, manualStageRetryAttempt).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub manual_retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_retry: Option<Timestamp>,
}

/// CodePipeline's StageExecutionStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageStatus {
    InProgress,
    Stopping,
    Cancelled,
    Stopped,
    Succeeded,
    Failed,
}

/// One action execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionRun {
    pub id: ActionExecutionId,
    pub status: ActionStatus,
    pub started: Timestamp,
    pub updated: Timestamp,
    /// When it fails for taking too long.
    pub deadline: Timestamp,
    /// The number of its latest call: 1, and one more for each time that a wait ended.
    pub call: u32,
    /// 1, and one more for each time that the host died while it ran.
    pub attempt: u32,
    /// What it waits for; none while a call of it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// What its latest call was given, while that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumption>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub told: Told,
    /// The output variables, where the action has a namespace by which others may refer to them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: Arc<Variables>,
    /// Output artifacts: name to digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ActionError>,
}

/// CodePipeline's ActionExecutionStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionStatus {
    InProgress,
    Abandoned,
    Succeeded,
    Failed,
}

/// What a person answered to an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub status: ApprovalStatus,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub at: Timestamp,
}

/// The kind of signal that an approval waits for.
pub const APPROVAL_SIGNAL: &str = "approval";

impl Execution {
    /// An execution that has just started, and is on its way to the first stage.
    pub(super) fn new(id: ExecutionId, start: Arc<Start>) -> Execution {
        let progress = Progress {
            status: ExecutionStatus::InProgress,
            summary: None,
            stages: Vec::new(),
            inbound_since: None,
            stop: None,
            attempt: 1,
            updated: start.at,
            ended: None,
        };
        Execution { id, start, progress, actions: BTreeMap::new() }
    }

    /// The index of the stage that it is in, waits in front of, or ended in; none after the last one.
    pub fn stage(&self) -> usize {
        match self.progress.inbound_since {
            Some(_) => self.progress.stages.len(),
            None => self.progress.stages.len().saturating_sub(1),
        }
    }

    /// The runs of one stage's actions, in the declaration's order.
    pub fn stage_actions(&self, stage: usize) -> impl Iterator<Item = (Place, &Arc<ActionRun>)> {
        let stage = stage as u16;
        let (first, last) = (Place { stage, action: 0 }, Place { stage, action: u16::MAX });
        self.actions.range(first..=last).map(|(place, run)| (*place, run))
    }

    /// The digest of an artifact that an action of this execution made.
    pub fn artifact(&self, name: &str) -> Option<&str> {
        self.actions.values().find_map(|run| run.artifacts.get(name)).map(String::as_str)
    }
}

impl ActionRun {
    pub fn in_progress(&self) -> bool {
        self.status == ActionStatus::InProgress
    }

    /// A call of it runs, and its report is awaited.
    pub fn running(&self) -> bool {
        self.in_progress() && self.wait.is_none()
    }

    /// The token of an open approval request (contract §7.8): the action execution's id, as in CodePipeline.
    pub fn approval_token(&self) -> Option<ActionExecutionId> {
        let waits = self.wait.as_ref().is_some_and(|wait| wait.signal.as_deref() == Some(APPROVAL_SIGNAL));
        (self.in_progress() && waits).then_some(self.id)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Maps keyed by place as lists of pairs, for JSON's objects have texts as keys.
mod places {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Place;

    pub(super) fn serialize<T: Serialize, S: Serializer>(map: &BTreeMap<Place, T>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Place, T>, D::Error> {
        Vec::<(Place, T)>::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}

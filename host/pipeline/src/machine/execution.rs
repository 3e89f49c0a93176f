//! One pipeline execution: where it is, and what its stages and actions did.
//!
//! Owns the data. Must not know how it changes (`stages`, `actions`, `stop`, `retry`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::{ActionAddress, Address, ConditionType, RuleAddress};
use super::ids::{ActionExecutionId, ExecutionId, Timestamp};
use super::input::{ApprovalStatus, SourceRevisionOverride, Trigger};
use super::jobs::Job;
use super::report::{ActionError, Awaited, ExecutionDetails, Resumption, Revision, Usage, Variables, Wait};

/// An execution. Its three kinds of parts are stored one by one, so that a step writes only what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: ExecutionId,
    pub start: Arc<Start>,
    pub progress: Progress,
    /// The latest run of whatever ran; one that a retry discarded is only in the history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<Address, Arc<ActionRun>>,
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
    #[serde(rename = "type", default, skip_serializing_if = "is_default")]
    pub execution_type: ExecutionType,
    /// The stage that it enters first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entry: u16,
    pub trigger: Trigger,
    /// The resolved pipeline variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Variables,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_revisions: Vec<SourceRevisionOverride>,
    /// Where the change of these revisions was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, String>,
}

/// CodePipeline's ExecutionType.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutionType {
    /// Goes on from its entry to the last stage.
    #[default]
    Standard,
    /// Runs its entry alone, as the target ran it.
    Rollback { target: ExecutionId },
}

/// Where an execution is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub status: ExecutionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The stages it entered, in the order in which it did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRun>,
    /// Since when it waits in front of the stage after those; none while it is in the last one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopRequest>,
    /// 1, and one more for each stage retry: `pipeline-execution-attempt` of CodePipeline's events.
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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The stage's index in the declaration.
    pub stage: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub phase: StagePhase,
    pub status: StageStatus,
    pub started: Timestamp,
    pub updated: Timestamp,
    /// How often a person retried it: manualStageRetryAttempt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub manual_retries: u32,
    /// How often it was retried by itself: autoStageRetryAttempt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub automatic_retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_retry: Option<Timestamp>,
    /// Whether the latest retry came by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_retry_automatic: bool,
    /// The conditions that were judged since it was entered or retried, at most one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionRun>,
    /// It failed, and is rolled back to this execution as soon as the driver brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back_to: Option<ExecutionId>,
}

/// One condition of a stage, as it was judged; what its rules said is in their runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionRun {
    #[serde(rename = "type")]
    pub which: ConditionType,
    pub status: ConditionStatus,
    pub updated: Timestamp,
}

/// CodePipeline's ConditionExecutionStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    InProgress,
    /// A rule did not pass.
    Failed,
    /// A rule could not be judged.
    Errored,
    Succeeded,
    Cancelled,
    Abandoned,
    Overridden,
}

/// How far an execution has come in a stage; where it ended, in which phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagePhase {
    /// The conditions of `beforeEntry` are judged.
    BeforeEntry,
    #[default]
    Actions,
    /// The actions succeeded, and the conditions of `onSuccess` are judged.
    OnSuccess,
    /// An action failed, and what `onFailure` says is done.
    OnFailure,
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
    Skipped,
}

/// One action execution, or one rule execution.
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
    /// 1, and one more for each time that the host went down while it ran.
    pub attempt: u32,
    /// How often the host crashed while it ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crashes: u32,
    /// What its calls used so far, those that a crash interrupted not counted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spent: Usage,
    /// What it waits for; none while a call of it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// What its latest call was given, while that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumption>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What a worker is to do for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub told: ExecutionDetails,
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

impl StageRun {
    /// A stage that is entered.
    pub(super) fn entered(stage: u16, phase: StagePhase, at: Timestamp) -> StageRun {
        StageRun {
            stage,
            phase,
            status: StageStatus::InProgress,
            started: at,
            updated: at,
            manual_retries: 0,
            automatic_retries: 0,
            last_retry: None,
            last_retry_automatic: false,
            conditions: Vec::new(),
            rolls_back_to: None,
        }
    }

    /// How a condition of this stage stands; none where it was not judged since the stage was entered or retried.
    pub fn condition(&self, which: ConditionType) -> Option<&ConditionRun> {
        self.conditions.iter().find(|run| run.which == which)
    }

    /// 0, and one more for each retry.
    pub(super) fn attempt(&self) -> u32 {
        self.manual_retries + self.automatic_retries
    }
}

impl Start {
    /// Whether an execution ends with this stage, of so many.
    pub(super) fn ends_with(&self, stage: usize, stages: usize) -> bool {
        match self.execution_type {
            ExecutionType::Standard => stage + 1 >= stages,
            ExecutionType::Rollback { .. } => true,
        }
    }
}

impl Execution {
    /// An execution that has just started, and is on its way to its first stage.
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
        Execution { id, start, progress, runs: BTreeMap::new() }
    }

    /// The index of the stage that it is in, waits in front of, or ended in.
    pub fn stage(&self) -> usize {
        match (self.progress.inbound_since, self.progress.stages.last()) {
            (None, Some(run)) => usize::from(run.stage),
            _ => self.next_stage(),
        }
    }

    /// The stage in front of which it waits, and its place in the order of the starts.
    pub(super) fn waits_at(&self) -> Option<(usize, u64)> {
        let waits = self.progress.inbound_since.is_some() && self.progress.ended.is_none();
        waits.then(|| (self.next_stage(), self.start.number))
    }

    /// The index of the stage after those that it entered.
    pub(super) fn next_stage(&self) -> usize {
        let next = self.progress.stages.last().map_or(self.start.entry, |run| run.stage + 1);
        usize::from(next)
    }

    /// What it did in a stage that it entered.
    pub fn stage_run(&self, stage: usize) -> Option<&StageRun> {
        self.progress.stages.iter().find(|run| usize::from(run.stage) == stage)
    }

    /// The runs of all actions, in the declaration's order.
    pub fn actions(&self) -> impl Iterator<Item = (ActionAddress, &Arc<ActionRun>)> {
        actions_in(&self.runs, 0, u16::MAX)
    }

    /// The runs of one stage's actions and rules.
    pub fn stage_runs(&self, stage: usize) -> impl Iterator<Item = (Address, &Arc<ActionRun>)> {
        let actions = self.stage_actions(stage).map(|(address, run)| (Address::Action(address), run));
        let rule = |condition, rule| Address::Rule(RuleAddress { stage: stage as u16, condition, rule });
        let rules = self.runs.range(rule(ConditionType::BeforeEntry, 0)..=rule(ConditionType::OnFailure, u16::MAX));
        actions.chain(rules.map(|(address, run)| (*address, run)))
    }

    /// The runs of one stage's actions, in the declaration's order.
    pub fn stage_actions(&self, stage: usize) -> impl Iterator<Item = (ActionAddress, &Arc<ActionRun>)> {
        actions_in(&self.runs, stage as u16, stage as u16)
    }

    pub fn action(&self, address: ActionAddress) -> Option<&Arc<ActionRun>> {
        self.runs.get(&Address::Action(address))
    }

    /// The stage that it is in, or ended in.
    pub(super) fn stage_run_mut(&mut self) -> Option<&mut StageRun> {
        self.progress.stages.last_mut()
    }

    /// The digest of an artifact that an action of this execution made.
    pub fn artifact(&self, name: &str) -> Option<&str> {
        self.runs.values().find_map(|run| run.artifacts.get(name)).map(String::as_str)
    }
}

fn actions_in(
    runs: &BTreeMap<Address, Arc<ActionRun>>,
    first: u16,
    last: u16,
) -> impl Iterator<Item = (ActionAddress, &Arc<ActionRun>)> {
    let first = Address::Action(ActionAddress { stage: first, action: 0 });
    let last = Address::Action(ActionAddress { stage: last, action: u16::MAX });
    runs.range(first..=last).filter_map(|(address, run)| match address {
        Address::Action(action) => Some((*action, run)),
        Address::Rule(_) => None,
    })
}

impl ActionRun {
    pub fn in_progress(&self) -> bool {
        self.status == ActionStatus::InProgress
    }

    /// A call of it runs, and its report is awaited.
    pub fn running(&self) -> bool {
        self.in_progress() && self.wait.is_none()
    }

    /// The token of an open approval request: the action execution's id, as in CodePipeline.
    pub fn approval_token(&self) -> Option<ActionExecutionId> {
        let waits = self.wait.as_ref().is_some_and(|wait| wait.awaits.contains(&Awaited::Approval));
        (self.in_progress() && waits).then_some(self.id)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

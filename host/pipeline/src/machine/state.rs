//! The live state of one pipeline, in parts that are stored one by one.
//!
//! Owns the parts and how changes apply. Must not know why a part changes, nor how and where it is stored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::execution::{ActionRun, Execution, Progress, StageStatus, Start};
use super::ids::{ActionExecutionId, ExecutionId, Place, Timestamp};
use crate::declaration::PipelineDeclaration;

/// What lives of one pipeline. An ended execution leaves it, so that nothing in it grows with history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// None before the pipeline is created and after it is deleted.
    pub head: Option<Head>,
    /// The declaration of the head's version. An update cancels what runs by an older one.
    pub declaration: Option<Arc<PipelineDeclaration>>,
    pub executions: BTreeMap<ExecutionId, Execution>,
}

/// The small part of the state that is there while the pipeline is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub version: u32,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// How many executions were ever started.
    pub executions: u64,
    /// In the order of the declaration's stages.
    pub stages: Vec<StageHead>,
    /// Approval requests that the latest update cancelled, at most `OUTDATED_APPROVALS_COUNT_MAX`: whoever answers one of
    /// them is told why it is gone (contract §9).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated_approvals: Vec<ActionExecutionId>,
}

/// What executions meet at a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageHead {
    #[serde(default, skip_serializing_if = "Transition::is_untouched")]
    pub inbound: Transition,
    #[serde(default, skip_serializing_if = "Transition::is_untouched")]
    pub outbound: Transition,
    /// The execution that holds the stage's lock (contract §7.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupant: Option<ExecutionId>,
    /// The execution in the one waiting slot in front of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ExecutionId>,
    /// The last execution that entered, and how the stage stands by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    pub execution: ExecutionId,
    pub status: StageStatus,
}

/// CodePipeline's TransitionState (contract §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Default for Transition {
    fn default() -> Transition {
        Transition { enabled: true, reason: None, by: None, at: None }
    }
}

impl Transition {
    fn is_untouched(&self) -> bool {
        *self == Transition::default()
    }
}

/// One stored part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    Head,
    Declaration,
    Start(ExecutionId),
    Progress(ExecutionId),
    Action(ExecutionId, Place),
}

/// A part's key, for the driver to append to its own prefix. In the order of their bytes an execution's start comes
/// before its other parts, which is an order in which `State::apply` takes them.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Head => write!(f, "head"),
            Part::Declaration => write!(f, "declaration"),
            Part::Start(execution) => write!(f, "execution/{execution}"),
            Part::Progress(execution) => write!(f, "execution/{execution}/progress"),
            Part::Action(execution, place) => {
                write!(f, "execution/{execution}/action/{}/{}", place.stage, place.action)
            }
        }
    }
}

/// A change of one part, as it is stored under the part's key.
///
/// Values stay well under 64 KiB in ordinary use. A declaration (500 actions), an action with large output variables or one
/// that a large signal woke (either about 120 KiB), and an archived execution (`EXECUTION_VARIABLES_BYTES_MAX` and what
/// else it keeps) can exceed that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Head(Head),
    Declaration(Arc<PipelineDeclaration>),
    Start(ExecutionId, Arc<Start>),
    Progress(ExecutionId, Progress),
    Action(ExecutionId, Place, Arc<ActionRun>),
    Delete(Part),
    /// An execution ended: to be kept apart from the state, for reading and for `RetryStage`. A later one of the same
    /// execution (it was retried) replaces it. Its parts are deleted by changes of their own.
    Archive(Box<Execution>),
}

impl Change {
    /// The part that is put or deleted; none for an archived execution, which is not in the state.
    pub fn part(&self) -> Option<Part> {
        Some(match self {
            Change::Head(_) => Part::Head,
            Change::Declaration(_) => Part::Declaration,
            Change::Start(id, _) => Part::Start(*id),
            Change::Progress(id, _) => Part::Progress(*id),
            Change::Action(id, place, _) => Part::Action(*id, *place),
            Change::Delete(part) => *part,
            Change::Archive(_) => return None,
        })
    }
}

/// A change does not fit the state: the store lost a part.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored state is broken: there is a part {0}, but not the execution's start; restore it from a backup")]
pub struct BrokenState(pub String);

impl State {
    /// Applies the changes of a step, or those loaded from the store in the order of their keys.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), BrokenState> {
        changes.into_iter().try_for_each(|change| self.apply_one(change))
    }

    fn apply_one(&mut self, change: Change) -> Result<(), BrokenState> {
        match change {
            Change::Head(head) => self.head = Some(head),
            Change::Declaration(declaration) => self.declaration = Some(declaration),
            Change::Start(id, start) => {
                self.executions.insert(id, Execution::new(id, start));
            }
            Change::Progress(id, progress) => self.part_of(Part::Progress(id), id)?.progress = progress,
            Change::Action(id, place, run) => {
                self.part_of(Part::Action(id, place), id)?.actions.insert(place, run);
            }
            Change::Delete(part) => self.delete(part),
            Change::Archive(_) => {}
        }
        Ok(())
    }

    fn delete(&mut self, part: Part) {
        match part {
            Part::Head => self.head = None,
            Part::Declaration => self.declaration = None,
            Part::Start(id) => drop(self.executions.remove(&id)),
            // An execution that ends goes as a whole.
            Part::Progress(_) => {}
            Part::Action(id, place) => {
                if let Some(execution) = self.executions.get_mut(&id) {
                    execution.actions.remove(&place);
                }
            }
        }
    }

    fn part_of(&mut self, part: Part, execution: ExecutionId) -> Result<&mut Execution, BrokenState> {
        self.executions.get_mut(&execution).ok_or_else(|| BrokenState(part.to_string()))
    }
}

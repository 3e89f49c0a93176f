//! The live state of one pipeline, in parts that are stored one by one.
//!
//! Owns the parts and how changes apply. Must not know why a part changes, nor how (`stored`) and where it is stored.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::execution::{ActionRun, Execution, Progress, StageStatus, Start};
use super::executions::Executions;
use super::ids::{ActionExecutionId, ExecutionId, Timestamp};
use crate::declaration::PipelineDeclaration;

/// All that the machine knows of a pipeline between two inputs. A clone costs as good as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// None before the pipeline is created and after it is deleted.
    pub head: Option<Arc<Head>>,
    /// The declaration of the head's version. An update cancels what runs by an older one.
    pub declaration: Option<Arc<PipelineDeclaration>>,
    pub executions: Executions,
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
    /// them is told why it is gone.
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
    /// The execution that holds the stage's lock; none where executions are independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupant: Option<ExecutionId>,
    /// The last execution that entered, and how the stage stands by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// The execution of this version with which the stage succeeded last: what a failure is rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<ExecutionId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    pub execution: ExecutionId,
    pub status: StageStatus,
}

/// CodePipeline's TransitionState.
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
    Run(ExecutionId, Address),
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
            Part::Run(execution, address) => write!(f, "execution/{execution}/{address}"),
        }
    }
}

/// A change of one part, as it is stored under the part's key. Whatever users and plugins send, none exceeds
/// `VALUE_BYTES_MAX` (`bounds`); in ordinary use they stay well under 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Head(Arc<Head>),
    Declaration(Arc<PipelineDeclaration>),
    Start(ExecutionId, Arc<Start>),
    Progress(ExecutionId, Progress),
    Run(ExecutionId, Address, Arc<ActionRun>),
    Delete(Part),
    /// An execution ended: to be kept apart from the state, for reading and for `RetryStage`. A later one of the same
    /// execution (it was retried) replaces it. Its parts are deleted by changes of their own.
    Archive(Arc<Execution>),
}

impl Change {
    /// The part that is put or deleted; none for an archived execution, which is not in the state.
    pub fn part(&self) -> Option<Part> {
        Some(match self {
            Change::Head(_) => Part::Head,
            Change::Declaration(_) => Part::Declaration,
            Change::Start(id, _) => Part::Start(*id),
            Change::Progress(id, _) => Part::Progress(*id),
            Change::Run(id, address, _) => Part::Run(*id, *address),
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
        // Changes of one execution come one after the other: it is put back when another one's come.
        let mut open: Option<Execution> = None;
        for change in changes {
            let of = change.part().and_then(Part::execution);
            if open.as_ref().is_some_and(|open| Some(open.id) != of) {
                open.take().into_iter().for_each(|done| self.executions.put(done));
            }
            match change {
                Change::Head(head) => self.head = Some(head),
                Change::Declaration(declaration) => self.declaration = Some(declaration),
                Change::Start(id, start) => open = Some(Execution::new(id, start)),
                Change::Progress(id, progress) => {
                    self.opened(&mut open, Part::Progress(id), id)?.progress = progress;
                }
                Change::Run(id, address, run) => {
                    self.opened(&mut open, Part::Run(id, address), id)?.runs.insert(address, run);
                }
                Change::Delete(Part::Head) => self.head = None,
                Change::Delete(Part::Declaration) => self.declaration = None,
                // An execution that ends goes as a whole.
                Change::Delete(Part::Start(id)) => {
                    open = None;
                    self.executions.remove(id);
                }
                Change::Delete(Part::Run(id, address)) if self.executions.contains_key(&id) => {
                    self.opened(&mut open, Part::Run(id, address), id)?.runs.remove(&address);
                }
                Change::Delete(Part::Run(..) | Part::Progress(_)) | Change::Archive(_) => {}
            }
        }
        open.into_iter().for_each(|done| self.executions.put(done));
        Ok(())
    }

    fn opened<'a>(
        &self,
        open: &'a mut Option<Execution>,
        part: Part,
        id: ExecutionId,
    ) -> Result<&'a mut Execution, BrokenState> {
        if open.is_none() {
            let found = self.executions.get(&id).ok_or_else(|| BrokenState(part.to_string()))?;
            *open = Some((**found).clone());
        }
        open.as_mut().ok_or_else(|| BrokenState(part.to_string()))
    }
}

impl Part {
    /// The execution that it is a part of.
    fn execution(self) -> Option<ExecutionId> {
        match self {
            Part::Head | Part::Declaration => None,
            Part::Start(id) | Part::Progress(id) | Part::Run(id, _) => Some(id),
        }
    }
}

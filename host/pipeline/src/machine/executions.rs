//! The live executions of a pipeline, and how one is found among many without a look at each.
//!
//! A clone shares everything with what it was made from, and a change costs the logarithm of their number: a step costs the
//! same beside a thousand executions as alone. Owns what is derived from the executions. Must not know why one changes.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::bounds;
use super::execution::Execution;
use super::ids::{ActionExecutionId, ExecutionId, Timestamp};

#[derive(Clone, Default)]
pub struct Executions {
    by_id: RedBlackTreeMapSync<ExecutionId, Arc<Execution>>,
    /// The executions of all that is in progress.
    in_progress: RedBlackTreeMapSync<ActionExecutionId, ExecutionId>,
    /// When each of those has something to do that has by itself.
    due: RedBlackTreeSetSync<(Timestamp, ExecutionId)>,
    /// Who waits in front of a stage, in the order of their starts.
    waiting: RedBlackTreeSetSync<(usize, u64, ExecutionId)>,
    /// What all of them hold that differs from one to another.
    held_bytes: usize,
}

impl Executions {
    pub fn get(&self, id: &ExecutionId) -> Option<&Arc<Execution>> {
        self.by_id.get(id)
    }

    pub fn contains_key(&self, id: &ExecutionId) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn keys(&self) -> impl Iterator<Item = &ExecutionId> {
        self.by_id.keys()
    }

    pub fn values(&self) -> impl Iterator<Item = &Arc<Execution>> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The execution of an action or a rule that is in progress.
    pub(super) fn of(&self, run: ActionExecutionId) -> Option<&Arc<Execution>> {
        self.by_id.get(self.in_progress.get(&run)?)
    }

    /// When the first of them has something to do by itself.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Who waits in front of a stage, the first to go in first.
    pub fn waiting(&self, stage: usize) -> impl Iterator<Item = ExecutionId> {
        self.in_front_of(stage).map(|(_, id)| id)
    }

    /// The same, each with the number of its start.
    pub(super) fn in_front_of(&self, stage: usize) -> impl Iterator<Item = (u64, ExecutionId)> {
        let first = (stage, 0, ExecutionId::from_bytes([0; 16]));
        let there = self.waiting.range(first..).take_while(move |(of, ..)| *of == stage);
        there.map(|(_, number, id)| (*number, *id))
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds an execution, or puts it in the place of how it was before.
    pub(super) fn put(&mut self, execution: Execution) {
        let id = execution.id;
        let before = self.by_id.get(&id).cloned();
        self.derive(id, before.as_deref(), Some(&execution));
        self.by_id.insert_mut(id, Arc::new(execution));
    }

    pub(super) fn remove(&mut self, id: ExecutionId) {
        if let Some(before) = self.by_id.get(&id).cloned() {
            self.derive(id, Some(&before), None);
            self.by_id.remove_mut(&id);
        }
    }

    fn derive(&mut self, id: ExecutionId, before: Option<&Execution>, after: Option<&Execution>) {
        let runs = |execution: Option<&Execution>| -> Vec<ActionExecutionId> {
            let runs = execution.into_iter().flat_map(|it| it.stage_runs(it.stage()));
            runs.filter(|(_, run)| run.in_progress()).map(|(_, run)| run.id).collect()
        };
        let (ended, begun) = (runs(before), runs(after));
        for run in ended.iter().filter(|run| !begun.contains(run)) {
            self.in_progress.remove_mut(run);
        }
        for run in begun.iter().filter(|run| !ended.contains(run)) {
            self.in_progress.insert_mut(*run, id);
        }
        self.held_bytes = bounds::held_bytes(self.held_bytes, before, after);
        let place = |execution: Option<&Execution>| {
            let (stage, number) = execution.and_then(Execution::waits_at)?;
            Some((stage, number, id))
        };
        let (waited, waits) = (place(before), place(after));
        if waited != waits {
            if let Some(place) = waited {
                self.waiting.remove_mut(&place);
            }
            if let Some(place) = waits {
                self.waiting.insert_mut(place);
            }
        }
        let due = |execution: Option<&Execution>| execution.and_then(Execution::due).map(|at| (at, id));
        let (was_due, is_due) = (due(before), due(after));
        if was_due != is_due {
            if let Some(due) = was_due {
                self.due.remove_mut(&due);
            }
            if let Some(due) = is_due {
                self.due.insert_mut(due);
            }
        }
    }
}

impl Index<&ExecutionId> for Executions {
    type Output = Arc<Execution>;

    fn index(&self, id: &ExecutionId) -> &Arc<Execution> {
        &self.by_id[id]
    }
}

/// What is derived follows from the executions.
impl PartialEq for Executions {
    fn eq(&self, other: &Executions) -> bool {
        self.by_id == other.by_id
    }
}

impl Eq for Executions {}

impl fmt::Debug for Executions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_id.fmt(f)
    }
}

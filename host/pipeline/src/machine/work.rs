//! A step in the making: the state as the step has changed it so far, and what it has to tell and to ask.
//!
//! Owns the difference between the state before and after. Must not know the rules that make it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::Effect;
use super::event::Event;
use super::execution::Execution;
use super::ids::{Entropy, ExecutionId, Ids, Place, Timestamp};
use super::refusal::Refusal;
use super::state::{Change, Head, Part, State};
use super::step::{Reply, Step};
use crate::declaration::{ActionDeclaration, PipelineDeclaration};

/// A rule takes an execution out, changes it, and puts it back; what it frees for others goes on `freed`, so that no two
/// rules hold the same execution.
pub(super) struct Work<'a> {
    base: &'a State,
    pub(super) at: Timestamp,
    pub(super) ids: Ids,
    pub(super) head: Cow<'a, Head>,
    pub(super) declaration: Arc<PipelineDeclaration>,
    /// The executions that were put back.
    touched: BTreeMap<ExecutionId, Execution>,
    /// Stages that became free or open, and may let the waiting execution in.
    pub(super) freed: BTreeSet<usize>,
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
}

impl<'a> Work<'a> {
    pub(super) fn new(base: &'a State, entropy: Entropy, at: Timestamp) -> Result<Work<'a>, Refusal> {
        let (Some(head), Some(declaration)) = (&base.head, &base.declaration) else {
            return Err(Refusal::PipelineNotFound);
        };
        Ok(Work {
            base,
            at,
            ids: Ids::new(entropy),
            head: Cow::Borrowed(head),
            declaration: declaration.clone(),
            touched: BTreeMap::new(),
            freed: BTreeSet::new(),
            events: Vec::new(),
            effects: Vec::new(),
        })
    }

    /// The executions that were live before the step.
    pub(super) fn executions(&self) -> impl Iterator<Item = &'a Execution> + use<'a> {
        self.base.executions.values()
    }

    /// A live execution to change and to put back.
    pub(super) fn take(&self, id: ExecutionId) -> Option<Execution> {
        let execution = self.touched.get(&id).or_else(|| self.base.executions.get(&id));
        execution.filter(|execution| execution.progress.ended.is_none()).cloned()
    }

    pub(super) fn put(&mut self, execution: Execution) {
        self.touched.insert(execution.id, execution);
    }

    pub(super) fn action(&self, place: Place) -> &ActionDeclaration {
        &self.declaration.stages[usize::from(place.stage)].actions[usize::from(place.action)]
    }

    pub(super) fn stage_index(&self, stage: &str) -> Result<usize, Refusal> {
        self.declaration
            .stages
            .iter()
            .position(|declared| declared.name == stage)
            .ok_or_else(|| Refusal::StageNotFound { pipeline: self.declaration.name.clone(), stage: stage.to_owned() })
    }

    /// What the step comes to.
    pub(super) fn finish(self, reply: Reply) -> Step {
        let mut changes = Vec::new();
        if let Cow::Owned(head) = self.head
            && self.base.head.as_ref() != Some(&head)
        {
            changes.push(Change::Head(head));
        }
        if !self.base.declaration.as_ref().is_some_and(|before| Arc::ptr_eq(before, &self.declaration)) {
            changes.push(Change::Declaration(self.declaration));
        }
        for (id, execution) in self.touched {
            difference(self.base.executions.get(&id), execution, &mut changes);
        }
        Step { changes, events: self.events, effects: self.effects, reply }
    }

    /// What the step comes to that deletes the pipeline.
    pub(super) fn finish_deleted(self) -> Step {
        let mut step = self.finish(Reply::Done);
        step.changes.retain(|change| !matches!(change, Change::Head(_)));
        step.changes.extend([Change::Delete(Part::Declaration), Change::Delete(Part::Head)]);
        step
    }
}

/// The changes that lead from an execution before a step to the one after it.
fn difference(before: Option<&Execution>, after: Execution, changes: &mut Vec<Change>) {
    let id = after.id;
    if after.progress.ended.is_some() {
        changes.extend(before.into_iter().flat_map(parts).map(Change::Delete));
        return changes.push(Change::Archive(Box::new(after)));
    }
    if before.is_none() {
        changes.push(Change::Start(id, after.start));
    }
    if before.is_none_or(|before| before.progress != after.progress) {
        changes.push(Change::Progress(id, after.progress));
    }
    let nothing = BTreeMap::new();
    let actions = before.map_or(&nothing, |before| &before.actions);
    for place in actions.keys().filter(|place| !after.actions.contains_key(place)) {
        changes.push(Change::Delete(Part::Action(id, *place)));
    }
    for (place, run) in after.actions {
        if !actions.get(&place).is_some_and(|before| Arc::ptr_eq(before, &run)) {
            changes.push(Change::Action(id, place, run));
        }
    }
}

/// All parts of an execution.
fn parts(execution: &Execution) -> impl Iterator<Item = Part> {
    let id = execution.id;
    let actions = execution.actions.keys().map(move |place| Part::Action(id, *place));
    actions.chain([Part::Progress(id), Part::Start(id)])
}

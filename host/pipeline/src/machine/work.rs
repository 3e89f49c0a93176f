//! A step in the making: the state as the step has changed it so far, and what it has to tell and to ask.
//!
//! Owns the difference between the state before and after. Must not know the rules that make it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::address::Address;
use super::bounds::{LIVE_BYTES_MAX, reserved_bytes};
use super::declared::Declared;
use super::effect::Effect;
use super::event::Event;
use super::execution::Execution;
use super::ids::{ActionExecutionId, Entropy, ExecutionId, Ids, Timestamp};
use super::refusal::Refusal;
use super::state::{Change, Head, Part, State};
use super::step::{Reply, Step};
use crate::declaration::{ExecutionMode, PipelineDeclaration};

/// A rule takes an execution out, changes it, and puts it back; what it frees for others goes on `freed`, so that no two
/// rules hold the same execution.
pub(super) struct Work<'a> {
    base: &'a State,
    pub(super) at: Timestamp,
    pub(super) ids: Ids,
    pub(super) head: Arc<Head>,
    pub(super) declaration: Arc<PipelineDeclaration>,
    /// The executions that were put back.
    touched: BTreeMap<ExecutionId, Execution>,
    /// Stages that became free or open, and may let in who waits.
    pub(super) freed: BTreeSet<usize>,
    pub(super) events: Vec<Event>,
    pub(super) effects: Vec<Effect>,
}

impl<'a> Work<'a> {
    /// None where there is no pipeline.
    pub(super) fn new(base: &'a State, entropy: Entropy, at: Timestamp) -> Option<Work<'a>> {
        let (Some(head), Some(declaration)) = (&base.head, &base.declaration) else { return None };
        Some(Work {
            base,
            at,
            ids: Ids::new(entropy),
            head: head.clone(),
            declaration: declaration.clone(),
            touched: BTreeMap::new(),
            freed: BTreeSet::new(),
            events: Vec::new(),
            effects: Vec::new(),
        })
    }

    pub(super) fn head_mut(&mut self) -> &mut Head {
        Arc::make_mut(&mut self.head)
    }

    pub(super) fn mode(&self) -> ExecutionMode {
        self.declaration.execution_mode.unwrap_or_default()
    }

    /// The executions that were live before the step.
    pub(super) fn executions(&self) -> impl Iterator<Item = &'a Execution> + use<'a> {
        self.base.executions.values().map(|execution| &**execution)
    }

    /// The one of them in which this is in progress.
    pub(super) fn execution_of(&self, run: ActionExecutionId) -> Option<&'a Execution> {
        self.base.executions.of(run).map(|execution| &**execution)
    }

    /// How many they were.
    pub(super) fn executions_count(&self) -> usize {
        self.base.executions.len()
    }

    /// Who waits in front of a stage and goes in first.
    pub(super) fn first_in_front_of(&self, stage: usize) -> Option<ExecutionId> {
        let before = self.base.executions.in_front_of(stage).find(|(_, id)| !self.touched.contains_key(id));
        let since = self.touched.values().filter_map(|execution| {
            let (at, number) = execution.waits_at()?;
            (at == stage).then_some((number, execution.id))
        });
        since.chain(before).min().map(|(_, id)| id)
    }

    /// For how much more of what differs from one execution to another there is room.
    pub(super) fn room_bytes(&self) -> usize {
        let reserved = self.executions_count() * reserved_bytes(&self.declaration);
        LIVE_BYTES_MAX.saturating_sub(reserved + self.base.executions.held_bytes())
    }

    /// A live execution to change and to put back.
    pub(super) fn take(&self, id: ExecutionId) -> Option<Execution> {
        let execution = self.touched.get(&id).or_else(|| self.base.executions.get(&id).map(|it| &**it));
        execution.filter(|execution| execution.progress.ended.is_none()).cloned()
    }

    pub(super) fn put(&mut self, execution: Execution) {
        self.touched.insert(execution.id, execution);
    }

    pub(super) fn declared(&self, address: Address) -> Declared<'_> {
        Declared::at(&self.declaration, address)
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
        let same_head = |before: &Arc<Head>| Arc::ptr_eq(before, &self.head) || *before == self.head;
        if !self.base.head.as_ref().is_some_and(same_head) {
            changes.push(Change::Head(self.head));
        }
        if !self.base.declaration.as_ref().is_some_and(|before| Arc::ptr_eq(before, &self.declaration)) {
            changes.push(Change::Declaration(self.declaration));
        }
        for (id, execution) in self.touched {
            difference(self.base.executions.get(&id).map(|before| &**before), execution, &mut changes);
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
        return changes.push(Change::Archive(Arc::new(after)));
    }
    if before.is_none() {
        changes.push(Change::Start(id, after.start));
    }
    if before.is_none_or(|before| before.progress != after.progress) {
        changes.push(Change::Progress(id, after.progress));
    }
    let nothing = BTreeMap::new();
    let runs = before.map_or(&nothing, |before| &before.runs);
    for address in runs.keys().filter(|address| !after.runs.contains_key(address)) {
        changes.push(Change::Delete(Part::Run(id, *address)));
    }
    for (address, run) in after.runs {
        if !runs.get(&address).is_some_and(|before| Arc::ptr_eq(before, &run)) {
            changes.push(Change::Run(id, address, run));
        }
    }
}

/// All parts of an execution.
fn parts(execution: &Execution) -> impl Iterator<Item = Part> {
    let id = execution.id;
    let runs = execution.runs.keys().map(move |address: &Address| Part::Run(id, *address));
    runs.chain([Part::Progress(id), Part::Start(id)])
}

//! The table of the rules between members of a declaration (S11 to S26), and how they are run.
//!
//! Owns the order of the rules, which decides what the API answers with, and the silence about what could not be read.
//! Must not know what any rule checks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, ErrorClass, PROBLEMS_MAX, Problem, action_types, actions, conditions, references, structure};
use crate::declaration::{ActionDeclaration, CreatePipelineInput, PipelineDeclaration, PipelineType, StageDeclaration};
use ErrorClass::{
    InvalidActionDeclaration as Action, InvalidBlockerDeclaration as Blocker, InvalidStageDeclaration as Stage,
    InvalidStructure as Structure,
};

/// One rule: what breaks it is reported with its class.
pub struct Rule {
    pub name: &'static str,
    pub class: ErrorClass,
    /// the promise that it holds
    pub promise: &'static str,
    scope: Scope,
    check: fn(&Subject<'_>, &mut Sink<'_>),
}

/// What a rule must have read before it can accuse.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The place that it names and the action around it.
    Local,
    /// The whole declaration, because it concludes from what is not there: a producer, a namespace, `pipelineType`.
    Whole,
}

use Scope::{Local, Whole};

const fn rule(
    name: &'static str,
    class: ErrorClass,
    promise: &'static str,
    scope: Scope,
    check: fn(&Subject<'_>, &mut Sink<'_>),
) -> Rule {
    Rule { name, class, promise, scope, check }
}

/// Every rule. The first that is broken is the API's answer: from the whole to its parts.
pub static RULES: &[Rule] = &[
    rule("stages-min", Structure, "S11", Local, structure::stages_min),
    rule("stages-max", Structure, "S11", Local, structure::stages_max),
    rule("actions-total-max", Structure, "S11", Local, structure::actions_total_max),
    rule("first-stage-sources", Structure, "S12", Local, structure::first_stage_sources),
    rule("sources-first-stage", Structure, "S12", Local, structure::sources_first_stage),
    rule("non-source-action", Structure, "S12", Whole, structure::non_source_action),
    rule("one-artifact-store", Structure, "S15", Whole, structure::one_artifact_store),
    rule("artifact-store-regions", Structure, "S15", Whole, structure::artifact_store_regions),
    rule("execution-mode-v2", Structure, "S19", Whole, structure::execution_mode_v2),
    rule("triggers-v2", Structure, "S19", Whole, structure::triggers_v2),
    rule("variables-v2", Structure, "S19", Whole, structure::variables_v2),
    rule("variable-names-unique", Structure, "S85", Local, structure::variable_names_unique),
    rule("variables-not-in-sources", Structure, "S81", Local, references::not_in_sources),
    rule("variables-declared", Structure, "S81", Whole, references::declared),
    rule("trigger-source-action", Structure, "S95", Whole, structure::trigger_source_action),
    rule("trigger-per-source-action", Structure, "S95", Local, structure::trigger_per_source_action),
    rule("trigger-filters", Structure, "S95", Local, structure::trigger_filters),
    rule("trigger-patterns", Structure, "S95", Local, structure::trigger_patterns),
    rule("stage-names-unique", Stage, "S11", Local, structure::stage_names_unique),
    rule("stage-actions-min", Stage, "S11", Local, structure::stage_actions_min),
    rule("stage-actions-max", Stage, "S11", Local, structure::stage_actions_max),
    rule("conditions-v2", Stage, "S19", Whole, conditions::v2),
    rule("condition-complete", Stage, "S40", Local, conditions::complete),
    rule("condition-results", Stage, "S40", Local, conditions::results),
    rule("failure-result-or-conditions", Stage, "S29", Local, conditions::failure_result_or_conditions),
    rule("retry-configuration", Stage, "S29", Local, conditions::retry_configuration),
    rule("parallel-rollback", Stage, "S39", Local, conditions::parallel_rollback),
    rule("source-rollback", Stage, "S39", Local, conditions::source_rollback),
    rule("rule-names-unique", Stage, "S40", Local, conditions::rule_names_unique),
    rule("skip-rules", Stage, "S29", Local, conditions::skip_rules),
    rule("rule-configuration", Stage, "S40", Local, conditions::rule_configuration),
    rule("rule-configuration-unknown", Stage, "S40", Local, conditions::rule_configuration_unknown),
    rule("rule-configuration-values", Stage, "S40", Local, conditions::rule_configuration_values),
    rule("rule-inputs-count", Stage, "S40", Local, conditions::rule_inputs_count),
    rule("rule-commands", Stage, "S20", Local, conditions::rule_commands),
    rule("rule-inputs", Stage, "S13", Whole, conditions::rule_inputs),
    rule("blockers-reserved", Blocker, "S26", Local, structure::blockers_reserved),
    rule("action-names-unique", Action, "S11", Local, actions::names_unique),
    rule("outputs-unique", Action, "S13", Local, actions::outputs_unique),
    rule("inputs-produced", Action, "S13", Whole, actions::inputs_produced),
    rule("namespaces-reserved", Action, "S14", Local, actions::namespaces_reserved),
    rule("namespaces-unique", Action, "S14", Local, actions::namespaces_unique),
    rule("reference-syntax", Action, "S80", Local, references::syntax),
    rule("reference-built-in", Action, "S80", Local, references::built_in),
    rule("reference-namespace", Action, "S81", Whole, references::namespace),
    rule("reference-order", Action, "S81", Whole, references::order),
    rule("cross-region-owner", Action, "S15", Local, actions::cross_region_owner),
    rule("timeout-approval-only", Action, "S21", Local, actions::timeout_approval_only),
    rule("commands-family", Action, "S20", Local, actions::commands_family),
    rule("commands-required", Action, "S20", Local, actions::commands_required),
    rule("commands-single-line", Action, "S20", Local, actions::commands_single_line),
    rule("action-type-v2", Action, "S22", Whole, action_types::v2),
    rule("inputs-count", Action, "S16", Local, action_types::inputs_count),
    rule("outputs-count", Action, "S16", Local, action_types::outputs_count),
    rule("configuration-required", Action, "S16", Local, action_types::required),
    rule("configuration-unknown", Action, "S16", Local, action_types::unknown),
    rule("configuration-values", Action, "S16", Local, action_types::values),
    rule("configuration-size", Action, "S112", Local, action_types::size),
    rule("tags-max", ErrorClass::TooManyTags, "S25", Local, structure::tags_max),
    rule("tag-keys", ErrorClass::InvalidTags, "S25", Local, structure::tag_keys),
];

/// What the rules judge.
pub(super) struct Subject<'a> {
    pub(super) input: &'a CreatePipelineInput,
    pub(super) context: &'a Context<'a>,
}

impl<'a> Subject<'a> {
    pub(super) fn pipeline(&self) -> &'a PipelineDeclaration {
        &self.input.pipeline
    }

    pub(super) fn is_v1(&self) -> bool {
        self.pipeline().pipeline_type.unwrap_or_default() == PipelineType::V1
    }

    pub(super) fn stages(&self) -> impl Iterator<Item = (usize, &'a StageDeclaration)> {
        self.pipeline().stages.iter().enumerate()
    }

    pub(super) fn actions(&self) -> impl Iterator<Item = At<'a>> {
        actions_of(self.pipeline())
    }

    /// The output artifacts of the pipeline, with the first turn in which they are made.
    pub(super) fn produced(&self) -> BTreeMap<&'a str, Turn> {
        let mut produced = BTreeMap::new();
        for at in self.actions() {
            for output in at.action.outputs() {
                produced.entry(output).or_insert(at.turn());
            }
        }
        produced
    }
}

/// An action and where it stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) stage: &'a StageDeclaration,
    pub(super) stage_index: usize,
    pub(super) action: &'a ActionDeclaration,
    pub(super) index: usize,
}

impl At<'_> {
    /// The path of a member of the action.
    pub(super) fn path(&self, member: &str) -> String {
        format!("pipeline.stages[{}].actions[{}].{member}", self.stage_index, self.index)
    }

    /// When the action runs: what is less has ended before.
    pub(super) fn turn(&self) -> Turn {
        (self.stage_index, self.action.run_order())
    }
}

/// Stage and run order; a condition's rules come before or after all run orders of their stage.
pub(super) type Turn = (usize, u32);

pub(super) fn actions_of(pipeline: &PipelineDeclaration) -> impl Iterator<Item = At<'_>> {
    pipeline.stages.iter().enumerate().flat_map(|(stage_index, stage)| {
        let at = move |(index, action)| At { stage, stage_index, action, index };
        stage.actions.iter().enumerate().map(at)
    })
}

/// Takes the problems of one rule.
pub(super) struct Sink<'a> {
    rule: &'a Rule,
    unread: &'a BTreeSet<String>,
    problems: &'a mut Vec<Problem>,
}

impl Sink<'_> {
    /// Reports a problem, unless the document could not be read where the rule looked.
    pub(super) fn report(&mut self, path: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let path = path.into();
        let unread_there = match self.rule.scope {
            Local => self.unread_within(&path) || self.unread_within(action_of(&path)),
            Whole => !self.unread.is_empty(),
        };
        if !unread_there {
            let (message, mend) = (message.into(), mend.into());
            self.problems.push(Problem { class: self.rule.class, path, message, mend });
        }
    }

    /// Whether something at, below or around a path could not be read.
    fn unread_within(&self, path: &str) -> bool {
        let below = |separator| {
            let start = format!("{path}{separator}");
            self.unread.range(start.clone()..).next().is_some_and(|unread| unread.starts_with(&start))
        };
        let around = || path.match_indices(['.', '[']).any(|(end, _)| self.unread.contains(&path[..end]));
        self.unread.contains(path) || below('.') || below('[') || around()
    }
}

/// The path of the action around a place, or the place itself.
fn action_of(path: &str) -> &str {
    let Some(start) = path.find(".actions[") else { return path };
    path[start..].find(']').map_or(path, |end| &path[..=start + end])
}

/// Adds the problems of all rules, up to `PROBLEMS_MAX` altogether.
pub(super) fn judge(
    input: &CreatePipelineInput,
    context: &Context<'_>,
    unread: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) {
    let subject = Subject { input, context };
    for rule in RULES {
        (rule.check)(&subject, &mut Sink { rule, unread, problems });
    }
}

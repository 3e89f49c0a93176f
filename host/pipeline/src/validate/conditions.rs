//! The rules about stage conditions (S40).
//!
//! Owns one function for each row of `rules::RULES` that names it, and what a rule type must have. On failure, any result may
//! stand in a condition: AWS's documents contradict each other there, and this is the laxer reading.

use std::collections::BTreeSet;

use super::rules::{Sink, Subject, Turn};
use super::structure::MAKE_V2;
use crate::action_type::{ActionTypeInfo, ArtifactCount, aws_rule, aws_rule_refuses};
use crate::declaration::{Condition, ConditionResult, ExecutionMode, RuleDeclaration, StageDeclaration};
use ConditionResult::{Fail, Retry, Rollback, Skip};

/// When a condition is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    BeforeEntry,
    OnSuccess,
    OnFailure,
}

impl Gate {
    fn member(self) -> &'static str {
        match self {
            Gate::BeforeEntry => "beforeEntry",
            Gate::OnSuccess => "onSuccess",
            Gate::OnFailure => "onFailure",
        }
    }

    fn results(self) -> &'static [ConditionResult] {
        match self {
            Gate::BeforeEntry => &[Fail, Skip],
            Gate::OnSuccess => &[Rollback, Fail],
            Gate::OnFailure => &[Rollback, Fail, Retry, Skip],
        }
    }
}

struct ConditionAt<'a> {
    stage: &'a StageDeclaration,
    stage_index: usize,
    gate: Gate,
    condition: &'a Condition,
    index: usize,
}

impl ConditionAt<'_> {
    fn path(&self) -> String {
        format!("pipeline.stages[{}].{}.conditions[{}]", self.stage_index, self.gate.member(), self.index)
    }
}

fn conditions<'a>(subject: &Subject<'a>) -> Vec<ConditionAt<'a>> {
    let mut all = Vec::new();
    for (stage_index, stage) in subject.stages() {
        let before = stage.before_entry.as_ref().map(|gate| &gate.conditions);
        let success = stage.on_success.as_ref().map(|gate| &gate.conditions);
        let failure = stage.on_failure.as_ref().and_then(|gate| gate.conditions.as_ref());
        for (gate, conditions) in [(Gate::BeforeEntry, before), (Gate::OnSuccess, success), (Gate::OnFailure, failure)]
        {
            let at = |(index, condition)| ConditionAt { stage, stage_index, gate, condition, index };
            all.extend(conditions.into_iter().flatten().enumerate().map(at));
        }
    }
    all
}

/// A rule of a condition and where it stands.
pub(super) struct RuleAt<'a> {
    pub(super) stage: &'a StageDeclaration,
    pub(super) rule: &'a RuleDeclaration,
    stage_index: usize,
    gate: Gate,
    condition: String,
    result: Option<ConditionResult>,
    index: usize,
}

impl RuleAt<'_> {
    pub(super) fn path(&self, member: &str) -> String {
        format!("{}.rules[{}].{member}", self.condition, self.index)
    }

    pub(super) fn turn(&self) -> Turn {
        let run_order = if self.gate == Gate::BeforeEntry { 0 } else { u32::MAX };
        (self.stage_index, run_order)
    }
}

pub(super) fn rules<'a>(subject: &Subject<'a>) -> Vec<RuleAt<'a>> {
    let of = |at: ConditionAt<'a>| {
        let rules = at.condition.rules.iter().flatten().enumerate();
        let rule = |(index, rule)| RuleAt {
            stage: at.stage,
            rule,
            stage_index: at.stage_index,
            gate: at.gate,
            condition: at.path(),
            result: at.condition.result,
            index,
        };
        rules.map(rule).collect::<Vec<_>>()
    };
    conditions(subject).into_iter().flat_map(of).collect()
}

pub(super) fn v2(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages().filter(|_| subject.is_v1()) {
        let gates = [
            (Gate::BeforeEntry, stage.before_entry.is_some()),
            (Gate::OnSuccess, stage.on_success.is_some()),
            (Gate::OnFailure, stage.on_failure.is_some()),
        ];
        for (gate, _) in gates.into_iter().filter(|(_, present)| *present) {
            let path = format!("pipeline.stages[{index}].{}", gate.member());
            sink.report(path, "Stage level conditions can only be used with V2 pipelines.", MAKE_V2);
        }
    }
}

pub(super) fn complete(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in conditions(subject) {
        let missing = match (&at.condition.result, &at.condition.rules) {
            (None, _) => "result",
            (_, None) => "rules",
            _ => continue,
        };
        sink.report(
            at.path(),
            format!("The {} condition of stage '{}' has no {missing}", at.gate.member(), at.stage.name),
            format!("add `{missing}`"),
        );
    }
}

pub(super) fn results(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in conditions(subject) {
        let allowed = at.gate.results();
        let Some(result) = at.condition.result.filter(|result| !allowed.contains(result)) else { continue };
        let allowed: Vec<_> = allowed.iter().map(|result| result.name()).collect();
        sink.report(
            format!("{}.result", at.path()),
            format!(
                "The {} condition of stage '{}' cannot have the result {}",
                at.gate.member(),
                at.stage.name,
                result.name()
            ),
            format!("use one of {}", allowed.join(", ")),
        );
    }
}

impl ConditionResult {
    fn name(self) -> &'static str {
        match self {
            Rollback => "ROLLBACK",
            Fail => "FAIL",
            Retry => "RETRY",
            Skip => "SKIP",
        }
    }
}

pub(super) fn failure_result_or_conditions(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages() {
        if stage.on_failure.as_ref().is_some_and(|gate| gate.result.is_some() && gate.conditions.is_some()) {
            sink.report(
                format!("pipeline.stages[{index}].onFailure"),
                format!(
                    "The following stage cannot have a failure exit gate configured with both top level result and \
                     conditions: '{}'",
                    stage.name
                ),
                "keep either `result` or `conditions`",
            );
        }
    }
}

pub(super) fn retry_configuration(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages() {
        let Some(gate) = &stage.on_failure else { continue };
        if gate.retry_configuration.is_some() && gate.result != Some(Retry) {
            sink.report(
                format!("pipeline.stages[{index}].onFailure"),
                format!("Stage '{}' has a retryConfiguration, which only the result RETRY takes", stage.name),
                "add `\"result\": \"RETRY\"`, or remove `retryConfiguration`",
            );
        }
    }
}

pub(super) fn parallel_rollback(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.pipeline().execution_mode != Some(ExecutionMode::Parallel) {
        return;
    }
    for (_, path) in rollbacks(subject) {
        sink.report(
            path,
            "Failure conditions with rollback result type cannot be added to a PARALLEL pipeline.",
            "use another result, or another executionMode",
        );
    }
}

/// There is nothing that a source stage could go back to: it takes what is there.
pub(super) fn source_rollback(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (_, path) in rollbacks(subject).into_iter().filter(|(stage, _)| *stage == 0) {
        sink.report(path, "A source stage cannot be rolled back.", "use another result");
    }
}

/// Each result ROLLBACK: the index of its stage, and its path.
fn rollbacks(subject: &Subject<'_>) -> Vec<(usize, String)> {
    let plain = subject.stages().filter_map(|(index, stage)| {
        let result = stage.on_failure.as_ref()?.result?;
        Some((index, format!("pipeline.stages[{index}].onFailure.result"), result))
    });
    let in_conditions = conditions(subject).into_iter();
    let in_conditions =
        in_conditions.filter_map(|at| Some((at.stage_index, format!("{}.result", at.path()), at.condition.result?)));
    let all = plain.chain(in_conditions).filter(|(.., result)| *result == Rollback);
    all.map(|(stage, path, _)| (stage, path)).collect()
}

pub(super) fn skip_rules(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in rules(subject).iter().filter(|at| at.result == Some(Skip)) {
        let provider = at.rule.rule_type_id.provider.as_str();
        // Of a rule that CodePipeline does not have, it says nothing.
        let is_aws = aws_rule(&at.rule.rule_type_id.to_type_id()).is_some();
        if is_aws && !matches!(provider, "LambdaInvoke" | "VariableCheck") {
            sink.report(
                at.path("ruleTypeId"),
                format!("Rule '{}' of type {provider} cannot be used with the result SKIP", at.rule.name),
                "use a LambdaInvoke or VariableCheck rule, or another result",
            );
        }
    }
}

pub(super) fn rule_names_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut seen = BTreeSet::new();
    for at in rules(subject) {
        if !seen.insert((at.stage_index, at.gate.member(), at.rule.name.as_str())) {
            sink.report(
                at.path("name"),
                format!(
                    "The {} condition of stage '{}' has two rules '{}'",
                    at.gate.member(),
                    at.stage.name,
                    at.rule.name
                ),
                "rename one",
            );
        }
    }
}

pub(super) fn rule_configuration(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let has = |key: &str| at.rule.configuration.as_ref().is_some_and(|keys| keys.contains_key(key));
        for key in wanted.required.into_iter().filter(|key| !has(key)) {
            sink.report(
                at.path("configuration"),
                format!("Rule configuration for rule '{}' is missing required configuration '{key}'", at.rule.name),
                format!("add `{key}`"),
            );
        }
    }
}

/// Of a type that a plugin serves.
pub(super) fn rule_configuration_unknown(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let Some(bound) = wanted.bound else { continue };
        let takes = |key: &str| bound.properties.iter().any(|it| it.name == key) || wanted.known.contains(&key);
        for (key, _) in at.rule.configuration.iter().flatten().filter(|(key, _)| !takes(key)) {
            let known = bound.properties.iter().map(|property| property.name.as_str());
            sink.report(
                at.path(&format!("configuration.{key}")),
                format!("Rule configuration for rule '{}' contains unknown configuration '{key}'", at.rule.name),
                match bound.properties.len() {
                    0 => "remove it: the type takes no configuration".to_owned(),
                    _ => format!("remove it, or use one of {}", known.collect::<Vec<_>>().join(", ")),
                },
            );
        }
    }
}

/// What has a reference is checked when it is resolved.
pub(super) fn rule_configuration_values(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let id = at.rule.rule_type_id.to_type_id();
        for (key, value) in at.rule.configuration.iter().flatten().filter(|(_, value)| !value.contains("#{")) {
            let properties = wanted.bound.map_or(&[][..], |bound| &bound.properties);
            let property = properties.iter().find(|property| property.name == *key);
            let by_plugin = property.and_then(|property| property.refuses(value));
            if let Some(mend) = by_plugin.or_else(|| aws_rule_refuses(&id, key, value)) {
                sink.report(
                    at.path(&format!("configuration.{key}")),
                    format!(
                        "Rule configuration for rule '{}' has an invalid value for configuration '{key}'",
                        at.rule.name
                    ),
                    mend,
                );
            }
        }
    }
}

/// Of a type that a plugin serves.
pub(super) fn rule_inputs_count(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let Some(ArtifactCount { min, max }) = wanted.bound.map(|bound| bound.inputs) else { continue };
        let declared = at.rule.input_artifacts.iter().flatten().count();
        if !(min as usize..=max as usize).contains(&declared) {
            sink.report(
                at.path("inputArtifacts"),
                format!("Rule {} declares {declared} input artifacts, and takes {min} to {max}", at.rule.name),
                if min == max { format!("declare {min}") } else { format!("declare {min} to {max}") },
            );
        }
    }
}

/// What is known of the type of a rule, by the plugin that serves it and by CodePipeline's own table.
struct Wanted<'a> {
    required: BTreeSet<&'a str>,
    known: &'static [&'static str],
    bound: Option<&'a ActionTypeInfo>,
}

fn each<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (RuleAt<'a>, Wanted<'a>)> {
    let context = *subject.context;
    rules(subject).into_iter().map(move |at| {
        let id = at.rule.rule_type_id.to_type_id();
        let (bound, aws) = (context.bound(&id), aws_rule(&id));
        let properties = bound.iter().flat_map(|bound| &bound.properties);
        let needs = properties.filter(|property| property.required && property.default.is_none());
        let mut required: BTreeSet<&str> = needs.map(|property| property.name.as_str()).collect();
        required.extend(aws.iter().flat_map(|aws| aws.required));
        (at, Wanted { required, known: aws.map_or(&[], |aws| aws.optional), bound })
    })
}

pub(super) fn rule_commands(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in rules(subject) {
        let (name, is_commands) = (&at.rule.name, at.rule.rule_type_id.provider == "Commands");
        match &at.rule.commands {
            None if is_commands => sink.report(
                at.path("commands"),
                format!("Rule {name} must have a non-empty commands field"),
                "add `\"commands\": [\"…\"]`",
            ),
            Some(_) if !is_commands => sink.report(
                at.path("commands"),
                format!("The following rule cannot contain a commands field: {name}."),
                "remove it, or use a Commands rule",
            ),
            Some(commands) if commands.iter().any(|command| command.contains(['\n', '\r'])) => sink.report(
                at.path("commands"),
                format!("Rule '{name}' has a command of several lines"),
                "write each line as a command of its own, or join them with `&&`",
            ),
            _ => {}
        }
    }
}

pub(super) fn rule_inputs(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let produced = subject.produced();
    for at in rules(subject) {
        for (index, input) in at.rule.input_artifacts.iter().flatten().enumerate() {
            if produced.get(input.name.as_str()).is_none_or(|turn| *turn >= at.turn()) {
                sink.report(
                    at.path(&format!("inputArtifacts[{index}].name")),
                    format!(
                        "Input Artifact Bundle {} in rule {} is not declared as Output Artifact Bundle in any of the \
                         preceding actions",
                        input.name, at.rule.name
                    ),
                    "declare it as an output artifact of an action that runs before",
                );
            }
        }
    }
}

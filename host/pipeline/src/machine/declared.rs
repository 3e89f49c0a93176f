//! What a declaration says of something that runs: an action, or a rule of a condition.
//!
//! Owns what the two have in common. Must not know how either runs.

use std::collections::BTreeMap;

use super::address::{Address, ConditionType, RuleAddress};
use super::input::SourceRevisionOverride;
use crate::declaration::{
    ActionCategory, ActionDeclaration, ActionOwner, Condition, EnvironmentVariable, PipelineDeclaration,
    RuleDeclaration, StageDeclaration,
};

const MINUTE: u64 = 60 * 1000;

#[derive(Clone, Copy, Debug)]
pub enum Declared<'a> {
    Action(&'a ActionDeclaration),
    Rule(&'a RuleDeclaration),
}

impl<'a> Declared<'a> {
    /// What stands at an address of a declaration.
    pub(super) fn at(declaration: &'a PipelineDeclaration, address: Address) -> Declared<'a> {
        let stage = &declaration.stages[address.stage()];
        match address {
            Address::Action(action) => Declared::Action(&stage.actions[usize::from(action.action)]),
            Address::Rule(rule) => Declared::Rule(&rules(stage, rule.condition)[usize::from(rule.rule)]),
        }
    }

    pub fn name(self) -> &'a str {
        match self {
            Declared::Action(action) => &action.name,
            Declared::Rule(rule) => &rule.name,
        }
    }

    pub fn configuration(self) -> Option<&'a BTreeMap<String, String>> {
        match self {
            Declared::Action(action) => action.configuration.as_ref(),
            Declared::Rule(rule) => rule.configuration.as_ref(),
        }
    }

    pub fn commands(self) -> &'a [String] {
        match self {
            Declared::Action(action) => action.commands.as_deref(),
            Declared::Rule(rule) => rule.commands.as_deref(),
        }
        .unwrap_or_default()
    }

    pub fn environment(self) -> &'a [EnvironmentVariable] {
        match self {
            Declared::Action(action) => action.environment_variables.as_deref().unwrap_or_default(),
            Declared::Rule(_) => &[],
        }
    }

    /// The names of the input artifacts.
    pub fn inputs(self) -> impl Iterator<Item = &'a str> {
        let inputs = match self {
            Declared::Action(action) => action.input_artifacts.as_deref(),
            Declared::Rule(rule) => rule.input_artifacts.as_deref(),
        };
        inputs.unwrap_or_default().iter().map(|input| input.name.as_str())
    }

    /// The namespace of an action's output variables; a rule makes none.
    pub(super) fn namespace(self) -> Option<&'a str> {
        match self {
            Declared::Action(action) => action.namespace.as_deref(),
            Declared::Rule(_) => None,
        }
    }

    /// Of a source action: the revision that a start asked for.
    pub(super) fn revision_of(self, revisions: &[SourceRevisionOverride]) -> Option<&SourceRevisionOverride> {
        match self {
            Declared::Action(action) => revisions.iter().find(|revision| revision.action_name == action.name),
            Declared::Rule(_) => None,
        }
    }

    pub(super) fn is_approval(self) -> bool {
        matches!(self, Declared::Action(action) if action.action_type_id.category == ActionCategory::Approval)
    }

    /// What a message calls it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Declared::Action(_) => "action",
            Declared::Rule(_) => "rule",
        }
    }

    /// How long it may take, waits included, as CodePipeline has it (S51). Stops one that hangs from holding its stage for
    /// ever.
    pub fn timeout_milliseconds(self) -> u64 {
        let minutes = match self {
            Declared::Action(action) => action.timeout_in_minutes.map_or_else(|| action_minutes(action), u64::from),
            Declared::Rule(rule) => match rule.rule_type_id.provider.as_str() {
                _ if rule.timeout_in_minutes.is_some() => u64::from(rule.timeout_in_minutes.unwrap_or_default()),
                "LambdaInvoke" => 24 * 60,
                "Commands" => 55,
                _ => 60,
            },
        };
        minutes * MINUTE
    }
}

fn action_minutes(action: &ActionDeclaration) -> u64 {
    let id = &action.action_type_id;
    match (id.category, id.owner, id.provider.as_str()) {
        (ActionCategory::Approval, _, _) | (_, ActionOwner::AWS, "StepFunctions") => 7 * 24 * 60,
        (_, ActionOwner::AWS, "CodeDeploy") => 5 * 24 * 60,
        (_, ActionOwner::AWS, "CloudFormation") => 3 * 24 * 60,
        (_, ActionOwner::Custom, _) | (_, ActionOwner::AWS, "Lambda") => 24 * 60,
        (ActionCategory::Deploy, ActionOwner::AWS, "S3") => 90,
        (_, ActionOwner::AWS, "Commands") => 55,
        _ => 60,
    }
}

/// A stage's condition of a type: it has at most one.
pub fn condition(stage: &StageDeclaration, which: ConditionType) -> Option<&Condition> {
    let conditions = match which {
        ConditionType::BeforeEntry => stage.before_entry.as_ref().map(|gate| &gate.conditions),
        ConditionType::OnSuccess => stage.on_success.as_ref().map(|gate| &gate.conditions),
        ConditionType::OnFailure => stage.on_failure.as_ref().and_then(|gate| gate.conditions.as_ref()),
    };
    conditions.and_then(|conditions| conditions.first())
}

/// The rules of a stage's condition.
pub fn rules(stage: &StageDeclaration, which: ConditionType) -> &[RuleDeclaration] {
    condition(stage, which).and_then(|condition| condition.rules.as_deref()).unwrap_or_default()
}

/// Their addresses.
pub(super) fn rule_addresses(
    stage: &StageDeclaration,
    index: usize,
    condition: ConditionType,
) -> impl Iterator<Item = RuleAddress> {
    (0..rules(stage, condition).len()).map(move |rule| RuleAddress {
        stage: index as u16,
        condition,
        rule: rule as u16,
    })
}

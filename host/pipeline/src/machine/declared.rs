//! What a declaration says of something that runs: an action, or a rule of a condition.
//!
//! Owns what the two have in common. Must not know how either runs.

use std::collections::BTreeMap;

use super::address::ConditionType::{BeforeEntry, OnFailure, OnSuccess};
use super::address::{ActionAddress, Address, ConditionType, RuleAddress};
use super::input::SourceRevisionOverride;
use crate::declaration::{
    ActionCategory, ActionDeclaration, ActionOwner, ActionTypeId, Condition, EnvironmentVariable, OutputArtifact,
    PipelineDeclaration, RuleDeclaration, StageDeclaration,
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

    /// The type by which a plugin serves it.
    pub fn type_id(self) -> ActionTypeId {
        match self {
            Declared::Action(action) => action.action_type_id.clone(),
            Declared::Rule(rule) => rule.rule_type_id.to_type_id(),
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

    /// The output artifacts, of which a rule makes none.
    pub fn output_artifacts(self) -> &'a [OutputArtifact] {
        match self {
            Declared::Action(action) => action.output_artifacts.as_deref().unwrap_or_default(),
            Declared::Rule(_) => &[],
        }
    }

    /// The names of the variables that an action is to make; a rule makes none.
    pub fn output_variables(self) -> &'a [String] {
        match self {
            Declared::Action(action) => action.output_variables.as_deref().unwrap_or_default(),
            Declared::Rule(_) => &[],
        }
    }

    pub fn region(self) -> Option<&'a str> {
        match self {
            Declared::Action(action) => action.region.as_deref(),
            Declared::Rule(rule) => rule.region.as_deref(),
        }
    }

    pub fn timeout_in_minutes(self) -> Option<u32> {
        match self {
            Declared::Action(action) => action.timeout_in_minutes,
            Declared::Rule(rule) => rule.timeout_in_minutes,
        }
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
    pub fn kind(self) -> &'static str {
        match self {
            Declared::Action(_) => "action",
            Declared::Rule(_) => "rule",
        }
    }

    /// How long it may take, waits included, as CodePipeline has it (S51). Stops one that hangs from holding its stage for
    /// ever.
    pub fn timeout_milliseconds(self) -> u64 {
        let minutes = self.timeout_in_minutes().map_or_else(|| self.default_minutes(), u64::from);
        minutes * MINUTE
    }

    fn default_minutes(self) -> u64 {
        match self {
            Declared::Action(action) => action_minutes(action),
            Declared::Rule(rule) => match rule.rule_type_id.provider.as_str() {
                "LambdaInvoke" => 24 * 60,
                "Commands" => 55,
                _ => 60,
            },
        }
    }
}

/// Something that runs, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub stage: &'a StageDeclaration,
    pub address: Address,
    pub declared: Declared<'a>,
}

impl<'a> Placed<'a> {
    pub(super) fn at(declaration: &'a PipelineDeclaration, address: Address) -> Placed<'a> {
        Placed { stage: &declaration.stages[address.stage()], address, declared: Declared::at(declaration, address) }
    }

    /// What it is called in its stage: `Action`, or `beforeEntry/Rule`.
    pub fn name_in_stage(&self) -> String {
        match self.address {
            Address::Action(_) => self.declared.name().to_owned(),
            Address::Rule(rule) => rule_in_stage(rule.condition, self.declared.name()),
        }
    }

    /// What it is called in its pipeline: `Stage/Action`, or `Stage/beforeEntry/Rule`.
    pub fn name_in_pipeline(&self) -> String {
        format!("{}/{}", self.stage.name, self.name_in_stage())
    }

    /// Its place in the document.
    pub fn path(&self) -> String {
        match self.address {
            Address::Action(ActionAddress { stage, action }) => format!("pipeline.stages[{stage}].actions[{action}]"),
            Address::Rule(RuleAddress { stage, condition, rule }) => {
                format!("pipeline.stages[{stage}].{}.conditions[0].rules[{rule}]", condition.member())
            }
        }
    }
}

/// What a rule is called in its stage, where an action may have its name.
pub fn rule_in_stage(condition: ConditionType, rule: &str) -> String {
    format!("{}/{rule}", condition.member())
}

/// The settings of what stands at an address.
pub fn configuration_mut(
    declaration: &mut PipelineDeclaration,
    address: Address,
) -> Option<&mut BTreeMap<String, String>> {
    let stage = &mut declaration.stages[address.stage()];
    let rule = match address {
        Address::Action(action) => return stage.actions[usize::from(action.action)].configuration.as_mut(),
        Address::Rule(rule) => rule,
    };
    let conditions = match rule.condition {
        BeforeEntry => stage.before_entry.as_mut().map(|gate| &mut gate.conditions),
        OnSuccess => stage.on_success.as_mut().map(|gate| &mut gate.conditions),
        OnFailure => stage.on_failure.as_mut().and_then(|gate| gate.conditions.as_mut()),
    };
    conditions?.first_mut()?.rules.as_mut()?.get_mut(usize::from(rule.rule))?.configuration.as_mut()
}

/// Everything of a pipeline that runs: of each stage its actions, and then the rules of its conditions.
pub fn all(declaration: &PipelineDeclaration) -> impl Iterator<Item = Placed<'_>> {
    declaration.stages.iter().enumerate().flat_map(move |(index, stage)| {
        let action = move |action: usize| ActionAddress { stage: index as u16, action: action as u16 };
        let rules = [BeforeEntry, OnSuccess, OnFailure].into_iter();
        let rules = rules.flat_map(move |which| rule_addresses(stage, index, which)).map(Address::Rule);
        let addresses = (0..stage.actions.len()).map(action).map(Address::Action).chain(rules);
        addresses.map(|address| Placed::at(declaration, address))
    })
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
        (ActionCategory::Build, ActionOwner::AWS, "CodeBuild") => 36 * 60,
        (ActionCategory::Test, ActionOwner::AWS, "CodeBuild") => 8 * 60,
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

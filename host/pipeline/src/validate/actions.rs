//! The rules about single actions and how they depend on each other: names, artifacts, namespaces, regions, commands.
//!
//! Owns one function for each row of `rules::RULES` that names it. Must not know what an action type wants (`action_types`).

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Sink, Subject};
use crate::declaration::{ActionCategory, ActionOwner};
use crate::variables::{BUILT_IN_NAMESPACE, PIPELINE_NAMESPACE};

pub(super) fn names_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut seen = BTreeSet::new();
    for at in subject.actions() {
        if !seen.insert((at.stage_index, &at.action.name)) {
            sink.report(
                at.path("name"),
                format!("Action name '{}' is used more than once in stage '{}'", at.action.name, at.stage.name),
                "rename one of the two",
            );
        }
    }
}

pub(super) fn outputs_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut first_use = BTreeMap::new();
    for at in subject.actions() {
        for (index, output) in at.action.outputs().enumerate() {
            let here = (at.stage_index, at.index, index);
            let first = *first_use.entry(output).or_insert(here);
            if first != here {
                sink.report(
                    at.path(&format!("outputArtifacts[{index}].name")),
                    format!(
                        "Output Artifact Bundle name must be unique within the pipeline. {output} has been used more than once."
                    ),
                    format!(
                        "rename it here, or where pipeline.stages[{}].actions[{}] declares it, and in what reads it",
                        first.0, first.1
                    ),
                );
            }
        }
    }
}

pub(super) fn inputs_produced(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let produced = subject.produced();
    for at in subject.actions() {
        for (index, input) in at.action.inputs().enumerate() {
            let mend = match produced.get(input) {
                Some(turn) if *turn < at.turn() => continue,
                Some(_) => {
                    "its producer runs in a later stage, or not at a lower runOrder of this stage: run it before"
                }
                None => "declare it as an output artifact of an action that runs before",
            };
            sink.report(
                at.path(&format!("inputArtifacts[{index}].name")),
                format!(
                    "Input Artifact Bundle {input} in action {} is not declared as Output Artifact Bundle in any of the \
                     preceding actions",
                    at.action.name
                ),
                mend,
            );
        }
    }
}

pub(super) fn namespaces_reserved(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions() {
        let namespace = at.action.namespace.as_deref();
        if let Some(reserved) = namespace.filter(|name| [PIPELINE_NAMESPACE, BUILT_IN_NAMESPACE].contains(name)) {
            sink.report(
                at.path("namespace"),
                format!("Namespace '{reserved}' of action '{}' is reserved", at.action.name),
                "choose another namespace",
            );
        }
    }
}

pub(super) fn namespaces_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut seen = BTreeSet::new();
    for at in subject.actions() {
        let Some(namespace) = &at.action.namespace else { continue };
        if !seen.insert(namespace) {
            sink.report(
                at.path("namespace"),
                format!(
                    "Namespaces must be unique across the pipeline definition. The following occur more than once in the \
                     pipeline. StageName=[{}], ActionName=[{}], Namespace=[{namespace}]",
                    at.stage.name, at.action.name
                ),
                "choose another namespace",
            );
        }
    }
}

pub(super) fn cross_region_owner(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let Some(home) = subject.context.region else { return };
    for at in subject.actions() {
        let id = &at.action.action_type_id;
        let bound_to_home = id.category == ActionCategory::Source || id.owner != ActionOwner::AWS;
        if let Some(region) = at.action.region.as_deref().filter(|region| bound_to_home && *region != home) {
            sink.report(
                at.path("region"),
                format!(
                    "Action '{}' cannot run in region {region}: source, third-party and custom actions run in the region of \
                     the pipeline",
                    at.action.name
                ),
                format!("remove `region`, or write `{home}`"),
            );
        }
    }
}

pub(super) fn timeout_approval_only(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions() {
        let approval = at.action.action_type_id.category == ActionCategory::Approval;
        if at.action.timeout_in_minutes.is_some() && !approval {
            sink.report(
                at.path("timeoutInMinutes"),
                format!("Action '{}' has timeoutInMinutes, which only manual approval actions take", at.action.name),
                "remove it",
            );
        }
    }
}

/// What only compute actions take: the commands, and what goes in and out of them by name.
pub(super) fn commands_family(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions().filter(|at| at.action.action_type_id.category != ActionCategory::Compute) {
        let action = at.action;
        let files = action.output_artifacts.iter().flatten().position(|output| output.files.is_some());
        let members = [
            action.commands.is_some().then(|| "commands".to_owned()),
            action.output_variables.is_some().then(|| "outputVariables".to_owned()),
            action.environment_variables.is_some().then(|| "environmentVariables".to_owned()),
            files.map(|index| format!("outputArtifacts[{index}].files")),
        ];
        for member in members.into_iter().flatten() {
            let field = member.rsplit('.').next().unwrap_or_default();
            sink.report(
                at.path(&member),
                format!(
                    "The following action cannot contain a {field} field: {}. To use the {field} field, use a compute action.",
                    action.name
                ),
                "remove it, or use an action of category Compute",
            );
        }
    }
}

pub(super) fn commands_required(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions() {
        let id = &at.action.action_type_id;
        let takes_commands = id.category == ActionCategory::Compute && id.provider == "Commands";
        if takes_commands && at.action.commands.is_none() {
            sink.report(
                at.path("commands"),
                format!("Action {} must have a non-empty commands field", at.action.name),
                "add `\"commands\": [\"…\"]`",
            );
        }
    }
}

pub(super) fn commands_single_line(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions() {
        for (index, command) in at.action.commands.iter().flatten().enumerate() {
            if command.contains(['\n', '\r']) {
                sink.report(
                    at.path(&format!("commands[{index}]")),
                    format!("Action '{}' has a command of several lines", at.action.name),
                    "write each line as a command of its own, or join them with `&&`",
                );
            }
        }
    }
}

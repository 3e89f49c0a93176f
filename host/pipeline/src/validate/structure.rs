//! The rules about the pipeline as a whole: stages, sources, artifact stores, pipeline types, variables, triggers, tags.
//!
//! Owns one function for each row of `rules::RULES` that names it.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Sink, Subject};
use crate::declaration::{ActionCategory, ActionDeclaration, ActionOwner, ExecutionMode};
use crate::tags;
use crate::triggers::invalid_patterns;

const STAGES_MIN: usize = 2;
const STAGES_MAX: usize = 50;
const STAGE_ACTIONS_MAX: usize = 100;
const ACTIONS_MAX: usize = 500;

pub(super) fn stages_min(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let stages = subject.pipeline().stages.len();
    if stages < STAGES_MIN {
        sink.report(
            "pipeline.stages",
            format!("Pipeline has only {stages} stage(s). There should be a minimum of 2 stages in a pipeline"),
            "add a stage: one with the sources, and one that does something with them",
        );
    }
}

pub(super) fn stages_max(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.pipeline().stages.len() > STAGES_MAX {
        sink.report(
            "pipeline.stages",
            format!("Pipeline has too many stages. There can only be up to {STAGES_MAX} stages in a pipeline"),
            "split the pipeline in two",
        );
    }
}

pub(super) fn actions_total_max(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let actions = subject.actions().count();
    if actions > ACTIONS_MAX {
        sink.report(
            "pipeline.stages",
            format!(
                "Pipeline has too many actions: {actions}. There can only be up to {ACTIONS_MAX} actions in a pipeline"
            ),
            "split the pipeline in two",
        );
    }
}

pub(super) fn first_stage_sources(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let first = subject.actions().take_while(|at| at.stage_index == 0);
    for at in first.filter(|at| at.action.action_type_id.category != ActionCategory::Source) {
        sink.report(
            at.path("actionTypeId.category"),
            "Pipeline should start with a stage that only contains source actions",
            format!("move action `{}` into a later stage", at.action.name),
        );
    }
}

pub(super) fn sources_first_stage(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let later = subject.actions().filter(|at| at.stage_index > 0);
    for at in later.filter(|at| at.action.action_type_id.category == ActionCategory::Source) {
        sink.report(
            at.path("actionTypeId.category"),
            "Source actions can only be included in the first stage of the pipeline",
            format!("move action `{}` into the first stage", at.action.name),
        );
    }
}

pub(super) fn non_source_action(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.actions().all(|at| at.action.action_type_id.category == ActionCategory::Source) {
        sink.report(
            "pipeline.stages",
            "Pipeline should contain at least 1 action whose category is not Source",
            "add an action that does something with the sources",
        );
    }
}

pub(super) fn one_artifact_store(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let pipeline = subject.pipeline();
    let several = pipeline.artifact_stores.as_ref().is_some_and(|stores| !stores.is_empty());
    match (pipeline.artifact_store.is_some(), several) {
        (true, true) => sink.report(
            "pipeline.artifactStores",
            "Pipeline has both 'artifactStore' and 'artifactStores'. Only one of them can be used",
            "keep `artifactStores` if actions run in several regions, else `artifactStore`",
        ),
        (false, false) => sink.report(
            "pipeline.artifactStore",
            "Pipeline has neither 'artifactStore' nor 'artifactStores'. One of them is required",
            "add `\"artifactStore\": {\"type\": \"S3\", \"location\": \"…\"}`",
        ),
        _ => {}
    }
}

pub(super) fn artifact_store_regions(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let pipeline = subject.pipeline();
    let of_actions = subject.actions().filter_map(|at| at.action.region.as_deref());
    let regions: BTreeSet<&str> = of_actions.chain(subject.context.region).collect();
    let Some(stores) = pipeline.artifact_stores.as_ref().filter(|stores| !stores.is_empty()) else {
        if regions.len() > 1 {
            sink.report(
                "pipeline.artifactStore",
                "Your pipeline contains actions in more than one region. Use 'pipeline.artifactStores' instead of \
                 'pipeline.artifactStore' to declare an artifact store, such as an artifact bucket, for each region \
                 where you have an action.",
                format!("declare `artifactStores` with the keys {}", Vec::from_iter(regions).join(", ")),
            );
        }
        return;
    };
    for region in regions.into_iter().filter(|region| !stores.contains_key(*region)) {
        sink.report(
            "pipeline.artifactStores",
            format!(
                "Your pipeline must have an artifact store, such as an artifact bucket, for each region where you have \
                 an action. The following region is missing in 'pipeline.artifactStores': {region}."
            ),
            format!("add an artifact store under the key `{region}`"),
        );
    }
}

pub(super) fn execution_mode_v2(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mode = subject.pipeline().execution_mode.unwrap_or_default();
    if subject.is_v1() && mode != ExecutionMode::Superseded {
        sink.report("pipeline.executionMode", "QUEUED or PARALLEL mode can only be used with V2 pipelines", MAKE_V2);
    }
}

pub(super) fn triggers_v2(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.is_v1() && subject.pipeline().triggers.iter().flatten().next().is_some() {
        sink.report("pipeline.triggers", "Triggers on tag can only be used with V2 pipelines", MAKE_V2);
    }
}

pub(super) fn variables_v2(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if subject.is_v1() && subject.pipeline().variables.iter().flatten().next().is_some() {
        sink.report("pipeline.variables", "Pipeline variable can only be used with V2 pipelines", MAKE_V2);
    }
}

/// The mend of all that V1 lacks.
pub(super) const MAKE_V2: &str = "add `\"pipelineType\": \"V2\"`";

pub(super) fn variable_names_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut seen = BTreeSet::new();
    for (index, variable) in subject.pipeline().variables.iter().flatten().enumerate() {
        if !seen.insert(&variable.name) {
            sink.report(
                format!("pipeline.variables[{index}].name"),
                format!(
                    "Variable names must be unique. The following variable name is already in use: {}",
                    variable.name
                ),
                "rename or remove one of the two",
            );
        }
    }
}

fn is_connection(action: &ActionDeclaration) -> bool {
    let id = &action.action_type_id;
    id.category == ActionCategory::Source && id.owner == ActionOwner::AWS && id.provider == "CodeStarSourceConnection"
}

pub(super) fn trigger_source_action(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let connections = subject.actions().filter(|at| is_connection(at.action));
    let names: BTreeSet<&str> = connections.map(|at| at.action.name.as_str()).collect();
    for (index, trigger) in subject.pipeline().triggers.iter().flatten().enumerate() {
        let name = trigger.git_configuration.source_action_name.as_str();
        if !names.contains(name) {
            let path = format!("pipeline.triggers[{index}].gitConfiguration.sourceActionName");
            let message = format!(
                "Triggers for connections must reference a CodeStarSourceConnection action. {path} is '{name}'; a source of \
                 another type is polled, and what it takes is named in its own configuration."
            );
            let mend = "name a source action of type Source/AWS/CodeStarSourceConnection/1";
            sink.report(path, message, mend);
        }
    }
}

pub(super) fn trigger_per_source_action(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut seen = BTreeSet::new();
    for (index, trigger) in subject.pipeline().triggers.iter().flatten().enumerate() {
        let name = &trigger.git_configuration.source_action_name;
        if !seen.insert(name) {
            sink.report(
                format!("pipeline.triggers[{index}].gitConfiguration.sourceActionName"),
                format!("There can only be one trigger for each source action: '{name}' has more than one"),
                "put all filters of the action into one trigger",
            );
        }
    }
}

pub(super) fn trigger_filters(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, trigger) in subject.pipeline().triggers.iter().flatten().enumerate() {
        for (filter, push) in trigger.git_configuration.push.iter().flatten().enumerate() {
            if push.tags.is_some() && (push.branches.is_some() || push.file_paths.is_some()) {
                let path = format!("pipeline.triggers[{index}].gitConfiguration.push[{filter}]");
                let mend = "filter by tags, or by branches and file paths: put each into a push filter of its own";
                let message = format!(
                    "The trigger configuration for the source action is not valid. Make sure to choose valid filter \
                     combinations. {path} has both kinds: {mend}."
                );
                sink.report(path, message, mend);
            }
        }
    }
}

pub(super) fn trigger_patterns(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, trigger) in subject.pipeline().triggers.iter().flatten().enumerate() {
        for (path, error) in invalid_patterns(trigger) {
            let path = format!("pipeline.triggers[{index}].{path}");
            let message = format!("The trigger configuration for the source action is not valid. {path}: {error}.");
            sink.report(path, message, "write a `\\` before a character that means itself");
        }
    }
}

pub(super) fn stage_names_unique(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let mut first_use = BTreeMap::new();
    for (index, stage) in subject.stages() {
        let first = *first_use.entry(&stage.name).or_insert(index);
        if first != index {
            sink.report(
                format!("pipeline.stages[{index}].name"),
                format!("Stage name '{}' is used more than once", stage.name),
                format!("rename this stage or pipeline.stages[{first}]"),
            );
        }
    }
}

pub(super) fn stage_actions_min(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages().filter(|(_, stage)| stage.actions.is_empty()) {
        sink.report(
            format!("pipeline.stages[{index}].actions"),
            format!(
                "Pipeline stage '{}' has no actions. There should be a minimum of 1 action in a pipeline stage",
                stage.name
            ),
            "add an action, or remove the stage",
        );
    }
}

pub(super) fn stage_actions_max(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages().filter(|(_, stage)| stage.actions.len() > STAGE_ACTIONS_MAX) {
        sink.report(
            format!("pipeline.stages[{index}].actions"),
            format!(
                "Pipeline stage '{}' has too many actions. There can only be up to {STAGE_ACTIONS_MAX} actions in a pipeline stage",
                stage.name
            ),
            "move some of them into another stage",
        );
    }
}

pub(super) fn blockers_reserved(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, stage) in subject.stages() {
        if stage.blockers.iter().flatten().next().is_some() {
            sink.report(
                format!("pipeline.stages[{index}].blockers"),
                format!("Stage '{}' has blockers, which are reserved for future use", stage.name),
                "remove them; to hold executions back, disable the stage's inbound transition",
            );
        }
    }
}

pub(super) fn tags_max(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    if let Err(wrong) = tags::check_count(subject.input.tags.iter().flatten().count()) {
        sink.report("tags", wrong.to_string(), "remove some");
    }
}

pub(super) fn tag_keys(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (index, wrong) in tags::wrong_keys(subject.input.tags.iter().flatten()) {
        sink.report(format!("tags[{index}].key"), wrong.to_string(), "use another key");
    }
}

//! Owns which variables a build begins with, and which of them are secrets. A value of Parameter Store or Secrets Manager is a
//! secret that the operator grants under the name that stands there.

use std::collections::{BTreeMap, BTreeSet};

use build_jobs::{directory_of, source_directory};
use pipewright_buildspec::{About, Buildspec, Origins, SecretReference, Source, environment};
use pipewright_sdk::prelude::*;

use crate::project::{Project, Variable, VariableKind};

#[derive(Default)]
pub(crate) struct Given {
    pub environment: BTreeMap<String, String>,
    /// By the variable, the name of the secret.
    pub secrets: BTreeMap<String, String>,
}

impl Given {
    /// What is not exported.
    pub fn hidden(&self) -> BTreeSet<String> {
        self.secrets.keys().cloned().collect()
    }
}

/// Of one name, the action's value wins over the project's, and that over the buildspec's, be they secrets or not.
/// What a build of a batch says stands between the action's and the project's.
pub(crate) fn given(
    buildspec: &Buildspec,
    project: &Project,
    of_batch: &[(String, String)],
    started_with: &[Variable],
    about: &About,
) -> Given {
    let parameters = buildspec.env.parameter_store.iter();
    let mut secrets: BTreeMap<String, String> =
        parameters.map(|(name, parameter)| (name.clone(), parameter_name(parameter))).collect();
    let references = buildspec.env.secrets_manager.iter();
    secrets.extend(references.map(|(name, reference)| (name.clone(), secret_name(reference))));
    let mut plain = BTreeMap::new();
    let of_batch: Vec<Variable> = of_batch.iter().map(|(name, value)| Variable::plain(name, value)).collect();
    for variable in project.environment.environment_variables.iter().chain(&of_batch).chain(started_with) {
        let (name, value) = (variable.name.clone(), variable.value.clone());
        if variable.kind == VariableKind::Plaintext {
            secrets.remove(&name);
            plain.insert(name, value);
        } else {
            plain.remove(&name);
            let is_parameter = variable.kind == VariableKind::ParameterStore;
            secrets.insert(name, if is_parameter { parameter_name(&value) } else { value });
        }
    }
    let none = BTreeMap::new();
    let origins = Origins { image: &none, stored: &none, project: &none, started_with: &plain, about };
    Given { environment: environment(buildspec, &origins), secrets }
}

/// `id:key:stage:version`, without what is empty at the end.
fn secret_name(reference: &SecretReference) -> String {
    let SecretReference { secret_id, json_key, version_stage, version_id } = reference;
    let or_empty = |part: &Option<String>| part.clone().unwrap_or_default();
    let whole = [secret_id.clone(), or_empty(json_key), or_empty(version_stage), or_empty(version_id)].join(":");
    whole.trim_end_matches(':').to_owned()
}

/// `name`, or `name:version`, as a secret is named.
fn parameter_name(parameter: &str) -> String {
    match parameter.rsplit_once(':') {
        Some((name, version)) if version.parse::<u64>().is_ok() => format!("{name}:::{version}"),
        _ => parameter.to_owned(),
    }
}

/// What the build is told of itself.
pub(crate) fn about(action: &Action, name: &str, project: &Project, primary: Option<&str>) -> About {
    let context = action.context();
    let arn = |resource: String| format!("arn:aws:codebuild:{}:{}:{resource}", context.region, context.account);
    let id = &context.action_execution_id;
    let source = |directory| Source { directory, ..Source::default() };
    About {
        region: context.region.clone(),
        build_arn: arn(format!("build/{}", build_id(action, name))),
        build_id: build_id(action, name),
        build_number: told(action, "CODEBUILD_BUILD_NUMBER").and_then(|number| number.parse().ok()),
        build_image: project.environment.image.clone(),
        initiator: told(action, "CODEBUILD_INITIATOR").unwrap_or_else(|| format!("codepipeline/{}", context.pipeline)),
        log_path: id.clone(),
        project_arn: arn(format!("project/{name}")),
        start_time_ms: Some(clock::milliseconds()),
        source: Source {
            version: told(action, "CODEBUILD_SOURCE_VERSION").unwrap_or_default(),
            resolved_version: told(action, "CODEBUILD_RESOLVED_SOURCE_VERSION").unwrap_or_default(),
            ..source(source_directory())
        },
        secondary_sources: action
            .inputs()
            .filter(|input| Some(input.name()) != primary)
            .map(|input| (input.name().to_owned(), source(directory_of(input.name()))))
            .collect(),
        ..About::default()
    }
}

pub(crate) fn build_id(action: &Action, name: &str) -> String {
    told(action, "CODEBUILD_BUILD_ID").unwrap_or_else(|| format!("{name}:{}", action.context().action_execution_id))
}

/// What the host knows of the build.
fn told(action: &Action, name: &str) -> Option<String> {
    action.environment().iter().find(|variable| variable.name == name).map(|variable| variable.value.clone())
}

//! What the API shows of pipelines and executions: the contract's structures (appendix A), made from the core's.
//!
//! Owns the outputs that several operations share. Must not know where they are read from.

use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::{ExecutionMode, PipelineDeclaration};
use pipewright_pipeline::machine::{ActionError, Execution, ExecutionStatus, Revision, Timestamp, Trigger};
use pipewright_pipeline::validate::with_defaults;
use serde::{Serialize, Serializer};

/// What is shown in place of a secret (contract §6.8).
pub const MASK: &str = "****";
/// CodePipeline's limits on what it shows; more is cut.
const SUMMARY_CHARS_MAX: usize = 2048;
const ERROR_CHARS_MAX: usize = 5000;

/// A point in time: seconds since 1970 with fractions, and tag 1 in CBOR (contract §1).
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.0 as f64 / 1000.0;
        match serializer.is_human_readable() {
            true => serializer.serialize_f64(seconds),
            false => ciborium::tag::Required::<f64, 1>(seconds).serialize(serializer),
        }
    }
}

/// The declaration as it is read back: with defaults, and without its secrets.
pub fn declaration(declaration: &PipelineDeclaration, types: &ActionTypes) -> PipelineDeclaration {
    let mut shown = with_defaults(declaration);
    each_secret(&mut shown, types, |value| MASK.clone_into(value));
    shown
}

/// The secrets that a declaration holds itself.
pub fn secrets(declaration: &PipelineDeclaration, types: &ActionTypes) -> Vec<String> {
    let mut secrets = Vec::new();
    each_secret(&mut declaration.clone(), types, |value| secrets.push(std::mem::take(value)));
    secrets
}

fn each_secret(declaration: &mut PipelineDeclaration, types: &ActionTypes, mut found: impl FnMut(&mut String)) {
    for action in declaration.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
        let Some(info) = types.get(&action.action_type_id) else { continue };
        let Some(configuration) = &mut action.configuration else { continue };
        for property in info.properties.iter().filter(|property| property.secret) {
            if let Some(value) = configuration.get_mut(&property.name) {
                found(value);
            }
        }
    }
}

/// Puts back the secrets that a client read masked and sends back so (contract §6.8).
pub fn unmask(declaration: &mut PipelineDeclaration, stored: &PipelineDeclaration, types: &ActionTypes) {
    for stage in &mut declaration.stages {
        let Some(known) = stored.stages.iter().find(|known| known.name == stage.name) else { continue };
        for action in &mut stage.actions {
            let Some(info) = types.get(&action.action_type_id) else { continue };
            let before = known.actions.iter().find(|before| before.name == action.name);
            let before = before.and_then(|before| before.configuration.as_ref());
            let (Some(configuration), Some(before)) = (&mut action.configuration, before) else { continue };
            for property in info.properties.iter().filter(|property| property.secret) {
                if let (Some(value), Some(stored)) = (configuration.get_mut(&property.name), before.get(&property.name))
                    && value == MASK
                {
                    value.clone_from(stored);
                }
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetails {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<&ActionError> for ErrorDetails {
    fn from(error: &ActionError) -> Self {
        Self { code: format!("{:?}", error.kind), message: text(Some(&error.message), ERROR_CHARS_MAX) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRevision {
    action_name: String,
    revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRevision {
    name: String,
    revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedVariable {
    name: String,
    resolved_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StopTrigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionView {
    pipeline_name: String,
    pipeline_version: u32,
    pipeline_execution_id: String,
    status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_summary: Option<String>,
    artifact_revisions: Vec<ArtifactRevision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variables: Vec<ResolvedVariable>,
    trigger: Trigger,
    execution_mode: ExecutionMode,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    pipeline_execution_id: String,
    status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_summary: Option<String>,
    start_time: Time,
    last_update_time: Time,
    source_revisions: Vec<SourceRevision>,
    trigger: Trigger,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_trigger: Option<StopTrigger>,
    execution_mode: ExecutionMode,
}

/// The revisions that an execution's source actions fetched, with the declared action.
fn revisions<'a>(
    execution: &'a Execution,
    declaration: &'a PipelineDeclaration,
) -> impl Iterator<Item = (&'a pipewright_pipeline::declaration::ActionDeclaration, &'a Revision)> {
    execution.stage_actions(0).filter_map(|(place, run)| {
        let action = declaration.stages.first()?.actions.get(usize::from(place.action))?;
        Some((action, run.revision.as_ref().filter(|revision| !revision.id.is_empty())?))
    })
}

impl ExecutionView {
    /// `declaration` is of the version that the execution runs.
    pub fn new(execution: &Execution, declaration: &PipelineDeclaration) -> Self {
        let revisions = revisions(execution, declaration).flat_map(|(action, revision)| {
            action.outputs().map(|name| ArtifactRevision {
                name: name.to_owned(),
                revision_id: revision.id.clone(),
                revision_summary: text(revision.summary.as_ref(), SUMMARY_CHARS_MAX),
                created: revision.created.map(Time),
                revision_url: text(revision.url.as_ref(), SUMMARY_CHARS_MAX),
            })
        });
        let variables = execution.start.variables.iter();
        Self {
            pipeline_name: declaration.name.clone(),
            pipeline_version: execution.start.version,
            pipeline_execution_id: execution.id.to_string(),
            status: execution.progress.status,
            status_summary: execution.progress.summary.clone(),
            artifact_revisions: revisions.collect(),
            variables: variables
                .map(|(name, value)| ResolvedVariable { name: name.clone(), resolved_value: value.clone() })
                .collect(),
            trigger: execution.start.trigger.clone(),
            execution_mode: declaration.execution_mode.unwrap_or_default(),
        }
    }
}

impl ExecutionSummary {
    pub fn new(execution: &Execution, declaration: &PipelineDeclaration) -> Self {
        let revisions = revisions(execution, declaration).map(|(action, revision)| SourceRevision {
            action_name: action.name.clone(),
            revision_id: revision.id.clone(),
            revision_summary: text(revision.summary.as_ref(), SUMMARY_CHARS_MAX),
            revision_url: text(revision.url.as_ref(), SUMMARY_CHARS_MAX),
        });
        Self {
            pipeline_execution_id: execution.id.to_string(),
            status: execution.progress.status,
            status_summary: execution.progress.summary.clone(),
            start_time: Time(execution.start.at),
            last_update_time: Time(execution.progress.updated),
            source_revisions: revisions.collect(),
            trigger: execution.start.trigger.clone(),
            stop_trigger: execution.progress.stop.as_ref().map(|stop| StopTrigger { reason: stop.reason.clone() }),
            execution_mode: declaration.execution_mode.unwrap_or_default(),
        }
    }
}

/// A text as the contract bounds it: not empty, and cut where it is too long.
pub fn text(text: Option<&String>, chars_max: usize) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(text.chars().take(chars_max).collect())
}

/// The same for a summary.
pub fn summary(given: Option<&String>) -> Option<String> {
    text(given, SUMMARY_CHARS_MAX)
}

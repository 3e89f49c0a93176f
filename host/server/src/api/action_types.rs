//! ListActionTypes, GetActionType: the action types that plugins serve here.
//!
//! Must not know plugins; it shows what they are bound to.

use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::requests;
use serde::Serialize;

use super::Call;
use super::error::ApiError;

/// CodePipeline's structures hold no more (contract appendix A).
const PROPERTIES_MAX: usize = 10;
const ARTIFACTS_MAX: u32 = 5;
const RESULTS_PER_PAGE: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    action_types: Vec<ActionType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionType {
    id: ActionTypeId,
    action_configuration_properties: Vec<ConfigurationProperty>,
    input_artifact_details: Count,
    output_artifact_details: Count,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigurationProperty {
    name: String,
    required: bool,
    key: bool,
    secret: bool,
    queryable: bool,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    minimum_count: u32,
    maximum_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    action_type: Declaration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration {
    id: ActionTypeId,
    executor: Executor,
    input_artifact_details: Count,
    output_artifact_details: Count,
    properties: Vec<DeclaredProperty>,
}

/// CodePipeline's types run in a Lambda function or a job worker; ours in a plugin, which is more like the latter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Executor {
    #[serde(rename = "type")]
    kind: &'static str,
    configuration: ExecutorConfiguration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecutorConfiguration {
    job_worker_executor_configuration: JobWorker,
}

#[derive(Serialize)]
struct JobWorker {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeclaredProperty {
    name: String,
    optional: bool,
    key: bool,
    no_echo: bool,
    queryable: bool,
}

impl From<ArtifactCount> for Count {
    fn from(count: ArtifactCount) -> Self {
        Self { minimum_count: count.min.min(ARTIFACTS_MAX), maximum_count: count.max.min(ARTIFACTS_MAX) }
    }
}

impl From<&Property> for ConfigurationProperty {
    fn from(property: &Property) -> Self {
        let kind = match property.kind {
            PropertyKind::Number => "Number",
            PropertyKind::Boolean => "Boolean",
            PropertyKind::String | PropertyKind::List => "String",
        };
        let Property { name, required, secret, .. } = property.clone();
        Self { name, required, key: false, secret, queryable: false, kind }
    }
}

pub async fn list(call: &Call, input: requests::ListActionTypesInput) -> Result<Listed, ApiError> {
    const SCOPE: &str = "ListActionTypes";
    let after = call.api.pages.after(SCOPE, input.next_token.as_deref())?;
    let after = after.and_then(|after| std::str::from_utf8(&after).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let types = call.api.host.actions.plugins.action_types();
    let here = input.region_filter.is_none_or(|region| region == call.api.region);
    let wanted = |info: &&ActionTypeInfo| here && input.action_owner_filter.is_none_or(|owner| info.id.owner == owner);
    let wanted: Vec<_> = types.values().filter(wanted).collect();
    let page = wanted.iter().skip(after).take(RESULTS_PER_PAGE).map(|info| ActionType {
        id: info.id.clone(),
        action_configuration_properties: info.properties.iter().take(PROPERTIES_MAX).map(Into::into).collect(),
        input_artifact_details: info.inputs.into(),
        output_artifact_details: info.outputs.into(),
    });
    let end = after + RESULTS_PER_PAGE;
    let next_token = (wanted.len() > end).then(|| call.api.pages.token(SCOPE, end.to_string().as_bytes()));
    Ok(Listed { action_types: page.collect(), next_token })
}

pub async fn get(call: &Call, input: requests::GetActionTypeInput) -> Result<Got, ApiError> {
    let types = call.api.host.actions.plugins.action_types();
    let id = input.id;
    let info = types.get(&id).ok_or_else(|| {
        ApiError::new("ActionTypeNotFoundException", format!("No plugin serves an action type {id} here"))
    })?;
    let properties = info.properties.iter().take(PROPERTIES_MAX).map(|property| DeclaredProperty {
        name: property.name.clone(),
        optional: !property.required,
        key: false,
        no_echo: property.secret,
        queryable: false,
    });
    let configuration = ExecutorConfiguration { job_worker_executor_configuration: JobWorker {} };
    Ok(Got {
        action_type: Declaration {
            id: id.clone(),
            executor: Executor { kind: "JobWorker", configuration },
            input_artifact_details: info.inputs.into(),
            output_artifact_details: info.outputs.into(),
            properties: properties.collect(),
        },
    })
}

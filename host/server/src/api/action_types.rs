//! ListActionTypes, GetActionType, UpdateActionType: the action types that plugins serve in an account.
//!
//! Must not know plugins; it shows what they are bound to.

use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::requests;
use serde::Serialize;

use super::error::ApiError;
use super::operations::NoBody;
use super::{Call, views};
use pipewright_packages::plugins::{Binding, Whose};

/// CodePipeline's structures hold no more (contract appendix A).
const PROPERTIES_MAX: usize = 10;
const ARTIFACTS_MAX: u32 = 5;
const RESULTS_PER_PAGE: usize = 100;
const PROPERTY_CHARS_MAX: usize = 160;
const DECLARED_PROPERTY_CHARS_MAX: usize = 250;
const DESCRIPTION_CHARS_MAX: usize = 1024;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    id: ActionTypeId,
    executor: Executor,
    input_artifact_details: Count,
    output_artifact_details: Count,
    permissions: Permissions,
    properties: Vec<DeclaredProperty>,
}

/// Who may use the type: in the account that offers it all of them, elsewhere that account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Permissions {
    allowed_accounts: Vec<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
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
        let Property { name, required, secret, documentation, .. } = property.clone();
        let description = views::text(Some(&documentation), PROPERTY_CHARS_MAX);
        Self { name, required, key: false, secret, queryable: false, description, kind }
    }
}

pub async fn list(call: &Call, input: requests::ListActionTypesInput) -> Result<Listed, ApiError> {
    const SCOPE: &str = "ListActionTypes";
    let after = call.api.pages.after(SCOPE, input.next_token.as_deref())?;
    let after = after.and_then(|after| std::str::from_utf8(&after).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let catalogue = call.catalogue();
    let here = input.region_filter.is_none_or(|region| region == call.api.region);
    let wanted = |info: &&ActionTypeInfo| here && input.action_owner_filter.is_none_or(|owner| info.id.owner == owner);
    let wanted: Vec<_> = catalogue.types().values().filter(wanted).collect();
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
    Ok(Got { action_type: declaration(call, &input.id)? })
}

/// Changes who may use an action type. What else it is, its plugin says.
pub async fn update(call: &Call, input: requests::UpdateActionTypeInput) -> Result<NoBody, ApiError> {
    let member = |name: &str| input.action_type.get(name).filter(|value| !value.is_null());
    let id: ActionTypeId = serde_json::from_value(input.action_type["id"].clone())
        .map_err(|error| ApiError::validation(format!("actionType.id: {error}")))?;
    let known = serde_json::to_value(declaration(call, &id)?).map_err(|error| ApiError::internal(&error))?;
    let given = input.action_type.as_object().into_iter().flatten().filter(|(name, _)| *name != "permissions");
    if let Some((name, _)) =
        given.filter(|(_, value)| !value.is_null()).find(|(name, value)| known.get(*name) != Some(*value))
    {
        return Err(ApiError::validation(format!(
            "Value at 'actionType.{name}' differs from what the plugin says of the action type: only its permissions can be updated"
        )));
    }
    if let Some(permissions) = member("permissions") {
        let accounts: Vec<String> = serde_json::from_value(permissions["allowedAccounts"].clone())
            .map_err(|error| ApiError::validation(format!("actionType.permissions: {error}")))?;
        let others: Vec<String> = accounts.into_iter().filter(|account| *account != call.account_id()).collect();
        call.api.catalogues.offer(call.account, &id, &others, &call.cause()).await?;
        call.api.poller.catalogues_changed();
    }
    Ok(NoBody)
}

fn declaration(call: &Call, id: &ActionTypeId) -> Result<Declaration, ApiError> {
    let catalogue = call.catalogue();
    let missing = |reason: &str| {
        ApiError::new("ActionTypeNotFoundException", format!("No plugin serves an action type {id} here{reason}"))
    };
    let binding = catalogue.bindings().get(id).ok_or_else(|| missing(""))?;
    if let Some(reason) = catalogue.yanked(id) {
        return Err(missing(&format!(": {reason}")));
    }
    let info = &binding.served.info;
    let properties = info.properties.iter().take(PROPERTIES_MAX).map(|property| DeclaredProperty {
        name: property.name.clone(),
        optional: !property.required,
        key: false,
        no_echo: property.secret,
        queryable: false,
        description: views::text(Some(&property.documentation), DECLARED_PROPERTY_CHARS_MAX),
    });
    let deprecated = binding.notice.as_ref().map(|notice| format!("Deprecated: {}\n\n", notice.reason));
    let description = deprecated.unwrap_or_default() + &info.documentation;
    let configuration = ExecutorConfiguration { job_worker_executor_configuration: JobWorker {} };
    Ok(Declaration {
        description: views::text(Some(&description), DESCRIPTION_CHARS_MAX),
        id: id.clone(),
        executor: Executor { kind: "JobWorker", configuration },
        input_artifact_details: info.inputs.into(),
        output_artifact_details: info.outputs.into(),
        permissions: Permissions { allowed_accounts: allowed_accounts(call, binding, id) },
        properties: properties.collect(),
    })
}

fn allowed_accounts(call: &Call, binding: &Binding, id: &ActionTypeId) -> Vec<String> {
    let mut allowed = vec![call.account_id()];
    if binding.whose == Whose::Own {
        let sharing = call.api.host.actions.plugins.sharing();
        let offered = sharing.offers.get(&(call.account, id.clone()));
        allowed.extend(offered.into_iter().flat_map(|offer| offer.0.keys().cloned()));
    }
    allowed
}

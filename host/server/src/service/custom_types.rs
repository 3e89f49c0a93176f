//! CreateCustomActionType and DeleteCustomActionType: action types that an account's own workers serve.
//!
//! Owns the rules of such a type that its shape does not say. Must not know how it is kept (`account_plugins`), nor what a job is.

use std::collections::{BTreeMap, BTreeSet};

use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId};
use pipewright_pipeline::responses::{
    ActionConfigurationProperty, ActionConfigurationPropertyType, ActionTypeSettings, ArtifactDetails,
    CreateCustomActionTypeOutput,
};
use pipewright_pipeline::{requests, tags};

use super::{Context, Service, ServiceError, action_types};

/// Pipelines that are named where a type cannot be deleted for them.
const PIPELINES_NAMED_MAX: usize = 5;

pub async fn create(
    service: &Service,
    context: &Context,
    input: requests::CreateCustomActionTypeInput,
) -> Result<CreateCustomActionTypeOutput, ServiceError> {
    let tags = input.tags.unwrap_or_default();
    tags::check_keys(&tags)?;
    tags::check_count(tags.len())?;
    let properties = &input.configuration_properties;
    check_properties(properties)?;
    if let Some(settings) = &input.settings {
        check_templates(settings, properties)?;
    }
    let id = ActionTypeId {
        category: input.category,
        owner: ActionOwner::Custom,
        provider: input.provider,
        version: input.version,
    };
    let info = ActionTypeInfo {
        inputs: count("inputArtifactDetails", input.input_artifact_details)?,
        outputs: count("outputArtifactDetails", input.output_artifact_details)?,
        properties: properties.iter().map(property).collect(),
        documentation: String::new(),
        id,
    };
    let kept = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    let served = WorkerType { info, settings: input.settings, job_timeout_seconds: None, tags: kept };
    service.account_plugins.create_worker_type(context.account, served.clone(), &context.cause).await?;
    let tags = Some(tags).filter(|tags| !tags.is_empty());
    Ok(CreateCustomActionTypeOutput { action_type: action_types::worker_type(&served), tags })
}

/// The tags of a type that is there.
pub(super) fn tags(service: &Service, context: &Context, id: &ActionTypeId) -> Option<BTreeMap<String, String>> {
    Some(service.catalogue(context).workers(id)?.tags.clone())
}

/// One that is not there is deleted already: the operation models no other answer.
pub async fn delete(
    service: &Service,
    context: &Context,
    input: requests::DeleteCustomActionTypeInput,
) -> Result<(), ServiceError> {
    let requests::DeleteCustomActionTypeInput { category, provider, version } = input;
    let id = ActionTypeId { category, owner: ActionOwner::Custom, provider, version };
    if service.catalogue(context).workers(&id).is_none() {
        return Ok(());
    }
    let mut users = Vec::new();
    for (name, pipeline) in service.driver().pipelines(context.account).await? {
        let declaration = service.driver().declaration(pipeline).await?;
        let mut actions = declaration.iter().flat_map(|it| &it.stages).flat_map(|stage| &stage.actions);
        if actions.any(|action| action.action_type_id == id) {
            users.push(name);
        }
    }
    if !users.is_empty() {
        let more = if users.len() > PIPELINES_NAMED_MAX { " and others" } else { "" };
        users.truncate(PIPELINES_NAMED_MAX);
        let names = users.join("', '");
        return Err(ServiceError::validation(format!(
            "The action type {id} is in use by the pipelines '{names}'{more}: take its actions out of them first"
        )));
    }
    Ok(service.account_plugins.put_worker_type(context.account, &id, None, &context.cause).await?)
}

fn count(member: &str, details: ArtifactDetails) -> Result<ArtifactCount, ServiceError> {
    let ArtifactDetails { minimum_count: min, maximum_count: max } = details;
    if min > max {
        return Err(ServiceError::validation(format!(
            "Value at '{member}' has a minimumCount of {min}, which is more than its maximumCount of {max}"
        )));
    }
    Ok(ArtifactCount { min, max })
}

fn check_properties(properties: &[ActionConfigurationProperty]) -> Result<(), ServiceError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = properties.iter().find(|property| !names.insert(&property.name)) {
        let message = format!("The configuration property '{}' is there twice: give each its own name", twice.name);
        return Err(ServiceError::validation(message));
    }
    let mut queryable = properties.iter().filter(|property| property.queryable);
    let Some(first) = queryable.next() else { return Ok(()) };
    if queryable.next().is_some() {
        let message = "More than one configuration property is queryable: an action type can have up to one";
        return Err(ServiceError::validation(message));
    }
    if !first.required || first.secret {
        let name = &first.name;
        let message =
            format!("The configuration property '{name}' is queryable: it must be both required and not secret");
        return Err(ServiceError::validation(message));
    }
    Ok(())
}

/// What a template shows of a setting is shown to everybody, and has to be there.
fn check_templates(
    settings: &ActionTypeSettings,
    properties: &[ActionConfigurationProperty],
) -> Result<(), ServiceError> {
    let templates = [
        ("entityUrlTemplate", &settings.entity_url_template),
        ("executionUrlTemplate", &settings.execution_url_template),
        ("revisionUrlTemplate", &settings.revision_url_template),
    ];
    for (member, template) in templates {
        for part in template.iter().flat_map(|template| template.split("{Config:").skip(1)) {
            let name = part.split('}').next().unwrap_or_default();
            let is_shown =
                |property: &ActionConfigurationProperty| property.name == name && property.required && !property.secret;
            if !properties.iter().any(is_shown) {
                return Err(ServiceError::validation(format!(
                    "Value at 'settings.{member}' names the configuration property '{name}', which must be one that is both \
                     required and not secret"
                )));
            }
        }
    }
    Ok(())
}

fn property(property: &ActionConfigurationProperty) -> Property {
    Property {
        name: property.name.clone(),
        kind: match property.kind {
            ActionConfigurationPropertyType::String => PropertyKind::String,
            ActionConfigurationPropertyType::Number => PropertyKind::Number,
            ActionConfigurationPropertyType::Boolean => PropertyKind::Boolean,
        },
        required: property.required,
        secret: property.secret,
        key: property.key,
        queryable: property.queryable,
        default: None,
        choices: Vec::new(),
        documentation: property.description.clone().unwrap_or_default(),
    }
}

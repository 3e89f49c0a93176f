//! ListActionTypes, GetActionType, UpdateActionType: the action types that plugins serve in an account.
//!
//! Must not know plugins; it shows what they are bound to.

use std::sync::Arc;

use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::{ActionCategory, ActionTypeId};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ActionConfigurationProperty, ActionConfigurationPropertyType, ActionType, ActionTypeDeclaration,
    ActionTypeExecutor, ActionTypePermissions, ActionTypeProperty, ArtifactDetails, ExecutorConfiguration,
    ExecutorType, GetActionTypeOutput, ListActionTypesOutput,
};

use super::{Context, Service, ServiceError, partner_jobs, plugins, views};
use crate::account_plugins::AccountPlugins;
use pipewright_packages::plugins::{Binding, Provenance, WorkerType};

/// CodePipeline's structures hold no more (S113).
pub(super) const PROPERTIES_MAX: usize = 10;
const ARTIFACTS_MAX: u32 = 5;
const RESULTS_PER_PAGE: usize = 100;
const PROPERTY_CHARS_MAX: usize = 160;
const DECLARED_PROPERTY_CHARS_MAX: usize = 250;
const DESCRIPTION_CHARS_MAX: usize = 1024;

pub(super) fn count(count: ArtifactCount) -> ArtifactDetails {
    ArtifactDetails { minimum_count: count.min.min(ARTIFACTS_MAX), maximum_count: count.max.min(ARTIFACTS_MAX) }
}

pub(super) fn property(property: &Property) -> ActionConfigurationProperty {
    let kind = match property.kind {
        PropertyKind::Number => ActionConfigurationPropertyType::Number,
        PropertyKind::Boolean => ActionConfigurationPropertyType::Boolean,
        PropertyKind::String | PropertyKind::List => ActionConfigurationPropertyType::String,
    };
    let Property { name, required, secret, key, queryable, documentation, .. } = property.clone();
    let description = views::text(Some(&documentation), PROPERTY_CHARS_MAX);
    ActionConfigurationProperty { name, required, key, secret, queryable, description, kind }
}

fn action_type(info: &ActionTypeInfo) -> ActionType {
    ActionType {
        id: info.id.clone(),
        settings: None,
        action_configuration_properties: info.properties.iter().take(PROPERTIES_MAX).map(property).collect(),
        input_artifact_details: count(info.inputs),
        output_artifact_details: count(info.outputs),
    }
}

pub(super) fn worker_type(served: &WorkerType) -> ActionType {
    ActionType { settings: served.settings.clone(), ..action_type(&served.info) }
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListActionTypesInput,
) -> Result<ListActionTypesOutput, ServiceError> {
    let scope = format!("ListActionTypes {:?} {:?}", input.action_owner_filter, input.region_filter);
    let after = service.after(context, &scope, input.next_token.as_deref())?;
    let after = after.and_then(|after| std::str::from_utf8(&after).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let catalogue = service.catalogue(context);
    let here = input.region_filter.is_none_or(|region| region == service.region());
    let wanted = |info: &&ActionTypeInfo| {
        let is_owner = input.action_owner_filter.is_none_or(|owner| info.id.owner == owner);
        here && is_owner && info.id.category != ActionCategory::Rule
    };
    let wanted: Vec<_> = catalogue.types().values().filter(wanted).collect();
    let page = wanted.iter().skip(after).take(RESULTS_PER_PAGE);
    let page = page.map(|info| catalogue.workers(&info.id).map_or_else(|| action_type(info), worker_type));
    let end = after + RESULTS_PER_PAGE;
    let next_token = (wanted.len() > end).then(|| service.token(context, &scope, end.to_string().as_bytes()));
    Ok(ListActionTypesOutput { action_types: page.collect(), next_token })
}

pub async fn get(
    service: &Service,
    context: &Context,
    input: requests::GetActionTypeInput,
) -> Result<GetActionTypeOutput, ServiceError> {
    Ok(GetActionTypeOutput { action_type: declaration(service, context, &input.id)? })
}

/// Changes who may use an action type. What else it is, its plugin says.
pub async fn update(
    service: &Service,
    context: &Context,
    input: requests::UpdateActionTypeInput,
) -> Result<(), ServiceError> {
    let member = |name: &str| input.action_type.get(name).filter(|value| !value.is_null());
    let id: ActionTypeId = serde_json::from_value(input.action_type["id"].clone())
        .map_err(|error| ServiceError::validation(format!("actionType.id: {error}")))?;
    if partner_jobs::is_for_workers(service, context, &id) {
        return partner_jobs::declare(service, context, input.action_type).await;
    }
    let known = serde_json::to_value(declaration(service, context, &id)?).map_err(ServiceError::host)?;
    let given = input.action_type.as_object().into_iter().flatten().filter(|(name, _)| *name != "permissions");
    if let Some((name, _)) =
        given.filter(|(_, value)| !value.is_null()).find(|(name, value)| known.get(*name) != Some(*value))
    {
        return Err(ServiceError::validation(format!(
            "Value at 'actionType.{name}' differs from what the plugin says of the action type: only its permissions can be updated"
        )));
    }
    if let Some(permissions) = member("permissions") {
        let accounts: Vec<String> = serde_json::from_value(permissions["allowedAccounts"].clone())
            .map_err(|error| ServiceError::validation(format!("actionType.permissions: {error}")))?;
        let others: Vec<String> = accounts.into_iter().filter(|account| *account != context.account_id()).collect();
        let offer = move |account_plugins: Arc<AccountPlugins>, account, cause| async move {
            account_plugins.offer(account, &id, &others, &cause).await
        };
        plugins::change(service, context, offer).await?;
    }
    Ok(())
}

fn declaration(service: &Service, context: &Context, id: &ActionTypeId) -> Result<ActionTypeDeclaration, ServiceError> {
    let catalogue = service.catalogue(context);
    let missing = |reason: &str| {
        ServiceError::refused(
            "ActionTypeNotFoundException",
            format!("No plugin serves an action type {id} here{reason}"),
        )
    };
    if let Some(served) = catalogue.workers(id) {
        return Ok(declared(
            &served.info,
            served.info.documentation.clone(),
            vec![context.account_id()],
            served.job_timeout_seconds,
        ));
    }
    let binding = catalogue.bindings().get(id).ok_or_else(|| missing(""))?;
    if let Some(reason) = catalogue.yanked(id) {
        return Err(missing(&format!(": {reason}")));
    }
    let info = &binding.served.info;
    let deprecated = binding.notice.as_ref().map(|notice| format!("Deprecated: {}\n\n", notice.reason));
    let description = deprecated.unwrap_or_default() + &info.documentation;
    Ok(declared(info, description, allowed_accounts(service, context, binding, id), None))
}

/// `job_timeout` is in seconds.
fn declared(
    info: &ActionTypeInfo,
    description: String,
    allowed_accounts: Vec<String>,
    job_timeout: Option<u32>,
) -> ActionTypeDeclaration {
    let properties = info.properties.iter().take(PROPERTIES_MAX).map(|property| ActionTypeProperty {
        name: property.name.clone(),
        optional: !property.required,
        key: property.key,
        no_echo: property.secret,
        queryable: property.queryable,
        description: views::text(Some(&property.documentation), DECLARED_PROPERTY_CHARS_MAX),
    });
    ActionTypeDeclaration {
        description: views::text(Some(&description), DESCRIPTION_CHARS_MAX),
        id: info.id.clone(),
        executor: ActionTypeExecutor {
            kind: ExecutorType::JobWorker,
            configuration: ExecutorConfiguration::default(),
            job_timeout,
        },
        input_artifact_details: count(info.inputs),
        output_artifact_details: count(info.outputs),
        permissions: ActionTypePermissions { allowed_accounts },
        properties: properties.collect(),
    }
}

fn allowed_accounts(service: &Service, context: &Context, binding: &Binding, id: &ActionTypeId) -> Vec<String> {
    let mut allowed = vec![context.account_id()];
    if binding.whose == Provenance::Own {
        let sharing = service.host.actions.plugins.sharing();
        let offered = sharing.offers.get(&(context.account, id.clone()));
        allowed.extend(offered.into_iter().flat_map(|offer| offer.0.keys().cloned()));
    }
    allowed
}

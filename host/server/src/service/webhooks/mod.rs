//! PutWebhook, ListWebhooks, DeleteWebhook, and what is delivered to a webhook (S230 to S234).
//!
//! Owns what is kept of a webhook, and which deliveries start its pipeline. Must not know how a delivery came here.

mod filters;
mod registration;

use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::{Source, hex};
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::declaration::{ActionCategory, ActionDeclaration, PipelineDeclaration, Tag};
use pipewright_pipeline::machine::{StartRequest, Timestamp, Trigger, TriggerType};
use pipewright_pipeline::responses::{ListWebhookItem, ListWebhooksOutput, PutWebhookOutput, Time, WebhookOutput};
use pipewright_pipeline::webhooks::{WebhookAuthenticationType, WebhookDefinition};
use pipewright_pipeline::{requests, tags};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deliveries::{Delivered, Delivery, Range, is_same};
use super::{Context, Service, ServiceError};
use crate::config::account_number;
use registration::REGISTERED;
pub use registration::{deregister, register};

/// CodePipeline's quota.
const WEBHOOKS_COUNT_MAX: usize = 300;
const WEBHOOKS_PER_PAGE: usize = 100;
/// Parts of the account's record: the webhooks, and what came of the latest delivery to each.
const WEBHOOK: &str = "webhook/";
const LATEST: &str = "webhook-latest/";
const KEY_BYTES: usize = 20;

/// A webhook as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The last part of its address: whoever does not know it knows no address.
    key: String,
    definition: WebhookDefinition,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Latest {
    /// When it last started an execution.
    triggered: Option<Timestamp>,
    /// Why it did not the last time, though it should have.
    error: Option<(String, String)>,
}

fn not_found(name: &str) -> ServiceError {
    ServiceError::refused("WebhookNotFoundException", format!("The webhook with the name '{name}' cannot be found"))
}

async fn read<T: for<'de> Deserialize<'de>>(
    service: &Service,
    account: u64,
    key: &str,
) -> Result<Option<T>, ServiceError> {
    let kept = service.driver().account_part(account, key).await?;
    kept.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(ServiceError::host)
}

async fn write<T: Serialize>(
    service: &Service,
    context: &Context,
    key: String,
    value: Option<&T>,
) -> Result<(), ServiceError> {
    let bytes = value.map(serde_json::to_vec).transpose().map_err(ServiceError::host)?.map(Bytes::from);
    Ok(service.driver().put_account_part(context.account, &key, bytes, &context.cause).await?)
}

async fn find(service: &Service, account: u64, name: &str) -> Result<Option<Webhook>, ServiceError> {
    read(service, account, &format!("{WEBHOOK}{name}")).await
}

async fn item(service: &Service, context: &Context, webhook: &Webhook) -> Result<ListWebhookItem, ServiceError> {
    let name = &webhook.definition.name;
    let latest: Option<Latest> = read(service, context.account, &format!("{LATEST}{name}")).await?;
    let (triggered, error) = latest.map_or((None, None), |latest| (latest.triggered, latest.error));
    let (error_code, error_message) = error.unzip();
    Ok(ListWebhookItem {
        definition: webhook.definition.masked(),
        url: format!("{}/v1/webhooks/{}/{name}/{}", service.public_address, context.account_id(), webhook.key),
        arn: arn(service, context, name),
        error_message,
        error_code,
        last_triggered: triggered.map(Time),
        tags: webhook.tags.clone(),
    })
}

fn arn(service: &Service, context: &Context, name: &str) -> String {
    service.arn(context, &format!("webhook:{name}"))
}

/// The source action that a webhook is for.
fn target<'a>(declaration: &'a PipelineDeclaration, name: &str) -> Option<&'a ActionDeclaration> {
    let is_meant = |action: &&ActionDeclaration| action.name == *name;
    let found = declaration.stages.first().and_then(|stage| stage.actions.iter().find(is_meant));
    found.filter(|action| action.action_type_id.category == ActionCategory::Source)
}

pub async fn put(
    service: &Service,
    context: &Context,
    input: requests::PutWebhookInput,
) -> Result<PutWebhookOutput, ServiceError> {
    let requests::PutWebhookInput { webhook: mut definition, tags } = input;
    let refused = |message: String| ServiceError::refused("InvalidWebhookAuthenticationParametersException", message);
    definition.check_authentication().map_err(|wrong| refused(wrong.to_string()))?;
    if let Some(range) = &definition.authentication_configuration.allowed_ip_range
        && Range::parse(range).is_none()
    {
        return Err(refused(format!("AllowedIPRange: {range:?} is neither an address nor a range like 10.0.0.0/8")));
    }
    let wrong = |reason: String| ServiceError::refused("InvalidWebhookFilterPatternException", reason);
    filters::check(&definition.filters).map_err(wrong)?;
    tags::check_keys(&tags)?;
    tags::check_count(tags.len())?;
    let reading = service.pipeline(context, &definition.target_pipeline).await?;
    if target(reading.current()?, &definition.target_action).is_none() {
        let WebhookDefinition { target_pipeline, target_action, .. } = &definition;
        return Err(ServiceError::validation(format!(
            "The pipeline '{target_pipeline}' has no source action with the name '{target_action}' in its first stage"
        )));
    }
    // What is there decides on the address, the secret and the quota.
    let _changing = service.changing.webhooks.lock().await;
    let before = find(service, context.account, &definition.name).await?;
    if !definition.restore(before.as_ref().map(|before| &before.definition)) {
        return Err(refused(
            "SecretToken: the value is the mask by which a secret is shown; give the secret itself".to_owned(),
        ));
    }
    // What is put again without tags keeps those that it has.
    let tags = match &before {
        Some(before) if tags.is_empty() => before.tags.clone(),
        _ => tags,
    };
    let key = match before {
        Some(before) => before.key,
        None if service.driver().account_parts(context.account, WEBHOOK).await?.len() >= WEBHOOKS_COUNT_MAX => {
            return Err(ServiceError::Limit(format!(
                "The account has {WEBHOOKS_COUNT_MAX} webhooks, which is its limit"
            )));
        }
        None => random_key()?,
    };
    let webhook = Webhook { key, definition, tags };
    write(service, context, format!("{WEBHOOK}{}", webhook.definition.name), Some(&webhook)).await?;
    Ok(PutWebhookOutput { webhook: item(service, context, &webhook).await? })
}

/// The tags of a webhook that exists.
pub(super) async fn tags(service: &Service, context: &Context, name: &str) -> Result<Vec<Tag>, ServiceError> {
    let nothing = || {
        let account = context.account_id();
        ServiceError::not_found(format!(
            "The account with id '{account}' does not include a webhook with the name '{name}'"
        ))
    };
    Ok(find(service, context.account, name).await?.ok_or_else(nothing)?.tags)
}

/// Puts them in the place of those that it has.
pub(super) async fn put_tags(
    service: &Service,
    context: &Context,
    name: &str,
    tags: Vec<Tag>,
) -> Result<(), ServiceError> {
    let _changing = service.changing.webhooks.lock().await;
    let webhook = find(service, context.account, name).await?.ok_or_else(|| not_found(name))?;
    write(service, context, format!("{WEBHOOK}{name}"), Some(&Webhook { tags, ..webhook })).await
}

/// What nobody guesses, for an address.
pub(super) fn random_key() -> Result<String, ServiceError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(ServiceError::host)?;
    Ok(hex::encode(key))
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListWebhooksInput,
) -> Result<ListWebhooksOutput, ServiceError> {
    const SCOPE: &str = "ListWebhooks";
    let after = service.after(context, SCOPE, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(WEBHOOKS_PER_PAGE, |max| max as usize);
    let kept = service.driver().account_parts(context.account, WEBHOOK).await?;
    let mut page = kept.iter().filter(|(name, _)| after.as_ref().is_none_or(|after| name.as_bytes() > &after[..]));
    let (mut webhooks, mut last) = (Vec::new(), None);
    for (name, bytes) in page.by_ref().take(limit) {
        let webhook: Webhook = serde_json::from_slice(bytes).map_err(ServiceError::host)?;
        webhooks.push(item(service, context, &webhook).await?);
        last = Some(name);
    }
    let next_token = page.next().and(last).map(|last| service.token(context, SCOPE, last.as_bytes()));
    Ok(ListWebhooksOutput { webhooks, next_token })
}

/// One that is not there is deleted already: the operation models no other answer.
pub async fn delete(
    service: &Service,
    context: &Context,
    input: requests::DeleteWebhookInput,
) -> Result<WebhookOutput, ServiceError> {
    let _changing = service.changing.webhooks.lock().await;
    write::<Webhook>(service, context, format!("{WEBHOOK}{}", input.name), None).await?;
    write::<Latest>(service, context, format!("{LATEST}{}", input.name), None).await?;
    write::<Webhook>(service, context, format!("{REGISTERED}{}", input.name), None).await?;
    Ok(WebhookOutput {})
}

/// The webhook at an address, by the parts of its path.
pub async fn at(service: &Service, account: &str, name: &str, key: &str) -> Result<(u64, Arc<Webhook>), ServiceError> {
    let nothing = || ServiceError::not_found("There is nothing at this path");
    let account =
        account_number(account).filter(|account| service.host.accounts().contains(account)).ok_or_else(nothing)?;
    let webhook = find(service, account, name).await?.ok_or_else(nothing)?;
    if is_same(key, &webhook.key) { Ok((account, Arc::new(webhook))) } else { Err(nothing()) }
}

/// Something was delivered: starts the pipeline where the sender is who it is to be, and every filter fits (S231, S232). The same
/// delivery starts nothing again (S233).
pub async fn deliver(
    service: &Service,
    account: u64,
    webhook: Arc<Webhook>,
    delivery: Delivery,
) -> Result<Delivered, ServiceError> {
    let mut context = Context::of_host("webhook", Source::Webhook, account);
    context.cause.request.clone_from(&delivery.request);
    verify(&webhook.definition, &delivery)?;
    let definition = &webhook.definition;
    let Some(pipeline) = service.driver().find(account, &definition.target_pipeline).await? else {
        return failed(service, &context, definition, context.no_pipeline(&definition.target_pipeline)).await;
    };
    let Some(declaration) = service.driver().declaration(pipeline).await? else {
        return failed(service, &context, definition, context.no_pipeline(&definition.target_pipeline)).await;
    };
    let Some(action) = target(&declaration, &definition.target_action) else {
        let reason = format!("The pipeline has no source action '{}' any more", definition.target_action);
        return failed(service, &context, definition, ServiceError::validation(reason)).await;
    };
    let configuration = action.configuration.clone().unwrap_or_default();
    let name = delivery.name().or_else(|| {
        // An unsigned one that has no name is not known from another one that says the same.
        (definition.authentication == WebhookAuthenticationType::GithubHmac).then(|| delivery.content())
    });
    let (of, body) = (Arc::clone(&webhook), delivery.body.clone());
    let fits = service.work().blocking(move || {
        let body: Value = serde_json::from_slice(&body)?;
        Ok::<_, serde_json::Error>(filters::fit(&of.definition.filters, &configuration, &body))
    });
    let fits = fits.await.map_err(|error| {
        ServiceError::validation(format!(
            "The body is no JSON ({error}); deliver with the content type application/json"
        ))
    })?;
    if !fits {
        return Ok(Delivered::Unmatched);
    }
    // No client's token has a colon.
    let token = name.map(|name| format!("webhook:{}:{name}", webhook.key));
    start(service, &context, definition, pipeline, token).await
}

async fn start(
    service: &Service,
    context: &Context,
    definition: &WebhookDefinition,
    pipeline: Aggregate,
    token: Option<String>,
) -> Result<Delivered, ServiceError> {
    let driver = service.driver();
    if let Some(token) = &token
        && driver.started_by(pipeline, token).await?.is_some()
    {
        return Ok(Delivered::Replayed);
    }
    let trigger = Trigger { kind: TriggerType::Webhook, detail: arn(service, context, &definition.name) };
    let request = StartRequest { trigger, ..StartRequest::default() };
    match driver.start(pipeline, request, token.map(Into::into), Vec::new(), &context.cause).await {
        Ok(execution) => {
            tracing::info!(%pipeline, %execution, "webhook {} starts {}", definition.name, definition.target_pipeline);
            let triggered = Some(Timestamp(driver.clock().now_ms()));
            tell(service, context, definition, Latest { triggered, error: None }).await;
            Ok(Delivered::Started(1))
        }
        Err(error) => failed(service, context, definition, context.refused(&definition.target_pipeline, error)).await,
    }
}

/// Keeps why a delivery that was let in started nothing.
async fn failed(
    service: &Service,
    context: &Context,
    definition: &WebhookDefinition,
    error: ServiceError,
) -> Result<Delivered, ServiceError> {
    let told = match &error {
        ServiceError::Refused { class, message, .. } => ((*class).to_owned(), message.clone()),
        other => ("InternalFailure".to_owned(), other.to_string()),
    };
    let before: Option<Latest> = read(service, context.account, &format!("{LATEST}{}", definition.name)).await?;
    let triggered = before.and_then(|before| before.triggered);
    tell(service, context, definition, Latest { triggered, error: Some(told) }).await;
    Err(error)
}

/// For whoever lists the webhook; that it could not be kept is no reason to deliver again.
async fn tell(service: &Service, context: &Context, definition: &WebhookDefinition, latest: Latest) {
    if let Err(error) = write(service, context, format!("{LATEST}{}", definition.name), Some(&latest)).await {
        tracing::warn!("what came of a delivery to the webhook {} is not kept: {error}", definition.name);
    }
}

/// Whether the sender is who it is to be.
fn verify(definition: &WebhookDefinition, delivery: &Delivery) -> Result<(), ServiceError> {
    let configuration = &definition.authentication_configuration;
    let denied = |reason: &str| Err(ServiceError::refused("AccessDeniedException", reason));
    match definition.authentication {
        WebhookAuthenticationType::Unauthenticated => Ok(()),
        WebhookAuthenticationType::Ip => {
            let range = configuration.allowed_ip_range.as_deref().and_then(Range::parse);
            match range.is_some_and(|range| delivery.is_from(&range)) {
                true => Ok(()),
                false => denied("The sender's address is none from which the webhook takes deliveries"),
            }
        }
        WebhookAuthenticationType::GithubHmac => {
            let Some(secret) = &configuration.secret_token else { return denied("The webhook has no secret") };
            // A sender that gives the stronger one is judged by it alone.
            let headers = ["x-hub-signature-256", "x-hub-signature"];
            match headers.into_iter().find(|header| delivery.header(header).is_some()) {
                None => denied("The delivery has no X-Hub-Signature-256 or X-Hub-Signature"),
                Some(header) if delivery.is_signed(header, secret) => Ok(()),
                Some(_) => denied("The signature of the delivery is not right"),
            }
        }
    }
}

//! TagResource, UntagResource, ListTagsForResource, on pipelines, webhooks and custom action types.
//!
//! Owns how a pipeline's tags are kept beside it; those of the others are a part of what is kept of them. Must not know what a tag
//! means.

use std::collections::BTreeMap;

use bytes::Bytes;
use pipewright_engine::driver::{Aggregate, Note};
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId, Tag};
use pipewright_pipeline::responses::{ListTagsForResourceOutput, TagResourceOutput};
use pipewright_pipeline::{requests, tags};

use super::{Context, Service, ServiceError, custom_types, webhooks};

const TAGS_PER_PAGE: usize = 100;
const NOTE: &str = "tags";
/// How the ARN of a webhook goes on after the account.
const WEBHOOK: &str = "webhook:";
/// And of a custom action type, of which `CATEGORY/PROVIDER/VERSION` follows.
const ACTION_TYPE: &str = "actiontype:Custom/";

type Tags = BTreeMap<String, String>;

/// The tags as they are kept with a new pipeline.
pub fn note(tags: &[Tag]) -> Result<Note, ServiceError> {
    write(&tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect())
}

fn write(tags: &Tags) -> Result<Note, ServiceError> {
    let bytes = serde_json::to_vec(tags).map_err(ServiceError::host)?;
    Ok((NOTE.to_owned(), Some(Bytes::from(bytes))))
}

/// What an ARN names.
enum Resource {
    Pipeline(Aggregate),
    /// By its name.
    Webhook(String),
    ActionType(ActionTypeId),
}

impl Resource {
    async fn read(&self, service: &Service, context: &Context) -> Result<Tags, ServiceError> {
        let pipeline = match self {
            Self::Pipeline(pipeline) => *pipeline,
            Self::Webhook(name) => {
                let tags = webhooks::tags(service, context, name).await?;
                return Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect());
            }
            Self::ActionType(id) => return Ok(custom_types::tags(service, context, id).unwrap_or_default()),
        };
        let kept = service.driver().kept(pipeline, NOTE).await?;
        let tags = kept.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        Ok(tags.map_err(ServiceError::host)?.unwrap_or_default())
    }

    async fn write(&self, service: &Service, context: &Context, tags: Tags) -> Result<(), ServiceError> {
        match self {
            Self::Pipeline(pipeline) => {
                Ok(service.driver().keep(*pipeline, vec![write(&tags)?], &context.cause).await?)
            }
            Self::Webhook(name) => {
                let tags = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
                webhooks::put_tags(service, context, name, tags).await
            }
            Self::ActionType(id) => {
                Ok(service.account_plugins.tag_worker_type(context.account, id, tags, &context.cause).await?)
            }
        }
    }
}

async fn resource(service: &Service, context: &Context, arn: &str) -> Result<Resource, ServiceError> {
    let nothing = || ServiceError::not_found(format!("There is no resource {arn} here"));
    let name = service.of_arn(context, "codepipeline", arn).ok_or_else(nothing)?;
    if let Some(webhook) = name.strip_prefix(WEBHOOK) {
        webhooks::tags(service, context, webhook).await?;
        return Ok(Resource::Webhook(webhook.to_owned()));
    }
    if let Some(of) = name.strip_prefix(ACTION_TYPE) {
        let id = custom_type(of).filter(|id| custom_types::tags(service, context, id).is_some());
        return id.map(Resource::ActionType).ok_or_else(nothing);
    }
    Ok(Resource::Pipeline(service.resource(context, name).await?.pipeline))
}

/// `CATEGORY/PROVIDER/VERSION`.
fn custom_type(text: &str) -> Option<ActionTypeId> {
    let [category, provider, version] = text.split('/').collect::<Vec<_>>()[..] else { return None };
    let category = serde_json::from_value(category.into()).ok()?;
    let (provider, version) = (provider.to_owned(), version.to_owned());
    Some(ActionTypeId { category, owner: ActionOwner::Custom, provider, version })
}

pub async fn tag(
    service: &Service,
    context: &Context,
    input: requests::TagResourceInput,
) -> Result<TagResourceOutput, ServiceError> {
    tags::check_keys(&input.tags)?;
    let resource = resource(service, context, &input.resource_arn).await?;
    let _changing = service.changing.tags.lock().await;
    let mut kept = resource.read(service, context).await?;
    kept.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value)));
    tags::check_count(kept.len())?;
    resource.write(service, context, kept).await?;
    Ok(TagResourceOutput {})
}

pub async fn untag(
    service: &Service,
    context: &Context,
    input: requests::UntagResourceInput,
) -> Result<TagResourceOutput, ServiceError> {
    let resource = resource(service, context, &input.resource_arn).await?;
    let _changing = service.changing.tags.lock().await;
    let mut kept = resource.read(service, context).await?;
    let before = kept.len();
    kept.retain(|key, _| !input.tag_keys.contains(key));
    if kept.len() != before {
        resource.write(service, context, kept).await?;
    }
    Ok(TagResourceOutput {})
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, ServiceError> {
    let resource = resource(service, context, &input.resource_arn).await?;
    let scope = format!("ListTagsForResource {}", input.resource_arn);
    let after = service.after(context, &scope, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(TAGS_PER_PAGE, |max| max as usize);
    let tags = resource.read(service, context).await?;
    let mut page = tags.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key.as_bytes() > &after[..]));
    let shown: Vec<_> = page.by_ref().take(limit).map(|(key, value)| Tag { key, value }).collect();
    let next_token = page.next().and(shown.last()).map(|last| service.token(context, &scope, last.key.as_bytes()));
    Ok(ListTagsForResourceOutput { tags: shown, next_token })
}

//! TagResource, UntagResource, ListTagsForResource, on pipelines.
//!
//! Owns how a pipeline's tags are kept beside it. Must not know what a tag means.

use std::collections::BTreeMap;

use bytes::Bytes;
use pipewright_pipeline::declaration::Tag;
use pipewright_pipeline::{requests, tags};
use serde::Serialize;

use super::Call;
use super::error::ApiError;
use pipewright_engine::driver::Aggregate;
use pipewright_engine::driver::Note;

const TAGS_PER_PAGE: usize = 100;
const NOTE: &str = "tags";

#[derive(Serialize)]
pub struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

type Tags = BTreeMap<String, String>;

/// The tags as they are kept with a new pipeline.
pub fn note(tags: &[Tag]) -> Result<Note, ApiError> {
    write(&tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect())
}

fn write(tags: &Tags) -> Result<Note, ApiError> {
    let bytes = serde_json::to_vec(tags).map_err(|error| ApiError::internal(&error))?;
    Ok((NOTE.to_owned(), Some(Bytes::from(bytes))))
}

async fn read(call: &Call, pipeline: Aggregate) -> Result<Tags, ApiError> {
    let kept = call.api.host.driver.kept(pipeline, NOTE).await?;
    let tags = kept.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    Ok(tags.map_err(|error| ApiError::internal(&error))?.unwrap_or_default())
}

/// The pipeline that an ARN names.
async fn resource(call: &Call, arn: &str) -> Result<Aggregate, ApiError> {
    let mut parts = arn.splitn(6, ':').skip(3);
    let (region, account, name) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let not_found = || ApiError::new("ResourceNotFoundException", format!("There is no resource {arn} here"));
    if region != Some(&call.api.region) || account != Some(&call.account_id()) {
        return Err(not_found());
    }
    call.pipeline(name).await.map(|(pipeline, _)| pipeline).map_err(|error| match error.code {
        "PipelineNotFoundException" => not_found(),
        _ => error,
    })
}

pub async fn tag(call: &Call, input: requests::TagResourceInput) -> Result<Empty, ApiError> {
    tags::check_keys(&input.tags)?;
    let pipeline = resource(call, &input.resource_arn).await?;
    let _changing = call.api.tagging.lock().await;
    let mut kept = read(call, pipeline).await?;
    kept.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value)));
    tags::check_count(kept.len())?;
    call.api.host.driver.keep(pipeline, vec![write(&kept)?]).await?;
    Ok(Empty {})
}

pub async fn untag(call: &Call, input: requests::UntagResourceInput) -> Result<Empty, ApiError> {
    let pipeline = resource(call, &input.resource_arn).await?;
    let _changing = call.api.tagging.lock().await;
    let mut kept = read(call, pipeline).await?;
    let before = kept.len();
    kept.retain(|key, _| !input.tag_keys.contains(key));
    if kept.len() != before {
        call.api.host.driver.keep(pipeline, vec![write(&kept)?]).await?;
    }
    Ok(Empty {})
}

pub async fn list(call: &Call, input: requests::ListTagsForResourceInput) -> Result<Listed, ApiError> {
    let pipeline = resource(call, &input.resource_arn).await?;
    let scope = format!("ListTagsForResource {pipeline}");
    let after = call.api.pages.after(&scope, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(TAGS_PER_PAGE, |max| max as usize);
    let tags = read(call, pipeline).await?;
    let mut page = tags.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key.as_bytes() > &after[..]));
    let shown: Vec<_> = page.by_ref().take(limit).map(|(key, value)| Tag { key, value }).collect();
    let next_token = page.next().and(shown.last()).map(|last| call.api.pages.token(&scope, last.key.as_bytes()));
    Ok(Listed { tags: shown, next_token })
}

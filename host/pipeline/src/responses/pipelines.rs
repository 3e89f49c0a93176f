//! CreatePipeline, UpdatePipeline, GetPipeline, ListPipelines, ListTagsForResource.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::declaration::{ExecutionMode, PipelineDeclaration, PipelineType, Tag};

/// Of CreatePipeline; of UpdatePipeline, without tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatePipelineOutput {
    pub pipeline: PipelineDeclaration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetPipelineOutput {
    pub pipeline: PipelineDeclaration,
    pub metadata: PipelineMetadata,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineMetadata {
    pub pipeline_arn: String,
    pub created: Time,
    pub updated: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPipelinesOutput {
    pub pipelines: Vec<PipelineSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSummary {
    pub name: String,
    pub version: u32,
    pub pipeline_type: PipelineType,
    pub execution_mode: ExecutionMode,
    pub created: Time,
    pub updated: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTagsForResourceOutput {
    pub tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Of TagResource and UntagResource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagResourceOutput {}

//! PutWebhook, ListWebhooks.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::declaration::Tag;
use crate::webhooks::WebhookDefinition;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PutWebhookOutput {
    pub webhook: ListWebhookItem,
}

/// `NextToken` has a capital here alone, as in CodePipeline's model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListWebhooksOutput {
    pub webhooks: Vec<ListWebhookItem>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListWebhookItem {
    pub definition: WebhookDefinition,
    pub url: String,
    pub arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_triggered: Option<Time>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// Of DeleteWebhook, RegisterWebhookWithThirdParty and DeregisterWebhookWithThirdParty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookOutput {}

//! CodePipeline's webhooks: what one is declared to be, and what its declaration must say (S230).
//!
//! Owns the declaration and its words. Must not know how a delivery is verified, or what a JSONPath selects.

use serde::{Deserialize, Serialize};

use crate::secrets::MASK;
use crate::validate::shape::Shape::{self, Choice, Structure};
use crate::validate::shape::{list, optional, required, text};
use crate::validate::shapes::ENTITY_NAME;

/// CodePipeline's WebhookDefinition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDefinition {
    pub name: String,
    pub target_pipeline: String,
    pub target_action: String,
    pub filters: Vec<WebhookFilterRule>,
    pub authentication: WebhookAuthenticationType,
    pub authentication_configuration: WebhookAuthConfiguration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookFilterRule {
    pub json_path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_equals: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookAuthenticationType {
    #[serde(rename = "GITHUB_HMAC")]
    GithubHmac,
    #[serde(rename = "IP")]
    Ip,
    #[serde(rename = "UNAUTHENTICATED")]
    Unauthenticated,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAuthConfiguration {
    #[serde(rename = "AllowedIPRange", default, skip_serializing_if = "Option::is_none")]
    pub allowed_ip_range: Option<String>,
    #[serde(rename = "SecretToken", default, skip_serializing_if = "Option::is_none")]
    pub secret_token: Option<String>,
}

/// The authentication has not the one property that its type needs, or has another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("For {authentication}, {needed} of authenticationConfiguration must be set")]
pub struct WrongAuthentication {
    authentication: &'static str,
    needed: &'static str,
}

impl WebhookDefinition {
    pub fn check_authentication(&self) -> Result<(), WrongAuthentication> {
        let WebhookAuthConfiguration { allowed_ip_range, secret_token } = &self.authentication_configuration;
        let is_set = (allowed_ip_range.is_some(), secret_token.is_some());
        let (wanted, authentication, needed) = match self.authentication {
            WebhookAuthenticationType::GithubHmac => ((false, true), "GITHUB_HMAC", "SecretToken and nothing else"),
            WebhookAuthenticationType::Ip => ((true, false), "IP", "AllowedIPRange and nothing else"),
            WebhookAuthenticationType::Unauthenticated => ((false, false), "UNAUTHENTICATED", "nothing"),
        };
        if is_set == wanted { Ok(()) } else { Err(WrongAuthentication { authentication, needed }) }
    }

    /// As it is shown: the secret is not.
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        if let Some(secret) = &mut shown.authentication_configuration.secret_token {
            MASK.clone_into(secret);
        }
        shown
    }

    /// Puts the secret that an earlier definition has in the place of the mask by which it was shown; says whether there is one.
    pub fn restore(&mut self, before: Option<&Self>) -> bool {
        let secret = &mut self.authentication_configuration.secret_token;
        if secret.as_deref() == Some(MASK) {
            secret.clone_from(&before.and_then(|before| before.authentication_configuration.secret_token.clone()));
            return secret.is_some();
        }
        true
    }
}

/// WebhookDefinition.
pub(crate) static DEFINITION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    required("targetPipeline", &ENTITY_NAME),
    required("targetAction", &ENTITY_NAME),
    required("filters", &list(0, 5, &FILTER)),
    required("authentication", &Choice(&["GITHUB_HMAC", "IP", "UNAUTHENTICATED"])),
    required(
        "authenticationConfiguration",
        &Structure(&[optional("AllowedIPRange", &text(1, 100)), optional("SecretToken", &text(1, 100))]),
    ),
]);

static FILTER: Shape = Structure(&[required("jsonPath", &text(1, 150)), optional("matchEquals", &text(1, 150))]);

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(
        authentication: WebhookAuthenticationType,
        range: Option<&str>,
        secret: Option<&str>,
    ) -> WebhookDefinition {
        WebhookDefinition {
            name: "push".to_owned(),
            target_pipeline: "site".to_owned(),
            target_action: "Get".to_owned(),
            filters: Vec::new(),
            authentication,
            authentication_configuration: WebhookAuthConfiguration {
                allowed_ip_range: range.map(str::to_owned),
                secret_token: secret.map(str::to_owned),
            },
        }
    }

    #[test]
    fn each_kind_of_authentication_needs_its_own_property_alone() {
        use WebhookAuthenticationType::{GithubHmac, Ip, Unauthenticated};
        for (authentication, wanted) in
            [(GithubHmac, (false, true)), (Ip, (true, false)), (Unauthenticated, (false, false))]
        {
            for given in [(false, false), (false, true), (true, false), (true, true)] {
                let (range, secret) = (given.0.then_some("10.0.0.0/8"), given.1.then_some("s"));
                let checked = definition(authentication, range, secret).check_authentication();
                assert_eq!(checked.is_ok(), given == wanted, "{authentication:?} {given:?}: {checked:?}");
            }
        }
    }

    #[test]
    fn a_mask_stands_for_the_secret_that_is_there() {
        let kept = definition(WebhookAuthenticationType::GithubHmac, None, Some("very secret"));
        let mut shown = kept.masked();
        assert!(!format!("{shown:?}").contains("very secret"));
        assert!(!shown.clone().restore(None) && shown.restore(Some(&kept)));
        assert_eq!(shown, kept);
    }
}

//! The secrets of an account: kept, listed and taken away, never read back.
//!
//! Must not know how they are kept, nor who is given a value.

use pipewright_runner::stored_secrets::{About, SecretError};
use serde::{Deserialize, Serialize};

use super::{Context, Service, ServiceError};

#[derive(Debug, Serialize)]
pub struct SecretList {
    pub secrets: Vec<About>,
}

/// It has no `Debug`: nobody prints a value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutSecret {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Serialize)]
pub struct PutSecretOutput {
    pub name: String,
    pub version: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveSecret {
    pub name: String,
    /// None: all of it.
    #[serde(default)]
    pub version: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Rotated {
    /// The name of the key that seals now.
    pub key: String,
    /// How many secrets it has sealed.
    pub secrets: usize,
}

pub async fn list(service: &Service, context: &Context) -> Result<SecretList, ServiceError> {
    let listed = service.host.actions.secrets.list(service.driver(), context.account).await;
    Ok(SecretList { secrets: listed.map_err(|error| told(service, context, error))? })
}

pub async fn put(service: &Service, context: &Context, input: PutSecret) -> Result<PutSecretOutput, ServiceError> {
    let PutSecret { name, value } = input;
    let secrets = &service.host.actions.secrets;
    let kept = secrets.set(service.driver(), context.account, &name, &value, &context.cause).await;
    Ok(PutSecretOutput { version: kept.map_err(|error| told(service, context, error))?, name })
}

pub async fn remove(service: &Service, context: &Context, input: RemoveSecret) -> Result<(), ServiceError> {
    let RemoveSecret { name, version } = input;
    let secrets = &service.host.actions.secrets;
    let removed = secrets.remove(service.driver(), context.account, &name, version, &context.cause).await;
    removed.map_err(|error| told(service, context, error))
}

/// Of all accounts.
pub async fn rotate_key(service: &Service, context: &Context) -> Result<Rotated, ServiceError> {
    let secrets = &service.host.actions.secrets;
    let rotated = secrets.rotate(service.driver(), &context.cause).await;
    let (key, secrets) = rotated.map_err(|error| told(service, context, error))?;
    Ok(Rotated { key, secrets })
}

/// The file of keys is one of the host (S124).
pub(super) fn told(service: &Service, context: &Context, error: SecretError) -> ServiceError {
    match error {
        SecretError::Keys(error) if context.account == service.operator => ServiceError::validation(error.to_string()),
        SecretError::Refused(message) => ServiceError::validation(message),
        SecretError::NotFound(message) => ServiceError::not_found(message),
        SecretError::Limit(message) => ServiceError::Limit(message),
        SecretError::Driver(error) => error.into(),
        error @ (SecretError::Keys(_) | SecretError::Damaged(_)) => ServiceError::host(error),
    }
}

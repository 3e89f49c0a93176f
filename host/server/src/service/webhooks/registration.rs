//! RegisterWebhookWithThirdParty and DeregisterWebhookWithThirdParty: a webhook's address in the settings of the repository that its
//! source action names (S234).
//!
//! Owns with whom a webhook is registered, by which token, and what is shown of it. Must not know the forms of a host's API (`api`).

use pipewright_pipeline::declaration::{ActionDeclaration, ActionOwner};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::WebhookOutput;
use pipewright_pipeline::webhooks::WebhookAuthenticationType;
use pipewright_runner::connections::{self, Connection, Kind, is_repository};
use pipewright_sandbox::grants::SecretValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::connections::api::Api;
use super::super::connections::statuses::token;
use super::super::{Context, Service, ServiceError};
use super::{LATEST, Latest, Webhook, find, item, not_found, read, target, write};
use crate::notify::Outgoing;

/// A part of the account's record: with which repository a webhook is registered.
pub(super) const REGISTERED: &str = "webhook-registered/";
/// The key of an action of `ThirdParty/GitHub` that has its token.
const TOKEN: &str = "OAuthToken";

/// Where a webhook is registered, as it is kept.
#[derive(Serialize, Deserialize)]
struct Registered {
    repository: String,
    /// None: GitHub itself, by the token of the action.
    connection: Option<String>,
}

/// A git host, and the token for it.
struct Host {
    connection: Connection,
    token: SecretValue,
}

/// What a git host did not do.
struct Undone {
    /// As ListWebhooks shows it: the status of its answer, if there was one.
    code: String,
    reason: String,
}

pub async fn register(
    service: &Service,
    context: &Context,
    input: requests::RegisterWebhookWithThirdPartyInput,
) -> Result<WebhookOutput, ServiceError> {
    let Some(name) = input.webhook_name else { return Ok(WebhookOutput {}) };
    let webhook = find(service, context.account, &name).await?.ok_or_else(|| not_found(&name))?;
    let reading = service.pipeline(context, &webhook.definition.target_pipeline).await?;
    let action = target(reading.current()?, &webhook.definition.target_action);
    let named = action.and_then(place);
    let Some(mut place) = named else { return Err(no_third_party(&webhook)) };
    let kept = match &place.connection {
        Some(connection) => service.connection(context.account, connection).await?,
        None => None,
    };
    if kept.is_none() && action.is_some_and(is_github) {
        place.connection = None;
    }
    let url = item(service, context, &webhook).await?.url;
    let host = host(service, context, &place, kept, action).await?;
    let secret = webhook.definition.authentication_configuration.secret_token.as_deref();
    match (host.connection.kind, webhook.definition.authentication) {
        (Kind::Git, _) => {
            return Err(ServiceError::validation(format!(
                "A connection of the kind `git` says nothing of how its host registers webhooks: add one to the repository's settings, \
                 with the address {url}, the content type application/json and the webhook's secret"
            )));
        }
        (Kind::GitLab, WebhookAuthenticationType::GithubHmac) => {
            return Err(ServiceError::validation(format!(
                "GitLab does not sign what it delivers, as the authentication GITHUB_HMAC of the webhook '{name}' wants it: use IP, or \
                 the address of the connection"
            )));
        }
        _ => {}
    }
    // Kept first: what is registered is found again, wherever the host dies.
    write(service, context, format!("{REGISTERED}{name}"), Some(&place)).await?;
    let done = put(service, &host, &place.repository, &url, secret).await;
    tell(service, context, &name, done.as_ref().err()).await?;
    done.map(|()| WebhookOutput {}).map_err(|undone| refused(&name, "registered", &undone))
}

pub async fn deregister(
    service: &Service,
    context: &Context,
    input: requests::DeregisterWebhookWithThirdPartyInput,
) -> Result<WebhookOutput, ServiceError> {
    let Some(name) = input.webhook_name else { return Ok(WebhookOutput {}) };
    let webhook = find(service, context.account, &name).await?.ok_or_else(|| not_found(&name))?;
    let key = format!("{REGISTERED}{name}");
    let Some(place) = read::<Registered>(service, context.account, &key).await? else { return Ok(WebhookOutput {}) };
    let kept = match &place.connection {
        Some(connection) => service.connection(context.account, connection).await?,
        None => None,
    };
    let url = item(service, context, &webhook).await?.url;
    let host = match (&place.connection, kept) {
        (None, None) => {
            let reading = service.pipeline(context, &webhook.definition.target_pipeline).await?;
            host(service, context, &place, None, target(reading.current()?, &webhook.definition.target_action)).await?
        }
        (_, kept) => host(service, context, &place, kept, None).await?,
    };
    let done = remove(service, &host, &place.repository, &url).await;
    tell(service, context, &name, done.as_ref().err()).await?;
    done.map_err(|undone| refused(&name, "deregistered", &undone))?;
    write::<Registered>(service, context, key, None).await?;
    Ok(WebhookOutput {})
}

/// The repository of a source action, and the connection by which it is reached.
fn place(action: &ActionDeclaration) -> Option<Registered> {
    let named = connections::named(&action.action_type_id, action.configuration.as_ref()?)?;
    let (repository, connection) = (named.repository, Some(named.connection));
    is_repository(&repository).then_some(Registered { repository, connection })
}

fn is_github(action: &ActionDeclaration) -> bool {
    let id = &action.action_type_id;
    id.owner == ActionOwner::ThirdParty && id.provider == "GitHub"
}

fn no_third_party(webhook: &Webhook) -> ServiceError {
    let (name, action) = (&webhook.definition.name, &webhook.definition.target_action);
    ServiceError::validation(format!(
        "The webhook '{name}' is for '{action}', which is no action of GitHub (ThirdParty) or of a connection: only those have a third \
         party with which it could be registered"
    ))
}

/// Who is asked: the connection's host, or GitHub by the action's own token.
async fn host(
    service: &Service,
    context: &Context,
    place: &Registered,
    kept: Option<Connection>,
    action: Option<&ActionDeclaration>,
) -> Result<Host, ServiceError> {
    if let Some(connection) = kept {
        let token = token(service, context.account, &connection).await.map_err(ServiceError::validation)?;
        return Ok(Host { connection, token });
    }
    if let Some(name) = &place.connection {
        return Err(ServiceError::validation(format!("There is no connection {name}")));
    }
    github(action)
}

/// GitHub itself, by the token of the action.
fn github(action: Option<&ActionDeclaration>) -> Result<Host, ServiceError> {
    let configuration = action.and_then(|action| action.configuration.as_ref());
    let token = configuration.and_then(|it| it.get(TOKEN)).ok_or_else(|| {
        ServiceError::validation("The source action has no OAuthToken by which GitHub could be asked")
    })?;
    let connection = serde_json::from_value(serde_json::json!({ "kind": "github" })).map_err(ServiceError::host)?;
    Ok(Host { connection, token: SecretValue::new(token.as_str()) })
}

/// Puts the address into the repository's settings, in the place of what is there for it.
async fn put(service: &Service, host: &Host, repository: &str, url: &str, secret: Option<&str>) -> Result<(), Undone> {
    remove(service, host, repository, url).await?;
    ask(service, host.api().make_hook(repository, url, secret)).await.map(drop)
}

async fn remove(service: &Service, host: &Host, repository: &str, url: &str) -> Result<(), Undone> {
    let listed = ask(service, host.api().hooks(repository)).await?;
    for id in host.api().hook_ids(&listed, url) {
        ask(service, host.api().remove_hook(repository, &id)).await?;
    }
    Ok(())
}

impl Host {
    fn api(&self) -> Api<'_> {
        Api { connection: &self.connection, token: &self.token }
    }
}

/// Asks once. Nobody waits for a git host longer than the client that asks does.
async fn ask(service: &Service, outgoing: Outgoing) -> Result<Value, Undone> {
    let answer = service.host.actions.sandbox.ask(outgoing).await;
    let answer = answer.map_err(|unsent| Undone { code: "Unreachable".to_owned(), reason: unsent.to_string() })?;
    match answer.status {
        200..=299 => Ok(serde_json::from_slice(&answer.body).unwrap_or_default()),
        status => {
            let mend = match status {
                401 | 403 | 404 => "; the token has to allow that webhooks of the repository are managed",
                _ => "",
            };
            Err(Undone { code: status.to_string(), reason: format!("it answered with the status {status}{mend}") })
        }
    }
}

fn refused(name: &str, what: &str, undone: &Undone) -> ServiceError {
    ServiceError::validation(format!("The webhook '{name}' cannot be {what} at its git host: {}", undone.reason))
}

/// For whoever lists the webhook.
async fn tell(service: &Service, context: &Context, name: &str, undone: Option<&Undone>) -> Result<(), ServiceError> {
    let key = format!("{LATEST}{name}");
    let before: Option<Latest> = read(service, context.account, &key).await?;
    let triggered = before.and_then(|before| before.triggered);
    let error = undone.map(|undone| (undone.code.clone(), format!("The git host: {}", undone.reason)));
    write(service, context, key, Some(&Latest { triggered, error })).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn github_is_asked_by_the_token_of_the_action() {
        let configuration = json!({ "Owner": "team", "Repo": "site", "Branch": "main", "OAuthToken": "ghp_1" });
        let type_id = json!({ "category": "Source", "owner": "ThirdParty", "provider": "GitHub", "version": "1" });
        let action = json!({ "name": "Get", "actionTypeId": type_id, "configuration": configuration });
        let mut action: ActionDeclaration = serde_json::from_value(action).unwrap();
        let repository = place(&action).unwrap().repository;
        let asked = github(Some(&action)).unwrap().api().hooks(&repository);
        assert!(asked.url.starts_with("https://api.github.com/repos/team/site/hooks"), "{}", asked.url);
        assert!(asked.headers.contains(&("authorization", "Bearer ghp_1".to_owned())), "{:?}", asked.headers);
        action.configuration.as_mut().unwrap().remove(TOKEN);
        let refused = github(Some(&action)).err().unwrap();
        assert!(refused.to_string().contains("has no OAuthToken"), "{refused}");
    }
}

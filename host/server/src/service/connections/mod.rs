//! Connections to git hosts: how they are kept, and which pipelines start by what a host tells (S235 to S239).
//!
//! Owns the choice of the pipelines. Must not know how a host says it (`hosts`), nor what an action gets by a connection (the runner).

pub(super) mod api;
mod hosts;
pub mod statuses;

use std::collections::BTreeMap;

use bytes::Bytes;
use pipewright_base::{Cause, Source};
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::declaration::{
    ActionDeclaration, GitConfiguration, GitPullRequestEventType, PipelineDeclaration, PipelineTriggerDeclaration,
    PipelineTriggerProviderType,
};
use pipewright_pipeline::triggers::{self, GitEvent, GitHappening};
use pipewright_runner::connections::{self, CONNECTION, Connection, Kept, Kind, is_name};
use serde::Serialize;
use serde_json::Value;

use super::deliveries::{Delivered, Delivery, is_same};
use super::warnings::Warnings;
use super::webhooks::random_key;
use super::{Context, Service, ServiceError, notifications};
use crate::config::account_number;
use crate::notify::{Method, Outgoing, USER_AGENT, Unsent};
use hosts::Told;

/// Of each account.
const CONNECTIONS_COUNT_MAX: usize = 100;
/// The digits of a whole commit id, of SHA-1.
const COMMIT_DIGITS: usize = 40;

/// A connection as it is shown: where its secrets are is not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub name: String,
    pub arn: String,
    pub kind: Kind,
    pub address: String,
    pub has_secret: bool,
    pub has_webhook_secret: bool,
    /// Its commits are told how the executions fare that fetched them.
    pub status: bool,
    /// Where the host is to tell of what happens.
    pub url: String,
    /// It is of the server's configuration, and changes there.
    pub configured: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct ConnectionList {
    pub connections: Vec<Shown>,
}

fn part(name: &str) -> String {
    format!("{CONNECTION}{name}")
}

async fn all(service: &Service, account: u64) -> Result<BTreeMap<String, Kept>, ServiceError> {
    let kept = service.driver().account_parts(account, CONNECTION).await?;
    let read = |(name, bytes): (String, Bytes)| Ok((name, serde_json::from_slice(&bytes).map_err(ServiceError::host)?));
    kept.into_iter().map(read).collect()
}

async fn keep(
    service: &Service,
    account: u64,
    name: &str,
    kept: Option<&Kept>,
    cause: &Cause,
) -> Result<(), ServiceError> {
    let bytes = kept.map(serde_json::to_vec).transpose().map_err(ServiceError::host)?.map(Bytes::from);
    service.driver().put_account_part(account, &part(name), bytes, cause).await?;
    // Whether its sources are looked at depends on it, and what is told of its commits.
    service.changes.of_plugins();
    let is_told = kept.is_some_and(|kept| kept.connection.status);
    notifications::connection_changed(service, account, name, is_told, cause).await
}

pub async fn list(service: &Service, context: &Context) -> Result<ConnectionList, ServiceError> {
    let account = context.account_id();
    let shown = |(name, Kept { connection, key, configured }): (String, Kept)| Shown {
        arn: format!("arn:aws:codeconnections:{}:{account}:connection/{name}", service.region()),
        kind: connection.kind,
        address: connection.address().to_owned(),
        has_secret: connection.secret.is_some(),
        has_webhook_secret: connection.webhook_secret.is_some(),
        status: connection.status,
        url: format!("{}/v1/connections/{account}/{name}/{key}", service.public_address),
        configured,
        name,
    };
    Ok(ConnectionList { connections: all(service, context.account).await?.into_iter().map(shown).collect() })
}

/// The account that is meant, where it is not one's own.
fn account_of(service: &Service, context: &Context, account: Option<&str>) -> Result<u64, ServiceError> {
    let Some(text) = account else { return Ok(context.account) };
    let account = account_number(text).filter(|account| service.host.accounts().contains(account));
    account.ok_or_else(|| ServiceError::validation(format!("There is no account {text:?} on this host")))
}

/// Makes a connection, or changes what it is; its address stays.
pub async fn put(
    service: &Service,
    context: &Context,
    account: Option<&str>,
    name: &str,
    connection: Connection,
) -> Result<(), ServiceError> {
    let account = account_of(service, context, account)?;
    if !is_name(name) {
        return Err(ServiceError::validation(format!(
            "{name:?}: a connection's name has letters, digits and hyphens, at most 64"
        )));
    }
    connection.check().map_err(ServiceError::validation)?;
    let is_absolute = |place: &Option<connections::SecretPlace>| {
        place.iter().filter_map(|place| place.file.as_ref()).all(|file| file.is_absolute())
    };
    if !is_absolute(&connection.secret) || !is_absolute(&connection.webhook_secret) {
        return Err(ServiceError::validation("file: give the whole path, on the server's machine"));
    }
    let _changing = service.changing.webhooks.lock().await;
    let kept = all(service, account).await?;
    let key = match kept.get(name) {
        Some(Kept { configured: true, .. }) => return Err(is_configured(name)),
        Some(before) => before.key.clone(),
        None if kept.len() >= CONNECTIONS_COUNT_MAX => {
            let message = format!("The account has {CONNECTIONS_COUNT_MAX} connections, which is its limit");
            return Err(ServiceError::Limit(message));
        }
        None => random_key()?,
    };
    let kept = Kept { connection, key, configured: false };
    keep(service, account, name, Some(&kept), &context.cause).await
}

/// What keeps the sources of a connection from what it leads to, as far as that is seen without a repository: its host is asked
/// once, without its secret, and the secret is read once.
pub async fn warnings(
    service: &Service,
    context: &Context,
    account: Option<&str>,
    connection: &Connection,
) -> Result<Warnings, ServiceError> {
    let account = account_of(service, context, account)?;
    let address = connection.address();
    let asked = Outgoing {
        method: Method::GET,
        url: address.to_owned(),
        headers: vec![("user-agent", USER_AGENT.to_owned())],
        body: Bytes::new(),
        private: connection.private,
    };
    let mend = "correct --address, or let the server reach it; what names the connection fails until then";
    let unreached = match service.notify.post(asked).await {
        Ok(()) | Err(Unsent::Answered(_)) => None,
        Err(error @ Unsent::NotPublic(_)) => {
            Some(format!("{address} leads to {error}: nothing is fetched from there without --private"))
        }
        Err(error) => Some(format!("{address} does not answer: {error}: {mend}")),
    };
    let unread = match &connection.secret {
        Some(_) => statuses::token(service, account, connection).await.err(),
        None => None,
    };
    Ok(Warnings { warnings: unreached.into_iter().chain(unread).collect() })
}

fn is_configured(name: &str) -> ServiceError {
    let message = format!("The connection {name} is of the server's configuration: change it there");
    ServiceError::refused("ConflictException", message)
}

pub async fn remove(
    service: &Service,
    context: &Context,
    account: Option<&str>,
    name: &str,
) -> Result<(), ServiceError> {
    let account = account_of(service, context, account)?;
    let _changing = service.changing.webhooks.lock().await;
    match all(service, account).await?.get(name) {
        None => Err(ServiceError::not_found(format!("There is no connection {name}"))),
        Some(Kept { configured: true, .. }) => Err(is_configured(name)),
        Some(_) => keep(service, account, name, None, &context.cause).await,
    }
}

/// Brings the connections of the server's configuration to the accounts' records, once, at the start.
pub async fn configure(
    service: &Service,
    configured: BTreeMap<u64, BTreeMap<String, Connection>>,
) -> Result<(), ServiceError> {
    let cause = Cause::host("server", Source::Start);
    for account in service.host.accounts().iter() {
        let wanted = configured.get(account).cloned().unwrap_or_default();
        let kept = all(service, *account).await?;
        for name in
            kept.iter().filter(|(name, kept)| kept.configured && !wanted.contains_key(*name)).map(|(name, _)| name)
        {
            keep(service, *account, name, None, &cause).await?;
        }
        for (name, connection) in wanted {
            let key = kept.get(&name).map_or_else(random_key, |before| Ok(before.key.clone()))?;
            let kept = Kept { connection, key, configured: true };
            keep(service, *account, &name, Some(&kept), &cause).await?;
        }
    }
    Ok(())
}

/// The connection at an address, by the parts of its path.
pub async fn at(
    service: &Service,
    account: &str,
    name: &str,
    key: &str,
) -> Result<(u64, (String, Kept)), ServiceError> {
    let nothing = || ServiceError::not_found("There is nothing at this path");
    let account =
        account_number(account).filter(|account| service.host.accounts().contains(account)).ok_or_else(nothing)?;
    let kept = service.driver().account_part(account, &part(name)).await?.ok_or_else(nothing)?;
    let kept: Kept = serde_json::from_slice(&kept).map_err(ServiceError::host)?;
    if is_same(key, &kept.key) { Ok((account, (name.to_owned(), kept))) } else { Err(nothing()) }
}

/// A host tells of something: starts the pipelines that are for it (S236 to S238). What it says again starts nothing again.
pub async fn deliver(
    service: &Service,
    account: u64,
    (name, Kept { connection, key, .. }): (String, Kept),
    delivery: Delivery,
) -> Result<Delivered, ServiceError> {
    let mut context = Context::of_host("connection", Source::Webhook, account);
    context.cause.request.clone_from(&delivery.request);
    let denied = |reason: &str| ServiceError::refused("AccessDeniedException", reason);
    let kind = connection.kind;
    let stored = service.host.actions.secrets.values(account, connection.stored()).await.map_err(ServiceError::host)?;
    let place = connection.webhook_secret;
    let place = place.ok_or_else(|| denied("The connection has no webhook secret, and takes no deliveries"))?;
    let secret = service.work().blocking(move || place.read(&stored)).await.map_err(ServiceError::host)?;
    if !hosts::is_proven(kind, secret.expose(), &delivery) {
        return Err(denied("The delivery does not prove that it is by who knows the connection's webhook secret"));
    }
    let content = delivery.content();
    let told = service.work().blocking(move || {
        let body: Value = serde_json::from_slice(&delivery.body)?;
        Ok::<_, serde_json::Error>(hosts::events(kind, &delivery, &body))
    });
    let told = told.await.map_err(|error| {
        ServiceError::validation(format!(
            "The body is no JSON ({error}); deliver with the content type application/json"
        ))
    })?;
    let mut outcomes = Outcomes::default();
    if told.is_empty() {
        return Ok(Delivered::Unmatched);
    }
    for (pipeline_name, pipeline) in service.driver().pipelines(account).await? {
        // One that cannot be read starts by nothing.
        let Ok(Some(declaration)) = service.driver().declaration(pipeline).await else { continue };
        for (number, told) in told.iter().enumerate() {
            let of = Of { service, context: &context, pipeline, declaration: &declaration, connection: &name, told };
            for (action, trigger) in of.triggers() {
                let token = format!("connection:{key}:{number}:{}:{content}", action.name);
                // Boxed: it is large, and this function is deep already.
                let started = Box::pin(of.start(action, &trigger, token)).await;
                outcomes.add(&pipeline_name, started);
            }
        }
    }
    outcomes.end()
}

/// What came of the pipelines that an event could be for.
#[derive(Default)]
struct Outcomes {
    started: usize,
    replayed: usize,
    failed: Option<ServiceError>,
}

impl Outcomes {
    fn add(&mut self, pipeline: &str, outcome: Result<Delivered, ServiceError>) {
        match outcome {
            Ok(Delivered::Started(count)) => self.started += count,
            Ok(Delivered::Replayed) => self.replayed += 1,
            Ok(Delivered::Unmatched) => {}
            Err(error) => {
                tracing::warn!("an event does not start {pipeline}: {error}");
                self.failed = Some(error);
            }
        }
    }

    /// What failed may succeed when it is delivered again, and then the others start nothing.
    fn end(self) -> Result<Delivered, ServiceError> {
        match (self.failed, self.started, self.replayed) {
            (Some(error), ..) => Err(error),
            (None, 0, 0) => Ok(Delivered::Unmatched),
            (None, 0, _) => Ok(Delivered::Replayed),
            (None, count, _) => Ok(Delivered::Started(count)),
        }
    }
}

/// An event, and a pipeline that it could be for.
struct Of<'a> {
    service: &'a Service,
    context: &'a Context,
    pipeline: Aggregate,
    declaration: &'a PipelineDeclaration,
    connection: &'a str,
    told: &'a Told,
}

impl<'a> Of<'a> {
    /// The source actions of the repository, each with what starts the pipeline for it: what the declaration says, or else a push to
    /// its branch.
    fn triggers(&self) -> Vec<(&'a ActionDeclaration, PipelineTriggerDeclaration)> {
        let actions = self.declaration.stages.first().into_iter().flat_map(|stage| &stage.actions);
        let of_repository = actions.filter(|action| {
            let configuration = action.configuration.as_ref();
            let named = configuration.and_then(|it| connections::named(&action.action_type_id, it));
            named.is_some_and(|it| {
                it.is_needed && it.connection == self.connection && it.repository == self.told.repository
            })
        });
        let declared = self.declaration.triggers.as_deref().unwrap_or_default();
        let trigger = |action: &ActionDeclaration| {
            let is_for =
                |trigger: &&PipelineTriggerDeclaration| trigger.git_configuration.source_action_name == action.name;
            match declared {
                [] if detects_changes(action) => Some(on_pushes(action)),
                declared => declared.iter().find(is_for).cloned(),
            }
        };
        of_repository.filter_map(|action| Some((action, trigger(action)?))).collect()
    }

    async fn start(
        &self,
        action: &ActionDeclaration,
        trigger: &PipelineTriggerDeclaration,
        token: String,
    ) -> Result<Delivered, ServiceError> {
        let branch = action.configuration.as_ref().and_then(|it| it.get("BranchName")).map(String::as_str);
        let mut event = GitEvent { what: self.told.what.clone(), commit: self.told.commit.clone(), files: None };
        if triggers::matches(trigger, branch, &event).is_none() {
            return Ok(Delivered::Unmatched);
        }
        let driver = self.service.driver();
        if driver.started_by(self.pipeline, &token).await?.is_some() {
            return Ok(Delivered::Replayed);
        }
        event.commit = self.commit(action).await?;
        if has_file_paths(trigger) {
            event.files = self.files(action, &event.commit).await;
        }
        let Some(why) = triggers::matches(trigger, branch, &event) else { return Ok(Delivered::Unmatched) };
        let request = triggers::start(trigger, &event, &why);
        let name = &self.declaration.name;
        let started = driver.start(self.pipeline, request, Some(token.into()), Vec::new(), &self.context.cause).await;
        let execution = started.map_err(|error| self.context.refused(name, error))?;
        tracing::info!(pipeline = %self.pipeline, %execution, "{why} of {} starts {name}", self.told.repository);
        Ok(Delivered::Started(1))
    }

    /// The whole id of the event's commit.
    async fn commit(&self, action: &ActionDeclaration) -> Result<String, ServiceError> {
        let told = &self.told.commit;
        if !told.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ServiceError::validation(format!("The commit {told:?} is no id")));
        }
        if told.len() >= COMMIT_DIGITS {
            return Ok(told.clone());
        }
        let tip = match &self.told.what {
            GitHappening::PullRequest { from, .. } => self.tip(action, from).await,
            GitHappening::Push { branch } => self.tip(action, branch).await,
            GitHappening::Tag { .. } => None,
        };
        tip.filter(|tip| tip.starts_with(told.as_str())).ok_or_else(|| {
            ServiceError::validation(format!(
                "The commit {told} is not the newest of its branch, and its whole id is not told"
            ))
        })
    }

    /// The newest commit of a branch, as the repository has it.
    async fn tip(&self, action: &ActionDeclaration, branch: &str) -> Option<String> {
        let mut action = action.clone();
        action.configuration.get_or_insert_default().insert("BranchName".to_owned(), branch.to_owned());
        let (actions, pipeline, declaration) =
            (self.service.host.actions.clone(), self.pipeline, self.declaration.clone());
        let latest = self.service.work().run(async move { actions.latest(pipeline, &declaration, &action).await });
        match latest.await {
            Ok(latest) => latest.map(|latest| latest.id),
            Err(error) => {
                tracing::warn!("the newest commit of {branch} of {} is not known: {error}", self.told.repository);
                None
            }
        }
    }

    /// What the event changed, by comparing what is in the repository: what the host says of it is not believed, and is cut short
    /// where it is long. None where there is nothing to compare with.
    async fn files(&self, action: &ActionDeclaration, commit: &str) -> Option<Vec<String>> {
        let base = match (&self.told.base, &self.told.what) {
            (Some(base), _) => base.clone(),
            // What was merged is in the branch already.
            (None, GitHappening::PullRequest { what, into, .. }) if *what != GitPullRequestEventType::Closed => {
                self.tip(action, into).await?
            }
            (None, _) => return None,
        };
        let (actions, pipeline, declaration) =
            (self.service.host.actions.clone(), self.pipeline, self.declaration.clone());
        let (action, commit) = (action.clone(), commit.to_owned());
        let compared = self
            .service
            .work()
            .run(async move { actions.changed(pipeline, &declaration, &action, [&base, &commit]).await });
        match compared.await {
            Ok(files) => Some(files),
            Err(error) => {
                tracing::warn!("what changed in {} is not known, and may be anything: {error}", self.told.repository);
                None
            }
        }
    }
}

/// Unless its configuration says `DetectChanges` and something else than `true`.
pub fn detects_changes(action: &ActionDeclaration) -> bool {
    let said = action.configuration.as_ref().and_then(|it| it.get("DetectChanges"));
    said.is_none_or(|said| said.eq_ignore_ascii_case("true"))
}

/// A trigger without filters.
fn on_pushes(action: &ActionDeclaration) -> PipelineTriggerDeclaration {
    PipelineTriggerDeclaration {
        provider_type: PipelineTriggerProviderType::CodeStarSourceConnection,
        git_configuration: GitConfiguration { source_action_name: action.name.clone(), push: None, pull_request: None },
    }
}

fn has_file_paths(trigger: &PipelineTriggerDeclaration) -> bool {
    let git = &trigger.git_configuration;
    git.push.iter().flatten().any(|filter| filter.file_paths.is_some())
        || git.pull_request.iter().flatten().any(|filter| filter.file_paths.is_some())
}

impl Service {
    /// The connection of a name, as it is now.
    pub(super) async fn connection(&self, account: u64, name: &str) -> Result<Option<Connection>, ServiceError> {
        let kept = self.driver().account_part(account, &part(name)).await?;
        let kept = kept.map(|bytes| serde_json::from_slice::<Kept>(&bytes)).transpose();
        Ok(kept.map_err(ServiceError::host)?.map(|kept| kept.connection))
    }
}

/// Whether a source action is looked at because its host tells of nothing: its connection has no webhook secret (S239).
pub async fn is_untold(service: &Service, account: u64, action: &ActionDeclaration) -> bool {
    let named = action.configuration.as_ref().and_then(|it| connections::named(&action.action_type_id, it));
    let Some(named) = named.filter(|named| named.is_needed && detects_changes(action)) else { return false };
    let kept = service.driver().account_part(account, &part(&named.connection)).await.ok().flatten();
    let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    kept.is_some_and(|kept| kept.connection.webhook_secret.is_none())
}

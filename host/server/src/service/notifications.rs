//! The targets of an account's notifications, how far each was told, and what it could not be told (S145 to S149).
//!
//! Owns what is kept of a target. Must not know when something is delivered, or how (`notify`).

use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::Cause;
use pipewright_engine::driver::DriverError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pipewright_runner::connections::{self, CONNECTION};
use pipewright_runner::stored_secrets::SecretError;

use super::events::{self, FeedEvent};
use super::{Context, Service, ServiceError};
use crate::notify::{self, SigningSecret, Target, To, is_address};

/// Targets of one account, besides those of the configuration. Each is a reader of all of its events.
const TARGETS_COUNT_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 40;
const URL_BYTES_MAX: usize = 2048;
/// Events that a target could not be told; with one more, the oldest goes. Stops a target that refuses everything from filling the
/// account's record.
const DEAD_LETTERS_COUNT_MAX: usize = 1000;
/// Of why one was given up.
const REASON_BYTES_MAX: usize = 500;

/// Parts of the account's record, each followed by the target's name. Secrets are where no export takes them.
const TARGET: &str = "target/";
const SECRET: &str = "key/target/";
const CURSOR: &str = "cursor/";
const DEAD: &str = "dead/";

/// A target as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    created: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutTarget {
    pub url: String,
    /// One is made where there is none yet.
    #[serde(default)]
    pub secret: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PutTargetOutput {
    /// The one that was made, which is never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Why nothing arrives there as things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TargetList {
    pub targets: Vec<TargetSummary>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSummary {
    pub name: String,
    pub url: String,
    pub configured: bool,
    /// Since the start of the host.
    pub delivered: u64,
    /// Times are in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivered: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailingSummary>,
    pub failed: usize,
}

/// What is being tried again.
#[derive(Clone, Debug, Serialize)]
pub struct FailingSummary {
    pub attempts: u32,
    pub reason: String,
    pub next: u64,
}

/// An event that was given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    pub event: String,
    /// What it is of, in words.
    pub about: String,
    pub attempts: u32,
    pub reason: String,
    /// In milliseconds since 1970.
    pub given_up: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct FailedList {
    pub failed: Vec<Failed>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    pub id: String,
    #[serde(flatten)]
    pub letter: DeadLetter,
}

impl DeadLetter {
    pub fn of(told: &FeedEvent, attempts: u32, mut reason: String, now: u64) -> Self {
        pipewright_text::cut_bytes(&mut reason, REASON_BYTES_MAX);
        Self { event: told.id.clone(), about: about(&told.event), attempts, reason, given_up: now }
    }
}

/// An event in a few words.
fn about(event: &Value) -> String {
    let (detail, text) = (&event["detail"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
    if event["Subject"].is_string() {
        return text(&event["Subject"]);
    }
    let of = ["pipeline", "stage", "action", "state"].iter().map(|key| text(&detail[*key]));
    of.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn none(name: &str) -> ServiceError {
    ServiceError::not_found(format!("There is no target {name:?} of notifications"))
}

/// Those of the configuration, which are the operators' account's, and those that the account made.
pub async fn targets(service: &Service, account: u64) -> Result<Vec<Target>, DriverError> {
    let mut targets = Vec::new();
    if account == service.operator {
        for (name, (url, secret)) in &service.notify.configured.targets {
            let created = created(service, account, name).await?;
            let (name, to) = (name.clone(), To::Address { url: url.clone(), secret: secret.clone() });
            targets.push(Target { account, name, to, created, configured: true });
        }
    }
    let configured = targets.len();
    for (name, kept) in service.driver().account_parts(account, TARGET).await? {
        let damaged = || DriverError::Damaged(format!("the target {name} of notifications"));
        let kept: Kept = serde_json::from_slice(&kept).map_err(|_| damaged())?;
        // One of the configuration takes its place; and after an import it has none until it is put again.
        let secrets = &service.host.actions.secrets;
        let secret = secrets.key(service.driver(), account, &format!("{SECRET}{name}")).await.map_err(unopened)?;
        let secret = secret.and_then(|secret| SigningSecret::read(&String::from_utf8_lossy(&secret)).ok());
        if let Some(secret) = secret.filter(|_| !targets[..configured].iter().any(|target| target.name == name)) {
            let Kept { url, created } = kept;
            targets.push(Target { account, name, to: To::Address { url, secret }, created, configured: false });
        }
    }
    for (connection, kept) in service.driver().account_parts(account, CONNECTION).await? {
        let damaged = || DriverError::Damaged(format!("the connection {connection}"));
        let kept: connections::Kept = serde_json::from_slice(&kept).map_err(|_| damaged())?;
        if kept.connection.status {
            let name = of_connection(&connection);
            let created = created(service, account, &name).await?;
            let to = To::Host { connection, is: Box::new(kept.connection) };
            targets.push(Target { account, name, to, created, configured: kept.configured });
        }
    }
    Ok(targets)
}

fn unopened(error: SecretError) -> DriverError {
    match error {
        SecretError::Driver(error) => error,
        error => DriverError::Damaged(error.to_string()),
    }
}

/// What the target is called that tells a connection's host of commits; no other can have the name.
fn of_connection(connection: &str) -> String {
    format!("connection:{connection}")
}

/// A connection was made, changed or removed, and its host is told of commits from now on, or no more.
pub(super) async fn connection_changed(
    service: &Service,
    account: u64,
    connection: &str,
    is_told: bool,
    cause: &Cause,
) -> Result<(), ServiceError> {
    let name = of_connection(connection);
    let first = format!("{CURSOR}{name}/first");
    if !is_told && service.driver().account_part(account, &first).await?.is_some() {
        forget(service, account, &name, cause).await?;
        service.driver().put_account_part(account, &first, None, cause).await?;
    }
    service.notify.changed();
    Ok(())
}

/// Since when one is told that is no part of its own: since it was known first.
async fn created(service: &Service, account: u64, name: &str) -> Result<u64, DriverError> {
    let now = service.driver().clock().now_ms();
    let cause = Cause::host("notifier", pipewright_base::Source::Start);
    let first = Bytes::from(now.to_string());
    let kept = service.driver().keep_account_part(account, &format!("{CURSOR}{name}/first"), first, &cause).await?;
    Ok(String::from_utf8_lossy(&kept).parse().unwrap_or(now))
}

/// Where the events of a target go on.
pub async fn cursor(service: &Service, target: &Target) -> Result<String, ServiceError> {
    let kept = service.driver().account_part(target.account, &format!("{CURSOR}{}", target.name)).await?;
    let kept = kept.map(|kept| String::from_utf8_lossy(&kept).into_owned());
    let at = |cursor: &String| cursor.split('.').next().and_then(|at| at.parse::<u64>().ok());
    // One that was left behind by a target that had the name before does not count.
    let kept = kept.filter(|cursor| at(cursor).is_some_and(|at| at >= target.created));
    Ok(kept.unwrap_or_else(|| target.created.to_string()))
}

pub async fn keep_cursor(service: &Service, target: &Target, cursor: &str, cause: &Cause) -> Result<(), ServiceError> {
    let (key, cursor) = (format!("{CURSOR}{}", target.name), Bytes::copy_from_slice(cursor.as_bytes()));
    Ok(service.driver().put_account_part(target.account, &key, Some(cursor), cause).await?)
}

/// Before the cursor goes on: nothing is lost in between.
pub async fn give_up(
    service: &Service,
    target: &Target,
    cursor: &str,
    letter: &DeadLetter,
    cause: &Cause,
) -> Result<(), ServiceError> {
    let (driver, prefix) = (service.driver(), dead(&target.name));
    let letter = Bytes::from(serde_json::to_vec(letter).map_err(ServiceError::host)?);
    driver.put_account_part(target.account, &format!("{prefix}{cursor}"), Some(letter), cause).await?;
    let kept = driver.account_parts(target.account, &prefix).await?;
    for (oldest, _) in kept.iter().take(kept.len().saturating_sub(DEAD_LETTERS_COUNT_MAX)) {
        driver.put_account_part(target.account, &format!("{prefix}{oldest}"), None, cause).await?;
    }
    Ok(())
}

fn dead(name: &str) -> String {
    format!("{DEAD}{name}/")
}

pub async fn list(service: &Service, context: &Context) -> Result<TargetList, ServiceError> {
    let mut summaries = Vec::new();
    for Target { account, name, to, configured, .. } in targets(service, context.account).await? {
        let status = service.notify.status(account, &name);
        let failing =
            status.failing.map(|it| FailingSummary { attempts: it.attempts, reason: it.reason, next: it.next });
        let failed = service.driver().account_parts(account, &dead(&name)).await?.len();
        let (url, delivered, last_delivered) = (to.url().to_owned(), status.delivered, status.last);
        summaries.push(TargetSummary { name, url, configured, delivered, last_delivered, failing, failed });
    }
    Ok(TargetList { targets: summaries })
}

/// Makes a target, which is told of what happens from now on; or changes one, which misses nothing.
pub async fn put(
    service: &Service,
    context: &Context,
    name: &str,
    input: PutTarget,
) -> Result<PutTargetOutput, ServiceError> {
    let (account, driver) = (context.account, service.driver());
    let given = input.secret.as_deref().map(SigningSecret::read).transpose();
    let given = given.map_err(|problem| ServiceError::validation(format!("secret: {problem}")))?;
    check_name(name)?;
    if input.url.len() > URL_BYTES_MAX || !is_address(&input.url) {
        let message =
            format!("url: write an http or https address of at most {URL_BYTES_MAX} bytes, without a user in it");
        return Err(ServiceError::validation(message));
    }
    let _alone = service.changing.targets.lock().await;
    let there = targets(service, account).await?;
    let before = there.iter().find(|target| target.name == name);
    if before.is_some_and(|target| target.configured) {
        return Err(ServiceError::validation(format!("The target {name:?} is the configuration's, and changed there")));
    }
    if before.is_none() {
        let is_own = |target: &&Target| !target.configured && matches!(target.to, To::Address { .. });
        if there.iter().filter(is_own).count() >= TARGETS_COUNT_MAX {
            return Err(ServiceError::Limit(format!(
                "An account has at most {TARGETS_COUNT_MAX} targets of notifications"
            )));
        }
        forget(service, account, name, &context.cause).await?;
    }
    let made = match (before, &given) {
        (None, None) => Some(SigningSecret::generate().map_err(ServiceError::host)?),
        _ => None,
    };
    if let Some(secret) = made.as_ref().or(given.as_ref()) {
        let (secrets, text) = (&service.host.actions.secrets, secret.expose());
        let put = secrets.put_key(driver, account, &format!("{SECRET}{name}"), text.as_bytes(), &context.cause).await;
        put.map_err(|error| super::secrets::told(service, context, error))?;
    }
    let created = before.map_or_else(|| driver.clock().now_ms(), |target| target.created);
    let warning = service.notify.forbidden(&input.url);
    let kept = serde_json::to_vec(&Kept { url: input.url, created }).map_err(ServiceError::host)?;
    driver.put_account_part(account, &format!("{TARGET}{name}"), Some(kept.into()), &context.cause).await?;
    service.notify.changed();
    Ok(PutTargetOutput { secret: made.map(|secret| secret.expose()), warning })
}

/// It is told nothing more, and what it could not be told is forgotten.
pub async fn remove(service: &Service, context: &Context, name: &str) -> Result<(), ServiceError> {
    let _alone = service.changing.targets.lock().await;
    match find(service, context, name).await? {
        Target { to: To::Host { connection, .. }, .. } => Err(ServiceError::validation(format!(
            "The target {name:?} is there as long as the connection {connection} has `status`"
        ))),
        Target { configured: true, .. } => {
            Err(ServiceError::validation(format!("The target {name:?} is the configuration's, and removed there")))
        }
        _ => {
            forget(service, context.account, name, &context.cause).await?;
            service.notify.changed();
            Ok(())
        }
    }
}

async fn forget(service: &Service, account: u64, name: &str, cause: &Cause) -> Result<(), ServiceError> {
    let (driver, prefix) = (service.driver(), dead(name));
    let letters = driver.account_parts(account, &prefix).await?;
    let own = [TARGET, SECRET, CURSOR].map(|kind| format!("{kind}{name}"));
    for part in own.into_iter().chain(letters.into_iter().map(|(letter, _)| format!("{prefix}{letter}"))) {
        driver.put_account_part(account, &part, None, cause).await?;
    }
    Ok(())
}

async fn find(service: &Service, context: &Context, name: &str) -> Result<Target, ServiceError> {
    let targets = targets(service, context.account).await?;
    targets.into_iter().find(|target| target.name == name).ok_or_else(|| none(name))
}

/// The oldest first.
pub async fn failed(service: &Service, context: &Context, name: &str) -> Result<FailedList, ServiceError> {
    find(service, context, name).await?;
    let letters = service.driver().account_parts(context.account, &dead(name)).await?;
    let failed = letters
        .into_iter()
        .filter_map(|(id, letter)| Some(Failed { id, letter: serde_json::from_slice(&letter).ok()? }));
    Ok(FailedList { failed: failed.collect() })
}

/// Delivers what was given up once more, now.
pub async fn retry(service: &Arc<Service>, context: &Context, name: &str, id: &str) -> Result<(), ServiceError> {
    let target = find(service, context, name).await?;
    let part = format!("{}{id}", dead(name));
    let Some(letter) = service.driver().account_part(context.account, &part).await? else {
        return Err(ServiceError::not_found(format!("There is no failed delivery {id:?} of {name:?}")));
    };
    let attempts = serde_json::from_slice(&letter).map_or(0, |letter: DeadLetter| letter.attempts);
    let Some(told) = events::again(service, context, id).await? else {
        service.driver().put_account_part(context.account, &part, None, &context.cause).await?;
        return Err(ServiceError::not_found("The history of that time is kept no more, and the event with it"));
    };
    match notify::deliver(service, &target, &told, attempts.saturating_add(1)).await {
        Ok(_) => Ok(service.driver().put_account_part(context.account, &part, None, &context.cause).await?),
        Err(unsent) => Err(ServiceError::validation(format!("{name} did not take it: {unsent}"))),
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), ServiceError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        let message = format!("name: write 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`");
        return Err(ServiceError::validation(message));
    }
    Ok(())
}

//! The keys that a server makes at its first start: each account's administrator's access key, and what signs the tokens of pages.
//!
//! Owns their forms, and the file in which users' tools find the access keys. Must not know how keys are sealed.

use std::path::Path;

use anyhow::Context as _;
use pipewright_aws::auth::{AccessKey, Secret, profile};
use pipewright_base::{Cause, Mistake, Source};
use pipewright_engine::driver::PAGE_KEY;
use pipewright_runner::host::Host;

use crate::service::Pages;

/// The user whose key the first start makes.
const ADMINISTRATOR: &str = "administrator";
/// A part of the account's record.
const KEY: &str = "key/administrator";

fn at_start() -> Cause {
    Cause::host("server", Source::Start)
}

/// Those of earlier versions are sealed.
async fn check(host: &Host) -> anyhow::Result<()> {
    let checked = host.actions.secrets.check_keys(&host.driver, &at_start()).await;
    Ok(checked.map_err(|error| Mistake::of(format_args!("{error}")))?)
}

/// Each account's own administrator has a key, which is written beside the data for the users' tools. The profile of
/// the first account is `default`; the others' are called by their ids. To be called before any key is used.
pub async fn administrators(host: &Host, credentials: &Path) -> anyhow::Result<Vec<(u64, AccessKey)>> {
    check(host).await?;
    let mut keys = Vec::new();
    let mut profiles = Vec::new();
    for account in host.accounts().iter() {
        let key = administrator(host, *account).await?;
        let profile = if keys.is_empty() { profile::DEFAULT.to_owned() } else { format!("{account:012}") };
        profiles.push((profile, key.clone()));
        keys.push((*account, key));
    }
    profile::write_credentials(credentials, &profiles)
        .with_context(|| format!("cannot write {}", credentials.display()))?;
    Ok(keys)
}

async fn administrator(host: &Host, account: u64) -> anyhow::Result<AccessKey> {
    let made = AccessKey::generate(ADMINISTRATOR)?;
    let text = format!("{}\n{}", made.id, made.secret.expose());
    let secrets = &host.actions.secrets;
    let kept = secrets.keep_key(&host.driver, account, KEY, text.as_bytes(), &at_start()).await?;
    let text = std::str::from_utf8(&kept).context("the administrator's key is damaged")?;
    let (id, secret) = text.split_once('\n').context("the administrator's key is damaged")?;
    Ok(AccessKey { id: id.to_owned(), secret: Secret::new(secret), user: ADMINISTRATOR.to_owned() })
}

/// The same from start to start, so that a list goes on.
pub async fn pages(host: &Host, operator: u64) -> anyhow::Result<Pages> {
    let mut made = [0; 32];
    getrandom::fill(&mut made)?;
    let kept = host.actions.secrets.keep_key(&host.driver, operator, PAGE_KEY, &made, &at_start()).await?;
    Ok(Pages(kept[..].try_into().context("what signs the tokens of pages is damaged")?))
}

//! The secrets of accounts: named values, sealed, in the accounts' own records.
//!
//! Owns what is kept of one, its versions, and how the key that seals all of them is changed. Must not know who may do so, nor who
//! is given a value (the grants).
//!
//! A secret is one part of its account's record, so that each change of it is one durable commit, with its principal and its cause.

mod keys;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::Cause;
use pipewright_engine::driver::{Driver, DriverError, SECRETS};
use pipewright_sandbox::capabilities::secrets::stored::{Stored, StoredSecret};
use pipewright_sandbox::grants::SecretValue;
use pipewright_store::{Aggregate, PartKey, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::secret_keys::{KeyError, KeyRing, Sealed, SecretKeys};

/// Of one account.
pub const SECRETS_MAX: usize = 500;
/// Of one secret; the oldest one makes room.
pub const VERSIONS_MAX: usize = 10;
pub const NAME_BYTES_MAX: usize = 256;
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Of all versions of all secrets of one account, as they are kept. Stops an account from filling the host's memory, in which its
/// record is.
pub const ACCOUNT_BYTES_MAX: usize = 8 << 20;

/// The secrets of all accounts of a host.
pub struct StoredSecrets {
    keys: SecretKeys,
    store: Arc<dyn Store>,
    /// Held while anything changes: what is kept then depends on what was there.
    changing: Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The caller's to mend.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    NotFound(String),
    /// More than there may be.
    #[error("{0}")]
    Limit(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("what is kept of the secret {0:?} is damaged")]
    Damaged(String),
}

/// What anybody is told of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    pub name: String,
    /// The newest first.
    pub versions: Vec<AboutVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AboutVersion {
    pub version: u64,
    /// In milliseconds since 1970.
    pub created: u64,
    /// Who kept it.
    pub by: String,
}

/// As it is kept: the part `secret/NAME`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The newest last.
    versions: Vec<KeptVersion>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptVersion {
    number: u64,
    created: u64,
    by: String,
    sealed: Sealed,
}

impl Kept {
    fn read(name: &str, bytes: &[u8]) -> Result<Self, SecretError> {
        serde_json::from_slice(bytes).map_err(|_| SecretError::Damaged(name.to_owned()))
    }

    fn bytes(&self, name: &str) -> Result<Bytes, SecretError> {
        let bytes = serde_json::to_vec(self).map_err(|_| SecretError::Damaged(name.to_owned()))?;
        Ok(bytes.into())
    }

    fn open(&self, account: u64, name: &str, ring: &KeyRing) -> Result<StoredSecret, SecretError> {
        let open = |version: &KeptVersion| {
            let value = ring.open(&place(account, name, version.number), &version.sealed)?;
            let value = String::from_utf8(value).map_err(|_| SecretError::Damaged(name.to_owned()))?;
            Ok::<_, SecretError>((version.number, SecretValue::new(value)))
        };
        Ok(StoredSecret::new(self.versions.iter().map(open).collect::<Result<_, _>>()?))
    }
}

/// What a sealed value is bound to.
fn place(account: u64, name: &str, version: u64) -> String {
    format!("version {version} of the secret {name:?} of account {account:012}")
}

fn part(name: &str) -> String {
    format!("{SECRETS}{name}")
}

/// Those that Secrets Manager and Parameter Store allow; no colon, which ends a name in a reference.
fn check_name(name: &str) -> Result<(), SecretError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_allowed) {
        return Err(SecretError::Refused(format!(
            "the name of a secret has 1 to {NAME_BYTES_MAX} characters of a-z, A-Z, 0-9 and /_+=.@-"
        )));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), SecretError> {
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(SecretError::Refused(format!("the value of a secret has 1 to {VALUE_BYTES_MAX} bytes")));
    }
    Ok(())
}

impl StoredSecrets {
    pub fn new(keys: SecretKeys, store: Arc<dyn Store>) -> Self {
        Self { keys, store, changing: Mutex::default() }
    }

    /// The values of those of an account's secrets that have these names, for a call that is granted them.
    ///
    /// # Errors
    /// Something is to be mended by those who run the host.
    pub async fn values(&self, account: u64, names: BTreeSet<String>) -> Result<Stored, String> {
        let mut stored = Stored::new();
        if names.is_empty() {
            return Ok(stored);
        }
        let ring = self.ring(SecretKeys::read).await.map_err(|error| error.to_string())?;
        for name in names {
            let key = PartKey::Live(part(&name).into());
            let kept = self.store.get(Aggregate::of_account(account), &key).await.map_err(|error| error.to_string())?;
            let Some(bytes) = kept else { continue };
            let kept = Kept::read(&name, &bytes).map_err(|error| error.to_string())?;
            stored.insert(name.clone(), kept.open(account, &name, &ring).map_err(|error| error.to_string())?);
        }
        Ok(stored)
    }

    pub async fn list(&self, driver: &Driver, account: u64) -> Result<Vec<About>, SecretError> {
        let parts = driver.account_parts(account, SECRETS).await?;
        let about = |(name, bytes): (String, Bytes)| {
            let kept = Kept::read(&name, &bytes)?;
            let about = |KeptVersion { number, created, by, .. }| AboutVersion { version: number, created, by };
            Ok(About { name, versions: kept.versions.into_iter().rev().map(about).collect() })
        };
        parts.into_iter().map(about).collect()
    }

    /// Keeps a new version, and gives its number.
    pub async fn set(
        &self,
        driver: &Driver,
        account: u64,
        name: &str,
        value: &str,
        cause: &Cause,
    ) -> Result<u64, SecretError> {
        check_name(name)?;
        check_value(value)?;
        let _changing = self.changing.lock().await;
        let parts = driver.account_parts(account, SECRETS).await?;
        let there = parts.iter().find(|(there, _)| there == name);
        if there.is_none() && parts.len() >= SECRETS_MAX {
            return Err(SecretError::Limit(format!("an account has at most {SECRETS_MAX} secrets")));
        }
        let mut kept = there.map_or(Ok(Kept::default()), |(_, bytes)| Kept::read(name, bytes))?;
        let ring = self.ring(SecretKeys::for_sealing).await?;
        let number = kept.versions.last().map_or(1, |newest| newest.number + 1);
        let sealed = ring.seal(&place(account, name, number), value.as_bytes())?;
        let (created, by) = (driver.clock().now_ms(), cause.principal.to_string());
        kept.versions.push(KeptVersion { number, created, by, sealed });
        let surplus = kept.versions.len().saturating_sub(VERSIONS_MAX);
        kept.versions.drain(..surplus);
        let bytes = kept.bytes(name)?;
        let others = parts.iter().filter(|(there, _)| there != name).map(|(_, bytes)| bytes.len()).sum::<usize>();
        if others + bytes.len() > ACCOUNT_BYTES_MAX {
            return Err(SecretError::Limit(format!(
                "the secrets of an account have at most {ACCOUNT_BYTES_MAX} bytes together, with all versions: remove some"
            )));
        }
        driver.put_account_part(account, &part(name), Some(bytes), cause).await?;
        Ok(number)
    }

    /// Takes a secret away, or one version of it.
    pub async fn remove(
        &self,
        driver: &Driver,
        account: u64,
        name: &str,
        version: Option<u64>,
        cause: &Cause,
    ) -> Result<(), SecretError> {
        let _changing = self.changing.lock().await;
        let there = driver.account_part(account, &part(name)).await?;
        let bytes = there.ok_or_else(|| SecretError::NotFound(format!("there is no secret {name:?}")))?;
        let rest = match version {
            None => None,
            Some(version) => {
                let mut kept = Kept::read(name, &bytes)?;
                let Some(newest) = kept.versions.last().map(|newest| newest.number) else {
                    return Err(SecretError::Damaged(name.to_owned()));
                };
                if version == newest {
                    return Err(SecretError::Refused(format!(
                        "version {version} of {name:?} is the newest one: set another first, or remove the secret"
                    )));
                }
                let before = kept.versions.len();
                kept.versions.retain(|kept| kept.number != version);
                if kept.versions.len() == before {
                    return Err(SecretError::NotFound(format!("there is no version {version} of {name:?}")));
                }
                Some(kept.bytes(name)?)
            }
        };
        Ok(driver.put_account_part(account, &part(name), rest, cause).await?)
    }

    /// All that anything is kept of, also those that the host serves no more.
    async fn accounts(&self) -> Result<Vec<u64>, DriverError> {
        let (mut accounts, mut after) = (Vec::new(), None);
        while let Some(next) = self.store.aggregates(after, 1).await?.first() {
            accounts.push(next.account);
            after = Some(Aggregate { account: next.account, uid: [u8::MAX; 16] });
        }
        Ok(accounts)
    }

    /// Seals all that is kept with a new key, or, where somebody else keeps the file of keys, with the first one of it; gives the
    /// name of that key and how many secrets there are. Wherever this is interrupted, the file has all keys that are in use, and
    /// beginning again ends it.
    pub async fn rotate(&self, driver: &Driver, cause: &Cause) -> Result<(String, usize), SecretError> {
        let _changing = self.changing.lock().await;
        let ring = match self.keys.is_own() {
            true => self.ring(|keys| keys.read().and_then(|ring| keys.with_new(&ring))).await?,
            false => self.ring(SecretKeys::for_sealing).await?,
        };
        let mut count = 0;
        for account in self.accounts().await? {
            keys::reseal(driver, account, &ring, cause).await?;
            for (name, bytes) in driver.account_parts(account, SECRETS).await? {
                let mut kept = Kept::read(&name, &bytes)?;
                for version in &mut kept.versions {
                    let place = place(account, &name, version.number);
                    version.sealed = ring.seal(&place, &ring.open(&place, &version.sealed)?)?;
                }
                driver.put_account_part(account, &part(&name), Some(kept.bytes(&name)?), cause).await?;
                count += 1;
            }
        }
        let id = ring.id().unwrap_or_default();
        if self.keys.is_own() {
            self.ring(move |keys| keys.forget_others(&ring).map(|()| ring)).await?;
        }
        Ok((id, count))
    }

    /// Files are read and written apart from the threads that answer.
    async fn ring(
        &self,
        what: impl FnOnce(&SecretKeys) -> Result<KeyRing, KeyError> + Send + 'static,
    ) -> Result<KeyRing, KeyError> {
        let keys = self.keys.clone();
        let done = tokio::task::spawn_blocking(move || what(&keys)).await;
        done.unwrap_or_else(|error| Err(KeyError::lost(&error)))
    }
}

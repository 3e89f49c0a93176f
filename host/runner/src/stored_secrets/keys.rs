//! The keys that the host itself has of an account, sealed as stored secrets are: access keys, what signs notifications, and what
//! signs the tokens of pages and jobs.
//!
//! Owns how such a part of an account's record is kept, and the sealing of those that earlier versions kept as they were. Must not
//! know what any of them is for.

use bytes::Bytes;
use pipewright_base::Cause;
use pipewright_engine::driver::{Driver, DriverError, KEYS, PAGE_KEY};

use super::{SecretError, StoredSecrets};
use crate::secret_keys::{KeyRing, Sealed, SecretKeys};

/// What a sealed one is bound to.
fn place(account: u64, part: &str) -> String {
    format!("{part:?} of account {account:012}")
}

async fn parts(driver: &Driver, account: u64) -> Result<Vec<(String, Bytes)>, DriverError> {
    let keys = driver.account_parts(account, KEYS).await?;
    let page_key = driver.account_part(account, PAGE_KEY).await?;
    let keys = keys.into_iter().map(|(name, bytes)| (format!("{KEYS}{name}"), bytes));
    Ok(keys.chain(page_key.map(|bytes| (PAGE_KEY.to_owned(), bytes))).collect())
}

/// None is what an earlier version kept as it was, which is nowhere the JSON of this.
fn sealed(bytes: &[u8]) -> Option<Sealed> {
    serde_json::from_slice(bytes).ok()
}

fn seal(ring: &KeyRing, account: u64, part: &str, value: &[u8]) -> Result<Bytes, SecretError> {
    let sealed = ring.seal(&place(account, part), value)?;
    Ok(serde_json::to_vec(&sealed).map_err(|_| SecretError::Damaged(part.to_owned()))?.into())
}

fn open(ring: &KeyRing, account: u64, part: &str, bytes: &[u8]) -> Result<Vec<u8>, SecretError> {
    let sealed = sealed(bytes).ok_or_else(|| SecretError::Damaged(part.to_owned()))?;
    Ok(ring.open(&place(account, part), &sealed)?)
}

/// Seals those of an account with the first key, what an earlier version kept as it was, too.
pub(super) async fn reseal(driver: &Driver, account: u64, ring: &KeyRing, cause: &Cause) -> Result<(), SecretError> {
    for (part, bytes) in parts(driver, account).await? {
        let value = match sealed(&bytes) {
            Some(_) => open(ring, account, &part, &bytes)?,
            None => bytes.into(),
        };
        driver.put_account_part(account, &part, Some(seal(ring, account, &part, &value)?), cause).await?;
    }
    Ok(())
}

impl StoredSecrets {
    /// Makes sure that every key can be opened, and seals those that an earlier version kept as they were: once, at the start, before
    /// any other use of them.
    pub async fn check_keys(&self, driver: &Driver, cause: &Cause) -> Result<(), SecretError> {
        let _changing = self.changing.lock().await;
        let ring = self.ring(SecretKeys::read).await?;
        let mut unsealed = Vec::new();
        for account in self.accounts().await? {
            for (part, bytes) in parts(driver, account).await? {
                match sealed(&bytes) {
                    Some(_) => drop(open(&ring, account, &part, &bytes)?),
                    None => unsealed.push((account, part, bytes)),
                }
            }
        }
        // Only now may a first key be made: none that there was is missing.
        for (account, part, value) in unsealed {
            let ring = self.ring(SecretKeys::for_sealing).await?;
            driver.put_account_part(account, &part, Some(seal(&ring, account, &part, &value)?), cause).await?;
        }
        Ok(())
    }

    pub async fn key(&self, driver: &Driver, account: u64, part: &str) -> Result<Option<Vec<u8>>, SecretError> {
        // While all are sealed with another key, each is found with the key that opens it.
        let _changing = self.changing.lock().await;
        let Some(bytes) = driver.account_part(account, part).await? else { return Ok(None) };
        Ok(Some(open(&self.ring(SecretKeys::read).await?, account, part, &bytes)?))
    }

    pub async fn put_key(
        &self,
        driver: &Driver,
        account: u64,
        part: &str,
        value: &[u8],
        cause: &Cause,
    ) -> Result<(), SecretError> {
        let _changing = self.changing.lock().await;
        let sealed = seal(&self.ring(SecretKeys::for_sealing).await?, account, part, value)?;
        Ok(driver.put_account_part(account, part, Some(sealed), cause).await?)
    }

    /// Keeps a key where there is none yet, and gives the one that is there. To be called by one at a time for a part.
    pub async fn keep_key(
        &self,
        driver: &Driver,
        account: u64,
        part: &str,
        made: &[u8],
        cause: &Cause,
    ) -> Result<Vec<u8>, SecretError> {
        if let Some(there) = self.key(driver, account, part).await? {
            return Ok(there);
        }
        self.put_key(driver, account, part, made, cause).await?;
        Ok(made.to_owned())
    }
}

//! Which pipelines an account has: names to the uids under which the store keeps them.
//!
//! Must not know what is in a pipeline.

use bytes::Bytes;

use super::{Driver, DriverError};
use crate::store::{Aggregate, Commit, CommitError, PartKey};

const PREFIX: &str = "pipeline/";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPipeline {
    pub name: String,
    pub aggregate: Aggregate,
}

impl Driver {
    /// The account's pipelines, in the order of their names.
    pub async fn pipelines(&self, account: u64) -> Result<Vec<NamedPipeline>, DriverError> {
        let loaded = self.0.store.load(Aggregate::of_account(account)).await?;
        let named = loaded.parts.iter().filter_map(|(key, uid)| {
            let PartKey::Live(key) = key else { return None };
            let name = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
            Some(NamedPipeline {
                name: name.to_owned(),
                aggregate: Aggregate { account, uid: uid[..].try_into().ok()? },
            })
        });
        Ok(named.collect())
    }

    /// The pipeline of this name; its uid is drawn where there is none. It exists from its `Create` on: a host that dies in
    /// between leaves a name with nothing behind it, which the next call finds again.
    pub async fn named(&self, account: u64, name: &str) -> Result<Aggregate, DriverError> {
        let owner = Aggregate::of_account(account);
        let key = PartKey::Live(format!("{PREFIX}{name}").into());
        loop {
            let loaded = self.0.store.load(owner).await?;
            if let Some((_, uid)) = loaded.parts.iter().find(|(part, _)| *part == key) {
                let uid =
                    uid[..].try_into().map_err(|_| DriverError::Damaged(format!("the uid of pipeline {name}")))?;
                return Ok(Aggregate { account, uid });
            }
            let uid: [u8; 16] = super::random()?;
            let puts = vec![(key.clone(), Some(Bytes::copy_from_slice(&uid)))];
            let commit =
                Commit { aggregate: owner, expected: loaded.sequence, puts, events: Vec::new(), index: Vec::new() };
            match self.0.store.commit(commit).await {
                Ok(_) => return Ok(Aggregate { account, uid }),
                // Another pipeline of the account was named meanwhile.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

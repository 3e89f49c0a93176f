//! Which pipelines an account has: names to the uids under which the store keeps them, and what else is the account's own.
//!
//! Owns the account's aggregate. Must not know what is in a pipeline.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio::sync::RwLock;

use super::{Driver, DriverError};
use pipewright_store::{Aggregate, Commit, PartKey, Store};

const PIPELINE: &str = "pipeline/";

/// The accounts that were asked for, as their aggregates have them. Every change goes through here, so that finding a
/// pipeline needs no read of the store.
#[derive(Default)]
pub(super) struct Accounts(RwLock<HashMap<u64, Account>>);

#[derive(Default)]
struct Account {
    sequence: u64,
    parts: BTreeMap<String, Bytes>,
}

impl Account {
    async fn load(store: &dyn Store, account: u64) -> Result<Self, DriverError> {
        let loaded = store.load(Aggregate::of_account(account)).await?;
        let text = |(key, value)| match key {
            PartKey::Live(key) => String::from_utf8(key.into()).ok().map(|key| (key, value)),
            PartKey::Archived(_) => None,
        };
        Ok(Self { sequence: loaded.sequence, parts: loaded.parts.into_iter().filter_map(text).collect() })
    }

    async fn loaded<'a>(
        accounts: &'a mut HashMap<u64, Self>,
        store: &dyn Store,
        account: u64,
    ) -> Result<&'a mut Self, DriverError> {
        match accounts.entry(account) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => Ok(unknown.insert(Self::load(store, account).await?)),
        }
    }
}

impl Driver {
    /// The account's pipelines, in the order of their names.
    pub async fn pipelines(&self, account: u64) -> Result<Vec<(String, Aggregate)>, DriverError> {
        self.with_account(account, |parts| {
            let pipelines = parts.range(PIPELINE.to_owned()..).map_while(|(key, uid)| {
                let name = key.strip_prefix(PIPELINE)?;
                Some((name.to_owned(), Aggregate { account, uid: uid[..].try_into().ok()? }))
            });
            pipelines.collect()
        })
        .await
    }

    pub async fn pipelines_count(&self, account: u64) -> Result<usize, DriverError> {
        let named = |parts: &BTreeMap<String, Bytes>| {
            parts.range(PIPELINE.to_owned()..).take_while(|(key, _)| key.starts_with(PIPELINE)).count()
        };
        self.with_account(account, named).await
    }

    /// Where the store keeps the pipeline of this name. A host that died while it made or deleted the pipeline leaves a name
    /// with an empty state behind.
    pub async fn find(&self, account: u64, name: &str) -> Result<Option<Aggregate>, DriverError> {
        let uid = self.account_part(account, &format!("{PIPELINE}{name}")).await?;
        let aggregate = |uid: Bytes| match uid[..].try_into() {
            Ok(uid) => Ok(Aggregate { account, uid }),
            Err(_) => Err(DriverError::Damaged(format!("the uid of pipeline {name}"))),
        };
        uid.map(aggregate).transpose()
    }

    /// The same; its uid is drawn where there is none. The pipeline exists from its `Create` on.
    pub async fn named(&self, account: u64, name: &str) -> Result<Aggregate, DriverError> {
        loop {
            if let Some(found) = self.find(account, name).await? {
                return Ok(found);
            }
            self.rename(account, name, None, Some(super::random()?)).await?;
        }
    }

    /// Gives a name to another uid, or to none, if it still has the one it is thought to have.
    pub(super) async fn rename(
        &self,
        account: u64,
        name: &str,
        from: Option<Aggregate>,
        to: Option<[u8; 16]>,
    ) -> Result<(), DriverError> {
        let key = format!("{PIPELINE}{name}");
        let from = from.map(|aggregate| Bytes::copy_from_slice(&aggregate.uid));
        self.change_account(account, key, from, to.map(|uid| Bytes::copy_from_slice(&uid))).await.map(drop)
    }

    /// A part of the account's own record.
    pub async fn account_part(&self, account: u64, key: &str) -> Result<Option<Bytes>, DriverError> {
        self.with_account(account, |parts| parts.get(key).cloned()).await
    }

    /// The parts of the account's own record whose keys start with `prefix`, without it.
    pub async fn account_parts(&self, account: u64, prefix: &str) -> Result<Vec<(String, Bytes)>, DriverError> {
        self.with_account(account, |parts| {
            let parts = parts.range(prefix.to_owned()..);
            parts.map_while(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
        })
        .await
    }

    /// Keeps a part where there is none yet, and gives the one that is there.
    pub async fn keep_account_part(&self, account: u64, key: &str, value: Bytes) -> Result<Bytes, DriverError> {
        // Changing waits for whoever reads; most often there is nothing to change.
        if let Some(kept) = self.account_part(account, key).await? {
            return Ok(kept);
        }
        let kept = self.change_account(account, key.to_owned(), None, Some(value)).await?;
        kept.ok_or_else(|| DriverError::Damaged(format!("the account's {key}")))
    }

    /// Puts a part in the place of what was there, or takes it away.
    pub async fn put_account_part(&self, account: u64, key: &str, value: Option<Bytes>) -> Result<(), DriverError> {
        loop {
            let before = self.account_part(account, key).await?;
            if before == value || self.change_account(account, key.to_owned(), before, value.clone()).await? == value {
                return Ok(());
            }
        }
    }

    async fn with_account<T>(
        &self,
        account: u64,
        read: impl FnOnce(&BTreeMap<String, Bytes>) -> T,
    ) -> Result<T, DriverError> {
        if let Some(loaded) = self.0.accounts.0.read().await.get(&account) {
            return Ok(read(&loaded.parts));
        }
        let mut accounts = self.0.accounts.0.write().await;
        Ok(read(&Account::loaded(&mut accounts, &*self.0.store, account).await?.parts))
    }

    /// Changes a part if it is what it is thought to be; gives what it is afterwards.
    async fn change_account(
        &self,
        account: u64,
        key: String,
        from: Option<Bytes>,
        to: Option<Bytes>,
    ) -> Result<Option<Bytes>, DriverError> {
        let mut accounts = self.0.accounts.0.write().await;
        let loaded = Account::loaded(&mut accounts, &*self.0.store, account).await?;
        if loaded.parts.get(&key) != from.as_ref() {
            return Ok(loaded.parts.get(&key).cloned());
        }
        let commit = Commit {
            aggregate: Aggregate::of_account(account),
            expected: loaded.sequence,
            puts: vec![(PartKey::Live(Bytes::from(key.clone())), to.clone())],
            events: Vec::new(),
            index: Vec::new(),
        };
        match self.0.store.commit(commit).await {
            Ok(sequence) => loaded.sequence = sequence,
            // What is durable is known again only after it was read again.
            Err(error) => {
                accounts.remove(&account);
                return Err(error.into());
            }
        }
        match &to {
            Some(value) => drop(loaded.parts.insert(key, value.clone())),
            None => drop(loaded.parts.remove(&key)),
        }
        Ok(to)
    }
}

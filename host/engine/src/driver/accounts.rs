//! Which pipelines an account has: names to the uids under which the store keeps them, and what else is the account's own.
//!
//! Owns what is asked of an account. Must not know how its record is kept (`account`), nor what is in a pipeline.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::{Cause, Source};

use super::account::{AccountEntry, Change, PIPELINE, Parts, of_prefix};
use super::rows::{DeletedRow, Row as _};
use super::{Driver, DriverError};
use pipewright_store::{Aggregate, READ_ROWS_MAX};

/// The parts that hold the grants that executions pin, by their digests.
pub const GRANTS: &str = "grants/";
/// The parts that hold the account's secrets, sealed, by their names. They are not exported.
pub const SECRETS: &str = "secret/";
/// The parts that hold keys of the host's own, sealed: access keys, what signs notifications. They are not exported.
pub const KEYS: &str = "key/";
/// The part that holds what signs the tokens of pages and jobs, sealed. It is not exported.
pub const PAGE_KEY: &str = "page-key";
/// The part that says that all events of the account have their rows: the first versions wrote none.
const EVENTS_INDEXED: &str = "indexed/events";

impl Driver {
    /// The account's pipelines, in the order of their names.
    pub async fn pipelines(&self, account: u64) -> Result<Vec<(String, Aggregate)>, DriverError> {
        let parts = self.parts(account).await?;
        let pipelines = parts.range(PIPELINE.to_owned()..).map_while(|(key, uid)| {
            let name = key.strip_prefix(PIPELINE)?;
            Some((name.to_owned(), Aggregate { account, uid: uid[..].try_into().ok()? }))
        });
        Ok(pipelines.collect())
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
    pub async fn named(&self, account: u64, name: &str, cause: &Cause) -> Result<Aggregate, DriverError> {
        loop {
            if let Some(found) = self.find(account, name).await? {
                return Ok(found);
            }
            self.rename(account, name, None, Some(super::random()?), cause).await?;
        }
    }

    /// Gives a name to another uid, or to none, if it still has the one it is thought to have.
    pub(super) async fn rename(
        &self,
        account: u64,
        name: &str,
        from: Option<Aggregate>,
        to: Option<[u8; 16]>,
        cause: &Cause,
    ) -> Result<(), DriverError> {
        let change = Change::Name { name: name.to_owned(), from: from.map(|aggregate| aggregate.uid), to };
        self.change(account, change, cause).await.map(drop)
    }

    /// A part of the account's own record.
    pub async fn account_part(&self, account: u64, key: &str) -> Result<Option<Bytes>, DriverError> {
        Ok(self.parts(account).await?.get(key).cloned())
    }

    /// The parts of the account's own record whose keys start with `prefix`, without it.
    pub async fn account_parts(&self, account: u64, prefix: &str) -> Result<Vec<(String, Bytes)>, DriverError> {
        let parts = self.parts(account).await?;
        Ok(of_prefix(&parts, prefix).map(|(name, value)| (name.to_owned(), value.clone())).collect())
    }

    /// The part whose key starts and ends so.
    pub async fn account_part_between(
        &self,
        account: u64,
        prefix: &str,
        ending: &str,
    ) -> Result<Option<Bytes>, DriverError> {
        let parts = self.parts(account).await?;
        Ok(of_prefix(&parts, prefix).find(|(name, _)| name.ends_with(ending)).map(|(_, value)| value.clone()))
    }

    /// The keys of the parts that start with `prefix`, but for the last so many.
    pub async fn account_keys_before_last(
        &self,
        account: u64,
        prefix: &str,
        last: usize,
    ) -> Result<Vec<String>, DriverError> {
        let parts = self.parts(account).await?;
        let before = of_prefix(&parts, prefix).count().saturating_sub(last);
        Ok(of_prefix(&parts, prefix).take(before).map(|(name, _)| format!("{prefix}{name}")).collect())
    }

    /// Keeps a part where there is none yet, and gives the one that is there. What is kept so may be forgotten an hour later,
    /// unless an execution refers to it by then ([`Driver::forget_account_parts`]).
    pub async fn keep_account_part(
        &self,
        account: u64,
        key: &str,
        value: Bytes,
        cause: &Cause,
    ) -> Result<Bytes, DriverError> {
        let kept = self.change(account, Change::Keep { key: key.to_owned(), value }, cause).await?;
        kept.ok_or_else(|| DriverError::Damaged(format!("the account's {key}")))
    }

    /// Puts a part in the place of what was there, or takes it away.
    pub async fn put_account_part(
        &self,
        account: u64,
        key: &str,
        value: Option<Bytes>,
        cause: &Cause,
    ) -> Result<(), DriverError> {
        self.put_account_parts(account, vec![(key.to_owned(), value)], cause).await
    }

    /// The same of several, all of them or none.
    pub async fn put_account_parts(
        &self,
        account: u64,
        parts: Vec<(String, Option<Bytes>)>,
        cause: &Cause,
    ) -> Result<(), DriverError> {
        self.change(account, Change::Put(parts), cause).await.map(drop)
    }

    /// Takes away the parts of a prefix that nothing needs (named without it), unless they were kept again since `before`, in
    /// milliseconds since 1970. What is needed is to be read after that time was taken.
    pub async fn forget_account_parts(
        &self,
        account: u64,
        prefix: &str,
        needed: HashSet<String>,
        before: u64,
    ) -> Result<(), DriverError> {
        let cause = Cause::host("retention", Source::Timer);
        self.change(account, Change::Forget { prefix: prefix.to_owned(), needed, before }, &cause).await.map(drop)
    }

    /// What happened to an account's own record, from the sequence `from` on, at most `limit` of its commits, and the sequence
    /// to go on from; none where nothing is left. What the first versions did told nothing.
    pub async fn account_history(
        &self,
        account: u64,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<AccountEntry>, Option<u64>), DriverError> {
        let records = self.0.store.history(Aggregate::of_account(account), from, limit).await?;
        let entries = records.iter().filter_map(|record| AccountEntry::read(record).transpose());
        Ok((entries.collect::<Result<_, _>>()?, records.last().map(|record| record.sequence + 1)))
    }

    /// Gives the account's events the rows that a first version did not write; to be called once, at the start.
    pub async fn index_events(&self, account: u64) -> Result<(), DriverError> {
        if self.account_part(account, EVENTS_INDEXED).await?.is_some() {
            return Ok(());
        }
        let cause = Cause::host("driver", Source::Start);
        let named = self.pipelines(account).await?.into_iter().map(|(_, pipeline)| pipeline);
        let deleted = self.walk::<DeletedRow>(account, Bytes::new(), None).all().await?;
        let deleted = deleted.into_iter().map(|row| Aggregate { account, uid: row.uid });
        for pipeline in named.chain(deleted) {
            let mut from = 1;
            loop {
                let entries = self.history(pipeline, from, READ_ROWS_MAX).await?;
                let Some(last) = entries.last() else { break };
                from = last.sequence + 1;
                let rows = entries.iter().filter_map(|entry| Some(entry.event_row(pipeline)?.put())).collect();
                self.change(account, Change::Index { rows }, &cause).await?;
            }
        }
        self.put_account_part(account, EVENTS_INDEXED, Some(Bytes::from_static(b"1")), &cause).await
    }

    async fn parts(&self, account: u64) -> Result<Arc<Parts>, DriverError> {
        self.0.accounts.parts(&self.0.pen(), account).await
    }

    async fn change(&self, account: u64, change: Change, cause: &Cause) -> Result<Option<Bytes>, DriverError> {
        self.0.accounts.change(&self.0.pen(), account, change, cause.clone()).await
    }
}

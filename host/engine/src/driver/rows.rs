//! The rows of the index: what each kind is called and says, written and read in this one place.
//!
//! Owns the bytes. Must not know when a row is written (`index`), who lists it, or when it is collected (`retention`).
//!
//! Numbers in names are 8 bytes, big-endian; `!` is the complement, so that the newest row is the first. `uid` is the
//! pipeline's, `execution` and `action` are ids of 16 bytes.
//!
//! | kind        | name                                | value                                          |
//! |-------------|-------------------------------------|------------------------------------------------|
//! | Pipelines   | the pipeline's name                 | [`PipelineRow`] as JSON                        |
//! | Executions  | uid, !number                        | execution, sequence of its start               |
//! | Actions     | uid, !started, action, 0            | execution, sequence of its start               |
//! | Actions     | uid, !started, action, 1            | execution, sequence of its end                 |
//! | ActionsOf   | uid, execution, !started, action    | nothing                                        |
//! | Rules       | as of Actions, of rule executions   | the same                                       |
//! | RulesOf     | as of ActionsOf                     | nothing                                        |
//! | Artifacts   | SHA-256, uid, execution             | nothing                                        |
//! | Due         | uid                                 | when something is next due, 0 while an action runs |
//! | Polled      | uid                                 | nothing: a source action of it is polled         |
//! | Tokens      | uid, time of the start, SHA-256 of the token | nothing                               |
//! | Deleted     | time of the deletion, uid           | the pipeline's name                            |
//! | Events      | time, uid, sequence                 | nothing: the record has events                   |
//! | Jobs        | job                                 | uid, execution, action (`job_rows`)              |
//! | JobsOf      | uid, execution, job                 | nothing                                          |
//! | Queued      | SHA-256 of the action type, time, job | uid, action                                    |

use std::marker::PhantomData;

use bytes::Bytes;
use pipewright_pipeline::declaration::{ExecutionMode, PipelineType};
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::DriverError;
use pipewright_store::{IndexKey, List, READ_ROWS_MAX, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Pipelines = 1,
    Executions = 2,
    Actions = 3,
    ActionsOf = 4,
    Artifacts = 5,
    Due = 6,
    Polled = 7,
    Tokens = 8,
    Deleted = 9,
    Events = 10,
    Rules = 11,
    RulesOf = 12,
    Jobs = 13,
    JobsOf = 14,
    Queued = 15,
}

/// A row, or the name of one that goes.
pub type RowChange = (IndexKey, Option<Bytes>);

/// One kind of row.
pub trait Row: Sized {
    const KIND: Kind;

    fn name(&self) -> Bytes;

    fn value(&self) -> Bytes {
        Bytes::new()
    }

    /// `None` for what no version of this program wrote.
    fn parse(name: &[u8], value: &[u8]) -> Option<Self>;

    fn key(&self) -> IndexKey {
        IndexKey { kind: Self::KIND as u8, name: self.name() }
    }

    fn put(&self) -> RowChange {
        (self.key(), Some(self.value()))
    }

    fn delete(&self) -> RowChange {
        (self.key(), None)
    }
}

/// All rows of a prefix, in pages.
pub struct Walk<'a, R> {
    store: &'a dyn Store,
    list: List,
    of: PhantomData<R>,
}

impl<'a, R: Row> Walk<'a, R> {
    pub(crate) fn new(store: &'a dyn Store, account: u64, prefix: Bytes, after: Option<Bytes>) -> Self {
        let list = List { account, kind: R::KIND as u8, prefix, after, limit: READ_ROWS_MAX };
        Self { store, list, of: PhantomData }
    }

    /// At most so many in a page.
    pub(crate) fn by(mut self, limit: usize) -> Self {
        self.list.limit = limit;
        self
    }

    /// The next page; none are left exactly when it is empty.
    pub async fn page(&mut self) -> Result<Vec<R>, DriverError> {
        let rows = self.store.list(self.list.clone()).await?;
        if let Some((name, _)) = rows.last() {
            self.list.after = Some(name.clone());
        }
        let malformed = |name: &Bytes| {
            let (kind, account) = (R::KIND, self.list.account);
            DriverError::Damaged(format!("the row {} of {kind:?} in account {account:012}", name.escape_ascii()))
        };
        rows.iter().map(|(name, value)| R::parse(name, value).ok_or_else(|| malformed(name))).collect()
    }

    /// The next page that has rows, until none are left.
    pub async fn next(&mut self) -> Result<Option<Vec<R>>, DriverError> {
        let page = self.page().await?;
        Ok((!page.is_empty()).then_some(page))
    }

    /// All that are left: for prefixes that have few.
    pub(crate) async fn all(mut self) -> Result<Vec<R>, DriverError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

pub(super) type Uid = [u8; 16];

/// A pipeline as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRow {
    #[serde(skip)]
    pub name: String,
    pub version: u32,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_type: Option<PipelineType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_mode: Option<ExecutionMode>,
}

impl PipelineRow {
    pub(crate) fn key_of(name: &str) -> IndexKey {
        IndexKey { kind: Kind::Pipelines as u8, name: Bytes::copy_from_slice(name.as_bytes()) }
    }
}

impl Row for PipelineRow {
    const KIND: Kind = Kind::Pipelines;

    fn name(&self) -> Bytes {
        Bytes::copy_from_slice(self.name.as_bytes())
    }

    fn value(&self) -> Bytes {
        serde_json::to_vec(self).expect("numbers and words can be written").into()
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let name = String::from_utf8(name.to_vec()).ok()?;
        serde_json::from_slice(value).ok().map(|row| Self { name, ..row })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionRow {
    pub uid: Uid,
    pub number: u64,
    pub execution: ExecutionId,
    /// The sequence of its start.
    pub start: u64,
}

impl ExecutionRow {
    pub fn of(uid: &Uid) -> Bytes {
        Bytes::copy_from_slice(uid)
    }

    /// Behind the row of this number and of all newer ones.
    pub(crate) fn behind(uid: &Uid, number: u64) -> Bytes {
        join(&[uid, &newest_first(number)])
    }
}

impl Row for ExecutionRow {
    const KIND: Kind = Kind::Executions;

    fn name(&self) -> Bytes {
        Self::behind(&self.uid, self.number)
    }

    fn value(&self) -> Bytes {
        join(&[self.execution.as_bytes(), &self.start.to_be_bytes()])
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let (mut name, mut value) = (Fields(name), Fields(value));
        let row = Self {
            uid: name.take()?,
            number: !name.number()?,
            execution: ExecutionId::from_bytes(value.take()?),
            start: value.number()?,
        };
        name.end().and(value.end()).map(|()| row)
    }
}

/// An action execution's place among those of its pipeline or of its execution, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionKey {
    pub started: Timestamp,
    pub action: ActionExecutionId,
}

impl ActionKey {
    pub fn to_bytes(self) -> Vec<u8> {
        [&newest_first(self.started.0)[..], self.action.as_bytes()].concat()
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let place = fields.place()?;
        fields.end().map(|()| place)
    }
}

/// What a row of an action execution is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionEdge {
    Start = 0,
    End = 1,
}

/// Of an action execution, or with `IS_RULE` of a rule execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow<const IS_RULE: bool> {
    pub uid: Uid,
    pub place: ActionKey,
    pub which: ActionEdge,
    pub execution: ExecutionId,
    /// Of the record that tells of it.
    pub sequence: u64,
}

pub type ActionRow = RunRow<false>;
pub type RuleRow = RunRow<true>;

impl<const IS_RULE: bool> RunRow<IS_RULE> {
    pub fn of(uid: &Uid) -> Bytes {
        Bytes::copy_from_slice(uid)
    }

    /// Of one action execution.
    pub fn at(uid: &Uid, place: ActionKey) -> Bytes {
        join(&[uid, &place.to_bytes()])
    }

    /// Behind both rows of an action execution.
    pub fn behind(uid: &Uid, place: ActionKey) -> Bytes {
        join(&[uid, &place.to_bytes(), &[u8::MAX]])
    }
}

impl<const IS_RULE: bool> Row for RunRow<IS_RULE> {
    const KIND: Kind = if IS_RULE { Kind::Rules } else { Kind::Actions };

    fn name(&self) -> Bytes {
        join(&[&self.uid, &self.place.to_bytes(), &[self.which as u8]])
    }

    fn value(&self) -> Bytes {
        join(&[self.execution.as_bytes(), &self.sequence.to_be_bytes()])
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let (mut name, mut value) = (Fields(name), Fields(value));
        let row = Self {
            uid: name.take()?,
            place: name.place()?,
            which: match name.take::<1>()? {
                [0] => ActionEdge::Start,
                [1] => ActionEdge::End,
                _ => return None,
            },
            execution: ExecutionId::from_bytes(value.take()?),
            sequence: value.number()?,
        };
        name.end().and(value.end()).map(|()| row)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOfRow<const IS_RULE: bool> {
    pub uid: Uid,
    pub execution: ExecutionId,
    pub place: ActionKey,
}

pub type ActionOfRow = RunOfRow<false>;
pub type RuleOfRow = RunOfRow<true>;

impl<const IS_RULE: bool> RunOfRow<IS_RULE> {
    pub fn of(uid: &Uid, execution: ExecutionId) -> Bytes {
        join(&[uid, execution.as_bytes()])
    }
}

impl<const IS_RULE: bool> Row for RunOfRow<IS_RULE> {
    const KIND: Kind = if IS_RULE { Kind::RulesOf } else { Kind::ActionsOf };

    fn name(&self) -> Bytes {
        join(&[&self.uid, self.execution.as_bytes(), &self.place.to_bytes()])
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let (uid, execution) = (name.take()?, ExecutionId::from_bytes(name.take()?));
        let row = Self { uid, execution, place: name.place()? };
        name.end().map(|()| row)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    pub digest: [u8; 32],
    pub uid: Uid,
    pub execution: ExecutionId,
}

impl Row for ArtifactRow {
    const KIND: Kind = Kind::Artifacts;

    fn name(&self) -> Bytes {
        join(&[&self.digest, &self.uid, self.execution.as_bytes()])
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let (digest, uid) = (name.take()?, name.take()?);
        let row = Self { digest, uid, execution: ExecutionId::from_bytes(name.take()?) };
        name.end().map(|()| row)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRow {
    pub uid: Uid,
    /// In milliseconds since 1970; 0 while an action runs.
    pub at: u64,
}

impl Row for DueRow {
    const KIND: Kind = Kind::Due;

    fn name(&self) -> Bytes {
        Bytes::copy_from_slice(&self.uid)
    }

    fn value(&self) -> Bytes {
        Bytes::copy_from_slice(&self.at.to_be_bytes())
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        Some(Self { uid: name.try_into().ok()?, at: u64::from_be_bytes(value.try_into().ok()?) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolledRow {
    pub uid: Uid,
}

impl Row for PolledRow {
    const KIND: Kind = Kind::Polled;

    fn name(&self) -> Bytes {
        Bytes::copy_from_slice(&self.uid)
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        Some(Self { uid: name.try_into().ok()? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub uid: Uid,
    pub at: Timestamp,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
}

impl TokenRow {
    pub(crate) fn of(uid: &Uid) -> Bytes {
        Bytes::copy_from_slice(uid)
    }
}

impl Row for TokenRow {
    const KIND: Kind = Kind::Tokens;

    fn name(&self) -> Bytes {
        join(&[&self.uid, &self.at.0.to_be_bytes(), &self.digest])
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let row = Self { uid: name.take()?, at: Timestamp(name.number()?), digest: name.take()? };
        name.end().map(|()| row)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRow {
    pub at: Timestamp,
    pub uid: Uid,
    /// What it was called.
    pub pipeline: String,
}

impl DeletedRow {
    /// Behind all of before this time.
    pub fn since(at: u64) -> Bytes {
        Bytes::copy_from_slice(&at.to_be_bytes())
    }
}

impl Row for DeletedRow {
    const KIND: Kind = Kind::Deleted;

    fn name(&self) -> Bytes {
        join(&[&self.at.0.to_be_bytes(), &self.uid])
    }

    fn value(&self) -> Bytes {
        Bytes::copy_from_slice(self.pipeline.as_bytes())
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let (at, uid) = (Timestamp(name.number()?), name.take()?);
        name.end()?;
        Some(Self { at, uid, pipeline: String::from_utf8_lossy(value).into_owned() })
    }
}

/// A record of a pipeline that has events, in the order of the account's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub at: Timestamp,
    pub uid: Uid,
    pub sequence: u64,
}

impl EventRow {
    /// Behind all of before this time.
    pub fn since(at: u64) -> Bytes {
        Bytes::copy_from_slice(&at.to_be_bytes())
    }
}

impl Row for EventRow {
    const KIND: Kind = Kind::Events;

    fn name(&self) -> Bytes {
        join(&[&self.at.0.to_be_bytes(), &self.uid, &self.sequence.to_be_bytes()])
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let row = Self { at: Timestamp(name.number()?), uid: name.take()?, sequence: name.number()? };
        name.end().map(|()| row)
    }
}

pub(super) fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn newest_first(number: u64) -> [u8; 8] {
    (!number).to_be_bytes()
}

/// What is left of a name or a value.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn place(&mut self) -> Option<ActionKey> {
        let started = Timestamp(!self.number()?);
        Some(ActionKey { started, action: ActionExecutionId::from_bytes(self.take()?) })
    }

    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The very bytes of a row.
#[cfg(test)]
pub(super) fn check<R: Row + std::fmt::Debug + PartialEq>(row: &R, name: &str, value: &str) {
    let hex = |bytes: &[u8]| pipewright_base::hex::encode(bytes);
    assert_eq!((hex(&row.name()), hex(&row.value())), (name.replace(' ', ""), value.replace(' ', "")), "{row:?}");
    assert_eq!(R::parse(&row.name(), &row.value()).as_ref(), Some(row));
    let longer = [&row.name()[..], &[0]].concat();
    if R::KIND != Kind::Pipelines {
        assert_eq!(R::parse(&longer, &row.value()), None, "{row:?} with a byte more");
        assert_eq!(R::parse(&row.name()[..row.name().len() - 1], &row.value()), None, "{row:?} without a byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The very bytes that stores hold.
    #[test]
    fn rows_are_written_and_read_as_ever() {
        let uid = [0x11; 16];
        let (execution, action) = (ExecutionId::from_bytes([0x22; 16]), ActionExecutionId::from_bytes([0x33; 16]));
        let place = ActionKey { started: Timestamp(1), action };
        let (u, e, a) = ("11".repeat(16), "22".repeat(16), "33".repeat(16));
        check(
            &ExecutionRow { uid, number: 5, execution, start: 9 },
            &format!("{u} fffffffffffffffa"),
            &format!("{e} 0000000000000009"),
        );
        for (which, last) in [(ActionEdge::Start, "00"), (ActionEdge::End, "01")] {
            let name = format!("{u} fffffffffffffffe {a} {last}");
            check(&ActionRow { uid, place, which, execution, sequence: 9 }, &name, &format!("{e} 0000000000000009"));
            check(&RuleRow { uid, place, which, execution, sequence: 9 }, &name, &format!("{e} 0000000000000009"));
        }
        check(&ActionOfRow { uid, execution, place }, &format!("{u} {e} fffffffffffffffe {a}"), "");
        check(&RuleOfRow { uid, execution, place }, &format!("{u} {e} fffffffffffffffe {a}"), "");
        check(&ArtifactRow { digest: [0x44; 32], uid, execution }, &format!("{} {u} {e}", "44".repeat(32)), "");
        check(&DueRow { uid, at: 258 }, &u, "0000000000000102");
        check(&PolledRow { uid }, &u, "");
        let token = TokenRow { uid, at: Timestamp(258), digest: [0x44; 32] };
        check(&token, &format!("{u} 0000000000000102 {}", "44".repeat(32)), "");
        check(
            &DeletedRow { at: Timestamp(258), uid, pipeline: "p".to_owned() },
            &format!("0000000000000102 {u}"),
            "70",
        );
        check(
            &EventRow { at: Timestamp(258), uid, sequence: 9 },
            &format!("0000000000000102 {u} 0000000000000009"),
            "",
        );
        let (created, updated, pipeline_type, execution_mode) = (Timestamp(1), Timestamp(2), None, None);
        let row = PipelineRow { name: "p".to_owned(), version: 3, created, updated, pipeline_type, execution_mode };
        let json = pipewright_base::hex::encode(serde_json::to_vec(&row).unwrap());
        check(&row, "70", &json);
        assert_eq!(ActionKey::read(&place.to_bytes()), Some(place));
    }
}

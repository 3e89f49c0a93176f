//! Reading aggregates out of anything that holds rows in the order of their keys. Knows the layout; knows no backend.

use super::layout::{self, BODY_AT, Head, PREFIX_BYTES, VALUE_AT};
use super::{
    Aggregate, Digest, List, Loaded, PartDigest, PartKey, READ_BYTES_MAX, READ_ROWS_MAX, Record, Snapshot, StoreError,
    Verified,
};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

pub(super) trait Rows {
    type Value: AsRef<[u8]>;

    fn get(&self, key: &[u8]) -> Result<Option<Self::Value>, StoreError>;

    /// Visits the rows from the key `from` on, in order, for as long as `visit` answers true.
    fn scan(&self, from: &[u8], visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>) -> Result<(), StoreError>;
}

pub(super) fn head<R: Rows>(rows: &R, aggregate: Aggregate) -> Result<Head, StoreError> {
    match rows.get(&layout::row_key(&layout::prefix(aggregate), layout::HEAD, &[]))? {
        None => Ok(Head::default()),
        Some(row) => Head::decode(row.as_ref()).ok_or_else(|| damaged(aggregate, "head", "it is malformed")),
    }
}

pub(super) fn load<R: Rows>(rows: &R, aggregate: Aggregate) -> Result<Loaded, StoreError> {
    at_rest(rows, aggregate, |head| {
        check_head(rows, aggregate, head)?;
        Ok(Loaded { sequence: head.sequence, parts: live_parts(rows, aggregate, head)? })
    })
}

fn live_parts<R: Rows>(rows: &R, aggregate: Aggregate, head: Head) -> Result<Vec<(PartKey, Bytes)>, StoreError> {
    let mut parts = Vec::new();
    each_part(rows, aggregate, layout::LIVE, &[], |name, value, _| {
        parts.push((PartKey::Live(name), value));
        true
    })?;
    match head.sequence == 0 && !parts.is_empty() {
        true => Err(damaged(aggregate, "head", "it is missing")),
        false => Ok(parts),
    }
}

/// The keys of the live parts that have further chunks, and how many.
pub(super) fn long_parts<R: Rows>(rows: &R, aggregate: Aggregate) -> Result<HashMap<Vec<u8>, u16>, StoreError> {
    let prefix = layout::row_key(&layout::prefix(aggregate), layout::LIVE, &[]);
    let mut long = HashMap::new();
    rows.scan(&prefix, |key, row| {
        if !key.starts_with(&prefix) {
            return Ok(false);
        }
        if let further @ 1.. = layout::further_chunks_of(row).unwrap_or(0) {
            long.insert(key.to_vec(), further);
        }
        Ok(true)
    })?;
    Ok(long)
}

/// The archived parts after the name `after`, at most `limit` and about [`READ_BYTES_MAX`].
pub(super) fn archived<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    after: Option<&Bytes>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    // The first name after another is that with a zero byte.
    let from = after.map(|after| [after, &[0][..]].concat()).unwrap_or_default();
    at_rest(rows, aggregate, |_| {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        let limit = limit.min(READ_ROWS_MAX);
        each_part(rows, aggregate, layout::ARCHIVED, &from, |name, value, _| {
            bytes += value.len();
            parts.push((name, value));
            parts.len() < limit && bytes < READ_BYTES_MAX
        })?;
        Ok(parts)
    })
}

pub(super) fn snapshot<R: Rows>(rows: &R, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError> {
    at_rest(rows, aggregate, |head| {
        let mut archived = BTreeMap::new();
        for sequence in since.max(head.trimmed) + 1..=head.sequence {
            for (key, _) in read_record(rows, aggregate, sequence)?.changes {
                if matches!(key, PartKey::Archived(_)) {
                    let row_key = layout::part_key(&layout::prefix(aggregate), &key);
                    archived.insert(key, stored_part(rows, aggregate, &row_key)?);
                }
            }
        }
        let mut taken = Vec::new();
        each_taken(rows, aggregate, head.trimmed + 1, |sequence, key| taken.push((sequence, key)))?;
        Ok(Snapshot {
            sequence: head.sequence,
            digest: head.digest,
            trimmed: head.trimmed,
            trimmed_digest: head.trimmed_digest,
            live: live_parts(rows, aggregate, head)?,
            archived: archived.into_iter().collect(),
            taken,
        })
    })
}

fn each_taken<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    from: u64,
    mut visit: impl FnMut(u64, PartKey),
) -> Result<(), StoreError> {
    let prefix = layout::row_key(&layout::prefix(aggregate), layout::TAKEN, &[]);
    rows.scan(&[&prefix[..], &from.to_be_bytes()].concat(), |key, _| {
        if !key.starts_with(&prefix) {
            return Ok(false);
        }
        let (sequence, part) =
            layout::taken_of(key).ok_or_else(|| damaged(aggregate, "a part that was taken out", "it is malformed"))?;
        visit(sequence, part);
        Ok(true)
    })
}

/// The aggregates after one, in the order of their keys.
pub(super) fn aggregates<R: Rows>(
    rows: &R,
    after: Option<Aggregate>,
    limit: usize,
) -> Result<Vec<Aggregate>, StoreError> {
    let mut found = Vec::new();
    let mut from = after.map(after_aggregate).unwrap_or_default();
    while found.len() < limit.min(READ_ROWS_MAX)
        && let Some(aggregate) = next_aggregate(rows, &from)?
    {
        found.push(aggregate);
        from = after_aggregate(aggregate);
    }
    Ok(found)
}

fn after_aggregate(aggregate: Aggregate) -> Vec<u8> {
    match u128::from_be_bytes(aggregate.uid).checked_add(1) {
        Some(uid) => layout::prefix(Aggregate { uid: uid.to_be_bytes(), ..aggregate }).to_vec(),
        None => layout::aggregates_end(aggregate.account).to_vec(),
    }
}

pub(super) fn get<R: Rows>(rows: &R, aggregate: Aggregate, key: &PartKey) -> Result<Option<Bytes>, StoreError> {
    let key = layout::part_key(&layout::prefix(aggregate), key);
    at_rest(rows, aggregate, |_| stored_part(rows, aggregate, &key))
}

fn stored_part<R: Rows>(rows: &R, aggregate: Aggregate, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let Some(row) = rows.get(key)? else { return Ok(None) };
    Ok(Some(read_part(rows, aggregate, key, row.as_ref())?.0))
}

pub(super) fn history<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    from: u64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut before = head(rows, aggregate)?;
    loop {
        let page = page_of_history(rows, aggregate, before, from, limit);
        // Records never change; one that is missing may have been trimmed meanwhile.
        let after = if page.is_err() { head(rows, aggregate)? } else { before };
        if after.trimmed == before.trimmed {
            return page;
        }
        before = after;
    }
}

fn page_of_history<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    head: Head,
    from: u64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    let mut bytes = 0;
    for sequence in from.max(head.trimmed + 1)..=head.sequence {
        if records.len() >= limit.min(READ_ROWS_MAX) || bytes >= READ_BYTES_MAX {
            break;
        }
        let record = read_record(rows, aggregate, sequence)?;
        check_link(aggregate, &record, records.last().map(|before| before.digest), head)?;
        bytes += record.events.iter().map(Bytes::len).sum::<usize>();
        records.push(record);
    }
    Ok(records)
}

pub(super) fn list<R: Rows>(rows: &R, list: &List) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let kind = layout::index_prefix(list.account, list.kind);
    let prefix = [&kind[..], &list.prefix].concat();
    let after = list.after.as_ref().map(|after| [&kind[..], after].concat()).unwrap_or_default();
    let limit = list.limit.min(READ_ROWS_MAX);
    let mut listed = Vec::new();
    rows.scan(prefix.as_slice().max(&after), |key, value| {
        if listed.len() >= limit || !key.starts_with(&prefix) {
            return Ok(false);
        }
        if key > after.as_slice() {
            listed.push((Bytes::copy_from_slice(&key[kind.len()..]), Bytes::copy_from_slice(value)));
        }
        Ok(true)
    })?;
    Ok(listed)
}

/// The first aggregate whose key is not before `from`.
fn next_aggregate<R: Rows>(rows: &R, from: &[u8]) -> Result<Option<Aggregate>, StoreError> {
    let mut found = None;
    let mut from = from.to_vec();
    loop {
        let mut account_passed = None;
        rows.scan(&from, |key, _| {
            found = layout::aggregate_of(key);
            account_passed = match found {
                None => key.first_chunk().map(|account| u64::from_be_bytes(*account)),
                Some(_) => None,
            };
            Ok(false)
        })?;
        // An index row: the next aggregate is one of a later account.
        match account_passed.and_then(|account| account.checked_add(1)) {
            Some(account) => from = account.to_be_bytes().to_vec(),
            None => return Ok(found),
        }
    }
}

pub(super) fn verify<R: Rows>(rows: &R) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let mut from = Vec::new();
    while let Some(aggregate) = next_aggregate(rows, &from)? {
        let (records, parts) = at_rest(rows, aggregate, |head| verify_aggregate(rows, aggregate, head))?;
        verified.aggregates += 1;
        verified.records += records;
        verified.parts += parts;
        from = after_aggregate(aggregate);
    }
    Ok(verified)
}

fn verify_aggregate<R: Rows>(rows: &R, aggregate: Aggregate, head: Head) -> Result<(u64, u64), StoreError> {
    // What the records say of each part, and which of them said it last. Of a part that no kept record names nothing is
    // known but its own checksum.
    let mut expected: HashMap<PartKey, (u64, Option<PartDigest>)> = HashMap::new();
    let mut before = head.trimmed_digest;
    for sequence in head.trimmed + 1..=head.sequence {
        let record = read_record(rows, aggregate, sequence)?;
        check_link(aggregate, &record, Some(before), head)?;
        before = record.digest;
        expected.extend(record.changes.into_iter().map(|(part, digest)| (part, (sequence, digest))));
    }
    let beyond = layout::row_key(&layout::prefix(aggregate), layout::RECORD, &(head.sequence + 1).to_be_bytes());
    rows.scan(&beyond, |key, _| match key.starts_with(&beyond[..=PREFIX_BYTES]) {
        true => Err(damaged(aggregate, "head", "there are records after it")),
        false => Ok(false),
    })?;
    let mut parts = 0;
    for letter in [layout::LIVE, layout::ARCHIVED] {
        let mut wrong = None;
        each_part(rows, aggregate, letter, &[], |name, _, digest| {
            parts += 1;
            let part = if letter == layout::LIVE { PartKey::Live(name) } else { PartKey::Archived(name) };
            let is_right = expected.remove(&part).map_or(head.trimmed > 0, |(_, expected)| expected == Some(digest));
            if !is_right {
                wrong = Some(part);
            }
            is_right
        })?;
        if let Some(part) = wrong {
            return Err(damaged(aggregate, &part_place(&part), "it is not what the last record of it says"));
        }
    }
    expected.retain(|_, (_, digest)| digest.is_some());
    each_taken(rows, aggregate, head.trimmed + 1, |taken, part| {
        if expected.get(&part).is_some_and(|(sequence, _)| *sequence <= taken) {
            expected.remove(&part);
        }
    })?;
    match expected.keys().next() {
        Some(part) => Err(damaged(aggregate, &part_place(part), "it is missing")),
        None => Ok((head.sequence - head.trimmed, parts)),
    }
}

/// Runs `read` on an aggregate that did not change meanwhile, again if it did: rows are read one by one while others commit.
fn at_rest<R: Rows, T>(
    rows: &R,
    aggregate: Aggregate,
    read: impl Fn(Head) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut before = head(rows, aggregate)?;
    loop {
        let answer = read(before);
        let after = head(rows, aggregate)?;
        if after == before {
            return answer;
        }
        before = after;
    }
}

fn check_head<R: Rows>(rows: &R, aggregate: Aggregate, head: Head) -> Result<(), StoreError> {
    if head.sequence == head.trimmed {
        // It does not exist, or is being erased.
        return Ok(());
    }
    let record = read_record(rows, aggregate, head.sequence)?;
    check_link(aggregate, &record, None, head)
}

/// That a record follows the one before it, where that is known, and is the head's if it is at the head.
fn check_link(aggregate: Aggregate, record: &Record, before: Option<Digest>, head: Head) -> Result<(), StoreError> {
    let place = format!("record {}", record.sequence);
    if before.is_some_and(|before| before != record.previous) {
        return Err(damaged(aggregate, &place, "it does not follow the record before it"));
    }
    match record.sequence == head.sequence && record.digest != head.digest {
        true => Err(damaged(aggregate, &place, "it is not the record the head names")),
        false => Ok(()),
    }
}

pub(super) fn read_record<R: Rows>(rows: &R, aggregate: Aggregate, sequence: u64) -> Result<Record, StoreError> {
    let prefix = layout::prefix(aggregate);
    let place = format!("record {sequence}");
    let key = layout::row_key(&prefix, layout::RECORD, &sequence.to_be_bytes());
    let row = rows.get(&key)?.ok_or_else(|| damaged(aggregate, &place, "it is missing"))?;
    let content = read_long(rows, aggregate, &place, (&key, row.as_ref()), BODY_AT)?;
    let record = layout::decode_record(&prefix, &content).map_err(|problem| damaged(aggregate, &place, &problem))?;
    match record.sequence == sequence {
        true => Ok(record),
        false => Err(damaged(aggregate, &place, "it is another record")),
    }
}

fn each_part<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    letter: u8,
    from: &[u8],
    mut visit: impl FnMut(Bytes, Bytes, PartDigest) -> bool,
) -> Result<(), StoreError> {
    let prefix = layout::row_key(&layout::prefix(aggregate), letter, &[]);
    rows.scan(&[&prefix[..], from].concat(), |key, row| {
        if !key.starts_with(&prefix) {
            return Ok(false);
        }
        let (value, digest) = read_part(rows, aggregate, key, row)?;
        Ok(visit(Bytes::copy_from_slice(&key[prefix.len()..]), value, digest))
    })
}

fn read_part<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    key: &[u8],
    row: &[u8],
) -> Result<(Bytes, PartDigest), StoreError> {
    let place = part_named(&key[PREFIX_BYTES + 1..]);
    let mut content = read_long(rows, aggregate, &place, (key, row), VALUE_AT)?;
    let digest: PartDigest = *content.first_chunk().ok_or_else(|| damaged(aggregate, &place, "it has no checksum"))?;
    let value = content.split_off(digest.len());
    match layout::part_digest(key, &value) == digest {
        true => Ok((value, digest)),
        false => Err(damaged(aggregate, &place, "it does not match its checksum")),
    }
}

fn read_long<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    place: &str,
    (key, first): (&[u8], &[u8]),
    from: usize,
) -> Result<Bytes, StoreError> {
    let malformed = || damaged(aggregate, place, "it is malformed");
    let further = layout::further_chunks_of(first).ok_or_else(malformed)?;
    let mut row = Cow::Borrowed(first);
    for number in 0..further {
        let chunk = rows.get(&layout::chunk_key(key, number))?;
        let chunk = chunk.ok_or_else(|| damaged(aggregate, place, "a chunk of it is missing"))?;
        row.to_mut().extend_from_slice(chunk.as_ref());
    }
    layout::content(&row, from).ok_or_else(malformed)
}

fn part_place(part: &PartKey) -> String {
    part_named(layout::letter_and_name(part).1)
}

fn part_named(name: &[u8]) -> String {
    format!("part {}", name.escape_ascii())
}

pub(super) fn damaged(aggregate: Aggregate, place: &str, problem: &str) -> StoreError {
    StoreError::Damaged { place: format!("{aggregate}, {place}"), problem: problem.to_owned() }
}

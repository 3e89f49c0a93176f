//! How aggregates become rows: keys, chunks, and the framing of records. Bytes in, bytes out; no I/O.
//!
//! Every key starts with the account (8 bytes, big-endian). Then
//!
//! | key after the account            | row                                                              |
//! |----------------------------------|------------------------------------------------------------------|
//! | 0, uid (16), `h`                 | head: sequence (8), digest of that sequence's record (32)          |
//! |                                  | and once something was trimmed: sequence (8) and digest (32) of   |
//! |                                  | the last record that is not kept, number of steps that trimmed (8) |
//! | 0, uid (16), `l` or `a`, name    | part, live or archived, as a long row: digest (16), value          |
//! | 0, uid (16), `r`, sequence (8)   | record, as a long row: header, body                              |
//! | 0, uid (16), `m`, length of the key from its letter on (1), that key, number (2) | further chunks of a long row |
//! | 0, uid (16), `t`, sequence (8), `l` or `a`, name | nothing: this part was taken out, without a record, when |
//! |                                  | the head was at that sequence; kept as long as that record       |
//! | 1, kind (1), name                | index row: the value as it is                                    |
//!
//! and one row of the whole store, with the key `0xff`: format version (1), number of the last group of commits (8).
//!
//! A *long row* is 2 bytes, the number of further chunks, then the first bytes of its content. Numbers are big-endian. Where
//! the highest bit of the number is set, the value or body in the content is packed: its size (4) and an LZ4 block. Digests
//! are of what is not packed. Rows are mostly JSON, which packs to half its size, and with a tree that writes a row several
//! times over, and reads all of that when it is opened after a kill, half is much.
//!
//! Record header: format version (1), sequence (8), digest of the record before (32), its own digest (32). The own digest
//! is the SHA-256 of the version, the aggregate's key prefix, the sequence, the digest before, and the body's SHA-256, so
//! the body can be hashed before its place in the chain is known.
//! Body: number of changed parts (2), each: letter (1), name length (1), name, 1 and its digest (16) or 0 when deleted;
//! number of events (2), each: length (4), bytes.

use super::{Aggregate, COMMIT_BYTES_MAX, Digest, IndexKey, PartDigest, PartKey, Record};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Why not 64 KiB: sled keeps up to 16 rows in a tree node and writes a node of more than 128 KiB into a file of its own
/// that it never syncs. Rows of 4 KiB and their keys stay under that with room to spare.
pub(super) const CHUNK_BYTES: usize = 4096;
/// Of a record.
const FORMAT: u8 = 1;
/// Of the store: since 2, long rows may be packed.
pub(super) const STORE_FORMAT: u8 = 2;
pub(super) const META_KEY: &[u8] = &[0xff];

pub(super) const HEAD: u8 = b'h';
pub(super) const LIVE: u8 = b'l';
pub(super) const ARCHIVED: u8 = b'a';
pub(super) const RECORD: u8 = b'r';
pub(super) const TAKEN: u8 = b't';
const MORE: u8 = b'm';

const AGGREGATES: u8 = 0;
const INDEX: u8 = 1;
pub(super) const PREFIX_BYTES: usize = 25;
const COUNT_BYTES: usize = 2;
const RECORD_HEADER_BYTES: usize = 1 + 8 + 32 + 32;
/// Where a record's body starts in its long row.
pub(super) const BODY_AT: usize = COUNT_BYTES + RECORD_HEADER_BYTES;
/// Where a part's value does.
pub(super) const VALUE_AT: usize = COUNT_BYTES + size_of::<PartDigest>();
/// In the first byte of a long row.
const PACKED: u8 = 0x80;
/// No body is larger: a commit's limit, and the names and digests of its parts.
const UNPACKED_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;

/// Where the chain of an aggregate ends, and where what is kept of it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The last sequence and the digest of its record.
    pub(super) sequence: u64,
    pub(super) digest: Digest,
    /// The last sequence whose record is no longer kept, and its digest; 0 where all are.
    pub(super) trimmed: u64,
    pub(super) trimmed_digest: Digest,
    /// How many steps took something out: who reads notices by it that rows went.
    pub(super) steps: u64,
}

impl Head {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut row = [&self.sequence.to_be_bytes()[..], &self.digest.0].concat();
        if self.steps > 0 {
            row.extend_from_slice(&self.trimmed.to_be_bytes());
            row.extend_from_slice(&self.trimmed_digest.0);
            row.extend_from_slice(&self.steps.to_be_bytes());
        }
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Cursor(row);
        let mut head = Self { sequence: row.u64()?, digest: Digest(row.array()?), ..Self::default() };
        if !row.0.is_empty() {
            head.trimmed = row.u64()?;
            head.trimmed_digest = Digest(row.array()?);
            head.steps = row.u64()?;
        }
        (row.0.is_empty() && head.trimmed <= head.sequence).then_some(head)
    }
}

pub(super) fn prefix(aggregate: Aggregate) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&aggregate.account.to_be_bytes());
    prefix[8] = AGGREGATES;
    prefix[9..].copy_from_slice(&aggregate.uid);
    prefix
}

/// The aggregate a key belongs to, or `None` for the keys of index rows.
pub(super) fn aggregate_of(key: &[u8]) -> Option<Aggregate> {
    let mut key = Cursor(key);
    let account = key.u64()?;
    (key.u8()? == AGGREGATES).then_some(())?;
    Some(Aggregate { account, uid: key.array()? })
}

/// The first key after all those of an account's aggregates.
pub(super) fn aggregates_end(account: u64) -> [u8; 9] {
    let mut end = [INDEX; 9];
    end[..8].copy_from_slice(&account.to_be_bytes());
    end
}

pub(super) fn row_key(prefix: &[u8; PREFIX_BYTES], letter: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_BYTES + 1 + name.len());
    key.extend_from_slice(prefix);
    key.push(letter);
    key.extend_from_slice(name);
    key
}

pub(super) fn part_key(prefix: &[u8; PREFIX_BYTES], key: &PartKey) -> Vec<u8> {
    let (letter, name) = letter_and_name(key);
    row_key(prefix, letter, name)
}

/// A part's key, as its row and the changes in records have it.
pub(super) fn part_of(letter_and_name: &[u8]) -> Option<PartKey> {
    let (letter, name) = letter_and_name.split_first()?;
    let name = Bytes::copy_from_slice(name);
    match *letter {
        LIVE => Some(PartKey::Live(name)),
        ARCHIVED => Some(PartKey::Archived(name)),
        _ => None,
    }
}

pub(super) fn taken_key(prefix: &[u8; PREFIX_BYTES], sequence: u64, key: &PartKey) -> Vec<u8> {
    let (letter, name) = letter_and_name(key);
    row_key(prefix, TAKEN, &[&sequence.to_be_bytes()[..], &[letter], name].concat())
}

/// The sequence and the part that a row of a taken part names.
pub(super) fn taken_of(key: &[u8]) -> Option<(u64, PartKey)> {
    let mut rest = Cursor(key.get(PREFIX_BYTES + 1..)?);
    Some((rest.u64()?, part_of(rest.0)?))
}

pub(super) fn letter_and_name(key: &PartKey) -> (u8, &Bytes) {
    match key {
        PartKey::Live(name) => (LIVE, name),
        PartKey::Archived(name) => (ARCHIVED, name),
    }
}

/// The key of the `number`th further chunk of the long row at `key`. A part's name is under 255 bytes, so its length fits.
pub(super) fn chunk_key(key: &[u8], number: u16) -> Vec<u8> {
    let (prefix, rest) = key.split_at(PREFIX_BYTES);
    let mut chunk = Vec::with_capacity(key.len() + 4);
    chunk.extend_from_slice(prefix);
    chunk.push(MORE);
    chunk.push(rest.len() as u8);
    chunk.extend_from_slice(rest);
    chunk.extend_from_slice(&number.to_be_bytes());
    chunk
}

pub(super) fn index_key(account: u64, key: &IndexKey) -> Vec<u8> {
    let mut row = index_prefix(account, key.kind);
    row.extend_from_slice(&key.name);
    row
}

pub(super) fn index_prefix(account: u64, kind: u8) -> Vec<u8> {
    let mut row = aggregates_end(account).to_vec();
    row.push(kind);
    row
}

/// A long row being made: its content goes after the room for its chunk count.
pub(super) fn long_row(content_bytes: usize) -> Vec<u8> {
    let mut row = Vec::with_capacity(COUNT_BYTES + content_bytes);
    row.extend_from_slice(&[0; COUNT_BYTES]);
    row
}

/// Packs what begins at `from` in a long row, where that makes it smaller.
pub(super) fn pack(row: &mut Vec<u8>, from: usize) {
    let packed = lz4_flex::block::compress(&row[from..]);
    let size = row.len() - from;
    if packed.len() + size_of::<u32>() < size {
        row.truncate(from);
        row.extend_from_slice(&(size as u32).to_be_bytes());
        row.extend_from_slice(&packed);
        row[0] |= PACKED;
    }
}

fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, block) = packed.split_first_chunk()?;
    let size = u32::from_be_bytes(*size) as usize;
    let unpacked = (size <= UNPACKED_BYTES_MAX).then(|| lz4_flex::block::decompress(block, size).ok())??;
    (unpacked.len() == size).then_some(unpacked)
}

/// Cuts a finished long row into its first chunk, with the count filled in, and the further ones.
pub(super) fn chunks(row: &mut [u8]) -> (&[u8], std::slice::Chunks<'_, u8>) {
    let [high, low] = further_chunks(row.len()).to_be_bytes();
    (row[0], row[1]) = (row[0] & PACKED | high, low);
    let (first, rest) = row.split_at(row.len().min(CHUNK_BYTES));
    (first, rest.chunks(CHUNK_BYTES))
}

/// How many further chunks a long row of that size has. The limits on values keep this under 32,768.
pub(super) fn further_chunks(row_bytes: usize) -> u16 {
    (row_bytes.div_ceil(CHUNK_BYTES).max(1) - 1) as u16
}

/// The number of further chunks that a long row has.
pub(super) fn further_chunks_of(first: &[u8]) -> Option<u16> {
    let [high, low] = *first.first_chunk()?;
    Some(u16::from_be_bytes([high & !PACKED, low]))
}

/// The content of a whole long row, with what begins at `from` unpacked.
pub(super) fn content(row: &[u8], from: usize) -> Option<Bytes> {
    let content = row.get(COUNT_BYTES..)?;
    if row[0] & PACKED == 0 {
        return Some(Bytes::copy_from_slice(content));
    }
    let (header, packed) = content.split_at_checked(from - COUNT_BYTES)?;
    Some([header, &unpacked(packed)?].concat().into())
}

/// Covers the key too: a value moved to another name is not that name's value.
pub(super) fn part_digest(key: &[u8], value: &[u8]) -> PartDigest {
    let whole =
        Sha256::new().chain_update((key.len() as u64).to_be_bytes()).chain_update(key).chain_update(value).finalize();
    let mut digest = [0; 16];
    digest.copy_from_slice(&whole[..16]);
    digest
}

fn record_digest(prefix: &[u8; PREFIX_BYTES], sequence: u64, previous: Digest, body_digest: &[u8; 32]) -> Digest {
    let digest = Sha256::new()
        .chain_update([FORMAT])
        .chain_update(prefix)
        .chain_update(sequence.to_be_bytes())
        .chain_update(previous.0)
        .chain_update(body_digest)
        .finalize();
    Digest(digest.into())
}

/// Fills in the header of a record's long row, whose body is in place, and returns the new head.
pub(super) fn seal_record(prefix: &[u8; PREFIX_BYTES], row: &mut [u8], body_digest: &[u8; 32], before: Head) -> Head {
    let sequence = before.sequence + 1;
    let digest = record_digest(prefix, sequence, before.digest, body_digest);
    let header = &mut row[COUNT_BYTES..BODY_AT];
    header[0] = FORMAT;
    header[1..9].copy_from_slice(&sequence.to_be_bytes());
    header[9..41].copy_from_slice(&before.digest.0);
    header[41..73].copy_from_slice(&digest.0);
    Head { sequence, digest, ..before }
}

/// Appends a record's body to its long row.
pub(super) fn put_body(row: &mut Vec<u8>, changes: &[(PartKey, Option<PartDigest>)], events: &[Bytes]) {
    row.extend_from_slice(&(changes.len() as u16).to_be_bytes());
    for (key, digest) in changes {
        let (letter, name) = letter_and_name(key);
        row.extend_from_slice(&[letter, name.len() as u8]);
        row.extend_from_slice(name);
        row.push(u8::from(digest.is_some()));
        row.extend_from_slice(digest.as_ref().map_or(&[], |digest| &digest[..]));
    }
    row.extend_from_slice(&(events.len() as u16).to_be_bytes());
    for event in events {
        row.extend_from_slice(&(event.len() as u32).to_be_bytes());
        row.extend_from_slice(event);
    }
}

/// Reads and checks a record's content; the error says what is wrong with it.
pub(super) fn decode_record(prefix: &[u8; PREFIX_BYTES], content: &Bytes) -> Result<Record, String> {
    const SHORT: &str = "the record ends early";
    let mut header = Cursor(content);
    match header.u8().ok_or(SHORT)? {
        FORMAT => {}
        other => return Err(format!("the record has format {other}, this program knows {FORMAT}")),
    }
    let sequence = header.u64().ok_or(SHORT)?;
    let previous = Digest(header.array().ok_or(SHORT)?);
    let digest = Digest(header.array().ok_or(SHORT)?);
    let body = header.0;
    if record_digest(prefix, sequence, previous, &Sha256::digest(body).into()) != digest {
        return Err("the record does not match its checksum".to_owned());
    }
    let (changes, events) = decode_body(content, body).ok_or("the record's body is malformed")?;
    Ok(Record { sequence, previous, digest, changes, events })
}

type Body = (Vec<(PartKey, Option<PartDigest>)>, Vec<Bytes>);

fn decode_body(content: &Bytes, body: &[u8]) -> Option<Body> {
    let mut body = Cursor(body);
    let mut changes = Vec::new();
    for _ in 0..body.u16()? {
        let letter = body.u8()?;
        let name_bytes = usize::from(body.u8()?);
        let part = part_of(&[&[letter], body.take(name_bytes)?].concat())?;
        let digest = match body.u8()? {
            0 => None,
            _ => Some(body.array()?),
        };
        changes.push((part, digest));
    }
    let mut events = Vec::new();
    for _ in 0..body.u16()? {
        let event_bytes = u32::from_be_bytes(body.array()?) as usize;
        events.push(content.slice_ref(body.take(event_bytes)?));
    }
    body.0.is_empty().then_some((changes, events))
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

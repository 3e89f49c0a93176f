//! Takes a pack in as it comes from the server (gitformat-pack(5)): keeps its bytes, finds the objects in it, and resolves
//! the deltas among them.
//!
//! The pack's own checksum is not looked at: whatever is used is reached from the commit's id, and the id of each object is
//! the hash of what came.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use gix_hash::ObjectId;
use pipewright_sdk::{Failure, Result};

use crate::inflate::{broken_off, damaged};
use crate::pack::{Kind, Pack, Span, finish, hasher};

/// Stops a pack of a billion empty objects: each costs memory.
const OBJECTS_MAX: u32 = 1_000_000;
/// Stops deltas that take the memory: a base and a delta are held at the same time.
const DELTA_BYTES_MAX: u64 = 256 << 20;
const CHECKSUM_BYTES: usize = 20;

/// `progress` gets the number of objects so far, and that of all.
pub(crate) fn receive(from: &mut dyn BufRead, scratch: &Path, progress: impl FnMut(u32, u32)) -> Result<Pack> {
    let (mut pack, to) = Pack::new(scratch)?;
    let mut kept = Kept { from, to, position: 0, failed: None };
    let entries = entries(&mut kept, &mut pack, progress);
    let flushed = kept.to.flush();
    if let Some(error) = kept.failed.or(flushed.err()) {
        return Err(Failure::job(format!("keeping the pack: {error}")));
    }
    let Entries { whole, deltas } = entries?;
    resolve(&mut pack, whole, deltas)?;
    Ok(pack)
}

/// What a delta is one of.
#[derive(PartialEq, Eq, Hash)]
enum Base {
    /// The entry that begins there.
    Offset(u64),
    Id(ObjectId),
}

struct Delta {
    /// Where its entry begins.
    offset: u64,
    span: Span,
    /// Inflated, in bytes.
    size: u64,
}

#[derive(Default)]
struct Entries {
    /// Where the entries of whole objects begin, and what their ids are.
    whole: Vec<(u64, ObjectId)>,
    deltas: HashMap<Base, Vec<Delta>>,
}

fn entries<W: Write>(kept: &mut Kept<'_, W>, pack: &mut Pack, mut progress: impl FnMut(u32, u32)) -> Result<Entries> {
    let header = kept.array::<12>()?;
    let [_, version, count] = [0, 4, 8].map(|at| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte])));
    if !header.starts_with(b"PACK") || !matches!(version, 2 | 3) {
        return Err(damaged("is none: it does not begin like one"));
    }
    if count > OBJECTS_MAX {
        return Err(damaged(&format!("has {count} objects, and {OBJECTS_MAX} are allowed (objects_max)")));
    }
    let mut entries = Entries::default();
    for number in 0..count {
        progress(number, count);
        entry(kept, pack, &mut entries)?;
    }
    kept.array::<CHECKSUM_BYTES>()?;
    Ok(entries)
}

fn entry<W: Write>(kept: &mut Kept<'_, W>, pack: &mut Pack, entries: &mut Entries) -> Result<()> {
    let offset = kept.position;
    let (kind, size) = kept.kind_and_size()?;
    let kind = match kind {
        1 => Kind::Commit,
        2 => Kind::Tree,
        3 => Kind::Blob,
        4 => Kind::Tag,
        6 => {
            let before = || damaged("has a delta whose base lies before its start");
            let base = offset.checked_sub(kept.distance()?).ok_or_else(before)?;
            return delta(kept, pack, entries, Base::Offset(base), offset, size);
        }
        7 => {
            let base = ObjectId::Sha1(kept.array()?);
            return delta(kept, pack, entries, Base::Id(base), offset, size);
        }
        _ => return Err(damaged("has an object of an unknown kind")),
    };
    pack.check_size(size)?;
    let start = kept.position;
    let mut hasher = hasher(kind, size);
    pack.inflater.inflate(kept, size, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let id = finish(hasher)?;
    pack.add_packed(id, kind, size, Span { start, bytes: kept.position - start });
    entries.whole.push((offset, id));
    Ok(())
}

fn delta<W: Write>(
    kept: &mut Kept<'_, W>,
    pack: &mut Pack,
    entries: &mut Entries,
    base: Base,
    offset: u64,
    size: u64,
) -> Result<()> {
    if size > DELTA_BYTES_MAX {
        let text = format!("has a delta of {size} bytes, and {DELTA_BYTES_MAX} are allowed (delta_bytes_max)");
        return Err(damaged(&text));
    }
    let start = kept.position;
    // To find its end; its base may be still to come.
    pack.inflater.inflate(kept, size, |_| Ok(()))?;
    let span = Span { start, bytes: kept.position - start };
    entries.deltas.entry(base).or_default().push(Delta { offset, span, size });
    Ok(())
}

/// Makes objects of deltas, from those whose base is there on. Each object that came of a delta lies in a file: chains may be
/// as long as they like, and memory holds one base and one delta.
fn resolve(pack: &mut Pack, whole: Vec<(u64, ObjectId)>, mut deltas: HashMap<Base, Vec<Delta>>) -> Result<()> {
    let mut ready = whole;
    while let Some((offset, id)) = ready.pop() {
        // Taken out, so that each is resolved once, whatever the server sent twice.
        let mut of_this = deltas.remove(&Base::Offset(offset)).unwrap_or_default();
        of_this.extend(deltas.remove(&Base::Id(id)).unwrap_or_default());
        if of_this.is_empty() {
            continue;
        }
        let kind = pack.kind(&id)?;
        let base = pack.content(&id, kind, DELTA_BYTES_MAX)?;
        for Delta { offset, span, size } in of_this {
            let mut delta = Vec::with_capacity(size as usize);
            pack.inflate(span, size, |piece| {
                delta.extend_from_slice(piece);
                Ok(())
            })?;
            let (size, pieces) = git_objects::apply(&base, &delta).map_err(|_| damaged("has a malformed delta"))?;
            ready.push((offset, pack.add_resolved(kind, size, pieces)?));
        }
    }
    if deltas.is_empty() { Ok(()) } else { Err(damaged("has a delta without its base")) }
}

/// Writes to `to` what is read of `from`.
struct Kept<'a, W> {
    from: &'a mut dyn BufRead,
    to: W,
    /// How much was read.
    position: u64,
    /// It could not be written.
    failed: Option<io::Error>,
}

impl<W: Write> Kept<'_, W> {
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.read_exact(&mut bytes).map_err(broken_off)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// The kind's number and the size in bytes, inflated: three bits and four, and then seven bits a byte.
    fn kind_and_size(&mut self) -> Result<(u8, u64)> {
        let first = self.byte()?;
        let mut size = u64::from(first & 0x0f);
        let (mut byte, mut shift) = (first, 4);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            if shift > 53 {
                return Err(damaged("has an object of more bytes than there are"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok(((first >> 4) & 7, size))
    }

    /// How far before a delta its base begins.
    fn distance(&mut self) -> Result<u64> {
        let mut byte = self.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            let longer = (distance + 1).checked_mul(128).map(|longer| longer | u64::from(byte & 0x7f));
            distance = longer.ok_or_else(|| damaged("has a delta whose base lies before its start"))?;
        }
        Ok(distance)
    }
}

impl<W: Write> BufRead for Kept<'_, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if self.failed.is_none() {
            // What is consumed was seen by `fill_buf`, which then does not read.
            let written = self.from.fill_buf().and_then(|seen| self.to.write_all(&seen[..count.min(seen.len())]));
            self.failed = written.err();
        }
        self.from.consume(count);
        self.position += count as u64;
    }
}

impl<W: Write> Read for Kept<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;

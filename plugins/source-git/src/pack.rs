//! The objects of a pack, kept in the scratch directory: found by id, inflated when they are read.
//!
//! Own code, because the git libraries map packs into memory or read them whole, and a sandbox can do neither with a large
//! one. In memory there is a row for each object, and never more than one object and one delta.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use gix_hash::{Hasher, ObjectId};
use pipewright_sdk::{Doing, Failure, Result};

use crate::inflate::{Inflater, damaged};

/// Stops packs that inflate to more than anybody has planned for; all objects of a pack together.
const UNPACKED_BYTES_MAX: u64 = 8 << 30;
const BUFFER_BYTES: usize = 64 * 1024;
const PACK: &str = "pack";
const RESOLVED: &str = "resolved";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

#[derive(Clone, Copy)]
struct Object {
    kind: Kind,
    /// Inflated, in bytes.
    size: u64,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// In the pack, deflated.
    Packed(Span),
    /// What came of a delta, in a file beside the pack, as it is.
    Resolved { start: u64 },
}

/// A part of the pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

pub(crate) struct Pack {
    packed: File,
    resolved: File,
    resolved_bytes: u64,
    unpacked_bytes: u64,
    objects: HashMap<ObjectId, Object>,
    pub(crate) inflater: Inflater,
}

impl Pack {
    /// An empty one in the directory `scratch`; the pack's bytes are to be written to the writer.
    pub(crate) fn new(scratch: &Path) -> Result<(Self, impl Write + use<>)> {
        let open = |name| File::options().create(true).truncate(true).read(true).write(true).open(scratch.join(name));
        let writer = File::create(scratch.join(PACK)).doing("keeping the pack")?;
        let pack = Self {
            packed: File::open(scratch.join(PACK)).doing("keeping the pack")?,
            resolved: open(RESOLVED).doing("keeping what comes of deltas")?,
            resolved_bytes: 0,
            unpacked_bytes: 0,
            objects: HashMap::new(),
            inflater: Inflater::new(),
        };
        Ok((pack, BufWriter::with_capacity(BUFFER_BYTES, writer)))
    }

    /// To be asked before an object of this size is unpacked.
    pub(crate) fn check_size(&mut self, size: u64) -> Result<()> {
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(size);
        if self.unpacked_bytes > UNPACKED_BYTES_MAX {
            return Err(damaged(&format!(
                "holds more than {UNPACKED_BYTES_MAX} bytes when unpacked (unpacked_bytes_max)"
            )));
        }
        Ok(())
    }

    /// An object that lies in the pack as a whole.
    pub(crate) fn add_packed(&mut self, id: ObjectId, kind: Kind, size: u64, span: Span) {
        self.objects.insert(id, Object { kind, size, place: Place::Packed(span) });
    }

    /// What came of a delta.
    pub(crate) fn add_resolved<'a, E: std::error::Error>(
        &mut self,
        kind: Kind,
        size: u64,
        pieces: impl Iterator<Item = Result<&'a [u8], E>>,
    ) -> Result<ObjectId> {
        self.check_size(size)?;
        let keeping = "keeping what comes of deltas";
        let start = self.resolved.seek(SeekFrom::Start(self.resolved_bytes)).doing(keeping)?;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, &self.resolved);
        let mut hasher = hasher(kind, size);
        for piece in pieces {
            let piece = piece.map_err(|_| damaged("has a malformed delta"))?;
            hasher.update(piece);
            writer.write_all(piece).doing(keeping)?;
        }
        writer.flush().doing(keeping)?;
        drop(writer);
        let id = finish(hasher)?;
        self.resolved_bytes += size;
        self.objects.insert(id, Object { kind, size, place: Place::Resolved { start } });
        Ok(id)
    }

    pub(crate) fn kind(&self, id: &ObjectId) -> Result<Kind> {
        Ok(self.object(id)?.kind)
    }

    /// Inflated, in bytes.
    pub(crate) fn size(&self, id: &ObjectId) -> Result<u64> {
        Ok(self.object(id)?.size)
    }

    fn object(&self, id: &ObjectId) -> Result<Object> {
        let object = self.objects.get(id).copied();
        object.ok_or_else(|| damaged(&format!("lacks the object {id}, to which another one refers")))
    }

    /// Hands the object's content to `each`, piece by piece.
    pub(crate) fn read(&mut self, id: &ObjectId, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Object { size, place, .. } = self.object(id)?;
        let start = match place {
            Place::Packed(span) => return self.inflate(span, size, each),
            Place::Resolved { start } => start,
        };
        self.resolved.seek(SeekFrom::Start(start)).doing("reading what came of deltas")?;
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        let mut buffer = vec![0; left.min(BUFFER_BYTES)];
        while left > 0 {
            let piece = &mut buffer[..left.min(BUFFER_BYTES)];
            self.resolved.read_exact(piece).doing("reading what came of deltas")?;
            each(piece)?;
            left -= piece.len();
        }
        Ok(())
    }

    /// The object's content, which must be of the kind and have no more than `bytes_max` bytes.
    pub(crate) fn content(&mut self, id: &ObjectId, kind: Kind, bytes_max: u64) -> Result<Vec<u8>> {
        let object = self.object(id)?;
        if object.kind != kind {
            let (is, should) = (object.kind.name(), kind.name());
            return Err(damaged(&format!("has a {is} under the id {id}, where a {should} should be")));
        }
        if object.size > bytes_max {
            return Err(damaged(&format!(
                "has a {} ({id}) of {} bytes, and {bytes_max} is the most that is read of one",
                kind.name(),
                object.size
            )));
        }
        // Checked against what there really is when the object was added.
        let mut content = Vec::with_capacity(object.size as usize);
        self.read(id, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// Inflates a part of the pack.
    pub(crate) fn inflate(&mut self, span: Span, size: u64, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.packed.seek(SeekFrom::Start(span.start)).doing("reading the pack")?;
        let buffer_bytes = usize::try_from(span.bytes).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let mut packed = BufReader::with_capacity(buffer_bytes, (&self.packed).take(span.bytes));
        self.inflater.inflate(&mut packed, size, each)
    }
}

/// The hash of an object begins with its kind and size.
pub(crate) fn hasher(kind: Kind, size: u64) -> Hasher {
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(format!("{} {size}\0", kind.name()).as_bytes());
    hasher
}

pub(crate) fn finish(hasher: Hasher) -> Result<ObjectId> {
    hasher
        .try_finalize()
        .map_err(|_| Failure::job("the pack has an object that was made to attack SHA-1 (a collision)"))
}

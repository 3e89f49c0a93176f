//! Reads one object of a git repository: loose, or packed, with its deltas. Nothing is written and nothing is checked but
//! what keeps a broken repository from costing more than a variable.
//!
//! Own code, because the git libraries map packs into memory or read them whole, and a sandbox can do neither with a large
//! one. Formats: gitformat-pack(5).

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

/// A commit is small; more than this is not what we look for.
const OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Git's own limit is 50; without one, a delta that refers to itself would never end.
const DELTA_CHAIN_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Other,
}

/// SHA-1 or SHA-256 in hexadecimal.
pub(crate) fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The object with this id in the folder `.git/objects`; none if it is not there or not readable.
pub(crate) fn read(objects: &Path, id: &str) -> Option<(Kind, Vec<u8>)> {
    if !is_id(id) {
        return None;
    }
    read_loose(objects, id).or_else(|| read_packed(objects, id, DELTA_CHAIN_MAX))
}

fn read_loose(objects: &Path, id: &str) -> Option<(Kind, Vec<u8>)> {
    let (folder, file) = id.split_at(2);
    let bytes = inflate(File::open(objects.join(folder).join(file)).ok()?, None)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let kind = if bytes.starts_with(b"commit ") { Kind::Commit } else { Kind::Other };
    Some((kind, bytes[end + 1..].to_vec()))
}

fn read_packed(objects: &Path, id: &str, depth: usize) -> Option<(Kind, Vec<u8>)> {
    let id: Vec<u8> =
        (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).ok()).collect::<Option<_>>()?;
    let mut packs: Vec<_> =
        fs::read_dir(objects.join("pack")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    packs.sort();
    packs.iter().filter(|path| path.extension().is_some_and(|extension| extension == "idx")).find_map(|index| {
        let offset = offset(&mut File::open(index).ok()?, &id)?;
        let mut pack = Pack { file: File::open(index.with_extension("pack")).ok()?, id_bytes: id.len(), objects };
        pack.read(offset, depth)
    })
}

/// Where the pack that an index (version 2) belongs to has the object.
fn offset(index: &mut File, id: &[u8]) -> Option<u64> {
    const FANOUT: u64 = 8;
    const NAMES: u64 = FANOUT + 256 * 4;
    if read_at::<8>(index, 0)? != *b"\xfftOc\0\0\0\x02" {
        return None;
    }
    let fanout = |index: &mut File, byte: u8| Some(u64::from(read_u32(index, FANOUT + u64::from(byte) * 4)?));
    let count = fanout(index, 255)?;
    let mut low = if id[0] == 0 { 0 } else { fanout(index, id[0] - 1)? };
    let mut high = fanout(index, id[0])?;
    let id_bytes = id.len() as u64;
    while low < high {
        let middle = low + (high - low) / 2;
        let mut found = vec![0; id.len()];
        index.seek(SeekFrom::Start(NAMES + middle * id_bytes)).ok()?;
        index.read_exact(&mut found).ok()?;
        match found.as_slice().cmp(id) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let offsets = NAMES + count * (id_bytes + 4);
                let offset = read_u32(index, offsets + middle * 4)?;
                if offset >> 31 == 0 {
                    return Some(offset.into());
                }
                // The offset did not fit: it is the place in a table of larger ones.
                let at = offsets + count * 4 + u64::from(offset & 0x7fff_ffff) * 8;
                return read_at::<8>(index, at).map(u64::from_be_bytes);
            }
        }
    }
    None
}

struct Pack<'a> {
    file: File,
    id_bytes: usize,
    objects: &'a Path,
}

impl Pack<'_> {
    fn read(&mut self, offset: u64, depth: usize) -> Option<(Kind, Vec<u8>)> {
        let depth = depth.checked_sub(1)?;
        self.file.seek(SeekFrom::Start(offset)).ok()?;
        let first = self.byte()?;
        let mut size = u64::from(first & 0x0f);
        let (mut byte, mut shift) = (first, 4);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            size |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
        }
        match (first >> 4) & 7 {
            1 => Some((Kind::Commit, inflate(&self.file, Some(size))?)),
            2..=4 => Some((Kind::Other, inflate(&self.file, Some(size))?)),
            6 => {
                let back = self.offset_back()?;
                let delta = inflate(&self.file, Some(size))?;
                let (kind, base) = self.read(offset.checked_sub(back)?, depth)?;
                Some((kind, apply(&base, &delta)?))
            }
            7 => {
                let mut base = vec![0; self.id_bytes];
                self.file.read_exact(&mut base).ok()?;
                let delta = inflate(&self.file, Some(size))?;
                let base: String = base.iter().map(|byte| format!("{byte:02x}")).collect();
                let (kind, base) = read_packed(self.objects, &base, depth)?;
                Some((kind, apply(&base, &delta)?))
            }
            _ => None,
        }
    }

    /// How far before a delta its base lies.
    fn offset_back(&mut self) -> Option<u64> {
        let mut byte = self.byte()?;
        let mut back = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            back = (back + 1).checked_mul(128)? | u64::from(byte & 0x7f);
        }
        Some(back)
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.file.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }
}

fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let (size, pieces) = git_objects::apply(base, delta).ok()?;
    if size > OBJECT_BYTES_MAX {
        return None;
    }
    Some(pieces.collect::<Result<Vec<_>, _>>().ok()?.concat())
}

/// Inflates what begins here; `size` is what comes out, where it is known.
fn inflate(from: impl Read, size: Option<u64>) -> Option<Vec<u8>> {
    let limit = size.unwrap_or(OBJECT_BYTES_MAX);
    if limit > OBJECT_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    ZlibDecoder::new(from).take(limit).read_to_end(&mut bytes).ok()?;
    size.is_none_or(|size| bytes.len() as u64 == size).then_some(bytes)
}

fn read_at<const LENGTH: usize>(file: &mut File, at: u64) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_u32(file: &mut File, at: u64) -> Option<u32> {
    read_at::<4>(file, at).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::fixture;

    /// The first commit is a delta of the second.
    const FIRST: &str = "522b8c6f874eb5895ff4bf46d288be3bc1c168a2";
    const SECOND: &str = "83c45a7d56ed48e2734ec569232954a696b11408";

    #[test]
    fn packed_whole_and_as_a_delta() {
        let top = fixture::work_tree();
        for (id, subject, length) in [(FIRST, "\n\nTake the guide in\n", 386), (SECOND, "\n\nSay more\n", 450)] {
            let (kind, content) = read(&top.path().join(".git/objects"), id).unwrap();
            assert_eq!((kind, content.len()), (Kind::Commit, length), "{id}");
            assert!(String::from_utf8(content).unwrap().contains(subject));
        }
    }

    #[test]
    fn loose() {
        let objects = tempfile::tempdir().unwrap();
        let folder = objects.path().join(&FIRST[..2]);
        fs::create_dir(&folder).unwrap();
        let file = File::create(folder.join(&FIRST[2..])).unwrap();
        let mut object = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
        object.write_all(b"commit 4\0abcd").unwrap();
        object.finish().unwrap();
        assert_eq!(read(objects.path(), FIRST), Some((Kind::Commit, b"abcd".to_vec())));
    }

    /// Whichever byte is wrong: an answer or none, and no panic and no endless loop.
    #[test]
    fn a_broken_pack() {
        let top = fixture::work_tree();
        let objects = top.path().join(".git/objects");
        for file in fs::read_dir(objects.join("pack")).unwrap().map(|entry| entry.unwrap().path()) {
            let whole = fs::read(&file).unwrap();
            for at in (0..whole.len()).step_by(5) {
                let mut broken = whole.clone();
                broken[at] ^= 0xff;
                fs::write(&file, &broken).unwrap();
                read(&objects, FIRST);
            }
            fs::write(&file, whole).unwrap();
        }
        assert!(read(&objects, FIRST).is_some());
    }

    #[test]
    fn no_object_is_found_by_what_is_no_id() {
        let top = fixture::work_tree();
        for id in ["", "5", "../../../../../../../../../../etc/passwd", &"f".repeat(40), &FIRST.replace('5', "é")] {
            assert_eq!(read(&top.path().join(".git/objects"), id), None, "{id}");
        }
    }
}

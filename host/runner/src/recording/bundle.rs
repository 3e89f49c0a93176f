//! The file of a recording: a zip archive with `recording.json`, and each blob as `blobs/SHA256`.
//!
//! Owns its reading, which trusts nothing in it, and its writing. Must not know what is recorded.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pipewright_artifacts::files::{Blobs, Tree, TreeLimits};
use pipewright_base::Digest;
use pipewright_sandbox::FindTool;
use pipewright_sandbox::files::Input;
use pipewright_sandbox::outside::{LEFT_IN_SCRATCH, Recorded};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::keep::tool;
use super::{FORMAT, RecordedCall, Recording};

/// Of a bundle, and of everything in it together. Stops a bundle that fills the memory, and an archive that unpacks to more
/// than it says.
pub const BUNDLE_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Stops `recording.json` that takes minutes to read.
const JSON_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Stops an archive of a great many empty entries.
const ENTRIES_MAX: usize = 100_000;

/// What is smaller is stored as it is: a compressor takes longer to begin than to compress it, and saves next to nothing.
const DEFLATED_BYTES_MIN: usize = 2048;

const JSON: &str = "recording.json";
const BLOBS: &str = "blobs/";

/// A recording with its blobs.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub recording: Recording,
    pub blobs: BTreeMap<Digest, Bytes>,
}

/// Every one of these is about the recording; nothing was called.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("not a recording: {0}")]
    Malformed(String),
    #[error(
        "the recording is of format {0}, and this host reads format {FORMAT}: use a host as new as the one that wrote it"
    )]
    Format(u32),
    /// The text says what.
    #[error("the recording left out what this needs: {0}")]
    LeftOut(String),
    #[error(transparent)]
    Host(#[from] anyhow::Error),
}

fn malformed(error: impl std::fmt::Display) -> RecordingError {
    RecordingError::Malformed(error.to_string())
}

impl Bundle {
    /// How many bytes it has, uncompressed and without what the texts take.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.len() as u64).sum()
    }

    /// The archive; the same recording gives the same bytes.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file(JSON, options)?;
        // In one piece, for the compressor begins anew with each that it is given.
        writer.write_all(&serde_json::to_vec_pretty(&self.recording)?)?;
        for (digest, blob) in &self.blobs {
            let options = match blob.len() < DEFLATED_BYTES_MIN {
                true => options.compression_method(CompressionMethod::Stored).compression_level(None),
                false => options,
            };
            writer.start_file(format!("{BLOBS}{digest}"), options)?;
            writer.write_all(blob)?;
        }
        Ok(writer.finish()?.into_inner())
    }

    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let unreadable = |error| RecordingError::Unreadable { path: path.to_owned(), error };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(BUNDLE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::from_bytes(&bytes)
    }

    /// Nothing of the archive is believed: sizes are counted while unpacking, names are digests that are checked, and
    /// whatever else is in it is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        let too_large = || RecordingError::Malformed(format!("it has more than {BUNDLE_BYTES_MAX} bytes"));
        if bytes.len() as u64 > BUNDLE_BYTES_MAX {
            return Err(too_large());
        }
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
        if archive.len() > ENTRIES_MAX {
            return Err(RecordingError::Malformed(format!("it has more than {ENTRIES_MAX} entries")));
        }
        let (mut recording, mut blobs, mut left) = (None, BTreeMap::new(), BUNDLE_BYTES_MAX);
        for index in 0..archive.len() {
            let entry = archive.by_index(index).map_err(malformed)?;
            let name = entry.name().map_err(malformed)?.into_owned();
            let is_json = name == JSON;
            let limit = if is_json { left.min(JSON_BYTES_MAX) } else { left };
            let mut content = Vec::new();
            entry.take(limit + 1).read_to_end(&mut content).map_err(malformed)?;
            left =
                limit.checked_sub(content.len() as u64).map(|_| left - content.len() as u64).ok_or_else(too_large)?;
            if is_json {
                recording = Some(read_json(&content)?);
                continue;
            }
            let digest = name.strip_prefix(BLOBS).and_then(|digest| digest.parse::<Digest>().ok());
            match digest.filter(|digest| *digest == Digest::of(&content)) {
                Some(digest) => drop(blobs.insert(digest, content.into())),
                None => {
                    let name: String = name.chars().take(200).collect();
                    return Err(RecordingError::Malformed(format!("{name:?} is not what its name says")));
                }
            }
        }
        let recording = recording.ok_or_else(|| RecordingError::Malformed(format!("it has no {JSON}")))?;
        Ok(Self { recording, blobs })
    }

    /// What came from outside in one of the calls, with the bytes of the bodies.
    pub fn outside(&self, number: usize) -> Option<Recorded> {
        let call = self.recording.calls.get(number)?;
        Some(Recorded { blobs: self.blobs.clone(), ..call.outside.clone() })
    }

    /// What a call finds in the scratch that a program left; none where it finds nothing, or never looked.
    ///
    /// # Errors
    /// It was left out, or a file of it was.
    pub fn scratch(&self, call: &RecordedCall, blobs: &dyn Blobs) -> Result<Option<Tree>, RecordingError> {
        let Some(scratch) = call.outside.scratch.as_ref().filter(|_| call.ended.is_some()) else { return Ok(None) };
        let left_out = || {
            let why = call.outside.left_out.iter().find(|left| left.starts_with(LEFT_IN_SCRATCH));
            RecordingError::LeftOut(why.map_or(LEFT_IN_SCRATCH, String::as_str).to_owned())
        };
        self.unpacked(&scratch.before.ok_or_else(left_out)?, LEFT_IN_SCRATCH, blobs).map(Some)
    }

    /// A manifest that the recording names.
    pub fn tree(&self, digest: &Digest, what: &str) -> Result<Tree, RecordingError> {
        let left_out = || RecordingError::LeftOut(what.to_owned());
        let manifest = self.blobs.get(digest).ok_or_else(left_out)?;
        Tree::read(&manifest[..], &TreeLimits::default()).map_err(malformed)
    }

    /// A tree whose files are put into `blobs`.
    pub fn unpacked(&self, digest: &Digest, what: &str, blobs: &dyn Blobs) -> Result<Tree, RecordingError> {
        let tree = self.tree(digest, what)?;
        for entry in tree.entries() {
            if let pipewright_artifacts::files::Node::File { digest, .. } = &entry.node {
                let left_out = || RecordingError::LeftOut(format!("{what}: {}", entry.path));
                blobs.put(self.blobs.get(digest).ok_or_else(left_out)?).map_err(anyhow::Error::from)?;
            }
        }
        Ok(tree)
    }

    /// The tools of packages that a call ran.
    ///
    /// # Errors
    /// One of them is left out.
    pub fn tools(&self, call: &RecordedCall, blobs: &Arc<dyn Blobs>) -> Result<FindTool, RecordingError> {
        let tools = call.outside.tools.clone();
        for (package, digest) in &tools {
            let component = self.blobs.get(digest).ok_or_else(|| RecordingError::LeftOut(tool(package)))?;
            blobs.put(component).map_err(|error| RecordingError::Malformed(format!("{}: {error}", tool(package))))?;
        }
        let (unknown, blobs) = ("the recording has no such tool", Arc::clone(blobs));
        Ok(Some(Arc::new(move |package| Ok((*tools.get(package).ok_or(unknown)?, Arc::clone(&blobs))))))
    }

    /// What a call found of what earlier executions kept, by its keys, with the files in `blobs`.
    pub fn caches(&self, call: &RecordedCall, blobs: &Arc<dyn Blobs>) -> Result<Vec<(String, Input)>, RecordingError> {
        let found = call.outside.caches().into_iter().map(|(key, digest)| {
            let tree = self.unpacked(&digest, &format!("the cache {key}"), &**blobs)?;
            Ok((key.clone(), Input { name: key, tree: Arc::new(tree), blobs: Arc::clone(blobs) }))
        });
        found.collect()
    }
}

fn read_json(content: &[u8]) -> Result<Recording, RecordingError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    let Versioned { format } = serde_json::from_slice(content).map_err(malformed)?;
    if format != FORMAT {
        return Err(RecordingError::Format(format));
    }
    serde_json::from_slice(content).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Component;

    fn bundle() -> Bundle {
        let component = Component { name: "a/b".to_owned(), version: "1.0.0".to_owned(), digest: Digest::of(b"wasm") };
        let recording =
            Recording { format: FORMAT, component, calls: Vec::new(), log: Vec::new(), left_out: Vec::new() };
        let blobs = [b"wasm".as_slice(), b"other"].map(|blob| (Digest::of(blob), Bytes::from_static(blob)));
        Bundle { recording, blobs: blobs.into() }
    }

    /// An archive of these entries, as somebody else makes it.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_written_is_read() {
        let written = bundle().to_bytes().unwrap();
        let read = Bundle::from_bytes(&written).unwrap();
        assert_eq!(read.recording.component, bundle().recording.component);
        assert_eq!(read.blobs, bundle().blobs);
        assert_eq!(read.to_bytes().unwrap(), written);
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let json = serde_json::to_string(&bundle().recording).unwrap();
        let newer = json.replace("\"format\":1", "\"format\":2");
        let unknown = json.replace("\"calls\"", "\"more\":1,\"calls\"");
        let digest = format!("blobs/{}", Digest::of(b"wasm"));
        let bomb = vec![0; (BUNDLE_BYTES_MAX + 1) as usize];
        let bomb_name = format!("blobs/{}", Digest::of(&bomb));
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("no archive", b"PK".to_vec(), "not a recording"),
            ("nothing in it", archive(&[]), "it has no recording.json"),
            ("no JSON", archive(&[(JSON, b"{")]), "not a recording: EOF"),
            ("a newer format", archive(&[(JSON, newer.as_bytes())]), "the recording is of format 2"),
            ("an unknown key", archive(&[(JSON, unknown.as_bytes())]), "unknown field `more`"),
            ("a changed blob", archive(&[(JSON, json.as_bytes()), (&digest, b"mask")]), "is not what its name says"),
            ("a name that leads out", archive(&[("../../x", b"")]), "\"../../x\" is not what its name says"),
            ("a bomb", archive(&[(&bomb_name, &bomb)]), "it has more than 100663296 bytes"),
        ];
        for (name, bytes, wanted) in cases {
            match Bundle::from_bytes(bytes) {
                Err(error) => assert!(error.to_string().contains(wanted), "{name}: {error}"),
                Ok(_) => panic!("{name} was read"),
            }
        }
    }

    #[test]
    fn what_was_left_out_is_told() {
        let left_out = bundle().tree(&Digest::of(b"nothing"), "the input artifact Code");
        let Err(RecordingError::LeftOut(what)) = left_out else { panic!("it is there") };
        assert_eq!(what, "the input artifact Code");
    }
}

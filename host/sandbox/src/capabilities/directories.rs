//! Directories of the host, which a guest sees as `/directories/NAME`.
//!
//! Owns what is granted and asked of them, and the journal of their uses. What is done with files is the root's
//! (`files`), which serves them beside the artifacts: an answer follows from a directory's content, so a recording keeps
//! that content, and a replay does the same work on it and compares what came of each use.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{Capability, Row, Setup};
use crate::abi;
use crate::grants::{CaseFolder, Place, Use, key, stays_below, tidy};
use crate::outside::Observed;
use crate::rights::{Asked, Asks};
use crate::seam::{Denied, HostCallOutcome, HostCallTimer, Seam};

const DIRECTORIES: &str = "directories";
const READ: &str = "read-directory";
const WRITE: &str = "write-directory";

/// Operations that only read; everything else may write. A copy reads its first place and writes to its second.
const READING: &[&str] = &["open", "read", "list", "digest"];

/// One directory of the host, which the plugin sees as `/directories/NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where it is. It must exist, but for one that may be written to, which is made.
    pub path: PathBuf,
    /// `write` covers reading.
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    Read,
    Write,
}

/// Recordings keep nothing of it but the access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Access", into = "Access")]
pub struct DirectoryGrant {
    pub path: PathBuf,
    pub access: Access,
}

impl From<Access> for DirectoryGrant {
    fn from(access: Access) -> Self {
        Self { path: PathBuf::new(), access }
    }
}

impl From<DirectoryGrant> for Access {
    fn from(grant: DirectoryGrant) -> Self {
        grant.access
    }
}

/// The root holds what a call does with them.
pub struct Directories;

impl Capability for Directories {
    const ROW: Row = Row {
        name: DIRECTORIES,
        asks: &[READ, WRITE],
        grant: Some("directories.NAME = { path = \"DIR\", access = \"read\" }"),
        without: "the path does not exist",
        can_be_made_up: false,
    };
    type Written = BTreeMap<String, Directory>;
    type Grant = BTreeMap<String, DirectoryGrant>;
    type Kept = Observed;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        match ask {
            abi::Capability::ReadDirectory(name) => Some(Asked::by_setting(READ, name, "to read the directory")),
            abi::Capability::WriteDirectory(name) => Some(Asked::by_setting(WRITE, name, "to write to the directory")),
            _ => None,
        }
    }

    fn narrow(granted: &mut Self::Grant, asks: &Asks) {
        granted.retain(|name, grant| {
            if !is_asked(asks, name, Access::Write) {
                grant.access = Access::Read;
            }
            is_asked(asks, name, Access::Read)
        });
    }

    /// The directories must exist, and a writable one is made if it does not.
    fn resolve(written: &Self::Written, place: Place<'_>) -> Result<Self::Grant, String> {
        written.iter().map(|(name, directory)| Ok((name.clone(), directory.resolve(name, place.base)?))).collect()
    }

    fn in_words(written: &Self::Written, base: &Path) -> Vec<String> {
        let line = |(name, directory): (&String, &Directory)| {
            let verb = match directory.access {
                Access::Read => "read",
                Access::Write => "read and write",
            };
            format!("{verb} everything in {} (as \"{name}\")", tidy(&base.join(&directory.path)).display())
        };
        written.iter().map(line).collect()
    }

    fn leaving(written: &Self::Written, base: &Path) -> Vec<String> {
        let leaves = written.iter().filter(|(_, directory)| !stays_below(base, &directory.path));
        let told = |(name, directory): (&String, &Directory)| {
            format!("directories.{name}: {} leads out of the case's folder", directory.path.display())
        };
        leaves.map(told).collect()
    }

    fn least(written: &mut Self::Written, uses: &BTreeSet<Use>) {
        let mut used: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, writes) in uses.iter().filter(|used| used.capability == DIRECTORIES).flat_map(places) {
            *used.entry(name).or_default() |= writes;
        }
        written.retain(|name, directory| {
            let writes = used.get(name.as_str());
            if writes == Some(&false) {
                directory.access = Access::Read;
            }
            writes.is_some()
        });
    }

    fn in_case(granted: &Self::Grant, folder: &CaseFolder<'_>) -> Self::Written {
        let directory = |name: &String, access| Directory { path: Path::new(folder.directories).join(name), access };
        granted.iter().map(|(name, grant)| (name.clone(), directory(name, grant.access))).collect()
    }

    fn new(_: &mut Setup<'_>) -> Self {
        Self
    }
}

impl Directory {
    fn resolve(&self, name: &str, base: &Path) -> Result<DirectoryGrant, String> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(format!("directories.{name}: a name is one path component that does not start with a dot"));
        }
        let (path, access) = (tidy(&base.join(&self.path)), self.access);
        if access == Access::Write {
            make_readable(&path).map_err(|e| format!("directories.{name}: {}: {e}", path.display()))?;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(DirectoryGrant { path, access }),
            Ok(_) => Err(format!("directories.{name}: {} is not a directory", path.display())),
            Err(error) => Err(format!("directories.{name}: {}: {error}", path.display())),
        }
    }
}

/// Makes the directory unless it is there. As for what plugins make in it, everybody may read, whatever the umask is.
fn make_readable(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(|made| fs::set_permissions(made, fs::Permissions::from_mode(0o755)))
}

fn is_asked(asks: &Asks, name: &str, access: Access) -> bool {
    asks.has(WRITE, name) || access == Access::Read && asks.has(READ, name)
}

/// The directories that a use is of, and whether it writes to each.
fn places(used: &Use) -> impl Iterator<Item = (&str, bool)> {
    let places: Vec<&str> = used.target.split(" → ").collect();
    let reads_first = READING.contains(&used.operation.as_str()) || places.len() > 1;
    places.into_iter().enumerate().filter_map(move |(place, path)| {
        let name = path.strip_prefix("/directories/")?.split('/').next()?;
        Some((name, !(reads_first && place == 0) || used.operation == "rename"))
    })
}

/// Begins one use.
pub(crate) fn begin(seam: &Arc<Seam>, operation: &'static str) -> HostCallTimer {
    seam.begin(DIRECTORIES, operation)
}

/// Ends it: it is kept, or compared with the one that was kept.
pub(crate) fn end(timer: HostCallTimer, target: String, outcome: HostCallOutcome, bytes: u64) {
    timer.end_observed::<Directories>(target, outcome, bytes);
}

/// Journals that a path was not granted, and says so.
pub(crate) fn denied(seam: &Arc<Seam>, location: &str, name: &str, access: Access, operation: &'static str) -> String {
    let verb = match access {
        Access::Read => "use",
        Access::Write => "write to",
    };
    let asks = seam.asks();
    // A first try is often a look: the grant that is suggested is that for all that the plugin asks for.
    let suggested = if is_asked(asks, name, Access::Write) { "write" } else { "read" };
    let text = seam.denial(&Denied {
        tried: format!("to {verb} the directory /{location}"),
        grant: format!("directories.{} = {{ path = \"…\", access = \"{suggested}\" }}", key(name)),
        is_asked: is_asked(asks, name, access),
    });
    end(begin(seam, operation), format!("/{location}"), HostCallOutcome::Denied(text.clone()), 0);
    text
}

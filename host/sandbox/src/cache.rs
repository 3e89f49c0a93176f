//! The compile cache: compiled components on disk, in a directory that only this user can write.
//!
//! wasmtime runs whatever compiled code it is given, so an entry carries an HMAC under a key that lies beside it, over
//! its own name and all of its bytes, and what was checked is what is loaded: the bytes in memory. This notices damage
//! and files from elsewhere; it does not protect from someone who can read the key, who is the same user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::limits::{CACHE_BYTES_MAX, COMPILED_BYTES_MAX};

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// Of the length of the description, which stands between the MAC and the code.
const LENGTH_BYTES: usize = 8;

pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
}

/// What an entry holds.
pub(crate) struct Entry {
    bytes: Vec<u8>,
    code: usize,
}

impl Entry {
    pub(crate) fn new(description: &[u8], code: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(MAC_BYTES + LENGTH_BYTES + description.len() + code.len());
        bytes.extend_from_slice(&[0; MAC_BYTES]);
        bytes.extend_from_slice(&(description.len() as u64).to_le_bytes());
        bytes.extend_from_slice(description);
        bytes.extend_from_slice(code);
        Self { bytes, code: MAC_BYTES + LENGTH_BYTES + description.len() }
    }

    /// The bytes must have passed the check of their MAC.
    fn read(bytes: Vec<u8>) -> Option<Self> {
        let length = bytes.get(MAC_BYTES..)?.first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let code = length.checked_add(MAC_BYTES + LENGTH_BYTES)?;
        (code <= bytes.len()).then_some(Self { bytes, code })
    }

    pub(crate) fn description(&self) -> &[u8] {
        &self.bytes[MAC_BYTES + LENGTH_BYTES..self.code]
    }

    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[self.code..]
    }
}

impl Cache {
    /// Makes the directory and the key if they are not there yet.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let metadata = fs::metadata(&directory)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let message = format!("the compile cache {} belongs to another user", directory.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        }
        let key = key(&directory)?;
        Ok(Self { directory, key })
    }

    /// None if there is no such entry, or if it is not what was stored: then a warning says so, and it is removed.
    pub(crate) fn load(&self, name: &str) -> Option<Entry> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("cannot read the compile cache entry {}: {error}; compiling again", path.display());
                return None;
            }
        };
        let read = (&file).take(2 * COMPILED_BYTES_MAX).read_to_end(&mut bytes);
        let entry = match read {
            Ok(_) if self.is_ours(name, &bytes) => Entry::read(bytes),
            _ => None,
        };
        if entry.is_none() {
            tracing::warn!("the compile cache entry {} was damaged or altered; compiling again", path.display());
            let _ = fs::remove_file(&path);
        } else {
            // What was used last is removed last; a cache on a read-only file system works too.
            let _ = rustix::fs::futimens(&file, &now_and_unchanged());
        }
        entry
    }

    /// A failure costs only time: the component is compiled again when it is needed again. No entry goes that is used.
    pub(crate) fn store(&self, name: &str, mut entry: Entry, is_used: impl Fn(&str) -> bool) {
        let mac = self.mac(name, &entry.bytes[MAC_BYTES..]).finalize().into_bytes();
        entry.bytes[..MAC_BYTES].copy_from_slice(&mac);
        if let Err(error) = self.make_room(is_used).and_then(|()| write_atomically(&self.directory, name, &entry.bytes))
        {
            tracing::warn!("cannot write to the compile cache {}: {error}", self.directory.display());
        }
    }

    fn is_ours(&self, name: &str, bytes: &[u8]) -> bool {
        let Some((mac, rest)) = bytes.split_first_chunk::<MAC_BYTES>() else { return false };
        self.mac(name, rest).verify_slice(mac).is_ok()
    }

    fn mac(&self, name: &str, rest: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key).expect("an HMAC key may have any length");
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(rest);
        mac
    }

    fn make_room(&self, is_used: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && entry.file_name() != KEY_FILE {
                entries.push((metadata.mtime(), metadata.len(), entry.path()));
            }
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in entries {
            if bytes <= CACHE_BYTES_MAX {
                break;
            }
            if path.file_name().and_then(|name| name.to_str()).is_some_and(&is_used) {
                continue;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        Ok(())
    }
}

fn now_and_unchanged() -> rustix::fs::Timestamps {
    let time = |nanos| rustix::fs::Timespec { tv_sec: 0, tv_nsec: nanos };
    rustix::fs::Timestamps { last_access: time(rustix::fs::UTIME_OMIT), last_modification: time(rustix::fs::UTIME_NOW) }
}

const KEY_FILE: &str = "key";

/// The key of this directory; of several processes that make one at once, one wins and all use it.
fn key(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = directory.join(KEY_FILE);
    let read = || -> io::Result<[u8; KEY_BYTES]> {
        let bytes = fs::read(&path)?;
        bytes.try_into().map_err(|_| {
            let message = format!("{} is not a key; remove the directory, and it is made anew", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let temporary = write_temporary(directory, &key)?;
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(),
    }
}

fn write_atomically(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(directory, bytes)?;
    fs::rename(&temporary, directory.join(name)).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn write_temporary(directory: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let path = directory.join(format!("new-{:016x}", u64::from_le_bytes(random)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(bytes).inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok(path)
}

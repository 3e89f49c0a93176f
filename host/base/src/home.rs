//! Where things lie on this machine: one data directory's layout, and the user's own folders.
//!
//! Owns the names of files and folders. Must not know what is in them.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcetera::base_strategy::{BaseStrategy as _, Xdg};

use crate::Mistake;

/// The bits of a mode by which other users than the owner may do something.
const OTHERS: u32 = 0o077;

/// A data directory: everything that one host keeps.
#[derive(Clone, Debug)]
pub struct DataDirectory(PathBuf);

/// What lies in a data directory, and nothing else does.
const ENTRIES: &[&str] = &[
    "store",
    "artifacts",
    "caches",
    "work",
    // What actions left over which a host was killed, until it is removed.
    "work-left",
    "jobs",
    "logs",
    "compiled",
    "components",
    "images",
    "plugins",
    "credentials",
    "secret-keys",
    "stopped",
    "endpoint",
    // What an import leaves that was killed.
    "importing",
];

impl DataDirectory {
    /// Makes the directory, open to its owner only, if it is missing. One that is there and open to others is closed to them.
    ///
    /// # Errors
    /// A [`Mistake`]: it cannot be made or closed, or something else lies in it too, which others may have to reach.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::made(path).map_err(|error| Mistake::of(format_args!("{error:#}")).into())
    }

    fn made(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        let place = || format!("the data directory {}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(place)?;
        if fs::metadata(&path).with_context(place)?.mode() & OTHERS != 0 {
            let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>).with_context(place)?;
            let other =
                entries.iter().map(fs::DirEntry::file_name).find(|name| !ENTRIES.iter().any(|entry| *entry == *name));
            if let Some(other) = other {
                anyhow::bail!(
                    "{} will hold secrets and is open to other users, and {} in it is no part of it: name another directory, \
                     or close it with `chmod 700`",
                    place(),
                    other.display()
                );
            }
            close(&path).with_context(place)?;
        }
        let data = Self(path);
        close_folder(&data.store()).with_context(|| data.store().display().to_string())?;
        Ok(data)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    /// Each running action's own files; on the file system of the artifacts, so that outputs move there by renaming.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// What is to be removed of that; on the same file system.
    pub fn work_left(&self) -> PathBuf {
        self.0.join("work-left")
    }

    /// What builds keep for later ones; on the file system of the work, from which it moves there by renaming.
    pub fn caches(&self) -> PathBuf {
        self.0.join("caches")
    }

    /// What workers of jobs fetched and uploaded, until their actions end.
    pub fn jobs(&self) -> PathBuf {
        self.0.join("jobs")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn compiled(&self) -> PathBuf {
        self.0.join("compiled")
    }

    /// The components that were ever loaded, by digest.
    pub fn components(&self) -> PathBuf {
        self.0.join("components")
    }

    /// The images in which programs run, unpacked.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// What `pipewright plugin add` installed.
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    /// The same of an account that is not that of those who run the host.
    pub fn plugins_of(&self, account: u64) -> PathBuf {
        self.plugins().join("accounts").join(format!("{account:012}"))
    }

    /// The administrator's key, in the format of AWS's shared credentials.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials")
    }

    /// The keys of stored secrets, unless the configuration names another file.
    pub fn secret_keys(&self) -> PathBuf {
        self.0.join("secret-keys")
    }

    /// There while nobody has the directory and whoever had it stopped in an orderly way.
    pub fn stopped(&self) -> PathBuf {
        self.0.join("stopped")
    }

    /// One line: the address of the server that is running on this directory.
    pub fn endpoint(&self) -> PathBuf {
        self.0.join("endpoint")
    }
}

/// The user's own folders, by the XDG base directory specification.
#[derive(Clone, Debug)]
pub struct UserFolders {
    data: PathBuf,
    cache: PathBuf,
    config: PathBuf,
}

impl UserFolders {
    pub fn find() -> anyhow::Result<Self> {
        let none = "there is no home directory; set HOME, or name a directory with --data";
        let xdg = Xdg::new().map_err(|_| Mistake::of(none))?;
        let own = |base: PathBuf| base.join("pipewright");
        Ok(Self { data: own(xdg.data_dir()), cache: own(xdg.cache_dir()), config: own(xdg.config_dir()) })
    }

    /// The data directory of local runs of one pipeline file: each has its own, so that runs of two do not wait for each
    /// other.
    pub fn run_data(&self, pipeline: &str, file_digest: &str) -> PathBuf {
        self.data.join("runs").join(format!("{pipeline}-{}", &file_digest[..12]))
    }

    /// The data directory of a server that was not told another.
    pub fn server_data(&self) -> PathBuf {
        self.data.join("server")
    }

    /// Compiled components, shared by all local runs.
    pub fn compiled(&self) -> PathBuf {
        self.cache.join("compiled")
    }

    /// The images in which programs of local runs run, unpacked.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// What cargo makes on the way to a plugin's component, shared by all plugins of the user.
    pub fn cargo(&self) -> PathBuf {
        self.cache.join("cargo")
    }

    /// One file for each grants file that was consented to or refused, named by its digest.
    pub fn consents(&self) -> PathBuf {
        self.config.join("consents")
    }
}

/// Takes from other users what they may do with a file or a folder. A link is not followed.
fn close(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() || metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777 & !OTHERS))
}

/// The same of a folder, if it is there, and of what lies in it.
pub fn close_folder(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => close(folder)?,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => return Ok(()),
    }
    for entry in fs::read_dir(folder)? {
        close(&entry?.path())?;
    }
    Ok(())
}

/// Writes a file that only its owner can read, in the place of whatever was there: whole, and never through a link.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are new, and have mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Makes a file durable, and that it has its name.
pub fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a start would take what the one before left for somebody else's.
    #[test]
    fn what_lies_in_a_data_directory_is_listed() {
        let data = DataDirectory(PathBuf::from("/data"));
        let places: [fn(&DataDirectory) -> PathBuf; 15] = [
            DataDirectory::store,
            DataDirectory::artifacts,
            DataDirectory::work,
            DataDirectory::work_left,
            DataDirectory::caches,
            DataDirectory::jobs,
            DataDirectory::logs,
            DataDirectory::compiled,
            DataDirectory::components,
            DataDirectory::images,
            DataDirectory::plugins,
            DataDirectory::credentials,
            DataDirectory::secret_keys,
            DataDirectory::stopped,
            DataDirectory::endpoint,
        ];
        for place in places.map(|place| place(&data)) {
            let name = place.strip_prefix("/data").unwrap().to_str().unwrap();
            assert!(ENTRIES.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_private_file_is_not_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (elsewhere, place) = (folder.path().join("elsewhere"), folder.path().join("endpoint"));
        fs::write(&elsewhere, "somebody else's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
        write_private(&place, b"ours").unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "somebody else's");
        let found = fs::symlink_metadata(&place).unwrap();
        assert_eq!((found.is_file(), found.mode() & 0o777), (true, 0o600));
        assert_eq!(fs::read_to_string(&place).unwrap(), "ours");
    }
}

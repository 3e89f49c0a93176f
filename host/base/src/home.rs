//! Where things lie on this machine: one data directory's layout, and the user's own folders.
//!
//! Owns the names of files and folders. Must not know what is in them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcetera::base_strategy::{BaseStrategy as _, Xdg};

/// A data directory: everything that one host keeps.
#[derive(Clone, Debug)]
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Makes the directory, open to its owner only, if it is missing.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::path::absolute(path)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        Ok(Self(path))
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
        let xdg = Xdg::new().context("there is no home directory; set HOME, or name a directory with --data")?;
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

    /// One file for each grants file that was consented to or refused, named by its digest.
    pub fn consents(&self) -> PathBuf {
        self.config.join("consents")
    }
}

//! The server's configuration: one TOML file, in which an unknown key is an error.
//!
//! Owns the file's format and its defaults. Must not know what a setting does.
//!
//! ```toml
//! listen = "127.0.0.1:7720"
//! region = "us-east-1"
//! account = "000000000000"
//! plugins = "plugins"                       # a folder of components, besides those that come with the host
//! certificate_authorities = ["ca.pem"]      # for https from plugins, besides the system's
//! store_cache_mib = 64
//! poll_seconds = 60                         # how often a source is looked at
//!
//! [tls]                                     # https in place of http
//! certificate = "server.pem"
//! key = "server.key"
//!
//! [grants]                                  # pipeline = its grants file
//! website = "grants/website.toml"
//!
//! [accounts.111111111111.grants]            # another team's account: its own pipelines, plugins and access key
//! docs = "grants/docs.toml"
//!
//! [quotas]
//! pipelines = 1000
//!
//! [limits]                                  # of each call of a plugin; what is not named is as it is without the file
//! wall_seconds_max = 7200
//! memory_bytes_max = 2147483648
//!
//! [commands]                                # programs of this machine, which actions run apart from it
//! level = "toolchain"                       # nothing runs less apart; "restricted" needs no namespaces
//! at_once = 4
//! at_once_per_account = 2
//! limits = { wall_seconds_max = 7200 }      # of each program
//!
//! [commands.toolchains.rust]                # besides the system's own /usr
//! read = ["/opt/rust"]
//! path = ["/opt/rust/bin"]
//! environment = { RUSTUP_HOME = "/opt/rust" }
//!
//! [commands.images.names]                   # images that names without a registry stand for
//! "aws/codebuild/standard:7.0" = "registry.example/build/standard:7"
//!
//! [retention]
//! executions_age_days = 365
//! executions_count_max = 10000              # of each pipeline
//! logs_age_days = 365
//! ```
//!
//! Relative paths start at the folder of the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pipewright_sandbox::limits::CallLimits;
use serde::{Deserialize, Serialize};

use pipewright_engine::retention::Retention;
use pipewright_runner::grant_book;
use pipewright_runner::programs::Offered;

/// A larger file is refused.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// As many as one audience has at most (S114).
const ACCOUNTS_MAX: usize = 1000;

/// Serialized, it says what counts where the file is silent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the server listens. `--listen` takes its place.
    pub listen: SocketAddr,
    /// The region of which the server says that it is; requests are signed for it. `--region` takes its place.
    pub region: String,
    /// The account of those who run the server: 12 digits.
    account: String,
    /// A folder of components (`*.wasm`), besides those that come with the host.
    pub plugins: Option<PathBuf>,
    /// PEM files of authorities that are trusted for https from plugins, besides the system's.
    pub certificate_authorities: Vec<PathBuf>,
    /// What the store keeps in memory, in MiB.
    pub store_cache_mib: u64,
    /// How often each source is looked at, in seconds; at least 1.
    pub poll_seconds: u64,
    /// With it the server speaks https, and nothing else.
    pub tls: Option<TlsFiles>,
    /// The grants file of each pipeline of the operators' account, by the pipeline's name.
    grants: BTreeMap<String, PathBuf>,
    /// The accounts of other teams, by their 12 digits; 1,000 at most.
    accounts: BTreeMap<String, Account>,
    /// What each account may have.
    pub quotas: Quotas,
    /// What each call of a plugin may use, as far as it differs from the default.
    pub limits: CallLimits,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// The programs of this machine that actions may run, apart from it.
    pub commands: Offered,
    /// Where relative paths start.
    #[serde(skip)]
    base: PathBuf,
}

/// An account besides that of those who run the server. A table with nothing in it makes one, too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Account {
    /// The grants file of each pipeline of this account, by the pipeline's name.
    grants: BTreeMap<String, PathBuf>,
}

/// PEM files, which are read again when one of them has changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The server's certificate, with what is between it and an authority.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// What each account may have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Pipelines; a CreatePipeline beyond fails (S110).
    pub pipelines: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { pipelines: 1000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7720)),
            region: pipewright_runner::host::REGION.to_owned(),
            account: format!("{:012}", pipewright_runner::host::ACCOUNT),
            plugins: None,
            certificate_authorities: Vec::new(),
            store_cache_mib: 64,
            poll_seconds: 60,
            tls: None,
            grants: BTreeMap::new(),
            accounts: BTreeMap::new(),
            quotas: Quotas::default(),
            limits: CallLimits::default(),
            retention: Retention::default(),
            commands: Offered::default(),
            base: PathBuf::new(),
        }
    }
}

/// The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Invalid { path: PathBuf, message: String },
    #[error("--{0}")]
    Argument(String),
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(invalid(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.base = std::path::absolute(path).map_err(unreadable)?.parent().map(Path::to_owned).unwrap_or_default();
        config.check().map_err(invalid)?;
        Ok(config)
    }

    pub fn check(&self) -> Result<(), String> {
        let operator = account_number(&self.account).ok_or("account: write it as 12 digits")?;
        if self.accounts.len() > ACCOUNTS_MAX {
            return Err(format!("accounts: more than {ACCOUNTS_MAX}"));
        }
        for account in self.accounts.keys() {
            match account_number(account) {
                None => return Err(format!("accounts.{account}: write the account as 12 digits")),
                Some(number) if number == operator => {
                    return Err(format!("accounts.{account}: this is `account` itself; its grants are in `[grants]`"));
                }
                Some(_) => {}
            }
        }
        if self.region.is_empty()
            || !self.region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(format!("region: {:?} is not the name of a region", self.region));
        }
        if self.poll_seconds == 0 {
            return Err("poll_seconds: must be at least 1".to_owned());
        }
        self.commands.check()
    }

    /// The account of those who run the host.
    pub fn operator(&self) -> u64 {
        account_number(&self.account).unwrap_or(pipewright_runner::host::ACCOUNT)
    }

    /// Every account, the operator's first.
    pub fn accounts(&self) -> Vec<u64> {
        let others = self.accounts.keys().filter_map(|account| account_number(account));
        std::iter::once(self.operator()).chain(others).collect()
    }

    /// The grants files of all accounts' pipelines.
    pub fn grants_files(&self) -> grant_book::Files {
        let of = |account: u64, grants: &BTreeMap<String, PathBuf>| {
            let file = |(pipeline, path): (&String, &PathBuf)| ((account, pipeline.clone()), self.path(path));
            grants.iter().map(file).collect::<Vec<_>>()
        };
        let others = self.accounts.iter().filter_map(|(id, account)| Some(of(account_number(id)?, &account.grants)));
        of(self.operator(), &self.grants).into_iter().chain(others.flatten()).collect()
    }

    /// A path of the file, from the file's folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }
}

/// An account's number, from its id of 12 digits.
pub fn account_number(id: &str) -> Option<u64> {
    let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_or_says_what_is_wrong() {
        let check = |text: &str, expected: Result<&[u64], &str>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pipewright.toml");
            std::fs::write(&path, text).unwrap();
            match (Config::read(&path), expected) {
                (Ok(config), Ok(accounts)) => assert_eq!(config.accounts(), accounts),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (read, expected) => panic!("{text}: {read:?}, expected {expected:?}"),
            }
        };
        check("", Ok(&[0]));
        check("account = \"123456789012\"\n[grants]\nsite = \"site.toml\"", Ok(&[123_456_789_012]));
        check(
            "[accounts.111111111111]\n[accounts.222222222222.grants]\na = \"a\"",
            Ok(&[0, 111_111_111_111, 222_222_222_222]),
        );
        check("[accounts.1]", Err("accounts.1: write the account as 12 digits"));
        check("[accounts.000000000000]", Err("this is `account` itself"));
        check("[accounts.111111111111]\nquota = 1", Err("unknown field `quota`"));
        check("account = \"12\"", Err("12 digits"));
        check("regoin = \"us-east-1\"", Err("unknown field `regoin`"));
        check("region = \"US\"", Err("not the name of a region"));
        check("poll_seconds = 0", Err("at least 1"));
        check("[quotas]\npipelins = 3", Err("unknown field `pipelins`"));
        check("[commands]\nlevel = \"restricted\"\n[commands.toolchains.c]\nread = [\"/usr/bin\"]", Ok(&[0]));
        check("[commands.images.names]\na = \"toolchain\"\nb = \"oci:/images/b\"", Ok(&[0]));
        check("[commands.images.names]\na = \"b\"", Err("the image \"b\" names no registry"));
        check("[commands]\nat_once = 0", Err("at least 1"));
        check("[commands.toolchains.c]\nread = [\"/etc\"]", Err("commands.toolchains.c: `/etc` cannot be part"));
    }
}

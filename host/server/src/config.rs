//! The server's configuration: one TOML file, in which an unknown key is an error.
//!
//! Owns the file's format and its defaults. Must not know what a setting does.
//!
//! ```toml
//! listen = "127.0.0.1:7720"
//! public_address = "https://ci.example.com" # where webhooks are delivered
//! region = "us-east-1"
//! account = "000000000000"
//! plugins = "plugins"                       # a folder of components, besides those that come with the host
//! certificate_authorities = ["ca.pem"]      # for https from plugins, besides the system's
//! store_cache_mib = 64
//! projects = "projects"                     # a folder of projects of CodeBuild, each a file NAME.json
//! poll_seconds = 60                         # how often a source is looked at
//! secret_keys = "/etc/pipewright/keys"      # what stored secrets are sealed with, in place of a file beside the data
//!
//! [tls]                                     # https in place of http
//! certificate = "server.pem"
//! key = "server.key"
//!
//! [grants]                                  # pipeline = its grants file
//! website = "grants/website.toml"
//! "team-*" = "grants/team.toml"             # of all others whose names begin so
//!
//! [connections.hub]                         # a git host, for sources that name the connection `hub`
//! kind = "github"
//! secret = { env = "HUB_TOKEN" }
//! webhook_secret = { file = "hub.secret" }
//! status = true                             # tells it how the executions fare that fetched its commits
//!
//! [functions.tell]                          # what does the actions of AWS Lambda that name the function `tell`
//! url = "http://127.0.0.1:9001/2015-03-31/functions/tell/invocations"
//! private = true
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
//! [notifications]
//! private = ["http://127.0.0.1:9000"]       # to which targets may lead, though it is no public address
//!
//! [notifications.targets.chat]              # of the operators' account; each account makes its own besides
//! url = "https://chat.example/hook"
//! secret_file = "chat.secret"
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

use pipewright_sandbox::capabilities::http::origin_of;
use pipewright_sandbox::limits::CallLimits;
use serde::{Deserialize, Serialize};

use crate::notify::{Configured, SigningSecret, is_address};
use crate::service::functions::{Function, Functions};
use crate::service::notifications;
use pipewright_base::Mistake;
use pipewright_engine::retention::Retention;
use pipewright_runner::connections::{Connection, is_name};
use pipewright_runner::grant_book;
use pipewright_runner::programs::Offered;

/// A larger file is refused.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Where systemd lays credentials (systemd.exec(5), `LoadCredential=`), and which of them has the keys of stored secrets.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const SECRET_KEYS: &str = "pipewright-secret-keys";
/// As many as one audience has at most (S114).
const ACCOUNTS_MAX: usize = 1000;

/// Serialized, it says what counts where the file is silent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the server listens. `--listen` takes its place.
    pub listen: SocketAddr,
    /// Where other systems reach the server, like `https://ci.example.com`: the addresses of webhooks begin so. Without it they
    /// begin with the address on which it listens.
    pub public_address: Option<String>,
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
    /// The grants file of each pipeline of the operators' account, by the pipeline's name; or of all whose names have a beginning
    /// in common, by that and `*`. A name itself counts first, then the longest beginning. SIGHUP has it read again.
    grants: BTreeMap<String, PathBuf>,
    /// The git hosts of the operators' account, by the connections' names.
    connections: BTreeMap<String, Connection>,
    /// What does the actions `Invoke/AWS/Lambda/1` and the rules `LambdaInvoke` of the operators' account, by the functions' names.
    functions: BTreeMap<String, Function>,
    /// The accounts of other teams, by their 12 digits; 1,000 at most.
    accounts: BTreeMap<String, Account>,
    /// A folder of projects of CodeBuild for the operators' account, each a file `NAME.json` in the shape of CreateProject's input.
    /// Read at the start; clients can read and build them.
    projects: Option<PathBuf>,
    /// What each account may have.
    pub quotas: Quotas,
    /// What each call of a plugin may use, as far as it differs from the default.
    pub limits: CallLimits,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// The programs of this machine that actions may run, apart from it.
    pub commands: Offered,
    /// Where events are delivered.
    notifications: Notifications,
    /// The file of the keys that stored secrets are sealed with: a line of 64 hexadecimal digits for each, the newest first, which
    /// nobody but its owner can read. Without it: the file `pipewright-secret-keys` of systemd's credentials if it is there, else
    /// one of the data directory, which the server makes.
    pub secret_keys: Option<PathBuf>,
    /// Where relative paths start.
    #[serde(skip)]
    base: PathBuf,
}

/// An account besides that of those who run the server. A table with nothing in it makes one, too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Account {
    /// The grants file of each pipeline of this account, by the pipeline's name or its beginning and `*`.
    grants: BTreeMap<String, PathBuf>,
    /// A folder of projects of CodeBuild for this account.
    projects: Option<PathBuf>,
    /// The git hosts of this account, by the connections' names.
    connections: BTreeMap<String, Connection>,
    /// The functions of this account, by their names.
    functions: BTreeMap<String, Function>,
}

/// Signed deliveries of events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Notifications {
    /// Origins (`http://host:port`) that targets of any account may lead to, although they are at a loopback, link-local or private
    /// address. All others are refused there.
    private: Vec<String>,
    /// Targets of the operators' account, by their names.
    targets: BTreeMap<String, NotificationTarget>,
}

/// One address to which all events of the account are delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotificationTarget {
    /// An http or https address.
    url: String,
    /// A file that has the secret of the signatures: `whsec_`, and 24 to 64 bytes in base64.
    secret_file: PathBuf,
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
    /// Projects of CodeBuild; a CreateProject beyond fails.
    pub projects: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { pipelines: 1000, projects: 1000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7720)),
            public_address: None,
            region: pipewright_runner::host::REGION.to_owned(),
            account: format!("{:012}", pipewright_runner::host::ACCOUNT),
            plugins: None,
            certificate_authorities: Vec::new(),
            store_cache_mib: 64,
            poll_seconds: 60,
            tls: None,
            grants: BTreeMap::new(),
            connections: BTreeMap::new(),
            functions: BTreeMap::new(),
            accounts: BTreeMap::new(),
            projects: None,
            quotas: Quotas::default(),
            limits: CallLimits::default(),
            retention: Retention::default(),
            commands: Offered::default(),
            notifications: Notifications::default(),
            secret_keys: None,
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
        for (account, name) in self.grants_files().keys() {
            let checked = grant_book::check_name(name);
            checked.map_err(|reason| format!("grants of account {account:012}: {reason}"))?;
        }
        for (account, connections) in self.connections() {
            for (name, connection) in connections {
                let checked = if is_name(&name) {
                    connection.check()
                } else {
                    Err("its name has other characters than letters, digits and hyphens".to_owned())
                };
                checked.map_err(|reason| format!("the connection {name} of account {account:012}: {reason}"))?;
            }
        }
        for (account, functions) in self.functions() {
            for (name, function) in functions {
                function.check().map_err(|reason| format!("the function {name} of account {account:012}: {reason}"))?;
            }
        }
        if let Some(address) = &self.public_address
            && (address.ends_with('/') || !["https://", "http://"].iter().any(|scheme| address.starts_with(scheme)))
        {
            return Err(format!("public_address: write {address:?} as \"https://HOST\", without a `/` at its end"));
        }
        if self.poll_seconds == 0 {
            return Err("poll_seconds: must be at least 1".to_owned());
        }
        for (at, origin) in self.notifications.private.iter().enumerate() {
            if origin_of(origin).is_none() {
                return Err(format!("notifications.private[{at}]: write an origin as \"http://host:port\""));
            }
        }
        for (name, target) in &self.notifications.targets {
            let at = format!("notifications.targets.{name}");
            notifications::check_name(name).map_err(|error| format!("{at}: {error}"))?;
            if !is_address(&target.url) {
                return Err(format!("{at}.url: write an http or https address, without a user in it"));
            }
        }
        self.commands.check()
    }

    /// The same with the secrets of its files.
    pub fn notifications(&self) -> Result<Configured, Mistake> {
        let mut targets = BTreeMap::new();
        for (name, NotificationTarget { url, secret_file }) in &self.notifications.targets {
            let path = self.path(secret_file);
            let wrong = |problem: &dyn std::fmt::Display| {
                Mistake::of(format_args!("notifications.targets.{name}: {}: {problem}", path.display()))
            };
            let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
            let secret = SigningSecret::read(&text).map_err(|problem| wrong(&problem))?;
            targets.insert(name.clone(), (url.clone(), secret));
        }
        let private = self.notifications.private.iter().filter_map(|origin| origin_of(origin)).collect();
        Ok(Configured { private, targets })
    }

    /// The account of those who run the host.
    pub fn operator(&self) -> u64 {
        account_number(&self.account).unwrap_or(pipewright_runner::host::ACCOUNT)
    }

    /// The file of keys that is not the server's own.
    pub fn secret_keys(&self) -> Option<PathBuf> {
        let credential = || {
            let file = PathBuf::from(std::env::var_os(CREDENTIALS_DIRECTORY)?).join(SECRET_KEYS);
            file.exists().then_some(file)
        };
        self.secret_keys.as_ref().map(|path| self.path(path)).or_else(credential)
    }

    /// Every account, the operator's first.
    pub fn accounts(&self) -> Vec<u64> {
        let others = self.accounts.keys().filter_map(|account| account_number(account));
        std::iter::once(self.operator()).chain(others).collect()
    }

    /// The connections of all accounts. The paths of their secrets start at the file's folder.
    pub fn connections(&self) -> BTreeMap<u64, BTreeMap<String, Connection>> {
        let of = |connections: &BTreeMap<String, Connection>| {
            connections.iter().map(|(name, it)| (name.clone(), it.clone().based(&self.base))).collect()
        };
        let others =
            self.accounts.iter().filter_map(|(id, account)| Some((account_number(id)?, of(&account.connections))));
        others.chain([(self.operator(), of(&self.connections))]).collect()
    }

    /// The functions of all accounts. The paths of their secrets start at the file's folder.
    pub fn functions(&self) -> Functions {
        let of = |functions: &BTreeMap<String, Function>| {
            let mut functions = functions.clone();
            functions.values_mut().filter_map(|it| it.key.as_mut()).for_each(|key| key.secret.base(&self.base));
            functions
        };
        let others =
            self.accounts.iter().filter_map(|(id, account)| Some((account_number(id)?, of(&account.functions))));
        others.chain([(self.operator(), of(&self.functions))]).filter(|(_, theirs)| !theirs.is_empty()).collect()
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

    /// The folders of projects, each with the account whose they are; none where an account has none.
    pub fn projects(&self) -> Vec<(u64, Option<PathBuf>)> {
        let of = |folder: &Option<PathBuf>| folder.as_ref().map(|folder| self.path(folder));
        let others =
            self.accounts.iter().filter_map(|(id, account)| Some((account_number(id)?, of(&account.projects))));
        std::iter::once((self.operator(), of(&self.projects))).chain(others).collect()
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
        check("[grants]\n\"team-*\" = \"team.toml\"\n\"*\" = \"all.toml\"", Ok(&[0]));
        check("[grants]\n\"*-site\" = \"site.toml\"", Err("grants of account 000000000000: \"*-site\": `*` stands"));
        check("[accounts.1]", Err("accounts.1: write the account as 12 digits"));
        check("[accounts.000000000000]", Err("this is `account` itself"));
        check("[accounts.111111111111]\nquota = 1", Err("unknown field `quota`"));
        check("account = \"12\"", Err("12 digits"));
        check("regoin = \"us-east-1\"", Err("unknown field `regoin`"));
        check("region = \"US\"", Err("not the name of a region"));
        check("poll_seconds = 0", Err("at least 1"));
        check("[connections.hub]\nkind = \"github\"\nsecret = { env = \"TOKEN\" }", Ok(&[0]));
        check("[connections.hub]\nkind = \"gitea\"", Err("the connection hub of account 000000000000: address"));
        check("[connections.\"a/b\"]\nkind = \"github\"", Err("other characters"));
        check(
            "[functions.f]\nurl = \"http://127.0.0.1:9001/\"\nkey = { id = \"A\", secret = { env = \"S\" } }",
            Ok(&[0]),
        );
        check("[functions.f]\nurl = \"f.example\"", Err("the function f of account 000000000000: url: write an http"));
        check(
            "[accounts.111111111111.functions.f]\nurl = \"https://f.example\"\nkey = { id = \"A\", secret = {} }",
            Err("the function f of account 111111111111: key.secret: give either env"),
        );
        check("public_address = \"ci.example.com\"", Err("public_address: write"));
        check("public_address = \"https://ci.example.com/\"", Err("public_address: write"));
        check("[quotas]\npipelins = 3", Err("unknown field `pipelins`"));
        check("[commands]\nlevel = \"restricted\"\n[commands.toolchains.c]\nread = [\"/usr/bin\"]", Ok(&[0]));
        check("[notifications]\nprivate = [\"http://127.0.0.1:9000\"]", Ok(&[0]));
        check("[notifications]\nprivate = [\"127.0.0.1\"]", Err("notifications.private[0]: write an origin"));
        let target =
            |name: &str, url: &str| format!("[notifications.targets.{name}]\nurl = \"{url}\"\nsecret_file = \"s\"");
        check(&target("chat", "https://chat.example/x"), Ok(&[0]));
        check(&target("chat", "chat.example"), Err("notifications.targets.chat.url: write an http or https address"));
        check(&target("\"a b\"", "https://chat.example"), Err("notifications.targets.a b: name: write 1 to 40"));
        check("[commands.images.names]\na = \"toolchain\"\nb = \"oci:/images/b\"", Ok(&[0]));
        check("[commands.images.names]\na = \"b\"", Err("the image \"b\" names no registry"));
        check("[commands]\nat_once = 0", Err("at least 1"));
        check("[commands.toolchains.c]\nread = [\"/etc\"]", Err("commands.toolchains.c: `/etc` cannot be part"));
    }
}

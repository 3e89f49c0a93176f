//! The grants file: what an operator lets the actions of a pipeline reach.
//!
//! Owns the file's format, its reading, the words in which it is shown to a person, and the resolving of its paths and
//! secrets into what the sandbox takes. Must not know how consent is given (`consent`) or how a grant is enforced (the
//! sandbox).
//!
//! ```toml
//! [action."Publish/Site"]                       # Stage/Action
//! plugin = "pipewright/deploy-directory@1"      # optional: only while this plugin serves the action
//! directories.site = { path = "public", access = "write" }
//! http = ["https://example.com", { origin = "http://localhost:8080", private = true }]
//! secrets.token = { env = "API_TOKEN", hosts = ["example.com"] }
//! clock = true
//! randomness = true
//! ```

pub mod suggest;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pipewright_base::hex;
use pipewright_sandbox::grants::{Access, DirectoryGrant, Grants, HttpGrant, SecretGrant, SecretValue};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A larger grants file is refused: it would never be read by a person either.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// A secret from a file is refused above this size.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A grants file as it was read.
#[derive(Clone, Debug, Default)]
pub struct GrantsFile {
    /// Relative paths start here: the folder of the file.
    base: PathBuf,
    /// SHA-256 of the file's bytes, in hexadecimal; consent is kept under it.
    pub digest: String,
    text: String,
    actions: BTreeMap<String, ActionGrants>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    action: BTreeMap<String, ActionGrants>,
}

/// The grants of one action as they are written; also the `grants` table of a plugin's test case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionGrants {
    #[serde(default)]
    plugin: Option<String>,
    #[serde(default)]
    directories: BTreeMap<String, Directory>,
    #[serde(default)]
    http: Vec<Origin>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    #[serde(default)]
    clock: bool,
    #[serde(default)]
    randomness: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    path: PathBuf,
    access: FileAccess,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileAccess {
    Read,
    Write,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected \"https://host\", or { origin = \"http://host:port\", private = true }")]
enum Origin {
    Public(String),
    Detailed(DetailedOrigin),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetailedOrigin {
    origin: String,
    #[serde(default)]
    private: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    env: Option<String>,
    file: Option<PathBuf>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    reveal: bool,
}

/// Every one of these is the operator's to mend; nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    #[error("{path}: cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: larger than {FILE_BYTES_MAX} bytes")]
    TooLarge { path: PathBuf },
    #[error("{path}: {message}")]
    Invalid { path: PathBuf, message: String },
    #[error("grant for action \"{action}\": {message}")]
    Action { action: String, message: String },
}

impl GrantsFile {
    pub fn read(path: &Path) -> Result<Self, GrantsError> {
        let unreadable = |source| GrantsError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(GrantsError::TooLarge { path: path.to_owned() });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let invalid = |message: &str| GrantsError::Invalid { path: path.to_owned(), message: message.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| invalid("is not UTF-8"))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = std::path::absolute(folder).map_err(unreadable)?;
        Self::parse(base, text).map_err(|message| invalid(&message))
    }

    fn parse(base: PathBuf, text: String) -> Result<Self, String> {
        let document: Document = toml::from_str(&text).map_err(|error| error.to_string())?;
        for name in document.action.keys() {
            if name.split('/').count() != 2 {
                return Err(format!("[action.\"{name}\"]: write it as \"Stage/Action\""));
            }
        }
        Ok(Self { digest: hex::encode(Sha256::digest(&text)), base, text, actions: document.action })
    }

    /// The file as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same with its place, to be kept; [`GrantsFile::from_bytes`] takes it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.base.as_os_str().as_encoded_bytes(), b"\n", self.text.as_bytes()].concat()
    }

    /// None where it is not what was kept.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (base, text) = (&bytes[..end], &bytes[end + 1..]);
        Self::parse(std::ffi::OsStr::from_bytes(base).into(), String::from_utf8(text.to_vec()).ok()?).ok()
    }

    /// Adds a read-only directory to one action's grants: what `--source` means.
    pub fn add_directory(&mut self, action: &str, name: &str, path: PathBuf) {
        let directory = Directory { path, access: FileAccess::Read };
        self.actions.entry(action.to_owned()).or_default().directories.insert(name.to_owned(), directory);
    }

    /// The `Stage/Action` names that the file grants something to.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }

    /// What the sandbox gets for one action served by `plugin` (a name) in `version`; nothing where the file is silent.
    pub fn resolve(&self, action: &str, plugin: &str, version: &str) -> Result<Grants, GrantsError> {
        match self.actions.get(action) {
            Some(grants) if grants.applies_to(plugin, version) => {
                grants.resolve(&self.base).map_err(|message| GrantsError::Action { action: action.to_owned(), message })
            }
            _ => Ok(Grants::default()),
        }
    }

    /// Every secret of the file.
    ///
    /// # Errors
    /// One of them is not there any more.
    pub fn secrets(&self) -> Result<Vec<SecretValue>, GrantsError> {
        let of_action = |(action, grants): (&String, &ActionGrants)| {
            let resolved = each(&grants.secrets, |name, secret| secret.resolve(name, &self.base));
            resolved.map_err(|message| GrantsError::Action { action: action.clone(), message })
        };
        let secrets = self.actions.iter().map(of_action).collect::<Result<Vec<_>, _>>()?;
        Ok(secrets.into_iter().flat_map(BTreeMap::into_values).map(|secret| secret.value).collect())
    }

    /// Where `/directories/NAME/…`, as a plugin knows it, lies on this machine.
    pub fn host_path(&self, action: &str, guest_path: &str) -> Option<String> {
        let (name, rest) = match guest_path.strip_prefix("/directories/")?.split_once('/') {
            Some((name, rest)) => (name, rest),
            None => (guest_path.strip_prefix("/directories/")?, ""),
        };
        let directory = self.actions.get(action)?.directories.get(name)?;
        Some(tidy(&self.base.join(&directory.path)).join(rest).display().to_string())
    }

    /// The whole file in words, one grant a line, for a person who is to consent.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for (action, grants) in &self.actions {
            let _ = writeln!(text, "  {action} may");
            for line in grants.in_words(&self.base) {
                let _ = writeln!(text, "    - {line}");
            }
        }
        text
    }
}

/// The grants of one action, by lines as a file would have them, and paths that start in the working directory.
pub fn in_one_action(action: &str, lines: &[String]) -> Result<GrantsFile, GrantsError> {
    let place = Path::new("--grant");
    let base = std::path::absolute(".").map_err(|source| GrantsError::Unreadable { path: place.to_owned(), source })?;
    let text = format!("[action.{action:?}]\n{}\n", lines.join("\n"));
    GrantsFile::parse(base, text).map_err(|message| GrantsError::Invalid { path: place.to_owned(), message })
}

impl ActionGrants {
    fn applies_to(&self, plugin: &str, version: &str) -> bool {
        let Some(wanted) = &self.plugin else { return true };
        let (name, major) = wanted.split_once('@').map_or((wanted.as_str(), None), |(name, major)| (name, Some(major)));
        name == plugin && major.is_none_or(|major| version.split('.').next() == Some(major))
    }

    /// Paths are taken from `base`; the directories must exist, and a writable one is made if it does not.
    pub fn resolve(&self, base: &Path) -> Result<Grants, String> {
        Ok(Grants {
            http: self.http.iter().map(Origin::resolve).collect::<Result<_, _>>()?,
            directories: each(&self.directories, |name, directory| directory.resolve(name, base))?,
            secrets: each(&self.secrets, |name, secret| secret.resolve(name, base))?,
            clock: self.clock,
            randomness: self.randomness,
        })
    }

    /// What in these grants takes something from outside of the folder `base`: for a plugin's test cases, to which nobody
    /// consented.
    pub fn leaving(&self, base: &Path) -> Vec<String> {
        let mut problems = Vec::new();
        let files = self.secrets.iter().filter_map(|(name, secret)| Some((name, secret.file.as_ref()?)));
        let paths = (self.directories.iter().map(|(name, directory)| (format!("directories.{name}"), &directory.path)))
            .chain(files.map(|(name, file)| (format!("secrets.{name}"), file)));
        for (key, path) in paths {
            if !stays_below(base, path) {
                problems.push(format!("{key}: {} leads out of the case's folder", path.display()));
            }
        }
        for name in self.secrets.iter().filter(|(_, secret)| secret.env.is_some()).map(|(name, _)| name) {
            problems.push(format!("secrets.{name}: give file = \"PATH\", not an environment variable"));
        }
        problems
    }

    fn in_words(&self, base: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, directory) in &self.directories {
            let verb = match directory.access {
                FileAccess::Read => "read",
                FileAccess::Write => "read and write",
            };
            lines.push(format!("{verb} everything in {} (as \"{name}\")", tidy(&base.join(&directory.path)).display()));
        }
        for origin in &self.http {
            let (origin, private) = origin.parts();
            let private = if private { ", even at a private address" } else { "" };
            lines.push(format!("send requests to {origin}{private}"));
        }
        for (name, secret) in &self.secrets {
            let from = match (&secret.env, &secret.file) {
                (Some(env), _) => format!("environment variable {env}"),
                (None, Some(file)) => format!("file {}", base.join(file).display()),
                (None, None) => "nowhere".to_owned(),
            };
            let to = if secret.hosts.is_empty() { "no host".to_owned() } else { secret.hosts.join(", ") };
            let reveal = if secret.reveal { ", and read its value" } else { "" };
            lines.push(format!("use the secret \"{name}\" ({from}) in requests to {to}{reveal}"));
        }
        if self.clock {
            lines.push("read the time of day".to_owned());
        }
        if self.randomness {
            lines.push("use randomness".to_owned());
        }
        lines
    }
}

fn each<T, U>(
    map: &BTreeMap<String, T>,
    resolve: impl Fn(&str, &T) -> Result<U, String>,
) -> Result<BTreeMap<String, U>, String> {
    map.iter().map(|(name, value)| Ok((name.clone(), resolve(name, value)?))).collect()
}

impl Directory {
    fn resolve(&self, name: &str, base: &Path) -> Result<DirectoryGrant, String> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(format!("directories.{name}: a name is one path component that does not start with a dot"));
        }
        let path = tidy(&base.join(&self.path));
        let access = match self.access {
            FileAccess::Read => Access::Read,
            FileAccess::Write => Access::Write,
        };
        if access == Access::Write {
            std::fs::create_dir_all(&path).map_err(|e| format!("directories.{name}: {}: {e}", path.display()))?;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(DirectoryGrant { path, access }),
            Ok(_) => Err(format!("directories.{name}: {} is not a directory", path.display())),
            Err(error) => Err(format!("directories.{name}: {}: {error}", path.display())),
        }
    }
}

impl Origin {
    fn parts(&self) -> (&str, bool) {
        match self {
            Self::Public(origin) => (origin, false),
            Self::Detailed(DetailedOrigin { origin, private }) => (origin, *private),
        }
    }

    fn resolve(&self) -> Result<HttpGrant, String> {
        let (origin, private) = self.parts();
        let wrong = || format!("http: \"{origin}\": write an origin as \"https://host\" or \"http://host:port\"");
        let (scheme, authority) = origin.split_once("://").ok_or_else(wrong)?;
        let (tls, default_port) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(wrong()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() || host.contains(['/', '@', '*', '?', '#']) {
            return Err(wrong());
        }
        Ok(HttpGrant { tls, host, port, private })
    }
}

impl Secret {
    fn resolve(&self, name: &str, base: &Path) -> Result<SecretGrant, String> {
        let value = match (&self.env, &self.file) {
            (Some(variable), None) => std::env::var(variable)
                .map_err(|_| format!("secrets.{name}: the environment variable {variable} is not set"))?,
            (None, Some(file)) => secret_file(name, &base.join(file))?,
            _ => return Err(format!("secrets.{name}: give either env = \"NAME\" or file = \"PATH\"")),
        };
        if value.is_empty() {
            return Err(format!("secrets.{name}: the value is empty"));
        }
        let hosts = self.hosts.iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase()).collect();
        Ok(SecretGrant { value: SecretValue::new(value), hosts, reveal: self.reveal })
    }
}

/// Reads a secret from a file that only its owner can read; a last line feed does not count.
fn secret_file(name: &str, path: &Path) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let wrong = |error: std::io::Error| format!("secrets.{name}: {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(wrong)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("secrets.{name}: {} can be read by others; run chmod 600 on it", path.display()));
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(format!("secrets.{name}: {} is larger than {SECRET_BYTES_MAX} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Whether a relative path leads to something below `base`: no `..`, and no link on the way.
fn stays_below(base: &Path, path: &Path) -> bool {
    use std::path::Component;
    let mut at = base.to_owned();
    path.components().all(|component| match component {
        Component::CurDir => true,
        Component::Normal(name) => {
            at.push(name);
            !at.is_symlink()
        }
        _ => false,
    })
}

/// The path without `.` and `..`, so that a person sees where it leads; links are left alone.
fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    path.components().fold(PathBuf::new(), |mut tidy, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
        tidy
    })
}

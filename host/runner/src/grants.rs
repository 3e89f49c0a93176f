//! The grants file: what an operator lets the actions of a pipeline reach.
//!
//! Owns the file, and which grants are whose. Must not know how consent is given (`consent`), nor what a grant of any one
//! capability says, means or looks like in words (the sandbox).
//!
//! ```toml
//! [action."Publish/Site"]                       # Stage/Action, or Stage/beforeEntry/Rule
//! plugin = "pipewright/deploy-directory@1"      # optional: only while this plugin serves the action
//! directories.site = { path = "public", access = "write" }
//! http = ["https://example.com", { origin = "http://localhost:8080", private = true }]
//! secrets.token = { env = "API_TOKEN", hosts = ["example.com"] }
//! secrets.db = { store = "db", commands = true }
//! clock = true
//! randomness = true
//! commands = { level = "toolchain", toolchain = "rust", network = ["https://index.crates.io"] }
//! ```

pub mod suggest;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pipewright_base::hex;
use pipewright_pipeline::machine::ConditionType;
use pipewright_sandbox::capabilities::Capability as _;
use pipewright_sandbox::capabilities::secrets::stored::Stored;
use pipewright_sandbox::capabilities::secrets::{Secret, Secrets};
use pipewright_sandbox::grants::{Access, Directory, Grants, Place, SecretGrant, Written, tidy};
use pipewright_text::printable;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

const CONDITIONS: [ConditionType; 3] = [ConditionType::BeforeEntry, ConditionType::OnSuccess, ConditionType::OnFailure];

/// A larger grants file is refused: it would never be read by a person either.
const FILE_BYTES_MAX: u64 = 256 * 1024;

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
#[derive(Clone, Debug, Default)]
pub struct ActionGrants {
    plugin: Option<String>,
    written: Written,
}

/// The key that is not a capability's.
const PLUGIN: &str = "plugin";

impl<'de> Deserialize<'de> for ActionGrants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = ActionGrants;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of grants")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ActionGrants, M::Error> {
                let mut grants = ActionGrants::default();
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_str() {
                        PLUGIN => grants.plugin = map.next_value()?,
                        key => grants.written.read(key, &mut map)?,
                    }
                }
                match grants.written.contradiction() {
                    Some(problem) => Err(M::Error::custom(problem)),
                    None => Ok(grants),
                }
            }
        }
        deserializer.deserialize_map(Table)
    }
}

/// Refused where it stands if it is none.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == PLUGIN || Written::KEYS.contains(&key.as_str()) {
            return Ok(Self(key));
        }
        let known: Vec<String> = [&[PLUGIN], Written::KEYS].concat().iter().map(|key| format!("`{key}`")).collect();
        Err(D::Error::custom(format_args!("unknown field `{key}`, expected one of {}", known.join(", "))))
    }
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
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        // Whoever opens a pipe waits for somebody to write.
        if !metadata.is_file() {
            return Err(unreadable(std::io::Error::other("it is no regular file")));
        }
        if metadata.len() > FILE_BYTES_MAX {
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
            let parts: Vec<&str> = name.split('/').collect();
            let is_rule = |which: &ConditionType| which.member() == parts[1];
            if parts.len() != 2 && !(parts.len() == 3 && CONDITIONS.iter().any(is_rule)) {
                return Err(format!(
                    "[action.\"{name}\"]: write it as \"Stage/Action\", or for a rule as \"Stage/beforeEntry/Rule\" (or \
                     onSuccess, onFailure)"
                ));
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
        let directory = Directory { path, access: Access::Read };
        self.actions.entry(action.to_owned()).or_default().written.directories.insert(name.to_owned(), directory);
    }

    /// The names, `Stage/Action` or `Stage/beforeEntry/Rule`, that the file grants something to.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }

    /// What the sandbox gets for one action served by `plugin` (a name) in `version`; nothing where the file is silent. `stored` has
    /// those of the account's secrets that [`GrantsFile::stored`] names.
    pub fn resolve(&self, action: &str, plugin: &str, version: &str, stored: &Stored) -> Result<Grants, GrantsError> {
        match self.actions.get(action) {
            Some(grants) if grants.applies_to(plugin, version) => {
                let resolved = grants.written.resolve(Place { base: &self.base, stored });
                resolved.map_err(|message| GrantsError::Action { action: action.to_owned(), message })
            }
            _ => Ok(Grants::default()),
        }
    }

    /// Whether an action that a plugin (a name) serves in this version may run programs.
    pub fn runs_commands(&self, action: &str, plugin: &str, version: &str) -> bool {
        let grants = self.actions.get(action).filter(|grants| grants.applies_to(plugin, version));
        grants.is_some_and(|grants| grants.written.commands.is_some())
    }

    /// Which of the account's secrets the file names, for one action, or for any.
    pub fn stored(&self, action: Option<&str>) -> BTreeSet<String> {
        let actions = self.actions.iter().filter(|(name, _)| action.is_none_or(|action| action == *name));
        actions.flat_map(|(_, grants)| grants.stored()).map(str::to_owned).collect()
    }

    /// Every secret of the file.
    ///
    /// # Errors
    /// One of them is not there any more.
    pub fn secrets(&self, stored: &Stored) -> Result<Vec<SecretGrant>, GrantsError> {
        let of_action = |(action, grants): (&String, &ActionGrants)| {
            let resolved = Secrets::resolve(&grants.written.secrets, Place { base: &self.base, stored });
            resolved.map_err(|message| GrantsError::Action { action: action.clone(), message })
        };
        let secrets = self.actions.iter().map(of_action).collect::<Result<Vec<_>, _>>()?;
        Ok(secrets.into_iter().flat_map(BTreeMap::into_values).collect())
    }

    /// Where `/directories/NAME/…`, as a plugin knows it, lies on this machine.
    pub fn host_path(&self, action: &str, guest_path: &str) -> Option<String> {
        let (name, rest) = match guest_path.strip_prefix("/directories/")?.split_once('/') {
            Some((name, rest)) => (name, rest),
            None => (guest_path.strip_prefix("/directories/")?, ""),
        };
        let directory = self.actions.get(action)?.written.directories.get(name)?;
        Some(tidy(&self.base.join(&directory.path)).join(rest).display().to_string())
    }

    /// The whole file in words, one grant a line, for a person who is to consent.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for (action, grants) in &self.actions {
            let _ = writeln!(text, "  {} may", printable(action));
            for line in grants.written.in_words(&self.base) {
                let _ = writeln!(text, "    - {}", printable(&line));
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

    /// Paths are taken from `base`; `stored` has those of the account's secrets that [`ActionGrants::stored`] names.
    pub fn resolve(&self, base: &Path, stored: &Stored) -> Result<Grants, String> {
        self.written.resolve(Place { base, stored })
    }

    /// Which of the account's secrets they name.
    pub fn stored(&self) -> impl Iterator<Item = &str> {
        self.written.secrets.values().filter_map(Secret::stored)
    }

    /// What in these grants takes something from outside of the folder `base`: for a plugin's test cases, to which nobody
    /// consented.
    pub fn leaving(&self, base: &Path) -> Vec<String> {
        self.written.leaving(base)
    }
}

#[cfg(test)]
mod tests {
    use pipewright_sandbox::capabilities::CAPABILITIES;

    use super::*;

    #[test]
    fn the_example_of_each_capability_is_a_grant() {
        for row in CAPABILITIES {
            let Some(example) = row.grant else {
                assert!(!Written::KEYS.contains(&row.name), "{row:?}");
                continue;
            };
            let grants: ActionGrants = toml::from_str(example).unwrap_or_else(|error| panic!("{row:?}: {error}"));
            assert_eq!(grants.written.in_words(Path::new("/")).len(), 1, "{row:?}: one line for one thing");
            let written = toml::Table::try_from(&grants.written).unwrap();
            assert_eq!(written.keys().collect::<Vec<_>>(), [row.name], "{row:?}");
            let mut unused = grants.written.clone();
            unused.least(&std::collections::BTreeSet::new());
            assert_eq!(unused, Written::default(), "{row:?}: what is not used is not needed");
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("grants.toml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), folder.path()] {
            let error = GrantsFile::read(path).unwrap_err().to_string();
            assert!(error.contains("it is no regular file"), "{error}");
        }
    }

    #[test]
    fn what_is_no_grant_is_told_where_it_stands() {
        let check = |text: &str, wanted: &str| {
            let error = GrantsFile::parse("/".into(), text.to_owned()).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        };
        check(
            "[action.\"A/B\"]\nclock = true\ntelepathy = true\n",
            "line 3, column 1\n  |\n3 | telepathy = true\n  | ^^^^^^^^^\nunknown field `telepathy`, expected one of `plugin`, ",
        );
        check("[action.\"A/B\"]\nclock = 7\n", "line 2, column 9");
        check("[action.\"A/B\"]\nsecrets.a = { hots = [] }\n", "unknown field `hots`");
        check("[action.\"A/B\"]\nhttp = [7]\n", "expected \"https://host\"");
        check("[action.A]\nclock = true\n", "write it as \"Stage/Action\"");
        let key = |name: &str, file: &str| format!("secrets.{name} = {{ env = \"X\", commands_file = \"{file}\" }}\n");
        let both = |other: &str| format!("[action.\"A/B\"]\n{}{}", key("\"db:x\"", "KEY"), key("web", other));
        check(
            &both("KEY"),
            "secrets.\"db:x\" and secrets.web have the same commands_file \"KEY\", and a variable names one file",
        );
        GrantsFile::parse("/".into(), both("OTHER")).unwrap();
        // Another action's programs have files of their own.
        let of_two = format!("[action.\"A/B\"]\n{}[action.\"A/C\"]\n{}", key("db", "KEY"), key("web", "KEY"));
        GrantsFile::parse("/".into(), of_two).unwrap();
        check("[action.\"A/B/C\"]\nclock = true\n", "or for a rule as \"Stage/beforeEntry/Rule\"");
        GrantsFile::parse("/".into(), "[action.\"A/onFailure/B\"]\nclock = true\n".to_owned()).unwrap();
    }
}

//! Who may sign what: the operator's policy.
//!
//! Owns the file's format and the decision. Must not know where signatures come from.
//!
//! ```toml
//! unsigned_files = ["team/*"]          # local files with these names need no signature; nothing else is excused
//!
//! [names."team/*"]                     # or "team/name", or "*"; the narrowest counts alone
//! keys = ["keys/maria.pub", "keys/jo.pub"]
//! signatures = 2                       # by so many different keys; 1 if it is not said
//! ```
//!
//! Paths start at the folder of the file. What the policy does not mention is refused, and without a file everything is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pipewright_base::Digest;
use serde::Deserialize;

use super::package::is_name;
use super::signature::Signature;
use super::{PackageError, PublicKey};

/// A larger file is refused.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Policy {
    path: PathBuf,
    rules: BTreeMap<Pattern, Rule>,
    unsigned_files: BTreeSet<Pattern>,
}

#[derive(Clone, Debug)]
struct Rule {
    keys: Vec<PublicKey>,
    /// The file of each key, as the policy names it.
    files: BTreeMap<Digest, String>,
    signatures: usize,
}

/// Which names are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pattern {
    All,
    Team(String),
    Name(String),
}

/// On what grounds a package is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The keys that signed it, by the digest of their SubjectPublicKeyInfo, with their files as the policy names them.
    Signed(BTreeMap<Digest, String>),
    /// A local file, which the policy lets in.
    UnsignedFile,
}

impl Trust {
    pub fn signers(&self) -> impl Iterator<Item = (&Digest, &str)> {
        let signed = match self {
            Self::Signed(keys) => Some(keys),
            Self::UnsignedFile => None,
        };
        signed.into_iter().flatten().map(|(key, file)| (key, file.as_str()))
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    unsigned_files: Vec<String>,
    names: BTreeMap<String, FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    keys: Vec<PathBuf>,
    #[serde(default = "one")]
    signatures: usize,
}

fn one() -> usize {
    1
}

impl Policy {
    /// Reads the file. Where there is none, nothing is trusted.
    ///
    /// # Errors
    /// The file, or a key that it names, cannot be read; or a rule can never be fulfilled.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let wrong = |problem: String| PackageError::Policy(format!("{}: {problem}", path.display()));
        let file = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(wrong(error.to_string())),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(wrong(format!("larger than {FILE_BYTES_MAX} bytes")));
            }
            Ok(_) => {
                let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                toml::from_str(&text).map_err(|error| wrong(error.to_string()))?
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let pattern = |text: &str| Pattern::read(text).ok_or_else(|| wrong(format!("{text:?}: {PATTERN}")));
        let mut rules = BTreeMap::new();
        for (name, rule) in &file.names {
            let (mut keys, mut files) = (Vec::new(), BTreeMap::new());
            for path in &rule.keys {
                let key =
                    PublicKey::read(&folder.join(path)).map_err(|error| wrong(format!("names.{name:?}: {error}")))?;
                if files.insert(key.digest, path.display().to_string()).is_none() {
                    keys.push(key);
                }
            }
            if rule.signatures == 0 || rule.signatures > keys.len() {
                let (wants, has) = (rule.signatures, keys.len());
                return Err(wrong(format!("names.{name:?}: wants {wants} signatures, and has {has} different keys")));
            }
            rules.insert(pattern(name)?, Rule { keys, files, signatures: rule.signatures });
        }
        let unsigned_files = file.unsigned_files.iter().map(|name| pattern(name)).collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), rules, unsigned_files })
    }

    /// Whether a package that came from elsewhere may be used.
    ///
    /// # Errors
    /// It may not; the message says what is missing.
    pub fn judge(&self, name: &str, manifest: &Digest, signatures: &[Signature]) -> Result<Trust, PackageError> {
        let untrusted = |reason: String| PackageError::Untrusted { package: format!("the package {name}"), reason };
        let Some(rule) = Pattern::of(name).into_iter().find_map(|pattern| self.rules.get(&pattern)) else {
            let path = self.path.display();
            return Err(untrusted(format!("no key may sign for this name; {path} would have to name one")));
        };
        let (mut signers, mut problems) = (BTreeMap::new(), BTreeSet::new());
        for signature in signatures {
            match signature.signer(manifest, &rule.keys) {
                Ok(key) => {
                    signers.insert(key.digest, rule.files.get(&key.digest).cloned().unwrap_or_default());
                }
                Err(problem) => {
                    problems.insert(problem);
                }
            }
        }
        if signers.len() >= rule.signatures {
            return Ok(Trust::Signed(signers));
        }
        let mut reason = match (signatures.len(), signers.len()) {
            (0, _) => "it has no signature".to_owned(),
            (_, 0) => "none of its signatures is by a key that counts".to_owned(),
            (_, 1) => "its signatures are by one key that counts".to_owned(),
            (_, keys) => format!("its signatures are by {keys} different keys that count"),
        };
        reason.push_str(&format!("; the policy wants {} for {name}", rule.signatures));
        for problem in problems {
            reason.push_str("; ");
            reason.push_str(&problem);
        }
        Err(untrusted(reason))
    }

    /// Whether any local file may be used: if none may, nothing needs to be known of it.
    pub fn check_files(&self, path: &str) -> Result<(), PackageError> {
        if self.unsigned_files.is_empty() { Err(self.unsigned(path.to_owned())) } else { Ok(()) }
    }

    /// Whether a local file may be used.
    pub fn judge_file(&self, name: &str) -> Result<Trust, PackageError> {
        if Pattern::of(name).iter().any(|pattern| self.unsigned_files.contains(pattern)) {
            return Ok(Trust::UnsignedFile);
        }
        Err(self.unsigned(format!("the file of {name}")))
    }

    fn unsigned(&self, package: String) -> PackageError {
        let reason =
            format!("a file has no signature; unsigned_files in {} would have to name it", self.path.display());
        PackageError::Untrusted { package, reason }
    }
}

const PATTERN: &str = "write it as \"team/name\", \"team/*\" or \"*\"";

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix("/*") {
            _ if text == "*" => Some(Self::All),
            Some(team) => is_name(&format!("{team}/x")).then(|| Self::Team(team.to_owned())),
            None => is_name(text).then(|| Self::Name(text.to_owned())),
        }
    }

    /// The patterns that a name falls under, the narrowest first.
    fn of(name: &str) -> [Self; 3] {
        let team = name.split('/').next().unwrap_or_default();
        [Self::Name(name.to_owned()), Self::Team(team.to_owned()), Self::All]
    }
}

#[cfg(test)]
mod tests {
    use super::super::SigningKey;
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        maria: SigningKey,
        jo: SigningKey,
        manifest: Digest,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (maria, jo) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
            for (name, key) in [("maria", &maria), ("again", &maria), ("jo", &jo)] {
                std::fs::write(folder.path().join(format!("{name}.pub")), key.public().to_pem()).unwrap();
            }
            Self { folder, maria, jo, manifest: Digest::of(b"manifest") }
        }

        fn policy(&self, text: &str) -> Result<Policy, PackageError> {
            let path = self.folder.path().join("policy.toml");
            std::fs::write(&path, text).unwrap();
            Policy::read(&path)
        }

        fn signed(&self, keys: &[&SigningKey]) -> Vec<Signature> {
            keys.iter().map(|key| Signature::document(key, self.manifest, "localhost/team/name").unwrap()).collect()
        }
    }

    #[test]
    fn so_many_different_keys_must_sign() {
        let world = World::new();
        let policy = world.policy(
            "[names.\"team/*\"]\nkeys = [\"maria.pub\", \"jo.pub\"]\nsignatures = 2\n\
             [names.\"team/own\"]\nkeys = [\"jo.pub\"]\n",
        );
        let policy = policy.unwrap();
        let check = |name: &str, keys: &[&SigningKey], wanted: Result<usize, &str>| match (
            policy.judge(name, &world.manifest, &world.signed(keys)),
            wanted,
        ) {
            (Ok(trust), Ok(signers)) => assert_eq!(trust.signers().count(), signers),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, wanted) => panic!("{name}: {got:?} instead of {wanted:?}"),
        };
        let (maria, jo) = (&world.maria, &world.jo);
        check("team/name", &[maria, jo], Ok(2));
        check("team/name", &[maria, jo, maria], Ok(2));
        check("team/name", &[maria], Err("by one key that counts; the policy wants 2"));
        check("team/name", &[maria, maria], Err("its signatures are by one key that counts"));
        check("team/name", &[], Err("it has no signature"));
        check("team/own", &[jo], Ok(1));
        check("team/own", &[maria], Err("none of the keys that count"));
        check("other/name", &[maria, jo], Err("no key may sign for this name"));
        assert!(policy.judge_file("team/name").unwrap_err().to_string().contains("unsigned_files"));
    }

    #[test]
    fn a_policy_is_read_or_says_what_is_wrong() {
        let world = World::new();
        let check = |text: &str, part: &str| {
            let error = world.policy(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check("[names.\"team/*\"]\nkeys = [\"maria.pub\", \"again.pub\"]\nsignatures = 2", "has 1 different keys");
        check("[names.\"team/*\"]\nkeys = []", "has 0 different keys");
        check("[names.\"*\"]\nkeys = [\"jo.pub\"]\nsignatures = 0", "wants 0");
        check("[names.\"team\"]\nkeys = [\"jo.pub\"]", "write it as");
        check("[names.\"*\"]\nkeys = [\"missing.pub\"]", "missing.pub");
        check("unsigned_file = []", "unknown field");
        let open = world.policy("unsigned_files = [\"team/*\"]").unwrap();
        assert_eq!(open.judge_file("team/name").unwrap(), Trust::UnsignedFile);
        assert!(open.judge_file("other/name").is_err());
        let none = Policy::read(&world.folder.path().join("none.toml")).unwrap();
        assert!(none.judge("team/name", &world.manifest, &world.signed(&[&world.jo])).is_err());
        assert!(none.judge_file("team/name").is_err());
        assert!(none.check_files("name.wasm").is_err() && open.check_files("name.wasm").is_ok());
    }
}

//! The lock: which packages are installed, each pinned by its digests, with who signed it and what was consented to.
//!
//! Owns the file `lock.toml` and the rules of what may take whose place. Must not know blobs, registries or keys.

use std::io::Write as _;
use std::path::Path;

use pipewright_base::Digest;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{PackageError, diff, oci};
use crate::plugins::{Notice, NoticeKind, Noticed};

const FORMAT: u32 = 1;
/// A larger lock is refused.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Of one plugin; the earliest go.
const REPLACED_COUNT_MAX: usize = 100;
const HEADER: &str = "# What is installed, pinned by digest. Written by `pipewright plugin`; not to be edited.\n\n";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    format: u32,
    #[serde(default)]
    pub plugin: Vec<Entry>,
    /// What the account says of versions, also of those that are not installed now. Kept here too, for whoever changes what is
    /// installed need not reach a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notice: Vec<Noticed>,
    /// What others took the place of, the latest last: a version that comes back is to be the same. Gone with the plugin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replaced: Vec<Replaced>,
}

/// A version that was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    name: String,
    version: Version,
    #[serde(with = "oci")]
    manifest: Digest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `team/name`
    pub name: String,
    pub version: Version,
    pub state: State,
    /// Of the package's manifest: what was signed, and what consent is pinned to.
    #[serde(with = "oci")]
    pub manifest: Digest,
    #[serde(with = "oci")]
    pub component: Digest,
    /// Of the manifest that names the signatures; a local file may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<String>,
    /// Of the index of what refers to the manifest and holds signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrers: Option<String>,
    /// The keys that signed it, by the digest of their SubjectPublicKeyInfo.
    pub signers: Vec<String>,
    /// Where it came from: a reference, `file` or `archive`.
    pub source: String,
    /// What the plugin asks for. Of an active one, all of it was consented to.
    pub asks: Vec<String>,
    /// The action types that it serves. Of an active one, all of them were consented to: whoever serves a type gets what its actions
    /// are granted.
    #[serde(default)]
    pub offers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The server loads it.
    Active,
    /// It asks for more than the active version beside it, and waits for consent.
    Pending,
}

/// What becomes of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    pub from: Version,
    /// What it asks for, and the action types that it serves, beyond what was consented to. If there is something, it waits for consent.
    pub widened: Vec<String>,
}

impl Entry {
    /// `team/name 1.0.0`.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl Lock {
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let wrong = |problem: String| PackageError::Host(anyhow::anyhow!("{}: {problem}", path.display()));
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { format: FORMAT, plugin: Vec::new(), notice: Vec::new(), replaced: Vec::new() });
            }
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(wrong(format!("larger than {FILE_BYTES_MAX} bytes")));
            }
            _ => std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?,
        };
        let lock: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if lock.format != FORMAT {
            return Err(wrong(format!("it is in format {}, and this pipewright knows {FORMAT}", lock.format)));
        }
        Ok(lock)
    }

    /// Durable, in one step for whoever reads.
    pub fn write(&mut self, path: &Path) -> Result<(), PackageError> {
        self.plugin.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let text = toml::to_string(self).map_err(|error| PackageError::Host(error.into()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(HEADER.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| PackageError::Host(error.error.into()))?;
        Ok(std::fs::File::open(folder)?.sync_all()?)
    }

    pub fn active(&self) -> impl Iterator<Item = &Entry> {
        self.plugin.iter().filter(|entry| entry.state == State::Active)
    }

    /// The active version of a major.
    pub fn of_major(&self, name: &str, major: u64) -> Option<&Entry> {
        self.active().find(|entry| entry.name == name && entry.version.major == major)
    }

    /// Whether a package can be added; false if it is there already.
    pub fn may_add(&self, new: &Entry) -> Result<bool, PackageError> {
        if self.holds(new)? {
            return Ok(false);
        }
        self.check_yanked(&new.name, &new.version)?;
        match self.of_major(&new.name, new.version.major) {
            None => Ok(true),
            Some(there) => Err(PackageError::Taken {
                name: new.name.clone(),
                there: Box::new(there.version.clone()),
                new: Box::new(new.version.clone()),
            }),
        }
    }

    /// What an upgrade to this package means; none if it is there already.
    pub fn may_upgrade(&self, new: &Entry, allow_downgrade: bool) -> Result<Option<Upgrade>, PackageError> {
        if self.holds(new)? {
            return Ok(None);
        }
        self.check_yanked(&new.name, &new.version)?;
        let Some(there) = self.of_major(&new.name, new.version.major) else {
            return Err(PackageError::Beside { name: new.name.clone(), new: Box::new(new.version.clone()) });
        };
        if new.version < there.version && !allow_downgrade {
            return Err(PackageError::Refused(format!(
                "{} is older than {}, which is installed; to go back, give --allow-downgrade",
                new.label(),
                there.version
            )));
        }
        let mut widened = diff::widened(&there.asks, &new.asks);
        let served = new.offers.iter().filter(|id| !there.offers.contains(id));
        widened.extend(served.map(|id| format!("to serve {id}")));
        Ok(Some(Upgrade { from: there.version.clone(), widened }))
    }

    /// What is said of a version.
    pub fn notice_of(&self, name: &str, version: &Version) -> Option<&Notice> {
        let of_version = |noticed: &&Noticed| noticed.name == name && noticed.version == version.to_string();
        self.notice.iter().find(of_version).map(|noticed| &noticed.notice)
    }

    /// Whoever yanked a version does not get it back by another way than by saying so.
    pub fn check_yanked(&self, name: &str, version: &Version) -> Result<(), PackageError> {
        match self.notice_of(name, version).filter(|notice| notice.kind == NoticeKind::Yanked) {
            None => Ok(()),
            Some(notice) => Err(PackageError::Refused(format!(
                "{name} {version} was {notice}; `pipewright plugin restore {name}@{version}` takes that back"
            ))),
        }
    }

    /// Puts it in; one that is active takes the place of the others of its major.
    pub fn put(&mut self, new: Entry) {
        let goes = self.plugin.extract_if(.., |entry| {
            let same_major = entry.name == new.name && entry.version.major == new.version.major;
            same_major && (new.state == State::Active || entry.state == State::Pending)
        });
        self.replaced.extend(goes.map(|Entry { name, version, manifest, .. }| Replaced { name, version, manifest }));
        self.replaced.retain(|was| was.name != new.name || was.version != new.version);
        let too_many =
            self.replaced.iter().filter(|was| was.name == new.name).count().saturating_sub(REPLACED_COUNT_MAX);
        self.replaced.extract_if(.., |was| was.name == new.name).take(too_many).for_each(drop);
        self.plugin.push(new);
    }

    /// Nothing is left of a plugin that is installed no more.
    pub fn forget(&mut self, name: &str) {
        if !self.plugin.iter().any(|entry| entry.name == name) {
            self.replaced.retain(|replaced| replaced.name != name);
        }
    }

    /// What is there of this very package, with its signatures of now, if they are by more keys.
    pub fn more_signed(&self, new: &Entry) -> Option<Entry> {
        let there = self.plugin.iter().find(|entry| entry.name == new.name && entry.version == new.version)?;
        let is_more = there.manifest == new.manifest
            && new.signers.len() > there.signers.len()
            && there.signers.iter().all(|signer| new.signers.contains(signer));
        is_more.then(|| Entry { state: there.state, source: there.source.clone(), ..new.clone() })
    }

    /// Whether this very package is there.
    fn holds(&self, new: &Entry) -> Result<bool, PackageError> {
        let is_same = |name: &String, version: &Version| *name == new.name && *version == new.version;
        let there = self.plugin.iter().find(|entry| is_same(&entry.name, &entry.version)).map(|entry| entry.manifest);
        let was = || self.replaced.iter().find(|was| is_same(&was.name, &was.version)).map(|was| was.manifest);
        match there.or_else(was) {
            Some(known) if known != new.manifest => Err(PackageError::Refused(format!(
                "{} is locked with the digest {}, and what is offered now has {}: a version never changes",
                new.label(),
                oci::text(&known),
                oci::text(&new.manifest)
            ))),
            _ => Ok(there.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: &str, state: State, asks: &[&str]) -> Entry {
        let digest = Digest::of(format!("{version} {asks:?}").as_bytes());
        Entry {
            name: "team/name".to_owned(),
            version: version.parse().unwrap(),
            state,
            manifest: digest,
            component: digest,
            signatures: None,
            referrers: None,
            signers: Vec::new(),
            source: "file".to_owned(),
            asks: asks.iter().map(|ask| (*ask).to_owned()).collect(),
            offers: Vec::new(),
        }
    }

    fn active(version: &str) -> Entry {
        entry(version, State::Active, &["http a"])
    }

    fn lock(entries: &[Entry]) -> Lock {
        Lock { format: FORMAT, plugin: entries.to_vec(), notice: Vec::new(), replaced: Vec::new() }
    }

    #[test]
    fn what_may_be_added() {
        let check =
            |there: &[Entry], new: Entry, expected: Result<bool, &str>| match (lock(there).may_add(&new), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
            };
        check(&[], active("1.0.0"), Ok(true));
        check(&[active("1.0.0")], active("1.0.0"), Ok(false));
        check(&[active("1.0.0")], active("2.0.0"), Ok(true));
        check(&[active("1.0.0")], active("1.1.0"), Err("an upgrade puts 1.1.0"));
        check(&[active("1.0.0")], entry("1.0.0", State::Active, &["clock"]), Err("a version never changes"));
    }

    #[test]
    fn what_may_be_upgraded() {
        let check = |there: &[Entry], new: Entry, allow, expected: Result<Option<&[&str]>, &str>| match (
            lock(there).may_upgrade(&new, allow),
            expected,
        ) {
            (Ok(got), Ok(wanted)) => {
                let got = got.map(|upgrade| upgrade.widened);
                assert_eq!(got, wanted.map(|asks| asks.iter().map(|ask| (*ask).to_owned()).collect()));
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        };
        let wide = entry("1.1.0", State::Active, &["http a", "clock"]);
        check(&[active("1.0.0")], active("1.1.0"), false, Ok(Some(&[])));
        check(&[active("1.0.0")], wide.clone(), false, Ok(Some(&["clock"])));
        check(&[wide], active("1.2.0"), false, Ok(Some(&[])));
        let serving = |version: &str, ids: &[&str]| Entry {
            offers: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..active(version)
        };
        let more = serving("1.1.0", &["Source/Custom/Git/1", "Test/Custom/Check/1"]);
        let one = serving("1.0.0", &["Test/Custom/Check/1"]);
        check(std::slice::from_ref(&one), more.clone(), false, Ok(Some(&["to serve Source/Custom/Git/1"])));
        check(&[more], serving("1.2.0", &["Test/Custom/Check/1"]), false, Ok(Some(&[])));
        check(&[active("1.1.0")], active("1.1.0"), false, Ok(None));
        check(&[active("1.1.0")], active("1.0.9"), false, Err("--allow-downgrade"));
        check(&[active("1.1.0")], active("1.0.9"), true, Ok(Some(&[])));
        check(&[active("1.1.0")], active("2.0.0"), false, Err("no version 2.x"));
        check(&[active("1.1.0")], entry("1.1.0", State::Active, &[]), true, Err("a version never changes"));
    }

    #[test]
    fn what_was_yanked_is_not_put_back() {
        let noticed = |kind| Noticed {
            name: "team/name".to_owned(),
            version: "1.1.0".to_owned(),
            notice: Notice { kind, reason: "it deletes too much".to_owned() },
        };
        let said = |kind, there: &[Entry]| Lock { notice: vec![noticed(kind)], ..lock(there) };
        let yanked = |there: &[Entry]| said(NoticeKind::Yanked, there);
        let check = |result: Result<(), PackageError>| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("1.1.0 was yanked: it deletes too much; `pipewright plugin restore"), "{error}");
        };
        check(yanked(&[]).may_add(&active("1.1.0")).map(drop));
        check(yanked(&[active("1.0.0")]).may_upgrade(&active("1.1.0"), false).map(drop));
        check(yanked(&[active("1.2.0")]).may_upgrade(&active("1.1.0"), true).map(drop));
        check(yanked(&[]).check_yanked("team/name", &"1.1.0".parse().unwrap()));
        assert!(yanked(&[active("1.0.0")]).may_upgrade(&active("1.2.0"), false).unwrap().is_some());
        assert!(said(NoticeKind::Deprecated, &[]).may_add(&active("1.1.0")).unwrap());
    }

    #[test]
    fn one_version_of_a_major_is_active() {
        let mut lock = lock(&[active("1.0.0"), active("2.0.0")]);
        let states = |lock: &Lock| {
            lock.plugin
                .iter()
                .map(|entry| format!("{} {:?}", entry.version, entry.state))
                .collect::<Vec<_>>()
                .join(", ")
        };
        lock.put(entry("1.1.0", State::Pending, &["clock"]));
        assert_eq!(states(&lock), "1.0.0 Active, 2.0.0 Active, 1.1.0 Pending");
        lock.put(entry("1.2.0", State::Pending, &["clock"]));
        assert_eq!(states(&lock), "1.0.0 Active, 2.0.0 Active, 1.2.0 Pending");
        lock.put(entry("1.2.0", State::Active, &["clock"]));
        assert_eq!(states(&lock), "2.0.0 Active, 1.2.0 Active");
    }

    #[test]
    fn a_version_that_comes_back_is_the_same() {
        let mut lock = lock(&[active("1.0.0"), active("2.0.0")]);
        lock.put(active("1.1.0"));
        let other = entry("1.0.0", State::Active, &[]);
        let error = lock.may_upgrade(&other, true).unwrap_err().to_string();
        assert!(error.contains("team/name 1.0.0 is locked with the digest"), "{error}");
        assert!(lock.may_upgrade(&active("1.0.0"), true).unwrap().is_some());
        for patch in 0..=REPLACED_COUNT_MAX {
            lock.put(active(&format!("1.2.{patch}")));
        }
        assert_eq!(lock.replaced.len(), REPLACED_COUNT_MAX);
        assert!(lock.may_upgrade(&other, true).unwrap().is_some(), "the earliest is forgotten");
        lock.plugin.clear();
        lock.forget("team/name");
        assert_eq!(lock.replaced, []);
    }

    #[test]
    fn signatures_that_were_added_are_taken_up() {
        let signed =
            |by: &[&str]| Entry { signers: by.iter().map(|key| (*key).to_owned()).collect(), ..active("1.0.0") };
        let check = |there: &[&str], now: &[&str], expected: bool| {
            let found = lock(&[signed(there)]).more_signed(&signed(now));
            assert_eq!(found.map(|entry| entry.signers), expected.then(|| signed(now).signers), "{there:?}, {now:?}");
        };
        check(&["maria"], &["maria", "jo"], true);
        check(&["maria"], &["maria"], false);
        check(&["maria", "jo"], &["jo"], false);
        check(&["maria"], &["jo", "kim"], false);
        assert_eq!(lock(&[signed(&["maria"])]).more_signed(&entry("1.0.0", State::Active, &[])), None);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.toml");
        let mut written = lock(&[active("2.0.0"), active("1.0.0")]);
        written.put(active("1.1.0"));
        let notice = Notice { kind: NoticeKind::Deprecated, reason: "old".to_owned() };
        written.notice = vec![Noticed { name: "team/name".to_owned(), version: "1.0.0".to_owned(), notice }];
        written.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap().notice, written.notice);
        assert_eq!(Lock::read(&path).unwrap().plugin, [active("1.1.0"), active("2.0.0")]);
        assert_eq!(Lock::read(&path).unwrap().replaced, written.replaced);
        std::fs::write(&path, "format = 2").unwrap();
        assert!(Lock::read(&path).unwrap_err().to_string().contains("format 2"));
    }
}

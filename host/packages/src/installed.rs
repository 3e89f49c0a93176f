//! The packages that are installed in a data directory: the lock, and the blobs that it pins.
//!
//! Owns the folder `plugins/`. Whoever changes it holds a lock file meanwhile, and decides again under it. Must not know how a
//! person is asked.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use pipewright_artifacts::files::{BlobDir, Blobs as _};
use pipewright_base::Digest;
use rustix::fs::FlockOperation;
use semver::Version;
use serde::Serialize;

use super::candidate::Fetched;
use super::lock::{Lock, Upgrade};
use super::origin::Signed;
use super::package::COMPONENT_BYTES_MAX;
use super::{Candidate, Entry, Facts, Origin, PackageError, Policy, State, oci};
use crate::plugins::{self, Notice, Noticed};
use pipewright_base::home::DataDirectory;

const LOCK: &str = "lock.toml";

/// What is installed, with what is said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    #[serde(flatten)]
    pub entry: Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

pub struct Installed {
    folder: PathBuf,
    policy: PathBuf,
    blobs: BlobDir,
    lock: Lock,
}

impl Installed {
    /// What an account has installed now; none is the account of those who run the host.
    pub fn open(data: &DataDirectory, account: Option<u64>) -> Result<Self, PackageError> {
        let folder = folder(data, account);
        let blobs = BlobDir::new(folder.join("components"))?;
        let lock = Lock::read(&folder.join(LOCK))?;
        Ok(Self { folder, policy: data.plugins().join("policy.toml"), blobs, lock })
    }

    /// The file that changes with whatever is installed.
    pub fn lock_path(data: &DataDirectory, account: Option<u64>) -> PathBuf {
        folder(data, account).join(LOCK)
    }

    /// The operator's policy, which counts for every account.
    pub fn policy(&self) -> Result<Policy, PackageError> {
        Policy::read(&self.policy)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.lock.plugin
    }

    /// The same, with what is said of each.
    pub fn listed(&self) -> Vec<Listed> {
        let listed = |entry: &Entry| {
            let notice = self.notice_of(&entry.name, &entry.version).cloned();
            Listed { entry: entry.clone(), notice }
        };
        self.entries().iter().map(listed).collect()
    }

    pub fn notice_of(&self, name: &str, version: &Version) -> Option<&Notice> {
        self.lock.notice_of(name, version)
    }

    /// From now on this is what is said of versions, and nothing else.
    pub fn notice(&mut self, noticed: Vec<Noticed>) -> Result<(), PackageError> {
        if self.lock.notice == noticed {
            return Ok(());
        }
        let _alone = self.begin()?;
        self.lock.notice = noticed;
        self.commit()
    }

    /// Those that a server loads.
    pub fn active(&self) -> impl Iterator<Item = &Entry> {
        self.lock.active()
    }

    /// Their components, each with its name; or why one is not what the lock says, or is not trusted today: a key that signed it
    /// may have been taken back since.
    ///
    /// # Errors
    /// The policy cannot be read, so that nothing is trusted.
    pub async fn components(&self) -> Result<Vec<Result<(String, Vec<u8>), PackageError>>, PackageError> {
        let mut components = Vec::new();
        if self.active().next().is_none() {
            return Ok(components);
        }
        let policy = self.policy()?;
        for entry in self.active() {
            components.push(self.verified(entry, &policy).await.map(|component| (entry.label(), component)));
        }
        Ok(components)
    }

    /// The one that a name means, as `team/name`, `team/name@1` or `team/name@1.2.3`.
    pub fn find(&self, text: &str) -> Result<&Entry, PackageError> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let named = || self.entries().iter().filter(|entry| entry.name == name);
        if let Some(exact) = named().find(|entry| version.is_some_and(|version| version == entry.version.to_string())) {
            return Ok(exact);
        }
        let is_meant = |entry: &&Entry| version.is_none_or(|version| version == entry.version.major.to_string());
        let mut active = named().filter(|entry| entry.state == State::Active).filter(is_meant);
        match (active.next(), active.next()) {
            (None, _) => Err(PackageError::Missing(format!("an installed plugin {text}"))),
            (Some(found), None) => Ok(found),
            (Some(one), Some(other)) => Err(PackageError::Usage(format!(
                "{name} is installed as {} and {}: say which, as {name}@{}",
                one.version, other.version, one.version.major
            ))),
        }
    }

    /// The component of an installed plugin.
    ///
    /// # Errors
    /// It is not what the lock says.
    pub fn component(&self, entry: &Entry) -> Result<Vec<u8>, PackageError> {
        let what = format!("the component of {}", entry.label());
        self.blobs.read(&entry.component, COMPONENT_BYTES_MAX).map_err(|error| PackageError::blob(&what, error))
    }

    /// An installed package, to be read again.
    pub fn origin(&self, entry: &Entry) -> Origin {
        Origin::Blobs {
            blobs: self.blobs.clone(),
            manifest: entry.manifest,
            signatures: entry.signatures.as_deref().and_then(oci::parse),
            referrers: entry.referrers.as_deref().and_then(oci::parse),
            is_file: entry.signatures.is_none() && entry.referrers.is_none(),
            _folder: None,
        }
    }

    /// Whether a package can be added; false if it is there already.
    pub fn may_add(&self, candidate: &Candidate) -> Result<bool, PackageError> {
        let new = entry(candidate, State::Active);
        let may = self.lock.may_add(&new)?;
        if may {
            self.check_offers(&new, &candidate.facts())?;
        }
        Ok(may)
    }

    /// Adds what a person consented to.
    pub fn add(&mut self, fetched: &Fetched) -> Result<(), PackageError> {
        let _alone = self.begin()?;
        if !self.may_add(&fetched.candidate)? {
            return Ok(());
        }
        self.keep(fetched)?;
        self.lock.put(entry(&fetched.candidate, State::Active));
        self.commit()
    }

    /// Takes up the signatures that an installed package got since; false if there are none. Signatures that are gone are kept.
    pub fn take_signatures(&mut self, candidate: &Candidate) -> Result<bool, PackageError> {
        let _alone = self.begin()?;
        let new = entry(candidate, State::Active);
        let Some(there) = self.lock.more_signed(&new) else { return Ok(false) };
        candidate.signed.blobs().try_for_each(|part| self.blobs.put(part).map(drop))?;
        self.blobs.sync()?;
        self.lock.put(there);
        self.commit()?;
        Ok(true)
    }

    /// What an upgrade to a package means; none if it is there already.
    pub fn may_upgrade(&self, candidate: &Candidate, allow_downgrade: bool) -> Result<Option<Upgrade>, PackageError> {
        let new = entry(candidate, State::Active);
        let upgrade = self.lock.may_upgrade(&new, allow_downgrade)?;
        if upgrade.is_some() {
            self.check_offers(&new, &candidate.facts())?;
        }
        Ok(upgrade)
    }

    /// Puts a package in the place of the active one of its major; or beside it, until a person consents, if it asks for
    /// more.
    pub fn upgrade(&mut self, fetched: &Fetched, allow_downgrade: bool) -> Result<Option<Upgrade>, PackageError> {
        let _alone = self.begin()?;
        let upgrade = self.may_upgrade(&fetched.candidate, allow_downgrade)?;
        let Some(upgrade) = upgrade else { return Ok(None) };
        self.keep(fetched)?;
        let state = if upgrade.widened.is_empty() { State::Active } else { State::Pending };
        self.lock.put(entry(&fetched.candidate, state));
        self.commit()?;
        Ok(Some(upgrade))
    }

    /// Lets a pending package take its place. The digest says that what the person looked at is what they get.
    pub async fn consent(&mut self, name: &str, version: &Version, manifest: &Digest) -> Result<(), PackageError> {
        let _alone = self.begin()?;
        let pending = self.lock.plugin.iter().find(|entry| entry.name == name && entry.version == *version);
        let pending = match pending {
            Some(entry) if entry.state == State::Pending => entry.clone(),
            Some(entry) => {
                return Err(PackageError::Refused(format!("{} waits for nothing: it is active", entry.label())));
            }
            None => return Err(PackageError::Missing(format!("a pending plugin {name} {version}"))),
        };
        if pending.manifest != *manifest {
            let (there, given) = (oci::text(&pending.manifest), oci::text(manifest));
            return Err(PackageError::Refused(format!("{} has the digest {there}, not {given}", pending.label())));
        }
        self.lock.check_yanked(name, version)?;
        // The policy may have changed while it waited.
        let candidate = Candidate::read(self.origin(&pending), &self.policy()?).await?;
        let new = Entry { state: State::Active, ..pending };
        self.check_offers(&new, &candidate.facts())?;
        self.component(&new)?;
        self.lock.put(new);
        self.commit()
    }

    /// Removes every version that is meant: `team/name`, or one of them.
    pub async fn remove(&mut self, name: &str, version: Option<&Version>) -> Result<Vec<Entry>, PackageError> {
        let _alone = self.begin()?;
        let is_meant = |entry: &Entry| entry.name == name && version.is_none_or(|version| *version == entry.version);
        let (removed, kept) = self.lock.plugin.drain(..).partition(is_meant);
        self.lock.plugin = kept;
        self.lock.forget(name);
        if Vec::is_empty(&removed) {
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            return Err(PackageError::Missing(format!("an installed plugin {name}{version}")));
        }
        self.commit()?;
        self.collect().await?;
        Ok(removed)
    }

    /// Looks at everything again: digests, signatures, and what the policy says now. Gives each problem, in which the package is named.
    pub async fn verify(&self) -> Result<Vec<PackageError>, PackageError> {
        let policy = self.policy()?;
        let mut problems = Vec::new();
        for entry in self.entries() {
            if let Err(error) = self.verified(entry, &policy).await {
                problems.push(error);
            }
        }
        Ok(problems)
    }

    /// The component of a package that is what the lock says, and trusted by this policy.
    async fn verified(&self, entry: &Entry, policy: &Policy) -> Result<Vec<u8>, PackageError> {
        let candidate = Candidate::read(self.origin(entry), policy).await?;
        let head = &candidate.signed.head;
        let asks = asks(&candidate.facts());
        let same = head.name == entry.name && head.version == entry.version && head.component.digest == entry.component;
        if !same || asks != entry.asks {
            let reason = "the lock says something else of it".to_owned();
            return Err(PackageError::False { package: entry.label(), reason });
        }
        self.component(entry)
    }

    /// No two plugins may serve one action type: which of them would is not to depend on chance.
    fn check_offers(&self, new: &Entry, facts: &Facts) -> Result<(), PackageError> {
        for other in self.active() {
            if other.name == new.name && other.version.major == new.version.major {
                continue;
            }
            let offered = self.offers(other)?;
            if let Some(id) = facts.offers.keys().find(|id| offered.contains(*id)) {
                let (other, new) = (other.label(), new.label());
                return Err(PackageError::Refused(format!(
                    "{other} and {new} both offer {id}; remove one of them first"
                )));
            }
        }
        Ok(())
    }

    fn offers(&self, entry: &Entry) -> Result<Vec<String>, PackageError> {
        let what = format!("the description of {}", entry.label());
        let read = |digest: &Digest, max: u64| self.blobs.read(digest, max).map_err(|e| PackageError::blob(&what, e));
        let head = super::package::Head::read(&what, read(&entry.manifest, super::package::MANIFEST_BYTES_MAX)?)?;
        let (_, description) = head.config(&read(&head.config.digest, head.config.size)?)?;
        Ok(description.action_types.iter().map(|offered| plugins::label(&offered.id)).collect())
    }

    /// Nobody else changes anything until what this gives is dropped; what others changed before is seen.
    fn begin(&mut self) -> Result<File, PackageError> {
        let file = File::options().create(true).truncate(false).write(true).open(self.folder.join(".lock"))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| PackageError::Host(error.into()))?;
        self.lock = Lock::read(&self.folder.join(LOCK))?;
        Ok(file)
    }

    fn keep(&self, fetched: &Fetched) -> Result<(), PackageError> {
        let Fetched { candidate, component } = fetched;
        let parts = [&candidate.signed.head.bytes, &candidate.config, component].into_iter().map(Vec::as_slice);
        for part in parts.chain(candidate.signed.blobs()) {
            self.blobs.put(part)?;
        }
        Ok(self.blobs.sync()?)
    }

    fn commit(&mut self) -> Result<(), PackageError> {
        self.lock.write(&self.folder.join(LOCK))
    }

    /// Removes what the lock pins no more. Executions that run keep their own copy of a component.
    async fn collect(&self) -> Result<(), PackageError> {
        let mut used = BTreeSet::new();
        for entry in self.entries() {
            // One that is damaged is left alone as a whole, for whoever looks into it.
            let Ok(parts) = self.parts(entry).await else { return Ok(()) };
            used.extend(parts);
        }
        let mut unused = self.blobs.digests()?;
        unused.retain(|digest| !used.contains(digest));
        self.blobs.remove_unused(&unused, u64::MAX)?;
        Ok(())
    }

    /// The digests of all blobs of an installed package.
    pub(super) async fn parts(&self, entry: &Entry) -> Result<Vec<Digest>, PackageError> {
        let signed = self.origin(entry).signed().await?;
        let head = &signed.head;
        let parts = [head.digest, head.config.digest, head.component.digest];
        Ok(parts.into_iter().chain(signed.blobs().map(Digest::of)).collect())
    }

    pub(super) fn blobs(&self) -> &BlobDir {
        &self.blobs
    }
}

fn folder(data: &DataDirectory, account: Option<u64>) -> PathBuf {
    account.map_or_else(|| data.plugins(), |account| data.plugins_of(account))
}

fn entry(candidate: &Candidate, state: State) -> Entry {
    let facts = candidate.facts();
    let Signed { head, signatures_manifest, referrers_index, .. } = &candidate.signed;
    let named = |list: &Option<Vec<u8>>| list.as_ref().map(|list| oci::text(&Digest::of(list)));
    Entry {
        name: head.name.clone(),
        version: head.version.clone(),
        state,
        manifest: head.digest,
        component: head.component.digest,
        signatures: named(signatures_manifest),
        referrers: named(referrers_index),
        signers: candidate.trust.signers().map(|(key, _)| oci::text(key)).collect(),
        source: candidate.source(),
        asks: asks(&facts),
        offers: facts.offers.into_keys().collect(),
    }
}

fn asks(facts: &Facts) -> Vec<String> {
    facts.asks.keys().cloned().collect()
}

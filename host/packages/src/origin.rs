//! Where a package is read from: a registry, or a folder of blobs, which is what is installed and what an archive unpacks to.
//!
//! Owns reading the parts of a package, each within its limit and checked against its digest. Must not know who is trusted.

use std::mem::discriminant;
use std::slice;

use pipewright_artifacts::files::{BlobDir, Blobs as _};
use pipewright_base::Digest;

use super::oci::{self, Descriptor, Index};
use super::package::{CONFIG_BYTES_MAX, Head, MANIFEST_BYTES_MAX, Package, json};
use super::registry::Access;
use super::signature::{self, BUNDLE_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNATURES_MAX, Signature, Signatures};
use super::{PackageError, PublicKey, Reference, Registry};

pub enum Origin {
    Registry {
        registry: Box<Registry>,
        reference: Reference,
    },
    Blobs {
        blobs: BlobDir,
        manifest: Digest,
        /// the manifest that names the signatures
        signatures: Option<Digest>,
        /// the index of what refers to the package and holds signatures
        referrers: Option<Digest>,
        /// a local file, which the policy may let in without signatures
        is_file: bool,
        /// gone when nobody reads from it any more
        _folder: Option<std::sync::Arc<tempfile::TempDir>>,
    },
}

/// A manifest with its signatures; nobody judged them yet.
pub(super) struct Signed {
    pub head: Head,
    /// The manifest that names the signatures, as it was read.
    pub signatures_manifest: Option<Vec<u8>>,
    /// The index of the referrers that may hold signatures.
    pub referrers_index: Option<Vec<u8>>,
    /// The manifests that it lists.
    referrers: Vec<Vec<u8>>,
    pub signatures: Vec<Signature>,
}

impl Signed {
    /// All that is kept of the signatures.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        let lists = self.signatures_manifest.iter().chain(&self.referrers_index).chain(&self.referrers);
        lists.map(Vec::as_slice).chain(self.signatures.iter().filter_map(Signature::blob))
    }
}

impl Origin {
    /// A package that was made on this machine.
    pub fn of_file(package: &Package) -> Result<Self, PackageError> {
        let folder = tempfile::tempdir()?;
        let blobs = BlobDir::new(folder.path())?;
        for part in [&package.manifest, &package.config, &package.component] {
            blobs.put(part)?;
        }
        let _folder = Some(std::sync::Arc::new(folder));
        let manifest = package.digest();
        Ok(Self::Blobs { blobs, manifest, signatures: None, referrers: None, is_file: true, _folder })
    }

    pub fn is_file(&self) -> bool {
        matches!(self, Self::Blobs { is_file: true, .. })
    }

    /// Reads the manifest and its signatures, and nothing else.
    pub(super) async fn signed(&self) -> Result<Signed, PackageError> {
        let head = self.head().await?;
        let what = format!("the list of signatures of {}", head.label());
        let signatures_manifest = match self {
            Self::Registry { registry, .. } => registry.manifest(&signature::tag(&head.digest), Access::Read).await?,
            Self::Blobs { blobs, signatures, .. } => kept(blobs, &what, signatures.as_ref())?,
        };
        let mut signatures = Vec::new();
        if let Some(bytes) = &signatures_manifest {
            let what = format!("a signature of {}", head.label());
            let Signatures { layers, problems } = Signatures::read(bytes);
            signatures.extend(problems.into_iter().map(Signature::Unreadable));
            for (payload, signature) in layers {
                signatures.push(match self.of_signature(&what, &payload, PAYLOAD_BYTES_MAX).await? {
                    Ok(payload) => Signature::Document { payload, signature },
                    Err(problem) => Signature::Unreadable(problem),
                });
            }
        }
        let referrers_index = match self {
            Self::Registry { registry, .. } => {
                let (mut listed, problem) = registry.referrers(&head.digest).await?;
                signatures.extend(problem.map(Signature::Unreadable));
                listed.retain(signature::is_candidate);
                if listed.len() > SIGNATURES_MAX {
                    let problem = format!("there are {} referrers; {SIGNATURES_MAX} are read", listed.len());
                    signatures.push(Signature::Unreadable(problem));
                    listed.truncate(SIGNATURES_MAX);
                }
                if listed.is_empty() { None } else { Some(json(&Index::of(listed))?) }
            }
            Self::Blobs { blobs, referrers, .. } => kept(blobs, &what, referrers.as_ref())?,
        };
        let mut signed = Signed { head, signatures_manifest, referrers_index, referrers: Vec::new(), signatures };
        self.add_bundles(&mut signed).await?;
        Ok(signed)
    }

    /// Reads what the referrers hold. One that is no signature says so, and hides no other: anybody who can write may add one.
    async fn add_bundles(&self, signed: &mut Signed) -> Result<(), PackageError> {
        let Some(index) = &signed.referrers_index else { return Ok(()) };
        let what = format!("a signature of {}", signed.head.label());
        let index: Index = serde_json::from_slice(index).map_err(|error| PackageError::invalid(&what, error))?;
        for listed in index.manifests {
            if listed.size > MANIFEST_BYTES_MAX {
                signed.signatures.push(Signature::Unreadable(format!("one referrer has {} bytes", listed.size)));
                continue;
            }
            let manifest = match self {
                Self::Registry { registry, .. } => registry.manifest(&oci::text(&listed.digest), Access::Read).await?,
                Self::Blobs { blobs, .. } => kept(blobs, &what, Some(&listed.digest))?,
            };
            let Some(manifest) = manifest else {
                let problem = format!("one referrer, {}, is listed and not there", oci::text(&listed.digest));
                signed.signatures.push(Signature::Unreadable(problem));
                continue;
            };
            let found = Digest::of(&manifest);
            if found != listed.digest {
                let changed = PackageError::Digest { what: what.clone(), expected: listed.digest, found };
                signed.signatures.push(Signature::Unreadable(self.hides_no_other(changed)?));
                continue;
            }
            match signature::bundles(&manifest) {
                Err(problem) => signed.signatures.push(Signature::Unreadable(problem)),
                Ok(bundles) => {
                    for bundle in bundles {
                        let bundle = self.of_signature(&what, &bundle, BUNDLE_BYTES_MAX).await?;
                        signed.signatures.push(bundle.map_or_else(Signature::Unreadable, Signature::Bundle));
                    }
                }
            }
            signed.referrers.push(manifest);
        }
        Ok(())
    }

    async fn of_signature(
        &self,
        what: &str,
        blob: &Descriptor,
        max: u64,
    ) -> Result<Result<Vec<u8>, String>, PackageError> {
        match self.blob(what, blob, max, false).await {
            Err(error) => self.hides_no_other(error).map(Err),
            read => read.map(Ok),
        }
    }

    /// What is wrong with a part of a signature, in words: it hides no other, unless it is of what this host has kept.
    fn hides_no_other(&self, error: PackageError) -> Result<String, PackageError> {
        match self {
            Self::Registry { .. } if error.is_of_content() => Ok(error.to_string()),
            _ => Err(error),
        }
    }

    /// Those of some signatures that the package does not have yet by the key that made them. All of them where it is not there.
    ///
    /// # Errors
    /// With them there would be more than are read.
    pub async fn lacking(&self, key: &PublicKey, new: Vec<Signature>) -> Result<Vec<Signature>, PackageError> {
        let there = match self.signed().await {
            // What is wrong with it is told by publishing; some registries say of what is not there yet that it is forbidden.
            Err(error) if error.is_of_content() || matches!(error, PackageError::Credentials { .. }) => return Ok(new),
            there => there?,
        };
        let mut lacking = Vec::new();
        for signature in new {
            let same_form = |other: &&Signature| discriminant(*other) == discriminant(&signature);
            let others: Vec<&Signature> = there.signatures.iter().filter(same_form).collect();
            if others.iter().any(|other| other.signer(&there.head.digest, slice::from_ref(key)).is_ok()) {
                continue;
            }
            if others.len() >= SIGNATURES_MAX {
                let problem = format!("{} has {SIGNATURES_MAX} signatures already", there.head.label());
                return Err(PackageError::Refused(format!("{problem}, and no more are read; publish a new version")));
            }
            lacking.push(signature);
        }
        Ok(lacking)
    }

    async fn head(&self) -> Result<Head, PackageError> {
        match self {
            Self::Registry { registry, reference } => {
                let what = reference.to_string();
                let bytes = registry.manifest(&reference.selector()?, Access::Read).await?;
                let head = Head::read(&what, bytes.ok_or_else(|| PackageError::Missing(what.clone()))?)?;
                match reference.digest {
                    Some(expected) if expected != head.digest => {
                        let what = format!("the manifest of {what}");
                        Err(PackageError::Digest { what, expected, found: head.digest })
                    }
                    _ => Ok(head),
                }
            }
            Self::Blobs { blobs, manifest, .. } => {
                let what = format!("the manifest {}", oci::text(manifest));
                let bytes =
                    blobs.read(manifest, MANIFEST_BYTES_MAX).map_err(|error| PackageError::blob(&what, error))?;
                Head::read(&what, bytes)
            }
        }
    }

    pub(super) async fn config(&self, head: &Head) -> Result<Vec<u8>, PackageError> {
        self.blob(&format!("the configuration of {}", head.label()), &head.config, CONFIG_BYTES_MAX, false).await
    }

    pub(super) async fn component(&self, head: &Head) -> Result<Vec<u8>, PackageError> {
        self.blob(&format!("the component of {}", head.label()), &head.component, head.component.size, true).await
    }

    async fn blob(&self, what: &str, blob: &Descriptor, max: u64, is_code: bool) -> Result<Vec<u8>, PackageError> {
        if blob.size > max {
            return Err(PackageError::invalid(what, format!("it has {} bytes; at most {max} are allowed", blob.size)));
        }
        match self {
            Self::Registry { registry, .. } => registry.blob(what, blob, is_code).await,
            Self::Blobs { blobs, .. } => {
                blobs.read(&blob.digest, blob.size).map_err(|error| PackageError::blob(what, error))
            }
        }
    }
}

fn kept(blobs: &BlobDir, what: &str, digest: Option<&Digest>) -> Result<Option<Vec<u8>>, PackageError> {
    let read = |digest| blobs.read(digest, MANIFEST_BYTES_MAX).map_err(|error| PackageError::blob(what, error));
    digest.map(read).transpose()
}

impl Registry {
    /// Publishes a package under its version, with these signatures beside those that are there. Says whether it was new.
    ///
    /// # Errors
    /// The version is published already, with other content.
    pub async fn publish(&self, package: &Package, tag: &str, signatures: &[Signature]) -> Result<bool, PackageError> {
        let published = self.manifest(tag, Access::Write).await?;
        let digest = package.digest();
        match &published {
            Some(bytes) if *bytes != package.manifest => {
                let (there, ours) = (oci::text(&Digest::of(bytes)), oci::text(&digest));
                let problem = format!("{tag} is published already as {there}, and this is {ours}");
                return Err(PackageError::Refused(format!("{problem}; a version never changes: raise it")));
            }
            Some(_) => {}
            None => {
                self.push_blob("the component", package.component.clone()).await?;
                self.push_blob("the configuration", package.config.clone()).await?;
                // Some take no signature of what is not there.
                self.push_manifest(&oci::text(&digest), oci::MANIFEST, &package.manifest).await?;
            }
        }
        // The signatures first: nobody finds the version before it can be trusted.
        self.push_documents(&digest, signatures).await?;
        let subject = Descriptor::of(oci::MANIFEST, &package.manifest);
        for signature in signatures {
            let Signature::Bundle(bundle) = signature else { continue };
            let (manifest, listed, config) = signature::referrer(&subject, bundle)?;
            self.push_blob("a signature", bundle.clone()).await?;
            self.push_blob("an empty configuration", config.to_vec()).await?;
            self.push_referrer(&digest, listed, &manifest).await?;
        }
        if published.is_none() {
            self.push_manifest(tag, oci::MANIFEST, &package.manifest).await?;
        }
        Ok(published.is_none())
    }

    /// Puts documents beside those at the tag of a manifest's signatures.
    async fn push_documents(&self, manifest: &Digest, signatures: &[Signature]) -> Result<(), PackageError> {
        let document = |signature: &Signature| match signature {
            Signature::Document { payload, signature } => Some((payload.clone(), signature.clone())),
            _ => None,
        };
        let new: Vec<_> = signatures.iter().filter_map(document).collect();
        if new.is_empty() {
            return Ok(());
        }
        let at = signature::tag(manifest);
        let mut all = Vec::new();
        if let Some(bytes) = self.manifest(&at, Access::Write).await? {
            for (layer, signature) in Signatures::read(&bytes).layers {
                match self.blob("a signature", &layer, false).await {
                    Err(error) if error.is_of_content() => {}
                    payload => all.push((payload?, signature)),
                }
            }
        }
        for (payload, _) in &new {
            self.push_blob("a signature", payload.clone()).await?;
        }
        all.extend(new);
        let all: Vec<(&[u8], &[u8])> = all.iter().map(|(payload, signature)| (&payload[..], &signature[..])).collect();
        let (manifest, config) = signature::manifest(&all)?;
        self.push_blob("the list of signatures", config).await?;
        self.push_manifest(&at, oci::MANIFEST, &manifest).await.map(|_| ())
    }
}

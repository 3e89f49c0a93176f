//! Where a package is read from: a registry, or a folder of blobs, which is what is installed and what an archive unpacks to.
//!
//! Owns reading the parts of a package, each within its limit and checked against its digest. Must not know who is trusted.

use pipewright_artifacts::files::{BlobDir, Blobs as _};
use pipewright_base::Digest;

use super::oci::{self, Descriptor};
use super::package::{CONFIG_BYTES_MAX, Head, MANIFEST_BYTES_MAX, Package};
use super::signature::{self, PAYLOAD_BYTES_MAX, Signature, Signatures};
use super::{PackageError, Reference, Registry};

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
    pub signatures: Vec<Signature>,
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
        Ok(Self::Blobs { blobs, manifest: package.digest(), signatures: None, is_file: true, _folder })
    }

    pub fn is_file(&self) -> bool {
        matches!(self, Self::Blobs { is_file: true, .. })
    }

    /// Reads the manifest and its signatures, and nothing else.
    pub(super) async fn signed(&self) -> Result<Signed, PackageError> {
        let head = self.head().await?;
        let bytes = match self {
            Self::Registry { registry, .. } => registry.manifest(&signature::tag(&head.digest)).await?,
            Self::Blobs { signatures: None, .. } => None,
            Self::Blobs { blobs, signatures: Some(digest), .. } => {
                let what = format!("the list of signatures of {}", head.label());
                Some(blobs.read(digest, MANIFEST_BYTES_MAX).map_err(|error| PackageError::blob(&what, error))?)
            }
        };
        let mut signatures = Vec::new();
        if let Some(bytes) = &bytes {
            let what = format!("a signature of {}", head.label());
            for (payload, signature) in Signatures::read(&head.label(), bytes)?.layers {
                let payload = self.blob(&what, &payload, PAYLOAD_BYTES_MAX, false).await?;
                signatures.push(Signature { payload, signature });
            }
        }
        Ok(Signed { head, signatures_manifest: bytes, signatures })
    }

    async fn head(&self) -> Result<Head, PackageError> {
        match self {
            Self::Registry { registry, reference } => {
                let what = reference.to_string();
                let bytes = registry.manifest(&reference.selector()?).await?;
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

impl Registry {
    /// Publishes a package under its version, with these signatures beside those that are there. Says whether it was new.
    ///
    /// # Errors
    /// The version is published already, with other content.
    pub async fn publish(&self, package: &Package, tag: &str, signatures: &[Signature]) -> Result<bool, PackageError> {
        let published = self.manifest(tag).await?;
        match &published {
            Some(bytes) if *bytes != package.manifest => {
                let (there, ours) = (oci::text(&Digest::of(bytes)), oci::text(&package.digest()));
                let problem = format!("{tag} is published already as {there}, and this is {ours}");
                return Err(PackageError::Refused(format!("{problem}; a version never changes: raise it")));
            }
            Some(_) => {}
            None => {
                self.push_blob("the component", package.component.clone()).await?;
                self.push_blob("the configuration", package.config.clone()).await?;
            }
        }
        let at = signature::tag(&package.digest());
        // The signatures first: nobody finds the version before it can be trusted.
        if !signatures.is_empty() {
            let mut all = match self.manifest(&at).await? {
                None => Vec::new(),
                Some(bytes) => self.payloads(&bytes).await?,
            };
            all.extend(signatures.iter().cloned());
            for signature in signatures {
                self.push_blob("a signature", signature.payload.clone()).await?;
            }
            let (manifest, config) = signature::manifest(&all)?;
            self.push_blob("the list of signatures", config).await?;
            self.push_manifest(&at, &manifest).await?;
        }
        if published.is_none() {
            self.push_manifest(tag, &package.manifest).await?;
        }
        Ok(published.is_none())
    }

    async fn payloads(&self, manifest: &[u8]) -> Result<Vec<Signature>, PackageError> {
        let mut signatures = Vec::new();
        for (layer, signature) in Signatures::read("what is published", manifest)?.layers {
            let payload = self.blob("a signature", &layer, false).await?;
            signatures.push(Signature { payload, signature });
        }
        Ok(signatures)
    }
}

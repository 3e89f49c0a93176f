//! Packages in one file, for machines that reach no registry: an OCI image layout as a tar archive.
//!
//! Owns the archive's form (OCI image specification 1.1, "Image Layout"). Must not know who is trusted: what is loaded goes the same
//! way as what comes from a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use pipewright_artifacts::files::{BlobDir, Blobs as _};
use pipewright_base::Digest;
use tar::{Archive, EntryType, Header};

use super::oci::{self, Descriptor, Index};
use super::package::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX, json};
use super::{Entry, Installed, Origin, PackageError, signature};

const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";
/// Stops an archive of endlessly many files.
const ENTRIES_MAX: usize = 10_000;
/// Stops one that fills the disk.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;

/// Writes installed packages, with their signatures, into an archive.
pub async fn save(installed: &Installed, entries: &[&Entry], to: impl Write) -> Result<(), PackageError> {
    let mut archive = tar::Builder::new(to);
    let mut manifests = Vec::new();
    let mut parts = BTreeSet::new();
    for entry in entries {
        let package = (oci::text(&entry.manifest), oci::MANIFEST, format!("{}:{}", entry.name, entry.version));
        let signatures = entry.signatures.clone().map(|it| (it, oci::MANIFEST, signature::tag(&entry.manifest)));
        let referrers = entry.referrers.clone().map(|it| (it, oci::INDEX, oci::referrers_tag(&entry.manifest)));
        for (digest, kind, name) in [Some(package), signatures, referrers].into_iter().flatten() {
            manifests.push(listed(installed, &digest, kind, &name)?);
        }
        parts.extend(installed.parts(entry).await?);
    }
    append(&mut archive, LAYOUT.0, LAYOUT.1)?;
    append(&mut archive, INDEX, &json(&Index::of(manifests))?)?;
    for digest in parts {
        append(&mut archive, &format!("{BLOBS}{digest}"), &blob(installed.blobs(), &digest, COMPONENT_BYTES_MAX)?)?;
    }
    Ok(archive.into_inner()?.flush()?)
}

fn blob(blobs: &BlobDir, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
    blobs.read(digest, bytes_max).map_err(|error| PackageError::blob("a part of an installed plugin", error))
}

fn listed(installed: &Installed, digest: &str, kind: &str, name: &str) -> Result<Descriptor, PackageError> {
    let damaged = || PackageError::invalid(name, format!("{digest:?} is no digest"));
    let digest = oci::parse(digest).ok_or_else(damaged)?;
    let mut listed = Descriptor::of(kind, &blob(installed.blobs(), &digest, MANIFEST_BYTES_MAX)?);
    listed.annotations.insert(oci::REF_NAME.to_owned(), name.to_owned());
    Ok(listed)
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), PackageError> {
    let mut header = Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    Ok(archive.append_data(&mut header, name, bytes)?)
}

/// Reads an archive, and gives each package in it. Every blob is checked against its name.
pub fn load(path: &Path) -> Result<Vec<Origin>, PackageError> {
    let file = File::open(path).map_err(|error| PackageError::Usage(format!("{}: {error}", path.display())))?;
    let folder = Arc::new(tempfile::tempdir()?);
    let blobs = BlobDir::new(folder.path())?;
    let index = unpack(file, &blobs).map_err(|reason| PackageError::invalid(path.display().to_string(), reason))?;
    let name = |listed: &Descriptor| listed.annotations.get(oci::REF_NAME).cloned();
    let named: BTreeMap<String, Digest> =
        index.manifests.iter().filter_map(|listed| Some((name(listed)?, listed.digest))).collect();
    // What belongs to a package has the name that it has in a registry.
    let packages = index.manifests.iter().filter(|listed| !name(listed).is_some_and(|it| it.starts_with("sha256-")));
    let origin = |listed: &Descriptor| Origin::Blobs {
        blobs: blobs.clone(),
        manifest: listed.digest,
        signatures: named.get(&signature::tag(&listed.digest)).copied(),
        referrers: named.get(&oci::referrers_tag(&listed.digest)).copied(),
        is_file: false,
        _folder: Some(Arc::clone(&folder)),
    };
    Ok(packages.map(origin).collect())
}

fn unpack(file: File, blobs: &BlobDir) -> Result<Index, String> {
    let mut archive = Archive::new(file);
    let mut index = None;
    let mut left = UNPACKED_BYTES_MAX;
    // Raw: no header that stands for another one's name, so that nothing but the names below is possible.
    let entries = archive.entries().map_err(|error| error.to_string())?.raw(true);
    for (at, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if at == ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} entries"));
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Directory | EntryType::XHeader | EntryType::XGlobalHeader) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if kind != EntryType::Regular {
            return Err(format!("{name:?} is no regular file"));
        }
        let mut read = |max: u64| {
            let mut bytes = Vec::new();
            entry.by_ref().take(max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            left = left.checked_sub(bytes.len() as u64).ok_or("it unpacks to too much")?;
            if bytes.len() as u64 > max { Err(format!("{name} has more than {max} bytes")) } else { Ok(bytes) }
        };
        if name == INDEX {
            let read: Index = serde_json::from_slice(&read(MANIFEST_BYTES_MAX)?).map_err(|error| error.to_string())?;
            index = Some(read);
        } else if let Some(digest) = name.strip_prefix(BLOBS) {
            let bytes = read(COMPONENT_BYTES_MAX)?;
            let found = blobs.put(&bytes).map_err(|error| error.to_string())?;
            if found.to_string() != *digest {
                return Err(format!("{name} was changed: it has the digest {found}"));
            }
        } else if name != LAYOUT.0 {
            return Err(format!("{name:?} has no place in an image layout"));
        }
    }
    index.ok_or_else(|| format!("it has no {INDEX}"))
}

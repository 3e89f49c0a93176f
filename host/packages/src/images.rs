//! Container images, where they lie: in a registry, or in a folder in the form of an OCI image layout.
//!
//! Owns how an image is named, and the way from its name to the layers for one kind of machine (OCI image specification 1.1; docker's
//! older media types, which say the same). Every document and layer is checked against its digest. Must not know what becomes of
//! an image.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pipewright_base::{Digest, Hasher};
use pipewright_text::quoted;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::oci::{self, Descriptor};
use crate::reference::is_tag;
use crate::registry::{Options, Registry};
use crate::{PackageError, Reference};

/// The least that the distribution specification lets a registry refuse. Stops a manifest or a configuration without end.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// What an image is without a tag and a digest, as with docker.
const LATEST: &str = "latest";
/// How a folder in the form of a layout is named.
const LAYOUT: &str = "oci:";
const NAME_CHARS_MAX: usize = 200;
const COPY_BYTES: usize = 256 << 10;
const TAGS_SHOWN_MAX: usize = 20;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const MANIFEST_KINDS: [&str; 4] = [oci::INDEX, oci::MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
const LAYER_KINDS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// Why an image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{0}")]
    Name(String),
    #[error("the image {name}: {error}")]
    Source { name: String, error: PackageError },
    #[error("the image {name} cannot be used: {reason}")]
    Unusable { name: String, reason: String },
}

impl ImageError {
    /// Whether another time it may be otherwise, without anybody having changed anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Source { error: PackageError::Registry { .. } | PackageError::Host(_), .. })
    }
}

/// An image by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    Registry(Reference),
    /// `oci:FOLDER[:TAG][@sha256:DIGEST]`; without a tag, the only image that is there.
    Layout {
        folder: PathBuf,
        tag: Option<String>,
        digest: Option<Digest>,
    },
}

impl ImageName {
    /// Whether a text says by itself where an image lies. `node:22` does not.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(LAYOUT) || Reference::is_meant(text)
    }

    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest,
            Self::Layout { digest, .. } => *digest,
        }
    }

    /// Who gives its layers: a registry, or a folder.
    pub fn origin(&self) -> String {
        match self {
            Self::Registry(reference) => reference.registry.clone(),
            Self::Layout { folder, .. } => format!("{LAYOUT}{}", folder.display()),
        }
    }

    /// Just this image of those that have had the name.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        match self.clone() {
            Self::Registry(reference) => Self::Registry(Reference { digest: Some(digest), ..reference }),
            Self::Layout { folder, tag, .. } => Self::Layout { folder, tag, digest: Some(digest) },
        }
    }
}

impl FromStr for ImageName {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let shown = || quoted(text, NAME_CHARS_MAX);
        let Some(rest) = text.strip_prefix(LAYOUT) else {
            if !Reference::is_meant(text) {
                return Err(ImageError::Name(format!(
                    "the image {} names no registry; write it as registry.example/team/name:tag, or as oci:FOLDER",
                    shown()
                )));
            }
            let mut reference: Reference =
                text.parse().map_err(|error: PackageError| ImageError::Name(error.to_string()))?;
            if reference.tag.is_none() && reference.digest.is_none() {
                reference.tag = Some(LATEST.to_owned());
            }
            return Ok(Self::Registry(reference));
        };
        let wrong =
            || ImageError::Name(format!("{} is no image; write it as oci:FOLDER[:TAG][@sha256:DIGEST]", shown()));
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) => (rest, Some(oci::parse(digest).ok_or_else(wrong)?)),
            None => (rest, None),
        };
        let (folder, tag) = match rest.rsplit_once(':') {
            Some((folder, tag)) if is_tag(tag) => (folder, Some(tag.to_owned())),
            Some((_, tag)) if !tag.contains('/') => return Err(wrong()),
            _ => (rest, None),
        };
        if folder.is_empty() || text.contains('\0') {
            return Err(wrong());
        }
        Ok(Self::Layout { folder: PathBuf::from(folder), tag, digest })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, tag, digest) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { folder, tag, digest } => (folder, tag, digest),
        };
        write!(f, "{LAYOUT}{}", folder.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        digest.iter().try_for_each(|digest| write!(f, "@{}", oci::text(digest)))
    }
}

/// A layer, as it is packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// An image for one kind of machine.
#[derive(Clone, Debug)]
pub struct Image {
    /// The document that says how it is run.
    pub config: Vec<u8>,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

/// What a name means: a manifest, or an index of those for several machines.
pub struct Head {
    pub digest: Digest,
    document: Vec<u8>,
}

/// Where the image of a name lies.
pub struct ImageSource {
    name: ImageName,
    place: Place,
}

enum Place {
    Registry(Box<Registry>),
    Layout(PathBuf),
}

/// Either of the two; one that is both could be read in two ways.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    manifests: Option<Vec<ForMachine>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct ForMachine {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

impl ImageSource {
    pub async fn open(name: &ImageName, options: &Options) -> Result<Self, ImageError> {
        let place = match name {
            ImageName::Registry(reference) => {
                let registry = Registry::new(reference, options).await;
                Place::Registry(Box::new(registry.map_err(|error| failed(name, error))?))
            }
            ImageName::Layout { folder, .. } => Place::Layout(folder.clone()),
        };
        Ok(Self { name: name.clone(), place })
    }

    /// What the name means now.
    pub async fn head(&self) -> Result<Head, ImageError> {
        let missing = || self.failed(PackageError::Missing("it".to_owned()));
        let document = match (&self.place, &self.name) {
            (Place::Registry(registry), ImageName::Registry(reference)) => {
                let selector = reference.selector().map_err(|error| self.failed(error))?;
                registry.image(&selector).await.map_err(|error| self.failed(error))?.ok_or_else(missing)?
            }
            (Place::Layout(folder), ImageName::Layout { tag, digest, .. }) => {
                let digest = match digest {
                    Some(digest) => *digest,
                    None => listed(folder, tag.as_deref()).await.map_err(|error| self.failed(error))?,
                };
                self.manifest(&Layer { digest, size: DOCUMENT_BYTES_MAX }).await?
            }
            _ => return Err(missing()),
        };
        let found = Digest::of(&document);
        match self.name.digest() {
            Some(expected) if expected != found => Err(self.changed("its manifest", expected, found)),
            _ => Ok(Head { digest: found, document }),
        }
    }

    /// The image for Linux on this kind of machine.
    pub async fn image(&self, head: &Head, architecture: &str) -> Result<Image, ImageError> {
        let mut document = self.parse(&head.document)?;
        if let Some(manifests) = &document.manifests {
            let chosen = self.chosen(manifests, architecture)?;
            document = self.parse(&self.manifest(&chosen).await?)?;
        }
        let (None, Some(config), Some(layers)) = (document.manifests, document.config, document.layers) else {
            return Err(self.unusable("its manifest is no manifest of an image"));
        };
        let layer = |layer: Descriptor| match LAYER_KINDS.contains(&layer.media_type.as_str()) {
            true => Ok(Layer { digest: layer.digest, size: layer.size }),
            false => Err(self.unusable(format!(
                "it has a layer of the kind {}, which is none of an image, or one that registries do not give away",
                quoted(&layer.media_type, NAME_CHARS_MAX)
            ))),
        };
        let layers = layers.into_iter().map(layer).collect::<Result<_, _>>()?;
        let config = self.config(&Layer { digest: config.digest, size: config.size }).await?;
        Ok(Image { config, layers })
    }

    /// Whether whoever asks may have a layer.
    pub async fn has(&self, layer: &Layer) -> Result<bool, ImageError> {
        match &self.place {
            Place::Registry(registry) => registry.has_layer(layer).await.map_err(|error| self.failed(error)),
            Place::Layout(folder) => Ok(blob(folder, &layer.digest).is_file()),
        }
    }

    /// Writes a layer into a file while it comes; `came` hears how much has.
    pub async fn fetch(
        &self,
        layer: &Layer,
        to: &mut File,
        came: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImageError> {
        let fetched = match &self.place {
            Place::Registry(registry) => registry.fetch_layer(layer, to, came).await,
            Place::Layout(folder) => copy(&blob(folder, &layer.digest), layer, to, came).await,
        };
        fetched.map_err(|error| self.failed(error))
    }

    fn chosen(&self, manifests: &[ForMachine], architecture: &str) -> Result<Layer, ImageError> {
        let is_for = |it: &&ForMachine| {
            it.platform.as_ref().is_some_and(|it| it.os == "linux" && it.architecture == architecture)
        };
        if let Some(chosen) = manifests.iter().find(is_for) {
            return Ok(Layer { digest: chosen.descriptor.digest, size: chosen.descriptor.size });
        }
        let mut there: Vec<String> = manifests
            .iter()
            .filter_map(|it| it.platform.as_ref().map(|it| format!("{}/{}", it.os, it.architecture)))
            .filter(|it| it != "unknown/unknown")
            .collect();
        there.dedup();
        Err(self.unusable(format!(
            "it is for {}, and this machine is linux/{architecture}; name an image that has a variant for that",
            quoted(&there.join(", "), NAME_CHARS_MAX)
        )))
    }

    fn parse(&self, document: &[u8]) -> Result<Document, ImageError> {
        let parsed: Document = serde_json::from_slice(document)
            .map_err(|error| self.unusable(format!("its manifest cannot be read: {error}")))?;
        match &parsed {
            Document { schema_version: 2, manifests: Some(_), layers: Some(_), .. } => {
                Err(self.unusable("its manifest is an index, too, so that it means two things"))
            }
            Document { schema_version: 2, .. } => Ok(parsed),
            Document { schema_version, .. } => Err(self.unusable(format!(
                "its manifest is of version {schema_version}, and this host reads version 2; push it again with a newer tool"
            ))),
        }
    }

    /// The manifest of one machine, of those that an index lists.
    async fn manifest(&self, of: &Layer) -> Result<Vec<u8>, ImageError> {
        let text = oci::text(&of.digest);
        let read = match &self.place {
            Place::Registry(registry) => match registry.image(&text).await {
                Ok(None) => Err(PackageError::Missing(format!("its manifest {text}"))),
                Ok(Some(document)) => Ok(document),
                Err(error) => Err(error),
            },
            Place::Layout(folder) => read(&blob(folder, &of.digest), of.size).await,
        };
        self.checked("its manifest", of, read)
    }

    async fn config(&self, of: &Layer) -> Result<Vec<u8>, ImageError> {
        if of.size > DOCUMENT_BYTES_MAX {
            return Err(self.unusable(format!("its configuration has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let read = match &self.place {
            Place::Registry(registry) => {
                let blob = Descriptor { digest: of.digest, size: of.size, ..Descriptor::of(oci::IMAGE_CONFIG, b"") };
                registry.blob("its configuration", &blob, false).await
            }
            Place::Layout(folder) => read(&blob(folder, &of.digest), of.size).await,
        };
        self.checked("its configuration", of, read)
    }

    fn checked(&self, what: &str, of: &Layer, read: Result<Vec<u8>, PackageError>) -> Result<Vec<u8>, ImageError> {
        let document = read.map_err(|error| self.failed(error))?;
        let found = Digest::of(&document);
        if found == of.digest { Ok(document) } else { Err(self.changed(what, of.digest, found)) }
    }

    fn changed(&self, what: &str, expected: Digest, found: Digest) -> ImageError {
        self.failed(PackageError::Digest { what: what.to_owned(), expected, found })
    }

    fn failed(&self, error: PackageError) -> ImageError {
        failed(&self.name, error)
    }

    fn unusable(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Unusable { name: self.name.to_string(), reason: reason.into() }
    }
}

fn failed(name: &ImageName, error: PackageError) -> ImageError {
    ImageError::Source { name: name.to_string(), error }
}

/// Which image of a layout has the tag; without one, the only image.
async fn listed(folder: &Path, tag: Option<&str>) -> Result<Digest, PackageError> {
    let index = read(&folder.join("index.json"), DOCUMENT_BYTES_MAX).await?;
    let index: oci::Index = serde_json::from_slice(&index)
        .map_err(|error| PackageError::Usage(format!("its index.json cannot be read: {error}")))?;
    let name = |listed: &Descriptor| listed.annotations.get(oci::REF_NAME).cloned().unwrap_or_default();
    let found = match tag {
        Some(tag) => index.manifests.iter().find(|listed| name(listed) == tag),
        None => index.manifests.first().filter(|_| index.manifests.len() == 1),
    };
    found.map(|found| found.digest).ok_or_else(|| {
        let mut names: Vec<String> = index.manifests.iter().map(name).collect();
        names.truncate(TAGS_SHOWN_MAX);
        PackageError::Usage(format!("name one of its tags: {}", quoted(&names.join(", "), NAME_CHARS_MAX)))
    })
}

fn blob(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.to_string())
}

async fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let file = open(path).await?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > bytes_max {
        return Err(PackageError::Usage(format!("{} has more than {bytes_max} bytes", path.display())));
    }
    Ok(bytes)
}

async fn copy(
    path: &Path,
    layer: &Layer,
    to: &mut File,
    came: &mut (dyn FnMut(u64) + Send),
) -> Result<(), PackageError> {
    let mut file = open(path).await?;
    let (mut hasher, mut bytes, mut buffer) = (Hasher::default(), 0, vec![0; COPY_BYTES]);
    loop {
        let read = file.read(&mut buffer).await?;
        bytes += read as u64;
        if read == 0 || bytes > layer.size {
            break;
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
        came(bytes);
    }
    to.flush().await?;
    let found = hasher.finish();
    if found == layer.digest {
        return Ok(());
    }
    Err(PackageError::Digest { what: "a layer of it".to_owned(), expected: layer.digest, found })
}

/// A regular file: the reading of others may wait for ever.
async fn open(path: &Path) -> Result<File, PackageError> {
    match tokio::fs::metadata(path).await {
        Ok(found) if found.is_file() => {}
        _ => return Err(PackageError::Missing(path.display().to_string())),
    }
    Ok(File::open(path).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_names() {
        let digest = "a".repeat(64);
        let check = |text: &str, written: &str| {
            let name: ImageName = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(name.to_string(), written);
            assert_eq!(written.parse::<ImageName>().unwrap(), name);
            let at = name.at(Digest::of(b"x"));
            assert_eq!((at.digest(), at.to_string().parse().unwrap()), (Some(Digest::of(b"x")), at));
        };
        check("registry.example/team/rust:1", "registry.example/team/rust:1");
        check("registry.example/team/rust", "registry.example/team/rust:latest");
        let pinned = format!("registry.example/rust@sha256:{digest}");
        check(&pinned, &pinned);
        check("oci:images/rust", "oci:images/rust");
        check("oci:/images:a/rust:1.2", "oci:/images:a/rust:1.2");
        check(&format!("oci:rust:1@sha256:{digest}"), &format!("oci:rust:1@sha256:{digest}"));
        for (wrong, said) in [
            ("node:22", "names no registry"),
            ("aws/codebuild/standard:7.0", "names no registry"),
            ("registry.example/A", "no valid repository"),
            ("oci:", "is no image"),
            ("oci:a:b c", "is no image"),
            ("oci:a@sha256:12", "is no image"),
        ] {
            let error = wrong.parse::<ImageName>().unwrap_err().to_string();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}

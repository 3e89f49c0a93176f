//! Images that programs run in: pulled once, unpacked layer by layer, shared by all who may use them.
//!
//! Owns what the operator says of images, and the way from an image's name to its unpacked layers. Must not know what runs in
//! one, nor who may use which.

mod kept;
mod pins;
mod pull;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pipewright_base::fair::Permits;
use pipewright_base::{Digest, clock};
use pipewright_isolation::{Isolation, Layers};
use pipewright_packages::Options;
use pipewright_packages::images::{ImageError, ImageName, ImageSource};
use serde::{Deserialize, Serialize};

use self::kept::Kept;
pub use self::kept::{KeptImage, Removed};
pub use self::pins::Pins;

/// Images that are pulled at once; more of them wait. Stops pulls from taking all of a disk's time and a network's width.
const PULLS_MAX: usize = 4;
/// And of one account.
const PULLS_OF_ACCOUNT_MAX: usize = 2;

/// What a name stands for where programs run without an image.
pub const TOOLCHAIN: &str = "toolchain";
/// Names of CodeBuild's own images. One for which the operator names nothing is as if none was named.
const CODEBUILD: &str = "aws/codebuild/";

/// What the operator says of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesOffered {
    /// Images by names that name no registry, such as CodeBuild's `aws/codebuild/standard:7.0`: each the reference of an image, which
    /// every build may then use, or `toolchain`. Of CodeBuild's names, those that are not here are as if none was named.
    pub names: BTreeMap<String, String>,
    /// What the unpacked images may take of the disk together, in bytes. The one that was not used for the longest time goes first.
    pub bytes_max: u64,
    /// What one image may take, unpacked. Stops a small one that unpacks to a great deal.
    pub image_bytes_max: u64,
    /// Files, directories and links of one image. Stops an image of a great many empty files.
    pub image_entries_max: u64,
}

impl Default for ImagesOffered {
    fn default() -> Self {
        Self { names: BTreeMap::new(), bytes_max: 64 << 30, image_bytes_max: 16 << 30, image_entries_max: 2_000_000 }
    }
}

impl ImagesOffered {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        for (name, image) in self.names.iter().filter(|(_, image)| *image != TOOLCHAIN) {
            let parsed = image.parse::<ImageName>();
            parsed.map_err(|error| format!("commands.images.names.{name:?}: {error}; or write \"{TOOLCHAIN}\""))?;
        }
        Ok(())
    }

    /// The image that a name means; none: programs run without one.
    pub fn image(&self, name: &str) -> Result<Option<ImageName>, NotReady> {
        match self.names.get(name).map(String::as_str) {
            Some(TOOLCHAIN) => Ok(None),
            Some(image) => Ok(Some(image.parse()?)),
            None if name.starts_with(CODEBUILD) => Ok(None),
            None if ImageName::is_meant(name) => Ok(Some(name.parse()?)),
            None => Err(NotReady {
                is_passing: false,
                reason: format!(
                    "this host has no image called {name:?}; name one with its registry, or let its operator say which one that \
                     is by [commands.images.names] of the configuration"
                ),
            }),
        }
    }
}

/// Why an image is not to be had, with the mend.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    /// Another time it may be otherwise.
    pub is_passing: bool,
    pub reason: String,
}

impl From<ImageError> for NotReady {
    fn from(error: ImageError) -> Self {
        Self { is_passing: error.is_passing(), reason: error.to_string() }
    }
}

impl From<io::Error> for NotReady {
    fn from(error: io::Error) -> Self {
        Self { is_passing: true, reason: format!("the folder of images: {error}") }
    }
}

/// An image that a program can run in. It stays for as long as this is held.
pub struct Ready {
    pub digest: Digest,
    pub layers: Layers,
    /// As its configuration has it.
    pub environment: Vec<(String, String)>,
    _in_use: File,
}

/// Where images are kept, and how registries are reached.
#[derive(Clone, Debug)]
pub struct ImagesAt {
    pub folder: PathBuf,
    /// PEM files of certificate authorities, besides the system's.
    pub certificate_authorities: Vec<PathBuf>,
}

pub struct Images {
    offered: ImagesOffered,
    kept: Kept,
    registries: Options,
    pulls: Permits,
    /// Whoever wants what another one pulls waits for that.
    pulling: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Images {
    pub fn new(offered: ImagesOffered, at: ImagesAt) -> Self {
        Self {
            offered,
            kept: Kept::new(at.folder),
            registries: Options { certificate_authorities: at.certificate_authorities, ..Options::default() },
            pulls: Permits::new(PULLS_MAX, PULLS_OF_ACCOUNT_MAX),
            pulling: Mutex::default(),
        }
    }

    pub fn offered(&self) -> &ImagesOffered {
        &self.offered
    }

    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Makes an image ready: the one that `pins` say the name had, else the one that it has now, which they keep. What is not
    /// here yet is pulled, of which `say` tells.
    pub async fn ready(
        &self,
        isolation: &Isolation,
        account: u64,
        name: &ImageName,
        pins: Option<&Pins>,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Ready, NotReady> {
        let pinned = match (name.digest(), pins) {
            (None, Some(pins)) => pins.get(name).await?,
            (digest, _) => digest,
        };
        if let Some(digest) = pinned
            && let Some(ready) = self.kept.take(digest, name).await?
        {
            return Ok(ready);
        }
        let source =
            ImageSource::open(&pinned.map_or_else(|| name.clone(), |it| name.at(it)), &self.registries).await?;
        let head = source.head().await?;
        if let (None, Some(pins)) = (name.digest(), pins) {
            pins.keep(name, head.digest).await?;
        }
        if let Some(ready) = self.kept.take(head.digest, name).await? {
            return Ok(ready);
        }
        let gate = self.gate(head.digest);
        let _gate = gate.lock().await;
        let _turn = self.pulls.acquire(account).await;
        if let Some(ready) = self.kept.take(head.digest, name).await? {
            return Ok(ready);
        }
        let began = clock::monotonic();
        let pull = pull::Pull { kept: &self.kept, isolation, source: &source, offered: &self.offered, name, say };
        pull.run(&head).await?;
        let ready = self.kept.take(head.digest, name).await?;
        let ready =
            ready.ok_or_else(|| NotReady { is_passing: true, reason: format!("the image {name} was removed") })?;
        say(&format!("the image {name} is ready after {:.1} s", began.elapsed().as_secs_f32()));
        Ok(ready)
    }

    fn gate(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulling = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        pulling.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = pulling.get(&digest).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        pulling.insert(digest, Arc::downgrade(&gate));
        gate
    }
}

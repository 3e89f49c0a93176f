//! Pulling an image: its layers, one after the other, each checked while it comes and then unpacked upon those below it.

use std::path::Path;

use pipewright_base::Digest;
use pipewright_isolation::{ImageConfig, Isolation, LAYERS_MAX, LayerError, Layers, UnpackLimits, machine};
use pipewright_packages::images::{Head, Image, ImageName, ImageSource, Layer};

use super::kept::{Kept, LayerFacts, Record};
use super::{ImagesOffered, NotReady};

/// How often a layer that is being fetched is told of.
const TOLD_BYTES: u64 = 64 << 20;
/// A layer is large, and a connection may break.
const FETCHES_MAX: usize = 3;
/// Somebody may remove a layer that is shared before all are there.
const TRIES_MAX: usize = 3;

pub(super) struct Pull<'a> {
    pub kept: &'a Kept,
    pub isolation: &'a Isolation,
    pub source: &'a ImageSource,
    pub offered: &'a ImagesOffered,
    pub name: &'a ImageName,
    pub say: &'a (dyn Fn(&str) + Send + Sync),
}

/// A layer among the others of its image.
struct Place<'a> {
    layer: &'a Layer,
    /// What its image says it has, decompressed.
    content: Digest,
    number: usize,
    of: usize,
}

/// What those below a layer have used of the image's limits.
#[derive(Default)]
struct Used {
    bytes: u64,
    entries: u64,
}

impl Pull<'_> {
    pub(super) async fn run(&self, head: &Head) -> Result<(), NotReady> {
        let image = self.source.image(head, machine()).await?;
        let config = ImageConfig::read(&image.config).map_err(|error| self.unusable(error))?;
        self.check(&image, &config)?;
        let kept = self.kept.clone();
        let room = self.offered.bytes_max;
        let bytes = tokio::task::spawn_blocking(move || kept.make_room(room)).await.map_err(std::io::Error::from)??;
        if bytes > room {
            return Err(self.unusable(format!(
                "the images that are in use have more than {room} bytes; let the operator raise commands.images.bytes_max"
            )));
        }
        let packed: u64 = image.layers.iter().map(|layer| layer.size).sum();
        (self.say)(&format!("pulls the image {}: {} layers, {}", self.name, image.layers.len(), mib(packed)));
        for _ in 0..TRIES_MAX {
            let layers = self.layers(&image, &config).await?;
            let record = Record {
                digest: head.digest,
                names: vec![self.name.to_string()],
                layers,
                environment: config.environment.clone(),
            };
            let kept = self.kept.clone();
            if tokio::task::spawn_blocking(move || kept.add(record)).await.map_err(std::io::Error::from)?? {
                return Ok(());
            }
        }
        Err(NotReady { is_passing: true, reason: format!("the image {} is removed while it is pulled", self.name) })
    }

    fn check(&self, image: &Image, config: &ImageConfig) -> Result<(), NotReady> {
        let (layers, said) = (image.layers.len(), config.layers.len());
        if layers == 0 || layers > LAYERS_MAX {
            return Err(self.unusable(format!("it has {layers} layers, and images have 1 to {LAYERS_MAX}")));
        }
        if layers != said {
            return Err(self.unusable(format!("its manifest has {layers} layers, and its configuration {said}")));
        }
        let bytes_max = self.offered.image_bytes_max;
        let packed = image.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        if packed > bytes_max { Err(self.too_large(bytes_max)) } else { Ok(()) }
    }

    /// The chains of the image's layers, each unpacked.
    async fn layers(&self, image: &Image, config: &ImageConfig) -> Result<Vec<Digest>, NotReady> {
        let (mut chains, mut used) = (Vec::<Digest>::new(), Used::default());
        for (at, (layer, content)) in image.layers.iter().zip(&config.layers).enumerate() {
            let place = Place { layer, content: *content, number: at + 1, of: image.layers.len() };
            let chain = chain(chains.last(), layer);
            let facts = match self.kept.facts(&chain)? {
                Some(facts) => {
                    // Whoever names a layer of somebody else gets it only where they could have it anyway: that a registry says
                    // so counts once it has given the layer.
                    if !facts.origins.contains(&self.name.origin()) {
                        self.prove(&place, &chain).await?;
                    } else if !self.source.has(layer).await? {
                        return Err(self.unusable(format!("its layer {} is not there", place.number)));
                    }
                    facts
                }
                None => self.unpack(&place, &chain, &chains, &used).await?,
            };
            if facts.digest != place.content {
                return Err(self.unusable(format!(
                    "its layer {} is not what its configuration says: it must have the diff_id sha256:{}, and has sha256:{}",
                    place.number, place.content, facts.digest
                )));
            }
            used.bytes = used.bytes.saturating_add(facts.bytes);
            used.entries = used.entries.saturating_add(facts.entries);
            if used.bytes > self.offered.image_bytes_max || used.entries > self.offered.image_entries_max {
                return Err(self.too_large(self.offered.image_bytes_max));
            }
            chains.push(chain);
        }
        Ok(chains)
    }

    async fn unpack(
        &self,
        place: &Place<'_>,
        chain: &Digest,
        below: &[Digest],
        used: &Used,
    ) -> Result<LayerFacts, NotReady> {
        let making = self.kept.making()?;
        let archive = making.path().join("archive");
        self.fetch(place, &archive).await?;
        (self.say)(&format!("layer {} of {}: unpacks it", place.number, place.of));
        let names = below.iter().rev().map(Digest::to_string).collect();
        let below = Layers { folder: self.kept.layers()?, names };
        let (left, free) = (self.offered.image_bytes_max.saturating_sub(used.bytes), self.kept.free_bytes()?);
        let limits = UnpackLimits {
            bytes_max: left.min(free),
            entries_max: self.offered.image_entries_max.saturating_sub(used.entries),
        };
        let unpacked = self.isolation.unpack(&archive, &below, making.name(), &limits).await;
        let unpacked = unpacked.map_err(|error| match error {
            LayerError::Host(_) => NotReady { is_passing: true, reason: format!("the image {}: {error}", self.name) },
            error => {
                let disk =
                    if free < left { format!("; the host's disk has {} left", mib(free)) } else { String::new() };
                let unusable = self.unusable(format!("layer {} of {}: {error}{disk}", place.number, place.of));
                NotReady { is_passing: free < left, ..unusable }
            }
        })?;
        let facts = LayerFacts {
            digest: unpacked.digest,
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            origins: vec![self.name.origin()],
        };
        if facts.digest == place.content {
            let (kept, chain, facts) = (self.kept.clone(), *chain, facts.clone());
            let adopted = tokio::task::spawn_blocking(move || kept.adopt(&making, &chain, &facts)).await;
            adopted.map_err(std::io::Error::from)??;
        }
        Ok(facts)
    }

    /// Fetches a layer that is here already, from another registry: what comes has its digest.
    async fn prove(&self, place: &Place<'_>, chain: &Digest) -> Result<(), NotReady> {
        let making = self.kept.making()?;
        self.fetch(place, &making.path().join("archive")).await?;
        let (kept, chain, origin) = (self.kept.clone(), *chain, self.name.origin());
        let noted = tokio::task::spawn_blocking(move || kept.came_from(&chain, origin)).await;
        Ok(noted.map_err(std::io::Error::from)??)
    }

    async fn fetch(&self, place: &Place<'_>, archive: &Path) -> Result<(), NotReady> {
        let free = self.kept.free_bytes()?;
        if place.layer.size > free {
            let reason = format!("the image {}: the host's disk has no room for it ({} left)", self.name, mib(free));
            return Err(NotReady { is_passing: true, reason });
        }
        let of = format!("layer {} of {}", place.number, place.of);
        for tries in 1.. {
            let mut file = tokio::fs::File::create(archive).await?;
            let mut told = 0;
            let mut came = |bytes: u64| {
                if bytes >= told + TOLD_BYTES {
                    told = bytes;
                    (self.say)(&format!("{of}: {} of {}", mib(bytes), mib(place.layer.size)));
                }
            };
            match self.source.fetch(place.layer, &mut file, &mut came).await {
                Err(error) if error.is_passing() && tries < FETCHES_MAX => {
                    (self.say)(&format!("{of} is fetched again: {error}"));
                }
                fetched => {
                    fetched?;
                    break;
                }
            }
        }
        (self.say)(&format!("{of}: {} came", mib(place.layer.size)));
        Ok(())
    }

    fn unusable(&self, reason: impl std::fmt::Display) -> NotReady {
        let reason = format!("the image {} cannot be used: {reason}", self.name);
        NotReady { is_passing: false, reason }
    }

    fn too_large(&self, bytes_max: u64) -> NotReady {
        let entries_max = self.offered.image_entries_max;
        self.unusable(format!(
            "it has more than {bytes_max} bytes or {entries_max} entries; let the operator raise commands.images.image_bytes_max or \
             image_entries_max, or take a smaller one"
        ))
    }
}

/// A layer upon those below it: the same bytes upon others may mean something else (whiteouts, links).
fn chain(below: Option<&Digest>, layer: &Layer) -> Digest {
    let below = below.map(Digest::to_string).unwrap_or_default();
    Digest::of(format!("{below} {}", layer.digest).as_bytes())
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & ((1 << 20) - 1)) * 10) >> 20)
}

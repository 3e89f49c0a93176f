//! The folder of unpacked images: a document for each image, and a directory for each layer upon those below it, which images share.
//!
//! Owns which image uses which layers, and that what is in use stays. Several processes may have the folder: whoever changes what
//! is in it holds its lock meanwhile, and whoever uses an image holds the image's. Must not know where images are from.
//!
//! ```text
//! lock
//! images/DIGEST.json    what the image is made of
//! images/DIGEST.use     locked while it is in use; its time says when that last was
//! layers/CHAIN/         what a layer has, upon the chain of those below it
//! layers/CHAIN.json     what is known of it
//! layers/making-…       what is being unpacked or removed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use pipewright_artifacts::files::{FREE_DISK_BYTES_MIN, remove_tree};
use pipewright_base::home::write_private;
use pipewright_base::{Digest, clock};
use pipewright_isolation::{Layers, unpacked_in};
use pipewright_packages::images::ImageName;
use serde::{Deserialize, Serialize};

use super::Ready;

/// What nobody refers to goes after so long: it may belong to an image that is being pulled.
const UNUSED_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;
/// Stops a layer that is fetched from ever new registries. The last ones count.
const ORIGINS_MAX: usize = 16;
/// Stops an image that is pulled by ever new tags. It goes by the last ones.
const NAMES_MAX: usize = 16;
const MAKING: &str = "making-";

/// A handle of the folder.
#[derive(Clone)]
pub struct Kept {
    folder: PathBuf,
}

/// What an image is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub digest: Digest,
    /// The last one first.
    pub names: Vec<String>,
    /// Chains, the lowest first.
    pub layers: Vec<Digest>,
    pub environment: Vec<(String, String)>,
}

/// What is known of a layer that is unpacked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerFacts {
    /// Of the decompressed archive.
    pub digest: Digest,
    pub bytes: u64,
    pub entries: u64,
    /// Where all of it came from, the last one first: those have it, whatever they say of others' layers.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// An image that is here.
#[derive(Clone, Debug, Serialize)]
pub struct KeptImage {
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// By which it was pulled.
    pub names: Vec<String>,
    /// Unpacked, with the layers that it shares with others.
    pub bytes: u64,
    pub layers: usize,
    /// When a program last began to run in it, in milliseconds since 1970.
    pub used_ms: u64,
    pub in_use: bool,
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&pipewright_packages::digest_text(digest))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub images: u64,
    pub bytes: u64,
    /// Those that were to go, too, and are in use.
    pub in_use: Vec<Digest>,
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Jobs have to get into it, whoever they run as; what is above it may be closed to them.
    pub(super) fn layers(&self) -> io::Result<PathBuf> {
        let layers = self.folder.join("layers");
        fs::create_dir_all(&layers)?;
        fs::set_permissions(&layers, Permissions::from_mode(0o711))?;
        Ok(layers)
    }

    fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    fn record_path(&self, digest: &Digest) -> PathBuf {
        self.images().join(format!("{digest}.json"))
    }

    fn use_path(&self, digest: &Digest) -> PathBuf {
        self.images().join(format!("{digest}.use"))
    }

    fn layer(&self, chain: &Digest) -> PathBuf {
        self.folder.join("layers").join(chain.to_string())
    }

    fn facts_path(&self, chain: &Digest) -> PathBuf {
        self.layer(chain).with_extension("json")
    }

    fn locked(&self) -> io::Result<File> {
        fs::create_dir_all(self.images())?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.folder.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    /// An image for whoever uses it now; none if it is not here whole, or was never pulled by this name: whoever has the name is to
    /// be asked whether it has the image.
    pub(super) async fn take(&self, digest: Digest, name: &ImageName) -> io::Result<Option<Ready>> {
        let (kept, name) = (self.clone(), name.to_string());
        tokio::task::spawn_blocking(move || kept.take_now(digest, name)).await?
    }

    fn take_now(&self, digest: Digest, name: String) -> io::Result<Option<Ready>> {
        let _lock = self.locked()?;
        let Some(record) = read::<Record>(&self.record_path(&digest))? else { return Ok(None) };
        if !record.names.contains(&name) || !record.layers.iter().all(|chain| self.layer(chain).is_dir()) {
            return Ok(None);
        }
        let in_use = OpenOptions::new().create(true).truncate(false).write(true).open(self.use_path(&digest))?;
        in_use.lock_shared()?;
        in_use.set_modified(UNIX_EPOCH + Duration::from_millis(clock::now_ms()))?;
        let names = record.layers.iter().rev().map(Digest::to_string).collect();
        let layers = Layers { folder: self.layers()?, names };
        Ok(Some(Ready { digest, layers, environment: record.environment, _in_use: in_use }))
    }

    /// What the disk has left for images.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(self.layers()?)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(FREE_DISK_BYTES_MIN))
    }

    pub(super) fn facts(&self, chain: &Digest) -> io::Result<Option<LayerFacts>> {
        if self.layer(chain).is_dir() { read(&self.facts_path(chain)) } else { Ok(None) }
    }

    /// A new directory to unpack a layer in.
    pub(super) fn making(&self) -> io::Result<Making> {
        let made = tempfile::Builder::new().prefix(MAKING).tempdir_in(self.layers()?)?;
        fs::set_permissions(made.path(), Permissions::from_mode(0o711))?;
        Ok(Making(made.keep()))
    }

    /// Puts a layer that was unpacked in its place, durably.
    pub(super) fn adopt(&self, made: &Making, chain: &Digest, facts: &LayerFacts) -> io::Result<()> {
        let unpacked = unpacked_in(made.path());
        rustix::fs::syncfs(File::open(&unpacked)?)?;
        let _lock = self.locked()?;
        if !self.layer(chain).is_dir() {
            write(&self.facts_path(chain), facts)?;
            fs::rename(unpacked, self.layer(chain))?;
        }
        Ok(())
    }

    /// From now on a layer is one that came from there, too.
    pub(super) fn came_from(&self, chain: &Digest, origin: String) -> io::Result<()> {
        let _lock = self.locked()?;
        let Some(mut facts) = self.facts(chain)? else { return Ok(()) };
        facts.origins.retain(|before| *before != origin);
        facts.origins.insert(0, origin);
        facts.origins.truncate(ORIGINS_MAX);
        write(&self.facts_path(chain), &facts)
    }

    /// Says whether all layers are still there. What was pulled by other names before has those, too.
    pub(super) fn add(&self, mut record: Record) -> io::Result<bool> {
        let _lock = self.locked()?;
        let path = self.record_path(&record.digest);
        let is_whole = record.layers.iter().all(|chain| self.layer(chain).is_dir());
        if is_whole {
            let before = read::<Record>(&path)?.map(|before| before.names).unwrap_or_default();
            let (new, most) = (record.names.clone(), NAMES_MAX.saturating_sub(record.names.len()));
            record.names.extend(before.into_iter().filter(|name| !new.contains(name)).take(most));
            write(&path, &record)?;
        }
        Ok(is_whole)
    }

    /// What is here, in the order of the digests. Blocks.
    pub fn list(&self) -> io::Result<Vec<KeptImage>> {
        let _lock = self.locked()?;
        let facts = self.all_facts()?;
        self.records()?.into_iter().map(|record| self.listed(record, &facts)).collect()
    }

    fn listed(&self, record: Record, facts: &BTreeMap<Digest, LayerFacts>) -> io::Result<KeptImage> {
        let in_use = OpenOptions::new().create(true).truncate(false).write(true).open(self.use_path(&record.digest))?;
        let used = in_use.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(KeptImage {
            digest: record.digest,
            bytes: record.layers.iter().filter_map(|chain| Some(facts.get(chain)?.bytes)).sum(),
            layers: record.layers.len(),
            names: record.names,
            used_ms: u64::try_from(used.as_millis()).unwrap_or(u64::MAX),
            in_use: matches!(in_use.try_lock(), Err(TryLockError::WouldBlock)),
        })
    }

    /// Removes images, and the layers that no other has. Blocks.
    pub fn remove(&self, is_to_go: impl Fn(&KeptImage) -> bool) -> io::Result<Removed> {
        self.remove_with(is_to_go, 0)
    }

    /// Removes the images that were last used before a time, and what was left behind. Blocks.
    pub fn forget(&self, before: u64) -> io::Result<Removed> {
        if !self.folder.is_dir() {
            return Ok(Removed::default());
        }
        self.remove_with(|image| image.used_ms < before, clock::now_ms().saturating_sub(UNUSED_MILLISECONDS))
    }

    /// Removes what was not used for the longest time, until all together are within so many bytes; says how many they are. Blocks.
    pub(super) fn make_room(&self, bytes_max: u64) -> io::Result<u64> {
        let all = || {
            let _lock = self.locked()?;
            io::Result::Ok(self.all_facts()?.values().map(|facts| facts.bytes).sum::<u64>())
        };
        let mut images = self.list()?;
        images.sort_by_key(|image| image.used_ms);
        let mut bytes = all()?;
        for image in images.iter().filter(|image| !image.in_use) {
            if bytes <= bytes_max {
                break;
            }
            self.remove_with(|it| it.digest == image.digest, 0)?;
            bytes = all()?;
        }
        Ok(bytes)
    }

    /// What nobody refers to goes, too, if it is older than `left_before`.
    fn remove_with(&self, is_to_go: impl Fn(&KeptImage) -> bool, left_before: u64) -> io::Result<Removed> {
        let lock = self.locked()?;
        let facts = self.all_facts()?;
        let (mut removed, mut needed, mut unneeded) = (Removed::default(), BTreeSet::new(), BTreeSet::new());
        for record in self.records()? {
            let image = self.listed(record.clone(), &facts)?;
            let goes = is_to_go(&image);
            if goes && !image.in_use {
                fs::remove_file(self.record_path(&record.digest))?;
                fs::remove_file(self.use_path(&record.digest))?;
                unneeded.extend(record.layers);
                removed.images += 1;
            } else {
                needed.extend(record.layers);
                removed.in_use.extend(goes.then_some(record.digest));
            }
        }
        let is_old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|found| found.modified());
            modified.is_ok_and(|at| at < UNIX_EPOCH + Duration::from_millis(left_before))
        };
        unneeded.extend(facts.keys().filter(|chain| is_old(&self.facts_path(chain))));
        let mut gone = Vec::new();
        for chain in unneeded.difference(&needed) {
            removed.bytes += facts.get(chain).map_or(0, |facts| facts.bytes);
            let making = self.making()?;
            let _ = fs::remove_file(self.facts_path(chain));
            match fs::rename(self.layer(chain), making.path().join("gone")) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => gone.push(making),
            }
        }
        drop(lock);
        for left in entries(&self.layers()?)? {
            let name = left.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(MAKING) && is_old(&left) {
                remove_tree(&left)?;
            }
        }
        gone.iter().try_for_each(|making| remove_tree(making.path()))?;
        Ok(removed)
    }

    fn records(&self) -> io::Result<Vec<Record>> {
        let mut paths = entries(&self.images())?;
        paths.sort();
        let paths = paths.iter().filter(|path| path.extension().is_some_and(|it| it == "json"));
        paths.filter_map(|path| read(path).transpose()).collect()
    }

    fn all_facts(&self) -> io::Result<BTreeMap<Digest, LayerFacts>> {
        let mut all = BTreeMap::new();
        for path in entries(&self.layers()?)? {
            let chain = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse::<Digest>().ok());
            if let Some(chain) = chain
                && let Some(facts) = read(&path)?
            {
                all.insert(chain, facts);
            }
        }
        Ok(all)
    }
}

/// Gone when it is dropped.
pub(super) struct Making(PathBuf);

impl Making {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        // What is still being written into it is found later on.
        let remove = move || drop(remove_tree(&path));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// None where there is none, or where it is not whole: then it is as if it were not there.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, document: &impl Serialize) -> io::Result<()> {
    write_private(path, &serde_json::to_vec(document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn name(text: &str) -> ImageName {
        format!("registry.example/{text}").parse().unwrap()
    }

    /// A folder with images of these layers, each of which has 100 bytes.
    fn kept(folder: &Path, images: &[(&str, &[&str])]) -> Kept {
        let kept = Kept::new(folder.to_owned());
        for (image, layers) in images {
            for layer in *layers {
                layer_of(&kept, layer);
            }
            let layers = layers.iter().map(|layer| digest(layer)).collect();
            let names = vec![name(image).to_string()];
            assert!(kept.add(Record { digest: digest(image), names, layers, environment: Vec::new() }).unwrap());
        }
        kept
    }

    #[test]
    fn a_layer_came_from_the_last_registries_that_gave_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path(), &[("a", &["x"])]);
        let origins = || kept.facts(&digest("x")).unwrap().unwrap().origins;
        assert_eq!(origins(), ["a"]);
        for number in 0..ORIGINS_MAX {
            kept.came_from(&digest("x"), number.to_string()).unwrap();
            kept.came_from(&digest("x"), "b".to_owned()).unwrap();
        }
        let origins = origins();
        assert_eq!((origins.len(), &*origins[0], &*origins[1]), (ORIGINS_MAX, "b", "15"));
        assert!(!origins.contains(&"a".to_owned()));
        // As it was kept before this was known.
        let old = format!("{{\"digest\":{:?},\"bytes\":1,\"entries\":1}}", digest("x").to_string());
        fs::write(kept.facts_path(&digest("x")), old).unwrap();
        assert_eq!(kept.facts(&digest("x")).unwrap().unwrap().origins, Vec::<String>::new());
    }

    fn layer_of(kept: &Kept, layer: &str) {
        let making = kept.making().unwrap();
        fs::create_dir(unpacked_in(making.path())).unwrap();
        let facts = LayerFacts { digest: digest(layer), bytes: 100, entries: 1, origins: vec!["a".to_owned()] };
        kept.adopt(&making, &digest(layer), &facts).unwrap();
    }

    /// Makes an image one that was last used long ago.
    fn age(kept: &Kept, image: &str, ms: u64) {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(kept.use_path(&digest(image))).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_millis(ms)).unwrap();
    }

    /// Which of the layers are still there.
    fn left(kept: &Kept, layers: &[&'static str]) -> Vec<&'static str> {
        layers.iter().copied().filter(|layer| kept.layer(&digest(layer)).is_dir()).collect()
    }

    #[tokio::test]
    async fn layers_go_with_the_last_image_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path(), &[("a", &["base", "x"]), ("b", &["base", "y"]), ("c", &["z"])]);
        age(&kept, "a", 1_000);
        age(&kept, "b", 2_000);
        age(&kept, "c", 3_000);
        layer_of(&kept, "orphan");
        let all = &["base", "x", "y", "z", "orphan"];
        let removed = kept.forget(2_000).unwrap();
        assert_eq!((removed.images, removed.bytes, left(&kept, all)), (1, 100, vec!["base", "y", "z", "orphan"]));
        assert!(kept.take(digest("a"), &name("a")).await.unwrap().is_none());

        // One in use stays, and by being used it is no old one any more.
        assert!(kept.take(digest("b"), &name("other")).await.unwrap().is_none());
        let again = Record {
            names: vec![name("other").to_string()],
            ..read(&kept.record_path(&digest("b"))).unwrap().unwrap()
        };
        assert!(kept.add(again).unwrap());
        let ready = kept.take(digest("b"), &name("other")).await.unwrap().unwrap();
        assert_eq!(ready.layers.names, [digest("y").to_string(), digest("base").to_string()]);
        let listed = kept.list().unwrap();
        let b = listed.iter().find(|image| image.digest == digest("b")).unwrap();
        assert_eq!((b.in_use, b.bytes, b.names.len()), (true, 200, 2));
        let removed = kept.remove(|_| true).unwrap();
        assert_eq!((removed.images, removed.in_use), (1, vec![digest("b")]));
        assert_eq!(left(&kept, all), ["base", "y", "orphan"]);
        drop(ready);
        assert_eq!(kept.forget(3_000).unwrap().images, 0);
        assert_eq!(kept.remove(|_| true).unwrap().images, 1);
        assert_eq!(left(&kept, all), ["orphan"]);

        // What is unpacked for an image that never came.
        let facts = File::options().write(true).open(kept.facts_path(&digest("orphan"))).unwrap();
        facts.set_modified(UNIX_EPOCH).unwrap();
        kept.forget(0).unwrap();
        assert_eq!(left(&kept, all), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn room_is_made_by_what_was_not_used_for_the_longest_time() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path(), &[("a", &["x"]), ("b", &["y"]), ("c", &["z"])]);
        for (image, ms) in [("a", 3_000), ("b", 1_000), ("c", 2_000)] {
            age(&kept, image, ms);
        }
        assert_eq!(kept.make_room(300).unwrap(), 300);
        assert_eq!((kept.make_room(200).unwrap(), left(&kept, &["x", "y", "z"])), (200, vec!["x", "z"]));
        let _ready = kept.take(digest("c"), &name("c")).await.unwrap().unwrap();
        assert_eq!((kept.make_room(0).unwrap(), left(&kept, &["x", "y", "z"])), (100, vec!["z"]));
    }

    /// An image of which a layer is gone is not here; and none is added.
    #[tokio::test]
    async fn an_image_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path(), &[("a", &["x", "y"])]);
        fs::remove_dir(kept.layer(&digest("y"))).unwrap();
        assert!(kept.take(digest("a"), &name("a")).await.unwrap().is_none());
        let layers = vec![digest("x"), digest("y")];
        let record = Record { digest: digest("b"), names: Vec::new(), layers, environment: Vec::new() };
        assert!(!kept.add(record).unwrap());
        fs::write(kept.record_path(&digest("a")), "{").unwrap();
        assert!(kept.list().unwrap().is_empty());
    }
}

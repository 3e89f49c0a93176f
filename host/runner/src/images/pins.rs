//! Which image a tag meant when an execution first met it (S55): a file beside the logs of the execution, which goes with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_base::home::write_private;
use pipewright_packages::images::ImageName;
use tokio::sync::Mutex;

/// Retention knows the extension.
const FILE: &str = "images.pins";

/// The pins of one execution.
#[derive(Clone)]
pub struct Pins {
    folder: PathBuf,
    /// Whoever changes any pins holds it.
    gate: Arc<Mutex<()>>,
}

impl Pins {
    pub fn new(folder: PathBuf, gate: Arc<Mutex<()>>) -> Self {
        Self { folder, gate }
    }

    pub(super) async fn get(&self, name: &ImageName) -> io::Result<Option<Digest>> {
        let (pins, name) = (self.clone(), name.to_string());
        tokio::task::spawn_blocking(move || Ok(pins.read()?.remove(&name))).await?
    }

    /// The first one counts.
    pub(super) async fn keep(&self, name: &ImageName, digest: Digest) -> io::Result<()> {
        let _gate = self.gate.lock().await;
        let (pins, name) = (self.clone(), name.to_string());
        let written = move || {
            let mut all = pins.read()?;
            if all.contains_key(&name) {
                return Ok(());
            }
            all.insert(name, digest);
            std::fs::create_dir_all(&pins.folder)?;
            write_private(&pins.folder.join(FILE), &serde_json::to_vec(&all)?)?;
            // It is to be there as long as what was built by it.
            File::open(pins.folder.join(FILE))?.sync_all()?;
            File::open(&pins.folder)?.sync_all()
        };
        tokio::task::spawn_blocking(written).await?
    }

    fn read(&self) -> io::Result<BTreeMap<String, Digest>> {
        match std::fs::read(self.folder.join(FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }
}

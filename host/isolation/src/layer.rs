//! The host's side of unpacking a layer: by a process with a limit on its memory, which ends with the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::job::{JobError, LAYERS_MAX, Layers, is_name};
use crate::level::Refusal;
use crate::message::{BESIDE, LayerOrder, Report, Task, UPPER};
use crate::run::{Isolation, RunError, refusal};
use crate::unpack::{UnpackLimits, Unpacked};

/// Stops a layer that is read for ever. A gigabyte of small files takes about a minute.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The image's fault.
    #[error("{0}")]
    Layer(String),
    /// This machine cannot.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("a layer was not unpacked: {0}")]
    Host(String),
}

impl From<std::io::Error> for LayerError {
    fn from(error: std::io::Error) -> Self {
        Self::Host(error.to_string())
    }
}

impl Isolation {
    /// Unpacks a layer, whose compression is seen by how it begins, upon others. `made` is the name of a directory in their folder;
    /// what comes of the layer is in the one that [`unpacked_in`] says of it, and belongs to the user that jobs run as. What was
    /// unpacked before an error stays. When the returned future is dropped, the unpacking ends.
    pub async fn unpack(
        &self,
        archive: &Path,
        below: &Layers,
        made: &str,
        limits: &UnpackLimits,
    ) -> Result<Unpacked, LayerError> {
        let host = |error: JobError| LayerError::Host(error.to_string());
        if let Some(bad) = below.names.iter().map(String::as_str).chain([made]).find(|name| !is_name(name)) {
            return Err(host(JobError::Layer(bad.to_owned())));
        }
        if below.names.len() >= LAYERS_MAX {
            return Err(host(JobError::Layers(below.names.len() + 1)));
        }
        for name in [UPPER, BESIDE] {
            std::fs::create_dir_all(below.folder.join(made).join(name))?;
        }
        let order = LayerOrder {
            archive: archive.to_owned(),
            below: below.clone(),
            made: made.to_owned(),
            limits: limits.clone(),
        };
        let keeper = self.zygote.beside()?.keeper()?;
        let reported = tokio::time::timeout(TIME_MAX, keeper.report(&Task::Layer(order))).await;
        let late = |_| LayerError::Layer(format!("a layer is not unpacked after {} s", TIME_MAX.as_secs()));
        match reported.map_err(late)? {
            Ok(Report::Unpacked(unpacked)) => unpacked.map_err(LayerError::Layer),
            Ok(Report::Failed(failure)) => Err(refusal(crate::Level::Image, failure.step, failure.reason).into()),
            Ok(Report::Network | Report::Ended(_) | Report::NotBegun) => {
                Err(LayerError::Host("it was taken for a job".to_owned()))
            }
            // It met its limit on memory, as far as can be told.
            Err(RunError::Lost(reason)) => Err(LayerError::Layer(format!("a layer cannot be unpacked: {reason}"))),
            Err(error) => Err(LayerError::Host(error.to_string())),
        }
    }
}

/// The directory with a layer's files, in the one that it was made in.
pub fn unpacked_in(made: &Path) -> PathBuf {
    made.join(UPPER)
}

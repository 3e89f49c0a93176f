//! Owns what is known of a batch between two calls, and where the artifacts of its builds are until all have ended.
//!
//! A batch is builds one after another, each with the sources as they were. Which is next, `pipewright-buildspec` decides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipewright_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::course::resumed;

/// Below the scratch, by the builds.
const ARTIFACTS: &str = "artifacts";

/// A batch, as far as it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batched {
    /// Whether each build that ended succeeded, by its identifier.
    pub ended: BTreeMap<String, bool>,
    /// The build whose job has ended where a call begins.
    pub running: Option<String>,
}

impl Batched {
    /// What the call before left.
    ///
    /// # Errors
    /// Job, where another version of the plugin left it.
    pub fn left(action: &Action) -> Result<Self> {
        Ok(resumed(action)?.and_then(|course| course.batch).unwrap_or_default())
    }
}

/// Where an artifact of a build is kept until the batch has ended; the primary one has no identifier.
pub fn kept_artifact(action: &Action, build: usize, artifact: Option<&str>) -> PathBuf {
    let of_build = action.scratch().join(ARTIFACTS).join(build.to_string());
    match artifact {
        Some(artifact) => of_build.join("secondary").join(artifact),
        None => of_build.join("primary"),
    }
}

//! Owns which actions share what they keep for later executions, and the keeping itself.

use std::sync::Arc;

use pipewright_artifacts::caches::Space;
use pipewright_artifacts::files::MadeOutput;
use pipewright_base::hex;
use pipewright_pipeline::machine::RunAction;
use pipewright_sandbox::capabilities::caches::SavedCache;
use pipewright_sandbox::seam::{Level, Sink as _};
use pipewright_store::Aggregate;

use super::SandboxActions;
use crate::builds;
use crate::logs::ActionLog;

/// All builds of a project share caches, whoever starts them; any other action has its own, as long as its pipeline is there.
pub(super) fn space(pipeline: Aggregate, run: &RunAction) -> Space {
    let project = run.configuration.get("ProjectName").filter(|_| builds::is_build(&run.declared().type_id()));
    let (name, shown) = match project {
        Some(project) => (format!("project/{project}"), format!("project {project}")),
        None => {
            let action = run.placed().name_in_pipeline();
            let shown = format!("pipeline {} {action}", run.declaration.name);
            (format!("pipeline/{}/{action}", hex::encode(pipeline.uid)), shown)
        }
    };
    Space { account: pipeline.account, name, shown }
}

impl SandboxActions {
    /// Of an action that succeeded. What cannot be kept is told in its log: the action has done what it is for.
    pub(super) async fn keep_caches(
        &self,
        pipeline: Aggregate,
        run: &RunAction,
        saved: Vec<SavedCache>,
        log: &Arc<ActionLog>,
    ) {
        let space = space(pipeline, run);
        for SavedCache { key, directory } in saved {
            let (caches, space, kept_as) = (Arc::clone(&self.caches), space.clone(), key.clone());
            let keep = move || {
                let made = MadeOutput::of_directory("cache", directory);
                caches.keep(&space, &kept_as, &made).map_err(|error| error.to_string())
            };
            match tokio::task::spawn_blocking(keep).await.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(digest) => log.log(Level::Info, &format!("The cache `{key}` (sha256:{digest}) is kept")),
                Err(error) => log.log(Level::Warn, &format!("The cache `{key}` is not kept: {error}")),
            }
        }
        log.flush();
    }
}

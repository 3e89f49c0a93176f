//! Owns what is given of an action's recording to whoever wants to run it again: what it needs, and no secret.

use std::sync::Arc;

use bytes::Bytes;
use pipewright_sandbox::Masks;
use pipewright_sandbox::grants::SecretGrant;

use super::SandboxActions;
use crate::grants::GrantsFile;
use crate::recording;

impl SandboxActions {
    /// Every secret of grants, also of other actions, whose outputs may be inputs of one; none where they are not to be had.
    pub async fn secrets_of(&self, account: u64, grants: &GrantsFile) -> Option<Vec<SecretGrant>> {
        let stored = self.secrets.values(account, grants.stored(None)).await.ok()?;
        grants.secrets(&stored).ok()
    }

    /// The recording of an action of an execution with these secrets, as the bytes of a bundle; none where nothing was kept of
    /// it. No artifact is in it that holds a secret of the pipeline: one that the grants name, or one of `settings`; and none
    /// at all where the grants are not to be had.
    pub async fn recording(
        self: &Arc<Self>,
        granted: Option<Vec<SecretGrant>>,
        settings: Vec<String>,
        execution: String,
        action: String,
    ) -> anyhow::Result<Option<Bytes>> {
        self.recordings.written().await;
        let actions = Arc::clone(self);
        let read = move || actions.read_recording(granted.as_deref(), &settings, &execution, &action);
        self.work_runtime.blocking(read).await
    }

    fn read_recording(
        &self,
        granted: Option<&[SecretGrant]>,
        settings: &[String],
        execution: &str,
        action: &str,
    ) -> anyhow::Result<Option<Bytes>> {
        let Some(mut bundle) = self.recordings.read(execution, action)? else { return Ok(None) };
        bundle.recording.log = self.logs.last_lines(execution, action)?;
        let masks = granted.map(|granted| {
            Masks::of(granted.iter().flat_map(SecretGrant::values).chain(settings.iter().map(String::as_str)))
        });
        recording::complete(
            &mut bundle,
            |digest| self.plugins.component(digest),
            masks.as_ref(),
            |digest| match self.artifacts.tree(&digest.to_string()) {
                Ok(tree) => Some((tree, self.artifacts.blobs().clone())),
                Err(_) => self.caches.tree(digest),
            },
        );
        Ok(Some(bundle.to_bytes()?.into()))
    }
}

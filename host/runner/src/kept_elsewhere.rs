//! What actions need that is not in the store, for retention: the plugins that executions pin, and images. Must not know when it goes.

use pipewright_base::Digest;
use pipewright_engine::retention::Pinned;

use crate::actions::SandboxActions;

impl Pinned for SandboxActions {
    fn candidates(&self, before: u64) -> std::io::Result<Vec<Digest>> {
        self.plugins.candidates(before)
    }

    fn remove(&self, unneeded: Vec<Digest>, before: u64) -> std::io::Result<(u64, u64)> {
        self.plugins.remove(unneeded, before)
    }

    fn forget(&self, before: u64) -> std::io::Result<(u64, u64)> {
        let removed = self.programs.images().kept().forget(before)?;
        Ok((removed.images, removed.bytes))
    }
}

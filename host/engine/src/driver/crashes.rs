//! What ran when the host died: counted, so that an action which brings the host down does not do so for ever.
//!
//! Owns the count, which is kept with the pipeline. Must not know why a host died.

use std::collections::BTreeMap;

use pipewright_pipeline::machine::{ActionExecutionId, RunAction};

use super::actor::Actor;
use super::{DriverError, record};

/// An action that ran at that many deaths of the host is not run again: it may be what the host dies of.
pub(super) const DEATHS_MAX: u32 = 2;

/// By action execution; those that have ended since are forgotten with the next death.
pub(super) type Deaths = BTreeMap<ActionExecutionId, u32>;

impl Actor {
    /// Counts a death of the host for each action that it interrupted, durably: before one of them runs again.
    pub(super) async fn count_deaths(&mut self, interrupted: &[RunAction]) -> Result<Deaths, DriverError> {
        if interrupted.is_empty() {
            return Ok(Deaths::new());
        }
        let before = self.get(&record::crashes()).await?;
        let before: Deaths =
            before.map(|bytes| record::read("the deaths of the host", &bytes)).transpose()?.unwrap_or_default();
        let count =
            |run: &RunAction| (run.action_execution, before.get(&run.action_execution).map_or(1, |deaths| deaths + 1));
        let deaths: Deaths = interrupted.iter().map(count).collect();
        self.put(record::crashes(), record::json(&deaths)?).await?;
        Ok(deaths)
    }
}

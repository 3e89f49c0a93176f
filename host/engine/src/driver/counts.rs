//! What happened since the host started, counted for whoever watches the host.
//!
//! Must not know who reads the numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use pipewright_pipeline::machine::{ActionHappening, Event, ExecutionState};

#[derive(Default)]
pub struct Counts {
    pub executions: States<8>,
    pub actions: States<6>,
    pub rules: States<6>,
    pub commits: AtomicU64,
}

/// A number for each state.
pub struct States<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> States<N> {
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().zip(&self.counts).map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    fn count(&self, name: &str) {
        if let Some(index) = self.names.iter().position(|known| *known == name) {
            self.counts[index].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Default for States<8> {
    fn default() -> Self {
        let names = ["STARTED", "SUCCEEDED", "FAILED", "STOPPED", "SUPERSEDED", "CANCELED", "RESUMED", "STOPPING"];
        Self { names, counts: Default::default() }
    }
}

impl Default for States<6> {
    fn default() -> Self {
        let names = ["STARTED", "SUCCEEDED", "FAILED", "ABANDONED", "CANCELED", "RESTARTED"];
        Self { names, counts: Default::default() }
    }
}

impl Counts {
    pub(super) fn commit(&self, events: &[Event]) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        for event in events {
            match event {
                Event::Execution(event) => self.executions.count(execution_state(event.state)),
                Event::Action(event) => self.actions.count(action_state(&event.what).unwrap_or_default()),
                Event::Rule(event) => self.rules.count(action_state(&event.what).unwrap_or_default()),
                _ => {}
            }
        }
    }
}

pub fn execution_state(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Canceled => "CANCELED",
        ExecutionState::Failed => "FAILED",
        ExecutionState::Resumed => "RESUMED",
        ExecutionState::Started => "STARTED",
        ExecutionState::Stopped => "STOPPED",
        ExecutionState::Stopping => "STOPPING",
        ExecutionState::Succeeded => "SUCCEEDED",
        ExecutionState::Superseded => "SUPERSEDED",
    }
}

/// None for what is no change of state.
pub fn action_state(what: &ActionHappening) -> Option<&'static str> {
    Some(match what {
        ActionHappening::Started { .. } => "STARTED",
        ActionHappening::Succeeded { .. } => "SUCCEEDED",
        ActionHappening::Failed { .. } | ActionHappening::NotPassed { .. } => "FAILED",
        ActionHappening::Abandoned => "ABANDONED",
        ActionHappening::Canceled => "CANCELED",
        ActionHappening::Restarted { .. } => "RESTARTED",
        ActionHappening::Waiting { .. }
        | ActionHappening::Decided(_)
        | ActionHappening::Job { .. }
        | ActionHappening::Resumed { .. } => return None,
    })
}

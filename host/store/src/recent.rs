//! The records that were committed last, for who follows the store: whoever is told of a commit reads its record at once, and
//! need not go to the disk's thread for it.
//!
//! Filled only while somebody watches. Must not be asked about more than the records that it has: what is not here is
//! read where it is kept.

use super::{Aggregate, Record};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Records that are kept, and the largest of them: stops large ones from filling memory.
const RECORDS_MAX: usize = 1024;
const RECORD_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    records: HashMap<(Aggregate, u64), Record>,
    /// In the order in which they came.
    order: VecDeque<(Aggregate, u64)>,
}

impl Recent {
    pub(super) fn keep(&self, aggregate: Aggregate, record: Record) {
        if record.events.iter().map(|event| event.len()).sum::<usize>() > RECORD_BYTES_MAX {
            return;
        }
        let mut state = self.state();
        if state.order.len() == RECORDS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.records.remove(&oldest);
        }
        let key = (aggregate, record.sequence);
        state.order.push_back(key);
        state.records.insert(key, record);
    }

    /// Something was taken out of an aggregate.
    pub(super) fn forget(&self, aggregate: Aggregate) {
        let mut state = self.state();
        state.order.retain(|(of, _)| *of != aggregate);
        state.records.retain(|(of, _), _| *of != aggregate);
    }

    /// The records from one on, as far as they are here.
    pub(super) fn from(&self, aggregate: Aggregate, from: u64, limit: usize) -> Vec<Record> {
        let state = self.state();
        let records = (from..).map_while(|sequence| state.records.get(&(aggregate, sequence)).cloned());
        records.take(limit).collect()
    }

    /// A panic elsewhere leaves the maps whole.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The records that were committed last, for who follows the store: whoever is told of a commit reads its record at once, and
//! need not go to the disk's thread for it.
//!
//! Filled only while records are asked for. What is not here is read where it is kept.

use super::{Aggregate, Record};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records that are kept, and the largest of them: stops large ones from filling memory.
const RECORDS_MAX: usize = 1024;
const RECORD_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Recent {
    /// How many more records are kept unless somebody asks.
    wanted: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<(Aggregate, u64), Record>,
    /// In the order in which they came.
    order: VecDeque<(Aggregate, u64)>,
}

impl Recent {
    pub(super) fn keep(&self, aggregate: Aggregate, record: Record) {
        let less = |wanted: usize| wanted.checked_sub(1);
        if self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return;
        }
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
        self.wanted.store(RECORDS_MAX, Ordering::Relaxed);
        let state = self.state();
        let records = (from..).map_while(|sequence| state.records.get(&(aggregate, sequence)).cloned());
        records.take(limit).collect()
    }

    /// A panic elsewhere leaves the maps whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use bytes::Bytes;

    #[test]
    fn what_is_asked_for_is_kept_for_a_while() {
        let one = Aggregate::of_account(1);
        let recent = Recent::default();
        let commit = |sequence, bytes: usize| {
            let (previous, digest) = (Digest::default(), Digest::default());
            let events = vec![Bytes::from(vec![0; bytes])];
            recent.keep(one, Record { sequence, previous, digest, changes: Vec::new(), events });
        };
        let from = |from, limit| {
            let records = recent.from(one, from, limit);
            records.iter().map(|record| record.sequence).collect::<Vec<_>>()
        };
        commit(1, 1);
        assert!(from(1, 9).is_empty(), "nobody had asked");
        (2..6).for_each(|sequence| commit(sequence, 1));
        commit(6, RECORD_BYTES_MAX + 1);
        commit(7, 1);
        assert_eq!((from(1, 9), from(2, 9), from(4, 1)), (vec![], vec![2, 3, 4, 5], vec![4]));
        assert_eq!((from(6, 9), from(7, 9), from(8, 9)), (vec![], vec![7], vec![]), "a large one is not kept");
        let last = 8 + RECORDS_MAX as u64;
        (8..last + 9).for_each(|sequence| commit(sequence, 1));
        assert!(from(7, 9).is_empty(), "the oldest go");
        assert_eq!(from(last - 2, 9), vec![last - 2, last - 1], "and after a while nobody wants more");
        recent.forget(one);
        assert!(from(last - 1, 9).is_empty());
    }
}

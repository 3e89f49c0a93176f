//! The compiled plugins that are in memory, ready to run.
//!
//! Owns which of them stay: those that were used last, within a limit on their bytes. What has to go is loaded again from the
//! compile cache when it is called. Must not know how code is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plugin::Code;

pub(crate) struct Codes {
    bytes_max: usize,
    resident: Mutex<Resident>,
}

#[derive(Default)]
struct Resident {
    /// By the component's digest.
    codes: HashMap<String, Entry>,
    bytes: usize,
    /// Counts the uses.
    clock: u64,
}

struct Entry {
    code: Arc<Code>,
    bytes: usize,
    used: u64,
}

impl Codes {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, resident: Mutex::default() }
    }

    pub(crate) fn get(&self, digest: &str) -> Option<Arc<Code>> {
        let mut resident = self.resident();
        resident.clock += 1;
        let now = resident.clock;
        let entry = resident.codes.get_mut(digest)?;
        entry.used = now;
        Some(Arc::clone(&entry.code))
    }

    /// The newest one stays, however large it is. What goes lives on until its last call ends.
    pub(crate) fn insert(&self, digest: &str, code: &Arc<Code>, bytes: usize) {
        let mut resident = self.resident();
        resident.clock += 1;
        let entry = Entry { code: Arc::clone(code), bytes, used: resident.clock };
        resident.bytes += bytes;
        if let Some(before) = resident.codes.insert(digest.to_owned(), entry) {
            resident.bytes -= before.bytes;
        }
        while resident.bytes > self.bytes_max && resident.codes.len() > 1 {
            let oldest = resident.codes.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone());
            let Some(gone) = oldest.and_then(|digest| resident.codes.remove(&digest)) else { break };
            resident.bytes -= gone.bytes;
        }
    }

    fn resident(&self) -> MutexGuard<'_, Resident> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

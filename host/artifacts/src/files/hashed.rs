//! The digests of files that the host wrote, so that collecting an output need not read them again.
//!
//! By inode and not by path: a path has many names (links, renames), and a digest that outlived a change of its file
//! would put the wrong content under a blob's name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::FileResult;
use super::quota::Budget;
use pipewright_base::Digest;

/// One per output.
#[derive(Debug, Default)]
pub struct Hashed(Mutex<HashMap<u64, State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// The host writes it, and hashes as it writes.
    Writing,
    Done {
        digest: Digest,
        size: u64,
    },
}

impl Hashed {
    /// The host begins to write this file, which it just made.
    pub fn begin(&self, inode: u64, budget: &Budget) -> FileResult<()> {
        // Of an entry, in a map that has grown by doubling.
        const ENTRY_BYTES: usize = 128;
        budget.hold(ENTRY_BYTES)?;
        self.states().insert(inode, State::Writing);
        Ok(())
    }

    /// The host wrote the file to its end. Counts only if nobody else changed it meanwhile.
    pub fn finish(&self, inode: u64, digest: Digest, size: u64) {
        if let Some(state) = self.states().get_mut(&inode)
            && matches!(state, State::Writing)
        {
            *state = State::Done { digest, size };
        }
    }

    /// Somebody else may change the file, or did.
    pub fn forget(&self, inode: u64) {
        self.states().remove(&inode);
    }

    pub fn get(&self, inode: u64, size: u64) -> Option<Digest> {
        match self.states().get(&inode) {
            Some(State::Done { digest, size: hashed }) if *hashed == size => Some(*digest),
            _ => None,
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<u64, State>> {
        // Every change is a single insert or remove: nothing is half-done after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_alone_wrote() {
        let digest = Digest::of(b"x");
        let (hashed, budget) = (Hashed::default(), Budget::unlimited());
        hashed.begin(1, &budget).unwrap();
        assert_eq!(hashed.get(1, 1), None, "not yet written");
        hashed.finish(1, digest, 1);
        assert_eq!(hashed.get(1, 1), Some(digest));
        assert_eq!(hashed.get(1, 2), None, "another size");
        hashed.forget(1);
        assert_eq!(hashed.get(1, 1), None, "changed after");
        hashed.begin(2, &budget).unwrap();
        hashed.forget(2);
        hashed.finish(2, digest, 1);
        assert_eq!(hashed.get(2, 1), None, "changed while written");
    }
}

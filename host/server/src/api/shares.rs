//! What an account may have open at once: each has a share of its own, so that nothing one does is waited for by another.
//!
//! Owns the counting. Must not know what is done meanwhile, nor how large a share is (`connections`).

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::connections::{Bounds, Crowded};

/// How an answer comes, which is what it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At once, and small.
    Document,
    /// For as long as the client reads.
    Stream,
}

/// Memory is counted in these.
const UNIT_BYTES: usize = 1024;

pub struct Shares {
    accounts: HashMap<u64, Share>,
    bounds: Bounds,
}

struct Share {
    documents: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    making: Arc<Semaphore>,
}

/// A part of a share, until it is dropped.
pub type Taken = OwnedSemaphorePermit;

impl Shares {
    pub fn new(accounts: &[u64], bounds: &Bounds) -> Self {
        let share = |account: &u64| {
            let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
            let share = Share {
                documents: permits(bounds.requests_per_account_max),
                streams: permits(bounds.streams_per_account_max),
                memory: permits(bounds.answers_bytes_per_account_max / UNIT_BYTES),
                making: permits(bounds.made_at_once_per_account_max),
            };
            (*account, share)
        };
        Self { accounts: accounts.iter().map(share).collect(), bounds: bounds.clone() }
    }

    fn of(&self, account: u64) -> Result<&Share, ApiError> {
        self.accounts.get(&account).ok_or_else(|| ApiError::internal(&format!("account {account:012} has no share")))
    }

    /// For one more answer.
    pub fn answer(&self, account: u64, answer: Answer) -> Result<Taken, ApiError> {
        let share = self.of(account)?;
        let (permits, what, max) = match answer {
            Answer::Document => (&share.documents, "requests in progress", self.bounds.requests_per_account_max),
            Answer::Stream => (&share.streams, "streams and downloads open", self.bounds.streams_per_account_max),
        };
        Arc::clone(permits).try_acquire_owned().map_err(|_| {
            ApiError::throttled(format!(
                "Account {account:012} has {max} {what}, which is as many as it may have at once: try again when some have ended"
            ))
        })
    }

    /// For an answer that holds so much until it is read.
    pub fn memory(&self, account: u64, bytes: usize) -> Result<Taken, ApiError> {
        let max = self.bounds.answers_bytes_per_account_max / UNIT_BYTES;
        // The largest answer of all is given when there is no other.
        let units = bytes.div_ceil(UNIT_BYTES).min(max);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.of(account)?.memory).try_acquire_many_owned(units).map_err(|_| {
            ApiError::throttled(format!(
                "The downloads that account {account:012} has open hold as much memory as they may: try again when some have ended"
            ))
        })
    }

    /// Waits for its turn to make what takes much memory while it is made.
    pub async fn making(&self, account: u64) -> Result<Taken, ApiError> {
        let making = Arc::clone(&self.of(account)?.making);
        making.acquire_owned().await.map_err(|error| ApiError::internal(&error))
    }
}

impl From<Crowded> for ApiError {
    fn from(Crowded { connections_max }: Crowded) -> Self {
        Self::throttled(format!(
            "The account has {connections_max} connections that are all in use, which is as many as it may have: try again when \
             some have ended"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_account_takes_another_still_has() {
        let bounds = Bounds { answers_bytes_per_account_max: 4096, ..Bounds::new(256, 2) };
        let shares = Shares::new(&[1, 2], &bounds);
        let mut taken = Vec::new();
        for answer in [Answer::Document, Answer::Stream] {
            while let Ok(one) = shares.answer(1, answer) {
                taken.push(one);
            }
            assert_eq!(shares.answer(1, answer).unwrap_err().code, "ThrottlingException");
            assert!(shares.answer(2, answer).is_ok());
        }
        assert_eq!(taken.len(), bounds.requests_per_account_max + bounds.streams_per_account_max);
        drop(taken);
        assert!(shares.answer(1, Answer::Document).is_ok());

        let large = shares.memory(1, 1_000_000).unwrap();
        assert_eq!(shares.memory(1, 1).unwrap_err().code, "ThrottlingException");
        assert!(shares.memory(2, 4096).is_ok());
        drop(large);
        assert!(shares.memory(1, 1).is_ok());
    }
}

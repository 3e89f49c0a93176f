//! The host's own memory that a guest makes it hold: fields of requests, listings, bodies under way, whatever stays when
//! a host call has returned.
//!
//! Owns the one budget of a call, behind which stands that of all calls. Whoever keeps something for a guest charges it
//! here first; what is over the limit ends the guest, for there is no answer that every interface could give it. What one host
//! call hands over lives no longer than the call, and is bounded by `host_call_bytes_max`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::limiter::Budget;
use crate::limits::LimitReached;

pub(crate) struct HostMemory {
    bytes_max: usize,
    reserved: usize,
    held: AtomicUsize,
    all: Arc<Budget>,
}

impl HostMemory {
    /// `reserved` of it are held from the start, by this call alone: few calls ever use them.
    pub(crate) fn new(bytes_max: usize, reserved: usize, all: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { bytes_max, reserved, held: AtomicUsize::new(reserved), all })
    }

    /// What it comes out of.
    pub(crate) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.all)
    }

    /// For work of the host that belongs to no call.
    pub(crate) fn alone(bytes_max: usize) -> Arc<Self> {
        Self::new(bytes_max, 0, Budget::new(bytes_max))
    }

    /// Until the call ends.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), LimitReached> {
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        if self.held.fetch_update(Relaxed, Relaxed, fits).is_err() {
            let message = format!(
                "the plugin made the host hold more than {} bytes for it: fields, requests, listings, open bodies \
                 (host_memory_bytes_max)",
                self.bytes_max
            );
            return Err(LimitReached::new("host_memory_bytes_max", message));
        }
        self.all.take_or_refuse(bytes).inspect_err(|_| {
            self.held.fetch_sub(bytes, Relaxed);
        })
    }

    /// Until the charge is dropped.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, LimitReached> {
        self.take(bytes)?;
        Ok(Charge { memory: Arc::clone(self), bytes })
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.all.give_back(bytes);
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        self.all.give_back(*self.held.get_mut() - self.reserved);
    }
}

/// What one thing holds.
pub(crate) struct Charge {
    memory: Arc<HostMemory>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), LimitReached> {
        self.memory.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_limit_and_all_calls_have_one() {
        let all = Budget::new(150);
        let (one, other) = (HostMemory::new(110, 10, Arc::clone(&all)), HostMemory::new(100, 0, Arc::clone(&all)));
        let mut charge = one.charge(60).unwrap();
        assert_eq!(charge.grow(41).unwrap_err().limit, "host_memory_bytes_max");
        charge.grow(40).unwrap();
        assert_eq!(other.charge(51).err().unwrap().limit, "guest_memory_bytes_max");
        other.take(50).unwrap();
        drop(charge);
        assert_eq!((one.held(), other.held()), (10, 50));
        drop(other);
        one.take(100).unwrap();
    }
}

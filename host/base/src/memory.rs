//! Memory that guests use and make the host hold for them: fields of requests, listings, bodies under way, whatever stays
//! when a host call has returned. And the files and connections that are open for them.
//!
//! Owns the budget of a call, behind which stands that of all calls. Whoever keeps something for a guest charges it here first;
//! what is over the limit ends the guest, for there is no answer that every interface could give it. What one host call hands
//! over lives no longer than the call, and is bounded by `host_call_bytes_max`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A limit that a call used up. Host functions end the call with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LimitReached {
    /// The name of its field or constant.
    pub limit: &'static str,
    pub message: String,
}

impl LimitReached {
    pub fn new(limit: &'static str, message: impl Into<String>) -> Self {
        Self { limit, message: message.into() }
    }
}

/// The memory of all guests together, and what the host holds for them; or one tenant's share of it. And so of what is open.
pub struct Budget {
    left: AtomicUsize,
    max: usize,
    open_left: AtomicUsize,
    open_max: usize,
    /// What this is a share of, and comes out of as well.
    whole: Option<Arc<Budget>>,
}

impl Budget {
    pub fn new(max: usize) -> Arc<Self> {
        Self::of(max, usize::MAX, None)
    }

    /// Half of it: whoever has all of that leaves as much to everybody else.
    fn share(whole: &Arc<Self>) -> Arc<Self> {
        Self::of(whole.max / 2, whole.open_max / 2, Some(Arc::clone(whole)))
    }

    fn of(max: usize, open_max: usize, whole: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(max), max, open_left: AtomicUsize::new(open_max), open_max, whole })
    }

    fn who(&self) -> (&'static str, &'static str) {
        match self.whole {
            Some(_) => ("the plugins of this account that run now", "its share of "),
            None => ("all plugins that run now", ""),
        }
    }

    pub fn take_or_refuse(&self, bytes: usize) -> Result<(), LimitReached> {
        if self.left.try_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_err() {
            let (who, share) = self.who();
            let message = format!(
                "the plugin wanted {bytes} more bytes of memory, and {who} together have used up {share}guest_memory_bytes_max, {}",
                self.max
            );
            return Err(LimitReached::new("guest_memory_bytes_max", message));
        }
        let Some(whole) = &self.whole else { return Ok(()) };
        whole.take_or_refuse(bytes).inspect_err(|_| {
            self.left.fetch_add(bytes, Relaxed);
        })
    }

    pub fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }

    /// A file or connection of the host's, until it is dropped.
    ///
    /// # Errors
    /// A text for whoever made the plugin open it: all that it could be are open.
    pub fn open(self: &Arc<Self>) -> Result<Descriptor, String> {
        self.take_open()?;
        Ok(Descriptor(Arc::clone(self)))
    }

    fn take_open(&self) -> Result<(), String> {
        if self.open_left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            let ((who, share), max) = (self.who(), self.open_max);
            return Err(format!(
                "{who} together have as many files and connections open as they may: {share}what plugins may, {max}"
            ));
        }
        let Some(whole) = &self.whole else { return Ok(()) };
        whole.take_open().inspect_err(|_| {
            self.open_left.fetch_add(1, Relaxed);
        })
    }

    fn give_open_back(&self) {
        self.open_left.fetch_add(1, Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_open_back();
        }
    }
}

/// Something that is open for a guest.
pub struct Descriptor(Arc<Budget>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.give_open_back();
    }
}

/// One budget, and the shares of those who have calls now.
pub struct Budgets {
    pub whole: Arc<Budget>,
    shares: Mutex<HashMap<u64, Weak<Budget>>>,
}

impl Budgets {
    /// Of so many bytes, and so many open files and connections.
    pub fn new(max: usize, open_max: usize) -> Self {
        Self { whole: Budget::of(max, open_max, None), shares: Mutex::default() }
    }

    pub fn share(&self, tenant: u64) -> Arc<Budget> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&tenant).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Budget::share(&self.whole);
        shares.insert(tenant, Arc::downgrade(&share));
        share
    }
}

/// What the host holds for one call.
pub struct HostMemory {
    bytes_max: usize,
    reserved: usize,
    held: AtomicUsize,
    all: Arc<Budget>,
}

impl HostMemory {
    /// `reserved` of it are held from the start, by this call alone: few calls ever use them.
    pub fn new(bytes_max: usize, reserved: usize, all: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { bytes_max, reserved, held: AtomicUsize::new(reserved), all })
    }

    /// What it comes out of.
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.all)
    }

    /// For work of the host that belongs to no call.
    pub fn alone(bytes_max: usize) -> Arc<Self> {
        Self::new(bytes_max, 0, Budget::new(bytes_max))
    }

    /// Until the call ends.
    pub fn take(&self, bytes: usize) -> Result<(), LimitReached> {
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
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, LimitReached> {
        self.take(bytes)?;
        Ok(Charge { memory: Arc::clone(self), bytes })
    }

    /// In bytes.
    pub fn held(&self) -> usize {
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
pub struct Charge {
    memory: Arc<HostMemory>,
    bytes: usize,
}

impl Charge {
    pub fn grow(&mut self, bytes: usize) -> Result<(), LimitReached> {
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

    #[test]
    fn whoever_has_all_open_that_is_theirs_leaves_as_much_to_others() {
        let budgets = Budgets::new(0, 4);
        let (one, two) = (budgets.share(1), budgets.share(2));
        let refused = |share: &Arc<Budget>| share.open().err().unwrap();
        let (first, _second) = (one.open().unwrap(), one.open().unwrap());
        assert!(
            refused(&one).contains("this account that run now together")
                && refused(&one).ends_with("its share of what plugins may, 2")
        );
        let _two = (two.open().unwrap(), two.open().unwrap());
        assert!(refused(&budgets.share(3)).contains("all plugins that run now together"));
        drop(first);
        budgets.share(3).open().unwrap();
    }

    #[test]
    fn whoever_takes_all_that_is_theirs_leaves_as_much_to_others() {
        let budgets = Budgets::new(100, 4);
        let (one, two) = (budgets.share(1), budgets.share(2));
        let refused = |share: &Arc<Budget>, bytes| share.take_or_refuse(bytes).unwrap_err().message;
        one.take_or_refuse(30).unwrap();
        assert!(refused(&one, 21).contains("the plugins of this account that run now together"));
        budgets.share(1).take_or_refuse(20).unwrap();
        assert!(refused(&one, 1).contains("its share of guest_memory_bytes_max, 50"));
        two.take_or_refuse(50).unwrap();
        assert!(refused(&budgets.share(3), 1).contains("all plugins that run now"));
        one.give_back(50);
        budgets.share(3).take_or_refuse(50).unwrap();
        // A share that nobody holds any more is forgotten.
        drop(one);
        assert!(Arc::ptr_eq(&two, &budgets.share(2)) && budgets.share(1).take_or_refuse(0).is_ok());
    }
}

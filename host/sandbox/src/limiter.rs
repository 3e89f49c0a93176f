//! Counts the memory and tables of one call, as wasmtime asks whether they may grow.
//!
//! Owns the per-call counts and the budget that all calls of a sandbox share, which the host's memory that guests cause
//! comes out of, too (memory.rs). Must not know what the guest does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::limits::{CallLimits, LimitReached};

/// The memory of all guests together, and what the host holds for them; or one tenant's share of it.
pub(crate) struct Budget {
    left: AtomicUsize,
    max: usize,
    /// What this is a share of, and comes out of as well.
    whole: Option<Arc<Budget>>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(max), max, whole: None })
    }

    /// Half of it: whoever has all of that leaves as much to everybody else.
    fn share(whole: &Arc<Self>) -> Arc<Self> {
        let max = whole.max / 2;
        Arc::new(Self { left: AtomicUsize::new(max), max, whole: Some(Arc::clone(whole)) })
    }

    pub(crate) fn take_or_refuse(&self, bytes: usize) -> Result<(), LimitReached> {
        if self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_err() {
            let (who, what) = match self.whole {
                Some(_) => ("the plugins of this account that run now", "its share of guest_memory_bytes_max"),
                None => ("all plugins that run now", "guest_memory_bytes_max"),
            };
            let message = format!(
                "the plugin wanted {bytes} more bytes of memory, and {who} together have used up {what}, {}",
                self.max
            );
            return Err(LimitReached::new("guest_memory_bytes_max", message));
        }
        let Some(whole) = &self.whole else { return Ok(()) };
        whole.take_or_refuse(bytes).inspect_err(|_| {
            self.left.fetch_add(bytes, Ordering::Relaxed);
        })
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }
}

/// One budget, and the shares of those who have calls now.
pub(crate) struct Budgets {
    pub(crate) whole: Arc<Budget>,
    shares: Mutex<HashMap<u64, Weak<Budget>>>,
}

impl Budgets {
    pub(crate) fn new(max: usize) -> Self {
        Self { whole: Budget::new(max), shares: Mutex::default() }
    }

    pub(crate) fn share(&self, tenant: u64) -> Arc<Budget> {
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

pub(crate) struct Limiter {
    memory_bytes_max: usize,
    table_elements_max: usize,
    instances_max: usize,
    budget: Arc<Budget>,
    memory_bytes: usize,
    table_elements: usize,
    refused: Option<LimitReached>,
}

impl Limiter {
    pub(crate) fn new(limits: &CallLimits, budget: Arc<Budget>) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max,
            instances_max: limits.instances_max,
            budget,
            memory_bytes: 0,
            table_elements: 0,
            refused: None,
        }
    }

    /// All memories of the call together; memories never shrink, so that this is the peak too.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What was refused last: a guest that is refused memory usually gives up without saying why.
    pub(crate) fn refused(&self) -> Option<&LimitReached> {
        self.refused.as_ref()
    }

    /// Forgets an instantiation that did not come about.
    pub(crate) fn reset(&mut self) {
        self.budget.give_back(self.memory_bytes);
        self.memory_bytes = 0;
        self.table_elements = 0;
    }

    fn refuse(&mut self, reached: LimitReached) -> wasmtime::Result<bool> {
        self.refused = Some(reached);
        Ok(false)
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.reset();
    }
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        let wanted = self.memory_bytes.saturating_add(growth);
        if wanted > self.memory_bytes_max {
            let message =
                format!("the plugin wanted {wanted} bytes of memory; memory_bytes_max is {}", self.memory_bytes_max);
            return self.refuse(LimitReached::new("memory_bytes_max", message));
        }
        if let Err(reached) = self.budget.take_or_refuse(growth) {
            return self.refuse(reached);
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > self.table_elements_max {
            let message =
                format!("the plugin wanted {wanted} table elements; table_elements_max is {}", self.table_elements_max);
            return self.refuse(LimitReached::new("table_elements_max", message));
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.instances_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_all_that_is_theirs_leaves_as_much_to_others() {
        let budgets = Budgets::new(100);
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

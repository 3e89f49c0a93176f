//! Counts the memory and tables of one call, as wasmtime asks whether they may grow.
//!
//! Owns the per-call counts and the budget that all calls of a sandbox share, which the host's memory that guests cause
//! comes out of, too (memory.rs). Must not know what the guest does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{CallLimits, LimitReached};

/// The memory of all guests together, and what the host holds for them.
pub(crate) struct Budget {
    left: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(max), max })
    }

    fn take(&self, bytes: usize) -> bool {
        self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(crate) fn take_or_refuse(&self, bytes: usize) -> Result<(), LimitReached> {
        if self.take(bytes) {
            return Ok(());
        }
        let message = format!(
            "the plugin wanted {bytes} more bytes of memory, and all plugins that run now together have used up \
             guest_memory_bytes_max, {}",
            self.max
        );
        Err(LimitReached::new("guest_memory_bytes_max", message))
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
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

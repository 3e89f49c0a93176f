//! Counts the memory and tables of one call, as wasmtime asks whether they may grow.
//!
//! Owns the per-call counts. The budget that all calls share is `pipewright_base::memory`'s. Must not know what the guest does.

use std::sync::Arc;

use pipewright_base::memory::{Budget, LimitReached};

use crate::limits::CallLimits;

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

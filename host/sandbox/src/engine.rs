//! The engines: how components are compiled, and where their instances live.
//!
//! Two engines with equal compile settings, so that one compiled component serves both: one takes instances from a pool,
//! which is fast, and one makes them on demand, for when the pool is full or a component does not fit it. Must not know
//! what runs in them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::{EPOCH_MILLIS, STACK_BYTES_MAX};

/// What both engines and the compiler agree on: it changes the key of the compile cache.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // All calls of the ABI are synchronous; without the machinery for WASI 0.3, a call is a fifth faster.
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(2 * STACK_BYTES_MAX)
        // Two hosts must not answer differently.
        .wasm_relaxed_simd(false)
        // No plugin needs more than 4 GiB, and bounds of 32-bit memories are checked for free.
        .wasm_memory64(false);
    config
}

pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(&settings())
}

/// Room for `calls` plugins at once; pages of a memory up to 64 KiB stay resident between its uses.
pub(crate) fn pooling(calls: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(4))
        .total_memories(calls)
        .total_tables(calls.saturating_mul(2))
        .total_stacks(calls)
        // The whole of a 32-bit memory: reserved and not used, so that the limit of the call is the one that counts.
        .max_memory_size(1 << 32)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(8 << 10)
        .async_stack_keep_resident(16 << 10);
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Equal for engines that can load each other's compiled components.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Ticks the epochs of the engines, by which computing guests are interrupted, until none of the engines is left.
pub(crate) fn start_ticking(engines: &[&Engine]) -> std::io::Result<()> {
    let engines: Vec<_> = engines.iter().map(|engine| engine.weak()).collect();
    std::thread::Builder::new().name("sandbox-epochs".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(EPOCH_MILLIS));
            let alive: Vec<_> = engines.iter().filter_map(wasmtime::EngineWeak::upgrade).collect();
            if alive.is_empty() {
                return;
            }
            alive.iter().for_each(Engine::increment_epoch);
        }
    })?;
    Ok(())
}

//! Why a call has no answer: what wasmtime's error, a limit that was reached, or a panic says to whoever reads the failure.

use pipewright_base::memory::LimitReached;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use crate::call::CallFailure;
use crate::limits::STACK_BYTES_MAX;
use crate::symbols::{self, Symbols};

#[derive(Debug, thiserror::Error)]
#[error("the plugin does not export the interface `{0}`")]
pub(crate) struct NotOffered(pub(crate) &'static str);

/// What led to an error that `explain` tells less of, without wasmtime's own stack, which has no names.
pub(crate) fn causes(error: &wasmtime::Error) -> Option<String> {
    if error.is::<LimitReached>() || error.is::<I32Exit>() {
        return None;
    }
    let causes = error.chain().map(ToString::to_string).filter(|cause| !cause.contains("wasm backtrace"));
    Some(causes.collect::<Vec<_>>().join(": "))
}

pub(crate) fn explain(
    error: wasmtime::Error,
    refused: Option<&LimitReached>,
    panic: Option<String>,
    symbols: Option<&Symbols>,
) -> CallFailure {
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return CallFailure::Limit(reached.clone());
    }
    // wasmtime's error for it has no name to match.
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        let message = "the plugin passed more to the host at once than host_call_bytes_max allows";
        return CallFailure::Limit(LimitReached::new("host_call_bytes_max", message));
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) || cause.contains("store handle limit exceeded") {
        let message =
            format!("the plugin opened too many streams, requests, files or the like at once (resources_max): {cause}");
        return CallFailure::Limit(LimitReached::new("resources_max", message));
    }
    if let Some(refused) = refused {
        return CallFailure::Limit(LimitReached::new(refused.limit, format!("{}; then it crashed: {cause}", refused)));
    }
    if let Some(missing) = error.downcast_ref::<NotOffered>() {
        return CallFailure::Interface(missing.to_string());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        // Of the status a component says no more than whether it is a failure.
        let how = if exit.0 == 0 { "as if all were well" } else { "with a failure" };
        return CallFailure::Trap(format!("it exited {how} instead of answering"));
    }
    let stack = error.downcast_ref().map(|backtrace| symbols::stack(backtrace, symbols)).unwrap_or_default();
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => CallFailure::Limit(LimitReached::new(
            "STACK_BYTES_MAX",
            format!("the plugin used more than {STACK_BYTES_MAX} bytes of stack: endless recursion, probably{stack}"),
        )),
        Some(Trap::MemoryOutOfBounds) => CallFailure::Trap(format!(
            "{cause}: it may have used up its stack, by recursion or large local variables; its log may say more{stack}"
        )),
        _ => match panic {
            // A panic ends in an instruction of its own, which says nothing.
            Some(said) => CallFailure::Trap(format!("{said}{stack}")),
            None => CallFailure::Trap(format!("{cause}; its log may say more{stack}")),
        },
    }
}

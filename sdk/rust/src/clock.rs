//! The time of day, as the host tells it.

/// The time of day in milliseconds since 1970-01-01 UTC, as [`Wait`](crate::Wait) wants it. Without the capability
/// [`Clock`](crate::Capability::Clock) it stands still at the start of the call.
///
/// `std::time::SystemTime` says the same in a plugin; this one can be set in a unit test, by `testing`.
pub fn milliseconds() -> u64 {
    crate::host::milliseconds()
}

//! The engine: pipelines and what is kept of them.
//!
//! Owns the driver (input → step → commit, durable → reply → effects), retention, and export and import. Knows no HTTP, no
//! wasmtime, and not who asks.

pub mod driver;
pub mod export;
pub mod retention;

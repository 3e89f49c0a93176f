//! The server: CodePipeline's API and plain HTTP over a host, from its start to its orderly end.
//!
//! Knows no terminal. Edges (`api`, `poll`, `notify`, `functions`) → `service` → the engine, packages and the runner; nothing points back.

pub mod account_plugins;
pub mod api;
pub mod config;
pub mod connections;
mod functions;
mod keys;
pub mod notify;
pub mod poll;
mod projects;
pub mod server;
pub mod service;

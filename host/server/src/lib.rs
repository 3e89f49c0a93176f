//! The server: CodePipeline's API and plain HTTP over a host, from its start to its orderly end.
//!
//! Knows no terminal. Edges (`api`, `poll`) → the engine, packages and the runner; nothing points back.

pub mod api;
pub mod catalogues;
pub mod config;
pub mod connections;
mod consent;
pub mod driver;
pub mod export;
pub mod grant_book;
pub mod grants;
pub mod home;
pub mod host;
mod kit;
pub mod logs;
pub mod outcome;
pub mod packages;
pub mod plugins;
pub mod poll;
pub mod server;
mod single;
pub mod store;
pub mod work;

/// The hidden command by which the host starts its own binary as the compiler of components.
pub const COMPILE: &str = "compile-component";

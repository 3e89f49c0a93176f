//! Pipewright: a continuous-delivery host that speaks CodePipeline and runs every action in a WebAssembly sandbox.
//!
//! All I/O and all protocols live in this crate. Edges (`api`, `cli`) → `driver` → (`store`, `artifacts`, `plugins`); nothing
//! points back.

pub mod actions;
pub mod api;
pub mod artifacts;
pub mod auth;
pub mod cases;
pub mod catalogues;
pub mod cli;
pub mod client;
pub mod clock;
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
pub mod recording;
pub mod retention;
pub mod server;
mod single;
pub mod store;
pub mod work;

/// The hidden command by which the host starts its own binary as the compiler of components.
pub const COMPILE: &str = "compile-component";

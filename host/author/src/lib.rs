//! What authors of plugins use: cases, recordings that are called again or become cases, single runs, and the folder of a new
//! plugin.
//!
//! Must not know terminals, the server, or where a component came from.

pub mod asks;
pub mod cases;
pub mod document;
pub mod fit;
pub mod kit;
pub mod recording;
pub mod single;

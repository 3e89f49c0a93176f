//! Pipewright: a continuous-delivery host that speaks CodePipeline and runs every action in a WebAssembly sandbox.
//!
//! All I/O and all protocols live in this crate. Edges (`cli`) → `driver` → (`store`, `artifacts`, `plugins`); nothing
//! points back.

pub mod clock;
mod consent;
pub mod driver;
pub mod grants;
pub mod home;
pub mod store;

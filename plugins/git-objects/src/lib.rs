//! What git's objects say, for the plugins that read repositories: commits, and the deltas of packs.
//!
//! Pure: must not know where the bytes come from. Whatever they are, there is an answer or none, and no panic.

mod commit;
mod delta;

pub use commit::Commit;
pub use delta::{Malformed, Pieces, apply};

//! Recordings in the hands of a plugin's author: `replay` calls one again, `case` makes a test case of one.
//!
//! Must not know how a recording comes about (the runner).

mod case;
mod diff;
mod replay;

pub use self::case::write_case;
pub use self::diff::Difference;
pub use self::replay::{Replayed, replay};

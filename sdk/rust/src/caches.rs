//! Directories that are kept for later executions, under keys: what a build would fetch or make again. A capability of its own, asked
//! for by [`Capability::Caches`](crate::Capability::Caches). What is kept may be gone the next time.
//!
//! ```
//! use pipewright_sdk::prelude::*;
//!
//! /// Makes an index, or takes the one that is there.
//! #[action(provider = "Index", inputs = 1, outputs = 1)]
//! fn index(action: &Action, (): ()) -> Result<Report> {
//!     let key = files::digest(action.input()?.join("words.txt"))?;
//!     let kept = action.scratch().join("index");
//!     if caches::restore(&key, &[], "index")?.is_none() {
//!         std::fs::create_dir(&kept)?;
//!         std::fs::write(kept.join("index"), "made")?;
//!         caches::save(&key, "index")?;
//!     }
//!     files::copy(&kept, action.output()?, &[])?;
//!     Ok(Report::new("indexed"))
//! }
//!
//! use pipewright_sdk::testing::Host;
//!
//! let host = || Host::new().input("Source", &[("words.txt", "a b")]).output("Index");
//! let first = host();
//! index(&first.action(), ())?;
//! let saved = first.saved_caches();
//! assert_eq!(saved[0].1, "index");
//! drop(first);
//! let second = host().cache(&saved[0].0, &[("index", "kept")]);
//! index(&second.action(), ())?;
//! assert_eq!(second.read("outputs/Index/index"), "kept");
//! assert!(second.saved_caches().is_empty());
//! # Ok::<(), Failure>(())
//! ```

use crate::Result;
pub use crate::bindings::host::pipewright::plugin::caches::Found;
use crate::host::caches as host;

/// Whether it is granted: for whoever goes on without.
pub fn is_granted() -> bool {
    host::is_granted()
}

/// Lays what is kept under the key into a directory below the scratch (`cache`, not `/scratch/cache`), which is made. Without it: of what
/// is kept under keys that begin with the first fallback that any begins with, what was used last. `None` where there is nothing.
///
/// # Errors
/// Permission, where it is not granted; configuration, where the key or the directory is none; job, where what is kept cannot be
/// laid out.
pub fn restore(key: &str, fallback_keys: &[String], directory: &str) -> Result<Option<Found>> {
    Ok(host::restore(key, fallback_keys, directory)?)
}

/// Keeps a directory below the scratch under the key, in the place of what was kept under it, once the action has succeeded with this
/// call.
///
/// # Errors
/// Permission, where it is not granted; configuration, where the key or the directory is none.
pub fn save(key: &str, directory: &str) -> Result<()> {
    Ok(host::save(key, directory)?)
}

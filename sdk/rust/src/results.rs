//! What tests and coverage tools found: it is kept with the execution, beside the log, and shown by `pipewright tests`.
//!
//! How the action ends says whether that is good enough; a report alone fails nothing. An action of the category Test that
//! reports nothing has the cases of its `Tested` for a report.
//!
//! Of one report 10,000 cases or files are kept, those that did not succeed before all others, and of one call 100 reports and
//! 4 MiB (4,194,304 bytes) of them; the log says how many are left out. Names and paths are cut after 1,000 characters, messages
//! after 5,000. The counts are those of the plugin, of all cases.
//!
//! ```
//! use pipewright_sdk::prelude::*;
//! use pipewright_sdk::results::{Case, Counts, Status, Tests};
//!
//! fn tell() -> Result<()> {
//!     let case = Case {
//!         suite: "arithmetic".into(),
//!         prefix: String::new(),
//!         name: "adds".into(),
//!         status: Status::Failed,
//!         duration_nanos: Some(1_500_000),
//!         message: "1 + 1 is not 3".into(),
//!         file: Some("src/lib.rs".into()),
//!         line: Some(12),
//!     };
//!     let counts = Counts { succeeded: 0, failed: 1, error: 0, skipped: 0, unknown: 0 };
//!     results::tests("unit", Tests { counts, cases: vec![case] })
//! }
//!
//! let host = pipewright_sdk::testing::Host::new();
//! tell()?;
//! assert_eq!(host.results()[0].0, "unit");
//! # Ok::<(), Failure>(())
//! ```

use crate::Result;
use crate::bindings::host::pipewright::plugin::results::Content;
pub use crate::bindings::host::pipewright::plugin::results::{
    Counts, Coverage, CoveredFile, Ratio, Status, TestCase as Case, Tests,
};
use crate::host::results as host;

/// Reports tests; a later report of the same name takes its place.
///
/// # Errors
/// Job, where the report has no name, its counts are fewer than its cases, or it is the 101st of the call.
pub fn tests(name: &str, tests: Tests) -> Result<()> {
    Ok(host::report(name, &Content::Tests(tests))?)
}

/// Reports coverage; a later report of the same name takes its place.
///
/// # Errors
/// As [`tests`].
pub fn coverage(name: &str, coverage: Coverage) -> Result<()> {
    Ok(host::report(name, &Content::Coverage(coverage))?)
}

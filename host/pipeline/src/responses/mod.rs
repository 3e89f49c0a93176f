//! The outputs of the API's operations, member by member as CodePipeline's model has them: one set of types for the server that
//! writes them and the client that reads them.
//!
//! Owns their shape. Must not know where they are read from, or how they are spoken.

mod action_types;
mod actions;
pub mod codebuild;
mod deploys;
mod executions;
mod jobs;
mod pipelines;
mod rules;
mod state;
mod sts;
mod time;
mod webhooks;

use serde::{Deserialize, Serialize};

pub use action_types::*;
pub use actions::*;
pub use deploys::*;
pub use executions::*;
pub use jobs::*;
pub use pipelines::*;
pub use rules::*;
pub use state::*;
pub use sts::*;
pub use time::Time;
pub use webhooks::*;

/// Of an action that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetails {
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

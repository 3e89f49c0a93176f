//! The pure core of Pipewright: the pipeline declaration, its validation, variables, and the execution state machine.
//!
//! Knows no clock, randomness, files, network or async: whatever it needs of them comes in with an input.

pub mod action_type;
pub mod declaration;
pub mod machine;
pub mod requests;
pub mod responses;
pub mod secrets;
pub mod tags;
pub mod triggers;
pub mod validate;
pub mod variables;
pub mod webhooks;

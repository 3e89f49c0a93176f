//! AWS's ways of speaking: signatures both ways, profiles and credentials, and a client of the API.
//!
//! Knows no operation of any service.

pub mod auth;
pub mod client;

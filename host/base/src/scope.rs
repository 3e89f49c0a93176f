//! What an error ends: a request, one pipeline, or the host.
//!
//! Owns the word. Which error ends what is said where the error is.

/// From the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What was asked is refused, and changed nothing. Where nobody asked, as with a timer, it ends the pipeline.
    Request,
    /// The pipeline is quarantined: it stops, is kept and shown with the reason, and everything else goes on.
    Pipeline,
    /// Every promise is void: nothing more is accepted from anybody.
    Host,
}

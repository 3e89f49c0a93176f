//! What a request needs to be allowed: one action, on one kind of resource. Each row of the tables of operations and of plain
//! routes has one.
//!
//! Owns the words. Must not know who may do what.

/// Of an action that is asked for, the kind of what it is done to, as CodePipeline's service authorization names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// All of the host: for the account of those who run it, and no other.
    Host,
    Account,
    Pipeline,
    Stage,
    Action,
    ActionType,
    Webhook,
    /// What an ARN of the input names.
    Tagged,
    /// A project of CodeBuild, or what was built by it.
    Project,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `codepipeline:`, `codebuild:` or `sts:` and an operation of that service, or `pipewright:` and what they have no word for.
    pub action: &'static str,
    pub resource: Resource,
}

//! The plugin ABI's records as Rust types: what goes into a call and comes out of it.

use serde::{Deserialize, Serialize};

pub use crate::bindings::exports::pipewright::plugin::approval::Decision;
pub use crate::bindings::exports::pipewright::plugin::checks::Problem;
pub use crate::bindings::exports::pipewright::plugin::deploy::{Deployed, Target, TargetStatus};
pub use crate::bindings::exports::pipewright::plugin::plugin::{
    ActionType, Ask, Capability, Count, Description, Setting, SettingKind, Variable,
};
pub use crate::bindings::exports::pipewright::plugin::rule::Verdict;
pub use crate::bindings::exports::pipewright::plugin::source::{Fetched, Revision};
pub use crate::bindings::exports::pipewright::plugin::test::{Place, Status, TestCase, Tested};
pub use crate::bindings::pipewright::plugin::types::{
    Category, Context, Failure, FailureKind, Link, NamedValue, Output, Owner, Report, Request, Resumption, Signal,
    TypeId, Wait, Wake,
};

/// Which function of a plugin is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    SourceLatest,
    /// None: the newest one.
    SourceFetch {
        revision: Option<String>,
    },
    Build,
    Test,
    Deploy,
    Approval,
    Invoke,
    Rule,
}

impl Entry {
    /// What runs an action of this category; a source fetches `revision`, or the newest one.
    pub fn of(category: Category, revision: Option<String>) -> Self {
        match category {
            Category::Source => Self::SourceFetch { revision },
            Category::Build | Category::Compute => Self::Build,
            Category::Test => Self::Test,
            Category::Deploy => Self::Deploy,
            Category::Approval => Self::Approval,
            Category::Invoke => Self::Invoke,
            Category::Rule => Self::Rule,
        }
    }
}

/// What a plugin answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// None: there is nothing yet.
    Latest(Option<Revision>),
    Fetched(Fetched),
    Built(Report),
    Tested(Tested),
    Deployed(Deployed),
    Decided(Decision),
    Invoked(Report),
    Verdict(Verdict),
    /// Any of them: call again at a time or on a signal.
    Waiting(Wait),
}

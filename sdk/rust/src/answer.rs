//! What an action's function returns: an outcome for each category, or *waiting*.

use serde::Serialize;

use crate::bindings::description::exports::pipewright::plugin::plugin::Variable;
use crate::bindings::host::pipewright::plugin::types as abi;
use crate::bindings::{approval, build, deploy, invoke, rule, source, test};
use crate::{Failure, Result, Variables};

pub use approval::exports::pipewright::plugin::approval::Decision;
pub use deploy::exports::pipewright::plugin::deploy::{Target, TargetStatus};
pub use rule::exports::pipewright::plugin::rule::Verdict;
pub use source::exports::pipewright::plugin::source::Revision;
pub use test::exports::pipewright::plugin::test::{Place, Status, TestCase};

/// The host refuses larger continuations.
const CONTINUATION_BYTES_MAX: usize = 16 * 1024;

/// For an action that may wait: `Result<Step<Report>>` instead of `Result<Report>`.
#[derive(Clone, Debug)]
pub enum Step<T> {
    Done(T),
    Waiting(Wait),
}

/// Asks to be called again, at a time or on a signal. It costs the host nothing; nothing of the instance survives but the
/// continuation.
///
/// ```
/// # use pipewright_sdk::prelude::*;
/// # fn example() -> Result<Wait> {
/// Wait::for_signal("approval").until(1_700_000_000_000).summary("waiting for a decision").continuation(&7)
/// # }
/// # assert!(example().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Wait(abi::Wait);

impl Wait {
    /// Until a signal of this kind comes, e.g. `approval`.
    pub fn for_signal(kind: impl Into<String>) -> Self {
        Self(abi::Wait { until: None, signal: Some(kind.into()), continuation: Vec::new(), summary: None }).null()
    }

    /// Until a time in milliseconds since 1970-01-01 UTC.
    pub fn until_time(milliseconds: u64) -> Self {
        Self(abi::Wait { until: Some(milliseconds), signal: None, continuation: Vec::new(), summary: None }).null()
    }

    /// Until this time at the latest, in milliseconds since 1970-01-01 UTC.
    pub fn until(mut self, milliseconds: u64) -> Self {
        self.0.until = Some(milliseconds);
        self
    }

    /// For a person who looks at the pipeline meanwhile.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.0.summary = Some(summary.into());
        self
    }

    /// What [`Action::resumed`](crate::Action::resumed) hands back; at most 16 KiB as JSON.
    pub fn continuation(mut self, continuation: &impl Serialize) -> Result<Self> {
        self.0.continuation =
            serde_json::to_vec(continuation).map_err(|error| Failure::job(format!("the continuation: {error}")))?;
        if self.0.continuation.len() > CONTINUATION_BYTES_MAX {
            return Err(Failure::job(format!("the continuation is larger than {CONTINUATION_BYTES_MAX} bytes")));
        }
        Ok(self)
    }

    /// Without a continuation, `resumed::<()>()` works.
    fn null(mut self) -> Self {
        self.0.continuation = b"null".to_vec();
        self
    }
}

/// What a finished build or invocation tells, and what those of other categories tell besides.
#[derive(Clone, Debug)]
pub struct Report<V = ()> {
    summary: Option<String>,
    external_id: Option<String>,
    variables: V,
    links: Vec<abi::Link>,
}

impl Report {
    /// `summary` is one line for a person.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: Some(summary.into()), external_id: None, variables: (), links: Vec::new() }
    }

    pub fn variables<V: Variables>(self, variables: V) -> Report<V> {
        Report { summary: self.summary, external_id: self.external_id, variables, links: self.links }
    }
}

impl<V> Report<V> {
    /// The id that an outside system gave to this run.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    pub fn link(mut self, title: impl Into<String>, url: impl Into<String>) -> Self {
        self.links.push(abi::Link { title: title.into(), url: url.into() });
        self
    }
}

impl<V: Variables> From<Report<V>> for abi::Report {
    fn from(report: Report<V>) -> Self {
        Self {
            summary: report.summary,
            external_id: report.external_id,
            variables: report.variables.values(),
            links: report.links,
        }
    }
}

/// What a source fetched.
#[derive(Clone, Debug)]
pub struct Fetched<V = ()> {
    pub revision: Option<Revision>,
    pub report: Report<V>,
}

/// What a test found. One failed case fails the action.
#[derive(Clone, Debug)]
pub struct Tested<V = ()> {
    pub report: Report<V>,
    /// At most 10,000.
    pub cases: Vec<TestCase>,
}

/// Where a deployment went.
#[derive(Clone, Debug)]
pub struct Deployed<V = ()> {
    pub report: Report<V>,
    pub targets: Vec<Target>,
}

impl TestCase {
    pub fn passed(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Passed, message: None, place: None }
    }

    pub fn failed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Failed, message: Some(message.into()), place: None }
    }

    pub fn skipped(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Skipped, message: Some(message.into()), place: None }
    }

    /// Where to look: a file of the input artifact, and its line from 1 on.
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        self.place = Some(Place { file: file.into(), line });
        self
    }
}

impl Decision {
    pub fn approved(summary: Option<String>) -> Self {
        Self { approved: true, summary }
    }

    pub fn rejected(summary: Option<String>) -> Self {
        Self { approved: false, summary }
    }
}

impl Verdict {
    pub fn passed() -> Self {
        Self { passed: true, reason: None }
    }

    pub fn failed(reason: impl Into<String>) -> Self {
        Self { passed: false, reason: Some(reason.into()) }
    }
}

/// What an action may return in its `Ok`: an outcome, or a [`Step`] of one.
pub trait Answer {
    type Done;
    fn step(self) -> Step<Self::Done>;
}

impl<T> Answer for Step<T> {
    type Done = T;
    fn step(self) -> Step<T> {
        self
    }
}

/// The variables that an outcome may carry.
pub trait Outcome {
    fn variables() -> Vec<Variable>;
}

macro_rules! outcomes {
    ($($kind:ident)*) => {$(
        impl<V> Answer for $kind<V> {
            type Done = Self;
            fn step(self) -> Step<Self> {
                Step::Done(self)
            }
        }

        impl<V: Variables> Outcome for $kind<V> {
            fn variables() -> Vec<Variable> {
                V::describe()
            }
        }
    )*};
}

outcomes!(Report Fetched Tested Deployed);

macro_rules! outcomes_without_variables {
    ($($kind:ty)*) => {$(
        impl Answer for $kind {
            type Done = Self;
            fn step(self) -> Step<Self> {
                Step::Done(self)
            }
        }

        impl Outcome for $kind {
            fn variables() -> Vec<Variable> {
                Vec::new()
            }
        }
    )*};
}

outcomes_without_variables!(Decision Verdict Option<Revision>);

/// From what a function returns to what the ABI wants; the type checker's proof that it fits the category.
macro_rules! into_abi {
    ($(impl [$($generic:tt)*] $done:ty => $outcome:ty { $value:ident => $answer:expr })*) => {$(
        impl<$($generic)*> From<Step<$done>> for $outcome {
            fn from(step: Step<$done>) -> Self {
                match step {
                    Step::Waiting(Wait(wait)) => Self::Waiting(wait),
                    Step::Done($value) => $answer,
                }
            }
        }
    )*};
}

into_abi! {
    impl [] Option<Revision> => source::exports::pipewright::plugin::source::LatestOutcome { found => Self::Found(found) }
    impl [V: Variables] Fetched<V> => source::exports::pipewright::plugin::source::FetchOutcome {
        fetched => Self::Done(source::exports::pipewright::plugin::source::Fetched {
            revision: fetched.revision,
            report: fetched.report.into(),
        })
    }
    impl [V: Variables] Report<V> => build::exports::pipewright::plugin::build::Outcome { report => Self::Done(report.into()) }
    impl [V: Variables] Tested<V> => test::exports::pipewright::plugin::test::Outcome {
        tested => Self::Done(test::exports::pipewright::plugin::test::Tested {
            report: tested.report.into(),
            cases: tested.cases,
        })
    }
    impl [V: Variables] Deployed<V> => deploy::exports::pipewright::plugin::deploy::Outcome {
        deployed => Self::Done(deploy::exports::pipewright::plugin::deploy::Deployed {
            report: deployed.report.into(),
            targets: deployed.targets,
        })
    }
    impl [] Decision => approval::exports::pipewright::plugin::approval::Outcome { decision => Self::Decided(decision) }
    impl [V: Variables] Report<V> => invoke::exports::pipewright::plugin::invoke::Outcome { report => Self::Done(report.into()) }
    impl [] Verdict => rule::exports::pipewright::plugin::rule::Outcome { verdict => Self::Decided(verdict) }
}

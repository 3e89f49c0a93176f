//! What an action's function returns: an outcome for each category, or *waiting*.

use serde::Serialize;

use crate::bindings::description::exports::pipewright::plugin::plugin::Variable;
use crate::bindings::host::pipewright::plugin::types as abi;
pub use crate::bindings::host::pipewright::plugin::types::Link;
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
    /// The action has ended.
    Done(T),
    /// It is to be called again.
    Waiting(Wait),
}

/// Asks to be called again: at a time, on a signal, or when a job has ended ([`Job::start`](crate::commands::Job::start)). It
/// costs the host nothing; nothing of the instance survives but the continuation, and the scratch where a job was started.
///
/// ```
/// # use pipewright_sdk::prelude::*;
/// # fn example() -> Result<Wait> {
/// Wait::for_signal("approval").until(1_700_000_000_000).summary("waiting for a decision").continuation(&7)
/// # }
/// # assert!(example().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// A time in milliseconds since 1970-01-01 UTC.
    pub until: Option<u64>,
    /// The kind of signal that ends the wait.
    pub signal: Option<String>,
    /// What comes back, as JSON.
    pub continuation: Vec<u8>,
    /// For a person.
    pub summary: Option<String>,
}

impl Wait {
    fn new(until: Option<u64>, signal: Option<String>) -> Self {
        // With it, `resumed::<()>()` works.
        Self { until, signal, continuation: b"null".to_vec(), summary: None }
    }

    /// Until a signal of this kind comes, e.g. `approval`.
    pub fn for_signal(kind: impl Into<String>) -> Self {
        Self::new(None, Some(kind.into()))
    }

    /// Until a time in milliseconds since 1970-01-01 UTC.
    pub fn until_time(milliseconds: u64) -> Self {
        Self::new(Some(milliseconds), None)
    }

    /// Until the job that was started has ended.
    pub(crate) fn for_job() -> Self {
        Self::new(None, None)
    }

    /// Until this time at the latest, in milliseconds since 1970-01-01 UTC.
    pub fn until(mut self, milliseconds: u64) -> Self {
        self.until = Some(milliseconds);
        self
    }

    /// For a person who looks at the pipeline meanwhile.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// What [`Action::resumed`](crate::Action::resumed) hands back; at most 16 KiB as JSON.
    ///
    /// # Errors
    /// Job, for what is larger, or cannot be written as JSON.
    pub fn continuation(mut self, continuation: &impl Serialize) -> Result<Self> {
        self.continuation =
            serde_json::to_vec(continuation).map_err(|error| Failure::job(format!("the continuation: {error}")))?;
        if self.continuation.len() > CONTINUATION_BYTES_MAX {
            return Err(Failure::job(format!("the continuation is larger than {CONTINUATION_BYTES_MAX} bytes")));
        }
        Ok(self)
    }
}

impl From<Wait> for abi::Wait {
    fn from(wait: Wait) -> Self {
        let Wait { until, signal, continuation, summary } = wait;
        Self { until, signal, continuation, summary }
    }
}

/// What a finished build or invocation tells, and what those of other categories tell besides.
#[derive(Clone, Debug)]
pub struct Report<V = ()> {
    /// One line for a person; at most 2,048 bytes.
    pub summary: Option<String>,
    /// The id that an outside system gave to this run.
    pub external_id: Option<String>,
    /// The output variables; together at most 122,880 bytes.
    pub variables: V,
    /// Where a person finds more.
    pub links: Vec<Link>,
}

impl Report {
    /// `summary` is one line for a person, of at most 2,048 bytes.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: Some(summary.into()), external_id: None, variables: (), links: Vec::new() }
    }

    /// The same with output variables.
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

    /// Adds a place where a person finds more; `url` begins with `http://` or `https://`.
    pub fn link(mut self, title: impl Into<String>, url: impl Into<String>) -> Self {
        self.links.push(Link { title: title.into(), url: url.into() });
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
    /// What it fetched; `None` where it has no name for it.
    pub revision: Option<Revision>,
    /// What it tells besides.
    pub report: Report<V>,
}

/// What a test found. One failed case fails the action.
#[derive(Clone, Debug)]
pub struct Tested<V = ()> {
    /// What it tells besides.
    pub report: Report<V>,
    /// At most 10,000.
    pub cases: Vec<TestCase>,
}

/// Where a deployment went.
#[derive(Clone, Debug)]
pub struct Deployed<V = ()> {
    /// What it tells besides.
    pub report: Report<V>,
    /// Where the deployment went, and how far it came there.
    pub targets: Vec<Target>,
}

impl TestCase {
    /// A case that passed.
    pub fn passed(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Passed, message: None, place: None }
    }

    /// A case that failed, and why.
    pub fn failed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Failed, message: Some(message.into()), place: None }
    }

    /// A case that was not run, and why.
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
    /// Yes.
    pub fn approved(summary: Option<String>) -> Self {
        Self { approved: true, summary }
    }

    /// No.
    pub fn rejected(summary: Option<String>) -> Self {
        Self { approved: false, summary }
    }
}

impl Verdict {
    /// The stage may go on.
    pub fn passed() -> Self {
        Self { passed: true, reason: None }
    }

    /// It may not, and why.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { passed: false, reason: Some(reason.into()) }
    }
}

/// What an action may return in its `Ok`: an outcome, or a [`Step`] of one.
#[diagnostic::on_unimplemented(
    message = "an action does not return `{Self}`",
    note = "in the `Ok` of its `Result` it returns `Fetched`, `Report`, `Tested`, `Deployed`, `Decision` or `Verdict`, as its \
            category wants, or `Step` of that one where it may wait"
)]
pub trait Answer {
    /// The outcome.
    type Done;
    #[doc(hidden)]
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
    #[doc(hidden)]
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
pub trait OutcomeOf<Done>: Sized {
    #[doc(hidden)]
    fn of(step: Step<Done>) -> Self;
}

macro_rules! into_abi {
    ($(impl [$($generic:tt)*] $done:ty => $outcome:ty { $value:ident => $answer:expr })*) => {$(
        impl<$($generic)*> OutcomeOf<$done> for $outcome {
            fn of(step: Step<$done>) -> Self {
                match step {
                    Step::Waiting(wait) => Self::Waiting(wait.into()),
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

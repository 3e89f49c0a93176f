//! All that each category can tell.

use crate::Plugin;
use crate::pipewright::plugin::types::{Category, Failure, FailureKind, Request, Resumption, Wait, Wake};

#[cfg(any(feature = "source", feature = "build", feature = "test", feature = "deploy", feature = "invoke"))]
fn report(request: &Request) -> crate::pipewright::plugin::types::Report {
    use crate::pipewright::plugin::types::{Link, NamedValue, Report};
    let settings = request.settings.iter().map(|setting| [&*setting.name, "=", &*setting.value].concat());
    Report {
        summary: Some(settings.collect::<Vec<_>>().join(" ")),
        external_id: Some(request.idempotency_key.clone()),
        variables: vec![NamedValue { name: "Answer".into(), value: request.attempt.to_string() }],
        links: vec![Link { title: "Example".into(), url: "https://example.com/".into() }],
    }
}

/// The first call waits; the second, by a signal, makes the calls. A setting asks for a failure instead.
fn begin(request: &Request) -> Result<Option<Wait>, Failure> {
    let failure = |kind, message: &str| Failure { kind, message: message.into() };
    if request.settings.iter().any(|setting| setting.name == "Boolean" && setting.value == "true") {
        return Err(failure(FailureKind::ConfigurationError, "Boolean must not be true"));
    }
    match &request.resumed {
        None => Ok(Some(Wait {
            until: Some(1_900_000_000_000),
            signal: Some("approval".into()),
            continuation: b"kept".to_vec(),
            summary: Some("waiting".into()),
        })),
        Some(Resumption { continuation, wake: Wake::Signal(signal) }) if signal.kind == "approval" => {
            if continuation != b"kept" || signal.payload != b"said" {
                return Err(failure(FailureKind::RevisionOutOfSync, "the wait did not keep what it was given"));
            }
            crate::calls::all().map_err(|message| failure(FailureKind::JobFailed, &message))?;
            Ok(None)
        }
        Some(_) => Err(failure(FailureKind::SystemUnavailable, "woken by the time")),
    }
}

#[cfg(feature = "source")]
mod source {
    use super::*;
    use crate::exports::pipewright::plugin::source::{FetchOutcome, Fetched, Guest, LatestOutcome, Revision};

    pub const CATEGORY: Category = Category::Source;

    fn revision(id: &str) -> Revision {
        Revision {
            id: id.into(),
            summary: Some("a revision".into()),
            url: Some("https://example.com/1".into()),
            created: Some(1_700_000_000_000),
        }
    }

    impl Guest for Plugin {
        fn latest(request: Request) -> Result<LatestOutcome, Failure> {
            Ok(begin(&request)?.map_or_else(|| LatestOutcome::Found(Some(revision("newest"))), LatestOutcome::Waiting))
        }

        fn fetch(request: Request, wanted: Option<String>) -> Result<FetchOutcome, Failure> {
            if let Some(wait) = begin(&request)? {
                return Ok(FetchOutcome::Waiting(wait));
            }
            let revision = Some(revision(wanted.as_deref().unwrap_or("newest")));
            Ok(FetchOutcome::Done(Fetched { revision, report: report(&request) }))
        }
    }
}

/// The categories whose interface is one function, `run`.
macro_rules! runs {
    ($($feature:literal $module:ident $category:ident: $done:ident($request:ident) $($import:ident)* => $answer:expr;)*) => {$(
        #[cfg(feature = $feature)]
        mod $module {
            use super::*;
            use crate::exports::pipewright::plugin::$module::{$($import,)* Guest, Outcome};

            pub const CATEGORY: Category = Category::$category;

            impl Guest for Plugin {
                fn run($request: Request) -> Result<Outcome, Failure> {
                    match begin(&$request)? {
                        Some(wait) => Ok(Outcome::Waiting(wait)),
                        None => Ok(Outcome::$done($answer)),
                    }
                }
            }
        }
    )*};
}

runs! {
    "build" build Build: Done(request) => report(&request);
    "invoke" invoke Invoke: Done(request) => report(&request);
    "approval" approval Approval: Decided(request) Decision => Decision { approved: true, summary: Some("decided".into()) };
    "rule" rule Rule: Decided(request) Verdict => Verdict { passed: false, reason: Some("decided".into()) };
    "test" test Test: Done(request) Place Status TestCase Tested => {
        let case = |name: &str, status, message: Option<&str>| TestCase {
            name: name.into(),
            status,
            message: message.map(Into::into),
            place: Some(Place { file: "a.txt".into(), line: Some(1) }),
        };
        let cases = vec![
            case("one", Status::Passed, None),
            case("two", Status::Skipped, Some("not now")),
            case("three", Status::Failed, Some("wrong")),
        ];
        Tested { report: report(&request), cases }
    };
    "deploy" deploy Deploy: Done(request) Deployed Target TargetStatus => {
        let target = |id: &str, status| Target {
            id: id.into(),
            kind: "host".into(),
            status,
            url: Some("https://example.com/".into()),
        };
        let targets = vec![target("one", TargetStatus::Succeeded), target("two", TargetStatus::Skipped)];
        Deployed { report: report(&request), targets }
    };
}

macro_rules! chosen {
    ($($feature:literal $module:ident)*) => {$(
        #[cfg(feature = $feature)]
        pub use $module::CATEGORY;
    )*};
}

chosen! {
    "source" source
    "build" build
    "test" test
    "deploy" deploy
    "approval" approval
    "invoke" invoke
    "rule" rule
}

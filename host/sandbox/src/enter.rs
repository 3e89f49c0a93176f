//! The entry into a plugin: which of its functions a call is, and what its answer is called here.
//!
//! Must not know what a call may use.

use wasmtime::Store;
use wasmtime::component::Instance;

use crate::abi::{Entry, Failure, Outcome, Request};
use crate::bindings::exports::pipewright::plugin::{approval, build, deploy, invoke, rule, source, test};
use crate::explain::NotOffered;
use crate::plugin::Exports;
use crate::state::State;

pub(crate) async fn enter(
    store: &mut Store<State>,
    instance: &Instance,
    exports: &Exports,
    entry: &Entry,
    request: &Request,
) -> wasmtime::Result<Result<Outcome, Failure>> {
    match entry {
        Entry::SourceLatest => {
            let source = offered(&exports.source, "source")?.load(&mut *store, instance)?;
            Ok(source.call_latest(store, request).await?.map(|outcome| match outcome {
                source::LatestOutcome::Found(revision) => Outcome::Latest(revision),
                source::LatestOutcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::SourceFetch { revision } => {
            let source = offered(&exports.source, "source")?.load(&mut *store, instance)?;
            Ok(source.call_fetch(store, request, revision.as_deref()).await?.map(|outcome| match outcome {
                source::FetchOutcome::Done(fetched) => Outcome::Fetched(fetched),
                source::FetchOutcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Build => {
            let build = offered(&exports.build, "build")?.load(&mut *store, instance)?;
            Ok(build.call_run(store, request).await?.map(|outcome| match outcome {
                build::Outcome::Done(report) => Outcome::Built(report),
                build::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Test => {
            let test = offered(&exports.test, "test")?.load(&mut *store, instance)?;
            Ok(test.call_run(store, request).await?.map(|outcome| match outcome {
                test::Outcome::Done(tested) => Outcome::Tested(tested),
                test::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Deploy => {
            let deploy = offered(&exports.deploy, "deploy")?.load(&mut *store, instance)?;
            Ok(deploy.call_run(store, request).await?.map(|outcome| match outcome {
                deploy::Outcome::Done(deployed) => Outcome::Deployed(deployed),
                deploy::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Approval => {
            let approval = offered(&exports.approval, "approval")?.load(&mut *store, instance)?;
            Ok(approval.call_run(store, request).await?.map(|outcome| match outcome {
                approval::Outcome::Decided(decision) => Outcome::Decided(decision),
                approval::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Invoke => {
            let invoke = offered(&exports.invoke, "invoke")?.load(&mut *store, instance)?;
            Ok(invoke.call_run(store, request).await?.map(|outcome| match outcome {
                invoke::Outcome::Done(report) => Outcome::Invoked(report),
                invoke::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
        Entry::Rule => {
            let rule = offered(&exports.rule, "rule")?.load(&mut *store, instance)?;
            Ok(rule.call_run(store, request).await?.map(|outcome| match outcome {
                rule::Outcome::Decided(verdict) => Outcome::Verdict(verdict),
                rule::Outcome::Waiting(wait) => Outcome::Waiting(wait),
            }))
        }
    }
}

fn offered<'a, T>(indices: &'a Option<T>, interface: &'static str) -> Result<&'a T, NotOffered> {
    indices.as_ref().ok_or(NotOffered(interface))
}

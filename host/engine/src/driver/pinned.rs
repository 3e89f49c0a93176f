//! What a start pins: in its own commit, whoever starts, and not at all where it cannot be had.

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_pipeline::machine::{InputKind, Start, StartRequest};
use pipewright_store::Aggregate;

use super::rows::ExecutionRow;
use super::tests::{Host, Script, cause, pipeline, store};
use super::{DriverError, GRANTS_PIN, Granted, kept_pin};

fn grant(host: &Host, granted: Granted) {
    host.script.granted.lock().unwrap().insert("p".to_owned(), granted);
}

/// The start of the newest execution, with its grants as they are kept.
fn newest(host: &Host, pipeline: Aggregate) -> (Start, Option<Bytes>) {
    host.end(pipeline);
    host.runtime.block_on(async {
        let row = host.driver.rows::<ExecutionRow>(0, Bytes::new(), None, 1).await.unwrap().remove(0);
        let id = row.execution;
        let ended = loop {
            match host.driver.archived(pipeline, id).await.unwrap() {
                Some(ended) => break ended,
                None => tokio::task::yield_now().await,
            }
        };
        let start = (*ended.start).clone();
        let grants = match start.pins.get(GRANTS_PIN) {
            Some(digest) => kept_pin(&*host.driver.0.store, pipeline, digest).await.unwrap(),
            None => None,
        };
        (start, grants)
    })
}

#[test]
fn every_start_pins_what_counts_then() {
    let host = Host::start(&store(), Script::default());
    let made = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
    let check = |pipeline, expected: Option<&'static str>| {
        let (start, grants) = newest(&host, pipeline);
        assert_eq!(start.pins["plugin/Build"], "a digest");
        let digest = expected.map(|text| Digest::of(text.as_bytes()).to_string());
        assert_eq!(start.pins.get(GRANTS_PIN), digest.as_ref());
        assert_eq!(grants.as_deref(), expected.map(str::as_bytes));
    };
    grant(&host, made("one"));
    let cause = cause();
    let create = host.driver.create(0, pipeline("p"), StartRequest::default(), Vec::new(), &cause);
    let p = host.runtime.block_on(create).unwrap();
    check(p, Some("one"));
    grant(&host, made("two"));
    let start = || {
        let token = Some("token".to_owned());
        host.runtime.block_on(host.driver.start(p, StartRequest::default(), token, Vec::new(), &cause))
    };
    let started = start().unwrap();
    check(p, Some("two"));
    grant(&host, Ok(None));
    host.begin(p);
    check(p, None);
    // What comes in from outside is not pinned.
    let pins = [(GRANTS_PIN.to_owned(), "forged".to_owned())].into();
    host.submit(p, InputKind::Start(StartRequest { pins, ..StartRequest::default() })).unwrap();
    check(p, None);

    grant(&host, Err("site.toml: cannot be read".to_owned()));
    let refused = host.submit(p, InputKind::Start(StartRequest::default())).unwrap_err();
    assert!(matches!(&refused, DriverError::Unpinned(why) if why.contains("site.toml")), "{refused}");
    // One that was started before is answered as before.
    assert_eq!(start().unwrap(), started);
    grant(&host, made("three"));
    host.begin(p);
    check(p, Some("three"));
}

#[test]
fn a_pipeline_without_its_grants_is_made_and_not_started() {
    let host = Host::start(&store(), Script::default());
    grant(&host, Err("site.toml: cannot be read".to_owned()));
    host.runtime.block_on(async {
        let p = host.driver.create(0, pipeline("p"), StartRequest::default(), Vec::new(), &cause()).await.unwrap();
        let state = host.driver.state(p).await.unwrap();
        assert!(state.head.is_some() && state.executions.is_empty());
    });
}

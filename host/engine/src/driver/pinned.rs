//! What a start pins: in its own commit, whoever starts, and not at all where it cannot be had.

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_pipeline::machine::{InputKind, Start, StartRequest};
use pipewright_store::Aggregate;

use super::rows::ExecutionRow;
use super::tests::{Host, Script, cause, pipeline, store};
use super::{DriverError, GRANTS_PIN, Granted, kept_pin, part_pin};

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
        let token = Some("token".to_owned().into());
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
fn a_start_holds_on_to_parts_of_the_account() {
    let host = Host::start(&store(), Script::default());
    *host.script.parts.lock().unwrap() = vec!["project/app".to_owned(), "project/none".to_owned()];
    let (driver, cause) = (&host.driver, cause());
    let put = |text: &'static str| {
        let value = Some(Bytes::from_static(text.as_bytes()));
        host.runtime.block_on(driver.put_account_part(0, "project/app", value, &cause)).unwrap();
    };
    put("one");
    let create = driver.create(0, pipeline("p"), StartRequest::default(), Vec::new(), &cause);
    let p = host.runtime.block_on(create).unwrap();
    let check = |expected: &str| {
        let (start, _) = newest(&host, p);
        let digest = Digest::of(expected.as_bytes()).to_string();
        assert_eq!(start.pins.get(&part_pin("project/app")), Some(&digest));
        assert!(!start.pins.contains_key(&part_pin("project/none")));
        let kept = host.runtime.block_on(kept_pin(&*driver.0.store, p, &digest)).unwrap();
        assert_eq!(kept.as_deref(), Some(expected.as_bytes()));
    };
    check("one");
    put("two");
    host.begin(p);
    check("two");
    let parts = [("project/app".to_owned(), Bytes::from_static(b"of this start"))].into();
    host.runtime.block_on(driver.start_with_parts(p, StartRequest::default(), None, parts, &cause)).unwrap();
    check("of this start");
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

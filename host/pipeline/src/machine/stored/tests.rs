//! Parts and events that older versions wrote, as they wrote them.

use super::super::address::{ActionAddress, Address};
use super::super::event::{ActionHappening, Event};
use super::super::execution::{ExecutionStatus, StagePhase};
use super::super::report::{Awaited, Wake};
use super::super::state::{Change, State};
use super::{FORMAT, StoredError, read, write};

const WAITING: &str = include_str!("samples/v1-waiting.jsonl");
const RESUMED: &str = include_str!("samples/v1-resumed.jsonl");
const UPDATED: &str = include_str!("samples/v1-updated.jsonl");
const ARCHIVED: &str = include_str!("samples/v1-archived.jsonl");
const SECOND_SUPERSEDED: &str = include_str!("samples/v2-superseded.jsonl");
const SECOND_QUEUED: &str = include_str!("samples/v2-queued.jsonl");
const SECOND_ARCHIVED: &str = include_str!("samples/v2-archived.jsonl");
const SECOND_EVENTS: &str = include_str!("samples/v2-events.jsonl");
const EVENTS: &str = include_str!("samples/v1-events.jsonl");

fn parts(sample: &str) -> Vec<Change> {
    sample.lines().map(|line| read(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn loaded(sample: &str) -> State {
    let mut state = State::default();
    state.apply(parts(sample)).expect("a part in its order fits");
    state
}

#[test]
fn parts_of_older_formats_are_read_and_written_anew() {
    let second = [SECOND_SUPERSEDED, SECOND_QUEUED, SECOND_ARCHIVED];
    for part in [WAITING, RESUMED, UPDATED, ARCHIVED].into_iter().chain(second).flat_map(parts) {
        let bytes = write(&part).expect("JSON");
        assert!(bytes.starts_with(format!("[{FORMAT},").as_bytes()));
        assert_eq!(read(&bytes).expect("read back"), part);
    }
}

/// A waits in front of the third stage, B waits for a signal or a time and for an approval in the second, C for a time in
/// the first.
#[test]
fn a_state_of_the_first_format_means_the_same() {
    let state = loaded(WAITING);
    let head = state.head.as_ref().expect("a head");
    let third = &head.stages[2];
    let waiting: Vec<_> = state.executions.waiting(2).collect();
    assert_eq!((waiting.len(), third.inbound.enabled, third.inbound.reason.as_deref()), (1, false, Some("freeze")));
    let a = &state.executions[&waiting[0]];
    assert_eq!((a.stage(), a.progress.attempt), (2, 2));
    let phases: Vec<_> = a.progress.stages.iter().map(|run| (run.stage, run.phase, run.manual_retries)).collect();
    assert_eq!(phases, [(0, StagePhase::OnSuccess, 0), (1, StagePhase::OnSuccess, 1)]);
    assert_eq!(a.artifact("App").map(str::len), Some(71));

    let b = &state.executions[&head.stages[1].occupant.expect("in the second stage")];
    let awaits = |action| {
        let run = b.action(ActionAddress { stage: 1, action }).expect("it runs");
        run.wait.as_ref().expect("it waits").awaits.clone()
    };
    let until = state.due().expect("something is due");
    assert!(matches!(&awaits(0)[..], [Awaited::Signal(kind), Awaited::Time(_)] if kind == "ready"));
    assert_eq!(awaits(1), [Awaited::Approval]);
    let c = &state.executions[&head.stages[0].occupant.expect("in the first stage")];
    let source = c.action(ActionAddress { stage: 0, action: 0 }).expect("it runs");
    let wait = source.wait.as_ref().expect("it waits");
    assert_eq!((wait.until(), &wait.continuation[..]), (Some(until), &b"so far"[..]));
    let keys: Vec<_> = parts(WAITING).iter().filter_map(|part| part.part()).map(|part| part.to_string()).collect();
    assert!(keys.iter().any(|key| key.ends_with("/action/1/0")), "{keys:?}");
}

#[test]
fn calls_of_the_first_format_go_on() {
    let state = loaded(RESUMED);
    let runs = state.executions.values().flat_map(|execution| execution.runs.values());
    let resumed: Vec<_> = runs.filter_map(|run| run.resumed.as_ref()).collect();
    assert_eq!(resumed.iter().filter(|it| it.wake == Wake::Time).count(), 1);
    let kinds: Vec<_> = resumed.iter().filter_map(|it| it.wake.signal()).collect();
    assert_eq!(kinds, ["ready", "approval"]);
    assert_eq!(state.outstanding().len(), 6, "three calls, and the timeout of each");
}

#[test]
fn an_execution_that_was_archived_in_the_first_format_is_read() {
    let ended: Vec<_> = parts(ARCHIVED)
        .into_iter()
        .map(|change| match change {
            Change::Archive(execution) => execution,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        ended.iter().map(|it| it.progress.status).collect::<Vec<_>>(),
        [ExecutionStatus::Failed, ExecutionStatus::Stopped]
    );
    let runs: Vec<_> = ended[0].runs.keys().map(Address::to_string).collect();
    assert_eq!(runs, ["action/0/0", "action/1/0", "action/1/1"]);
}

/// In SUPERSEDED, A was retried and is in the third stage, and an action of B waits in the second; in QUEUED, A has failed there,
/// B is there, and C in the first.
#[test]
fn a_state_of_the_second_format_means_the_same() {
    let state = loaded(SECOND_SUPERSEDED);
    let head = state.head.as_ref().expect("a head");
    let a = &state.executions[&head.stages[2].occupant.expect("A is there")];
    let second = a.stage_run(1).expect("it was there");
    assert_eq!((second.manual_retries, second.automatic_retries, second.last_retry_automatic), (1, 0, false));
    assert_eq!((second.conditions.len(), second.rolls_back_to, head.stages[1].succeeded), (0, None, None));
    assert_eq!((state.executions.len(), state.outstanding().len()), (3, 8));

    let state = loaded(SECOND_QUEUED);
    let head = state.head.as_ref().expect("a head");
    let there = |stage: usize| state.executions[&head.stages[stage].occupant.expect("one is there")].start.number;
    assert_eq!((there(1), there(0), state.executions.len()), (2, 3, 2));
    let archived = parts(SECOND_ARCHIVED);
    let failed = archived.iter().map(|part| match part {
        Change::Archive(execution) => (execution.progress.status, execution.runs.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(failed.collect::<Vec<_>>(), [(ExecutionStatus::Failed, 3), (ExecutionStatus::Failed, 3)]);
}

#[test]
fn events_of_before_are_read() {
    for line in SECOND_EVENTS.lines() {
        serde_json::from_str::<Event>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let events: Vec<Event> = EVENTS
        .lines()
        .map(|line| {
            let mut recorded: serde_json::Value = serde_json::from_str(line).expect("JSON");
            serde_json::from_value(recorded["event"].take()).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .collect();
    let waits: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Action(event) => match &event.what {
                ActionHappening::Waiting(wait) => Some(wait.awaits.len()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(waits, [1, 2, 1, 1]);
}

#[test]
fn what_a_newer_version_wrote_is_named_so() {
    let check = |text: &str, newer: Option<u32>| match (read(text.as_bytes()), newer) {
        (Err(StoredError::Newer(format)), Some(newer)) => assert_eq!(format, newer),
        (Err(StoredError::Malformed(_)), None) => {}
        other => panic!("{text}: {other:?}"),
    };
    check(r#"[4,{"Somehow":"else"}]"#, Some(4));
    check(r#"[3,{"Somehow":"else"}]"#, None);
    check(r#"[3]"#, None);
    check(r#"{"Somehow":"else"}"#, None);
    check("", None);
}

//! Every commit tells why it was made: each input that there is, and each note.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::clock::Simulated;
use pipewright_base::{Cause, Principal, Source};
use pipewright_pipeline::declaration::StageRetryMode;
use pipewright_pipeline::machine::{
    ActionError, ApprovalAnswer, ApprovalStatus, Change, ConditionType, Event, ExecutionId, ExecutionState,
    FailureType, InputKind, JobEnd, JobReport, JobStatus, OFFER_MILLISECONDS, Outcome, OverrideRequest, RetryRequest,
    RollbackRequest, StartRequest, Timestamp, TransitionKind,
};
use pipewright_store::{Aggregate, Record, Store};
use serde_json::json;

use super::tests::{Deed, Host, Script, pipeline, store};
use super::writer::{Writer, WriterContext};
use super::{Entry, entry, record};

/// By which name the test asks for an input; none where only the host itself brings it.
fn asked(what: &InputKind) -> Option<&'static str> {
    Some(match what {
        InputKind::Create { .. } => "create",
        InputKind::Update { .. } => "update",
        InputKind::Delete => "delete",
        InputKind::Start(_) => "start",
        InputKind::Stop { .. } => "stop",
        InputKind::RetryStage(_) => "retry",
        InputKind::RollbackStage(_) => "rollback",
        InputKind::DisableTransition { .. } => "disable",
        InputKind::EnableTransition { .. } => "enable",
        InputKind::PutApprovalResult(_) => "approval",
        InputKind::Signal { .. } => "signal",
        InputKind::OverrideCondition(_) => "override",
        InputKind::OfferJob { .. } => "poll",
        InputKind::AcknowledgeJob { .. } => "acknowledge",
        InputKind::ReportJob { .. } => "report",
        InputKind::ActionReported { .. }
        | InputKind::ActionRestarted { .. }
        | InputKind::ExecutionLoaded { .. }
        | InputKind::TimerDue { .. } => return None,
    })
}

/// A request by that name.
fn cause(request: &str) -> Cause {
    Cause { principal: Principal::user(7, "tester"), request: request.to_owned(), source: Source::Http }
}

fn submit(host: &Host, pipeline: Aggregate, what: InputKind) {
    let cause = cause(asked(&what).expect("a command"));
    host.runtime.block_on(host.driver.submit(pipeline, what, &cause)).unwrap();
}

/// The one execution that is live.
fn live(host: &Host, pipeline: Aggregate) -> ExecutionId {
    let state = host.runtime.block_on(host.driver.state(pipeline)).unwrap();
    let live: Vec<_> = state.executions.keys().copied().collect();
    let [live] = live[..] else { panic!("{live:?}") };
    live
}

fn entries(host: &Host, pipeline: Aggregate) -> Vec<Entry> {
    host.runtime.block_on(host.driver.history(pipeline, 1, 1000)).unwrap()
}

#[test]
fn every_input_and_every_note_tells_its_cause() {
    let store = store();
    let deeds = [("Source", Deed::Sleep(1_000)), ("Build", Deed::AwaitSignal), ("Gate", Deed::AwaitRejection)];
    let host = Host::start(&store, Script::new(&deeds));
    let p = host.runtime.block_on(host.driver.named(0, "p", &cause("name"))).unwrap();
    submit(&host, p, InputKind::Create { declaration: pipeline("p") });
    submit(&host, p, InputKind::Update { declaration: pipeline("p") });
    submit(&host, p, InputKind::Start(StartRequest::default()));
    host.waits(p, "Source");
    host.pass(1_000);
    let (execution, action) = host.waits(p, "Build");
    submit(&host, p, InputKind::Signal { action, kind: "go".to_owned(), payload: Vec::new() });
    let (_, token) = host.waits(p, "Gate");
    let (stage, token) = ("Gate".to_owned(), token.to_string());
    let answer = ApprovalAnswer {
        stage: stage.clone(),
        action: stage.clone(),
        token,
        status: ApprovalStatus::Rejected,
        summary: String::new(),
        by: None,
    };
    submit(&host, p, InputKind::PutApprovalResult(answer));
    assert_eq!(host.end(p), ExecutionState::Failed);
    let (target, ended) = (execution, None);
    let rollback = RollbackRequest { stage: "Build".to_owned(), target, ended, by: None };
    submit(&host, p, InputKind::RollbackStage(rollback));
    submit(&host, p, InputKind::Stop { execution: live(&host, p), abandon: true, reason: None, by: None });
    let retry = RetryRequest { stage: stage.clone(), execution, mode: StageRetryMode::FailedActions, ended: None };
    submit(&host, p, InputKind::RetryStage(retry));
    submit(&host, p, InputKind::Stop { execution, abandon: true, reason: None, by: None });
    let kind = TransitionKind::Inbound;
    let reason = "closed".to_owned();
    submit(&host, p, InputKind::DisableTransition { stage: stage.clone(), kind, reason, by: None });
    submit(&host, p, InputKind::EnableTransition { stage, kind, by: None });
    let notes = vec![("tags".to_owned(), Some(Bytes::from_static(b"secret"))), ("seen/Source".to_owned(), None)];
    host.runtime.block_on(host.driver.keep(p, notes, &cause("keep"))).unwrap();
    host.die();
    let worked = works(&store);
    let host = goes_on(&store, p);
    submit(&host, p, InputKind::Delete);

    let entries = [entries(&host, p), worked].concat();
    let told: BTreeSet<_> =
        entries.iter().map(|entry| entry.cause.as_ref().expect("each tells").clone()).map(shown).collect();
    let commands = [
        "create",
        "update",
        "delete",
        "start",
        "stop",
        "retry",
        "rollback",
        "override",
        "disable",
        "enable",
        "approval",
        "signal",
        "poll",
        "acknowledge",
        "report",
    ];
    let own = [("action", Source::Action), ("timer", Source::Timer), ("start", Source::Start)];
    let own = own.map(|(part, source)| Cause::host(part, source));
    let expected = commands.into_iter().chain(["keep"]).map(cause).chain(own).map(shown).collect();
    assert_eq!(told, expected);
    assert!(entries.iter().all(|entry| entry.at.is_some()));
    notes_are_named_alone(&host, &store, p, &entries);
}

fn notes_are_named_alone(host: &Host, store: &Arc<dyn Store>, p: Aggregate, entries: &[Entry]) {
    let kept = entries.iter().filter(|entry| !entry.notes.is_empty()).collect::<Vec<_>>();
    let [kept] = kept[..] else { panic!("{kept:?}") };
    assert_eq!((&kept.notes[..], kept.events.len()), (&["tags".to_owned(), "seen/Source".to_owned()][..], 0));
    let records = host.runtime.block_on(store.history(p, 1, 1000)).unwrap();
    let told = records.iter().flat_map(|record| &record.events).any(|event| event.windows(6).any(|it| it == b"secret"));
    assert!(!told, "history names notes, and does not tell them");
}

/// An execution is interrupted and goes on, to where a condition holds it until it is overridden.
fn goes_on(store: &Arc<dyn Store>, p: Aggregate) -> Host {
    let host = Host::start(store, Script::new(&[("Source", Deed::Hang)]));
    submit(&host, p, InputKind::Start(StartRequest::default()));
    host.until_called("Source", 1);
    host.die();
    put_condition(store, p);
    let host = Host::start_after(store, Script::new(&[("Window", Deed::Hang)]), true);
    host.until_called("Window", 1);
    let (stage, execution, which) = ("Build".to_owned(), live(&host, p), ConditionType::BeforeEntry);
    submit(&host, p, InputKind::OverrideCondition(OverrideRequest { stage, execution, which, ended: None, by: None }));
    host
}

/// A worker takes the job of an action, and reports it after the host died; in a pipeline of its own.
fn works(store: &Arc<dyn Store>) -> Vec<Entry> {
    let host = Host::start(store, Script::new(&[("Build", Deed::AwaitJob)]));
    let p = host.runtime.block_on(host.driver.named(0, "q", &cause("name"))).unwrap();
    submit(&host, p, InputKind::Create { declaration: pipeline("q") });
    submit(&host, p, InputKind::Start(StartRequest::default()));
    let (_, action) = host.waits(p, "Build");
    let job = || {
        let state = host.runtime.block_on(host.driver.state(p)).unwrap();
        let (run, called) = state.called(action).unwrap();
        (run.job.clone().unwrap(), called.declared().type_id())
    };
    let (queued, id) = job();
    let waiting = || host.runtime.block_on(host.driver.queued_jobs(0, &id, None, 10)).unwrap();
    let rows = waiting();
    assert_eq!(rows.iter().map(|row| (row.job, row.action)).collect::<Vec<_>>(), [(queued.id, action)]);
    submit(&host, p, InputKind::OfferJob { action, job: queued.id });
    assert_eq!(waiting(), []);
    let JobStatus::Offered { nonce, .. } = job().0.status else { panic!("it was offered") };
    // Its worker is slow, and it is offered to another one.
    host.pass(OFFER_MILLISECONDS);
    assert_eq!(waiting(), rows);
    submit(&host, p, InputKind::OfferJob { action, job: queued.id });
    let late = InputKind::AcknowledgeJob { action, job: queued.id, nonce: nonce.to_string() };
    assert!(host.runtime.block_on(host.driver.submit(p, late, &cause("acknowledge"))).is_err());
    let JobStatus::Offered { nonce, .. } = job().0.status else { panic!("it was offered again") };
    submit(&host, p, InputKind::AcknowledgeJob { action, job: queued.id, nonce: nonce.to_string() });
    host.die();
    let host = Host::start_after(store, Script::new(&[]), true);
    let digest = "4".repeat(64);
    let end = JobEnd::Action(Outcome::from(ActionError { kind: FailureType::JobFailed, message: String::new() }));
    let report = JobReport { digest, end };
    submit(&host, p, InputKind::ReportJob { action, job: queued.id, report });
    assert_eq!(host.end(p), ExecutionState::Failed);
    let row = host.runtime.block_on(host.driver.job(0, queued.id)).unwrap().unwrap();
    assert_eq!((row.action, row.report), (action, Some([0x44; 32])), "it is known, and what was reported of it");
    let entries = entries(&host, p);
    host.die();
    entries
}

/// A condition of entry is put into what is kept, while no host runs: none is taken yet that somebody asks for.
fn put_condition(store: &Arc<dyn Store>, p: Aggregate) {
    let rule_type = json!({ "category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1" });
    let rules = json!([{ "name": "Window", "ruleTypeId": rule_type }]);
    let conditions = json!({ "conditions": [{ "result": "FAIL", "rules": rules }] });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pen = WriterContext { store: Arc::clone(store), clock: Arc::new(Simulated::new(0)) };
        let (mut writer, loaded) = Writer::load(pen, p).await.unwrap();
        let mut declaration = record::state(&loaded).unwrap().declaration.unwrap();
        Arc::make_mut(&mut declaration).stages[1].before_entry = Some(serde_json::from_value(conditions).unwrap());
        let puts = record::puts(&[Change::Declaration(declaration)]).unwrap();
        let events = entry::write::<Event>(&cause("keep"), Timestamp(1_700_000_000_000), &[], &[]).unwrap();
        writer.commit(puts, events, Vec::new()).await.unwrap();
        writer.release().await;
    });
}

fn shown(cause: Cause) -> (String, String, String) {
    (cause.principal.to_string(), cause.request, format!("{:?}", cause.source))
}

/// What versions wrote that kept no causes.
#[test]
fn records_without_a_cause_are_read() {
    let deleted = r#"{"at":1700000000000,"event":{"event":"PipelineDeleted","version":3}}"#;
    let record = |events: &[&str]| Record {
        sequence: 1,
        previous: Default::default(),
        digest: Default::default(),
        changes: Vec::new(),
        events: events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect(),
    };
    let read = |events: &[&str]| {
        let entry = Entry::read(&record(events)).unwrap();
        assert_eq!(Entry::time(&record(events)).unwrap(), entry.at);
        (entry.at.map(|at| at.0), entry.cause.is_some(), entry.events.len(), entry.notes)
    };
    let at = Some(1_700_000_000_000);
    assert_eq!(read(&[]), (None, false, 0, vec![]));
    assert_eq!(read(&[deleted, deleted]), (at, false, 2, vec![]));
    let header = r#"{"by":"pipewright:timer","from":"timer","at":1700000000000}"#;
    assert_eq!(read(&[header, r#"{"event":"PipelineDeleted","version":3}"#]), (at, true, 1, vec![]));
    let header = r#"{"by":"pipewright:poller","from":"poller","at":1700000000000,"notes":["seen/Source"]}"#;
    assert_eq!(read(&[header]), (at, true, 0, vec!["seen/Source".to_owned()]));
    for wrong in [&["{}"][..], &[header, "{}"], &[r#"{"by":1}"#]] {
        assert!(Entry::read(&record(wrong)).is_err(), "{wrong:?}");
    }
}

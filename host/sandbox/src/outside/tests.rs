//! What is kept, given again and made up of uses that are a request and its response: of two that every guest can have.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wasmtime_wasi::WasiCtx;

use super::{Fakes, Outside, Recorded, Recorder, Replay, Room, Step};
use crate::capabilities::clock::{Clock, Look};
use crate::capabilities::http::Connector;
use crate::capabilities::secrets::{Operation, Secrets};
use crate::capabilities::{Capability as _, Setup};
use crate::grants::{Grants, SecretGrant, SecretValue};
use crate::limits::CallLimits;
use crate::masks::Masks;
use crate::rights::Asks;
use crate::seam::{Journal, Seam, Sink};
use pipewright_base::memory::HostMemory;

/// As recordings have had them since their first format.
const WRITTEN: &str = r#"[
    { "capability": "clock", "milliseconds": 1700000000123 },
    { "capability": "randomness", "bytes": "00ff" },
    { "capability": "secrets", "operation": "stand-in", "name": "token",
      "stand-in": "pipewright-secret-0123456789abcdef0123456789abcdef", "outcome": "done" },
    { "capability": "secrets", "operation": "basic", "name": "token", "user": "me",
      "stand-in": "pipewright-secret-fedcba9876543210fedcba9876543210", "outcome": "done" },
    { "capability": "secrets", "operation": "reveal", "name": "token", "outcome": "done" },
    { "capability": "secrets", "operation": "reveal", "name": "other", "outcome": { "denied": "it was not granted" } },
    { "capability": "directories", "operation": "open", "target": "/directories/site", "bytes": 7, "outcome": "done" },
    { "capability": "http",
      "request": { "method": "GET", "url": "https://example.com/", "headers": [["accept", "*/*"]],
                   "body": { "bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" } },
      "error": { "code": "connection-refused" },
      "ended": true, "outcome": { "failed": "cannot connect" } }
]"#;

/// A call that has the clock and two secrets, of which it may read one.
struct Calling {
    seam: Arc<Seam>,
    clock: Clock,
    secrets: Secrets,
    journal: Arc<Journal>,
}

const VALUE: &str = "s3cret/value";

impl Calling {
    fn new(outside: Outside) -> Self {
        let secret = |reveal| SecretGrant {
            value: SecretValue::new(VALUE),
            hosts: Vec::new(),
            reveal,
            commands: false,
            commands_file: None,
            stored: None,
        };
        let secrets = [("token".to_owned(), secret(true)), ("other".to_owned(), secret(false))];
        let grants = Grants { secrets: secrets.into(), clock: true, ..Grants::default() };
        let journal = Arc::new(Journal::default());
        let sink = Arc::clone(&journal) as Arc<dyn Sink>;
        let asks = Asks::everything(&["token", "other"], &[]);
        let seam = Seam::new("acme/x", "Build/It", sink, Masks::of([VALUE]), asks, outside);
        let secrets = Secrets::of(&grants, &seam);
        let clock = Clock::new(&mut Setup {
            seam: &seam,
            grants: &grants,
            limits: &CallLimits::default(),
            memory: &HostMemory::alone(usize::MAX),
            wasi: &mut WasiCtx::builder(),
            time: Some(7),
            idempotency_key: "",
            connector: &Connector::new(&[]).unwrap(),
            secrets: secrets.clone(),
            scratch: Path::new(""),
            secret_environment: Vec::new(),
            ended: None,
            caches: Default::default(),
        });
        Self { seam, clock, secrets, journal }
    }

    fn look(&self) -> Result<u64, String> {
        self.seam.exchange(&self.clock, Look {}).map(|time| time.milliseconds)
    }

    fn secret(&self, operation: Operation, name: &str) -> String {
        let told = self.secrets.told(operation, name, None);
        told.unwrap_or_else(|error| error.to_string())
    }

    /// What a guest sees and what is journaled of it.
    fn everything(&self) -> Vec<String> {
        let mut told = vec![
            format!("{:?}", self.look()),
            self.secret(Operation::StandIn, "token"),
            self.secret(Operation::Reveal, "other"),
            self.secret(Operation::StandIn, &format!("of {VALUE}")),
        ];
        let journal = self.journal.calls.lock().unwrap();
        told.extend(journal.iter().map(|call| format!("{} {} {:?}", call.capability, call.target, call.outcome)));
        told
    }
}

#[test]
fn what_is_written_stays_as_it_was() {
    let steps: Vec<Step> = serde_json::from_str(WRITTEN).unwrap();
    let written: Value = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(serde_json::to_value(&steps).unwrap(), written);
    for (malformed, why) in [
        (json!({ "capability": "clock" }), "missing field `milliseconds`"),
        (json!({ "capability": "secrets", "operation": "steal", "name": "token", "outcome": "done" }), "steal"),
        (json!({ "capability": "telepathy" }), "unknown variant `telepathy`"),
    ] {
        let error = serde_json::from_value::<Step>(malformed.clone()).expect_err(&malformed.to_string());
        assert!(error.to_string().contains(why), "{malformed}: {error}");
    }
}

#[test]
fn what_was_kept_is_given_again() {
    let live = Calling::new(Outside::Recorded(Recorder::new(1 << 20, &Room::new(1 << 20), HashSet::new())));
    let told = live.everything();
    let recorded = live.seam.recorded().unwrap();
    assert_eq!(recorded.denials().len(), 2, "{recorded:?}");
    let text = serde_json::to_string(&recorded).unwrap();
    assert!(!text.contains(VALUE), "{text}");
    let again = Calling::new(Outside::Replayed(Replay::new(serde_json::from_str(&text).unwrap())));
    // Where the guest's own words held a secret's value, they are masked.
    let masked: Vec<String> = told.iter().map(|told| told.replace(VALUE, "****")).collect();
    assert_eq!(again.everything(), masked);
    assert_eq!(again.seam.difference(None), None);
    assert!(again.look().is_err());
    let found = again.seam.difference(None).unwrap();
    assert_eq!((found.expected.as_str(), found.made.as_str()), ("no further host call", "a look at the clock"));
}

#[test]
fn a_use_that_cannot_be_masked_ends_the_recording() {
    let recorder = Recorder::new(1 << 20, &Room::new(1 << 20), HashSet::new());
    let steps: Vec<Step> = serde_json::from_str(WRITTEN).unwrap();
    steps.iter().for_each(|step| recorder.step(|| step.clone()));
    // A value that is also a word of the form.
    let recorded = recorder.finish(&Masks::of(["basic"]));
    assert_eq!((recorded.steps.len(), recorded.steps_left_out), (3, 5), "{recorded:?}");
    assert!(recorded.left_out[0].contains("where it cannot be masked"), "{:?}", recorded.left_out);
}

/// What is dropped makes room for others.
#[test]
fn recorders_share_their_room() {
    let room = Room::new(400);
    let steps: Vec<Step> = serde_json::from_str(WRITTEN).unwrap();
    let kept = |recorder: &Recorder| {
        (0..10).for_each(|_| recorder.step(|| steps[0].clone()));
        recorder.finish(&Masks::default()).steps.len()
    };
    let first = Recorder::new(350, &room, HashSet::new());
    assert_eq!(kept(&first), 3);
    assert_eq!(kept(&Recorder::new(350, &room, HashSet::new())), 0);
    drop(first);
    assert_eq!(kept(&Recorder::new(350, &room, HashSet::new())), 3);
}

/// Whoever reads a log takes a line for what the host says.
#[test]
fn a_denied_name_makes_no_line_of_its_own() {
    let calling = Calling::new(Outside::Live);
    calling.secret(Operation::Reveal, "x\n1767225600000 Info forged\r\u{1b}[2J\u{202e}");
    let (lines, calls) = (calling.journal.lines.lock().unwrap(), calling.journal.calls.lock().unwrap());
    let said = lines.iter().cloned().chain(calling.seam.denials()).chain(calls.iter().map(|call| call.target.clone()));
    for line in said.chain(calls.iter().filter_map(|call| call.outcome.text().map(str::to_owned))) {
        assert!(line.contains("x 1767225600000 Info forged  [2J"), "{line}");
        assert!(line.chars().all(pipewright_text::is_printable), "{line:?}");
    }
    assert_eq!((lines.len(), calls.len()), (1, 1));
}

#[test]
fn any_answer_can_be_made_up() {
    let made_up = json!([
        { "capability": "secrets", "operation": "reveal", "name": "token", "outcome": "done" },
        { "capability": "clock", "milliseconds": 3 },
        { "capability": "clock", "milliseconds": 1 },
        { "capability": "secrets", "operation": "reveal", "name": "token", "outcome": { "failed": "it is gone" } },
    ]);
    let fakes = Fakes::new(None, serde_json::from_value(made_up).unwrap());
    let calling = Calling::new(Outside::Faked(Arc::clone(&fakes)));
    assert_eq!((calling.look(), calling.look()), (Ok(3), Ok(1)));
    assert!(calling.secret(Operation::Reveal, "other").contains("was not granted"), "it takes no answer");
    assert_eq!(calling.secret(Operation::Reveal, "token"), super::REVEALED);
    assert_eq!(fakes.left(), ["the secret \"token\" (reveal)"]);
    assert!(calling.secret(Operation::Reveal, "token").contains("it is gone"));
    assert!(calling.seam.difference(None).is_none());
    assert!(calling.look().is_err());
    let found = calling.seam.difference(None).unwrap();
    assert_eq!((found.expected.as_str(), found.made.as_str()), ("no further use", "a look at the clock"));
    // What nothing is made up of is as ever.
    let other = Calling::new(Outside::Faked(Fakes::new(None, Vec::new())));
    assert!(other.look().is_ok_and(|time| time >= 7));
    assert_eq!(Recorded::default().denials(), Vec::<String>::new());
}

//! Makes a test case of a recording: a folder as `sdk/CASES.md` describes it, which runs against what was recorded.
//!
//! Owns how a recording reads as a case. Must not know how a case is run.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use pipewright_artifacts::files::{BlobDir, export};
use pipewright_base::Digest;
use pipewright_pipeline::machine;
use pipewright_sandbox::abi::{Entry, Outcome, Request, Wake};
use pipewright_sandbox::capabilities::commands::Ended;
use pipewright_sandbox::grants::CaseFolder;
use pipewright_sandbox::outside::LEFT_IN_SCRATCH;
use toml::{Table, Value};

use crate::cases::folder;
use pipewright_packages::plugins;
use pipewright_runner::outcome;
use pipewright_runner::recording::{Bundle, RecordedCall, RecordedResult, RecordingError};

/// Where the case keeps what was recorded.
pub const OUTSIDE: &str = "outside.zip";
/// Where the granted secrets of a case are, which have no value in a recording.
const SECRET_FILE: &str = "secret.txt";

/// Writes the case into a folder that must not be there yet.
pub fn write_case(bundle: &Bundle, folder: &Path) -> Result<(), RecordingError> {
    let first = bundle.recording.calls.first();
    let first = first.ok_or_else(|| RecordingError::Malformed("it has no calls".to_owned()))?;
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    let store = tempfile::tempdir().map_err(anyhow::Error::from)?;
    let blobs = BlobDir::new(store.path()).map_err(anyhow::Error::from)?;
    let write = |digest: &Digest, what: &str, to: &Path| -> Result<(), RecordingError> {
        let tree = bundle.unpacked(digest, what, &blobs)?;
        let exported = export(&blobs, &tree, what, to);
        exported.map(drop).map_err(|error| RecordingError::Malformed(format!("{what}: {error}")))
    };
    for (name, digest) in &first.inputs {
        let what = format!("the input artifact {name}");
        write(digest, &what, &folder.join(folder::INPUTS).join(name))?;
    }
    for (name, directory) in &first.outside.directories {
        let what = format!("the directory {name}, as it was before the call");
        let before = directory.before.ok_or_else(|| RecordingError::LeftOut(what.clone()))?;
        write(&before, &what, &folder.join(folder::DIRECTORIES).join(name))?;
    }
    for (number, call) in bundle.recording.calls.iter().enumerate() {
        if let Some(left) = bundle.scratch(call, &blobs)? {
            let exported =
                export(&blobs, &left, LEFT_IN_SCRATCH, &folder.join(folder::SCRATCH).join(number.to_string()));
            exported.map_err(|error| RecordingError::Malformed(format!("{LEFT_IN_SCRATCH}: {error}")))?;
        }
    }
    // Granted and not looked at, as far as the recording knows.
    for name in first.grants.directories.keys() {
        fs::create_dir_all(folder.join(folder::DIRECTORIES).join(name)).map_err(anyhow::Error::from)?;
    }
    if !first.grants.secrets.is_empty() {
        fs::write(folder.join(SECRET_FILE), pipewright_sandbox::outside::REVEALED).map_err(anyhow::Error::from)?;
    }
    fs::write(folder.join(OUTSIDE), outside(bundle).to_bytes()?).map_err(anyhow::Error::from)?;
    let text = table(&bundle.recording.calls).and_then(|case| toml::to_string(&case)).map_err(anyhow::Error::from)?;
    fs::write(folder.join("case.toml"), text).map_err(anyhow::Error::from)?;
    Ok(())
}

/// What a case needs of a bundle: the host calls and their bodies.
fn outside(bundle: &Bundle) -> Bundle {
    let mut outside = bundle.clone();
    let bodies: Vec<Digest> = bundle.recording.calls.iter().flat_map(|call| call.outside.bodies()).collect();
    outside.blobs.retain(|digest, _| bodies.contains(digest));
    outside
}

fn table(calls: &[RecordedCall]) -> Result<Table, toml::ser::Error> {
    let first = &calls[0];
    let request = &first.request;
    let mut case = Table::new();
    case.insert("action".into(), plugins::label(&request.action_type).into());
    case.insert("inputs".into(), array(first.inputs.iter().map(|(name, _)| name.as_str())));
    case.insert("outputs".into(), array(request.outputs.iter().map(output)));
    let lists = [("commands", &request.commands), ("output-variables", &request.output_variables)];
    for (key, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        case.insert((*key).into(), array(list.iter().map(String::as_str)));
    }
    match &first.entry {
        Entry::SourceLatest => drop(case.insert("call".into(), "latest".into())),
        Entry::SourceFetch { revision: Some(revision) } => {
            case.insert("revision".into(), revision.as_str().into());
        }
        _ => {}
    }
    case.insert("idempotency-key".into(), request.idempotency_key.as_str().into());
    if request.attempt != 1 {
        case.insert("attempt".into(), i64::from(request.attempt).into());
    }
    case.insert("time".into(), number(first.outside.time));
    case.insert("recorded".into(), OUTSIDE.into());
    let context = &request.context;
    let names = [
        ("account", &context.account),
        ("region", &context.region),
        ("pipeline", &context.pipeline),
        ("execution", &context.execution_id),
        ("stage", &context.stage),
        ("action", &context.action),
        ("action-execution", &context.action_execution_id),
    ];
    let names = names.into_iter().map(|(key, name)| (key.to_owned(), name.as_str().into()));
    case.insert("names".into(), Value::Table(names.collect()));
    let named = |list: &[pipewright_sandbox::abi::NamedValue]| {
        let pairs = list.iter().map(|pair| (pair.name.clone(), pair.value.as_str().into()));
        Value::Table(pairs.collect())
    };
    if !request.environment.is_empty() {
        case.insert("environment".into(), named(&request.environment));
    }
    if !first.secret_environment.is_empty() {
        case.insert("secret-environment".into(), named(&first.secret_environment));
    }
    if !request.settings.is_empty() {
        case.insert("settings".into(), named(&request.settings));
    }
    if !first.grants.is_nothing() {
        let folder = CaseFolder { directories: folder::DIRECTORIES, secret: SECRET_FILE };
        case.insert("grants".into(), Value::try_from(first.grants.in_case(&folder))?);
    }
    case.insert("expected".into(), expected(first));
    let then: Vec<Value> = calls.iter().enumerate().skip(1).map(|(number, call)| then(number, call)).collect();
    if !then.is_empty() {
        case.insert("then".into(), array(then));
    }
    Ok(case)
}

fn array<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(Into::into).collect())
}

fn number(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn output(output: &pipewright_sandbox::abi::Output) -> Value {
    if output.files.is_empty() {
        return output.name.as_str().into();
    }
    let files = array(output.files.iter().map(String::as_str));
    Value::Table([("name".to_owned(), output.name.as_str().into()), ("files".to_owned(), files)].into_iter().collect())
}

/// The scratch that a program left is in a folder of the call's number.
fn then(place: usize, call: &RecordedCall) -> Value {
    let mut then = Table::new();
    let Request { resumed, attempt, .. } = &call.request;
    if let Some(ended) = &call.ended {
        then.insert("ended".into(), program(ended));
        if call.outside.scratch.is_some() {
            then.insert("scratch".into(), place.to_string().into());
        }
    }
    match resumed.as_ref().map(|resumed| &resumed.wake) {
        Some(Wake::Time) if call.ended.is_some() => {}
        Some(Wake::Time) => drop(then.insert("wake".into(), "time".into())),
        Some(Wake::Signal(signal)) => {
            let payload = String::from_utf8_lossy(&signal.payload).into_owned();
            let signal = [("kind".to_owned(), signal.kind.as_str().into()), ("payload".to_owned(), payload.into())];
            then.insert("signal".into(), Value::Table(signal.into_iter().collect()));
        }
        None => {}
    }
    if *attempt != 1 {
        then.insert("attempt".into(), i64::from(*attempt).into());
    }
    then.insert("time".into(), number(call.outside.time));
    then.insert("expected".into(), expected(call));
    Value::Table(then)
}

fn program(ended: &Ended) -> Value {
    let Ended { status, signal, limit, cpu_micros, memory_bytes_max, wall_micros, tail } = ended.clone();
    let mut table = Table::new();
    table.insert("status".into(), i64::from(status).into());
    table.extend(signal.map(|signal| ("signal".into(), i64::from(signal).into())));
    table.extend(limit.map(|limit| ("limit".into(), limit.into())));
    let numbers = [("cpu-micros", cpu_micros), ("memory-bytes-max", memory_bytes_max), ("wall-micros", wall_micros)];
    table.extend(numbers.map(|(key, value)| (key.into(), number(value))));
    table.insert("tail".into(), tail.into());
    Value::Table(table)
}

/// What the call ended with. Of what its outputs are, only the digests are known.
fn expected(call: &RecordedCall) -> Value {
    let mut expected = Table::new();
    let outcome = match &call.result {
        RecordedResult::Failure { kind, message } => {
            let first = message.lines().next().unwrap_or_default();
            expected.insert("failure".into(), failure(&format!("{kind:?}"), first));
            "failed"
        }
        RecordedResult::Outcome(outcome) => match outcome {
            Outcome::Waiting(_) => "waiting",
            Outcome::Latest(_) => "succeeded",
            Outcome::Decided(decision) if !decision.approved => "rejected",
            Outcome::Verdict(verdict) if !verdict.passed => "rejected",
            outcome => match outcome::report(outcome.clone()).outcome {
                machine::Outcome::Succeeded(success) => {
                    let variables = success.variables.into_iter().map(|(name, value)| (name, value.into()));
                    expected.insert("variables".into(), Value::Table(variables.collect()));
                    "succeeded"
                }
                machine::Outcome::Failed(failed) => {
                    let first = failed.error.message.lines().next().unwrap_or_default();
                    expected.insert("failure".into(), failure(&format!("{:?}", failed.error.kind), first));
                    "failed"
                }
                machine::Outcome::Decided(_) => "succeeded",
                machine::Outcome::Waiting(_) => "waiting",
            },
        },
    };
    if !call.outputs.is_empty() {
        let digest = |digest: &Digest| [("digest".to_owned(), Value::String(digest.to_string()))].into_iter().collect();
        let outputs = call.outputs.iter().map(|(name, made)| (name.clone(), Value::Table(digest(made))));
        expected.insert("outputs".into(), Value::Table(outputs.collect()));
    }
    let denied = call.outside.denials();
    if !denied.is_empty() {
        expected.insert("denials".into(), array(denied));
    }
    expected.insert("outcome".into(), outcome.into());
    Value::Table(expected)
}

fn failure(kind: &str, message: &str) -> Value {
    let contains = array(Some(message).filter(|message| !message.is_empty()));
    Value::Table([("kind".to_owned(), kind.into()), ("contains".to_owned(), contains)].into_iter().collect())
}

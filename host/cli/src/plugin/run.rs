//! `pipewright plugin run`: one action by itself, and everything that it did.
//!
//! Owns the arguments and the printing. Must not know how an action is called (`single`).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pipewright_artifacts::files::{Node, Tree, export};
use pipewright_pipeline::machine::{self, ActionError, ExecutionDetails};
use pipewright_sandbox::abi::{NamedValue, Outcome, Resumption, Signal, TypeId, Wait, Wake};
use pipewright_sandbox::capabilities::secrets::stored::Stored;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::results::Results;
use pipewright_sandbox::seam::{HostCall, HostCallOutcome, Level, Sink};
use pipewright_sandbox::{CallEnd, Plugin, Sandbox, Usage};
use serde_json::Value;

use super::super::exit::{self, Ended};
use super::component;
use crate::out::{self, say};
use pipewright_author::fit::{self, unknown_settings};
use pipewright_author::single::{ACTION, After, Place, STAGE, Single};
use pipewright_base::clock;
use pipewright_packages::plugins;
use pipewright_runner::grants::{GrantsFile, in_one_action};
use pipewright_runner::images::NotReady;
use pipewright_runner::outcome;
use pipewright_runner::programs::NotRun;
use pipewright_runner::recording::Keeper;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the plugin, which is built; or a component
    #[arg(value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// Which of the plugin's action types, like Build/Custom/Site/1 [default: the only one]
    #[arg(long, value_name = "TYPE")]
    action: Option<String>,
    /// A setting
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// An input artifact and the folder that is it
    #[arg(long, value_name = "NAME=DIR", value_parser = pair)]
    input: Vec<(String, String)>,
    /// An output artifact
    #[arg(long, value_name = "NAME")]
    output: Vec<String>,
    /// Where output artifacts are written to, each into a folder of its name [default: they are only listed]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// A grant, as a line of a grants file: what a denial says that is missing
    #[arg(long, value_name = "LINE")]
    grant: Vec<String>,
    /// A grants file
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
    /// The action of the grants file whose grants are used [default: the only one]
    #[arg(long, value_name = "STAGE/ACTION", requires = "grants")]
    grants_of: Option<String>,
    /// An environment variable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A command, as in the declaration's `commands`
    #[arg(long, value_name = "TEXT")]
    command: Vec<String>,
    /// Of a source: say what would be fetched, and fetch nothing
    #[arg(long)]
    latest: bool,
    /// Of a source: fetch this revision [default: the newest]
    #[arg(long, value_name = "ID")]
    revision: Option<String>,
    /// A signal for an action that waits for one, like approval={"status":"Approved"}
    #[arg(long, value_name = "KIND=PAYLOAD", value_parser = pair)]
    signal: Vec<(String, String)>,
    /// Show debugging lines of the log too
    #[arg(long)]
    debug: bool,
    /// Keep a recording of it, for `replay` and `case`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let component = component::find(&arguments.plugin).await?;
    let bytes = component.bytes.clone();
    let plugin = component::load(sandbox, &arguments.plugin, component).await?;
    let single = single(&arguments, &plugin)?;
    let place = Place::new()?;
    tokio::select! {
        ended = recorded(sandbox, &plugin, bytes, &single, &place, &arguments) => ended,
        // The temporary folder goes too.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(exit::INTERRUPTED)),
    }
}

/// The calls, and their recording if one is wanted.
async fn recorded(
    sandbox: &Sandbox,
    plugin: &Plugin,
    component: Vec<u8>,
    single: &Single,
    place: &Place,
    arguments: &Arguments,
) -> Result<ExitCode, Ended> {
    let mut keeper = arguments.record.as_ref().and_then(|_| Keeper::new(plugin));
    let ended = call(sandbox, plugin, single, place, arguments, keeper.as_mut()).await;
    if let (Some(file), Some(keeper)) = (&arguments.record, keeper) {
        let bundle = place.recording(keeper, component, single)?;
        std::fs::write(file, bundle.to_bytes()?)
            .map_err(|error| Ended::usage(format!("{}: {error}", file.display())))?;
        say!("recorded   {}", file.display());
    }
    ended
}

fn single(arguments: &Arguments, plugin: &Plugin) -> Result<Single, Ended> {
    let named = |pairs: &[(String, String)]| {
        let named = |(name, value): &(String, String)| NamedValue { name: name.clone(), value: value.clone() };
        pairs.iter().map(named).collect()
    };
    let (grants, of) = match &arguments.grants {
        None => (in_one_action(&format!("{STAGE}/{ACTION}"), &arguments.grant).map_err(Ended::usage)?, None),
        Some(_) if !arguments.grant.is_empty() => return Err(Ended::usage("give --grant or --grants, not both")),
        Some(file) => (GrantsFile::read(file).map_err(Ended::usage)?, arguments.grants_of.clone()),
    };
    let of = match (of, &grants.actions().collect::<Vec<_>>()[..]) {
        (Some(of), _) => of,
        (None, [only]) => (*only).to_owned(),
        (None, []) => String::new(),
        (None, several) => {
            return Err(Ended::usage(format!(
                "choose one of the file's actions with --grants-of: {}",
                several.join(", ")
            )));
        }
    };
    let description = plugin.description();
    let grants = grants.resolve(&of, &description.name, &description.version, &Stored::new()).map_err(Ended::usage)?;
    let action = action(plugin, arguments.action.as_deref())?;
    if let Some(unknown) = unknown_settings(plugin, &action, arguments.set.iter().map(|(name, _)| name)).first() {
        return Err(Ended::usage(format!("--set {unknown}")));
    }
    let (inputs, outputs) = fit::wrong_counts(plugin, &action, arguments.input.len(), arguments.output.len());
    if let Some(wrong) = inputs {
        return Err(Ended::usage(format!("{wrong}; give each by --input NAME=DIR")));
    }
    // Who asks a source what is new makes none.
    if let Some(wrong) = outputs.filter(|_| !arguments.latest) {
        return Err(Ended::usage(format!("{wrong}; give each by --output NAME")));
    }
    Ok(Single {
        action,
        latest: arguments.latest,
        revision: arguments.revision.clone(),
        settings: named(&arguments.set),
        environment: named(&arguments.env),
        commands: arguments.command.clone(),
        inputs: arguments.input.iter().map(|(name, folder)| (name.clone(), PathBuf::from(folder))).collect(),
        outputs: arguments.output.clone(),
        grants,
        limits: CallLimits::default(),
    })
}

fn action(plugin: &Plugin, wanted: Option<&str>) -> Result<TypeId, Ended> {
    let offered = &plugin.description().action_types;
    let all = || offered.iter().map(|offered| plugins::label(&offered.id)).collect::<Vec<_>>().join(", ");
    match (wanted, &offered[..]) {
        (None, [only]) => Ok(only.id.clone()),
        (None, _) => Err(Ended::usage(format!("choose one of the plugin's action types with --action: {}", all()))),
        (Some(wanted), _) => {
            let found = offered.iter().find(|offered| plugins::label(&offered.id) == wanted);
            let found = found.ok_or_else(|| Ended::usage(format!("the plugin offers {}, not {wanted}", all())))?;
            Ok(found.id.clone())
        }
    }
}

/// Calls the action, and again for as long as it waits for something that comes.
async fn call(
    sandbox: &Sandbox,
    plugin: &Plugin,
    single: &Single,
    place: &Place,
    arguments: &Arguments,
    mut keeper: Option<&mut Keeper>,
) -> Result<ExitCode, Ended> {
    let mut signals: VecDeque<_> = arguments.signal.iter().cloned().collect();
    let mut after = After::default();
    loop {
        let sink = Arc::new(Shown { debug: arguments.debug });
        let mut end = place
            .call(sandbox, plugin, single, std::mem::take(&mut after), sink, keeper.as_deref_mut())
            .await
            .map_err(Ended::usage)?;
        let usage = end.usage;
        if let (Some(started), Ok(Outcome::Waiting(wait))) = (end.started.take(), &end.result) {
            let resumed = Resumption { continuation: wait.continuation.clone(), wake: Wake::Time };
            after = match place.run(started).await {
                Ok(ended) => After { resumed: Some(resumed), ended: Some(ended) },
                Err(NotRun::Configuration(reason)) => {
                    return Err(Ended::usage(format!("the program cannot be run: {reason}")));
                }
                Err(NotRun::Image(NotReady { is_passing: false, reason })) => {
                    return Err(Ended::usage(format!("the program cannot be run: {reason}")));
                }
                Err(NotRun::Image(NotReady { reason, .. }) | NotRun::Host(reason)) => {
                    return Err(Ended::Host(anyhow::anyhow!(reason)));
                }
            };
            continue;
        }
        let code = match &end.result {
            Ok(Outcome::Waiting(wait)) => match woken(wait.clone(), &mut signals).await {
                Ok(resumption) => {
                    after.resumed = Some(resumption);
                    continue;
                }
                Err(what) => {
                    say!("waiting    {what}");
                    exit::SUCCEEDED
                }
            },
            _ => ended(plugin, place, single, end, arguments.into.as_deref(), keeper)?,
        };
        used(usage, &single.limits);
        return Ok(ExitCode::from(code));
    }
}

/// Waits with the plugin; or says for what in vain.
async fn woken(wait: Wait, signals: &mut VecDeque<(String, String)>) -> Result<Resumption, String> {
    let summary = wait.summary.as_deref().map(|summary| format!(": {summary}")).unwrap_or_default();
    let position = signals.iter().position(|(kind, _)| Some(kind) == wait.signal.as_ref());
    if let Some((kind, payload)) = position.and_then(|at| signals.remove(at)) {
        say!("waiting    for the signal {kind}{summary}; it came");
        let wake = Wake::Signal(Signal { kind, payload: payload.into_bytes() });
        return Ok(Resumption { continuation: wait.continuation, wake });
    }
    match (wait.until, wait.signal) {
        (Some(until), _) => {
            let left = Duration::from_millis(until.saturating_sub(clock::now_ms()));
            say!("waiting    {:.1} s{summary}", left.as_secs_f64());
            tokio::time::sleep(left).await;
            Ok(Resumption { continuation: wait.continuation, wake: Wake::Time })
        }
        (None, kind) => Err(format!("for the signal {}{summary}; give it with --signal", kind.unwrap_or_default())),
    }
}

/// Shows how the action ended.
fn ended(
    plugin: &Plugin,
    place: &Place,
    single: &Single,
    end: CallEnd,
    into: Option<&Path>,
    keeper: Option<&mut Keeper>,
) -> Result<u8, Ended> {
    let outputs = place.outputs(&end, &single.limits.files);
    for Results { name, content } in &end.results {
        say!("report     {name}: {content}");
    }
    let report = match end.result {
        Err(failure) => {
            failed(&outcome::failed_call(&failure, &end.denials, end.wants_grant, None));
            return Ok(exit::FAILED);
        }
        Ok(Outcome::Latest(revision)) => {
            say!("latest     {}", revision.map_or_else(|| "nothing yet".to_owned(), |revision| revision.id));
            return Ok(exit::SUCCEEDED);
        }
        Ok(outcome) => outcome::report(outcome),
    };
    let success = match report.outcome {
        machine::Outcome::Succeeded(success) => success,
        machine::Outcome::Failed(failure) => {
            told(&failure.told);
            failed(&failure.error);
            return Ok(exit::FAILED);
        }
        machine::Outcome::Decided(verdict) => {
            told(&verdict.told);
            say!("{}", if verdict.passed { "passed" } else { "rejected" });
            return Ok(if verdict.passed { exit::SUCCEEDED } else { exit::FAILED });
        }
        machine::Outcome::Waiting(_) => return Ok(exit::SUCCEEDED),
    };
    told(&success.told);
    for (name, value) in &success.variables {
        say!("variable   {name}={value}");
    }
    for told in fit::undeclared_variables(plugin, &single.action, &[], success.variables.keys()) {
        say!("undeclared {told}");
    }
    if let Some(revision) = &success.revision {
        say!("revision   {}", revision.id);
    }
    // A pipeline fails for it, too.
    if let Some(error) = outcome::not_made(single.outputs.iter().map(String::as_str), &end.outputs) {
        failed(&error);
        return Ok(exit::FAILED);
    }
    for name in &end.undeclared {
        say!("undeclared the plugin wrote to /outputs/{name}; name it with --output {name}");
    }
    let outputs = outputs.map_err(Ended::usage)?;
    if let Some(keeper) = keeper {
        keeper.outputs(outputs.iter().map(|(name, tree)| (name.clone(), tree.digest())));
    }
    for (name, tree) in outputs {
        output(place, &name, &tree, into)?;
    }
    say!("succeeded");
    Ok(exit::SUCCEEDED)
}

/// Further lines are not to be taken for ours.
fn failed(error: &ActionError) {
    out::lines(&format!("failed     {:?}: {}", error.kind, error.message.replace('\n', "\n           ")));
}

fn told(told: &ExecutionDetails) {
    if let Some(summary) = &told.summary {
        say!("summary    {summary}");
    }
    if let Some(id) = &told.external_id {
        say!("external   {id}");
    }
    for link in &told.links {
        say!("link       {}: {}", link.title, link.url);
    }
    for (name, details) in &told.details {
        say!("{name:<10} {}", as_in_a_case(details));
    }
}

/// With the statuses that a case wants, for whoever writes one by what is printed here.
fn as_in_a_case(details: &Value) -> Value {
    let mut shown = details.clone();
    for item in shown.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(status)) = item.get_mut("status") {
            *status = status.to_lowercase();
        }
    }
    shown
}

fn output(place: &Place, name: &str, tree: &Tree, into: Option<&Path>) -> Result<(), Ended> {
    say!("output     {name}: {} bytes in {} entries", tree.bytes(), tree.entries().len());
    for entry in tree.entries() {
        match &entry.node {
            Node::File { size, .. } => say!("           {} ({size} bytes)", entry.path),
            Node::Link { target } => say!("           {} -> {target}", entry.path),
            _ => say!("           {}/", entry.path),
        }
    }
    if let Some(into) = into {
        let folder = into.join(name);
        std::fs::create_dir_all(into).map_err(anyhow::Error::from)?;
        export(&*place.blobs, tree, name, &folder)
            .map_err(|error| Ended::usage(format!("{}: {error}", folder.display())))?;
    }
    Ok(())
}

fn used(usage: Usage, limits: &CallLimits) {
    const MIB: f64 = 1024.0 * 1024.0;
    say!(
        "used       {:.1} ms of {} s of CPU time, {:.1} of {:.0} MiB of memory, {} of {} bytes of log, {} host calls",
        usage.cpu_micros as f64 / 1e3,
        limits.cpu_seconds_max,
        usage.memory_bytes as f64 / MIB,
        limits.memory_bytes_max as f64 / MIB,
        usage.log_bytes,
        limits.log_bytes_max,
        usage.host_calls,
    );
}

/// Prints what the action says and does as it happens.
pub(super) struct Shown {
    pub(super) debug: bool,
}

impl Sink for Shown {
    fn log(&self, level: Level, line: &str) {
        if level != Level::Debug || self.debug {
            say!("{:<10} {line}", format!("{level:?}").to_lowercase());
        }
    }

    fn progress(&self, percent: Option<u8>, summary: &str) {
        let percent = percent.map(|percent| format!("{percent} % ")).unwrap_or_default();
        say!("progress   {percent}{summary}");
    }

    fn host_call(&self, call: HostCall) {
        let HostCall { capability, operation, target, outcome, bytes, micros } = call;
        let outcome = match outcome {
            HostCallOutcome::Done => String::new(),
            HostCallOutcome::Denied(_) => ", denied".to_owned(),
            HostCallOutcome::Limit(text) | HostCallOutcome::Failed(text) => format!(", {text}"),
        };
        say!("call       {capability} {operation} {target} ({bytes} bytes, {:.1} ms{outcome})", micros as f64 / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_those_that_a_case_wants() {
        let targets = json!([{ "id": "web", "status": "Succeeded" }, { "id": "mail", "status": "Skipped" }]);
        let shown = json!([{ "id": "web", "status": "succeeded" }, { "id": "mail", "status": "skipped" }]);
        assert_eq!(as_in_a_case(&targets), shown);
        let counts = json!({ "passed": 2, "failed": 0, "skipped": 0 });
        assert_eq!(as_in_a_case(&counts), counts);
    }
}

//! Runs one case: its calls one after the other, in a temporary directory of its own.
//!
//! Owns how a case becomes calls of the sandbox. Must not know how anything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipewright_artifacts::files::{BlobDir, Blobs, FileQuota, Tree, collect};
use pipewright_sandbox::abi::{Category, Context, Entry, NamedValue, Output, Request, Resumption, Signal, Wait, Wake};
use pipewright_sandbox::capabilities::caches::CachesAt;
use pipewright_sandbox::capabilities::secrets::stored::Stored;
use pipewright_sandbox::files::{Input, SCRATCH};
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::{Fakes, Outside, Replay};
use pipewright_sandbox::{Call, CallFailure, FindTool, Plugin, Sandbox};
use tempfile::TempDir;

use super::check::{Check, Difference};
use super::file::{Answer, Expected, OutcomeKind, SourceCall, Then};
use super::folder::{self, Names};
use super::limits::CaseLimits;
use super::reports::reports;
use super::seen::{KeptLog, Seen};
use super::{CASE_FILE, Case, CaseError, cases_at_once, placed};
use crate::fit::undeclared_variables;
use pipewright_runner::host::{ACCOUNT, REGION};
use pipewright_runner::recording::Bundle;

/// A case is small: a plugin that writes more is stuck.
const BYTES_MAX: u64 = 1 << 30;

/// The name of the pipeline, the execution, the stage and the action.
const NAME: &str = "case";

/// What came of a case.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) differences: Vec<Difference>,
    /// What fails nothing.
    pub(super) notes: Vec<String>,
    /// Of each call that was made.
    pub(super) seen: Vec<Seen>,
    /// Of all calls, the one that could not be judged too.
    pub(super) log: String,
}

pub(super) async fn run(sandbox: &Sandbox, plugin: &Plugin, case: &Case) -> Result<Ran, CaseError> {
    let stage = Stage::new().map_err(CaseError::Host)?;
    let mut ran = calls(sandbox, plugin, case, &stage).await;
    // What a case lays beside its file is used in a copy, which is gone before anybody could look.
    if let Err(CaseError::Invalid(problems)) = &mut ran {
        let (copy, folder) = (stage.host().display().to_string(), case.folder.display().to_string());
        problems.iter_mut().for_each(|problem| *problem = problem.replace(&copy, &folder));
    }
    if let Ok(ran) = &mut ran {
        let made: BTreeSet<&String> = ran.seen.iter().flat_map(|seen| seen.variables.keys()).collect();
        ran.notes = undeclared_variables(plugin, &case.action, &case.file.output_variables, made.into_iter());
    }
    // A disk may take its time to remove a folder; the next case need not wait for it.
    tokio::task::spawn_blocking(move || drop(stage));
    ran
}

async fn calls(sandbox: &Sandbox, plugin: &Plugin, case: &Case, stage: &Stage) -> Result<Ran, CaseError> {
    let file = case.folder.join(CASE_FILE);
    let invalid = |error| CaseError::Invalid(vec![placed(&file, &case.text, &format!("{error:#}"))]);
    folder::copy_case(&case.folder, &stage.host()).map_err(invalid)?;
    let grants = stage.grants(case).map_err(CaseError::Invalid)?;
    let mut given = Given::new(case).map_err(invalid)?;
    let answers = Answers::new(case).map_err(|problem| invalid(anyhow::anyhow!(problem)))?;
    let mut ran = Ran::default();
    for number in 0..=case.file.then.len() {
        let then = number.checked_sub(1).map(|index| &case.file.then[index]);
        let (key, expected) = case.file.expected_of(number);
        let mut check = Check::new(key, &*stage.blobs);
        let waited = ran.seen.last().and_then(|seen| seen.wait.as_ref());
        if let Some(then) = then {
            given.change(then, waited);
        }
        let woken = then.filter(|then| then.wakes());
        let resumed = match woken.map(|then| resumption(then, waited.cloned())).transpose() {
            Ok(resumed) => resumed,
            Err(problem) => {
                check.differ("outcome", expected.outcome.to_string(), problem);
                ran.differences.append(&mut check.differences);
                return Ok(ran);
            }
        };
        let ended = then.and_then(|then| Some((then, then.ended.as_ref()?.told())));
        let ended = ended.map(|(then, ended)| stage.leave(case, number, then.scratch.as_deref()).map(|()| ended));
        let ended = ended.transpose().map_err(invalid)?;
        let log = Arc::new(KeptLog::default());
        let call = Call {
            tenant: 0,
            entry: entry(case),
            request: given.request(case, resumed),
            granted_as: None,
            grants: grants.clone(),
            time: Some(given.time),
            inputs: stage.inputs(case, &given.inputs).map_err(invalid)?,
            work_dir: stage.work(number),
            secret_environment: named(&case.file.secret_environment),
            ended,
            caches: CachesAt::Given(stage.caches(case, &answers, number).map_err(invalid)?),
            tools: stage.tools(&answers, number).map_err(invalid)?,
            limits: limits(&case.file.limits),
            sink: log.clone(),
            outside: answers.outside(number).map_err(|problem| invalid(anyhow::anyhow!(problem)))?,
        };
        let seen = stage.call(sandbox, plugin, call, &log, &mut check).await;
        ran.log.push_str(&log.text());
        let Some(seen) = seen else {
            ran.differences.append(&mut check.differences);
            return Ok(ran);
        };
        check.call(expected, &seen);
        stage.check_files(expected, &seen, &mut check).map_err(invalid)?;
        if number == case.file.then.len() {
            for call in answers.left() {
                check.differ("host calls", call, "it was not made");
            }
        }
        ran.differences.append(&mut check.differences);
        if number == case.file.then.len() {
            ran.differences.extend(stage.check_after(case, &seen).map_err(invalid)?);
        }
        ran.seen.push(seen);
    }
    Ok(ran)
}

/// What the case says of the outside.
enum Answers {
    MadeUp(Arc<Fakes>),
    Recorded(Bundle),
}

impl Answers {
    fn new(case: &Case) -> Result<Self, String> {
        if let Some(file) = &case.file.recorded {
            let bundle = Bundle::read(&case.folder.join(file)).map_err(|error| format!("recorded: {error}"))?;
            return Ok(Self::Recorded(bundle));
        }
        let http = case.file.http.as_ref();
        let http = http.map(|answers| answers.iter().map(Answer::fake).collect::<Result<Vec<_>, _>>()).transpose()?;
        // A test that somebody else's server decides is none.
        let http = if case.file.network { http } else { Some(http.unwrap_or_default()) };
        Ok(Self::MadeUp(Fakes::new(http, case.file.host_calls.clone())))
    }

    fn outside(&self, number: usize) -> Result<Outside, String> {
        match self {
            Self::MadeUp(fakes) => Ok(Outside::Faked(Arc::clone(fakes))),
            Self::Recorded(bundle) => match bundle.outside(number) {
                Some(recorded) => Ok(Outside::Replayed(Replay::new(recorded))),
                None => Err(format!("recorded: it has {} calls", bundle.recording.calls.len())),
            },
        }
    }

    /// What was to come and did not.
    fn left(&self) -> Vec<String> {
        match self {
            Self::MadeUp(fakes) => fakes.left(),
            Self::Recorded(_) => Vec::new(),
        }
    }
}

fn entry(case: &Case) -> Entry {
    match case.action.category {
        Category::Source if case.file.call == Some(SourceCall::Latest) => Entry::SourceLatest,
        category => Entry::of(category, case.file.revision.clone()),
    }
}

fn limits(given: &CaseLimits) -> CallLimits {
    CallLimits {
        cpu_seconds_max: given.cpu_seconds,
        wall_seconds_max: given.wall_seconds,
        memory_bytes_max: given.memory_mib << 20,
        files: FileQuota { bytes_max: BYTES_MAX, ..FileQuota::default() },
        ..CallLimits::default()
    }
}

/// What wakes the plugin, or why it cannot be woken so.
fn resumption(then: &Then, waiting: Option<Wait>) -> Result<Resumption, String> {
    let Some(wait) = waiting else { return Err("not called: nothing waits".to_owned()) };
    let wake = match &then.signal {
        Some(signal) if wait.signal.as_ref() != Some(&signal.kind) => {
            let waits_for = wait.signal.as_deref().unwrap_or("none");
            return Err(format!("not called: it waits for the signal {waits_for}, not for {}", signal.kind));
        }
        Some(signal) => {
            Wake::Signal(Signal { kind: signal.kind.clone(), payload: signal.payload.clone().into_bytes() })
        }
        None if then.ended.is_some() => Wake::Time,
        None if wait.until.is_none() => return Err("not called: it does not wait for a time".to_owned()),
        None => Wake::Time,
    };
    Ok(Resumption { continuation: wait.continuation, wake })
}

/// What may be another from call to call.
struct Given {
    settings: BTreeMap<String, String>,
    /// The artifacts in the declaration's order, each with its folder in `inputs/`.
    inputs: Vec<(String, String)>,
    outputs: Vec<Output>,
    idempotency_key: String,
    attempt: u32,
    time: u64,
}

impl Given {
    fn new(case: &Case) -> anyhow::Result<Self> {
        let inputs = match &case.file.inputs {
            Some(inputs) => inputs.clone(),
            None => case.names(folder::INPUTS)?,
        };
        let output = |(name, files): (&str, &[String])| Output { name: name.to_owned(), files: files.to_vec() };
        let outputs = match &case.file.outputs {
            Some(outputs) => outputs.iter().map(|declared| output(declared.parts())).collect(),
            None => case.names(folder::OUTPUTS)?.iter().map(|name| output((name, &[]))).collect(),
        };
        Ok(Self {
            settings: case.file.settings.clone(),
            inputs: inputs.into_iter().map(|name| (name.clone(), name)).collect(),
            outputs,
            idempotency_key: case.file.idempotency_key.clone(),
            attempt: case.file.attempt,
            time: case.file.time,
        })
    }

    fn change(&mut self, then: &Then, waiting: Option<&Wait>) {
        self.settings.extend(then.settings.clone());
        for (artifact, folder) in &mut self.inputs {
            if let Some(other) = then.inputs.get(artifact) {
                folder.clone_from(other);
            }
        }
        if let Some(key) = &then.idempotency_key {
            self.idempotency_key.clone_from(key);
        }
        self.attempt = then.attempt.unwrap_or(self.attempt);
        // A server's clock is never before the time that was waited for.
        let until = waiting.filter(|_| then.wake.is_some()).and_then(|wait| wait.until);
        self.time = then.time.unwrap_or(self.time.max(until.unwrap_or_default()));
    }

    fn request(&self, case: &Case, resumed: Option<Resumption>) -> Request {
        let names = &case.file.names;
        let or = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
        Request {
            action_type: case.action.clone(),
            context: Context {
                account: or(&names.account, &format!("{ACCOUNT:012}")),
                region: or(&names.region, REGION),
                pipeline: or(&names.pipeline, NAME),
                execution_id: or(&names.execution, NAME),
                stage: or(&names.stage, NAME),
                action: or(&names.action, NAME),
                action_execution_id: or(&names.action_execution, &self.idempotency_key),
            },
            settings: named(&self.settings),
            inputs: self.inputs.iter().map(|(artifact, _)| artifact.clone()).collect(),
            outputs: self.outputs.clone(),
            commands: case.file.commands.clone(),
            environment: named(&case.file.environment),
            output_variables: case.file.output_variables.clone(),
            idempotency_key: self.idempotency_key.clone(),
            attempt: self.attempt,
            resumed,
        }
    }
}

fn named(map: &BTreeMap<String, String>) -> Vec<NamedValue> {
    let value = |(name, value): (&String, &String)| NamedValue { name: name.clone(), value: value.clone() };
    map.iter().map(value).collect()
}

/// In memory, if there is room for all that run at once: a case makes some folders, and there are disks that take their time over
/// each. What `TMPDIR` names goes before.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |there| there.f_bavail.saturating_mul(there.f_frsize));
    let is_enough = free / BYTES_MAX >= cases_at_once() as u64;
    if std::env::var_os("TMPDIR").is_none() && is_enough { memory.to_owned() } else { std::env::temp_dir() }
}

/// Where a case runs; gone when it is dropped.
struct Stage {
    directory: TempDir,
    blobs: Arc<dyn Blobs>,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pipewright-case-").tempdir_in(place())?;
        // Its folders have two letters: they lie beside the others, and spare one to make and remove for each case.
        let blobs = Arc::new(BlobDir::new(directory.path())?);
        Ok(Self { directory, blobs })
    }

    /// Where a call has its outputs and its scratch.
    fn work(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("work-{number}"))
    }

    /// Gives a call the scratch that a program left: a folder of the case, or else what the call before wrote.
    fn leave(&self, case: &Case, number: usize, folder: Option<&str>) -> anyhow::Result<()> {
        let (before, scratch) = (self.work(number - 1).join(SCRATCH), self.work(number).join(SCRATCH));
        std::fs::create_dir_all(self.work(number))?;
        match folder {
            Some(name) => folder::copy_scratch(&case.folder, name, &scratch),
            None if before.is_dir() => Ok(std::fs::rename(before, scratch)?),
            None => Ok(std::fs::create_dir(scratch)?),
        }
    }

    /// The copy of the case's folder.
    fn host(&self) -> PathBuf {
        self.directory.path().join("case")
    }

    fn grants(&self, case: &Case) -> Result<Grants, Vec<String>> {
        let base = self.host();
        let mut problems = case.file.grants.leaving(&base);
        let grants =
            if problems.is_empty() { case.file.grants.resolve(&base, &Stored::new()) } else { Ok(Grants::default()) };
        let file = case.folder.join(CASE_FILE);
        match grants {
            Ok(grants) if problems.is_empty() => Ok(grants),
            grants => {
                problems.extend(grants.err());
                let placed = |problem: String| placed(&file, &case.text, &format!("grants.{problem}"));
                Err(problems.into_iter().map(placed).collect())
            }
        }
    }

    fn inputs(&self, case: &Case, inputs: &[(String, String)]) -> anyhow::Result<Vec<Input>> {
        let input = |(name, folder): &(String, String)| {
            let folder = case.folder.join(folder::INPUTS).join(folder);
            let tree = folder::tree(&folder, Names::Fixture, &*self.blobs)?;
            Ok(Input { name: name.clone(), tree: Arc::new(tree), blobs: self.blobs.clone() })
        };
        inputs.iter().map(input).collect()
    }

    /// What earlier executions are to have kept.
    fn caches(&self, case: &Case, answers: &Answers, number: usize) -> anyhow::Result<Vec<(String, Input)>> {
        if let Answers::Recorded(bundle) = answers
            && let Some(call) = bundle.recording.calls.get(number)
        {
            return Ok(bundle.caches(call, &self.blobs)?);
        }
        let cache = |(key, folder): (&String, &String)| {
            let tree = folder::tree(&case.folder.join(folder::CACHES).join(folder), Names::Fixture, &*self.blobs)?;
            Ok((key.clone(), Input { name: key.clone(), tree: Arc::new(tree), blobs: self.blobs.clone() }))
        };
        case.file.caches.iter().map(cache).collect()
    }

    fn tools(&self, answers: &Answers, number: usize) -> anyhow::Result<FindTool> {
        let Answers::Recorded(bundle) = answers else { return Ok(None) };
        let call = bundle.recording.calls.get(number);
        Ok(call.map(|call| bundle.tools(call, &self.blobs)).transpose()?.flatten())
    }

    /// None if the plugin did not do what the case's answers are for.
    async fn call(
        &self,
        sandbox: &Sandbox,
        plugin: &Plugin,
        call: Call,
        log: &KeptLog,
        check: &mut Check<'_>,
    ) -> Option<Seen> {
        let (declared, quota) = (call.request.outputs.clone(), call.limits.files.clone());
        let makes_outputs = call.entry != Entry::SourceLatest;
        let end = sandbox.call(plugin, call).await;
        if let Err(CallFailure::Differs(difference)) = end.result {
            let key = format!("host call {}", difference.number);
            check.differ(&key, difference.expected, difference.made);
            return None;
        }
        let seen =
            Seen { log: log.text(), denials: end.denials, results: reports(end.results), ..Seen::of(end.result) };
        // As in a pipeline, only what succeeds makes artifacts.
        if seen.outcome != OutcomeKind::Succeeded || !makes_outputs {
            return Some(seen);
        }
        for name in end.undeclared {
            check.differ(&format!("outputs.{name}"), "no such output", "the plugin wrote to it");
        }
        let mut outputs = BTreeMap::new();
        for output in declared {
            let key = format!("outputs.{}", output.name);
            match end
                .outputs
                .iter()
                .find(|made| made.name == output.name)
                .map(|made| collect(made, &*self.blobs, &quota))
            {
                Some(Ok(tree)) => drop(outputs.insert(output.name, tree)),
                Some(Err(error)) => check.differ(&key, "an artifact", error.to_string()),
                None => check.differ(&key, "it is made", "the plugin wrote nothing to it"),
            }
        }
        Some(Seen { outputs, ..seen })
    }

    /// What the expectations of a call say of files.
    fn check_files(&self, expected: &Expected, seen: &Seen, check: &mut Check<'_>) -> anyhow::Result<()> {
        for (name, files) in &expected.outputs {
            check.files(&format!("outputs.{name}"), files, seen.outputs.get(name));
        }
        for (name, files) in &expected.directories {
            check.files(&format!("directories.{name}"), files, Some(&self.directory_tree(name)?));
        }
        Ok(())
    }

    /// The folders that say what outputs and directories must be after the last call.
    fn check_after(&self, case: &Case, seen: &Seen) -> anyhow::Result<Vec<Difference>> {
        let mut check = Check::new("", &*self.blobs);
        let wanted =
            |folder: &str, name: &str| folder::tree(&case.folder.join(folder).join(name), Names::Fixture, &*self.blobs);
        for name in case.names(folder::OUTPUTS)? {
            let key = format!("{}/{name}", folder::OUTPUTS);
            match seen.outputs.get(&name) {
                Some(made) => check.trees(&key, &wanted(folder::OUTPUTS, &name)?, made),
                None => check.differ(&key, "it is made", "it was not made"),
            }
        }
        for name in case.names(folder::DIRECTORIES_AFTER)? {
            let key = format!("{}/{name}", folder::DIRECTORIES_AFTER);
            check.trees(&key, &wanted(folder::DIRECTORIES_AFTER, &name)?, &self.directory_tree(&name)?);
        }
        Ok(check.differences)
    }

    /// A directory of the host as it is now.
    fn directory_tree(&self, name: &str) -> anyhow::Result<Tree> {
        let directory = self.host().join(folder::DIRECTORIES).join(name);
        folder::tree(&directory, Names::AsTheyAre, &*self.blobs)
    }
}

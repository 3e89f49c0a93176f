//! The call of an action: what the declaration says of it, with variables and artifacts of the execution put in. The same
//! execution gives the same call, so that a call need not be stored.
//!
//! Must not know when an action is called.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::Address;
use super::bounds::text_bytes;
use super::declared::{Declared, Placed};
use super::effect::{Effect, RunAction};
use super::execution::{ActionRun, Execution};
use super::ids::{ActionExecutionId, TimerId, TimerKind, Timestamp};
use super::report::{ActionError, FailureType};
use super::state::State;
use crate::declaration::{EnvironmentVariable, PipelineDeclaration};
use crate::variables::{self, BUILT_IN_NAMESPACE, EXECUTION_ID_KEY, PIPELINE_NAMESPACE, Reference};

/// All resolved configuration values of one action, as CodePipeline has it; more fail it. The same for its commands with
/// its environment.
pub const CONFIGURATION_BYTES_MAX: usize = 100 * 1024;
/// The same as JSON, in which it is kept in the history. Stops fifty actions that start at once with configurations full of
/// characters that JSON escapes from being more than a commit takes.
const CONFIGURATION_JSON_BYTES_MAX: usize = 192 * 1024;

/// Makes the call that an action run stands for, or says why it cannot be made.
pub(super) fn call(
    declaration: &Arc<PipelineDeclaration>,
    execution: &Execution,
    address: Address,
    run: &ActionRun,
) -> Result<RunAction, ActionError> {
    let placed = Placed::at(declaration, address);
    let declared = placed.declared;
    let wrong = |what: String| {
        let message = format!("{}: {what}", placed.name_in_pipeline());
        ActionError::new(FailureType::ConfigurationError, message)
    };
    let values = Values { declaration, execution, execution_id: execution.id.to_string() };
    let configuration = values.configuration(declared).map_err(wrong)?;
    let (commands, environment) = values.commands(declared).map_err(wrong)?;
    let inputs = declared.inputs().map(|name| match execution.artifact(name) {
        Some(digest) => Ok((name.to_owned(), digest.to_owned())),
        None => Err(wrong(format!("no earlier action of this execution made the input artifact {name}"))),
    });
    Ok(RunAction {
        execution: execution.id,
        start: execution.start.clone(),
        declaration: declaration.clone(),
        address,
        action_execution: run.id,
        call: run.call,
        attempt: run.attempt,
        is_restart: false,
        spent: run.spent,
        started: run.started,
        deadline: run.deadline,
        configuration,
        commands,
        environment,
        inputs: inputs.collect::<Result<_, _>>()?,
        resumed: run.resumed.clone(),
        source_revision: declared.revision_of(&execution.start.source_revisions).cloned(),
    })
}

/// What `#{…}` can stand for in an execution.
struct Values<'a> {
    declaration: &'a PipelineDeclaration,
    execution: &'a Execution,
    execution_id: String,
}

impl Values<'_> {
    fn configuration(&self, declared: Declared<'_>) -> Result<BTreeMap<String, String>, String> {
        let mut room = Room::new("configuration");
        let values = declared.configuration().into_iter().flatten().map(|(key, template)| {
            let value = variables::resolve_setting(template, |reference| self.lookup(reference))
                .map_err(|error| format!("configuration.{key}: {error}"))?;
            room.take(key, &value)?;
            Ok((key.clone(), value))
        });
        values.collect()
    }

    fn commands(&self, declared: Declared<'_>) -> Result<(Vec<String>, Vec<EnvironmentVariable>), String> {
        let mut room = Room::new("commands with their environment");
        let mut commands = Vec::new();
        for (index, template) in declared.commands().iter().enumerate() {
            let command = self.resolve(template, || format!("commands[{index}]"))?;
            room.take("", &command)?;
            commands.push(command);
        }
        let mut environment = Vec::new();
        for variable in declared.environment() {
            let value = self.resolve(&variable.value, || format!("environmentVariables.{}", variable.name))?;
            room.take(&variable.name, &value)?;
            environment.push(EnvironmentVariable { name: variable.name.clone(), value, kind: variable.kind });
        }
        Ok((commands, environment))
    }

    fn resolve(&self, template: &str, place: impl Fn() -> String) -> Result<String, String> {
        variables::resolve(template, |reference| self.lookup(reference))
            .map_err(|error| format!("{}: {error}", place()))
    }

    fn lookup(&self, reference: &Reference<'_>) -> Option<&str> {
        let key = reference.key;
        match reference.namespace {
            PIPELINE_NAMESPACE => self.execution.start.variables.get(key).map(String::as_str),
            BUILT_IN_NAMESPACE => (key == EXECUTION_ID_KEY).then_some(self.execution_id.as_str()),
            namespace => self.execution.actions().find_map(|(address, run)| {
                let stage = &self.declaration.stages[usize::from(address.stage)];
                let producer = &stage.actions[usize::from(address.action)];
                let value = run.variables.get(key)?;
                (producer.namespace.as_deref() == Some(namespace)).then_some(value.as_str())
            }),
        }
    }
}

/// What is left of what a resolved text may take.
struct Room {
    of: &'static str,
    bytes: usize,
    json_bytes: usize,
}

impl Room {
    fn new(of: &'static str) -> Room {
        Room { of, bytes: CONFIGURATION_BYTES_MAX, json_bytes: CONFIGURATION_JSON_BYTES_MAX }
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let bytes = self.bytes.checked_sub(key.len() + value.len());
        let json_bytes = self.json_bytes.checked_sub(text_bytes(key) + text_bytes(value));
        let (Some(bytes), Some(json_bytes)) = (bytes, json_bytes) else {
            let (of, max) =
                (self.of, if bytes.is_none() { CONFIGURATION_BYTES_MAX } else { CONFIGURATION_JSON_BYTES_MAX });
            let form = if bytes.is_none() { "" } else { " as JSON" };
            return Err(format!("the resolved {of} is larger than {max} bytes{form}"));
        };
        (self.bytes, self.json_bytes) = (bytes, json_bytes);
        Ok(())
    }
}

impl State {
    /// The effects that await an answer, in a fixed order: what the driver does again after a restart.
    pub fn outstanding(&self) -> Vec<Effect> {
        let Some(declaration) = &self.declaration else { return Vec::new() };
        let mut effects = Vec::new();
        for execution in self.executions.values() {
            let target = execution.progress.stages.last().and_then(|run| run.rolls_back_to);
            effects.extend(target.map(|target| Effect::LoadExecution { execution: execution.id, target }));
            let runs = execution.stage_runs(execution.stage()).filter(|(_, run)| run.in_progress());
            for (address, run) in runs {
                effects.extend(timers(run).map(|(id, at)| Effect::SetTimer { id, at }));
                if run.running() {
                    // What could be called once can be called again; were it not so, the timeout ends the action.
                    let call = call(declaration, execution, address, run).ok();
                    effects.extend(call.map(|call| Effect::RunAction(Box::new(call))));
                }
            }
        }
        effects
    }
}

impl State {
    /// An action in progress, with the call that it stands for.
    pub fn called(&self, action: ActionExecutionId) -> Option<(Arc<ActionRun>, RunAction)> {
        let (declaration, execution) = (self.declaration.as_ref()?, self.executions.of(action)?);
        let mut runs = execution.stage_runs(execution.stage());
        let (address, run) = runs.find(|(_, run)| run.id == action)?;
        Some((run.clone(), call(declaration, execution, address, run).ok()?))
    }

    /// When the pipeline has something to do by itself: the beginning of time while an action runs, else its earliest timer;
    /// none where it only waits for commands. For the driver, which need not load a pipeline before.
    pub fn due(&self) -> Option<Timestamp> {
        self.executions.due()
    }
}

impl Execution {
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.progress.stages.last().is_some_and(|run| run.rolls_back_to.is_some()) {
            return Some(Timestamp(0));
        }
        let due =
            self.stage_runs(self.stage()).filter(|(_, run)| run.in_progress()).map(|(_, run)| match run.running() {
                true => Timestamp(0),
                false => timers(run).map(|(_, at)| at).min().unwrap_or_default(),
            });
        due.min()
    }
}

/// The timers of what is in progress.
pub(super) fn timers(run: &ActionRun) -> impl Iterator<Item = (TimerId, Timestamp)> {
    let id = |kind| TimerId { action: run.id, kind };
    let until = run.wait.as_ref().and_then(|wait| wait.until());
    let wake = until.map(|until| (id(TimerKind::Wake { call: run.call }), until));
    let job = run.job.as_ref().filter(|_| run.in_progress()).and_then(|job| job.timer());
    let job = job.map(|(kind, at)| (id(kind), at));
    std::iter::once((id(TimerKind::Timeout), run.deadline)).chain(wake).chain(job)
}

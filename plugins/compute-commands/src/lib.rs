//! Compute `AWS/Commands/1`: a list of shell commands, as CodePipeline's own action runs them; and rule `AWS/Commands/1`, which passes
//! where they succeed.
//!
//! The commands, files and variables stand on the action. They are one phase of a build, with the shell, the variables and the
//! globs of buildspecs.

use std::collections::BTreeMap;

use build_jobs::{Ended, Plan, Progress, advance, directory_of, is_first, source_directory};
use pipewright_buildspec::{About, Buildspec, Origins, Source, Status, environment};
use pipewright_sdk::prelude::*;

/// Variables by their names: those that the declaration wants.
type Exported = Vec<(String, String)>;

#[derive(Choice, Clone, Copy)]
#[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the words of a declaration")]
enum EnvironmentType {
    LINUX_CONTAINER,
}

#[derive(Settings)]
struct Configuration {
    /// What the commands are for: `LINUX_CONTAINER`.
    #[setting(default = "LINUX_CONTAINER")]
    #[expect(dead_code, reason = "there is no other")]
    environment_type: EnvironmentType,
    /// Read and not used: the grant says what the commands may use.
    compute_type: Option<String>,
    /// Read and not used.
    vpc_id: Option<String>,
    /// Read and not used.
    subnets: Option<String>,
    /// Read and not used.
    security_group_ids: Option<String>,
}

/// Runs shell commands in the first input artifact. The other ones are in `CODEBUILD_SRC_DIR_NAME`.
#[action(provider = "Commands", owner = "AWS", inputs = 1..=10, outputs = 0..=1)]
fn shell_commands(action: &Action, settings: Configuration) -> Result<Step<Report<Exported>>> {
    let unused = [settings.compute_type, settings.vpc_id, settings.subnets, settings.security_group_ids];
    if unused.iter().any(Option::is_some) && is_first(action)? {
        info!("The grant says what the commands may use and reach: the compute type and the network's settings do not");
    }
    let buildspec = buildspec(action)?;
    let secrets = secrets();
    let mut ended = match run(action, &buildspec, &secrets)? {
        Progress::Waiting(wait) => return Ok(Step::Waiting(wait)),
        Progress::Ended(ended) => ended,
    };
    ended.upload(action, &buildspec);
    if let Some(reason) = failure(&ended) {
        return Err(Failure::job(format!("Action failed with status: FAILED. {reason}")));
    }
    let variables = ended.exported(&buildspec, &secrets.into_keys().collect())?;
    Ok(Step::Done(Report { summary: None, external_id: None, variables, links: Vec::new() }))
}

/// Passes where shell commands in the first input artifact succeed. The other ones are in `CODEBUILD_SRC_DIR_NAME`.
#[action(provider = "Commands", owner = "AWS", inputs = 1..=10)]
fn commands_rule(action: &Action, (): ()) -> Result<Step<Verdict>> {
    Ok(match run(action, &buildspec(action)?, &secrets())? {
        Progress::Waiting(wait) => Step::Waiting(wait),
        Progress::Ended(ended) => Step::Done(failure(&ended).map_or_else(Verdict::passed, Verdict::failed)),
    })
}

/// Variables that are secrets, each with what names its secret.
fn secrets() -> BTreeMap<String, String> {
    commands::declared_secrets().into_iter().map(|declared| (declared.name, declared.value)).collect()
}

/// The commands, call by call.
fn run(action: &Action, buildspec: &Buildspec, secrets: &BTreeMap<String, String>) -> Result<Progress> {
    let primary = action.input()?;
    let plan = Plan {
        buildspec,
        primary: Some(primary.name()),
        environment: variables(action, buildspec),
        secrets: secrets.clone(),
        image: None,
        wall_seconds_max: None,
    };
    advance(action, &plan)
}

/// Why they did not succeed.
fn failure(ended: &Ended) -> Option<String> {
    let context = ended.build().failure().map(|phase| phase.context.clone()).unwrap_or_default();
    let is_failed = ended.build().status() != Status::Succeeded;
    is_failed.then(|| format!("{}: {}", context.code, context.message))
}

fn buildspec(action: &Action) -> Result<Buildspec> {
    if action.commands().is_empty() {
        return Err(Failure::configuration("the action has no `commands`; add them to its declaration"));
    }
    let output = action.outputs().next();
    let files = output.as_ref().map(Output::files).unwrap_or_default();
    if let Some(output) = output.as_ref().filter(|_| files.is_empty()) {
        let name = output.name();
        let mend = "name the files to take from the first input's directory";
        return Err(Failure::configuration(format!("the output artifact `{name}` has no `files`: {mend}")));
    }
    Ok(Buildspec::of_commands(action.commands(), action.output_variables(), files))
}

fn variables(action: &Action, buildspec: &Buildspec) -> BTreeMap<String, String> {
    let directory = |directory| Source { directory, ..Source::default() };
    let about = About {
        region: action.context().region.clone(),
        initiator: format!("codepipeline/{}", action.context().pipeline),
        source: directory(source_directory()),
        secondary_sources: action
            .inputs()
            .skip(1)
            .map(|input| (input.name().to_owned(), directory(directory_of(input.name()))))
            .collect(),
        ..About::default()
    };
    let none = BTreeMap::new();
    let given = action.environment().iter().map(|given| (given.name.clone(), given.value.clone())).collect();
    environment(
        buildspec,
        &Origins { image: &none, stored: &none, project: &none, started_with: &given, about: &about },
    )
}

plugin! {
    /// Runs shell commands.
    name: "pipewright/compute-commands",
    asks: [ask(Capability::Commands, "to run the commands of the action")],
    compute: [shell_commands],
    rule: [commands_rule],
}

#[cfg(test)]
mod tests;

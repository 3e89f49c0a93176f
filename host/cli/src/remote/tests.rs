//! `pipewright tests`: what the actions of an execution reported of tests and coverage.

use std::process::ExitCode;

use pipewright_sandbox::results::{Case, Content, Results, Status};
use serde::Deserialize;

use super::follow::path;
use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out::{self, note, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The execution [default: the newest, or the one that it went back to]
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let execution = match &arguments.execution {
            Some(named) => named.clone(),
            None => newest(server, &arguments.name).await?,
        };
        let path = path(&[&arguments.name, "executions", &execution, "reports"]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = server.client.document(&path, "").await?;
        match server.json {
            true => out::json(&found),
            false => show(&execution, find::read(found)?),
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// The newest execution; of one that goes back to another the other, which was built and tested.
async fn newest(server: &Server, pipeline: &str) -> Result<String, Ended> {
    let newest = find::newest(server, pipeline).await?;
    let Some(rollback) = newest.rollback_metadata else { return Ok(newest.pipeline_execution_id) };
    let target = rollback.rollback_target_pipeline_execution_id;
    note!("execution {} went back to {target}, whose reports these are", newest.pipeline_execution_id);
    Ok(target)
}

/// What the server gives, as far as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reports {
    actions: Vec<Action>,
    flaky: Vec<Flaky>,
    left_out: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    stage_name: String,
    action_name: String,
    reports: Vec<Results>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flaky {
    stage_name: String,
    action_name: String,
    test_suite_name: String,
    prefix: String,
    name: String,
    same_revision: bool,
    changes: usize,
    runs: usize,
}

fn show(execution: &str, found: Reports) {
    if found.actions.is_empty() {
        say!("execution {execution} has no reports");
    }
    for Action { stage_name, action_name, reports } in &found.actions {
        for Results { name, content } in reports {
            say!("{stage_name}/{action_name} {name}: {content}");
            if let Content::Tests(tests) = content {
                tests
                    .cases
                    .iter()
                    .filter(|case| matches!(case.status, Status::Failed | Status::Error))
                    .for_each(failed);
            }
            if content.left_out() > 0 {
                say!("  {} of it are not kept", content.left_out());
            }
        }
    }
    for case in &found.flaky {
        let why = match case.same_revision {
            true => "it passed and failed with the same revision".to_owned(),
            false => format!("it changed {} times in {} runs", case.changes, case.runs),
        };
        let name = named([&case.test_suite_name, &case.prefix, &case.name]);
        say!("flaky: {}/{} {name}: {why}", case.stage_name, case.action_name);
    }
    if found.left_out > 0 {
        say!("{} further actions reported more than is shown", found.left_out);
    }
}

fn failed(case: &Case) {
    let status = if case.status == Status::Failed { "FAILED" } else { "ERROR" };
    let seconds = case.duration_in_nano_seconds.map(|nanos| format!(" ({:.2} s)", nanos as f64 / 1e9));
    let name = named([&case.test_suite_name, &case.prefix, &case.name]);
    say!("  {status} {name}{}", seconds.unwrap_or_default());
    case.message.lines().for_each(|line| say!("      {line}"));
}

/// As far as there are.
fn named(parts: [&String; 3]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

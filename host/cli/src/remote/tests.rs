//! `pipewright tests`: what the actions of an execution reported of tests and coverage.

use std::process::ExitCode;

use serde_json::Value;

use super::follow::path;
use super::show::text;
use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The execution [default: the newest]
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let execution = find::execution(server, &arguments.name, arguments.execution.as_deref()).await?;
        let path = path(&[&arguments.name, "executions", &execution, "reports"]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let found = server.client.document(&path, "").await?;
        match server.json {
            true => out::json(&found),
            false => show(&execution, &found),
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

fn show(execution: &str, found: &Value) {
    let mut is_none = true;
    for action in items(&found["actions"]) {
        for report in items(&action["reports"]) {
            is_none = false;
            let name =
                format!("{}/{} {}", text(&action["stageName"]), text(&action["actionName"]), text(&report["name"]));
            match (&report["tests"], &report["coverage"]) {
                (tests @ Value::Object(_), _) => {
                    say!("{name}: {}", counted(&tests["counts"]));
                    items(&tests["cases"]).filter(|case| is_bad(case)).for_each(failed);
                }
                (_, coverage) => {
                    say!("{name}: lines {}, branches {}", share(&coverage["lines"]), share(&coverage["branches"]));
                }
            }
        }
    }
    if is_none {
        say!("execution {execution} has no reports");
    }
    for case in items(&found["flaky"]) {
        let why = match case["sameRevision"].as_bool() {
            Some(true) => "it passed and failed with the same revision".to_owned(),
            _ => format!("it changed {} times in {} runs", text(&case["changes"]), text(&case["runs"])),
        };
        say!("flaky: {}/{} {}: {why}", text(&case["stageName"]), text(&case["actionName"]), named(case));
    }
    if found["leftOut"].as_u64().is_some_and(|count| count > 0) {
        say!("{} further actions reported more than is shown", text(&found["leftOut"]));
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn is_bad(case: &Value) -> bool {
    matches!(case["status"].as_str(), Some("FAILED" | "ERROR"))
}

fn failed(case: &Value) {
    let seconds = case["durationInNanoSeconds"].as_u64().map(|nanos| format!(" ({:.2} s)", nanos as f64 / 1e9));
    say!("  {} {}{}", text(&case["status"]), named(case), seconds.unwrap_or_default());
    text(&case["message"]).lines().for_each(|line| say!("      {line}"));
}

/// Suite, prefix and name, as far as there are.
fn named(case: &Value) -> String {
    let parts = ["testSuiteName", "prefix", "name"].map(|part| text(&case[part]));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn counted(counts: &Value) -> String {
    let count = |status: &str| counts[status].as_u64().unwrap_or_default();
    let statuses = ["succeeded", "failed", "error", "skipped", "unknown"];
    let total = statuses.iter().fold(0, |total: u64, status| total.saturating_add(count(status)));
    let parts: Vec<String> = statuses
        .iter()
        .filter(|status| count(status) > 0)
        .map(|status| format!("{} {status}", count(status)))
        .collect();
    match total {
        0 => "no cases".to_owned(),
        total => format!("{total} cases: {}", parts.join(", ")),
    }
}

fn share(ratio: &Value) -> String {
    let (covered, total) = (ratio["covered"].as_u64().unwrap_or_default(), ratio["total"].as_u64().unwrap_or_default());
    match total {
        0 => "none".to_owned(),
        total => format!("{:.1} % ({covered} of {total})", covered as f64 * 100.0 / total as f64),
    }
}

#[cfg(test)]
mod test {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_and_shares_are_told_in_words() {
        let counts = json!({ "succeeded": 10, "failed": 2, "error": 0, "skipped": 0, "unknown": 0 });
        assert_eq!(counted(&counts), "12 cases: 10 succeeded, 2 failed");
        assert_eq!(counted(&json!({})), "no cases");
        assert_eq!(share(&json!({ "covered": 1, "total": 3 })), "33.3 % (1 of 3)");
        assert_eq!(share(&json!({ "covered": 0, "total": 0 })), "none");
    }
}

//! `pipewright webhook`: the webhooks of an account, as CodePipeline has them.
//!
//! Must not know what a delivery starts (the server).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::show::{self, text, time};
use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the webhooks, with the addresses at which they are delivered to
    List(List),
    /// Make a webhook that starts a pipeline, or change one; its address stays
    Put(Put),
    /// Remove a webhook: its address is gone for good
    Remove(Remove),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Put {
    /// Its name
    name: String,
    /// The pipeline that it starts
    #[arg(long)]
    pipeline: String,
    /// The source action of the pipeline that it is for
    #[arg(long)]
    action: String,
    /// The file with the secret by which the sender signs what it delivers
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    secret: Option<PathBuf>,
    /// An address, or a range like 10.0.0.0/8, from which alone deliveries are taken
    #[arg(long, value_name = "RANGE")]
    from: Option<String>,
    /// Take deliveries of anybody who knows the address
    #[arg(long, conflicts_with_all = ["secret", "from"])]
    anybody: bool,
    /// What a delivery must have: a JSONPath, or one and what it must be equal to, like '$.ref=refs/heads/{Branch}'
    #[arg(long, value_name = "PATH[=TEXT]")]
    filter: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Remove {
    /// Its name
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(command: &Command) -> Result<ExitCode, Ended> {
    match command {
        Command::List(List { connection }) => connection.run(async |server| {
            let webhooks = find::pages(server, "ListWebhooks", json!({}), "webhooks", usize::MAX).await?;
            if server.json {
                out::json(&json!({ "webhooks": webhooks }));
                return Ok(ExitCode::from(exit::SUCCEEDED));
            }
            let row = |webhook: &Value| {
                let of = &webhook["definition"];
                [
                    text(&of["name"]),
                    format!("{}/{}", text(&of["targetPipeline"]), text(&of["targetAction"])),
                    text(&of["authentication"]),
                    filters(of),
                    time(&webhook["lastTriggered"]),
                    text(&webhook["errorMessage"]),
                    text(&webhook["url"]),
                ]
            };
            let rows: Vec<_> = webhooks.iter().map(row).collect();
            show::table(["NAME", "FOR", "AUTHENTICATION", "FILTERS", "TRIGGERED", "ERROR", "ADDRESS"], &rows);
            Ok(ExitCode::from(exit::SUCCEEDED))
        }),
        Command::Put(put) => {
            let definition = definition(put)?;
            put.connection.run(async |server| {
                let put = server.call("PutWebhook", json!({ "webhook": definition })).await?;
                match server.json {
                    true => out::json(&put),
                    false => say!("{}", text(&put["webhook"]["url"])),
                }
                Ok(ExitCode::from(exit::SUCCEEDED))
            })
        }
        Command::Remove(Remove { name, connection }) => connection.run(async |server| {
            server.call("DeleteWebhook", json!({ "name": name })).await?;
            match server.json {
                true => out::json(&json!({})),
                false => say!("{name} is removed"),
            }
            Ok(ExitCode::from(exit::SUCCEEDED))
        }),
    }
}

fn definition(put: &Put) -> Result<Value, Ended> {
    let (authentication, configuration) = match (&put.secret, &put.from, put.anybody) {
        (Some(file), ..) => ("GITHUB_HMAC", json!({ "SecretToken": secret(file)? })),
        (None, Some(range), _) => ("IP", json!({ "AllowedIPRange": range })),
        (None, None, true) => ("UNAUTHENTICATED", json!({})),
        (None, None, false) => {
            return Err(Ended::usage(
                "say whose deliveries are taken: --secret FILE of who signs them, --from RANGE, or --anybody",
            ));
        }
    };
    Ok(json!({
        "name": put.name, "targetPipeline": put.pipeline, "targetAction": put.action, "authentication": authentication,
        "authenticationConfiguration": configuration, "filters": put.filter.iter().map(|text| filter(text)).collect::<Vec<_>>(),
    }))
}

/// A JSONPath, and behind the first `=` that is no comparison within it, what it must be equal to.
fn filter(text: &str) -> Value {
    let bytes = text.as_bytes();
    let is_between = |at: &usize| {
        let (before, after) = (bytes.get(at.wrapping_sub(1)), bytes.get(at + 1));
        bytes[*at] == b'=' && !before.is_some_and(|it| b"=!<>".contains(it)) && after != Some(&b'=')
    };
    match (0..bytes.len()).find(is_between) {
        Some(at) => json!({ "jsonPath": text[..at], "matchEquals": text[at + 1..] }),
        None => json!({ "jsonPath": text }),
    }
}

/// Those of a webhook, as they are given to `put`.
fn filters(definition: &Value) -> String {
    let written = |filter: &Value| match filter["matchEquals"].as_str() {
        Some(equals) => format!("{}={equals}", text(&filter["jsonPath"])),
        None => text(&filter["jsonPath"]),
    };
    definition["filters"].as_array().into_iter().flatten().map(written).collect::<Vec<_>>().join(", ")
}

/// A line feed at the end is no part of it.
fn secret(file: &Path) -> Result<String, Ended> {
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| Ended::Usage(format!("{}: {error}", file.display())))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_path_and_what_it_must_be_equal_to() {
        let check = |text: &str, path: &str, equals: Option<&str>| {
            let read = filter(text);
            assert_eq!((read["jsonPath"].as_str(), read["matchEquals"].as_str()), (Some(path), equals), "{text}");
        };
        check("$.ref", "$.ref", None);
        check("$.ref=refs/heads/{Branch}", "$.ref", Some("refs/heads/{Branch}"));
        check("$.a=b=c", "$.a", Some("b=c"));
        check("$.a[?@.b == 'c']", "$.a[?@.b == 'c']", None);
        check("$.a[?@.b != 'c']=d", "$.a[?@.b != 'c']", Some("d"));
    }
}

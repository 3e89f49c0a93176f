//! `pipewright deliveries`: where an account's events are delivered, and what could not be.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::show::{self, text, time_ms};
use super::{Connection, Server};
use crate::exit::{self, Ended};
use crate::out::{self, note, say};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// List what was given up, with the ids by which it can be delivered once more
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Deliver the account's events to an address from now on, or to another address than before
    Add(Add),
    /// Deliver nothing to a target any more
    Remove(Remove),
    /// Deliver what was given up once more
    Retry(Retry),
}

#[derive(clap::Args)]
struct Add {
    /// What the target is called
    name: String,
    /// An http or https address
    url: String,
    /// A file that has the secret of the signatures: `whsec_`, and 24 to 64 bytes in base64 [default: the server makes one]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
struct Remove {
    /// The target
    name: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
struct Retry {
    /// As `deliveries --failed` shows it
    id: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    match &arguments.command {
        None if arguments.failed => arguments.connection.run(failed),
        None => arguments.connection.run(list),
        Some(Command::Add(add)) => add.connection.run(async |server| self::add(server, add).await),
        Some(Command::Remove(remove)) => remove.connection.run(async |server| {
            server.client.delete(&["v1", "notifications", &remove.name], "").await?;
            told(server, &format!("{} is told nothing any more", remove.name))
        }),
        Some(Command::Retry(retry)) => retry.connection.run(async |server| self::retry(server, &retry.id).await),
    }
}

fn told(server: &Server, words: &str) -> Result<ExitCode, Ended> {
    if server.json {
        out::json(&json!({}));
    } else {
        say!("{words}");
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn targets(server: &Server) -> Result<Vec<Value>, Ended> {
    let listed = server.client.document(&["v1", "notifications"], "").await?;
    Ok(listed["targets"].as_array().cloned().unwrap_or_default())
}

async fn list(server: &Server) -> Result<ExitCode, Ended> {
    let targets = targets(server).await?;
    if server.json {
        out::json(&json!({ "targets": targets }));
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    let row = |target: &Value| {
        let state = match &target["failing"] {
            Value::Null => "delivering".to_owned(),
            failing => format!("failing, tried {} times: {}", text(&failing["attempts"]), text(&failing["reason"])),
        };
        let last = target["lastDelivered"].as_u64().map(time_ms).unwrap_or_default();
        let [name, url, delivered, failed] = ["name", "url", "delivered", "failed"].map(|key| text(&target[key]));
        [name, url, delivered, failed, last, state]
    };
    let rows: Vec<_> = targets.iter().map(row).collect();
    show::table(["NAME", "URL", "DELIVERED", "FAILED", "LAST", "STATE"], &rows);
    if targets.iter().any(|target| target["failed"].as_u64().unwrap_or_default() > 0) {
        note!("What failed is listed by `{}`", server.command("deliveries --failed"));
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn failed(server: &Server) -> Result<ExitCode, Ended> {
    let mut all = Vec::new();
    for target in targets(server).await? {
        let name = text(&target["name"]);
        let listed = server.client.document(&["v1", "notifications", &name, "failed"], "").await?;
        for mut failed in listed["failed"].as_array().cloned().unwrap_or_default() {
            failed["id"] = format!("{name}/{}", text(&failed["id"])).into();
            all.push(failed);
        }
    }
    if server.json {
        out::json(&json!({ "failed": all }));
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    let row = |failed: &Value| {
        let given_up = failed["givenUp"].as_u64().map(time_ms).unwrap_or_default();
        let [id, about, attempts, reason] = ["id", "about", "attempts", "reason"].map(|key| text(&failed[key]));
        [id, given_up, about, attempts, reason]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    show::table(["ID", "GIVEN UP", "EVENT", "ATTEMPTS", "REASON"], &rows);
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn add(server: &Server, add: &Add) -> Result<ExitCode, Ended> {
    let mut target = json!({ "url": add.url });
    if let Some(file) = &add.secret_file {
        let secret = std::fs::read_to_string(file);
        let secret = secret.map_err(|error| Ended::Usage(format!("{}: {error}", file.display())))?;
        target["secret"] = secret.trim().into();
    }
    let answer = server.client.put(&["v1", "notifications", &add.name], &target).await?;
    if server.json {
        out::json(&answer);
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    say!("{} is told of what happens from now on", add.name);
    if let Some(secret) = answer["secret"].as_str() {
        say!("Its deliveries are signed with this secret, which is not shown again:");
        say!("{secret}");
    }
    if let Some(warning) = answer["warning"].as_str() {
        note!("warning: {warning}");
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn retry(server: &Server, id: &str) -> Result<ExitCode, Ended> {
    let Some((name, delivery)) = id.split_once('/') else {
        let list = server.command("deliveries --failed");
        return Err(Ended::Usage(format!("{id} is no id of a delivery: `{list}` lists them")));
    };
    server.client.post(&["v1", "notifications", name, "failed", delivery, "retry"]).await?;
    told(server, &format!("{name} has taken it"))
}

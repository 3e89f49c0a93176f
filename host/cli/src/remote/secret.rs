//! `pipewright secret`: the secrets of an account on a server, which keeps them and gives them to nobody but the actions that
//! grants name.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Connection;
use super::show::time_ms;
use crate::exit::Ended;
use crate::out::{self, note, say};
use pipewright_sandbox::capabilities::commands::SECRET_CHARS_MIN;

/// The server refuses a longer one anyway.
const VALUE_BYTES_MAX: u64 = 64 << 10;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Keep a secret, or a new version of one
    ///
    /// The value comes from standard input or a file, and a line feed at its end is no part of it. The last 10 versions are kept.
    Set(SetArguments),
    /// List the secrets: their names and versions, and no values
    List(ListArguments),
    /// Remove a secret, or one of its older versions
    Remove(RemoveArguments),
    /// Seal all secrets of the server with a new key
    RotateKey(RotateKeyArguments),
}

#[derive(clap::Args)]
pub struct SetArguments {
    /// Its name
    name: String,
    /// The file that has the value [default: standard input]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct RemoveArguments {
    /// Its name
    name: String,
    /// This version alone
    #[arg(long, value_name = "VERSION")]
    only: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct RotateKeyArguments {
    #[command(flatten)]
    connection: Connection,
}

pub fn run(command: &Command) -> Result<ExitCode, Ended> {
    match command {
        Command::Set(arguments) => set(arguments),
        Command::List(arguments) => list(arguments),
        Command::Remove(arguments) => remove(arguments),
        Command::RotateKey(arguments) => rotate_key(arguments),
    }
}

fn set(SetArguments { name, file, connection }: &SetArguments) -> Result<ExitCode, Ended> {
    let value = value(file.as_ref())?;
    if value.chars().count() < SECRET_CHARS_MIN {
        note!("{name} has fewer than {SECRET_CHARS_MIN} characters: it cannot be given to programs");
    }
    connection.run(async |server| {
        let kept = server.client.put(&["v1", "secrets"], &json!({ "name": name, "value": value })).await?;
        if server.json {
            out::json(&kept);
        } else {
            say!("{name} is kept, as version {}", kept["version"]);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn value(file: Option<&PathBuf>) -> Result<String, Ended> {
    let mut text = String::new();
    let read = match file {
        Some(path) => {
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(VALUE_BYTES_MAX + 2).read_to_string(&mut text));
            read.map_err(|error| Ended::usage(format!("{}: {error}", path.display())))
        }
        None => {
            let read = std::io::stdin().take(VALUE_BYTES_MAX + 2).read_to_string(&mut text);
            Ok(read.context("reading the value from standard input")?)
        }
    };
    read?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn list(arguments: &ListArguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let listed = server.client.document(&["v1", "secrets"], "").await?;
        if server.json {
            out::json(&listed);
            return Ok(ExitCode::SUCCESS);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for secret in listed["secrets"].as_array().into_iter().flatten() {
            say!("{}", text(&secret["name"]));
            for version in secret["versions"].as_array().into_iter().flatten() {
                let created = time_ms(version["created"].as_u64().unwrap_or_default());
                say!("  version {} of {created}, by {}", version["version"], text(&version["by"]));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn remove(RemoveArguments { name, only: version, connection }: &RemoveArguments) -> Result<ExitCode, Ended> {
    connection.run(async |server| {
        server.client.put(&["v1", "secrets", "remove"], &json!({ "name": name, "version": version })).await?;
        match version {
            _ if server.json => out::json(&json!({})),
            Some(version) => say!("version {version} of {name} is removed"),
            None => say!("{name} is removed"),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn rotate_key(arguments: &RotateKeyArguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let rotated = server.client.put(&["v1", "secrets", "rotate-key"], &json!({})).await?;
        if server.json {
            out::json(&rotated);
        } else {
            say!(
                "{} secrets are sealed with the key {}",
                rotated["secrets"],
                rotated["key"].as_str().unwrap_or_default()
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}

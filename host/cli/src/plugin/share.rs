//! `pipewright plugin catalogue | offer | withdraw | deprecate | yank | restore | uses`: plugins between the accounts of a server. Must
//! not know who may see what: the server says it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::exit::Ended;
use super::super::remote::{Connection, Server, show};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Catalogue {
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Offer {
    /// The action type, as `pipewright plugin catalogue` shows it: Deploy/Custom/Rollout/1
    #[arg(value_name = "ACTION-TYPE")]
    action_type: String,
    /// An account that may use it, or * for all; to be given for each. They replace those of an earlier offer
    #[arg(long = "to", value_name = "ACCOUNT", required = true)]
    accounts: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Withdraw {
    /// The action type
    #[arg(value_name = "ACTION-TYPE")]
    action_type: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Say {
    /// The version: team/name@1.0.0
    #[arg(value_name = "NAME@VERSION")]
    plugin: String,
    /// Why, and what to use instead: shown to everybody who uses it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Restore {
    /// The version: team/name@1.0.0
    #[arg(value_name = "NAME@VERSION")]
    plugin: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Uses {
    /// The plugin: team/name
    #[arg(value_name = "NAME")]
    plugin: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn catalogue(arguments: &Catalogue) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let document = server.client.document(&["v1", "plugins"], "").await?;
        if server.json {
            out::json(&document);
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = Vec::new();
        for plugin in items(&document["plugins"]) {
            for offered in items(&plugin["actionTypes"]) {
                let id = |member: &str| show::text(&offered["id"][member]);
                let offered_to: Vec<String> = items(&offered["offeredTo"]).iter().map(show::text).collect();
                rows.push([
                    [id("category"), id("owner"), id("provider"), id("version")].join("/"),
                    format!("{} {}", show::text(&plugin["name"]), show::text(&plugin["version"])),
                    show::text(&plugin["from"]),
                    offered_to.join(", "),
                    notice(&plugin["notice"]),
                ]);
            }
        }
        show::table(["ACTION TYPE", "PLUGIN", "FROM", "OFFERED TO", ""], &rows);
        Ok(ExitCode::SUCCESS)
    })
}

fn notice(notice: &Value) -> String {
    match notice["kind"].as_str() {
        Some(kind) => format!("{kind}: {}", show::text(&notice["reason"])),
        None => String::new(),
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

pub fn offer(arguments: &Offer) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        put_offer(server, &arguments.action_type, &arguments.accounts).await?;
        say!("{} is offered to {}", arguments.action_type, arguments.accounts.join(", "));
        Ok(ExitCode::SUCCESS)
    })
}

pub fn withdraw(arguments: &Withdraw) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        put_offer(server, &arguments.action_type, &[]).await?;
        say!("{} is offered to nobody; executions that run go on", arguments.action_type);
        Ok(ExitCode::SUCCESS)
    })
}

async fn put_offer(server: &Server, action_type: &str, accounts: &[String]) -> Result<(), Ended> {
    let parts: Vec<&str> = action_type.split('/').collect();
    let [category, owner, provider, version] = parts[..] else {
        return Err(Ended::usage(format!("{action_type:?}: write an action type as Deploy/Custom/Rollout/1")));
    };
    let id = json!({ "category": category, "owner": owner, "provider": provider, "version": version });
    server.client.put(&["v1", "plugins", "offer"], &json!({ "actionType": id, "accounts": accounts })).await?;
    Ok(())
}

pub fn deprecate(arguments: &Say) -> Result<ExitCode, Ended> {
    say(&arguments.connection, &arguments.plugin, Some(("deprecated", &arguments.reason)))
}

pub fn yank(arguments: &Say) -> Result<ExitCode, Ended> {
    say(&arguments.connection, &arguments.plugin, Some(("yanked", &arguments.reason)))
}

pub fn restore(arguments: &Restore) -> Result<ExitCode, Ended> {
    say(&arguments.connection, &arguments.plugin, None)
}

fn say(connection: &Connection, plugin: &str, said: Option<(&str, &str)>) -> Result<ExitCode, Ended> {
    let (name, version) =
        plugin.split_once('@').ok_or_else(|| Ended::usage(format!("{plugin:?}: write it as team/name@1.0.0")))?;
    let (kind, reason) = said.unzip();
    connection.run(async |server| {
        let document = json!({ "name": name, "version": version, "kind": kind, "reason": reason.unwrap_or_default() });
        server.client.put(&["v1", "plugins", "notice"], &document).await?;
        out::line(&match kind {
            Some(kind) => format!("{name} {version} is {kind}"),
            None => format!("{name} {version} is as before: no longer deprecated or yanked"),
        });
        Ok(ExitCode::SUCCESS)
    })
}

pub fn uses(arguments: &Uses) -> Result<ExitCode, Ended> {
    let wrong = || Ended::usage(format!("{:?}: write it as team/name", arguments.plugin));
    let (team, name) = arguments.plugin.split_once('/').ok_or_else(wrong)?;
    arguments.connection.run(async |server| {
        let mut uses = Vec::new();
        let mut query = String::new();
        loop {
            let mut page = server.client.document(&["v1", "plugins", team, name, "uses"], &query).await?;
            uses.extend(page["uses"].as_array_mut().map(std::mem::take).unwrap_or_default());
            let Some(token) = page["nextToken"].as_str() else { break };
            query = format!("nextToken={token}");
        }
        if server.json {
            out::json(&json!({ "uses": uses }));
            return Ok(ExitCode::SUCCESS);
        }
        let row = |used: &Value| {
            let execution = used["execution"].as_str().map_or("the next execution".to_owned(), str::to_owned);
            [
                show::text(&used["account"]),
                show::text(&used["pipeline"]),
                show::text(&used["action"]),
                show::text(&used["version"]),
                execution,
            ]
        };
        let rows: Vec<_> = uses.iter().map(row).collect();
        show::table(["ACCOUNT", "PIPELINE", "ACTION", "VERSION", "IN"], &rows);
        Ok(ExitCode::SUCCESS)
    })
}

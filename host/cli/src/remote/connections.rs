//! `pipewright connection`: the git hosts that the pipelines of an account reach.
//!
//! Must not know what is kept of one (the server).

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Connection as Reached;
use super::Server;
use super::show::{self, text};
use crate::exit::{self, Ended};
use crate::out::{self, note, say};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the connections, with the addresses at which the hosts are to tell of pushes and pull requests
    List(List),
    /// Make a connection, or change one; its address stays
    ///
    /// It is for those who run the server. Secrets stay where they are, and the server reads them when they are needed.
    Create(Box<Create>),
    /// Remove a connection: the sources that name it fail from then on
    Remove(Remove),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    reached: Reached,
}

#[derive(clap::Args)]
pub struct Create {
    /// Its name, which is the last part of its ARN
    name: String,
    /// What the host is
    #[arg(long, value_parser = ["github", "gitlab", "gitea", "forgejo", "bitbucket", "git"])]
    kind: String,
    /// Where its repositories are, like https://git.example.com; needed for gitea, forgejo and git
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The host may be at a loopback, link-local or private address
    #[arg(long)]
    private: bool,
    /// The file on the server's machine with the token by which repositories are read
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret: Option<PathBuf>,
    /// The environment variable of the server that has it
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// The secret of the account's store that is it
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["secret", "secret_env"])]
    secret_store: Option<String>,
    /// The user name that goes with it, where the host does not take just any for a token
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The file on the server's machine with the secret by which the host proves that it is the one who tells
    #[arg(long, value_name = "FILE", conflicts_with = "webhook_secret_env")]
    webhook_secret: Option<PathBuf>,
    /// The environment variable of the server that has it
    #[arg(long, value_name = "VARIABLE")]
    webhook_secret_env: Option<String>,
    /// The secret of the account's store that is it
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["webhook_secret", "webhook_secret_env"])]
    webhook_secret_store: Option<String>,
    /// Tell the host of each commit how the executions fare that fetched it; the token has to allow that
    #[arg(long)]
    status: bool,
    /// The account that gets it, by its 12 digits, where that is not the operators' own
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    #[command(flatten)]
    reached: Reached,
}

#[derive(clap::Args)]
pub struct Remove {
    /// Its name
    name: String,
    /// The account whose it is, by its 12 digits, where that is not the operators' own
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    #[command(flatten)]
    reached: Reached,
}

pub fn run(command: &Command) -> Result<ExitCode, Ended> {
    match command {
        Command::List(List { reached }) => reached.run(async |server| {
            let listed = listed(server).await?;
            if server.json {
                out::json(&json!({ "connections": listed }));
                return Ok(ExitCode::from(exit::SUCCEEDED));
            }
            let row = |it: &Value| {
                [text(&it["name"]), text(&it["kind"]), text(&it["address"]), text(&it["arn"]), text(&it["url"])]
            };
            show::table(["NAME", "KIND", "HOST", "ARN", "ADDRESS"], &listed.iter().map(row).collect::<Vec<_>>());
            Ok(ExitCode::from(exit::SUCCEEDED))
        }),
        Command::Create(create) => create.reached.run(async |server| {
            let document = document(create)?;
            let query = query(create.account.as_deref());
            let answer = server.client.put_with(&["v1", "connections", &create.name], &query, &document).await?;
            for warning in answer["warnings"].as_array().into_iter().flatten() {
                note!("warning: {}", text(warning));
            }
            // That of another account is seen by that account.
            let made = listed(server).await?.into_iter().find(|it| it["name"] == create.name);
            match made.filter(|_| create.account.is_none()) {
                Some(made) if server.json => out::json(&made),
                Some(made) => {
                    say!("ConnectionArn  {}", text(&made["arn"]));
                    say!("webhook        {}", text(&made["url"]));
                }
                None if server.json => out::json(&json!({})),
                None => say!("{} is made", create.name),
            }
            Ok(ExitCode::from(exit::SUCCEEDED))
        }),
        Command::Remove(Remove { name, account, reached }) => reached.run(async |server| {
            server.client.delete(&["v1", "connections", name], &query(account.as_deref())).await?;
            match server.json {
                true => out::json(&json!({})),
                false => say!("{name} is removed"),
            }
            Ok(ExitCode::from(exit::SUCCEEDED))
        }),
    }
}

async fn listed(server: &Server) -> Result<Vec<Value>, Ended> {
    let document = server.client.document(&["v1", "connections"], "").await?;
    Ok(document["connections"].as_array().cloned().unwrap_or_default())
}

fn query(account: Option<&str>) -> String {
    account.map(|account| format!("account={account}")).unwrap_or_default()
}

/// As the server's configuration would have it.
fn document(create: &Create) -> Result<Value, Ended> {
    let place = |file: &Option<PathBuf>, variable: &Option<String>, store: &Option<String>| -> Result<_, Ended> {
        match (file, variable, store) {
            (Some(file), ..) => {
                let file =
                    std::path::absolute(file).map_err(|error| Ended::Usage(format!("{}: {error}", file.display())))?;
                Ok(Some(json!({ "file": file })))
            }
            (None, Some(variable), _) => Ok(Some(json!({ "env": variable }))),
            (None, None, store) => Ok(store.as_ref().map(|store| json!({ "store": store }))),
        }
    };
    Ok(json!({
        "kind": create.kind, "address": create.address, "private": create.private, "status": create.status, "username": create.username,
        "secret": place(&create.secret, &create.secret_env, &create.secret_store)?,
        "webhook_secret": place(&create.webhook_secret, &create.webhook_secret_env, &create.webhook_secret_store)?,
    }))
}

//! The commands that speak to a server: its address and key, and how each command runs.
//!
//! Owns the options that all of them have. Must not know what a command does, nor anything of the server but what
//! `client` tells.

pub mod approve;
pub mod artifacts;
pub mod connections;
pub mod create;
pub mod deliveries;
pub(super) mod find;
mod follow;
pub mod history;
pub mod logs;
mod notices;
pub mod overrule;
pub mod pipelines;
pub mod reload;
pub mod retry;
pub mod rollback;
pub mod secret;
pub(super) mod show;
pub mod start;
pub mod status;
pub mod stop;
pub mod suggest;
pub mod tests;
pub mod webhooks;
pub mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use super::exit::Ended;
use pipewright_aws::auth::AccessKey;
use pipewright_aws::auth::profile::{DEFAULT, Profile, ca_bundle, read_credentials};
use pipewright_aws::client::{Client, Endpoint};
use pipewright_base::home::{DataDirectory, UserFolders};
use pipewright_runner::host::REGION;

/// Where a server listens that nobody configured.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:7720";

#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// The server's address [default: from AWS's variables and files, else that of this user's own server]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The profile that has the access key, of AWS's shared files or of --data: there, an account's id
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The server's region [default: from AWS's variables and files, else us-east-1]
    #[arg(long)]
    region: Option<String>,
    /// The data directory of a server on this machine: its address and its key are read from there
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Print JSON, in the shapes of CodePipeline's API
    #[arg(long)]
    json: bool,
}

/// A server to speak to, and how to show what it says.
pub struct Server {
    pub(super) client: Client,
    pub(super) json: bool,
    /// The options that lead to this server, for commands that a person may copy.
    options: String,
}

impl Connection {
    /// Runs `command` with the server that the options name.
    pub fn run(&self, command: impl AsyncFnOnce(&Server) -> Result<ExitCode, Ended>) -> Result<ExitCode, Ended> {
        let server = self.server()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        runtime.block_on(command(&server))
    }

    fn server(&self) -> Result<Server, Ended> {
        let found = self.find()?;
        let endpoint = self.endpoint.clone().or(found.endpoint).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let endpoint: Endpoint = endpoint.parse()?;
        let key = found.key.ok_or_else(|| {
            Ended::usage(
                "there is no access key: name the server's data directory with --data, or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE; `pipewright serve` starts a server of your own",
            )
        })?;
        let region = self.region.clone().or(found.region).unwrap_or_else(|| REGION.to_owned());
        let client = Client::new(endpoint, key, region).trusting(found.ca_bundle);
        Ok(Server { client, json: self.json, options: self.options() })
    }

    fn find(&self) -> Result<Profile, Ended> {
        if let Some(data) = &self.data {
            return of_data(data, self.profile.as_deref(), self.endpoint.is_some());
        }
        let found = Profile::find(&environment, self.profile.as_deref()).map_err(Ended::usage)?;
        // A key without an address is for AWS itself; the server that this user runs without further ado is meant.
        let own = UserFolders::find().ok().map(|folders| folders.server_data());
        let is_nobody_named = self.endpoint.is_none() && found.endpoint.is_none() && self.profile.is_none();
        // Without a key nobody else can be meant, and who asks is to hear that the own server is stopped.
        let is_meant =
            |own: &PathBuf| own.join("endpoint").exists() || found.key.is_none() && own.join("credentials").exists();
        match own.filter(is_meant) {
            Some(own) if is_nobody_named => of_data(&own, None, false),
            _ => Ok(found),
        }
    }

    fn options(&self) -> String {
        let options = [
            ("--endpoint", self.endpoint.as_deref()),
            ("--profile", self.profile.as_deref()),
            ("--region", self.region.as_deref()),
            ("--data", self.data.as_deref().and_then(Path::to_str)),
        ];
        let given = options.iter().filter_map(|(name, value)| value.map(|value| format!(" {name} {}", quoted(value))));
        given.collect()
    }
}

/// What a server's data directory says. AWS's variables and files speak of other servers then.
fn of_data(data: &Path, profile: Option<&str>, endpoint_is_known: bool) -> Result<Profile, Ended> {
    if !data.is_dir() {
        return Err(Ended::Usage(format!(
            "{} is not a directory: give --data the directory that `pipewright serve --data` uses",
            data.display()
        )));
    }
    let data = DataDirectory::open(data)?;
    let key: AccessKey = read_credentials(&data.credentials(), profile.unwrap_or(DEFAULT)).map_err(|error| {
        Ended::Usage(format!("{error}\n`pipewright serve --data {}` makes the key", data.path().display()))
    })?;
    let endpoint = match std::fs::read_to_string(data.endpoint()) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(_) if endpoint_is_known => None,
        Err(error) => {
            let (file, data) = (data.endpoint(), quoted(&data.path().display().to_string()));
            return Err(Ended::Usage(format!(
                "no server runs with {data} (it writes its address to {} when it is ready: {error})\nStart it with \
                 `pipewright serve --data {data}`, or name its address with --endpoint",
                file.display(),
            )));
        }
    };
    Ok(Profile { key: Some(key), region: None, endpoint, ca_bundle: ca_bundle(&environment) })
}

impl Server {
    async fn call(&self, operation: &str, input: Value) -> Result<Value, Ended> {
        Ok(self.client.call(operation, &input).await?)
    }

    /// A command line that a person may copy.
    fn command(&self, words: &str) -> String {
        format!("pipewright {words}{}", self.options)
    }
}

/// One variable.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// As a shell reads it back.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

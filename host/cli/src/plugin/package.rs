//! What the commands about packages share: their arguments, and how a person is asked.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use pipewright_sandbox::binary::Interfaces;
use pipewright_sandbox::{Plugin, Sandbox};

use super::super::exit::Ended;
use super::super::remote::{environment, quoted};
use crate::out::{self, in_one_quote, say};
use pipewright_aws::auth::profile::{DEFAULT, ProfileError, ca_bundle, read_credentials};
use pipewright_aws::client::{Client, ClientError};
use pipewright_base::home::{DataDirectory, UserFolders};
use pipewright_packages::plugins::{self, PluginError};
use pipewright_packages::{
    Asking, Candidate, Facts, Installed, Options, Origin, Package, Policy, Reference, Registry, tag_of, version_of,
};
use pipewright_runner::host;
use pipewright_server::config;
use semver::Version;

#[derive(clap::Args)]
pub(super) struct DataArguments {
    /// The server's data directory [default: $XDG_DATA_HOME/pipewright/server]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Whose plugins are meant, on a server of several accounts [default: those who run the host]
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// The region of the server that is told of a change [default: us-east-1]
    #[arg(long)]
    region: Option<String>,
}

impl DataArguments {
    pub(super) fn open(&self) -> Result<DataDirectory, Ended> {
        let path = match &self.data {
            Some(path) => path.clone(),
            None => UserFolders::find()?.server_data(),
        };
        Ok(DataDirectory::open(&path)?)
    }

    pub(super) fn installed(&self) -> Result<Installed, Ended> {
        let account = self.account.as_deref().map(|id| {
            config::account_number(id).ok_or_else(|| Ended::usage(format!("--account {id}: write it as 12 digits")))
        });
        let (data, account) = (self.open()?, account.transpose()?);
        if let Some(account) = account {
            check_known(&data, account)?;
        }
        Ok(Installed::open(&data, account)?)
    }
}

/// What is installed for an account that is not there would serve nobody. The server writes a profile for each account that it
/// has; of one that never ran nothing is known.
fn check_known(data: &DataDirectory, account: u64) -> Result<(), Ended> {
    let is_known = match read_credentials(&data.credentials(), &format!("{account:012}")) {
        Err(ProfileError::NoProfile { .. }) => Installed::lock_path(data, Some(account)).exists(),
        _ => true,
    };
    match is_known {
        true => Ok(()),
        false => Err(Ended::Usage(format!(
            "--account {account:012}: the server of {} has no such account besides that of those who run it: write \
             `[accounts.{account:012}]` into its configuration and start it anew, or leave --account out if the plugin is for \
             those who run it",
            data.path().display()
        ))),
    }
}

impl DataArguments {
    /// The options that lead here again, for a command that a person may copy.
    pub(super) fn options(&self) -> String {
        self.options_with("--account")
    }

    /// The same for a command that asks the server.
    pub(super) fn options_of_server(&self) -> String {
        self.options_with("--profile")
    }

    fn options_with(&self, account: &str) -> String {
        let options = [
            ("--data", self.data.as_deref().and_then(Path::to_str)),
            (account, self.account.as_deref()),
            ("--region", self.region.as_deref()),
        ];
        options.iter().filter_map(|(name, value)| value.map(|value| format!(" {name} {}", quoted(value)))).collect()
    }

    /// Lets a server that runs on this data take up what was changed, and says what becomes of the change.
    pub(super) async fn tell(&self) -> Result<&'static str, Ended> {
        const AT_START: &str = "a server uses it from its next start on";
        let data = self.open()?;
        let profile = self.account.as_deref().unwrap_or(DEFAULT);
        let (Ok(endpoint), Ok(key)) =
            (std::fs::read_to_string(data.endpoint()), read_credentials(&data.credentials(), profile))
        else {
            return Ok(AT_START);
        };
        let region = self.region.clone().unwrap_or_else(|| host::REGION.to_owned());
        let client = Client::new(endpoint.trim().parse()?, key, region).trusting(ca_bundle(&environment));
        match client.put(&["v1", "plugins", "load"], &serde_json::json!({})).await {
            Ok(_) => Ok("the server that runs uses it from now on"),
            // One that was killed leaves its address behind.
            Err(ClientError::Unreachable { .. }) => Ok(AT_START),
            Err(error) => {
                Err(Ended::Host(anyhow::anyhow!("it is installed, but the server that runs cannot use it: {error}")))
            }
        }
    }
}

/// The sandbox of a server: what it compiles now, the server need not.
pub(super) fn sandbox(data: &DataDirectory) -> Result<Sandbox, Ended> {
    Ok(host::sandbox(data.compiled(), Vec::new())?)
}

#[derive(clap::Args)]
pub(super) struct RegistryArguments {
    /// Speak http to a registry that is not on this machine: nobody protects what passes, and no login is shown
    #[arg(long)]
    plain_http: bool,
    /// A server of tokens that may see the login, besides those of the registry's own site; may be repeated
    #[arg(long, value_name = "URL")]
    token_server: Vec<String>,
    /// A PEM file with a certificate authority to trust, besides the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
}

impl RegistryArguments {
    fn options(&self) -> Options {
        Options {
            plain_http: self.plain_http,
            certificate_authorities: self.ca.clone(),
            token_servers: self.token_server.clone(),
            ..Options::default()
        }
    }

    pub(super) async fn registry(&self, reference: &Reference) -> Result<Registry, Ended> {
        Ok(Registry::new(reference, &self.options()).await?)
    }

    pub(super) async fn origin(&self, reference: Reference) -> Result<Origin, Ended> {
        let registry = self.registry(&reference).await?;
        if reference.selector().is_err()
            && let Ok(tags) = registry.tags().await
            && let Some(newest) = tags.iter().filter_map(|tag| version_of(tag)).filter(|it| it.pre.is_empty()).max()
        {
            let newest = reference.with_tag(tag_of(&newest));
            return Err(Ended::Usage(format!("{reference}: say which version; the newest is {newest}")));
        }
        Ok(Origin::Registry { registry: Box::new(registry), reference })
    }

    /// As they were given, for a command that a person may copy.
    pub(super) fn given(&self) -> String {
        let plain = if self.plain_http { " --plain-http" } else { "" };
        let servers = self.token_server.iter().map(|url| format!(" --token-server {}", quoted(url)));
        let files = self.ca.iter().map(|file| format!(" --ca {}", quoted(&file.display().to_string())));
        format!("{plain}{}", servers.chain(files).collect::<String>())
    }

    /// What `REF|FILE` means. A file is only compiled and asked for its name where the policy lets some in.
    pub(super) async fn find(&self, sandbox: &Sandbox, text: &str, policy: &Policy) -> Result<Origin, Ended> {
        if Path::new(text).is_dir() {
            return Err(folder(Path::new(text)));
        }
        if !is_file(text) {
            return self.origin(text.parse()?).await;
        }
        policy.check_files(text)?;
        let (plugin, bytes) = component(sandbox, Path::new(text)).await?;
        Ok(Origin::of_file(&Package::new(&plugin, bytes)?)?)
    }
}

#[derive(clap::Args)]
pub(super) struct ToolArguments {
    /// The file is a command-line tool, and no plugin: what its package is called
    #[arg(long, value_name = "TEAM/NAME@VERSION")]
    tool: Option<String>,
}

impl ToolArguments {
    /// The package of a component's file, with its version: of the tool, if it is one, and else of the plugin.
    pub(super) async fn package(&self, sandbox: &Sandbox, path: &Path) -> Result<(Package, Version), Ended> {
        let Some(tool) = &self.tool else {
            let (plugin, bytes) = component(sandbox, path).await?;
            return Ok((Package::new(&plugin, bytes)?, plugin.description().version.parse().map_err(Ended::usage)?));
        };
        let named = tool.split_once('@').and_then(|(name, version)| Some((name, version.parse::<Version>().ok()?)));
        let (name, version) =
            named.ok_or_else(|| Ended::Usage(format!("--tool {tool}: write it as team/name@1.0.0")))?;
        let bytes = plugins::read(path).map_err(Ended::usage)?;
        let package = Package::of_tool(name, &version, bytes)?;
        sandbox
            .check_tool(package.component.as_slice().into())
            .await
            .map_err(|error| Ended::Usage(format!("{}: {error}", path.display())))?;
        Ok((package, version))
    }

    pub(super) fn is_given(&self) -> bool {
        self.tool.is_some()
    }
}

/// A folder, where a component is wanted.
pub(super) fn folder(path: &Path) -> Ended {
    let folder = quoted(&path.display().to_string());
    Ended::Usage(format!(
        "{folder} is a folder: `pipewright plugin build {folder}` makes a component of it, and says where; give that"
    ))
}

/// A component's file, loaded.
pub(super) async fn component(sandbox: &Sandbox, path: &Path) -> Result<(Plugin, Vec<u8>), Ended> {
    if path.is_dir() {
        return Err(folder(path));
    }
    let found = super::component::find(path).await?;
    let bytes = found.bytes.clone();
    if Interfaces::of(&bytes).is_ok_and(|interfaces| interfaces.is_tool()) {
        let path = path.display();
        return Err(Ended::Usage(format!(
            "{path} is a command-line tool, and no plugin: `plugin add` and `plugin publish` take it with --tool TEAM/NAME@VERSION"
        )));
    }
    Ok((super::component::load(sandbox, path, found).await?, bytes))
}

/// Whether a component's file is meant, and not something of a registry or of what is installed.
pub(super) fn is_file(text: &str) -> bool {
    text.ends_with(".wasm") || Path::new(text).is_file()
}

/// What a person is to know before they consent.
pub(super) async fn introduce(facts: &Facts, sandbox: &Sandbox) -> Result<(), Ended> {
    say!("{} {} ({})", facts.name, facts.version, facts.manifest.as_deref().unwrap_or(&facts.component));
    let of_host = match plugins::Plugins::load(sandbox, &[], None).await {
        Ok(host) => host.catalogue(host::ACCOUNT).types().keys().map(ToString::to_string).collect(),
        Err(PluginError::NoBundle) => Vec::new(),
        Err(error) => return Err(Ended::Host(error.into())),
    };
    if facts.is_tool() {
        say!("  a command-line tool, which actions run in their own sandbox");
    }
    for id in facts.offers.keys() {
        let instead = if of_host.contains(id) { ", in place of the plugin that comes with the host" } else { "" };
        say!("  offers {id}{instead}");
    }
    for (key, file) in &facts.signers {
        say!("  signed by {file} ({key})");
    }
    if let Some(source) = &facts.source {
        say!("  it says it is built from {}", in_one_quote(source));
    }
    if let Some(revision) = &facts.revision {
        say!("  it says it is built at revision {}", in_one_quote(revision));
    }
    say!("{}", if facts.asked.is_empty() { "It asks for nothing." } else { "It asks for" });
    for ask in &facts.asked {
        say!("  - {}", ask_in_words(ask));
    }
    Ok(())
}

/// One ask, and after it the reason that the plugin gives.
pub(super) fn ask_in_words(ask: &Asking) -> String {
    let Asking { words, reason, .. } = ask;
    if reason.is_empty() { words.clone() } else { format!("{words}: {}", in_one_quote(reason)) }
}

/// Of a package that is installed: somebody may have signed it since.
pub(super) fn say_it_is_there(installed: &mut Installed, candidate: &Candidate) -> Result<(), Ended> {
    let taken = if installed.take_signatures(candidate)? { "; what was signed since is kept with it" } else { "" };
    say!("{} is installed already{taken}", candidate.label());
    Ok(())
}

/// Asks on the terminal, unless the answer was given in advance.
pub(super) fn consented(yes: bool, question: &str) -> Result<bool, Ended> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Ended::usage(format!(
            "{question} There is no terminal to ask on: look at the above, and give --yes"
        )));
    }
    let ask = || {
        out::ask(&format!("{question} [y/N] "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    };
    ask().map_err(|error: std::io::Error| Ended::Host(error.into()))
}

//! `pipewright plugin`: what somebody who writes a plugin needs. Each command is a file of its own.

use std::process::ExitCode;

use anyhow::Context as _;

use super::exit::Ended;
use pipewright_base::home::UserFolders;
use pipewright_runner::host;

mod add;
mod build;
mod case;
mod changes;
mod component;
mod consent;
mod diff;
mod doc;
mod inspect;
mod key;
mod languages;
mod list;
mod load;
mod metadata;
mod new;
mod package;
mod publish;
mod record;
mod remove;
mod renew;
mod replay;
mod run;
mod save;
mod share;
mod test;
mod upgrade;
mod verify;

#[derive(clap::Subcommand)]
pub enum Command {
    #[command(flatten)]
    Here(Here),
    #[command(flatten)]
    OfServer(OfServer),
}

/// What is done on this machine.
#[derive(clap::Subcommand)]
pub enum Here {
    /// Begin a plugin: a folder that builds, passes its cases and explains itself
    New(new::Arguments),
    /// Put the SDK and the interface in a plugin's folder in step with this program
    Renew(renew::Arguments),
    /// Build a plugin as it is shipped, and check it
    Build(build::Arguments),
    /// Run one action of a plugin, and show everything that it did
    Run(run::Arguments),
    /// Run the cases of a plugin in the sandbox
    ///
    /// The cases are the folders in `cases/`, beside the plugin's manifest or beside the component.
    Test(test::Arguments),
    /// Make the calls of a recording again, without network, and compare
    Replay(replay::Arguments),
    /// Make a case of a recording
    Case(case::Arguments),
    /// Tell what a plugin is, offers, asks for and was built from, and who signed it
    Inspect(inspect::Arguments),
    /// Print the documentation of a plugin: its action types, settings and variables, and what it asks for
    Doc(doc::Arguments),
    /// Tell what an upgrade changes
    Diff(diff::Arguments),
    /// Keys to sign packages with
    Key(key::Arguments),
    /// Send a plugin to a registry, signed
    Publish(publish::Arguments),
    /// Install a plugin for the server, after asking whether it may have what it asks for
    Add(add::Arguments),
    /// List what is installed
    List(list::Arguments),
    /// Put a newer version in an installed plugin's place
    ///
    /// One that asks for more waits beside it for `pipewright plugin consent`.
    Upgrade(upgrade::Arguments),
    /// Let an upgrade that asks for more take its place
    Consent(consent::Arguments),
    /// Take an installed plugin away; executions that run keep what they pinned
    Remove(remove::Arguments),
    /// Check all digests and signatures of what is installed again, by the policy of today
    Verify(verify::Arguments),
    /// Write installed plugins into an archive, for machines that reach no registry
    Save(save::Arguments),
    /// Install the plugins of such an archive
    Load(load::Arguments),
}

/// What is asked of a server.
#[derive(clap::Subcommand)]
pub enum OfServer {
    /// Keep an action execution of a server as a recording
    Record(record::Arguments),
    /// List the action types that an account of a server can use, and through whom
    Catalogue(share::Catalogue),
    /// Let other accounts of a server use an action type of an installed plugin
    Offer(share::Offer),
    /// Take an offer back
    Withdraw(share::Withdraw),
    /// Tell everybody who uses a version of a plugin to use something else
    Deprecate(share::Say),
    /// Let no pipeline be bound to a version, and no new execution run it
    Yank(share::Say),
    /// Take a deprecation or a yank back
    Restore(share::Restore),
    /// Tell which pipelines use which version of a plugin
    Uses(share::Uses),
}

pub fn run(command: Command) -> Result<ExitCode, Ended> {
    match command {
        Command::Here(command) => run_here(command),
        Command::OfServer(command) => ask_server(&command),
    }
}

fn ask_server(command: &OfServer) -> Result<ExitCode, Ended> {
    match command {
        OfServer::Record(arguments) => record::run(arguments),
        OfServer::Catalogue(arguments) => share::catalogue(arguments),
        OfServer::Offer(arguments) => share::offer(arguments),
        OfServer::Withdraw(arguments) => share::withdraw(arguments),
        OfServer::Deprecate(arguments) => share::deprecate(arguments),
        OfServer::Yank(arguments) => share::yank(arguments),
        OfServer::Restore(arguments) => share::restore(arguments),
        OfServer::Uses(arguments) => share::uses(arguments),
    }
}

fn run_here(command: Here) -> Result<ExitCode, Ended> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let sandbox = host::sandbox(UserFolders::find()?.compiled(), Vec::new())?;
        match command {
            Here::New(arguments) => new::run(arguments),
            Here::Renew(arguments) => renew::run(arguments),
            Here::Build(arguments) => build::run(&sandbox, arguments).await,
            Here::Run(arguments) => run::run(&sandbox, arguments).await,
            Here::Test(arguments) => test::run(&sandbox, arguments).await,
            Here::Replay(arguments) => replay::run(&sandbox, arguments).await,
            Here::Case(arguments) => case::run(&arguments),
            Here::Inspect(arguments) => inspect::run(&sandbox, arguments).await,
            Here::Doc(arguments) => doc::run(&sandbox, arguments).await,
            Here::Diff(arguments) => diff::run(&sandbox, arguments).await,
            Here::Key(arguments) => key::run(&arguments),
            Here::Publish(arguments) => publish::run(&sandbox, arguments).await,
            Here::Add(arguments) => add::run(arguments).await,
            Here::List(arguments) => list::run(&arguments),
            Here::Upgrade(arguments) => upgrade::run(arguments).await,
            Here::Consent(arguments) => consent::run(arguments).await,
            Here::Remove(arguments) => remove::run(arguments).await,
            Here::Verify(arguments) => verify::run(arguments).await,
            Here::Save(arguments) => save::run(arguments).await,
            Here::Load(arguments) => load::run(arguments).await,
        }
    })
}

//! `pipewright plugin`: what somebody who writes a plugin needs. Each command is a file of its own.

use std::process::ExitCode;

use anyhow::Context as _;

use super::exit::Ended;
use crate::home::UserFolders;
use crate::host;

mod add;
mod build;
mod case;
mod component;
mod consent;
mod diff;
mod inspect;
mod key;
mod languages;
mod list;
mod load;
mod new;
mod package;
mod publish;
mod record;
mod remove;
mod replay;
mod run;
mod save;
mod test;
mod upgrade;
mod verify;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Begin a plugin: a folder that builds, passes its cases and explains itself
    New(new::Arguments),
    /// Build a plugin as it is shipped, and check it
    Build(build::Arguments),
    /// Run one action of a plugin, and show everything that it did
    Run(run::Arguments),
    /// Run the cases of a plugin in the sandbox
    ///
    /// The cases are the folders in `cases/`, beside the crate's Cargo.toml or beside the component.
    Test(test::Arguments),
    /// Keep an action execution of a server as a recording
    Record(record::Arguments),
    /// Make the calls of a recording again, without network, and compare
    Replay(replay::Arguments),
    /// Make a case of a recording
    Case(case::Arguments),
    /// Tell what a plugin is, offers, asks for and was built from, and who signed it
    Inspect(inspect::Arguments),
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

pub fn run(command: Command) -> Result<ExitCode, Ended> {
    if let Command::Record(arguments) = &command {
        return record::run(arguments);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let sandbox = host::sandbox(UserFolders::find()?.compiled(), Vec::new())?;
        match command {
            Command::New(arguments) => new::run(arguments),
            Command::Build(arguments) => build::run(&sandbox, arguments).await,
            Command::Run(arguments) => run::run(&sandbox, arguments).await,
            Command::Test(arguments) => test::run(&sandbox, arguments).await,
            Command::Record(arguments) => record::run(&arguments),
            Command::Replay(arguments) => replay::run(&sandbox, arguments).await,
            Command::Case(arguments) => case::run(&arguments),
            Command::Inspect(arguments) => inspect::run(&sandbox, arguments).await,
            Command::Diff(arguments) => diff::run(&sandbox, arguments).await,
            Command::Key(arguments) => key::run(&arguments),
            Command::Publish(arguments) => publish::run(&sandbox, arguments).await,
            Command::Add(arguments) => add::run(arguments).await,
            Command::List(arguments) => list::run(&arguments),
            Command::Upgrade(arguments) => upgrade::run(arguments).await,
            Command::Consent(arguments) => consent::run(arguments).await,
            Command::Remove(arguments) => remove::run(arguments).await,
            Command::Verify(arguments) => verify::run(arguments).await,
            Command::Save(arguments) => save::run(arguments).await,
            Command::Load(arguments) => load::run(arguments).await,
        }
    })
}

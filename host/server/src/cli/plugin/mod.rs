//! `pipewright plugin`: what somebody who writes a plugin needs. Each command is a file of its own.

use std::process::ExitCode;

use anyhow::Context as _;

use super::exit::Ended;
use crate::home::UserFolders;
use crate::host;

mod build;
mod case;
mod component;
mod languages;
mod new;
mod record;
mod replay;
mod run;
mod test;

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
        }
    })
}

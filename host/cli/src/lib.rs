//! The command line: its arguments, and which command does what. Everything is printed from this folder.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line is what prints")]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod artifacts;
mod consent;
pub mod exit;
mod export;
mod import;
mod plugin;
mod remote;
mod run;
mod serve;

use exit::Ended;
use pipewright_runner::host::COMPILE;

/// A continuous-delivery host: CodePipeline's pipelines, every action a sandboxed WebAssembly component.
#[derive(Parser)]
#[command(name = "pipewright", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 succeeded; 1 the pipeline failed or was rejected; 2 bad usage, an invalid pipeline, \
                          or refused by the server; 3 the host or the server failed; 130 interrupted.";

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline here, without a server
    Run(run::Arguments),
    /// Serve CodePipeline's API
    Serve(serve::Arguments),
    /// List the pipelines of a server
    Pipelines(remote::pipelines::Arguments),
    /// Create or update a pipeline on a server
    Create(remote::create::Arguments),
    /// Start a pipeline on a server
    Start(remote::start::Arguments),
    /// Show where a pipeline on a server stands
    Status(remote::status::Arguments),
    /// List the executions of a pipeline on a server
    History(remote::history::Arguments),
    /// Print what the actions of an execution on a server said
    Logs(remote::logs::Arguments),
    /// Approve what waits for approval on a server
    Approve(remote::approve::Arguments),
    /// Reject what waits for approval on a server
    Reject(remote::approve::Arguments),
    /// Stop an execution on a server
    Stop(remote::stop::Arguments),
    /// Run a failed or stopped stage on a server again
    Retry(remote::retry::Arguments),
    /// Load a pipeline on a server again that is quarantined
    Reload(remote::reload::Arguments),
    /// Work with grants files
    #[command(subcommand)]
    Grants(remote::suggest::Command),
    /// Work with plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Work with artifacts
    #[command(subcommand)]
    Artifacts(artifacts::Command),
    /// Write everything that a data directory holds as one file of JSON lines
    Export(export::Arguments),
    /// Read an export into an empty data directory
    Import(import::Arguments),
    /// Compile one component, as a child process with limits: for the host's own use
    #[command(name = COMPILE, hide = true)]
    Compile,
}

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("PIPEWRIGHT_LOG").unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|off| off.is_empty()))
        .init();
    let ended = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Pipelines(arguments) => remote::pipelines::run(&arguments),
        Command::Create(arguments) => remote::create::run(&arguments),
        Command::Start(arguments) => remote::start::run(&arguments),
        Command::Status(arguments) => remote::status::run(&arguments),
        Command::History(arguments) => remote::history::run(&arguments),
        Command::Logs(arguments) => remote::logs::run(&arguments),
        Command::Approve(arguments) => remote::approve::run(&arguments, "Approved"),
        Command::Reject(arguments) => remote::approve::run(&arguments, "Rejected"),
        Command::Stop(arguments) => remote::stop::run(&arguments),
        Command::Grants(command) => remote::suggest::run(&command),
        Command::Retry(arguments) => remote::retry::run(&arguments),
        Command::Reload(arguments) => remote::reload::run(&arguments),
        Command::Plugin(command) => plugin::run(command),
        Command::Artifacts(command) => artifacts::run(command),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Compile => return pipewright_sandbox::compile_child(),
    };
    ended.unwrap_or_else(|ended: Ended| {
        eprintln!("pipewright: {ended}");
        ended.code()
    })
}

//! The command line: its arguments, and which command does what. Everything is printed from this folder.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod artifacts;
mod build;
mod cache;
mod consent;
pub mod exit;
mod export;
mod image;
mod import;
mod out;
mod plugin;
mod remote;
mod run;
mod serve;

use exit::Ended;
use pipewright_runner::host::COMPILE;
use pipewright_runner::programs::{self, RUN};
use rustix::process::{Resource, Rlimit, setrlimit};

/// A continuous-delivery host: CodePipeline's pipelines, every action a sandboxed WebAssembly component.
#[derive(Parser)]
#[command(name = "pipewright", version, arg_required_else_help = true, after_help = format!("{NEXT}\n\n{EXIT_CODES}"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 succeeded; 1 the pipeline failed, was stopped or was rejected, a case failed, a replay differed, \
                          a check or an export found damage, or an upgrade waits for consent; 2 bad usage, an invalid pipeline, \
                          or refused by the server; 3 the host or the server failed; 124 a --timeout was over; 130 interrupted.";

const COMPLETION: &str = "\
bash: pipewright completion bash > ~/.local/share/bash-completion/completions/pipewright
zsh:  pipewright completion zsh > \"${fpath[1]}/_pipewright\"
fish: pipewright completion fish > ~/.config/fish/completions/pipewright.fish";

const NEXT: &str = "\
First steps:
  pipewright run PIPELINE.json                   run a pipeline here, without a server
  pipewright build [DIR]                         run a folder's buildspec here
  pipewright serve                               a server for the AWS CLI, the SDKs and Terraform
  pipewright plugin new TEAM/NAME --kind build   begin a plugin";

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline here, without a server
    Run(run::Arguments),
    /// Run the buildspec of a folder here, without a pipeline
    Build(build::Arguments),
    /// Serve CodePipeline's API and CodeBuild's
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
    /// Show what the actions of an execution reported of tests and coverage, and which cases are flaky
    Tests(remote::tests::Arguments),
    /// Approve what waits for approval on a server
    Approve(remote::approve::Arguments),
    /// Reject what waits for approval on a server
    Reject(remote::approve::Arguments),
    /// Stop an execution on a server
    Stop(remote::stop::Arguments),
    /// Run a failed or stopped stage on a server again
    Retry(remote::retry::Arguments),
    /// Go back, in a stage on a server, to an execution that succeeded there
    Rollback(remote::rollback::Arguments),
    /// Let an execution on a server go on that a condition of a stage holds
    Override(remote::overrule::Arguments),
    /// Load a pipeline on a server again that is quarantined
    Reload(remote::reload::Arguments),
    /// Work with the webhooks that start pipelines on a server
    #[command(subcommand)]
    Webhook(remote::webhooks::Command),
    /// Work with the git hosts that pipelines on a server reach
    #[command(subcommand)]
    Connection(remote::connections::Command),
    /// List where the events of a server's account are delivered, and what could not be
    Deliveries(remote::deliveries::Arguments),
    /// List the action types that workers serve, with the jobs that wait, those that somebody has, and who polled last
    Worker(remote::workers::Arguments),
    /// Work with grants files
    #[command(subcommand)]
    Grants(remote::suggest::Command),
    /// Work with the secrets of an account on a server
    #[command(subcommand)]
    Secret(remote::secret::Command),
    /// Work with plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Work with artifacts
    #[command(subcommand)]
    Artifacts(artifacts::Command),
    /// Work with the images that programs run in
    #[command(subcommand)]
    Image(image::Command),
    /// Work with what builds and other actions keep for later ones
    #[command(subcommand)]
    Cache(cache::Command),
    /// Write everything that a data directory holds as one file of JSON lines
    Export(export::Arguments),
    /// Read an export into an empty data directory
    Import(import::Arguments),
    /// Print the completion of this command line for a shell
    #[command(after_help = COMPLETION)]
    Completion { shell: clap_complete::Shell },
    /// Compile one component, as a child process with limits: for the host's own use
    #[command(name = COMPILE, hide = true)]
    Compile,
    /// Stand around one program that runs apart from the machine: for the host's own use
    #[command(name = RUN, hide = true)]
    RunProgram,
}

/// The words of the command line.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "pipewright", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Values of secrets are in memory: what is left of a crash must not have them.
fn dump_no_core() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!("core dumps cannot be switched off: {error}");
    }
}

pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("PIPEWRIGHT_LOG").unwrap_or_else(|_| "warn".into()),
        )
        .with_ansi(false)
        .with_writer(|| out::LogLines)
        .init();
    dump_no_core();
    let ended = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Build(arguments) => build::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Pipelines(arguments) => remote::pipelines::run(&arguments),
        Command::Create(arguments) => remote::create::run(&arguments),
        Command::Start(arguments) => remote::start::run(&arguments),
        Command::Status(arguments) => remote::status::run(&arguments),
        Command::History(arguments) => remote::history::run(&arguments),
        Command::Logs(arguments) => remote::logs::run(&arguments),
        Command::Tests(arguments) => remote::tests::run(&arguments),
        Command::Approve(arguments) => remote::approve::run(&arguments, "Approved"),
        Command::Reject(arguments) => remote::approve::run(&arguments, "Rejected"),
        Command::Stop(arguments) => remote::stop::run(&arguments),
        Command::Webhook(command) => remote::webhooks::run(&command),
        Command::Connection(command) => remote::connections::run(&command),
        Command::Grants(command) => remote::suggest::run(&command),
        Command::Secret(command) => remote::secret::run(&command),
        Command::Retry(arguments) => remote::retry::run(&arguments),
        Command::Rollback(arguments) => remote::rollback::run(&arguments),
        Command::Override(arguments) => remote::overrule::run(&arguments),
        Command::Reload(arguments) => remote::reload::run(&arguments),
        Command::Deliveries(arguments) => remote::deliveries::run(&arguments),
        Command::Worker(arguments) => remote::workers::run(&arguments),
        Command::Plugin(command) => plugin::run(command),
        Command::Artifacts(command) => artifacts::run(command),
        Command::Image(command) => image::run(&command),
        Command::Cache(command) => cache::run(&command),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Completion { shell } => {
            out::lines(&completion(shell));
            return ExitCode::from(exit::SUCCEEDED);
        }
        Command::Compile => return programs::compiler(),
        Command::RunProgram => return programs::child(),
    };
    ended.unwrap_or_else(|ended: Ended| {
        out::aside(&format!("pipewright: {ended}"));
        ended.code()
    })
}

//! `pipewright serve`: the server in the foreground.
//!
//! Owns the arguments and what is printed. Must not know how the server works.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Ended;
use crate::out::say;
use pipewright_base::home::UserFolders;
use pipewright_runner::work::Work;
use pipewright_server::config::{Config, ConfigError};
use pipewright_server::server::Server;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the server keeps everything [default: $XDG_DATA_HOME/pipewright/server]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:7720]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The region that clients sign for [default: us-east-1]
    #[arg(long)]
    region: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How long tasks that were cut off have to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

pub fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let mut config = match &arguments.config {
        Some(path) => Config::read(path).map_err(Ended::usage)?,
        None => Config::default(),
    };
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if let Some(region) = arguments.region {
        config.region = region;
        config.check().map_err(|message| Ended::usage(ConfigError::Argument(message)))?;
    }
    let data = match arguments.data {
        Some(data) => data,
        None => UserFolders::find()?.server_data(),
    };
    let runtime = |name: &str| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name(name)
            .build()
            .context("cannot start a runtime")
    };
    // Guests have threads of their own: whatever they do, requests are answered.
    let (requests, guests) = (runtime("requests")?, runtime("guests")?);
    let work = Work::on(guests.handle());
    let configured = arguments.config;
    let ended = requests.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        // From here on it is no end: who closes the terminal stops nothing.
        let hang_up = signal(SignalKind::hangup()).context("cannot wait for signals")?;
        let server = Server::open(&data, config, work).await?;
        let store = server.store();
        tokio::spawn(read_again(hang_up, configured, server.grants_anew()));
        say!("{}", ready(&server));
        server
            .run(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await
            .map(|()| store)
    });
    // Whoever still holds the store lets go of it, so that the last line closes it; a guest that computes must not keep the
    // process.
    guests.shutdown_timeout(SHUTDOWN_MAX);
    requests.shutdown_timeout(SHUTDOWN_MAX);
    drop(ended?);
    Ok(ExitCode::SUCCESS)
}

/// At each hang-up, takes what the configuration file says of grants, unless it is wrong.
async fn read_again(mut hang_up: Signal, file: Option<PathBuf>, take: impl Fn(&Config) + Send) {
    while hang_up.recv().await.is_some() {
        let Some(file) = &file else {
            tracing::warn!("SIGHUP: there is no configuration file to read again");
            continue;
        };
        match tokio::task::block_in_place(|| Config::read(file).map(|config| take(&config))) {
            Ok(()) => tracing::warn!(
                "SIGHUP: the grants files are those of {} now; all else in it counts from the next start",
                file.display()
            ),
            Err(error) => tracing::error!("SIGHUP: {error}; the grants files are those of before"),
        }
    }
}

/// One line: where the server is, and what to set for the AWS command line to use it.
fn ready(server: &Server) -> String {
    format!(
        "pipewright is ready: export AWS_ENDPOINT_URL_CODEPIPELINE={} AWS_SHARED_CREDENTIALS_FILE={} AWS_DEFAULT_REGION={}",
        server.endpoint,
        server.credentials.display(),
        server.region
    )
}

//! `pipewright plugin replay`: the calls of a recording, made again without network. Must not know how they are made
//! (`recording`).

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_sandbox::{Plugin, Sandbox};

use super::super::exit::{self, Ended};
use super::component;
use super::run::Shown;
use crate::out::{self, note, say};
use pipewright_author::recording;
use pipewright_runner::recording::{Bundle, RecordingError};

#[derive(clap::Args)]
pub struct Arguments {
    /// The recording
    #[arg(value_name = "RECORDING")]
    recording: PathBuf,
    /// Another build of the plugin: its folder, which is built, or a component [default: the recorded component]
    #[arg(long, value_name = "FILE.wasm|DIR")]
    with: Option<PathBuf>,
    /// Show every host call and the debugging lines of the log
    #[arg(long)]
    debug: bool,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let bundle = Bundle::read(&arguments.recording).map_err(ended)?;
    let plugin = match &arguments.with {
        Some(path) => component::load(sandbox, path, component::find(path).await?).await?,
        None => recorded(sandbox, &bundle).await?,
    };
    for what in &bundle.recording.left_out {
        note!("left out   {what}");
    }
    let sink = Arc::new(Shown { debug: arguments.debug });
    let replayed = recording::replay(sandbox, &plugin, &bundle, sink).await.map_err(ended)?;
    for difference in &replayed.differences {
        out::lines(&difference.to_string());
    }
    let same = replayed.differences.is_empty();
    let calls = replayed.calls;
    say!(
        "{} ({calls} {} replayed)",
        if same { "same" } else { "different" },
        if calls == 1 { "call" } else { "calls" }
    );
    Ok(ExitCode::from(if same { exit::SUCCEEDED } else { exit::FAILED }))
}

/// The recorded component: of the recording itself, or of this binary's own plugins.
async fn recorded(sandbox: &Sandbox, bundle: &Bundle) -> Result<Plugin, Ended> {
    let recorded = &bundle.recording.component;
    let of_bundle = bundle.blobs.get(&recorded.digest).map(|component| component.to_vec());
    let own = || pipewright_bundle::PLUGINS.iter().find(|(_, bytes)| Digest::of(bytes) == recorded.digest);
    let bytes = of_bundle.or_else(|| own().map(|(_, bytes)| bytes.to_vec())).ok_or_else(|| {
        let (name, version, digest) = (&recorded.name, &recorded.version, &recorded.digest);
        Ended::usage(format!("the recording left out the component {name} {version} ({digest}): name it with --with"))
    })?;
    component::load(
        sandbox,
        std::path::Path::new(&recorded.name),
        component::Component { bytes, symbols: None, version: None },
    )
    .await
}

pub(super) fn ended(error: RecordingError) -> Ended {
    match error {
        RecordingError::Host(error) => Ended::Host(error),
        error @ RecordingError::Malformed(_) => {
            Ended::usage(format!("{error}; `pipewright plugin record` and `pipewright plugin run --record` write one"))
        }
        error => Ended::usage(error),
    }
}

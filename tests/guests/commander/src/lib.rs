//! Has shell scripts run as programs of the host's machine, one after the other in the same scratch, and says how each ended.

mod bindings {
    #![allow(unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package guest:commander;
            world commander {
                import pipewright:plugin/commands@0.1.0;
            }
        ",
        world: "guest:commander/commander",
        with: { "pipewright:plugin/types@0.1.0": pipewright_sdk::bindings::host::pipewright::plugin::types },
        generate_all,
    });
    pub use self::pipewright::plugin::commands::*;
}

use std::fs;

use bindings::{Error, Job};
use pipewright_sdk::prelude::*;
use pipewright_sdk::{NamedValue, Resumed};

#[derive(Settings)]
struct Asked {
    /// What `sh` is to run.
    scripts: Vec<String>,
    /// The directory that they run in.
    #[setting(default = "")]
    directory: String,
    /// Whether they may reach the network.
    #[setting(default = "false")]
    network: bool,
    /// A secret that they find in the variable TOKEN.
    secret: Option<String>,
    /// A secret that they find in the file that the variable TOKEN_FILE names.
    secret_file: Option<String>,
    /// How long each may take, in seconds.
    seconds: Option<u32>,
    /// Whether the plugin says that it is done when it has started one.
    #[setting(default = "false")]
    hasty: bool,
}

#[derive(Variables)]
struct Told {
    /// The statuses with which they ended.
    statuses: String,
    /// The limits that ended them.
    limits: String,
    /// The last lines of the last one.
    tail: String,
}

/// Has them run.
#[action(provider = "Commander", inputs = 0..=1, outputs = 0..=1)]
fn command(action: &Action, asked: Asked) -> Result<Step<Report<Told>>> {
    let resumed: Option<Resumed<(Vec<i32>, Vec<String>)>> = action.resumed()?;
    let (mut statuses, mut limits) = resumed.map(|resumed| resumed.continuation).unwrap_or_default();
    let mut tail = String::new();
    if let Some(ended) = bindings::ended() {
        info!(
            "ended with {} after {} µs of CPU time, {} bytes",
            ended.status, ended.cpu_micros, ended.memory_bytes_max
        );
        statuses.push(ended.status);
        limits.extend(ended.limit);
        tail = ended.tail;
    }
    if let Some(script) = asked.scripts.get(statuses.len()) {
        if statuses.is_empty() {
            fs::create_dir_all(format!("/scratch/{}", asked.directory))?;
            fs::write("/scratch/laid", "by the plugin\n")?;
        }
        start(&asked, script)?;
        if asked.hasty {
            return Ok(Step::Done(Report::new("hasty").variables(told(&statuses, &limits, tail))));
        }
        return Ok(Step::Waiting(Wait::for_signal("program").continuation(&(statuses, limits))?));
    }
    if let Ok(output) = action.output() {
        files::copy("/scratch/out", output, &[])?;
    }
    Ok(Step::Done(Report::new("done").variables(told(&statuses, &limits, tail))))
}

fn told(statuses: &[i32], limits: &[String], tail: String) -> Told {
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    Told { statuses: statuses.join(" "), limits: limits.join(" "), tail }
}

fn start(asked: &Asked, script: &str) -> Result<()> {
    let named = |name: &str, value: &str| NamedValue { name: name.to_owned(), value: value.to_owned() };
    let job = Job {
        arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
        directory: asked.directory.clone(),
        environment: vec![named("GIVEN", "by the plugin")],
        secrets: asked.secret.iter().map(|name| named("TOKEN", name)).collect(),
        network: asked.network,
        image: None,
        wall_seconds: asked.seconds,
    };
    let secret_files: Vec<_> = asked.secret_file.iter().map(|name| named("TOKEN_FILE", name)).collect();
    let started = match secret_files.as_slice() {
        [] => bindings::start(&job),
        files => bindings::start_with_files(&job, files),
    };
    started.map_err(|error| match error {
        Error::Denied(text) => Failure::permission(text),
        Error::Invalid(text) => Failure::configuration(text),
    })
}

plugin! {
    /// Has shell scripts run as programs of the host's machine.
    name: "guest/commander",
    asks: [
        ask(Capability::Commands, "to run the scripts"),
        ask(Capability::Secret("Secret".into()), "to give it to the scripts"),
    ],
    build: [command],
}

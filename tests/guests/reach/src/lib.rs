//! Reaches for the capability that its setting names; what it gets hold of goes into the variable `found`. Its cases show
//! what each capability is without its grant.

mod bindings {
    #![allow(unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package guest:reach;
            world reach {
                import pipewright:plugin/commands@0.1.0;
            }
        ",
        world: "guest:reach/reach",
        with: { "pipewright:plugin/types@0.1.0": pipewright_sdk::bindings::host::pipewright::plugin::types },
        generate_all,
    });
    pub use self::pipewright::plugin::commands::*;
}

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Asked {
    /// A capability by its name in the host's table.
    capability: String,
}

#[derive(Variables)]
struct Told {
    /// What it got hold of.
    found: String,
}

/// Reaches for it.
#[action(provider = "Reach")]
fn reach(_: &Action, asked: Asked) -> Result<Report<Told>> {
    let found = match asked.capability.as_str() {
        "clock" => {
            let before = milliseconds();
            std::thread::sleep(Duration::from_millis(2));
            format!("{before} and {}", milliseconds())
        }
        "randomness" => getrandom::u64().map_err(|error| Failure::job(error.to_string()))?.to_string(),
        "secrets" => secrets::reveal("token")?,
        "http" => http::get("https://example.com/").send()?.status().to_string(),
        "directories" => std::fs::read_to_string("/directories/shelf/note.txt")?,
        "commands" => run_a_program()?,
        "caches" => {
            let found = caches::restore("index", &["in".to_owned()], "kept")?;
            std::fs::create_dir_all("/scratch/kept")?;
            caches::save("index", "kept")?;
            let text = std::fs::read_to_string("/scratch/kept/note.txt").unwrap_or_default();
            format!("{}: {text}", found.map_or_else(|| "none".to_owned(), |found| found.key))
        }
        "unasked" => std::fs::read_to_string("/directories/cellar/note.txt")?,
        other => return Err(Failure::configuration(format!("no capability {other:?}"))),
    };
    Ok(Report::new("reached").variables(Told { found }))
}

fn run_a_program() -> Result<String> {
    let job = bindings::Job {
        arguments: vec!["true".to_owned()],
        directory: String::new(),
        environment: Vec::new(),
        secrets: Vec::new(),
        network: false,
        image: None,
        wall_seconds: None,
    };
    match bindings::start(&job) {
        Ok(()) => Ok("started".to_owned()),
        Err(bindings::Error::Denied(text)) => Err(Failure::permission(text)),
        Err(bindings::Error::Invalid(text)) => Err(Failure::configuration(text)),
    }
}

#[expect(clippy::disallowed_methods, reason = "what a guest is told is what is looked at")]
fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

plugin! {
    /// Reaches for one capability.
    name: "guest/reach",
    asks: [
        ask(Capability::Clock, "to say what time it is"),
        ask(Capability::Randomness, "to be surprised"),
        ask(Capability::RevealSecret("token".into()), "to know it"),
        ask(Capability::Http("example.com".into()), "to see whether it is there"),
        ask(Capability::ReadDirectory("shelf".into()), "to read the note"),
        ask(Capability::Commands, "to run nothing of importance"),
        ask(Capability::Caches, "to keep a note"),
    ],
    invoke: [reach],
}

//! Reaches for the capability that its setting names; what it gets hold of goes into the variable `found`. Its cases show
//! what each capability is without its grant.

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
        "unasked" => std::fs::read_to_string("/directories/cellar/note.txt")?,
        other => return Err(Failure::configuration(format!("no capability {other:?}"))),
    };
    Ok(Report::new("reached").variables(Told { found }))
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
    ],
    invoke: [reach],
}

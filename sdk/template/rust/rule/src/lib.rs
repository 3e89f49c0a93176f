//! `{{type}}`.

use pipewright_sdk::prelude::*;

use std::time::{SystemTime, UNIX_EPOCH};

const HOUR_SECONDS: u64 = 60 * 60;

#[derive(Settings)]
struct Hours {
    /// The first hour of the day (UTC) in which the rule passes.
    #[setting(default = "8")]
    from: u64,
    /// The first hour after it in which it passes no more.
    #[setting(default = "17")]
    to: u64,
}

/// Passes at certain hours of the day.
#[action(provider = "{{provider}}")]
fn hours(_: &Action, settings: Hours) -> Result<Verdict> {
    // Without the grant of a clock, time stands still at the start of the call, which is all that is wanted here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let hour = now / HOUR_SECONDS % 24;
    Ok(match (settings.from..settings.to).contains(&hour) {
        true => Verdict::passed(),
        false => Verdict::failed(format!("it is {hour} o'clock UTC; from {} to {} is the time", settings.from, settings.to)),
    })
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    rule: [hours],
}

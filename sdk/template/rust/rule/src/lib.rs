//! `{{type}}`: a rule of stage conditions.
//!
//! It runs where a pipeline of type V2 has it among the `rules` of a stage's `beforeEntry`, `onSuccess` or `onFailure`:
//!
//! ```json
//! { "name": "Hours", "ruleTypeId": { "category": "Rule", "owner": "Custom", "provider": "{{provider}}", "version": "1" } }
//! ```

use pipewright_sdk::prelude::*;

const HOUR_MILLISECONDS: u64 = 60 * 60 * 1000;

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
    let hour = clock::milliseconds() / HOUR_MILLISECONDS % 24;
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

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn there_are_hours() {
        // Half past nine.
        let host = Host::new().time((9 * 60 + 30) * 60 * 1000);
        let passes = |from, to| hours(&host.action(), Hours { from, to }).expect("a verdict").passed;
        assert!(passes(8, 17));
        assert!(!passes(10, 17));
    }
}

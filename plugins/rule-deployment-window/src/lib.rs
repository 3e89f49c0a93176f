//! Rule `AWS/DeploymentWindow/1`: passes while the time is one of a cron expression, in a time zone.
//!
//! It judges the minute in which it is called, and does not wait for the next window.

mod cron;
mod zone;

use cron::{Cron, Time};
use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Window {
    /// When it passes, as Quartz writes it: second, minute, hour, day of the month, month, day of the week, and perhaps the year,
    /// as in `* * 9-17 ? * MON-FRI`. Minutes are told apart, and seconds not.
    cron: String,
    /// The time zone of the expression: a region like `Europe/Berlin`, `UTC`, or `UTC+05:30`.
    #[setting(default = "UTC")]
    time_zone: String,
}

/// Passes at certain times.
#[action(owner = "AWS", provider = "DeploymentWindow")]
fn deployment_window(_: &Action, window: Window) -> Result<Verdict> {
    let Window { cron, time_zone } = window;
    let wrong = |setting: &str, reason: String| Failure::configuration(format!("`{setting}`: {reason}"));
    let open: Cron = cron.parse().map_err(|reason| wrong("Cron", reason))?;
    let zone = zone::find(&time_zone).map_err(|reason| wrong("TimeZone", reason))?;
    // Without the grant of a clock, time stands still at the start of the call, which is all that is wanted here.
    let now = i64::try_from(clock::milliseconds()).ok().and_then(|now| jiff::Timestamp::from_millisecond(now).ok());
    let now = now.ok_or_else(|| Failure::job("the host's clock shows no time"))?.to_zoned(zone).datetime();
    Ok(match open.is_at(&Time::of(now)) {
        true => Verdict::passed(),
        false => Verdict::failed(format!(
            "it is {} in {time_zone}, which is not within `{cron}`",
            now.strftime("%a %F %H:%M")
        )),
    })
}

plugin! {
    /// Keeps deployments to certain times.
    name: "pipewright/rule-deployment-window",
    rule: [deployment_window],
}

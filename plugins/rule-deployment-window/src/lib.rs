//! Rule `AWS/DeploymentWindow/1`: passes while the time is one of a cron expression, in a time zone.
//!
//! It judges the minute in which it is called, and does not wait for the next window.

mod cron;
mod zone;

use cron::{Cron, Time};
use jiff::tz::TimeZone;
use pipewright_sdk::SettingValue;
use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Window {
    /// When it passes, as Quartz writes it: second, minute, hour, day of the month, month, day of the week, and perhaps the year,
    /// as in `* * 9-17 ? * MON-FRI`. Minutes are told apart, and seconds not.
    cron: Told<Cron>,
    /// The time zone of the expression: a region like `Europe/Berlin`, `UTC`, or `UTC+05:30`.
    #[setting(default = "UTC")]
    time_zone: Told<TimeZone>,
}

/// A setting as it is written, for whoever is told that the window is closed, and what it means.
struct Told<T> {
    text: String,
    means: T,
}

impl SettingValue for Told<Cron> {
    fn parse(text: &str) -> Result<Self, String> {
        let means = text.parse().map_err(|reason| format!("a cron expression as Quartz writes it ({reason})"))?;
        Ok(Self { text: text.to_owned(), means })
    }
}

impl SettingValue for Told<TimeZone> {
    fn parse(text: &str) -> Result<Self, String> {
        let means = zone::find(text).ok_or("a region like `Europe/Berlin`, `UTC`, or an offset like `UTC+05:30`")?;
        Ok(Self { text: text.to_owned(), means })
    }
}

/// Passes at certain times.
#[action(owner = "AWS", provider = "DeploymentWindow")]
fn deployment_window(_: &Action, window: Window) -> Result<Verdict> {
    let Window { cron, time_zone } = window;
    // Without the grant of a clock, time stands still at the start of the call, which is all that is wanted here.
    let now = i64::try_from(clock::milliseconds()).ok().and_then(|now| jiff::Timestamp::from_millisecond(now).ok());
    let now = now.ok_or_else(|| Failure::job("the host's clock shows no time"))?.to_zoned(time_zone.means).datetime();
    Ok(match cron.means.is_at(&Time::of(now)) {
        true => Verdict::passed(),
        false => Verdict::failed(format!(
            "it is {} in {}, which is not within `{}`",
            now.strftime("%a %F %H:%M"),
            time_zone.text,
            cron.text
        )),
    })
}

plugin! {
    /// Keeps deployments to certain times.
    name: "pipewright/rule-deployment-window",
    rule: [deployment_window],
}

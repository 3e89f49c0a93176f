//! Rule `AWS/CloudWatchAlarm/1`: asks CloudWatch, or what speaks as it does, for the state of an alarm.
//!
//! CodePipeline's documentation says that the rule waits for a state for so many minutes, and not what comes of it: here it fails as
//! soon as the alarm is in one of its states, and passes once the time is up without one.

mod signature;

use pipewright_sdk::FailureKind;
use pipewright_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use signature::{Signer, signed};

/// Between two questions.
const INTERVAL_MILLISECONDS: u64 = 30 * 1000;
const MINUTE_MILLISECONDS: u64 = 60 * 1000;
/// Of an answer about one alarm, which has a page of metrics at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const STATES: [&str; 3] = ["ALARM", "OK", "INSUFFICIENT_DATA"];
const KEY_ID: &str = "aws-access-key-id";
const KEY: &str = "aws-secret-access-key";

#[derive(Settings)]
struct Check {
    /// The alarm's name, or its ARN.
    alarm_name: String,
    /// The states by which the rule fails, separated by commas: `ALARM`, `OK` or `INSUFFICIENT_DATA`.
    #[setting(default = "ALARM")]
    alarm_states: String,
    /// How many minutes to wait for one of the states; with 0, the first answer counts.
    #[setting(default = "0")]
    wait_time: u32,
    /// The address of the service; not CodePipeline's. Without it, that of CloudWatch in the region.
    endpoint_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(default)]
    metric_alarms: Vec<Alarm>,
    #[serde(default)]
    composite_alarms: Vec<Alarm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarm {
    state_value: String,
    #[serde(default)]
    state_reason: String,
}

/// Until when, in milliseconds since 1970, to ask again.
#[derive(Serialize, Deserialize)]
struct Asked {
    deadline: u64,
}

/// Passes where an alarm is in none of the states, for as long as it is waited for one.
#[action(owner = "AWS", provider = "CloudWatchAlarm")]
fn cloudwatch_alarm(action: &Action, check: Check) -> Result<Step<Verdict>> {
    let states = states(&check.alarm_states)?;
    let now = clock::milliseconds();
    let first = Asked { deadline: now + u64::from(check.wait_time) * MINUTE_MILLISECONDS };
    let Asked { deadline } = action.resumed()?.map_or(first, |resumed| resumed.continuation);
    let may_wait = now < deadline;
    let seen = match alarm(action, &check, now) {
        Ok(alarm) if states.contains(&alarm.state_value) => {
            let reason =
                if alarm.state_reason.is_empty() { String::new() } else { format!(": {}", alarm.state_reason) };
            return Ok(Step::Done(Verdict::failed(format!("{} is {}{reason}", check.alarm_name, alarm.state_value))));
        }
        Ok(alarm) => format!("{} is {}", check.alarm_name, alarm.state_value),
        Err(failure) if may_wait && failure.kind == FailureKind::SystemUnavailable => failure.message,
        Err(failure) => return Err(failure),
    };
    info!("{seen}");
    if !may_wait {
        return Ok(Step::Done(Verdict::passed()));
    }
    let next = (now + INTERVAL_MILLISECONDS).min(deadline);
    Ok(Step::Waiting(Wait::until_time(next).summary(seen).continuation(&Asked { deadline })?))
}

/// As a list, or in JSON.
fn states(text: &str) -> Result<Vec<String>> {
    let list: Vec<String> = match serde_json::from_str(text) {
        Ok(list) => list,
        Err(_) => text.split(',').map(|state| state.trim().to_owned()).collect(),
    };
    match list.iter().find(|state| !STATES.contains(&state.as_str())) {
        Some(other) => {
            Err(Failure::configuration(format!("`AlarmStates`: `{other}` is none of `{}`", STATES.join("`, `"))))
        }
        None => Ok(list),
    }
}

fn alarm(action: &Action, check: &Check, now: u64) -> Result<Alarm> {
    let Check { alarm_name, endpoint_url, .. } = check;
    // arn:PARTITION:cloudwatch:REGION:ACCOUNT:alarm:NAME
    let parts: Vec<&str> = alarm_name.splitn(7, ':').collect();
    let (region, name) = match parts[..] {
        ["arn", _, "cloudwatch", region, _, "alarm", name] => (region, name),
        _ => (action.context().region.as_str(), alarm_name.as_str()),
    };
    let endpoint = endpoint_url.clone().unwrap_or_else(|| format!("https://monitoring.{region}.amazonaws.com"));
    let signer =
        Signer { key_id: &secrets::reveal(KEY_ID)?, key: &secrets::reveal(KEY)?, region, service: "monitoring" };
    let body = json!({ "AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"] }).to_string();
    let headers = [
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "GraniteServiceVersion20100801.DescribeAlarms"),
    ];
    let response = signed(&signer, &endpoint, &headers, body.into_bytes(), now)?.send()?;
    let status = response.status();
    if status != 200 {
        let said = format!("DescribeAlarms answered {status}: {}", response.text(ANSWER_BYTES_MAX)?);
        return Err(match status {
            429 | 500.. => Failure::system_unavailable(said),
            _ if said.contains("AccessDenied") || said.contains("NotAuthorized") => Failure::permission(said),
            _ => Failure::configuration(said),
        });
    }
    let described: Described = response.json(ANSWER_BYTES_MAX)?;
    let found = described.metric_alarms.into_iter().chain(described.composite_alarms).next();
    found.ok_or_else(|| Failure::configuration(format!("`AlarmName`: there is no alarm `{name}` in {region}")))
}

plugin! {
    /// Looks whether an alarm of CloudWatch is raised.
    name: "pipewright/rule-cloudwatch-alarm",
    asks: [
        ask(Capability::Http("*".into()), "to ask CloudWatch for the alarm"),
        ask(Capability::RevealSecret(KEY_ID.into()), "the id of the access key, by which requests are signed"),
        ask(Capability::RevealSecret(KEY.into()), "the access key, by which requests are signed"),
    ],
    rule: [cloudwatch_alarm],
}

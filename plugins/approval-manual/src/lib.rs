//! Approval `AWS/Manual/1` (S60, S61): waits for the signal `approval` and decides as it says. Who may send the
//! signal, the token and the timeout are the host's.

use pipewright_sdk::prelude::*;
use serde::Deserialize;

#[derive(Settings)]
struct Request {
    /// The topic that is told of the request.
    #[allow(dead_code, reason = "the host sends notifications")]
    notification_arn: Option<String>,
    /// Where the reviewer finds what is to be approved.
    external_entity_link: Option<String>,
    /// What the reviewer should know.
    custom_data: Option<String>,
}

/// What the signal `approval` carries.
#[derive(Deserialize)]
struct Answer {
    status: Status,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

#[derive(Deserialize)]
enum Status {
    Approved,
    Rejected,
}

/// Waits until a person approves or rejects.
#[action(owner = "AWS", provider = "Manual")]
fn manual(action: &Action, settings: Request) -> Result<Step<Decision>> {
    match action.resumed::<()>()? {
        Some(Resumed { wake: Wake::Signal(signal), .. }) => Ok(Step::Done(decide(&signal.payload)?)),
        _ => Ok(Step::Waiting(Wait::for_signal("approval").summary(question(&settings)))),
    }
}

fn question(settings: &Request) -> String {
    let mut text = settings.custom_data.clone().unwrap_or_else(|| "Waiting for approval".to_owned());
    if let Some(link) = &settings.external_entity_link {
        text.push_str(": ");
        text.push_str(link);
    }
    text
}

fn decide(payload: &[u8]) -> Result<Decision> {
    let answer: Answer = serde_json::from_slice(payload)
        .map_err(|error| Failure::job(format!("the payload of the signal `approval` is not understood: {error}")))?;
    let summary = answer.summary.filter(|summary| !summary.is_empty());
    let (verb, decision) = match answer.status {
        Status::Approved => ("Approved", Decision::approved(summary)),
        Status::Rejected => ("Rejected", Decision::rejected(summary)),
    };
    info!("{verb} by {}", answer.by.as_deref().filter(|by| !by.is_empty()).unwrap_or("somebody unnamed"));
    Ok(decision)
}

plugin! {
    /// Lets a person approve or reject.
    name: "pipewright/approval-manual",
    approval: [manual],
}

#[cfg(test)]
mod tests {
    use super::{Request, question};

    #[test]
    fn the_question_tells_the_reviewer_what_and_where() {
        let check = |data: Option<&str>, link: Option<&str>, expected: &str| {
            let settings = Request {
                notification_arn: None,
                external_entity_link: link.map(Into::into),
                custom_data: data.map(Into::into),
            };
            assert_eq!(question(&settings), expected);
        };
        check(None, None, "Waiting for approval");
        check(Some("Look at the tables"), None, "Look at the tables");
        check(None, Some("https://example.com/1"), "Waiting for approval: https://example.com/1");
    }
}

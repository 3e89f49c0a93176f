//! `{{type}}`.

use pipewright_sdk::prelude::*;

use serde::Deserialize;

#[derive(Settings)]
struct Asking {
    /// What the reviewer is asked.
    #[setting(default = "May this go out?")]
    question: String,
}

/// What the signal `approval` carries.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    by: String,
}

/// Waits until a person approves, and wants to know why.
#[action(provider = "{{provider}}")]
fn approve(action: &Action, settings: Asking) -> Result<Step<Decision>> {
    // Called a first time, it waits, which costs the host nothing; the signal calls it again.
    let Some(Resumed { wake: Wake::Signal(signal), .. }) = action.resumed::<()>()? else {
        return Ok(Step::Waiting(Wait::for_signal("approval").summary(settings.question)));
    };
    let answer: Answer = serde_json::from_slice(&signal.payload)
        .map_err(|error| Failure::job(format!("the answer is not understood: {error}")))?;
    if answer.summary.is_empty() {
        return Ok(Step::Done(Decision::rejected(Some(format!("{} does not say why", answer.by)))));
    }
    Ok(Step::Done(match answer.status.as_str() {
        "Approved" => Decision::approved(Some(answer.summary)),
        _ => Decision::rejected(Some(answer.summary)),
    }))
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    approval: [approve],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn a_yes_needs_a_reason() {
        let host = Host::new();
        let Ok(Step::Waiting(wait)) = approve(&host.action(), Asking { question: "Now?".to_owned() }) else {
            panic!("it does not wait")
        };
        assert_eq!(wait, Wait::for_signal("approval").summary("Now?"));

        let payload = br#"{"status":"Approved","summary":"","by":"maria"}"#.to_vec();
        let host = host.resumed(wait, Wake::Signal(Signal { kind: "approval".to_owned(), payload }));
        let Ok(Step::Done(decision)) = approve(&host.action(), Asking { question: "Now?".to_owned() }) else {
            panic!("it waits on")
        };
        assert!(!decision.approved);
    }
}

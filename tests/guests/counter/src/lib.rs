//! Reports each of its calls to a server that counts them: which action execution, which attempt, and whether it is called
//! again after a wait. The server's answer decides how long the call takes, and whether it waits. Before that it only looks
//! whether its outputs are empty, and begins them.

use std::fs;

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Where {
    /// The address of the server that counts.
    url: String,
}

#[derive(Variables)]
struct Told {
    /// The attempt whose result this is.
    attempt: u32,
}

/// Makes a file that no other execution has.
#[action(provider = "Counter", outputs = 1, latest = latest)]
fn source(action: &Action, to: Where) -> Result<Step<Fetched<Told>>> {
    Ok(match count(action, &to)? {
        Some(wait) => Step::Waiting(wait),
        None => Step::Done(Fetched { revision: None, report: report(action)? }),
    })
}

/// There is never anything new.
fn latest(_: &Action, _: Where) -> Result<Option<Revision>> {
    Ok(None)
}

/// The same, from inputs that are not looked at.
#[action(provider = "Counter", inputs = 0..=5, outputs = 0..=5)]
fn build(action: &Action, to: Where) -> Result<Step<Report<Told>>> {
    Ok(match count(action, &to)? {
        Some(wait) => Step::Waiting(wait),
        None => Step::Done(report(action)?),
    })
}

/// The server answers `done`, or `wait` and until when.
fn count(action: &Action, to: &Where) -> Result<Option<Wait>> {
    begin(action)?;
    let call = if action.resumed::<()>()?.is_some() { "resumed" } else { "first" };
    let told = format!("{} {} {call}", action.idempotency_key(), action.attempt());
    let answer = http::post(&to.url).body(told).send()?.text(100)?;
    match answer.split_once(' ') {
        Some(("wait", until)) => {
            let until = until.parse().map_err(|_| Failure::job(format!("until when is {until:?}?")))?;
            Ok(Some(Wait::until_time(until)))
        }
        None if answer == "done" => Ok(None),
        _ => Err(Failure::job(format!("the server answered {answer:?}"))),
    }
}

/// Leaves something in each output, and fails where something is there already: that of a call that a death interrupted.
fn begin(action: &Action) -> Result<()> {
    for output in action.outputs() {
        let begun = output.join("begun");
        if begun.exists() {
            return Err(Failure::job(format!("{} is left of an earlier attempt", begun.display())));
        }
        fs::write(begun, action.attempt().to_string())?;
    }
    Ok(())
}

fn report(action: &Action) -> Result<Report<Told>> {
    for output in action.outputs() {
        fs::write(output.join("file"), action.idempotency_key())?;
    }
    Ok(Report::new("counted").variables(Told { attempt: action.attempt() }))
}

plugin! {
    /// Counts its calls.
    name: "guest/counter",
    asks: [ask(Capability::Http("*".into()), "to tell each call")],
    source: [source],
    build: [build],
}

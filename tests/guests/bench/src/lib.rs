//! The actions that the benchmark measures: as little as an action can do. With files by the standard library alone, so
//! that a host which has nothing but WASI and a log can run them too.

use std::fs;

use pipewright_sdk::prelude::*;

/// A source of nothing.
#[action(provider = "Nothing", latest = latest)]
fn nowhere(_: &Action, (): ()) -> Result<Fetched> {
    Ok(Fetched { revision: None, report: Report::new("done") })
}

fn latest(_: &Action, (): ()) -> Result<Option<Revision>> {
    Ok(None)
}

/// Does nothing.
#[action(provider = "Nothing")]
fn nothing(_: &Action, (): ()) -> Result<Report> {
    Ok(Report::new("done"))
}

/// Reads the file `file` of its input.
#[action(provider = "Read", inputs = 1)]
fn read(action: &Action, (): ()) -> Result<Report> {
    let bytes = fs::read(action.input()?.join("file"))?;
    Ok(Report::new(format!("{} bytes", bytes.len())))
}

/// Makes an output of one file, which no other call makes, from the file `file` of its input, and says so.
#[action(provider = "Small", inputs = 1, outputs = 1)]
fn small(action: &Action, (): ()) -> Result<Report> {
    let mut bytes = fs::read(action.input()?.join("file"))?;
    bytes.extend_from_slice(action.idempotency_key().as_bytes());
    fs::write(action.output()?.join("file"), &bytes)?;
    info!("wrote {} bytes", bytes.len());
    Ok(Report::new("done"))
}

plugin! {
    /// Does little.
    name: "guest/bench",
    source: [nowhere],
    build: [nothing, read, small],
}

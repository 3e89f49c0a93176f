//! Makes the host hold as much as it can while it says what it is.

use pipewright_sdk::bindings::host::wasi::http::types::{Fields, OutgoingRequest};
use pipewright_sdk::prelude::*;

/// Does nothing.
#[action(provider = "Hoard")]
fn hoard_nothing(_: &Action, (): ()) -> Result<Report> {
    Ok(Report::new("done"))
}

fn hoarded() -> &'static str {
    let mut held = Vec::new();
    loop {
        let request = OutgoingRequest::new(Fields::new());
        if request.set_authority(Some(&"a".repeat(512 << 10))).is_err() {
            return "the host took no more";
        }
        held.push(request);
    }
}

plugin! {
    /// Hoards.
    name: "guest/hoarder",
    asks: [ask(Capability::Clock, hoarded())],
    invoke: [hoard_nothing],
}

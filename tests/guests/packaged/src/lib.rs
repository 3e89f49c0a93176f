//! Has the name, version, type and asks that a text in it says, over which a test writes: many packages of one component.
// Written without the SDK, whose description is fixed when it is built.
#![cfg(target_family = "wasm")]

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "invoke-plugin", generate_all });
    use super::Packaged;
    export!(Packaged with_types_in self);
}

use bindings::exports::pipewright::plugin::invoke::{Guest as Invoke, Outcome};
use bindings::exports::pipewright::plugin::plugin::{ActionType, Ask, Capability, Count, Description, Guest as Plugin};
use bindings::pipewright::plugin::types::{Category, Failure, Owner, Report, Request, TypeId};

const BYTES: usize = 512;

/// After the first line, which a test looks for: name, version, provider, the type's version, and an ask on each further line.
static SAYS: [u8; BYTES] = {
    let text = b"the packaged guest says:\nteam/packaged\n1.0.0\nPackaged\n1\n";
    let mut bytes = [b'\n'; BYTES];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
};

struct Packaged;

impl Plugin for Packaged {
    fn describe() -> Description {
        // SAFETY: it is read where it lies. Volatile, for the compiler believes that it knows what is there.
        let says = unsafe { std::ptr::read_volatile(&raw const SAYS) };
        let says = String::from_utf8_lossy(&says).into_owned();
        let mut lines = says.lines().skip(1).map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let (name, version) = (next(), next());
        let id = TypeId { category: Category::Invoke, owner: Owner::Custom, provider: next(), version: next() };
        let none = Count { min: 0, max: 0 };
        Description {
            name,
            version,
            documentation: String::new(),
            action_types: vec![ActionType {
                id,
                settings: Vec::new(),
                inputs: none,
                outputs: none,
                variables: Vec::new(),
                documentation: String::new(),
            }],
            asks: lines.filter(|line| !line.is_empty()).map(|line| ask(&line)).collect(),
            may_run_again: true,
        }
    }
}

fn ask(line: &str) -> Ask {
    let capability = match line.split_once(' ') {
        Some(("http", host)) => Capability::Http(host.to_owned()),
        Some((_, secret)) => Capability::Secret(secret.to_owned()),
        None => Capability::Clock,
    };
    Ask { capability, reason: "for the test".to_owned() }
}

impl Invoke for Packaged {
    fn run(_: Request) -> Result<Outcome, Failure> {
        Ok(Outcome::Done(Report { summary: None, external_id: None, variables: Vec::new(), links: Vec::new() }))
    }
}

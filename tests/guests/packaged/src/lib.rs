//! Has the name, version, type and asks that a text in it says, over which a test writes: many packages of one component.
// Written without the SDK, whose description is fixed when it is built.
#![cfg(target_family = "wasm")]

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "invoke-plugin", generate_all });
    use super::Packaged;
    export!(Packaged with_types_in self);
}

use bindings::exports::pipewright::plugin::invoke::{Guest as Invoke, Outcome};
use bindings::exports::pipewright::plugin::plugin::{
    ActionType, Ask, Capability, Count, Description, Guest as Plugin, Setting, SettingKind,
};
use bindings::pipewright::plugin::types::{Category, Failure, Owner, Report, Request, TypeId};

const BYTES: usize = 512;

/// After the first line, which a test looks for: name, version, provider (`ThirdParty/…` of a type that is not a custom one), the
/// type's version, and an ask on each further line.
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

fn says() -> String {
    // SAFETY: it is read where it lies. Volatile, for the compiler believes that it knows what is there.
    let says = unsafe { std::ptr::read_volatile(&raw const SAYS) };
    String::from_utf8_lossy(&says).into_owned()
}

impl Plugin for Packaged {
    fn describe() -> Description {
        let says = says();
        let mut lines = says.lines().skip(1).map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let (name, version, provider) = (next(), next(), next());
        let (owner, provider) = match provider.strip_prefix("ThirdParty/") {
            Some(provider) => (Owner::ThirdParty, provider.to_owned()),
            None => (Owner::Custom, provider),
        };
        let id = TypeId { category: Category::Invoke, owner, provider, version: next() };
        let setting = |name: &str, secret, documentation: &str| Setting {
            name: name.to_owned(),
            kind: SettingKind::Text,
            required: false,
            secret,
            default: None,
            choices: Vec::new(),
            documentation: documentation.to_owned(),
        };
        let none = Count { min: 0, max: 0 };
        Description {
            name,
            version,
            documentation: "Says which version of it runs.".to_owned(),
            action_types: vec![ActionType {
                id,
                settings: vec![setting("Colour", false, "What colour it is"), setting("Token", true, "What it hides")],
                inputs: none,
                outputs: none,
                variables: Vec::new(),
                documentation: "Succeeds, and says what it is.".to_owned(),
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
        let says = says();
        let summary = says.lines().skip(1).take(2).collect::<Vec<_>>().join(" ");
        Ok(Outcome::Done(Report {
            summary: Some(summary),
            external_id: None,
            variables: Vec::new(),
            links: Vec::new(),
        }))
    }
}

//! Says that it deploys, and offers the interface of an invoke action.
// Written without the SDK; a native linker does not take the names of a component's exports.
#![cfg(target_family = "wasm")]

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "invoke-plugin", generate_all });
    use super::Liar;
    export!(Liar with_types_in self);
}

use bindings::exports::pipewright::plugin::invoke::{Guest as Invoke, Outcome};
use bindings::exports::pipewright::plugin::plugin::{ActionType, Count, Description, Guest as Plugin};
use bindings::pipewright::plugin::types::{Category, Failure, Owner, Report, Request, TypeId};

struct Liar;

impl Plugin for Liar {
    fn describe() -> Description {
        let id = TypeId {
            category: Category::Deploy,
            owner: Owner::Custom,
            provider: "Not A Provider".to_owned(),
            version: "1".to_owned(),
        };
        let none = Count { min: 0, max: 0 };
        Description {
            name: "guest/liar".to_owned(),
            version: "1.0".to_owned(),
            documentation: String::new(),
            action_types: vec![ActionType {
                id,
                settings: Vec::new(),
                inputs: none,
                outputs: none,
                variables: Vec::new(),
                documentation: String::new(),
            }],
            asks: Vec::new(),
            may_run_again: true,
        }
    }
}

impl Invoke for Liar {
    fn run(_: Request) -> Result<Outcome, Failure> {
        Ok(Outcome::Done(Report { summary: None, external_id: None, variables: Vec::new(), links: Vec::new() }))
    }
}

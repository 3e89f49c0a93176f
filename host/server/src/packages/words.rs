//! What a plugin asks for and offers, in words for a person who is to consent. Must not know a terminal.

use pipewright_sandbox::abi::{Ask, Capability, Category, Owner, TypeId};

/// One ask, with the reason that the plugin gives.
pub fn ask_in_words(ask: &Ask) -> String {
    let reason = ask.reason.trim();
    let wanted = capability(&ask.capability);
    if reason.is_empty() { wanted } else { format!("{wanted} — {reason:?}") }
}

fn capability(capability: &Capability) -> String {
    match capability {
        Capability::Http(host) if host == "*" => {
            "send requests to whatever hosts its actions' settings name".to_owned()
        }
        Capability::Http(host) => format!("send requests to {host}"),
        Capability::ReadDirectory(name) => format!("read a directory of this machine ({name})"),
        Capability::WriteDirectory(name) => format!("read and change a directory of this machine ({name})"),
        Capability::Secret(name) => format!("use a secret in requests, without seeing it ({name})"),
        Capability::RevealSecret(name) => format!("see the value of a secret ({name})"),
        Capability::Clock => "know the time of day".to_owned(),
        Capability::Randomness => "use randomness".to_owned(),
    }
}

/// As a lock and a comparison write it: `http api.example.com`.
pub(super) fn ask_in_short(capability: &Capability) -> String {
    match capability {
        Capability::Http(host) => format!("http {host}"),
        Capability::ReadDirectory(name) => format!("read-directory {name}"),
        Capability::WriteDirectory(name) => format!("write-directory {name}"),
        Capability::Secret(name) => format!("secret {name}"),
        Capability::RevealSecret(name) => format!("reveal-secret {name}"),
        Capability::Clock => "clock".to_owned(),
        Capability::Randomness => "randomness".to_owned(),
    }
}

/// `Deploy/Custom/Site/1`.
pub fn type_in_words(id: &TypeId) -> String {
    let category = match id.category {
        Category::Source => "Source",
        Category::Build => "Build",
        Category::Test => "Test",
        Category::Deploy => "Deploy",
        Category::Approval => "Approval",
        Category::Invoke => "Invoke",
        Category::Compute => "Compute",
        Category::Rule => "Rule",
    };
    let owner = match id.owner {
        Owner::Aws => "AWS",
        Owner::ThirdParty => "ThirdParty",
        Owner::Custom => "Custom",
    };
    format!("{category}/{owner}/{}/{}", id.provider, id.version)
}

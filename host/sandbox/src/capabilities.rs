//! The table of all capabilities: one row each, which tests and documentation walk.

/// One kind of thing that a plugin may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// As host calls are journaled.
    pub name: &'static str,
    /// The case of the WIT variant `capability` by which a plugin asks for it; none for what every plugin has.
    pub asks: &'static [&'static str],
    /// An example of the grant in the words of a grants file.
    pub grant: Option<&'static str>,
    /// What a plugin sees without the grant.
    pub without: &'static str,
}

pub const CAPABILITIES: &[Capability] = &[
    Capability { name: "log", asks: &[], grant: None, without: "" },
    Capability { name: "settings", asks: &[], grant: None, without: "" },
    Capability { name: "artifacts", asks: &[], grant: None, without: "" },
    Capability {
        name: "clock",
        asks: &["clock"],
        grant: Some("clock = true"),
        without: "the time of day stands still at the start of the call",
    },
    Capability {
        name: "randomness",
        asks: &["randomness"],
        grant: Some("randomness = true"),
        without: "what looks random derives from the idempotency key",
    },
    Capability {
        name: "secrets",
        asks: &["secret", "reveal-secret"],
        grant: Some("secrets.NAME = { env = \"VARIABLE\", hosts = [\"example.com\"] }"),
        without: "the error `denied`",
    },
    Capability {
        name: "http",
        asks: &["http"],
        grant: Some("http = [\"https://example.com\"]"),
        without: "the error `HTTP-request-denied`",
    },
    Capability {
        name: "directories",
        asks: &["read-directory", "write-directory"],
        grant: Some("directories.NAME = { path = \"DIR\", access = \"read\" }"),
        without: "the path does not exist",
    },
];

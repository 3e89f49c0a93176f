//! What a plugin asks for, for one action. A call may reach what its plugin asks for, what the operator granted and what the
//! action's settings name, all three together.
//!
//! Pure. Owns how an ask is read; each capability narrows its grants by it, and enforces what follows. Must not know how.

use std::collections::{BTreeMap, BTreeSet};

use crate::abi::{ActionType, Description, Request};
use crate::capabilities;

/// An ask in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The case of the WIT variant.
    pub case: &'static str,
    /// What of it; empty where there is nothing to name.
    pub name: &'a str,
    /// The name means what the setting of this name says, if there is one.
    is_setting: bool,
    /// For a person, after "asks for"; without the name where a setting may say it.
    words: String,
}

impl<'a> Asked<'a> {
    /// Of what has no parts.
    pub(crate) fn of_all(case: &'static str, words: &str) -> Self {
        Self { case, name: "", is_setting: false, words: words.to_owned() }
    }

    /// For a person, after "asks for". Where an action type has a setting of the name, the name is not that of what is meant.
    pub fn in_words(&self, action_types: &[ActionType]) -> String {
        let Self { name, words, .. } = self;
        let mut settings = action_types.iter().flat_map(|offered| &offered.settings);
        match self.is_setting {
            false => words.clone(),
            true if settings.any(|setting| setting.name == *name) => {
                format!("{words} that its setting {name} names, or {name} where that names none")
            }
            true => format!("{words} {name}"),
        }
    }

    /// `http api.example.com`
    pub fn in_short(&self) -> String {
        format!("{} {}", self.case, self.name).trim_end().to_owned()
    }

    pub(crate) fn by_name(case: &'static str, name: &'a str, words: String) -> Self {
        Self { case, name, is_setting: false, words }
    }

    /// The words are those before the name.
    pub(crate) fn by_setting(case: &'static str, name: &'a str, words: &str) -> Self {
        Self { case, name, is_setting: true, words: words.to_owned() }
    }
}

/// The names that are asked for, by the case of the ask.
#[derive(Debug, Default)]
pub struct Asks(BTreeMap<&'static str, BTreeSet<String>>);

impl Asks {
    pub(crate) fn of(description: &Description, request: &Request) -> Self {
        let mut asks = Self::default();
        for asked in description.asks.iter().map(|ask| capabilities::asked(&ask.capability)) {
            let names = asks.0.entry(asked.case).or_default();
            match asked.is_setting {
                true => names.extend(meant(asked.name, description, request)),
                false => drop(names.insert(asked.name.to_owned())),
            }
        }
        asks
    }

    pub(crate) fn has(&self, case: &str, name: &str) -> bool {
        self.0.get(case).is_some_and(|names| names.contains(name))
    }

    pub(crate) fn any(&self, case: &str) -> bool {
        self.0.contains_key(case)
    }

    pub(crate) fn names(&self, case: &str) -> impl Iterator<Item = &str> {
        self.0.get(case).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
impl Asks {
    /// For every host, for all that these names may be, and for reading what others are.
    pub(crate) fn everything(names: &[&str], read: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let asks = ["write-directory", "secret", "reveal-secret"].map(|case| (case, owned(names)));
        let others = [
            ("http", owned(&["*"])),
            ("read-directory", owned(read)),
            ("clock", owned(&[""])),
            ("commands", owned(&[""])),
        ];
        Self(asks.into_iter().chain(others).chain([("randomness", owned(&[""]))]).collect())
    }
}

fn meant(name: &str, description: &Description, request: &Request) -> Vec<String> {
    let offered = description.action_types.iter().find(|offered| offered.id == request.action_type);
    let setting = offered.and_then(|offered| offered.settings.iter().find(|setting| setting.name == name));
    let given = request.settings.iter().find(|given| given.name == name).map(|given| &given.value);
    let value = setting.and_then(|setting| given.or(setting.default.as_ref()));
    match value.filter(|value| !value.is_empty()) {
        None => vec![name.to_owned()],
        // A list names each.
        Some(value) => serde_json::from_str(value).unwrap_or_else(|_| vec![value.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{
        ActionType, Ask, Capability, Category, Context, Count, NamedValue, Owner, Setting, SettingKind, TypeId,
    };
    use crate::grants::{Access, DirectoryGrant, Grants, HttpGrant, SecretGrant, SecretValue};

    fn id() -> TypeId {
        TypeId { category: Category::Deploy, owner: Owner::Custom, provider: "Post".into(), version: "1".into() }
    }

    fn description(asks: &[Capability]) -> Description {
        let setting = |name: &str, default: Option<&str>| Setting {
            name: name.into(),
            kind: SettingKind::Text,
            required: false,
            secret: false,
            default: default.map(Into::into),
            choices: Vec::new(),
            documentation: String::new(),
        };
        let none = Count { min: 0, max: 0 };
        Description {
            name: "acme/post".into(),
            version: "1.0.0".into(),
            documentation: String::new(),
            action_types: vec![ActionType {
                id: id(),
                settings: vec![setting("Directory", Some("public")), setting("Secret", None)],
                inputs: none,
                outputs: none,
                variables: Vec::new(),
                documentation: String::new(),
            }],
            asks: asks.iter().map(|capability| Ask { capability: capability.clone(), reason: String::new() }).collect(),
            may_run_again: true,
        }
    }

    fn request(settings: &[(&str, &str)]) -> Request {
        Request {
            action_type: id(),
            context: Context {
                account: String::new(),
                region: String::new(),
                pipeline: String::new(),
                execution_id: String::new(),
                stage: String::new(),
                action: String::new(),
                action_execution_id: String::new(),
            },
            settings: settings
                .iter()
                .map(|(name, value)| NamedValue { name: (*name).into(), value: (*value).into() })
                .collect(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            commands: Vec::new(),
            environment: Vec::new(),
            output_variables: Vec::new(),
            idempotency_key: String::new(),
            attempt: 1,
            resumed: None,
        }
    }

    /// Everything, with two of each where there are names.
    #[allow(clippy::needless_update, reason = "the table may grow")]
    fn granted() -> Grants {
        let http = |host: &str, port| HttpGrant { tls: port == 443, host: host.into(), port, private: false };
        let directory = || DirectoryGrant { path: "/".into(), access: Access::Write };
        let secret = || SecretGrant {
            value: SecretValue::new("v"),
            hosts: Vec::new(),
            reveal: true,
            commands: true,
            commands_file: None,
            stored: None,
        };
        Grants {
            http: vec![http("a.example", 443), http("::1", 8080)],
            directories: BTreeMap::from([("public".into(), directory()), ("other".into(), directory())]),
            secrets: BTreeMap::from([("token".into(), secret()), ("other".into(), secret())]),
            clock: true,
            randomness: true,
            ..Grants::default()
        }
    }

    fn check(asks: &[Capability], settings: &[(&str, &str)], expected: &[&str]) {
        let asks = Asks::of(&description(asks), &request(settings));
        let grants = granted().narrowed(&asks);
        let mut shown: Vec<String> = grants.http.iter().map(|grant| format!("{} {}", grant.host, grant.port)).collect();
        shown.extend(grants.directories.iter().map(|(name, grant)| format!("{:?} {name}", grant.access)));
        shown.extend(
            grants
                .secrets
                .iter()
                .map(|(name, grant)| format!("{} {name}", if grant.reveal { "reveal" } else { "use" })),
        );
        shown.extend(grants.clock.then(|| "clock".to_owned()));
        shown.extend(grants.randomness.then(|| "randomness".to_owned()));
        assert_eq!(shown, expected, "{asks:?} {settings:?}");
    }

    #[test]
    fn what_is_asked_granted_and_named_counts() {
        use Capability::{Clock, Http, Randomness, ReadDirectory, RevealSecret, Secret, WriteDirectory};
        check(&[], &[], &[]);
        check(&[Clock, Randomness], &[], &["clock", "randomness"]);
        check(&[Http("*".into())], &[], &["a.example 443", "::1 8080"]);
        check(&[Http("A.example.".into())], &[], &["a.example 443"]);
        check(&[Http("a.example:80".into()), Http("[::1]:8080".into())], &[], &["::1 8080"]);
        check(&[Http("b.example".into())], &[], &[]);
        // A name is that of a setting, whose value counts, or the thing's own.
        check(&[ReadDirectory("Directory".into())], &[], &["Read public"]);
        check(&[WriteDirectory("Directory".into())], &[("Directory", "other")], &["Write other"]);
        check(&[WriteDirectory("Directory".into())], &[("Directory", "elsewhere")], &[]);
        check(&[ReadDirectory("other".into())], &[("other", "public")], &["Read other"]);
        check(
            &[ReadDirectory("Directory".into())],
            &[("Directory", "[\"other\", \"public\"]")],
            &["Read other", "Read public"],
        );
        check(&[Secret("Secret".into())], &[("Secret", "token")], &["use token"]);
        check(&[Secret("token".into()), RevealSecret("other".into())], &[], &["reveal other", "use token"]);
        check(&[RevealSecret("token".into())], &[], &["reveal token"]);
    }

    /// Whoever consents is not to take the name of a setting for that of a secret.
    #[test]
    fn an_ask_by_a_setting_says_so() {
        use Capability::{Http, ReadDirectory, RevealSecret, Secret, WriteDirectory};
        let check = |ask: Capability, expected: &str| {
            let about = description(&[ask]);
            assert_eq!(capabilities::asked(&about.asks[0].capability).in_words(&about.action_types), expected);
        };
        check(
            Secret("Secret".into()),
            "to use the secret that its setting Secret names, or Secret where that names none",
        );
        check(Secret("token".into()), "to use the secret token");
        check(RevealSecret("token".into()), "to read the value of the secret token");
        check(
            RevealSecret("Secret".into()),
            "to read the value of the secret that its setting Secret names, or Secret where that names none",
        );
        check(ReadDirectory("public".into()), "to read the directory public");
        check(
            WriteDirectory("Directory".into()),
            "to write to the directory that its setting Directory names, or Directory where that names none",
        );
        check(Http("Secret".into()), "requests to Secret");
    }

    /// As the WIT's variant `capability` has them.
    #[test]
    fn each_ask_is_one_of_a_capability() {
        let wit = include_str!("../../../wit/plugin.wit");
        let cases = wit.split_once("variant capability {").and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
        let cases = cases.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("///"));
        let mut known: Vec<&str> = capabilities::CAPABILITIES.iter().flat_map(|row| row.asks).copied().collect();
        for case in cases {
            let (name, has_name) = match case.split_once('(') {
                Some((name, _)) => (name, true),
                None => (case.trim_end_matches(','), false),
            };
            let word = |word: &str| [&word[..1].to_uppercase(), &word[1..]].concat();
            let camel: String = name.split('-').map(word).collect();
            let ask = if has_name { serde_json::json!({ camel: "x" }) } else { camel.into() };
            let ask: Capability = serde_json::from_value(ask).unwrap();
            let asked = capabilities::asked(&ask);
            assert_eq!((asked.case, asked.name), (name, if has_name { "x" } else { "" }));
            assert!(!asked.in_words(&[]).is_empty(), "{asked:?}");
            let at = known.iter().position(|known| *known == name);
            known.remove(at.unwrap_or_else(|| panic!("no row asks for {name}, or two do")));
        }
        assert!(known.is_empty(), "the WIT has no {known:?}");
    }
}

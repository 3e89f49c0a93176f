//! What a call may reach: what its plugin asks for, what the operator granted and what the action's settings name, all three together.
//!
//! Pure. Owns the rule; each capability enforces what follows from it. Must not know how.

use std::collections::BTreeSet;

use crate::abi::{Capability, Description, Request};
use crate::grants::{Access, Grants, HttpGrant};
use crate::http::origin::normal_host;

/// What a plugin asks for, for one action: a name in an ask means what the setting of this name says, or else itself.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// Normal forms, each with the port if one is asked for.
    hosts: BTreeSet<(String, Option<u16>)>,
    /// Whichever the settings name: the operator says which those are.
    any_host: bool,
    read: BTreeSet<String>,
    write: BTreeSet<String>,
    secrets: BTreeSet<String>,
    revealed: BTreeSet<String>,
    clock: bool,
    randomness: bool,
}

impl Asks {
    pub(crate) fn of(description: &Description, request: &Request) -> Self {
        let mut asks = Self::default();
        for ask in &description.asks {
            let mut named = |name: &str, names: fn(&mut Self) -> &mut BTreeSet<String>| {
                names(&mut asks).extend(meant(name, description, request));
            };
            match &ask.capability {
                Capability::Http(host) if host == "*" => asks.any_host = true,
                Capability::Http(host) => {
                    let (name, port) = match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
                        Some((name, Ok(port))) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
                        _ => (host.as_str(), None),
                    };
                    let name = name.trim_start_matches('[').trim_end_matches(']');
                    asks.hosts.insert((normal_host(name), port));
                }
                Capability::ReadDirectory(name) => named(name, |asks| &mut asks.read),
                Capability::WriteDirectory(name) => named(name, |asks| &mut asks.write),
                Capability::Secret(name) => named(name, |asks| &mut asks.secrets),
                Capability::RevealSecret(name) => named(name, |asks| &mut asks.revealed),
                Capability::Clock => asks.clock = true,
                Capability::Randomness => asks.randomness = true,
            }
        }
        asks
    }

    /// Of what was granted, what counts.
    pub(crate) fn narrow(&self, mut granted: Grants) -> Grants {
        granted.http.retain(|HttpGrant { host, port, .. }| self.host(&normal_host(host), *port));
        granted.directories.retain(|name, grant| {
            if !self.directory(name, Access::Write) {
                grant.access = Access::Read;
            }
            self.directory(name, Access::Read)
        });
        granted.secrets.retain(|name, grant| {
            grant.reveal &= self.reveals(name);
            self.secret(name)
        });
        granted.clock &= self.clock;
        granted.randomness &= self.randomness;
        granted
    }

    /// Of a host in its normal form.
    pub(crate) fn host(&self, host: &str, port: u16) -> bool {
        self.any_host || [None, Some(port)].iter().any(|port| self.hosts.contains(&(host.to_owned(), *port)))
    }

    pub(crate) fn directory(&self, name: &str, access: Access) -> bool {
        self.write.contains(name) || access == Access::Read && self.read.contains(name)
    }

    pub(crate) fn secret(&self, name: &str) -> bool {
        self.secrets.contains(name) || self.reveals(name)
    }

    pub(crate) fn reveals(&self, name: &str) -> bool {
        self.revealed.contains(name)
    }
}

#[cfg(test)]
impl Asks {
    /// For every host, for all that these names may be, and for reading what others are.
    pub(crate) fn everything(names: &[&str], read: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (read, write, secrets, revealed) = (owned(read), owned(names), owned(names), owned(names));
        Self { any_host: true, read, write, secrets, revealed, clock: true, randomness: true, ..Self::default() }
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
    use crate::abi::{ActionType, Ask, Category, Context, Count, NamedValue, Owner, Setting, SettingKind, TypeId};
    use crate::grants::{DirectoryGrant, SecretGrant, SecretValue};
    use std::collections::BTreeMap;

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
    fn granted() -> Grants {
        let http = |host: &str, port| HttpGrant { tls: port == 443, host: host.into(), port, private: false };
        let directory = || DirectoryGrant { path: "/".into(), access: Access::Write };
        let secret = || SecretGrant { value: SecretValue::new("v"), hosts: Vec::new(), reveal: true };
        Grants {
            http: vec![http("a.example", 443), http("::1", 8080)],
            directories: BTreeMap::from([("public".into(), directory()), ("other".into(), directory())]),
            secrets: BTreeMap::from([("token".into(), secret()), ("other".into(), secret())]),
            clock: true,
            randomness: true,
        }
    }

    fn check(asks: &[Capability], settings: &[(&str, &str)], expected: &[&str]) {
        let asks = Asks::of(&description(asks), &request(settings));
        let grants = asks.narrow(granted());
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
}

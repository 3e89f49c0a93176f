//! The secrets capability: a plugin gets stand-ins, and the host puts the values into requests.
//!
//! Owns the stand-ins of one call, and where each may be replaced. Must not know how requests are sent.

pub(super) mod give;
pub mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fmt, fs};

use ::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipewright_text::{first_bytes, is_printable};
use serde::{Deserialize, Serialize};
use wasmtime::component::{HasSelf, Linker};

use self::stored::Picked;
use super::commands::{COMMANDS, check_file_variable};
use super::http::{HttpGrant, RequestOrigin, hosts, normal_host};
use super::{Capability, Exchange, Row, Setup};
use crate::abi as plugin;
use crate::bindings::pipewright::plugin::secrets as abi;
use crate::grants::{CaseFolder, Grants, Place, SecretValue, Use, key, stays_below};
use crate::masks::Masks;
use crate::outside::{Exchanged, REVEALED};
use crate::rights::{Asked, Asks};
use crate::seam::{Denied, HostCallOutcome, Seam};
use crate::state::State;

const SECRETS: &str = "secrets";
const USE: &str = "secret";
const REVEAL: &str = "reveal-secret";
/// To a program.
const GIVE: &str = "give";

/// A secret from a file is refused above this size.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
const STAND_IN_PREFIX: &str = "pipewright-secret-";
const STAND_IN_DIGITS: usize = 32;
/// Stops a plugin that asks for a stand-in for every user name it can think of.
const STAND_INS_MAX: usize = 1_000;
/// Stops names and user names that fill the journal.
const NAME_BYTES_MAX: usize = 256;

/// The secrets of one call.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    grants: BTreeMap<String, SecretGrant>,
    seam: Arc<Seam>,
    stand_ins: Mutex<StandIns>,
}

#[derive(Default)]
struct StandIns {
    texts: HashMap<StandsFor, String>,
    uses: HashMap<String, StandsFor>,
}

/// Where a request goes, and all that the action may reach.
type To<'a> = (&'a RequestOrigin, &'a [HttpGrant]);

/// What a stand-in stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct StandsFor {
    name: String,
    /// For basic authentication; without one, it is the value alone.
    user: Option<String>,
}

/// Why headers were not completed.
pub(crate) enum Refusal {
    /// A secret may not go to this host; the text names the grant that would allow it.
    Denied(String),
    TooLarge,
}

/// One secret: where its value comes from, `env`, `file` or `store`, and who gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The environment variable of the host that has the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    /// The file that has the value, of which a line feed at the end is no part. Nobody but its owner may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// A secret of the account's store, as `pipewright secret set` keeps it: its name, or `NAME:JSON-KEY:VERSION-STAGE:VERSION-ID`, of
    /// which all but the name may be left out. What the grant leaves open, a program's variable may say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    /// Where the host may send the value, out of what `http` grants: origins like `http://localhost:8080`, or names of hosts.
    #[serde(default)]
    hosts: Vec<String>,
    /// The plugin may read the value itself. Without it, it gets a stand-in, and the host puts the value in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reveal: bool,
    /// Programs may be given the value, as an environment variable or in a file, if it has 8 characters or more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    commands: bool,
    /// Every program of the action is given the value, if it has 8 characters or more, in a file that no other can read, and in this
    /// environment variable the file's path. Nothing in a pipeline has to name the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commands_file: Option<String>,
}

/// Recordings keep all but the value, for which something stands when it is read again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    #[serde(skip, default = "revealed")]
    pub value: SecretValue,
    /// Where the value may be sent, out of what `Grants::http` allows: origins, or names of hosts.
    pub hosts: Vec<String>,
    /// The plugin may read the value itself.
    pub reveal: bool,
    /// Programs may be given it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub commands: bool,
    /// And each is, in a file, whose path is in this variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands_file: Option<String>,
    /// Of one of the account's store: what the grant gives of it.
    #[serde(skip)]
    pub stored: Option<Picked>,
}

impl SecretGrant {
    pub(crate) fn is_for_programs(&self) -> bool {
        self.commands || self.commands_file.is_some()
    }

    /// What is to be shown nowhere: the value, and what else of a stored secret may be given.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.value.expose()).chain(self.stored.iter().flat_map(Picked::values))
    }
}

fn revealed() -> SecretValue {
    SecretValue::new(REVEALED)
}

/// What a plugin wants of a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    operation: Operation,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    StandIn,
    Basic,
    Reveal,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::StandIn => "stand-in",
            Self::Basic => "basic",
            Self::Reveal => "reveal",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!(" for the user {user:?}")).unwrap_or_default();
        write!(f, "the secret \"{}\" ({}{user})", self.name, self.operation.name())
    }
}

/// What it gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Given {
    #[serde(rename = "stand-in", default, skip_serializing_if = "Option::is_none")]
    stand_in: Option<String>,
    /// Never kept.
    #[serde(skip)]
    value: Option<SecretValue>,
}

impl Given {
    fn text(&self) -> &str {
        let value = || self.value.as_ref().map_or(REVEALED, SecretValue::expose);
        self.stand_in.as_deref().unwrap_or_else(value)
    }
}

impl Capability for Secrets {
    const ROW: Row = Row {
        name: SECRETS,
        asks: &[USE, REVEAL],
        grant: Some("secrets.NAME = { env = \"VARIABLE\", hosts = [\"example.com\"] }"),
        without: "the error `denied`",
        can_be_made_up: true,
    };
    type Written = BTreeMap<String, Secret>;
    type Grant = BTreeMap<String, SecretGrant>;
    type Kept = Exchanged<Wanted, Given>;

    fn asked(ask: &plugin::Capability) -> Option<Asked<'_>> {
        match ask {
            plugin::Capability::Secret(name) => Some(Asked::by_setting(USE, name, "to use the secret")),
            plugin::Capability::RevealSecret(name) => {
                Some(Asked::by_setting(REVEAL, name, "to read the value of the secret"))
            }
            _ => None,
        }
    }

    fn narrow(granted: &mut Self::Grant, asks: &Asks) {
        granted.retain(|name, grant| {
            grant.reveal &= asks.has(REVEAL, name);
            if is_asked(asks, name) {
                return true;
            }
            // Which secrets its programs want, a plugin may learn from its inputs: none could ask for each by name. It gets to do
            // nothing else with them.
            grant.hosts.clear();
            grant.is_for_programs() && asks.any(COMMANDS)
        });
    }

    fn contradiction(written: &Self::Written) -> Option<String> {
        let mut names = BTreeMap::new();
        written.iter().find_map(|(name, secret)| {
            let variable = secret.commands_file.as_ref()?;
            let other = names.insert(variable, name)?;
            Some(format!(
                "secrets.{} and secrets.{} have the same commands_file {variable:?}, and a variable names one file: give one of \
                 them another variable",
                key(other),
                key(name)
            ))
        })
    }

    fn resolve(written: &Self::Written, place: Place<'_>) -> Result<Self::Grant, String> {
        written.iter().map(|(name, secret)| Ok((name.clone(), secret.resolve(name, place)?))).collect()
    }

    fn in_words(written: &Self::Written, base: &Path) -> Vec<String> {
        let line = |(name, secret): (&String, &Secret)| {
            let from = match (&secret.env, &secret.file, &secret.store) {
                (Some(env), ..) => format!("environment variable {env}"),
                (None, Some(file), _) => format!("file {}", base.join(file).display()),
                (None, None, Some(stored)) => format!("{stored} of the account's store"),
                (None, None, None) => "nowhere".to_owned(),
            };
            let to = if secret.hosts.is_empty() { "no host".to_owned() } else { secret.hosts.join(", ") };
            let reveal = if secret.reveal { ", and read its value" } else { "" };
            let commands = if secret.commands { ", and give it to programs" } else { "" };
            let of_file = |variable: &String| format!(", and give it to every program in a file that {variable} names");
            let file = secret.commands_file.as_ref().map(of_file).unwrap_or_default();
            format!("use the secret \"{name}\" ({from}) in requests to {to}{reveal}{commands}{file}")
        };
        written.iter().map(line).collect()
    }

    fn leaving(written: &Self::Written, base: &Path) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, secret) in written {
            if let Some(file) = secret.file.as_ref().filter(|file| !stays_below(base, file)) {
                problems.push(format!("secrets.{name}: {} leads out of the case's folder", file.display()));
            }
            if secret.env.is_some() || secret.store.is_some() {
                problems.push(format!(
                    "secrets.{name}: give file = \"PATH\", not an environment variable or a secret of a store"
                ));
            }
        }
        problems
    }

    fn least(written: &mut Self::Written, uses: &BTreeSet<Use>) {
        let used: BTreeSet<&str> =
            uses.iter().filter(|used| used.capability == SECRETS).map(|used| used.target.as_str()).collect();
        let is_used = |name: &str, operation: &str| {
            let once = |used: &Use| used.capability == SECRETS && used.target == name && used.operation == operation;
            uses.iter().any(once)
        };
        let reached = hosts(uses);
        let host = |name: &str| RequestOrigin::written(name).map_or_else(|| lower(name), |origin| origin.host);
        let is_reached = |name: &String| reached.contains(&host(name));
        written.retain(|name, secret| {
            secret.reveal &= is_used(name, Operation::Reveal.name());
            secret.commands &= is_used(name, GIVE);
            if secret.hosts.iter().any(is_reached) {
                secret.hosts.retain(is_reached);
            }
            used.contains(name.as_str())
        });
    }

    fn in_case(granted: &Self::Grant, folder: &CaseFolder<'_>) -> Self::Written {
        let secret = |SecretGrant { hosts, reveal, commands, commands_file, .. }: &SecretGrant| Secret {
            env: None,
            file: Some(folder.secret.into()),
            store: None,
            hosts: hosts.clone(),
            reveal: *reveal,
            commands: *commands,
            commands_file: commands_file.clone(),
        };
        granted.iter().map(|(name, grant)| (name.clone(), secret(grant))).collect()
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        setup.secrets.clone()
    }

    fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
        abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
    }
}

impl Exchange for Secrets {
    type Request = Wanted;
    type Response = Given;

    fn operation(wanted: &Wanted) -> &'static str {
        wanted.operation.name()
    }

    fn journaled(wanted: &Wanted, _: Option<&Given>) -> (String, u64) {
        (wanted.name.clone(), 0)
    }

    fn check(&self, wanted: &Wanted) -> Result<(), Denied> {
        let (name, asks) = (&wanted.name, self.0.seam.asks());
        let is_revealed = wanted.operation == Operation::Reveal;
        let (verb, what) = if is_revealed { ("read", "reveal = true") } else { ("use", "hosts = [\"…\"]") };
        match self.0.grants.get(name) {
            Some(grant) if grant.reveal || !is_revealed => Ok(()),
            Some(_) => Err(Denied {
                tried: format!("to read the value of the secret \"{name}\""),
                grant: format!("secrets.{} = {{ …, reveal = true }}", key(name)),
                is_asked: asks.has(REVEAL, name),
            }),
            None => Err(Denied {
                tried: format!("to {verb} the secret \"{name}\""),
                grant: format!("secrets.{} = {{ env = \"…\", {what} }}", key(name)),
                is_asked: is_asked(asks, name),
            }),
        }
    }

    fn exchange(&self, wanted: &Wanted) -> Result<Given, HostCallOutcome> {
        let Wanted { operation, name, user } = wanted;
        let grant = self.0.grants.get(name).ok_or_else(|| HostCallOutcome::Failed(format!("no secret {name:?}")))?;
        if *operation == Operation::Reveal {
            return Ok(Given { stand_in: None, value: Some(grant.value.clone()) });
        }
        if let Some(user) = user {
            if user.len() > NAME_BYTES_MAX || user.contains(|c: char| c == ':' || !is_printable(c)) {
                return Err(HostCallOutcome::Failed(format!(
                    "a user name for basic authentication has at most {NAME_BYTES_MAX} bytes, and no colon or control character"
                )));
            }
        } else if HeaderValue::from_str(grant.value.expose()).is_err() {
            return Err(HostCallOutcome::Failed(format!(
                "the value of the secret \"{name}\" has a line break or another character that a header cannot carry: \
                 store it without"
            )));
        }
        let stand_in = self.text_for(StandsFor { name: name.clone(), user: user.clone() })?;
        Ok(Given { stand_in: Some(stand_in), value: None })
    }
}

fn is_asked(asks: &Asks, name: &str) -> bool {
    asks.has(USE, name) || asks.has(REVEAL, name)
}

fn lower(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl Secret {
    /// The name of the account's secret that it is.
    pub fn stored(&self) -> Option<&str> {
        self.store.as_deref().map(|reference| reference.split_once(':').map_or(reference, |(name, _)| name))
    }

    fn resolve(&self, name: &str, place: Place<'_>) -> Result<SecretGrant, String> {
        let mut stored = None;
        let value = match (&self.env, &self.file, &self.store) {
            (Some(variable), None, None) => env::var(variable)
                .map_err(|_| format!("secrets.{name}: the environment variable {variable} is not set"))?
                .into(),
            (None, Some(file), None) => secret_file(name, &place.base.join(file))?.into(),
            (None, None, Some(reference)) => {
                let picked =
                    Picked::of(reference, place.stored).map_err(|reason| format!("secrets.{name}: {reason}"))?;
                let value = picked.value().map_err(|reason| format!("secrets.{name}: {reason}"))?;
                stored = Some(picked);
                value
            }
            _ => {
                return Err(format!(
                    "secrets.{name}: give one of env = \"NAME\", file = \"PATH\" and store = \"NAME\""
                ));
            }
        };
        if value.expose().is_empty() {
            return Err(format!("secrets.{name}: the value is empty"));
        }
        let hosts = self.hosts.iter().map(|host| {
            let is_host = !host.contains([':', '/']) || normal_host(host).parse::<std::net::IpAddr>().is_ok();
            match is_host || RequestOrigin::written(host).is_some() {
                true => Ok(lower(host)),
                false => Err(format!(
                    "secrets.{name}: hosts: `{host}` is neither the name of a host nor an origin like https://example.com:8443"
                )),
            }
        });
        let hosts = hosts.collect::<Result<_, _>>()?;
        let commands_file = self.commands_file.clone();
        let checked = commands_file.as_deref().map_or(Ok(()), check_file_variable);
        checked.map_err(|reason| format!("secrets.{name}: commands_file: {reason}"))?;
        Ok(SecretGrant { value, hosts, reveal: self.reveal, commands: self.commands, commands_file, stored })
    }
}

/// Reads a secret from a file that only its owner can read; a last line feed does not count.
fn secret_file(name: &str, path: &Path) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let wrong = |error: std::io::Error| format!("secrets.{name}: {}: {error}", path.display());
    let metadata = fs::metadata(path).map_err(wrong)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("secrets.{name}: {} can be read by others; run chmod 600 on it", path.display()));
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(format!("secrets.{name}: {} is larger than {SECRET_BYTES_MAX} bytes", path.display()));
    }
    let text = fs::read_to_string(path).map_err(wrong)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

impl Secrets {
    pub(crate) fn of(grants: &Grants, seam: &Arc<Seam>) -> Self {
        Self(Arc::new(Inner { grants: grants.secrets.clone(), seam: Arc::clone(seam), stand_ins: Mutex::default() }))
    }

    pub(crate) fn told(&self, operation: Operation, name: &str, user: Option<String>) -> Result<String, abi::Error> {
        let name = first_bytes(name, NAME_BYTES_MAX).to_owned();
        let given = self.0.seam.exchange(self, Wanted { operation, name, user });
        given.map(|given| given.text().to_owned()).map_err(abi::Error::Denied)
    }

    /// The same text for the same use, all through the call.
    fn text_for(&self, wanted: StandsFor) -> Result<String, HostCallOutcome> {
        let mut stand_ins = self.0.stand_ins.lock().expect("no panic while held");
        if let Some(text) = stand_ins.texts.get(&wanted) {
            return Ok(text.clone());
        }
        if stand_ins.texts.len() >= STAND_INS_MAX {
            return Err(HostCallOutcome::Limit(format!("more than {STAND_INS_MAX} stand-ins in one call")));
        }
        let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
        let (high, low) =
            random.map_err(|error| HostCallOutcome::Failed(format!("this host gives no randomness: {error}")))?;
        let text = format!("{STAND_IN_PREFIX}{high:016x}{low:016x}");
        stand_ins.texts.insert(wanted.clone(), text.clone());
        stand_ins.uses.insert(text.clone(), wanted);
        Ok(text)
    }

    /// Puts the values in the place of their stand-ins, for a request to an origin that is granted by itself. Together the headers may then have `bytes_max` bytes.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap, to: To<'_>, bytes_max: usize) -> Result<Masks, Refusal> {
        let mut bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > bytes_max {
            return Err(Refusal::TooLarge);
        }
        let stand_ins = self.0.stand_ins.lock().expect("no panic while held");
        if stand_ins.uses.is_empty() {
            return Ok(Masks::default());
        }
        let mut put = BTreeSet::new();
        for value in headers.values_mut() {
            let others = bytes - value.len();
            let replaced = self.replaced(&stand_ins, value.as_bytes(), to, bytes_max - others, &mut put)?;
            if replaced != value.as_bytes() {
                bytes = others + replaced.len();
                let invalid = |_| Refusal::Denied("a secret's value cannot be put into a header".to_owned());
                *value = HeaderValue::from_bytes(&replaced).map_err(invalid)?;
                value.set_sensitive(true);
            }
        }
        // Who may read a value itself may read it in an answer, too.
        let hidden = put.iter().filter_map(|name| self.0.grants.get(*name)).filter(|grant| !grant.reveal);
        Ok(Masks::of(hidden.flat_map(SecretGrant::values)))
    }

    fn replaced<'a>(
        &self,
        stand_ins: &'a StandIns,
        value: &[u8],
        to: To<'_>,
        bytes_max: usize,
        put: &mut BTreeSet<&'a str>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut replaced = Vec::with_capacity(value.len());
        let mut rest = value;
        while let Some(start) = rest.windows(STAND_IN_PREFIX.len()).position(|text| text == STAND_IN_PREFIX.as_bytes())
        {
            let (before, text) = rest.split_at(start);
            replaced.extend_from_slice(before);
            let whole = text.get(..STAND_IN_PREFIX.len() + STAND_IN_DIGITS);
            let known =
                whole.and_then(|text| str::from_utf8(text).ok()).and_then(|text| stand_ins.uses.get_key_value(text));
            let taken = match known {
                Some((text, used)) => {
                    replaced.extend_from_slice(self.value_for(used, to)?.as_bytes());
                    put.insert(&used.name);
                    text.len()
                }
                None => {
                    replaced.extend_from_slice(STAND_IN_PREFIX.as_bytes());
                    STAND_IN_PREFIX.len()
                }
            };
            rest = &text[taken..];
            // Also in between: many stand-ins of a long value are far longer than their header.
            if replaced.len() > bytes_max {
                return Err(Refusal::TooLarge);
            }
        }
        replaced.extend_from_slice(rest);
        if replaced.len() > bytes_max { Err(Refusal::TooLarge) } else { Ok(replaced) }
    }

    fn value_for(&self, used: &StandsFor, (origin, granted): To<'_>) -> Result<String, Refusal> {
        let name = &used.name;
        let grant = self.0.grants.get(name);
        let Some(grant) = grant.filter(|grant| grant.hosts.iter().any(|host| origin.is_named(host, granted))) else {
            let host = origin.name(granted);
            let named = grant.map_or(&[][..], |grant| &grant.hosts);
            let hosts: Vec<String> =
                named.iter().map(String::as_str).chain([&*host]).map(|host| format!("\"{host}\"")).collect();
            let line = format!("secrets.{} = {{ …, hosts = [{}] }}", key(name), hosts.join(", "));
            return Err(Refusal::Denied(self.0.seam.denial(&Denied {
                tried: format!("to send the secret \"{name}\" to {host}"),
                grant: line,
                is_asked: is_asked(self.0.seam.asks(), name),
            })));
        };
        let value = grant.value.expose();
        Ok(match &used.user {
            None => value.to_owned(),
            Some(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{value}"))),
        })
    }
}

impl abi::Host for State {
    fn stand_in(&mut self, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.held.secrets.told(Operation::StandIn, &name, None))
    }

    fn basic(&mut self, user: String, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.held.secrets.told(Operation::Basic, &name, Some(user)))
    }

    fn reveal(&mut self, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.held.secrets.told(Operation::Reveal, &name, None))
    }
}

#[cfg(test)]
impl Secrets {
    /// Without a journal.
    pub(crate) fn stand_in(&self, name: &str, user: Option<&str>) -> String {
        let operation = if user.is_some() { Operation::Basic } else { Operation::StandIn };
        let wanted = Wanted { operation, name: name.to_owned(), user: user.map(str::to_owned) };
        self.exchange(&wanted).unwrap().text().to_owned()
    }
}

#[cfg(test)]
mod tests;

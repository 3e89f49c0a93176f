//! The secrets capability: a plugin gets stand-ins, and the host puts the values into requests.
//!
//! Owns the stand-ins of one call, and where each may be replaced. Must not know how requests are sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::pipewright::plugin::secrets as abi;
use crate::grants::{Grants, SecretGrant};
use crate::http::origin::normal_host;
use crate::outside::{Outside, REVEALED, Step};
use crate::seam::{HostCallOutcome, Seam};
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

const STAND_IN_PREFIX: &str = "pipewright-secret-";
const STAND_IN_DIGITS: usize = 32;
/// Stops a plugin that asks for a stand-in for every user name it can think of.
const STAND_INS_MAX: usize = 1_000;
/// Stops names and user names that fill the journal.
const NAME_BYTES_MAX: usize = 256;

/// The secrets of one call.
#[derive(Clone)]
pub(crate) struct Secrets(Arc<Inner>);

struct Inner {
    grants: BTreeMap<String, SecretGrant>,
    seam: Arc<Seam>,
    stand_ins: Mutex<StandIns>,
}

#[derive(Default)]
struct StandIns {
    texts: HashMap<Use, String>,
    uses: HashMap<String, Use>,
}

/// What a stand-in stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Use {
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

/// A host call of this interface that was not answered.
pub(crate) struct Refused {
    text: String,
    outcome: fn(String) -> HostCallOutcome,
}

/// What a plugin wants of a secret.
#[derive(PartialEq, Eq)]
pub(crate) enum Asked {
    StandIn,
    Basic { user: String },
    Reveal,
}

impl Asked {
    fn operation(&self) -> &'static str {
        match self {
            Self::StandIn => "stand-in",
            Self::Basic { .. } => "basic",
            Self::Reveal => "reveal",
        }
    }

    fn user(&self) -> Option<&str> {
        match self {
            Self::Basic { user } => Some(user),
            Self::StandIn | Self::Reveal => None,
        }
    }
}

impl Secrets {
    pub(crate) fn new(grants: &Grants, seam: Arc<Seam>) -> Self {
        Self(Arc::new(Inner { grants: grants.secrets.clone(), seam, stand_ins: Mutex::default() }))
    }

    pub(crate) fn stand_in(&self, name: &str) -> Result<String, Refused> {
        let grant = self.grant(name, "use")?;
        if HeaderValue::from_str(grant.value.expose()).is_err() {
            let text = format!(
                "the value of the secret \"{name}\" has a line break or another character that a header cannot carry: \
                 store it without"
            );
            return Err(Refused { text, outcome: HostCallOutcome::Failed });
        }
        self.text_for(Use { name: name.to_owned(), user: None })
    }

    pub(crate) fn basic(&self, user: String, name: &str) -> Result<String, Refused> {
        self.grant(name, "use")?;
        if user.len() > NAME_BYTES_MAX || user.contains(|c: char| c == ':' || c.is_control()) {
            let text = format!(
                "a user name for basic authentication has at most {NAME_BYTES_MAX} bytes, and no colon or control character"
            );
            return Err(Refused { text, outcome: HostCallOutcome::Failed });
        }
        self.text_for(Use { name: name.to_owned(), user: Some(user) })
    }

    fn reveal(&self, name: &str) -> Result<String, Refused> {
        let grant = self.grant(name, "read")?;
        if grant.reveal {
            return Ok(grant.value.expose().to_owned());
        }
        let line = format!("secrets.{} = {{ …, reveal = true }}", key(name));
        let tried = format!("to read the value of the secret \"{name}\"");
        let text = self.0.seam.denial(&tried, &line, self.0.seam.asks().reveals(name));
        Err(Refused { text, outcome: HostCallOutcome::Denied })
    }

    fn grant(&self, name: &str, verb: &str) -> Result<&SecretGrant, Refused> {
        self.0.grants.get(name).ok_or_else(|| {
            let what = if verb == "read" { "reveal = true" } else { "hosts = [\"…\"]" };
            let line = format!("secrets.{} = {{ env = \"…\", {what} }}", key(name));
            let text =
                self.0.seam.denial(&format!("to {verb} the secret \"{name}\""), &line, self.0.seam.asks().secret(name));
            Refused { text, outcome: HostCallOutcome::Denied }
        })
    }

    /// The same text for the same use, all through the call.
    fn text_for(&self, wanted: Use) -> Result<String, Refused> {
        let mut stand_ins = self.0.stand_ins.lock().expect("no panic while held");
        if let Some(text) = stand_ins.texts.get(&wanted) {
            return Ok(text.clone());
        }
        if stand_ins.texts.len() >= STAND_INS_MAX {
            let text = format!("more than {STAND_INS_MAX} stand-ins in one call");
            return Err(Refused { text, outcome: HostCallOutcome::Limit });
        }
        let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
        let (high, low) = random.map_err(|error| Refused {
            text: format!("this host gives no randomness: {error}"),
            outcome: HostCallOutcome::Failed,
        })?;
        let text = format!("{STAND_IN_PREFIX}{high:016x}{low:016x}");
        stand_ins.texts.insert(wanted.clone(), text.clone());
        stand_ins.uses.insert(text.clone(), wanted);
        Ok(text)
    }

    /// Journals one call of the interface: the secret's name, never a value.
    pub(crate) fn told(&self, asked: Asked, name: &str) -> Result<String, abi::Error> {
        let seam = &self.0.seam;
        let timer = seam.begin("secrets", asked.operation());
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        let (answer, outcome) = match seam.outside() {
            Outside::Replayed(replay) => match replay.secret(asked.operation(), name, asked.user()) {
                Some((stand_in, outcome)) => (stand_in.unwrap_or_else(|| REVEALED.to_owned()), outcome),
                // The call ends at once.
                None => (String::new(), HostCallOutcome::Done),
            },
            outside => {
                let (answer, outcome) = match self.answer(&asked, name) {
                    Ok(text) => (text, HostCallOutcome::Done),
                    Err(refused) => (String::new(), (refused.outcome)(refused.text)),
                };
                if let Outside::Recorded(recorder) = outside {
                    let stand_in = (outcome == HostCallOutcome::Done && asked != Asked::Reveal).then(|| answer.clone());
                    recorder.step(name.len() + answer.len(), || Step::Secrets {
                        operation: asked.operation().to_owned(),
                        name: name.to_owned(),
                        user: asked.user().map(str::to_owned),
                        stand_in,
                        outcome: outcome.clone(),
                    });
                }
                (answer, outcome)
            }
        };
        let told = match &outcome {
            HostCallOutcome::Done => Ok(answer),
            HostCallOutcome::Denied(text) | HostCallOutcome::Limit(text) | HostCallOutcome::Failed(text) => {
                Err(abi::Error::Denied(text.clone()))
            }
        };
        timer.end(name, outcome, 0);
        told
    }

    fn answer(&self, asked: &Asked, name: &str) -> Result<String, Refused> {
        match asked {
            Asked::StandIn => self.stand_in(name),
            Asked::Basic { user } => self.basic(user.clone(), name),
            Asked::Reveal => self.reveal(name),
        }
    }

    /// Puts the values in the place of their stand-ins, for a request to `host` (in its normal form) that is granted by
    /// itself. Together the headers may then have `bytes_max` bytes.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap, host: &str, bytes_max: usize) -> Result<(), Refusal> {
        let mut bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > bytes_max {
            return Err(Refusal::TooLarge);
        }
        let stand_ins = self.0.stand_ins.lock().expect("no panic while held");
        if stand_ins.uses.is_empty() {
            return Ok(());
        }
        for value in headers.values_mut() {
            let others = bytes - value.len();
            let replaced = self.replaced(&stand_ins, value.as_bytes(), host, bytes_max - others)?;
            if replaced != value.as_bytes() {
                bytes = others + replaced.len();
                let invalid = |_| Refusal::Denied("a secret's value cannot be put into a header".to_owned());
                *value = HeaderValue::from_bytes(&replaced).map_err(invalid)?;
                value.set_sensitive(true);
            }
        }
        Ok(())
    }

    fn replaced(&self, stand_ins: &StandIns, value: &[u8], host: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
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
                    replaced.extend_from_slice(self.value_for(used, host)?.as_bytes());
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

    fn value_for(&self, used: &Use, host: &str) -> Result<String, Refusal> {
        let name = &used.name;
        let grant =
            self.0.grants.get(name).filter(|grant| grant.hosts.iter().any(|granted| normal_host(granted) == host));
        let Some(grant) = grant else {
            let granted = self.0.grants.get(name).map_or(&[][..], |grant| &grant.hosts);
            let hosts: Vec<String> =
                granted.iter().map(String::as_str).chain([host]).map(|host| format!("\"{host}\"")).collect();
            let line = format!("secrets.{} = {{ …, hosts = [{}] }}", key(name), hosts.join(", "));
            return Err(Refusal::Denied(self.0.seam.denial(
                &format!("to send the secret \"{name}\" to {host}"),
                &line,
                self.0.seam.asks().secret(name),
            )));
        };
        let value = grant.value.expose();
        Ok(match &used.user {
            None => value.to_owned(),
            Some(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{value}"))),
        })
    }
}

/// A key of a TOML table.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

impl abi::Host for State {
    fn stand_in(&mut self, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.secrets.told(Asked::StandIn, &name))
    }

    fn basic(&mut self, user: String, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.secrets.told(Asked::Basic { user }, &name))
    }

    fn reveal(&mut self, name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(self.secrets.told(Asked::Reveal, &name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::SecretValue;
    use crate::masks::Masks;
    use crate::rights::Asks;
    use crate::seam::{HostCall, Level, Sink};

    #[derive(Default)]
    struct Journal(Mutex<Vec<HostCall>>);

    impl Sink for Journal {
        fn log(&self, _: Level, _: &str) {}

        fn progress(&self, _: Option<u8>, _: &str) {}

        fn host_call(&self, call: HostCall) {
            self.0.lock().unwrap().push(call);
        }
    }

    fn grants(values: &[(&str, &str, bool)]) -> Grants {
        let secret = |(name, value, reveal): &(&str, &str, bool)| {
            let value = SecretValue::new(*value);
            ((*name).to_owned(), SecretGrant { value, hosts: vec!["a.test".to_owned()], reveal: *reveal })
        };
        Grants { secrets: values.iter().map(secret).collect(), ..Grants::default() }
    }

    fn seam(sink: Arc<dyn Sink>, masks: Masks) -> Arc<Seam> {
        Seam::new(
            "acme/x",
            "Build/It",
            sink,
            masks,
            Asks::everything(&["token", "open", "my other", "other"], &[]),
            Outside::Live,
        )
    }

    fn values(grants: &Grants) -> impl Iterator<Item = &str> {
        grants.secrets.values().map(|grant| grant.value.expose())
    }

    /// Operation and name, with what must come of it: what the plugin gets begins so.
    const CASES: &[(&str, &str, &str)] = &[
        ("stand-in", "token", "pipewright-secret-"),
        ("basic", "token", "pipewright-secret-"),
        (
            "reveal",
            "token",
            "acme/x (action Build/It) tried to read the value of the secret \"token\", which it was not granted. To allow it, \
             grant the action \"Build/It\": secrets.token = { …, reveal = true }",
        ),
        ("reveal", "open", "the value"),
        (
            "stand-in",
            "my other",
            "acme/x (action Build/It) tried to use the secret \"my other\", which it was not granted. To allow it, grant the \
             action \"Build/It\": secrets.\"my other\" = { env = \"…\", hosts = [\"…\"] }",
        ),
        (
            "reveal",
            "other",
            "acme/x (action Build/It) tried to read the secret \"other\", which it was not granted. To allow it, grant the \
             action \"Build/It\": secrets.other = { env = \"…\", reveal = true }",
        ),
        ("stand-in", "lines", "the value of the secret \"lines\" has a line break"),
        ("basic", "lines", "pipewright-secret-"),
        ("basic with a:b", "token", "a user name for basic authentication has"),
    ];

    #[test]
    fn secrets_are_given_as_granted() {
        let grants = grants(&[("token", "s3cret", false), ("open", "the value", true), ("lines", "one\ntwo", false)]);
        for (operation, name, wanted) in CASES {
            let journal = Arc::new(Journal::default());
            let sink = Arc::clone(&journal) as Arc<dyn Sink>;
            let secrets = Secrets::new(&grants, seam(sink, Masks::of(values(&grants))));
            let ask = || {
                let asked = match *operation {
                    "stand-in" => Asked::StandIn,
                    "basic" => Asked::Basic { user: "me".to_owned() },
                    "reveal" => Asked::Reveal,
                    _ => Asked::Basic { user: "a:b".to_owned() },
                };
                secrets.told(asked, name)
            };
            let (Ok(got) | Err(abi::Error::Denied(got))) = ask();
            assert!(got.starts_with(wanted), "{operation} {name}: {got}");
            let (Ok(again) | Err(abi::Error::Denied(again))) = ask();
            assert_eq!(got, again, "{operation} {name}: the same all through the call");
            let calls = format!("{:?}", journal.0.lock().unwrap());
            assert!(calls.contains(name), "{operation} {name}: {calls}");
            assert!(!calls.contains("the value\"") && !calls.contains("s3cret"), "{operation} {name}: {calls}");
        }
    }

    #[test]
    fn stand_ins_differ_from_call_to_call_and_are_bounded() {
        let grants = grants(&[("token", "s3cret", false)]);
        let new = || Secrets::new(&grants, seam(Arc::new(Journal::default()), Masks::default()));
        let (one, other) = (new(), new());
        assert_ne!(one.stand_in("token").ok(), other.stand_in("token").ok());
        let given = (0..STAND_INS_MAX + 10).filter(|user| one.basic(user.to_string(), "token").is_ok()).count();
        assert_eq!(given + 1, STAND_INS_MAX);
    }
}

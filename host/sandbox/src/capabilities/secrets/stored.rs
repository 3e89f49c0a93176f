//! Secrets of an account's store, as a grant gives them: which one, which key of it, and which of its versions.
//!
//! Owns the references, in the form that CodeBuild has for Secrets Manager. Must not know how the store keeps anything.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::capabilities::commands::SECRET_CHARS_MIN;
use crate::grants::SecretValue;

/// Stored secrets by their names.
pub type Stored = BTreeMap<String, StoredSecret>;

/// Of `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME`.
const ARN_COLONS: usize = 6;
/// The newest version, and the one before it.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// The versions that are kept of one secret, the newest last.
#[derive(Clone, Debug, Default)]
pub struct StoredSecret {
    versions: Vec<(u64, SecretValue)>,
    /// Of those that are JSON objects, the values that a key names.
    parts: Vec<SecretValue>,
}

impl StoredSecret {
    pub fn new(versions: Vec<(u64, SecretValue)>) -> Self {
        let objects = versions.iter().filter_map(|(_, value)| serde_json::from_str::<Value>(value.expose()).ok());
        let fields = objects.filter_map(|value| if let Value::Object(fields) = value { Some(fields) } else { None });
        let parts = fields.flat_map(|fields| fields.into_iter().map(|(_, value)| text(value)));
        // A shorter one is given to nobody, and would hide ordinary words.
        let parts = parts.filter(|text| text.chars().count() >= SECRET_CHARS_MIN).map(SecretValue::from).collect();
        Self { versions, parts }
    }
}

/// A string as it is, anything else as JSON.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// What a grant gives of a stored secret.
#[derive(Clone, Debug)]
pub struct Picked {
    secret: StoredSecret,
    part: Part,
}

/// `JSON-KEY:VERSION-STAGE:VERSION-ID`, each of which may be empty, and left out at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    key: Option<String>,
    version: Option<Version>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Current,
    Previous,
    Number(u64),
}

impl Part {
    /// What a name says after that of the grant, which may have the first parts itself: `db:password` has a key.
    pub(super) fn after(granted: &str, name: &str) -> Result<Self, String> {
        let colons = |text: &str| text.matches(':').count();
        let of_the_id = if granted.starts_with("arn:") { ARN_COLONS } else { 0 };
        let there = colons(granted).saturating_sub(of_the_id);
        let rest = name.strip_prefix(granted).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
        Self::read(&(":".repeat(there) + rest))
    }

    /// Whether it is the whole of what is there now.
    pub(super) fn is_current(&self) -> bool {
        self.key.is_none() && matches!(self.version, None | Some(Version::Current))
    }

    fn read(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let part = |number: usize| parts.get(number).copied().filter(|part| !part.is_empty());
        if parts.len() > 3 {
            return Err("there are more than four parts: write NAME:JSON-KEY:VERSION-STAGE:VERSION-ID".to_owned());
        }
        let version = match (part(1), part(2)) {
            (None, None) => None,
            (Some(CURRENT), None) => Some(Version::Current),
            (Some(PREVIOUS), None) => Some(Version::Previous),
            (Some(stage), None) => {
                return Err(format!("the version stage {stage:?} is neither {CURRENT} nor {PREVIOUS}"));
            }
            (None, Some(id)) => {
                let number = id.parse().map_err(|_| format!("the version {id:?} is no number"))?;
                Some(Version::Number(number))
            }
            (Some(_), Some(_)) => return Err("a version is named by its stage or by its number: give one".to_owned()),
        };
        Ok(Self { key: part(0).map(str::to_owned), version })
    }
}

impl Picked {
    pub(super) fn of(reference: &str, stored: &Stored) -> Result<Self, String> {
        let (name, part) = reference.split_once(':').unwrap_or((reference, ""));
        let part = Part::read(part).map_err(|reason| format!("store = {reference:?}: {reason}"))?;
        let secret = stored.get(name).cloned().ok_or_else(|| {
            format!(
                "there is no secret {name:?} in the store of the pipeline's account: `pipewright secret set {name}` keeps one on a \
                 server, and a run without one has no store"
            )
        })?;
        Ok(Self { secret, part })
    }

    /// All that anybody may be given of it.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let versions = self.secret.versions.iter().map(|(_, value)| value);
        versions.chain(&self.secret.parts).map(SecretValue::expose)
    }

    pub(super) fn value(&self) -> Result<SecretValue, String> {
        let versions = &self.secret.versions;
        let found = match self.part.version.as_ref().unwrap_or(&Version::Current) {
            Version::Current => versions.last(),
            Version::Previous => versions.len().checked_sub(2).and_then(|index| versions.get(index)),
            Version::Number(wanted) => versions.iter().find(|(number, _)| number == wanted),
        };
        let (_, value) = found.ok_or_else(|| {
            let there: Vec<String> = versions.iter().map(|(number, _)| number.to_string()).collect();
            format!("there is no such version; kept are {}", there.join(", "))
        })?;
        let Some(key) = &self.part.key else { return Ok(value.clone()) };
        match serde_json::from_str::<Value>(value.expose()) {
            Ok(Value::Object(mut fields)) => {
                fields.remove(key).map(|field| text(field).into()).ok_or_else(|| format!("it has no key {key:?}"))
            }
            _ => Err(format!("it is no JSON object, and so has no key {key:?}")),
        }
    }

    /// The value of a part of what is granted: what the grant leaves open, it may say.
    pub(super) fn narrowed(&self, wanted: Part) -> Result<SecretValue, String> {
        let key = of_both(&self.part.key, wanted.key).ok_or("the grant gives another key of it")?;
        let version = of_both(&self.part.version, wanted.version).ok_or("the grant gives another version of it")?;
        Self { secret: self.secret.clone(), part: Part { key, version } }.value()
    }
}

/// What either says; none where they differ.
fn of_both<T: Clone + PartialEq>(granted: &Option<T>, wanted: Option<T>) -> Option<Option<T>> {
    match (granted, wanted) {
        (None, wanted) => Some(wanted),
        (Some(granted), Some(wanted)) if *granted != wanted => None,
        (Some(granted), _) => Some(Some(granted.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let value = |text: &str| SecretValue::new(text);
        let versions = vec![
            (3, value("plain-and-old")),
            (4, value(r#"{"user": "maria", "password": "correct horse", "port": 5432}"#)),
            (5, value(r#"{"user": "maria", "password": "battery staple"}"#)),
        ];
        [("db".to_owned(), StoredSecret::new(versions))].into()
    }

    #[test]
    fn a_reference_picks_a_key_and_a_version() {
        let check = |grant: &str, part: &str, wanted: Result<&str, &str>| {
            let got = Picked::of(grant, &stored()).and_then(|picked| picked.narrowed(Part::read(part)?));
            match (&got, wanted) {
                (Ok(value), Ok(wanted)) => assert_eq!(value.expose(), wanted, "{grant} {part}"),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{grant} {part}: {error}"),
                _ => panic!("{grant} {part}: {got:?} instead of {wanted:?}"),
            }
        };
        check("db", "", Ok(r#"{"user": "maria", "password": "battery staple"}"#));
        check("db", "password", Ok("battery staple"));
        check("db", "password:AWSPREVIOUS", Ok("correct horse"));
        check("db", "port:AWSPREVIOUS:", Ok("5432"));
        check("db", "::3", Ok("plain-and-old"));
        check("db:password", "", Ok("battery staple"));
        check("db:password", ":AWSPREVIOUS", Ok("correct horse"));
        check("db:::4", "password", Ok("correct horse"));
        // What the grant says, nobody widens.
        check("db:password", "user", Err("the grant gives another key"));
        check("db:::4", "password:AWSCURRENT", Err("the grant gives another version"));
        check("db:::4", "::3", Err("the grant gives another version"));
        check("db", "::9", Err("kept are 3, 4, 5"));
        check("db", "::3:x", Err("more than four parts"));
        check("db", "nobody", Err("it has no key \"nobody\""));
        check("db:key::3", "", Err("it is no JSON object"));
        check("db", ":MINE", Err("\"MINE\" is neither AWSCURRENT nor AWSPREVIOUS"));
        check("db", ":AWSCURRENT:5", Err("give one"));
        check("db", "::x", Err("is no number"));
        check("other", "", Err("there is no secret \"other\" in the store"));
    }

    #[test]
    fn a_name_says_more_than_the_grant() {
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db";
        let check = |granted: &str, rest: &str, key: Option<&str>, version: Option<Version>| {
            let part = Part::after(granted, &format!("{granted}{rest}"));
            assert_eq!(part, Ok(Part { key: key.map(str::to_owned), version }), "{granted}{rest}");
        };
        check("db", "", None, None);
        for granted in ["db", arn] {
            check(granted, ":password", Some("password"), None);
            check(granted, ":password:AWSPREVIOUS", Some("password"), Some(Version::Previous));
            check(granted, "::AWSCURRENT:", None, Some(Version::Current));
            check(granted, ":::3", None, Some(Version::Number(3)));
        }
        check("db:password", ":AWSPREVIOUS", None, Some(Version::Previous));
        check("db:password", "::7", None, Some(Version::Number(7)));
        check(&format!("{arn}:password"), "::7", None, Some(Version::Number(7)));
        assert!(Part::after("db", "db:a:b:c:d").is_err());
    }

    #[test]
    fn whatever_may_be_given_is_known_to_be_secret() {
        let picked = Picked::of("db:password", &stored()).unwrap();
        let values: Vec<&str> = picked.values().collect();
        for hidden in ["plain-and-old", "correct horse", "battery staple"] {
            assert!(values.contains(&hidden), "{hidden}");
        }
        assert!(!values.contains(&"maria"), "it is too short to be given");
    }
}

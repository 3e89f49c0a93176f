//! How secrets are given, and that their stand-ins are bounded.

use super::*;
use crate::masks::Masks;
use crate::outside::Outside;
use crate::seam::{Journal, Sink};

fn grants(values: &[(&str, &str, bool)]) -> Grants {
    let secret = |(name, value, reveal): &(&str, &str, bool)| {
        let value = SecretValue::new(*value);
        let hosts = vec!["a.test".to_owned()];
        (
            (*name).to_owned(),
            SecretGrant { value, hosts, reveal: *reveal, commands: false, commands_file: None, stored: None },
        )
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
        let secrets = Secrets::of(&grants, &seam(sink, Masks::of(values(&grants))));
        let ask = || {
            let (operation, user) = match *operation {
                "stand-in" => (Operation::StandIn, None),
                "basic" => (Operation::Basic, Some("me")),
                "reveal" => (Operation::Reveal, None),
                _ => (Operation::Basic, Some("a:b")),
            };
            secrets.told(operation, name, user.map(str::to_owned))
        };
        let (Ok(got) | Err(abi::Error::Denied(got))) = ask();
        assert!(got.starts_with(wanted), "{operation} {name}: {got}");
        let (Ok(again) | Err(abi::Error::Denied(again))) = ask();
        assert_eq!(got, again, "{operation} {name}: the same all through the call");
        let calls = format!("{:?}", journal.calls.lock().unwrap());
        assert!(calls.contains(name), "{operation} {name}: {calls}");
        assert!(!calls.contains("the value\"") && !calls.contains("s3cret"), "{operation} {name}: {calls}");
    }
}

#[test]
fn stand_ins_differ_from_call_to_call_and_are_bounded() {
    let grants = grants(&[("token", "s3cret", false)]);
    let new = || Secrets::of(&grants, &seam(Arc::new(Journal::default()), Masks::default()));
    let (one, other) = (new(), new());
    let stand_in = |secrets: &Secrets| secrets.told(Operation::StandIn, "token", None).unwrap();
    assert_ne!(stand_in(&one), stand_in(&other));
    let basic = |user: &usize| one.told(Operation::Basic, "token", Some(user.to_string())).is_ok();
    let given = (0..STAND_INS_MAX + 10).filter(basic).count();
    assert_eq!(given + 1, STAND_INS_MAX);
}

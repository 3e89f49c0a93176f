//! Secrets of accounts: what is kept and told of them, and the change of the key that seals them.

use pipewright_engine::driver::{PAGE_KEY, SECRETS};
use pipewright_runner::secret_keys::SecretKeys;
use pipewright_runner::stored_secrets::{NAME_BYTES_MAX, SECRETS_MAX, VALUE_BYTES_MAX, VERSIONS_MAX};
use serde_json::{Value, json};

use super::world::{A, B, World, context, words};
use crate::service::{ServiceError, secrets};

impl World {
    pub fn put_secret(&self, account: u64, name: &str, value: &str) -> Result<u64, String> {
        let input = secrets::PutSecret { name: name.to_owned(), value: value.to_owned() };
        let put = self.run(secrets::put(&self.service, &context(account), input));
        put.map(|kept| kept.version).map_err(|error| words(&error))
    }

    fn remove(&self, account: u64, name: &str, version: Option<u64>) -> Result<(), String> {
        let input = secrets::RemoveSecret { name: name.to_owned(), version };
        self.run(secrets::remove(&self.service, &context(account), input)).map_err(|error| words(&error))
    }

    fn secrets(&self, account: u64) -> Value {
        let listed: Result<_, ServiceError> = self.run(secrets::list(&self.service, &context(account)));
        serde_json::to_value(listed.unwrap()).unwrap()
    }

    fn versions(&self, account: u64, name: &str) -> Vec<u64> {
        let listed = self.secrets(account);
        let secret = listed["secrets"].as_array().unwrap().iter().find(|secret| secret["name"] == name).cloned();
        let versions = secret.map(|secret| secret["versions"].as_array().unwrap().clone()).unwrap_or_default();
        versions.iter().map(|version| version["version"].as_u64().unwrap()).collect()
    }

    /// What a call would be given, by the debug output of which nobody sees a value.
    fn given(&self, account: u64, name: &str) -> Result<usize, String> {
        let stored = self.run(self.service.host.actions.secrets.values(account, [name.to_owned()].into()));
        let stored = stored?;
        assert!(!format!("{stored:?}").contains("horse"), "{stored:?}");
        Ok(stored.len())
    }

    fn kept(&self, account: u64) -> Vec<(String, bytes::Bytes)> {
        self.run(self.service.host.driver.account_parts(account, SECRETS)).unwrap()
    }
}

#[test]
fn each_set_makes_a_version_and_none_is_read_back() {
    let world = World::new();
    assert_eq!(world.secrets(A), json!({ "secrets": [] }));
    for number in 1..=VERSIONS_MAX as u64 + 2 {
        assert_eq!(world.put_secret(A, "team/db", &format!("correct horse {number}")), Ok(number));
    }
    let kept: Vec<u64> = (3..=VERSIONS_MAX as u64 + 2).rev().collect();
    assert_eq!(world.versions(A, "team/db"), kept, "the oldest ones made room");
    let listed = world.secrets(A);
    assert_eq!(listed["secrets"][0]["versions"][0]["by"], context(A).principal());
    let parts = world.kept(A);
    let all = format!("{listed} {}", parts.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect::<String>());
    assert!(!all.contains("horse"), "{all}");

    assert_eq!(world.secrets(B), json!({ "secrets": [] }), "each account has its own");
    assert_eq!((world.given(A, "team/db"), world.given(B, "team/db")), (Ok(1), Ok(0)));
    world.remove(A, "team/db", Some(3)).unwrap();
    assert_eq!(world.versions(A, "team/db"), &kept[..kept.len() - 1]);
    world.remove(A, "team/db", None).unwrap();
    assert_eq!((world.versions(A, "team/db"), world.given(A, "team/db")), (vec![], Ok(0)));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let world = World::new();
    world.put_secret(A, "db", "one").unwrap();
    let refused = |done: Result<(), String>, wanted: &str| assert_eq!(done.unwrap_err(), wanted);
    let name = "ValidationException: the name of a secret has 1 to 256 characters of a-z, A-Z, 0-9 and /_+=.@-";
    for wrong in ["", "a:b", "a b", "é", "a\n", &"x".repeat(NAME_BYTES_MAX + 1)] {
        refused(world.put_secret(A, wrong, "value").map(drop), name);
    }
    let value = "ValidationException: the value of a secret has 1 to 65536 bytes";
    for wrong in ["", &"x".repeat(VALUE_BYTES_MAX + 1)] {
        refused(world.put_secret(A, "db", wrong).map(drop), value);
    }
    refused(world.remove(A, "dc", None), "ResourceNotFoundException: there is no secret \"dc\"");
    refused(world.remove(B, "db", None), "ResourceNotFoundException: there is no secret \"db\"");
    refused(world.remove(A, "db", Some(7)), "ResourceNotFoundException: there is no version 7 of \"db\"");
    let newest = "ValidationException: version 1 of \"db\" is the newest one: set another first, or remove the secret";
    refused(world.remove(A, "db", Some(1)), newest);
    for number in 1..SECRETS_MAX {
        world.put_secret(A, &format!("s{number}"), "x").unwrap();
    }
    refused(world.put_secret(A, "more", "x").map(drop), "limit: an account has at most 500 secrets");
    world.put_secret(A, "db", "two").unwrap();
    let long = "x".repeat(VALUE_BYTES_MAX);
    let full = (1..SECRETS_MAX).find_map(|number| world.put_secret(A, &format!("s{number}"), &long).err());
    assert!(full.is_some_and(|full| full.starts_with("limit: the secrets of an account have at most 8388608 bytes")));
    (1..=12).for_each(|number| assert_eq!(world.put_secret(B, "db", "x"), Ok(number)));
    assert_eq!(world.versions(B, "db"), (3..=12).rev().collect::<Vec<_>>(), "the latest ten");
}

/// As after a crash at each step, too: the file has all keys that are in use.
#[test]
fn a_new_key_seals_everything_wherever_the_change_is_interrupted() {
    let world = World::new();
    world.put_secret(A, "one", "correct horse 1").unwrap();
    world.put_secret(A, "one", "correct horse 2").unwrap();
    let keys = SecretKeys::own(world.secret_keys());
    let first = keys.read().unwrap();
    // It died when the new key was in the file, and then when one secret was sealed with it.
    let second = keys.with_new(&first).unwrap();
    world.put_secret(B, "two", "correct horse 3").unwrap();
    assert_eq!((world.given(A, "one"), world.given(B, "two")), (Ok(1), Ok(1)));
    let before = world.kept(A);
    let rotated = world.run(secrets::rotate_key(&world.service, &context(A))).unwrap();
    assert_eq!(rotated.secrets, 2);
    assert!(![first.id(), second.id()].contains(&Some(rotated.key.clone())));
    assert_eq!(keys.read().unwrap().id(), Some(rotated.key));
    assert_eq!(std::fs::read_to_string(world.secret_keys()).unwrap().lines().count(), 1);
    assert_eq!((world.given(A, "one"), world.given(B, "two")), (Ok(1), Ok(1)));
    assert_eq!(world.versions(A, "one"), [2, 1]);
    assert_ne!(world.kept(A), before);

    std::fs::remove_file(world.secret_keys()).unwrap();
    let lost = world.given(A, "one").unwrap_err();
    assert!(lost.contains("is not among them") && lost.contains("put it back"), "{lost}");
}

const KEY: &str = "key/administrator";

impl World {
    fn key(&self, account: u64, part: &str) -> Result<Option<Vec<u8>>, String> {
        let secrets = &self.service.host.actions.secrets;
        self.run(secrets.key(self.service.driver(), account, part)).map_err(|error| error.to_string())
    }

    /// As a start does.
    fn check_keys(&self) -> Result<(), String> {
        let secrets = &self.service.host.actions.secrets;
        let checked = self.run(secrets.check_keys(self.service.driver(), &context(A).cause));
        checked.map_err(|error| error.to_string())
    }

    fn put_part(&self, account: u64, part: &str, value: &'static [u8]) {
        let value = Some(bytes::Bytes::from_static(value));
        self.run(self.service.driver().put_account_part(account, part, value, &context(A).cause)).unwrap();
    }
}

/// Those of an account that the configuration names no more, too.
#[test]
fn keys_that_an_earlier_version_kept_as_they_were_are_sealed_at_the_start() {
    const GONE: u64 = 999;
    let world = World::new();
    let kept: [(u64, &str, &[u8]); 4] = [
        (A, KEY, b"AKIAEXAMPLE\ncorrect horse"),
        (A, PAGE_KEY, &[0xff; 32]),
        (B, "key/target/chat", b"whsec_correct"),
        (GONE, KEY, b"AKIAEXAMPLE\ncorrect horse of nobody"),
    ];
    kept.iter().for_each(|(account, part, value)| world.put_part(*account, part, value));
    let check = |world: &World| {
        for (account, part, value) in kept {
            assert_eq!(world.key(account, part).unwrap().as_deref(), Some(value), "{part}");
            let stored = world.run(world.service.driver().account_part(account, part)).unwrap().unwrap();
            let is_in = |text: &[u8]| stored.windows(text.len()).any(|window| window == text);
            assert!(!is_in(value) && !is_in(b"correct"), "{part}");
        }
    };
    assert!(!world.secret_keys().exists());
    world.check_keys().unwrap();
    check(&world);
    world.check_keys().unwrap();
    check(&world);
    world.put_secret(A, "one", "value").unwrap();
    let before = SecretKeys::own(world.secret_keys()).read().unwrap();
    assert_eq!(world.run(secrets::rotate_key(&world.service, &context(A))).unwrap().secrets, 1);
    assert_ne!(SecretKeys::own(world.secret_keys()).read().unwrap().id(), before.id());
    check(&world);

    // No other is made in its place, by which what was sealed would be lost for good.
    std::fs::remove_file(world.secret_keys()).unwrap();
    world.put_part(B, "key/target/more", b"whsec_more");
    let lost = world.check_keys().unwrap_err();
    let file = world.secret_keys().display().to_string();
    for words in ["\"key/administrator\" of account", "put it back, as a line of", &file] {
        assert!(lost.contains(words), "{lost}");
    }
    assert!(!world.secret_keys().exists());
}

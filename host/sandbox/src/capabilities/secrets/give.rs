//! Secrets that programs are given: the names by which they are asked for, and what follows.
//!
//! Must not know how a program is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stored::Part;
use super::{COMMANDS, GIVE, SECRETS, SecretGrant, is_asked};
use crate::grants::{SecretValue, key};
use crate::rights::Asks;
use crate::seam::{Denied, HostCallOutcome, Seam};

/// Whether a program may be given it.
pub(in crate::capabilities) fn check_give(
    grants: &BTreeMap<String, SecretGrant>,
    asks: &Asks,
    name: &str,
) -> Result<(), Denied> {
    let line = match named(grants, name) {
        Some((_, grant)) if grant.commands => return Ok(()),
        Some(_) => "{ …, commands = true }",
        None => "{ env = \"…\", commands = true }",
    };
    let granted = named(grants, name).map_or(name, |(granted, _)| granted);
    Err(Denied {
        tried: format!("to give the secret \"{name}\" to a program"),
        grant: format!("secrets.{} = {line}", key(granted)),
        is_asked: is_asked(asks, name) || asks.any(COMMANDS),
    })
}

/// The grant that a program's variable names, under its own name: the one of that name, or the longest one with a part of
/// `:JSON-KEY:VERSION-STAGE:VERSION-ID` after it.
fn named<'a>(grants: &'a BTreeMap<String, SecretGrant>, name: &str) -> Option<(&'a str, &'a SecretGrant)> {
    let is_of = |granted: &str| name.strip_prefix(granted).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    let found = grants.iter().filter(|(granted, _)| is_of(granted));
    found.max_by_key(|(granted, _)| granted.len()).map(|(granted, grant)| (granted.as_str(), grant))
}

/// The value that a program's variable is given.
pub(in crate::capabilities) fn value(
    grants: &BTreeMap<String, SecretGrant>,
    name: &str,
) -> Result<SecretValue, String> {
    let (granted, grant) = named(grants, name).ok_or_else(|| format!("no secret {name:?}"))?;
    let part = Part::after(granted, name).map_err(|reason| format!("the secret \"{name}\": {reason}"))?;
    match &grant.stored {
        Some(picked) => picked.narrowed(part).map_err(|reason| format!("the secret \"{name}\": {reason}")),
        None if part.is_current() => Ok(grant.value.clone()),
        None => Err(format!(
            "the secret \"{granted}\" is none of the account's store, so that it has neither keys nor versions: name it without, \
             or grant secrets.{} = {{ store = \"…\", commands = true }}",
            key(granted)
        )),
    }
}

/// Of what every program is given in a file: the variable with the file's path, and the secret's name.
pub(in crate::capabilities) fn to_every_program(
    grants: &BTreeMap<String, SecretGrant>,
) -> impl Iterator<Item = (&str, &str)> {
    grants.iter().filter_map(|(name, grant)| Some((grant.commands_file.as_deref()?, name.as_str())))
}

/// Journals that a program is given it.
pub(in crate::capabilities) fn given(seam: &Arc<Seam>, grants: &BTreeMap<String, SecretGrant>, name: &str) {
    let granted = named(grants, name).map_or(name, |(granted, _)| granted);
    seam.begin(SECRETS, GIVE).end(granted, HostCallOutcome::Done, 0);
}

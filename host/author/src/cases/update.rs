//! Writes what came of a case into its `case.toml`, for its author to review.
//!
//! Owns which expectations are rewritten: those that are there and were not met. All else in the file, comments too, stays
//! as it is. Must not know how anything is compared: the differences name the keys.

use std::collections::BTreeSet;

use pipewright_pipeline::machine::FailureType;
use serde::Serialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

use super::check::Difference;
use super::seen::Seen;

/// The file with the expectations of its calls as they were seen, where the differences say that they were not met; and the
/// keys that a person must see to.
pub(super) fn rewritten(
    text: &str,
    seen: &[Seen],
    differences: &[Difference],
) -> anyhow::Result<(String, Vec<String>)> {
    let mut document: DocumentMut = text.parse()?;
    let mut left = Vec::new();
    let keys: BTreeSet<&str> = differences.iter().map(|difference| difference.key.as_str()).collect();
    for key in keys {
        let place =
            place(key).and_then(|(number, rest)| Some((expected(&mut document, number)?, seen.get(number)?, rest)));
        let is_written = place.is_some_and(|(expected, seen, rest)| rewrite(expected, seen, rest));
        if !is_written {
            left.push(key.to_owned());
        }
    }
    Ok((document.to_string(), left))
}

/// The number of the call, and the key below its expectations.
fn place(key: &str) -> Option<(usize, &str)> {
    if let Some(rest) = key.strip_prefix("expected.") {
        return Some((0, rest));
    }
    let (number, rest) = key.strip_prefix("then.")?.split_once('.')?;
    Some((number.parse().ok()?, rest.strip_prefix("expected.")?))
}

fn expected(document: &mut DocumentMut, number: usize) -> Option<&mut dyn TableLike> {
    let Some(then) = number.checked_sub(1) else { return document.get_mut("expected")?.as_table_like_mut() };
    document.get_mut("then")?.as_array_of_tables_mut()?.get_mut(then)?.get_mut("expected")?.as_table_like_mut()
}

/// Whether that key could be written.
fn rewrite(expected: &mut dyn TableLike, seen: &Seen, key: &str) -> bool {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let value = match first {
        "outcome" => {
            // What a failure is about comes and goes with it.
            set(expected, "failure", seen.failure.as_ref().map(failure));
            Some(seen.outcome.to_string().into())
        }
        "failure" => seen.failure.as_ref().map(failure),
        "summary" => seen.summary.as_ref().map(|summary| texts([summary])),
        "log" => Some(texts(seen.log.lines())),
        "denials" => (!seen.denials.is_empty()).then(|| texts(&seen.denials)),
        "external-id" => seen.external_id.as_ref().map(Into::into),
        "variables" => plain(&seen.variables),
        "links" => plain(&seen.links),
        "revision" => seen.revision.as_ref().map_or(Some(false.into()), plain),
        "targets" => plain(&seen.targets),
        "cases" => plain(&seen.cases),
        "outputs" => return files(expected, seen, rest),
        _ => return false,
    };
    set(expected, first, value);
    true
}

/// Without a value there is nothing to expect.
fn set(expected: &mut dyn TableLike, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(expected.insert(key, Item::Value(value))),
        None => drop(expected.remove(key)),
    }
}

fn failure((kind, message): &(FailureType, String)) -> Value {
    let mut failure = InlineTable::new();
    failure.insert("kind", format!("{kind:?}").into());
    // The rest may be of this machine, like the stack of a crash.
    failure.insert("contains", texts(message.lines().take(1)));
    failure.into()
}

fn texts(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Value {
    texts.into_iter().map(|text| text.as_ref().to_owned()).collect::<Array>().into()
}

/// Anything that is written as it is read.
fn plain(value: &(impl Serialize + ?Sized)) -> Option<Value> {
    value.serialize(toml_edit::ser::ValueSerializer::new()).ok()
}

/// `NAME.files` or `NAME.digest`
fn files(expected: &mut dyn TableLike, seen: &Seen, key: &str) -> bool {
    let Some((name, what)) = key.rsplit_once('.') else { return false };
    let output = expected.get_mut("outputs").and_then(|outputs| outputs.as_table_like_mut()?.get_mut(name));
    let Some((output, tree)) = output.and_then(Item::as_table_like_mut).zip(seen.outputs.get(name)) else {
        return false;
    };
    let value = match what {
        "files" => texts(tree.entries().iter().map(|entry| &entry.path)),
        "digest" => tree.digest().to_string().into(),
        _ => return false,
    };
    set(output, what, Some(value));
    true
}

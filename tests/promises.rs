//! Each promise of docs/semantics.md has the tests that show it: `promises.txt` names them, a line for each number, in the order
//! of the document.
//!
//!     S17 host/server/src/service/tests/pipelines.rs::each_update_is_a_version_that_stays_readable
//!     S99 none: why no test can show it

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const NONE_MAX: usize = 10;

#[test]
fn every_promise_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let promises = read("docs/semantics.md");
    let promises: Vec<&str> =
        promises.lines().filter_map(|line| Some(line.strip_prefix("* **S")?.split_once("**")?.0)).collect();
    let table = read("tests/promises.txt");
    let rows: Vec<(&str, &str)> = table.lines().map(|line| line.split_once(' ').expect("a number and tests")).collect();
    let numbers: Vec<&str> = rows.iter().filter_map(|(number, _)| number.strip_prefix('S')).collect();
    assert_eq!(numbers, promises, "tests/promises.txt has a line for each promise of docs/semantics.md, in its order");
    let none = rows.iter().filter(|(_, tests)| tests.starts_with("none: ")).count();
    assert!(none <= NONE_MAX, "{none} promises have no test");

    let mut files = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, tests) in rows.iter().filter(|(_, tests)| !tests.starts_with("none: ")) {
        for test in tests.split(' ') {
            let (path, name) =
                test.split_once("::").unwrap_or_else(|| panic!("{number}: {test} names no test of a file"));
            let file = files.entry(path).or_insert_with(|| read(path));
            if !is_test(file, name) {
                wrong.push(format!("{number}: {path} has no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the function is there, under an attribute that makes it a test.
fn is_test(file: &str, name: &str) -> bool {
    let lines: Vec<&str> = file.lines().map(str::trim_start).collect();
    let of_it = |line: &&str| line.split_once("fn ").is_some_and(|(_, rest)| rest.split('(').next() == Some(name));
    let Some(at) = lines.iter().position(of_it) else { return false };
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    above.clone().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

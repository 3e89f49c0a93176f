//! What a plugin says, on the terminal of whoever looks: whatever is in it, it is text in the place that it was given.

use std::fs;

use serde_json::json;

use crate::client::{Ended, Site, make, program};
use crate::server::share_compiled;

/// No step that there is, so that the failure says it. Moves the cursor, sets the title, turns the text around, hides in it, and makes a line of its own.
const HOSTILE: &str = "inputs/A\u{1b}[2JB\u{1b}]0;t\u{7}C\u{9b}D\u{202e}E\u{2066}F\u{200b}G\rH\u{2028}";

#[track_caller]
fn check(ended: &Ended, what: &str) {
    let steers = |c: &char| !matches!(c, '\n' | '\t') && !pipewright_text::is_printable(*c);
    for said in [&ended.out, &ended.error] {
        assert_eq!(said.chars().find(steers), None, "{what}: {said:?}");
    }
    assert!(ended.out.contains("inputs/A"), "{what} does not show it: {ended:?}");
}

/// As by `head -1`: it ends as if all had been read, and without a word.
#[test]
fn who_reads_no_more_ends_the_command_quietly() {
    let home = tempfile::tempdir().unwrap();
    for words in
        ["--help", "completion bash", "plugin new acme/made --kind build", "plugin new acme/more --kind nothing"]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = program(home.path()).args(words.split(' ')).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        let is_wrong = words.ends_with("nothing");
        assert_eq!(
            (ended.status.code(), said.is_empty()),
            (Some(if is_wrong { 2 } else { 0 }), !is_wrong),
            "{words}: {said}"
        );
        assert!(!said.contains("panicked"), "{words}: {said}");
    }
}

#[test]
fn nothing_that_a_plugin_says_steers_the_terminal() {
    let site = Site::new();
    let mut stage = make();
    stage["actions"][0]["configuration"] = json!({ "Script": HOSTILE });
    site.create("site", &[stage]).check(0, &[]);
    check(&site.run(&["logs", "site", "--follow"]), "logs --follow");
    for words in
        ["status site", "status site --json", "history site --actions", "history site --actions --json", "logs site"]
    {
        check(&site.run(&words.split(' ').collect::<Vec<_>>()), words);
    }
    check(&site.run(&["logs", "site", "--json"]), "logs --json");
    check(&site.run(&["start", "site", "--follow"]), "start --follow");

    fs::write(site.path("steps.wasm"), pipewright_guests::get("steps")).unwrap();
    share_compiled(&site.path("local"));
    let script = format!("Script={HOSTILE}");
    let run = ["run", "site.json", "--source", "Source=source", "--plugin", "steps.wasm", "--data", "local"];
    let json = [&run[..], &["--json"]].concat();
    let plugin_run = ["plugin", "run", "steps.wasm", "--set", script.as_str()];
    for arguments in [&plugin_run[..], &run[..], &json[..]] {
        let ended = Ended::new(program(&site.path("")).args(arguments).output().unwrap());
        check(&ended, arguments[0]);
    }
}

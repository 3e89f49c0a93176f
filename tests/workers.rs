//! Job workers that know nothing of this host: boto3 as it is, against a real server (`tests/workers/main.py`).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::Server;
use crate::tools;

const CONFIG: &str = "poll_seconds = 86400\n\n[grants]\n";
const GRANTS: &str = "[action.\"Source/Get\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
const PIPELINES: &[&str] =
    &["loop", "jenkins", "other", "race", "one", "two", "chunks", "partner", "restart", "script"];

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("source")).unwrap();
    fs::write(home.path().join("source/page.md"), "# Home\n").unwrap();
    let grants: String = PIPELINES.iter().map(|name| format!("{name} = \"grants.toml\"\n")).collect();
    fs::write(home.path().join("serve.toml"), format!("{CONFIG}{grants}")).unwrap();
    fs::write(home.path().join("grants.toml"), GRANTS).unwrap();
    home
}

/// Tells one story of the script, to a server that may have heard others.
fn tell(python: &Path, server: &Server, story: &str, file: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/workers/main.py");
    let mut command = Command::new(python);
    command.arg("-B").arg(script).arg(server.endpoint()).arg(server.credentials()).arg(story).arg(file);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}: {said}");
}

#[test]
fn stock_workers_complete_their_jobs() {
    let Some(python) = tools::python("boto3") else { return };
    for story in ["completes", "jenkins", "races", "is_attacked", "speaks_chunks", "of_partners"] {
        let home = home();
        tell(&python, &Server::start(home.path()), story, Path::new(""));
        let left = fs::read_dir(home.path().join("data/jobs")).map_or(0, Iterator::count);
        // One worker has fetched its input, and not reported.
        let expected = usize::from(story == "speaks_chunks");
        assert_eq!(left, expected, "{story} leaves folders of jobs that are over");
    }
}

#[test]
fn a_job_outlives_the_host() {
    let Some(python) = tools::python("boto3") else { return };
    let home = home();
    let file = home.path().join("job.json");
    // Killed, and started again.
    for story in ["begins", "ends"] {
        tell(&python, &Server::start(home.path()), story, &file);
    }
}

/// The one of docs/workers.md, as it stands there.
#[test]
fn the_worker_of_the_document_goes_on_with_its_builds() {
    let (Some(python), Some(_)) = (tools::python("boto3"), tools::find("aws")) else { return };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/workers.md");
    let document = fs::read_to_string(document).unwrap();
    let block = |begins: &str| {
        let (_, rest) = document.split_once(&format!("\n{begins}")).expect("the document has it");
        format!("{begins}{}", rest.split_once("\n```").expect("its end").0)
    };
    let home = home();
    let server = Server::start(home.path());
    let surround = |mut command: Command| {
        command.env("AWS_ENDPOINT_URL", server.endpoint()).env("AWS_SHARED_CREDENTIALS_FILE", server.credentials());
        command.envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_PAGER", "")]).current_dir(home.path());
        command
    };
    let mut made = surround(Command::new("sh"));
    made.args(["-euc", &block("aws codepipeline create-custom-action-type")]);
    assert!(made.stdout(Stdio::null()).status().unwrap().success());
    // So that a build of two seconds takes some jobs.
    let (patience, shorter) = ("PATIENCE_SECONDS = 20", "PATIENCE_SECONDS = 0.5");
    let worker = block("\"\"\"worker.py");
    assert!(worker.contains(patience));
    fs::write(home.path().join("worker.py"), worker.replace(patience, shorter)).unwrap();
    let mut worker = surround(Command::new(&python)).args(["-B", "worker.py"]).spawn().unwrap();
    let told = std::panic::catch_unwind(|| tell(&python, &server, "documented", &home.path().join("source")));
    worker.kill().unwrap();
    worker.wait().unwrap();
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// `tests/workers/functions.py` is what the server's configuration names, and does what it is told by boto3.
#[test]
fn a_function_of_lambda_does_actions_and_judges_rules() {
    let Some(python) = tools::python("boto3") else { return };
    let home = home();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/workers/functions.py");
    let mut function = Command::new(python);
    function.arg("-B").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut function = function.spawn().unwrap();
    let mut url = String::new();
    BufReader::new(function.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let config = home.path().join("serve.toml");
    let before = fs::read_to_string(&config).unwrap();
    let key = "key = { id = \"AKIAFUNCTIONS\", secret = { env = \"FUNCTION_SECRET\" } }";
    let functions = format!("[functions.tell]\nurl = \"{}\"\nprivate = true\n{key}\n", url.trim());
    fs::write(&config, format!("{before}\n{functions}")).unwrap();
    let server = Server::start_with(home.path(), &[("FUNCTION_SECRET", "secret of the function")]);
    let told = format!("{} {}\n", server.endpoint(), server.credentials().display());
    function.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    assert!(function.wait().unwrap().success());
}

//! The README's ways to a running server, as they are written there: five lines, by a person with the AWS command line, and
//! a push that is built and published.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::server::share_compiled;
use crate::tools;

const HEADING: &str = "## Run the server";
const PUSH: &str = "## A push is built, tested, approved and published";
/// How often, and for how long, it is looked whether the pipeline has come to what the next line is for.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 600;

/// Ends with the test, whatever happens.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What differs from the README: this build's own binary, a folder and a port of the test's own.
struct Shell<'a> {
    root: &'a Path,
    replaced: Vec<(&'static str, String)>,
    exported: String,
}

impl Shell<'_> {
    fn here(&self, line: &str) -> String {
        self.replaced.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
    }

    fn command(&self, line: &str) -> Command {
        let line = self.here(line);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{}\n{line}", self.exported)]).current_dir(self.root).env_remove("AWS_PROFILE");
        command
    }

    fn run(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs a line that is to run beside the shell, until the server that it starts is ready; gives its address, too.
    fn serve(&self, line: &str) -> (Server, String) {
        let line = line.strip_suffix(" &").expect("it runs beside the shell");
        let command = format!("exec {line} --listen 127.0.0.1:0");
        let mut server = Server(self.command(&command).stdout(Stdio::piped()).spawn().unwrap());
        let mut ready = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.strip_prefix("pipewright is ready: export AWS_ENDPOINT_URL_CODEPIPELINE=http://");
        let address = address.and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{ready}")).to_owned();
        (server, address)
    }

    /// Runs a line until what it prints satisfies.
    fn until(&self, line: &str, satisfied: impl Fn(&str) -> bool) {
        let mut said = String::new();
        for _ in 0..LOOKS_MAX {
            said = String::from_utf8(self.run(line).stdout).unwrap();
            if satisfied(&said) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        panic!("{line}\n{said}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The lines of the first block of commands below a heading of the README.
fn shown(root: &Path, heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme.split(heading).nth(1).expect("the README has the section");
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    block.lines().map(str::to_owned).collect()
}

#[test]
fn the_server_is_shown_in_five_lines_that_work() {
    if tools::find("aws").is_none() {
        return;
    }
    let _alone = tools::SITE.lock();
    let root = root();
    let lines = shown(&root, HEADING);
    let [serve, export, create, state, approve] = &lines[..] else { panic!("five lines, not {lines:?}") };

    let folder = tempfile::tempdir().unwrap();
    share_compiled(&folder.path().join("data"));
    let binary = env!("CARGO_BIN_EXE_pipewright");
    let mut shell = Shell {
        root: &root,
        replaced: vec![
            ("cargo run --release --", binary.to_owned()),
            ("target/server", folder.path().join("data").display().to_string()),
        ],
        exported: String::new(),
    };
    let (_server, address) = shell.serve(serve);
    shell.replaced.push(("127.0.0.1:7720", address));
    shell.exported = shell.here(export);

    shell.run(create);
    shell.until(state, |said| said.contains("\"token\""));
    shell.run(approve);
    shell.until(state, |said| said.matches("\"Succeeded\"").count() == 9);
    assert!(root.join("target/site/current/index.html").is_file(), "it is published");
}

#[test]
fn a_push_is_shown_in_lines_that_work() {
    let Some(_) = tools::find("bwrap").and(tools::find("node").filter(|node| node.starts_with("/usr"))) else { return };
    let root = root();
    let lines = shown(&root, PUSH);
    let [work, repository, serve, create, approve, push, status, again] = &lines[..] else { panic!("{lines:?}") };
    // All that it makes is in a copy of the example, in a folder of the test.
    let folder = tempfile::tempdir().unwrap();
    share_compiled(&folder.path().join("target/pushes"));
    let copied = Command::new("cp").arg("-R").arg(root.join("examples")).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let author = ["AUTHOR", "COMMITTER"].map(|who| format!("GIT_{who}_NAME=Maria GIT_{who}_EMAIL=maria@example.com"));
    let shell = Shell {
        root: folder.path(),
        replaced: vec![("cargo run --release --", env!("CARGO_BIN_EXE_pipewright").to_owned())],
        exported: format!("export {}", author.join(" ")),
    };
    let title = |title: &str| {
        let page = fs::read_to_string(folder.path().join("target/node-site/current/index.html"));
        page.is_ok_and(|page| page.contains(&format!("<h1>{title}</h1>")))
    };
    shell.run(work);
    shell.run(repository);
    let _server = shell.serve(serve);
    shell.run(create);
    shell.until(status, |said| said.contains("waits for approval"));
    shell.run(approve);
    shell.until(status, |_| title("Home"));
    shell.run(push);
    shell.until(status, |said| said.contains("waits for approval"));
    shell.run(again);
    shell.until(status, |_| title("Welcome"));
}

//! What the documents show is what the program does: every block of code in them is run by a test, read by the parser of
//! what it is, or in the table below with the reason why it cannot be.
//!
//! A block that is a file has the comment `<!-- file: NAME -->` before it; the name says what reads it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipewright_packages::Policy;
use pipewright_runner::grants::GrantsFile;
use pipewright_server::config::Config;

use crate::server::{Server, cache_home};
use crate::tools;

/// What happens to a block of commands, or of a language that nobody here reads.
enum By {
    /// A test of this file finds it by this text.
    Test(&'static str, &'static str),
    /// A test below.
    Here,
    /// It cannot be run here, for this reason.
    Nobody(&'static str),
}

/// By document and the beginning of the block.
const RUN: &[(&str, &str, By)] = &[
    ("README.md", "cargo run --release -- run examples", By::Test("run.rs", "examples/site/pipeline.json")),
    ("README.md", "mkdir -p target && cp -R examples/node-site", By::Test("quickstart.rs", "## A push is built")),
    ("README.md", "cargo install", By::Nobody("it builds everything once more, in another profile")),
    ("README.md", "mkdir -p ~/.local/share/bash-completion", By::Here),
    ("README.md", "cargo run --release -- serve", By::Test("quickstart.rs", "## Run the server")),
    ("README.md", "pipewright plugin new", By::Here),
    ("docs/accounts.md", "aws codepipeline list-pipelines", By::Here),
    ("docs/export.md", "pipewright export", By::Here),
    ("docs/from-codepipeline.md", "terraform {", By::Test("terraform.rs", "## Terraform")),
    ("docs/packages.md", "docker login registry.example\npipewright plugin key", By::Test("chain.rs", "## Publish")),
    ("docs/packages.md", "install -d", By::Test("chain.rs", "`policy.toml`:")),
    (
        "docs/packages.md",
        "docker login registry.example\npipewright plugin inspect",
        By::Test("chain.rs", "## Add, upgrade"),
    ),
    ("docs/packages.md", "mkdir notes", By::Test("chain.rs", "## Use it")),
    ("docs/plugins.md", "pipewright plugin new", By::Test("chain.rs", "# Write a plugin")),
    ("docs/plugins.md", "pipewright plugin test . --watch", By::Here),
    ("docs/plugins.md", "mkdir ../notes", By::Test("chain.rs", "## Run it")),
    ("docs/plugins.md", "let host = Host::new()", By::Test("authors.rs", "unit tests without WebAssembly")),
    ("docs/workers.md", "aws codepipeline create", By::Test("workers.rs", "aws codepipeline create")),
    ("docs/workers.md", "\"\"\"worker.py", By::Test("workers.rs", "the_worker_of_the_document")),
];

struct Block {
    document: String,
    /// Of its first line of code.
    line: usize,
    language: String,
    file: Option<String>,
    text: String,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The blocks of README.md, docs/*.md, sdk/CASES.md and the templates' READMEs.
fn all() -> Vec<Block> {
    let mut documents = vec!["README.md".to_owned(), "sdk/CASES.md".to_owned()];
    let in_folder = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy())).collect()
    };
    documents.extend(in_folder("docs").into_iter().filter(|path| path.ends_with(".md")));
    documents.extend(in_folder("sdk/template").iter().map(|folder| format!("{folder}/common/README.md")));
    documents.sort();
    documents
        .iter()
        .flat_map(|document| blocks(document, &fs::read_to_string(root().join(document)).unwrap()))
        .collect()
}

fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut is_open, mut file) = (false, None);
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix("```"), is_open) {
            (Some(language), false) => found.push(Block {
                document: document.to_owned(),
                line: number + 1,
                language: language.to_owned(),
                file: file.take(),
                text: String::new(),
            }),
            (None, true) => found.last_mut().unwrap().text += &format!("{line}\n"),
            (None, false) => {
                file = line.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->")).map(str::to_owned);
            }
            (Some(_), true) => {}
        }
        is_open ^= line.starts_with("```");
    }
    found
}

/// The one block that begins so.
fn block(document: &str, begins: &str) -> Block {
    all().into_iter().find(|it| it.document == document && it.text.starts_with(begins)).unwrap()
}

#[test]
fn every_block_is_run_or_read() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for block in all() {
        let row = RUN.iter().position(|(of, begins, _)| *of == block.document && block.text.starts_with(begins));
        used.extend(row);
        let problem = match block.language.as_str() {
            "toml" => read(&block),
            "json" => serde_json::from_str::<serde_json::Value>(&block.text).err().map(|error| error.to_string()),
            "text" => unknown_words(&block.text),
            _ => match row.map(|row| &RUN[row].2) {
                None => Some(format!("a block of `{}` that no row of RUN says anything of", block.language)),
                Some(By::Here) => None,
                Some(By::Nobody(reason)) => reason.is_empty().then(|| "no reason".to_owned()),
                Some(By::Test(file, text)) => {
                    let has_it = fs::read_to_string(root().join("tests").join(file)).is_ok_and(|it| it.contains(text));
                    (!has_it).then(|| format!("tests/{file} has no {text:?}"))
                }
            },
        };
        wrong.extend(problem.map(|problem| format!("{}: {problem}", block.place())));
    }
    let unused = (0..RUN.len()).filter(|row| !used.contains(row)).map(|row| RUN[row].1);
    wrong.extend(unused.map(|begins| format!("no block begins with {begins:?} any more")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reads a file as the program does; what is wrong with it.
fn read(block: &Block) -> Option<String> {
    let home = tempfile::tempdir().unwrap();
    let Some(name) = block.file.as_deref() else { return Some("no comment says which file it is".to_owned()) };
    let path = home.path().join(name);
    fs::write(&path, &block.text).unwrap();
    match name {
        "serve.toml" => Config::read(&path).err().map(|error| error.to_string()),
        "grants.toml" => GrantsFile::read(&path).err().map(|error| error.to_string()),
        "policy.toml" => {
            for key in block.text.split('"').filter_map(|word| word.strip_suffix(".pub")) {
                fs::create_dir_all(home.path().join(key).parent().unwrap()).unwrap();
                run(home.path(), &format!("pipewright plugin key new {key}"));
            }
            Policy::read(&path).err().map(|error| error.to_string())
        }
        "case.toml" => case(home.path(), &block.text),
        _ => Some(format!("{name}: nobody here reads a file of this name")),
    }
}

/// A case, or a part of one, as far as it can be judged without the plugin that it is about.
fn case(home: &Path, text: &str) -> Option<String> {
    let mut whole = text.to_owned();
    if !text.contains("action = ") {
        whole.insert_str(0, "action = \"Build/Custom/Site/1\"\n");
    }
    if !text.contains("expected]") {
        whole.push_str("[expected]\noutcome = \"succeeded\"\n");
    }
    fs::create_dir_all(home.join("cases/it")).unwrap();
    fs::write(home.join("cases/it/case.toml"), whole).unwrap();
    fs::write(home.join("steps.wasm"), pipewright_guests::get("steps")).unwrap();
    let (_, said) = shell(home, "pipewright plugin test steps.wasm");
    let problems: Vec<&str> = said.lines().filter(|line| line.contains("case.toml:")).collect();
    let is_alone = matches!(problems[..], [problem] if problem.contains("action: the plugin offers"));
    (!is_alone).then_some(said)
}

/// Lines that begin with `pipewright` name commands and options that there are.
fn unknown_words(text: &str) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut all = pipewright::command();
    all.build();
    lines.iter().filter(|line| line.starts_with("pipewright ")).find_map(|line| unknown_word(&all, line))
}

fn unknown_word(all: &clap::Command, line: &str) -> Option<String> {
    let mut commands = vec![all];
    for word in line.split('#').next().unwrap().split([' ', '[', ']', '…']).skip(1).filter(|word| !word.is_empty()) {
        if let Some(option) = word.strip_prefix("--") {
            let has = |it: &&clap::Command| it.get_arguments().any(|argument| argument.get_long() == Some(option));
            if !commands.iter().all(has) {
                return Some(format!("`{line}`: there is no --{option}"));
            }
        } else if commands.iter().all(|it| it.get_subcommands().next().is_some()) {
            let mut found = Vec::new();
            for name in word.split('|') {
                match commands.iter().find_map(|it| it.find_subcommand(name)) {
                    Some(command) => found.push(command),
                    None => return Some(format!("`{line}`: there is no command {name}")),
                }
            }
            commands = found;
        }
    }
    None
}

/// Runs lines in a folder that is also the home: whether they succeeded, and what they said.
fn shell(home: &Path, lines: &str) -> (bool, String) {
    let output = command(home, lines).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat())
}

fn command(home: &Path, lines: &str) -> Command {
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "PIPEWRIGHT_", "XDG_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
            shell.env_remove(name);
        }
    }
    let own = |name: &str, folder: &str| {
        let of_user = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(folder);
        std::env::var_os(name).map_or_else(of_user, PathBuf::from)
    };
    let folders = Path::new(env!("CARGO_BIN_EXE_pipewright")).parent().into_iter().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    shell
        .args(["-exc", lines])
        .current_dir(home)
        .env("PATH", std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap())
        .env("HOME", home)
        .env("CARGO_HOME", own("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", own("RUSTUP_HOME", ".rustup"))
        .env("PIPEWRIGHT_KEY_PASSPHRASE", "a passphrase")
        // Shared by the tests: compiling the SDK again for each would take a minute.
        .env("XDG_CACHE_HOME", cache_home());
    shell
}

#[track_caller]
fn run(home: &Path, lines: &str) -> String {
    let (succeeded, said) = shell(home, lines);
    assert!(succeeded, "{said}");
    said
}

/// A plugin is begun and tested as the README says it, and tested again when a file is saved.
#[test]
fn the_first_minutes_of_an_author_are_as_the_documents_say() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &block("README.md", "mkdir -p ~/.local/share/bash-completion").text);
    let completion = home.path().join(".local/share/bash-completion/completions/pipewright");
    assert!(fs::read_to_string(completion).unwrap().contains("complete -F _pipewright"));

    let said = run(home.path(), &block("README.md", "pipewright plugin new").text);
    assert!(said.contains("ok      counts-lines") && said.contains(" 0 failed"), "{said}");
    let index = home.path().join("index");
    let line = block("docs/plugins.md", "pipewright plugin test . --watch").text;
    let mut command = command(&index, &format!("exec {line}"));
    let mut watching = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stderr.take().unwrap()).lines();
    let mut waits = || lines.by_ref().map_while(Result::ok).any(|line| line.contains("waiting for a change"));
    assert!(waits(), "it runs the cases, and waits");
    let case = index.join("cases/counts-lines/case.toml");
    fs::write(&case, fs::read_to_string(&case).unwrap() + "\n# saved\n").unwrap();
    let ran_again = waits();
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(ran_again, "it runs them again");
}

/// Two teams' accounts, asked as their document says, and everything taken along to another directory.
#[test]
fn accounts_and_exports_are_as_the_documents_say() {
    if tools::find("aws").is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("serve.toml"), block("docs/accounts.md", "[accounts.111111111111").text).unwrap();
    fs::create_dir_all(home.path().join("grants/one")).unwrap();
    fs::write(home.path().join("grants/one/website.toml"), "").unwrap();
    let approval = serde_json::json!({ "pipeline": {
        "name": "website",
        "roleArn": "arn:aws:iam::111111111111:role/it",
        "artifactStore": { "type": "S3", "location": "pipewright" },
        "stages": [
            { "name": "Source", "actions": [{
                "name": "Source",
                "actionTypeId": { "category": "Source", "owner": "Custom", "provider": "Directory", "version": "1" },
                "configuration": { "Directory": "source" },
                "outputArtifacts": [{ "name": "Source" }]
            }] },
            { "name": "Gate", "actions": [{
                "name": "Gate",
                "actionTypeId": { "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1" }
            }] }
        ]
    } });
    fs::write(home.path().join("website.json"), approval.to_string()).unwrap();
    let server = Server::start(home.path());
    run(home.path(), "pipewright create website.json --data data --profile 111111111111");
    let asked = block("docs/accounts.md", "aws codepipeline").text.replace("http://127.0.0.1:7720", &server.endpoint());
    let variables = format!(
        "export AWS_ENDPOINT_URL_CODEPIPELINE={} AWS_SHARED_CREDENTIALS_FILE={} AWS_DEFAULT_REGION=us-east-1\n",
        server.endpoint(),
        server.credentials().display()
    );
    let said = run(home.path(), &(variables + &asked));
    assert!(said.contains("\"name\": \"website\"") && said.contains("Gate"), "{said}");

    let said = run(home.path(), &block("docs/export.md", "pipewright export").text);
    assert!(said.contains("accounts and pipelines"), "{said}");
}

#[test]
fn the_checks_above_can_fail() {
    let document = "<!-- file: a.toml -->\n```toml\na = 1\n```\n\n```sh\nb\n```\n";
    let found = blocks("it", document);
    let told: Vec<_> = found.iter().map(|it| (it.line, &*it.language, it.file.as_deref(), &*it.text)).collect();
    assert_eq!(told, [(3, "toml", Some("a.toml"), "a = 1\n"), (7, "sh", None, "b\n")]);
    assert_eq!(
        unknown_words("pipewright run FILE [--data DIR]\n         [--json]\npipewright approve|reject NAME\n"),
        None
    );
    for wrong in ["pipewright run FILE [--dat DIR]", "pipewright approve|fly NAME", "pipewright plugin fly"] {
        assert!(unknown_words(wrong).is_some(), "{wrong}");
    }
    let case = |text: &str| {
        let text = text.to_owned();
        let block = Block {
            document: "it".to_owned(),
            line: 1,
            language: "toml".to_owned(),
            file: Some("case.toml".to_owned()),
            text,
        };
        read(&block)
    };
    assert_eq!(case("[grants]\nclock = true\n"), None);
    assert!(case("[grants]\nclok = true\n").is_some_and(|said| said.contains("clok")));
}

//! The whole way of a plugin, in each language and over two machines, by nothing but the lines of docs/plugins.md and
//! docs/packages.md: Maria begins it, tests, builds, runs and publishes it; Jo, who got the registry's address, her public
//! key and the package's reference, adds it to a server and runs a pipeline with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;

use crate::packages::Registered as _;
use crate::packages::registry::{PASSWORD, Registry, USER};
use crate::server::{Server, cache_home, share_compiled};
use crate::tools;

/// The only line that is not run as it is written: the test takes a free port, and ends the server.
const SERVE: &str = "pipewright serve --data data --config serve.toml &\n";

/// All of docker that is wanted: what `docker login REGISTRY` leaves behind.
const DOCKER: &str =
    r#"docker() { mkdir -p ~/.docker && echo "{\"auths\":{\"$2\":{\"auth\":\"$LOGIN\"}}}" > ~/.docker/config.json; }"#;

struct Language {
    name: &'static str,
    /// What its plugin logs of the notes, and the file that it makes of them.
    logged: &'static str,
    file: &'static str,
    content: &'static str,
}

const RUST: Language = Language { name: "rust", logged: "today.md: 1", file: "lines.txt", content: "1 today.md\n" };
const PYTHON: Language = Language {
    name: "python",
    logged: "listed 1 files",
    file: "files.json",
    content: r#"[
  {
    "path": "today.md",
    "size": 8,
    "sha256": "0438e1f6a52d130aff81d4002078707dc706c86de3753ceb933e2ae59f0d758c"
  }
]
"#,
};
const JAVASCRIPT: Language = Language { name: "javascript", ..PYTHON };

#[test]
fn a_plugin_in_rust_goes_from_an_empty_folder_to_a_pipeline_elsewhere() {
    check(&RUST, None);
}

#[test]
fn a_plugin_in_python_goes_from_an_empty_folder_to_a_pipeline_elsewhere() {
    if tools::find("componentize-py").is_some() {
        check(&PYTHON, None);
    }
}

#[test]
fn a_plugin_in_javascript_goes_from_an_empty_folder_to_a_pipeline_elsewhere() {
    if let Some(modules) = tools::node_modules("@bytecodealliance/componentize-js") {
        check(&JAVASCRIPT, Some(&modules));
    }
}

/// `modules` takes the place of what `npm install` makes.
fn check(language: &Language, modules: Option<&Path>) {
    let Some(registry) = Registry::start() else { return };
    let [plugins, packages] = ["plugins.md", "packages.md"].map(document);
    let result = |folder: PathBuf| fs::read_to_string(folder.join(language.file)).unwrap();

    let maria = Person::new(&registry, language);
    if let Some(modules) = modules {
        symlink(modules, maria.path("node_modules")).unwrap();
    }
    let begun = ["&& pipewright plugin test .", "ok  ", " 0 failed", "./dist/index.wasm: ", "Build/Custom/Index/1"];
    maria.follow("", block(&plugins, "# Write a plugin", "sh"), &begun);
    maria.follow("index", block(&plugins, "## Run it", "sh"), &[language.logged, language.file, "succeeded"]);
    assert_eq!(result(maria.path("index/made/Index")), language.content);
    let published = ["maria.key.pub hold the key sha256:", "acme/index:0.1.0 is published"];
    maria.follow("index", block(&packages, "## Publish", "sh"), &published);

    let jo = Person::new(&registry, language);
    fs::copy(maria.path("maria.key.pub"), jo.path("maria.key.pub")).unwrap();
    jo.write("policy.toml", block(&packages, "`policy.toml`:", "toml"));
    jo.follow("", block(&packages, "`policy.toml`:", "sh"), &[]);
    let added = ["signed by     maria.key.pub (", "It asks for nothing.", "acme/index 0.1.0 is installed"];
    jo.follow("", block(&packages, "## Add, upgrade, remove", "sh"), &added);
    jo.write("notes.json", block(&packages, "`notes.json`:", "json"));
    for file in ["serve.toml", "grants.toml"] {
        jo.write(file, block(&packages, &format!("`{file}`:"), "toml"));
    }
    let (before, after) = block(&packages, "## Use it", "sh").split_once(SERVE).expect("the server");
    jo.follow("", before, &[]);
    let _server = Server::start(jo.home.path());
    jo.follow("", after, &["notes is created", language.logged, "notes succeeded", "Index: 1 files"]);
    assert_eq!(result(jo.path("Index")), language.content);
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// The first block in a language after a text.
fn block<'a>(document: &'a str, after: &str, language: &str) -> &'a str {
    let rest = document.split_once(after).map(|(_, rest)| rest);
    let block = rest.and_then(|rest| rest.split_once(&format!("```{language}\n"))?.1.split_once("```"));
    block.unwrap_or_else(|| panic!("no block in {language} after {after:?}")).0
}

/// Somebody with a machine of their own, who can log in to the registry.
struct Person {
    home: tempfile::TempDir,
    registry: String,
    language: &'static str,
}

impl Person {
    fn new(registry: &Registry, language: &Language) -> Self {
        let home = tempfile::tempdir().unwrap();
        share_compiled(&home.path().join("data"));
        Self { home, registry: registry.host(), language: language.name }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    /// Runs lines of a document in a folder below the home, all of which must succeed, and say this.
    #[track_caller]
    fn follow(&self, folder: &str, lines: &str, said: &[&str]) {
        let lines = lines
            .replace("registry.example", &self.registry)
            .replace("--lang rust", &format!("--lang {}", self.language));
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            if ["AWS_", "PIPEWRIGHT_", "XDG_", "DOCKER_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
                shell.env_remove(name);
            }
        }
        let folders = Path::new(env!("CARGO_BIN_EXE_pipewright")).parent().into_iter().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let output = shell
            .args(["-exc", &format!("{DOCKER}\n{lines}")])
            .current_dir(self.path(folder))
            .env("HOME", self.home.path())
            .env("PATH", std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap())
            .env("LOGIN", base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}")))
            .env("PIPEWRIGHT_KEY_PASSPHRASE", "a passphrase")
            // Shared by the tests: compiling the SDK again for each would take a minute.
            .env("XDG_CACHE_HOME", cache_home())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let all = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{}:\n{all}", output.status);
        for text in said {
            assert!(all.contains(text), "no {text:?} in:\n{all}");
        }
    }
}

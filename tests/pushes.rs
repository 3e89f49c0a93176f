//! What the host is for: a push to a real git server builds and tests an example, waits for approval, and publishes. Of the
//! examples as they are written down, only the source is another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pipewright_base::clock;
use serde_json::{Value, json};

use crate::git_server::{GitServer, push};
use crate::run::Home;
use crate::server::Server;
use crate::tools;

/// From a push until the approval is asked for. Only a defect takes so long, or a very slow machine.
const WAIT_SECONDS_MAX: u64 = 900;

/// A server with the pipeline of an example, whose source is a repository.
struct World {
    example: &'static str,
    home: Home,
    work: PathBuf,
    _server: Server,
}

impl World {
    /// `toolchain` is what the configuration says of the default one, `changed` what is another line of the buildspec.
    fn new(example: &'static str, git: &GitServer, toolchain: &str, changed: (&str, &str)) -> Self {
        let home = Home::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
        let work = git.create(example);
        let copied = Command::new("cp").arg("-R").arg(folder.join(".")).arg(&work).status().unwrap();
        assert!(copied.success());

        let mut declaration: Value = serde_json::from_slice(&fs::read(folder.join("pipeline.json")).unwrap()).unwrap();
        let source = &mut declaration["pipeline"]["stages"][0]["actions"][0];
        source["actionTypeId"]["provider"] = json!("Git");
        source["configuration"] = json!({ "RepositoryUrl": git.url(example), "BranchName": "main" });
        home.write("create.json", &declaration.to_string());

        let grants = fs::read_to_string(folder.join("grants.toml")).unwrap();
        // Registries of a machine without internet have private addresses.
        let private = |line: &str| match line.split_once("network = [") {
            Some((before, origins)) => {
                let origins =
                    origins.replace("\"https", "{ private = true, origin = \"https").replace(".io\"", ".io\" }");
                format!("{before}network = [{origins}")
            }
            None => line.replace("../../target", "published"),
        };
        let grants = grants.lines().map(private).collect::<Vec<_>>().join("\n");
        let source =
            format!("[action.\"Source/Source\"]\nhttp = [{{ origin = \"{}\", private = true }}]\n", git.origin());
        home.write("grants.toml", &format!("{grants}\n{source}"));
        home.write(&format!("projects/{example}.json"), "{}");
        let served = format!("poll_seconds = 1\nprojects = \"projects\"\n[grants]\n{example} = \"grants.toml\"\n");
        home.write("serve.toml", &format!("{served}{toolchain}"));
        edit(&work.join("buildspec.yml"), changed.0, changed.1);
        push(&work, "Begin");
        let server = Server::start(&home.path(""));
        home.run(&["create", "create.json", "--data", "data"]).check(0, &[]);
        Self { example, home, work, _server: server }
    }

    fn status(&self) -> String {
        let ended = self.home.command(&["status", self.example, "--data", "data"]).output().unwrap();
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Waits until the approval is asked for, gives it, and waits for what is published then.
    fn release(&self, is_published: impl Fn(&Path) -> bool) {
        let published = self.home.path("published").join(self.example).join("current");
        self.until(|said| said.contains("waits for approval"));
        assert!(!is_published(&published), "nobody approved of it");
        self.home.run(&["approve", self.example, "--data", "data"]).check(0, &[]);
        self.until(|_| is_published(&published));
    }

    fn until(&self, is_so: impl Fn(&str) -> bool) {
        let began = clock::monotonic();
        loop {
            let said = self.status();
            if is_so(&said) {
                return;
            }
            let is_over = began.elapsed() > Duration::from_secs(WAIT_SECONDS_MAX) || said.contains("Failed");
            assert!(!is_over, "{said}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn logs(&self) -> String {
        let output = self.home.command(&["logs", self.example, "--data", "data"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_push_publishes_the_example_in_javascript() {
    let Some(_) = tools::find("bwrap").and(tools::find("node").filter(|node| node.starts_with("/usr"))) else { return };
    let Some(git) = GitServer::start() else { return };
    let world = World::new("node-site", &git, "", ("", ""));
    let has = |text: &'static str| {
        move |site: &Path| fs::read_to_string(site.join("index.html")).is_ok_and(|page| page.contains(text))
    };
    world.release(has("<h1>Home</h1>"));
    edit(&world.work.join("pages/index.txt"), "Home", "Welcome");
    push(&world.work, "Another title");
    world.release(has("<h1>Welcome</h1>"));
}

/// Its crates are fetched by one action, which may, and built by another, which could not.
#[test]
fn a_push_publishes_the_example_in_rust() {
    let Some(_) = tools::find("bwrap").and(tools::find("cargo")) else { return };
    let Some(git) = GitServer::start() else { return };
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let of = |variable: &str, name: &str| std::env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from);
    let (rustup, cargo) = (of("RUSTUP_HOME", ".rustup"), of("CARGO_HOME", ".cargo").join("bin"));
    if !rustup.is_dir() || !cargo.is_dir() {
        return tools::missing("rustup");
    }
    let toolchain = format!(
        "[commands.toolchains.default]\nread = [{rustup:?}, {cargo:?}]\npath = [{cargo:?}]\nenvironment = {{ RUSTUP_HOME = {rustup:?} }}\n"
    );
    // It shows that there is no network.
    let changed = ("      - ln -s", "      - '! CARGO_NET_RETRY=0 cargo fetch --locked'\n      - ln -s");
    let world = World::new("rust-service", &git, &toolchain, changed);
    let says_version = |service: &Path| {
        let said = Command::new(service.join("rust-service")).arg("--version").output();
        said.is_ok_and(|said| said.stdout == b"1.4.0\n")
    };
    world.release(says_version);
    assert!(world.logs().contains("3 cases: 3 succeeded"), "{}", world.logs());
}

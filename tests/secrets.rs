//! Secrets of a server's store: given to one action, they are found nowhere else, and what would carry one away fails.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::run::{Ended, Home, action};
use crate::server::Server;
use crate::tools;

const PASSWORD: &str = "correct-horse/battery+staple&7";
const OLD_PASSWORD: &str = "an-older-password-0123";

const COMMANDS: &str = "commands = { level = \"toolchain\" }";

/// A server with the secret `db`, of which there are two versions.
struct World {
    home: Home,
    server: Option<Server>,
}

impl World {
    fn new(pipelines: &[(&str, &str)]) -> Self {
        let home = Home::new();
        home.write("source/a.md", "nothing secret");
        home.write("projects/app.json", "{}");
        let mut serve = "projects = \"projects\"\n[grants]\n".to_owned();
        for (name, grants) in pipelines {
            let source = "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
            home.write(&format!("{name}.toml"), &format!("{source}{grants}"));
            serve += &format!("{name} = \"{name}.toml\"\n");
        }
        home.write("serve.toml", &serve);
        let server = Some(Server::start(&home.path("")));
        let world = Self { home, server };
        for password in [OLD_PASSWORD, PASSWORD] {
            world.set("db", &json!({ "user": "maria", "password": password }).to_string());
        }
        world
    }

    fn set(&self, name: &str, value: &str) {
        let mut command = self.home.command(&["secret", "set", name, "--data", "data"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{value}\n").as_bytes()).unwrap();
        Ended::new(child.wait_with_output().unwrap()).check(0, &["is kept, as version"]);
    }

    fn run(&self, words: &[&str]) -> Ended {
        self.home.run(&[words, &["--data", "data"]].concat())
    }

    /// Creates a pipeline, waits for the end of its execution, and gives all that the server says of it.
    fn whole(&self, name: &str, actions: &[Value]) -> String {
        let mut source = action("Source", "Custom", "Directory", "Source");
        source["configuration"] = json!({ "Directory": "source" });
        source["outputArtifacts"] = json!([{ "name": "Code" }]);
        let declaration = json!({ "pipeline": {
            "name": name,
            "pipelineType": "V2",
            "roleArn": "arn:aws:iam::000000000000:role/test",
            "artifactStore": { "type": "S3", "location": "artifacts" },
            "stages": [
                { "name": "Source", "actions": [source] },
                { "name": "Use", "actions": actions },
                { "name": "After", "actions": [commands("After", &["env; cat /proc/*/environ | tr '\\0' '\\n'; ls -lR /work"])] },
            ],
        }});
        self.home.write("create.json", &declaration.to_string());
        self.run(&["create", "create.json"]).check(0, &[]);
        self.told(name)
    }

    /// All that the server says of the newest execution of a pipeline, once it has ended.
    fn told(&self, name: &str) -> String {
        let logs = self.run(&["logs", name, "--follow"]).text;
        let mut told = logs;
        for words in [&["status", name][..], &["status", name, "--json"], &["history", name, "--json"]] {
            told += &self.run(words).text;
        }
        told
    }
}

/// Shell commands on the artifact `Code`, with the password in the variable TOKEN.
fn commands(name: &str, commands: &[&str]) -> Value {
    let mut made = action("Compute", "AWS", "Commands", name);
    made["inputArtifacts"] = json!([{ "name": "Code" }]);
    made["commands"] = json!(commands);
    made
}

fn with_token(mut action: Value, reference: &str) -> Value {
    action["environmentVariables"] = json!([{ "name": "TOKEN", "value": reference, "type": "SECRETS_MANAGER" }]);
    action
}

/// A value as it is and as it is encoded, also with other text around it, in parts that no line break goes through.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_string() } else { format!("%{:02X}", u32::from(c)) })
        .collect();
    let mut forms = vec![value.to_owned(), hex.to_uppercase(), hex, percent];
    for around in ["", "a", "ab"] {
        for encoded in [STANDARD.encode(format!("{around}{value}")), URL_SAFE.encode(format!("{around}{value}"))] {
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
    }
    forms
}

/// Where a value is found in a text, with line breaks, blanks and colons or without.
fn find(value: &str, text: &[u8]) -> Option<String> {
    let bare: Vec<u8> = text.iter().copied().filter(|byte| !b" \n\r\t:".contains(byte)).collect();
    let is_in = |form: &String, text: &[u8]| text.windows(form.len()).any(|window| window == form.as_bytes());
    forms(value).into_iter().find(|form| is_in(form, text) || is_in(form, &bare))
}

#[track_caller]
fn check_hidden(what: &str, text: &[u8]) {
    for value in [PASSWORD, OLD_PASSWORD] {
        assert_eq!(find(value, text), None, "in {what}: {}", String::from_utf8_lossy(text));
    }
}

/// Every file below a folder, by name and content.
fn check_hidden_below(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        check_hidden("a name", path.as_os_str().as_encoded_bytes());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => check_hidden_below(&path),
            kind if kind.is_file() => check_hidden(&path.display().to_string(), &fs::read(&path).unwrap()),
            _ => {}
        }
    }
}

/// What the command lines of all processes say.
fn command_lines() -> Vec<u8> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok()).flatten().collect()
}

/// In every way that shells make easy; each of these lines tells its length, so that nothing is hidden by not being written.
const ECHOES: &[&str] = &[
    "echo length ${#TOKEN}, core $(ulimit -c)",
    "echo \"raw <$TOKEN>\"; echo \"error $TOKEN\" >&2",
    "printf %s \"$TOKEN\" | base64",
    "{ head -c 100 /dev/zero | tr '\\0' a; printf %s \"$TOKEN\"; } | base64 -w 76",
    "{ printf user:; printf %s \"$TOKEN\"; } | base64 -w 20; printf %s \"$TOKEN\" | base64 | tr '+/' '-_'",
    "printf %s \"$TOKEN\" | od -An -tx1; printf %s \"$TOKEN\" | od -An -v -tx1 | tr -d ' \\n' | tr a-f A-F",
    "printf %s \"${TOKEN%%/*}\"; sleep 0.2; printf %s \"/${TOKEN#*/}\"; echo",
    "for c in $(printf %s \"$TOKEN\" | fold -w 1); do printf %s \"$c\"; sleep 0.01; done; echo",
    "head -c 16370 /dev/zero | tr '\\0' x; echo \"$TOKEN after the cut\"",
    "printf %s \"$TOKEN\" | sed 's,/,%2F,g; s,+,%2B,g; s,&,%26,g'; printf '{\"t\":\"%s\"}\\n' \"$TOKEN\" | sed 's,/,\\\\/,g'",
    "sleep 1",
];

#[test]
fn a_secret_that_one_action_is_given_is_found_nowhere_else() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let grants = format!(
        "[action.\"Use/Use\"]\n{COMMANDS}\nsecrets.db = {{ store = \"db\", commands = true }}\n\
         [action.\"Use/Beside\"]\n{COMMANDS}\n[action.\"After/After\"]\n{COMMANDS}\n"
    );
    let mut world = World::new(&[("site", &grants)]);
    let look = "for i in $(seq 30); do cat /proc/*/environ /proc/*/cmdline; env; sleep 0.05; done 2>/dev/null | tr '\\0' '\\n'";
    let (uses, beside) = (with_token(commands("Use", ECHOES), "db:password"), commands("Beside", &[look]));
    let told = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut lines = Vec::new();
            for _ in 0..40 {
                lines.append(&mut command_lines());
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            lines
        });
        let told = world.whole("site", &[uses, beside]);
        check_hidden("the list of processes", &looking.join().unwrap());
        told
    });
    // It was there, and seen by nobody but its commands.
    for said in [&format!("length {}, core 0", PASSWORD.len()), "raw <****>", "error ****", "x**** after"] {
        assert!(told.contains(said), "{said:?} is missing in {told}");
    }
    assert!(told.contains("Succeeded") && !told.contains("\"Failed\""), "{told}");
    check_hidden("what the server says", told.as_bytes());
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.server.as_ref().unwrap().id())).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0  ")), "{limits}");
    let listed = world.run(&["secret", "list"]);
    listed.check(0, &["db", "version 2 of", "version 1 of", "user/administrator"]);
    check_hidden("the list", listed.text.as_bytes());

    drop(world.server.take());
    let exported = world.run(&["export"]);
    exported.check(0, &["pipewright-export", "secret/db"]);
    check_hidden("the export", exported.text.as_bytes());
    assert!(!exported.text.contains("\"sealed\""), "an export has not even what is sealed");
    check_hidden_below(&world.home.path("data"));
    assert!(find("nothing secret", &fs::read(world.home.path("source/a.md")).unwrap()).is_some());
}

#[test]
fn what_would_carry_a_secret_away_fails_and_is_not_kept() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let grants =
        format!("[action.\"Use/Use\"]\n{COMMANDS}\nsecrets.db = {{ store = \"db:password\", commands = true }}\n");
    let names = ["raw", "wrapped", "named", "linked", "variable", "message"];
    let world = World::new(&names.map(|name| (name, grants.as_str())));
    let output = |script: &str| {
        let mut made = with_token(commands("Use", &["mkdir out", script]), "db");
        made["outputArtifacts"] = json!([{ "name": "Out", "files": ["out/**/*"] }]);
        made
    };
    let mut variable = with_token(commands("Use", &["COPY=$(printf %s \"$TOKEN\" | base64)"]), "db");
    variable["outputVariables"] = json!(["COPY"]);
    let message = with_token(commands("Use", &["sh -c \"exit 3 # $TOKEN\""]), "db");
    let check = |name: &str, action: Value, said: &str| {
        let told = world.whole(name, &[action]);
        assert!(told.contains(said), "{said:?} is missing in {told}");
        check_hidden(name, told.as_bytes());
    };
    let is_in = "a secret that the action was granted is in";
    check("raw", output("printf %s \"$TOKEN\" >out/a"), &format!("{is_in} the output artifact Out, in out/a"));
    let wrap = "{ head -c 70000 /dev/zero; printf %s \"$TOKEN\"; } | base64 -w 76 >out/b";
    check("wrapped", output(wrap), &format!("{is_in} the output artifact Out, in out/b"));
    let name = "mkdir -p \"out/$(printf %s \"$TOKEN\" | tr / _)\" && touch out/$(printf %s \"$TOKEN\" | base64 | tr '+/' '-_')";
    check("named", output(name), &format!("{is_in} the output artifact Out, in "));
    check("variable", variable, &format!("{is_in} the output variable COPY"));
    check("message", message, "exit status 3");
    check_hidden_below(&world.home.path("data"));
}

/// A file is given by the grant alone: a pipeline that knows nothing of it, and a build of several jobs.
#[test]
fn a_secret_in_a_file_is_found_nowhere_else() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let in_a_file = "secrets.db = { store = \"db:password\", commands_file = \"DB_FILE\" }";
    let grants = format!(
        "[action.\"Use/Use\"]\n{COMMANDS}\n{in_a_file}\n[action.\"Use/Beside\"]\n{COMMANDS}\n\
         [action.\"After/After\"]\n{COMMANDS}\n"
    );
    let names = ["shell", "build", "carried", "named"];
    let mut world = World::new(&names.map(|name| (name, grants.as_str())));
    let check = |name: &str, actions: &[Value], wanted: &[&str]| {
        let told = world.whole(name, actions);
        for said in wanted {
            assert!(told.contains(said), "{name}: {said:?} is missing in {told}");
        }
        check_hidden(name, told.as_bytes());
    };
    let length = format!("length {}", PASSWORD.len());
    let uses =
        ["cat \"$DB_FILE\"; base64 \"$DB_FILE\"", "echo length $(cat \"$DB_FILE\" | wc -c)", "ls -lR /work; sleep 1"];
    let look =
        "for i in $(seq 20); do cat /dev/files/* /proc/*/root/dev/files/*; echo \"<$DB_FILE>\"; sleep 0.05; done 2>&1";
    check("shell", &[commands("Use", &uses), commands("Beside", &[look])], &["****", &length, "<>"]);

    let buildspec = "
version: 0.2
phases:
  install: {commands: ['cat $DB_FILE']}
  build: {commands: ['export COPY=$DB_FILE', 'echo length $(cat $COPY | wc -c)', 'false'], on-failure: CONTINUE}
  post_build: {commands: ['echo again $(cat $DB_FILE | wc -c) $DB_FILE']}
";
    world.home.write("source/buildspec.yml", buildspec);
    let mut build = action("Build", "AWS", "CodeBuild", "Use");
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    build["configuration"] = json!({ "ProjectName": "app" });
    let again = format!("again {} /dev/files/DB_FILE", PASSWORD.len());
    check("build", &[build], &["****", &length, &again]);

    let mut carries = commands("Use", &["mkdir out", "cp \"$DB_FILE\" out/a"]);
    carries["outputArtifacts"] = json!([{ "name": "Out", "files": ["out/**/*"] }]);
    check("carried", &[carries], &["a secret that the action was granted is in the output artifact Out, in out/a"]);
    let denied = "tried to give the secret \\\"db\\\" to a program, which it was not granted";
    check("named", &[with_token(commands("Use", &["env"]), "db")], &[denied]);
    drop(world.server.take());
    check_hidden_below(&world.home.path("data"));
}

/// Whoever writes a pipeline names secrets, and gets those that the operator grants the action.
#[test]
fn nobody_gets_a_secret_by_naming_it() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let of = |lines: &str| format!("[action.\"Use/Use\"]\n{COMMANDS}\n{lines}\n");
    let pipelines = [
        ("nothing", of("")),
        ("another", of("secrets.other = { store = \"other\", commands = true }")),
        ("key", of("secrets.db = { store = \"db:user\", commands = true }")),
        ("version", of("secrets.db = { store = \"db:password:AWSCURRENT\", commands = true }")),
        ("http", of("secrets.db = { store = \"db:password\", hosts = [\"example.com\"] }")),
        ("gone", of("secrets.gone = { store = \"gone\", commands = true }")),
        ("short", of("secrets.db = { store = \"db\", commands = true }")),
        ("old", of("secrets.db = { store = \"db:password::1\", commands = true }")),
        ("plain", of("secrets.db = { store = \"db\", commands = true }")),
    ];
    let world = World::new(&pipelines.each_ref().map(|(name, grants)| (*name, grants.as_str())));
    world.set("other", "another-secret-altogether");
    let check = |name: &str, reference: &str, said: &str| {
        let told = world.whole(name, &[with_token(commands("Use", &["echo \"got $TOKEN\" | tr a-y b-z"]), reference)]);
        assert!(told.contains(said), "{name}: {said:?} is missing in {told}");
        assert!(!told.contains("hpu"), "{name}: {told}");
        check_hidden(name, told.as_bytes());
    };
    let denied = "tried to give the secret \\\"db:password\\\" to a program, which it was not granted";
    check("nothing", "db:password", denied);
    check("another", "db:password", denied);
    check("key", "db:password", "the grant gives another key of it");
    check("version", "db::AWSPREVIOUS", "the grant gives another version of it");
    check("http", "db:password", denied);
    check("gone", "gone", "there is no secret \\\"gone\\\" in the store of the pipeline's account");
    check("short", "db:user", "has fewer than 8 characters");
    world.run(&["secret", "remove", "db", "--only", "1"]).check(0, &[]);
    check("old", "db:password::1", "there is no such version; kept are 2");
    // A variable without the type is a text.
    let mut plain = commands("Use", &["echo \"<$TOKEN>\""]);
    plain["environmentVariables"] = json!([{ "name": "TOKEN", "value": "db:password" }]);
    assert!(world.whole("plain", &[plain]).contains("<db:password>"));
}

/// With the versions that are named, and the one that is the newest when the action begins.
#[test]
fn a_build_takes_versions_and_goes_on_after_the_key_was_changed() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let grants =
        format!("[action.\"Use/Use\"]\n{COMMANDS}\nsecrets.\"/app/db\" = {{ store = \"db\", commands = true }}\n");
    let mut world = World::new(&[("builds", &grants)]);
    let buildspec = "
version: 0.2
env:
  secrets-manager: {NOW: '/app/db:password', BEFORE: '/app/db:password:AWSPREVIOUS', FIRST: '/app/db:password::1'}
  parameter-store: {WHOLE: '/app/db', OLD: '/app/db:1'}
phases:
  build:
    commands: ['echo lengths ${#NOW} ${#BEFORE} ${#FIRST} ${#WHOLE} ${#OLD}', 'test \"$NOW\" = \"$WANTED\"']
";
    world.home.write("source/buildspec.yml", buildspec);
    let mut build = action("Build", "AWS", "CodeBuild", "Use");
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    let wanted = r#"[{"name": "WANTED", "value": "/app/db:password", "type": "SECRETS_MANAGER"}]"#;
    build["configuration"] = json!({ "ProjectName": "app", "EnvironmentVariables": wanted });
    let told = world.whole("builds", &[build]);
    let whole = |password: &str| json!({ "user": "maria", "password": password }).to_string().len();
    let (new, old) = (PASSWORD.len(), OLD_PASSWORD.len());
    let lengths = format!("lengths {new} {old} {old} {} {}", whole(PASSWORD), whole(OLD_PASSWORD));
    assert!(told.contains(&lengths), "{lengths} is missing in {told}");

    let key = || fs::read_to_string(world.home.path("data/secret-keys")).unwrap();
    let before = key();
    world.run(&["secret", "rotate-key"]).check(0, &["1 secrets are sealed with the key"]);
    assert!(key() != before && key().lines().count() == 1);
    world.set("db", &json!({ "password": "a third password" }).to_string());
    drop(world.server.take());
    world.server = Some(Server::start(&world.home.path("")));
    world.run(&["start", "builds"]).check(0, &[]);
    let told = world.told("builds");
    assert!(told.contains(&format!("lengths 16 {new} {old} ")), "{told}");
    world.run(&["secret", "remove", "db", "--only", "1"]).check(0, &["version 1 of db is removed"]);
    world.run(&["secret", "remove", "db"]).check(0, &["db is removed"]);
    world.run(&["secret", "list"]).check(0, &[]);
    check_hidden("what the server says", told.as_bytes());
}

/// It is not pinned with the execution.
#[test]
fn a_retry_has_what_was_set_since() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let grants = format!("[action.\"Use/Use\"]\n{COMMANDS}\nsecrets.db = {{ store = \"db\", commands = true }}\n");
    let world = World::new(&[("again", &grants)]);
    let told = world.whole("again", &[with_token(commands("Use", &["test ${#TOKEN} = 16"]), "db:password")]);
    assert!(told.contains("exit status 1"), "{told}");
    world.set("db", &json!({ "password": "a third password" }).to_string());
    world.run(&["retry", "again"]).check(0, &["Use of "]);
    let told = world.told("again");
    assert!(told.contains("Use/Use\tSucceeded"), "{told}");
}

/// But in `credentials`, from which users' tools take it.
#[test]
fn the_secret_of_an_access_key_is_in_no_file_of_the_store_and_in_no_export() {
    let mut world = World::new(&[]);
    let credentials = world.home.path("data/credentials");
    let text = fs::read_to_string(&credentials).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap().to_owned();
    assert!(find(&secret, text.as_bytes()).is_some());
    world.run(&["deliveries", "add", "chat", "http://127.0.0.1:9/"]).check(0, &["whsec_"]);
    drop(world.server.take());
    fs::remove_file(&credentials).unwrap();
    check_without(&secret, &world.home.path("data"));
    let exported = world.run(&["export"]);
    exported.check(0, &["key/administrator"]);
    assert_eq!(find(&secret, exported.text.as_bytes()), None);

    // The same key as before, in a file that was made again.
    world.server = Some(Server::start(&world.home.path("")));
    assert_eq!(fs::read_to_string(&credentials).unwrap(), text);
    drop(world.server.take());
    let keys = world.home.path("data/secret-keys");
    fs::rename(&keys, world.home.path("elsewhere")).unwrap();
    let refused = world.home.run(&["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    refused
        .check(2, &["\"key/administrator\" of account 000000000000", "put it back, as a line of", "data/secret-keys"]);
    fs::rename(world.home.path("elsewhere"), &keys).unwrap();
    world.server = Some(Server::start(&world.home.path("")));
    world.run(&["secret", "list"]).check(0, &["db"]);
}

/// Every file below a folder, by content.
fn check_without(secret: &str, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => check_without(secret, &path),
            kind if kind.is_file() => assert_eq!(find(secret, &fs::read(&path).unwrap()), None, "{}", path.display()),
            _ => {}
        }
    }
}

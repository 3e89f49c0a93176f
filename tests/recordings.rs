//! Recordings made on a real server, replayed in another folder when that server and whatever it reached are gone.

use std::fs;
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::git_server::{GitServer, PASSWORD, TOKEN, push};
use crate::run::{Ended, Home, action};
use crate::server::Server;
use crate::tools;

/// One action of each first-party plugin, and one that fails.
const ACTIONS: &[&str] = &[
    "Source/Folder",
    "Source/Token",
    "Source/Password",
    "Source/Told",
    "Site/Build",
    "Site/Check",
    "Gate/Ask",
    "Publish/Publish",
    "Publish/Hide",
    "Last/Fail",
];

/// Of a setting that is a secret; an input artifact has it, too.
const SETTING: &str = "not-for-everybody's-eyes";

fn with(mut action: Value, configuration: Value, inputs: &[&str], outputs: &[&str]) -> Value {
    let artifacts = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    action["configuration"] = configuration;
    action["inputArtifacts"] = json!(artifacts(inputs));
    action["outputArtifacts"] = json!(artifacts(outputs));
    action
}

fn pipeline(git: &GitServer, echo: &str) -> Value {
    let repository = |kind: &str| format!("{}/{kind}/site.git", git.origin());
    let folder =
        with(action("Source", "Custom", "Directory", "Folder"), json!({ "Directory": "source" }), &[], &["Code"]);
    let token = json!({ "RepositoryUrl": repository("token"), "Secret": "token", "Authentication": "Bearer" });
    let token = with(action("Source", "Custom", "Git", "Token"), token, &[], &["ByToken"]);
    let password = json!({ "RepositoryUrl": repository("private"), "Secret": "password", "Username": "maria" });
    let password = with(action("Source", "Custom", "Git", "Password"), password, &[], &["ByPassword"]);
    let told = with(action("Source", "Custom", "Directory", "Told"), json!({ "Directory": "told" }), &[], &["Told"]);
    let hide = json!({ "Deed": "nothing", "Password": SETTING });
    let hide = with(action("Invoke", "Custom", "Deed", "Hide"), hide, &["Told"], &[]);
    let build = with(action("Build", "Custom", "Site", "Build"), json!({}), &["Code"], &["Website"]);
    let mut check = with(action("Test", "Custom", "LinkCheck", "Check"), json!({}), &["Website"], &[]);
    check["runOrder"] = json!(2);
    let ask = with(action("Approval", "AWS", "Manual", "Ask"), json!({ "CustomData": "Really?" }), &[], &[]);
    let publish = json!({ "Directory": "public" });
    let publish = with(action("Deploy", "Custom", "Directory", "Publish"), publish, &["Website"], &[]);
    let leak = format!("reveal token\nget-with token {echo}/forms\nget {echo}/gzip\nread inputs/Code/missing.md");
    let fail = json!({ "Script": leak });
    let fail = with(action("Invoke", "Custom", "Steps", "Fail"), fail, &["Code"], &[]);
    let stage = |name: &str, actions: &[Value]| json!({ "name": name, "actions": actions });
    json!({ "pipeline": {
        "name": "site",
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "artifactStore": { "type": "S3", "location": "artifacts" },
        "pipelineType": "V2",
        "stages": [
            stage("Source", &[folder, token, password, told]),
            stage("Site", &[build, check]),
            stage("Gate", &[ask]),
            stage("Publish", &[publish, hide]),
            stage("Last", &[fail]),
        ],
    }})
}

fn grants(git: &GitServer, echo: &str) -> String {
    let origin = format!("http = [{{ origin = \"{}\", private = true }}]", git.origin());
    let secret = |name: &str| format!("secrets.{name} = {{ file = \"{name}\", hosts = [\"127.0.0.1\"] }}");
    format!(
        "[action.\"Source/Folder\"]\ndirectories.source = {{ path = \"source\", access = \"read\" }}\n\
         [action.\"Source/Told\"]\ndirectories.told = {{ path = \"told\", access = \"read\" }}\n\
         [action.\"Source/Token\"]\n{origin}\n{}\n\
         [action.\"Source/Password\"]\n{origin}\n{}\n\
         [action.\"Publish/Publish\"]\ndirectories.public = {{ path = \"public\", access = \"write\" }}\n\
         [action.\"Last/Fail\"]\nhttp = [{{ origin = \"{echo}\", private = true }}]\n\
         secrets.token = {{ file = \"token\", hosts = [\"127.0.0.1\"], reveal = true }}\n",
        secret("token"),
        secret("password"),
    )
}

/// A server that tells the secret in every form, with and without compression; its address. As long as the test runs.
fn echo() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let sent = lines.iter().any(|line| line.contains(TOKEN));
            let text = forms(TOKEN, true).join("\n");
            let (encoding, body) = if lines[0].contains("/gzip") {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes()).unwrap();
                ("content-encoding: gzip\r\n", encoder.finish().unwrap())
            } else {
                assert!(sent, "the host puts the secret into the request");
                ("", text.into_bytes())
            };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nx-secret: {TOKEN}\r\n{encoding}content-length: {length}\r\n\r\n");
            // A client that has gone is no fault.
            let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(&body));
        }
    });
    address
}

/// A home with a server's configuration.
fn prepare(git: &GitServer, echo: &str) -> Home {
    let home = Home::new();
    home.write("source/index.md", "# Home\n\n[guide](guide.md)\n");
    home.write("source/guide.md", "# Guide\n");
    home.write("told/note.txt", &format!("psst: {SETTING}\n"));
    for (name, value) in [("token", TOKEN), ("password", PASSWORD)] {
        let file = home.write(name, value);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    home.write("grants.toml", &grants(git, echo));
    home.write("site.json", &pipeline(git, echo).to_string());
    home.write("serve.toml", "plugins = \"plugins\"\n\n[grants]\nsite = \"grants.toml\"\n");
    fs::create_dir(home.path("plugins")).unwrap();
    for guest in ["steps", "deeds"] {
        fs::write(home.path(&format!("plugins/{guest}.wasm")), pipewright_guests::get(guest)).unwrap();
    }
    home
}

/// Runs the pipeline on a server to its failure, and records each of its actions into `recordings/`.
fn record(home: &Home) {
    let server = Server::start(&home.path(""));
    home.run(&["create", "site.json", "--data", "data"]).check(0, &[]);
    let approved = (0..600).any(|_| {
        let approved = home.run(&["approve", "site", "Ask", "--data", "data"]).code == Some(0);
        std::thread::sleep(std::time::Duration::from_millis(if approved { 0 } else { 50 }));
        approved
    });
    assert!(approved, "{}", home.run(&["status", "site", "--data", "data"]).text);
    home.run(&["logs", "site", "--follow", "--data", "data"]).check(0, &["missing.md"]);
    let history = home.run(&["history", "site", "--json", "--data", "data"]).text;
    let history: Value = serde_json::from_str(&history).unwrap();
    let execution = history["pipelineExecutionSummaries"][0]["pipelineExecutionId"].as_str().unwrap().to_owned();
    fs::create_dir(home.path("recordings")).unwrap();
    for action in ACTIONS {
        let file = file(Path::new("recordings"), action);
        let arguments =
            ["plugin", "record", "site", &execution, action, "-o", file.to_str().unwrap(), "--data", "data"];
        home.run(&arguments).check(0, &["bytes"]);
    }
    home.run(&["plugin", "record", "site", &execution, "Other", "--data", "data"]).check(2, &["Other did not run"]);
    drop(server);
}

fn file(folder: &Path, action: &str) -> PathBuf {
    folder.join(format!("{}.zip", action.replace('/', "-")))
}

#[test]
fn a_server_s_recordings_replay_elsewhere_without_network() {
    let Some(git) = GitServer::start() else { return };
    let work = git.create("site");
    fs::write(work.join("README.md"), "# Read me\n").unwrap();
    push(&work, "first");
    let home = prepare(&git, &echo());
    record(&home);
    drop(git);
    scan(&home);

    let other = Home::new();
    let components = [("source-git", "Source/Token"), ("deploy-directory", "Publish/Publish")];
    for action in ACTIONS {
        let name = file(Path::new(""), action);
        fs::copy(file(&home.path("recordings"), action), other.path(name.to_str().unwrap())).unwrap();
        let replayed = other.run(&["plugin", "replay", name.to_str().unwrap(), "--debug"]);
        match *action {
            // The answer with the secret within its compression is left out; up to there it is the same.
            "Last/Fail" => {
                replayed.check(1, &["reveal token: ****", "host call 4", "the recording left out", "different"])
            }
            // Without the secret there is nothing left.
            "Source/Told" | "Publish/Hide" => replayed.check(2, &["left out", "a secret's value is in it"]),
            _ => replayed.check(0, &["same"]),
        };
    }
    for (component, action) in components {
        let name = file(Path::new(""), action);
        let folder = other.path(component);
        fs::create_dir(&folder).unwrap();
        let bytes = pipewright_bundle::get(component).unwrap();
        let wasm = folder.join("plugin.wasm");
        fs::write(&wasm, bytes).unwrap();
        let case = folder.join("cases/recorded");
        other
            .run(&["plugin", "case", name.to_str().unwrap(), "-o", case.to_str().unwrap()])
            .check(0, &["cases/recorded"]);
        other.run(&["plugin", "test", wasm.to_str().unwrap()]).check(0, &["1 passed, 0 failed"]);
        // Again over the same folder: refused.
        other
            .run(&["plugin", "case", name.to_str().unwrap(), "-o", case.to_str().unwrap()])
            .check(2, &["is there already"]);
    }
    // Another plugin does something else, or nothing.
    let wasm = other.path("other.wasm");
    fs::write(&wasm, pipewright_bundle::get("source-directory").unwrap()).unwrap();
    let changed = other.run(&["plugin", "replay", "Source-Token.zip", "--with", wasm.to_str().unwrap()]);
    changed.check(
        1,
        &["host call 1", "recorded: the secret \"token\" (stand-in)", "replayed: no further host call", "different"],
    );
    let changed = other.run(&["plugin", "replay", "Source-Folder.zip", "--with", "source-git/plugin.wasm"]);
    changed.check(1, &["different"]);
    // What is no recording, or not whole, is told.
    other.write("broken.zip", "PK");
    other.run(&["plugin", "replay", "broken.zip"]).check(2, &["not a recording"]);
}

/// Each capability without a server, with and without its grant: what came of it once comes of it again.
#[test]
fn an_action_by_itself_is_recorded() {
    let home = Home::new();
    fs::write(home.path("reach.wasm"), pipewright_guests::get("reach")).unwrap();
    home.write("shelf/note.txt", "a note");
    fs::set_permissions(home.write("token", TOKEN), fs::Permissions::from_mode(0o600)).unwrap();
    let cases = [
        ("clock", "clock = true", "clock now"),
        ("randomness", "randomness = true", "randomness bytes"),
        ("secrets", "secrets.token = { file = \"token\", hosts = [], reveal = true }", "secrets reveal token"),
        ("directories", "directories.shelf = { path = \"shelf\", access = \"read\" }", "directories open"),
        ("caches", "caches = true", "caches restore index"),
    ];
    let mut said = String::new();
    for (capability, grant, call) in cases {
        for granted in [true, false] {
            let setting = format!("Capability={capability}");
            let mut arguments = vec!["plugin", "run", "reach.wasm", "--set", &setting, "--record", "it.zip"];
            arguments.extend(if granted { vec!["--grant", grant] } else { vec![] });
            let made = home.run(&arguments);
            assert_eq!(made.code, Some(i32::from(!granted && !["clock", "randomness"].contains(&capability))));
            fs::rename(home.path("shelf"), home.path("away")).unwrap();
            let replayed = home.run(&["plugin", "replay", "it.zip", "--debug"]);
            fs::rename(home.path("away"), home.path("shelf")).unwrap();
            replayed.check(0, &["same", if granted { call } else { "same" }]);
            said.push_str(&made.text);
        }
    }
    assert!(!said.contains(TOKEN), "a revealed value is masked in variables: {said}");
}

const PROGRAMS: &str = "commands = { level = \"toolchain\" }";

/// Programs that ran once are not run again: what they left is given again, by a machine that could not run them.
#[test]
fn an_action_that_ran_programs_is_recorded_with_what_they_left() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    fs::write(home.path("commander.wasm"), pipewright_guests::get("commander")).unwrap();
    fs::set_permissions(home.write("token", TOKEN), fs::Permissions::from_mode(0o600)).unwrap();
    let secret = "secrets.token = { file = \"token\", commands = true }";
    let record = |scripts: &[&str]| {
        let scripts = format!("Scripts={}", json!(scripts));
        let action = ["plugin", "run", "commander.wasm", "--set", &scripts, "--output", "Out"];
        let secrets = ["--set", "Secret=token", "--set", "SecretFile=token"];
        let granted = ["--grant", PROGRAMS, "--grant", secret, "--record", "it.zip"];
        home.run(&[&action[..], &secrets, &granted].concat()).check(0, &[]);
    };
    let replay = || {
        let mut replay = home.command(&["plugin", "replay", "it.zip"]);
        Ended::new(replay.env("PATH", home.path("nothing")).output().unwrap())
    };
    record(&[
        "cat laid; mkdir -p out/empty; echo made >out/file; ln -s file out/link; exit 3",
        "cat out/file; echo again >>out/file; chmod +x out/file; kill -9 $$",
    ]);
    replay().check(0, &["same (3 calls replayed)"]);
    let case = ["plugin", "case", "it.zip", "-o", "plugin/cases/recorded"];
    home.run(&case).check(0, &[]);
    assert_eq!(fs::read_to_string(home.path("plugin/cases/recorded/scratch/2/out/file")).unwrap(), "made\nagain\n");
    fs::rename(home.path("commander.wasm"), home.path("plugin/commander.wasm")).unwrap();
    home.run(&["plugin", "test", "plugin/commander.wasm"]).check(0, &["1 passed, 0 failed"]);
    fs::rename(home.path("plugin/commander.wasm"), home.path("commander.wasm")).unwrap();

    change(&home.path("it.zip"), |recording| {
        let left = recording["calls"][1]["outside"]["scratch"]["before"].take();
        recording["calls"][0]["outside"]["scratch"]["after"] = left;
    });
    let differs = ["call 1: scratch/out/file\n  recorded: 5 bytes", "replayed: it is not there", "different"];
    replay().check(1, &differs);

    let left_out = "what the program before the call left in /scratch";
    record(&["mkdir out; cat \"$TOKEN_FILE\" >kept"]);
    replay().check(2, &[left_out, "a secret's value is in it"]);
    let mut archive = zip::ZipArchive::new(fs::File::open(home.path("it.zip")).unwrap()).unwrap();
    for index in 0..archive.len() {
        let mut content = Vec::new();
        archive.by_index(index).unwrap().read_to_end(&mut content).unwrap();
        assert!(!content.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
    }
    record(&["mkdir out; head -c 9000000 /dev/zero >large"]);
    replay().check(2, &[left_out, "(recording_bytes_max)"]);
}

/// Rewrites what a recording says.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut recording: Value = serde_json::from_reader(archive.by_name("recording.json").unwrap()).unwrap();
    change(&mut recording);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("recording.json", SimpleFileOptions::default()).unwrap();
    writer.write_all(recording.to_string().as_bytes()).unwrap();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        if name != "recording.json" {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(&content).unwrap();
        }
    }
    fs::write(path, writer.finish().unwrap().into_inner()).unwrap();
}

/// The source of a build may be larger than what is kept of it, and its commands may be given secrets.
#[test]
fn a_build_of_a_server_is_replayed_elsewhere() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    fs::set_permissions(home.write("token", TOKEN), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(home.path("source")).unwrap();
    fs::write(home.path("source/large.bin"), vec![7; 9_000_000]).unwrap();
    let length = TOKEN.len();
    let buildspec = format!(
        "version: 0.2
env: {{secrets-manager: {{TOKEN: token}}}}
phases:
  build: {{commands: ['test ${{#TOKEN}} = {length}', 'cksum large.bin >sum.txt', 'exit 3']}}
  post_build: {{commands: ['test ${{#TOKEN}} = {length}', 'echo after']}}
"
    );
    home.write("source/buildspec.yml", &buildspec);
    home.write("projects/app.json", "{}");
    let server = serve_builds(&home, "secrets.token = { file = \"token\", commands = true }");
    home.run(&["logs", "site", "--follow", "--data", "data"]).check(0, &["after"]);
    replay_elsewhere(&home, server).check(0, &["same (3 calls replayed)"]);
}

/// With the cache that the build found, on a machine that has none.
#[test]
fn a_build_with_a_cache_is_replayed_elsewhere() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let buildspec = "version: 0.2
phases: {build: {commands: ['cat deps/lib || echo nothing', 'mkdir -p deps', 'echo from before >deps/lib']}}
cache: {paths: ['deps/**/*']}
";
    home.write("source/buildspec.yml", buildspec);
    home.write("projects/app.json", &json!({ "cache": { "type": "S3" } }).to_string());
    let server = serve_builds(&home, "caches = true");
    home.run(&["logs", "site", "--follow", "--data", "data"]).check(0, &["nothing", ") is kept"]);
    home.run(&["start", "site", "--follow", "--data", "data"]).check(0, &[]);
    home.run(&["logs", "site", "--data", "data"]).check(0, &[") is used", "from before"]);
    replay_elsewhere(&home, server).check(0, &["same"]);
}

/// A server with a pipeline that builds the folder `source`, and what the build is granted besides programs.
fn serve_builds(home: &Home, granted: &str) -> Server {
    let folder =
        with(action("Source", "Custom", "Directory", "Folder"), json!({ "Directory": "source" }), &[], &["Code"]);
    let build = json!({ "ProjectName": "app" });
    let build = with(action("Build", "AWS", "CodeBuild", "Build"), build, &["Code"], &[]);
    let stages = [("Source", folder), ("Build", build)].map(|(name, it)| json!({ "name": name, "actions": [it] }));
    let pipeline = json!({ "pipeline": {
        "name": "site", "roleArn": "arn:aws:iam::000000000000:role/test", "pipelineType": "V2",
        "artifactStore": { "type": "S3", "location": "artifacts" }, "stages": stages,
    }});
    home.write("site.json", &pipeline.to_string());
    let granted = format!(
        "[action.\"Source/Folder\"]\ndirectories.source = {{ path = \"source\", access = \"read\" }}\n\
         [action.\"Build/Build\"]\n{PROGRAMS}\n{granted}\n"
    );
    home.write("grants.toml", &granted);
    home.write("serve.toml", "projects = \"projects\"\n[grants]\nsite = \"grants.toml\"\n");
    let server = Server::start(&home.path(""));
    home.run(&["create", "site.json", "--data", "data"]).check(0, &[]);
    server
}

/// The newest build of such a server, by what was recorded of it and nothing else.
fn replay_elsewhere(home: &Home, server: Server) -> Ended {
    let history = home.run(&["history", "site", "--json", "--data", "data"]).text;
    let history: Value = serde_json::from_str(&history).unwrap();
    let execution = history["pipelineExecutionSummaries"][0]["pipelineExecutionId"].as_str().unwrap();
    home.run(&["plugin", "record", "site", execution, "Build/Build", "-o", "it.zip", "--data", "data"]).check(0, &[]);
    drop(server);
    let other = Home::new();
    fs::copy(home.path("it.zip"), other.path("it.zip")).unwrap();
    other.run(&["plugin", "replay", "it.zip"])
}

/// No secret value, in any form, is in what the server kept or what a recording holds.
fn scan(home: &Home) {
    let granted: Vec<String> = [TOKEN, PASSWORD].into_iter().flat_map(|value| forms(value, false)).collect();
    // An artifact and the declaration have it, and what is recorded has not.
    let all = [forms(SETTING, false), granted.clone()].concat();
    let recordings = home.path("recordings").display().to_string();
    let check = |what: &str, bytes: &[u8]| {
        for form in if what.contains(&recordings) { &all } else { &granted } {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form:?} is in {what}");
        }
    };
    let mut looked = 0;
    for path in files(&home.path("data")).into_iter().chain(files(&home.path("recordings"))) {
        // Native code and the components: where each byte is any.
        if path.components().any(|part| part.as_os_str() == "compiled" || part.as_os_str() == "components") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        looked += 1;
        check(&path.display().to_string(), &bytes);
        let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(&bytes)) else { continue };
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            check(&format!("{} within {}", entry.name().unwrap(), path.display()), &content);
        }
    }
    assert!(looked > ACTIONS.len(), "{looked} files");
    let exported = home.run(&["export", "--data", "data", "-o", "export.jsonl"]);
    exported.check(0, &[]);
    check("the export", &fs::read(home.path("export.jsonl")).unwrap());
}

/// A value as it is, and in every common encoding: whole, or without what depends on the neighbours.
fn forms(value: &str, whole: bool) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = |every: bool| -> String {
        let plain = |byte: u8| !every && (byte.is_ascii_alphanumeric() || byte == b'-');
        let encoded = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        value.bytes().map(encoded).collect()
    };
    let escaped: String = value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mut forms = vec![value.to_owned(), percent(false), percent(true), escaped, hex.to_uppercase(), hex];
    for before in ["", "a", "ab", "maria:"] {
        let text = format!("{before}{value}");
        for encoded in [STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            let of_neighbours = if whole { (0, 0) } else { (before.len().div_ceil(3) * 4, 4) };
            forms.push(encoded[of_neighbours.0..encoded.len() - of_neighbours.1].to_owned());
        }
    }
    forms
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

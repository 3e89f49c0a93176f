//! Programs of the machine, as actions have them run: by the real binary, which holds them apart.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use pipewright_base::clock;
use serde_json::{Value, json};

use crate::run::{Ended, Home, action, pipeline};
use crate::server::Server;
use crate::tools;

const GRANTED: &str = "commands = { level = \"toolchain\" }";

/// A home with a pipeline whose action `Command/Command` has scripts run.
struct World {
    home: Home,
}

impl World {
    /// `grants` are the lines of the action's table.
    fn new(configuration: Value, grants: &str) -> Self {
        Self::before(configuration, grants, &[])
    }

    /// With further actions after it, which have the output artifact `Built`.
    fn before(configuration: Value, grants: &str, later: &[Value]) -> Self {
        let home = Home::new();
        home.write("source/a.md", "");
        fs::create_dir(home.path("plugins")).unwrap();
        fs::write(home.path("plugins/commander.wasm"), pipewright_guests::get("commander")).unwrap();
        let mut command = action("Build", "Custom", "Commander", "Command");
        command["configuration"] = configuration;
        if !later.is_empty() {
            command["outputArtifacts"] = json!([{ "name": "Built" }]);
        }
        let mut declaration: Value = serde_json::from_str(&pipeline(&[&[command], later].concat())).unwrap();
        declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "source" });
        home.write("pipeline.json", &declaration.to_string());
        home.write("create.json", &json!({ "pipeline": declaration }).to_string());
        let grants = format!(
            "[action.\"Source/Source\"]\ndirectories.source = {{ path = \"source\", access = \"read\" }}\n\
             [action.\"Command/Command\"]\n{grants}\n\
             [action.\"Publish/Publish\"]\ndirectories.public = {{ path = \"public\", access = \"write\" }}\n"
        );
        let end = if later.is_empty() { grants.find("[action.\"Publish").unwrap() } else { grants.len() };
        home.write("grants.toml", &grants[..end]);
        home.write("serve.toml", "plugins = \"plugins\"\n[grants]\ntest = \"grants.toml\"\n");
        Self { home }
    }

    fn arguments() -> [&'static str; 6] {
        ["run", "pipeline.json", "--plugin", "plugins/commander.wasm", "--grants", "grants.toml"]
    }

    fn run(&self) -> Ended {
        self.home.run(&Self::arguments())
    }

    /// Starts the pipeline on a server of its own.
    fn serve(&self) -> Server {
        let server = Server::start(&self.home.path(""));
        self.home.run(&["create", "create.json", "--data", "data"]).check(0, &[]);
        server
    }
}

fn scripts(scripts: &[&str]) -> Value {
    json!({ "Scripts": serde_json::to_string(scripts).unwrap() })
}

fn with(mut configuration: Value, more: &[(&str, &str)]) -> Value {
    for (name, value) in more {
        configuration[*name] = json!(value);
    }
    configuration
}

/// Until something is so. What it waits for comes in a moment; only a defect takes so long.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = clock::monotonic();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command line that no other process of the machine has.
pub fn marker() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("sleep 3{}.{}", std::process::id(), RandomState::new().hash_one(0) % 1_000_000_000)
}

/// Whether a process runs with this in its command line.
pub fn runs(marker: &str) -> bool {
    let marker = marker.replace(' ', "\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.windows(marker.len()).any(|it| it == marker.as_bytes()))
}

#[test]
fn programs_run_in_one_scratch_and_what_they_make_is_an_artifact() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let mut publish = action("Deploy", "Custom", "Directory", "Publish");
    publish["configuration"] = json!({ "Directory": "public" });
    publish["inputArtifacts"] = json!([{ "name": "Built" }]);
    let first =
        "pwd; cat ../laid; mkdir ../out; echo made >../out/file; ln -s /etc/passwd ../link; mkfifo ../pipe; exit 3";
    let second = "cat ../out/file; echo again >>../out/file; printf 'no \\033[1mend'; kill -9 $$";
    let configuration = with(scripts(&[first, second]), &[("Directory", "src")]);
    let world = World::before(configuration, GRANTED, &[publish]);
    let said = [
        "runs apart from the machine (level toolchain)",
        "/work/src",
        "by the plugin",
        "ended with 3 after",
        "ended with 137 after",
    ];
    world.run().check(0, &said);
    assert_eq!(fs::read_to_string(world.home.path("public/current/file")).unwrap(), "made\nagain\n");
}

#[test]
fn the_environment_is_what_was_given_and_there_is_no_network() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let script =
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $GIVEN; ls -A ~ | wc -l; cat /proc/net/dev | wc -l";
    let world = World::new(scripts(&[script]), GRANTED);
    let ended = world.run();
    ended.check(0, &["by the plugin"]);
    let listed = ended.text.lines().find(|line| line.contains(" PATH ")).unwrap();
    let names: Vec<&str> =
        listed.split(' ').filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase())).collect();
    assert_eq!(names.len(), 6, "{listed}");
    for name in ["GIVEN", "HOME", "LANG", "PATH", "PWD", "TMPDIR"] {
        assert!(names.contains(&name), "{listed}");
    }
}

/// Answers each connection, and gives the port.
fn answering() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nfrom outside\n");
        }
    });
    port
}

#[test]
fn a_program_reaches_the_hosts_that_are_granted_and_no_other() {
    if tools::find("bwrap").is_none() || tools::find("curl").is_none() {
        return;
    }
    let (granted, other) = (answering(), answering());
    let script = format!(
        "curl -sS --noproxy '' http://127.0.0.1:{granted}/; curl -sS --noproxy '' http://127.0.0.1:{other}/; \
         curl -sS --noproxy '*' http://127.0.0.1:{granted}/ && echo around"
    );
    let configuration = with(scripts(&[&script]), &[("Network", "true")]);
    let network = |private: bool| {
        let origin = format!("{{ origin = \"http://127.0.0.1:{granted}\", private = {private} }}");
        format!("commands = {{ level = \"toolchain\", network = [{origin}] }}")
    };
    let ended = World::new(configuration.clone(), &network(true)).run();
    let denied = format!(
        "guest/commander (action Command/Command) tried to reach 127.0.0.1:{other} from a program, which it was not granted. To \
         allow it, grant the action \"Command/Command\": commands = {{ …, network = [{{ origin = \"http://127.0.0.1:{other}\", private = true }}] }}"
    );
    ended.check(0, &["from outside", &denied]);
    let went_around = ended.text.lines().any(|line| line.ends_with("] around"));
    assert!(!went_around && ended.text.matches("from outside").count() == 1, "{}", ended.text);
    let ended = World::new(configuration.clone(), &network(false)).run();
    ended.check(0, &["which is not a public address, from a program"]);
    assert!(!ended.text.contains("from outside"), "{}", ended.text);
    let ended = World::new(configuration, GRANTED).run();
    ended.check(0, &[&format!("tried to reach 127.0.0.1:{granted} from a program, which it was not granted")]);
    assert!(!ended.text.contains("from outside"), "{}", ended.text);
}

#[test]
fn what_is_not_granted_or_wrong_is_refused_with_the_mend() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let check = |configuration: &Value, grants: &str, said: &[&str]| {
        World::new(configuration.clone(), grants).run().check(1, said);
    };
    let echo = scripts(&["echo ran"]);
    let line = "grant the action \"Command/Command\": commands = { level = \"toolchain\" }";
    check(&echo, "clock = true", &["tried to run a program (`sh -c echo ran`), which it was not granted", line]);
    let unknown = "commands = { level = \"toolchain\", toolchain = \"cobol\" }";
    check(&echo, unknown, &["the grant names the toolchain \"cobol\", and this host has default"]);
    let image = "commands = { level = \"image\", images = [\"example.com/x@sha256:00\"] }";
    check(&echo, image, &["\"example.com/x@sha256:00\" has no valid digest"]);
    check(&with(echo.clone(), &[("Hasty", "true")]), GRANTED, &["it started a program, and does not wait for its end"]);
    let sleeping = with(scripts(&["sleep 600"]), &[("Seconds", "1")]);
    World::new(sleeping, GRANTED).run().check(0, &["ended with 137 after"]);
}

#[test]
fn a_secret_is_given_only_as_granted_and_never_shown() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let secret = "hunter2-hunter2";
    let check = |grant: &str, value: &str, code: i32, said: &[&str]| {
        let script =
            "echo ${#TOKEN}; echo \"<$TOKEN>\"; printf %s $TOKEN | base64; printf 'hunter2-'; sleep 0.1; echo hunter2";
        let configuration = with(scripts(&[script]), &[("Secret", "token")]);
        let world = World::new(configuration, &format!("{GRANTED}\nsecrets.token = {{ file = \"token.txt\"{grant} }}"));
        let file = world.home.write("token.txt", value);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        let ended = world.run();
        ended.check(code, said);
        assert!(!ended.text.contains(value) && !ended.text.contains("aHVudGVyMi1odW50ZXIy"), "{}", ended.text);
    };
    check(", commands = true", secret, 0, &["15", "<****>"]);
    check(
        "",
        secret,
        1,
        &["tried to give the secret \"token\" to a program", "secrets.token = { …, commands = true }"],
    );
    check(", commands = true", "hunter2", 1, &["the secret \"token\" has fewer than 8 characters"]);
}

/// What a program draws over again and again, and what a terminal breaks: masked before a carriage return ends a line.
#[test]
fn a_secret_is_hidden_with_carriage_returns_in_it_and_around_it() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let check = |value: &str, script: &str, said: &[&str]| {
        let configuration = with(scripts(&[script]), &[("Secret", "token")]);
        let grants = format!("{GRANTED}\nsecrets.token = {{ file = \"token.txt\", commands = true }}");
        let world = World::new(configuration, &grants);
        let file = world.home.write("token.txt", value);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        let ended = world.run();
        ended.check(0, said);
        assert!(!ended.text.contains("hunter2"), "{}", ended.text);
    };
    let secret = "hunter2-hunter2";
    check(secret, r"printf '9%%\r%s\r<%s>\r\n' $TOKEN $TOKEN", &["9%", "****", "<****>"]);
    check(secret, r"printf '<%s\r' $TOKEN; sleep 0.1; printf '%s>\n' $TOKEN", &["<****", "****>"]);
    let halves = "$(echo $TOKEN | cut -c -8) $(echo $TOKEN | cut -c 9-)";
    check(secret, &format!(r"printf '<%s\r%s>\n' {halves}"), &["<****>"]);
    check("hunter2-\rhunter2", r#"printf '<%s>\n' "$TOKEN""#, &["<****>"]);
}

#[test]
fn a_secret_is_given_in_a_file_as_the_plugin_or_the_grant_says() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let check = |variable: &str, set: &[(&str, &str)], grant: &str, code: i32, said: &[&str]| {
        let script = format!(
            "cat ${variable}; ls -R /work; echo length $(cat ${variable} | wc -c); stat -c %a ${variable}; mkdir -p out; echo ${variable} >out/path"
        );
        let configuration = with(scripts(&[&script, &script]), set);
        let world = World::new(configuration, &format!("{GRANTED}\nsecrets.token = {{ file = \"token.txt\"{grant} }}"));
        let file = world.home.write("token.txt", "hunter2-\nhunter2");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        let ended = world.run();
        ended.check(code, said);
        assert!(!ended.text.contains("hunter2"), "{}", ended.text);
    };
    let (asked, done) = (&[("SecretFile", "token")][..], &["length 16", "400", "****"][..]);
    check("TOKEN_FILE", asked, ", commands = true", 0, done);
    check("FILE", &[], ", commands_file = \"FILE\"", 0, done);
    // The operator's word goes before.
    check("TOKEN_FILE", asked, ", commands = true, commands_file = \"TOKEN_FILE\"", 0, done);
    let denied = ["tried to give the secret \"token\" to a program", "secrets.token = { …, commands = true }"];
    check("FILE", asked, ", commands_file = \"FILE\"", 1, &denied);
    check("TOKEN_FILE", asked, "", 1, &denied[..1]);
    check("X", &[("Secret", "token")], ", commands_file = \"FILE\"", 1, &denied);
    let no_name = "secrets.token: commands_file: \"../F\" is no name of an environment variable for the path of a file";
    check("X", &[], ", commands_file = \"../F\"", 2, &[no_name]);
}

#[test]
fn a_program_is_ended_with_its_action() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let marker = marker();
    let world = World::new(scripts(&[&format!("trap '' TERM INT; setsid {marker} & {marker}")]), GRANTED);
    let _server = world.serve();
    until("it runs", || runs(&marker));
    world.home.run(&["stop", "test", "--abandon", "--data", "data"]).check(0, &[]);
    until("it is ended", || !runs(&marker));
    world.home.run(&["status", "test", "--data", "data"]).check(0, &["Stopped"]);
    let work = world.home.path("data/work");
    until("its folder is gone", || fs::read_dir(&work).is_ok_and(|mut left| left.next().is_none()));
}

#[test]
fn nothing_is_left_of_a_program_when_the_host_is_killed() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let marker = marker();
    let world = World::new(scripts(&[&format!("setsid {marker} & {marker}")]), GRANTED);
    let mut command = world.home.command(&World::arguments());
    let mut host = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it runs", || runs(&marker));
    host.kill().unwrap();
    host.wait().unwrap();
    until("it is ended", || !runs(&marker));
}

#[test]
fn a_long_log_goes_through_in_bounded_memory() {
    const BYTES: u64 = 100 << 20;
    if tools::find("bwrap").is_none() {
        return;
    }
    let script = format!("yes $(seq 1 60) | head -c {BYTES}; echo; echo the end");
    let world = World::new(scripts(&[&script]), GRANTED);
    let server = world.serve();
    world.home.run(&["logs", "test", "Command", "--follow", "--data", "data"]).check(0, &["the end", "ended with 0"]);
    world.home.run(&["status", "test", "--data", "data"]).check(0, &["Succeeded"]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.unwrap() < 512 << 10, "{peak:?} KiB");
}

/// The first one on the PATH is the one that is used.
#[test]
fn without_bubblewrap_nothing_runs_and_the_reason_is_told() {
    let world = World::new(scripts(&["echo ran"]), GRANTED);
    world.home.write("none/bwrap", "not a program");
    let ended = world.home.command(&World::arguments()).env("PATH", world.home.path("none")).output().unwrap();
    let ended = Ended::new(ended);
    ended.check(1, &["the program cannot be run: isolation level `toolchain`", "install bubblewrap 0.4 or newer"]);
}

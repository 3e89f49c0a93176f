//! Plugins in Python, begun and built with the documented commands: what all templates make, and all of the layer, as one
//! component, with requests to real servers; unit tests and types, mistakes in Python's own words, packages of a `.venv`, and the
//! wheel.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, put};
use futures::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Barrier, Notify};

use super::{checks_settings, copy_cases, deployment, deployments, every_world, is_deployed, tool_case};
use crate::authors::its_readme_fits_a_pipeline;
use crate::run::Home;
use crate::tools;

const KINDS: [&str; 7] = ["source", "build", "test", "deploy", "approval", "invoke", "rule"];

/// One component of all templates and of all that `tests/languages` has: each keeps its own action types and cases.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_begun_built_and_tested() {
    let python = tools::python("packaging").and(tools::python("pytest"));
    let (Some(_), Some(python)) = (tools::find("componentize-py"), python) else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/all", "--kind", "build", "--lang", "python"]).check(0, &["plugin test ."]);
    let all = home.path("all");
    install(&python, &all);
    for own in ["cases", "tests"] {
        fs::remove_dir_all(all.join(own)).unwrap();
    }
    let mut parts = "from everything import plugin as everything\n".to_owned();
    for kind in KINDS {
        home.run(&["plugin", "new", &format!("acme/{kind}"), "--kind", kind, "--lang", "python"]).check(0, &[]);
        look(&python, &home.path(kind), kind);
        let source = fs::read_to_string(home.path(kind).join("src/plugin.py")).unwrap();
        home.write(&format!("all/src/template_{kind}/plugin.py"), &source);
        copy_cases(&home.path(kind).join("cases"), &all, kind, "");
        parts += &format!("from template_{kind} import plugin as template_{kind}\n");
    }
    let sources = root().join("tests/languages");
    copy_cases(&sources.join("cases"), &all, "everything", "");
    tool_case(&all);
    let copy = |from: &str, to: &str| home.write(to, &fs::read_to_string(sources.join(from)).unwrap());
    copy("everything.py", "all/src/everything/plugin.py");
    copy("test_everything.py", "all/tests/test_everything.py");
    copy("programs.py", "all/src/programs/plugin.py");
    parts += "from programs import plugin as programs\n";
    copy("python/every.py", "all/src/plugin.py");
    home.write("all/src/parts.py", &parts);
    home.write("all/pipewright/wit/every.wit", &every_world(&KINDS));
    let manifest = fs::read_to_string(all.join("pyproject.toml")).unwrap();
    fs::write(all.join("pyproject.toml"), manifest.replace("build-plugin", "every-plugin")).unwrap();

    let (port, heard) = deployments().await;
    home.write("all/cases/deploy-real-server/inputs/Site/index.html", "");
    home.write("all/cases/deploy-real-server/token.txt", "a-secret-value");
    home.write("all/cases/deploy-real-server/case.toml", &deployment(port));
    more_cases(&home).await;
    let passed = format!("{} passed, 0 failed", fs::read_dir(all.join("cases")).unwrap().count());
    home.run(&["plugin", "test", "all"]).check(0, &["ok      rule-too-late", "ok      more-package", &passed]);
    is_deployed(&heard.lock().unwrap());
    let component = fs::read(all.join("build/plugin.wasm")).unwrap();
    checks_settings(&component, "Build").await;
    for kind in KINDS {
        its_readme_fits_a_pipeline(&home.path(kind), &component).await;
    }
    a_plugin_has_a_program_run(&home);
    said(Command::new(&python).args(["-m", "pytest", "-q"]).current_dir(&all), "22 passed in ");
}

/// What is looked at before a build, with the world of the folder's own manifest.
fn look(python: &Path, folder: &Path, kind: &str) {
    let manifest = fs::read_to_string(folder.join("pyproject.toml")).unwrap();
    let world = format!("{kind}-plugin");
    assert!(manifest.contains(&format!("world = \"{world}\"")), "{manifest}");
    let look = "import sys; sys.path.append('pipewright/python'); import pipewright_look; pipewright_look.main()";
    said(Command::new(python).args(["-I", "-S", "-B", "-c", look, &world]).current_dir(folder), "");
}

/// A case for each deed of `MORE`, in the folder `all`.
async fn more_cases(home: &Home) {
    let (server, refusing) = (serve().await, refuse().await);
    for (deed, expected) in MORE {
        let port = match *deed {
            "denied" | "nobody-listens" => 1,
            "is-refused" => refusing,
            _ => server,
        };
        let url = format!("http://127.0.0.1:{port}");
        let grants = match *deed {
            "denied" => String::new(),
            _ => format!("[grants]\nhttp = [{{ origin = '{url}', private = true }}]"),
        };
        let called =
            format!("action = 'Build/Custom/More/1'\nnetwork = true\nsettings = {{ Deed = '{deed}', Url = '{url}' }}");
        let case = format!("{called}\n{grants}\n[expected]\n{expected}\n");
        home.write(&format!("all/cases/more-{deed}/case.toml"), &case);
    }
}

/// The part `programs` of the plugin in the folder `all`.
fn a_plugin_has_a_program_run(home: &Home) {
    let Some(_) = tools::find("bwrap") else { return };
    fs::set_permissions(home.write("key", "a-key-of-20-letters-"), fs::Permissions::from_mode(0o600)).unwrap();
    let granted = ["commands = { level = \"toolchain\" }", "secrets.key = { file = \"key\", commands = true }"];
    let programs = ["--action", "Build/Custom/Programs/1", "--output", "Out", "--grant", granted[0]];
    let run = [&["plugin", "run", "all"][..], &programs].concat();
    let ran = home.run(&[&run[..], &["--grant", granted[1]]].concat());
    ran.check(0, &["summary    ['kept'] 3 False ****length 20", "app (15 bytes)"]);
    assert!(!ran.text.contains("a-key-of"), "{}", ran.text);
    home.run(&run).check(1, &["tried to give the secret \"key\" to a program"]);
}

/// What `more` in `everything.py` does, and what comes of it.
const MORE: &[(&str, &str)] = &[
    ("exchange", "outcome = 'succeeded'\nlog = ['received onetwo', 'one', 'two']"),
    ("at-once", "outcome = 'succeeded'\nlog = ['0,1,2']"),
    ("waits-too-long", "outcome = 'succeeded'\nlog = ['SystemUnavailable HTTP-response-timeout']"),
    ("stops-midway", "outcome = 'succeeded'\nlog = ['SystemUnavailable connection-read-timeout']"),
    ("is-refused", "outcome = 'succeeded'\nlog = ['413 too large']"),
    ("nobody-listens", "outcome = 'succeeded'\nlog = ['SystemUnavailable connection-refused']"),
    (
        "denied",
        "outcome = 'succeeded'\nlog = ['PermissionError no grant allows the request']\ndenials = ['origin = \"http://127.0.0.1:1\"']",
    ),
    (
        "exit",
        "outcome = 'failed'\nfailure = { kind = 'JobFailed', contains = ['sys.exit(3)'] }\nlog = ['File \"src/everything/plugin.py\"']",
    ),
    (
        "trace",
        "outcome = 'failed'\nfailure = { kind = 'JobFailed', contains = ['JSONDecodeError'] }\n\
         log = ['File \"src/everything/plugin.py\"', 'json.loads(\"{\", object_hook=len)']",
    ),
    (
        "nothing",
        "outcome = 'failed'\nfailure = { contains = ['`more` returned nothing; it must return a Report or a Wait'] }",
    ),
    ("package", "outcome = 'succeeded'\nlog = ['True']"),
];

/// In the place of what the README installs: an environment with one package, which is declared and locked.
fn install(python: &Path, folder: &Path) {
    let made = Command::new(python).args(["-m", "venv", "--without-pip"]).arg(folder.join(".venv")).status().unwrap();
    assert!(made.success());
    let script = "import importlib.metadata, packaging, pathlib\n\
                  found = importlib.metadata.distribution('packaging')\n\
                  print(found.version, pathlib.Path(packaging.__file__).parent, found._path, sep='\\n')";
    let told = Command::new(python).args(["-c", script]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let [version, package, information] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    for from in [package, information] {
        assert!(Command::new("cp").args(["-r", from]).arg(packages(folder)).status().unwrap().success());
    }
    fs::write(
        folder.join("requirements.txt"),
        format!("packaging=={version} \\\n    --hash=sha256:{}\n", "0".repeat(64)),
    )
    .unwrap();
    depend_on(folder, "packaging >= 20");
}

/// The `site-packages` of a folder's environment.
fn packages(folder: &Path) -> PathBuf {
    let python = fs::read_dir(folder.join(".venv/lib")).unwrap().next().unwrap().unwrap();
    python.path().join("site-packages")
}

fn depend_on(folder: &Path, package: &str) {
    let manifest = folder.join("pyproject.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(manifest, text.replace("dependencies = []", &format!("dependencies = [\"{package}\"]"))).unwrap();
}

/// Answers that come only when the other side has done its part, late, or never.
async fn serve() -> u16 {
    let [received, go_on] = [(); 2].map(|()| Arc::new(Notify::new()));
    let meeting = Arc::new(Barrier::new(3));
    let is_received = Arc::clone(&received);
    let receive = async move |body: Body| {
        let mut got = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            got.extend_from_slice(&piece);
            received.notify_one();
        }
        format!("received {}", String::from_utf8_lossy(&got))
    };
    let may_go_on = Arc::clone(&go_on);
    let send = async move || {
        let second = async move {
            may_go_on.notified().await;
            Ok::<_, Infallible>(Bytes::from("two"))
        };
        Body::from_stream(stream::iter([Ok(Bytes::from("one"))]).chain(stream::once(second)))
    };
    let stalls = async || {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from("one"))]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let meet = async move |number: axum::extract::Path<String>| {
        meeting.wait().await;
        number.0
    };
    let routes = Router::new()
        .route("/receive", put(receive))
        .route("/received/one", get(async move || is_received.notified().await))
        .route("/send", get(send))
        .route("/go-on", get(async move || go_on.notify_one()))
        .route("/meet/{number}", get(meet))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/stalls", get(stalls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    port
}

/// Answers before it has read the body, and lets the connection be until the other side has read the answer.
async fn refuse() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 64]).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9\r\n\r\ntoo large").await.unwrap();
        std::future::pending::<()>().await;
    });
    port
}

/// The full suite builds each template by itself; in the other, `plugins_are_begun_built_and_tested` has all in one component,
/// and tests/chain.rs builds that of a build.
#[test]
fn every_template_is_a_component_of_its_own() {
    let Some(_) = tools::find("componentize-py").filter(|_| tools::is_full()) else { return };
    for kind in KINDS {
        let home = Home::new();
        home.run(&["plugin", "new", "acme/it", "--kind", kind, "--lang", "python"]).check(0, &["plugin test ."]);
        home.run(&["plugin", "test", "it"]).check(0, &["ok  ", " 0 failed"]);
    }
}

/// Without a component and without a host.
#[test]
fn unit_tests_and_types_of_every_template_pass() {
    let Some(python) = tools::python("pytest").and(tools::python("mypy")) else { return };
    let home = Home::new();
    for kind in KINDS {
        home.run(&["plugin", "new", &format!("acme/{kind}"), "--kind", kind, "--lang", "python"]).check(0, &[]);
        let folder = home.path(kind);
        said(Command::new(&python).args(["-m", "pytest", "-q"]).current_dir(&folder), " passed in ");
        let cache = home.path("types");
        said(Command::new(&python).args(["-m", "mypy", "--cache-dir"]).arg(cache).current_dir(&folder), "Success");
    }
}

/// What the host cannot take is told in words, and so is a test that is at fault itself.
#[test]
fn answers_of_the_wrong_type_are_told() {
    let Some(python) = tools::python("pytest") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "python"]).check(0, &[]);
    fs::copy(root().join("tests/languages/test_answers.py"), home.path("index/tests/test_answers.py")).unwrap();
    let mut tests = Command::new(&python);
    tests.args(["-m", "pytest", "-q", "tests/test_answers.py"]).current_dir(home.path("index"));
    said(&mut tests, " passed in ");
}

/// Against what stands in for the WIT outside of a component, and against what componentize-py makes of the WIT itself.
#[test]
fn the_layer_has_types() {
    let (Some(python), Some(tool)) = (tools::python("mypy"), tools::find("componentize-py")) else { return };
    let home = Home::new();
    let root = root();
    let mut bindings = Command::new(tool);
    bindings.args(["-d", "wit"]).args(KINDS.iter().flat_map(|kind| ["-w".to_owned(), format!("{kind}-plugin")]));
    bindings.args(["-w", "checked"]);
    said(bindings.arg("bindings").arg(home.path("bindings")).current_dir(&root), "");
    let layer = root.join("sdk/python");
    let mut sources: Vec<PathBuf> =
        fs::read_dir(layer.join("pipewright")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    // The fake host is there outside of a component alone.
    for (wit, is_inside) in [(layer.join("pipewright/outside"), false), (home.path("bindings"), true)] {
        let mut types = Command::new(&python);
        types.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(home.path("types"));
        types.args(sources.iter().filter(|path| !is_inside || !path.ends_with("testing.py")));
        types.args([layer.join("pipewright_component.py"), layer.join("pipewright_look.py")]);
        said(
            types.env("MYPYPATH", format!("{}:{}", layer.display(), wit.display())).current_dir(home.path("")),
            "Success",
        );
    }
}

/// Mistakes in `src/plugin.py` are told before anything is built.
#[test]
fn a_mistake_is_told_in_pythons_own_words() {
    let Some(_) = tools::find("python3") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "python"]).check(0, &[]);
    let good = fs::read_to_string(home.path("index/src/plugin.py")).unwrap();
    let check = |right: &str, wrong: &str, words: &[&str]| {
        assert!(good.contains(right), "{right}");
        home.write("index/src/plugin.py", &good.replace(right, wrong));
        let built = home.run(&["plugin", "build", "index"]);
        built.check(2, words);
        assert!(!built.text.contains("pipewright_look.py"), "{}", built.text);
    };
    let line = "  File \"src/plugin.py\", line 3";
    check("import json", "import json as", &[line, "    import json as\n", "SyntaxError: "]);
    check(
        "import json",
        "import nothing",
        &[line, "    import nothing\n", "No module named 'nothing'", "in .venv can be"],
    );
    check("import json", "json.dumps", &[line, "    json.dumps\n", "NameError: name 'json' is not defined"]);
    check("import json", "import sys; sys.exit(0)", &[line, "SystemExit: 0", "must not end the program"]);
    // That the machine has it, and the folder has not, changes nothing.
    check("import json", "import packaging", &[line, "No module named 'packaging'"]);
    check(
        "at_least: int",
        "at_least: dict",
        &[
            "    @build(\"Index\"",
            "the setting `at_least` cannot be of the type `dict`; a setting is made by `setting(…)`, and is a `str`",
        ],
    );
    check(
        "inputs=1",
        "owner=\"Me\"",
        &["    @build(\"Index\"", "there is no owner `Me`; there are Custom, AWS, ThirdParty"],
    );
    check("\"acme/index\"", "\"Index\"", &["    Plugin, Build = ", "a plugin is named like `team/name`"]);
    check("\"0.1.0\"", "\"1.0\"", &["    Plugin, Build = ", "a version is like `1.0.0`, and not `1.0`"]);
    check("\"0.1.0\"", "\"0.2.0\"", &["the manifest has the version 0.1.0, and the plugin says 0.2.0"]);
    check("[run]", "[run.function]", &["    Plugin, Build = ", "is no action: put `@build(…)`"]);
    check("Plugin, Build =", "Plugin, Made =", &["src/plugin.py has no class `Build`; the world `build-plugin`"]);
    fs::remove_file(home.path("index/pipewright/python/pipewright_look.py")).unwrap();
    home.run(&["plugin", "build", "index"]).check(2, &["get it by `pipewright plugin renew "]);
}

/// What `pyproject.toml` wants, what is locked and what is installed must agree.
#[test]
fn packages_that_do_not_agree_are_told() {
    let Some(python) = tools::python("packaging") else { return };
    let home = Home::new();
    let begin = || {
        drop(fs::remove_dir_all(home.path("index")));
        home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "python"]).check(0, &[]);
        home.path("index")
    };
    let build = |words: &str| {
        home.run(&["plugin", "build", "index"]).check(2, &[words]);
    };
    let folder = begin();
    depend_on(&folder, "packaging");
    build("pyproject.toml has dependencies, and there is no .venv that holds them");

    let folder = begin();
    install(&python, &folder);
    fs::remove_file(folder.join("requirements.txt")).unwrap();
    build("pyproject.toml wants packaging >= 20, and requirements.txt does not lock it");
    fs::write(folder.join("requirements.txt"), "packaging==0.1\n").unwrap();
    build("requirements.txt locks packaging==0.1, and .venv has ");

    let folder = begin();
    install(&python, &folder);
    fs::write(folder.join("requirements.txt"), "").unwrap();
    let manifest = fs::read_to_string(folder.join("pyproject.toml")).unwrap();
    fs::write(folder.join("pyproject.toml"), manifest.replace("\"packaging >= 20\"", "")).unwrap();
    let source = fs::read_to_string(folder.join("src/plugin.py")).unwrap();
    fs::write(folder.join("src/plugin.py"), source.replace("import json", "import json, packaging.version")).unwrap();
    build("which requirements.txt does not lock");
}

/// Nothing is published, and nothing is missing for it.
#[test]
fn the_layer_is_a_wheel() {
    let Some(python) = tools::python("setuptools.command.bdist_wheel").and(tools::python("pip")) else { return };
    let home = Home::new();
    // Building leaves files beside the sources.
    said(Command::new("cp").arg("-r").arg(root().join("sdk/python")).arg(home.path("layer")), "");
    let mut build = Command::new(&python);
    build.args(["-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", "made", "./layer"]);
    said(build.current_dir(home.path("")), "Successfully built pipewright");
    let list = "import glob, zipfile; print('\\n'.join(zipfile.ZipFile(*glob.glob('made/pipewright-*-py3-none-any.whl')).namelist()))";
    let output = Command::new(&python).args(["-c", list]).current_dir(home.path("")).output().unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    for wanted in ["pipewright/py.typed", "pipewright/outside/wit_world/imports/log.py", "pipewright_component.py"] {
        assert!(files.lines().any(|file| file == wanted), "{wanted} is missing in:\n{files}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Ended well, and said this.
#[track_caller]
fn said(command: &mut Command, words: &str) {
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains(words), "{words:?} is missing in:\n{text}");
}

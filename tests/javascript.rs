//! Plugins in JavaScript and TypeScript, begun and built with the documented commands: what all templates make, all of the layer
//! and what goes wrong, as one component; its unit tests and its check; and what a registry would get.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

use crate::authors::its_readme_fits_a_pipeline;
use crate::languages::{checks_settings, copy_cases, copy_folder, every_world, tool_case};
use crate::run::Home;
use crate::tools;

const KINDS: [&str; 7] = ["source", "build", "test", "deploy", "approval", "invoke", "rule"];
const LANGUAGES: [(&str, &str); 2] = [("javascript", "js"), ("typescript", "ts")];

/// Of this repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs Node.js in a folder.
fn node(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("node").args(arguments).current_dir(folder).output().unwrap()
}

/// What it said, if it ended well or ill as it should.
#[track_caller]
fn said(output: &Output, succeeds: bool) -> String {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), succeeds, "{text}");
    text
}

const CHECK: &[&str] = &["pipewright/javascript/check.mjs"];

/// One component of all templates and of all that `tests/languages` has: each keeps its own action types and cases.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_template_makes_passes_its_cases() {
    let Some(modules) = tools::node_modules("@bytecodealliance/componentize-js") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/all", "--kind", "build", "--lang", "javascript"]).check(0, &["plugin test ."]);
    // In the place of `npm install`.
    symlink(&modules, home.path("all/node_modules")).unwrap();
    let all = home.path("all");
    fs::remove_dir_all(all.join("cases")).unwrap();
    let sources = root().join("tests/languages");
    let mut parts =
        String::from("export * as everything from '../everything/plugin.js';\nexport * as web from './web.ts';\n");

    for ((language, extension), kind) in LANGUAGES.iter().flat_map(|language| KINDS.map(|kind| (language, kind))) {
        let name = format!("{kind}-{extension}");
        home.run(&["plugin", "new", &format!("acme/{name}"), "--kind", kind, "--lang", language]).check(0, &[]);
        symlink(&modules, home.path(&name).join("node_modules")).unwrap();
        said(&node(&home.path(&name), CHECK), true);
        unit_tests_pass(&home.path(&name));
        let source = fs::read_to_string(home.path(&name).join(format!("src/plugin.{extension}"))).unwrap();
        home.write(&format!("all/{name}/plugin.{extension}"), &source);
        copy_cases(&home.path(&name).join("cases"), &all, &name, "");
        parts += &format!("export * as {kind}_{extension} from '../{name}/plugin.{extension}';\n");
    }

    let origin = format!("http://127.0.0.1:{}", serve().await);
    copy_cases(&sources.join("cases"), &all, "everything", &origin);
    tool_case(&all);
    copy_cases(&sources.join("javascript/cases"), &all, "web", &origin);
    let copy = |from: &str, to: &str| home.write(to, &fs::read_to_string(sources.join(from)).unwrap());
    copy("everything.js", "all/everything/plugin.js");
    copy("javascript/web.ts", "all/src/web.ts");
    copy("javascript/every.mjs", "all/src/plugin.js");
    home.write("all/src/parts.mjs", &parts);
    packages(&home);
    home.write("all/pipewright/wit/every.wit", &every_world(&KINDS));
    let manifest = fs::read_to_string(all.join("package.json")).unwrap();
    home.write("all/package.json", &manifest.replace("build-plugin", "every-plugin"));
    home.run(&["plugin", "test", "all"]).check(0, &["ok      rule-ts-too-late", "ok      web-crash", " 0 failed"]);
    let component = fs::read(all.join("build/plugin.wasm")).unwrap();
    checks_settings(&component, "BuildJs").await;
    for ((_, extension), kind) in LANGUAGES.iter().flat_map(|language| KINDS.map(|kind| (language, kind))) {
        its_readme_fits_a_pipeline(&home.path(&format!("{kind}-{extension}")), &component).await;
    }
}

/// Two packages as npm would install them, of either kind of module.
fn packages(home: &Home) {
    let package = |name: &str, manifest: &str, index: &str| {
        home.write(&format!("node_modules/{name}/package.json"), manifest);
        home.write(&format!("node_modules/{name}/index.js"), index);
    };
    package(
        "commonjs-package",
        r#"{ "name": "commonjs-package", "main": "index.js" }"#,
        "exports.bracket = (text) => require('./left.js') + text + ']';",
    );
    home.write("node_modules/commonjs-package/left.js", "module.exports = '[';");
    package(
        "module-package",
        r#"{ "name": "module-package", "type": "module", "exports": "./index.js" }"#,
        "export const twice = (text) => text + text;",
    );
}

/// The unit tests of a plugin, by the command that `npm test` runs.
fn unit_tests_pass(folder: &Path) {
    let manifest = fs::read_to_string(folder.join("package.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let arguments = manifest["scripts"]["test"].as_str().unwrap().strip_prefix("node ").unwrap();
    let arguments: Vec<&str> = ["--test-reporter=tap"].into_iter().chain(arguments.split(' ')).collect();
    let text = said(&node(folder, &arguments), true);
    assert!(text.contains("# pass 1\n"), "{text}");
}

/// Each mistake is told in a moment: what is wrong, in which file and line, and the line itself.
#[test]
fn mistakes_are_told_before_a_build() {
    let Some(modules) = tools::node_modules("esbuild") else { return };
    let home = Home::new();
    let check = |language: &str, extension: &str, mistake: &str, expected: &[&str]| {
        let file = home.path(&format!("{language}/src/plugin.{extension}"));
        if !file.exists() {
            home.run(&["plugin", "new", &format!("acme/{language}"), "--kind", "build", "--lang", language])
                .check(0, &[]);
            symlink(&modules, home.path(language).join("node_modules")).unwrap();
        }
        let right = fs::read_to_string(&file).unwrap();
        assert!(right.contains("\nconst listFiles"), "{right}");
        // On the fourth line.
        let wrong = right.replacen("\nconst listFiles", &format!("\n{mistake}\nconst listFiles"), 1);
        fs::write(&file, &wrong).unwrap();
        let line = wrong.lines().position(|line| line == mistake).unwrap() + 1;
        let text = said(&node(&home.path(language), CHECK), false);
        for expected in [expected, &[mistake, &format!("src/plugin.{extension}:{line}:")]].concat() {
            assert!(text.contains(expected), "{mistake}: {expected:?} is missing in:\n{text}");
        }
        fs::write(&file, right).unwrap();
    };
    let js = |mistake, expected| check("javascript", "js", mistake, expected);
    js("const const wrong = 1;", &["Expected identifier"]);
    js("import { readFileSync } from 'node:fs';", &["`node:fs`", "`files` of the layer"]);
    js("import { request } from 'https';", &["`https`", "`http` of the layer"]);
    js("import { nothing } from './nowhere.js';", &["Could not resolve"]);
    js(
        "import { left } from '@some/left-pad/left';",
        &["Could not resolve", "Run `npm install @some/left-pad` in the plugin's"],
    );
    js("null.wrong;", &["the plugin cannot be loaded", "TypeError"]);
    js("log.info('early');", &["`log` works only while an action runs"]);
    js("await fetch('https://example.com/');", &["`fetch` works only while an action runs"]);
    js("setTimeout(() => 1, 1);", &["setTimeout works only while an action runs"]);
    js("process.exit(1);", &["process is not defined", "`action.environment`"]);
    js("definePlugin({ name: 'a/b', version: '1.0.0', bild: [] });", &["no `bild`", "approval, invoke, rule"]);
    js("definePlugin({ name: 'Index', version: '1.0.0' });", &["a plugin is named like `team/name`", "not `Index`"]);
    js("definePlugin({ name: 'a/b', version: '1.0' });", &["a version is like `1.0.0`, and not `1.0`"]);
    js("definePlugin({ name: 'a/b', version: '1.0.0', test: [{ provider: 'A' }] });", &["needs a function `run`"]);
    js(
        "definePlugin({ name: 'a/b', version: '1.0.0', source: [{ provider: 'A', run() {} }] });",
        &["function `latest`"],
    );
    let manifest = fs::read_to_string(home.path("javascript/package.json")).unwrap();
    home.write("javascript/package.json", &manifest.replace("\"0.1.0\"", "\"0.2.0\""));
    let text = said(&node(&home.path("javascript"), CHECK), false);
    assert!(text.contains("package.json: the manifest has the version 0.2.0, and the plugin says 0.1.0"), "{text}");
    let ts = |mistake, expected| check("typescript", "ts", mistake, expected);
    ts("const wrong: string = 1;", &["TS2322", "~~~~~"]);
}

/// The types say what the layer has, and infer what an action declares; each `@ts-expect-error` is one that the compiler wants.
#[test]
fn the_types_are_strict_and_complete() {
    let Some(modules) = tools::node_modules("esbuild") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/typed", "--kind", "build", "--lang", "typescript"]).check(0, &[]);
    symlink(&modules, home.path("typed/node_modules")).unwrap();
    let types = fs::read_to_string(root().join("tests/languages/javascript/types.ts")).unwrap();
    home.write("typed/src/types.ts", &types);
    said(&node(&home.path("typed"), &["node_modules/typescript/bin/tsc", "--noEmit"]), true);
    let scripts = [
        ("names.mjs", include_str!("languages/javascript/names.mjs")),
        ("programs.mjs", include_str!("languages/javascript/programs.mjs")),
        ("globals.mjs", include_str!("languages/javascript/globals.mjs")),
    ];
    for (name, text) in scripts {
        home.write(&format!("typed/{name}"), text);
        said(&node(&home.path("typed"), &["--import", "./pipewright/javascript/testing.mjs", name]), true);
    }
}

/// `Intl` is bundled where it is used, with the languages that are named or declared, and nowhere else.
#[test]
fn languages_are_bundled_where_they_are_used() {
    let Some(modules) = tools::node_modules("@formatjs/intl-datetimeformat") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/words", "--kind", "build", "--lang", "javascript"]).check(0, &[]);
    home.write("words/intl.mjs", include_str!("languages/javascript/intl.mjs"));
    // A folder, for the script adds a package of its own.
    fs::create_dir(home.path("words/node_modules")).unwrap();
    for package in ["esbuild", "@esbuild"] {
        symlink(modules.join(package), home.path("words/node_modules").join(package)).unwrap();
    }
    said(&node(&home.path("words"), &["intl.mjs", "without"]), true);
    symlink(modules.join("@formatjs"), home.path("words/node_modules/@formatjs")).unwrap();
    said(&node(&home.path("words"), &["intl.mjs"]), true);
}

/// The layer, the templates and the checks have the same versions of packages.
#[test]
fn packages_have_one_version() {
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
    };
    let layer = read("sdk/javascript/package.json");
    let checks = fs::read_to_string(root().join(".ci/run")).unwrap();
    for (language, _) in LANGUAGES {
        let template = read(&format!("sdk/template/{language}/common/package.json"));
        for (name, version) in template["devDependencies"].as_object().unwrap() {
            let of_layer = layer["peerDependencies"].get(name).unwrap_or(version);
            assert_eq!(of_layer, version, "{name} of {language}");
            let pinned = format!(" {name}@{}", version.as_str().unwrap());
            assert!(checks.contains(&pinned), ".ci/run has no{pinned}");
        }
    }
}

/// What the host cannot take is told in words, and so is a test that is at fault itself.
#[test]
fn answers_of_the_wrong_type_are_told() {
    let Some(modules) = tools::node_modules("esbuild") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "javascript"]).check(0, &[]);
    symlink(&modules, home.path("index/node_modules")).unwrap();
    home.write("index/test/answers.test.mjs", include_str!("languages/javascript/answers.test.mjs"));
    let tests = ["--import", "./pipewright/javascript/testing.mjs", "--test", "test/answers.test.mjs"];
    said(&node(&home.path("index"), &tests), true);
}

/// What `npm publish` would send: the layer, the interface and the licence, and nothing that is left in the folder.
#[test]
fn the_layer_can_be_packed() {
    let Some(_) = tools::find("npm") else { return };
    let home = Home::new();
    for part in ["sdk/javascript", "wit"] {
        copy_folder(&root().join(part), &home.path(part));
    }
    fs::copy(root().join("LICENSE"), home.path("LICENSE")).unwrap();
    let listed = || -> BTreeSet<_> {
        fs::read_dir(home.path("sdk/javascript")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = listed();
    let packed = Command::new("npm")
        .args(["pack", "--json", "--offline", "--pack-destination", "../.."])
        .current_dir(home.path("sdk/javascript"))
        .output()
        .unwrap();
    let text = said(&packed, true);
    for expected in
        ["pipewright.d.ts", "testing.d.mts", "fake/hooks.mjs", "wit/plugin.wit", "wit/deps/http.wit", "LICENSE"]
    {
        assert!(text.contains(&format!("\"path\": \"{expected}\"")), "{expected} is missing in:\n{text}");
    }
    assert_eq!(listed(), before);
}

/// A server for `web.ts`, which says below how it answers.
async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let together = Arc::new(Barrier::new(3));
    let go = Arc::new(Notify::new());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that hangs up is what some cases are about.
            tokio::spawn(answer(stream, Arc::clone(&together), Arc::clone(&go)));
        }
    });
    port
}

async fn answer(mut stream: TcpStream, together: Arc<Barrier>, go: Arc<Notify>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    match head.split(' ').nth(1).unwrap_or_default() {
        // None is answered before three are there.
        "/together" => {
            together.wait().await;
            whole(&mut stream, "200 OK", "ok").await
        }
        // The second chunk waits for `/go`.
        "/drip" => {
            first(&mut stream).await?;
            go.notified().await;
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await
        }
        "/stalled" => {
            first(&mut stream).await?;
            std::future::pending().await
        }
        "/go" => {
            go.notify_one();
            whole(&mut stream, "200 OK", "").await
        }
        "/count" => {
            let count = count(&mut stream, &head).await?;
            whole(&mut stream, "200 OK", &count.to_string()).await
        }
        // Before the body is read; what is still sent is taken, so that the answer is not lost with the connection.
        "/413" => {
            whole(&mut stream, "413 Too Large", "too big").await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
        }
        "/moved" => whole(&mut stream, "302 Found\r\nlocation: /elsewhere", "").await,
        "/silent" => std::future::pending().await,
        _ => Ok(()),
    }
}

/// The head of a response in chunks, and one of them.
async fn first(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").await?;
    stream.write_all(b"5\r\nfirst\r\n").await
}

async fn whole(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await
}

/// The bytes of a body, which is as long as its header says, or comes in chunks (RFC 9112, section 7.1).
async fn count(stream: &mut TcpStream, head: &str) -> std::io::Result<usize> {
    if let Some((_, length)) = head.split_once("content-length: ") {
        let length = length.lines().next().and_then(|length| length.parse().ok()).unwrap_or_default();
        stream.read_exact(&mut vec![0; length]).await?;
        return Ok(length);
    }
    let mut count = 0;
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await?);
        }
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap_or_default();
        stream.read_exact(&mut vec![0; length + 2]).await?;
        count += length;
        if length == 0 {
            return Ok(count);
        }
    }
}

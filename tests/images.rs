//! Images that builds run in: from a real registry and from folders, those that move, and those that were made to do harm.

mod made;
mod toolchain;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tar::EntryType;

use self::made::{INDEX, LAYER, Packed, archive, bytes, descriptor, file, gzip, lay_out, programs};
use crate::packages::Registered as _;
use crate::packages::registry::{Registry, answer, server};
use crate::run::{Ended, Home, action, pipeline};
use crate::server::Server;
use crate::tools;

/// What the commands of builds need.
const TOOLS: [&str; 10] = ["sh", "cat", "mkdir", "ls", "wc", "env", "rm", "test", "tail", "head"];

const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A home with a pipeline whose builds, one beside the other, run in the images of their projects; `grant` is each one's.
fn world(images: &[(&str, &str)], buildspec: &str, grant: &str) -> Home {
    let home = Home::new();
    home.write("source/buildspec.yml", buildspec);
    let mut grants =
        "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n".to_owned();
    let mut builds = Vec::new();
    for (name, image) in images {
        home.write(&format!("projects/{name}.json"), &json!({ "environment": { "image": image } }).to_string());
        let mut build = action("Build", "AWS", "CodeBuild", name);
        build["configuration"] = json!({ "ProjectName": name });
        build["inputArtifacts"] = json!([{ "name": "Code" }]);
        builds.push(build);
        grants += &format!(
            "[action.\"Build/{name}\"]\n{grant}\ndirectories.projects = {{ path = \"projects\", access = \"read\" }}\n"
        );
    }
    let mut declaration: Value = serde_json::from_str(&pipeline(&[json!({ "name": "Build" })])).unwrap();
    declaration["pipelineType"] = json!("V2");
    declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "source" });
    declaration["stages"][1]["actions"] = json!(builds);
    home.write("pipeline.json", &declaration.to_string());
    home.write("create.json", &json!({ "pipeline": declaration }).to_string());
    home.write("grants.toml", &grants);
    home
}

fn granted(image: &str) -> String {
    format!("commands = {{ level = \"toolchain\", images = [{image:?}] }}")
}

fn run(home: &Home) -> Ended {
    home.run(&["run", "pipeline.json", "--grants", "grants.toml"])
}

fn buildspec(commands: &[&str]) -> String {
    json!({ "version": 0.2, "phases": { "build": { "commands": commands } } }).to_string()
}

/// What makes an image of a test another one than that of every other test.
fn stamp(home: &Home) -> Vec<u8> {
    file("etc/stamp", &home.path("").display().to_string())
}

#[test]
fn a_build_runs_in_the_image_of_its_project() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let name = format!("{}/team/tools:1", registry.host());
    let commands = [
        "test \"$(cat /etc/version)\" = one && test \"$FROM_IMAGE\" = yes",
        "test ! -e /usr/bin/bwrap && test ! -e /etc/passwd && test -w /etc/version",
        "echo changed > /etc/version",
    ];
    let team = format!("{}/team/*", registry.host());
    // Two at once, of which one pulls.
    let home = world(&[("app", &name), ("again", &name)], &buildspec(&commands), &granted(&team));
    let base = programs(&TOOLS);
    let image = Packed::of(&[base.clone(), file("etc/version", "one"), stamp(&home)]);
    image.push(&name);
    let pulls = format!("pulls the image {name}: 3 layers");
    let ended = run(&home);
    ended.check(0, &["test succeeded", "layer 3 of 3", &format!("(level image, {})", image.digest())]);
    assert_eq!(ended.text.matches(&pulls).count(), 1, "{}", ended.text);
    // It is here, and nobody has changed it.
    let ended = run(&home);
    ended.check(0, &["test succeeded", &image.digest()]);
    assert!(!ended.text.contains("pulls the image"), "{}", ended.text);
    home.run(&["image", "list"]).check(0, &[&name, &image.digest()]);

    // Another one by the same tag, of which only what differs is fetched; and by its digest the first one.
    let other = Packed::of(&[base, file("etc/version", "two"), stamp(&home)]);
    other.push(&name);
    let ended = run(&home);
    ended.check(1, &[&pulls, "layer 2 of 3", &other.digest()]);
    assert!(!ended.text.contains("layer 1 of 3"), "{}", ended.text);
    let by_digest = format!("{name}@{}", image.digest());
    for project in ["projects/app.json", "projects/again.json"] {
        home.write(project, &json!({ "environment": { "image": by_digest } }).to_string());
    }
    run(&home).check(0, &[&image.digest()]);

    let removed = home.run(&["image", "remove", &image.digest(), &other.digest()]);
    removed.check(0, &["2 images"]);
    assert!(!home.run(&["image", "list"]).text.contains(&name));
    home.run(&["image", "remove", &name]).check(2, &["`pipewright image list`"]);
    home.run(&["image", "pull", &by_digest]).check(0, &[&image.digest(), "is ready after"]);
    home.run(&["image", "remove", &by_digest]).check(0, &["1 images"]);
}

/// An example, in an image that has its tools and nothing else of this machine.
#[test]
fn an_example_is_built_and_tested_in_an_image() {
    if tools::find("bwrap").is_none() || tools::find("node").is_none() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let home = Home::new();
    let name = format!("{}/node:22", registry.host());
    let image = Packed::of(&[programs(&TOOLS), programs(&["node"]), stamp(&home)]);
    image.push(&name);
    let grants = fs::read_to_string(root().join("examples/node-site/grants.toml")).unwrap();
    let in_image = format!("level = \"image\", images = [{name:?}]");
    let grants = grants.replace("level = \"toolchain\"", &in_image).replace("../../target/node-site", "public");
    home.write("grants.toml", &grants);
    let example = root().join("examples/node-site");
    let (file, source) = (example.join("pipeline.json"), format!("Source={}", example.display()));
    let ended = home.run(&["run", file.to_str().unwrap(), "--source", &source, "--grants", "grants.toml", "--approve"]);
    ended.check(0, &["node-site succeeded", &format!("(level image, {})", image.digest())]);
    assert!(fs::read_to_string(home.path("public/current/index.html")).unwrap().contains("<h1>Home</h1>"));
    home.run(&["image", "remove", &name]).check(0, &["1 images"]);
}

/// An execution has the image of its start to its end, whatever the tag means by then; the next one has the new one.
#[test]
fn a_tag_that_moves_changes_no_execution() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let name = format!("{}/team/tools:1", registry.host());
    let commands = buildspec(&["echo \"the version is $(cat /etc/version)\"", "test \"$(cat /etc/version)\" = two"]);
    let home = world(&[("app", &name)], &commands, &granted(&name));
    home.write("serve.toml", "[grants]\ntest = \"grants.toml\"\n");
    let base = programs(&TOOLS);
    let of = |version: &str| Packed::of(&[base.clone(), file("etc/version", version)]);
    of("one").push(&name);
    let server = Server::start(&home.path(""));
    let data = |arguments: &[&str]| home.run(&[arguments, &["--data", "data"]].concat());
    let ended = |execution: &str| {
        data(&["logs", "test", "app", "--execution", execution, "--follow"]).check(0, &[]);
        data(&["logs", "test", "app", "--execution", execution])
    };
    data(&["create", "create.json"]).check(0, &[]);
    let first = data(&["history", "test"]).text.split_whitespace().next().unwrap().to_owned();
    ended(&first).check(0, &["the version is one"]);
    of("two").push(&name);
    // Another server, which knows nothing but what is kept; and the image has to be pulled again.
    drop(server);
    data(&["image", "remove", &name]).check(0, &["1 images"]);
    let _server = Server::start(&home.path(""));
    data(&["retry", "test"]).check(0, &["runs again"]);
    let again = ended(&first);
    assert_eq!(again.text.matches("] the version is one").count(), 2, "{}", again.text);
    assert!(!again.text.contains("] the version is two"), "{}", again.text);
    data(&["start", "test", "--follow"]).check(0, &[]);
    data(&["status", "test"]).check(0, &["Succeeded"]);
}

/// A layout in the folder `layouts/NAME` of a home, of an image that is changed first.
fn laid_out(home: &Home, name: &str, image: &Packed, change: impl Fn(&mut Packed)) -> String {
    let mut image = image.clone();
    change(&mut image);
    image.lay_out(&home.path("layouts").join(name))
}

/// Images that no tool would make, by name, and what their builds fail with.
fn hostile(home: &Home, good: &Packed) -> Vec<(&'static str, String, &'static str)> {
    let layer = |archive: Vec<u8>| Packed::of(&[file("a", "a"), archive]);
    let made = |name: &'static str, image: &Packed, said| (name, laid_out(home, name, image, |_| ()), said);
    let changed = |name: &'static str, said, change: &dyn Fn(&mut Packed)| {
        (name, laid_out(home, name, good, |image| change(image)), said)
    };
    let links = [(EntryType::Symlink, "up", "../.."), (EntryType::Link, "passwd", "up/etc/passwd")];
    let deep = "d/".repeat(45);
    let many: Vec<_> = (0..5_000).map(|at| format!("f{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (EntryType::Regular, name.as_str(), "")).collect();
    let mut rows = vec![
        made("upwards", &layer(file("../out", "x")), "leads upwards"),
        made("links", &layer(archive(&links)), "No such file"),
        made("bomb", &layer(vec![0; 64 << 20]), "bytes when it is decompressed"),
        made("many", &layer(archive(&many)), "a layer has more than"),
        made("no-archive", &layer(b"no archive at all".repeat(100)), "layer 2 of 2"),
        made("none", &Packed::of(&[]), "it has 0 layers"),
        changed("many-layers", "it has 200 layers", &|image| {
            *image = Packed::of(&vec![file("a", "a"); 200]);
        }),
        changed("machine", "is for linux/vax", &|image| {
            image.config["architecture"] = json!("vax");
            image.describe();
        }),
        changed("diff-id", "is not what its configuration says: it must have the diff_id", &|image| {
            image.config["rootfs"]["diff_ids"][0] = json!(made::digest(b"another"));
            image.describe();
        }),
        changed("fewer", "layers, and its configuration", &|image| {
            image.config["rootfs"]["diff_ids"] = json!([]);
            image.describe();
        }),
        changed("kind", "a layer of the kind \"application/wasm\"", &|image| {
            image.manifest["layers"][0]["mediaType"] = json!("application/wasm");
        }),
        changed("two-things", "so that it means two things", &|image| image.manifest["manifests"] = json!([])),
        changed("old", "its manifest is of version 1", &|image| image.manifest["schemaVersion"] = json!(1)),
        changed("absent", "is not there", &|image| drop(image.layers.pop())),
        made("deep", &layer(archive(&[(EntryType::Directory, &deep, ""), (EntryType::Fifo, "pipe", "")])), ""),
    ];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": made::MANIFEST, "digest": good.digest(), "size": 1, "platform": { "os": "linux", "architecture": "vax" } },
    ] });
    rows.push(("index", lay_out(&home.path("layouts/index"), &index, &[]), "it is for \"linux/vax\""));
    rows.push(("nowhere", format!("oci:{}", home.path("layouts/nowhere").display()), "index.json is not there"));
    // A layer whose bytes are others than its digest says.
    let own = Packed::of(&[file("etc/only", "here")]);
    let name = laid_out(home, "changed", &own, |_| ());
    let digest = own.manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    fs::write(home.path("layouts/changed/blobs/sha256").join(digest), gzip(&file("etc/evil", "x"))).unwrap();
    rows.push(("changed", name, "was changed: it must have the digest"));
    rows
}

/// Each fails its own build, and says why; the host goes on, and what is good beside them is built.
#[test]
fn an_image_that_would_do_harm_fails_its_own_build() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let good = Packed::of(&[programs(&TOOLS), stamp(&home)]);
    let rows = hostile(&home, &good);
    let good_name = good.lay_out(&home.path("layouts/good"));
    let images: Vec<(&str, &str)> =
        rows.iter().map(|(name, image, _)| (*name, image.as_str())).chain([("good", good_name.as_str())]).collect();
    let all = format!("oci:{}/*", home.path("layouts").display());
    let world = world(&images, &buildspec(&["test -e /etc/stamp"]), &granted(&all));
    world.write(
        "serve.toml",
        "[grants]\ntest = \"grants.toml\"\n[commands.images]\nimage_bytes_max = 50000000\nimage_entries_max = 4000\n",
    );
    let _server = Server::start(&world.path(""));
    let data = |arguments: &[&str]| world.run(&[arguments, &["--data", "data"]].concat());
    data(&["create", "create.json"]).check(0, &[]);
    data(&["logs", "test", "--follow"]).check(0, &[]);
    let status = data(&["history", "test", "--actions", "--json"]);
    let status: Value = serde_json::from_str(&status.text).unwrap();
    let said = |name: &str| {
        let mut all = status["actionExecutionDetails"].as_array().unwrap().iter();
        let action = all.find(|action| action["actionName"] == name).unwrap_or_else(|| panic!("{name}: {status}"));
        action.to_string()
    };
    for (name, image, expected) in &rows {
        let said = said(name);
        // One that is only odd has no program, and so cannot be built in.
        let expected = if expected.is_empty() { "program `/bin/sh`" } else { expected };
        assert!(said.contains("Failed") && said.contains(&expected.replace('"', "\\\"")), "{name}: {said}");
        assert!(expected == "program `/bin/sh`" || said.contains(image.as_str()), "{name}: {said}");
    }
    assert!(said("good").contains("Succeeded"), "{}", said("good"));
    // What failed leaves nothing, once it is removed.
    let left = || {
        let left = fs::read_dir(world.path("data/images/layers")).unwrap();
        left.map(|it| it.unwrap().file_name().into_string().unwrap()).filter(|name| name.starts_with("making-")).count()
    };
    for _ in 0..LOOKS_MAX {
        if left() > 0 {
            std::thread::sleep(LOOK);
        }
    }
    assert_eq!(left(), 0);
    assert!(!world.path("out").exists() && !world.path("data/images/out").exists());
}

/// A registry that lies, hangs up, or has nothing; and what nobody was granted.
#[test]
fn what_a_registry_does_not_give_fails_with_the_mend() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let host = registry.host();
    let check = |image: &str, grant: &str, said: &[&str]| {
        let home = world(&[("app", image)], &buildspec(&["true"]), &granted(grant));
        run(&home).check(1, said);
    };
    let (name, team) = (format!("{host}/team/tools:1"), format!("{host}/team/*"));
    check(&name, &team, &[&format!("the image {name}: it is not there")]);
    check(&name, "other.example/team/*", &[&format!("to run a program in the image {name}, which it was not granted")]);
    check("node:22", &team, &["this host has no image called \"node:22\"", "[commands.images.names]"]);
    check(&format!("{host}/team/A:1"), &team, &["has no valid repository"]);
    check("localhost:1/team/tools:1", "localhost:1/*", &["the image localhost:1/team/tools:1: registry localhost:1"]);
    let locked = Registry::start().unwrap();
    check(&format!("{}/a:1", locked.host()), &format!("{}/*", locked.host()), &["does not let you in"]);

    let home = Home::new();
    let image = Packed::of(&[file("a", "a"), stamp(&home)]);
    image.push(&name);
    registry.change(&made::digest(&image.layers[1]), |_| gzip(&file("etc/evil", "x")));
    check(&name, &team, &["was changed: it must have the digest", &made::digest(&image.layers[1])]);

    // Says that a layer is small, and sends without end.
    let mut endless = image.clone();
    endless.manifest["layers"] = json!([descriptor(LAYER, b"small")]);
    endless.config["rootfs"]["diff_ids"] = json!([made::digest(b"small")]);
    let config = bytes(&endless.config);
    endless.manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &config);
    let (manifest, layer) = (bytes(&endless.manifest), made::digest(b"small"));
    let (again, cut, whole) = (manifest.clone(), layer.clone(), config.clone());
    let (lying, _requests) = server(move |asked, stream| match asked {
        _ if asked.contains("/manifests/") => answer(stream, "200 OK", "", &manifest),
        _ if asked.contains(&layer) => answer(stream, "200 OK", "", &vec![0; 64 << 20]),
        _ => answer(stream, "200 OK", "", &config),
    });
    let name = format!("{lying}/team/tools:1");
    check(&name, &format!("{lying}/*"), &["is longer than the 5 bytes that its manifest says"]);
    // Breaks off, each time.
    let (breaking, _requests) = server(move |asked, stream| match asked {
        _ if asked.contains("/manifests/") => answer(stream, "200 OK", "", &again),
        _ if asked.contains(&cut) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsm")?;
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        _ => answer(stream, "200 OK", "", &whole),
    });
    let name = format!("{breaking}/team/tools:1");
    let said =
        [&*format!("the image {name}: registry {breaking}: it does not answer"), "layer 1 of 1 is fetched again"];
    check(&name, &format!("{breaking}/*"), &said);
}

/// A registry says that it has another one's layers, which are here, and does not give them.
#[test]
fn a_layer_is_shared_with_a_registry_that_gave_it() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let stamped = Home::new();
    let image = Packed::of(&[programs(&TOOLS), stamp(&stamped)]);
    let name = format!("{}/team/tools:1", registry.host());
    image.push(&name);
    let (manifest, config) = (bytes(&image.manifest), bytes(&image.config));
    let of_config = made::digest(&config);
    let (lying, _requests) = server(move |asked, stream| match asked {
        _ if asked.contains("/manifests/") => answer(stream, "200 OK", "", &manifest),
        _ if asked.contains(&of_config) => answer(stream, "200 OK", "", &config),
        _ if asked.starts_with("HEAD") => answer(stream, "200 OK", "", b""),
        _ => answer(stream, "404 Not Found", "", b"{}"),
    });
    let grant = format!("commands = {{ level = \"toolchain\", images = [\"{}/*\", \"{lying}/*\"] }}", registry.host());
    let home = world(&[("app", &name)], &buildspec(&["test -e /etc/stamp"]), &grant);
    run(&home).check(0, &[]);
    let environment = json!({ "environment": { "image": format!("{lying}/team/tools:1") } });
    home.write("projects/app.json", &environment.to_string());
    run(&home).check(1, &["the layer team/tools@sha256:", "is not there"]);
}

/// What the operator says that CodeBuild's names are.
#[test]
fn the_operator_says_what_names_without_a_registry_mean() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let images = [
        ("mapped", "aws/codebuild/standard:7.0"),
        ("tools", "aws/codebuild/standard:6.0"),
        ("unknown", "aws/codebuild/amazonlinux2-x86_64-standard:5.0"),
    ];
    let script = "if test \"$CODEBUILD_BUILD_IMAGE\" = aws/codebuild/standard:7.0; then test -e /etc/stamp; else test ! -e /etc/stamp; fi";
    let home = world(&images, &buildspec(&[script]), "commands = { level = \"toolchain\" }");
    let name = Packed::of(&[programs(&TOOLS), stamp(&home)]).lay_out(&home.path("layout"));
    let names = format!("\"aws/codebuild/standard:7.0\" = {name:?}\n\"aws/codebuild/standard:6.0\" = \"toolchain\"\n");
    home.write("serve.toml", &format!("[grants]\ntest = \"grants.toml\"\n[commands.images.names]\n{names}"));
    let _server = Server::start(&home.path(""));
    let data = |arguments: &[&str]| home.run(&[arguments, &["--data", "data"]].concat());
    data(&["create", "create.json"]).check(0, &[]);
    data(&["logs", "test", "--follow"]).check(
        0,
        &[
            "(level image, sha256:",
            "in place of the image aws/codebuild/amazonlinux2-x86_64-standard:5.0 there is the toolchain",
        ],
    );
    data(&["status", "test"]).check(0, &["Succeeded"]);
}

//! An image that compiles: Debian's packages as they are on this machine, and this machine's Rust above them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::Builder;

use super::made::{Packed, file, programs};
use super::{TOOLS, root};
use crate::packages::Registered as _;
use crate::packages::registry::Registry;
use crate::run::Home;
use crate::tools;

/// What links, and what the commands of the example are made of.
const PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Those and what they depend on, each by the first alternative; a virtual one is provided by another that is listed.
fn with_dependencies(names: &[&str]) -> BTreeSet<String> {
    let listed = said("dpkg-query", &["-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\n"]);
    let depends = |wanted: &str| {
        let line = listed.lines().find_map(|line| line.split_once('\t').filter(|(name, _)| *name == wanted))?;
        let name = |one: &str| one.split(['|', ' ', ':']).find(|word| !word.is_empty()).map(str::to_owned);
        Some(line.1.split(',').filter_map(name).collect::<Vec<_>>())
    };
    let (mut found, mut ahead) = (BTreeSet::new(), names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    while let Some(name) = ahead.pop() {
        if let Some(needed) = depends(&name)
            && found.insert(name)
        {
            ahead.extend(needed);
        }
    }
    found
}

/// The layer of Debian packages: their files below `/usr`, but for what is there to be read.
fn packages(names: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.follow_symlinks(false);
    let names = with_dependencies(names);
    let names: Vec<&str> = ["-L"].into_iter().chain(names.iter().map(String::as_str)).collect();
    for path in said("dpkg-query", &names).lines().map(Path::new).collect::<BTreeSet<_>>() {
        let is_read = path.starts_with("/usr/share");
        // At the top there are links, which are in the layer below.
        let is_top = path.parent() == Some(Path::new("/"));
        let is_there = !is_top && fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir());
        let moved = ["bin", "lib", "lib64"].into_iter().any(|name| path.starts_with(Path::new("/").join(name)));
        if is_there && !is_read && (moved || path.starts_with("/usr")) {
            let there = path.strip_prefix("/usr").or(path.strip_prefix("/")).unwrap();
            builder.append_path_with_name(path, Path::new("usr").join(there)).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// The layer of this machine's Rust: the compiler, its libraries and Cargo.
fn rust() -> Vec<u8> {
    let top = PathBuf::from(said("rustc", &["--print", "sysroot"]).trim());
    let version = said("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut builder = Builder::new(Vec::new());
    for name in ["bin/cargo", "bin/rustc"] {
        builder.append_path_with_name(top.join(name), Path::new("usr").join(name)).unwrap();
    }
    for entry in fs::read_dir(top.join("lib")).unwrap().map(Result::unwrap).filter(|it| it.path().is_file()) {
        builder.append_path_with_name(entry.path(), Path::new("usr/lib").join(entry.file_name())).unwrap();
    }
    let libraries = Path::new("lib/rustlib").join(host);
    builder.append_dir_all(Path::new("usr").join(&libraries), top.join(&libraries)).unwrap();
    builder.into_inner().unwrap()
}

/// The example in Rust from its crates to what is published. The small form of it is the example in JavaScript.
#[test]
fn the_example_in_rust_is_built_and_tested_in_an_image() {
    let is_full = std::env::var_os("PIPEWRIGHT_TESTS_FULL").is_some_and(|value| value == "1");
    let is_there = ["bwrap", "dpkg-query", "cargo"].iter().all(|name| tools::find(name).is_some());
    if !is_full || !is_there || !Path::new(AUTHORITIES).is_file() {
        return;
    }
    let Some(registry) = Registry::start_open() else { return };
    let home = Home::new();
    let name = format!("{}/rust:1", registry.host());
    let authorities = file(&AUTHORITIES[1..], &fs::read_to_string(AUTHORITIES).unwrap());
    let tools = [&TOOLS[..], &["awk", "cc", "cp", "ln", "sed", "touch"]].concat();
    let image = Packed::of(&[programs(&tools), packages(&PACKAGES), rust(), authorities]);
    image.push(&name);

    let example = root().join("examples/rust-service");
    let copied = Command::new("cp").arg("-R").args([&example, &home.path("code")]).status().unwrap();
    assert!(copied.success());
    let buildspec = fs::read_to_string(example.join("buildspec.yml")).unwrap();
    // It shows that there is no network.
    let offline = "      - '! CARGO_NET_RETRY=0 cargo fetch --locked'\n      - ln -s";
    home.write("code/buildspec.yml", &buildspec.replacen("      - ln -s", offline, 1));
    let grants = fs::read_to_string(example.join("grants.toml")).unwrap();
    let in_image = format!("level = \"image\", images = [{name:?}]");
    let grants = grants.replace("level = \"toolchain\"", &in_image).replace("../../target/rust-service", "public");
    // Registries of a machine without internet have private addresses.
    let grants = grants.replace("\"https", "{ private = true, origin = \"https").replace(".io\"", ".io\" }");
    home.write("grants.toml", &grants);
    let pipeline = example.join("pipeline.json");
    let run = ["run", pipeline.to_str().unwrap(), "--source", "Source=code", "--grants", "grants.toml", "--approve"];
    let ended = home.run(&run);
    let in_image = format!("(level image, {})", image.digest());
    ended.check(0, &["rust-service succeeded", &in_image, "3 cases: 3 succeeded"]);
    let version = said(home.path("public/current/rust-service").to_str().unwrap(), &["--version"]);
    assert_eq!(version, "1.4.0\n");
    home.run(&["image", "remove", &name]).check(0, &["1 images"]);
}

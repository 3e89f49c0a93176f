//! Compiles crates of this workspace to components in a build script, and writes a Rust file that embeds them. Another
//! build script may include this file by `#[path]`.
//!
//! One nested cargo does it, with a target directory of its own (a shared one can hang on the lock of the outer cargo)
//! and without what the outer cargo sets for the host.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// One crate that becomes a component.
pub(crate) struct Guest {
    /// The folder's name, by which the embedded component is found.
    pub(crate) name: String,
    /// The crate's name: a prefix and the folder's name.
    pub(crate) package: String,
    pub(crate) folder: PathBuf,
}

/// The crates below `folder` whose name is their folder's after `prefix-`, in the order of their names.
pub(crate) fn folders(folder: &Path, prefix: &str) -> Vec<Guest> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| fail(&format!("{}: {error}", folder.display())));
    let mut guests: Vec<Guest> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let name = folder.file_name()?.to_str()?.to_owned();
            let package = format!("{prefix}-{name}");
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
            manifest.contains(&format!("name = \"{package}\"")).then_some(Guest { name, package, folder })
        })
        .collect();
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    guests
}

/// Writes `OUT_DIR/NAME.rs` with `pub static NAME: &[(&str, &[u8])]`, the folder names and components of the guests.
///
/// With `BUNDLE_PLUGINS=skip` the list is empty and nothing is compiled.
pub(crate) fn embed(workspace: &Path, name: &str, guests: &[Guest]) {
    println!("cargo::rerun-if-env-changed=BUNDLE_PLUGINS");
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut list = format!("pub static {}: &[(&str, &[u8])] = &[\n", name.to_uppercase());
    if env::var("BUNDLE_PLUGINS").as_deref() != Ok("skip") {
        watch(workspace, guests);
        for (guest, component) in guests.iter().zip(compile(workspace, &out, guests)) {
            let file = out.join(format!("{}.wasm", guest.name));
            write_if_changed(&file, &component);
            list += &format!("    ({:?}, include_bytes!({:?})),\n", guest.name, file.display().to_string());
        }
    }
    write_if_changed(&out.join(format!("{name}.rs")), (list + "];\n").as_bytes());
}

/// Everything that a guest is made of, and nothing of the host or the cases. A guest more or less changes Cargo.lock.
fn watch(workspace: &Path, guests: &[Guest]) {
    let shared = ["sdk/rust/src", "sdk/rust/macros", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
    let shared = shared.iter().map(|path| workspace.join(path));
    let folders = guests.iter().map(|guest| &guest.folder);
    let own = folders.flat_map(|folder| ["Cargo.toml", "src"].map(|path| folder.join(path)));
    for path in shared.chain(own) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

fn compile(workspace: &Path, out: &Path, guests: &[Guest]) -> Vec<Vec<u8>> {
    ensure_target();
    // OUT_DIR is TARGET_DIR/PROFILE/build/CRATE-HASH/out: one directory serves the profiles, clippy and check together.
    let target_dir = out.ancestors().nth(4).unwrap_or(out).join("plugins");
    let mut cargo = clean(Command::new(variable("CARGO")));
    cargo.current_dir(workspace).args(["build", "--locked", "--profile", "plugin", "--target", TARGET, "--target-dir"]);
    cargo.arg(&target_dir);
    for guest in guests {
        cargo.args(["-p", &guest.package]);
    }
    // What a build script prints to stdout is read as instructions.
    match cargo.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        result => fail(&format!("compiling {} failed ({result:?}): {cargo:?}", workspace.display())),
    }
    let built = target_dir.join(TARGET).join("plugin");
    guests.iter().map(|guest| read_component(&built.join(guest.package.replace('-', "_") + ".wasm"))).collect()
}

fn read_component(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap_or_else(|error| fail(&format!("{}: {error}", file.display())));
    if !bytes.starts_with(COMPONENT_HEADER) {
        fail(&format!("{} is not a component", file.display()));
    }
    bytes
}

/// The outer cargo gives a build script its flags, wrappers (clippy!) and profile: none may reach the guests.
fn clean(mut command: Command) -> Command {
    const KEPT: [&str; 2] = ["CARGO_HOME", "CARGO_MAKEFLAGS"];
    const KEPT_PREFIXES: [&str; 5] = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    const REMOVED: [&str; 15] = [
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC_BOOTSTRAP",
        "RUSTC_LINKER",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUST_BACKTRACE",
        "TARGET",
    ];
    for (key, _) in env::vars_os() {
        let Some(key) = key.to_str() else { continue };
        let kept = KEPT.contains(&key) || KEPT_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        if (key.starts_with("CARGO") && !kept) || REMOVED.contains(&key) {
            command.env_remove(key);
        }
    }
    // Beats the `rustflags` of every configuration file.
    command.env("CARGO_ENCODED_RUSTFLAGS", "");
    command
}

fn ensure_target() {
    if has_target() {
        return;
    }
    let mut rustup = clean(Command::new("rustup"));
    rustup.args(["target", "add", TARGET]);
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        rustup.args([OsStr::new("--toolchain"), &toolchain]);
    }
    let cause = match rustup.output() {
        Ok(output) if output.status.success() && has_target() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("rustup cannot be run: {error}"),
    };
    fail(&format!(
        "the plugins need the Rust target {TARGET}, and it could not be added.\n\
         Run `rustup target add {TARGET}`, or install rust-std for it by your distribution's means;\n\
         or set BUNDLE_PLUGINS=skip to build without plugins.\n{cause}"
    ));
}

fn has_target() -> bool {
    let mut rustc = clean(Command::new(variable("RUSTC")));
    rustc.args(["--print", "target-libdir", "--target", TARGET]).output().is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

/// A variable that cargo sets. Read when the build script runs: one that was compiled for another checkout may be run here.
pub(crate) fn variable(name: &str) -> std::ffi::OsString {
    env::var_os(name).unwrap_or_else(|| fail(&format!("{name} is not set; this runs as a build script only")))
}

/// An unchanged file must keep its time, or everything that embeds it is compiled again.
pub(crate) fn write_if_changed(file: &Path, bytes: &[u8]) {
    if fs::read(file).ok().as_deref() != Some(bytes) {
        fs::write(file, bytes).unwrap_or_else(|error| fail(&format!("{}: {error}", file.display())));
    }
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    exit(1)
}

//! The component that a command is about: found, or built with cargo, and loaded.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use pipewright_sandbox::{LoadError, Plugin, Sandbox, Symbols, binary};
use serde::Deserialize;
use tokio::process::Command as Process;

use super::super::exit::Ended;
use super::languages::Language;
use super::metadata;
use pipewright_base::home::UserFolders;
use pipewright_packages::plugins;

/// The target for which plugins are built.
const TARGET: &str = "wasm32-wasip2";
/// Cargo's variable for where it puts what it builds on the way: `build.build-dir` of its configuration.
const BUILD_DIRECTORY: &str = "CARGO_BUILD_BUILD_DIR";

/// A component as it is shipped, and the same with debug information where there is some.
#[derive(Clone)]
pub(super) struct Component {
    pub(super) bytes: Vec<u8>,
    pub(super) symbols: Option<Vec<u8>>,
    /// That of the folder's manifest.
    pub(super) version: Option<String>,
}

/// The component at a path: a file, or what the crate or the Python or JavaScript plugin in a folder makes.
pub(super) async fn find(path: &Path) -> Result<Component, Ended> {
    if path.is_dir() {
        let file = match Language::of(path) {
            Some(language) => language.build(path).await?,
            None => build(path).await?,
        };
        let built = plugins::read(&file).map_err(Ended::usage)?;
        let mut bytes = binary::stripped(&built).map_err(Ended::usage)?;
        let symbols = binary::has_debug_information(&built).then_some(built);
        // For every command, so that what was tested is what is shipped, and is compiled once.
        let metadata = metadata::of(path).await;
        let version = metadata.version.clone();
        metadata.append_to(&mut bytes);
        return Ok(Component { bytes, symbols, version });
    }
    let bytes = plugins::read(path).map_err(|error| match path.exists() {
        true => Ended::usage(error),
        false => Ended::usage(format!("{error}; give the folder of a plugin, or a component")),
    })?;
    let beside = path.with_extension(plugins::DEBUG_EXTENSION);
    let symbols = if beside.exists() { Some(plugins::read(&beside).map_err(Ended::usage)?) } else { None };
    let symbols = symbols.or_else(|| binary::has_debug_information(&bytes).then(|| bytes.clone()));
    Ok(Component { bytes, symbols, version: None })
}

/// The folder in which the cases of a plugin lie: beside its manifest or its component.
pub(super) fn folder(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

/// Loads the component that was found at a path.
pub(super) async fn load(sandbox: &Sandbox, path: &Path, component: Component) -> Result<Plugin, Ended> {
    let plugin = match sandbox.load(component.bytes.into()).await {
        Ok(plugin) => plugin,
        Err(LoadError::Host(error)) => return Err(Ended::Host(error)),
        Err(error @ LoadError::NotAComponent(_)) => {
            let mend = "`pipewright plugin build` makes one of a plugin's folder";
            return Err(Ended::usage(format!("{}: {error}; {mend}", path.display())));
        }
        Err(error) => return Err(Ended::usage(format!("{}: {error}", path.display()))),
    };
    Ok(match component.symbols {
        Some(symbols) => plugin.with_symbols(Symbols::new(move || Some(symbols.clone()))),
        None => plugin,
    })
}

/// What cargo says of each thing that it made.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds the crate in a folder as its author would, and gives the file of its component. What cargo says to a person goes
/// to standard error.
async fn build(folder: &Path) -> Result<PathBuf, Ended> {
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|error| {
        Ended::usage(format!(
            "{}: {error}, nor is there a pyproject.toml or a package.json: give the folder of a plugin, or a component; \
             `pipewright plugin new TEAM/NAME --kind KIND` begins a plugin",
            manifest.display()
        ))
    })?;
    ensure_target().await?;
    let mut cargo = Process::new("cargo");
    cargo
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .kill_on_drop(true);
    // What all plugins are built of is built and kept once; cargo before 1.91 does not know the variable. Who says where things
    // are built is heard.
    if ["CARGO_TARGET_DIR", BUILD_DIRECTORY].iter().all(|name| std::env::var_os(name).is_none()) {
        cargo.env(BUILD_DIRECTORY, UserFolders::find()?.cargo());
    }
    cargo.arg("--manifest-path").arg(&manifest).stdout(Stdio::piped());
    // Not `output`, which takes what the compiler says to the author.
    let built = async { cargo.spawn()?.wait_with_output().await }.await;
    let built =
        built.map_err(|error| Ended::usage(format!("cargo, which builds the plugin, cannot be run: {error}")))?;
    if !built.status.success() {
        return Err(Ended::usage(format!("{} cannot be built for {TARGET}; see above", manifest.display())));
    }
    let is_component = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(is_component)
        .ok_or_else(|| {
            let wants = "it needs `crate-type = [\"cdylib\"]` in its `[lib]`";
            Ended::usage(format!("{} makes no component: {wants}", manifest.display()))
        })
}

/// Adds the target where rustup can. Where Rust came another way, cargo says itself what is missing.
async fn ensure_target() -> Result<(), Ended> {
    let libraries = Process::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().await;
    let is_there = |output: &std::process::Output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir();
    if libraries.is_ok_and(|output| is_there(&output)) {
        return Ok(());
    }
    let added = Process::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status().await;
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Ended::usage(format!(
            "Rust's target {TARGET} is not installed and could not be added; run `rustup target add {TARGET}`, or install \
             its rust-std as your distribution does"
        ))),
    }
}

//! Compiles the first-party plugins to components, and writes a Rust file that embeds them; and another with what a new
//! plugin begins with: the SDKs, the interface and the templates.

#[path = "components.rs"]
mod components;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What `pipewright plugin new` writes, or makes something of.
const KIT: [&str; 10] = [
    "Cargo.toml",
    "sdk/rust/Cargo.toml",
    "sdk/rust/src",
    "sdk/rust/macros/Cargo.toml",
    "sdk/rust/macros/src",
    "sdk/python",
    "sdk/javascript",
    "sdk/template",
    "wit/deps",
    "wit/plugin.wit",
];

/// Of several plugins each.
const LIBRARIES: [&str; 7] =
    ["build-jobs", "buildspec", "git-objects", "reports", "site-references", "source-files", "test-cases"];

fn main() {
    let workspace = Path::new(&components::variable("CARGO_MANIFEST_DIR")).join("../..");
    let plugins = components::folders(&workspace.join("plugins"), "plugin");
    for library in LIBRARIES {
        println!("cargo::rerun-if-changed={}", workspace.join("plugins").join(library).join("src").display());
    }
    components::embed(&workspace, "plugins", &plugins);
    embed_kit(&workspace);
}

/// Writes `OUT_DIR/kit.rs` with `pub static KIT: &[(&str, &[u8])]`, the paths and contents of the files.
fn embed_kit(workspace: &Path) {
    let mut list = "pub static KIT: &[(&str, &[u8])] = &[\n".to_owned();
    for path in KIT {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
        for file in files(&workspace.join(path)) {
            let name = file.strip_prefix(workspace).unwrap_or(&file).display().to_string();
            let _ = writeln!(list, "    ({name:?}, include_bytes!({:?})),", file.display().to_string());
        }
    }
    let out = Path::new(&components::variable("OUT_DIR")).join("kit.rs");
    components::write_if_changed(&out, (list + "];\n").as_bytes());
}

/// The file itself, or all below the folder, in the order of their names.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries.iter().flat_map(|entry| files(entry)).collect()
}

//! Compiles the first-party plugins to components, and writes a Rust file that embeds them.

#[path = "components.rs"]
mod components;

use std::path::Path;

fn main() {
    let workspace = Path::new(&components::variable("CARGO_MANIFEST_DIR")).join("../..");
    let plugins = components::folders(&workspace.join("plugins"), "plugin");
    // Libraries of two plugins each.
    for library in ["git-objects", "site-references"] {
        println!("cargo::rerun-if-changed={}", workspace.join("plugins").join(library).join("src").display());
    }
    components::embed(&workspace, "plugins", &plugins);
}

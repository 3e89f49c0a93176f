//! Compiles the guest programs to components, as the bundle does with the first-party plugins.

#[path = "../../plugins/bundle/components.rs"]
mod components;

use std::path::Path;

fn main() {
    let here = components::variable("CARGO_MANIFEST_DIR");
    let here = Path::new(&here);
    components::embed(&here.join("../.."), "guests", &components::folders(here, "guest"));
}

//! Guest programs for tests, as components: `GUESTS` holds the folder's name and the bytes of each.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The component of `tests/guests/NAME`.
///
/// # Panics
/// There is none: a test that would not run must not pass.
pub fn get(name: &str) -> &'static [u8] {
    let found = GUESTS.iter().find(|(found, _)| *found == name);
    found
        .map(|(_, component)| *component)
        .unwrap_or_else(|| panic!("no guest program {name}: was BUNDLE_PLUGINS=skip?"))
}

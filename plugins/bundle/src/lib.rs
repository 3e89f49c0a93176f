//! The first-party plugins as components, compiled by the build script: `PLUGINS` holds the folder's name and the bytes of
//! each. It is empty when `BUNDLE_PLUGINS=skip` was set at build time (for editors and lint jobs). `KIT` holds what a new
//! plugin begins with, files of this repository by their paths: SDKs, the interface, templates.

include!(concat!(env!("OUT_DIR"), "/plugins.rs"));
include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// The component of `plugins/NAME`.
pub fn get(name: &str) -> Option<&'static [u8]> {
    PLUGINS.iter().find(|(found, _)| *found == name).map(|(_, component)| *component)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_plugin_is_a_component() {
        for (name, component) in super::PLUGINS {
            assert_eq!(component.get(..8), Some(b"\0asm\x0d\0\x01\0".as_slice()), "{name}");
            assert_eq!(super::get(name), Some(*component));
        }
    }
}

//! What lies in a component's file besides its code: debug information, which is taken out of what is shipped, and
//! metadata, which is put in.
//!
//! Knows the binary format's sections, and nothing of what a component does.

use wasm_encoder::{CustomSection, RawSection, Section as _};
use wasmparser::{Parser, Payload};

const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
/// The binary format's ids of the sections of a component that hold a core module and a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Facts about a component that tools of the field know by these names of custom sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// One line on what it is.
    pub description: Option<String>,
    pub version: Option<String>,
    /// SPDX expression.
    pub licenses: Option<String>,
    /// Where its source is.
    pub source: Option<String>,
    /// Of its source, e.g. a commit.
    pub revision: Option<String>,
}

/// What is no component.
#[derive(Debug, thiserror::Error)]
#[error("this is not a WebAssembly component: {0}")]
pub struct Malformed(#[from] wasmparser::BinaryReaderError);

/// The component without debug information and names, also in what is nested in it.
pub fn stripped(component: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (mut output, mut outer) = (Vec::with_capacity(component.len()), Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { range, .. } => output.extend_from_slice(&component[range.clone()]),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => outer.push(std::mem::take(&mut output)),
            Payload::End(_) => {
                let Some(around) = outer.pop() else { break };
                let nested = std::mem::replace(&mut output, around);
                let id = if nested.starts_with(MODULE_HEADER) { CORE_MODULE } else { COMPONENT };
                RawSection { id, data: &nested }.append_to(&mut output);
            }
            Payload::CustomSection(section) if is_for_debugging(section.name()) => {}
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    RawSection { id, data: &component[range] }.append_to(&mut output);
                }
            }
        }
    }
    Ok(output)
}

/// Whether it has debug information of its own.
pub fn has_debug_information(component: &[u8]) -> bool {
    Parser::new(0)
        .parse_all(component)
        .map_while(Result::ok)
        .any(|payload| matches!(payload, Payload::CustomSection(section) if section.name() == ".debug_info"))
}

/// The names of what a component imports and exports, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// What every tool exports, in one version or another.
const COMMAND: &str = "wasi:cli/run@";
/// The same of every plugin, whatever else it exports.
const PLUGIN: &str = "pipewright:plugin/";

impl Interfaces {
    /// Whether it is a command-line tool, and no plugin.
    pub fn is_tool(&self) -> bool {
        let exports = |begin: &str| self.exports.iter().any(|export| export.starts_with(begin));
        exports(COMMAND) && !exports(PLUGIN)
    }

    /// Of the component itself, not of what is nested in it.
    pub fn of(component: &[u8]) -> Result<Self, Malformed> {
        let (mut interfaces, mut depth) = (Self::default(), 0);
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        interfaces.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        interfaces.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(interfaces)
    }
}

/// Everything else may mean something to somebody, like what the component model's tools need of a module.
fn is_for_debugging(section: &str) -> bool {
    section.starts_with(".debug") || matches!(section, "name" | "component-name" | "producers" | "target_features")
}

impl Metadata {
    /// Of the component itself, not of what is nested in it. What is not text is left out.
    pub fn of(component: &[u8]) -> Result<Self, Malformed> {
        let (mut metadata, mut depth) = (Self::default(), 0);
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::CustomSection(section) if depth == 1 => {
                    let text = String::from_utf8(section.data().to_vec()).ok();
                    if let Some((_, place)) = metadata.places().into_iter().find(|(name, _)| *name == section.name()) {
                        *place = text;
                    }
                }
                _ => {}
            }
        }
        Ok(metadata)
    }

    /// Adds what is known to the end of a component that has none of it yet.
    pub fn append_to(mut self, component: &mut Vec<u8>) {
        for (name, text) in self.places() {
            if let Some(text) = text {
                CustomSection { name: name.into(), data: text.as_bytes().into() }.append_to(component);
            }
        }
    }

    fn places(&mut self) -> [(&'static str, &mut Option<String>); 5] {
        [
            ("description", &mut self.description),
            ("version", &mut self.version),
            ("licenses", &mut self.licenses),
            ("source", &mut self.source),
            ("revision", &mut self.revision),
        ]
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{Component, ComponentSectionId, Module};

    use super::*;

    fn custom(name: &'static str) -> CustomSection<'static> {
        CustomSection { name: name.into(), data: b"text".as_slice().into() }
    }

    /// A component with a module and a component in it, each with the custom sections.
    fn nested(sections: &[&'static str]) -> Vec<u8> {
        let mut module = Module::new();
        let mut inner = Component::new();
        let mut component = Component::new();
        for name in sections {
            module.section(&custom(name));
            inner.section(&custom(name));
        }
        component.section(&wasm_encoder::ModuleSection(&module));
        component.section(&RawSection { id: ComponentSectionId::Component.into(), data: &inner.finish() });
        for name in sections {
            component.section(&custom(name));
        }
        component.finish()
    }

    #[test]
    fn only_what_is_for_debugging_goes() {
        let all = ["kept", ".debug_line", "name", "description", "producers"];
        assert_eq!(stripped(&nested(&all)).expect("a component"), nested(&["kept", "description"]));
        assert_eq!(stripped(&nested(&[])).expect("a component"), nested(&[]));
        assert!(stripped(&nested(&all)[..40]).is_err());
    }

    #[test]
    fn metadata_is_read_as_it_was_written() {
        let metadata = Metadata {
            description: Some("does something".to_owned()),
            revision: Some("4f2a".to_owned()),
            ..Metadata::default()
        };
        let mut component = nested(&["version"]);
        component.truncate(component.len() - 14);
        metadata.clone().append_to(&mut component);
        assert_eq!(Metadata::of(&component).expect("a component"), metadata, "nothing of what is nested");
    }
}

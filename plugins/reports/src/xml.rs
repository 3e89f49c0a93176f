//! Owns reading of XML, element by element. Knows no format.
//!
//! quick-xml is a pull parser that expands no entity and opens no file: a document type is passed over, and a reference to
//! anything but XML's own five entities is a mistake. So a report of a few bytes cannot become a large text.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use crate::{ATTRIBUTES_MAX, DEPTH_MAX, Mistake};

/// An element that is open, or ends: its children were seen, and its own text is whole when it ends.
pub(crate) struct Element {
    /// Without a namespace's prefix.
    pub name: String,
    attributes: Vec<(String, String)>,
    pub text: String,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// As long as a name may be; empty where it is not there.
    pub fn attribute_text(&self, name: &str) -> String {
        crate::name(self.attribute(name).unwrap_or_default())
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.attribute(name)?.trim().parse().ok()
    }
}

/// The elements that an ending one is in, the root first.
pub(crate) struct Above<'a>(pub &'a [Element]);

impl<'a> Above<'a> {
    pub fn parent(&self) -> &'a str {
        self.0.last().map_or("", |element| element.name.as_str())
    }

    /// The nearest one of a name.
    pub fn nearest(&self, name: &str) -> Option<&'a Element> {
        self.0.iter().rev().find(|element| element.name == name)
    }

    pub fn attribute_of(&self, name: &str, attribute: &str) -> String {
        self.nearest(name).map(|element| element.attribute_text(attribute)).unwrap_or_default()
    }
}

/// Shows `end` each element when it ends, in the order of the ends. The root must have one of the given names.
pub(crate) fn walk(
    text: &str,
    roots: &[&str],
    mut end: impl FnMut(&Element, &Above<'_>) -> Result<(), Mistake>,
) -> Result<(), Mistake> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut has_root = false;
    loop {
        let before = reader.buffer_position();
        let here = |message: String| at(text, before, message);
        match reader.read_event().map_err(|error| here(format!("the XML is broken: {error}")))? {
            Event::Start(start) => {
                let element = element(&start).map_err(here)?;
                if open.len() == DEPTH_MAX {
                    return Err(here(format!("more than {DEPTH_MAX} elements within each other")));
                }
                if open.is_empty() {
                    if has_root || !roots.contains(&element.name.as_str()) {
                        let expected = roots.join("> or <");
                        return Err(here(format!(
                            "expected <{expected}>, found <{}>: is the format right?",
                            element.name
                        )));
                    }
                    has_root = true;
                }
                open.push(element);
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { return Err(here("an element ends that is not open".to_owned())) };
                end(&element, &Above(&open))?;
            }
            Event::Text(content) => push(&mut open, &content.xml10_content()),
            Event::CData(content) => push(&mut open, &content.into_inner()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => push(&mut open, character.encode_utf8(&mut [0; 4])),
                _ => match resolve_xml_entity(&reference.into_inner()) {
                    Some(text) => push(&mut open, text),
                    None => return Err(here("an entity is used that XML does not have: none is expanded".to_owned())),
                },
            },
            Event::Eof => break,
            _ => {}
        }
    }
    match open.last() {
        Some(element) => {
            Err(at(text, reader.buffer_position(), format!("<{}> has no end: is the report whole?", element.name)))
        }
        None if !has_root => Err(Mistake::whole("the report is empty")),
        None => Ok(()),
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text += text;
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut attributes = Vec::new();
    // The check for attributes that are there twice compares each with all others.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| format!("an attribute is broken: {error}"))?;
        if attributes.len() == ATTRIBUTES_MAX {
            return Err(format!("an element has more than {ATTRIBUTES_MAX} attributes"));
        }
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|error| format!("an attribute is broken: {error}"))?;
        let name = attribute.key.local_name();
        attributes.push((name.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.local_name().as_ref().to_owned(), attributes, text: String::new() })
}

fn at(text: &str, position: u64, message: String) -> Mistake {
    let end = usize::try_from(position).unwrap_or(text.len()).min(text.len());
    let lines = text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count();
    Mistake { line: u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1), message }
}

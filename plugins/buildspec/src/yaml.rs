//! Owns YAML: a document as a tree whose nodes know their line and column, and whose scalars are the text that was written.
//! Knows nothing of buildspecs.
//!
//! The events come from saphyr-parser: the event parser under the YAML libraries for Rust that still get releases, MIT or
//! Apache-2.0, without `unsafe` C translations below it. A scalar stays what the file says (`3.10` is no number here), and
//! aliases are ours to expand, so that a small file cannot become a large tree. The forks of serde_yaml lose the positions,
//! and turn `3.10` into a number before anybody can ask.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::problem::{At, Problem};

/// Against a file that is no buildspec: the largest seen in public is under 100 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Against a stack of brackets. A buildspec itself is seven levels deep.
pub const DEPTH_MAX: usize = 32;
/// Against aliases of aliases: what the tree may hold when each alias is replaced by what it stands for.
pub const EXPANDED_BYTES_MAX: usize = 4 << 20;
/// Of one map, with what `<<` adds to it. Against maps that nobody wrote.
pub const MAP_ENTRIES_MAX: usize = 1_000;
/// What a node weighs beside its text, as that limit counts it.
const NODE_BYTES: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub at: At,
    pub key: String,
    pub value: Node,
    /// Whether `<<` added it: what is written in the map itself takes its place.
    is_merged: bool,
}

impl Node {
    /// Nothing was written, or one of YAML's words for nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// For people: what stands here instead of something else.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "subkeys",
        }
    }

    fn weight(&self) -> usize {
        NODE_BYTES
            + match &self.kind {
                Kind::Scalar { text, .. } => text.len(),
                Kind::List(items) => items.iter().map(Node::weight).sum(),
                Kind::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.weight()).sum(),
            }
    }
}

/// The one document of `text`.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the file has {} bytes; {DOCUMENT_BYTES_MAX} is the most", text.len());
        return Err(Problem::new(At::START, "", message, "move long scripts into files of their own"));
    }
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan_problem(text, &error))?;
        tree.take(event, At::of(&span.start))?;
    }
    match tree.root {
        Some(root) if !root.is_null() => Ok(root),
        _ => Err(Problem::new(At::START, "", "the file is empty", "a buildspec begins with `version: 0.2`")),
    }
}

/// A collection whose end has not come yet.
struct Open {
    at: At,
    anchor: usize,
    kind: Kind,
    /// In a map: the key whose value is next.
    key: Option<(At, String)>,
    /// In a map: where each key is among the entries.
    places: HashMap<String, usize>,
}

#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    documents: usize,
    expanded_bytes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second document begins";
                    return Err(Problem::new(at, "", message, "one file is one buildspec: remove this `---`"));
                }
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    let message = "an alias stands inside what it stands for";
                    return Err(Problem::new(at, "", message, "write the value out"));
                };
                self.spend(at, &node)?;
                self.place(Node { at, kind: node.kind }, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                known_tag(at, tag.as_deref())?;
                if text.contains('\0') {
                    return Err(Problem::new(
                        at,
                        "",
                        "a NUL is in this text",
                        "no program can be given one: remove it",
                    ));
                }
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.place(Node { at, kind: Kind::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                known_tag(at, tag.as_deref())?;
                self.enter(at, anchor, Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                known_tag(at, tag.as_deref())?;
                self.enter(at, anchor, Kind::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.place(Node { at: open.at, kind: open.kind }, open.anchor),
                None => Ok(()),
            },
        }
    }

    fn enter(&mut self, at: At, anchor: usize, kind: Kind) -> Result<(), Problem> {
        if self.open.len() == DEPTH_MAX {
            return Err(Problem::new(
                at,
                "",
                format!("more than {DEPTH_MAX} levels"),
                "no key of a buildspec is so deep",
            ));
        }
        self.open.push(Open { at, anchor, kind, key: None, places: HashMap::new() });
        Ok(())
    }

    /// Before a node is copied.
    fn spend(&mut self, at: At, node: &Node) -> Result<(), Problem> {
        self.expanded_bytes += node.weight();
        if self.expanded_bytes > EXPANDED_BYTES_MAX {
            let message = format!("anchors and aliases stand for more than {EXPANDED_BYTES_MAX} bytes");
            return Err(Problem::new(at, "", message, "use fewer of them, or scripts in files"));
        }
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.spend(node.at, &node)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let places = &mut open.places;
        match (&mut open.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((at, key))) => {
                put(entries, places, Entry { at, key, value: node, is_merged: false })?;
            }
            (_, None) => match node.kind {
                Kind::Scalar { text, .. } => open.key = Some((node.at, text)),
                _ => {
                    let mend = "quote a text that begins with `{` or `[`";
                    return Err(Problem::new(node.at, "", format!("{} stands where a key should", node.what()), mend));
                }
            },
            (Kind::Scalar { .. }, Some(_)) => {}
        }
        Ok(())
    }
}

/// Adds an entry to a map: keys are there once, and `<<` adds those of another map that are not there yet.
fn put(entries: &mut Vec<Entry>, places: &mut HashMap<String, usize>, entry: Entry) -> Result<(), Problem> {
    if entry.key == "<<" {
        let maps = match entry.value.kind {
            Kind::List(maps) => maps,
            _ => vec![entry.value],
        };
        for map in maps {
            let Kind::Map(merged) = map.kind else {
                let mend = "let it stand for a map's anchor";
                return Err(Problem::new(entry.at, "<<", "`<<` merges maps only", mend));
            };
            for one in merged {
                if !places.contains_key(&one.key) {
                    push(entries, places, entry.at, Entry { is_merged: true, ..one })?;
                }
            }
        }
        return Ok(());
    }
    match places.get(&entry.key).map(|place| &mut entries[*place]) {
        Some(there) if there.is_merged => *there = entry,
        Some(there) => {
            let message = format!("`{}` is there twice, the first time in line {}", entry.key, there.at.line);
            return Err(Problem::new(entry.at, &entry.key, message, "remove one of them"));
        }
        None => push(entries, places, entry.at, entry)?,
    }
    Ok(())
}

fn push(entries: &mut Vec<Entry>, places: &mut HashMap<String, usize>, at: At, entry: Entry) -> Result<(), Problem> {
    if entries.len() == MAP_ENTRIES_MAX {
        return Err(Problem::new(at, "", format!("more than {MAP_ENTRIES_MAX} keys"), "put some elsewhere"));
    }
    places.insert(entry.key.clone(), entries.len());
    entries.push(entry);
    Ok(())
}

fn known_tag(at: At, tag: Option<&Tag>) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            let message = format!("`!{}` is a YAML tag here", tag.suffix);
            Err(Problem::new(at, "", message, "quote a text that begins with `!`, or write it below a `|`"))
        }
        _ => Ok(()),
    }
}

fn scan_problem(text: &str, error: &saphyr_parser::ScanError) -> Problem {
    let at = At::of(error.marker());
    let line = text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
    let indentation = &line[..line.len() - line.trim_start().len()];
    let mend = if indentation.contains('\t') {
        "indent with spaces: this line begins with a tab"
    } else {
        "quote a text that has `: `, ` #`, or begins with one of {}[]*&!%@`, or write it below a `|`"
    };
    Problem::new(at, "", error.info(), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree on one line.
    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar { text, .. } => text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|entry| format!("{}: {}", entry.key, shown(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn documents() {
        let check = |text: &str, expected: &str| {
            let tree = read(text).map_or_else(|problem| problem.to_string(), |root| shown(&root));
            assert!(
                if expected.ends_with('…') {
                    tree.starts_with(expected.trim_end_matches('…'))
                } else {
                    tree == expected
                },
                "{text}\n{tree}"
            );
        };
        check("a: 3.10\nb: [1, ~, \"x\"]\r\nc:\r\n", "{a: 3.10, b: [1, ~, x], c: }");
        check("a: |\n  one\n  two\nb: >-\n  one\n  two\n", "{a: one\ntwo\n, b: one two}");
        check("\u{feff}a: b", "{a: b}");
        check(
            "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz:\n  b: 4\n  <<: [*x]\n",
            "{x: {a: 1, b: 2}, y: {a: 1, b: 3}, z: {b: 4, a: 1}}",
        );
        check(
            "a: 1\nb: 2\na: 3\n",
            "line 3, column 1: a: `a` is there twice, the first time in line 1: remove one of them",
        );
        check("a: &a [*a]", "line 1, column 8: an alias stands inside what it stands for: write the value out");
        check("a: b\n---\nc: d\n", "line 2, column 1: a second document begins…");
        check("a:\n\tb: c\n", "line 2, …");
        check("a: !Sub x\n", "line 1, column 4: `!Sub` is a YAML tag here…");
        check("? {a: b}\n: c\n", "line 1, column 3: subkeys stands where a key should…");
        check("# nothing\n", "line 1, column 1: the file is empty…");
        check(&"[".repeat(100), "line 1, column 33: more than 32 levels…");
        check(&"x".repeat(DOCUMENT_BYTES_MAX + 1), "line 1, column 1: the file has 1048577 bytes…");
    }

    #[test]
    fn aliases_are_bounded() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{below}]\n");
        }
        let problem = read(&text).unwrap_err();
        assert!(problem.message.starts_with("anchors and aliases stand for more than 4194304 bytes"), "{problem}");
    }

    /// What is merged counts as what is written, also where it comes from many maps.
    #[test]
    fn merged_keys_are_bounded() {
        let maps = |from: usize, maps: usize, keys: usize| {
            let map = |map: usize| {
                let keys = (0..keys).map(|key| format!("k{}: ", from + map * keys + key)).collect::<Vec<_>>();
                format!("{{{}}}", keys.join(", "))
            };
            (0..maps).map(map).collect::<Vec<_>>().join(", ")
        };
        let check = |text: &str, expected: Option<&str>| {
            let told = read(text).err().map(|problem| problem.to_string());
            assert_eq!(told.as_deref(), expected);
        };
        let most = maps(0, 10, MAP_ENTRIES_MAX / 10);
        check(&format!("<<: [{most}]"), None);
        check(&format!("<<: [{most}, {most}]"), None);
        let many = Some("line 1, column 1: more than 1000 keys: put some elsewhere");
        check(&format!("<<: [{most}, {{k: }}]"), many);
        check(&format!("<<: [{}]", maps(0, 90, MAP_ENTRIES_MAX)), many);
        check(&format!("<<: [{most}]\nk5: again"), None);
        check(&format!("<<: [{most}]\nk: "), Some("line 2, column 1: more than 1000 keys: put some elsewhere"));
    }
}

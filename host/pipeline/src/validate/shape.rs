//! Reads JSON against a table of shapes: type, presence, length, pattern, enumeration, range (S4).
//!
//! Owns how a shape is written down, the walk, the words of what is wrong, and AWS's words for the same. Must not know any
//! shape of CodePipeline's (`shapes`, `requests`) or a rule between members (`rules`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{ErrorClass, PROBLEMS_MAX, Problem};

/// No limit of the shape's own; the document's size is one.
pub(crate) const ANY: usize = usize::MAX;

/// What a JSON value must look like.
#[derive(Debug)]
pub(crate) enum Shape {
    Text { chars_min: usize, chars_max: usize, pattern: Option<&'static Pattern> },
    Integer { min: i64, max: i64 },
    Boolean,
    Time,
    Choice(&'static [&'static str]),
    List { items_min: usize, items_max: usize, of: &'static Shape },
    Map { entries_max: usize, key: &'static Shape, value: &'static Shape },
    Structure(&'static [Member]),
}

/// A member of a structure; members that are not in the table are ignored (S4).
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// A regular expression for a whole string, with the text that AWS writes into its message.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    pub(crate) regex: LazyLock<Regex>,
}

pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

pub(crate) const fn text(chars_min: usize, chars_max: usize) -> Shape {
    Shape::Text { chars_min, chars_max, pattern: None }
}

pub(crate) const fn pattern(chars_min: usize, chars_max: usize, pattern: &'static Pattern) -> Shape {
    Shape::Text { chars_min, chars_max, pattern: Some(pattern) }
}

pub(crate) const fn list(items_min: usize, items_max: usize, of: &'static Shape) -> Shape {
    Shape::List { items_min, items_max, of }
}

pub(crate) const fn map(entries_max: usize, key: &'static Shape, value: &'static Shape) -> Shape {
    Shape::Map { entries_max, key, value }
}

/// Statics of `Pattern`, by name and text.
macro_rules! patterns {
    ($($visibility:vis $name:ident = $text:literal;)*) => {
        $($visibility static $name: $crate::validate::shape::Pattern = $crate::validate::shape::Pattern {
            text: $text,
            regex: std::sync::LazyLock::new(|| {
                regex_lite::Regex::new(concat!("^(?:", $text, ")$")).expect("the pattern is a constant")
            }),
        };)*
    };
}
pub(crate) use patterns;

/// Where in the document the walk is.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Item(usize),
    /// a key of a map, which the sender chose
    Key(&'a str),
}

impl<'a> Path<'a> {
    fn then(&'a self, step: Step<'a>) -> Self {
        Path { parent: Some(self), step }
    }

    /// The path as AWS writes it: `pipeline.stages.1.member.name`.
    fn aws(&self) -> String {
        let parent = self.parent.map(|parent| parent.aws() + ".").unwrap_or_default();
        match self.step {
            Step::Member(name) => parent + name,
            Step::Item(index) => format!("{parent}{}.member", index + 1),
            Step::Key(key) => format!("{parent}{}.member", Clipped(key)),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Member(name) if self.parent.is_none() => f.write_str(name),
            Step::Member(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, ".{}", Clipped(key)),
        }
    }
}

/// At most 60 characters of a text of the sender's.
struct Clipped<'a>(&'a str);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(60) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// How AWS words a broken constraint depends on what holds the value.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Structure,
    List(&'a Path<'a>),
    MapKeys(&'a Path<'a>),
    MapValues(&'a Path<'a>),
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
    /// AWS's words for the problems, without the heading that counts them
    pub(crate) constraints: Vec<String>,
    /// The paths of what could not be read, and was left out or replaced by a stand-in.
    pub(crate) unread: BTreeSet<String>,
}

impl Reader {
    /// Reads a document against its shape. What comes back always has the shape's types: what is optional and unreadable is
    /// left out, what is required gets a stand-in, and both are noted in `unread`, so that the rest can still be judged.
    pub(crate) fn document(&mut self, shape: &'static Shape, document: &Value) -> Value {
        match (shape, document) {
            (Shape::Structure(members), Value::Object(object)) => self.structure(members, object, None),
            _ => {
                let path = Path { parent: None, step: Step::Member("input") };
                self.value(shape, document, &path, Holder::Structure).unwrap_or_else(|| stand_in(shape))
            }
        }
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, path: &Path<'_>, holder: Holder<'_>) -> Option<Value> {
        match (shape, value) {
            (Shape::Text { .. }, Value::String(text)) => {
                self.text(shape, text, path, holder);
                Some(value.clone())
            }
            (Shape::Choice(choices), Value::String(text)) => {
                if choices.contains(&text.as_str()) {
                    return Some(value.clone());
                }
                let wrong = format!("`{}` is not allowed", Clipped(text));
                self.broken(shape, path, holder, wrong, format!("use one of {}", choices.join(", ")), 0);
                self.unreadable(path)
            }
            (Shape::Integer { min, max }, Value::Number(number)) if number.is_i64() || number.is_u64() => {
                let outside = number.as_i64().map_or(Some(1), |number| match number {
                    number if number < *min => Some(0),
                    number if number > *max => Some(1),
                    _ => None,
                });
                let Some(constraint) = outside else { return Some(value.clone()) };
                self.broken(shape, path, holder, format!("is {number}"), range(*min, *max), constraint);
                self.unreadable(path)
            }
            (Shape::Boolean, Value::Bool(_)) | (Shape::Time, Value::Number(_)) => Some(value.clone()),
            (Shape::List { items_min, items_max, of }, Value::Array(items)) => {
                self.size(items.len(), (*items_min, *items_max), "items", path);
                let item = |(index, item)| {
                    let item_path = path.then(Step::Item(index));
                    match self.value(of, item, &item_path, Holder::List(path)) {
                        Some(item) => item,
                        None => stand_in(of),
                    }
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            (Shape::Map { entries_max, key, value: of }, Value::Object(entries)) => {
                self.size(entries.len(), (0, *entries_max), "entries", path);
                Some(Value::Object(self.entries(key, of, entries, path)))
            }
            (Shape::Structure(members), Value::Object(object)) => Some(self.structure(members, object, Some(path))),
            (_, Value::Null) => {
                self.missing(shape, path);
                self.unreadable(path)
            }
            _ => {
                let wrong = format!("is {} where {} is needed", kind_of(value), shape.kind());
                let must = format!("Member must be {}", shape.kind());
                self.report(path, wrong, format!("write {}", shape.kind()), &path.aws(), &must);
                self.unreadable(path)
            }
        }
    }

    fn structure(&mut self, members: &'static [Member], object: &Map<String, Value>, path: Option<&Path<'_>>) -> Value {
        let mut read = Map::new();
        for member in members {
            let member_path = Path { parent: path, step: Step::Member(member.name) };
            let value = match object.get(member.name).filter(|value| !value.is_null()) {
                Some(value) => self.value(member.shape, value, &member_path, Holder::Structure),
                None if member.required => {
                    self.missing(member.shape, &member_path);
                    self.unreadable(&member_path)
                }
                None => None,
            };
            if let Some(value) = value.or_else(|| member.required.then(|| stand_in(member.shape))) {
                read.insert(member.name.to_owned(), value);
            }
        }
        Value::Object(read)
    }

    fn entries(
        &mut self,
        key_shape: &'static Shape,
        of: &'static Shape,
        entries: &Map<String, Value>,
        path: &Path<'_>,
    ) -> Map<String, Value> {
        let mut read = Map::new();
        for (key, value) in entries {
            let entry_path = path.then(Step::Key(key));
            self.text(key_shape, key, &entry_path, Holder::MapKeys(path));
            let value = self.value(of, value, &entry_path, Holder::MapValues(path)).unwrap_or_else(|| stand_in(of));
            read.insert(key.clone(), value);
        }
        read
    }

    fn text(&mut self, shape: &'static Shape, text: &str, path: &Path<'_>, holder: Holder<'_>) {
        let Shape::Text { chars_min, chars_max, pattern } = shape else { return };
        let chars = text.chars().count();
        if chars > *chars_max {
            let wrong = format!("has {chars} characters");
            self.broken(shape, path, holder, wrong, characters(*chars_min, *chars_max), 0);
        }
        if chars < *chars_min {
            let wrong = if chars == 0 { "is empty".to_owned() } else { format!("has {chars} characters") };
            self.broken(shape, path, holder, wrong, characters(*chars_min, *chars_max), 1);
        }
        if let Some(pattern) = pattern.filter(|pattern| chars <= *chars_max && !pattern.regex.is_match(text)) {
            let wrong = format!("`{}` is not allowed", Clipped(text));
            self.broken(shape, path, holder, wrong, format!("match the pattern `{}`", pattern.text), 2);
        }
    }

    fn size(&mut self, size: usize, (min, max): (usize, usize), what: &str, path: &Path<'_>) {
        let must = if size > max {
            length_at_most(max)
        } else if size < min {
            length_at_least(min)
        } else {
            return;
        };
        let mend = format!("give {min} to {max} {what}");
        self.report(path, format!("has {size} {what}"), mend, &path.aws(), &must);
    }

    fn missing(&mut self, shape: &'static Shape, path: &Path<'_>) {
        let mend = format!("add {}", shape.kind());
        self.report(path, "is missing".to_owned(), mend, &path.aws(), "Member must not be null");
    }

    /// Past the last problem that is told, no rule is asked any more, and what it could not read is not noted.
    fn unreadable(&mut self, path: &Path<'_>) -> Option<Value> {
        if self.problems.len() < PROBLEMS_MAX {
            self.unread.insert(path.to_string());
        }
        None
    }

    /// A constraint of the shape is broken: the one at `index` of its list.
    fn broken(
        &mut self,
        shape: &Shape,
        path: &Path<'_>,
        holder: Holder<'_>,
        wrong: String,
        mend: String,
        index: usize,
    ) {
        let constraints = shape.constraints();
        let all = || constraints.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (at, must) = match holder {
            Holder::Structure => (path.aws(), constraints[index].clone().unwrap_or_default()),
            Holder::List(list) => (list.aws(), format!("Member must satisfy constraint: [{}]", all())),
            Holder::MapKeys(map) => (map.aws(), format!("Map keys must satisfy constraint: [{}]", all())),
            Holder::MapValues(map) => (map.aws(), format!("Map value must satisfy constraint: [{}]", all())),
        };
        self.report(path, wrong, mend, &at, &must);
    }

    fn report(&mut self, path: &Path<'_>, message: String, mend: String, at: &str, must: &str) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        self.constraints.push(format!("Value at '{at}' failed to satisfy constraint: {must}"));
        self.problems.push(Problem { class: ErrorClass::Validation, path: path.to_string(), message, mend });
    }
}

impl Shape {
    /// Calls `found` with each member of a document that this shape does not have, with its path and the names that there are.
    pub(crate) fn unknown_members(&self, document: &Value, path: &str, found: &mut impl FnMut(String, &[Member])) {
        match (self, document) {
            (Shape::Structure(members), Value::Object(object)) => {
                for (name, value) in object {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match members.iter().find(|member| member.name == name) {
                        Some(member) => member.shape.unknown_members(value, &path, found),
                        None => found(path, members),
                    }
                }
            }
            (Shape::Map { value, .. }, Value::Object(entries)) => {
                entries.iter().for_each(|(key, of)| value.unknown_members(of, &format!("{path}.{key}"), found));
            }
            (Shape::List { of, .. }, Value::Array(items)) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| of.unknown_members(item, &format!("{path}[{index}]"), found));
            }
            _ => {}
        }
    }

    /// The constraints in AWS's words and order; `None` where the shape has none of that kind.
    fn constraints(&self) -> Vec<Option<String>> {
        match self {
            Shape::Text { chars_min, chars_max, pattern } => vec![
                (*chars_max != ANY).then(|| length_at_most(*chars_max)),
                (*chars_min > 0).then(|| length_at_least(*chars_min)),
                pattern.map(|pattern| format!("Member must satisfy regular expression pattern: {}", pattern.text)),
            ],
            Shape::Integer { min, max } => vec![
                Some(format!("Member must have value greater than or equal to {min}")),
                Some(format!("Member must have value less than or equal to {max}")),
            ],
            Shape::Choice(choices) => {
                let mut sorted = choices.to_vec();
                sorted.sort_unstable();
                vec![Some(format!("Member must satisfy enum value set: [{}]", sorted.join(", ")))]
            }
            Shape::Boolean | Shape::Time | Shape::List { .. } | Shape::Map { .. } | Shape::Structure(_) => Vec::new(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Shape::Text { .. } | Shape::Choice(_) => "a string",
            Shape::Integer { .. } => "an integer",
            Shape::Boolean => "a boolean",
            Shape::Time => "a number of seconds since 1970",
            Shape::List { .. } => "a list",
            Shape::Map { .. } | Shape::Structure(_) => "an object",
        }
    }
}

fn length_at_most(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

fn length_at_least(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

fn characters(min: usize, max: usize) -> String {
    format!("write {min} to {max} characters")
}

fn range(min: i64, max: i64) -> String {
    format!("write an integer from {min} to {max}")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value of the shape's type that says nothing.
fn stand_in(shape: &Shape) -> Value {
    match shape {
        Shape::Text { .. } => Value::String(String::new()),
        Shape::Integer { min, .. } => Value::from(*min),
        Shape::Boolean => Value::Bool(false),
        Shape::Time => Value::from(0),
        Shape::Choice(choices) => choices.first().copied().unwrap_or_default().into(),
        Shape::List { .. } => Value::Array(Vec::new()),
        Shape::Map { .. } => Value::Object(Map::new()),
        Shape::Structure(members) => {
            let required = members.iter().filter(|member| member.required);
            Value::Object(required.map(|member| (member.name.to_owned(), stand_in(member.shape))).collect())
        }
    }
}

//! The ids of one page: of headings as GitHub makes them, so that links to them work there and here, and each only once.

use std::collections::{BTreeMap, BTreeSet};

/// What a heading without letters and digits is called, as kramdown does: an empty id is none.
const NAMELESS: &str = "section";

#[derive(Default)]
pub(crate) struct Ids {
    /// Those that were given out.
    given: BTreeSet<String>,
    /// How many were made of each that could not be given out as it was.
    counts: BTreeMap<String, usize>,
    /// Those that are for something else, wherever on the page that is.
    reserved: BTreeSet<String>,
    /// Those that headings name themselves.
    named: BTreeSet<String>,
    /// Those of raw HTML that are written.
    raw: BTreeSet<String>,
    /// Our own ones in the frame of the page.
    own: BTreeSet<String>,
}

impl Ids {
    /// `own` are in the frame of the page.
    pub(crate) fn new(own: &str) -> Self {
        Self { own: [own.to_owned()].into(), reserved: [own.to_owned()].into(), ..Self::default() }
    }

    /// Raw HTML has this id.
    pub(crate) fn reserve(&mut self, id: &str) {
        self.reserved.insert(id.to_owned());
    }

    /// A heading says that this is its id.
    pub(crate) fn name(&mut self, id: &str) {
        self.named.insert(id.to_owned());
    }

    /// The id of the next heading with this text.
    pub(crate) fn of_heading(&mut self, text: &str) -> String {
        let slug = slug(text);
        self.unique(if slug.is_empty() { NAMELESS } else { &slug })
    }

    /// The id of the next heading that wants this one.
    pub(crate) fn of_named_heading(&mut self, id: &str) -> String {
        self.named.remove(id);
        self.unique(id)
    }

    /// The id of a footnote, which has a label of its own.
    pub(crate) fn of_footnote(&mut self, label: &str) -> String {
        self.unique(format!("fn-{}", slug(label)).trim_end_matches('-'))
    }

    /// What raw HTML must have in the place of this id, where that is there already.
    pub(crate) fn of_raw(&mut self, id: &str) -> Option<String> {
        if !self.own.contains(id) && self.raw.insert(id.to_owned()) { None } else { Some(self.unique(id)) }
    }

    fn unique(&mut self, wanted: &str) -> String {
        let mut unique = wanted.to_owned();
        while [&self.given, &self.reserved, &self.named].iter().any(|taken| taken.contains(&unique)) {
            let count = self.counts.entry(wanted.to_owned()).or_default();
            *count += 1;
            unique = format!("{wanted}-{count}");
        }
        self.given.insert(unique.clone());
        unique
    }
}

fn slug(text: &str) -> String {
    text.trim()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            letter => letter.is_alphanumeric().then_some(letter),
        })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn are_those_of_github() {
        let mut ids = Ids::default();
        let mut check = |text: &str, expected: &str| assert_eq!(ids.of_heading(text), expected, "{text}");
        check("What it is, in one paragraph", "what-it-is-in-one-paragraph");
        check("Where do I add …?", "where-do-i-add-");
        check("host/pipeline: PURE", "hostpipeline-pure");
        check("`run_order` & more", "run_order--more");
        check("Über uns", "über-uns");
        check("Twice", "twice");
        check("Twice", "twice-1");
        check("Twice 1", "twice-1-1");
        check("Twice", "twice-2");
        check("C++", "c");
        check("", "section");
        check("!", "section-1");
        check("Section", "section-2");
    }

    #[test]
    fn each_is_there_once() {
        let mut ids = Ids::new("own");
        ids.reserve("raw");
        ids.name("named");
        assert_eq!(ids.of_footnote("1"), "fn-1");
        assert_eq!(ids.of_footnote("!"), "fn");
        for (text, expected) in
            [("Own", "own-1"), ("Raw", "raw-1"), ("Named", "named-1"), ("Fn 1", "fn-1-1"), ("Raw 1", "raw-1-1")]
        {
            assert_eq!(ids.of_heading(text), expected);
        }
        assert_eq!(ids.of_named_heading("named"), "named");
        assert_eq!(ids.of_named_heading("named"), "named-2");
        assert_eq!(ids.of_raw("raw"), None);
        assert_eq!(ids.of_raw("raw").as_deref(), Some("raw-2"));
        assert_eq!(ids.of_raw("own").as_deref(), Some("own-2"));
    }
}

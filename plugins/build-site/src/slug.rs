//! The ids of headings, as GitHub makes them, so that links to them work there and here.

use std::collections::BTreeMap;

/// The ids of one page.
#[derive(Default)]
pub(crate) struct Slugs(BTreeMap<String, usize>);

impl Slugs {
    /// The id of the next heading with this text.
    pub(crate) fn next(&mut self, text: &str) -> String {
        let slug: String = text
            .trim()
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                letter => letter.is_alphanumeric().then_some(letter),
            })
            .flat_map(char::to_lowercase)
            .collect();
        let mut unique = slug.clone();
        while self.0.contains_key(&unique) {
            let count = self.0.entry(slug.clone()).or_default();
            *count += 1;
            unique = format!("{slug}-{count}");
        }
        self.0.insert(unique.clone(), 0);
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::Slugs;

    #[test]
    fn are_those_of_github() {
        let mut slugs = Slugs::default();
        let mut check = |text: &str, expected: &str| assert_eq!(slugs.next(text), expected, "{text}");
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
        check("", "");
        check("!", "-1");
    }
}

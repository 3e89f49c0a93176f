//! Where in `case.toml` a key is, for whoever mends it.
//!
//! Pure. Must not know what is wrong there.

use toml_edit::{Document, Item};

/// The line, from 1 on, of a key as problems name it (`then.2.inputs`), or of as much of it as is there.
pub(super) fn line(text: &str, key: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let at = position(document.as_item(), key)?;
    Some(text.get(..at)?.matches('\n').count() + 1)
}

/// Where in the text the key begins.
fn position(item: &Item, key: &str) -> Option<usize> {
    // A name may have points of its own: the longest that is there is meant.
    let ends = key.match_indices('.').map(|(at, _)| at).chain([key.len()]);
    ends.collect::<Vec<_>>().into_iter().rev().find_map(|end| {
        let (at, inner) = child(item, &key[..end])?;
        let rest = key[end..].strip_prefix('.');
        rest.and_then(|rest| position(inner, rest)).or(at)
    })
}

fn child<'a>(item: &'a Item, name: &str) -> Option<(Option<usize>, &'a Item)> {
    let (span, inner) = match item.as_table_like() {
        Some(table) => {
            let (key, inner) = table.get_key_value(name)?;
            (key.span(), inner)
        }
        // They are counted from 1 on.
        None => (None, item.get(name.parse::<usize>().ok()?.checked_sub(1)?)?),
    };
    let span = span.or(inner.span());
    Some((span.map(|span| span.start), inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_line() {
        let text = "action = \"a\"\nlimits.cpu-seconds = 0\n\n[settings]\n\"a.b\" = \"c\"\n\n[grants]\nsecrets = { d = { file = \"e\" } }\n\n\
                    [expected]\noutcome = \"failed\"\n\n[[then]]\nwake = \"time\"\n\n[[then]]\ninputs = { A = \"B\" }\n";
        let check = |key: &str, expected: Option<usize>| assert_eq!(line(text, key), expected, "{key}");
        check("action", Some(1));
        check("limits.cpu-seconds", Some(2));
        check("settings.a.b", Some(5));
        check("settings.other", Some(4));
        check("grants.secrets.d", Some(8));
        check("expected.revision", Some(10));
        check("then.2.inputs", Some(17));
        check("then.1", Some(13));
        check("outputs", None);
        check("the folder x/ means nothing; there may be inputs", None);
    }
}

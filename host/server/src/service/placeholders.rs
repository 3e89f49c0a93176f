//! Text with placeholders in braces: what stands for each, in one pass.
//!
//! Owns the pass. What is put in is never read again: a value that has a placeholder in it neither grows the text nor shows what
//! its template does not name. Must not know where a template or a value is from.

/// `{NAME}` becomes what `value` has for the name, and stays as it is where there is nothing. `None` where it becomes longer than
/// `characters_max`.
pub fn filled<'v>(template: &str, characters_max: usize, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
    let mut filled = String::new();
    let mut left = characters_max;
    let mut put = |part: &str| {
        left = left.checked_sub(part.chars().count())?;
        filled.push_str(part);
        Some(())
    };
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        put(before)?;
        match after.split_once('}').and_then(|(name, after)| Some((value(name)?, after))) {
            Some((value, after)) => {
                put(value)?;
                rest = after;
            }
            None => {
                put("{")?;
                rest = after;
            }
        }
    }
    put(rest)?;
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_read_again() {
        let twice = "{b}".repeat(2);
        let values = [("a", "1"), ("b", twice.as_str()), ("c", "{a}{"), ("ü", "ö")];
        let value = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let check = |template: &str, expected: Option<&str>| {
            assert_eq!(filled(template, 12, value).as_deref(), expected, "{template}");
        };
        check("", Some(""));
        check("x{a}y{a}", Some("x1y1"));
        check("{b}", Some("{b}{b}"));
        check("{b}{b}", Some("{b}{b}{b}{b}"));
        check("{b}{b}.", None);
        check("{c}a}", Some("{a}{a}"));
        check("{{a}", Some("{1"));
        check("{no}{a", Some("{no}{a"));
        check("{ü}öööööööööö", Some("ööööööööööö"));
        check("0123456789ab", Some("0123456789ab"));
        check("0123456789abc", None);
    }
}

//! The little XML that clients of S3 and of the query protocol speak.
//!
//! Owns its form. Must not know what a document is for.

use pipewright_text::is_printable;

pub const TYPE: &str = "application/xml";

/// A document of one level.
pub fn document(name: &str, members: &[(&str, &str)]) -> String {
    let members = self::members(members);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name}>{members}</{name}>")
}

/// Elements side by side, of text alone.
pub fn members(members: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        // What no XML document can have.
        text.replace(|c: char| !is_printable(c), "\u{fffd}")
    };
    members.iter().map(|(name, text)| format!("<{name}>{}</{name}>", escaped(text))).collect()
}

/// The parts that a CompleteMultipartUpload lists: number and ETag of each. None where it is no such list.
pub fn parts(text: &str) -> Option<Vec<(u32, String)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((part, behind)) = element(rest, "Part") {
        let (number, _) = element(part, "PartNumber")?;
        let (etag, _) = element(part, "ETag")?;
        let etag = etag.trim().replace("&quot;", "").replace("&#34;", "").replace('"', "");
        parts.push((number.trim().parse().ok()?, etag));
        rest = behind;
    }
    Some(parts)
}

/// What stands in the first element of a name, and what behind it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (_, inside) = text.split_once(&format!("<{name}>"))?;
    inside.split_once(&format!("</{name}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_and_what_is_understood() {
        let text = document("Error", &[("Code", "NoSuchKey"), ("Message", "a < b & \"c\" > \u{1b}")]);
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
                   <Message>a &lt; b &amp; \"c\" &gt; \u{fffd}</Message></Error>";
        assert_eq!(text, xml);
        let check = |text: &str, expected: Option<&[(u32, &str)]>| {
            let expected = expected.map(|parts| parts.iter().map(|(n, tag)| (*n, (*tag).to_owned())).collect());
            assert_eq!(parts(text), expected, "{text}");
        };
        check("", Some(&[]));
        check(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part><ETag>\"aa\"</ETag>\
             <PartNumber>1</PartNumber></Part>\n<Part><PartNumber>2</PartNumber><ETag>&quot;bb&quot;</ETag></Part></C>",
            Some(&[(1, "aa"), (2, "bb")]),
        );
        check("<Part><PartNumber>1</PartNumber></Part>", None);
        check("<Part><PartNumber>x</PartNumber><ETag>a</ETag></Part>", None);
    }
}

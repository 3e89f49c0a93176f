//! What of a repository's files can be in an artifact as it is, for the plugins that read repositories: symbolic links, and
//! the pointers that Git LFS puts in the place of large files.
//!
//! Pure: must not know where files come from or go.

mod links;

pub use links::target;

/// A pointer is shorter, as LFS itself takes it.
pub const LFS_POINTER_BYTES_MAX: u64 = 1_024;
/// As many names as a line of the log has.
const NAMES_MAX: usize = 10;

/// What Git LFS commits in the place of a file that it keeps elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LfsPointer {
    /// The SHA-256 of the file's content, in lower-case hexadecimal.
    pub id: String,
    /// The file's own, in bytes.
    pub size: u64,
}

impl LfsPointer {
    /// `None` for every other content.
    pub fn parse(content: &[u8]) -> Option<Self> {
        if content.len() as u64 >= LFS_POINTER_BYTES_MAX {
            return None;
        }
        let mut lines = std::str::from_utf8(content).ok()?.lines();
        lines.next()?.strip_prefix("version https://git-lfs.github.com/spec/")?;
        let mut value = |key| lines.find_map(|line| line.strip_prefix(key));
        // Keys are in the order of their letters.
        let (id, size) = (value("oid sha256:")?, value("size ")?);
        let is_id = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id { Some(Self { id: id.to_owned(), size: size.parse().ok()? }) } else { None }
    }
}

/// The first names, and how many more there are, for a line of the log.
pub fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers() {
        let check = |content: &str, expected: Option<u64>| {
            assert_eq!(LfsPointer::parse(content.as_bytes()).map(|pointer| pointer.size), expected, "{content}");
        };
        let id = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize 12345\n");
        check(&pointer, Some(12_345));
        check(&pointer.replace("oid", "ext-0-x sha256:1\noid"), Some(12_345));
        check(&format!("{pointer}{}", "x".repeat(1_024)), None);
        check(&format!("About pointers:\n{pointer}"), None);
        check(&pointer.replace("4d7a", "4D7A"), None);
        check(&pointer.replace("size 12345", "size many"), None);
        check("version https://git-lfs.github.com/spec/v1\n", None);
        check("", None);
    }

    #[test]
    fn names() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names[..2]), "0, 1");
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}

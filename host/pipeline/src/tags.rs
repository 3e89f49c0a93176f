//! The rules of tags (S25): at most 50 on a resource, keys unique and not AWS's own.
//!
//! Owns the rules and their words, for CreatePipeline as for TagResource. Must not know which tags a resource has.

use std::collections::BTreeSet;

use crate::declaration::Tag;
use crate::validate::ErrorClass;

/// The tags of one resource.
pub const TAGS_COUNT_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("A resource cannot have more than {TAGS_COUNT_MAX} tags, and this would have {0}")]
    TooMany(usize),
    #[error("Tag keys that start with 'aws:' are reserved")]
    Reserved,
    #[error("Tag keys must be unique")]
    Duplicate,
}

impl TagError {
    pub fn class(self) -> ErrorClass {
        match self {
            TagError::TooMany(_) => ErrorClass::TooManyTags,
            TagError::Reserved | TagError::Duplicate => ErrorClass::InvalidTags,
        }
    }
}

/// Whether a resource may have so many tags: for TagResource the ones it has and the ones to come, each key once.
pub fn check_count(count: usize) -> Result<(), TagError> {
    if count > TAGS_COUNT_MAX { Err(TagError::TooMany(count)) } else { Ok(()) }
}

/// Whether the keys that a request gives may be set.
pub fn check_keys(tags: &[Tag]) -> Result<(), TagError> {
    match wrong_keys(tags).next() {
        Some((_, wrong)) => Err(wrong),
        None => Ok(()),
    }
}

/// Every tag whose key may not be set, by its index.
pub(crate) fn wrong_keys<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> impl Iterator<Item = (usize, TagError)> {
    let mut seen = BTreeSet::new();
    tags.into_iter().enumerate().filter_map(move |(index, tag)| {
        let reserved = tag.key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        let first = seen.insert(&tag.key);
        let wrong = if reserved { TagError::Reserved } else { TagError::Duplicate };
        (reserved || !first).then_some((index, wrong))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[&str]) -> Result<(), TagError> {
        let tag = |key: &&str| Tag { key: (*key).to_owned(), value: String::new() };
        check_keys(&keys.iter().map(tag).collect::<Vec<_>>())
    }

    #[test]
    fn keys_are_unique_and_not_awss_own() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["a", "A", "aws", "é🦀"]), Ok(()));
        assert_eq!(check(&["a", "b", "a"]), Err(TagError::Duplicate));
        assert_eq!(check(&["a", "AWS:team"]), Err(TagError::Reserved));
    }

    #[test]
    fn a_resource_has_50_tags() {
        assert_eq!(check_count(50), Ok(()));
        assert_eq!(check_count(51), Err(TagError::TooMany(51)));
    }
}

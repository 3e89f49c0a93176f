//! The names of releases: which is the next, which is one's own, and which are no longer kept. Pure.

use std::fmt;

/// `000012-5f1d0a4be2c93d77`: a number that orders the releases, and the key of the run that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    number: u64,
    key: u64,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}-{:016x}", self.number, self.key)
    }
}

impl Release {
    fn parse(name: &str) -> Option<Self> {
        let (number, key) = name.split_once('-')?;
        let release = Self { number: number.parse().ok()?, key: u64::from_str_radix(key, 16).ok()? };
        // Only what we would have written ourselves is ours.
        (release.to_string() == name).then_some(release)
    }
}

/// The releases among the names in the folder, oldest first. Other names are somebody else's.
pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Release> {
    let mut releases: Vec<Release> = names.filter_map(Release::parse).collect();
    releases.sort();
    releases
}

/// The same for every attempt at one action execution: FNV-1a of both texts.
pub(crate) fn key(execution_id: &str, idempotency_key: &str) -> u64 {
    let bytes = execution_id.bytes().chain([0]).chain(idempotency_key.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The release that an earlier attempt with this key made, or else the next one.
pub(crate) fn own_or_next(earlier: &[Release], key: u64) -> Release {
    let own = earlier.iter().rev().find(|release| release.key == key).copied();
    own.unwrap_or(Release { number: earlier.last().map_or(1, |last| last.number.saturating_add(1)), key })
}

/// All but the current one and the newest `keep` besides it.
pub(crate) fn to_remove(earlier: &[Release], current: Release, keep: usize) -> impl Iterator<Item = Release> {
    earlier.iter().rev().copied().filter(move |release| *release != current).skip(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(number: u64, key: u64) -> Release {
        Release { number, key }
    }

    #[test]
    fn names() {
        let names = ["000010-00000000000000aa", "000002-00000000000000bb", "1234567-0000000000000001"];
        assert_eq!(of(names.into_iter()), [release(2, 0xbb), release(10, 0xaa), release(1_234_567, 1)]);
        let others =
            ["", "2-bb", "000002", "000002-xyz", "000002-00000000000000BB", "+00002-00000000000000bb", ".half-made-1"];
        assert_eq!(of(others.into_iter()), []);
    }

    #[test]
    fn a_key_belongs_to_one_execution() {
        assert_eq!(key("e", "k"), key("e", "k"));
        assert_ne!(key("e", "k"), key("ek", ""));
        assert_ne!(key("e", "k"), key("e", "l"));
    }

    #[test]
    fn own_or_next_one() {
        assert_eq!(own_or_next(&[], 7), release(1, 7));
        assert_eq!(own_or_next(&[release(3, 5), release(4, 6)], 7), release(5, 7));
        assert_eq!(own_or_next(&[release(3, 7), release(4, 6)], 7), release(3, 7));
    }

    #[test]
    fn the_current_one_is_never_removed() {
        let all = [release(1, 1), release(2, 2), release(3, 3)];
        let check = |current: Release, keep: usize, expected: &[Release]| {
            assert_eq!(to_remove(&all, current, keep).collect::<Vec<_>>(), expected);
        };
        check(release(4, 4), 5, &[]);
        check(release(4, 4), 2, &[release(1, 1)]);
        check(release(4, 4), 0, &[release(3, 3), release(2, 2), release(1, 1)]);
        check(release(1, 1), 1, &[release(2, 2)]);
    }
}

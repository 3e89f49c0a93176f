//! The names of releases: which is the next, which is one's own, and which are no longer kept. Pure.

use std::fmt;

/// Begins the names of releases that are not whole.
const HALF_MADE: &str = ".half-made-";

/// `000012-5f1d0a4be2c93d77`: a number that orders the releases, and the key of the run that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    number: u64,
    key: Key,
}

/// Which action made a release, and in which run. Several actions may publish into one directory, and each removes nothing
/// but its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    owner: u32,
    run: u32,
}

impl Key {
    /// `owner` names the action, `run` its execution: the same for every attempt at it.
    pub(crate) fn new(owner: &[&str], run: &[&str]) -> Self {
        Self { owner: hash(owner), run: hash(run) }
    }
}

/// FNV-1a of the texts, each ended by a zero, folded.
fn hash(texts: &[&str]) -> u32 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as u32 ^ hash as u32
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}-{:08x}{:08x}", self.number, self.key.owner, self.key.run)
    }
}

impl Release {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, key) = name.split_once('-')?;
        let (owner, run) = key.split_at_checked(8)?;
        let part = |text| u32::from_str_radix(text, 16).ok();
        let release = Self { number: number.parse().ok()?, key: Key { owner: part(owner)?, run: part(run)? } };
        // Only what we would have written ourselves is a release.
        (release.to_string() == name).then_some(release)
    }

    /// Its name while it is not whole.
    pub(crate) fn half_made(&self) -> String {
        format!("{HALF_MADE}{self}")
    }

    pub(crate) fn parse_half_made(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix(HALF_MADE)?)
    }

    /// Made by attempts at the same run.
    pub(crate) fn is_of_run(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Made by the same action.
    pub(crate) fn is_of_owner(&self, other: &Self) -> bool {
        self.key.owner == other.key.owner
    }
}

/// The releases among the names in the folder, oldest first. Other names are somebody else's.
pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Release> {
    let mut releases: Vec<Release> = names.filter_map(Release::parse).collect();
    releases.sort();
    releases
}

/// The release that an earlier attempt with this key made, or else the next one.
pub(crate) fn own_or_next(earlier: &[Release], key: Key) -> Release {
    let own = earlier.iter().rev().find(|release| release.key == key).copied();
    own.unwrap_or(Release { number: earlier.last().map_or(1, |last| last.number.saturating_add(1)), key })
}

/// Of those of the same owner all but the new one, the one that was live before it, and the newest besides: `keep` together
/// with that one.
pub(crate) fn to_remove(
    earlier: &[Release],
    new: Release,
    live: Option<Release>,
    keep: usize,
) -> impl Iterator<Item = Release> {
    let own = earlier.iter().rev().copied().filter(move |release| release.is_of_owner(&new) && *release != new);
    let is_live = move |release: &Release| Some(*release) == live;
    let kept = own.clone().any(|release| is_live(&release));
    own.filter(move |release| !is_live(release)).skip(keep.saturating_sub(kept.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(number: u64, owner: u32, run: u32) -> Release {
        Release { number, key: Key { owner, run } }
    }

    #[test]
    fn names() {
        let names = ["000010-00000001000000aa", "000002-00000000000000bb", "1234567-0000000000000001"];
        assert_eq!(of(names.into_iter()), [release(2, 0, 0xbb), release(10, 1, 0xaa), release(1_234_567, 0, 1)]);
        let others = [
            "",
            "2-bb",
            "000002",
            "000002-xyz",
            "000002-00000000000000BB",
            "+00002-00000000000000bb",
            "000002-0000000é0000000",
            ".half-made-000002-00000000000000bb",
        ];
        assert_eq!(of(others.into_iter()), []);
        let half_made = release(2, 0, 0xbb).half_made();
        assert_eq!(half_made, ".half-made-000002-00000000000000bb");
        assert_eq!(Release::parse_half_made(&half_made), Some(release(2, 0, 0xbb)));
    }

    #[test]
    fn a_key_belongs_to_one_action_and_one_execution() {
        let key = Key::new(&["p", "s", "a"], &["e", "k"]);
        assert_eq!(key, Key::new(&["p", "s", "a"], &["e", "k"]));
        for other in [Key::new(&["p", "s", "a"], &["ek", ""]), Key::new(&["p", "s", "a"], &["e", "l"])] {
            assert!(other != key && other.owner == key.owner);
        }
        assert_ne!(Key::new(&["p", "sa", ""], &["e", "k"]).owner, key.owner);
    }

    #[test]
    fn own_or_next_one() {
        let key = Key { owner: 1, run: 7 };
        assert_eq!(own_or_next(&[], key), release(1, 1, 7));
        assert_eq!(own_or_next(&[release(3, 1, 5), release(4, 2, 7)], key), release(5, 1, 7));
        assert_eq!(own_or_next(&[release(3, 1, 7), release(4, 2, 6)], key), release(3, 1, 7));
    }

    #[test]
    fn neither_what_is_live_nor_what_others_made_is_removed() {
        let all = [release(1, 1, 1), release(2, 2, 2), release(3, 1, 3), release(4, 2, 4), release(5, 1, 5)];
        let check = |new: Release, live: Option<Release>, keep: usize, expected: &[u64]| {
            let removed: Vec<u64> = to_remove(&all, new, live, keep).map(|release| release.number).collect();
            assert_eq!(removed, expected, "{new} {live:?} {keep}");
        };
        let new = release(6, 1, 6);
        check(new, None, 5, &[]);
        check(new, Some(all[4]), 2, &[1]);
        check(new, Some(all[4]), 1, &[3, 1]);
        check(new, Some(all[4]), 0, &[3, 1]);
        // Somebody went back to the oldest by hand.
        check(new, Some(all[0]), 1, &[5, 3]);
        check(new, Some(all[0]), 2, &[3]);
        check(new, Some(all[1]), 1, &[3, 1]);
        check(new, None, 0, &[5, 3, 1]);
        // A second attempt finds its own release live.
        check(all[4], Some(all[4]), 1, &[1]);
        check(release(7, 3, 7), Some(all[4]), 0, &[]);
    }
}

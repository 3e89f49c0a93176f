//! Whose cache is found, which one goes, and what of a cache that was made by others is not taken.

use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

struct World {
    folder: tempfile::TempDir,
    caches: Caches,
}

fn world(limits: CacheLimits) -> World {
    let folder = tempfile::tempdir().unwrap();
    World { caches: Caches::open(&folder.path().join("caches"), limits).unwrap(), folder }
}

fn space(account: u64, name: &str) -> Space {
    Space { account, name: name.to_owned(), shown: format!("the {name}") }
}

impl World {
    fn made(&self, files: &[(&str, &str)]) -> MadeOutput {
        let top = self.folder.path().join("made");
        fs::create_dir_all(&top).unwrap();
        for (path, text) in files {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        MadeOutput::of_directory("cache", top)
    }

    fn keep(&self, space: &Space, key: &str, text: &str) {
        self.caches.keep(space, key, &self.made(&[("lib/a.txt", text), ("b.txt", "the same")])).unwrap();
    }

    /// The text of the cache that is found.
    fn found(&self, space: &Space, key: &str, fallbacks: &[&str]) -> Option<String> {
        let fallbacks: Vec<String> = fallbacks.iter().map(|it| (*it).to_owned()).collect();
        let found = self.caches.find(space, key, &fallbacks).unwrap()?;
        Some(format!("{}={}", found.key, text(&found)))
    }

    fn blobs(&self) -> usize {
        self.caches.artifacts.blobs().digests().unwrap().len()
    }

    /// When an entry was last used: a disk may not tell two moments apart.
    fn used(&self, space: &Space, key: &str, second: i64) {
        let at = Timespec { tv_sec: second, tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        utimensat(CWD, self.caches.place(space, key), &times, AtFlags::empty()).unwrap();
    }
}

fn text(found: &Found) -> String {
    let entry = found.tree.entries().iter().find(|entry| entry.path == "lib/a.txt").unwrap();
    let crate::files::Node::File { digest, size, .. } = &entry.node else { panic!("{entry:?}") };
    String::from_utf8(found.blobs.read(digest, *size).unwrap()).unwrap()
}

#[test]
fn a_key_is_found_in_its_own_space_alone() {
    let world = world(CacheLimits::default());
    let [own, other, foreign] = [space(1, "project/a"), space(1, "project/b"), space(2, "project/a")];
    world.keep(&own, "npm-1", "one");
    assert_eq!(world.found(&own, "npm-1", &[]).as_deref(), Some("npm-1=one"));
    for space in [&other, &foreign] {
        assert_eq!(world.found(space, "npm-1", &["npm-", ""]), None);
    }
    world.keep(&foreign, "npm-1", "theirs");
    assert_eq!(world.found(&own, "npm-1", &[]).as_deref(), Some("npm-1=one"));
    // A name is no path.
    world.keep(&own, "../../x", "odd");
    assert_eq!(world.found(&own, "../../x", &[]).as_deref(), Some("../../x=odd"));
    assert!(world.folder.path().read_dir().unwrap().count() <= 2);
}

#[test]
fn without_its_key_the_first_fallback_counts_and_of_it_the_last_used() {
    let world = world(CacheLimits::default());
    let own = space(1, "a");
    for (key, second) in [("npm-1", 30), ("npm-2", 10), ("yarn-1", 40)] {
        world.keep(&own, key, key);
        world.used(&own, key, second);
    }
    assert_eq!(world.found(&own, "npm-3", &["none", "npm-", "yarn-"]).as_deref(), Some("npm-1=npm-1"));
    assert_eq!(world.found(&own, "npm-2", &["yarn-"]).as_deref(), Some("npm-2=npm-2"));
    assert_eq!(world.found(&own, "npm-3", &["none"]), None);
}

#[test]
fn what_is_replaced_or_has_no_room_is_gone_but_for_who_has_it() {
    let world = world(CacheLimits { account_count_max: 2, ..CacheLimits::default() });
    let own = space(1, "a");
    world.keep(&own, "k", "old");
    let held = world.caches.find(&own, "k", &[]).unwrap().unwrap();
    world.keep(&own, "k", "new");
    assert_eq!((text(&held).as_str(), world.found(&own, "k", &[]).as_deref()), ("old", Some("k=new")));
    drop(held);
    world.used(&own, "k", 10);
    world.keep(&space(1, "b"), "k", "second");
    world.used(&space(1, "b"), "k", 5);
    world.keep(&space(2, "a"), "k", "another account's");
    world.keep(&own, "l", "third");
    assert_eq!(world.found(&space(1, "b"), "k", &[]), None);
    assert_eq!(world.found(&own, "k", &[]).as_deref(), Some("k=new"));
    assert_eq!(world.found(&space(2, "a"), "k", &[]).as_deref(), Some("k=another account's"));
    // One for each of the three, and the one that they share.
    assert_eq!(world.blobs(), 4);
}

#[test]
fn bytes_are_bounded() {
    let world = world(CacheLimits { bytes_max: 20, account_bytes_max: 30, ..CacheLimits::default() });
    let own = space(1, "a");
    world.keep(&own, "a", "0123456789");
    world.used(&own, "a", 10);
    world.keep(&own, "b", "0123456789");
    assert_eq!(world.found(&own, "a", &[]), None);
    let large = world.made(&[("lib/a.txt", "0123456789012345678901234")]);
    let error = world.caches.keep(&own, "b", &large).unwrap_err();
    assert!(error.to_string().contains("bytes_max"), "{error}");
    assert_eq!(world.found(&own, "b", &[]).as_deref(), Some("b=0123456789"));
}

#[test]
fn what_others_left_in_it_does_no_harm() {
    let check = |leave: fn(&Path), problem: &str| {
        let world = world(CacheLimits::default());
        let own = space(1, "a");
        world.keep(&own, "k", "old");
        let made = world.made(&[("lib/a.txt", "new")]);
        leave(&made.directory);
        let error = world.caches.keep(&own, "k", &made).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(world.found(&own, "k", &[]).as_deref(), Some("k=old"));
    };
    check(|top| symlink("/etc/passwd", top.join("out")).unwrap(), "out");
    check(|top| symlink("../../secret", top.join("lib/up")).unwrap(), "lib/up");
    check(|top| fs::hard_link(top.join("lib/a.txt"), top.join("twin")).unwrap(), "hard links");
    check(|top| drop(std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap()), "socket");
}

/// Whatever a host that died had written of a new entry, the old one counts until it is whole.
#[test]
fn a_half_written_entry_is_none() {
    let world = world(CacheLimits::default());
    let own = space(1, "a");
    world.keep(&own, "k", "old");
    let place = world.caches.place(&own, "k");
    fs::write(place.with_extension(ASIDE), "{\"key\":\"k\",\"dig").unwrap();
    let again = Caches::open(&world.folder.path().join("caches"), CacheLimits::default()).unwrap();
    let world = World { caches: again, ..world };
    assert_eq!(world.found(&own, "k", &[]).as_deref(), Some("k=old"));
    assert_eq!(world.found(&own, "x", &["k"]).as_deref(), Some("k=old"));
    world.keep(&own, "k", "new");
    assert_eq!(world.found(&own, "k", &[]).as_deref(), Some("k=new"));
    fs::write(&place, "").unwrap();
    assert_eq!(world.found(&own, "k", &["k"]), None);
}

/// As the command line does beside a host that has the folder: what is removed is found no more, and its files go when the host
/// collects; what a call has stays whole.
#[test]
fn what_is_kept_is_listed_and_removed_beside_the_host() {
    let world = world(CacheLimits::default());
    let folder = world.folder.path().join("caches");
    let [own, foreign] = [space(1, "project/a"), space(2, "project/a")];
    assert_eq!(list(&folder.join("nowhere")).unwrap(), []);
    for (space, key, second) in [(&own, "k", 10), (&own, "l", 30), (&foreign, "k", 20)] {
        world.keep(space, key, &format!("{} {key}", space.account));
        world.used(space, key, second);
    }
    let told = |kept: Vec<KeptCache>| -> Vec<String> {
        let told = |it: KeptCache| format!("{} {} {} {} {}", it.account, it.of, it.key, it.bytes, it.used_ms);
        kept.into_iter().map(told).collect()
    };
    let all = ["1 the project/a l 11 30000", "2 the project/a k 11 20000", "1 the project/a k 11 10000"];
    assert_eq!(told(list(&folder).unwrap()), all);
    // What an earlier version wrote says no more than it did.
    let place = world.caches.place(&own, "l");
    let entry = fs::read_to_string(&place).unwrap();
    fs::write(&place, entry.replace(r#","shown":"the project/a""#, "")).unwrap();
    world.used(&own, "l", 30);
    assert_eq!(told(list(&folder).unwrap())[0], "1  l 11 30000");

    let held = world.caches.find(&own, "k", &[]).unwrap().unwrap();
    world.used(&own, "k", 10);
    let removed = remove(&folder, |cache| cache.account == 1 && cache.of == "the project/a").unwrap();
    assert_eq!(told(removed), ["1 the project/a k 11 10000"]);
    assert_eq!(world.found(&own, "k", &["k"]), None);
    world.keep(&own, "m", "1 m");
    assert_eq!((text(&held).as_str(), world.blobs()), ("1 k", 5));
    drop(held);
    remove(&folder, |cache| cache.key == "m").unwrap();
    world.keep(&own, "n", "1 n");
    assert_eq!(world.blobs(), 4);
    remove(&folder, |_| true).unwrap();
    world.caches.collect().unwrap();
    assert_eq!((list(&folder).unwrap(), world.blobs()), (Vec::new(), 0));
}

/// What one account keeps takes as long as it is large, and so does collecting.
#[test]
fn who_finds_waits_for_nobody_and_who_keeps_for_no_other() {
    let world = world(CacheLimits::default());
    let (own, other) = (space(1, "a"), space(2, "a"));
    world.keep(&own, "k", "old");
    thread::scope(|scope| {
        let (told, hears) = mpsc::channel();
        let (world, own, other) = (&world, &own, &other);
        let collecting = world.caches.storing.write().unwrap();
        let tell = told.clone();
        scope.spawn(move || tell.send(world.found(own, "k", &["x"])));
        let found = hears.recv_timeout(Duration::from_secs(30));
        drop(collecting);
        assert_eq!(found.ok().flatten().as_deref(), Some("k=old"));
        let keeping = world.caches.storing.read().unwrap();
        scope.spawn(move || {
            world.keep(other, "k", "theirs");
            world.keep(other, "k", "newer");
            told.send(world.found(other, "k", &[]))
        });
        let found = hears.recv_timeout(Duration::from_secs(30));
        drop(keeping);
        assert_eq!(found.ok().flatten().as_deref(), Some("k=newer"));
    });
    assert_eq!(world.blobs(), 4);
    // What was left is collected by the next one.
    world.keep(&own, "l", "old");
    assert_eq!(world.blobs(), 3);
}

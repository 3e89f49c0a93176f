//! The modes of what is made in a granted directory. In a process of its own, as the umask is the whole process's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::AtomicBool;

use pipewright_artifacts::files::{Area, Budget, Open, Role, Source, Target, Walk, copy, directory_items};

#[test]
fn everybody_may_read_whatever_the_umask_is() {
    let folder = tempfile::tempdir().unwrap();
    let granted = folder.path().join("granted");
    fs::create_dir_all(folder.path().join("from/copied")).unwrap();
    fs::create_dir(&granted).unwrap();
    for (name, mode) in [("from/copied/page", 0o600), ("from/copied/tool", 0o700)] {
        fs::write(folder.path().join(name), "x").unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&granted, fs::Permissions::from_mode(0o2770)).unwrap();
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));

    let budget = Budget::unlimited();
    let area = Area::new(Role::Granted { writable: true }, "granted".to_owned(), granted.clone(), budget.clone());
    area.create_directory("made").unwrap();
    area.make_directories("above/below").unwrap();
    area.open("made/opened", Open { write: true, create: true, ..Open::default() }).unwrap();
    area.make_file("made/page", false).unwrap();
    area.make_file("made/tool", true).unwrap();
    area.make_file("made/tool", true).unwrap();
    let open = |path| cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority()).unwrap();
    let (from, to) = (open(folder.path().join("from")), open(granted.clone()));
    let items = directory_items(&from, &mut budget.listing(), &Walk::all()).unwrap();
    let stop = AtomicBool::new(false);
    let target = Target { directory: &to, depth: 0, budget: &budget, hashed: None, stays: true, stop: &stop };
    copy(Source::Directory(&from), &items, &target).unwrap();
    rustix::process::umask(before);

    let check = |path: &str, expected: u32| {
        let mode = fs::metadata(granted.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{path}: {mode:o}");
    };
    for (path, mode) in [
        ("made", 0o755),
        ("above/below", 0o755),
        ("copied", 0o755),
        ("made/opened", 0o644),
        ("made/page", 0o644),
        ("copied/page", 0o644),
        ("made/tool", 0o755),
        ("copied/tool", 0o755),
    ] {
        check(path, mode);
    }
    // A group is handed on as the directory's owner wants it.
    assert_eq!(fs::metadata(granted.join("made")).unwrap().permissions().mode() & 0o2000, 0o2000);
}

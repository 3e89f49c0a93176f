//! The work tree of the case `git-work-tree`, for unit tests.

use std::fs;
use std::path::Path;

/// A copy, in which `dot_` at the start of a name stands for `.`.
pub(crate) fn work_tree() -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/git-work-tree/directories/source"), top.path());
    top
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let to = to.join(name.strip_prefix("dot_").map_or(name.clone(), |rest| format!(".{rest}")));
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

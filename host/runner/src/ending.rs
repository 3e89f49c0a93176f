//! How the host that had the data directory before ended: in an orderly way, which leaves a mark, or by dying, which leaves
//! none.
//!
//! Must not know what follows from it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use pipewright_base::home::{DataDirectory, write_private};

const CONTENT: &[u8] = b"the host that had this directory stopped in an orderly way\n";

/// Whether the host before died, or there was none; takes the mark away, durably, before anything runs.
pub fn begin(data: &DataDirectory) -> io::Result<bool> {
    match fs::remove_file(data.stopped()) {
        Ok(()) => {
            sync(data.path())?;
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Leaves the mark, durably: nothing runs any more that would go on with the next start as if it had been interrupted by a
/// death.
pub fn end(data: &DataDirectory) -> io::Result<()> {
    let path = data.stopped();
    write_private(&path, CONTENT)?;
    File::open(&path)?.sync_all()?;
    sync(data.path())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_from_an_orderly_end() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(folder.path()).unwrap();
        assert!(begin(&data).unwrap(), "nothing says that anybody stopped");
        end(&data).unwrap();
        assert!(!begin(&data).unwrap());
        assert!(begin(&data).unwrap(), "the mark counts once");
    }
}

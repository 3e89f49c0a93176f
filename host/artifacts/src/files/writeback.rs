//! Lets the disk work while more is copied, so that the sync at the end finds little to do.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Begins to write a whole file to the disk, and does not wait. It promises nothing: a sync must follow, and tells of errors.
pub(super) fn begin(file: &File) {
    // SAFETY: a plain system call on a file that is open.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

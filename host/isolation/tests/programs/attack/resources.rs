//! More of the machine than a job was given.

use std::fs::{self, File};
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::{Deed, Got, Limited, Outcome, Refused, limited, result};

pub const DEEDS: &[Deed] = &[
    ("fork-bomb", fork_bomb),
    ("threads", threads),
    ("memory", memory),
    ("memory-of-many", memory_of_many),
    ("shared-memory", shared_memory),
    ("hidden-memory", hidden_memory),
    ("compute", compute),
    ("open-files", open_files),
    ("large-file", large_file),
    ("fill", fill),
    ("fill-nameless", fill_nameless),
    ("entries", entries),
    ("depth", depth),
    ("output", output),
];

const MIB: usize = 1 << 20;

fn fork_bomb(_: &[String]) -> Outcome {
    loop {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == -1 {
            sleep(Duration::from_millis(10));
        }
    }
}

fn threads(_: &[String]) -> Outcome {
    for _ in 0..100_000 {
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(|| sleep(Duration::from_secs(600)));
        if let Err(error) = thread {
            return limited(&error);
        }
    }
    Got("100,000 threads".to_owned())
}

/// Maps and touches so many MiB.
/// Gives the last of it.
fn take(mebibytes: usize, flags: libc::c_int) -> io::Result<*mut libc::c_void> {
    let mut last = std::ptr::null_mut();
    for _ in 0..mebibytes {
        let (rights, nowhere) = (libc::PROT_READ | libc::PROT_WRITE, std::ptr::null_mut());
        // SAFETY: a new mapping, of which every page is written to within its bounds.
        unsafe {
            let at = libc::mmap(nowhere, MIB, rights, flags | libc::MAP_ANONYMOUS, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            for page in (0..MIB).step_by(4_096) {
                at.cast::<u8>().add(page).write_volatile(1);
            }
            last = at;
        }
    }
    Ok(last)
}

fn memory(arguments: &[String]) -> Outcome {
    match take(arguments[0].parse().expect("a number"), libc::MAP_PRIVATE) {
        Ok(_) => Got("all of it".to_owned()),
        Err(error) => limited(&error),
    }
}

/// As much, in as many processes as there are arguments.
fn memory_of_many(arguments: &[String]) -> Outcome {
    for mebibytes in arguments {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == 0 {
            let _ = take(mebibytes.parse().expect("a number"), libc::MAP_PRIVATE);
            sleep(Duration::from_secs(600));
        }
    }
    sleep(Duration::from_secs(600));
    Got("all of it".to_owned())
}

fn shared_memory(arguments: &[String]) -> Outcome {
    if let Err(error) = take(arguments[0].parse().expect("a number"), libc::MAP_SHARED) {
        return limited(&error);
    }
    sleep(Duration::from_secs(600));
    Got("all of it".to_owned())
}

/// Which the process does not have in its own memory any more.
fn hidden_memory(arguments: &[String]) -> Outcome {
    for _ in 0..arguments[0].parse().expect("a number") {
        match take(1, libc::MAP_SHARED) {
            // SAFETY: nobody reads what is there.
            Ok(last) => unsafe { libc::madvise(last, MIB, libc::MADV_DONTNEED) },
            Err(error) => return limited(&error),
        };
    }
    sleep(Duration::from_secs(600));
    Got("all of it".to_owned())
}

fn compute(_: &[String]) -> Outcome {
    for _ in 0..4 {
        // SAFETY: this process has one thread.
        unsafe { libc::fork() };
    }
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}

fn open_files(_: &[String]) -> Outcome {
    let mut open = Vec::new();
    loop {
        match File::open(".") {
            Ok(file) => open.push(file),
            Err(error) => return limited(&error),
        }
        if open.len() > 100_000 {
            return Got("100,000 files".to_owned());
        }
    }
}

fn large_file(_: &[String]) -> Outcome {
    // SAFETY: to ignore a signal needs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    match File::create("large").and_then(|file| file.set_len(1 << 40)) {
        Ok(()) => Got("a file of 1 TiB".to_owned()),
        Err(error) => limited(&error),
    }
}

/// Writes files of 4 MiB into a directory until it is told that there is no more room.
fn fill(directories: &[String]) -> Outcome {
    let piece = vec![1; 4 * MIB];
    let mut outcome = Refused("there is no such directory".to_owned());
    for directory in directories {
        for number in 0..1_000 {
            let made = File::create(format!("{directory}/{number}")).and_then(|mut file| file.write_all(&piece));
            if let Err(error) = made {
                outcome = limited(&error);
                break;
            }
            if number == 999 {
                return Got(format!("4 GiB in {directory}"));
            }
        }
    }
    outcome
}

/// The same, in files that have no name any more.
fn fill_nameless(_: &[String]) -> Outcome {
    let mut open = Vec::new();
    for number in 0..500 {
        let name = number.to_string();
        let made = File::create(&name).and_then(|mut file| {
            fs::remove_file(&name)?;
            file.write_all(&vec![1; 4 * MIB])?;
            Ok(file)
        });
        // As many as it may have open.
        let Ok(file) = made else { break };
        open.push(file);
    }
    sleep(Duration::from_secs(600));
    Got("2 GiB".to_owned())
}

fn entries(directories: &[String]) -> Outcome {
    for number in 0..1_000_000 {
        if let Err(error) = File::create(format!("{}/{number}", directories[0])) {
            return limited(&error);
        }
    }
    Got("1,000,000 files".to_owned())
}

/// Directories in each other, deeper than any path is long.
fn depth(_: &[String]) -> Outcome {
    for _ in 0..20_000 {
        if let Err(error) = fs::create_dir("d").and_then(|()| std::env::set_current_dir("d")) {
            return limited(&error);
        }
    }
    sleep(Duration::from_secs(600));
    Got("20,000 levels".to_owned())
}

fn output(_: &[String]) -> Outcome {
    let line = [b'x'; 1_023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
    loop {
        // SAFETY: the buffer is as long as it says.
        if result(unsafe { libc::write(1, line.as_ptr().cast(), line.len()) } as libc::c_long).is_err() {
            return Limited("nobody listens any more".to_owned());
        }
    }
}

//! Programs that try to get out, or to take more than they were given: each deed is one attack, named by the first argument.
//!
//! A deed that got what it wanted ends with 7; one that was refused says why and ends with 0; one that met a limit says so and
//! ends with 6. What is meant to go on until it is ended does.

#[path = "attack/calls.rs"]
mod calls;
#[path = "attack/files.rs"]
mod files;
#[path = "attack/processes.rs"]
mod processes;
#[path = "attack/resources.rs"]
mod resources;
#[path = "attack/sockets.rs"]
mod sockets;

use std::io;
use std::process::ExitCode;

/// What came of a deed.
pub enum Outcome {
    Got(String),
    Refused(String),
    Limited(String),
}
pub use Outcome::{Got, Limited, Refused};

/// By name; what follows are its arguments.
pub type Deed = (&'static str, fn(&[String]) -> Outcome);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let deeds = [files::DEEDS, processes::DEEDS, resources::DEEDS, sockets::DEEDS].concat();
    let outcome = match deeds.iter().find(|(name, _)| *name == arguments[0]) {
        Some((_, deed)) => deed(&arguments[1..]),
        None => calls::call(&arguments[0]).expect("a deed or a system call"),
    };
    let (code, words) = match outcome {
        Got(what) => (7, format!("got: {what}\n")),
        Limited(by) => (6, format!("limited: {by}\n")),
        Refused(why) => (0, format!("refused: {why}\n")),
    };
    let _ = io::Write::write_all(&mut io::stdout(), words.as_bytes());
    ExitCode::from(code)
}

/// The first that was got, if any was.
pub fn any(tries: impl IntoIterator<Item = (String, io::Result<()>)>) -> Outcome {
    let mut refused = Vec::new();
    for (name, tried) in tries {
        match tried {
            Ok(()) => return Got(name),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    refused.truncate(3);
    Refused(refused.join("; "))
}

/// Whether a deed met the error of a limit, as opposed to another one.
pub fn limited(error: &io::Error) -> Outcome {
    let limits = [libc::EAGAIN, libc::ENOMEM, libc::ENOSPC, libc::EFBIG, libc::EMFILE, libc::EDQUOT];
    let words = error.to_string();
    if error.raw_os_error().is_some_and(|code| limits.contains(&code)) { Limited(words) } else { Refused(words) }
}

/// What a system call came to.
pub fn result(value: libc::c_long) -> io::Result<libc::c_long> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

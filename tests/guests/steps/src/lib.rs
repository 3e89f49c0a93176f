//! Does what the lines of its script say, whatever comes of the ones before, and logs what came of each. In the end it
//! fails with the first thing that was refused.

use std::ffi::{CString, c_char, c_int};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Asked {
    /// Lines of a verb and its words, with one space between them.
    script: String,
}

/// Does it, line by line.
#[action(provider = "Steps", inputs = 0..=5, outputs = 0..=5)]
fn steps(_: &Action, asked: Asked) -> Result<Report> {
    let mut first = None;
    for line in asked.script.lines() {
        match step(line) {
            Ok(found) => info!("{line}: {found}"),
            Err(failure) => {
                info!("{line}: refused: {}", failure.message);
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or_else(|| Ok(Report::new("done")), Err)
}

fn step(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    match *words {
        [verb, path] => match of_one(verb, path) {
            Some(found) => found,
            None => flood(verb, path),
        },
        [verb, one, other] => of_two(verb, one, other),
        _ => Err(Failure::configuration(format!("{line} has no or too many words"))),
    }
}

fn of_one(verb: &str, path: &str) -> Option<Result<String>> {
    let existing = || OpenOptions::new().write(true).open(path);
    let found = match verb {
        "read" => fs::read_to_string(path).map_err(Failure::from),
        "list" => list(path),
        "mkdir" => done(fs::create_dir_all(path)),
        "rmdir" => done(fs::remove_dir(path)),
        "remove" => done(fs::remove_file(path)),
        "remove-all" => done(fs::remove_dir_all(path)),
        "create" => done(OpenOptions::new().write(true).create_new(true).open(path)),
        "truncate" => done(OpenOptions::new().write(true).truncate(true).open(path)),
        "shrink" => done(existing().and_then(|file| file.set_len(0))),
        "set-times" => {
            let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1));
            done(File::open(path).and_then(|file| file.set_times(times)))
        }
        "stat" => stat(path),
        "read-link" => fs::read_link(path).map(|target| target.display().to_string()).map_err(Failure::from),
        "digest" => files::digest(path),
        "list-all" => files::list(path, &[]).map(|entries| {
            let paths: Vec<String> = entries.into_iter().map(|entry| entry.path).collect();
            paths.join(" ")
        }),
        "fetch" => files::open(path).and_then(|reader| Ok(io::read_to_string(reader)?)),
        "make" => files::create(path, false).and_then(|file| done(file.finish())),
        "executable" => done(files::set_executable(path, true)),
        "reveal" => secrets::reveal(path),
        "get" => get(http::get(path)),
        _ => return None,
    };
    Some(found)
}

fn of_two(verb: &str, one: &str, other: &str) -> Result<String> {
    match verb {
        "write" => done(fs::write(one, other)),
        "append" => {
            let file = OpenOptions::new().append(true).open(one);
            done(file.and_then(|mut file| file.write_all(other.as_bytes())))
        }
        "rename" => done(fs::rename(one, other)),
        "hard-link" => done(fs::hard_link(one, other)),
        "symlink" => done(symlink(one, other)),
        "link" => done(files::link(other, one)),
        "copy" => files::copy(one, other, &[]).map(|copied| format!("{} files", copied.files)),
        "unzip" => files::unzip(one, other).map(|copied| format!("{} files", copied.files)),
        "lengthen" => done(File::create(one).and_then(|file| file.set_len(number(other)))),
        "write-behind" => done(File::create(one).and_then(|mut file| {
            file.seek(SeekFrom::Start(number(other)))?;
            file.write_all(b"x")
        })),
        "get-all" => get_all(one, number(other)),
        "get-within" => get(http::get(one).first_byte_timeout(Duration::from_millis(number(other)))),
        "get-flowing" => get(http::get(one).between_bytes_timeout(Duration::from_millis(number(other)))),
        "post" => post(http::post(one), io::repeat(b'x').take(number(other)), Some(number(other))),
        // In chunks.
        "post-unsized" => post(http::post(one), io::repeat(b'x').take(number(other)), None),
        "post-short" => post(http::post(one), io::repeat(b'x').take(10), Some(number(other))),
        "tool" | "tool-online" => {
            let tool = tools::Tool::new(one).network(verb == "tool-online").env("LEVEL", "high");
            let tool = other.split(',').fold(tool, tools::Tool::argument);
            Ok(format!("status {}", tool.run()?))
        }
        "tool-pinned" => Ok(format!("status {}", tools::Tool::new(one).digest(other).run()?)),
        "get-with" => get(http::get(other).header("authorization", secrets::stand_in(one)?)),
        _ => Err(Failure::configuration(format!("no verb {verb}"))),
    }
}

/// Goes on until something stops it.
fn flood(verb: &str, path: &str) -> Result<String> {
    match verb {
        "flood-files" => each(|number| File::create(format!("{path}/{number}"))),
        "flood-directories" => {
            let mut deep = PathBuf::from(path);
            each(|_| {
                deep.push("d");
                fs::create_dir(&deep)
            })
        }
        // Each directory put below the next one, by short paths alone.
        "nest" => {
            let at = |name: &str| format!("{path}/{name}");
            fs::create_dir(at("tree"))?;
            each(|_| {
                fs::create_dir(at("above"))?;
                fs::rename(at("tree"), at("above/below"))?;
                fs::rename(at("above"), at("tree"))
            })
        }
        "nest-by-links" => {
            fs::create_dir(format!("{path}/d"))?;
            symlink("d", &format!("{path}/l0"))?;
            each(|number| {
                fs::create_dir(format!("{path}/l{number}/d"))?;
                symlink(&format!("l{number}/d"), &format!("{path}/l{}", number + 1))
            })
        }
        "flood-bytes" => {
            let mut file = File::create(path)?;
            each(|_| file.write_all(&[b'x'; 1 << 14]))
        }
        "hold-files" => {
            let mut held = Vec::new();
            each(|_| {
                held.push(File::open(path)?);
                Ok(())
            })
        }
        // As many as there may be, as long as there is time.
        "keep-files" => {
            let held: Vec<_> = std::iter::from_fn(|| File::open(path).ok()).collect();
            std::thread::sleep(Duration::from_secs(600));
            Ok(format!("{} files", held.len()))
        }
        "hold-listings" => {
            let mut held = Vec::new();
            each(|_| {
                let mut listing = fs::read_dir(path)?;
                listing.next().transpose()?;
                held.push(listing);
                Ok(())
            })
        }
        _ => Err(Failure::configuration(format!("no verb {verb}"))),
    }
}

fn each<T>(mut deed: impl FnMut(u64) -> io::Result<T>) -> Result<String> {
    const TEN_MILLION: u64 = 10_000_000;
    for number in 0..TEN_MILLION {
        deed(number).doing(format!("after {number}"))?;
    }
    Ok("ten million".to_owned())
}

fn done<T, E: Into<Failure>>(result: std::result::Result<T, E>) -> Result<String> {
    result.map(|_| "done".to_owned()).map_err(Into::into)
}

/// Zero where it is no number, which every caller would notice.
fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// The names in the order in which they come.
fn list(path: &str) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().display().to_string());
    }
    Ok(names.join(" "))
}

fn stat(path: &str) -> Result<String> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_file() => "a file",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a link",
        _ => "something else",
    };
    let seconds = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(format!("{kind} of {} bytes, modified at {seconds} s", metadata.len()))
}

fn get(request: http::Request) -> Result<String> {
    let response = request.send()?;
    Ok(format!("{} {}", response.status(), response.text(1 << 10)?))
}

/// Several at once: the bodies, in the order of the requests.
fn get_all(url: &str, count: u64) -> Result<String> {
    let requests = (0..count).map(|number| http::get(format!("{url}{number}")));
    let bodies: Result<Vec<String>> = http::send_all(requests, |response| response.text(1 << 10)).into_iter().collect();
    Ok(bodies?.join(" "))
}

/// The status, and how many bytes came.
fn post(request: http::Request, body: impl Read + 'static, length: Option<u64>) -> Result<String> {
    let mut response = request.body_from(body, length).send()?;
    let came = io::copy(&mut response, &mut io::sink())?;
    Ok(format!("{} {came}", response.status()))
}

/// A link by WASI's own call, which the host must check like any other; std's is not stable yet.
fn symlink(target: &str, path: &str) -> io::Result<()> {
    unsafe extern "C" {
        #[link_name = "symlink"]
        fn libc_symlink(target: *const c_char, path: *const c_char) -> c_int;
    }
    let (target, path) = (CString::new(target)?, CString::new(path)?);
    // SAFETY: both are texts that end with a NUL and outlive the call.
    match unsafe { libc_symlink(target.as_ptr(), path.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

plugin! {
    /// Does what its script says.
    name: "guest/steps",
    asks: [
        ask(Capability::Clock, "scripts may want it"),
        ask(Capability::Randomness, "scripts may want it"),
        ask(Capability::RevealSecret("token".into()), "scripts may want it"),
        ask(Capability::Http("*".into()), "scripts may want it"),
        ask(Capability::WriteDirectory("shelf".into()), "scripts may want it"),
        ask(Capability::WriteDirectory("books".into()), "scripts may want it"),
        ask(Capability::ReadDirectory("cellar".into()), "scripts may want it"),
        ask(Capability::ReadDirectory("outside".into()), "scripts may want it"),
    ],
    invoke: [steps],
}

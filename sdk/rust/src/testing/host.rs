//! What stands in the place of the host natively: the functions that a component imports, over the [`State`] of the thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(crate) use super::results;
use super::{CURRENT, State, Told};

pub(crate) type InputStream = File;
pub(crate) type OutputStream = File;

fn state() -> Rc<State> {
    let current = CURRENT.with_borrow(Clone::clone);
    current.expect("there is no host in a unit test: make a `pipewright_sdk::testing::Host` first, and keep it")
}

pub(super) fn told<T>(work: impl FnOnce(&mut Told) -> T) -> T {
    work(&mut state().told.borrow_mut())
}

pub(crate) fn root() -> PathBuf {
    state().folder.path().to_owned()
}

pub(crate) fn work() -> PathBuf {
    root().join("scratch")
}

pub(crate) fn milliseconds() -> u64 {
    told(|told| told.time)
}

pub(crate) mod log {
    use super::told;
    use crate::log::Level;

    #[expect(clippy::print_stderr, reason = "cargo shows it where the test fails")]
    pub(crate) fn write(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
        told(|told| told.log.extend([message, "\n"]));
    }

    pub(crate) fn progress(_: Option<u8>, _: &str) {}
}

pub(crate) mod secrets {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::told;
    pub(crate) use crate::bindings::host::pipewright::plugin::secrets::Error;

    pub(crate) fn stand_in(name: &str) -> Result<String, Error> {
        stands(name.to_owned(), reveal(name)?)
    }

    pub(crate) fn basic(user: &str, name: &str) -> Result<String, Error> {
        let value = STANDARD.encode(format!("{user}:{}", reveal(name)?));
        stands(format!("{user}:{name}"), format!("Basic {value}"))
    }

    pub(crate) fn reveal(name: &str) -> Result<String, Error> {
        let refused =
            || Error::Denied(format!("the secret `{name}` is not granted; a test grants it by `Host::secret`"));
        told(|told| told.secrets.get(name).cloned()).ok_or_else(refused)
    }

    fn stands(name: String, value: String) -> Result<String, Error> {
        let stand_in = format!("{{stand-in of {name}}}");
        told(|told| told.stand_ins.insert(stand_in.clone(), value));
        Ok(stand_in)
    }
}

pub(crate) mod commands {
    use super::told;
    pub(crate) use crate::bindings::host::pipewright::plugin::commands::Error;
    use crate::bindings::host::pipewright::plugin::commands::{End, Job};
    use crate::bindings::host::pipewright::plugin::types::NamedValue;

    /// What the grants of the test are: its secrets.
    pub(crate) fn start(job: &Job) -> Result<(), Error> {
        start_with_files(job, &[])
    }

    pub(crate) fn start_with_files(job: &Job, secret_files: &[NamedValue]) -> Result<(), Error> {
        told(|told| {
            if told.job.is_some() {
                return Err(Error::Invalid("a call starts one job, and this one has started one".to_owned()));
            }
            let mut secrets = job.secrets.iter().chain(secret_files);
            if let Some(secret) = secrets.find(|secret| !told.secrets.contains_key(&secret.value)) {
                let name = &secret.value;
                let refused = format!("the secret `{name}` is not granted; a test grants it by `Host::secret`");
                return Err(Error::Denied(refused));
            }
            told.job = Some(job.clone());
            told.secret_files = secret_files.to_vec();
            Ok(())
        })
    }

    pub(crate) fn declared_secrets() -> Vec<NamedValue> {
        told(|told| told.declared_secrets.clone())
    }

    pub(crate) fn ended() -> Option<End> {
        told(|told| told.ended.clone())
    }
}

pub(crate) mod caches {
    use std::fs;

    use super::{root, told};
    pub(crate) use crate::bindings::host::pipewright::plugin::caches::{Error, Found};

    /// Always, in a test.
    pub(crate) fn is_granted() -> bool {
        true
    }

    pub(crate) fn restore(key: &str, fallback_keys: &[String], directory: &str) -> Result<Option<Found>, Error> {
        let found = told(|told| {
            let of = |prefix: &String| told.caches.iter().rev().find(|(key, _)| key.starts_with(prefix.as_str()));
            let exact = told.caches.iter().rev().find(|(it, _)| it == key);
            exact.or_else(|| fallback_keys.iter().find_map(of)).cloned()
        });
        let Some((key, files)) = found else { return Ok(None) };
        let top = root().join("scratch").join(directory);
        for (path, text) in files {
            let path = top.join(path);
            let written = fs::create_dir_all(path.parent().unwrap_or(&top)).and_then(|()| fs::write(&path, text));
            written.map_err(|error| Error::Io(error.to_string()))?;
        }
        Ok(Some(Found { digest: format!("of {key}"), key }))
    }

    pub(crate) fn save(key: &str, directory: &str) -> Result<(), Error> {
        if !root().join("scratch").join(directory).is_dir() {
            return Err(Error::Invalid(format!("there is no directory {directory} below /scratch")));
        }
        told(|told| told.saved_caches.push((key.to_owned(), directory.to_owned())));
        Ok(())
    }
}

pub(crate) mod tools {
    use super::told;
    pub(crate) use crate::bindings::host::pipewright::plugin::tools::{Error, Tool};

    pub(crate) fn run(tool: &Tool) -> Result<i32, Error> {
        told(|told| {
            told.tools.push(tool.clone());
            Ok(told
                .tool_ends
                .pop_front()
                .expect("the action ran a tool, for which the test has no end; see `Host::tool`"))
        })
    }
}

pub(crate) mod http {
    use std::io::{Cursor, Read as _};

    use super::super::Sent;
    use super::told;
    use crate::http::{Outgoing, Response, failure};
    use crate::{Doing, Result};

    /// Answered as soon as it is sent.
    pub(crate) struct Exchange(Option<Result<Response>>);

    impl Exchange {
        pub(crate) fn begin(outgoing: Outgoing) -> Result<Self> {
            let Outgoing { method, url, headers, body, .. } = outgoing;
            let request = format!("{} {url}", name(&format!("{method:?}")));
            let mut bytes = Vec::new();
            if let Some(mut body) = body {
                body.read_to_end(&mut bytes).doing(format_args!("sending the body of the request to {url}"))?;
            }
            let answer = told(|told| {
                let replaced = |value: &[u8]| {
                    let value = String::from_utf8_lossy(value).into_owned();
                    told.stand_ins.iter().fold(value, |value, (stand_in, secret)| value.replace(stand_in, secret))
                };
                let headers = headers.iter().map(|(name, value)| (name.clone(), replaced(value))).collect();
                told.requests.push(Sent { request: request.clone(), headers, body: bytes });
                told.answers.pop_front()
            });
            let answer = match answer {
                Some((expected, answer)) if expected == request => answer,
                Some((expected, _)) => panic!("the action sent `{request}` instead of `{expected}`"),
                None => panic!("the action sent `{request}`, for which the test has no answer; see `Host::answer`"),
            };
            Ok(Self(Some(match answer.error {
                Some(error) => Err(failure(&url, &error)),
                None => Ok(Response::new(answer.status, answer.headers, Cursor::new(answer.body))),
            })))
        }

        pub(crate) fn advance(&mut self) -> Option<Result<Response>> {
            self.0.take()
        }
    }

    pub(crate) fn wait<'a>(_: impl Iterator<Item = &'a Exchange>) {}

    /// `Method::Get` is `GET`.
    fn name(method: &str) -> String {
        method.rsplit("::").next().unwrap_or(method).to_ascii_uppercase()
    }
}

pub(crate) mod artifacts {
    use std::io;

    use sha2::{Digest as _, Sha256};

    use super::*;
    pub(crate) use crate::bindings::host::pipewright::plugin::artifacts::{Copied, Entry, Error, FileKind};

    pub(crate) fn list(path: &str, except: &[String]) -> Result<Vec<Entry>, Error> {
        let top = resolved(path);
        let (mut entries, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for item in fs::read_dir(top.join(&folder)).map_err(|error| failed(path, &error))? {
                let name = item.map_err(|error| failed(path, &error))?.file_name().to_string_lossy().into_owned();
                let below = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if except.contains(&below) {
                    continue;
                }
                let entry = entry(&top, below).map_err(|error| failed(path, &error))?;
                if entry.kind == FileKind::Directory {
                    folders.push(entry.path.clone());
                }
                entries.push(entry);
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    fn entry(top: &Path, path: String) -> io::Result<Entry> {
        let file = top.join(&path);
        let metadata = fs::symlink_metadata(&file)?;
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => FileKind::Directory,
            kind if kind.is_symlink() => FileKind::Link,
            _ => FileKind::File,
        };
        let target = (kind == FileKind::Link).then(|| fs::read_link(&file)).transpose()?;
        Ok(Entry {
            path,
            kind,
            size: if kind == FileKind::File { metadata.len() } else { 0 },
            executable: kind == FileKind::File && is_executable(&metadata),
            target: target.map(|target| target.to_string_lossy().into_owned()),
        })
    }

    pub(crate) fn digest(path: &str) -> Result<String, Error> {
        let content = fs::read(resolved(path)).map_err(|error| failed(path, &error))?;
        Ok(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn copy(source: &str, destination: &str, except: &[String]) -> Result<Copied, Error> {
        let (from, to) = (resolved(source), resolved(destination));
        let mut copied = Copied { files: 0, bytes: 0 };
        let mut one = |from: &Path, to: &Path| {
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            copied.bytes += fs::copy(from, to)?;
            copied.files += 1;
            Ok(())
        };
        if !from.is_dir() {
            one(&from, &to).map_err(|error| failed(source, &error))?;
            return Ok(copied);
        }
        for Entry { path, kind, target, .. } in list(source, except)? {
            let (from, to) = (from.join(&path), to.join(&path));
            match kind {
                FileKind::Directory => fs::create_dir_all(&to),
                FileKind::Link => make_link(&to, &target.unwrap_or_default()),
                FileKind::File => one(&from, &to),
            }
            .map_err(|error| failed(&path, &error))?;
        }
        Ok(copied)
    }

    pub(crate) fn set_executable(path: &str, executable: bool) -> Result<(), Error> {
        make_executable(&resolved(path), executable).map_err(|error| failed(path, &error))
    }

    pub(crate) fn link(path: &str, target: &str) -> Result<(), Error> {
        make_link(&resolved(path), target).map_err(|error| failed(path, &error))
    }

    pub(crate) fn sync(path: &str) -> Result<(), Error> {
        fs::symlink_metadata(resolved(path)).map(|_| ()).map_err(|error| failed(path, &error))
    }

    pub(crate) fn zip(_: &str, _: &str) -> Result<Copied, Error> {
        Err(Error::Io("a unit test's host has no `zip`: test it with a case in `cases/`".to_owned()))
    }

    pub(crate) fn unzip(_: &str, _: &str) -> Result<Copied, Error> {
        Err(Error::Io("a unit test's host has no `unzip`: test it with a case in `cases/`".to_owned()))
    }

    pub(crate) fn read(path: &str) -> Result<File, Error> {
        File::open(resolved(path)).map_err(|error| failed(path, &error))
    }

    pub(crate) fn write(path: &str, executable: bool) -> Result<File, Error> {
        let file = resolved(path);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&file));
        let made = made.and_then(|made| make_executable(&file, executable).map(|()| made));
        made.map_err(|error| failed(path, &error))
    }

    /// Paths of the SDK begin at the temporary directory; those that a plugin wrote down begin at the root that it sees.
    fn resolved(path: &str) -> PathBuf {
        let (path, root) = (Path::new(path), root());
        match path.strip_prefix("/") {
            Ok(below) if !path.starts_with(&root) => root.join(below),
            _ => root.join(path),
        }
    }

    fn failed(path: &str, error: &io::Error) -> Error {
        let granted = root().join("directories");
        let name = resolved(path).strip_prefix(&granted).ok().and_then(|path| path.iter().next().map(PathBuf::from));
        match name {
            Some(name) if !granted.join(&name).exists() => Error::Denied(format!(
                "the directory `{}` is not granted; a test grants it by `Host::directory`",
                name.display()
            )),
            _ if error.kind() == io::ErrorKind::NotFound => Error::NotFound(path.to_owned()),
            _ => Error::Io(format!("{path}: {error}")),
        }
    }

    #[cfg(unix)]
    fn is_executable(metadata: &fs::Metadata) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        metadata.permissions().mode() & 0o100 != 0
    }

    #[cfg(unix)]
    fn make_executable(file: &Path, executable: bool) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(file, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
    }

    #[cfg(unix)]
    fn make_link(file: &Path, target: &str) -> io::Result<()> {
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::os::unix::fs::symlink(target, file),
        }
    }

    #[cfg(not(unix))]
    fn is_executable(_: &fs::Metadata) -> bool {
        false
    }

    #[cfg(not(unix))]
    fn make_executable(_: &Path, _: bool) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(unix))]
    fn make_link(_: &Path, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

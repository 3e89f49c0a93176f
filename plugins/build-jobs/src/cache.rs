//! Owns the cache of a build: under which key it is kept, what of it the build begins with, and which files it is.
//!
//! The files of the sources win over those of a cache, so that none changes what is built; and they are younger, for tools that
//! compare times. Whatever is wrong with a cache is told, and the build goes on without.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use pipewright_buildspec::{Cache, Content, Section, expanded, matches};
use pipewright_sdk::files::FileKind;
use pipewright_sdk::prelude::*;
use pipewright_sdk::{commands, files};

use crate::course::SOURCE;
use crate::results::Ended;

/// Below the scratch: what was kept, and what is to be.
pub(crate) const DIRECTORY: &str = "cache";
const TEXT_FILE: &str = "cache-text";
const HOME: &str = ".home";
const HASH_FILES: &str = "codebuild-hash-files";
/// A clock of a file system may stand still so long.
const TICK: Duration = Duration::from_millis(10);
/// Enough to tell two lists of paths apart.
const DIGITS: usize = 12;

/// Where commands have their home.
fn home() -> String {
    commands::work().join(HOME).display().to_string()
}

/// Lays out what is kept, beside the place of the sources; gives the key under which the build is to keep what it leaves.
pub(crate) fn fetch(
    action: &Action,
    cache: &Cache,
    source: Option<&str>,
    environment: &BTreeMap<String, String>,
) -> Option<String> {
    let fetched = || {
        let of_paths = digest(action, &cache.paths.join("\n"))?;
        // What was kept for other paths is another cache.
        let whole = |key: String| format!("{}:{key}", &of_paths[..DIGITS.min(of_paths.len())]);
        let evaluated = |key: &String| Ok(whole(evaluated(action, key, source, environment)?));
        let key = cache.key.as_ref().map_or_else(|| Ok(whole(String::new())), evaluated)?;
        let fallbacks = match cache.key {
            Some(_) => cache.fallback_keys.iter().map(evaluated).collect::<Result<Vec<_>>>()?,
            None => Vec::new(),
        };
        let found = if cache.restores { caches::restore(&key, &fallbacks, DIRECTORY)? } else { None };
        if found.is_some() {
            thread::sleep(TICK);
        } else if cache.restores {
            info!("There is no cache `{key}` yet");
        }
        // What a key stands for stays; without one there is one cache, and always the latest.
        let is_kept = cache.key.is_some() && found.is_some_and(|found| found.key == key);
        Ok((cache.saves && !is_kept).then_some(key))
    };
    fetched().unwrap_or_else(|failure: Failure| {
        warn!("The build goes on without a cache: {}", failure.message);
        // What was laid out of it is no cache.
        let _ = fs::remove_dir_all(action.scratch().join(DIRECTORY));
        None
    })
}

/// Puts what was fetched where the paths say, but in no other file's place.
pub(crate) fn place(scratch: &Path) -> Result<()> {
    let kept = scratch.join(DIRECTORY);
    if !kept.is_dir() {
        return Ok(());
    }
    for part in [SOURCE, HOME] {
        if kept.join(part).is_dir() {
            merge(&kept.join(part), &scratch.join(part)).doing("laying out the cache")?;
        }
    }
    fs::remove_dir_all(kept).doing("laying out the cache")
}

fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        match fs::symlink_metadata(&there) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(to)?;
                fs::rename(path, there)?;
            }
            Ok(found) if found.is_dir() && entry.file_type()?.is_dir() => merge(&path, &there)?,
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has what the build leaves kept. What is of no use to a later build is passed over with a line in the log.
pub(crate) fn keep(ended: &Ended, scratch: &Path, cache: &Cache, key: &str) -> Result<()> {
    let directory = scratch.join(DIRECTORY);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&directory)?,
    }
    for (part, section) in parts(&cache.paths) {
        let picked = match ended.select(&section, None) {
            Ok(picked) => picked,
            Err(context) => {
                info!("Nothing is kept of {}: {}", section.files.join(", "), context.message);
                continue;
            }
        };
        for (name, content) in picked {
            let to = directory.join(part).join(name);
            match &content {
                Content::File(path) => files::copy(path, &to, &[]).map(drop)?,
                Content::Link(target) => files::link(&to, target)?,
            }
        }
    }
    caches::save(key, DIRECTORY)
}

/// The paths of a cache: those of the source, and those of the home, which is `/root` to many buildspecs.
fn parts(paths: &[String]) -> Vec<(&'static str, Section)> {
    let home = home();
    let (mut of_source, mut of_home) = (Vec::new(), Vec::new());
    for path in paths {
        let homes = ["~", "$HOME", "${HOME}", "/root", &home];
        match homes.iter().find_map(|home| path.strip_prefix(home)?.strip_prefix('/')) {
            Some(below) => of_home.push(below.to_owned()),
            None => of_source.push(path.clone()),
        }
    }
    let section =
        |files, base_directory| Section { files, base_directory, enable_symlinks: true, ..Section::default() };
    let parts = [(SOURCE, section(of_source, None)), (HOME, section(of_home, Some(home)))];
    parts.into_iter().filter(|(_, section)| !section.files.is_empty()).collect()
}

/// The key with its variables, and with digests of files; no shell has been started yet.
fn evaluated(
    action: &Action,
    text: &str,
    source: Option<&str>,
    environment: &BTreeMap<String, String>,
) -> Result<String> {
    let mut key = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        key += &expanded(before, environment);
        let (command, after) = after.split_once(')').unwrap_or((after, ""));
        let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        if words.next() != Some(HASH_FILES) {
            let mend = format!("use variables and `$({HASH_FILES} FILE…)`");
            return Err(Failure::configuration(format!("the key `{text}` needs a shell: {mend}")));
        }
        key += &hashed(action, source, &words.collect::<Vec<_>>())?;
        rest = after;
    }
    Ok(key + &expanded(rest, environment))
}

/// One digest of all files of the source that a pattern names.
fn hashed(action: &Action, source: Option<&str>, patterns: &[&str]) -> Result<String> {
    let Some(input) = action.inputs().find(|input| Some(input.name()) == source) else { return digest(action, "") };
    let mut listed = String::new();
    for entry in files::list(&input, &[])?.iter().filter(|entry| entry.kind == FileKind::File) {
        if patterns.iter().any(|pattern| matches(pattern, &entry.path)) {
            listed += &format!("{} {}\n", files::digest(input.join(&entry.path))?, entry.path);
        }
    }
    digest(action, &listed)
}

fn digest(action: &Action, text: &str) -> Result<String> {
    let file = action.scratch().join(TEXT_FILE);
    fs::write(&file, text)?;
    let digest = files::digest(&file)?;
    fs::remove_file(&file)?;
    Ok(digest)
}

//! Source `Custom/Directory/1`: a granted directory, or git work tree, as it is.
//!
//! Files that git ignores are left out, but for those that it tracks all the same; `.git` is always left out. Where the
//! directory is the top of a work tree, its commit is the revision and the source of the variables. Whatever is odd about
//! the repository costs a variable, and where it costs files the log says so; only a repository that is nowhere in reach ends
//! the action. Without a commit the revision is a digest of what was taken.

#[cfg(test)]
mod fixture;
mod ignored;
mod index;
mod objects;
mod reftable;
mod repository;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pipewright_sdk::prelude::*;
use repository::Repository;
use source_files::{LFS_POINTER_BYTES_MAX, LfsPointer, listed};

#[derive(Settings)]
struct Which {
    /// The name under which the directory is granted.
    #[setting(default = "source")]
    directory: String,
    /// The name under which the folder of the repository is granted, where it lies elsewhere: for a work tree that
    /// `git worktree add` made, the folder `.git` of the first one.
    #[setting(default = "repository")]
    repository: String,
    /// Whether the host looks for new commits by itself, and starts the pipeline for each.
    #[setting(default = "true")]
    #[expect(dead_code, reason = "the host reads it")]
    poll_for_source_changes: bool,
}

/// Those of CodePipeline's own git sources (S84), as far as the repository tells them.
#[derive(Variables)]
struct Told {
    /// The id of the commit that is checked out.
    commit_id: Option<String>,
    /// Its message.
    commit_message: Option<String>,
    /// When its author wrote it, like `2026-01-31T09:30:00Z`.
    author_date: Option<String>,
    /// When it was committed.
    committer_date: Option<String>,
    /// The branch that is checked out.
    branch_name: Option<String>,
    /// The last part of the address of the remote `origin`, without `.git`.
    repository_name: Option<String>,
}

/// Takes a directory of the host as it is: a folder, or a git work tree with whatever is not committed. What git ignores
/// is left out, and symbolic links that lead out of the directory; the log names those, submodules, and files that Git LFS
/// has not fetched.
#[action(provider = "Directory", outputs = 1, latest = latest)]
fn directory(action: &Action, settings: Which) -> Result<Fetched<Told>> {
    let (source, repository) = open(action, &settings)?;
    let output = action.output()?;
    let (revision, variables) = read(repository.as_ref());
    let expect = |what: &str, found: &Revision| expect(action.revision(), what, found, &settings.directory);
    revision.as_ref().map(|found| expect("is at commit", found)).transpose()?;
    progress(None, "looking for ignored files");
    let found = ignored::find(&source, repository.as_ref())
        .doing(format_args!("looking for ignored files in `{}`", settings.directory))?;
    let copied = copy(&source, &output, &found)?;
    if let Some(Revision { id, summary, .. }) = &revision {
        let subject = summary.as_deref().unwrap_or("the commit cannot be read");
        let summary = format!("{}: {subject}", &id[..id.len().min(8)]);
        return Ok(Fetched { revision, report: Report::new(summary).variables(variables) });
    }
    let summary = format!("{} files", copied.files);
    let id = digest(&output, action.scratch())?;
    let revision = Revision { id, summary: Some(summary.clone()), url: None, created: None };
    expect("has the content", &revision)?;
    Ok(Fetched { revision: Some(revision), report: Report::new(summary).variables(variables) })
}

/// A directory without a commit is never looked at: a digest of all of it would be made each time.
fn latest(action: &Action, settings: Which) -> Result<Option<Revision>> {
    Ok(read(open(action, &settings)?.1.as_ref()).0)
}

/// The directory, and its repository.
fn open(action: &Action, settings: &Which) -> Result<(PathBuf, Option<Repository>)> {
    let source = action.directory(&settings.directory)?;
    let apart = Path::new("/directories").join(&settings.repository);
    let repository = Repository::open(&source, &source, Some(&apart)).map_err(|leads| {
        Failure::configuration(format!(
            "the repository of `{}` lies elsewhere, at {leads}, so that nobody knows here what is tracked, ignored and checked \
             out: grant that repository for reading as well, like `directories.{} = {{ path = \"/path/to/site/.git\", access = \
             \"read\" }}`, or grant a clone instead",
            settings.directory, settings.repository
        ))
    });
    Ok((source, repository?))
}

fn expect(wanted: Option<&str>, what: &str, Revision { id, .. }: &Revision, directory: &str) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != id => Err(Failure::revision_unavailable(format!(
            "the directory `{directory}` {what} {id}, and {wanted} was asked for; check that one out, or start anew"
        ))),
        _ => Ok(()),
    }
}

/// Copies what is not ignored, and can be in an artifact.
fn copy(source: &Path, output: &Output, found: &ignored::Found) -> Result<files::Copied> {
    let mut except = found.left_out.clone();
    let entries = files::list(source, &except)?;
    let folders: BTreeSet<&str> =
        entries.iter().filter(|entry| entry.kind == files::FileKind::Directory).map(|entry| &*entry.path).collect();
    let (mut rewritten, mut left_out, mut pointers) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        let path = &entry.path;
        if let Some(to) = &entry.target {
            match source_files::target(path, to, |folder| folders.contains(folder)) {
                Ok(target) if *target == **to => continue,
                Ok(target) => rewritten.push((path, target)),
                Err(why) => left_out.push(format!("`{path}` (to `{}`, {why})", to.escape_debug())),
            }
            except.push(path.clone());
        } else if found.has_lfs
            && entry.kind == files::FileKind::File
            && entry.size < LFS_POINTER_BYTES_MAX
            && LfsPointer::parse(&fs::read(source.join(path)).doing(format_args!("reading `{path}`"))?).is_some()
        {
            pointers.push(format!("`{path}`"));
        }
    }
    let copied = files::copy(source, output, &except)?;
    for (path, target) in rewritten {
        files::link(output.join(path), &target).doing(format_args!("the link `{path}`"))?;
    }
    info!("took {} files, {} bytes", copied.files, copied.bytes);
    tell(&found.submodules, "submodules are taken as they are checked out");
    tell(&found.empty_submodules, "submodules that are not checked out are empty folders");
    tell(
        &pointers,
        "Git LFS keeps these files elsewhere, and what is here are its pointers; `git lfs pull` fetches them",
    );
    tell(&left_out, "symbolic links that cannot be in an artifact are left out");
    tell(
        &found.unread,
        "git's index cannot be read, so that files are missing which are tracked though a rule ignores them",
    );
    Ok(copied)
}

fn tell(names: &[String], what: &str) {
    if !names.is_empty() {
        warn!("{what}: {}", listed(names));
    }
}

/// The same for the same files with the same modes, and the same links.
fn digest(output: &Output, scratch: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in files::list(output, &[])? {
        let (kind, content) = match (entry.kind, entry.target) {
            (files::FileKind::Directory, _) => continue,
            (files::FileKind::Link, target) => ("link", target.unwrap_or_default()),
            (files::FileKind::File, _) => {
                (if entry.executable { "program" } else { "file" }, files::digest(output.join(&entry.path))?)
            }
        };
        // Writing to a String does not fail. What is quoted has no line feed.
        let _ = writeln!(text, "{kind} {:?} {content:?}", entry.path);
    }
    let listing = scratch.join("listing");
    fs::write(&listing, text)?;
    files::digest(&listing)
}

fn read(repository: Option<&Repository>) -> (Option<Revision>, Told) {
    let head = repository.and_then(Repository::head);
    let branch = head.as_ref().and_then(|head| head.branch.clone());
    let id = head.and_then(|head| head.id);
    let commit = repository.zip(id.as_ref()).and_then(|(repository, id)| repository.commit(id));
    let revision = id.clone().map(|id| Revision {
        id,
        summary: commit.as_ref().map(|commit| commit.subject().to_owned()),
        url: None,
        created: commit.as_ref().and_then(|commit| commit.committed?.as_millisecond().try_into().ok()),
    });
    let variables = Told {
        commit_id: id,
        author_date: commit.as_ref().and_then(|commit| Some(commit.authored?.to_string())),
        committer_date: commit.as_ref().and_then(|commit| Some(commit.committed?.to_string())),
        commit_message: commit.map(|commit| commit.message),
        branch_name: branch,
        repository_name: repository.and_then(Repository::name),
    };
    (revision, variables)
}

plugin! {
    /// Feeds a pipeline from a directory of the host.
    name: "pipewright/source-directory",
    asks: [
        ask(Capability::ReadDirectory("Directory".into()), "the directory that is the source"),
        ask(Capability::ReadDirectory("Repository".into()), "its git repository, where that lies elsewhere"),
    ],
    source: [directory],
}

//! Source `Custom/Directory/1`: a granted directory, or git work tree, as it is.
//!
//! Files that git ignores are left out, but for those that it tracks all the same; `.git` is always left out. Where the
//! directory is the top of a work tree, its commit is the revision and the source of the variables. Whatever is odd about
//! the repository costs a variable, never the action: git is no more than a hint here.

#[cfg(test)]
mod fixture;
mod ignored;
mod objects;
mod repository;

use std::path::Path;

use pipewright_sdk::prelude::*;
use repository::Repository;

#[derive(Settings)]
struct Which {
    /// The name under which the directory is granted.
    #[setting(default = "source")]
    directory: String,
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
/// is left out.
#[action(provider = "Directory", outputs = 1, latest = latest)]
fn directory(action: &Action, settings: Which) -> Result<Fetched<Told>> {
    let source = action.directory(&settings.directory)?;
    let output = action.output()?;
    let (revision, variables) = read(&source);
    let found = revision.as_ref().map(|revision| revision.id.as_str());
    if let Some(wanted) = action.revision()
        && found != Some(wanted)
    {
        let at = found.map_or("of no commit".to_owned(), |found| format!("at commit {found}"));
        return Err(Failure::revision_unavailable(format!(
            "the directory `{}` is {at}, and {wanted} was asked for; check that one out, or start anew",
            settings.directory
        )));
    }
    progress(None, "looking for ignored files");
    let left_out =
        ignored::paths(&source).doing(format_args!("looking for ignored files in `{}`", settings.directory))?;
    let copied = files::copy(&source, &output, &left_out)?;
    info!("took {} files, {} bytes", copied.files, copied.bytes);
    let summary = match &revision {
        Some(Revision { id, summary: Some(message), .. }) => format!("{}: {message}", &id[..id.len().min(8)]),
        _ => format!("{} files", copied.files),
    };
    Ok(Fetched { revision, report: Report::new(summary).variables(variables) })
}

fn latest(action: &Action, settings: Which) -> Result<Option<Revision>> {
    Ok(read(&action.directory(&settings.directory)?).0)
}

fn read(source: &Path) -> (Option<Revision>, Told) {
    let repository = Repository::open(source);
    let head = repository.as_ref().and_then(Repository::head);
    let branch = head.as_ref().and_then(|head| head.branch.clone());
    let id = head.and_then(|head| head.id);
    let commit = repository.as_ref().zip(id.as_ref()).and_then(|(repository, id)| repository.commit(id));
    let revision = id.clone().map(|id| Revision {
        id,
        summary: commit.as_ref().and_then(|commit| commit.message.lines().next().map(str::to_owned)),
        url: None,
        created: commit.as_ref().and_then(|commit| commit.committed?.as_millisecond().try_into().ok()),
    });
    let variables = Told {
        commit_id: id,
        author_date: commit.as_ref().and_then(|commit| Some(commit.authored?.to_string())),
        committer_date: commit.as_ref().and_then(|commit| Some(commit.committed?.to_string())),
        commit_message: commit.map(|commit| commit.message),
        branch_name: branch,
        repository_name: repository.as_ref().and_then(Repository::name),
    };
    (revision, variables)
}

plugin! {
    /// Feeds a pipeline from a directory of the host.
    name: "pipewright/source-directory",
    asks: [ask(Capability::ReadDirectory("Directory".into()), "the directory that is the source")],
    source: [directory],
}

//! Source `Custom/Git/1`: a branch, tag or commit of a git repository, by smart HTTP, without its history. And the sources of
//! CodePipeline that name a repository on a git host (`connected`).
//!
//! All of it happens in the sandbox: the server is asked by way of the granted requests, the pack lies in the scratch
//! directory, and what comes of it is the output artifact. Nothing that the server sends is believed: ids are checked, and
//! sizes bounded.

mod address;
mod checkout;
mod connected;
mod fetch;
mod inflate;
mod lfs;
mod pack;
mod packets;
mod receive;
mod refs;
mod remote;
mod server;
mod tree;
mod wanted;
mod words;

use git_objects::Commit;
use gix_hash::ObjectId;
use pipewright_sdk::prelude::*;

use connected::{codecommit, connection, github};
use pack::Kind;
use remote::{Authentication, Remote};
use wanted::{Found, Wanted};

/// Stops a commit message that takes the memory.
const COMMIT_BYTES_MAX: u64 = 16 << 20;
/// Each report of progress is a line somewhere.
const PROGRESS_PERCENT_STEP: u8 = 10;

#[derive(Settings)]
struct Which {
    /// The repository's address, beginning with `https://` or `http://`; without a user name or password.
    repository_url: String,
    /// The branch; without one, a tag or a commit, the one that the repository's HEAD stands for.
    branch_name: Option<String>,
    /// A tag instead of a branch.
    tag: Option<String>,
    /// The full id of a commit instead of a branch.
    commit_id: Option<String>,
    /// Whether the host looks for new commits by itself, and starts the pipeline for each.
    #[setting(default = "true")]
    #[expect(dead_code, reason = "the host reads it")]
    poll_for_source_changes: bool,
    /// The name of a granted secret: a password or a token.
    secret: Option<String>,
    /// The user name that goes with the secret. Many servers take any for a token.
    #[setting(default = "git")]
    username: String,
    /// How the server takes the secret: as the password of basic authentication, or as a bearer token.
    #[setting(default = "Basic")]
    authentication: Authentication,
}

/// Those of CodePipeline's own git sources (S84).
#[derive(Variables)]
struct Told {
    /// The id of the commit.
    commit_id: String,
    /// Its message.
    commit_message: String,
    /// When its author wrote it, like `2026-01-31T09:30:00Z`.
    author_date: Option<String>,
    /// When it was committed.
    committer_date: Option<String>,
    /// The branch, if it came from one.
    branch_name: Option<String>,
    /// The last part of the repository's address, without `.git`.
    repository_name: Option<String>,
}

impl Which {
    fn remote(&self) -> Result<Remote> {
        let secret = self.secret.as_deref().map(|secret| (secret, self.username.as_str(), self.authentication));
        Remote::new(&words::GIT, &self.repository_url, secret)
    }

    fn wanted(&self) -> Result<Wanted> {
        Wanted::new(self.branch_name.as_deref(), self.tag.as_deref(), self.commit_id.as_deref())
    }
}

/// Fetches one commit of a git repository over HTTP, without its history: the newest of a branch, the one of a tag, or a
/// certain one. The files are as the repository holds them: `.gitattributes` is not applied. Files that Git LFS keeps are
/// fetched as well, where the grants allow it; else they are its pointers, which the log names. A submodule is an empty folder, as after `git clone`. Symbolic links that lead out of
/// the repository are left out, and named.
#[action(provider = "Git", outputs = 1, latest = latest)]
fn git(action: &Action, settings: Which) -> Result<Fetched<Told>> {
    let Taken { fetched, commit, branch, repository } = fetch_commit(action, settings.wanted()?, settings.remote()?)?;
    let variables = Told {
        commit_id: fetched.revision.as_ref().map(|revision| revision.id.clone()).unwrap_or_default(),
        commit_message: commit.message,
        author_date: commit.authored.map(|time| time.to_string()),
        committer_date: commit.committed.map(|time| time.to_string()),
        branch_name: branch,
        repository_name: repository,
    };
    Ok(Fetched { revision: fetched.revision, report: fetched.report.variables(variables) })
}

/// A commit that was fetched, and what there is to tell of it.
pub(crate) struct Taken {
    fetched: Fetched,
    commit: Commit,
    branch: Option<String>,
    repository: Option<String>,
}

/// Fetches the wanted commit, or the one that started the execution, into the output.
pub(crate) fn fetch_commit(action: &Action, wanted: Wanted, mut remote: Remote) -> Result<Taken> {
    let output = action.output()?;
    let revision = action.revision().map(wanted::revision).transpose()?;
    let server = remote.discover()?;
    let Found { id, branch } = match revision {
        Some(id) => wanted.at(id, &server, &remote)?,
        None => wanted.find(&server, &remote)?,
    };
    info!("fetching {id} from {}", remote.address());
    let mut pack = remote.command(&fetch::request(&id, &server), |lines| {
        fetch::response(&id, lines, |bytes| receive::receive(bytes, action.scratch(), received()))
    })?;
    let kind = pack.kind(&id)?;
    match (kind, revision) {
        (Kind::Commit, _) => {}
        (_, None) => return Err(wanted.not_a_commit(kind.name(), &remote)),
        (_, Some(id)) => {
            let text = format!("the revision {id} is of a {}, not of a commit; start with one", kind.name());
            return Err(Failure::revision_unavailable(text));
        }
    }
    let commit = pack.content(&id, Kind::Commit, COMMIT_BYTES_MAX)?;
    progress(None, "writing files");
    let mut written = checkout::write(&mut pack, fetch::tree(&commit)?, &output)?;
    written.tell();
    lfs::fetch(&written.take_pointers(), &remote, &output, action.scratch());
    let commit = Commit::parse(&commit);
    Ok(Taken { fetched: told(id, &commit), commit, branch, repository: remote.address().repository_name() })
}

fn latest(_: &Action, settings: Which) -> Result<Option<Revision>> {
    newest(&settings.wanted()?, settings.remote()?)
}

/// The newest commit, without fetching it.
pub(crate) fn newest(wanted: &Wanted, remote: Remote) -> Result<Option<Revision>> {
    let id = wanted.poll(remote)?;
    Ok(id.map(|id| Revision { id: id.to_string(), summary: None, url: None, created: None }))
}

/// Tells how much of a pack has come.
fn received() -> impl FnMut(u32, u32) {
    let mut next = 0;
    move |number, count| {
        let percent = (u64::from(number) * 100 / u64::from(count.max(1))) as u8;
        if percent >= next {
            progress(Some(percent), &format!("receiving {count} objects"));
            next = percent + PROGRESS_PERCENT_STEP;
        }
    }
}

fn told(id: ObjectId, commit: &Commit) -> Fetched {
    let id = id.to_string();
    let summary = format!("{}: {}", &id[..8], commit.subject());
    let revision = Revision {
        id,
        summary: Some(commit.subject().to_owned()),
        url: None,
        created: commit.committed.and_then(|time| time.as_millisecond().try_into().ok()),
    };
    Fetched { revision: Some(revision), report: Report::new(summary) }
}

plugin! {
    /// Feeds a pipeline from a git repository.
    name: "pipewright/source-git",
    asks: [
        ask(Capability::Http("*".into()), "the server of the repository that the settings name"),
        ask(Capability::Secret("Secret".into()), "the password or token for that server"),
    ],
    source: [git, connection, codecommit, github],
}

//! What the settings want: the branch of HEAD, a branch, a tag, or a commit; and which commit that is now.

use gix_hash::ObjectId;
use pipewright_sdk::{Failure, Result};

use crate::refs::{self, BRANCHES, HEAD, Reference, TAGS};
use crate::remote::Remote;
use crate::server::Server;

#[derive(Debug, PartialEq)]
pub(crate) enum Wanted {
    /// The branch that the repository's HEAD stands for.
    Head,
    Branch(String),
    Tag(String),
    Commit(ObjectId),
}

pub(crate) struct Found {
    pub(crate) id: ObjectId,
    pub(crate) branch: Option<String>,
}

impl Wanted {
    /// From the settings `BranchName`, `Tag` and `CommitId`.
    pub(crate) fn new(branch: Option<&str>, tag: Option<&str>, commit: Option<&str>) -> Result<Self> {
        match (branch, tag, commit) {
            (None, None, None) => Ok(Self::Head),
            (Some(branch), None, None) => Self::branch("BranchName", branch),
            (None, Some(tag), None) => Ok(Self::Tag(name("Tag", tag)?)),
            (None, None, Some(commit)) => id(commit).map(Self::Commit).ok_or_else(|| {
                Failure::configuration(format!(
                    "setting `CommitId` must be a full commit id of 40 digits, and is `{commit}`"
                ))
            }),
            _ => Err(Failure::configuration("give only one of the settings `BranchName`, `Tag` and `CommitId`")),
        }
    }

    /// The branch that the setting of this name gives.
    pub(crate) fn branch(setting: &str, branch: &str) -> Result<Self> {
        name(setting, branch).map(Self::Branch)
    }

    fn reference(&self) -> String {
        match self {
            Self::Head | Self::Commit(_) => HEAD.to_owned(),
            Self::Branch(name) => format!("{BRANCHES}{name}"),
            Self::Tag(name) => format!("{TAGS}{name}"),
        }
    }

    /// The commit that it is now.
    pub(crate) fn find(&self, server: &Server, remote: &Remote) -> Result<Found> {
        match self {
            Self::Commit(id) => Ok(Found { id: *id, branch: None }),
            _ => self.look_up(server, remote)?.ok_or_else(|| self.missing(server, remote)),
        }
    }

    /// The same for a certain commit.
    pub(crate) fn at(&self, id: ObjectId, server: &Server, remote: &Remote) -> Result<Found> {
        let branch = match self {
            Self::Head => self.look_up(server, remote)?.and_then(|found| found.branch),
            Self::Branch(name) => Some(name.clone()),
            Self::Tag(_) | Self::Commit(_) => None,
        };
        Ok(Found { id, branch })
    }

    /// The commit that it is now, with as little as possible said; none where the repository is empty.
    pub(crate) fn poll(&self, mut remote: Remote) -> Result<Option<ObjectId>> {
        if let Self::Commit(id) = self {
            return Ok(Some(*id));
        }
        let name = self.reference();
        if let Some(Some(found)) = remote.command_at_once(&refs::request(&name), |lines| refs::find(&name, lines))? {
            return Ok(Some(found.id));
        }
        let server = remote.discover()?;
        match (self, self.look_up(&server, &remote)?) {
            (_, Some(found)) => Ok(Some(found.id)),
            (Self::Head, None) => Ok(None),
            (_, None) => Err(self.missing(&server, &remote)),
        }
    }

    fn look_up(&self, server: &Server, remote: &Remote) -> Result<Option<Found>> {
        let found = server.find(&self.reference(), remote)?;
        Ok(found.map(|Reference { name, id, target }| {
            let branch = target.unwrap_or(name);
            Found { id, branch: branch.strip_prefix(BRANCHES).map(str::to_owned) }
        }))
    }

    fn missing(&self, server: &Server, remote: &Remote) -> Failure {
        let branch = remote.words().branch;
        let (kind, setting, prefix, what) = match self {
            Self::Tag(name) => ("tags", "Tag", TAGS, format!("no tag `{name}`")),
            Self::Branch(name) => ("branches", branch, BRANCHES, format!("no branch `{name}`")),
            Self::Head | Self::Commit(_) => ("branches", branch, BRANCHES, "no commit on its HEAD".to_owned()),
        };
        let there = match server.names(prefix, remote) {
            Ok(Some(names)) => format!("its {kind} are {names}; correct the setting `{setting}`"),
            Ok(None) => format!("it has no {kind}"),
            Err(failure) => failure.message,
        };
        Failure::revision_unavailable(format!("{} has {what}: {there}", remote.address()))
    }

    /// What was found is not of a commit but of `kind`.
    pub(crate) fn not_a_commit(&self, kind: &str, remote: &Remote) -> Failure {
        let (what, setting) = match self {
            Self::Tag(name) => (format!("the tag `{name}`"), "Tag"),
            Self::Branch(name) => (format!("the branch `{name}`"), remote.words().branch),
            Self::Head => ("HEAD".to_owned(), "BranchName"),
            Self::Commit(id) => (format!("the id {id}"), "CommitId"),
        };
        let address = remote.address();
        Failure::configuration(format!(
            "{what} of {address} is of a {kind}, not of a commit; correct the setting `{setting}`"
        ))
    }
}

/// The commit that the start of an execution asked for.
pub(crate) fn revision(text: &str) -> Result<ObjectId> {
    id(text).ok_or_else(|| {
        Failure::revision_unavailable(format!(
            "the revision `{text}` is not a full commit id of 40 digits; start with one"
        ))
    })
}

fn id(text: &str) -> Option<ObjectId> {
    ObjectId::from_hex(text.as_bytes()).ok()
}

fn name(setting: &str, name: &str) -> Result<String> {
    match gix_validate::reference::name_partial(name.into()) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => {
            Err(Failure::configuration(format!("setting `{setting}` must be a name that git allows, and is `{name}`")))
        }
    }
}

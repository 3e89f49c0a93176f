//! What starts a pipeline from outside: which pushes and pull requests of a repository a declared trigger is for (S95 to S98).
//!
//! Owns the filters and their patterns (`glob`). Must not know how a repository tells of an event, or who starts the execution.

pub mod glob;

use std::fmt;

use crate::declaration::{
    GitPatterns, GitPullRequestEventType, GitPullRequestFilter, GitPushFilter, PipelineTriggerDeclaration,
};
use crate::machine::{SourceRevisionOverride, SourceRevisionType, StartRequest, Trigger, TriggerType};
use glob::{Glob, InvalidGlob};

/// Something that happened in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitEvent {
    pub what: GitHappening,
    /// The commit that is to be released: the one that was pushed or tagged, or the newest of a pull request.
    pub commit: String,
    /// The paths of the files that it changed; none where the repository does not say.
    pub files: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitHappening {
    Push {
        branch: String,
    },
    Tag {
        tag: String,
    },
    /// A pull request was opened, updated, or closed by merging it. One that is closed without that is no event.
    PullRequest {
        what: GitPullRequestEventType,
        from: String,
        into: String,
    },
}

/// Which part of a trigger an event fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The filter, as a path below `gitConfiguration`; none where the trigger has no filters.
    pub filter: Option<String>,
    pub what: GitHappening,
}

impl GitHappening {
    /// Where the change was made (S290).
    fn branch(&self) -> String {
        match self {
            Self::Push { branch } => branch.clone(),
            // No branch is called so.
            Self::Tag { tag } => format!("refs/tags/{tag}"),
            Self::PullRequest { from, .. } => from.clone(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            GitHappening::Push { branch } => write!(f, "push to branch {branch}")?,
            GitHappening::Tag { tag } => write!(f, "push of tag {tag}")?,
            GitHappening::PullRequest { what, from, into } => {
                let what = match what {
                    GitPullRequestEventType::Open => "opened",
                    GitPullRequestEventType::Updated => "updated",
                    GitPullRequestEventType::Closed => "merged",
                };
                write!(f, "pull request from branch {from} into {into} {what}")?;
            }
        }
        self.filter.iter().try_for_each(|filter| write!(f, " ({filter})"))
    }
}

/// Why an event starts a trigger's pipeline; none where it does not. One filter is enough, and all that a filter says must be
/// so. A trigger without filters is for pushes to the branch that its source action names.
pub fn matches(trigger: &PipelineTriggerDeclaration, branch: Option<&str>, event: &GitEvent) -> Option<Why> {
    let git = &trigger.git_configuration;
    let why = |filter| Why { filter, what: event.what.clone() };
    if git.push.is_none() && git.pull_request.is_none() {
        let is_branch = matches!(&event.what, GitHappening::Push { branch: pushed } if Some(pushed.as_str()) == branch);
        return is_branch.then(|| why(None));
    }
    let mut push = git.push.iter().flatten().enumerate();
    let mut pull_request = git.pull_request.iter().flatten().enumerate();
    let pushed = push.find(|(_, filter)| is_pushed(filter, event)).map(|(index, _)| format!("push[{index}]"));
    let filter = pushed.or_else(|| {
        let asked = pull_request.find(|(_, filter)| is_asked(filter, event));
        asked.map(|(index, _)| format!("pullRequest[{index}]"))
    });
    filter.map(|filter| why(Some(filter)))
}

/// What a trigger starts an execution with: the commit of the event, as its source action's revision.
pub fn start(trigger: &PipelineTriggerDeclaration, event: &GitEvent, why: &Why) -> StartRequest {
    StartRequest {
        trigger: Trigger { kind: TriggerType::WebhookV2, detail: why.to_string() },
        source_revisions: vec![SourceRevisionOverride {
            action_name: trigger.git_configuration.source_action_name.clone(),
            revision_type: SourceRevisionType::CommitId,
            revision_value: event.commit.clone(),
        }],
        branch: Some(event.what.branch()),
        ..StartRequest::default()
    }
}

fn is_pushed(filter: &GitPushFilter, event: &GitEvent) -> bool {
    match &event.what {
        GitHappening::Push { branch } => {
            filter.tags.is_none()
                && is_in(filter.branches.as_ref(), branch)
                && touches(filter.file_paths.as_ref(), event)
        }
        GitHappening::Tag { tag } => filter.tags.as_ref().is_some_and(|tags| is_in(Some(tags), tag)),
        GitHappening::PullRequest { .. } => false,
    }
}

fn is_asked(filter: &GitPullRequestFilter, event: &GitEvent) -> bool {
    let GitHappening::PullRequest { what, into, .. } = &event.what else { return false };
    filter.events.as_ref().is_none_or(|events| events.contains(what))
        && is_in(filter.branches.as_ref(), into)
        && touches(filter.file_paths.as_ref(), event)
}

/// Whether one of the changed files is meant. Where nobody says which they are, any may be.
fn touches(patterns: Option<&GitPatterns>, event: &GitEvent) -> bool {
    let Some(files) = event.files.as_ref().filter(|_| patterns.is_some()) else { return true };
    files.iter().any(|file| is_in(patterns, file))
}

/// Excludes win; without includes, all is included.
fn is_in(patterns: Option<&GitPatterns>, name: &str) -> bool {
    let Some(patterns) = patterns else { return true };
    // A pattern that is none was refused with its declaration, and fits nothing.
    let any = |globs: &Vec<String>| globs.iter().any(|glob| Glob::new(glob).is_ok_and(|glob| glob.is_match(name)));
    patterns.includes.as_ref().is_none_or(any) && !patterns.excludes.as_ref().is_some_and(any)
}

/// The patterns of a trigger that are none, each with its path below the trigger.
pub fn invalid_patterns(trigger: &PipelineTriggerDeclaration) -> Vec<(String, InvalidGlob)> {
    let git = &trigger.git_configuration;
    let push = git.push.iter().flatten().enumerate().flat_map(|(index, filter)| {
        let members = [("tags", &filter.tags), ("branches", &filter.branches), ("filePaths", &filter.file_paths)];
        members.map(|(member, patterns)| (format!("gitConfiguration.push[{index}].{member}"), patterns))
    });
    let pull_request = git.pull_request.iter().flatten().enumerate().flat_map(|(index, filter)| {
        let members = [("branches", &filter.branches), ("filePaths", &filter.file_paths)];
        members.map(|(member, patterns)| (format!("gitConfiguration.pullRequest[{index}].{member}"), patterns))
    });
    let mut invalid = Vec::new();
    for (path, patterns) in push.chain(pull_request) {
        let Some(patterns) = patterns else { continue };
        for (member, globs) in [("includes", &patterns.includes), ("excludes", &patterns.excludes)] {
            for (index, glob) in globs.iter().flatten().enumerate() {
                let wrong = Glob::new(glob).err();
                invalid.extend(wrong.map(|error| (format!("{path}.{member}[{index}]"), error)));
            }
        }
    }
    invalid
}

#[cfg(test)]
mod tests;

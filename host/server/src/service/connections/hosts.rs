//! What git hosts tell: of which repository, what happened, and to which commit.
//!
//! Pure. Owns how each kind of host says so, and how it proves that it was the one who said it. Must not know what an event starts.

use pipewright_pipeline::declaration::GitPullRequestEventType as Asked;
use pipewright_pipeline::triggers::GitHappening;
use pipewright_runner::connections::Kind;
use serde_json::Value;

use super::super::deliveries::Delivery;

/// Stops one delivery from starting executions without end.
const EVENTS_COUNT_MAX: usize = 50;

/// One event of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Owner and name.
    pub repository: String,
    pub what: GitHappening,
    /// The commit, or the beginning of its id where the host says no more of it.
    pub commit: String,
    /// What it is to be compared with; none where the host does not say.
    pub base: Option<String>,
}

/// Whether a delivery is by whoever knows the secret.
pub fn is_proven(kind: Kind, secret: &str, delivery: &Delivery) -> bool {
    let headers: &[&str] = match kind {
        Kind::GitLab => return delivery.has_token("x-gitlab-token", secret),
        Kind::GitHub | Kind::Git => &["x-hub-signature-256", "x-hub-signature"],
        Kind::Gitea => &["x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256"],
        Kind::Bitbucket => &["x-hub-signature-256", "x-hub-signature"],
    };
    // The first that is there decides.
    let given = headers.iter().find(|header| delivery.header(header).is_some());
    given.is_some_and(|header| delivery.is_signed(header, secret))
}

/// The events of a delivery; none where it tells of something else.
pub fn events(kind: Kind, delivery: &Delivery, body: &Value) -> Vec<Told> {
    let header = |name: &str| delivery.header(name).unwrap_or_default().to_owned();
    match kind {
        Kind::GitHub => of_github(&header("x-github-event"), body),
        Kind::Gitea => {
            let forgejo = header("x-forgejo-event");
            of_github(
                if forgejo.is_empty() { delivery.header("x-gitea-event").unwrap_or_default() } else { &forgejo },
                body,
            )
        }
        Kind::Git => of_github("push", body),
        Kind::GitLab => of_gitlab(body),
        Kind::Bitbucket => of_bitbucket(&header("x-event-key"), body),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// A commit that is none: what a reference was before it was made, and is after it was deleted.
fn is_none(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

fn some(id: Option<&str>) -> Option<String> {
    id.filter(|id| !is_none(id)).map(str::to_owned)
}

/// A push, in the words that most hosts use of it.
fn pushed(body: &Value, repository: &str, tagged: Option<&str>) -> Option<Told> {
    let (reference, after) = (text(body, "/ref")?, some(text(body, "/after"))?);
    let repository = repository.to_owned();
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        let what = GitHappening::Push { branch: branch.to_owned() };
        return Some(Told { repository, what, commit: after, base: some(text(body, "/before")) });
    }
    let what = GitHappening::Tag { tag: reference.strip_prefix("refs/tags/")?.to_owned() };
    // What was pushed may be a tag with a message, which is no commit.
    Some(Told { repository, what, commit: tagged.map_or(after, str::to_owned), base: None })
}

fn of_github(event: &str, body: &Value) -> Vec<Told> {
    let told = match event {
        "push" => text(body, "/repository/full_name")
            .and_then(|repository| pushed(body, repository, text(body, "/head_commit/id"))),
        "pull_request" | "pull_request_sync" => asked_of_github(body),
        _ => None,
    };
    told.into_iter().collect()
}

fn asked_of_github(body: &Value) -> Option<Told> {
    let what = match text(body, "/action")? {
        "opened" | "reopened" => Asked::Open,
        "synchronize" | "synchronized" => Asked::Updated,
        "closed" if body.pointer("/pull_request/merged") == Some(&Value::Bool(true)) => Asked::Closed,
        _ => return None,
    };
    let repository = text(body, "/repository/full_name")?;
    let of = |end: &str, what: &str| text(body, &format!("/pull_request/{end}/{what}"));
    // What others propose from a repository of their own does not run with the rights of this one.
    if of("head", "repo/full_name")? != repository {
        return None;
    }
    Some(Told {
        repository: repository.to_owned(),
        what: GitHappening::PullRequest {
            what,
            from: of("head", "ref")?.to_owned(),
            into: of("base", "ref")?.to_owned(),
        },
        commit: of("head", "sha")?.to_owned(),
        base: of("base", "sha").map(str::to_owned),
    })
}

fn of_gitlab(body: &Value) -> Vec<Told> {
    let repository = text(body, "/project/path_with_namespace");
    let told = match text(body, "/object_kind") {
        Some("push" | "tag_push") => {
            repository.and_then(|repository| pushed(body, repository, text(body, "/checkout_sha")))
        }
        Some("merge_request") => repository.and_then(|repository| asked_of_gitlab(body, repository)),
        _ => None,
    };
    told.into_iter().collect()
}

fn asked_of_gitlab(body: &Value, repository: &str) -> Option<Told> {
    let of = |what: &str| text(body, &format!("/object_attributes/{what}"));
    let what = match of("action")? {
        "open" | "reopen" => Asked::Open,
        // Without an earlier commit it is another title, or the like.
        "update" if of("oldrev").is_some() => Asked::Updated,
        "merge" => Asked::Closed,
        _ => return None,
    };
    let project = |end: &str| body.pointer(&format!("/object_attributes/{end}_project_id")).filter(|id| !id.is_null());
    if project("source")? != project("target")? {
        return None;
    }
    Some(Told {
        repository: repository.to_owned(),
        what: GitHappening::PullRequest {
            what,
            from: of("source_branch")?.to_owned(),
            into: of("target_branch")?.to_owned(),
        },
        commit: of("last_commit/id")?.to_owned(),
        base: None,
    })
}

fn of_bitbucket(event: &str, body: &Value) -> Vec<Told> {
    let Some(repository) = text(body, "/repository/full_name") else { return Vec::new() };
    let asked = |what| asked_of_bitbucket(body, repository, what).into_iter().collect();
    match event {
        "repo:push" => {
            let changes = body.pointer("/push/changes").and_then(Value::as_array);
            let changes = changes.into_iter().flatten().take(EVENTS_COUNT_MAX);
            changes.filter_map(|change| changed(change, repository)).collect()
        }
        "pullrequest:created" => asked(Asked::Open),
        "pullrequest:updated" => asked(Asked::Updated),
        "pullrequest:fulfilled" => asked(Asked::Closed),
        _ => Vec::new(),
    }
}

fn changed(change: &Value, repository: &str) -> Option<Told> {
    let name = text(change, "/new/name")?.to_owned();
    let (what, base) = match text(change, "/new/type")? {
        "branch" => (GitHappening::Push { branch: name }, text(change, "/old/target/hash").map(str::to_owned)),
        "tag" => (GitHappening::Tag { tag: name }, None),
        _ => return None,
    };
    let commit = text(change, "/new/target/hash")?.to_owned();
    Some(Told { repository: repository.to_owned(), what, commit, base })
}

fn asked_of_bitbucket(body: &Value, repository: &str, what: Asked) -> Option<Told> {
    let of = |end: &str, what: &str| text(body, &format!("/pullrequest/{end}/{what}"));
    if of("source", "repository/full_name")? != repository {
        return None;
    }
    Some(Told {
        repository: repository.to_owned(),
        what: GitHappening::PullRequest {
            what,
            from: of("source", "branch/name")?.to_owned(),
            into: of("destination", "branch/name")?.to_owned(),
        },
        // The first digits of it.
        commit: of("source", "commit/hash")?.to_owned(),
        base: None,
    })
}

#[cfg(test)]
mod tests;

//! Payloads as the hosts send them, as far as they are read, and what comes of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::*;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";
const NONE: &str = "0000000000000000000000000000000000000000";

fn delivery(header: &str, value: &str) -> Delivery {
    let headers = BTreeMap::from([(header.to_owned(), value.to_owned())]);
    Delivery { from: [127, 0, 0, 1].into(), headers, body: Bytes::new(), request: String::new() }
}

/// In one line: the repository, what happened, the commit and what to compare it with.
#[track_caller]
fn check(kind: Kind, (header, event): (&str, &str), body: &Value, expected: &[&str]) {
    let words = |told: &Told| {
        let what = match &told.what {
            GitHappening::Push { branch } => format!("push {branch}"),
            GitHappening::Tag { tag } => format!("tag {tag}"),
            GitHappening::PullRequest { what, from, into } => format!("{what:?} {from}>{into}"),
        };
        let base = told.base.as_deref().unwrap_or("-");
        format!("{} {what} {} {base}", told.repository, told.commit).replace(OLD, "OLD").replace(NEW, "NEW")
    };
    let told: Vec<_> = events(kind, &delivery(header, event), body).iter().map(words).collect();
    assert_eq!(told, expected, "{kind:?} {event}: {body}");
}

fn push(reference: &str, before: &str, after: &str) -> Value {
    json!({
        "ref": reference, "before": before, "after": after, "repository": { "full_name": "team/site" },
        "head_commit": if after == NONE { Value::Null } else { json!({ "id": NEW }) },
        "commits": [{ "added": ["not/believed"] }],
    })
}

fn asked(action: &str, merged: bool, from: &str) -> Value {
    json!({
        "action": action, "repository": { "full_name": "team/site" },
        "pull_request": {
            "merged": merged,
            "head": { "ref": "feature", "sha": NEW, "repo": { "full_name": from } },
            "base": { "ref": "main", "sha": OLD, "repo": { "full_name": "team/site" } },
        },
    })
}

#[test]
fn github_and_gitea_tell_of_pushes_tags_and_pull_requests() {
    let kinds = [(Kind::GitHub, "x-github-event"), (Kind::Gitea, "x-gitea-event"), (Kind::Gitea, "x-forgejo-event")];
    for (kind, header) in kinds {
        let check = |event: &str, body: &Value, expected: &[&str]| check(kind, (header, event), body, expected);
        check("push", &push("refs/heads/main", OLD, NEW), &["team/site push main NEW OLD"]);
        check("push", &push("refs/heads/a/b", NONE, NEW), &["team/site push a/b NEW -"]);
        check("push", &push("refs/heads/main", OLD, NONE), &[]);
        check("push", &push("refs/tags/v1", NONE, OLD), &["team/site tag v1 NEW -"]);
        check("push", &push("refs/notes/x", NONE, NEW), &[]);
        check("push", &json!({}), &[]);
        check("ping", &push("refs/heads/main", OLD, NEW), &[]);
        check("pull_request", &asked("opened", false, "team/site"), &["team/site Open feature>main NEW OLD"]);
        check("pull_request", &asked("synchronize", false, "team/site"), &["team/site Updated feature>main NEW OLD"]);
        check(
            "pull_request_sync",
            &asked("synchronized", false, "team/site"),
            &["team/site Updated feature>main NEW OLD"],
        );
        check("pull_request", &asked("closed", true, "team/site"), &["team/site Closed feature>main NEW OLD"]);
        check("pull_request", &asked("closed", false, "team/site"), &[]);
        check("pull_request", &asked("labeled", false, "team/site"), &[]);
        check("pull_request", &asked("opened", false, "stranger/site"), &[]);
    }
    check(Kind::Git, ("x", ""), &push("refs/heads/main", OLD, NEW), &["team/site push main NEW OLD"]);
}

#[test]
fn gitlab_tells_of_pushes_tags_and_merge_requests() {
    let check = |body: &Value, expected: &[&str]| check(Kind::GitLab, ("x-gitlab-event", "any"), body, expected);
    let push = |kind: &str, reference: &str, after: &str| {
        json!({
            "object_kind": kind, "ref": reference, "before": OLD, "after": after, "checkout_sha": NEW,
            "project": { "path_with_namespace": "team/site" },
        })
    };
    check(&push("push", "refs/heads/main", NEW), &["team/site push main NEW OLD"]);
    check(&push("push", "refs/heads/main", NONE), &[]);
    check(&push("tag_push", "refs/tags/v1", OLD), &["team/site tag v1 NEW -"]);
    check(&push("note", "refs/heads/main", NEW), &[]);
    let merge = |action: &str, oldrev: Value, source: u64| {
        json!({
            "object_kind": "merge_request", "project": { "path_with_namespace": "team/site" },
            "object_attributes": {
                "action": action, "oldrev": oldrev, "source_branch": "feature", "target_branch": "main",
                "source_project_id": source, "target_project_id": 7, "last_commit": { "id": NEW },
            },
        })
    };
    check(&merge("open", Value::Null, 7), &["team/site Open feature>main NEW -"]);
    check(&merge("update", OLD.into(), 7), &["team/site Updated feature>main NEW -"]);
    check(&merge("update", Value::Null, 7), &[]);
    check(&merge("merge", Value::Null, 7), &["team/site Closed feature>main NEW -"]);
    check(&merge("close", Value::Null, 7), &[]);
    check(&merge("open", Value::Null, 8), &[]);
}

#[test]
fn bitbucket_tells_of_several_changes_at_once() {
    let check =
        |event: &str, body: &Value, expected: &[&str]| check(Kind::Bitbucket, ("x-event-key", event), body, expected);
    let change = |kind: &str, name: &str| {
        let new = json!({ "type": kind, "name": name, "target": { "hash": NEW } });
        json!({ "new": new, "old": { "target": { "hash": OLD } } })
    };
    let gone = json!({ "new": null, "old": { "type": "branch", "name": "gone", "target": { "hash": OLD } } });
    let body = json!({
        "repository": { "full_name": "team/site" },
        "push": { "changes": [change("branch", "main"), change("tag", "v1"), gone] },
    });
    check("repo:push", &body, &["team/site push main NEW OLD", "team/site tag v1 NEW -"]);
    check("repo:fork", &body, &[]);
    let asked = |from: &str| {
        json!({
            "repository": { "full_name": "team/site" },
            "pullrequest": {
                "source": {
                    "branch": { "name": "feature" }, "commit": { "hash": "222222222222" }, "repository": { "full_name": from },
                },
                "destination": { "branch": { "name": "main" } },
            },
        })
    };
    for (event, what) in
        [("pullrequest:created", "Open"), ("pullrequest:updated", "Updated"), ("pullrequest:fulfilled", "Closed")]
    {
        check(event, &asked("team/site"), &[&format!("team/site {what} feature>main 222222222222 -")]);
        check(event, &asked("stranger/site"), &[]);
    }
    check("pullrequest:rejected", &asked("team/site"), &[]);
}

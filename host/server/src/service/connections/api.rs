//! The APIs of git hosts, as far as the host itself calls them.
//!
//! Pure. Owns where each kind of host has its API, how a token is shown to it, and the form of a commit's status there. Must not know
//! when something is told, or how it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_runner::connections::{Connection, Kind};
use pipewright_sandbox::grants::SecretValue;
use pipewright_text::cut_chars;
use serde_json::{Value, json};

use crate::notify::{Method, Outgoing, USER_AGENT};

/// As many as GitHub takes, the fewest of all.
const DESCRIPTION_CHARS_MAX: usize = 140;
/// Of what Bitbucket knows a status by.
const KEY_CHARS_MAX: usize = 40;

/// A header by its name.
type Header = (&'static str, String);

/// The API of a git host, and the token that it takes.
pub struct Api<'a> {
    pub connection: &'a Connection,
    pub token: &'a SecretValue,
}

/// How an execution fares that fetched a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fares {
    InProgress,
    Succeeded,
    Failed,
    /// It was stopped, or another one took its place.
    Stopped,
}

/// What is told of a commit.
pub struct Status<'a> {
    pub fares: Fares,
    /// By which the host knows it from what others say of the commit.
    pub context: &'a str,
    pub description: String,
    /// Where more is to be seen.
    pub link: Option<String>,
}

/// A request, and which answer besides a success says that it is so already.
pub struct Telling {
    pub outgoing: Outgoing,
    pub already: Option<u16>,
}

impl Api<'_> {
    /// Those of the hosts that everybody knows are at names of their own.
    fn base(&self) -> String {
        let address = self.connection.address();
        match self.connection.kind {
            Kind::GitHub if address == "https://github.com" => "https://api.github.com".to_owned(),
            Kind::GitHub => format!("{address}/api/v3"),
            Kind::GitLab => format!("{address}/api/v4"),
            Kind::Bitbucket if address == "https://bitbucket.org" => "https://api.bitbucket.org/2.0".to_owned(),
            Kind::Bitbucket => format!("{address}/2.0"),
            Kind::Gitea | Kind::Git => format!("{address}/api/v1"),
        }
    }

    fn headers(&self) -> Vec<Header> {
        let token = self.token.expose();
        let mut headers = vec![("content-type", "application/json".to_owned()), ("user-agent", USER_AGENT.to_owned())];
        match (self.connection.kind, &self.connection.username) {
            (Kind::GitHub, _) => {
                headers.push(("authorization", format!("Bearer {token}")));
                headers.push(("accept", "application/vnd.github+json".to_owned()));
                headers.push(("x-github-api-version", "2022-11-28".to_owned()));
            }
            (Kind::GitLab, _) => headers.push(("private-token", token.to_owned())),
            // An access token belongs to a repository or a workspace; what belongs to a user goes with a name.
            (Kind::Bitbucket, Some(user)) => {
                headers.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))));
            }
            (Kind::Bitbucket, None) => headers.push(("authorization", format!("Bearer {token}"))),
            (Kind::Gitea | Kind::Git, _) => headers.push(("authorization", format!("token {token}"))),
        }
        headers
    }

    fn of_repository(&self, repository: &str) -> String {
        let base = self.base();
        match self.connection.kind {
            Kind::GitHub | Kind::Gitea | Kind::Git => format!("{base}/repos/{repository}"),
            Kind::GitLab => format!("{base}/projects/{}", repository.replace('/', "%2F")),
            Kind::Bitbucket => format!("{base}/repositories/{repository}"),
        }
    }

    fn request(&self, method: Method, url: String, body: Option<&Value>) -> Outgoing {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        Outgoing { method, url, headers: self.headers(), body, private: self.connection.private }
    }

    /// Tells the status of a commit of a repository.
    pub fn status(&self, repository: &str, commit: &str, status: Status<'_>) -> Telling {
        let Status { fares, context, mut description, link } = status;
        cut_chars(&mut description, DESCRIPTION_CHARS_MAX);
        let repository = self.of_repository(repository);
        let (mut already, state) = (None, word(self.connection.kind, fares));
        let (url, mut body) = match self.connection.kind {
            Kind::GitHub | Kind::Gitea | Kind::Git => {
                (format!("{repository}/statuses/{commit}"), json!({ "context": context }))
            }
            Kind::GitLab => {
                // It refuses a status that is as it was, as one that cannot become what it is.
                already = (fares == Fares::InProgress).then_some(400);
                (format!("{repository}/statuses/{commit}"), json!({ "name": context }))
            }
            Kind::Bitbucket => (
                format!("{repository}/commit/{commit}/statuses/build"),
                json!({ "key": key(context), "name": context }),
            ),
        };
        body["state"] = state.into();
        body["description"] = description.into();
        if let Some(link) = link {
            body[if self.connection.kind == Kind::Bitbucket { "url" } else { "target_url" }] = link.into();
        }
        Telling { outgoing: self.request(Method::POST, url, Some(&body)), already }
    }
}

/// The webhooks of a repository, of which a page is as long as each host makes one: more than it lets a repository have.
impl Api<'_> {
    fn hooks_of(&self, repository: &str) -> String {
        format!("{}/hooks", self.of_repository(repository))
    }

    /// Lists them.
    pub fn hooks(&self, repository: &str) -> Outgoing {
        let page = match self.connection.kind {
            Kind::GitHub | Kind::GitLab => "per_page=100",
            Kind::Gitea | Kind::Git => "limit=50",
            Kind::Bitbucket => "pagelen=100",
        };
        self.request(Method::GET, format!("{}?{page}", self.hooks_of(repository)), None)
    }

    /// The ids of those in a list that deliver to an address.
    pub fn hook_ids(&self, listed: &Value, url: &str) -> Vec<String> {
        let (list, id) = match self.connection.kind {
            Kind::Bitbucket => (&listed["values"], "uuid"),
            _ => (listed, "id"),
        };
        let is_for = |hook: &&Value| hook["url"] == url || hook["config"]["url"] == url;
        let id = |hook: &Value| match &hook[id] {
            Value::Number(number) => Some(number.to_string()),
            // In braces, which a path has not as they are.
            Value::String(id) => {
                let id = id.trim_start_matches('{').trim_end_matches('}');
                let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                is_id.then(|| format!("%7B{id}%7D"))
            }
            _ => None,
        };
        list.as_array().into_iter().flatten().filter(is_for).filter_map(id).collect()
    }

    /// Makes one for pushes.
    pub fn make_hook(&self, repository: &str, url: &str, secret: Option<&str>) -> Outgoing {
        let mut body = match self.connection.kind {
            Kind::GitHub => json!({
                "name": "web", "active": true, "events": ["push"],
                "config": { "url": url, "content_type": "json", "insecure_ssl": "0" },
            }),
            Kind::Gitea | Kind::Git => json!({
                "type": "gitea", "active": true, "events": ["push"],
                "config": { "url": url, "content_type": "json" },
            }),
            Kind::GitLab => json!({ "url": url, "push_events": true, "tag_push_events": true }),
            Kind::Bitbucket => json!({
                "description": "Pipewright", "url": url, "active": true, "events": ["repo:push"],
            }),
        };
        if let Some(secret) = secret {
            match self.connection.kind {
                Kind::GitHub | Kind::Gitea | Kind::Git => body["config"]["secret"] = secret.into(),
                Kind::GitLab => body["token"] = secret.into(),
                Kind::Bitbucket => body["secret"] = secret.into(),
            }
        }
        self.request(Method::POST, self.hooks_of(repository), Some(&body))
    }

    pub fn remove_hook(&self, repository: &str, id: &str) -> Outgoing {
        self.request(Method::DELETE, format!("{}/{id}", self.hooks_of(repository)), None)
    }
}

/// A short name of a status, the same for the same context.
fn key(context: &str) -> String {
    match context.len() <= KEY_CHARS_MAX {
        true => context.to_owned(),
        false => Digest::of(context.as_bytes()).to_string()[..KEY_CHARS_MAX].to_owned(),
    }
}

fn word(kind: Kind, fares: Fares) -> &'static str {
    let words = match kind {
        Kind::GitHub | Kind::Gitea | Kind::Git => ["pending", "success", "failure", "error"],
        Kind::GitLab => ["running", "success", "failed", "canceled"],
        Kind::Bitbucket => ["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"],
    };
    words[fares as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "2222222222222222222222222222222222222222";

    fn asked(connection: Value, fares: Fares, context: &str) -> Telling {
        let connection: Connection = serde_json::from_value(connection).unwrap();
        let token = SecretValue::new("t0ken");
        let (description, link) = ("It is so".to_owned(), Some("https://ci.example/7".to_owned()));
        Api { connection: &connection, token: &token }.status(
            "team/sub/site",
            COMMIT,
            Status { fares, context, description, link },
        )
    }

    /// As each host's documentation of its API has it.
    #[test]
    fn each_host_is_told_in_its_own_form() {
        const CONTEXT: &str = "pipewright/site";
        let usual = |state: &str| json!({ "state": state, "context": CONTEXT, "description": "It is so", "target_url": "https://ci.example/7" });
        let check = |connection: Value, url: &str, header: (&str, &str), body: &dyn Fn(Fares) -> Value| {
            for fares in [Fares::InProgress, Fares::Succeeded, Fares::Failed, Fares::Stopped] {
                let asked = asked(connection.clone(), fares, CONTEXT).outgoing;
                assert_eq!(asked.url, url.replace("COMMIT", COMMIT));
                assert!(asked.headers.contains(&(header.0, header.1.to_owned())), "{url}: {:?}", asked.headers);
                assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), body(fares), "{fares:?}");
            }
        };
        let of = |words: [&'static str; 4]| move |fares: Fares| words[fares as usize];
        let github = of(["pending", "success", "failure", "error"]);
        let bearer = ("authorization", "Bearer t0ken");
        let as_github = |fares| usual(github(fares));
        check(
            json!({ "kind": "github" }),
            "https://api.github.com/repos/team/sub/site/statuses/COMMIT",
            bearer,
            &as_github,
        );
        check(
            json!({ "kind": "github", "address": "https://git.example" }),
            "https://git.example/api/v3/repos/team/sub/site/statuses/COMMIT",
            bearer,
            &as_github,
        );
        check(
            json!({ "kind": "forgejo", "address": "http://git.example:3000/scm" }),
            "http://git.example:3000/scm/api/v1/repos/team/sub/site/statuses/COMMIT",
            ("authorization", "token t0ken"),
            &as_github,
        );
        let gitlab = of(["running", "success", "failed", "canceled"]);
        check(
            json!({ "kind": "gitlab" }),
            "https://gitlab.com/api/v4/projects/team%2Fsub%2Fsite/statuses/COMMIT",
            ("private-token", "t0ken"),
            &|fares| {
                let mut body = usual(gitlab(fares));
                body["name"] = body["context"].take();
                body.as_object_mut().unwrap().remove("context");
                body
            },
        );
        let bitbucket = of(["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]);
        let as_bitbucket = |fares| {
            json!({
                "key": CONTEXT, "name": CONTEXT, "state": bitbucket(fares), "description": "It is so",
                "url": "https://ci.example/7",
            })
        };
        let url = "https://api.bitbucket.org/2.0/repositories/team/sub/site/commit/COMMIT/statuses/build";
        check(json!({ "kind": "bitbucket" }), url, bearer, &as_bitbucket);
        let basic = ("authorization", "Basic bWFyaWE6dDBrZW4=");
        check(json!({ "kind": "bitbucket", "username": "maria" }), url, basic, &as_bitbucket);
    }

    #[test]
    fn what_a_host_takes_is_not_exceeded() {
        let long = format!("pipewright/{}", "x".repeat(100));
        let asked = asked(json!({ "kind": "bitbucket" }), Fares::Failed, &long);
        let body: Value = serde_json::from_slice(&asked.outgoing.body).unwrap();
        assert_eq!((body["key"].as_str().unwrap().len(), body["name"] == *long), (40, true));
    }
}

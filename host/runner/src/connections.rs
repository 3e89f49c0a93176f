//! Connections: which git hosts the actions of an account reach, and with which secret. A connection is what the operator grants to
//! every source action that names it, beside the grants file (S235).
//!
//! Owns what is kept of one, how an action names it, and what the action gets by it. Must not know who keeps it, nor what a git
//! host tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pipewright_pipeline::declaration::{ActionCategory, ActionOwner, ActionTypeId};
use pipewright_sandbox::abi::NamedValue;
use pipewright_sandbox::capabilities::secrets::stored::Stored;
use pipewright_sandbox::grants::{Grants, SecretValue};
use pipewright_store::{Aggregate, PartKey, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::grants::ActionGrants;

/// The parts of an account's record that hold its connections, by their names.
pub const CONNECTION: &str = "connection/";
/// The connection that an action of `ThirdParty/GitHub` has, if there is one.
const GITHUB: &str = "github";
/// The one that an action of `AWS/CodeCommit` has.
const CODECOMMIT: &str = "codecommit";
/// As the plugins know the secret.
const SECRET: &str = "Secret";
const NAME_CHARS_MAX: usize = 64;

/// What a git host is, which decides on how it tells of what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// GitHub, also on a server of one's own.
    GitHub,
    /// GitLab, also on a server of one's own.
    GitLab,
    /// Gitea and Forgejo.
    #[serde(alias = "forgejo")]
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Any other git server, whose hook sends what GitHub sends of a push.
    Git,
}

impl Kind {
    /// Where it is unless somebody says otherwise.
    pub fn default_address(self) -> Option<&'static str> {
        match self {
            Self::GitHub => Some("https://github.com"),
            Self::GitLab => Some("https://gitlab.com"),
            Self::Bitbucket => Some("https://bitbucket.org"),
            Self::Gitea | Self::Git => None,
        }
    }

    /// The user name that it takes for a token.
    fn username(self) -> &'static str {
        match self {
            Self::GitHub => "x-access-token",
            Self::GitLab => "oauth2",
            Self::Bitbucket => "x-token-auth",
            Self::Gitea | Self::Git => "git",
        }
    }
}

/// Where a secret is: on the machine of the server, or in the account's own store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPlace {
    /// The environment variable of the server that has the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file that has it, which nobody but its owner may be able to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The stored secret that is it, as a grants file names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

/// A git host, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `github`, `gitlab`, `gitea` (also `forgejo`), `bitbucket`, or `git` for any other.
    pub kind: Kind,
    /// Where its repositories are, like `https://git.example.com`; needed for `gitea` and `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its address may be a loopback, link-local or private one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The token or password by which repositories are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretPlace>,
    /// The user name that goes with it, where it is not the one that the host takes for a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The secret by which the host proves that it was the one who told. Without it nothing that is told counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretPlace>,
    /// Its commits are told how the executions fare that fetched them, by the secret, which has to allow that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status: bool,
}

/// A connection as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub connection: Connection,
    /// The last part of the address at which the host tells.
    pub key: String,
    /// By the server's configuration, and gone when it is not there any more.
    #[serde(default)]
    pub configured: bool,
}

/// What an action gets by its connection.
pub struct Connected {
    /// Beside its settings, under names that no declaration can have.
    pub settings: Vec<NamedValue>,
    pub grants: Grants,
}

/// Which connection an action names, and which repository of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub connection: String,
    pub repository: String,
    /// Without it the action has nowhere to go.
    pub is_needed: bool,
}

/// What an action says of its connection; none where it has none.
pub fn named(id: &ActionTypeId, configuration: &BTreeMap<String, String>) -> Option<Named> {
    let value = |key: &str| configuration.get(key).map(String::as_str);
    match (id.category, id.owner, id.provider.as_str()) {
        (ActionCategory::Source, ActionOwner::AWS, "CodeStarSourceConnection") => Some(Named {
            connection: name_of(value("ConnectionArn")?)?.to_owned(),
            repository: value("FullRepositoryId")?.to_owned(),
            is_needed: true,
        }),
        (ActionCategory::Source, ActionOwner::AWS, "CodeCommit") => Some(Named {
            connection: CODECOMMIT.to_owned(),
            repository: value("RepositoryName")?.to_owned(),
            is_needed: true,
        }),
        (ActionCategory::Source, ActionOwner::ThirdParty, "GitHub") => Some(Named {
            connection: GITHUB.to_owned(),
            repository: format!("{}/{}", value("Owner")?, value("Repo")?),
            is_needed: false,
        }),
        _ => None,
    }
}

/// The name of the connection that an ARN stands for: of whatever region and account, for those of a pipeline that came from AWS are
/// AWS's.
fn name_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let is_arn = parts.next() == Some("arn") && parts.next().is_some();
    let is_connection = is_arn && matches!(parts.next(), Some("codestar-connections" | "codeconnections"));
    let name = parts.nth(2)?.strip_prefix("connection/")?;
    (is_connection && is_name(name)).then_some(name)
}

/// Letters, digits and hyphens, as in an ARN of AWS's.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The connection of this name, as the store has it now.
pub async fn find(store: &dyn Store, account: u64, name: &str) -> Result<Option<Kept>, StoreError> {
    let part = PartKey::Live(format!("{CONNECTION}{name}").into());
    let kept = store.get(Aggregate::of_account(account), &part).await?;
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

impl Connection {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Some(address) = self.address.as_deref().or(self.kind.default_address()) else {
            return Err("address: a connection of this kind needs one, like \"https://git.example.com\"".to_owned());
        };
        if origin(address).is_none() {
            return Err(format!(
                "address: write {address:?} as \"https://HOST\", or with a path behind it that does not end in `/`"
            ));
        }
        for (key, place) in [("secret", &self.secret), ("webhook_secret", &self.webhook_secret)] {
            place.as_ref().map_or(Ok(()), SecretPlace::check).map_err(|reason| format!("{key}: {reason}"))?;
        }
        if self.status && (self.secret.is_none() || self.kind == Kind::Git) {
            return Err("status: it needs a `secret`, and a host of another kind than `git`".to_owned());
        }
        self.grants().map(drop)
    }

    pub fn address(&self) -> &str {
        self.address.as_deref().or(self.kind.default_address()).unwrap_or_default()
    }

    /// Paths of secrets start at the folder `base`.
    pub fn based(mut self, base: &Path) -> Self {
        [&mut self.secret, &mut self.webhook_secret].into_iter().flatten().for_each(|place| place.base(base));
        self
    }

    /// As grants of a file would be.
    fn grants(&self) -> Result<ActionGrants, String> {
        let origin = origin(self.address()).unwrap_or_default();
        let mut secrets = serde_json::Map::new();
        if let Some(place) = &self.secret {
            let mut secret = json!(place);
            secret["hosts"] = json!([origin]);
            secrets.insert(SECRET.to_owned(), secret);
        }
        let written = json!({ "http": [{ "origin": origin, "private": self.private }], "secrets": secrets });
        serde_json::from_value(written).map_err(|error| error.to_string())
    }

    /// Which of the account's secrets its own are.
    pub fn stored(&self) -> BTreeSet<String> {
        [&self.secret, &self.webhook_secret].into_iter().flatten().flat_map(SecretPlace::stored).collect()
    }

    /// What an action gets for a repository. Blocks.
    pub fn connect(&self, repository: &str, stored: &Stored) -> Result<Connected, String> {
        if !is_repository(repository) {
            return Err(format!("{repository:?} is no repository: write it like \"team/site\""));
        }
        let url = format!("{}/{repository}.git", self.address());
        let mut settings = vec![value("connection.url", url)];
        if self.secret.is_some() {
            let username = self.username.as_deref().unwrap_or(self.kind.username());
            settings.push(value("connection.username", username.to_owned()));
        }
        Ok(Connected { settings, grants: self.grants()?.resolve(Path::new("/"), stored)? })
    }
}

impl SecretPlace {
    fn grants(&self) -> Result<ActionGrants, String> {
        serde_json::from_value(json!({ "secrets": { SECRET: self } })).map_err(|error| error.to_string())
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Self { env, file, store } = self;
        match [env.is_some(), file.is_some(), store.is_some()].into_iter().filter(|is_there| *is_there).count() {
            1 => Ok(()),
            _ => Err("give either env = \"VARIABLE\", file = \"PATH\" or store = \"NAME\"".to_owned()),
        }
    }

    /// Its path starts at the folder `base`.
    pub fn base(&mut self, base: &Path) {
        self.file = self.file.take().map(|file| base.join(file));
    }

    /// Which of the account's secrets it is.
    pub fn stored(&self) -> BTreeSet<String> {
        self.grants().iter().flat_map(|grants| grants.stored().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The value. Blocks.
    pub fn read(&self, stored: &Stored) -> Result<SecretValue, String> {
        let mut resolved = self.grants()?.resolve(Path::new("/"), stored)?;
        resolved.secrets.remove(SECRET).map(|secret| secret.value).ok_or_else(|| "there is no secret".to_owned())
    }
}

/// That there is no connection of this name, and what to do.
pub fn missing(name: &str) -> String {
    format!(
        "the account has no connection `{name}`: those who run the host create it with `pipewright connection create`"
    )
}

/// What an action is told of the branch on which the change was made that it fetches, beside its settings.
pub fn branch(name: String) -> NamedValue {
    value("connection.branch", name)
}

fn value(name: &str, value: String) -> NamedValue {
    NamedValue { name: name.to_owned(), value }
}

/// `scheme://authority` of an address that is one.
fn origin(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic()) && !address.contains(['?', '#', '@', '"', '\\']);
    let authority = rest.split('/').next()?;
    let is_one = matches!(scheme, "https" | "http") && is_plain && !authority.is_empty() && !address.ends_with('/');
    is_one.then(|| &address[..scheme.len() + 3 + authority.len()])
}

/// Names joined by `/` that lead nowhere else.
pub fn is_repository(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte));
        !name.is_empty() && name != "." && name != ".." && is_plain
    };
    text.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(text: &str) -> Connection {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_action_names_its_connection_and_repository() {
        let check = |provider: &str, settings: &[(&str, &str)], expected: Option<(&str, &str, bool)>| {
            let owner = if provider == "GitHub" { ActionOwner::ThirdParty } else { ActionOwner::AWS };
            let id = ActionTypeId {
                category: ActionCategory::Source,
                owner,
                provider: provider.into(),
                version: "1".into(),
            };
            let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let found = named(&id, &settings);
            let found = found.as_ref().map(|it| (it.connection.as_str(), it.repository.as_str(), it.is_needed));
            assert_eq!(found, expected, "{provider} {settings:?}");
        };
        const HERE: &str = "arn:aws:codeconnections:us-east-1:000000000000:connection/hub";
        const THERE: &str = "arn:aws-cn:codestar-connections:eu-west-1:123456789012:connection/0f0e0d0c-0b0a";
        let with = |arn| [("ConnectionArn", arn), ("FullRepositoryId", "team/site")];
        check("CodeStarSourceConnection", &with(HERE), Some(("hub", "team/site", true)));
        check("CodeStarSourceConnection", &with(THERE), Some(("0f0e0d0c-0b0a", "team/site", true)));
        for wrong in
            ["hub", "arn:aws:codepipeline:us-east-1:000000000000:connection/hub", &HERE.replace("hub", "../x"), ""]
        {
            check("CodeStarSourceConnection", &with(wrong), None);
        }
        check("GitHub", &[("Owner", "team"), ("Repo", "site")], Some(("github", "team/site", false)));
        check("CodeCommit", &[("RepositoryName", "site")], Some(("codecommit", "site", true)));
        check("S3", &[("Owner", "team"), ("Repo", "site")], None);
    }

    #[test]
    fn a_connection_grants_its_own_address_and_secret_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "very secret\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let made = connection(
            "kind = \"forgejo\"\naddress = \"http://git.example:3000/scm\"\nprivate = true\nsecret = { file = \"token\" }",
        );
        made.check().unwrap();
        let connected = made.based(folder.path()).connect("team/site", &Stored::new()).unwrap();
        let settings: Vec<_> = connected.settings.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
        let expected =
            [("connection.url", "http://git.example:3000/scm/team/site.git"), ("connection.username", "git")];
        assert_eq!(settings, expected);
        let http: Vec<_> =
            connected.grants.http.iter().map(|it| (it.tls, it.host.as_str(), it.port, it.private)).collect();
        assert_eq!(http, [(false, "git.example", 3000, true)]);
        let secret = &connected.grants.secrets[SECRET];
        assert_eq!(secret.value.expose(), "very secret");
        assert_eq!(
            (&secret.hosts[..], secret.reveal, secret.commands),
            (&["http://git.example:3000".to_owned()][..], false, false)
        );
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let hub = connection("kind = \"github\"");
        hub.check().unwrap();
        assert_eq!(hub.address(), "https://github.com");
        for wrong in ["", "/", "team/", "../site", "team/../site", "team//site", "team/site?x", "a@b/c", "team/si te"] {
            assert!(hub.connect(wrong, &Stored::new()).is_err(), "{wrong}");
        }
        for (wrong, told) in [
            ("kind = \"git\"", "address: a connection of this kind needs one"),
            ("kind = \"git\"\naddress = \"git.example\"", "address: write"),
            ("kind = \"git\"\naddress = \"https://\"", "address: write"),
            ("kind = \"git\"\naddress = \"https://me:pass@git.example\"", "address: write"),
            ("kind = \"git\"\naddress = \"https://git.example/\"", "address: write"),
            ("kind = \"github\"\nsecret = {}", "secret: give either"),
            ("kind = \"github\"\nwebhook_secret = { env = \"A\", file = \"b\" }", "webhook_secret: give either"),
        ] {
            let error = connection(wrong).check().unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}

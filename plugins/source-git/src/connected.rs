//! Sources `AWS/CodeStarSourceConnection/1`, `AWS/CodeCommit/1` and `ThirdParty/GitHub/1`: a branch of a repository on a git host.
//!
//! Owns their settings and variables. The host gives an action where its connection leads, beside the settings and under names that
//! no declaration can have; without a connection, an action of GitHub goes to github.com. Must not know how a commit is fetched.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pipewright_sdk::prelude::*;
use pipewright_sdk::settings::Settings as Read;

use crate::remote::{Authentication, Remote};
use crate::wanted::Wanted;
use crate::words::{self, Words};
use crate::{Taken, fetch_commit, newest};

const GITHUB: &str = "https://github.com";
/// GitHub takes any for a token.
const GITHUB_USER: &str = "x-access-token";
/// The name of the connection's secret.
const SECRET: &str = "Secret";

/// Settings, and what the host says of the connection.
pub struct Connected<S> {
    settings: S,
    /// The address of the repository.
    url: Option<String>,
    /// The user name that goes with the connection's secret, where it has one.
    username: Option<String>,
    /// Where the change was made that started the execution, if a git host told of one.
    branch: Option<String>,
}

impl<S: Read> Read for Connected<S> {
    fn describe() -> Vec<pipewright_sdk::bindings::description::exports::pipewright::plugin::plugin::Setting> {
        S::describe()
    }

    fn read(values: &[pipewright_sdk::bindings::host::pipewright::plugin::types::NamedValue]) -> Result<Self> {
        let given = |name: &str| values.iter().find(|value| value.name == name).map(|value| value.value.clone());
        Ok(Self {
            settings: S::read(values)?,
            url: given("connection.url"),
            username: given("connection.username"),
            branch: given("connection.branch"),
        })
    }

    fn check(
        values: &[pipewright_sdk::NamedValue],
    ) -> Vec<pipewright_sdk::bindings::checks::exports::pipewright::plugin::checks::Problem> {
        S::check(values)
    }
}

impl<S> Connected<S> {
    fn remote(&self, words: &'static Words) -> Result<Option<Remote>> {
        let secret = self.username.as_deref().map(|user| (SECRET, user, Authentication::Basic));
        self.url.as_deref().map(|url| Remote::new(words, url, secret)).transpose()
    }
}

/// Forms of an output artifact.
#[derive(Choice, Clone, Copy)]
#[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the words of a declaration")]
pub enum Format {
    CODE_ZIP,
}

#[derive(Settings)]
pub struct OfConnection {
    /// The connection by which the repository is reached: the part after `connection/` is its name in this account.
    connection_arn: String,
    /// Owner and name of the repository, like `team/site`.
    full_repository_id: String,
    /// The branch.
    branch_name: String,
    /// `CODE_ZIP`: the files of the commit. There is no other form here: in place of `CODEBUILD_CLONE_REF`, leave the setting out.
    #[setting(default = "CODE_ZIP")]
    #[expect(dead_code, reason = "there is no other")]
    output_artifact_format: Format,
    /// Whether a push to the branch starts the pipeline, where no trigger of the declaration says otherwise.
    #[setting(default = "true")]
    #[expect(dead_code, reason = "the host reads it")]
    detect_changes: bool,
}

/// Those of CodePipeline's own source (S84).
#[derive(Variables)]
pub struct ToldOfConnection {
    /// When its author wrote the commit, like `2026-01-31T09:30:00Z`.
    author_date: Option<String>,
    /// The branch on which the change was made (S290).
    branch_name: String,
    /// The id of the commit.
    commit_id: String,
    /// Its message.
    commit_message: String,
    /// The connection.
    connection_arn: String,
    /// Owner and name of the repository.
    full_repository_name: String,
}

impl Connected<OfConnection> {
    fn reached(&self) -> Result<Remote> {
        self.remote(&words::CONNECTION)?.ok_or_else(|| {
            Failure::configuration(format!(
                "the host says nothing of the connection `{}`: create it with `pipewright connection create`",
                self.settings.connection_arn
            ))
        })
    }

    fn wanted(&self) -> Result<Wanted> {
        Wanted::branch("BranchName", &self.settings.branch_name)
    }
}

/// Fetches the newest commit of a branch, or the one that started the execution, by a connection to GitHub, GitLab, Gitea,
/// Bitbucket or any other git server. The files are as `Custom/Git/1` fetches them.
#[action(provider = "CodeStarSourceConnection", owner = "AWS", outputs = 1, latest = latest_of_connection)]
pub fn connection(action: &Action, settings: Connected<OfConnection>) -> Result<Fetched<ToldOfConnection>> {
    let Taken { fetched, commit, .. } = fetch_commit(action, settings.wanted()?, settings.reached()?)?;
    let Connected { settings, branch, .. } = settings;
    let variables = ToldOfConnection {
        author_date: commit.authored.map(|time| time.to_string()),
        branch_name: branch.unwrap_or(settings.branch_name),
        commit_id: fetched.revision.as_ref().map(|revision| revision.id.clone()).unwrap_or_default(),
        commit_message: commit.message,
        connection_arn: settings.connection_arn,
        full_repository_name: settings.full_repository_id,
    };
    Ok(Fetched { revision: fetched.revision, report: fetched.report.variables(variables) })
}

pub fn latest_of_connection(_: &Action, settings: Connected<OfConnection>) -> Result<Option<Revision>> {
    newest(&settings.wanted()?, settings.reached()?)
}

#[derive(Settings)]
pub struct OfCodeCommit {
    /// The repository's name, at the address of the account's connection `codecommit`.
    repository_name: String,
    /// The branch.
    branch_name: String,
    /// `CODE_ZIP`: the files of the commit. There is no other form here: in place of `CODEBUILD_CLONE_REF`, leave the setting out.
    #[setting(default = "CODE_ZIP")]
    #[expect(dead_code, reason = "there is no other")]
    output_artifact_format: Format,
    /// Whether the host looks for new commits by itself, and starts the pipeline for each.
    #[setting(default = "true")]
    #[expect(dead_code, reason = "the host reads it")]
    poll_for_source_changes: bool,
}

/// Those of CodePipeline's own source (S84).
#[derive(Variables)]
pub struct ToldOfCodeCommit {
    /// When its author wrote the commit, like `2026-01-31T09:30:00Z`.
    author_date: Option<String>,
    /// The branch on which the change was made (S290).
    branch_name: String,
    /// The id of the commit.
    commit_id: String,
    /// Its message.
    commit_message: String,
    /// When it was committed.
    committer_date: Option<String>,
    /// The repository's name.
    repository_name: String,
}

impl Connected<OfCodeCommit> {
    fn reached(&self) -> Result<Remote> {
        self.remote(&words::CODECOMMIT)?.ok_or_else(|| {
            Failure::configuration(format!(
                "the host does not say where the repository `{}` is: create a connection by the name `codecommit` with \
                 `pipewright connection create`",
                self.settings.repository_name
            ))
        })
    }

    fn wanted(&self) -> Result<Wanted> {
        Wanted::branch("BranchName", &self.settings.branch_name)
    }
}

/// Fetches the newest commit of a branch, or the one that started the execution, of a repository where the account's connection
/// named `codecommit` leads: of any git server, to which those of CodeCommit were moved.
#[action(provider = "CodeCommit", owner = "AWS", outputs = 1, latest = latest_of_codecommit)]
pub fn codecommit(action: &Action, settings: Connected<OfCodeCommit>) -> Result<Fetched<ToldOfCodeCommit>> {
    let Taken { fetched, commit, .. } = fetch_commit(action, settings.wanted()?, settings.reached()?)?;
    let Connected { settings, branch, .. } = settings;
    let variables = ToldOfCodeCommit {
        author_date: commit.authored.map(|time| time.to_string()),
        branch_name: branch.unwrap_or(settings.branch_name),
        commit_id: fetched.revision.as_ref().map(|revision| revision.id.clone()).unwrap_or_default(),
        commit_message: commit.message,
        committer_date: commit.committed.map(|time| time.to_string()),
        repository_name: settings.repository_name,
    };
    Ok(Fetched { revision: fetched.revision, report: fetched.report.variables(variables) })
}

pub fn latest_of_codecommit(_: &Action, settings: Connected<OfCodeCommit>) -> Result<Option<Revision>> {
    newest(&settings.wanted()?, settings.reached()?)
}

#[derive(Settings)]
pub struct OfGitHub {
    /// The owner of the repository.
    owner: String,
    /// The repository's name.
    repo: String,
    /// The branch.
    branch: String,
    /// A token that may read the repository.
    #[setting(name = "OAuthToken", secret)]
    oauth_token: String,
    /// Whether the host looks for new commits by itself, and starts the pipeline for each.
    #[setting(default = "true")]
    #[expect(dead_code, reason = "the host reads it")]
    poll_for_source_changes: bool,
}

/// Those of CodePipeline's own source (S84).
#[derive(Variables)]
pub struct ToldOfGitHub {
    /// When its author wrote the commit, like `2026-01-31T09:30:00Z`.
    author_date: Option<String>,
    /// The branch on which the change was made (S290).
    branch_name: String,
    /// The id of the commit.
    commit_id: String,
    /// Its message.
    commit_message: String,
    /// Where it is shown.
    commit_url: String,
    /// When it was committed.
    committer_date: Option<String>,
    /// The repository's name.
    repository_name: String,
}

impl Connected<OfGitHub> {
    fn address(&self) -> String {
        let OfGitHub { owner, repo, .. } = &self.settings;
        self.url.clone().unwrap_or_else(|| format!("{GITHUB}/{owner}/{repo}.git"))
    }

    fn reached(&self) -> Result<Remote> {
        let token = BASE64_STANDARD.encode(format!("{GITHUB_USER}:{}", self.settings.oauth_token));
        Remote::with_credential(&words::GITHUB, &self.address(), format!("Basic {token}"))
    }

    fn wanted(&self) -> Result<Wanted> {
        Wanted::branch("Branch", &self.settings.branch)
    }
}

/// Fetches the newest commit of a branch of a repository on GitHub, or the one that started the execution. Where the account has
/// a connection named `github`, that says where GitHub is; else it is github.com, which the grants are to allow.
#[action(provider = "GitHub", owner = "ThirdParty", outputs = 1, latest = latest_of_github)]
pub fn github(action: &Action, settings: Connected<OfGitHub>) -> Result<Fetched<ToldOfGitHub>> {
    let Taken { fetched, commit, .. } = fetch_commit(action, settings.wanted()?, settings.reached()?)?;
    let commit_id = fetched.revision.as_ref().map(|revision| revision.id.clone()).unwrap_or_default();
    let address = settings.address();
    let Connected { settings, branch, .. } = settings;
    let variables = ToldOfGitHub {
        author_date: commit.authored.map(|time| time.to_string()),
        branch_name: branch.unwrap_or(settings.branch),
        commit_url: format!("{}/commit/{commit_id}", address.strip_suffix(".git").unwrap_or(&address)),
        commit_id,
        commit_message: commit.message,
        committer_date: commit.committed.map(|time| time.to_string()),
        repository_name: settings.repo,
    };
    Ok(Fetched { revision: fetched.revision, report: fetched.report.variables(variables) })
}

pub fn latest_of_github(_: &Action, settings: Connected<OfGitHub>) -> Result<Option<Revision>> {
    newest(&settings.wanted()?, settings.reached()?)
}

//! What a source type calls that which its user mends: each has settings of its own.
//!
//! Pure: must not know when something is to be mended.

pub(crate) struct Words {
    /// What has the repository's address.
    pub(crate) place: &'static str,
    /// What to do about an address of no repository.
    pub(crate) address: &'static str,
    /// How requests get a credential that they do not have.
    pub(crate) give: &'static str,
    /// The same where the server says nothing but no.
    pub(crate) credential: &'static str,
    /// What is refused; none where the secret has a name of its own.
    pub(crate) secret: Option<&'static str>,
    /// What it may lie at.
    pub(crate) check: &'static str,
    /// The setting that names the branch.
    pub(crate) branch: &'static str,
}

pub(crate) static GIT: Words = Words {
    place: "setting `RepositoryUrl`",
    address: "correct the setting `RepositoryUrl`",
    give: "grant a secret to this action, and name it in the setting `Secret` (with the setting `Username`, or \
           `Authentication` = `Bearer`, as the server wants it)",
    credential: "name a secret in the setting `Secret`",
    secret: None,
    check: "its value, the settings `Username` and `Authentication`",
    branch: "BranchName",
};

pub(crate) static CONNECTION: Words = Words {
    place: "the address of the connection",
    address: "correct the setting `FullRepositoryId`, or the address of the connection",
    give: "give the connection a secret (`pipewright connection create`, or `secret` in the server's configuration)",
    credential: "give the connection a secret",
    secret: Some("the connection's secret"),
    check: "its value, the connection's user name",
    branch: "BranchName",
};

pub(crate) static CODECOMMIT: Words = Words {
    place: "the address of the connection `codecommit`",
    address: "correct the setting `RepositoryName`, or the address of the connection `codecommit`",
    give: "give the connection `codecommit` a secret (`pipewright connection create`, or `secret` in the server's \
           configuration)",
    credential: "give the connection `codecommit` a secret",
    secret: Some("the secret of the connection `codecommit`"),
    check: "its value, the connection's user name",
    branch: "BranchName",
};

pub(crate) static GITHUB: Words = Words {
    place: "the address of the repository",
    address: "correct the settings `Owner` and `Repo`",
    give: "give a token in the setting `OAuthToken`",
    credential: "give a token in the setting `OAuthToken`",
    secret: Some("the token of the setting `OAuthToken`"),
    check: "its value",
    branch: "Branch",
};

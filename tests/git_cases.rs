//! What source `Custom/Git/1` is asked for in tests, and what must come of it. `$URL` and `$OTHER_URL` are the server's two
//! origins, `$FIRST`, `$SECOND` and `$OTHER` commits.

pub(crate) const REVISIONS: &[(&str, &str)] = &[
    (
        "the-branch-of-head",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/site.git/"
        [expected]
        outcome = "succeeded"
        summary = ["Second"]
        revision = { id = "$SECOND", summary = "Second", created = 1700000060000 }
        outputs.Code = { files = ["a.txt"], contains = { "a.txt" = ["two"] } }
        [expected.variables]
        CommitId = "$SECOND"
        CommitMessage = "Second"
        AuthorDate = "2023-11-14T22:13:20Z"
        CommitterDate = "2023-11-14T22:14:20Z"
        BranchName = "main"
        RepositoryName = "site"
        "#,
    ),
    (
        "a-branch",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", BranchName = "feature/x" }
        [expected]
        outcome = "succeeded"
        revision.id = "$OTHER"
        outputs.Code.files = ["a.txt", "b.txt"]
        "#,
    ),
    (
        "a-tag",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", Tag = "v1" }
        [expected]
        outcome = "succeeded"
        revision.id = "$FIRST"
        outputs.Code.contains = { "a.txt" = ["one"] }
        [expected.variables]
        CommitId = "$FIRST"
        CommitMessage = "First\n\nWith a body."
        AuthorDate = "2023-11-14T22:13:20Z"
        CommitterDate = "2023-11-14T22:14:20Z"
        RepositoryName = "site"
        "#,
    ),
    (
        "a-commit",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", CommitId = "$FIRST" }
        expected = { outcome = "succeeded", revision = { id = "$FIRST" } }
        "#,
    ),
    (
        "a-revision-wins-over-the-branch",
        r#"
        outputs = ["Code"]
        revision = "$FIRST"
        settings.RepositoryUrl = "$URL/git/site.git"
        [expected]
        outcome = "succeeded"
        revision.id = "$FIRST"
        [expected.variables]
        CommitId = "$FIRST"
        CommitMessage = "First\n\nWith a body."
        AuthorDate = "2023-11-14T22:13:20Z"
        CommitterDate = "2023-11-14T22:14:20Z"
        BranchName = "main"
        RepositoryName = "site"
        "#,
    ),
    (
        "polled",
        r#"
        call = "latest"
        settings.RepositoryUrl = "$URL/git/site.git"
        expected = { outcome = "succeeded", revision = { id = "$SECOND" } }
        [[then]]
        settings = { BranchName = "feature/x" }
        expected = { outcome = "succeeded", revision = { id = "$OTHER" } }
        "#,
    ),
    (
        "polled-tag",
        r#"
        call = "latest"
        settings = { RepositoryUrl = "$URL/git/site.git", Tag = "v1" }
        expected = { outcome = "succeeded", revision = { id = "$FIRST" } }
        "#,
    ),
    (
        "in-protocol-0",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/old/site.git"
        [expected]
        outcome = "succeeded"
        revision.id = "$SECOND"
        outputs.Code = { files = ["a.txt"], contains = { "a.txt" = ["two"] } }
        [expected.variables]
        CommitId = "$SECOND"
        CommitMessage = "Second"
        AuthorDate = "2023-11-14T22:13:20Z"
        CommitterDate = "2023-11-14T22:14:20Z"
        BranchName = "main"
        RepositoryName = "site"
        "#,
    ),
    (
        "a-tag-in-protocol-1",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/older/site.git", Tag = "v1" }
        expected = { outcome = "succeeded", revision = { id = "$FIRST" } }
        "#,
    ),
    (
        "polled-in-protocol-0",
        r#"
        call = "latest"
        settings = { RepositoryUrl = "$URL/old/site.git", BranchName = "feature/x" }
        expected = { outcome = "succeeded", revision = { id = "$OTHER" } }
        "#,
    ),
    (
        "submodule",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/submodule.git"
        expected = { outcome = "succeeded", log = ["submodules are empty folders", "`docs/theme`"] }
        "#,
    ),
    (
        "links-and-pointers",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/odd.git"
        [expected]
        outcome = "succeeded"
        log = [
            "`docs/climbing` (to `../../etc/passwd`, which leads out)",
            "`absolute` (to `/etc/passwd`, which is absolute)",
            "fetched 1 files that Git LFS keeps",
            "its pointers to them: `gone.bin` (its server does not say where they are)",
        ]
        [expected.outputs.Code]
        files = ["docs/a.md", "docs/deep/b.md", "docs/roundabout", "gone.bin", "tool"]
        contains = { "gone.bin" = ["size 12345"], "tool" = ["kept elsewhere"] }
        "#,
    ),
    (
        "a-message-in-another-encoding",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/latin.git"
        expected = { outcome = "succeeded", summary = ["Grüße"], revision = { summary = "Grüße" } }
        "#,
    ),
    (
        "polled-while-empty",
        r#"
        call = "latest"
        settings.RepositoryUrl = "$URL/git/empty.git"
        expected = { outcome = "succeeded", revision = false }
        "#,
    ),
];

pub(crate) const CREDENTIALS: &[(&str, &str)] = &[
    (
        "basic",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "password", hosts = ["127.0.0.1"] } }
        settings = { RepositoryUrl = "$URL/private/site.git", Secret = "site", Username = "maria" }
        expected = { outcome = "succeeded", revision = { id = "$SECOND" } }
        "#,
    ),
    (
        "basic-polled",
        r#"
        call = "latest"
        grants.secrets = { site = { file = "password", hosts = ["127.0.0.1"] } }
        settings = { RepositoryUrl = "$URL/private/site.git", Secret = "site", Username = "maria" }
        expected = { outcome = "succeeded", revision = { id = "$SECOND" } }
        "#,
    ),
    (
        "bearer",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "token", hosts = ["127.0.0.1"] } }
        settings = { RepositoryUrl = "$URL/token/site.git", Secret = "site", Authentication = "Bearer" }
        expected = { outcome = "succeeded", revision = { id = "$SECOND" } }
        "#,
    ),
    (
        "without-one",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/private/site.git"
        [expected]
        outcome = "failed"
        failure = { kind = "PermissionError", contains = ["$URL/private/site.git wants a credential", "`Secret`"] }
        "#,
    ),
    (
        "polled-without-one",
        r#"
        call = "latest"
        settings.RepositoryUrl = "$URL/private/site.git"
        expected = { outcome = "failed", failure = { kind = "PermissionError", contains = ["`Secret`"] } }
        "#,
    ),
    (
        "forbidden",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/token/site.git"
        expected = { outcome = "failed", failure = { kind = "PermissionError", contains = ["status 403", "`Secret`"] } }
        "#,
    ),
    (
        "the-wrong-one",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "token", hosts = ["127.0.0.1"] } }
        settings = { RepositoryUrl = "$URL/private/site.git", Secret = "site", Username = "maria" }
        [expected]
        outcome = "failed"
        failure = { kind = "PermissionError", contains = ["refuses the secret `site` (status 401)", "`Username`"] }
        "#,
    ),
    (
        "granted-for-another-host",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "password", hosts = ["git.example"] } }
        settings = { RepositoryUrl = "$URL/private/site.git", Secret = "site", Username = "maria" }
        expected = { outcome = "failed", denials = ["127.0.0.1"], failure = { kind = "PermissionError" } }
        "#,
    ),
    (
        // The other origin asks for the credential, and it is granted there as well.
        "redirected",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "password", hosts = ["127.0.0.1", "localhost"] } }
        settings = { RepositoryUrl = "$URL/moved/site.git", Secret = "site", Username = "maria" }
        [expected]
        outcome = "succeeded"
        revision.id = "$SECOND"
        log = ["from $OTHER_URL/private/site.git"]
        "#,
    ),
    (
        "redirected-polled",
        r#"
        call = "latest"
        grants.secrets = { site = { file = "password", hosts = ["127.0.0.1", "localhost"] } }
        settings = { RepositoryUrl = "$URL/moved/site.git", Secret = "site", Username = "maria" }
        expected = { outcome = "succeeded", revision = { id = "$SECOND" } }
        "#,
    ),
    (
        "redirected-and-not-granted-there",
        r#"
        outputs = ["Code"]
        grants.secrets = { site = { file = "password", hosts = ["127.0.0.1"] } }
        settings = { RepositoryUrl = "$URL/moved/site.git", Secret = "site", Username = "maria" }
        expected = { outcome = "failed", denials = ["localhost"], failure = { kind = "PermissionError" } }
        "#,
    ),
    (
        "redirected-to-an-origin-not-granted",
        r#"
        outputs = ["Code"]
        grants.http = [$ORIGIN]
        settings.RepositoryUrl = "$URL/moved/site.git"
        expected = { outcome = "failed", denials = ["localhost"], failure = { kind = "PermissionError" } }
        "#,
    ),
    (
        "redirected-in-a-circle",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/round/site.git"
        expected = { outcome = "failed", failure = { kind = "ConfigurationError", contains = ["more than 5 times"] } }
        "#,
    ),
];

pub(crate) const FAILURES: &[(&str, &str)] = &[
    (
        "no-such-branch",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", BranchName = "master" }
        [expected]
        outcome = "failed"
        failure = { kind = "RevisionUnavailable", contains = ["no branch `master`", "`feature/x`, `main`", "`BranchName`"] }
        "#,
    ),
    (
        "no-such-branch-polled",
        r#"
        call = "latest"
        settings = { RepositoryUrl = "$URL/git/site.git", BranchName = "feature" }
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["no branch `feature`"] } }
        "#,
    ),
    (
        "no-such-tag",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", Tag = "v" }
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["no tag `v`", "`v1`"] } }
        "#,
    ),
    (
        "no-such-commit",
        r#"
        outputs = ["Code"]
        revision = "0123456789012345678901234567890123456789"
        settings.RepositoryUrl = "$URL/git/site.git"
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["does not give the commit 0123"] } }
        "#,
    ),
    (
        "empty",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/empty.git"
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["no commit on its HEAD"] } }
        "#,
    ),
    (
        "no-such-repository",
        r#"
        outputs = ["Code"]
        settings.RepositoryUrl = "$URL/git/sight.git"
        expected = { outcome = "failed", failure = { kind = "ConfigurationError", contains = ["no repository at $URL/git/sight.git"] } }
        "#,
    ),
    (
        "no-git-server",
        r#"
        call = "latest"
        settings.RepositoryUrl = "$URL"
        expected = { outcome = "failed", failure = { kind = "ConfigurationError", contains = ["`RepositoryUrl`"] } }
        "#,
    ),
    (
        "a-tag-of-a-tree",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/git/site.git", Tag = "of-tree" }
        [expected]
        outcome = "failed"
        failure = { kind = "ConfigurationError", contains = ["the tag `of-tree` of $URL/git/site.git is of a tree", "`Tag`"] }
        "#,
    ),
    (
        "a-tag-of-a-file",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/old/site.git", Tag = "of-file" }
        expected = { outcome = "failed", failure = { kind = "ConfigurationError", contains = ["the tag `of-file`", "of a blob"] } }
        "#,
    ),
    (
        "no-such-branch-in-protocol-0",
        r#"
        outputs = ["Code"]
        settings = { RepositoryUrl = "$URL/old/site.git", BranchName = "master" }
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["`feature/x`, `main`"] } }
        "#,
    ),
    (
        "no-such-commit-in-protocol-0",
        r#"
        outputs = ["Code"]
        revision = "0123456789012345678901234567890123456789"
        settings.RepositoryUrl = "$URL/old/site.git"
        expected = { outcome = "failed", failure = { kind = "RevisionUnavailable", contains = ["does not give the commit 0123"] } }
        "#,
    ),
    (
        "sha256",
        r#"
        call = "latest"
        settings.RepositoryUrl = "$URL/git/sha256.git"
        expected = { outcome = "failed", failure = { kind = "ConfigurationError", contains = ["another object format than sha1"] } }
        "#,
    ),
];

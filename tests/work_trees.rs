//! Source `Custom/Directory/1` on work trees that git itself made, in every form in which it keeps what it knows of them.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::git_server::git;
use crate::run::{Home, action, published};
use crate::tools;

/// Takes the folder by `--source`, and publishes it into the granted directory `public`.
fn pipeline() -> String {
    let mut source = action("Source", "Custom", "Directory", "Tree");
    source["outputArtifacts"] = json!([{ "name": "Code" }]);
    published(&source)
}

/// What git tracks is taken although a rule ignores it, what git ignores is not, and the commit is known. `expected` are paths.
fn check(home: &Home, folder: &str, expected: &[&str], said: &[&str]) {
    let file = home.write("pipeline.json", &pipeline());
    let grants = "[action.\"Publish/Publish\"]\ndirectories.public = { path = \"public\", access = \"write\" }\n";
    let grants = home.write("grants.toml", grants);
    let source = format!("Tree={folder}");
    let arguments = ["run", file.to_str().unwrap(), "--source", &source, "--grants", grants.to_str().unwrap()];
    home.run(&arguments).check(0, said);
    let mut found = vec![];
    paths(&home.path("public/current/"), "", &mut found);
    found.sort();
    assert_eq!(found, expected, "{folder}");
}

fn paths(top: &Path, folder: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(top.join(folder)).unwrap().map(Result::unwrap) {
        let path = format!("{folder}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            paths(top, &format!("{path}/"), found);
        } else {
            found.push(path);
        }
    }
}

fn fill(home: &Home, folder: &str, how: &[&str]) {
    for (name, text) in [
        ("README.md", "# Home\n"),
        (".gitignore", "dist/\n*.log\n"),
        ("dist/app.css", "a{}\n"),
        ("x.log", "log\n"),
        ("private.txt", "mine\n"),
    ] {
        home.write(&format!("{folder}/{name}"), text);
    }
    let work = home.path(folder);
    git(&work, &[&["init", "--quiet", "-b", "main"], how].concat());
    fs::write(work.join(".git/info/exclude"), "private.txt\n").unwrap();
    git(&work, &["add", "--all"]);
    git(&work, &["add", "--force", "dist/app.css"]);
    git(&work, &["commit", "--quiet", "-m", "One"]);
}

#[test]
fn in_every_form() {
    if tools::find("git").is_none() {
        return;
    }
    let home = Home::new();
    fill(&home, "plain", &[]);
    fill(&home, "split", &[]);
    git(&home.path("split"), &["update-index", "--split-index"]);
    fs::remove_file(home.path("split/README.md")).unwrap();
    home.write("split/more.md", "# More\n");
    git(&home.path("split"), &["rm", "--quiet", "--cached", "README.md"]);
    git(&home.path("split"), &["add", "more.md"]);
    fill(&home, "version-4", &[]);
    git(&home.path("version-4"), &["update-index", "--index-version", "4"]);
    git(&home.path("plain"), &["worktree", "add", "--quiet", "../linked", "-b", "side"]);
    for name in ["x.log", "private.txt"] {
        fs::copy(home.path("plain").join(name), home.path("linked").join(name)).unwrap();
    }
    fill(&home, "sha256", &["--object-format=sha256"]);
    fill(&home, "reftable", &["--ref-format=reftable"]);
    git(&home.path("reftable"), &["commit", "--quiet", "--allow-empty", "-m", "Two"]);

    for folder in ["plain", "split", "version-4", "linked", "sha256", "reftable"] {
        let commit = git(&home.path(folder), &["rev-parse", "HEAD"]);
        let first =
            if folder == "split" { ".gitignore dist/app.css more.md" } else { ".gitignore README.md dist/app.css" };
        check(&home, folder, &first.split(' ').collect::<Vec<_>>(), &[&format!("{}: ", &commit[..8])]);
    }
}

/// Whatever is in the file, a folder that does not name the work tree in turn is not granted.
#[test]
fn a_repository_that_is_somebody_elses() {
    if tools::find("git").is_none() {
        return;
    }
    let home = Home::new();
    fill(&home, "plain", &[]);
    git(&home.path("plain"), &["worktree", "add", "--quiet", "../linked", "-b", "side"]);
    let file = home.write("pipeline.json", &pipeline());
    home.write("other/README.md", "# Other\n");
    fs::copy(home.path("linked/.git"), home.path("other/.git")).unwrap();
    let grants = "[action.\"Publish/Publish\"]\ndirectories.public = { path = \"public\", access = \"write\" }\n";
    let grants = home.write("grants.toml", grants);
    let arguments = ["run", file.to_str().unwrap(), "--source", "Tree=other", "--grants", grants.to_str().unwrap()];
    home.run(&arguments).check(1, &["lies elsewhere", "/plain/.git/worktrees/linked", "directories.repository"]);
}

#[test]
fn submodules_as_they_are_checked_out() {
    if tools::find("git").is_none() {
        return;
    }
    let home = Home::new();
    fill(&home, "theme", &[]);
    fill(&home, "site", &[]);
    let theme = home.path("theme");
    let allowed = ["-c", "protocol.file.allow=always"];
    let add = ["submodule", "--quiet", "add", theme.to_str().unwrap(), "theme"];
    git(&home.path("site"), &[&allowed[..], &add].concat());
    git(&home.path("site"), &["commit", "--quiet", "-m", "With a theme"]);
    git(&home.path(""), &["clone", "--quiet", "site", "clone"]);
    home.write("site/theme/x.log", "log\n");
    let own = [".gitignore", ".gitmodules", "README.md", "dist/app.css"];
    let theme = ["theme/.gitignore", "theme/README.md", "theme/dist/app.css"];
    check(&home, "site", &[&own[..], &theme].concat(), &["as they are checked out: `theme`"]);
    check(&home, "clone", &own, &["not checked out are empty folders: `theme`"]);
}

#[test]
fn a_commit_with_a_long_message() {
    if tools::find("git").is_none() {
        return;
    }
    let home = Home::new();
    fill(&home, "site", &[]);
    let message = home.write("message", &format!("Squash\n\n{}", "* a line of a commit\n".repeat(11_000)));
    git(&home.path("site"), &["commit", "--quiet", "--allow-empty", "-F", message.to_str().unwrap()]);
    check(&home, "site", &[".gitignore", "README.md", "dist/app.css"], &[": Squash"]);
}

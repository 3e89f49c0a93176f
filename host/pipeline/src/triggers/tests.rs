//! Patterns row by row, and events against the filters of a trigger.

use super::*;

#[test]
fn patterns_fit_as_they_are_defined() {
    let check = |pattern: &str, fits: &[&str], others: &[&str]| {
        let glob = Glob::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for name in fits {
            assert!(glob.is_match(name), "{pattern} fits {name}");
        }
        for name in others {
            assert!(!glob.is_match(name), "{pattern} does not fit {name}");
        }
    };
    check("main", &["main"], &["", "mai", "main2", "Main", "a/main"]);
    check("*", &["main", "", ".hidden"], &["feature/a"]);
    check("**", &["main", "", "feature/a/b"], &[]);
    check("feature/*", &["feature/a", "feature/"], &["feature", "feature/a/b", "afeature/a"]);
    check("feature/**", &["feature/a", "feature/a/b", "feature/"], &["feature"]);
    check("feature**", &["feature", "feature/a", "features/a"], &["a/feature"]);
    check("**/README.md", &["a/README.md", "a/b/README.md", "/README.md"], &["README.md", "README.md/a"]);
    check("src/**/*.rs", &["src/a/b.rs", "src/a/b/c.rs"], &["src/a.rs", "src/a/b.py"]);
    check("a*c", &["ac", "abc", "abbc", "acc"], &["ab", "a/c", "acb"]);
    check("***", &["a/b"], &[]);
    check("v?.?", &["v1.0"], &["v1.", "v10.0", "v/.0"]);
    check("release-[0-9]", &["release-1"], &["release-a", "release-", "release-12"]);
    check("[!ab]x", &["cx", "Ax"], &["ax", "bx", "/x", "x"]);
    check("[a-cx-z]", &["b", "y"], &["d", "-"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[*?\\]", &["*", "?", "\\"], &["a"]);
    check("{main,release/*}", &["main", "release/1"], &["release/1/2", "develop", ""]);
    check("*.{js,ts,}", &["a.js", "a.ts", "a."], &["a.rs", "a.jsts"]);
    check("{a,b}{c,d}", &["ac", "bd"], &["ab", "a"]);
    check("{[ab],?x}1", &["a1", "zx1"], &["c1"]);
    check("\\*", &["*"], &["a", "\\*"]);
    check("a\\{b", &["a{b"], &["a\\{b"]);
    check("{a\\,b,c}", &["a,b", "c"], &["a", "b,c"]);
    check("a}b,]", &["a}b,]"], &["ab"]);
    check("*ü?", &["grüß", "ü1"], &["grü"]);
}

#[test]
fn what_is_no_pattern_is_refused() {
    let check = |pattern: &str, error: InvalidGlob| assert_eq!(Glob::new(pattern).err(), Some(error), "{pattern}");
    check("a\\", InvalidGlob::Escape);
    check("[a", InvalidGlob::Set);
    check("[]", InvalidGlob::Set);
    check("[!]", InvalidGlob::Set);
    check("[a-", InvalidGlob::Set);
    check("{a,b", InvalidGlob::Group);
    check("{a,{b}}", InvalidGlob::NestedGroup);
}

/// As many wild cards and groups as a pattern can have, and a long name that fits none of them.
#[test]
fn a_pattern_costs_no_more_than_its_length_times_the_name() {
    let name = "a".repeat(4096);
    for pattern in ["*a".repeat(127) + "b", "{a,*,**}".repeat(31) + "b"] {
        assert!(!Glob::new(&pattern).expect("a pattern").is_match(&name));
    }
}

/// `git` is a GitConfiguration without its source action; `branch` is what that names.
fn trigger(git: &str) -> PipelineTriggerDeclaration {
    let mut configuration: serde_json::Value = serde_json::from_str(git).expect("JSON");
    configuration["sourceActionName"] = "Repository".into();
    let trigger = serde_json::json!({ "providerType": "CodeStarSourceConnection", "gitConfiguration": configuration });
    serde_json::from_value(trigger).expect("a trigger")
}

/// `push main`, `tag v1`, `open topic main` and so on, with the changed files behind them; `?` for files that are not known.
fn event(text: &str) -> GitEvent {
    let (words, files) = text.split_once(": ").unwrap_or((text, ""));
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let pull_request = |what| GitHappening::PullRequest { what, from: words[1].clone(), into: words[2].clone() };
    let what = match words[0].as_str() {
        "push" => GitHappening::Push { branch: words[1].clone() },
        "tag" => GitHappening::Tag { tag: words[1].clone() },
        "open" => pull_request(GitPullRequestEventType::Open),
        "update" => pull_request(GitPullRequestEventType::Updated),
        _ => pull_request(GitPullRequestEventType::Closed),
    };
    let files = (files != "?").then(|| files.split_whitespace().map(str::to_owned).collect());
    GitEvent { what, commit: "c0ffee".into(), files }
}

#[test]
fn an_event_starts_what_its_filters_fit() {
    let check = |git: &str, rows: &[(&str, Option<&str>)]| {
        for (text, filter) in rows {
            let why = matches(&trigger(git), Some("main"), &event(text));
            let told = why.map(|why| why.filter.unwrap_or_else(|| "no filter".to_owned()));
            assert_eq!(told.as_deref(), *filter, "{text} with {git}");
        }
    };
    check("{}", &[("push main", Some("no filter")), ("push topic", None), ("tag v1", None), ("open topic main", None)]);
    let branches = r#"{"push": [{"branches": {"includes": ["main", "release/**"], "excludes": ["release/old*"]}}]}"#;
    check(
        branches,
        &[
            ("push main", Some("push[0]")),
            ("push release/1/2", Some("push[0]")),
            ("push release/old1", None),
            ("push topic", None),
            ("tag main", None),
            ("merge topic main", None),
        ],
    );
    check(r#"{"push": [{"branches": {"excludes": ["wip"]}}]}"#, &[("push a", Some("push[0]")), ("push wip", None)]);
    let tags =
        r#"{"push": [{"tags": {"includes": ["v*"], "excludes": ["*-rc?"]}}, {"branches": {"includes": ["main"]}}]}"#;
    check(
        tags,
        &[("tag v1", Some("push[0]")), ("tag v1-rc1", None), ("push v1", None), ("push main", Some("push[1]"))],
    );
    let files = r#"{"push": [{"branches": {"includes": ["main"]}, "filePaths": {"includes": ["src/**"], "excludes": ["**.md"]}}]}"#;
    check(
        files,
        &[
            ("push main: src/a.rs", Some("push[0]")),
            ("push main: docs/a.rs src/b/c.rs", Some("push[0]")),
            ("push main: src/a.md docs/a.rs", None),
            ("push main: ", None),
            ("push main: ?", Some("push[0]")),
            ("push topic: src/a.rs", None),
        ],
    );
    let requests = r#"{"pullRequest": [
        {"events": ["OPEN", "UPDATED"], "branches": {"includes": ["main"]}},
        {"events": ["CLOSED"], "branches": {"includes": ["release/*"]}, "filePaths": {"excludes": ["docs/**"]}}]}"#;
    check(
        requests,
        &[
            ("open topic main", Some("pullRequest[0]")),
            ("update topic main", Some("pullRequest[0]")),
            ("merge topic main", None),
            ("open main topic", None),
            ("merge topic release/1: a docs/b", Some("pullRequest[1]")),
            ("merge topic release/1: docs/b", None),
            ("push main", None),
        ],
    );
    check(r#"{"pullRequest": [{}]}"#, &[("open a b", Some("pullRequest[0]")), ("merge a b", Some("pullRequest[0]"))]);
}

#[test]
fn a_start_by_a_trigger_says_why_and_takes_the_commit_of_the_event() {
    let check = |git: &str, text: &str, detail: &str, branch: &str| {
        let (trigger, event) = (trigger(git), event(text));
        let why = matches(&trigger, Some("main"), &event).expect("it fits");
        let start = start(&trigger, &event, &why);
        assert_eq!((start.trigger.kind, start.trigger.detail.as_str()), (TriggerType::WebhookV2, detail));
        assert_eq!(start.branch.as_deref(), Some(branch));
        let [revision] = &start.source_revisions[..] else { panic!("{start:?}") };
        assert_eq!((revision.action_name.as_str(), revision.revision_value.as_str()), ("Repository", "c0ffee"));
    };
    check("{}", "push main", "push to branch main", "main");
    check(r#"{"push": [{}]}"#, "push topic", "push to branch topic (push[0])", "topic");
    check(r#"{"push": [{"tags": {"includes": ["v*"]}}]}"#, "tag v1", "push of tag v1 (push[0])", "refs/tags/v1");
    let merged = "pull request from branch a into b merged (pullRequest[0])";
    check(r#"{"pullRequest": [{"events": ["CLOSED"]}]}"#, "merge a b", merged, "a");
}

#[test]
fn patterns_that_are_none_are_told_by_their_path() {
    let git = r#"{"push": [{"branches": {"includes": ["a", "[b"]}}, {"tags": {"excludes": ["{c"]}}],
        "pullRequest": [{"filePaths": {"includes": ["d\\"]}}]}"#;
    let told = invalid_patterns(&trigger(git));
    assert_eq!(
        told,
        [
            ("gitConfiguration.push[0].branches.includes[1]".to_owned(), InvalidGlob::Set),
            ("gitConfiguration.push[1].tags.excludes[0]".to_owned(), InvalidGlob::Group),
            ("gitConfiguration.pullRequest[0].filePaths.includes[0]".to_owned(), InvalidGlob::Escape),
        ]
    );
}

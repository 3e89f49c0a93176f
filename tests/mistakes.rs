//! Whoever writes something wrong on the command line is told what to do next. A row for each kind of mistake.

use std::fs;

use crate::run::Home;
use crate::server::Server;

/// What is written, and what of the answer names the mend.
const WRITTEN: &[(&str, &str)] = &[
    ("", "First steps:"),
    ("plugin", "new        Begin a plugin"),
    ("fly", "try '--help'"),
    ("statsu site", "some similar subcommands exist: 'tests', 'start', 'status'"),
    ("plugin tset .", "a similar subcommand exists: 'test'"),
    ("run", "<PIPELINE>"),
    ("run --sauce Source=. p.json", "a similar argument exists: '--source'"),
    ("run nowhere.json", "nowhere.json: No such file"),
    ("run bad.json", "bad.json: not JSON: EOF while parsing an object at line 1"),
    (
        "run window.json",
        "beforeEntry.conditions[0].rules[0].configuration.Cron: it must be a cron expression as Quartz writes it",
    ),
    ("run window.json", "configuration.TimeZone: it must be a region like `Europe/Berlin`"),
    ("build nowhere", "nowhere: No such file"),
    ("build there", "name another file of the folder with --buildspec"),
    ("plugin new index --kind build", "`my-team/index`"),
    ("plugin new acme/Index --kind build", "small letters"),
    ("plugin new acme/index", "--kind <KIND>"),
    ("plugin new acme/index --kind bild", "[possible values: source, build, test, deploy, approval, invoke, rule]"),
    ("plugin new acme/index --kind build --lang cobol", "[possible values: rust, python, javascript"),
    ("plugin new acme/there --kind build", "name a folder that is not there yet, with --path"),
    ("plugin test nowhere", "give the folder of a plugin, or a component"),
    ("plugin test there", "`pipewright plugin new TEAM/NAME --kind KIND` begins a plugin"),
    ("plugin build there", "`pipewright plugin new TEAM/NAME --kind KIND` begins a plugin"),
    ("plugin test text.wasm", "`pipewright plugin build` makes one of a plugin's folder"),
    ("plugin run module.wasm", "build it for the target wasm32-wasip2"),
    ("plugin test text.wasm --watch", "give the folder of a plugin to --watch"),
    ("plugin renew there", "a folder `pipewright`"),
    ("plugin doc acme/nothing", "`pipewright plugin list`, with the same options, says what is installed"),
    ("plugin replay text.wasm", "`pipewright plugin record`"),
    ("plugin case text.wasm", "`pipewright plugin record`"),
    ("plugin add there", "`pipewright plugin build there` makes a component of it"),
    ("plugin inspect there", "`pipewright plugin build there` makes a component of it"),
    ("plugin add acme/index", "write it as registry.example/team/name:1.0.0"),
    ("plugin add registry.example/acme/index", "say which version, as registry.example/acme/index:1.0.0"),
    (
        "plugin upgrade acme/index --data there",
        "`pipewright plugin list`, with the same options, says what is installed",
    ),
    ("pipelines", "`pipewright serve` starts a server of your own"),
    ("pipelines --endpoint there", "write it as http://HOST:PORT"),
    ("pipelines --data nowhere", "give --data the directory that `pipewright serve --data` uses"),
    ("pipelines --profile nobody", "there is no profile `nobody` in"),
    ("create nowhere.json", "nowhere.json: No such file"),
    ("start", "<NAME>"),
    ("history site --limit 0", "number would be zero"),
    ("webhook put push --pipeline site --action Get", "--secret FILE of who signs them, --from RANGE, or --anybody"),
    ("webhook put push --pipeline site --action Get --secret nowhere", "nowhere: No such file"),
    ("connection create hub --kind svn", "[possible values: github, gitlab"),
    ("export --data nowhere", "nowhere is not a data directory"),
    ("import --data nowhere nowhere.jsonl", "nowhere.jsonl: No such file"),
    ("artifacts check --data nowhere", "give --data the directory that"),
    ("cache list --data nowhere", "give --data the directory that"),
    ("cache remove --data there", "--project"),
    ("cache remove --project site --data there", "`pipewright cache list` shows of whom there are"),
    ("cache list --data there --account 7", "write it as 12 digits"),
    ("image pull node:22", "write it as registry.example/team/name:tag, or as oci:FOLDER"),
    ("image remove node:22 --data images", "`pipewright image list`, with the same options, lists those that are"),
    ("serve --config nowhere.toml", "nowhere.toml: cannot be read: No such file"),
    ("serve --config bad.toml", "unknown field `listne`, expected one of `listen`"),
    ("completion korn", "[possible values: bash, elvish, fish, powershell, zsh]"),
];

/// The same with a server that runs in `data`.
const ASKED: &[(&str, &str)] = &[
    ("status site --data data", "`pipewright pipelines`, with the same options, lists those that are there"),
    ("logs site --data data", "`pipewright pipelines`, with the same options, lists those that are there"),
    ("pipelines --data data --region eu-west-1", "Name its region with --region, or AWS_DEFAULT_REGION"),
    ("pipelines --data data --profile nobody", "makes the key"),
    ("start site --data data --var x", "write it as NAME=VALUE"),
    ("create empty.json --data data", "pipeline.stages: is missing"),
    ("create window.json --data data", "'Cron': it must be a cron expression as Quartz writes it ("),
    ("create window.json --data data", "'TimeZone': it must be a region like `Europe/Berlin`"),
    ("serve --data data", "end it, or name another directory"),
];

/// What is done all the same, and the warning.
const WARNED: &[(&str, &str)] = &[
    (
        "connection create own --kind gitea --address http://127.0.0.1:9 --data data",
        "nothing is fetched from there without --private",
    ),
    (
        "connection create own --kind gitea --address http://127.0.0.1:9 --private --data data",
        "correct --address, or let the server",
    ),
    (
        "connection create own --kind gitea --address http://127.0.0.1:9 --secret nowhere --data data",
        "secret cannot be read",
    ),
];

/// And after it ended.
const STOPPED: &[(&str, &str)] = &[("pipelines --data data", "Start it with `pipewright serve`")];

/// Its rule is declared as its type wants it, but for what only the plugin can tell.
const WINDOW: &str = r##"{ "pipeline": {
    "name": "shop", "roleArn": "arn:aws:iam::000000000000:role/test", "pipelineType": "V2",
    "artifactStore": { "type": "S3", "location": "artifacts" },
    "stages": [
        { "name": "Source", "actions": [{
            "name": "Source", "outputArtifacts": [{ "name": "Code" }], "configuration": { "Directory": "source" },
            "actionTypeId": { "category": "Source", "owner": "Custom", "provider": "Directory", "version": "1" }
        }] },
        {
            "name": "Ask",
            "actions": [{
                "name": "Ask", "configuration": {},
                "actionTypeId": { "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1" }
            }],
            "beforeEntry": { "conditions": [{ "result": "FAIL", "rules": [{
                "name": "Window", "configuration": { "Cron": "0 0 9 ? * MOO", "TimeZone": "Atlantis" },
                "ruleTypeId": { "category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1" }
            }] }] }
        }
    ]
} }"##;

#[test]
fn every_mistake_is_told_with_its_mend() {
    let home = Home::new();
    home.write("bad.json", "{");
    home.write("bad.toml", "listne = 1\n");
    home.write("empty.json", r#"{"pipeline":{"name":"x"}}"#);
    home.write("window.json", WINDOW);
    home.write("text.wasm", "hello");
    home.write("module.wasm", "\0asm\u{1}\0\0\0");
    home.write("serve.toml", "");
    fs::create_dir(home.path("there")).unwrap();
    let mut wrong = Vec::new();
    let mut check = |rows: &[(&str, &str)], codes: &[i32]| {
        for (words, mend) in rows {
            let ended = home.run(&words.split_whitespace().collect::<Vec<_>>());
            if !ended.text.contains(mend) || !codes.iter().any(|code| ended.code == Some(*code)) {
                wrong.push(format!(
                    "pipewright {words}\nended with {:?}, and lacks {mend:?}:\n{}",
                    ended.code, ended.text
                ));
            }
        }
    };
    check(WRITTEN, &[2]);
    let server = Server::start(&home.path(""));
    check(ASKED, &[2]);
    check(WARNED, &[0]);
    drop(server);
    check(STOPPED, &[3]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!home.path("nowhere").exists(), "a mistake makes no folder");
}

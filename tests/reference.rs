//! The pages of docs/reference, each made of the code that it is about. This command makes all of them again:
//!
//! ```sh
//! PIPEWRIGHT_WRITE_REFERENCE=1 cargo test --release --test integration reference
//! ```
//!
//! Owns which pages there are and how each begins. What a page says beyond that is said in the sources.

mod actions;
mod capabilities;
mod command_line;
mod javascript;
mod keys;
mod markdown;
mod python;
mod rust;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pipewright_aws::auth::profile;
use pipewright_aws::client::Client;
use serde_json::json;

use crate::run::Home;
use crate::server::Server;

const WRITE: &str = "PIPEWRIGHT_WRITE_REFERENCE";

/// A page: its file, its title, how it begins, and what makes the rest. None where a program for it is missing.
struct Page {
    file: &'static str,
    title: &'static str,
    begins: &'static str,
    make: fn() -> Option<String>,
}

const PAGES: &[Page] = &[
    Page {
        file: "command-line.md",
        title: "The command line",
        begins: "Every command of `pipewright`, as `pipewright COMMAND --help` says it too.",
        make: || Some(command_line::page()),
    },
    Page {
        file: "server-configuration.md",
        title: "The server's configuration",
        begins: "The keys of the TOML file that `pipewright serve --config FILE` reads. All of them may be left out, and an \
                 unknown one is an error. Relative paths start at the folder of the file. [The server](../server.md) shows a \
                 whole file.",
        make: || Some(keys::server_configuration()),
    },
    Page {
        file: "grants-file.md",
        title: "The grants file",
        begins: "What an operator lets the actions of a pipeline reach: a TOML file that `pipewright run --grants FILE` reads, \
                 and that the server's [configuration](server-configuration.md) names for each pipeline. An unknown key is an \
                 error. Relative paths start at the folder of the file.",
        make: || Some(keys::grants_file()),
    },
    Page {
        file: "actions.md",
        title: "The actions and rules that come with Pipewright",
        begins: "What each plugin says of its types: the settings of an action's or a rule's `configuration`, what each means and \
                 what counts without it, the output variables, and what the plugin asks for. `pipewright plugin doc NAME` shows the \
                 same of any plugin that is installed. [The actions](../actions.md) has what does not fit into a table.",
        make: || Some(actions::page()),
    },
    Page {
        file: "capabilities.md",
        title: "Capabilities",
        begins: "The kinds of things that a plugin may reach. It reaches what it asks for, what the operator granted and what \
                 the action's settings name: all three. `/inputs`, `/outputs` and `/scratch`, the log and its own settings \
                 every plugin has.",
        make: || Some(capabilities::page()),
    },
    Page {
        file: "limits.md",
        title: "Limits",
        begins: "What one call of a plugin may use. A server's [configuration](server-configuration.md) sets those that have a \
                 key, in its table `[limits]`. A call that goes beyond one fails, and the failure names the limit.",
        make: || Some(keys::limits()),
    },
    Page {
        file: "case-file.md",
        title: "The case file",
        begins: "The keys of `case.toml`, a test case of a plugin. An unknown key is an error. [Cases of a \
                 plugin](../../sdk/CASES.md) says what cases are and shows whole ones.",
        make: || Some(keys::case_file()),
    },
    Page {
        file: "rust-sdk.md",
        title: "The SDK for Rust",
        begins: "What `pipewright_sdk` offers to a plugin in Rust. `pipewright plugin new` puts it into the plugin's folder.",
        make: || Some(rust::page()),
    },
    Page {
        file: "python-sdk.md",
        title: "The SDK for Python",
        begins: "What the package `pipewright` offers to a plugin in Python. `pipewright plugin new` puts it into the plugin's \
                 folder.",
        make: python::page,
    },
    Page {
        file: "javascript-sdk.md",
        title: "The SDK for JavaScript and TypeScript",
        begins: "What `pipewright.js` offers to a plugin in JavaScript or TypeScript. `pipewright plugin new` puts it into the \
                 plugin's folder.",
        make: || Some(javascript::page()),
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn source(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_reference_says_what_the_code_says() {
    let folder = root().join("docs/reference");
    let mut stale = Vec::new();
    let mut files: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for Page { file, title, begins, make } in PAGES {
        files.remove(*file);
        let Some(rest) = make() else { continue };
        let made = "<!-- Made of the sources by tests/reference.rs, which says how; edit those. -->";
        let page = format!("# {title}\n\n{made}\n\n{}\n\n{}\n", markdown::wrapped(begins), rest.trim_end());
        let path = folder.join(file);
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, page).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != page {
            stale.push(*file);
        }
    }
    assert!(
        stale.is_empty(),
        "docs/reference does not say what the code says: {}. Write it again, and read the difference:\n    \
         {WRITE}=1 cargo test --release --test integration reference",
        stale.join(", ")
    );
    assert!(files.is_empty(), "docs/reference has pages that nobody makes: {files:?}");
}

/// The tables of types in README.md and in the page for those who come from CodePipeline name what a server serves, and nothing else.
#[test]
fn the_tables_of_types_name_what_is_served() {
    let home = Home::new();
    home.write("serve.toml", "[functions.tell]\nurl = \"https://fn.example/tell\"\n");
    let server = Server::start(&home.path(""));
    let key = profile::read_credentials(&server.credentials(), "default").unwrap();
    let client = Client::new(server.endpoint().parse().unwrap(), key, "us-east-1".to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut served = BTreeSet::new();
    for (operation, member) in [("ListActionTypes", "actionTypes"), ("ListRuleTypes", "ruleTypes")] {
        let listed = runtime.block_on(client.call(operation, &json!({}))).unwrap();
        served.extend(listed[member].as_array().unwrap().iter().map(|listed| {
            let [category, owner, provider, version] =
                ["category", "owner", "provider", "version"].map(|part| listed["id"][part].as_str().unwrap());
            format!("{category}/{owner}/{provider}/{version}")
        }));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // The types of the table below a heading, with whether their row says that they are not served.
    let table = |path: &str, heading: &str| -> Vec<(String, bool)> {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let rows = text.split(heading).nth(1).expect("the heading is there").lines();
        let rows = rows.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let row = |line: &str| {
            let (types, says) = line[1..].split_once('|').unwrap();
            let types = types.split('`').skip(1).step_by(2).filter(|id| id.split('/').count() == 4);
            let is_missing = says.trim_start().starts_with("not served");
            types.map(|id| (id.to_owned(), is_missing)).collect::<Vec<_>>()
        };
        rows.flat_map(row).collect()
    };
    let readme: BTreeSet<_> = table("README.md", "\n## Action types").into_iter().map(|(id, _)| id).collect();
    assert_eq!(readme, served);
    let (missing, there): (Vec<_>, Vec<_>) =
        table("docs/from-codepipeline.md", "\n## Action types").into_iter().partition(|(_, is_missing)| *is_missing);
    assert!(missing.iter().all(|(id, _)| !served.contains(id)), "{missing:?}");
    let of_aws: BTreeSet<_> =
        served.into_iter().filter(|id| !id.contains("/Custom/") && !id.contains("HttpCheck")).collect();
    assert_eq!(there.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), of_aws);
}

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

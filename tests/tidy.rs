//! The laws of the house that can be read off the source (ARCHITECTURE.md, "Laws"). Reads files as text; builds nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A pattern that may stand only below certain paths.
struct Law {
    name: &'static str,
    patterns: &'static [&'static str],
    /// the source files that the law speaks of
    within: &'static [&'static str],
    /// and those among them that may
    except: &'static [&'static str],
}

const LAWS: &[Law] = &[
    Law {
        name: "the time of day and the monotonic clock are read only in the clock modules",
        patterns: &["SystemTime::now", "Instant::now"],
        within: &["host", "plugins", "sdk"],
        // The SDK's clock is a guest's: the one that it is granted.
        except: &["sdk/rust/src/host.rs", "host/sandbox/src/clock.rs", "host/base/src/clock.rs"],
    },
    Law {
        name: "only the driver calls the state machine",
        patterns: &["machine::step", "use pipewright_pipeline::machine::*"],
        within: &["host"],
        except: &["host/engine/src/driver", "host/pipeline"],
    },
    Law {
        name: "sled stays in the store",
        patterns: &["sled::", "use sled"],
        within: &["host", "sdk", "plugins"],
        // The benchmark compares the store with the bare sled.
        except: &["host/store", "host/cli/benches"],
    },
    Law {
        name: "wasmtime stays in the sandbox",
        patterns: &["wasmtime::", "wasmtime_wasi", "use wasmtime"],
        within: &["host", "sdk", "plugins"],
        // The benchmark compares the sandbox with the bare wasmtime.
        except: &["host/sandbox", "host/cli/benches"],
    },
    Law {
        name: "HTTP status codes stay in the edges that speak HTTP",
        patterns: &["StatusCode"],
        within: &["host/server", "host/pipeline", "host/engine", "host/runner", "host/cli/src"],
        except: &["host/server/src/api", "host/server/src/console"],
    },
    Law {
        name: "the pure core knows no time, randomness, files, network or async",
        patterns: &["std::time::", "std::fs", "std::net", "std::env", "std::thread", "async fn", "getrandom"],
        within: &["host/pipeline/src"],
        except: &[],
    },
    Law {
        name: "what reads buildspecs and reports knows no time, files, network, programs or environment",
        patterns: &["std::time::", "std::fs", "std::net", "std::env", "std::process", "std::thread", "pipewright_sdk"],
        within: &["plugins/buildspec/src", "plugins/reports/src"],
        except: &[],
    },
    Law {
        name: "inside the packages, the plugins do not know where they come from",
        patterns: &["crate::installed", "crate::lock", "crate::registry", "crate::origin", "crate::policy"],
        within: &["host/packages/src/plugins"],
        except: &[],
    },
    Law {
        name: "inside the server nothing points back at its edges",
        patterns: &["crate::server", "crate::api"],
        within: &["host/server/src"],
        except: &["host/server/src/server.rs", "host/server/src/api"],
    },
    Law {
        name: "inside the server no edge reads the store",
        patterns: &["pipewright_store", ".store()"],
        within: &["host/server/src/api", "host/server/src/service"],
        except: &[],
    },
    Law {
        name: "the service knows neither HTTP nor a wire protocol",
        patterns: &["axum", "http::", "hyper", "ciborium"],
        within: &["host/server/src/service"],
        except: &[],
    },
    Law {
        name: "text that others wrote is cut, printed and quoted by `pipewright-text`",
        patterns: &["is_control", "floor_char_boundary", "escape_debug", "escape_default"],
        within: &["host"],
        except: &["host/text"],
    },
    Law {
        name: "the command line speaks through `out`, where nothing steers the terminal",
        patterns: &["println!", "print!("],
        within: &["host"],
        // The compiler's child process has no terminal.
        except: &[
            "host/cli/benches",
            "host/isolation/benches",
            "host/isolation/tests",
            "host/sandbox/src/compile.rs",
            "host/sandbox/tests/child",
        ],
    },
    Law {
        name: "the terminal is the command line's",
        patterns: &["std::io::stdout", "std::io::stdin"],
        within: &["host"],
        // The compiler's child process answers on its standard output.
        except: &["host/cli", "host/sandbox/src/compile.rs", "host/sandbox/tests/child"],
    },
    Law {
        name: "the edges reach the store through the engine, which alone reads its bytes",
        patterns: &["pipewright_store"],
        within: &["host/server/src/api", "host/server/src/account_plugins.rs"],
        except: &[],
    },
    Law {
        name: "registries are asked in one place, where every answer has a limit",
        patterns: &["reqwest::", "use reqwest"],
        within: &["host", "sdk", "plugins"],
        except: &["host/packages/src/registry"],
    },
    Law {
        name: "a tree that a guest may have made is removed by `files::remove_tree`, which does not recurse",
        patterns: &["remove_dir_all"],
        within: &["host"],
        // The benchmarks' own folders.
        except: &["host/cli/benches"],
    },
    Law {
        name: "nothing is unfinished or switched off",
        patterns: &["todo!(", "unimplemented!(", concat!("#[", "ignore"), concat!("FIX", "ME"), concat!("TO", "DO:")],
        within: &["host", "sdk", "plugins", "tests"],
        except: &["tests/tidy.rs"],
    },
];

/// What each room may know of the others; cargo itself refuses a circle.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("text", &[]),
    ("pipeline", &["text"]),
    ("store", &["base"]),
    ("artifacts", &["base", "text"]),
    ("sandbox", &["artifacts", "base", "text"]),
    ("engine", &["artifacts", "base", "pipeline", "store"]),
    ("isolation", &["artifacts", "base"]),
    ("packages", &["artifacts", "base", "bundle", "pipeline", "sandbox", "text"]),
    ("runner", &["artifacts", "base", "engine", "isolation", "packages", "pipeline", "sandbox", "store", "text"]),
    ("author", &["artifacts", "base", "bundle", "packages", "pipeline", "runner", "sandbox", "text"]),
    ("aws", &["base"]),
    ("server", &["artifacts", "aws", "base", "engine", "packages", "pipeline", "runner", "sandbox", "store", "text"]),
    (
        "cli",
        &[
            "artifacts",
            "author",
            "aws",
            "base",
            "bundle",
            "engine",
            "packages",
            "pipeline",
            "runner",
            "sandbox",
            "server",
            "store",
            "text",
        ],
    ),
];

/// What a room must not be built with, however it came by it.
const FOREIGN: &[(&str, &[&str])] = &[
    ("pipeline", &["tokio", "async-trait", "futures", "getrandom", "tracing"]),
    ("store", &["wasmtime", "axum", "hyper", "clap"]),
    ("artifacts", &["wasmtime", "axum", "hyper", "clap", "sled"]),
    ("engine", &["wasmtime", "axum", "hyper", "http", "clap", "sled"]),
    ("isolation", &["wasmtime", "axum", "hyper", "http", "clap", "sled"]),
    ("sandbox", &["axum", "clap", "sled"]),
    ("packages", &["axum", "clap", "sled", "wasmtime"]),
    ("runner", &["axum", "clap", "sled", "wasmtime", "hyper", "http"]),
    ("server", &["clap", "sled", "wasmtime"]),
];

const LINES_MAX: usize = 600;
const LINES_HARD_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 70;

/// Files over 600 lines, and functions over 70 lines, with the reason. Only shrinks.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn laws_hold() {
    let mut broken = Vec::new();
    for law in LAWS {
        for file in sources() {
            let below = |folders: &[&str]| folders.iter().any(|folder| file.name.starts_with(folder));
            if !below(law.within) || below(law.except) {
                continue;
            }
            for (number, line) in file.code_lines() {
                if let Some(pattern) = law.patterns.iter().find(|pattern| line.contains(**pattern)) {
                    broken.push(format!("{}:{number}: `{pattern}`, but {}", file.name, law.name));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken laws:\n{}", broken.join("\n"));
}

#[test]
fn files_say_what_they_own() {
    let silent: Vec<_> = sources().into_iter().filter(|file| !file.text.starts_with("//!")).map(|f| f.name).collect();
    assert!(silent.is_empty(), "files without a `//!` line at the top: {silent:?}");
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > LINES_HARD_MAX || lines > LINES_MAX && !excepted(&file.name) {
            long.push(format!("{}: {lines} lines", file.name));
        }
        for (name, lines) in functions(&file.text) {
            if lines > FUNCTION_LINES_MAX && !excepted(&format!("{}::{name}", file.name)) {
                long.push(format!("{}: fn {name} has {lines} lines", file.name));
            }
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

#[test]
fn exceptions_are_needed() {
    for (name, reason) in EXCEPTIONS {
        let path = name.split("::").next().expect("split yields at least one part");
        assert!(root().join(path).is_file(), "{name} is excepted ({reason}) but gone");
    }
}

/// Each room's manifest names only the rooms that it may know, and nothing foreign; the pure core nothing but what is listed.
#[test]
fn rooms_know_only_what_they_may() {
    let mut wrong = Vec::new();
    let rooms =
        fs::read_dir(root().join("host")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for room in rooms {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("host/{room} is in no row of ROOMS"));
            continue;
        };
        for dependency in dependencies(&room) {
            let ours = dependency.strip_prefix("pipewright-");
            let foreign = FOREIGN.iter().any(|(name, foreign)| *name == room && foreign.contains(&dependency.as_str()));
            if foreign || ours.is_some_and(|ours| !allowed.contains(&ours)) {
                wrong.push(format!("host/{room} depends on {dependency}"));
            }
        }
    }
    let pure = [
        "base64",
        "ciborium",
        "pipewright-text",
        "regex-lite",
        "rpds",
        "serde",
        "serde_json",
        "sha2",
        "thiserror",
        "uuid",
    ];
    wrong.extend(dependencies("pipeline").into_iter().filter(|it| !pure.contains(&it.as_str())));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn dependencies(room: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("host").join(room).join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table.get("dependencies").map(|it| it.as_table().unwrap().keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn documentation_has_no_dead_links() {
    let mut dead = Vec::new();
    let mut anchors = BTreeMap::new();
    for page in files("md") {
        if page.name.contains("/cases/") {
            continue;
        }
        for (number, target) in links(&page.text) {
            let (path, anchor) = target.split_once('#').map_or((target.as_str(), None), |(p, a)| (p, Some(a)));
            let folder = root().join(&page.name).parent().unwrap().to_owned();
            let file = if path.is_empty() { root().join(&page.name) } else { folder.join(path) };
            if !file.exists() {
                dead.push(format!("{}:{number}: {target}", page.name));
            } else if let Some(anchor) = anchor
                && !anchors.entry(file.clone()).or_insert_with(|| headings(&file)).iter().any(|h| h == anchor)
            {
                dead.push(format!("{}:{number}: {target} (no such heading)", page.name));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Code and tests cite promises by their numbers in docs/semantics.md, and by nothing else.
#[test]
fn cited_promises_are_written_down() {
    let page = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let promised: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("* **")?.split("**").next()).collect();
    let mut wrong: Vec<_> = promised
        .iter()
        .filter(|number| promised.iter().filter(|it| it == number).count() > 1)
        .map(|it| format!("{it} is written down twice"))
        .collect();
    let files = ["rs", "py", "js", "wit", "md"].into_iter().flat_map(files);
    for file in files.filter(|file| file.name != "tests/tidy.rs") {
        for (line, text) in file.text.lines().enumerate() {
            let at = format!("{}:{}", file.name, line + 1);
            wrong.extend(
                cited(text).filter(|number| !promised.contains(number)).map(|number| format!("{at}: {number}")),
            );
            if text.to_lowercase().contains("contract §") {
                wrong.push(format!("{at}: a contract that is not here"));
            }
        }
    }
    assert!(wrong.is_empty(), "not in docs/semantics.md:\n{}", wrong.join("\n"));
}

/// The promises that a line cites, such as S12.
fn cited(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_number =
        |word: &&str| word.strip_prefix('S').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    // That one is the name of a storage service.
    words.filter(is_number).filter(|word| *word != "S3")
}

struct Source {
    /// from the root, with `/`
    name: String,
    text: String,
}

impl Source {
    /// Numbered lines of what ships: without comments, and without the modules that only tests have, wherever they stand.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut in_tests = false;
        let mut last = "";
        let tests_only = self.is_tests_only();
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(move |(_, line)| {
            let opens = last == "#[cfg(test)]" && (line.starts_with("mod ") || line.starts_with("pub(crate) mod "));
            last = line;
            in_tests = opens && line.ends_with('{') || in_tests && *line != "}";
            !tests_only && !in_tests && !line.trim_start().starts_with("//")
        })
    }

    /// Files that only a build for tests takes in.
    fn is_tests_only(&self) -> bool {
        let name = self.name.as_str();
        name.contains("/src/") && (name.contains("/tests/") || TEST_FILES.iter().any(|file| name.ends_with(file)))
    }
}

/// Modules that are declared under `#[cfg(test)]`.
const TEST_FILES: &[&str] = &["/tests.rs", "_tests.rs", "/conformance.rs", "/faults.rs", "/fixture.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn sources() -> Vec<Source> {
    files("rs")
}

fn files(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file_name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                // What lies in a plugin's case is data.
                let is_case = path.join("case.toml").exists();
                if !is_case && !["target", ".git", "node_modules"].contains(&file_name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn excepted(name: &str) -> bool {
    EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name)
}

/// Each function's name and number of lines; rustfmt puts its last brace under its first letter.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(at) = code.find("fn ") else { continue };
        let words = code[..at].split_whitespace();
        let is_item =
            words.clone().all(|w| w.starts_with("pub") || ["async", "const", "unsafe", "extern"].contains(&w));
        if !is_item || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let indent = line.len() - code.len();
        let end = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|l| *l == end) {
            let name = code[at + 3..].split(['(', '<']).next().unwrap_or_default().to_owned();
            found.push((name, length + 1));
        }
    }
    found
}

/// Relative link targets with their line numbers, outside of code blocks.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (i, line) in markdown.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((i + 1, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors that GitHub gives to a page's headings.
fn headings(page: &Path) -> Vec<String> {
    let Ok(text) = fs::read_to_string(page) else { return Vec::new() };
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept =
                title.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
            kept.replace(' ', "-")
        })
        .collect()
}

#[test]
fn the_checks_above_can_fail() {
    let source = "fn short() {\n    1\n}\n\npub async fn long() {\n    2\n    3\n}\n";
    assert_eq!(functions(source), [("short".to_owned(), 3), ("long".to_owned(), 4)]);
    let shipped = "mod tests;\n\n#[cfg(test)]\nmod more {\n    bad();\n}\n\nfn code() {}\n";
    let source = Source { name: "host/a/src/lib.rs".to_owned(), text: shipped.to_owned() };
    let lines: Vec<_> = source.code_lines().map(|(number, _)| number).collect();
    assert_eq!(lines, [1, 2, 3, 6, 7, 8]);
    assert_eq!(cited("S1 (S20, S300) S3 IS4 S5x S_6").collect::<Vec<_>>(), ["S1", "S20", "S300"]);
    assert_eq!(links("[a](b.md#c) `x`\n```\n[no](no.md)\n```\n[d](https://e)"), [(1, "b.md#c".to_owned())]);
}

//! The layer for JavaScript: its declarations for TypeScript, as they are written, each under its comment.

use std::fs;

use super::markdown::code;
use super::root;

const FOLDER: &str = "sdk/javascript";

pub(super) fn page() -> String {
    let mut files: Vec<String> = fs::read_dir(root().join(FOLDER))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    files.retain(|file| file.ends_with(".d.ts") || file.ends_with(".d.mts"));
    // The one that the layer is called by comes first.
    let (first, rest): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.starts_with("pipewright."));
    first.into_iter().chain(rest).map(|file| module(file)).collect()
}

fn module(file: &str) -> String {
    let text = fs::read_to_string(root().join(FOLDER).join(file)).unwrap();
    let mut page = match file.starts_with("pipewright.") {
        true => String::new(),
        false => format!("## The module {}\n\n", file.split('.').next().unwrap()),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut about = String::new();
    let mut last = String::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let start = at;
        at += 1;
        if line.starts_with("/**") {
            while !lines[at - 1].trim_end().ends_with("*/") {
                at += 1;
            }
            about = comment(&lines[start..at]);
            // The comment of the file has an empty line behind it.
            if lines.get(at).is_none_or(|next| next.is_empty()) {
                page += &format!("{}\n\n", std::mem::take(&mut about));
            }
        } else if line.starts_with("export ") {
            at = end(&lines, start) + 1;
            let declared = lines[start..at].join("\n");
            let about = std::mem::take(&mut about);
            let Some(name) = name(&declared) else { continue };
            if name != last {
                page += &format!("### {name}\n\n");
            }
            page += &code("ts", &declared);
            page += &if about.is_empty() { "\n".to_owned() } else { format!("\n{about}\n\n") };
            last = name;
        } else {
            about.clear();
        }
    }
    page
}

/// Where the declaration that starts here ends: where its brackets are closed.
fn end(lines: &[&str], start: usize) -> usize {
    let mut open = 0_usize;
    for (at, line) in lines.iter().enumerate().skip(start) {
        open += line.matches(['{', '(']).count();
        open = open.saturating_sub(line.matches(['}', ')']).count());
        if open == 0 && line.trim_end().ends_with([';', '}']) {
            return at;
        }
    }
    lines.len() - 1
}

/// What is declared, if it is declared here.
fn name(declared: &str) -> Option<String> {
    let words = declared.strip_prefix("export ")?.split_whitespace();
    let skipped =
        ["declare", "async", "default", "abstract", "const", "function", "class", "interface", "type", "namespace"];
    let mut is_declared = false;
    for word in words {
        match skipped.contains(&word) {
            true => is_declared = true,
            false if is_declared => return Some(word.split(['(', '<', ':', '=', ';']).next().unwrap().to_owned()),
            false => return None,
        }
    }
    None
}

/// A comment without its stars and the tags of editors, with examples as blocks of code.
fn comment(lines: &[&str]) -> String {
    let mut page: Vec<String> = Vec::new();
    let mut example: Vec<&str> = Vec::new();
    let ended = std::iter::once(".");
    let inner = lines.iter().map(|line| {
        let line = line.trim().trim_start_matches("/**").trim_end_matches("*/").trim_start_matches('*');
        line.strip_prefix(' ').unwrap_or(line).trim_end()
    });
    for line in inner.chain(ended) {
        if line.starts_with("    ") || !example.is_empty() && line.is_empty() {
            example.push(line.strip_prefix("    ").unwrap_or_default());
            continue;
        }
        if !example.is_empty() {
            page.push(code("js", &example.join("\n")));
            example.clear();
        }
        if !line.trim_start().starts_with('@') {
            page.push(line.to_owned());
        }
    }
    page.pop();
    links(&page.join("\n")).trim().to_owned()
}

/// `{@link a}` is a link only in an editor.
fn links(text: &str) -> String {
    let mut parts = text.split("{@link ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once('}') {
        Some((name, rest)) => format!("{text}`{name}`{rest}"),
        None => text + part,
    })
}

//! Documentation comments as Markdown that anybody's viewer shows. Must not know whose they are.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// A line of a page is at most so long, where it can be broken.
const LINE_CHARS_MAX: usize = 120;

/// The documentation comment among these attributes, without links that only rustdoc follows, hidden lines of examples and
/// headings of its own.
pub(super) fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(it) if it.path.is_ident("doc") => match &it.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    of_lines(lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()))
}

fn of_lines(lines: impl Iterator<Item = String>) -> String {
    let mut page = Vec::new();
    let mut in_code = false;
    for line in lines {
        let trimmed = line.trim_end();
        match trimmed.strip_prefix("```") {
            Some(_) if in_code => page.push("```".to_owned()),
            // What rustdoc is to do with it says nothing to readers.
            Some("" | "no_run" | "ignore") => page.push("```rust".to_owned()),
            Some(_) => page.push(trimmed.to_owned()),
            None if in_code && (trimmed == "#" || trimmed.starts_with("# ")) => {}
            None if in_code => page.push(trimmed.to_owned()),
            None => page.push(match trimmed.strip_prefix("# ") {
                Some(heading) => format!("**{heading}**\n"),
                None => without_links(trimmed),
            }),
        }
        in_code ^= trimmed.starts_with("```");
    }
    page.join("\n").trim().to_owned()
}

/// Without links to items: [`a`] and [`a`](b::a).
fn without_links(line: &str) -> String {
    let mut rest = line;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, after)) = after.split_once("`]") else { break };
        let target = after.strip_prefix('(').and_then(|link| link.split_once(')'));
        rest = match target {
            Some((target, after)) if !target.contains(['/', '#', '.']) => {
                text += &format!("{before}`{name}`");
                after
            }
            Some((target, after)) => {
                text += &format!("{before}[`{name}`]({target})");
                after
            }
            None => {
                text += &format!("{before}`{name}`");
                after
            }
        };
    }
    text + rest
}

/// Where a maintainer's part of a module's documentation begins.
const FOR_MAINTAINERS: [&str; 2] = ["Owns ", "Must not know "];

/// The paragraphs that are for whoever uses what is documented.
pub(super) fn for_users(documentation: &str) -> String {
    let is_for_users = |paragraph: &&str| !FOR_MAINTAINERS.iter().any(|word| paragraph.starts_with(word));
    documentation.split("\n\n").filter(is_for_users).collect::<Vec<_>>().join("\n\n")
}

/// As the cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A table; columns in which nothing stands are left out.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let kept: Vec<usize> = (0..heads.len()).filter(|at| rows.iter().any(|row| !row[*at].is_empty())).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(kept.iter().map(|at| heads[*at].to_owned()).collect());
    text += &format!("|{}\n", "---|".repeat(kept.len()));
    for row in rows {
        text += &line(kept.iter().map(|at| cell(&row[*at])).collect());
    }
    text
}

/// A block of code.
pub(super) fn code(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```\n", text.trim_end())
}

/// One paragraph, in lines that fit.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > LINE_CHARS_MAX {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.join("\n")
}

/// The part of a link that leads to a heading of the same page.
pub(super) fn anchor(heading: &str) -> String {
    let letters = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    letters.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn documentation_is_for_any_viewer() {
    let check = |comment: &str, page: &str| assert_eq!(of_lines(comment.lines().map(str::to_owned)), page);
    check("See [`a`], [`b`](crate::b) and [`c`](c.md).", "See `a`, `b` and [`c`](c.md).");
    check("```no_run\n# hidden\nshown\n```", "```rust\nshown\n```");
    check("# Errors\nNone.", "**Errors**\n\nNone.");
    assert_eq!(for_users("A.\n\nOwns a.\n\nB."), "A.\n\nB.");
    assert_eq!(anchor("`[expected.outputs.NAME]`"), "expectedoutputsname");
}

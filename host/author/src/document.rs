//! What a plugin says of itself, as a page in Markdown for those who use it.
//!
//! Pure. Must not know where the plugin came from, or how the page is shown.

use std::fmt::Write as _;

use pipewright_packages::plugins::{ask_in_words, label};
use pipewright_sandbox::abi::{ActionType, Count, Description, Setting, SettingKind};
use pipewright_sandbox::capabilities::{CAPABILITIES, asked};
use pipewright_text::printable;

/// The page of a plugin.
pub fn page(about: &Description) -> String {
    let mut page = format!("# {} {}\n", line(&about.name), line(&about.version));
    paragraph(&mut page, &about.documentation);
    if !about.may_run_again {
        paragraph(&mut page, "After a crash of the host an action of it fails, instead of running again.");
    }
    for offered in &about.action_types {
        action_type(&mut page, offered);
    }
    if !about.asks.is_empty() {
        page.push_str("\n## What it asks for\n\nNothing of it is there unless the operator grants it, and the settings name it.\n\n");
        page.push_str("| it asks for | why | granted like |\n|---|---|---|\n");
    }
    for ask in &about.asks {
        let row = CAPABILITIES.iter().find(|row| row.asks.contains(&asked(&ask.capability).case));
        let grant = row.and_then(|row| row.grant).map(code).unwrap_or_default();
        let _ = writeln!(page, "| {} | {} | {grant} |", cell(&ask_in_words(&ask.capability, about)), cell(&ask.reason));
    }
    page
}

fn action_type(page: &mut String, offered: &ActionType) {
    let _ = writeln!(page, "\n## {}", line(&label(&offered.id)));
    paragraph(page, &offered.documentation);
    let _ =
        writeln!(page, "\nInput artifacts: {}. Output artifacts: {}.", count(&offered.inputs), count(&offered.outputs));
    if !offered.settings.is_empty() {
        page.push_str("\n| setting | value | without it | |\n|---|---|---|---|\n");
    }
    for setting in &offered.settings {
        let without = match (&setting.default, setting.required) {
            (Some(default), _) => code(default),
            (None, true) => "it is needed".to_owned(),
            (None, false) => String::new(),
        };
        let (name, meaning) = (code(&setting.name), cell(&setting.documentation));
        let _ = writeln!(page, "| {name} | {} | {without} | {meaning} |", value(setting));
    }
    if !offered.variables.is_empty() {
        page.push_str("\n| variable | |\n|---|---|\n");
    }
    for variable in &offered.variables {
        let _ = writeln!(page, "| {} | {} |", code(&variable.name), cell(&variable.documentation));
    }
}

fn count(count: &Count) -> String {
    match (count.min, count.max) {
        (0, 0) => "none".to_owned(),
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min} to {max}"),
    }
}

fn value(setting: &Setting) -> String {
    let kind = match setting.kind {
        SettingKind::Text => "text",
        SettingKind::Number => "a number",
        SettingKind::Boolean => "`true` or `false`",
        SettingKind::List => "a JSON array of strings",
    };
    let kind = match setting.choices.is_empty() {
        true => kind.to_owned(),
        false => setting.choices.iter().map(|choice| code(choice)).collect::<Vec<_>>().join(", "),
    };
    if setting.secret { format!("{kind}; secret") } else { kind }
}

fn paragraph(page: &mut String, text: &str) {
    if !text.trim().is_empty() {
        let lines: Vec<_> = text.trim().lines().map(printable).collect();
        let _ = writeln!(page, "\n{}", lines.join("\n"));
    }
}

fn line(text: &str) -> String {
    text.split_whitespace().map(|word| printable(word).into_owned()).collect::<Vec<_>>().join(" ")
}

/// Text in a table: a bar would end the cell.
fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}

/// A value as it is written: with more backquotes around it than are in it.
fn code(text: &str) -> String {
    let text = cell(text);
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default();
    let (fence, space) = ("`".repeat(longest + 1), if longest > 0 { " " } else { "" });
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_stays_in_its_cell() {
        let check = |text: &str, expected: &str| assert_eq!(code(text), expected, "{text}");
        check("a", "`a`");
        check("a|b", "`a\\|b`");
        check("a`b", "`` a`b ``");
        check("a\nb", "`a b`");
        assert_eq!(cell("one\n| two |"), "one \\| two \\|");
    }
}

//! The command line, by clap's own tables.

use clap::{Arg, Command};

use super::markdown::{code, table};

pub(super) fn page() -> String {
    let mut all = pipewright::command();
    all.build();
    let mut page = String::new();
    add(&mut page, &mut all, "");
    page + "## Exit codes\n\n" + &exit_codes(&all)
}

fn add(page: &mut String, command: &mut Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    let is_whole = !command.is_subcommand_required_set();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    if !above.is_empty() {
        let usage = command.render_usage().to_string();
        *page += &format!("## {name}\n\n{}\n\n", sentence(&about));
        if is_whole {
            *page += &code("text", usage.trim_start_matches("Usage: "));
            page.push('\n');
        }
    }
    let rows: Vec<Vec<String>> = command.get_arguments().filter(|it| is_told(it)).map(row).collect();
    if is_whole && !rows.is_empty() {
        *page += &table(&["argument", "what it is", "one of", "default"], &rows);
        page.push('\n');
    }
    if let Some(more) = command.get_after_help().filter(|_| !above.is_empty()) {
        *page += &code("text", &more.to_string());
        page.push('\n');
    }
    let is_shown = |it: &&mut Command| !it.is_hide_set() && it.get_name() != "help";
    for it in command.get_subcommands_mut().filter(is_shown) {
        add(page, it, &format!("{name} "));
    }
}

fn is_told(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn row(argument: &Arg) -> Vec<String> {
    let written = argument.to_string();
    let short = argument.get_short().filter(|_| argument.get_long().is_some()).map(|short| format!("`-{short}`, "));
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let takes_values = argument.get_action().takes_values();
    let values = argument.get_possible_values();
    let values = values.iter().filter(|it| takes_values && !it.is_hide_set()).map(|it| format!("`{}`", it.get_name()));
    let defaults = argument.get_default_values().iter().map(|it| format!("`{}`", it.to_string_lossy()));
    vec![
        format!("{}`{written}`", short.unwrap_or_default()),
        help,
        values.collect::<Vec<_>>().join(", "),
        if takes_values { defaults.collect::<Vec<_>>().join(", ") } else { String::new() },
    ]
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// What the help says of them, as a list.
fn exit_codes(all: &Command) -> String {
    let help = all.get_after_help().map(ToString::to_string).unwrap_or_default();
    let codes = help.rsplit("Exit codes: ").next().unwrap().trim_end_matches('.');
    let row = |code: &str| {
        let (number, meaning) = code.trim().split_once(' ').expect("a number and what it means");
        vec![format!("`{number}`"), meaning.to_owned()]
    };
    table(&["exit code", "what it means"], &codes.split(';').map(row).collect::<Vec<_>>())
}

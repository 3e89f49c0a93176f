//! `{{type}}`.

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Counting {
    /// The ending of the files that are counted.
    #[setting(default = ".md")]
    ending: String,
}

#[derive(Variables)]
struct Counted {
    /// How many lines there are in all of them.
    lines: usize,
}

/// Counts the lines of files, and writes how many into `lines.txt`.
#[action(provider = "{{provider}}", inputs = 1, outputs = 1)]
fn count(action: &Action, settings: Counting) -> Result<Report<Counted>> {
    let input = action.input()?;
    let mut table = String::new();
    let mut lines = 0;
    for entry in files::list(&input, &[])?.iter().filter(|entry| entry.path.ends_with(&settings.ending)) {
        let text = std::fs::read_to_string(input.join(&entry.path)).doing(format_args!("reading {}", entry.path))?;
        let count = text.lines().count();
        info!("{}: {count}", entry.path);
        table.push_str(&format!("{count} {}\n", entry.path));
        lines += count;
    }
    if table.is_empty() {
        let message = format!("no file ends in `{}`; set `Ending` to another one", settings.ending);
        return Err(Failure::configuration(message));
    }
    std::fs::write(action.output()?.join("lines.txt"), table)?;
    Ok(Report::new(format!("{lines} lines")).variables(Counted { lines }))
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    build: [count],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn lines_are_counted() {
        let host = Host::new().input("Source", &[("a.md", "one\ntwo\n"), ("b.txt", "three\n")]).output("Count");
        let report = count(&host.action(), Counting { ending: ".md".to_owned() }).expect("it counts");
        assert_eq!(report.variables.lines, 2);
        assert_eq!(host.read("outputs/Count/lines.txt"), "2 a.md\n");
        assert!(host.log().contains("a.md: 2"));
    }
}

//! `{{type}}`.

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Checking {
    /// What no file may contain.
    #[setting(default = "lorem ipsum")]
    word: String,
}

/// Checks that no file contains a word.
#[action(provider = "{{provider}}", inputs = 1)]
fn check(action: &Action, settings: Checking) -> Result<Tested> {
    let input = action.input()?;
    let mut cases = Vec::new();
    for entry in files::list(&input, &[])? {
        // What is no text has no words.
        let Ok(text) = std::fs::read_to_string(input.join(&entry.path)) else { continue };
        let line = text.lines().position(|line| line.contains(&settings.word));
        cases.push(match line {
            None => TestCase::passed(&entry.path),
            Some(line) => TestCase::failed(&entry.path, format!("contains `{}`", settings.word))
                .at(&entry.path, u32::try_from(line + 1).ok()),
        });
    }
    Ok(Tested { report: Report::new(format!("{} files", cases.len())), cases })
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    test: [check],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn the_word_is_found() {
        let host = Host::new().input("Source", &[("a.md", "fine\n"), ("b.md", "so\nlorem ipsum\n")]);
        let tested = check(&host.action(), Checking { word: "lorem ipsum".to_owned() }).expect("it checks");
        let lines: Vec<Option<u32>> = tested.cases.iter().map(|case| case.place.as_ref()?.line).collect();
        assert_eq!(lines, [None, Some(2)]);
    }
}

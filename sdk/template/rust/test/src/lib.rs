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

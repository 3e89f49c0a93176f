//! `{{type}}`.

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Asked {
    /// How many files there may be at most.
    most: Option<u32>,
}

#[derive(Variables)]
struct Counted {
    /// How many files there are.
    files: usize,
}

/// Counts the files of an artifact.
#[action(provider = "{{provider}}", inputs = 1)]
fn count(action: &Action, settings: Asked) -> Result<Report<Counted>> {
    let files = files::list(action.input()?, &[])?.iter().filter(|entry| entry.kind == files::FileKind::File).count();
    if settings.most.is_some_and(|most| files > most as usize) {
        return Err(Failure::job(format!("there are {files} files, more than `Most` allows")));
    }
    Ok(Report::new(format!("{files} files")).variables(Counted { files }))
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    invoke: [count],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn files_are_counted() {
        let host = Host::new().input("Source", &[("a.txt", ""), ("b/c.txt", "")]);
        let report = count(&host.action(), Asked { most: None }).expect("it counts");
        assert_eq!(report.variables.files, 2);
        assert!(count(&host.action(), Asked { most: Some(1) }).is_err());
    }
}

//! `{{type}}`.

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Which {
    /// The name under which the directory is granted.
    #[setting(default = "source")]
    directory: String,
    /// The file that is taken.
    file: String,
}

#[derive(Variables)]
struct Taken {
    /// The SHA-256 of the file.
    digest: String,
}

/// Takes one file of a granted directory.
#[action(provider = "{{provider}}", outputs = 1, latest = latest)]
fn fetch(action: &Action, settings: Which) -> Result<Fetched<Taken>> {
    let source = action.directory(&settings.directory)?.join(&settings.file);
    let digest = files::digest(&source).doing(format_args!("reading `{}`", settings.file))?;
    // A pipeline may ask for the revision that a poll found: anything else would be a surprise.
    if action.revision().is_some_and(|wanted| wanted != digest) {
        return Err(Failure::revision_unavailable(format!("`{}` has changed since; start anew", settings.file)));
    }
    files::copy(&source, action.output()?.join(&settings.file), &[])?;
    let report = Report::new(format!("took {}", settings.file)).variables(Taken { digest: digest.clone() });
    Ok(Fetched { revision: Some(revision(digest)), report })
}

/// What would be fetched now, without fetching it: the host asks from time to time, and starts the pipeline when it is new.
fn latest(action: &Action, settings: Which) -> Result<Option<Revision>> {
    let source = action.directory(&settings.directory)?.join(&settings.file);
    Ok(Some(revision(files::digest(source)?)))
}

fn revision(digest: String) -> Revision {
    Revision { id: digest, summary: None, url: None, created: None }
}

plugin! {
    /// {{description}}
    name: "{{plugin}}",
    asks: [ask(Capability::ReadDirectory("Directory".into()), "the directory in which the file lies")],
    source: [fetch],
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipewright_sdk::testing::Host;

    #[test]
    fn what_is_new_is_fetched() {
        let host = Host::new().directory("source", &[("notes.txt", "hello\n")]).output("Notes");
        let which = || Which { directory: "source".to_owned(), file: "notes.txt".to_owned() };
        let newest = latest(&host.action(), which()).expect("an answer").expect("a revision");
        let host = host.revision(&newest.id);
        assert_eq!(fetch(&host.action(), which()).expect("it is there").report.variables.digest, newest.id);
        assert_eq!(host.read("outputs/Notes/notes.txt"), "hello\n");
    }
}

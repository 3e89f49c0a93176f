//! `pipewright artifacts get`: an artifact of an execution, as a folder or as a zip file.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pipewright_artifacts::files::paths;
use pipewright_text::quoted;
use serde_json::Value;

use super::follow::path;
use super::show::text;
use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

/// What is taken where the person says nothing: a zip file of one megabyte may hold a thousand.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Of an archive beside its content: names, and its directory.
const ARCHIVE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// As many as an artifact has at most. Stops an archive of a great many empty files.
const ENTRIES_MAX: usize = 500_000;
/// Of the target of a link. Stops a link that fills the memory.
const LINK_BYTES_MAX: u64 = 4096;
/// Of a name that is refused, as it is told.
const NAME_CHARS_MAX: usize = 200;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The artifact
    artifact: String,
    /// The execution [default: the newest]
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// Where to put it: a folder that is new or empty, or a file that ends in .zip [default: a folder of its name]
    #[arg(short, long, value_name = "DIR|FILE.zip")]
    output: Option<PathBuf>,
    /// Take no artifact whose files have more bytes together
    #[arg(long, value_name = "BYTES", default_value_t = BYTES_MAX)]
    bytes_max: u64,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let output = arguments.output.clone().unwrap_or_else(|| PathBuf::from(&arguments.artifact));
    let is_zip = output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    if !is_zip && !is_free(&output) {
        return Err(Ended::Usage(format!("{} is not an empty folder: name another with -o", output.display())));
    }
    arguments.connection.run(async |server| {
        let execution = find::execution(server, &arguments.name, arguments.execution.as_deref()).await?;
        let artifact = find_artifact(server, arguments, &execution).await?;
        let bytes_max = arguments.bytes_max;
        let bytes = artifact["bytes"].as_u64().filter(|bytes| *bytes <= bytes_max).ok_or_else(|| {
            let (name, bytes) = (&arguments.artifact, text(&artifact["bytes"]));
            Ended::Usage(format!("{name} has {bytes} bytes, and no more than {bytes_max} are taken: set --bytes-max"))
        })?;
        // Beside its place, so that it gets there whole.
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| unwritable(folder, &error))?;
        let path = path(&[&arguments.name, "executions", &execution, "artifacts", &arguments.artifact]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut stream = server.client.stream(&path, bytes.saturating_add(ARCHIVE_BYTES_MAX)).await?;
        while let Some(piece) = stream.next().await? {
            file.write_all(&piece).map_err(|error| unwritable(file.path(), &error))?;
        }
        if is_zip {
            file.persist(&output).map_err(|error| unwritable(&output, &error.error))?;
        } else {
            unpack(file.as_file(), bytes, &output, folder)?;
        }
        if server.json {
            out::json(&artifact);
        } else {
            let (files, bytes) = (text(&artifact["files"]), text(&artifact["bytes"]));
            say!("{}: {files} files, {bytes} bytes", output.display());
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// What the server lists about it.
async fn find_artifact(server: &Server, arguments: &Arguments, execution: &str) -> Result<Value, Ended> {
    let path = path(&[&arguments.name, "executions", execution, "artifacts"]);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut listing = server.client.document(&path, "").await?;
    let artifacts = match listing["artifacts"].take() {
        Value::Array(artifacts) => artifacts,
        _ => Vec::new(),
    };
    let names: Vec<String> = artifacts.iter().map(|artifact| text(&artifact["name"])).collect();
    artifacts.into_iter().find(|artifact| artifact["name"] == *arguments.artifact).ok_or_else(|| {
        let (execution, artifact) = (execution, &arguments.artifact);
        match names.is_empty() {
            true => Ended::Usage(format!("execution {execution} has made no artifacts")),
            false => Ended::Usage(format!(
                "execution {execution} has no artifact {artifact}; there are: {}",
                names.join(", ")
            )),
        }
    })
}

fn is_free(output: &Path) -> bool {
    match std::fs::read_dir(output) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The folder appears whole or not at all, with files of so many bytes at most. The archive's reader lets no path and no link
/// out of it.
fn unpack(file: &std::fs::File, bytes_max: u64, output: &Path, beside: &Path) -> Result<(), Ended> {
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
    measure(&mut archive, bytes_max)?;
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(beside)
        .map_err(|error| unwritable(beside, &error))?;
    archive.extract(folder.path()).map_err(damaged)?;
    // Over a folder that is there and empty, too.
    std::fs::rename(folder.path(), output).map_err(|error| unwritable(output, &error))?;
    // It is where it should be; nothing is left to remove.
    let _ = folder.keep();
    Ok(())
}

/// Unpacks it to nowhere and counts, and looks at its names: an archive says of itself what it likes.
fn measure(archive: &mut zip::ZipArchive<&std::fs::File>, bytes_max: u64) -> Result<(), Ended> {
    if archive.len() > ENTRIES_MAX {
        return Err(damaged(format!("it has more than {ENTRIES_MAX} entries")));
    }
    let mut left = bytes_max;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(damaged)?;
        let name = &entry.name().map_err(damaged)?;
        paths::check_archived(name).map_err(|fault| damaged(format!("{} {fault}", quoted(name, NAME_CHARS_MAX))))?;
        let is_link = entry.is_symlink();
        let limit = if is_link { LINK_BYTES_MAX } else { left };
        let bytes = io::copy(&mut entry.take(limit.saturating_add(1)), &mut io::sink()).map_err(damaged)?;
        if bytes > limit {
            return Err(damaged(format!("it unpacks to more than the {bytes_max} bytes that the server says it has")));
        }
        if !is_link {
            left -= bytes;
        }
    }
    Ok(())
}

fn damaged(problem: impl std::fmt::Display) -> Ended {
    Ended::Host(anyhow::anyhow!("the artifact's archive: {problem}"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Ended {
    Ended::Usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn an_archive_unpacks_to_no_more_than_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut writer = zip::ZipWriter::new(&file);
        writer.start_file("zeros", SimpleFileOptions::default()).unwrap();
        writer.write_all(&vec![0; 1_000_000]).unwrap();
        writer.add_symlink("link", "zeros", SimpleFileOptions::default()).unwrap();
        writer.finish().unwrap();
        assert!(file.metadata().unwrap().len() < 5_000);
        let to = folder.path().join("files");
        let refused = unpack(&file, 999_999, &to, folder.path()).unwrap_err().to_string();
        assert!(refused.contains("more than the 999999 bytes that the server says"), "{refused}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        unpack(&file, 1_000_000, &to, folder.path()).unwrap();
        assert_eq!(std::fs::metadata(to.join("link")).unwrap().len(), 1_000_000);
    }

    #[test]
    fn no_name_of_an_archive_hides_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["photo\u{202e}gpj.exe", "a\u{1b}[2J", "a\\b", "zero\u{200b}width/a.md"] {
            let file = tempfile::tempfile().unwrap();
            let mut writer = zip::ZipWriter::new(&file);
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.finish().unwrap();
            let refused = unpack(&file, 10, &folder.path().join("files"), folder.path()).unwrap_err().to_string();
            assert!(refused.contains("the artifact's archive: \""), "{refused}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is unpacked");
        }
    }
}

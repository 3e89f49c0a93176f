//! `pipewright artifacts get`: an artifact of an execution, as a folder or as a zip file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::follow::path;
use super::show::{self, text};
use super::{Connection, Server, find};
use crate::exit::{self, Ended};

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
        // Beside its place, so that it gets there whole.
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| unwritable(folder, &error))?;
        let path = path(&[&arguments.name, "executions", &execution, "artifacts", &arguments.artifact]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut stream = server.client.stream(&path).await?;
        while let Some(piece) = stream.next().await? {
            file.write_all(&piece).map_err(|error| unwritable(file.path(), &error))?;
        }
        if is_zip {
            file.persist(&output).map_err(|error| unwritable(&output, &error.error))?;
        } else {
            unpack(file.as_file(), &output, folder)?;
        }
        if server.json {
            show::json(&artifact);
        } else {
            let (files, bytes) = (text(&artifact["files"]), text(&artifact["bytes"]));
            show::line(&format!("{}: {files} files, {bytes} bytes", output.display()));
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

/// The folder appears whole or not at all. The archive's reader lets no path and no link out of it.
fn unpack(file: &std::fs::File, output: &Path, beside: &Path) -> Result<(), Ended> {
    let damaged = |error: zip::result::ZipError| Ended::Host(anyhow::anyhow!("the artifact's archive: {error}"));
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
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

fn unwritable(path: &Path, error: &std::io::Error) -> Ended {
    Ended::Usage(format!("{}: {error}", path.display()))
}

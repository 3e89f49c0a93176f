//! `pipewright plugin key`: keys to sign packages with. Must not know their files' format (`packages`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use crate::out::say;
use pipewright_packages::{SigningKey, digest_text};

/// The passphrase of signing keys, where no file is named.
const PASSPHRASE: &str = "PIPEWRIGHT_KEY_PASSPHRASE";
/// A larger file is none.
const PASSPHRASE_BYTES_MAX: u64 = 64 * 1024;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a pair of keys: FILE, sealed with a passphrase, and FILE.pub, for those who are to trust you
    New {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArguments,
    },
}

#[derive(clap::Args)]
pub(super) struct PassphraseArguments {
    /// A file with the passphrase of the key [default: the environment variable PIPEWRIGHT_KEY_PASSPHRASE]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArguments {
    /// A last line feed of the file does not count.
    pub(super) fn read(&self) -> Result<String, Ended> {
        let Some(path) = &self.passphrase_file else {
            let missing =
                format!("give the key's passphrase in the environment variable {PASSPHRASE}, or --passphrase-file");
            return std::env::var(PASSPHRASE).map_err(|_| Ended::usage(missing));
        };
        let text = read(path).map_err(|error| Ended::usage(format!("{}: {error}", path.display())))?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > PASSPHRASE_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {PASSPHRASE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let Command::New { file, passphrase } = &arguments.command;
    let key = SigningKey::generate()?;
    key.write(file, &passphrase.read()?)?;
    say!("{} and {}.pub hold the key {}", file.display(), file.display(), digest_text(&key.public().digest));
    Ok(ExitCode::from(exit::SUCCEEDED))
}

//! `pipewright plugin doc`: a plugin's own documentation. Must not know its form (`document`).

use std::path::Path;
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::component::{self, Component};
use super::package::{DataArguments, is_file};
use crate::out;
use pipewright_author::document;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of a plugin, which is built; a component; or what is installed (team/name, team/name@1)
    #[arg(value_name = "DIR|FILE.wasm|NAME")]
    plugin: String,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(sandbox: &Sandbox, Arguments { plugin: text, data }: Arguments) -> Result<ExitCode, Ended> {
    let path = Path::new(&text);
    let component = if path.is_dir() || is_file(&text) {
        component::find(path).await?
    } else {
        let installed = data.installed()?;
        Component { bytes: installed.component(installed.find(&text)?)?, symbols: None, version: None }
    };
    let plugin = component::load(sandbox, path, component).await?;
    out::lines(document::page(plugin.description()).trim_end());
    Ok(ExitCode::from(exit::SUCCEEDED))
}

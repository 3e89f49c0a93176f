//! What the plugins of the bundle say of themselves, as `pipewright plugin doc` shows it.

use std::collections::BTreeMap;

use pipewright_author::document;
use pipewright_packages::plugins::Plugins;
use pipewright_runner::host::ACCOUNT;
use tokio::runtime::Runtime;

pub(super) fn page() -> String {
    let loading = async { Plugins::load(&crate::cases::sandbox(), &[], None).await };
    let catalogue = Runtime::new().unwrap().block_on(loading).unwrap().catalogue(ACCOUNT);
    let served = catalogue.bindings().values().map(|binding| &binding.served.about);
    let plugins: BTreeMap<&str, _> = served.map(|about| (about.name.as_str(), about)).collect();
    plugins.values().map(|about| below(&document::page(about), &about.name)).collect()
}

/// A page as a part of this one. The version says nothing here, and changes with each release.
fn below(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once('\n').expect("a heading");
    let lines = rest.lines().map(|line| if line.starts_with('#') { format!("#{line}\n") } else { format!("{line}\n") });
    format!("## {name}\n{}\n", lines.collect::<String>())
}

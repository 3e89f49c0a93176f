//! A loaded plugin: compiled, linked, and known by its description.
//!
//! Owns the check that a component speaks this host's ABI, and the finding of its exports. Must not know how it was
//! compiled, or what it is called with.

use std::sync::Arc;

use semver::Version;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::abi::Description;
use crate::bindings::exports::pipewright::plugin as exports;
use crate::sandbox::LoadError;
use crate::state::State;
use crate::symbols::Symbols;

/// The version of the package `pipewright:plugin` that this host offers: that of the first Pipewright that offered it.
pub const ABI_VERSION: &str = "0.1.0";
const ABI_PACKAGE: &str = "pipewright:plugin/";
/// What the ABI has besides its own package.
const WASI_PACKAGES: &[&str] =
    &["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// A plugin that can be called; cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) loaded: Arc<Loaded>,
    /// For the stack of a crash.
    pub(crate) symbols: Option<Arc<Symbols>>,
}

pub(crate) struct Loaded {
    pub(crate) digest: String,
    pub(crate) description: Description,
}

impl From<Arc<Loaded>> for Plugin {
    fn from(loaded: Arc<Loaded>) -> Self {
        Self { loaded, symbols: None }
    }
}

impl Plugin {
    /// SHA-256 of the component, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The same plugin, whose crashes are told with the names and places of its functions.
    pub fn with_symbols(self, symbols: Symbols) -> Self {
        Self { symbols: Some(Arc::new(symbols)), ..self }
    }

    /// What the plugin says of itself, checked to be well-formed and true.
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plugin({} {}, {})", self.description().name, self.description().version, self.digest())
    }
}

/// A component in each of the engines.
pub(crate) struct Code {
    /// None if the component does not fit into the pool.
    pub(crate) pooled: Option<Ready>,
    pub(crate) on_demand: Ready,
}

/// A component that needs only a store to run.
pub(crate) struct Ready {
    pub(crate) instance: InstancePre<State>,
    pub(crate) exports: Exports,
}

pub(crate) struct Exports {
    /// `describe` of the interface `plugin`.
    pub(crate) describe: ComponentExportIndex,
    pub(crate) source: Option<exports::source::GuestIndices>,
    pub(crate) build: Option<exports::build::GuestIndices>,
    pub(crate) test: Option<exports::test::GuestIndices>,
    pub(crate) deploy: Option<exports::deploy::GuestIndices>,
    pub(crate) approval: Option<exports::approval::GuestIndices>,
    pub(crate) invoke: Option<exports::invoke::GuestIndices>,
    pub(crate) rule: Option<exports::rule::GuestIndices>,
    /// Of a plugin that judges its settings before it runs.
    pub(crate) checks: Option<exports::checks::GuestIndices>,
}

impl Ready {
    pub(crate) fn new(linker: &Linker<State>, component: &Component) -> Result<Self, LoadError> {
        check_versions(component)?;
        let instance = linker.instantiate_pre(component).map_err(|error| missing_import(component, &error))?;
        let pre = &instance;
        let plugin = format!("{ABI_PACKAGE}plugin@{ABI_VERSION}");
        let interface = component.get_export_index(None, &plugin);
        let describe = interface.and_then(|interface| component.get_export_index(Some(&interface), "describe"));
        let exports = Exports {
            describe: describe.ok_or_else(|| LoadError::NotAPlugin(format!("it does not export {plugin}")))?,
            source: exports::source::GuestIndices::new(pre).ok(),
            build: exports::build::GuestIndices::new(pre).ok(),
            test: exports::test::GuestIndices::new(pre).ok(),
            deploy: exports::deploy::GuestIndices::new(pre).ok(),
            approval: exports::approval::GuestIndices::new(pre).ok(),
            invoke: exports::invoke::GuestIndices::new(pre).ok(),
            rule: exports::rule::GuestIndices::new(pre).ok(),
            checks: exports::checks::GuestIndices::new(pre).ok(),
        };
        Ok(Self { instance, exports })
    }
}

/// A command-line tool. It imports what a plugin may, but for the plugin's own interfaces.
pub(crate) fn tool(linker: &Linker<State>, component: &Component) -> Result<CommandPre<State>, LoadError> {
    let (ty, engine) = (component.component_type(), component.engine());
    let is_known = |name: &str| WASI_PACKAGES.iter().any(|wasi| name.starts_with(wasi));
    if let Some(name) = ty.imports(engine).map(|(name, _)| name).find(|name| !is_known(name)) {
        return Err(LoadError::NotATool(format!("it imports {name}, which no tool is given")));
    }
    let instance = linker.instantiate_pre(component).map_err(|error| missing_import(component, &error))?;
    CommandPre::new(instance).map_err(|error| {
        LoadError::NotATool(format!("it does not export wasi:cli/run ({error:#}); build a program for wasm32-wasip2"))
    })
}

impl Exports {
    /// The interfaces that run actions.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let all = [
            ("source", self.source.is_some()),
            ("build", self.build.is_some()),
            ("test", self.test.is_some()),
            ("deploy", self.deploy.is_some()),
            ("approval", self.approval.is_some()),
            ("invoke", self.invoke.is_some()),
            ("rule", self.rule.is_some()),
        ];
        all.into_iter().filter_map(|(name, exported)| exported.then_some(name)).collect()
    }
}

/// That every interface of our package, imported or exported, is of a version that this host offers.
fn check_versions(component: &Component) -> Result<(), LoadError> {
    match versions(component).into_iter().find(|wants| series(wants) != series(ABI_VERSION)) {
        Some(wants) => Err(LoadError::Abi { wants }),
        None => Ok(()),
    }
}

/// The version of each interface of our package, imported or exported.
fn versions(component: &Component) -> Vec<String> {
    let ty = component.component_type();
    let engine = component.engine();
    let names = ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    names.filter_map(|name| Some(name.strip_prefix(ABI_PACKAGE)?.split_once('@')?.1.to_owned())).collect()
}

/// Which host runs a plugin that was built for a version of the ABI that this one does not offer, or not all of.
pub(crate) fn mend(wants: &str) -> String {
    if is_newer(wants) {
        format!(
            "it needs Pipewright {wants} or newer; upgrade this host, or build it with the SDK or WIT of {ABI_VERSION}"
        )
    } else {
        let series = series(wants);
        format!("it needs a Pipewright {series}; build it with the SDK or WIT of {ABI_VERSION} for this host")
    }
}

fn is_newer(wants: &str) -> bool {
    matches!((Version::parse(wants), Version::parse(ABI_VERSION)), (Ok(wants), Ok(offered)) if wants > offered)
}

/// The part of a version that must be equal: `0.1` of `0.1.7`, `2` of `2.3.0`.
fn series(version: &str) -> &str {
    let dots = if version.starts_with("0.") { 2 } else { 1 };
    version.match_indices('.').nth(dots - 1).map_or(version, |(end, _)| &version[..end])
}

fn missing_import(component: &Component, error: &wasmtime::Error) -> LoadError {
    // Inside a series the linker serves what an older host has; what is missing came with a newer one.
    if let Some(wants) = versions(component).into_iter().find(|wants| is_newer(wants)) {
        return LoadError::Abi { wants };
    }
    let ty = component.component_type();
    let engine = component.engine();
    let known = |name: &str| name.starts_with(ABI_PACKAGE) || WASI_PACKAGES.iter().any(|wasi| name.starts_with(wasi));
    let name = ty.imports(engine).map(|(name, _)| name).find(|name| !known(name));
    let message = match name {
        Some(name) => format!("it imports {name}, which is not part of the plugin ABI"),
        None => format!("its imports do not match the plugin ABI: {error:#}"),
    };
    LoadError::Import(message)
}

#[cfg(test)]
mod tests {
    use super::{ABI_VERSION, mend, series};

    #[test]
    fn a_plugin_says_which_host_it_needs() {
        let check = |wants, want: &str| assert!(mend(wants).contains(want), "{wants}: {}", mend(wants));
        check("0.1.7", "needs Pipewright 0.1.7 or newer; upgrade this host");
        check("0.2.0", "needs Pipewright 0.2.0 or newer; upgrade this host");
        check("1.0.0", "needs Pipewright 1.0.0 or newer; upgrade this host");
        check("0.0.9", "needs a Pipewright 0.0; build it");
        check("0.0.9", &format!("with the SDK or WIT of {ABI_VERSION}"));
    }

    #[test]
    fn a_series_is_what_may_not_differ() {
        let check = |version, want| assert_eq!(series(version), want, "{version}");
        check("0.1.0", "0.1");
        check("0.10.3", "0.10");
        check("1.2.3", "1");
        check("12.0.0", "12");
        check("1", "1");
    }
}

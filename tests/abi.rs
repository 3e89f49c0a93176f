//! The long life of the plugin ABI: inside a series the WIT only grows, and components that were built for a version that was
//! released go on running. CONTRIBUTING.md says what that means for a change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pipewright_author::cases::{self, CaseResult, Options};
use pipewright_sandbox::ABI_VERSION;
use pipewright_sandbox::abi::NamedValue;
use semver::Version;
use sha2::{Digest as _, Sha256};
use wit_parser::{
    Function, Handle, PackageId, Resolve, Stability, Type, TypeDefKind, TypeOwner, UnresolvedPackageGroup, WorldItem,
    WorldKey,
};

use crate::cases::{sandbox, told};

/// Every version that was released, with the SHA-256 of its `wit/released/VERSION/plugin.wit`.
const RELEASED: &[(&str, &str)] = &[("0.1.0", "f71b049e814a16a03c89d6de863fe0a40164e42c905710885fdae6a6a4f1e803")];

const CATEGORIES: [&str; 7] = ["source", "build", "test", "deploy", "approval", "invoke", "rule"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_abi_only_grows() {
    let today = Wit::parse(&fs::read_to_string(root().join("wit/plugin.wit")).unwrap());
    let (surface, since) = (today.surface(), today.since());
    for (version, digest) in RELEASED {
        let file = root().join("wit/released").join(version).join("plugin.wit");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let found: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, *digest, "{} was changed after its release", file.display());

        let released = Wit::parse(&text).surface();
        let breaks = breaks(&released, &surface);
        assert!(breaks.is_empty(), "wit/plugin.wit breaks plugins built for {version}:\n{}", breaks.join("\n"));
        let version = Version::parse(version).unwrap();
        for (item, since) in since.iter().filter(|(item, _)| !released.contains_key(*item)) {
            // Until this Pipewright has a version of its own, what is new in it comes with the one before.
            let host = Version::parse(env!("CARGO_PKG_VERSION")).unwrap();
            let is_newer = since.as_ref().is_some_and(|since| *since > version || *since == host);
            assert!(is_newer, "{item} came after {version}, and its `@since` is {since:?}");
        }
    }
    assert_eq!(today.version().to_string(), ABI_VERSION);
    // A plugin that is too new for its host names the host that it needs by this version.
    let host = Version::parse(env!("CARGO_PKG_VERSION")).unwrap();
    assert!(*today.version() <= host, "the ABI's version is that of the first Pipewright that offers it");
}

#[test]
fn each_kind_of_break_is_found() {
    let text = fs::read_to_string(root().join("wit/plugin.wit")).unwrap();
    let (package, next) = (format!("plugin@{ABI_VERSION};"), "plugin@0.1.999;");
    let (before, text) = (Wit::parse(&text).surface(), text.replace(&package, next));
    let check = |from: &str, to: &str, want: &[&str]| {
        assert!(text.contains(from), "{from:?} is not in the WIT any more");
        let breaks = breaks(&before, &Wit::parse(&text.replace(from, to)).surface());
        let as_wanted = breaks.len() == want.len() && breaks.iter().zip(want).all(|(found, want)| found.contains(want));
        assert!(as_wanted, "{from:?} to {to:?}: {breaks:#?} instead of {want:?}");
    };
    // What grows.
    check("interface log {", "interface log { flush: func();", &[]);
    check("interface log {", "interface log { record more { a: u8 } flush: func(m: more);", &[]);
    check("interface log {", "interface more { now: func() -> u64; } interface log {", &[]);
    check("    import log;", "    import log; import wasi:http/incoming-handler@0.2.12;", &[]);
    check("world rule-plugin {", "world more { include imports; } world rule-plugin {", &[]);
    check("    /// the file patterns", "    /// other words", &[]);
    check("        randomness,\n", "        randomness,\n        more,\n", &["plugin.capability was variant"]);
    check("        caches,\n    }", "        caches,\n        more,\n    }", &[]);
    // Types.
    check("        value: string,\n", "", &["types.named-value was record { name: string, value: string }"]);
    check("        value: string,\n", "        value: string,\n        more: u8,\n", &["types.named-value was record"]);
    check("        value: string,\n", "        value: u8,\n", &["types.named-value was record"]);
    check("        compute,\n", "", &["types.category was enum"]);
    check("        compute,\n", "        compute,\n        more,\n", &["types.category was enum"]);
    check("        signal(signal),", "        signal(string),", &["types.wake was variant"]);
    check("        until: option<u64>,", "        until: u64,", &["types.wait was record"]);
    let used = [
        "checks.check was",
        "checks.named-value",
        "commands.declared-secrets was",
        "commands.job was",
        "commands.named-value",
        "commands.start-with-files was",
        "tools.named-value",
        "tools.tool was",
        "types.named-value is gone",
        "types.report was",
        "types.request was",
    ];
    check("named-value", "pair", &used);
    // Functions.
    check("    progress: func(", "    advance: func(", &["log.progress is gone"]);
    check("message: string);", "text: string);", &["log.write was func(level: log.level, message: string)"]);
    check("message: string);", "message: string, more: u8);", &["log.write was func"]);
    check("(path: string) -> result<string, error>;", "(path: string) -> string;", &["artifacts.digest was func"]);
    check("interface rule {", "interface rule { more: func();", &["rule.more: plugins that were built before"]);
    // Interfaces and worlds.
    check("import log;", "", &["imports pipewright:plugin/log@0.1 is gone"; 8]);
    check("    export rule;\n", "", &["rule-plugin exports pipewright:plugin/rule@0.1 is gone"]);
    check(
        "    export rule;\n",
        "    export rule; export test;",
        &["rule-plugin exports pipewright:plugin/test@0.1: plugins"],
    );
}

/// The components of `tests/abi/VERSION`, each with cases that call all that there was.
#[tokio::test(flavor = "multi_thread")]
async fn components_of_every_released_abi_run() {
    let sandbox = sandbox();
    for (version, _) in RELEASED {
        for category in CATEGORIES {
            let folder = root().join("tests/abi").join(version).join(category);
            let component =
                fs::read(folder.join("plugin.wasm")).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            let plugin = sandbox.load(component.into()).await.unwrap_or_else(|e| panic!("{version} {category}: {e}"));
            let given = vec![NamedValue { name: "Unknown".to_owned(), value: "x".to_owned() }];
            let id = plugin.description().action_types[0].id.clone();
            let problems = sandbox.check(0, &plugin, id, given).await;
            assert!(problems.is_ok_and(|problems| problems.is_empty()), "{version} {category}: it judges no settings");
            let results = cases::run(&sandbox, &plugin, &folder.join(cases::FOLDER), &Options::default(), |_| ()).await;
            let results = results.unwrap_or_else(|error| panic!("{version} {category}: {error}"));
            assert!(results.iter().all(CaseResult::passed), "{version} {category}\n{}", told(&results));
        }
    }
}

/// All that a plugin can see of the ABI: interfaces, types, functions, worlds and what those import and export, each with
/// its meaning in words. Names are without the part of a version that may differ.
type Surface = BTreeMap<String, String>;

/// Why plugins that were built for `before` do not work with `after`; empty if they do.
fn breaks(before: &Surface, after: &Surface) -> Vec<String> {
    let mut breaks = Vec::new();
    for (item, was) in before {
        match after.get(item) {
            None => breaks.push(format!("{item} is gone")),
            // The host reads what is asked for by names.
            Some(is) if item == "plugin.capability" && is.starts_with(was.trim_end_matches(" }")) => {}
            // A component's types must equal the host's: a field or a case more breaks it, too.
            Some(is) if is != was => breaks.push(format!("{item} was {was} and is {is}")),
            Some(_) => {}
        }
    }
    // Plugins may call more, but not be called for more.
    let is_exported = |interface: &str| before.keys().any(|item| item.contains(&format!(" exports {interface}@")));
    for (item, is) in after.iter().filter(|(item, _)| !before.contains_key(*item)) {
        let owner = item.split(['.', ' ']).next().unwrap_or_default();
        let is_called = is.starts_with("func(") && is_exported(&format!("pipewright:plugin/{owner}"));
        if is_called || item.contains(" exports ") && before.contains_key(owner) {
            breaks.push(format!("{item}: plugins that were built before do not have it"));
        }
    }
    breaks
}

/// The package `pipewright:plugin`, parsed.
struct Wit {
    resolve: Resolve,
    package: PackageId,
}

impl Wit {
    /// With today's WASI, of which later versions only grow.
    fn parse(text: &str) -> Self {
        let parse = |name: &Path, text: &str| {
            UnresolvedPackageGroup::parse(name, text).unwrap_or_else(|(_, error)| panic!("{}: {error}", name.display()))
        };
        let deps = fs::read_dir(root().join("wit/deps")).unwrap().map(|entry| entry.unwrap().path());
        let deps = deps.map(|file| parse(&file, &fs::read_to_string(&file).unwrap())).collect();
        let mut resolve = Resolve::default();
        let package = resolve.push_groups(parse(Path::new("plugin.wit"), text), deps);
        let package = package.unwrap_or_else(|error| panic!("plugin.wit: {error}"));
        Self { resolve, package }
    }

    fn version(&self) -> &Version {
        self.resolve.packages[self.package].name.version.as_ref().expect("our package has a version")
    }

    fn surface(&self) -> Surface {
        let package = &self.resolve.packages[self.package];
        let mut surface = Surface::new();
        for (name, id) in &package.interfaces {
            let interface = &self.resolve.interfaces[*id];
            surface.insert(format!("interface {name}"), String::new());
            for (item, id) in &interface.types {
                surface.insert(format!("{name}.{item}"), self.kind(&self.resolve.types[*id].kind));
            }
            for (item, function) in &interface.functions {
                surface.insert(format!("{name}.{item}"), self.signature(function));
            }
        }
        for (name, id) in &package.worlds {
            let world = &self.resolve.worlds[*id];
            surface.insert(name.clone(), "world".to_owned());
            for (verb, items) in [("imports", &world.imports), ("exports", &world.exports)] {
                for (key, item) in items {
                    surface.insert(format!("{name} {verb} {}", self.world_key(key)), self.world_item(item));
                }
            }
        }
        surface
    }

    /// Of each interface, function and world of our own: since when it is there, if it says so.
    fn since(&self) -> BTreeMap<String, Option<Version>> {
        let since = |stability: &Stability| match stability {
            Stability::Stable { since, .. } => Some(since.clone()),
            Stability::Unknown | Stability::Unstable { .. } => None,
        };
        let package = &self.resolve.packages[self.package];
        let mut all = BTreeMap::new();
        for (name, id) in &package.interfaces {
            let interface = &self.resolve.interfaces[*id];
            all.insert(format!("interface {name}"), since(&interface.stability));
            for (item, function) in &interface.functions {
                all.insert(format!("{name}.{item}"), since(&function.stability));
            }
        }
        for (name, id) in &package.worlds {
            all.insert(name.clone(), since(&self.resolve.worlds[*id].stability));
        }
        all
    }

    fn world_key(&self, key: &WorldKey) -> String {
        match key {
            WorldKey::Name(name) => name.clone(),
            WorldKey::Interface(id) => self.resolve.canonicalized_id_of(*id).expect("a named interface"),
        }
    }

    fn world_item(&self, item: &WorldItem) -> String {
        match item {
            WorldItem::Interface { .. } => "interface".to_owned(),
            WorldItem::Function(function) => self.signature(function),
            WorldItem::Type { id, .. } => self.kind(&self.resolve.types[*id].kind),
        }
    }

    fn signature(&self, function: &Function) -> String {
        let parameters = function.params.iter().map(|param| format!("{}: {}", param.name, self.ty(&param.ty)));
        let parameters = parameters.collect::<Vec<_>>().join(", ");
        let kind = if function.kind.is_async() { "async func" } else { "func" };
        let result = function.result.as_ref().map(|ty| format!(" -> {}", self.ty(ty))).unwrap_or_default();
        format!("{kind}({parameters}){result}")
    }

    /// A type where it is used: a named one by its name, wherever it was taken from.
    fn ty(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let defined = &self.resolve.types[*id];
        match (&defined.name, &defined.kind, defined.owner) {
            (Some(_), TypeDefKind::Type(original @ Type::Id(_)), _) => self.ty(original),
            (Some(name), _, TypeOwner::Interface(owner)) => {
                let interface = self.resolve.canonicalized_id_of(owner).unwrap_or_default();
                let interface = interface.strip_prefix("pipewright:plugin/").unwrap_or(&interface);
                format!("{}.{name}", interface.split('@').next().unwrap_or_default())
            }
            (_, kind, _) => self.kind(kind),
        }
    }

    fn kind(&self, kind: &TypeDefKind) -> String {
        let list = |items: Vec<String>| items.join(", ");
        let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| self.ty(ty));
        match kind {
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, self.ty(&field.ty)));
                format!("record {{ {} }}", list(fields.collect()))
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, maybe(&case.ty)));
                format!("variant {{ {} }}", list(cases.collect()))
            }
            TypeDefKind::Enum(cases) => {
                format!("enum {{ {} }}", list(cases.cases.iter().map(|case| case.name.clone()).collect()))
            }
            TypeDefKind::Flags(flags) => {
                format!("flags {{ {} }}", list(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
            }
            TypeDefKind::Tuple(tuple) => format!("tuple<{}>", list(tuple.types.iter().map(|ty| self.ty(ty)).collect())),
            TypeDefKind::Option(ty) => format!("option<{}>", self.ty(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.ty(ty)),
            TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
            TypeDefKind::Handle(Handle::Own(id)) => self.ty(&Type::Id(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.ty(&Type::Id(*id))),
            TypeDefKind::Resource => "resource".to_owned(),
            TypeDefKind::Type(ty) => self.ty(ty),
            other => panic!("the ABI has no {} yet; say here what of it may change", other.as_str()),
        }
    }
}

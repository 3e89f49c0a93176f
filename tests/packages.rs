//! Packages of plugins, as a person uses them: published to a real registry, added, upgraded; and everything that
//! somebody might do to them on the way.

use std::fs;

use pipewright_base::Digest;
use pipewright_base::home::DataDirectory;
use pipewright_packages::plugins::Plugins;
use pipewright_packages::{Installed, Options, Package, Reference, Signature, SigningKey};

use crate::cases::sandbox;

mod fake;
mod kinds;
pub(crate) mod registry;
mod servers;
mod tools;
mod world;

use registry::Registry;
pub use world::{Registered, offering};
use world::{World, component};

const NAME: &str = "team/packaged";

#[test]
fn a_package_goes_its_way() {
    let Some(world) = World::new() else { return };
    let reference = world.reference(NAME);
    world.publish(NAME, "1.0.0", &["http api.example.com"], "maria");
    let first = format!("{reference}:1.0.0");

    let inspected = world.run(&["inspect", &first]).succeeded();
    for part in [
        "team/packaged 1.0.0",
        "signed by     ../../maria.key.pub (sha256:",
        "requests to api.example.com: \"for the test\"",
        "Packaged/1",
    ] {
        assert!(inspected.contains(part), "{part}: {inspected}");
    }
    world.run(&["add", &first]).refused(2, "There is no terminal to ask on");
    let added = world.run(&["add", &first, "--yes"]).succeeded();
    assert!(
        added.contains("requests to api.example.com") && added.contains("team/packaged 1.0.0 is installed"),
        "{added}"
    );
    assert!(world.run(&["add", &first, "--yes"]).succeeded().contains("installed already"));
    assert!(world.run(&["upgrade", NAME]).succeeded().contains("1.0.0 is installed already"));

    world.publish(NAME, "1.0.1", &["http api.example.com"], "maria");
    world.publish(NAME, "2.0.0", &["clock"], "maria");
    // What is printed works as it is, there and back.
    let printed = |newer: &str| {
        let refused = world.run(&["add", &format!("{reference}:{newer}"), "--yes"]);
        refused.refused(2, &format!("an upgrade puts {newer} in its place: pipewright plugin upgrade "));
        let (_, command) = refused.stderr.trim_end().split_once("pipewright plugin ").unwrap();
        world.run(&command.split(' ').collect::<Vec<_>>()).succeeded()
    };
    for (newer, older) in [("1.0.1", "1.0.0"), ("1.0.0", "1.0.1"), ("1.0.1", "1.0.0")] {
        let upgraded = printed(newer);
        assert!(upgraded.contains(&format!("team/packaged {newer} takes the place of {older}")), "{upgraded}");
    }
    world.run(&["add", &reference]).refused(2, &format!("say which version; the newest is {reference}:2.0.0"));
    world.run(&["upgrade", NAME, &format!("{reference}:2.0.0")]).refused(2, "pipewright plugin add ");
    world.run(&["add", &format!("{reference}:2.0.0"), "--yes"]).succeeded();
    let listed = world.run(&["list"]).succeeded();
    assert!(listed.contains("team/packaged 1.0.1") && listed.contains("team/packaged 2.0.0"), "{listed}");
    let difference = world.run(&["diff", "team/packaged@1", "team/packaged@2"]).succeeded();
    assert!(
        difference.contains("asks for more: clock") && difference.contains("asks no more for: http"),
        "{difference}"
    );
    let difference = world.run(&["diff", "--json", &first, &format!("{reference}:2.0.0")]).succeeded();
    let difference: serde_json::Value = serde_json::from_str(&difference).unwrap();
    assert_eq!(difference["widened"], serde_json::json!(["clock"]));
    assert!(world.run(&["verify"]).succeeded().contains("2 of 2 packages"));

    world.run(&["remove", "team/packaged@2.0.0"]).succeeded();
    assert!(!world.run(&["list"]).succeeded().contains("2.0.0"));
    world.run(&["remove", "team/packaged@2.0.0"]).refused(2, "is not there");
    assert!(world.run(&["verify"]).succeeded().contains("1 of 1 packages"));
}

/// What is installed serves its action type, beside the bundle.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_loads_what_is_installed_and_nothing_else() {
    let Some(world) = World::new() else { return };
    world.publish(NAME, "1.0.0", &[], "maria");
    world.run(&["add", &format!("{}:1.0.0", world.reference(NAME)), "--yes"]).succeeded();
    let data = DataDirectory::open(&world.path("data")).unwrap();
    let load = async || -> anyhow::Result<Plugins> {
        let sandbox = sandbox();
        let plugins = Plugins::load(&sandbox, &[], None).await.unwrap();
        let components = Installed::open(&data, None)?.components().await?.into_iter().collect::<Result<_, _>>()?;
        assert!(plugins.load_installed(&sandbox, 0, components).await.is_empty());
        Ok(plugins)
    };
    let id = serde_json::json!({ "category": "Invoke", "owner": "Custom", "provider": "Packaged", "version": "1" });
    let id = serde_json::from_value(id).unwrap();
    assert_eq!(load().await.unwrap().catalogue(0).bound(&id).unwrap().about.version, "1.0.0");

    // The policy of today counts, not that of when it was installed.
    let policy = world.path("data/plugins/policy.toml");
    let trusted = fs::read(&policy).unwrap();
    world.policy("[names.\"team/*\"]\nkeys = [\"../../jo.key.pub\"]\n");
    let error = load().await.err().unwrap().to_string();
    assert!(error.contains("the package team/packaged is not trusted: none of its signatures"), "{error}");
    fs::remove_file(&policy).unwrap();
    let error = load().await.err().unwrap().to_string();
    assert!(error.contains("no key may sign for this name"), "{error}");
    world.policy("keys = 1");
    let error = load().await.err().unwrap().to_string();
    assert!(error.contains("policy.toml"), "{error}");
    fs::write(&policy, trusted).unwrap();

    let installed = Installed::open(&data, None).unwrap();
    let entry = installed.active().next().unwrap();
    let hex = entry.component.to_string();
    let path = world.path("data/plugins/components").join(&hex[..2]).join(&hex[2..]);
    fs::remove_file(&path).unwrap();
    fs::write(&path, component(NAME, "1.0.0", "1", &["clock"])).unwrap();
    let error = load().await.err().unwrap().to_string();
    assert!(
        error.contains("the component of team/packaged 1.0.0 was changed: it must have the digest sha256:"),
        "{error}"
    );
    let verified = world.run(&["verify"]);
    assert!(verified.code == 1 && verified.stdout.contains("was changed"), "{verified:?}");
}

/// Whatever lies in the folder of plugins, the others are loaded.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_component_costs_nobody_else_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("garbage.wasm"), b"\0asm and then nothing").unwrap();
    fs::create_dir(at("folder.wasm")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe.wasm")).status().unwrap().success());
    fs::write(at("liar.wasm"), pipewright_guests::get("liar")).unwrap();
    fs::write(at("one.wasm"), component("team/one", "1.0.0", "1", &[])).unwrap();
    fs::write(at("rival.wasm"), component("team/rival", "1.0.0", "1", &[])).unwrap();
    fs::write(at("two.wasm"), component("team/two", "1.0.0", "2", &[])).unwrap();
    let names = ["folder", "garbage", "gone", "liar", "one", "pipe", "rival", "two"];
    let files: Vec<_> = names.iter().map(|name| at(&format!("{name}.wasm"))).collect();
    let (plugins, faults) = Plugins::load_usable(&sandbox(), &files, None).await.unwrap();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for (name, told) in
        ["folder.wasm", "garbage.wasm", "gone.wasm", "liar", "pipe.wasm", "team/rival"].iter().zip(&told)
    {
        assert!(told.contains(name), "{name}: {told}");
    }
    assert_eq!(told.len(), 6, "{told:?}");
    let bound = |version: &str| {
        let id =
            serde_json::json!({ "category": "Invoke", "owner": "Custom", "provider": "Packaged", "version": version });
        let id = serde_json::from_value(id).unwrap();
        plugins.catalogue(0).bound(&id).map(|served| served.about.name.clone())
    };
    assert_eq!((bound("1").as_deref(), bound("2").as_deref()), (Some("team/one"), Some("team/two")));
}

/// Whoever serves an action type gets what its actions are granted.
#[test]
fn an_upgrade_that_serves_more_waits_for_consent() {
    let Some(world) = World::new() else { return };
    world.policy("unsigned_files = [\"team/*\"]\n");
    let file = world.component(NAME, "1.0.0", &[]);
    world.run(&["add", &file, "--yes"]).succeeded();
    world.write("more.wasm", offering("Git", NAME, "1.1.0", "1", &[]));
    let upgraded = world.run(&["upgrade", NAME, "more.wasm"]);
    let asked = "asks for more than 1.0.0, which stays: to serve Invoke/Custom/Git/1";
    assert!(upgraded.code == 1 && upgraded.stdout.contains(asked), "{upgraded:?}");
    world.run(&printed(&upgraded.stdout)).succeeded();
    world.write("again.wasm", offering("Git", NAME, "1.2.0", "1", &[]));
    world.run(&["upgrade", NAME, "again.wasm"]).succeeded();
    // Or at once.
    world.write("even-more.wasm", offering("Git", NAME, "1.3.0", "1", &["clock"]));
    let upgraded = world.run(&["upgrade", NAME, "even-more.wasm", "--yes"]).succeeded();
    assert!(upgraded.contains("the time of day") && upgraded.contains("1.3.0 takes the place of 1.2.0"), "{upgraded}");
    assert!(world.run(&["verify"]).succeeded().contains("1 of 1"));
}

#[test]
fn an_upgrade_that_asks_for_more_waits_for_consent() {
    let Some(world) = World::new() else { return };
    world.publish(NAME, "1.0.0", &["http api.example.com"], "maria");
    world.run(&["add", &format!("{}:1.0.0", world.reference(NAME)), "--yes"]).succeeded();
    world.publish(NAME, "1.1.0", &["http api.example.com", "secret token"], "maria");
    let upgraded = world.run(&["upgrade", NAME]);
    assert_eq!(upgraded.code, 1, "{upgraded:?}");
    assert!(upgraded.stdout.contains("asks for more than 1.0.0, which stays: to use the secret token"), "{upgraded:?}");
    let active = || {
        let installed = Installed::open(&DataDirectory::open(&world.path("data")).unwrap(), None).unwrap();
        let active: Vec<String> = installed.active().map(|entry| entry.version.to_string()).collect();
        active.join(", ")
    };
    assert_eq!(active(), "1.0.0");
    assert!(world.run(&["list"]).succeeded().contains("pending: it asks for more"));
    let again = world.run(&["upgrade", NAME]);
    assert!(again.code == 1 && again.stdout.starts_with("team/packaged 1.1.0 waits for consent"), "{again:?}");
    let command = printed(&upgraded.stdout);
    assert!(command.ends_with(&["--data", "data"]), "{command:?}");
    let other = format!("sha256:{}", "0".repeat(64));
    world.run(&["consent", "team/packaged@1.1.0", "--digest", &other]).refused(2, "has the digest sha256:");
    world.run(&["consent", "team/packaged@1.2.0", "--digest", &other]).refused(2, "is not there");
    assert_eq!(active(), "1.0.0");
    world.run(&command).succeeded();
    assert_eq!(active(), "1.1.0");
    world.run(&command).refused(2, "waits for nothing");
}

#[test]
fn a_pending_upgrade_is_judged_again_when_it_is_consented_to() {
    let Some(world) = World::new() else { return };
    world.publish(NAME, "1.0.0", &[], "maria");
    world.run(&["add", &format!("{}:1.0.0", world.reference(NAME)), "--yes"]).succeeded();
    world.publish(NAME, "1.1.0", &["clock"], "maria");
    let upgraded = world.run(&["upgrade", NAME]).stdout;
    world.policy("[names.\"team/*\"]\nkeys = [\"../../jo.key.pub\"]\n");
    world.run(&printed(&upgraded)).refused(2, "is not trusted");
}

/// The command that a person may copy.
fn printed(text: &str) -> Vec<&str> {
    text.lines().find_map(|line| line.strip_prefix("pipewright plugin ")).unwrap().split(' ').collect()
}

/// What an account says of a version holds for whoever changes what is installed.
#[test]
fn what_was_yanked_is_told_and_not_put_back() {
    use pipewright_packages::plugins::{Notice, NoticeKind, Noticed};
    let Some(world) = World::new() else { return };
    let reference = world.reference(NAME);
    for version in ["1.0.0", "1.1.0"] {
        world.publish(NAME, version, &[], "maria");
    }
    world.publish(NAME, "1.2.0", &["clock"], "maria");
    let (first, second) = (format!("{reference}:1.0.0"), format!("{reference}:1.1.0"));
    world.run(&["add", &second, "--yes"]).succeeded();
    let pending = world.run(&["upgrade", NAME]).stdout;
    // As a server keeps it.
    let noticed = |version: &str, kind| Noticed {
        name: NAME.to_owned(),
        version: version.to_owned(),
        notice: Notice { kind, reason: "it deletes too much".to_owned() },
    };
    let data = DataDirectory::open(&world.path("data")).unwrap();
    let say = |noticed| Installed::open(&data, None).unwrap().notice(noticed).unwrap();
    say(vec![noticed("1.1.0", NoticeKind::Yanked), noticed("1.2.0", NoticeKind::Yanked)]);
    let listed = world.run(&["list"]).succeeded();
    assert_eq!(listed.matches("yanked: it deletes too much").count(), 2, "{listed}");
    let why = "was yanked: it deletes too much; `pipewright plugin restore team/packaged@";
    world.run(&printed(&pending)).refused(2, why);
    world.run(&["upgrade", NAME, &first, "--allow-downgrade"]).succeeded();
    world.run(&["upgrade", NAME, &second]).refused(2, why);
    world.run(&["upgrade", NAME, &second, "--allow-downgrade", "--yes"]).refused(2, why);
    let upgraded = world.run(&["upgrade", NAME]).succeeded();
    assert!(
        upgraded.contains("1.2.0 is passed over: it was yanked") && upgraded.contains("1.0.0 is installed already")
    );
    world.run(&["remove", NAME]).succeeded();
    world.run(&["add", &second, "--yes"]).refused(2, why);

    say(vec![noticed("1.1.0", NoticeKind::Deprecated)]);
    world.run(&["add", &second, "--yes"]).succeeded();
    let listed: serde_json::Value = serde_json::from_str(&world.run(&["list", "--json"]).succeeded()).unwrap();
    let notice = serde_json::json!({ "kind": "deprecated", "reason": "it deletes too much" });
    assert_eq!((&listed[0]["name"], &listed[0]["notice"]), (&NAME.into(), &notice));
}

#[test]
fn a_downgrade_is_refused() {
    let Some(world) = World::new() else { return };
    for version in ["1.0.0", "1.1.0"] {
        world.publish(NAME, version, &[], "maria");
    }
    let reference = world.reference(NAME);
    let (old, new) = (format!("{reference}:1.0.0"), format!("{reference}:1.1.0"));
    world.run(&["add", &new, "--yes"]).succeeded();
    world.run(&["upgrade", NAME, &old]).refused(2, "is older than 1.1.0, which is installed");
    // A tag that promises nothing may point to anything.
    world.registry.move_tag(NAME, "1.1.0", &world.registry.tagged(NAME, "1.0.0"));
    world.run(&["upgrade", NAME]).refused(2, "is not what it says: the tag says 1.1.0");
    world.run(&["upgrade", NAME, &old, "--allow-downgrade"]).succeeded();
    assert!(world.run(&["list"]).succeeded().contains("team/packaged 1.0.0"));
}

/// Each change to what a registry holds, by somebody who can write there but has no key.
#[test]
fn tampering_is_told_apart() {
    let Some(world) = World::new() else { return };
    let check = |repository: &str, tamper: &dyn Fn(&Parts), said: &str| {
        let file = world.component("team/packaged", "1.0.0", &[]);
        let reference = world.reference(repository);
        world.run(&["publish", &file, &reference, "--key", "maria.key"]).succeeded();
        // The same bytes lie in every repository of the registry: each is put back.
        let parts = Parts::of(&world, repository);
        let before: Vec<(String, Vec<u8>)> =
            parts.all().map(|part| (part.clone(), world.registry.read(part))).collect();
        tamper(&parts);
        world.run(&["add", &format!("{reference}:1.0.0"), "--yes"]).refused(2, said);
        assert!(world.run(&["list"]).succeeded().contains("no plugin is installed"), "{said}");
        for (part, bytes) in before {
            if world.registry.read(&part) != bytes {
                world.registry.change(&part, |_| bytes.clone());
            }
        }
    };
    let flip = |mut bytes: Vec<u8>| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let registry = &world.registry;
    check("a/component", &|p| registry.change(&p.component, flip), "the component of team/packaged 1.0.0 was changed");
    check("a/config", &|p| registry.change(&p.config, flip), "the configuration of team/packaged 1.0.0 was changed");
    let wider = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\"asks\":[]", "\"asks\":{}").into_bytes();
    let described = "the configuration of team/packaged 1.0.0 was changed";
    check("a/description", &|p| registry.change(&p.config, wider), described);
    // Either form is enough: the other one is taken away.
    let change_payload = |p: &Parts| {
        registry.change(&p.payload, flip);
        registry.remove_tag("a/payload", &p.referrers_tag);
    };
    check("a/payload", &change_payload, "a signature of team/packaged 1.0.0 was changed");
    // Far enough inside to leave the form of base64 and ASN.1 alone.
    let forged = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let at = text.find("cosign/signature\":\"").unwrap() + 60;
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..]).into_bytes()
    };
    let forge = |p: &Parts| {
        registry.change(&p.signatures, forged);
        registry.remove_tag("a/signature", &p.referrers_tag);
    };
    check("a/signature", &forge, "by none of the keys that count, or was changed");
    let change_bundle = |p: &Parts| {
        registry.change(&p.bundle, flip);
        registry.remove_tag("a/bundle", &p.signatures_tag);
    };
    check("a/bundle", &change_bundle, "a signature of team/packaged 1.0.0 was changed");
    // What is no manifest, this registry does not even send.
    let relabelled = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("dsse-", "dsse_").into_bytes();
    let change_referrer = |p: &Parts| {
        registry.change(&p.referrer, relabelled);
        registry.remove_tag("a/referrer", &p.signatures_tag);
    };
    check("a/referrer", &change_referrer, "a signature of team/packaged 1.0.0 was changed");
    let unsign = |p: &Parts| {
        registry.remove_tag("a/unsigned", &p.signatures_tag);
        registry.remove_tag("a/unsigned", &p.referrers_tag);
    };
    check("a/unsigned", &unsign, "it has no signature");
    let renamed = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\"1.0.0\"", "\"1.0.9\"").into_bytes();
    check("a/manifest", &|p| registry.change(&p.manifest, renamed), "is not what it says: the tag says 1.0.0");
    let rebuilt = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("packaged\"", "packaged\" ").into_bytes();
    check("a/resealed", &|p| registry.change(&p.manifest, rebuilt), "it has no signature");
}

/// The digests of what a package in the registry is made of.
struct Parts {
    manifest: String,
    config: String,
    component: String,
    signatures_tag: String,
    signatures: String,
    payload: String,
    referrers_tag: String,
    referrer: String,
    bundle: String,
}

impl Parts {
    fn of(world: &World, repository: &str) -> Self {
        let text = |value: &serde_json::Value| value["digest"].as_str().unwrap().to_owned();
        let read =
            |digest: &str| -> serde_json::Value { serde_json::from_slice(&world.registry.read(digest)).unwrap() };
        let manifest = world.registry.tagged(repository, "1.0.0");
        let signatures_tag = format!("{}.sig", manifest.replace(':', "-"));
        let signatures = world.registry.tagged(repository, &signatures_tag);
        let referrers_tag = manifest.replace(':', "-");
        let referrer = text(&read(&world.registry.tagged(repository, &referrers_tag))["manifests"][0]);
        let (image, signed, referring) = (read(&manifest), read(&signatures), read(&referrer));
        Self {
            bundle: text(&referring["layers"][0]),
            referrers_tag,
            referrer,
            config: text(&image["config"]),
            component: text(&image["layers"][0]),
            payload: text(&signed["layers"][0]),
            manifest,
            signatures_tag,
            signatures,
        }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        let signed = [&self.signatures, &self.payload, &self.referrer, &self.bundle];
        [&self.manifest, &self.config, &self.component].into_iter().chain(signed)
    }
}

/// By somebody who has a key, and publishes what is not true.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_lie_is_refused() {
    let Some(registry) = Registry::start_open() else { return };
    let world = World::with(registry);
    let code = component(NAME, "1.0.0", "1", &["secret token"]);
    let plugin = sandbox().load(code.as_slice().into()).await.unwrap();
    let key = SigningKey::generate().unwrap();
    world.write("liar.pub", key.public().to_pem());
    world.policy("[names.\"team/*\"]\nkeys = [\"../../liar.pub\"]\n");
    let cases: &[(&str, &str, &str)] = &[
        ("\"asks\":[{", "\"asks\":[],\"were\":[{", "its component has another asks than its description says"),
        ("\"provider\":\"Packaged\"", "\"provider\":\"Others\"", "has another action types"),
        (
            "\"name\":\"team/packaged\"",
            "\"name\":\"team/others\"",
            "the name in its configuration is not that of its manifest",
        ),
        ("\"version\":\"1.0.0\"", "\"version\":\"1.0.1\"", "the version in its configuration is not that"),
        ("wasi:cli/", "wasi:clx/", "has another interfaces"),
        (
            "\"layerDigests\":[\"sha256:",
            "\"layerDigests\":[\"sha257:",
            "the digest of the component in its configuration",
        ),
        ("wasip2", "wasip1", "it is for wasip1/wasm, not wasip2/wasm"),
        ("\"plugin\":", "\"plug\":", "it is a component, and neither a plugin nor a command-line tool"),
        ("\"may_run_again\":true", "\"may_run_again\":7", "it describes itself for version 0.1.0 of the plugin ABI"),
    ];
    for (at, (truth, lie, said)) in cases.iter().enumerate() {
        let mut package = Package::new(&plugin, code.clone()).unwrap();
        let config = String::from_utf8(package.config).unwrap();
        assert!(config.contains(truth), "{truth} is not in {config}");
        package.config = config.replace(truth, lie).into_bytes();
        let mut manifest: serde_json::Value = serde_json::from_slice(&package.manifest).unwrap();
        manifest["config"]["digest"] = format!("sha256:{}", Digest::of(&package.config)).into();
        manifest["config"]["size"] = package.config.len().into();
        package.manifest = serde_json::to_vec(&manifest).unwrap();
        let reference: Reference = world.reference(&format!("lie/{at}")).parse().unwrap();
        let signature = Signature::document(&key, package.digest(), &reference.to_string()).unwrap();
        let there = pipewright_packages::Registry::new(&reference, &Options::default()).await.unwrap();
        there.publish(&package, "1.0.0", &[signature]).await.unwrap();
        world.run(&["add", &format!("{reference}:1.0.0"), "--yes"]).refused(2, said);
    }
    assert!(world.run(&["list"]).succeeded().contains("no plugin is installed"));
}

#[test]
fn a_key_counts_for_its_names_and_once() {
    let Some(world) = World::new() else { return };
    let first = format!("{}:1.0.0", world.reference(NAME));
    world.publish(NAME, "1.0.0", &[], "eve");
    world.run(&["add", &first, "--yes"]).refused(2, "by none of the keys that count");
    let untrusted = world.run(&["inspect", &first]).succeeded();
    assert!(untrusted.contains("not trusted") && !untrusted.contains("exports"), "{untrusted}");
    world.run(&["diff", &first, &first]).refused(2, "is not trusted");

    world.publish("other/packaged", "1.0.0", &[], "maria");
    let other = format!("{}:1.0.0", world.reference("other/packaged"));
    world.run(&["add", &other, "--yes"]).refused(2, "no key may sign for this name");
    world.policy(
        "[names.\"team/*\"]\nkeys = [\"../../maria.key.pub\"]\n[names.\"other/*\"]\nkeys = [\"../../jo.key.pub\"]\n",
    );
    world.run(&["add", &other, "--yes"]).refused(2, "by none of the keys that count");

    world.policy("[names.\"team/*\"]\nkeys = [\"../../maria.key.pub\", \"../../jo.key.pub\"]\nsignatures = 2\n");
    world.publish(NAME, "1.0.0", &[], "maria");
    world.publish(NAME, "1.0.0", &[], "maria");
    world.run(&["add", &first, "--yes"]).refused(2, "its signatures are by one key that counts; the policy wants 2");
    world.policy("[names.\"team/*\"]\nkeys = [\"../../maria.key.pub\", \"../../jo.key.pub\"]\n");
    world.run(&["add", &first, "--yes"]).succeeded();
    // What is signed later is taken up, once.
    world.publish(NAME, "1.0.0", &[], "jo");
    let again = || world.run(&["add", &first, "--yes"]).succeeded();
    assert!(again().contains("is installed already; what was signed since is kept with it"));
    assert!(again().trim_end().ends_with("is installed already"));
    world.policy("[names.\"team/*\"]\nkeys = [\"../../maria.key.pub\", \"../../jo.key.pub\"]\nsignatures = 2\n");
    world.run(&["verify"]).succeeded();

    world.policy("");
    assert_eq!(world.run(&["verify"]).code, 1);
}

#[test]
fn a_version_never_changes() {
    let Some(world) = World::new() else { return };
    let first = format!("{}:1.0.0", world.reference(NAME));
    world.publish(NAME, "1.0.0", &[], "maria");
    world.run(&["add", &first, "--yes"]).succeeded();
    let file = world.component(NAME, "1.0.0", &["clock"]);
    world.run(&["publish", &file, &world.reference(NAME), "--key", "maria.key"]).refused(2, "a version never changes");
    // In another repository it is new, and signed by the right key; the lock knows better.
    world.run(&["publish", &file, &world.reference("team/again"), "--key", "maria.key"]).succeeded();
    let again = format!("{}:1.0.0", world.reference("team/again"));
    world.run(&["add", &again, "--yes"]).refused(2, "is locked with the digest sha256:");
    world.run(&["upgrade", NAME, &again]).refused(2, "is locked with the digest sha256:");
    // Nor does another version in its place make it forget.
    world.publish(NAME, "1.1.0", &[], "maria");
    world.run(&["upgrade", NAME]).succeeded();
    world.run(&["upgrade", NAME, &again, "--allow-downgrade"]).refused(2, "is locked with the digest sha256:");
    world.run(&["upgrade", NAME, &first, "--allow-downgrade"]).succeeded();
}

#[test]
fn two_plugins_do_not_serve_one_type() {
    let Some(world) = World::new() else { return };
    world.policy("unsigned_files = [\"*\"]\n");
    let one = world.component("team/one", "1.0.0", &[]);
    let other = world.component("team/other", "1.0.0", &[]);
    world.run(&["add", &one, "--yes"]).succeeded();
    world
        .run(&["add", &other, "--yes"])
        .refused(2, "team/one 1.0.0 and team/other 1.0.0 both offer Invoke/Custom/Packaged/1");
    world.run(&["upgrade", "team/one", &other]).refused(2, "team/other 1.0.0 is no version of team/one");
}

#[test]
fn a_file_is_added_where_the_policy_says_so() {
    let Some(world) = World::new() else { return };
    let file = world.component(NAME, "1.0.0", &["clock"]);
    world.run(&["add", &file, "--yes"]).refused(2, "a file has no signature; unsigned_files in");
    // Before anything looks at what is in it.
    world.write("garbage.wasm", "no component");
    world.run(&["add", "garbage.wasm", "--yes"]).refused(2, "a file has no signature; unsigned_files in");
    world.policy("unsigned_files = [\"team/*\"]\n");
    world.run(&["add", &file, "--yes"]).succeeded();
    assert!(world.run(&["verify"]).succeeded().contains("1 of 1"));
    world.run(&["upgrade", NAME]).refused(2, "came from a file: say which to take: pipewright plugin upgrade ");
    let newer = world.component(NAME, "1.0.1", &["clock"]);
    world.run(&["upgrade", NAME, &newer]).succeeded();
}

#[test]
fn packages_travel_in_an_archive() {
    let Some(world) = World::new() else { return };
    world.publish(NAME, "1.0.0", &[], "maria");
    world.run(&["add", &format!("{}:1.0.0", world.reference(NAME)), "--yes"]).succeeded();
    world.run(&["save", "packages.tar"]).succeeded();
    world.run(&["save", "packages.tar"]).refused(2, "exists");
    world.run(&["remove", NAME]).succeeded();
    let there = fs::read_dir(world.path("data/plugins/components")).unwrap();
    let blobs: usize = there.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum();
    assert_eq!(blobs, 0, "what nothing pins is removed");
    world.run(&["load", "packages.tar", "--yes"]).succeeded();
    assert!(world.run(&["verify"]).succeeded().contains("1 of 1"));
    world.run(&["remove", NAME]).succeeded();

    let archive = fs::read(world.path("packages.tar")).unwrap();
    let at = archive.windows(4).position(|window| window == b"\0asm").unwrap();
    let mut changed = archive.clone();
    changed[at + 100] ^= 1;
    world.write("changed.tar", changed);
    world.run(&["load", "changed.tar", "--yes"]).refused(2, "was changed: it has the digest");
    world.policy("[names.\"team/*\"]\nkeys = [\"../../jo.key.pub\"]\n");
    world.run(&["load", "packages.tar", "--yes"]).refused(2, "is not trusted");
    world.write("short.tar", &archive[..2000]);
    world.run(&["load", "short.tar", "--yes"]).refused(2, "is not a plugin package");
}

#[test]
fn errors_say_whose_they_are_to_mend() {
    let Some(world) = World::new() else { return };
    world.publish(NAME, "1.0.0", &[], "maria");
    let reference = world.reference(NAME);
    world.run(&["add", &format!("{reference}:9.0.0")]).refused(2, "is not there");
    world.run(&["add", &reference]).refused(2, "say which version");
    world.run(&["add", "missing.wasm"]).refused(2, "missing.wasm");
    world.run(&["inspect", "team/missing"]).refused(2, "is not there");
    let file = world.component(NAME, "1.0.0", &[]);
    world.run(&["publish", &file, &format!("{reference}:2.0.0")]).refused(2, "the version is 1.0.0, and its tag 1.0.0");
    let passphrase = [("PIPEWRIGHT_KEY_PASSPHRASE", "wrong")];
    let publish = ["publish", &file, &reference, "--key", "maria.key"];
    world.run_with(&publish, &passphrase).refused(2, "the passphrase is not the one of this key");
    world.write(".docker/config.json", "{}");
    world.run(&["add", &format!("{reference}:1.0.0")]).refused(2, "docker login");
    world.write(".docker/config.json", "{");
    world.run(&["add", &format!("{reference}:1.0.0")]).refused(2, "config.json");
}

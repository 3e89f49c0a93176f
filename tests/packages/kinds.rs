//! Registries as they are: what each kind does in its own way, played by a server; and what a login is not shown to.
//!
//! A row is what is known of a kind. Who meets one that differs adds what differs.

use std::sync::{Arc, Mutex};

use super::fake::{Answer, Fake, Kind, REPOSITORY, Referrers, Request, serve};
use super::registry::{PASSWORD, USER};
use super::world::{Registered, World, component};

/// What most have in common.
const PLAIN: Kind = Kind {
    name: "plain",
    challenge: "Basic realm=\"registry\"",
    token: "",
    has_token_server: false,
    absent: 404,
    hides: None,
    referrers: Referrers::Refused(404),
    has_storage: false,
    uploads: "http://{host}{path}",
    body_bytes_max: usize::MAX,
    tags_per_page: 1000,
    relation: "; rel=\"next\"",
};

/// As proxies have it that nobody configured.
const BOUNDED: usize = 1024 * 1024;
const BEARER: &str = "Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:team/packaged:pull\"";

const KINDS: &[Kind] = &[
    PLAIN,
    // Tokens come from another server, by two names; blobs from a third, which refuses whoever shows a token.
    Kind {
        name: "hub",
        challenge: BEARER,
        token: "{\"token\":\"{token}\",\"access_token\":\"{token}\",\"expires_in\":300,\"issued_at\":\"2026-01-01T00:00:00Z\"}",
        has_token_server: true,
        has_storage: true,
        ..PLAIN
    },
    // The challenge names a made-up repository; what is not there is forbidden.
    Kind {
        name: "of a forge, beside its sources",
        challenge: "Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:user/image:pull\"",
        token: "{\"token\":\"{token}\"}",
        absent: 403,
        referrers: Referrers::Page,
        has_storage: true,
        uploads: "{path}",
        ..PLAIN
    },
    // A password for everything, and its own list of referrers.
    Kind {
        name: "of a cloud",
        challenge: "Basic realm=\"https://registry/\",service=\"registry\"",
        referrers: Referrers::Listed,
        has_storage: true,
        ..PLAIN
    },
    // Both tokens, one of them empty; tags in pages.
    Kind {
        name: "of a company",
        challenge: BEARER,
        token: "{\"token\":\"{token}\",\"access_token\":\"\",\"expires_in\":1800}",
        referrers: Referrers::Listed,
        tags_per_page: 1,
        ..PLAIN
    },
    // Behind a proxy that takes no large bodies; two challenges in one header.
    Kind {
        name: "of a forge, behind a proxy",
        challenge: "Basic realm=\"x\", Bearer realm=\"{realm}\",service=\"registry\"",
        token: "{\"access_token\":\"{token}\"}",
        has_token_server: true,
        body_bytes_max: BOUNDED,
        referrers: Referrers::Refused(405),
        ..PLAIN
    },
    // Strangers are told that nothing is there.
    Kind {
        name: "of artifacts of all sorts",
        hides: Some(404),
        referrers: Referrers::Refused(400),
        has_storage: true,
        ..PLAIN
    },
    // Values without quotation marks; links, too.
    Kind {
        name: "of an operating system's maker",
        challenge: "Bearer realm={realm}, service=registry",
        token: "{\"token\":\"{token}\"}",
        hides: Some(403),
        referrers: Referrers::Listed,
        tags_per_page: 1,
        relation: ";rel=next",
        ..PLAIN
    },
];

/// Published, added by its bundle alone, and upgraded by the document at its tag alone.
#[test]
fn every_kind_of_registry_is_spoken_to() {
    for kind in KINDS {
        let world = World::with(Fake::start(*kind));
        let token_server = world.registry.token_server.clone();
        let named: Vec<&str> = token_server.iter().flat_map(|server| ["--token-server", server]).collect();
        let run = |arguments: &[&str]| {
            let ran = world.run(&[arguments, &named].concat());
            assert_eq!(ran.code, 0, "{}: {arguments:?}: {ran:?}", kind.name);
            ran.stdout
        };
        let reference = world.reference(REPOSITORY);
        let publish = |version: &str| {
            world.write("plugin.wasm", padded(component(REPOSITORY, version, "1", &[])));
            run(&["publish", "plugin.wasm", &reference, "--key", "maria.key"]);
        };
        publish("1.0.0");
        let is_document = |name: &str| name.ends_with(".sig");
        world.registry.kept.lock().unwrap().manifests.retain(|name, _| !is_document(name));
        run(&["add", &format!("{reference}:1.0.0"), "--yes"]);
        assert!(world.run(&["verify"]).succeeded().contains("1 of 1 packages"), "{}", kind.name);
        publish("1.0.1");
        let is_bundle = |manifest: &[u8]| manifest.windows(9).any(|window| window == b"\"subject\"");
        let is_index = |name: &str| name.starts_with("sha256-") && !is_document(name);
        let keep = |name: &String, manifest: &mut Vec<u8>| !is_bundle(manifest) && !is_index(name);
        world.registry.kept.lock().unwrap().manifests.retain(keep);
        let upgraded = run(&["upgrade", REPOSITORY]);
        assert!(upgraded.contains("team/packaged 1.0.1 takes the place of 1.0.0"), "{}: {upgraded}", kind.name);
        assert!(world.run(&["verify"]).succeeded().contains("1 of 1 packages"), "{}", kind.name);
    }
}

/// With a custom section that makes it larger than what `BOUNDED` takes at once.
fn padded(mut component: Vec<u8>) -> Vec<u8> {
    let (name, size) = (b"\x03pad", BOUNDED + 1000);
    component.push(0);
    // LEB128, of any length that is long enough.
    let length = name.len() + size;
    component.extend((0..4).map(|at| (length >> (7 * at)) as u8 & 0x7f | if at < 3 { 0x80 } else { 0 }));
    component.extend_from_slice(name);
    component.resize(component.len() + size, 7);
    component
}

/// What a server of others' was shown.
fn listener(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let shown = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&shown);
    let port = serve(move |request, _| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let line = format!(
            "{} {} {} {:?} {body}",
            request.method,
            request.path,
            request.header("authorization"),
            request.query
        );
        heard.lock().unwrap().push(line);
        answer(request)
    });
    (format!("http://localhost:{port}"), shown)
}

struct At(u16);

impl Registered for At {
    fn host(&self) -> String {
        format!("localhost:{}", self.0)
    }
}

fn unauthorized(challenge: &str) -> Answer {
    Answer(401, vec![("WWW-Authenticate", challenge.to_owned())], Vec::new())
}

/// A registry that sends us elsewhere, and what of the login is seen there.
#[test]
fn a_login_is_shown_to_nobody_else() {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let check = |login: &str, elsewhere: &(dyn Fn(&str) -> Answer + Sync), said: &str| {
        // As bad as can be: it wants the login, in each way.
        let (stranger, shown) = listener(|request| match request.path.as_str() {
            "/token" => Answer(200, Vec::new(), b"{\"token\":\"of a stranger\"}".to_vec()),
            "/bearer" => unauthorized(&format!("Bearer realm=\"http://{}/token\"", request.header("host"))),
            _ => unauthorized("Basic realm=\"x\""),
        });
        let sent = elsewhere(&stranger);
        let port = serve(move |_, _| Answer(sent.0, sent.1.clone(), sent.2.clone()));
        let world = World::with(At(port));
        world.write(".docker/config.json", format!("{{\"auths\":{{\"localhost:{port}\":{login}}}}}"));
        let ran = world.run(&["add", &format!("{}:1.0.0", world.reference(REPOSITORY))]);
        assert!(ran.code != 0 && ran.stderr.contains(said), "{said}: {ran:?}");
        let shown = shown.lock().unwrap().join("\n");
        for secret in [&*basic, PASSWORD, "an identity"] {
            assert!(!shown.contains(secret), "{said}: {shown}");
        }
    };
    let password = format!("{{\"auth\":\"{basic}\"}}");
    let identity = "{\"identitytoken\":\"an identity\"}";
    for login in [&*password, identity] {
        let realm = |stranger: &str| unauthorized(&format!("Bearer realm=\"{stranger}/token\",service=\"registry\""));
        check(login, &realm, "is of another site: --token-server http://localhost:");
        for path in ["/basic", "/bearer"] {
            let redirect =
                move |stranger: &str| Answer(307, vec![("Location", format!("{stranger}{path}"))], Vec::new());
            check(login, &redirect, "it wants a login");
        }
        let metadata = |_: &str| unauthorized("Bearer realm=\"http://169.254.169.254/latest\",service=\"registry\"");
        check(login, &metadata, "which is not https");
        let metadata =
            |_: &str| Answer(307, vec![("Location", "http://169.254.169.254/latest".to_owned())], Vec::new());
        check(login, &metadata, "where we do not go");
    }
}

/// Whoever can be let in without a login is, whatever keeps the login from being known.
#[test]
fn no_stored_login_is_no_login() {
    let world = World::with(Fake::start(PLAIN));
    let file = world.component(REPOSITORY, "1.0.0", &[]);
    let reference = world.reference(REPOSITORY);
    world.run(&["publish", &file, &reference, "--key", "maria.key"]).succeeded();
    let kept = Arc::clone(&world.registry.kept);
    // The same registry, open to everybody.
    let port = serve(move |request, _| {
        let kept = kept.lock().unwrap();
        let found = kept.manifests.get(request.path.rsplit('/').next().unwrap_or_default());
        let found = found.or_else(|| kept.blobs.get(request.path.rsplit('/').next().unwrap_or_default()));
        found.map_or(Answer(404, Vec::new(), Vec::new()), |bytes| Answer(200, Vec::new(), bytes.clone()))
    });
    let helper = world.path("bin/docker-credential-of-test");
    let path = format!("{}:{}", helper.parent().unwrap().display(), std::env::var("PATH").unwrap());
    world.write(".docker/config.json", "{\"credsStore\":\"of-test\"}");
    let says = |script: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        world.write("bin/docker-credential-of-test", format!("#!/bin/sh\ncat > /dev/null\n{script}\n"));
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let public = format!("localhost:{port}/{REPOSITORY}:1.0.0");
    let inspect = |reference: &str| world.run_with(&["inspect", reference], &[("PATH", &path)]);
    for script in [
        "echo 'credentials not found in native keychain'; exit 1",
        "echo '{\"ServerURL\":\"\",\"Username\":\"\",\"Secret\":\"\"}'",
        "echo 'a secret'; exit 3",
    ] {
        says(script);
        assert!(inspect(&public).succeeded().contains("signed by"), "{script}");
    }
    // Where one is wanted, it is told what went wrong, and no secret.
    let private = inspect(&format!("{reference}:1.0.0"));
    private.refused(2, "it wants a user and a password; docker-credential-of-test failed");
    assert!(!private.stderr.contains("a secret"), "{private:?}");
    says(&format!("echo '{{\"ServerURL\":\"x\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'"));
    assert!(inspect(&format!("{reference}:1.0.0")).succeeded().contains("signed by"));
}

#[test]
fn a_challenge_that_cannot_be_met_is_told() {
    let port = serve(|_, _| unauthorized("Negotiate"));
    let world = World::with(At(port));
    let add = format!("{}:1.0.0", world.reference(REPOSITORY));
    world.run(&["add", &add]).refused(3, "it wants \"Negotiate\", and neither Basic nor Bearer with a realm");
    let port = serve(|_, _| Answer(403, Vec::new(), b"{\"errors\":[{\"message\":\"ask Jo\"}]}".to_vec()));
    let world = World::with(At(port));
    let add = format!("{}:1.0.0", world.reference(REPOSITORY));
    world.run(&["add", &add]).refused(2, "it wants a login for the manifest team/packaged:1.0.0 (ask Jo)");
}

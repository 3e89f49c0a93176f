//! What the network may do to whoever asks a registry: answer something else, endlessly, slowly or not at all, want a token,
//! be behind a proxy or an authority of one's own.

use std::net::TcpStream;
use std::time::Duration;

use pipewright_packages::{Candidate, Limits, Options, Origin, PackageError, Policy, Reference, Registry};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::registry::{self, answer, server};
use super::world::World;

/// Asks this server for a package.
async fn ask(address: &str, limits: Limits) -> PackageError {
    let reference: Reference = format!("{address}/team/packaged:1.0.0").parse().unwrap();
    let options = Options { limits, ..Options::default() };
    let registry = Box::new(Registry::new(&reference, &options).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::read(&folder.path().join("policy.toml")).unwrap();
    Candidate::read(Origin::Registry { registry, reference }, &policy).await.err().expect("nothing of it is a package")
}

/// Far more than anything here takes on a busy machine, but for what a test is about.
const PATIENT: Duration = Duration::from_secs(60);
const LIMITS: Limits =
    Limits { connect: PATIENT, idle: PATIENT, document: PATIENT, component: PATIENT, layer: PATIENT };

async fn check(said: &str, how: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Clone + 'static) {
    check_within(LIMITS, said, how).await;
}

async fn check_within(
    limits: Limits,
    said: &str,
    how: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Clone + 'static,
) {
    let (address, _requests) = server(how);
    let error = ask(&address, limits).await.to_string();
    assert!(error.contains(said), "{error:?} instead of {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_none_is_told() {
    use std::io::Write as _;
    check("its manifest: expected value", |_, stream| answer(stream, "200 OK", "", b"<html>welcome</html>")).await;
    check("does not answer as a registry does", |_, stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")?;
        Err(std::io::ErrorKind::BrokenPipe.into())
    })
    .await;
    check("with status 500: out of order", |_, stream| answer(stream, "500 Oops", "", b"out of\norder")).await;
    check("it wants a login", |_, stream| answer(stream, "403 Forbidden", "", b"")).await;
    check("it wants a user and a password", |_, stream| {
        answer(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"")
    })
    .await;
    check("is not there", |_, stream| answer(stream, "404 Not Found", "", b"")).await;
    check("its configuration is \"application/vnd.oci.image.config.v1+json\"", |_, stream| {
        let layer = "{\"mediaType\":\"a\",\"size\":1,\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"}";
        let image = layer.replace("\"a\"", "\"application/vnd.oci.image.config.v1+json\"");
        let manifest = format!("{{\"schemaVersion\":2,\"config\":{image},\"layers\":[{layer}]}}");
        answer(stream, "200 OK", "", manifest.as_bytes())
    })
    .await;
    check("redirect", |request, stream| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        answer(stream, "307 Round", &format!("Location: {path}\r\n"), b"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_never_ends_is_left() {
    use std::io::Write as _;
    check("the answer is longer than 262144 bytes", |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"400\r\n")?;
            stream.write_all(&[b' '; 1024])?;
            stream.write_all(b"\r\n")?;
        }
    })
    .await;
    check("the answer is longer than 262144 bytes", |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    })
    .await;
    check("does not answer as a registry does", |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-Header: and another one\r\n")?;
        }
    })
    .await;
    let short = Limits { document: Duration::from_secs(2), ..LIMITS };
    check_within(short, "the answer is not complete after 2 s", |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
        loop {
            stream.write_all(b" ")?;
            // This is the drip, and not a wait for anything.
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_is_left() {
    let (_hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let short = Limits { idle: Duration::from_millis(300), ..LIMITS };
    check_within(short, "nothing came for 0.3 s", move |_, _| {
        // Until the test is over.
        let _ = held.lock().unwrap().recv();
        Ok(())
    })
    .await;
    // Taken, and nobody listens there.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = ask(&closed.local_addr().unwrap().to_string(), LIMITS).await;
    assert!(matches!(error, PackageError::Registry { .. }), "{error:?}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

/// As docker's own registry and those of most hosts want it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_where_one_is_wanted() {
    let (address, requests) = server(|request, stream| {
        let (line, host) = (request.split(' ').nth(1).unwrap_or_default(), stream.local_addr()?);
        if line.starts_with("/token?") {
            return answer(stream, "200 OK", "", b"{\"token\":\"t0ken\"}");
        }
        if request.to_ascii_lowercase().contains("bearer t0ken") {
            return answer(stream, "404 Not Found", "", b"");
        }
        let realm =
            format!("WWW-Authenticate: Bearer realm=\"http://localhost:{}/token\",service=\"s\"\r\n", host.port());
        answer(stream, "401 Unauthorized", &realm, b"")
    });
    assert!(ask(&address, LIMITS).await.to_string().contains("is not there"));
    let requests: Vec<String> = requests.try_iter().collect();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[1].contains("scope=repository%3Ateam%2Fpackaged%3Apull&service=s"), "{requests:?}");
}

#[test]
fn a_proxy_is_asked_where_the_environment_names_one() {
    let Some(world) = World::new() else { return };
    let (address, requests) = server(|_, stream| answer(stream, "404 Not Found", "", b""));
    let proxy = format!("http://{address}");
    let inspect = ["inspect", "registry.invalid/team/packaged:1.0.0", "--plain-http"];
    world.run_with(&inspect, &[("http_proxy", &proxy)]).refused(2, "is not there");
    let first = requests.try_iter().next().unwrap();
    assert!(first.starts_with("GET http://registry.invalid/v2/team/packaged/manifests/1.0.0 "), "{first}");
    // Never for this machine itself.
    let local = format!("{}:1.0.0", world.reference("team/packaged"));
    world.run_with(&["inspect", &local], &[("http_proxy", &proxy)]).refused(2, "is not there");
    assert_eq!(requests.try_iter().count(), 0);
}

#[test]
fn a_registry_with_an_authority_of_its_own_is_trusted_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key, authority) =
        (folder.path().join("server.pem"), folder.path().join("server.key"), folder.path().join("ca.pem"));
    let issuer = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, another) = (issuer(), issuer());
    let pair = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&pair, &ours).unwrap();
    std::fs::write(&certificate, signed.pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    std::fs::write(&authority, ours.pem()).unwrap();
    let other = folder.path().join("other.pem");
    std::fs::write(&other, another.pem()).unwrap();

    let Some(registry) = registry::Registry::start_tls(&certificate, &key) else { return };
    let world = World::with(registry);
    let file = world.component("team/packaged", "1.0.0", &[]);
    let reference = world.reference("team/packaged");
    let publish = |authority: &std::path::Path| {
        world.run(&["publish", &file, &reference, "--key", "maria.key", "--ca", authority.to_str().unwrap()])
    };
    publish(&other).refused(3, "does not answer as a registry does: invalid peer certificate");
    publish(&authority).succeeded();
    let add = ["add", &format!("{reference}:1.0.0"), "--yes", "--ca", authority.to_str().unwrap()];
    world.run(&add).succeeded();
    world.run(&["inspect", &format!("{reference}:1.0.0")]).refused(3, "registry localhost:");
    world
        .run(&["add", &format!("{reference}:1.0.0"), "--ca", "maria.key"])
        .refused(2, "not a file of certificate authorities");
}

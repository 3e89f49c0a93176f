//! Requests of the host's own: whatever answers, they end, and reach no address that a guest's would not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::super::Connector;
use super::super::outgoing::{Outgoing, origin_of};
use super::server::Server;

#[tokio::test]
async fn a_request_of_the_host_ends_whatever_answers() {
    let server = Server::start().await;
    let connector = Connector::new(&[]).unwrap();
    let post = async |url: String, private: bool| {
        let headers = vec![("x-signed", "yes".to_owned())];
        let outgoing = Outgoing { url, headers, body: Bytes::from_static(b"{}"), private };
        let sent = connector.post_within(Duration::from_secs(2), outgoing).await;
        sent.map_or_else(|unsent| unsent.to_string(), |()| "taken".to_owned())
    };
    for (path, expected) in [
        ("/hello", "taken"),
        ("/stall", "taken"),
        ("/huge", "taken"),
        ("/endless", "taken"),
        ("/drip", "taken"),
        ("/cut", "taken"),
        ("/redirect?http://127.0.0.1/", "it answered with the status 302"),
        ("/nothing", "it answered with the status 404"),
        ("/too-large", "it answered with the status 413"),
        ("/silent", "no answer within 2 s"),
        ("/many-headers", "the connection broke: "),
        ("/long-header", "the connection broke: "),
        ("/endless-header", "the connection broke: "),
        ("/garbage", "the connection broke: "),
    ] {
        let sent = post(format!("http://127.0.0.1:{}{path}", server.http_port), true).await;
        assert!(sent.starts_with(expected), "{path}: {sent}");
    }
    let before = server.connections.load(Ordering::Relaxed);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let refused = post(format!("http://{host}:{}/hello", server.http_port), false).await;
        assert!(refused.ends_with("which is not a public address"), "{host}: {refused}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), before);
    let closed = post("http://127.0.0.1:1/".to_owned(), true).await;
    assert!(closed.contains("refused"), "{closed}");
    assert_eq!(post("ftp://127.0.0.1/".to_owned(), true).await, "its URL is not one of http or https");
}

#[test]
fn origins_of_addresses_are_compared_in_one_form() {
    let check = |url: &str, origin: Option<&str>| assert_eq!(origin_of(url).as_deref(), origin, "{url}");
    check("https://Example.com:443/hook?x=y", Some("https://example.com"));
    check("http://127.0.0.1:9000", Some("http://127.0.0.1:9000"));
    check("http://user@example.com/", None);
    check("/hook", None);
}

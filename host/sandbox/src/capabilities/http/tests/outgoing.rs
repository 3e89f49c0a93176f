//! Requests of the host's own: whatever answers, they end, and reach no address that a guest's would not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::Method;
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
        let outgoing = Outgoing { method: Method::POST, url, headers, body: Bytes::from_static(b"{}"), private };
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

#[tokio::test]
async fn what_is_answered_is_read_within_bounds() {
    let server = Server::start().await;
    let connector = Connector::new(&[]).unwrap();
    let ask = async |method: Method, path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", server.http_port);
        let outgoing = Outgoing { method, url, headers: Vec::new(), body: Bytes::new(), private: true };
        match connector.ask_within(Duration::from_secs(2), outgoing).await {
            Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(unsent) => unsent.to_string(),
        }
    };
    for (method, path, expected) in [
        (Method::GET, "/hello", "200 hello"),
        (Method::DELETE, "/nothing", "404 "),
        // Not followed: what was sent for one address is for no other.
        (Method::GET, "/redirect?http://127.0.0.1/", "302 "),
        (Method::GET, "/cut", "its answer cannot be read: "),
        (Method::GET, "/endless", "its answer cannot be read: "),
        (Method::GET, "/stall", "no answer within 2 s"),
    ] {
        let answered = ask(method, path).await;
        assert!(answered.starts_with(expected), "{path}: {answered}");
    }
}

#[test]
fn origins_of_addresses_are_compared_in_one_form() {
    let check = |url: &str, origin: Option<&str>| assert_eq!(origin_of(url).as_deref(), origin, "{url}");
    check("https://Example.com:443/hook?x=y", Some("https://example.com"));
    check("http://127.0.0.1:9000", Some("http://127.0.0.1:9000"));
    check("http://user@example.com/", None);
    check("/hook", None);
}

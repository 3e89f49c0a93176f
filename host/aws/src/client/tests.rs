//! Addresses, events and errors, as text.

use bytes::Bytes;

use super::sse::{Message, Parser};
use super::{Client, Endpoint};
use crate::auth::AccessKey;

#[test]
fn an_endpoint_is_a_scheme_a_host_and_a_port() {
    let check = |text: &str, expected: &str| match text.parse::<Endpoint>() {
        Ok(endpoint) => assert_eq!(endpoint.to_string(), expected, "{text}"),
        Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
    };
    check("http://127.0.0.1:7720", "http://127.0.0.1:7720");
    check("http://127.0.0.1:7720/", "http://127.0.0.1:7720");
    check("https://pipelines.example", "https://pipelines.example");
    check("http://[::1]:7720", "http://[::1]:7720");
    check("127.0.0.1:7720", "is neither http nor https");
    check("ftp://127.0.0.1", "is neither http nor https");
    check("http://user@127.0.0.1", "has a user in it");
    check("http://127.0.0.1/pipelines", "has a path in it");
    check("", "is not an address");
    check("http://a b", "is not an address");
}

#[test]
fn events_are_read_however_they_are_cut() {
    let text = "\u{feff}:\n\ndata: one\nid: 7\n\n: comment\r\nevent: end\r\ndata: two\r\ndata:  three\r\n\r\nid: 8\n\n\
                data\n\ndata: cut off\n";
    let message = |id: Option<&str>, event: &str, data: &str| Message {
        id: id.map(str::to_owned),
        event: event.to_owned(),
        data: data.to_owned(),
    };
    let expected = [message(Some("7"), "", "one"), message(None, "end", "two\n three"), message(None, "", "")];
    for size in [1, 2, 3, 7, text.len()] {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            parser.take(&Bytes::copy_from_slice(piece));
            while let Some(message) = parser.next() {
                found.push(message);
            }
        }
        assert_eq!(found, expected, "in pieces of {size}");
    }
}

/// The type with its namespace and without, and what is no error of ours.
#[test]
fn an_error_is_read_by_its_type() {
    let client =
        Client::new("http://127.0.0.1:1".parse().unwrap(), AccessKey::generate("ada").unwrap(), "us-east-1".to_owned());
    let check = |status: u16, body: &str, expected: &str| {
        let error = client.error(status, status >= 500, body.as_bytes()).to_string();
        assert!(error.starts_with(expected), "{body}: {error}");
    };
    let refused = "no such pipeline (PipelineNotFoundException)";
    check(400, r#"{"__type": "PipelineNotFoundException", "message": "no such pipeline"}"#, refused);
    let namespaced =
        r#"{"__type": "com.amazonaws.codepipeline#PipelineNotFoundException", "message": "no such pipeline"}"#;
    check(400, namespaced, refused);
    check(400, r#"{"__type": "a.b#ValidationException"}"#, "no message (ValidationException)");
    check(500, r#"{"__type": "a.b#InternalFailure", "message": "oh"}"#, "the server failed: oh (InternalFailure)");
    let none = "http://127.0.0.1:1 did not answer as a server of pipelines does: HTTP status 502";
    check(502, "<html>Bad gateway</html>", none);
}

//! Hostile and friendly requests as data, each sent through the hook that guests use, to servers on the loopback.

mod early;
mod outgoing;
mod outside;
mod server;
mod world;

use std::time::Duration;

use super::*;
use crate::seam::HostCallOutcome;
use server::Server;
use world::{World, check};

/// One request, and what must come of it. `{http}` and `{tls}` are the server's ports; `{token}`, `{basic}` and
/// `{elsewhere}` are stand-ins.
struct Case {
    name: &'static str,
    method: &'static str,
    url: &'static str,
    header: (&'static str, &'static str),
    body: Sent,
    options: RequestOptions,
    limits: fn(&mut HttpLimits),
    /// What the guest gets: status and body, or the error.
    guest: &'static str,
    /// What the journal holds, one entry for each request: the outcome begins so. A denial ends so, too, after `…`.
    journal: &'static [&'static str],
    connections: usize,
}

#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    /// So many frames of 1,000 bytes.
    Frames(usize),
    /// The same, with a pause of 150 ms before each.
    Slowly(usize),
    /// One frame, and then the guest drops the body.
    Unfinished,
}

const OPTIONS: RequestOptions =
    RequestOptions { connect_timeout: None, first_byte_timeout: None, between_bytes_timeout: None };

const CASE: Case = Case {
    name: "",
    method: "GET",
    url: "http://allowed.test:{http}/hello",
    header: ("x-none", ""),
    body: Sent::Nothing,
    options: OPTIONS,
    limits: |_| {},
    guest: "200 hello",
    journal: &["Done, 5 bytes"],
    connections: 1,
};

const ALLOWED: &[Case] = &[
    Case { name: "allowed", ..CASE },
    Case { name: "the same name in another form", url: "http://ALLOWED.test.:{http}/hello", ..CASE },
    Case { name: "allowed over TLS, by a private authority", url: "https://allowed.test:{tls}/hello", ..CASE },
    Case { name: "allowed by its address", url: "http://127.0.0.1:{http}/hello", ..CASE },
    Case { name: "the second address answers", url: "http://two-addresses.test:{http}/hello", ..CASE },
    Case {
        name: "HEAD of something huge",
        method: "HEAD",
        url: "http://allowed.test:{http}/huge",
        guest: "200 ",
        journal: &["Done, 0 bytes"],
        ..CASE
    },
    Case {
        name: "the Host header is the host's own",
        url: "http://ALLOWED.test:{http}/headers",
        header: ("host", "other.test"),
        guest: "200 GET /headers HTTP/1.1|host: allowed.test:{http}",
        journal: &["Done, "],
        ..CASE
    },
    Case {
        name: "a redirect to what is allowed",
        url: "http://allowed.test:{http}/redirect?http://other.test:{http}/hello",
        journal: &["Done, 0 bytes", "Done, 5 bytes"],
        connections: 2,
        ..CASE
    },
    Case {
        name: "a request body within its limit, slower than the first byte may be",
        method: "POST",
        url: "http://allowed.test:{http}/late",
        body: Sent::Slowly(12),
        limits: |limits| limits.first_byte_ms_max = 1_500,
        journal: &["Done, 12005 bytes"],
        ..CASE
    },
];

const DENIED: &[Case] = &[
    Case {
        name: "a name without a grant",
        url: "https://evil.test/steal?data=1",
        guest: "HttpRequestDenied",
        journal: &[
            "Denied acme/x (action Build/It) tried GET https://evil.test/steal?data=1, which it was not granted. \
                    To allow it, grant the action \"Build/It\": http = [\"https://evil.test\"]",
        ],
        connections: 0,
        ..CASE
    },
    Case {
        name: "another port of an allowed host",
        url: "http://allowed.test:1/hello",
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [\"http://allowed.test:1\"]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "another scheme of an allowed host",
        url: "https://allowed.test:{http}/hello",
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [\"https://allowed.test:{http}\"]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "localhost",
        url: "http://localhost:{http}/hello",
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [{ origin = \"http://localhost:{http}\", private = true }]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "loopback in version 6",
        url: "http://[::1]:{http}/hello",
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [{ origin = \"http://[::1]:{http}\", private = true }]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "loopback as one number",
        url: "http://2130706433:{http}/hello",
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [\"http://2130706433:{http}\"]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "an allowed name as user information",
        url: "http://allowed.test:{http}@127.0.0.1:{http}/hello",
        guest: "HttpRequestUriInvalid",
        journal: &["Failed not an http or https URL"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a password in the URL",
        url: "http://me:hunter2@allowed.test:{http}/hello",
        guest: "HttpRequestUriInvalid",
        journal: &["Failed not an http or https URL"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a tunnel",
        method: "CONNECT",
        guest: "HttpRequestMethodInvalid",
        journal: &["Failed tunnels"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a method whose answer repeats the request",
        method: "TRACE",
        guest: "HttpRequestMethodInvalid",
        journal: &["Failed methods that echo"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "an allowed name with a loopback address",
        url: "http://public.test:{http}/hello",
        guest: "DestinationIpProhibited",
        journal: &[
            "Denied acme/x (action Build/It) tried GET http://public.test:{http}/hello at 127.0.0.1, which is not a public \
                    address, which it was not granted. To allow it, grant the action \"Build/It\": \
                    http = [{ origin = \"http://public.test:{http}\", private = true }]",
        ],
        connections: 0,
        ..CASE
    },
    Case {
        name: "an allowed name with a loopback address in version 6's clothes",
        url: "http://mapped.test:{http}/hello",
        guest: "DestinationIpProhibited",
        journal: &["Denied …private = true }]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a redirect to a name without a grant",
        url: "http://allowed.test:{http}/redirect?http://evil.test/",
        guest: "HttpRequestDenied",
        journal: &["Done, 0 bytes", "Denied …http = [\"http://evil.test\"]"],
        ..CASE
    },
    Case {
        name: "a redirect to the metadata service",
        url: "http://allowed.test:{http}/redirect?http://169.254.169.254/latest/meta-data/",
        guest: "HttpRequestDenied",
        journal: &["Done, 0 bytes", "Denied …http = [{ origin = \"http://169.254.169.254\", private = true }]"],
        ..CASE
    },
];

const BROKEN: &[Case] = &[
    Case {
        name: "a certificate for another name",
        url: "https://other.test:{tls}/hello",
        guest: "TlsCertificateError",
        journal: &["Failed TLS: invalid peer certificate: certificate not valid for name \"other.test\""],
        ..CASE
    },
    Case {
        name: "no TLS where it was expected",
        url: "https://plain.test:{http}/hello",
        guest: "TlsProtocolError",
        journal: &["Failed TLS: "],
        limits: |limits| limits.connect_ms_max = 5_000,
        ..CASE
    },
    Case {
        name: "a name that does not exist",
        url: "http://missing.test:{http}/hello",
        guest: "DnsError { rcode: Some(\"no such name\"), info_code: None }",
        journal: &["Failed missing.test cannot be found: no such name"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a name without addresses",
        url: "http://empty.test:{http}/hello",
        guest: "DestinationNotFound",
        journal: &["Failed empty.test has no address"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "nobody listens",
        url: "http://allowed.test:2/hello",
        guest: "ConnectionRefused",
        journal: &["Failed cannot connect: "],
        connections: 0,
        ..CASE
    },
    Case {
        name: "not HTTP at all",
        url: "http://allowed.test:{http}/garbage",
        guest: "HttpProtocolError",
        journal: &["Failed invalid HTTP version parsed"],
        ..CASE
    },
    Case {
        name: "a response cut off",
        url: "http://allowed.test:{http}/cut",
        guest: "HttpResponseIncomplete",
        journal: &["Failed the server closed the connection within the response"],
        ..CASE
    },
    Case {
        name: "a request body that the guest drops",
        method: "POST",
        url: "http://allowed.test:{http}/late",
        body: Sent::Unfinished,
        guest: "HttpProtocolError",
        journal: &["Failed the plugin did not finish the request's body"],
        ..CASE
    },
];

const LIMITED: &[Case] = &[
    Case {
        name: "a name server that does not answer",
        url: "http://slow-name.test:{http}/hello",
        limits: |limits| limits.connect_ms_max = 50,
        guest: "DnsTimeout",
        journal: &["Limit slow-name.test was not found in time"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "no response",
        url: "http://allowed.test:{http}/silent",
        limits: |limits| limits.first_byte_ms_max = 100,
        guest: "HttpResponseTimeout",
        journal: &["Limit no response came within 100 ms (first_byte_ms_max)"],
        ..CASE
    },
    Case {
        name: "the guest's own shorter limit",
        url: "http://allowed.test:{http}/silent",
        options: RequestOptions { first_byte_timeout: Some(Duration::from_millis(100)), ..OPTIONS },
        guest: "HttpResponseTimeout",
        journal: &["Limit no response came within 100 ms (first_byte_ms_max)"],
        ..CASE
    },
    Case {
        name: "the guest's own longer limit does not count",
        url: "http://allowed.test:{http}/silent",
        options: RequestOptions { first_byte_timeout: Some(Duration::from_secs(600)), ..OPTIONS },
        limits: |limits| limits.first_byte_ms_max = 100,
        guest: "HttpResponseTimeout",
        journal: &["Limit no response came within 100 ms (first_byte_ms_max)"],
        ..CASE
    },
    Case {
        name: "a body that stalls",
        url: "http://allowed.test:{http}/stall",
        limits: |limits| limits.between_bytes_ms_max = 100,
        guest: "ConnectionReadTimeout",
        journal: &["Limit no byte of the response's body came for 100 ms (between_bytes_ms_max)"],
        ..CASE
    },
    Case {
        name: "a body that drips",
        url: "http://allowed.test:{http}/drip",
        limits: |limits| limits.total_ms_max = 400,
        guest: "HttpResponseTimeout",
        journal: &["Limit took longer in all than 400 ms (total_ms_max)"],
        ..CASE
    },
    Case {
        name: "a body without end",
        url: "http://allowed.test:{http}/endless",
        limits: |limits| limits.response_body_bytes_max = 100_000,
        guest: "HttpResponseBodySize(Some(100000))",
        journal: &["Limit the response's body is larger than 100000 bytes (response_body_bytes_max)"],
        ..CASE
    },
    Case {
        name: "a body said to be huge",
        url: "http://allowed.test:{http}/huge",
        guest: "HttpResponseBodySize(Some(1073741824))",
        journal: &["Limit the response's body is larger than 1073741824 bytes (response_body_bytes_max)"],
        ..CASE
    },
    Case {
        name: "many headers",
        url: "http://allowed.test:{http}/many-headers",
        guest: "HttpResponseHeaderSectionSize(Some(65536))",
        journal: &["Limit the response has more than 100 headers (response_headers_max) or 65536 bytes of them"],
        ..CASE
    },
    Case {
        name: "a long header",
        url: "http://allowed.test:{http}/long-header",
        guest: "HttpResponseHeaderSectionSize(Some(65536))",
        journal: &["Limit the response has more than 100 headers (response_headers_max) or 65536 bytes of them"],
        ..CASE
    },
    Case {
        name: "a header without end",
        url: "http://allowed.test:{http}/endless-header",
        guest: "HttpResponseHeaderSectionSize(Some(65536))",
        journal: &["Limit the response has more than 100 headers (response_headers_max) or 65536 bytes of them"],
        ..CASE
    },
    Case {
        name: "a request body over its limit",
        method: "POST",
        url: "http://allowed.test:{http}/late",
        body: Sent::Frames(100),
        limits: |limits| limits.request_body_bytes_max = 5_500,
        guest: "HttpRequestBodySize(Some(5500))",
        journal: &["Limit the request's body is larger than 5500 bytes (request_body_bytes_max)"],
        ..CASE
    },
    Case {
        name: "a request body said to be over its limit",
        method: "POST",
        url: "http://allowed.test:{http}/late",
        header: ("content-length", "6000"),
        limits: |limits| limits.request_body_bytes_max = 5_500,
        guest: "HttpRequestBodySize(Some(5500))",
        journal: &["Limit the request's body is larger than 5500 bytes (request_body_bytes_max)"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "request headers over their limit",
        header: ("x-long", "a value that is longer than the limit of this case allows"),
        limits: |limits| limits.request_header_bytes_max = 64,
        guest: "HttpRequestHeaderSectionSize(Some(64))",
        journal: &["Limit the request's headers are larger than 64 bytes (request_header_bytes_max)"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "too many requests",
        url: "http://allowed.test:{http}/redirect?http://allowed.test:{http}/hello",
        limits: |limits| limits.requests_max = 1,
        guest: "ConnectionLimitReached",
        journal: &["Done, 0 bytes", "Limit more than 1 requests in one call (requests_max)"],
        ..CASE
    },
];

const WITH_SECRETS: &[Case] = &[
    Case {
        name: "a secret in a header",
        url: "http://allowed.test:{http}/digest",
        header: ("authorization", "Bearer {token}"),
        guest: "200 b61ac04c350b1088f7f8385d8550bf442134334ab7b034fae00482b73c6da03c",
        journal: &["Done, 64 bytes"],
        ..CASE
    },
    Case {
        name: "a secret over TLS, as basic authentication",
        url: "https://allowed.test:{tls}/digest",
        header: ("authorization", "{basic}"),
        guest: "200 541fc6ebf5175a250917753642d00cbd8bafa7e50400cf77ce822fd2e2fd3619",
        journal: &["Done, 64 bytes"],
        ..CASE
    },
    Case {
        name: "a secret in an answer",
        url: "http://allowed.test:{http}/headers",
        header: ("authorization", "Bearer {token}"),
        guest: "200 GET /headers HTTP/1.1|authorization: Bearer *****************|host: allowed.test:{http}",
        journal: &["Done, "],
        ..CASE
    },
    Case {
        name: "a secret in an answer, as basic authentication",
        url: "https://allowed.test:{tls}/headers",
        header: ("authorization", "{basic}"),
        guest: "200 GET /headers HTTP/1.1|authorization: Basic bWU6**********************Q=|host: allowed.test:{tls}",
        journal: &["Done, "],
        ..CASE
    },
    Case {
        name: "a stand-in in the URL means nothing",
        url: "http://allowed.test:{http}/headers?{token}",
        guest: "200 GET /headers?{token} HTTP/1.1|host: allowed.test:{http}",
        journal: &["Done, "],
        ..CASE
    },
    Case {
        name: "a stand-in of another call means nothing",
        url: "http://allowed.test:{http}/headers",
        header: ("x-token", "pipewright-secret-00000000000000000000000000000000"),
        guest: "200 GET /headers HTTP/1.1|x-token: pipewright-secret-00000000000000000000000000000000|host: allowed.test:{http}",
        journal: &["Done, "],
        ..CASE
    },
    Case {
        name: "a secret to an allowed host that it was not granted for",
        url: "http://other.test:{http}/headers",
        header: ("authorization", "Bearer {token}"),
        guest: "HttpRequestDenied",
        journal: &[
            "Denied acme/x (action Build/It) tried to send the secret \"token\" to http://other.test:{http}, which it was not granted. \
                    To allow it, grant the action \"Build/It\": secrets.token = { …, hosts = [\"http://Allowed.test:{http}\", \"https://allowed.test:{tls}\", \"http://other.test:{http}\"] }",
        ],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a secret to another port of the host that it was granted for",
        url: "http://allowed.test:2/headers",
        header: ("authorization", "Bearer {token}"),
        guest: "HttpRequestDenied",
        journal: &["Denied …\"http://allowed.test:2\"] }"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a secret for a host that is not allowed at all",
        url: "http://elsewhere.test/",
        header: ("authorization", "Bearer {elsewhere}"),
        guest: "HttpRequestDenied",
        journal: &["Denied …http = [\"http://elsewhere.test\"]"],
        connections: 0,
        ..CASE
    },
    Case {
        name: "a redirect takes no secret along to a host without it",
        url: "http://allowed.test:{http}/redirect?http://other.test:{http}/headers",
        header: ("authorization", "Bearer {token}"),
        guest: "HttpRequestDenied",
        journal: &["Done, 0 bytes", "Denied …\"http://other.test:{http}\"] }"],
        ..CASE
    },
    Case {
        name: "a secret that makes the headers too large",
        header: ("authorization", "{elsewhere}"),
        url: "http://large.test:{http}/hello",
        limits: |limits| limits.request_header_bytes_max = 500,
        guest: "HttpRequestHeaderSectionSize(Some(500))",
        journal: &["Limit the request's headers are larger than 500 bytes (request_header_bytes_max)"],
        connections: 0,
        ..CASE
    },
];

#[tokio::test]
async fn requests_that_are_allowed() {
    check(ALLOWED).await;
}

#[tokio::test]
async fn requests_that_are_denied() {
    check(DENIED).await;
}

#[tokio::test]
async fn servers_and_names_that_fail() {
    check(BROKEN).await;
}

#[tokio::test]
async fn limits_hold() {
    check(LIMITED).await;
}

#[tokio::test]
async fn secrets_go_only_where_they_were_granted() {
    check(WITH_SECRETS).await;
}

/// What was checked is what is connected to: a second answer of the name server cannot lead elsewhere.
#[tokio::test]
async fn a_name_is_looked_up_once() {
    let world = World::start().await;
    world.run(&Case { url: "http://rebinding.test:{http}/hello", ..CASE }).await;
    assert_eq!(world.lookups.lock().unwrap()["rebinding.test"], 1);
}

/// Names can carry data out, too.
#[tokio::test]
async fn a_name_without_a_grant_is_not_looked_up() {
    let world = World::start().await;
    world.run(&DENIED[0]).await;
    assert!(world.lookups.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_believed() {
    let mut world = World::start().await;
    let other = Server::start().await;
    world.connector.trust = Arc::new(Trust::new(&[other.authority.path().to_owned()]).unwrap());
    world
        .run(&Case {
            name: "an unknown authority",
            url: "https://allowed.test:{tls}/hello",
            guest: "TlsCertificateError",
            journal: &["Failed TLS: invalid peer certificate: UnknownIssuer; if the authority is your own"],
            ..CASE
        })
        .await;
}

#[tokio::test]
async fn requests_in_flight_wait_for_a_place() {
    let world = World::start().await;
    let url = world.url("http://allowed.test:{http}/stall");
    let mut call = world.call(|limits| limits.requests_in_flight_max = 1, Outside::Live);
    let first = call.get(&url).await.unwrap();
    let second = call.get(&url);
    assert!(tokio::time::timeout(Duration::from_millis(100), second).await.is_err(), "has a place already");
    drop(first);
    call.get(&url).await.unwrap();
    let given_up = HostCallOutcome::Failed("the plugin gave it up before a response came".to_owned());
    // A body that is not read is the plugin's own choice.
    assert_eq!(call.outcomes(), [given_up, HostCallOutcome::Done, HostCallOutcome::Done]);
}

#[test]
fn authorities_are_read_at_the_start() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (file, wanted) in [(empty.path().to_owned(), "holds no certificate"), ("missing.pem".into(), "missing.pem")] {
        let error = Connector::new(&[file]).err().unwrap();
        assert!(format!("{error:#}").contains(wanted), "{error:#}");
    }
}

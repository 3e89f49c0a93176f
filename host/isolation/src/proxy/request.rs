//! Owns how the head of a request is judged: what is not read by all in one way is refused, so that a server behind the proxy finds
//! in what it is given just the one request that was granted. Must not know who sends it.

use super::Origin;

pub(super) struct Request {
    pub origin: Origin,
    /// The head as the server gets it, and the body that follows; none where it is a tunnel.
    pub passed_on: Option<(Vec<u8>, Body)>,
}

/// How the end of a body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
}

/// Headers that are between the program and the proxy alone (RFC 9110, 7.6.1), and the one that says where to.
const HOP_HEADERS: [&str; 9] = [
    "connection",
    "proxy-connection",
    "proxy-authorization",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "host",
];

const USE: &str = "this proxy takes CONNECT host:port, and requests for http://host/…";

impl Request {
    /// What is wrong is said in words.
    pub fn read(head: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(head).ok().and_then(|text| text.strip_suffix("\r\n\r\n")).ok_or(USE)?;
        let mut lines = text.split("\r\n");
        let first = lines.next().filter(|line| !has_controls(line)).ok_or(USE)?;
        let [method, target, version] = first.split(' ').collect::<Vec<_>>().try_into().map_err(|_| USE)?;
        if !["HTTP/1.1", "HTTP/1.0"].contains(&version) || !is_token(method) {
            return Err(USE);
        }
        let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
        if method == "CONNECT" {
            return Ok(Self { origin: Origin::read(target, None).ok_or(USE)?, passed_on: None });
        }
        let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).ok_or(USE)?;
        let rest = &target[scheme.len()..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = Origin::read(authority, Some(80)).ok_or(USE)?;
        match values(&headers, "host")[..] {
            [] => {}
            [host] if Origin::read(host, Some(80)).as_ref() == Some(&origin) => {}
            _ => return Err("the request has another Host than its address, or several"),
        }
        let body = body(&headers, version)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        // One request for each connection: so the next one is judged, too.
        let mut passed_on = format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\nConnection: close\r\n");
        for (name, value) in headers {
            if !HOP_HEADERS.iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
                passed_on.extend([name, ": ", value, "\r\n"]);
            }
        }
        passed_on.push_str("\r\n");
        Ok(Self { origin, passed_on: Some((passed_on.into_bytes(), body)) })
    }
}

fn header(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, value) = line.split_once(':').unwrap_or_default();
    if is_token(name) && !has_controls(value) {
        Ok((name, value.trim_matches([' ', '\t'])))
    } else {
        Err("a header of the request is no `name: value` of RFC 9112")
    }
}

fn body(headers: &[(&str, &str)], version: &str) -> Result<Body, &'static str> {
    match (&values(headers, "content-length")[..], &values(headers, "transfer-encoding")[..]) {
        ([], []) => Ok(Body::Length(0)),
        ([length], []) => decimal(length).map(Body::Length).ok_or("the Content-Length of the request is no number"),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == "HTTP/1.1" => Ok(Body::Chunked),
        _ => Err("give the body of the request one Content-Length, or `Transfer-Encoding: chunked`"),
    }
}

fn values<'a>(headers: &[(&str, &'a str)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Of the line before a chunk; extensions are none that any server needs.
pub(super) fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A line's end by itself among them.
fn has_controls(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
}

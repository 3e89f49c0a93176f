//! A small HTTP service, for an example of a pipeline that builds, tests and publishes one. It has no dependencies, so that
//! the example needs no network.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ADDRESS: &str = "127.0.0.1:8080";
/// Against a client that says nothing.
const READ_SECONDS_MAX: u64 = 5;
/// Against one that says too much.
const LINE_BYTES_MAX: u64 = 8 * 1024;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--version") => writeln!(io::stdout(), "{VERSION}"),
        address => serve(&TcpListener::bind(address.unwrap_or(ADDRESS))?),
    }
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    writeln!(io::stdout(), "listens on http://{}", listener.local_addr()?)?;
    for client in listener.incoming() {
        // One that goes away is no reason to stop.
        let _ = client.and_then(|client| answer(&client));
    }
    Ok(())
}

fn answer(mut client: &TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(READ_SECONDS_MAX)))?;
    let mut line = String::new();
    BufReader::new(io::Read::take(client, LINE_BYTES_MAX)).read_line(&mut line)?;
    client.write_all(response(&line).as_bytes())
}

/// What the first line of a request gets.
fn response(request: &str) -> String {
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/")) => ("200 OK", format!("rust-service {VERSION}\n")),
        (Some("GET"), Some("/health")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET"), Some(_)) => ("404 Not Found", "there is / and /health\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let check = |request: &str, status: &str, body: &str| {
            let response = response(request);
            assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{response}");
            assert!(response.ends_with(&format!("\r\n\r\n{body}\n")), "{response}");
        };
        check("GET / HTTP/1.1\r\n", "200 OK", &format!("rust-service {VERSION}"));
        check("GET /health HTTP/1.1\r\n", "200 OK", "ok");
        check("GET /other HTTP/1.1\r\n", "404 Not Found", "there is / and /health");
        check("POST / HTTP/1.1\r\n", "405 Method Not Allowed", "only GET");
        check("", "405 Method Not Allowed", "only GET");
    }
}

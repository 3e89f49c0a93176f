//! A small HTTP service, for an example of a pipeline that fetches what it needs, builds, tests and publishes it.

use std::io::{self, Write as _};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ADDRESS: &str = "127.0.0.1:8080";

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--version") => writeln!(io::stdout(), "{VERSION}"),
        address => serve(TcpListener::bind(address.unwrap_or(ADDRESS)).await?).await,
    }
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    writeln!(io::stdout(), "listens on http://{}", listener.local_addr()?)?;
    let until = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router()).with_graceful_shutdown(until).await
}

fn router() -> Router {
    let name = || async { concat!("rust-service ", env!("CARGO_PKG_VERSION"), "\n") };
    Router::new().route("/", get(name)).route("/health", get(|| async { "ok\n" }))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn check(method: Method, path: &str, status: u16, body: &str) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(to_bytes(response.into_body(), 1 << 10).await.unwrap(), body);
    }

    #[tokio::test]
    async fn says_its_version() {
        check(Method::GET, "/", 200, &format!("rust-service {VERSION}\n")).await;
    }

    #[tokio::test]
    async fn says_that_it_is_well() {
        check(Method::GET, "/health", 200, "ok\n").await;
    }

    #[tokio::test]
    async fn refuses_what_there_is_not() {
        check(Method::GET, "/other", 404, "").await;
        check(Method::POST, "/", 405, "").await;
    }
}

//! As much of a git server as a look for the latest revision needs: every repository has a branch `main`, and nothing can be
//! fetched (gitprotocol-v2(5)).

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const COMMIT: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";

/// Serves until the runtime ends.
pub(crate) async fn serve() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_discovery = request.method() == Method::GET;
    // A client that breaks off gets any answer.
    let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let lists = asked.windows(b"command=ls-refs".len()).any(|part| part == b"command=ls-refs");
    let (kind, text) = match (is_discovery, lists) {
        (true, _) => {
            ("advertisement", packets(&["version 2\n", "ls-refs\n", "fetch=shallow\n", "object-format=sha1\n"]))
        }
        (false, true) => ("result", packets(&[&format!("{COMMIT} refs/heads/main\n")])),
        (false, false) => ("result", packets(&["ERR there is nothing to fetch\n"])),
    };
    let response = Response::builder().header("content-type", format!("application/x-git-upload-pack-{kind}"));
    Ok(response.body(Full::from(text)).expect("a response as it should be"))
}

/// Packet lines, and the flush behind them.
fn packets(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| format!("{:04x}{line}", line.len() + 4));
    lines.chain(["0000".to_owned()]).collect()
}

//! A server on the loopback that misbehaves as its paths say. Written by hand: no well-kept server can be made to.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(super) struct Server {
    pub(super) http_port: u16,
    pub(super) tls_port: u16,
    /// Certified the TLS port for `allowed.test`.
    pub(super) authority: tempfile::NamedTempFile,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Every server's authority has a name of its own.
        params.distinguished_name.push(DnType::CommonName, file.path().display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["allowed.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap().der().clone();
        file.write_all(authority.pem().as_bytes()).unwrap();

        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        Self {
            http_port: listen(None, Arc::clone(&connections)).await,
            tls_port: listen(Some(TlsAcceptor::from(Arc::new(config))), Arc::clone(&connections)).await,
            authority: file,
            connections,
        }
    }
}

async fn listen(tls: Option<TlsAcceptor>, connections: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let tls = tls.clone();
            tokio::spawn(async move {
                // The client hanging up is what most of the cases are about.
                let _ = match tls {
                    None => answer(stream).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => answer(stream).await,
                        Err(error) => Err(error),
                    },
                };
            });
        }
    });
    port
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let url = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let answer = match path {
        "/hello" => response("", "hello"),
        "/headers" => response(&format!("X-Heard: {}\r\n", lines[1]), &lines.join("|")),
        // What was heard, without saying it.
        "/digest" => response("", &pipewright_base::Digest::of(lines[1].as_bytes()).to_string()),
        "/gzip" => {
            let body = super::outside::gzip(&lines.join("|"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            String::new()
        }
        "/redirect" => format!("HTTP/1.1 302 Found\r\nLocation: {query}\r\nContent-Length: 0\r\n\r\n"),
        "/hop-by-hop" => response("Keep-Alive: timeout=5\r\nX-Kept: yes\r\n", "hello"),
        "/late" => {
            read_chunks(&mut stream).await?;
            response("", "hello")
        }
        "/too-large" => {
            // Without having read the body: closing resets the connection.
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge").await?;
            return Ok(());
        }
        "/silent" => String::new(),
        "/stall" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
        "/huge" => "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_owned(),
        "/many-headers" => response(&"X-Many: 1\r\n".repeat(5_000), "hello"),
        "/long-header" => response(&format!("X-Long: {}\r\n", "x".repeat(1 << 20)), "hello"),
        "/cut" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await?;
            return stream.shutdown().await;
        }
        "/garbage" => "SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_owned(),
        "/drip" => return chunks(&mut stream, "x", Some(Duration::from_millis(20))).await,
        "/endless" => return chunks(&mut stream, &"x".repeat(4_096), None).await,
        "/endless-header" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Endless: ").await?;
            loop {
                stream.write_all(&[b'x'; 4_096]).await?;
            }
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    // Holds the connection until the client closes it.
    while stream.read(&mut [0; 4_096]).await? > 0 {}
    Ok(())
}

fn response(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn chunks(stream: &mut (impl AsyncWrite + Unpin), chunk: &str, pause: Option<Duration>) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    loop {
        stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await?;
        stream.flush().await?;
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Reads a chunked body to its end.
async fn read_chunks(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<()> {
    let mut line = String::new();
    while line != "0\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            break;
        }
    }
    Ok(())
}

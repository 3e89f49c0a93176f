//! TLS at the listener: a certificate and its key from two PEM files, read again when one of them has changed.
//!
//! A certificate is renewed every few weeks by somebody else's program; the server must not be started anew for it. A pair that
//! cannot be used is told, and the one before it goes on. Must not know what is said over a connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A longer chain, or a larger file, is somebody's mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Loaded>,
}

struct Loaded {
    /// When the files were written that were looked at last, whether or not they could be used.
    written: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl Tls {
    /// # Errors
    /// A file cannot be read, holds nothing of its kind, or the key is not the certificate's.
    pub fn open(certificate: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let written = [&certificate, &key].map(|path| written(path));
        let acceptor = load(&certificate, &key)?;
        Ok(Self { certificate, key, current: Mutex::new(Loaded { written, acceptor }) })
    }

    /// Of the files as they are now. Blocks for a look at them.
    pub fn acceptor(&self) -> TlsAcceptor {
        let written = [&self.certificate, &self.key].map(|path| written(path));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.written != written {
            current.written = written;
            match load(&self.certificate, &self.key) {
                Ok(acceptor) => {
                    current.acceptor = acceptor;
                    tracing::info!("{}: the certificate was read again", self.certificate.display());
                }
                Err(error) => tracing::error!("the certificate before it goes on: {error:#}"),
            }
        }
        current.acceptor.clone()
    }
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let of = |path: &Path, what: &str| format!("{}: not {what} in PEM form", path.display());
    let chain = read(certificate).and_then(|pem| {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
        anyhow::ensure!(!chain.is_empty(), "it holds no certificate");
        Ok(chain)
    });
    let chain = chain.with_context(|| of(certificate, "a certificate"))?;
    let private = read(key).and_then(|pem| Ok(PrivateKeyDer::from_pem_slice(&pem)?));
    let private = private.with_context(|| of(key, "a private key"))?;
    // By name, so that it does not matter which other provider is linked.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("{} is not the key of {}", key.display(), certificate.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(std::fs::metadata(path)?.len() <= FILE_BYTES_MAX, "it is larger than {FILE_BYTES_MAX} bytes");
    Ok(std::fs::read(path)?)
}

//! Which certificate authorities are believed: the host's own, and the PEM files of the host's configuration.
//!
//! One TLS configuration per process, made when it is first needed: reading the host's authorities takes milliseconds.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

pub(super) struct Trust {
    extra: RootCertStore,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the extra authorities at once, so that a wrong file is found at the start and not by some plugin.
    pub(super) fn new(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut extra = RootCertStore::empty();
        for file in files {
            let place = || format!("{}: not a file of certificate authorities in PEM form", file.display());
            let before = extra.len();
            for certificate in CertificateDer::pem_file_iter(file).with_context(place)? {
                extra.add(certificate.with_context(place)?).with_context(place)?;
            }
            anyhow::ensure!(extra.len() > before, "{}: holds no certificate", file.display());
        }
        Ok(Self { extra, config: OnceCell::new() })
    }

    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.config.get_or_try_init(|| async {
            let mut roots = self.extra.clone();
            let own = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            roots.add_parsable_certificates(own.map_err(|error| error.to_string())?.certs);
            if roots.is_empty() {
                return Err("this host has no certificate authorities: install its ca-certificates".to_owned());
            }
            // By name, so that it does not matter which other provider is linked.
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        });
        config.await.cloned()
    }
}

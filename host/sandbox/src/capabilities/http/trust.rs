//! Which certificate authorities are believed: the host's own, and the PEM files of the host's configuration.
//!
//! One TLS configuration per process, made when it is first needed: reading the host's authorities takes milliseconds.

use std::path::PathBuf;
use std::sync::Arc;

use pipewright_base::trust;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

pub(super) struct Trust {
    extra: RootCertStore,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the extra authorities at once, so that a wrong file is found at the start and not by some plugin.
    pub(super) fn new(files: &[PathBuf]) -> anyhow::Result<Self> {
        Ok(Self { extra: trust::authorities(files)?, config: OnceCell::new() })
    }

    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.config.get_or_try_init(|| async {
            let extra = self.extra.clone();
            let made = tokio::task::spawn_blocking(move || trust::client(extra)).await;
            let mut config = made.map_err(|error| error.to_string())?.map_err(|error| format!("{error:#}"))?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        });
        config.await.cloned()
    }
}

//! Which certificate authorities a connection over TLS believes: the machine's own, and PEM files that a configuration names.
//!
//! Must not know who connects, or whereto.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::Mistake;

/// The authorities of some PEM files. A file that holds none is an error that names it.
pub fn authorities(files: &[PathBuf]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in files {
        add(&mut roots, file).map_err(|error| {
            let file = file.display();
            Mistake::of(format_args!("{file}: not a file of certificate authorities in PEM form: {error:#}"))
        })?;
    }
    Ok(roots)
}

fn add(roots: &mut RootCertStore, file: &Path) -> anyhow::Result<()> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(roots.len() > before, "it holds no certificate");
    Ok(())
}

/// Believes those and the machine's own, which takes milliseconds to read: blocks.
pub fn client(mut authorities: RootCertStore) -> anyhow::Result<ClientConfig> {
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    anyhow::ensure!(
        !authorities.is_empty(),
        "this machine has no certificate authorities: install its ca-certificates"
    );
    // By name, so that it does not matter which other provider is linked.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(authorities).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_named() {
        let check = |text: Option<&str>, problem: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ca.pem");
            text.into_iter().for_each(|text| std::fs::write(&path, text).unwrap());
            let error = format!("{:#}", authorities(std::slice::from_ref(&path)).unwrap_err());
            assert!(error.starts_with(&path.display().to_string()) && error.contains(problem), "{error}");
        };
        check(None, "No such file");
        check(Some(""), "it holds no certificate");
        check(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "ca.pem: not a file of");
        assert!(authorities(&[]).unwrap().is_empty());
    }
}

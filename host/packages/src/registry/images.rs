//! What is asked of a registry for images alone: their manifests in both families of media types, and layers that are too large
//! for memory. Must not know what becomes of a layer.

use http::Method;
use pipewright_base::{Digest, Hasher};
use reqwest::Request;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::{Access, Registry};
use crate::images::{DOCUMENT_BYTES_MAX, Layer, MANIFEST_KINDS};
use crate::{PackageError, oci};

impl Registry {
    /// The manifest or index of an image, by tag or digest; none if there is none.
    pub(crate) async fn image(&self, selector: &str) -> Result<Option<Vec<u8>>, PackageError> {
        self.manifest_of(selector, Access::Read, &MANIFEST_KINDS, DOCUMENT_BYTES_MAX).await
    }

    /// Whether whoever asks may have a layer.
    pub(crate) async fn has_layer(&self, layer: &Layer) -> Result<bool, PackageError> {
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{}", oci::text(&layer.digest)))?);
        let asked = self.within(self.limits.document, "a layer", self.send(&request, Access::Read));
        Ok(asked.await?.status().is_success())
    }

    /// Writes a layer into a file while it comes; `came` hears how much has. The digest is checked at the end.
    pub(crate) async fn fetch_layer(
        &self,
        layer: &Layer,
        to: &mut File,
        came: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), PackageError> {
        let what = format!("the layer {}@{}", self.repository, oci::text(&layer.digest));
        let request = Request::new(Method::GET, self.url(&format!("blobs/{}", oci::text(&layer.digest)))?);
        let found = self.within(self.limits.layer, &what, async {
            let answer = self.send(&request, Access::Read).await?;
            let mut answer = self.succeeded(answer, &what).await?;
            let (mut hasher, mut bytes) = (Hasher::default(), 0);
            while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
                bytes += chunk.len() as u64;
                if bytes > layer.size {
                    return Err(PackageError::Longer { what: what.clone(), bytes: layer.size });
                }
                hasher.update(&chunk);
                to.write_all(&chunk).await?;
                came(bytes);
            }
            to.flush().await?;
            Ok::<Digest, PackageError>(hasher.finish())
        });
        let found = found.await?;
        if found != layer.digest {
            return Err(PackageError::Digest { what, expected: layer.digest, found });
        }
        Ok(())
    }
}

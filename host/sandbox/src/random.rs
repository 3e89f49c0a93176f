//! The randomness capability.
//!
//! Without the grant, what looks random derives from the idempotency key: every attempt at one action execution sees the
//! same, so that what it makes can be compared.

use std::convert::Infallible;
use std::sync::Arc;

use rand_core::TryRng;
use sha2::{Digest, Sha256};
use wasmtime_wasi::WasiCtxBuilder;

use crate::grants::Grants;
use crate::outside::{Outside, Step};
use crate::seam::{HostCallOutcome, Seam};
use pipewright_base::hex;

/// Stops a guest that has the host make gigabytes of randomness in one host call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn configure(wasi: &mut WasiCtxBuilder, grants: &Grants, idempotency_key: &str, seam: &Arc<Seam>) {
    let key = |purpose: &str| -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update([0]).chain_update(idempotency_key).finalize().into()
    };
    let derived = |purpose: &str| Source::Derived { key: key(purpose), blocks: 0 };
    let source = |purpose: &str| if grants.randomness { Source::Kernel(Arc::clone(seam)) } else { derived(purpose) };
    // The seed is made at every call whether wanted or not, and promises nothing: no randomness is spent on it.
    let mut seed = [0; 16];
    let Ok(()) = derived("seed").try_fill_bytes(&mut seed);
    wasi.max_random_size(RANDOM_BYTES_MAX)
        .secure_random(source("secure"))
        .insecure_random(source("insecure"))
        .insecure_random_seed(u128::from_le_bytes(seed));
}

enum Source {
    Kernel(Arc<Seam>),
    Derived { key: [u8; 32], blocks: u64 },
}

impl TryRng for Source {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match self {
            Self::Kernel(seam) => {
                let timer = seam.begin("randomness", "bytes");
                match seam.outside() {
                    // Where it differs, the call ends at once, whatever these are.
                    Outside::Replayed(replay) => {
                        bytes.copy_from_slice(&replay.randomness(bytes.len()).unwrap_or_else(|| vec![0; bytes.len()]));
                    }
                    outside => {
                        getrandom::fill(bytes).expect("the kernel has randomness");
                        if let Outside::Recorded(recorder) = outside {
                            recorder.step(2 * bytes.len(), || Step::Randomness { bytes: hex::encode(&*bytes) });
                        }
                    }
                }
                timer.end("", HostCallOutcome::Done, bytes.len() as u64);
            }
            Self::Derived { key, blocks } => {
                for chunk in bytes.chunks_mut(32) {
                    let block = Sha256::new().chain_update(*key).chain_update(blocks.to_le_bytes()).finalize();
                    chunk.copy_from_slice(&block[..chunk.len()]);
                    *blocks += 1;
                }
            }
        }
        Ok(())
    }
}

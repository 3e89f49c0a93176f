//! Randomness.
//!
//! Without the grant, what looks random derives from the idempotency key: every attempt at one action execution sees the
//! same, so that what it makes can be compared.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pipewright_base::hex;
use rand_core::TryRng;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::{Capability, Exchange, Row, Setup};
use crate::abi;
use crate::grants::{CaseFolder, Place, Use};
use crate::outside::Exchanged;
use crate::rights::{Asked, Asks};
use crate::seam::{HostCallOutcome, Seam};

const RANDOMNESS: &str = "randomness";

/// Stops a guest that has the host make gigabytes of randomness in one host call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The kernel's.
pub struct Randomness;

impl Capability for Randomness {
    const ROW: Row = Row {
        name: RANDOMNESS,
        asks: &[RANDOMNESS],
        grant: Some("randomness = true"),
        without: "what looks random derives from the idempotency key",
        can_be_made_up: true,
    };
    type Written = bool;
    type Grant = bool;
    type Kept = Exchanged<Draw, Drawn>;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        matches!(ask, abi::Capability::Randomness).then(|| Asked::of_all(RANDOMNESS, "randomness"))
    }

    fn narrow(granted: &mut bool, asks: &Asks) {
        *granted &= asks.any(RANDOMNESS);
    }

    fn resolve(written: &bool, _: Place<'_>) -> Result<bool, String> {
        Ok(*written)
    }

    fn in_words(written: &bool, _: &Path) -> Vec<String> {
        written.then(|| "use randomness".to_owned()).into_iter().collect()
    }

    fn least(written: &mut bool, uses: &BTreeSet<Use>) {
        *written &= uses.iter().any(|used| used.capability == RANDOMNESS);
    }

    fn in_case(granted: &bool, _: &CaseFolder<'_>) -> bool {
        *granted
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        let (seam, idempotency_key) = (setup.seam, setup.idempotency_key);
        let key = |purpose: &str| -> [u8; 32] {
            Sha256::new().chain_update(purpose).chain_update([0]).chain_update(idempotency_key).finalize().into()
        };
        let derived = |purpose: &str| Source::Derived { key: key(purpose), blocks: 0 };
        let is_granted = setup.grants.randomness;
        let source = |purpose: &str| if is_granted { Source::Drawn(Arc::clone(seam)) } else { derived(purpose) };
        // The seed is made at every call whether wanted or not, and promises nothing: no randomness is spent on it.
        let mut seed = [0; 16];
        let Ok(()) = derived("seed").try_fill_bytes(&mut seed);
        setup
            .wasi
            .max_random_size(RANDOM_BYTES_MAX)
            .secure_random(source("secure"))
            .insecure_random(source("insecure"))
            .insecure_random_seed(u128::from_le_bytes(seed));
        Self
    }
}

impl Exchange for Randomness {
    type Request = Draw;
    type Response = Drawn;
    const IS_SURE: bool = true;

    fn operation(_: &Draw) -> &'static str {
        "bytes"
    }

    fn journaled(draw: &Draw, _: Option<&Drawn>) -> (String, u64) {
        (String::new(), draw.count as u64)
    }

    fn exchange(&self, draw: &Draw) -> Result<Drawn, HostCallOutcome> {
        let mut bytes = vec![0; draw.count];
        getrandom::fill(&mut bytes).expect("the kernel has randomness");
        Ok(Drawn { bytes: hex::encode(bytes) })
    }
}

/// How many bytes. As many as were drawn, so that it is not written twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    #[serde(rename = "bytes", skip_serializing, deserialize_with = "half")]
    count: usize,
}

/// Two digits are a byte.
fn half<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    Ok(String::deserialize(deserializer)?.len() / 2)
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of randomness", self.count)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drawn {
    /// In hexadecimal.
    bytes: String,
}

enum Source {
    Drawn(Arc<Seam>),
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
            Self::Drawn(seam) => {
                let drawn = seam.exchange(&Randomness, Draw { count: bytes.len() }).ok();
                let drawn =
                    drawn.and_then(|drawn| hex::decode(&drawn.bytes)).filter(|drawn| drawn.len() == bytes.len());
                // Where a replay differs, the call ends at once, whatever these are.
                bytes.copy_from_slice(&drawn.unwrap_or_else(|| vec![0; bytes.len()]));
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

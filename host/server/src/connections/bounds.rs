//! How much may be open at once: every bound follows from how many files this process may have open.
//!
//! Owns the numbers. Must not know what is counted against them.
//!
//! Of the open files a quarter is for connections, a quarter for what their requests read, and a quarter for guests
//! (`pipewright_sandbox::GUESTS_OPEN_PART`); the rest is the store's and the artifacts'. So `accept` does not run out of them,
//! whatever clients do. Of the connections a quarter is for strangers, and the rest is shared out among the accounts.

/// However many files may be open: each connection costs memory for its buffers too.
const CONNECTIONS_MAX: usize = 4096;
/// No address has more than one part in this of the strangers' connections: a flood from one place leaves room for others.
const ADDRESSES_MIN: usize = 4;
/// One account's connections, where there are few accounts. Stops a client that leaks connections.
const CONNECTIONS_PER_ACCOUNT_MAX: usize = 512;
/// And where there are a great many.
const CONNECTIONS_PER_ACCOUNT_MIN: usize = 4;
/// What the answers that an account has open may hold in memory: the manifests and directories of archives, and recordings.
/// Stops a client that asks for the largest archives again and again and does not read them to their end.
const ANSWERS_BYTES_PER_ACCOUNT_MAX: usize = 512 * 1024 * 1024;
/// What takes much memory while it is made, such as the reading of a manifest: one account's further ones wait.
const MADE_AT_ONCE_PER_ACCOUNT_MAX: usize = 2;

/// How much may be open at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub strangers_max: usize,
    pub strangers_per_address_max: usize,
    /// Connections of all accounts together.
    pub known_max: usize,
    pub connections_per_account_max: usize,
    /// Requests of one account that are being answered, besides streams.
    pub requests_per_account_max: usize,
    /// Events that are followed, and downloads.
    pub streams_per_account_max: usize,
    pub answers_bytes_per_account_max: usize,
    pub made_at_once_per_account_max: usize,
}

impl Bounds {
    pub fn new(open_files: usize, accounts: usize) -> Self {
        let connections = (open_files / 4).clamp(16, CONNECTIONS_MAX);
        let strangers_max = connections / 4;
        let known_max = connections - strangers_max;
        let connections_per_account_max =
            (known_max / accounts.max(1)).clamp(CONNECTIONS_PER_ACCOUNT_MIN, CONNECTIONS_PER_ACCOUNT_MAX);
        Self {
            strangers_max,
            strangers_per_address_max: (strangers_max / ADDRESSES_MIN).max(1),
            known_max,
            connections_per_account_max,
            // Together as many as the connections: what is idle can always make room for what is asked.
            requests_per_account_max: connections_per_account_max / 2,
            streams_per_account_max: connections_per_account_max / 2,
            answers_bytes_per_account_max: ANSWERS_BYTES_PER_ACCOUNT_MAX,
            made_at_once_per_account_max: MADE_AT_ONCE_PER_ACCOUNT_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_has_a_share_and_strangers_have_theirs() {
        for open_files in [0, 64, 256, 1024, 4096, 20_000, usize::MAX] {
            for accounts in [0, 1, 2, 10, 1000] {
                let bounds = Bounds::new(open_files, accounts);
                let about = format!("{open_files} files, {accounts} accounts: {bounds:?}");
                assert!(bounds.strangers_per_address_max >= 1, "{about}");
                assert!(bounds.strangers_max >= ADDRESSES_MIN * bounds.strangers_per_address_max, "{about}");
                assert!(bounds.strangers_max + bounds.known_max <= (open_files / 4).max(16), "{about}");
                assert!(bounds.requests_per_account_max >= 2 && bounds.streams_per_account_max >= 2, "{about}");
                let shares = bounds.connections_per_account_max * accounts;
                let least = bounds.connections_per_account_max == CONNECTIONS_PER_ACCOUNT_MIN;
                assert!(shares <= bounds.known_max || least, "{about}");
            }
        }
        let usual = Bounds::new(20_000, 1);
        assert_eq!((usual.strangers_max, usual.strangers_per_address_max), (1024, 256));
        assert_eq!((usual.requests_per_account_max, usual.streams_per_account_max), (256, 256));
    }
}

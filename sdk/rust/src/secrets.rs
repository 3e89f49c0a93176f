//! Secrets by name. A plugin holds a stand-in, and the host puts the value in its place in header values of requests to
//! the hosts that the secret was granted for.

use crate::Result;
use crate::host::secrets as host;

/// A text to put into a header value as it is, e.g. after `Bearer `; it means nothing anywhere else.
///
/// # Errors
/// Permission, where no grant allows it.
pub fn stand_in(name: &str) -> Result<String> {
    Ok(host::stand_in(name)?)
}

/// The whole value of an `Authorization` header for basic authentication, with the secret as password.
///
/// # Errors
/// Permission, where no grant allows it.
pub fn basic(user: &str, name: &str) -> Result<String> {
    Ok(host::basic(user, name)?)
}

/// The value itself: a capability of its own.
///
/// # Errors
/// Permission, where no grant allows it.
pub fn reveal(name: &str) -> Result<String> {
    Ok(host::reveal(name)?)
}

//! Page tokens: where the next page of a list starts, sealed so that a token that was made up, or that another list gave,
//! is refused.
//!
//! Owns the token's form. Must not know what is listed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::ServiceError;

const SEAL_BYTES: usize = 16;

fn invalid_token() -> ServiceError {
    let message = "The next token is not one that a previous call of this operation returned";
    ServiceError::refused("InvalidNextTokenException", message)
}

/// Seals with a key of the host's own.
pub struct Pages(pub [u8; 32]);

impl Pages {
    /// `scope` says which list it is: its operation, pipeline and filter.
    pub fn token(&self, scope: &str, after: &[u8]) -> String {
        let mut token = self.mac(scope, after).finalize().into_bytes()[..SEAL_BYTES].to_vec();
        token.extend_from_slice(after);
        BASE64_URL_SAFE_NO_PAD.encode(token)
    }

    /// After which row the page starts; `None` for the first page.
    pub fn after(&self, scope: &str, token: Option<&str>) -> Result<Option<Vec<u8>>, ServiceError> {
        let Some(token) = token else { return Ok(None) };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid_token())?;
        let (seal, after) = bytes.split_at_checked(SEAL_BYTES).ok_or_else(invalid_token)?;
        self.mac(scope, after).verify_truncated_left(seal).map_err(|_| invalid_token())?;
        Ok(Some(after.to_vec()))
    }

    fn mac(&self, scope: &str, after: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&(scope.len() as u64).to_be_bytes());
        mac.update(scope.as_bytes());
        mac.update(after);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_list_alone() {
        let pages = Pages([7; 32]);
        let token = pages.token("ListPipelines", b"site");
        let check = |pages: &Pages, scope: &str, token: &str, expected: Result<Option<&[u8]>, ServiceError>| {
            let after = pages.after(scope, Some(token));
            assert_eq!(after.as_ref().map(|after| after.as_deref()).map_err(Clone::clone), expected, "{token}");
        };
        let invalid = || Err(invalid_token());
        check(&pages, "ListPipelines", &token, Ok(Some(b"site")));
        check(&pages, "ListActionTypes", &token, invalid());
        check(&Pages([8; 32]), "ListPipelines", &token, invalid());
        for altered in
            ["", "A", "AAAA", &token[1..], &format!("{token}AAAA"), "not base64!", &token.replacen('A', "B", 1)]
        {
            if altered != token {
                check(&pages, "ListPipelines", altered, invalid());
            }
        }
        assert!(matches!(pages.after("ListPipelines", None), Ok(None)));
    }
}

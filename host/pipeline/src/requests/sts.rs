//! The input of STS's one operation here.

use super::{Deserialize, Request, Row, Serialize, Shape, Structure, requests};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCallerIdentityInput {}

requests! { REQUESTS:
    "GetCallerIdentity" GetCallerIdentityInput [];
}

//! GetCallerIdentity: who asks, as STS tells it.

use pipewright_base::hex;
use pipewright_pipeline::requests::sts::GetCallerIdentityInput;
use pipewright_pipeline::responses::GetCallerIdentityOutput;
use sha2::{Digest as _, Sha256};

use super::{Context, Service, ServiceError};

/// How the ids of IAM's users begin, and as many bytes make the other 16 characters.
const USER: &str = "AIDA";
const USER_BYTES: usize = 8;

pub async fn get(
    _: &Service,
    context: &Context,
    _: GetCallerIdentityInput,
) -> Result<GetCallerIdentityOutput, ServiceError> {
    let arn = context.principal();
    // Users have no ids here beside their ARNs, so one is made of that.
    let digest = hex::encode(&Sha256::digest(&arn)[..USER_BYTES]).to_uppercase();
    Ok(GetCallerIdentityOutput { user_id: format!("{USER}{digest}"), account: context.account_id(), arn })
}

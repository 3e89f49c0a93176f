//! The way in: from the bytes of a request to a [`Call`].
//!
//! Owns who asks, and what is read of a request before that is known. Must not know what is asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Api;
use super::error::ApiError;
use super::operations::Dialect;
use super::permission::{Permission, Resource};
use super::shares::{Answer, Taken};
use crate::connections::Peer;
use crate::service::{Context, Service};
use pipewright_aws::auth::{AuthError, Scope, claimed_key, verify};
use pipewright_base::{Cause, Principal, Source, clock};

/// A larger body is refused before it is read; the largest declaration has less.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A body that takes longer is given up: a client that sends a byte a minute must not hold a connection.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// And one that nobody will look at.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// One authenticated request. Only [`Api::enter`] makes one, so a function that takes a `Call` is not reached without a signature.
#[derive(Clone)]
pub struct Call {
    api: Arc<Api>,
    context: Context,
}

impl Call {
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.api.service
    }

    /// On whose behalf it is, and why.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn may(&self, permission: &Permission) -> Result<(), ApiError> {
        if permission.resource != Resource::Host || self.context.account == self.service().operator {
            return Ok(());
        }
        let by = &self.context.cause.principal;
        Err(ApiError::denied(format!("{by} may not do this: it is for the account of those who run the host")))
    }
}

/// As the entrance left it with the request.
impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.remove::<Self>().ok_or_else(|| AuthError::Missing.into())
    }
}

impl Api {
    /// The body of a request whose key is known: a stranger's is not kept in memory.
    pub(super) async fn body(&self, parts: &Parts, body: Body) -> Result<Bytes, ApiError> {
        if let Err(error) = self.recognize(parts) {
            discard(body).await;
            return Err(error.into());
        }
        read(body).await
    }

    /// Lets a request in: its signature is right, it may do what it asks for, and its account has room for one more answer. The
    /// last is to be held until the answer is written. `asked` is the service that the request is signed for, and the request's
    /// id and way.
    pub(super) fn enter(
        self: &Arc<Self>,
        parts: &Parts,
        body: &[u8],
        permission: &Permission,
        asked: (&Dialect, String, Source),
        answer: Answer,
    ) -> Result<(Call, Taken), ApiError> {
        let call = self.authenticate(parts, body, asked)?;
        if let Some(peer) = parts.extensions.get::<Arc<Peer>>() {
            peer.recognize(call.context.account)?;
        }
        call.may(permission)?;
        let taken = self.shares.answer(call.context.account, answer)?;
        Ok((call, taken))
    }

    /// Whether the key that a request names is one of this host's.
    fn recognize(&self, parts: &Parts) -> Result<(), AuthError> {
        let claimed = claimed_key(parts)?;
        self.keys.iter().any(|(_, key)| key.id == claimed).then_some(()).ok_or(AuthError::Unrecognized)
    }

    /// Who asks, if the signature is right.
    fn authenticate(
        self: &Arc<Self>,
        parts: &Parts,
        body: &[u8],
        (of, request, source): (&Dialect, String, Source),
    ) -> Result<Call, ApiError> {
        let scope = Scope { region: self.service.region().to_owned(), service: of.name };
        let key = |id: &str| self.keys.iter().find(|(_, key)| key.id == id);
        let verified = verify(parts, body, &scope, clock::now_ms(), |id| key(id).map(|(_, key)| key.clone()))?;
        let (account, _) = key(&verified.access_key).ok_or(AuthError::Unrecognized)?;
        let cause = Cause { principal: Principal::user(*account, &verified.user), request, source };
        let signature = Some(verified.signature);
        Ok(Call { api: Arc::clone(self), context: Context { account: *account, cause, signature } })
    }
}

pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match read {
        Err(_) => Err(ApiError::timeout()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large(BODY_BYTES_MAX))
        }
        Ok(Err(error)) => Err(ApiError::serialization(format!("The request's body cannot be read: {error}"))),
    }
}

/// Takes a body and keeps nothing of it: a client that is still sending would not read the answer.
pub(super) async fn discard(body: Body) {
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let ended = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, ended).await;
}

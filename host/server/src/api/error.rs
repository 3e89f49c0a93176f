//! Errors as AWS clients understand them: a code, a message for a person, and the HTTP status that says whether to retry.
//!
//! Owns the codes and the statuses. Must not know how an error is written (`wire`).

use axum::http::StatusCode;
use pipewright_aws::auth::AuthError;
use pipewright_pipeline::validate::Problems;

use crate::service::ServiceError;

#[derive(Clone, Debug)]
pub struct ApiError {
    /// One of CodePipeline's exceptions, or one that all of AWS has.
    pub code: &'static str,
    pub message: String,
    pub status: StatusCode,
    /// All that is wrong, where that is more than the message says.
    pub problems: Vec<String>,
}

impl ApiError {
    /// A mistake of the caller: never a 5xx, for clients retry those (S122).
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: StatusCode::BAD_REQUEST, problems: Vec::new() }
    }

    /// What judges an input says it in AWS's words.
    pub fn problems(problems: &Problems) -> Self {
        ServiceError::problems(problems).into()
    }

    /// For clients that know CodePipeline's errors alone (S6).
    pub fn without_problems(self) -> Self {
        Self { problems: Vec::new(), ..self }
    }

    pub fn validation(message: impl Into<String>) -> Self {
        ServiceError::validation(message).into()
    }

    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    pub fn unknown_operation(name: &str) -> Self {
        Self::new("UnknownOperationException", format!("This host does not offer the operation {name:?}"))
    }

    /// It would be the same if it was asked again at once.
    pub fn is_final(&self) -> bool {
        super::once::is_final(self.status)
    }

    /// Something that plain HTTP asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::new("ResourceNotFoundException", message.into()) }
    }

    pub fn too_large(bytes_max: usize) -> Self {
        let message = format!("The request's body is larger than {bytes_max} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::new("RequestEntityTooLargeException", message) }
    }

    /// The account has as much open as it may: clients of AWS try again by themselves.
    pub fn throttled(message: impl Into<String>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, ..Self::new("ThrottlingException", message.into()) }
    }

    /// Who asks may not have it, whatever it is.
    pub fn denied(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, ..Self::new("AccessDeniedException", message.into()) }
    }

    pub fn timeout() -> Self {
        let message = "The request's body did not arrive in time".to_owned();
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::new("RequestTimeoutException", message) }
    }

    /// The host's own failure: the log says more than the client is told.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("a request failed: {error}");
        let message = "The host could not answer; its log says why".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::new("InternalFailure", message) }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::new("ServiceUnavailableException", message.into()) }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let status = match error.code() {
            "IncompleteSignatureException" => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self { status, ..Self::new(error.code(), error.to_string()) }
    }
}

/// The one place where what went wrong becomes what a client is told.
impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let status = match &error {
            ServiceError::Refused { class: "ConflictException", .. } => StatusCode::CONFLICT,
            ServiceError::Refused { class: "AccessDeniedException", .. } => StatusCode::FORBIDDEN,
            ServiceError::Refused { .. } | ServiceError::Limit(_) => StatusCode::BAD_REQUEST,
            ServiceError::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::Host(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match error {
            ServiceError::Refused { class, message, problems } => Self { code: class, message, status, problems },
            ServiceError::Limit(message) => Self { status, ..Self::new("LimitExceededException", message) },
            ServiceError::Full(message) => Self { status, ..Self::new("ServiceUnavailableException", message) },
            // The log says more than the client is told.
            ServiceError::Host(reason) => Self::internal(&reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_has_a_code_and_a_status() {
        let check = |error: ServiceError, code: &str, status: u16, message: &str| {
            let told = ApiError::from(error);
            assert_eq!((told.code, told.status.as_u16(), &*told.message), (code, status, message));
        };
        let refused = |class| ServiceError::refused(class, "no");
        check(refused("ValidationException"), "ValidationException", 400, "no");
        check(refused("PipelineNotFoundException"), "PipelineNotFoundException", 400, "no");
        check(refused("ConflictException"), "ConflictException", 409, "no");
        check(refused("AccessDeniedException"), "AccessDeniedException", 403, "no");
        check(ServiceError::Limit("no".to_owned()), "LimitExceededException", 400, "no");
        check(ServiceError::Full("no".to_owned()), "ServiceUnavailableException", 503, "no");
        // What only those who run the host can mend is in the log.
        let reason = "The host could not answer; its log says why";
        check(ServiceError::host("disk /dev/sda1 is broken"), "InternalFailure", 500, reason);
    }
}

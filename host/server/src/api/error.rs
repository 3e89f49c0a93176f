//! Errors as AWS clients understand them: a code, a message for a person, and the HTTP status that says whether to retry.
//!
//! Owns which failure becomes which error. Must not know how an error is written (`wire`).

use axum::http::StatusCode;
use pipewright_pipeline::machine::Refusal;
use pipewright_pipeline::tags::TagError;
use pipewright_pipeline::validate::{ErrorClass, Problems};

use crate::catalogues::CatalogueError;
use pipewright_aws::auth::AuthError;
use pipewright_engine::driver::DriverError;
use pipewright_packages::PackageError;

#[derive(Clone, Debug)]
pub struct ApiError {
    /// An exception of contract §3, or one of AWS's common ones.
    pub code: &'static str,
    pub message: String,
    pub status: StatusCode,
}

impl ApiError {
    /// A mistake of the caller: never a 5xx, for clients retry those (contract §13.10).
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let status = match code {
            "ConflictException" => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { code, message: message.into(), status }
    }

    /// What judges an input says it in AWS's words.
    pub fn problems(problems: &Problems) -> Self {
        let (class, message) = problems.error();
        Self::of_class(class, message)
    }

    pub fn of_class(class: ErrorClass, message: String) -> Self {
        let code = match class {
            ErrorClass::Validation => "ValidationException",
            ErrorClass::InvalidStructure => "InvalidStructureException",
            ErrorClass::InvalidStageDeclaration => "InvalidStageDeclarationException",
            ErrorClass::InvalidActionDeclaration => "InvalidActionDeclarationException",
            ErrorClass::InvalidBlockerDeclaration => "InvalidBlockerDeclarationException",
            ErrorClass::TooManyTags => "TooManyTagsException",
            ErrorClass::InvalidTags => "InvalidTagsException",
        };
        Self::new(code, message)
    }

    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    pub fn unknown_operation(name: &str) -> Self {
        Self::new("UnknownOperationException", format!("This host does not offer the operation {name:?}"))
    }

    pub fn invalid_token() -> Self {
        Self::new(
            "InvalidNextTokenException",
            "The next token is not one that a previous call of this operation returned",
        )
    }

    /// Who asks may not have it, whatever it is.
    pub fn denied(message: impl Into<String>) -> Self {
        Self { code: "AccessDeniedException", message: message.into(), status: StatusCode::FORBIDDEN }
    }

    /// Something that plain HTTP asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { code: "ResourceNotFoundException", message: message.into(), status: StatusCode::NOT_FOUND }
    }

    pub fn too_large(bytes_max: usize) -> Self {
        let message = format!("The request's body is larger than {bytes_max} bytes");
        Self { code: "RequestEntityTooLargeException", message, status: StatusCode::PAYLOAD_TOO_LARGE }
    }

    pub fn timeout() -> Self {
        let message = "The request's body did not arrive in time".to_owned();
        Self { code: "RequestTimeoutException", message, status: StatusCode::REQUEST_TIMEOUT }
    }

    /// The host's own failure: the log says more than the client is told.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("a request failed: {error}");
        let message = "The host could not answer; its log says why".to_owned();
        Self { code: "InternalFailure", message, status: StatusCode::INTERNAL_SERVER_ERROR }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: "ServiceUnavailableException", message: message.into(), status: StatusCode::SERVICE_UNAVAILABLE }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let status = match error.code() {
            "IncompleteSignatureException" => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self { code: error.code(), message: error.to_string(), status }
    }
}

impl From<TagError> for ApiError {
    fn from(error: TagError) -> Self {
        Self::of_class(error.class(), error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal.error_class() {
            Some(code) => Self::new(code, refusal.to_string()),
            None => Self::validation(refusal.to_string()),
        }
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        match error {
            error @ CatalogueError::NoActionType { .. } => Self::new("ActionTypeNotFoundException", error.to_string()),
            CatalogueError::NoPlugin(message) => Self::not_found(message),
            CatalogueError::Invalid(message) => Self::validation(message),
            CatalogueError::Package(PackageError::Host(error)) => Self::internal(&format!("{error:#}")),
            CatalogueError::Package(error @ PackageError::Missing(_)) => Self::not_found(error.to_string()),
            CatalogueError::Package(error) => Self::validation(error.to_string()),
            CatalogueError::Plugin(error) => Self::validation(error.to_string()),
            CatalogueError::Driver(error) => error.into(),
        }
    }
}

impl From<DriverError> for ApiError {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Refused(refusal) => refusal.into(),
            DriverError::TooLarge(message) => Self::new("LimitExceededException", message),
            DriverError::Full(message) => Self::unavailable(message),
            DriverError::Store(_) | DriverError::Damaged(_) => Self::internal(&error),
        }
    }
}

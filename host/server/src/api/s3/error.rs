//! Errors as clients of S3 understand them.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use pipewright_aws::auth::AuthError;

use super::super::error::ApiError;
use super::super::xml;
use crate::service::ServiceError;
use crate::service::job_artifacts::UploadError;

#[derive(Clone, Debug)]
pub struct S3Error {
    pub code: &'static str,
    message: String,
    status: StatusCode,
}

impl S3Error {
    pub fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: StatusCode::BAD_REQUEST }
    }

    pub fn denied(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, ..Self::bad(code, message) }
    }

    pub fn no_key() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::bad("NoSuchKey", "The specified key does not exist.") }
    }

    pub fn range() -> Self {
        let message = "The requested range is not satisfiable";
        Self { status: StatusCode::RANGE_NOT_SATISFIABLE, ..Self::bad("InvalidRange", message) }
    }

    pub fn not_implemented() -> Self {
        let message = "Of S3, there are GetObject, HeadObject, PutObject and uploads in parts here, and no more";
        Self { status: StatusCode::NOT_IMPLEMENTED, ..Self::bad("NotImplemented", message) }
    }

    pub fn response(self) -> Response<Body> {
        let text = xml::document("Error", &[("Code", self.code), ("Message", &self.message)]);
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(xml::TYPE));
        // The rest of a body that was not read is not the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::Mismatch => Self::denied("SignatureDoesNotMatch", message),
            AuthError::Unrecognized => Self::denied("InvalidAccessKeyId", message),
            AuthError::Missing | AuthError::Invalid(_) => Self::denied("AccessDenied", message),
            AuthError::Incomplete(_) => Self::bad("AuthorizationHeaderMalformed", message),
        }
    }
}

impl From<ServiceError> for S3Error {
    fn from(error: ServiceError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<ApiError> for S3Error {
    fn from(ApiError { message, status, .. }: ApiError) -> Self {
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "SlowDown",
            StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
            _ => "InvalidRequest",
        };
        Self { code, message, status }
    }
}

impl From<UploadError> for S3Error {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::NoUpload => Self { status: StatusCode::NOT_FOUND, ..Self::bad("NoSuchUpload", message) },
            UploadError::NotInProgress => Self::denied("AccessDenied", message),
            UploadError::InvalidPart(_) => Self::bad("InvalidPart", message),
            UploadError::Full(_) => Self::bad("EntityTooLarge", message),
            UploadError::Io(error) => ApiError::internal(&error).into(),
        }
    }
}

//! Why an exchange failed, told twice: to the guest as one of wasi:http's error codes, to the person in full.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use wasmtime_wasi_http::Error;

use super::body::Progress;
use crate::limits::HttpLimits;
use crate::seam::HostCallOutcome;

pub(super) struct Failure {
    /// For the guest.
    pub(super) error: Error,
    /// For the journal and the log.
    pub(super) outcome: HostCallOutcome,
}

impl Failure {
    pub(super) fn denied(error: Error, text: String) -> Self {
        Self { error, outcome: HostCallOutcome::Denied(text) }
    }

    pub(super) fn limit(error: Error, text: String) -> Self {
        Self { error, outcome: HostCallOutcome::Limit(text) }
    }

    pub(super) fn failed(error: Error, text: impl Into<String>) -> Self {
        Self { error, outcome: HostCallOutcome::Failed(text.into()) }
    }

    pub(super) fn too_many_requests(limits: &HttpLimits) -> Self {
        let text = format!("more than {} requests in one call (requests_max)", limits.requests_max);
        Self::limit(Error::ConnectionLimitReached, text)
    }

    pub(super) fn too_long(limits: &HttpLimits) -> Self {
        let limit = limits.total_ms_max;
        Self::limit(Error::HttpResponseTimeout, format!("took longer in all than {limit} ms (total_ms_max)"))
    }

    pub(super) fn stalled(limit: Duration) -> Self {
        let limit = limit.as_millis();
        let text = format!("no byte of the response's body came for {limit} ms (between_bytes_ms_max)");
        Self::limit(Error::ConnectionReadTimeout, text)
    }

    pub(super) fn request_too_large(limits: &HttpLimits) -> Self {
        let limit = limits.request_body_bytes_max;
        let text = format!("the request's body is larger than {limit} bytes (request_body_bytes_max)");
        Self::limit(Error::HttpRequestBodySize(Some(limit)), text)
    }

    pub(super) fn response_too_large(limits: &HttpLimits) -> Self {
        let limit = limits.response_body_bytes_max;
        let text = format!("the response's body is larger than {limit} bytes (response_body_bytes_max)");
        Self::limit(Error::HttpResponseBodySize(Some(limit)), text)
    }

    pub(super) fn of_exchange(error: &hyper::Error, progress: &Progress, limits: &HttpLimits) -> Self {
        let broken = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if progress.is_cut() {
            Self::request_too_large(limits)
        } else if error.is_parse_too_large() {
            let (count, bytes) = (limits.response_headers_max, limits.response_header_bytes_max);
            let text = format!(
                "the response has more than {count} headers (response_headers_max) or {bytes} bytes of them \
                 (response_header_bytes_max)"
            );
            Self::limit(Error::HttpResponseHeaderSectionSize(u32::try_from(bytes).ok()), text)
        } else if error.is_user() || error.is_body_write_aborted() {
            Self::failed(Error::HttpProtocolError, "the plugin did not finish the request's body")
        } else if error.is_incomplete_message()
            || broken.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
        {
            Self::failed(Error::HttpResponseIncomplete, "the server closed the connection within the response")
        } else if broken.is_some() {
            Self::failed(Error::ConnectionTerminated, causes(error))
        } else {
            Self::failed(Error::HttpProtocolError, causes(error))
        }
    }

    pub(super) fn of_connect(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
            _ => Error::DestinationUnavailable,
        };
        Self::failed(code, format!("cannot connect: {error}"))
    }

    pub(super) fn of_tls(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let code = match cause {
            Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
            Some(rustls::Error::AlertReceived(alert)) => {
                Error::TlsAlertReceived { alert_id: Some((*alert).into()), alert_message: Some(format!("{alert:?}")) }
            }
            _ => Error::TlsProtocolError,
        };
        let mend = match cause {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
                "; if the authority is your own, add its PEM file to this host's certificate authorities"
            }
            _ => "",
        };
        Self::failed(code, format!("TLS: {error}{mend}"))
    }
}

/// An error and everything behind it.
fn causes(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

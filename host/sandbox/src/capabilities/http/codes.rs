//! wasi:http's error codes by their names in the WIT, there and back.

use wasmtime_wasi_http::Error;

use super::tape::HttpError;

macro_rules! plain {
    ($($name:literal = $code:ident,)*) => {
        const PLAIN: &[(&str, fn() -> Error)] = &[$(($name, || Error::$code)),*];

        fn plain_name(error: &Error) -> Option<&'static str> {
            match error {
                $(Error::$code => Some($name),)*
                _ => None,
            }
        }
    };
}

// Those that carry nothing.
plain! {
    "DNS-timeout" = DnsTimeout,
    "destination-not-found" = DestinationNotFound,
    "destination-unavailable" = DestinationUnavailable,
    "destination-IP-prohibited" = DestinationIpProhibited,
    "destination-IP-unroutable" = DestinationIpUnroutable,
    "connection-refused" = ConnectionRefused,
    "connection-terminated" = ConnectionTerminated,
    "connection-timeout" = ConnectionTimeout,
    "connection-read-timeout" = ConnectionReadTimeout,
    "connection-write-timeout" = ConnectionWriteTimeout,
    "connection-limit-reached" = ConnectionLimitReached,
    "TLS-protocol-error" = TlsProtocolError,
    "TLS-certificate-error" = TlsCertificateError,
    "HTTP-request-denied" = HttpRequestDenied,
    "HTTP-request-length-required" = HttpRequestLengthRequired,
    "HTTP-request-method-invalid" = HttpRequestMethodInvalid,
    "HTTP-request-URI-invalid" = HttpRequestUriInvalid,
    "HTTP-request-URI-too-long" = HttpRequestUriTooLong,
    "HTTP-response-incomplete" = HttpResponseIncomplete,
    "HTTP-response-timeout" = HttpResponseTimeout,
    "HTTP-upgrade-failed" = HttpUpgradeFailed,
    "HTTP-protocol-error" = HttpProtocolError,
    "loop-detected" = LoopDetected,
    "configuration-error" = ConfigurationError,
}

const DNS_ERROR: &str = "DNS-error";
const TLS_ALERT: &str = "TLS-alert-received";
const REQUEST_BODY_SIZE: &str = "HTTP-request-body-size";
const REQUEST_HEADERS_SIZE: &str = "HTTP-request-header-section-size";
const RESPONSE_BODY_SIZE: &str = "HTTP-response-body-size";
const RESPONSE_HEADERS_SIZE: &str = "HTTP-response-header-section-size";
const INTERNAL: &str = "internal-error";

pub(super) fn told(error: &Error) -> HttpError {
    let told = |code: &str, text: Option<&String>, number: Option<u64>| HttpError {
        code: code.to_owned(),
        text: text.cloned(),
        number,
    };
    match error {
        Error::DnsError { rcode, info_code } => told(DNS_ERROR, rcode.as_ref(), info_code.map(u64::from)),
        Error::TlsAlertReceived { alert_id, alert_message } => {
            told(TLS_ALERT, alert_message.as_ref(), alert_id.map(u64::from))
        }
        Error::HttpRequestBodySize(size) => told(REQUEST_BODY_SIZE, None, *size),
        Error::HttpRequestHeaderSectionSize(size) => told(REQUEST_HEADERS_SIZE, None, size.map(u64::from)),
        Error::HttpResponseBodySize(size) => told(RESPONSE_BODY_SIZE, None, *size),
        Error::HttpResponseHeaderSectionSize(size) => told(RESPONSE_HEADERS_SIZE, None, size.map(u64::from)),
        Error::InternalError(text) => told(INTERNAL, text.as_ref(), None),
        // Nothing else comes of our own requests.
        error => told(plain_name(error).unwrap_or("HTTP-protocol-error"), None, None),
    }
}

/// None for a code that the host never gives.
pub(super) fn error(told: &HttpError) -> Option<Error> {
    let HttpError { code, text, number } = told;
    let (text, number) = (text.clone(), *number);
    let small = || number.and_then(|number| u32::try_from(number).ok());
    Some(match code.as_str() {
        DNS_ERROR => Error::DnsError { rcode: text, info_code: number.and_then(|number| u16::try_from(number).ok()) },
        TLS_ALERT => Error::TlsAlertReceived {
            alert_id: number.and_then(|number| u8::try_from(number).ok()),
            alert_message: text,
        },
        REQUEST_BODY_SIZE => Error::HttpRequestBodySize(number),
        REQUEST_HEADERS_SIZE => Error::HttpRequestHeaderSectionSize(small()),
        RESPONSE_BODY_SIZE => Error::HttpResponseBodySize(number),
        RESPONSE_HEADERS_SIZE => Error::HttpResponseHeaderSectionSize(small()),
        INTERNAL => Error::InternalError(text),
        code => PLAIN.iter().find(|(name, _)| *name == code)?.1(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        let with = [DNS_ERROR, TLS_ALERT, REQUEST_BODY_SIZE, REQUEST_HEADERS_SIZE, RESPONSE_BODY_SIZE];
        let names = PLAIN.iter().map(|(name, _)| *name).chain(with).chain([RESPONSE_HEADERS_SIZE, INTERNAL]);
        for code in names {
            let (text, number) = match code {
                DNS_ERROR | TLS_ALERT => (Some("what".to_owned()), Some(7)),
                INTERNAL => (Some("what".to_owned()), None),
                _ if code.ends_with("-size") => (None, Some(7)),
                _ => (None, None),
            };
            let there = HttpError { code: code.to_owned(), text, number };
            assert_eq!(error(&there).as_ref().map(told).as_ref(), Some(&there));
        }
        assert!(error(&HttpError { code: "unheard-of".to_owned(), text: None, number: None }).is_none());
    }
}

//! How an operation is spoken: awsJson1_1, Smithy rpc-v2-cbor, and the query protocol.
//!
//! Owns reading a request down to the operation's name and a JSON document, and writing an output or an error. Must not
//! know any operation.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::operations::{CODEPIPELINE, DIALECTS, Dialect, STS};
use super::query;

/// Where JSON names the operation.
const TARGET: &str = "x-amz-target";
const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/cbor";
const PROTOCOL: &str = "rpc-v2-cbor";
/// Deeper documents are refused before they use up the stack; a declaration is about 12 deep. serde_json has its own, 128.
const CBOR_DEPTH_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Json,
    Cbor,
    Query,
}

impl Protocol {
    /// rpc-v2-cbor has a path of its own, and a form is what the query protocol sends; JSON names its operation in a header.
    pub fn of(parts: &Parts) -> Self {
        if parts.uri.path().starts_with("/service/") {
            Self::Cbor
        } else if has(parts, "content-type", query::FORM) && !parts.headers.contains_key(TARGET) {
            Self::Query
        } else {
            Self::Json
        }
    }

    /// By whose names errors are called where nobody knows which service was asked.
    pub fn first_dialect(self) -> &'static Dialect {
        match self {
            Self::Json | Self::Cbor => &CODEPIPELINE,
            Self::Query => &STS,
        }
    }

    /// The service that is asked and the operation's name, without a check that there is such an operation.
    pub fn operation<'a>(self, parts: &'a Parts, body: &'a [u8]) -> Result<(&'static Dialect, &'a str), ApiError> {
        let (asked, between) = match self {
            Self::Json => {
                let target = parts.headers.get(TARGET).and_then(|value| value.to_str().ok());
                (target.unwrap_or_default(), ".")
            }
            Self::Cbor => (parts.uri.path(), "/operation/"),
            Self::Query => return query::operation(body),
        };
        let of = |dialect: &&'static Dialect| {
            let rest = asked.strip_prefix(if self == Self::Cbor { "/service/" } else { "" })?;
            Some((*dialect, rest.strip_prefix(dialect.target_prefix?)?.strip_prefix(between)?))
        };
        DIALECTS.iter().find_map(of).ok_or_else(|| ApiError::unknown_operation(asked))
    }

    pub fn check_headers(self, parts: &Parts) -> Result<(), ApiError> {
        match self {
            Self::Json if !has(parts, "content-type", JSON) => {
                Err(ApiError::serialization(format!("The content type must be {JSON}")))
            }
            Self::Cbor if !has(parts, "content-type", CBOR) || !has(parts, "smithy-protocol", PROTOCOL) => {
                let message = format!("The headers must be content-type: {CBOR} and smithy-protocol: {PROTOCOL}");
                Err(ApiError::serialization(message))
            }
            _ => Ok(()),
        }
    }

    /// The input as a document; no body is an empty one. In the query protocol no operation has an input.
    pub fn read(self, body: &[u8]) -> Result<Value, ApiError> {
        let document: Value = match self {
            Self::Query => return Ok(Value::Object(serde_json::Map::new())),
            _ if body.is_empty() => return Ok(Value::Object(serde_json::Map::new())),
            Self::Json => serde_json::from_slice(body)
                .map_err(|error| ApiError::serialization(format!("The body is not JSON: {error}")))?,
            Self::Cbor => read_cbor(body)?,
        };
        match document.is_object() {
            true => Ok(document),
            false => Err(ApiError::serialization("The body must be a structure")),
        }
    }

    /// What an operation answers to a request, by its name and the request's id. `None` is the output of one that has none.
    pub fn write<T: Serialize>(self, name: &str, request_id: &str, output: Option<&T>) -> Result<Bytes, ApiError> {
        let Some(output) = output else { return Ok(Bytes::new()) };
        match self {
            Self::Query => {
                let output = serde_json::to_value(output).map_err(|error| ApiError::internal(&error))?;
                Ok(query::output(name, request_id, &output))
            }
            Self::Json => serde_json::to_vec(output).map(Bytes::from).map_err(|error| ApiError::internal(&error)),
            Self::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(output, &mut bytes).map_err(|error| ApiError::internal(&error))?;
                Ok(bytes.into())
            }
        }
    }

    pub fn respond(self, request_id: &str, result: Result<Bytes, ApiError>) -> Response<Body> {
        let (status, body) = match result {
            Ok(body) => (axum::http::StatusCode::OK, body),
            Err(error) => (error.status, self.error_body(request_id, &error)),
        };
        let empty = body.is_empty();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
            Self::Query => query::TYPE,
        };
        // rpc-v2-cbor forbids the content type of an output that there is not.
        if self != Self::Cbor || !empty {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self == Self::Cbor {
            headers.insert("smithy-protocol", HeaderValue::from_static(PROTOCOL));
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }

    fn error_body(self, request_id: &str, error: &ApiError) -> Bytes {
        if self == Self::Query {
            return query::error(request_id, error);
        }
        let body = ErrorBody { code: error.code, message: &error.message, problems: &error.problems };
        self.write("", request_id, Some(&body)).unwrap_or_default()
    }
}

/// Whether a header has this value, whatever parameters follow.
fn has(parts: &Parts, name: &str, wanted: &str) -> bool {
    let value = parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    problems: &'a [String],
}

fn read_cbor(body: &[u8]) -> Result<Value, ApiError> {
    let mut rest = body;
    let document = ciborium::de::from_reader_with_recursion_limit(&mut rest, CBOR_DEPTH_MAX)
        .map_err(|error| ApiError::serialization(format!("The body is not CBOR: {}", in_words(&error))))?;
    match rest.is_empty() {
        true => from_cbor(document),
        false => Err(ApiError::serialization("There is something after the CBOR structure")),
    }
}

/// The library has no words of its own for it.
fn in_words<T>(error: &ciborium::de::Error<T>) -> String {
    use ciborium::de::Error as Cbor;
    match error {
        Cbor::Io(_) => "it ends too early".to_owned(),
        Cbor::Syntax(at) => format!("byte {at} cannot be read"),
        Cbor::Semantic(Some(at), message) => format!("{message}, at byte {at}"),
        Cbor::Semantic(None, message) => message.clone(),
        Cbor::RecursionLimitExceeded => format!("it is more than {CBOR_DEPTH_MAX} deep"),
    }
}

/// By hand, because ciborium reads keys of indefinite length, as some SDKs may send, only into its own type.
fn from_cbor(value: ciborium::Value) -> Result<Value, ApiError> {
    use ciborium::Value as Cbor;
    Ok(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => value.into(),
        Cbor::Text(text) => text.into(),
        Cbor::Float(number) if !number.is_finite() => {
            return Err(ApiError::serialization(format!("{number} is no number that an input has")));
        }
        Cbor::Float(number) => number.into(),
        Cbor::Integer(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => return Err(ApiError::serialization("A number is out of range")),
        },
        Cbor::Array(items) => items.into_iter().map(from_cbor).collect::<Result<_, _>>()?,
        Cbor::Map(entries) => {
            let entry = |(key, value)| match key {
                Cbor::Text(key) => Ok((key, from_cbor(value)?)),
                _ => Err(ApiError::serialization("A key is not a text")),
            };
            Value::Object(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
        Cbor::Tag(_, value) => from_cbor(*value)?,
        // Nothing of CodePipeline's is bytes.
        _ => return Err(ApiError::serialization("A value is none that an input has")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cbor(value: &ciborium::Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_document_is_read_from_cbor_as_from_json() {
        let document =
            json!({ "name": "site", "count": 7, "less": -7, "half": 0.5, "yes": true, "no": null, "list": [1, "a"] });
        let bytes = cbor(&ciborium::Value::serialized(&document).unwrap());
        assert_eq!(Protocol::Cbor.read(&bytes).unwrap(), document);
        assert_eq!(Protocol::Json.read(document.to_string().as_bytes()).unwrap(), document);
        for protocol in [Protocol::Json, Protocol::Cbor] {
            assert_eq!(protocol.read(b"").unwrap(), json!({}));
        }
    }

    #[test]
    fn what_is_no_document_is_refused_in_words() {
        use ciborium::Value as Cbor;
        let check = |protocol: Protocol, bytes: &[u8], expected: &str| {
            let error = protocol.read(bytes).unwrap_err();
            assert_eq!((error.code, &*error.message), ("SerializationException", expected), "{bytes:?}");
        };
        let map = |value| cbor(&Cbor::Map(vec![(Cbor::Text("count".to_owned()), value)]));
        for (number, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
            check(Protocol::Cbor, &map(Cbor::Float(number)), &format!("{word} is no number that an input has"));
        }
        check(Protocol::Cbor, &map(Cbor::Bytes(vec![1])), "A value is none that an input has");
        let too_large = Cbor::Tag(2, Box::new(Cbor::Bytes(vec![1; 9])));
        assert!(Protocol::Cbor.read(&map(too_large)).is_err());
        check(Protocol::Cbor, &cbor(&Cbor::Map(vec![(Cbor::Bool(true), Cbor::Null)])), "A key is not a text");
        check(Protocol::Cbor, &cbor(&Cbor::Array(Vec::new())), "The body must be a structure");
        let longer = [map(Cbor::Null), vec![0]].concat();
        check(Protocol::Cbor, &longer, "There is something after the CBOR structure");
        check(Protocol::Cbor, &map(Cbor::Null)[..3], "The body is not CBOR: it ends too early");
        let deep = [vec![0x81; 100], vec![0x80]].concat();
        check(Protocol::Cbor, &deep, "The body is not CBOR: it is more than 64 deep");
        check(Protocol::Json, b"[]", "The body must be a structure");
        assert!(Protocol::Json.read(b"{").unwrap_err().message.starts_with("The body is not JSON: "));
    }

    #[test]
    fn an_output_that_there_is_not_is_an_empty_body() {
        for protocol in [Protocol::Json, Protocol::Cbor] {
            assert!(protocol.write("", "", None::<&()>).unwrap().is_empty());
            assert!(!protocol.write("", "", Some(&json!({}))).unwrap().is_empty());
        }
    }
}

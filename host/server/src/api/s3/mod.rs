//! The artifacts of jobs as S3 speaks of objects: GetObject, HeadObject, PutObject and uploads in parts, for job workers that know
//! nothing else. A request is meant for it where its signature is for the service `s3`.
//!
//! Owns how such a request is read and answered. Must not know whose an object is, nor how it is kept (`service::job_artifacts`).

mod checksums;
mod chunks;
mod error;
mod incoming;

use std::fs::File;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use percent_encoding::percent_decode_str;
use pipewright_aws::auth::{AuthError, Payload, is_for_s3, verify_for_s3};
use pipewright_base::clock;

use super::Api;
use super::paced::{self, OfFile};
use super::shares::Answer;
use super::xml;
use crate::connections::{Peer, held};
use crate::service::job_artifacts::{self, Object, Part, Session};
use error::S3Error;
use incoming::Incoming;

/// The session of a job, without which nothing here belongs to anybody.
const TOKEN: &str = "x-amz-security-token";

/// Answers what is signed for S3, and lets everything else pass.
pub async fn beside(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // Without a session it may be anybody's mistake, which the API words.
    if !is_for_s3(&parts) || !parts.headers.contains_key(TOKEN) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let began = clock::monotonic();
    let answer = answer(&api, &parts, body).await;
    api.metrics.request("s3", answer.as_ref().err().map(|error| error.code), began.elapsed());
    answer.unwrap_or_else(S3Error::response)
}

async fn answer(api: &Arc<Api>, parts: &Parts, body: Body) -> Result<Response<Body>, S3Error> {
    let token = parts.headers.get(TOKEN).and_then(|token| token.to_str().ok());
    let token = token.ok_or(S3Error::from(AuthError::Unrecognized))?;
    let session = job_artifacts::session(&api.service, token).await?;
    let session = session.ok_or_else(|| {
        S3Error::bad(
            "ExpiredToken",
            "The provided token is not one of a job, or its job is over: get the job's details again",
        )
    })?;
    let key = (&*session.access_key, &pipewright_aws::auth::Secret::new(&*session.secret));
    let payload = verify_for_s3(parts, api.service.region(), key, clock::now_ms())?;
    if let Some(peer) = parts.extensions.get::<Arc<Peer>>() {
        peer.recognize(session.account).map_err(super::ApiError::from)?;
    }
    let taken = api.shares.answer(session.account, Answer::Stream)?;
    let object = object(&session, parts)?;
    let query = Query::of(parts);
    let asked = (&parts.method, query.has("uploads"), query.get("uploadId"), query.get("partNumber"), object);
    let response = match asked {
        (&Method::GET | &Method::HEAD, false, None, None, object) => get(api, &session, parts, object).await?,
        (&Method::PUT, false, id, number, Object::Output { name }) => {
            if parts.headers.contains_key("x-amz-copy-source") {
                return Err(S3Error::not_implemented());
            }
            let part = part(name, id, number)?;
            put(api, &session, parts, (body, payload), part).await?
        }
        (&Method::POST, true, None, None, Object::Output { name }) => {
            let id = session.begin_parts(&api.service, &name).await?;
            document("InitiateMultipartUploadResult", parts, &session, &[("UploadId", &id)])
        }
        (&Method::POST, false, Some(id), None, Object::Output { name }) => {
            let parts_listed = incoming::document(body, payload).await?;
            let malformed = || S3Error::bad("MalformedXML", "The list of parts is not as it has to be");
            let listed = xml::parts(&parts_listed).ok_or_else(malformed)?;
            let etag = session.end_parts(&api.service, &name, id, listed).await?;
            document("CompleteMultipartUploadResult", parts, &session, &[("ETag", &format!("\"{etag}\""))])
        }
        (&Method::DELETE, false, Some(id), None, Object::Output { name }) => {
            session.give_up_parts(&api.service, &name, id).await?;
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::PUT | &Method::POST | &Method::DELETE, .., Object::Input { .. }) => {
            return Err(S3Error::denied("AccessDenied", "The artifact is an input of the job, which can only be read"));
        }
        _ => return Err(S3Error::not_implemented()),
    };
    Ok(response.map(|body| held(body, taken)))
}

/// In the style of a path (`/BUCKET/KEY`), or of a virtual host (`BUCKET.HOST`).
fn object(session: &Session, parts: &Parts) -> Result<Object, S3Error> {
    let (bucket, key) = address(parts);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let of_host = host.strip_prefix(&*session.bucket).is_some_and(|rest| rest.starts_with('.'));
    let key = match (of_host, &bucket, &key) {
        (true, bucket, Some(key)) => format!("{bucket}/{key}"),
        (true, bucket, None) => bucket.clone(),
        (false, bucket, Some(key)) if *bucket == session.bucket => key.clone(),
        _ => return Err(S3Error::denied("AccessDenied", "The job has no artifacts in this bucket")),
    };
    session.object(&key).ok_or_else(|| S3Error::denied("AccessDenied", "The job has no artifact of this key"))
}

/// The first segment of the path, and the rest.
fn address(parts: &Parts) -> (String, Option<String>) {
    let path = parts.uri.path().strip_prefix('/').unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    match path.split_once('/') {
        Some((first, rest)) => (first.to_owned(), Some(rest.to_owned())),
        None => (path, None),
    }
}

fn part(name: String, id: Option<&str>, number: Option<&str>) -> Result<Part, S3Error> {
    Ok(match (id, number) {
        (None, None) => Part::All { name },
        (Some(id), Some(number)) => {
            let number =
                number.parse().map_err(|_| S3Error::bad("InvalidArgument", "The part's number is no number"))?;
            Part::One { name, id: id.to_owned(), number }
        }
        _ => return Err(S3Error::not_implemented()),
    })
}

struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn of(parts: &'a Parts) -> Self {
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

async fn get(api: &Api, session: &Session, parts: &Parts, object: Object) -> Result<Response<Body>, S3Error> {
    let Some((file, bytes, etag)) = session.open(&api.service, object).await? else { return Err(S3Error::no_key()) };
    let range = range(&parts.headers, bytes)?;
    let (first, behind) = range.unwrap_or((0, bytes));
    let mut response = match parts.method {
        Method::HEAD => paced::response(Body::empty(), "application/zip"),
        _ => streamed(api, file, first, behind),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (behind - first).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(&format!("\"{etag}\"")));
    // When an object was made tells its client nothing, but that it has to be there.
    let modified = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::UNIX_EPOCH);
    headers.insert(header::LAST_MODIFIED, value(&modified.unwrap_or_default()));
    if range.is_some() {
        headers.insert(header::CONTENT_RANGE, value(&format!("bytes {first}-{}/{bytes}", behind - 1)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn streamed(api: &Api, file: File, first: u64, behind: u64) -> Response<Body> {
    let pieces = OfFile { file, at: first, left: behind - first };
    paced::response(paced::body(api.service.work(), pieces), "application/zip")
}

/// The first byte that is asked for, and the first behind them; none where all are (RFC 9110, 14.1.2). Of several ranges, all.
fn range(headers: &HeaderMap, bytes: u64) -> Result<Option<(u64, u64)>, S3Error> {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Ok(None) };
    let number = |text: &str| text.parse::<u64>().map_err(|_| S3Error::range());
    let (first, behind) = match (first, last) {
        ("", last) => (bytes.saturating_sub(number(last)?), bytes),
        (first, "") => (number(first)?, bytes),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(bytes)),
    };
    if first < behind { Ok(Some((first, behind))) } else { Err(S3Error::range()) }
}

async fn put(
    api: &Api,
    session: &Session,
    parts: &Parts,
    (body, payload): (Body, Payload),
    part: Part,
) -> Result<Response<Body>, S3Error> {
    let upload = session.upload(&api.service, part).await?;
    let incoming = Incoming::new(upload, &parts.headers, payload)?;
    let incoming = incoming.take(api.service.work(), body).await?;
    session.check_writable(&api.service).await?;
    let (etag, checksum) = incoming.keep(api.service.work()).await?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(header::ETAG, value(&format!("\"{etag}\"")));
    if let Some((kind, sum)) = checksum
        && let Ok(name) = header::HeaderName::try_from(format!("{}{kind}", checksums::PREFIX))
    {
        response.headers_mut().insert(name, value(&sum));
    }
    Ok(response)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn document(name: &str, parts: &Parts, session: &Session, more: &[(&str, &str)]) -> Response<Body> {
    let key = match address(parts) {
        (first, Some(rest)) if first == session.bucket => rest,
        (first, Some(rest)) => format!("{first}/{rest}"),
        (first, None) => first,
    };
    let members = [&[("Bucket", &*session.bucket), ("Key", &*key)], more].concat();
    let mut response = Response::new(Body::from(xml::document(name, &members)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(xml::TYPE));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_of_bytes_that_there_are() {
        let check = |text: &str, expected: Result<Option<(u64, u64)>, ()>| {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(range(&headers, 10).map_err(drop), expected, "{text}");
        };
        check("bytes=0-0", Ok(Some((0, 1))));
        check("bytes=2-5", Ok(Some((2, 6))));
        check("bytes=2-", Ok(Some((2, 10))));
        check("bytes=-3", Ok(Some((7, 10))));
        check("bytes=-30", Ok(Some((0, 10))));
        check("bytes=2-500", Ok(Some((2, 10))));
        check("bytes=0-1,3-4", Ok(None));
        check("lines=0-1", Ok(None));
        for wrong in ["bytes=10-", "bytes=5-2", "bytes=-0", "bytes=x-2"] {
            check(wrong, Err(()));
        }
    }
}

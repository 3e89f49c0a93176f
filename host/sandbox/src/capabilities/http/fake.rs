//! Answers to requests that somebody made up, in the order in which the requests are to come.
//!
//! Owns the comparing of a request with what was expected of it. Requests are checked against the grants as ever, and
//! nothing is connected to. Must not know where answers are written down.

use std::sync::{Mutex, PoisonError};

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use serde_json::Value;

use super::codes;
use super::tape::{HttpError, shown, sorted};
use crate::outside::Stop;

/// For all calls of one test: what one of them did not ask for, the next one may.
pub(crate) struct Answers {
    fakes: Vec<Fake>,
    /// How many were asked for.
    asked: Mutex<usize>,
}

/// A request that is to come, and its answer.
#[derive(Clone, Debug)]
pub struct Fake {
    pub method: String,
    pub url: String,
    /// Those that it must have; others may be there. Secrets are in their places.
    pub headers: Vec<(String, String)>,
    pub body: FakeBody,
    pub answer: FakeAnswer,
}

/// What a request's body must be.
#[derive(Clone, Debug)]
pub enum FakeBody {
    Any,
    Bytes(Bytes),
    /// The same value, however it is written.
    Json(Value),
}

#[derive(Clone, Debug)]
pub enum FakeAnswer {
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// One of wasi:http's error codes.
    Error(HttpError),
}

impl FakeAnswer {
    /// The error of this name in the WIT; none if there is no such code.
    pub fn error(code: &str) -> Option<Self> {
        let error = HttpError { code: code.to_owned(), text: None, number: None };
        codes::error(&error).map(|_| Self::Error(error))
    }
}

impl Answers {
    pub(crate) fn new(fakes: Vec<Fake>) -> Self {
        Self { fakes, asked: Mutex::default() }
    }

    /// The requests that nobody made.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.fakes.iter().skip(asked).map(|fake| format!("{} {}", fake.method, fake.url))
    }

    /// The answer to a request that is started, with its number, if it is the one that was to come.
    pub(super) fn next(&self, method: &Method, url: &Uri, headers: &HeaderMap, stop: &Stop) -> Option<(usize, &Fake)> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.difference().is_some() {
            return None;
        }
        let (number, url, made) = (*asked + 1, url.to_string(), sorted(headers));
        let found = self.fakes.get(*asked);
        let same = found.filter(|fake| {
            let has = |(name, value): &(String, String)| {
                made.iter().any(|(made, is)| made.eq_ignore_ascii_case(name) && is == value)
            };
            fake.method == method.as_str() && same_url(&fake.url, &url) && fake.headers.iter().all(has)
        });
        if let Some(fake) = same {
            *asked = number;
            return Some((number, fake));
        }
        let expected = match found {
            Some(fake) => shown(&fake.method, &fake.url, &fake.headers, None),
            None => "no further request".to_owned(),
        };
        stop.at(number, expected, shown(method.as_str(), &url, &made, None));
        None
    }

    /// Whether a request's body is as expected.
    pub(super) fn check_body(number: usize, fake: &Fake, body: &[u8], stop: &Stop) -> bool {
        let (same, expected) = match &fake.body {
            FakeBody::Any => return true,
            FakeBody::Bytes(expected) => (**expected == *body, expected.clone()),
            FakeBody::Json(expected) => {
                let same = serde_json::from_slice::<Value>(body).is_ok_and(|made| made == *expected);
                (same, Bytes::from(expected.to_string()))
            }
        };
        if !same {
            let shown = |body: &[u8]| shown(&fake.method, &fake.url, &[], Some(body));
            stop.at(number, shown(&expected), shown(body));
        }
        same
    }
}

/// `https://example.com` and `https://example.com/` are the same.
fn same_url(expected: &str, made: &str) -> bool {
    expected == made || expected.parse::<Uri>().is_ok_and(|expected| expected == *made)
}

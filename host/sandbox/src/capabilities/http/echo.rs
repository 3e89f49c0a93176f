//! An answer that repeats the secrets which the host put into its request: the plugin does not get to read them that way.
//!
//! Owns what of an answer is shown. A secret that is found is hidden under as many signs as it has, so that lengths that were
//! told stay true. Must not know where a request went.

use std::borrow::Cow;

use ::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use http_body::Frame;

use crate::masks::{Masks, Stream};

/// None where nothing is to be hidden.
pub(super) struct Echo(Option<(Masks, Stream)>);

impl Echo {
    pub(super) fn new(hidden: Masks) -> Self {
        let stream = Stream::of_one_length(&hidden);
        Self((!hidden.is_empty()).then_some((hidden, stream)))
    }

    pub(super) fn head<T>(&self, mut response: Response<T>) -> Response<T> {
        self.headers(response.headers_mut());
        response
    }

    fn headers(&self, headers: &mut HeaderMap) {
        let Some((masks, _)) = &self.0 else { return };
        for value in headers.values_mut() {
            if let Cow::Owned(masked) = masks.bytes(value.as_bytes())
                && let Ok(masked) = HeaderValue::from_bytes(&masked)
            {
                *value = masked;
            }
        }
    }

    /// What is shown of the next of an answer; none where all of it is held back, as it may be the beginning of a secret.
    pub(super) fn frame(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some((masks, stream)) = &mut self.0 else { return Some(frame) };
        match frame.into_data() {
            Ok(data) => {
                let mut shown = Vec::with_capacity(data.len());
                stream.push(masks, &data, &mut shown);
                (!shown.is_empty()).then(|| Frame::data(shown.into()))
            }
            Err(frame) => Some(frame.into_trailers().map_or_else(
                |frame| frame,
                |mut trailers| {
                    self.headers(&mut trailers);
                    Frame::trailers(trailers)
                },
            )),
        }
    }

    /// What was held back when the answer ended.
    pub(super) fn rest(&mut self) -> Option<Frame<Bytes>> {
        let (masks, mut stream) = self.0.take()?;
        let mut shown = Vec::new();
        stream.finish(&masks, &mut shown);
        (!shown.is_empty()).then(|| Frame::data(shown.into()))
    }
}

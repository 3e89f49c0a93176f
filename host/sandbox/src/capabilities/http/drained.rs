//! What a guest sends, taken to its end also where nobody wants the rest: the answer came before all of it was sent, or no
//! connection ever did.
//!
//! A guest sends all of a body before it asks for the answer. If its writing failed, it would tell that, and never hear the
//! answer, or the refusal, that explains it. Must not know what becomes of the exchange.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use wasmtime_wasi_http::{Error, WasiBody};

struct Drained {
    /// None at its end.
    inner: Option<WasiBody>,
    /// More is not taken: it is over the limit of a request, whose failure then says so.
    bytes_left: u64,
}

pub(super) fn drained(inner: WasiBody, bytes_max: u64) -> WasiBody {
    Drained { inner: Some(inner), bytes_left: bytes_max }.boxed_unsync()
}

/// What is left after a frame.
fn after(bytes_left: u64, frame: &Frame<Bytes>) -> u64 {
    bytes_left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64))
}

impl Body for Drained {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.bytes_left = after(self.bytes_left, frame),
            Poll::Ready(_) => self.inner = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let (Some(mut rest), Ok(runtime)) = (self.inner.take(), Handle::try_current()) else { return };
        let mut bytes_left = self.bytes_left;
        if rest.is_end_stream() {
            return;
        }
        // It ends with its guest, at the latest.
        runtime.spawn(async move {
            while bytes_left > 0
                && let Some(Ok(frame)) = rest.frame().await
            {
                bytes_left = after(bytes_left, &frame);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::SinkExt as _;
    use futures::channel::mpsc;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn what_nobody_wants_is_taken_up_to_the_limit() {
        let (mut guest, body) = mpsc::channel(0);
        drop(drained(StreamBody::new(body).boxed_unsync(), 1_000));
        let frame = || Ok(Frame::data(Bytes::from_static(&[0; 100])));
        for _ in 0..9 {
            guest.send(frame()).await.expect("somebody takes it");
        }
        while guest.send(frame()).await.is_ok() {}
    }
}

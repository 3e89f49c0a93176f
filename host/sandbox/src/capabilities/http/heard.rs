//! A connection on which the server is heard to its end, also where it listens no more.
//!
//! A server may answer before it has read all of a request, and close: what is still written to it fails then, while its
//! answer waits to be read. What cannot be written goes nowhere here, and the reading tells how the exchange ended. Must not
//! know what is sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Heard<S> {
    inner: S,
    /// Nothing can be written any more.
    deaf: bool,
}

impl<S> Heard<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, deaf: false }
    }

    fn unless_deaf<T>(&mut self, done: T, write: impl FnOnce(&mut S) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if !self.deaf {
            match write(&mut self.inner) {
                Poll::Ready(Err(_)) => self.deaf = true,
                polled => return polled,
            }
        }
        Poll::Ready(Ok(done))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unless_deaf(bytes.len(), |inner| Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.unless_deaf(bytes, |inner| Pin::new(inner).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_deaf((), |inner| Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_deaf((), |inner| Pin::new(inner).poll_shutdown(cx))
    }
}

//! Lines become pieces: counted, hashed, and handed on when there are enough.

use bytes::{BufMut as _, Bytes, BytesMut};
use pipewright_base::hex;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::ExportError;
use super::lines::{EndLine, FORMAT, Header, Line, VERSION};

const PIECE_BYTES: usize = 64 * 1024;

pub(super) struct Writer {
    to: mpsc::Sender<Result<Bytes, ExportError>>,
    piece: BytesMut,
    hash: Sha256,
    lines: u64,
}

impl Writer {
    pub(super) fn new(to: mpsc::Sender<Result<Bytes, ExportError>>) -> Self {
        Self { to, piece: BytesMut::new(), hash: Sha256::new(), lines: 0 }
    }

    pub(super) async fn header(&mut self, created: u64) -> Result<(), ExportError> {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        self.put(&Header { format: FORMAT.to_owned(), version: VERSION, created, program }).await
    }

    pub(super) async fn line(&mut self, line: &Line) -> Result<(), ExportError> {
        self.put(line).await
    }

    pub(super) async fn end(&mut self) -> Result<(), ExportError> {
        let sha256 = hex::encode(self.hash.clone().finalize());
        self.put(&Line::End(EndLine { lines: self.lines, sha256 })).await?;
        self.hand_on().await
    }

    async fn put(&mut self, line: &impl serde::Serialize) -> Result<(), ExportError> {
        let start = self.piece.len();
        serde_json::to_writer((&mut self.piece).writer(), line)?;
        self.piece.put_u8(b'\n');
        self.hash.update(&self.piece[start..]);
        self.lines += 1;
        match self.piece.len() >= PIECE_BYTES {
            true => self.hand_on().await,
            false => Ok(()),
        }
    }

    async fn hand_on(&mut self) -> Result<(), ExportError> {
        let piece = self.piece.split().freeze();
        self.to.send(Ok(piece)).await.map_err(|_| ExportError::Abandoned)
    }
}

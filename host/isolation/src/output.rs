//! What a job writes, as whole lines: standard output and error are one pipe, so that they come in the order in which they
//! were written. A carriage return ends a line too, or what a program draws over again and again would be seen at its end.
//! Whoever takes them slowly slows the job down; nothing is kept but what is being read.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// A longer line is cut into pieces.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// At most that much comes at once.
pub const LINES_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

/// How much was written, and how it began.
pub(crate) struct Written {
    pub bytes: u64,
    pub head: Vec<u8>,
}

const HEAD_BYTES_MAX: usize = 1 << 10;

/// Sends on whole lines until the end, or until there is more than `bytes_max`: then it says so by `over`, once, and reads on
/// without sending, so that nobody waits who still writes.
pub(crate) async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<Vec<u8>>,
    bytes_max: u64,
    over: impl Fn(),
) -> std::io::Result<Written> {
    let mut written = Written { bytes: 0, head: Vec::new() };
    let mut begun = Vec::new();
    let mut buffer = vec![0; LINE_BYTES_MAX];
    loop {
        let length = from.read(&mut buffer).await?;
        let read = &buffer[..length];
        let was_over = written.bytes > bytes_max;
        written.bytes += length as u64;
        written.head.extend_from_slice(&read[..length.min(HEAD_BYTES_MAX - written.head.len())]);
        if written.bytes > bytes_max {
            if !was_over {
                over();
            }
            begun.clear();
            if length > 0 {
                continue;
            }
        }
        begun.extend_from_slice(read);
        let whole = match begun.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(last) => last + 1,
            None if length == 0 || begun.len() >= LINE_BYTES_MAX => begun.len(),
            None => 0,
        };
        let rest = begun.split_off(whole);
        let lines = std::mem::replace(&mut begun, rest);
        if !lines.is_empty() {
            // Who listens no more has what the job writes thrown away.
            let _ = to.send(lines).await;
        }
        if length == 0 {
            return Ok(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn lines(text: &[u8], bytes_max: u64) -> (Vec<Vec<u8>>, u64) {
        let (to, mut from) = mpsc::channel(1);
        let (written, lines) = tokio::join!(pump(text, to, bytes_max, || ()), async {
            let mut lines = Vec::new();
            while let Some(some) = from.recv().await {
                lines.push(some);
            }
            lines
        });
        (lines, written.unwrap().bytes)
    }

    #[tokio::test]
    async fn what_is_drawn_over_is_seen_as_it_comes() {
        let (mut job, from) = tokio::io::duplex(LINE_BYTES_MAX);
        let (to, mut pieces) = mpsc::channel(1);
        let pumped = tokio::spawn(pump(from, to, 1 << 10, || ()));
        for piece in ["1%\r", "2%\r\n", "\r", "a\rb\n"] {
            job.write_all(piece.as_bytes()).await.unwrap();
            // The job writes nothing more before this one has come.
            assert_eq!(pieces.recv().await.as_deref(), Some(piece.as_bytes()));
        }
        drop(job);
        assert_eq!(pieces.recv().await, None);
        assert_eq!(pumped.await.unwrap().unwrap().bytes, 12);
    }

    #[tokio::test]
    async fn output_comes_in_whole_lines() {
        assert_eq!(lines(b"a\nb\nc", 10).await, (vec![b"a\nb\n".to_vec(), b"c".to_vec()], 5));
        assert_eq!(lines(b"", 10).await, (vec![], 0));
        let long = vec![b'x'; 3 * LINE_BYTES_MAX + 7];
        let (pieces, bytes) = lines(&long, 1 << 20).await;
        assert_eq!(bytes, long.len() as u64);
        assert_eq!(pieces.concat(), long);
        assert!(pieces.iter().all(|piece| piece.len() <= LINES_BYTES_MAX), "{:?}", pieces.len());
        let (pieces, bytes) = lines(&long, 1 << 17).await;
        assert_eq!((pieces.concat().len(), bytes), (1 << 17, long.len() as u64));
    }
}

//! What an engine cannot do without, and nothing else: the same calls of the component and the same rows in sled, grouped
//! and synced by one thread as the store does it. Nothing is decided, encoded, packed, hashed, checked or read back.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_store::{Aggregate, Commit, PartKey};
use tokio::sync::{mpsc, oneshot};

use crate::bare::{Bare, Reach};

/// Actions of a run; each of them comes before a commit, and the first commit of a run is its start.
const ACTIONS: usize = 3;
/// As the store's own (`host/store`): rows in a group, bytes of a row, bytes before a record's body.
const GROUP_ROWS_MAX: usize = 256;
const ROW_BYTES_MAX: usize = 4096;
const RECORD_HEADER_BYTES: usize = 73;
const DIGEST_BYTES: usize = 16;

type Row = (Vec<u8>, Option<Vec<u8>>);
pub(crate) type Written = HashMap<Aggregate, Vec<Vec<Row>>>;

struct Write {
    rows: Vec<Row>,
    durable: oneshot::Sender<()>,
}

pub(crate) struct Replay {
    bare: Arc<Bare>,
    queue: mpsc::Sender<Write>,
    _committer: JoinHandle<anyhow::Result<()>>,
}

impl Replay {
    pub(crate) fn new(bare: Arc<Bare>, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let db = sled::Config::new().path(folder).flush_every_ms(None).open()?;
        let (data, noted) = (File::open(folder.join("db"))?, File::create(folder.join("noted"))?);
        let (queue, writes) = mpsc::channel(1024);
        let committer = std::thread::spawn(move || commit(&db, &data, &noted, writes));
        Ok(Self { bare, queue, _committer: committer })
    }

    /// The rows of the commits of one round of the engine, those of each pipeline in their order.
    pub(crate) fn prepare(commits: &[Commit], pipelines: usize) -> anyhow::Result<Written> {
        let mut sequences = Written::new();
        for commit in commits {
            sequences.entry(commit.aggregate).or_default().push(rows(commit));
        }
        anyhow::ensure!(sequences.len() == pipelines, "{} pipelines wrote, not {pipelines}", sequences.len());
        Ok(sequences)
    }

    /// Replays them.
    pub(crate) async fn round(self: &Arc<Self>, sequences: Written) -> anyhow::Result<Duration> {
        let start = monotonic();
        let running: Vec<_> = sequences
            .into_values()
            .map(|commits| {
                let replay = Arc::clone(self);
                tokio::spawn(async move { replay.pipeline(commits).await })
            })
            .collect();
        for run in running {
            run.await??;
        }
        Ok(start.elapsed())
    }

    async fn pipeline(&self, commits: Vec<Vec<Row>>) -> anyhow::Result<()> {
        for (number, rows) in commits.into_iter().enumerate() {
            if number % (ACTIONS + 1) != 0 {
                self.bare.call("Nothing", "replayed", Reach::default()).await?;
            }
            let (durable, answer) = oneshot::channel();
            self.queue.send(Write { rows, durable }).await.map_err(|_| anyhow::anyhow!("the committer ended"))?;
            answer.await?;
        }
        Ok(())
    }
}

fn commit(db: &sled::Db, data: &File, noted: &File, mut writes: mpsc::Receiver<Write>) -> anyhow::Result<()> {
    let (mut group, mut next) = (0_u64, None);
    while let Some(first) = next.take().or_else(|| writes.blocking_recv()) {
        let (mut batch, mut answers, mut count) = (sled::Batch::default(), Vec::new(), 0);
        let mut write = Some(first);
        while let Some(Write { rows, durable }) = write.take().or_else(|| writes.try_recv().ok()) {
            if !answers.is_empty() && count + rows.len() > GROUP_ROWS_MAX {
                next = Some(Write { rows, durable });
                break;
            }
            count += rows.len();
            answers.push(durable);
            for (key, value) in rows {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
        }
        group += 1;
        batch.insert(&[0xff], &group.to_be_bytes());
        db.apply_batch(batch)?;
        db.flush()?;
        data.sync_data()?;
        noted.write_all_at(&[group.to_be_bytes(), (!group).to_be_bytes()].concat(), 0)?;
        for answer in answers {
            // Whoever waited for it has failed, and says so.
            let _ = answer.send(());
        }
    }
    Ok(())
}

/// A commit's rows, of the sizes that the store gives them.
fn rows(commit: &Commit) -> Vec<Row> {
    let account = commit.aggregate.account.to_be_bytes();
    let key = |letter: u8, name: &[u8]| [&account[..], &[0], &commit.aggregate.uid, &[letter], name].concat();
    let mut rows = Vec::new();
    let mut long = |key: Vec<u8>, header: usize, content: &[u8]| {
        let packed = lz4_flex::block::compress(content).len() + size_of::<u32>();
        let content = vec![0x55; 2 + header + packed.min(content.len())];
        for (number, chunk) in content.chunks(ROW_BYTES_MAX).enumerate() {
            let mut key = key.clone();
            if number > 0 {
                key.extend_from_slice(&[b'm', number as u8, 0, 0]);
            }
            rows.push((key, Some(chunk.to_vec())));
        }
    };
    let mut record = Vec::new();
    let mut removed = Vec::new();
    for (part, value) in &commit.puts {
        let (letter, name) = match part {
            PartKey::Live(name) => (b'l', name),
            PartKey::Archived(name) => (b'a', name),
        };
        record.extend_from_slice(name);
        match value {
            Some(value) => {
                record.extend_from_slice(&[0x55; 3 + DIGEST_BYTES]);
                long(key(letter, name), DIGEST_BYTES, value);
            }
            None => removed.push((key(letter, name), None)),
        }
    }
    record.extend(commit.events.iter().flatten());
    long(key(b'r', &(commit.expected + 1).to_be_bytes()), RECORD_HEADER_BYTES, &record);
    rows.push((key(b'h', &[]), Some(vec![0x55; 40])));
    rows.extend(removed);
    rows.extend(commit.index.iter().map(|(index, value)| {
        let key = [&account[..], &[1, index.kind], &index.name].concat();
        (key, value.as_ref().map(|value| value.to_vec()))
    }));
    rows
}

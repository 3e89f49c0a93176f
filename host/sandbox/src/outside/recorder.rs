//! Keeps what comes to a call from outside, within a limit on its bytes.
//!
//! Owns what fits, and that no secret value is left in it. Must not know what a capability does with what it got.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use sha2::{Digest as _, Sha256};

use super::codes;
use super::step::{Body, HttpRequest, HttpResponse, HttpStep, Recorded, RecordedDirectory, Step};
use crate::files::{Digest, Tree};
use crate::masks::Masks;
use crate::seam::HostCallOutcome;

/// What a step takes besides its texts.
const STEP_BYTES: u64 = 64;
/// A compressed body is looked into up to this size; what is larger is left out. Stops a bomb.
const DECODED_BYTES_MAX: u64 = 64 << 20;
/// Sentences about what was left out; after these nothing more is said. Stops a list that grows with a loop in a guest.
const LEFT_OUT_MAX: usize = 100;

/// One per call.
pub struct Recorder {
    bytes_max: u64,
    bytes_left: AtomicU64,
    room: Arc<Room>,
    kept: Mutex<Kept>,
}

/// What all recorders of a host may hold together. Stops a thousand calls that each keep to their own limit.
pub struct Room(AtomicU64);

impl Room {
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self(bytes_max.into()))
    }
}

fn take(left: &AtomicU64, bytes: u64) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes_max - self.bytes_left.load(Relaxed), Relaxed);
    }
}

#[derive(Default)]
struct Kept {
    time: u64,
    looked_at_time: bool,
    steps: Vec<Made>,
    steps_left_out: u64,
    directories: BTreeMap<String, Directory>,
}

enum Made {
    Step(Step),
    Http(Tape),
}

/// A granted directory: what it was, and became, or why that is not kept.
struct Directory {
    before: Result<Snapshot, String>,
    after: Option<Result<Snapshot, String>>,
}

/// A directory's manifest and the contents of its files.
pub(crate) struct Snapshot {
    pub(crate) tree: Tree,
    pub(crate) files: Vec<Bytes>,
}

impl Recorder {
    /// Keeps at most `bytes_max` bytes, and no more than there is room for; says what it left out.
    pub fn new(bytes_max: u64, room: &Arc<Room>) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes_left: bytes_max.into(), room: Arc::clone(room), kept: Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: u64) -> bool {
        let takes = take(&self.room.0, bytes);
        let taken = takes && take(&self.bytes_left, bytes);
        if takes && !taken {
            self.room.0.fetch_add(bytes, Relaxed);
        }
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.bytes_left.fetch_add(bytes, Relaxed);
        self.room.0.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn bytes_left(&self) -> u64 {
        self.bytes_left.load(Relaxed)
    }

    pub(crate) fn start(&self, milliseconds: u64) {
        self.kept().time = milliseconds;
    }

    pub(crate) fn looked_at_time(&self) {
        self.kept().looked_at_time = true;
    }

    pub(crate) fn step(&self, bytes: usize, step: impl FnOnce() -> Step) {
        if self.take(STEP_BYTES + bytes as u64) && self.kept().steps_left_out == 0 {
            let step = step();
            self.kept().steps.push(Made::Step(step));
        } else {
            self.kept().steps_left_out += 1;
        }
    }

    /// Begins to keep a request, as the guest wrote it.
    pub(crate) fn tape(self: &Arc<Self>, method: &Method, url: &Uri, headers: &HeaderMap) -> Option<Tape> {
        let (url, headers) = (url.to_string(), sorted(headers));
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !self.take(STEP_BYTES + (bytes + url.len()) as u64) || self.kept().steps_left_out > 0 {
            self.kept().steps_left_out += 1;
            return None;
        }
        let exchange = Exchange {
            method: method.to_string(),
            url,
            headers,
            sent: Reel::default(),
            response: None,
            received: Reel::default(),
            error: None,
            ended: false,
            outcome: None,
        };
        let tape = Tape { recorder: Arc::clone(self), exchange: Arc::new(Mutex::new(exchange)) };
        self.kept().steps.push(Made::Http(tape.clone()));
        Some(tape)
    }

    /// What a granted directory is, before the guest sees anything of it.
    pub(crate) fn directory(&self, name: &str, before: Result<Snapshot, String>) {
        let before = before.and_then(|snapshot| self.fitting(snapshot));
        self.kept().directories.insert(name.to_owned(), Directory { before, after: None });
    }

    /// What became of it.
    pub(crate) fn directory_after(&self, name: &str, after: Result<Snapshot, String>) {
        let after = after.and_then(|snapshot| self.fitting(snapshot));
        if let Some(directory) = self.kept().directories.get_mut(name) {
            directory.after = Some(after);
        }
    }

    fn fitting(&self, snapshot: Snapshot) -> Result<Snapshot, String> {
        let bytes = snapshot.files.iter().map(|file| file.len() as u64).sum::<u64>();
        let manifest = snapshot.tree.to_bytes().len() as u64;
        if self.take(bytes + manifest) { Ok(snapshot) } else { Err(self.too_much()) }
    }

    fn too_much(&self) -> String {
        format!("it does not fit into {} bytes (recording_bytes_max)", self.bytes_max)
    }

    /// All that was kept, without secret values. To be asked when the guest is gone.
    pub(crate) fn finish(&self, masks: &Masks) -> Recorded {
        let Kept { time, looked_at_time, steps, steps_left_out, directories } = std::mem::take(&mut *self.kept());
        let mut cleaner = Cleaner { masks, too_much: self.too_much(), recorded: Recorded::default() };
        let steps = steps.into_iter().map(|made| match made {
            Made::Step(step) => cleaner.step(step),
            Made::Http(tape) => Step::Http(Box::new(cleaner.exchange(&mut tape.exchange()))),
        });
        let steps = steps.collect();
        let directories = directories
            .into_iter()
            .map(|(name, Directory { before, after })| {
                let before = cleaner.snapshot(&name, "before the call", before);
                let after = after.and_then(|after| cleaner.snapshot(&name, "after the call", after));
                (name, RecordedDirectory { before, after })
            })
            .collect();
        if steps_left_out > 0 {
            cleaner.leave_out(format!("the last {steps_left_out} host calls: {}", self.too_much()));
        }
        Recorded { time, looked_at_time, steps, steps_left_out, directories, ..cleaner.recorded }
    }
}

/// Headers in the order of their names, those of one name in their own order.
pub(crate) fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut sorted: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    sorted
}

/// A request under way, and its answer.
#[derive(Clone)]
pub(crate) struct Tape {
    recorder: Arc<Recorder>,
    exchange: Arc<Mutex<Exchange>>,
}

struct Exchange {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    sent: Reel,
    response: Option<(u16, Vec<(String, String)>)>,
    received: Reel,
    error: Option<super::HttpError>,
    ended: bool,
    outcome: Option<HostCallOutcome>,
}

/// A body as it passes by.
struct Reel {
    bytes: u64,
    hasher: Sha256,
    /// None once it does not fit.
    kept: Option<Vec<u8>>,
}

impl Default for Reel {
    fn default() -> Self {
        Self { bytes: 0, hasher: Sha256::new(), kept: Some(Vec::new()) }
    }
}

impl Reel {
    fn pass(&mut self, data: &[u8], recorder: &Recorder) {
        self.bytes += data.len() as u64;
        self.hasher.update(data);
        if let Some(kept) = &mut self.kept {
            if recorder.take(data.len() as u64) {
                kept.extend_from_slice(data);
            } else {
                recorder.give_back(kept.len() as u64);
                self.kept = None;
            }
        }
    }
}

impl Tape {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self, data: &[u8]) {
        self.exchange().sent.pass(data, &self.recorder);
    }

    pub(crate) fn response(&self, status: u16, headers: &HeaderMap) {
        let headers = sorted(headers);
        self.exchange().response = Some((status, headers));
    }

    pub(crate) fn received(&self, data: &[u8]) {
        self.exchange().received.pass(data, &self.recorder);
    }

    /// The response's body ended, or there was an error.
    pub(crate) fn ended(&self, error: Option<&wasmtime_wasi_http::Error>) {
        let mut exchange = self.exchange();
        exchange.ended = true;
        exchange.error = error.map(codes::told);
    }

    pub(crate) fn outcome(&self, outcome: HostCallOutcome) {
        self.exchange().outcome = Some(outcome);
    }
}

/// Takes secret values out of what was kept.
struct Cleaner<'a> {
    masks: &'a Masks,
    too_much: String,
    recorded: Recorded,
}

impl Cleaner<'_> {
    fn leave_out(&mut self, what: String) {
        if self.recorded.left_out.len() < LEFT_OUT_MAX {
            self.recorded.left_out.push(what);
        }
    }

    fn text(&self, text: &str) -> String {
        self.masks.text(text).into_owned()
    }

    fn outcome(&self, outcome: HostCallOutcome) -> HostCallOutcome {
        match outcome {
            HostCallOutcome::Done => HostCallOutcome::Done,
            HostCallOutcome::Denied(text) => HostCallOutcome::Denied(self.text(&text)),
            HostCallOutcome::Limit(text) => HostCallOutcome::Limit(self.text(&text)),
            HostCallOutcome::Failed(text) => HostCallOutcome::Failed(self.text(&text)),
        }
    }

    fn step(&self, step: Step) -> Step {
        match step {
            Step::Secrets { operation, name, user, stand_in, outcome } => {
                let (name, user) = (self.text(&name), user.map(|user| self.text(&user)));
                Step::Secrets { operation, name, user, stand_in, outcome: self.outcome(outcome) }
            }
            Step::Directories { operation, target, bytes, outcome } => {
                let target = self.text(&target);
                Step::Directories { operation, target, bytes, outcome: self.outcome(outcome) }
            }
            step => step,
        }
    }

    fn exchange(&mut self, exchange: &mut Exchange) -> HttpStep {
        let url = self.text(&exchange.url);
        let shown = format!("{} {url}", exchange.method);
        let sent = std::mem::take(&mut exchange.sent);
        let body = self.body(&format!("the body of the request {shown}"), sent, &exchange.headers);
        let headers = self.headers(&exchange.headers);
        let request = HttpRequest { method: exchange.method.clone(), url, headers, body };
        let received = std::mem::take(&mut exchange.received);
        let has_response = exchange.response.is_some();
        let response = exchange.response.take().map(|(status, headers)| {
            let body = self.body(&format!("the body of the answer to {shown}"), received, &headers);
            let mut masked = self.headers(&headers);
            if masked != headers {
                self.leave_out(format!("a secret's value in the headers of the answer to {shown}: it is masked"));
            }
            if body.masked {
                let length = self.recorded.blobs.get(&body.sha256).map_or(0, Bytes::len);
                let lengths = masked.iter_mut().filter(|(name, _)| name == "content-length");
                lengths.for_each(|(_, value)| *value = length.to_string());
            }
            HttpResponse { status, headers: masked, body }
        });
        let given_up = if has_response {
            HostCallOutcome::Done
        } else {
            HostCallOutcome::Failed("the plugin gave it up before a response came".to_owned())
        };
        let outcome = self.outcome(exchange.outcome.take().unwrap_or(given_up));
        let error = exchange
            .error
            .take()
            .map(|error| super::HttpError { text: error.text.as_deref().map(|text| self.text(text)), ..error });
        HttpStep { request, response, error, ended: exchange.ended, outcome }
    }

    fn headers(&self, headers: &[(String, String)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| (name.clone(), self.text(value))).collect()
    }

    fn body(&mut self, what: &str, reel: Reel, headers: &[(String, String)]) -> Body {
        let Reel { bytes, hasher, kept } = reel;
        let left_out = |sha256: [u8; 32]| Body { bytes, sha256: sha256.into(), masked: false, left_out: true };
        let Some(kept) = kept else {
            let too_much = self.too_much.clone();
            self.leave_out(format!("{what}: {too_much}"));
            return left_out(hasher.finalize().into());
        };
        if let Err(why) = self.within(&kept, headers) {
            self.leave_out(format!("{what}: {why}"));
            return left_out(hasher.finalize().into());
        }
        let clean = self.masks.bytes(&kept);
        let masked = *clean != *kept;
        let clean = clean.into_owned();
        if masked {
            self.leave_out(format!("a secret's value in {what}: it is masked"));
        }
        Body { bytes, sha256: self.blob(clean.into()), masked, left_out: false }
    }

    /// Whether a compressed body may be kept: what is in it cannot be masked.
    fn within(&self, body: &[u8], headers: &[(String, String)]) -> Result<(), &'static str> {
        if self.masks.is_empty() || body.is_empty() {
            return Ok(());
        }
        let encoding = headers.iter().find(|(name, _)| name == "content-encoding");
        let encoding = encoding.map(|(_, value)| value.trim().to_ascii_lowercase()).unwrap_or_default();
        let decoded = match encoding.as_str() {
            "gzip" | "x-gzip" => decoded(MultiGzDecoder::new(body)),
            _ if body.starts_with(b"\x1f\x8b") => decoded(MultiGzDecoder::new(body)),
            // In practice with or without zlib's header.
            "deflate" => decoded(ZlibDecoder::new(body)).or_else(|| decoded(DeflateDecoder::new(body))),
            "" | "identity" => return Ok(()),
            _ => return Err("it is compressed in a way in which no secrets can be looked for"),
        };
        match decoded.as_deref().map(|decoded| self.masks.bytes(decoded)) {
            Some(std::borrow::Cow::Borrowed(_)) => Ok(()),
            Some(std::borrow::Cow::Owned(_)) => Err("it has a secret's value, compressed"),
            None => Err("no secrets can be looked for in it, compressed as it is"),
        }
    }

    fn blob(&mut self, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.recorded.blobs.insert(digest, bytes);
        digest
    }

    fn snapshot(&mut self, name: &str, when: &str, snapshot: Result<Snapshot, String>) -> Option<Digest> {
        let what = format!("the directory {name}, as it was {when}");
        let Snapshot { tree, files } = match snapshot {
            Ok(snapshot) => snapshot,
            Err(why) => {
                self.leave_out(format!("{what}: {why}"));
                return None;
            }
        };
        let manifest = tree.to_bytes();
        let has_secret = |bytes: &[u8]| matches!(self.masks.bytes(bytes), std::borrow::Cow::Owned(_));
        if has_secret(&manifest) || files.iter().any(|file| has_secret(file)) {
            self.leave_out(format!("{what}: a secret's value is in it"));
            return None;
        }
        for file in files {
            self.blob(file);
        }
        Some(self.blob(manifest.into()))
    }
}

fn decoded(decoder: impl std::io::Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(DECODED_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= DECODED_BYTES_MAX).then_some(bytes)
}

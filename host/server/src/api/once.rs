//! A request that was captured and is sent again, as long as its signature counts, changes nothing a second time: it is answered
//! as it was the first time.
//!
//! Owns what is remembered of each account, and for how long. Must not know what was asked for. What starts an execution is held to
//! its signature by the driver besides, durably (S94).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::http::response::Parts;
use http_body_util::BodyExt as _;
use tokio::sync::OnceCell;

use super::error::ApiError;
use crate::service::{Context, EQUAL_ONES_COME_WITHIN};
use pipewright_base::clock;

/// A signature counts from fifteen minutes before its time to fifteen minutes after it.
const COUNTS_FOR: Duration = Duration::from_secs(30 * 60);
/// Beyond that what is oldest is forgotten. Stops an account from filling the memory with what it is told.
const BYTES_PER_ACCOUNT_MAX: usize = 4 << 20;
/// What is remembered of a request beside its answer.
const REQUEST_BYTES: usize = 256;

/// What is told, and can be told again.
pub trait Answer: Clone {
    /// A failure that passes is not kept: who tries again means it.
    fn is_final(&self) -> bool;
    fn bytes(&self) -> usize;
}

impl Answer for Result<Bytes, ApiError> {
    fn is_final(&self) -> bool {
        self.as_ref().err().is_none_or(ApiError::is_final)
    }

    fn bytes(&self) -> usize {
        self.as_ref().map_or_else(|error| error.message.len(), Bytes::len)
    }
}

/// A whole answer over plain HTTP.
#[derive(Clone)]
pub struct Whole(Parts, Bytes);

impl Whole {
    pub async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        // It is made of bytes that are there: nothing of it can fail.
        Self(parts, body.collect().await.map(|body| body.to_bytes()).unwrap_or_default())
    }

    pub fn response(self) -> Response<Body> {
        Response::from_parts(self.0, Body::from(self.1))
    }
}

impl Answer for Whole {
    fn is_final(&self) -> bool {
        is_final(self.0.status)
    }

    fn bytes(&self) -> usize {
        self.1.len()
    }
}

pub(super) fn is_final(status: axum::http::StatusCode) -> bool {
    !status.is_server_error() && status != axum::http::StatusCode::TOO_MANY_REQUESTS
}

pub struct Once<A>(Mutex<HashMap<u64, Remembered<A>>>);

struct Remembered<A> {
    requests: HashMap<String, Request<A>>,
    /// By signature, the oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

struct Request<A> {
    first: Instant,
    bytes: usize,
    answer: Arc<OnceCell<A>>,
}

impl<A> Default for Once<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Answer> Once<A> {
    /// What comes of `run`, or what came of it when the request was sent first.
    pub async fn answer(&self, context: &Context, run: impl Future<Output = A>) -> A {
        self.answer_at(context, clock::monotonic(), run).await
    }

    async fn answer_at(&self, context: &Context, now: Instant, run: impl Future<Output = A>) -> A {
        let Some(signature) = &context.signature else { return run.await };
        let Some(answer) = self.begin(context.account, signature, now) else { return run.await };
        // Who sends it again while it is still being done waits for the end. Where nobody does it any more, it is done now.
        let made = answer.get_or_try_init(|| async {
            let answer = run.await;
            if !answer.is_final() {
                return Err(answer);
            }
            self.made(context.account, signature, answer.bytes());
            Ok(answer)
        });
        match made.await {
            Ok(answer) => answer.clone(),
            Err(failed) => failed,
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<u64, Remembered<A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer of this request is, or will be; none where it is an equal one of the same second.
    fn begin(&self, account: u64, signature: &str, now: Instant) -> Option<Arc<OnceCell<A>>> {
        let mut accounts = self.remembered();
        let of = accounts.entry(account).or_default();
        of.forget(now);
        if let Some(request) = of.requests.get(signature) {
            let is_meant = now.saturating_duration_since(request.first) < EQUAL_ONES_COME_WITHIN;
            return (!is_meant).then(|| Arc::clone(&request.answer));
        }
        let answer = Arc::<OnceCell<A>>::default();
        let request = Request { first: now, bytes: REQUEST_BYTES, answer: Arc::clone(&answer) };
        of.bytes += request.bytes;
        of.requests.insert(signature.to_owned(), request);
        of.order.push_back(signature.to_owned());
        Some(answer)
    }

    fn made(&self, account: u64, signature: &str, bytes: usize) {
        let mut accounts = self.remembered();
        let Some(of) = accounts.get_mut(&account) else { return };
        let Some(request) = of.requests.get_mut(signature) else { return };
        request.bytes += bytes;
        of.bytes += bytes;
    }
}

impl<A> Default for Remembered<A> {
    fn default() -> Self {
        Self { requests: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<A> Remembered<A> {
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front().and_then(|signature| self.requests.get(signature))
            && (self.bytes > BYTES_PER_ACCOUNT_MAX || now.saturating_duration_since(oldest.first) > COUNTS_FOR)
        {
            self.bytes -= oldest.bytes;
            if let Some(signature) = self.order.pop_front() {
                self.requests.remove(&signature);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use pipewright_base::Source;

    type Told = Result<Bytes, ApiError>;

    struct World {
        once: Once<Told>,
        start: Instant,
        /// How often something was done.
        done: Cell<usize>,
    }

    impl World {
        fn new() -> Self {
            Self { once: Once::default(), start: clock::monotonic(), done: Cell::new(0) }
        }

        /// What a request is told that is sent at this second, and would now come to this.
        async fn sends(&self, account: u64, signature: Option<&str>, second: u64, now: Told) -> String {
            let signature = signature.map(str::to_owned);
            let context = Context { signature, ..Context::of_host("test", Source::Api, account) };
            let run = async {
                self.done.set(self.done.get() + 1);
                now
            };
            match self.once.answer_at(&context, self.start + Duration::from_secs(second), run).await {
                Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                Err(error) => error.code.to_owned(),
            }
        }
    }

    fn told(text: &str) -> Told {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Account, signature, second, what it would come to, what is told, and how often something was done by then.
    type Row = (u64, Option<&'static str>, u64, Told, &'static str, usize);

    #[tokio::test]
    async fn what_is_sent_again_is_done_once_and_answered_the_same() {
        let refused = || Err(ApiError::new("ConflictException", "no"));
        let busy = || Err(ApiError::unavailable("later"));
        let rows: Vec<Row> = vec![
            (1, Some("a"), 0, told("first"), "first", 1),
            (1, Some("a"), 1, told("an equal one"), "an equal one", 2),
            (1, Some("a"), 2, told("captured"), "first", 2),
            (1, Some("a"), 900, told("captured"), "first", 2),
            (1, Some("b"), 900, told("another"), "another", 3),
            (2, Some("a"), 900, told("of another account"), "of another account", 4),
            (1, None, 900, told("of the host"), "of the host", 5),
            (1, None, 905, told("of the host"), "of the host", 6),
            // A refusal stays one, though it would be allowed by now.
            (1, Some("c"), 900, refused(), "ConflictException", 7),
            (1, Some("c"), 905, told("captured"), "ConflictException", 7),
            // What did not come about is done when it is sent again.
            (1, Some("d"), 900, busy(), "ServiceUnavailableException", 8),
            (1, Some("d"), 905, told("done"), "done", 9),
            (1, Some("d"), 910, told("captured"), "done", 9),
            // The signature counts no more: nothing with it comes in.
            (1, Some("a"), 1801, told("forgotten"), "forgotten", 10),
        ];
        let world = World::new();
        for (account, signature, second, now, expected, done) in rows {
            let row = format!("{account} {signature:?} at {second}");
            assert_eq!(world.sends(account, signature, second, now).await, expected, "{row}");
            assert_eq!(world.done.get(), done, "{row}");
        }
    }

    #[tokio::test]
    async fn who_sends_it_again_meanwhile_waits_for_the_end_and_goes_on_where_it_was_given_up() {
        let world = World::new();
        let context = Context { signature: Some("a".to_owned()), ..Context::of_host("test", Source::Api, 1) };
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let slow = async {
            let _ = ended.await;
            told("slow")
        };
        let first = world.once.answer_at(&context, world.start, slow);
        let again = async {
            let again = world.sends(1, Some("a"), 5, told("again"));
            let end = async { drop(end) };
            tokio::join!(again, end).0
        };
        let (first, again) = tokio::join!(first, again);
        assert_eq!((first.unwrap(), again, world.done.get()), (Bytes::from("slow"), "slow".to_owned(), 0));

        let context = Context { signature: Some("b".to_owned()), ..context };
        let mut given_up = Box::pin(world.once.answer_at(&context, world.start, std::future::pending()));
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert_eq!(world.sends(1, Some("b"), 5, told("done")).await, "done");
        assert_eq!(world.done.get(), 1);
    }

    #[tokio::test]
    async fn what_is_remembered_of_an_account_is_bounded() {
        let world = World::new();
        let large = "x".repeat(BYTES_PER_ACCOUNT_MAX / 8);
        world.sends(2, Some("a"), 0, told("of another account")).await;
        for number in 0..100 {
            world.sends(1, Some(&number.to_string()), 0, told(&large)).await;
        }
        for number in 0..20_000 {
            world.sends(3, Some(&number.to_string()), 0, told("")).await;
        }
        let most = |of: &Remembered<Told>| of.requests.len() <= 1 + BYTES_PER_ACCOUNT_MAX / REQUEST_BYTES;
        for of in world.once.remembered().values() {
            assert!(of.bytes <= BYTES_PER_ACCOUNT_MAX + large.len() + 2 * REQUEST_BYTES && most(of), "{}", of.bytes);
            assert_eq!(of.order.len(), of.requests.len());
        }
        assert_eq!(world.sends(2, Some("a"), 5, told("captured")).await, "of another account");
        // The newest are the ones that are kept.
        assert_eq!(world.sends(1, Some("99"), 5, told("captured")).await, large);
    }
}

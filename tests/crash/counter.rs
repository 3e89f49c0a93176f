//! The server that the counting actions call: what it must see, and what it may never see, however often the host dies.
//!
//! An action in flight is one whose start is durable and of which no answer was accepted. Each start of the host counts a
//! further attempt of it before it calls the action: so the host may die between the two, and an attempt is counted that
//! nobody saw. Where the host died once between two calls, the second is exactly the next attempt.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pipewright_base::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::random::Random;

/// How long a call takes; deaths are meant to find some in flight.
const CALL_MILLISECONDS_MAX: u64 = 150;
const WAIT_MILLISECONDS_MAX: u64 = 400;
/// One call of so many answers that it waits.
const CALLS_PER_WAIT: u64 = 8;

/// One call as the action told it.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    attempt: u32,
    /// After a wait.
    resumed: bool,
    /// Which process of the host called, from 0 on.
    life: u32,
}

#[derive(Clone)]
pub struct Counter {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// By idempotency key, in the order in which they came.
    calls: Mutex<HashMap<String, Vec<Called>>>,
    random: Mutex<Random>,
    life: AtomicU32,
    /// Connections that are open.
    open: watch::Sender<usize>,
}

impl Counter {
    pub async fn start(random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            random: Mutex::new(random),
            life: AtomicU32::new(0),
            open: watch::Sender::new(0),
        });
        tokio::spawn(Arc::clone(&shared).accept(listener));
        Self { address, shared }
    }

    pub fn life(&self) -> u32 {
        self.shared.life.load(Ordering::SeqCst)
    }

    /// The host has died: all that it said was heard, and whatever comes now another process says.
    pub async fn next_life(&self) {
        // Connections are accepted in their order: when this one is answered, those of the dead process were accepted.
        let mut last = TcpStream::connect(self.address).await.unwrap();
        last.write_all(b"GET / HTTP/1.1\r\nhost: counter\r\n\r\n").await.unwrap();
        last.read_u8().await.unwrap();
        self.shared.open.subscribe().wait_for(|open| *open == 1).await.unwrap();
        self.shared.life.fetch_add(1, Ordering::SeqCst);
    }

    /// The attempt of an action execution that was called last.
    pub fn last_attempt(&self, key: &str) -> Option<u32> {
        self.shared.calls.lock().unwrap().get(key).and_then(|calls| calls.last()).map(|called| called.attempt)
    }

    /// `over` says in which life each action execution was first seen to have ended.
    pub fn check(&self, over: &HashMap<String, u32>) {
        let calls = self.shared.calls.lock().unwrap();
        for (key, calls) in &*calls {
            if let Err(why) = check(calls, over.get(key).copied()) {
                panic!("action execution {key}: {why}: {calls:?}, over in life {:?}", over.get(key));
            }
        }
    }

    /// How many calls there were, and how many of them ran again what a death had interrupted.
    pub fn counts(&self) -> (usize, usize) {
        let calls = self.shared.calls.lock().unwrap();
        let again = |calls: &Vec<Called>| calls.windows(2).filter(|pair| pair[0].resumed == pair[1].resumed).count();
        (calls.values().map(Vec::len).sum(), calls.values().map(again).sum())
    }
}

/// What holds for the calls of one action execution.
fn check(calls: &[Called], over: Option<u32>) -> Result<(), &'static str> {
    if over.is_some_and(|over| calls.iter().any(|called| called.life > over)) {
        return Err("it was called after its result was accepted");
    }
    if calls.first().is_some_and(|first| first.attempt < 1 || first.attempt > 1 + first.life || first.resumed) {
        return Err("its first call is none");
    }
    for pair in calls.windows(2) {
        let [before, after] = [pair[0], pair[1]];
        // Where they are in another order no count is right.
        let deaths = after.life.wrapping_sub(before.life);
        if before.resumed && !after.resumed {
            return Err("it was called again from before its wait");
        }
        if before.resumed == after.resumed && deaths == 0 {
            return Err("it was called twice by one process");
        }
        let attempts = i64::from(after.attempt) - i64::from(before.attempt);
        let attempts_min = i64::from(before.resumed == after.resumed);
        if !(attempts_min..=i64::from(deaths)).contains(&attempts) {
            return Err("its attempts do not count the deaths");
        }
    }
    Ok(())
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.open.send_modify(|open| *open += 1);
            let shared = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| shared.count(request));
                // One that breaks off is a host that died.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                shared.open.send_modify(|open| *open -= 1);
            });
        }
    }

    async fn count(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = |text: String| Ok(Response::new(Full::from(text)));
        // A call that did not arrive whole was none.
        let Ok(body) = request.into_body().collect().await else { return answer(String::new()) };
        let told = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let [key, attempt, call] = told.split(' ').collect::<Vec<_>>()[..] else { return answer(String::new()) };
        let resumed = call == "resumed";
        let called = Called { attempt: attempt.parse().unwrap(), resumed, life: self.life.load(Ordering::SeqCst) };
        self.calls.lock().unwrap().entry(key.to_owned()).or_default().push(called);
        let (takes, waits) = {
            let mut random = self.random.lock().unwrap();
            let waits = !resumed && random.below(CALLS_PER_WAIT) == 0;
            (random.below(CALL_MILLISECONDS_MAX), waits.then(|| random.below(WAIT_MILLISECONDS_MAX)))
        };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        answer(waits.map_or("done".to_owned(), |waits| format!("wait {}", clock::now_ms() + waits)))
    }
}

#[test]
fn the_check_can_fail() {
    let call = |attempt, resumed, life| Called { attempt, resumed, life };
    let fails = |calls: &[Called], over, expected| assert_eq!(check(calls, over), expected, "{calls:?}");
    let (first, again) = (call(1, false, 3), call(2, false, 4));
    fails(&[first, again], Some(4), Ok(()));
    fails(&[first, call(1, true, 3), call(2, true, 4)], None, Ok(()));
    fails(&[call(2, false, 4), call(4, false, 7)], None, Ok(()));
    fails(&[first, again], Some(3), Err("it was called after its result was accepted"));
    fails(&[call(5, false, 3)], None, Err("its first call is none"));
    fails(&[call(1, true, 3)], None, Err("its first call is none"));
    fails(&[first, first], None, Err("it was called twice by one process"));
    fails(&[first, call(1, true, 3), again], None, Err("it was called again from before its wait"));
    fails(&[first, call(1, false, 4)], None, Err("its attempts do not count the deaths"));
    fails(&[first, call(3, false, 4)], None, Err("its attempts do not count the deaths"));
    fails(&[again, first], None, Err("its attempts do not count the deaths"));
}

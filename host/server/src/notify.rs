//! Delivering the events of accounts to the addresses that they named (S145 to S149), and to git hosts what they say of commits.
//!
//! Owns which targets have a lane, what is known of each since the start, and how one delivery is made. Must not know when it is made
//! (`lane`), what an event says, nor what is kept of a target (the service).

mod lane;
mod signature;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_base::Scope;
use pipewright_base::fair::Permits;
use pipewright_runner::connections::Connection;
use pipewright_sandbox::capabilities::http::{is_not_public, origin_of};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::service::Service;
use crate::service::connections::statuses::{self, Telling};
use crate::service::events::FeedEvent;
use crate::service::notifications;
pub use pipewright_sandbox::capabilities::http::{Method, Outgoing, Unsent};
pub use signature::SigningSecret;

/// Deliveries that are made at once; more wait. Stops targets that hang from taking all connections.
const DELIVERIES_AT_ONCE_MAX: usize = 64;
/// And of one account. Stops an account whose targets hang from being waited for by every other.
const DELIVERIES_OF_ACCOUNT_MAX: usize = 8;
/// What the host calls itself where it asks others.
pub const USER_AGENT: &str = concat!("pipewright/", env!("CARGO_PKG_VERSION"));

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub account: u64,
    pub name: String,
    pub to: To,
    /// In milliseconds since 1970: what happened before is not told. None of one that the configuration names, which is told
    /// from the first start on that knew it.
    pub created: u64,
    /// Whether the configuration names it.
    pub configured: bool,
}

/// Who is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// An address: of all events, signed.
    Address { url: String, secret: SigningSecret },
    /// A git host: of the commits that executions fetched by this connection, which has the name (S240).
    Host { connection: String, is: Box<Connection> },
}

impl To {
    /// What lets it be at an address that is not public.
    fn allowed_by(&self) -> &'static str {
        match self {
            Self::Address { .. } => ALLOWED_BY,
            Self::Host { .. } => "allow it by `--private` of `pipewright connection create`",
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        match self {
            Self::Address { url, .. } => url,
            Self::Host { is, .. } => is.address(),
        }
    }

    /// Whether what was answered so is answered so always. A commit or repository that a host does not know is in the way of no other.
    pub fn is_final(&self, status: u16) -> bool {
        matches!(self, Self::Host { .. }) && matches!(status, 400 | 404 | 405 | 410 | 422)
    }
}

/// Sends a request once.
pub type Post = Arc<dyn Fn(Outgoing) -> BoxFuture<'static, Result<(), Unsent>> + Send + Sync>;

/// Whether something can be sent there, as far as a URL tells.
pub fn is_address(url: &str) -> bool {
    origin_of(url).is_some()
}

/// What is known of a target since the start of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub delivered: u64,
    /// When, in milliseconds since 1970.
    pub last: Option<u64>,
    pub failing: Option<Failing>,
}

/// The event that is not delivered yet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    pub attempts: u32,
    pub reason: String,
    /// When it is tried again, in milliseconds since 1970.
    pub next: u64,
}

/// What the operator says of notifications.
#[derive(Default)]
pub struct Configured {
    /// Origins that are not public ones, and may be led to.
    pub private: BTreeSet<String>,
    pub targets: BTreeMap<String, (String, SigningSecret)>,
}

/// For metrics: of all targets since the start of the host.
#[derive(Default)]
pub struct Counts {
    pub delivered: AtomicU64,
    /// Attempts, of which an event may have several.
    pub failed: AtomicU64,
    pub given_up: AtomicU64,
}

/// What lets a target be at an address that is not public.
const ALLOWED_BY: &str = "those who run the host allow its origin by `private` in [notifications]";

/// What others ask of notifications.
pub struct Notify {
    pub configured: Configured,
    pub counts: Counts,
    post: Post,
    changed: mpsc::UnboundedSender<()>,
    statuses: Mutex<HashMap<(u64, String), Status>>,
    permits: Permits,
}

/// Delivers for as long as it runs.
pub struct Notifier {
    changes: mpsc::UnboundedReceiver<()>,
}

impl Notify {
    /// The two ends: what others ask, and what delivers.
    pub fn channel(configured: Configured, post: Post) -> (Arc<Self>, Notifier) {
        let (changed, changes) = mpsc::unbounded_channel();
        let permits = Permits::new(DELIVERIES_AT_ONCE_MAX, DELIVERIES_OF_ACCOUNT_MAX);
        let counts = Counts::default();
        (
            Arc::new(Self { configured, counts, post, changed, statuses: Mutex::default(), permits }),
            Notifier { changes },
        )
    }

    /// Sends a request once that is no delivery of an event.
    pub async fn post(&self, outgoing: Outgoing) -> Result<(), Unsent> {
        (self.post)(outgoing).await
    }

    /// Targets were made, changed or removed.
    pub fn changed(&self) {
        // A host that is going down delivers no more.
        let _ = self.changed.send(());
    }

    pub fn status(&self, account: u64, name: &str) -> Status {
        self.statuses().get(&(account, name.to_owned())).cloned().unwrap_or_default()
    }

    /// An event as its receivers have it, in the attempt of this number at `now`, in milliseconds since 1970.
    fn signed(&self, (url, secret): (&str, &SigningSecret), told: &FeedEvent, attempt: u32, now: u64) -> Outgoing {
        let (body, seconds) = (Bytes::from(told.event.to_string()), now / 1000);
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("webhook-id", told.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", secret.sign(&told.id, seconds, &body)),
            ("pipewright-attempt", attempt.to_string()),
        ];
        Outgoing { method: Method::POST, url: url.to_owned(), headers, body, private: self.is_allowed(url) }
    }

    /// Whether those who run the host let notifications go there, public or not.
    fn is_allowed(&self, url: &str) -> bool {
        origin_of(url).is_some_and(|origin| self.configured.private.contains(&origin))
    }

    /// Why nothing that is sent there arrives, as far as the address itself says it.
    pub fn forbidden(&self, url: &str) -> Option<String> {
        let is_forbidden = is_not_public(url) && !self.is_allowed(url);
        is_forbidden.then(|| format!("nothing is delivered to {url}, which is not a public address: {ALLOWED_BY}"))
    }

    fn note(&self, target: &Target, change: impl FnOnce(&mut Status)) {
        change(self.statuses().entry((target.account, target.name.clone())).or_default());
    }

    /// Counters, whole after a panic elsewhere.
    fn statuses(&self) -> MutexGuard<'_, HashMap<(u64, String), Status>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a target of an event once, which is the attempt of this number; says how many requests that took.
pub async fn deliver(service: &Service, target: &Target, told: &FeedEvent, attempt: u32) -> Result<usize, Unsent> {
    let (sent, counts) = (send(service, target, told, attempt).await, &service.notify.counts);
    match &sent {
        Ok(0) => {}
        Ok(_) => drop(counts.delivered.fetch_add(1, Ordering::Relaxed)),
        Err(_) => drop(counts.failed.fetch_add(1, Ordering::Relaxed)),
    }
    sent
}

async fn send(service: &Service, target: &Target, told: &FeedEvent, attempt: u32) -> Result<usize, Unsent> {
    let (notify, now) = (&service.notify, service.host.driver.clock().now_ms());
    let tellings = match &target.to {
        To::Address { url, secret } => {
            vec![Telling { outgoing: notify.signed((url, secret), told, attempt, now), already: None }]
        }
        To::Host { connection, is } => {
            let tellings = statuses::of_event(service, target.account, (connection, is), told).await;
            tellings.map_err(|error| Unsent::Unreachable(error.to_string()))?
        }
    };
    let _permit = notify.permits.acquire(target.account).await;
    let count = tellings.len();
    for Telling { outgoing, already } in tellings {
        match (notify.post)(outgoing).await {
            Err(Unsent::Answered(status)) if Some(status) == already => {}
            sent => sent?,
        }
    }
    Ok(count)
}

impl Notifier {
    pub async fn run(mut self, service: Arc<Service>) {
        let mut lanes = JoinSet::new();
        let mut running: Vec<(Target, AbortHandle)> = Vec::new();
        while let Some(wanted) = wanted(&service).await {
            for (target, lane) in running.extract_if(.., |(target, _)| !wanted.contains(target)) {
                lane.abort();
                service.notify.statuses().remove(&(target.account, target.name));
            }
            for target in wanted {
                if !running.iter().any(|(there, _)| *there == target) {
                    running.push((target.clone(), lanes.spawn(follow(Arc::clone(&service), target))));
                }
            }
            while lanes.try_join_next().is_some() {}
            if self.changes.recv().await.is_none() {
                return;
            }
        }
    }
}

/// All targets of all accounts; none once the host goes down. One account that cannot be read keeps no other from being told.
async fn wanted(service: &Service) -> Option<Vec<Target>> {
    let mut wanted = Vec::new();
    for account in service.host.accounts().iter() {
        match notifications::targets(service, *account).await {
            Ok(targets) => wanted.extend(targets),
            Err(error) if error.scope() == Scope::Host => return None,
            Err(error) => tracing::error!(account, "its notifications' targets cannot be read: {error}"),
        }
    }
    Some(wanted)
}

/// One target's lane, until the host goes down or the target is gone.
async fn follow(service: Arc<Service>, target: Target) {
    loop {
        // A panic is a defect of the host, but not a reason never to tell anything again.
        let followed = AssertUnwindSafe(lane::follow(&service, &target)).catch_unwind().await;
        let (account, name) = (target.account, &target.name);
        match followed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(account, name, "notifications are interrupted: {error}"),
            Err(_) => tracing::error!(account, name, "notifications are interrupted: the host failed"),
        }
        service.host.driver.clock().sleep(lane::PAUSE_MAX).await;
    }
}

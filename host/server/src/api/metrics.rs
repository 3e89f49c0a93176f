//! What the host counts, in Prometheus's text format. The names are listed in docs/server.md.
//!
//! Owns the names. Must not know why something is counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::notify::Counts as NotifyCounts;
use crate::poll::Counts as PollCounts;
use pipewright_engine::driver::Counts as DriverCounts;

/// Upper bounds of the classes of a request's duration, in seconds.
const REQUEST_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    /// `ok`, or the error's code.
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    /// What came of it, or the error's code.
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Histogram,
    pub streams: Gauge,
    deliveries: Family<Delivery, Counter>,
    mirrored: Mirrored,
}

/// What others count by themselves, copied when somebody asks.
struct Mirrored {
    executions: Family<State, Gauge<u64, AtomicU64>>,
    actions: Family<State, Gauge<u64, AtomicU64>>,
    rules: Family<State, Gauge<u64, AtomicU64>>,
    notifications: Family<State, Gauge<u64, AtomicU64>>,
    commits: Gauge<u64, AtomicU64>,
    loaded: Gauge<u64, AtomicU64>,
    quarantined: Gauge<u64, AtomicU64>,
    polls: Gauge<u64, AtomicU64>,
    poll_failures: Gauge<u64, AtomicU64>,
    poll_sources: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pipewright");
        let requests = Family::<Request, Counter>::default();
        registry.register("requests", "API requests by operation and outcome", requests.clone());
        let request_seconds = Histogram::new(REQUEST_SECONDS);
        registry.register("request_seconds", "Durations of API requests", request_seconds.clone());
        let streams = Gauge::default();
        registry.register("streams", "Event and log streams that are open", streams.clone());
        let deliveries = Family::<Delivery, Counter>::default();
        registry.register("deliveries", "Deliveries of other systems by outcome", deliveries.clone());
        let mirrored = Mirrored::register(&mut registry);
        Self { registry, requests, request_seconds, streams, deliveries, mirrored }
    }
}

impl Mirrored {
    fn register(registry: &mut Registry) -> Self {
        let states = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<State, Gauge<u64, AtomicU64>>::default();
            registry.register(name, help, family.clone());
            family
        };
        let number = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::<u64, AtomicU64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            executions: states(registry, "executions", "Pipeline executions since the start, by what happened to them"),
            actions: states(registry, "action_executions", "Action executions since the start, by what happened"),
            rules: states(registry, "rule_executions", "Rule executions since the start, by what happened"),
            notifications: states(registry, "notifications", "Notifications since the start, by what came of them"),
            commits: number(registry, "commits", "Durable commits since the start"),
            loaded: number(registry, "pipelines_loaded", "Pipelines that are in memory"),
            quarantined: number(registry, "pipelines_quarantined", "Pipelines that an error of their own stopped"),
            polls: number(registry, "polls", "Looks at sources since the start"),
            poll_failures: number(registry, "poll_failures", "Looks at sources that failed, since the start"),
            poll_sources: number(registry, "poll_sources", "Sources that are looked at periodically"),
        }
    }
}

impl Metrics {
    pub fn request(&self, operation: &'static str, error: Option<&'static str>, took: Duration) {
        let outcome = error.unwrap_or("ok");
        self.requests.get_or_create(&Request { operation, outcome }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub fn delivery(&self, outcome: &'static str) {
        self.deliveries.get_or_create(&Delivery { outcome }).inc();
    }

    /// Of the pipelines, how many are in memory and how many are quarantined.
    pub fn text(
        &self,
        driver: &DriverCounts,
        (loaded, quarantined): (usize, usize),
        polls: &PollCounts,
        notify: &NotifyCounts,
    ) -> Result<String, fmt::Error> {
        let mirrored = &self.mirrored;
        for (state, count) in driver.executions.iter() {
            mirrored.executions.get_or_create(&State { state }).set(count);
        }
        for (state, count) in driver.actions.iter() {
            mirrored.actions.get_or_create(&State { state }).set(count);
        }
        for (state, count) in driver.rules.iter() {
            mirrored.rules.get_or_create(&State { state }).set(count);
        }
        let NotifyCounts { delivered, failed, given_up } = notify;
        for (state, count) in [("delivered", delivered), ("failed", failed), ("given_up", given_up)] {
            mirrored.notifications.get_or_create(&State { state }).set(count.load(Ordering::Relaxed));
        }
        mirrored.commits.set(driver.commits.load(Ordering::Relaxed));
        mirrored.loaded.set(loaded as u64);
        mirrored.quarantined.set(quarantined as u64);
        mirrored.polls.set(polls.polls.load(Ordering::Relaxed));
        mirrored.poll_failures.set(polls.failures.load(Ordering::Relaxed));
        mirrored.poll_sources.set(polls.sources.load(Ordering::Relaxed));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

//! The course of the deliveries to one target: one event after the other, each until it is taken or given up.
//!
//! Owns when an event is tried again, when it is given up, and when the cursor is kept. Must not know how one is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{Either, select};
use pipewright_base::{Cause, Source};

use super::{Failing, Target, Unsent};
use crate::service::events::{self, FeedEvent, From};
use crate::service::notifications::{self, DeadLetter};
use crate::service::{Context, Service, ServiceError};

/// How long after the first attempt an event is tried again; then after twice that time, and so on, each less up to a half at random.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// But after this at the latest: whoever mends a target waits no longer.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// An event that a target answers with something else than a success is tried so often. Stops one event that a target
/// cannot take from keeping all others from it.
const REFUSALS_MAX: u32 = 10;
/// A target that nobody answers for is tried for so long after an event. Stops one that is gone for good from being tried for ever.
const UNREACHABLE_MILLISECONDS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How often the cursor is kept at most: each is a commit of the account. What was delivered since is delivered again after a crash.
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// Delivers until the host goes down.
pub(super) async fn follow(service: &Arc<Service>, target: &Target) -> Result<(), ServiceError> {
    let context = Context::of_host("notifier", Source::Timer, target.account);
    let clock = Arc::clone(service.host.driver.clock());
    let cursor = notifications::cursor(service, target).await?;
    let mut feed = events::of_account(service, &context, From::Cursor(&cursor)).await?.with_approvals();
    let mut kept_at = clock.monotonic();
    let mut unkept: Option<String> = None;
    loop {
        let mut next = std::pin::pin!(feed.event());
        let told = loop {
            let Some(cursor) = &unkept else { break next.await? };
            match select(next, clock.sleep_until(kept_at + KEPT_EVERY)).await {
                Either::Left((told, _)) => break told?,
                Either::Right(((), waiting)) => {
                    notifications::keep_cursor(service, target, cursor, &context.cause).await?;
                    (kept_at, unkept, next) = (clock.monotonic(), None, waiting);
                }
            }
        };
        let Some(told) = told else { return Ok(()) };
        // A cursor goes back a little in time.
        if told.at.0 >= target.created {
            deliver(service, target, &told, &context.cause).await?;
        }
        if clock.monotonic() >= kept_at + KEPT_EVERY {
            notifications::keep_cursor(service, target, &told.cursor, &context.cause).await?;
            (kept_at, unkept) = (clock.monotonic(), None);
        } else {
            unkept = Some(told.cursor);
        }
    }
}

/// Until the target has taken it, or it is given up and kept as a dead letter.
async fn deliver(service: &Service, target: &Target, told: &FeedEvent, cause: &Cause) -> Result<(), ServiceError> {
    let (notify, clock) = (&service.notify, service.host.driver.clock());
    let mut refusals = 0;
    for attempts in 1.. {
        let unsent = match super::deliver(service, target, told, attempts).await {
            Ok(0) => return Ok(()),
            Ok(_) => break,
            Err(unsent) => unsent,
        };
        let pause = pause(attempts, random());
        let reason = match &unsent {
            Unsent::NotPublic(_) => format!("{unsent}: {}", target.to.allowed_by()),
            unsent => unsent.to_string(),
        };
        let now = clock.now_ms();
        let next = now.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let is_given_up = match unsent {
            Unsent::Answered(status) => {
                refusals += 1;
                refusals >= REFUSALS_MAX || target.to.is_final(status)
            }
            Unsent::Unreachable(_) | Unsent::NotPublic(_) | Unsent::Late(_) => {
                next > told.at.0.saturating_add(UNREACHABLE_MILLISECONDS_MAX)
            }
        };
        if is_given_up {
            let (name, id) = (&target.name, &told.id);
            tracing::warn!(
                account = target.account,
                name,
                id,
                "an event is given up after {attempts} attempts: {reason}"
            );
            let letter = DeadLetter::of(told, attempts, reason, now);
            notifications::give_up(service, target, &told.cursor, &letter, cause).await?;
            notify.counts.given_up.fetch_add(1, Ordering::Relaxed);
            notify.note(target, |status| status.failing = None);
            return Ok(());
        }
        notify.note(target, |status| status.failing = Some(Failing { attempts, reason, next }));
        clock.sleep(pause).await;
    }
    let now = clock.now_ms();
    notify.note(target, |status| {
        *status = super::Status { delivered: status.delivered + 1, last: Some(now), failing: None };
    });
    Ok(())
}

/// After so many attempts.
fn pause(attempts: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
    let whole = PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
    let half = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX);
    whole - Duration::from_millis(random % (half + 1))
}

/// Without randomness all targets are tried again at once, and nothing else is the matter.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_chance() {
        let check = |attempts: u32, whole_ms: u64| {
            for random in [0, 1, whole_ms / 2, u64::MAX] {
                let pause = u64::try_from(pause(attempts, random).as_millis()).unwrap();
                assert!((whole_ms / 2..=whole_ms).contains(&pause), "{attempts}: {pause}");
            }
            assert_eq!(pause(attempts, 0), Duration::from_millis(whole_ms));
        };
        check(1, 1_000);
        check(2, 2_000);
        check(9, 256_000);
        check(10, 300_000);
        check(1_000, 300_000);
    }
}

//! Nothing acknowledged is lost, and nothing accepted is asked for twice, when the host is killed at any moment: a real
//! server with fifty pipelines, whose actions tell a counting server of each of their calls.
#![expect(clippy::print_stderr, reason = "a test with randomness says how it is repeated")]

mod counter;
mod random;
mod site;
mod visitor;

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future;
use pipewright_engine::driver::points::POINTS;
use pipewright_store::{SledStore, Store as _};
use tokio::task::JoinSet;

use counter::Counter;
use random::Random;
use site::{Death, Site, name};
use visitor::Visitor;

use crate::tools;

const PIPELINES: Range<usize> = 0..50;
const STARTING_MILLISECONDS_MAX: u64 = 1_000;
const SERVING_MILLISECONDS_MAX: u64 = 2_000;
/// A point is passed that often within some seconds.
const PASSES_MAX: u64 = 100;

/// In the checks that decide the small number; `PIPEWRIGHT_TESTS_FULL=1` selects the large one.
fn times(small: usize, large: usize) -> usize {
    if tools::is_full() { large } else { small }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments() {
    check("killed_at_random_moments", |random| {
        let death = |_| match random.below(4) {
            0 => Death::Starting(Duration::from_millis(random.below(STARTING_MILLISECONDS_MAX))),
            _ => Death::Serving(Duration::from_millis(random.below(SERVING_MILLISECONDS_MAX))),
        };
        (0..times(8, 100)).map(death).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_point() {
    check("killed_at_each_point", |random| {
        let mut death = |point: &&str| Death::At(format!("{point}:{}", 1 + random.below(PASSES_MAX)));
        (0..times(2, 20)).flat_map(|_| POINTS.iter().map(&mut death).collect::<Vec<_>>()).collect()
    })
    .await;
}

async fn check(test: &str, deaths: impl FnOnce(&mut Random) -> Vec<Death>) {
    let (seed, mut random) = Random::seeded();
    eprintln!("{}={seed} repeats the moments of {test}", random::SEED);
    let deaths = deaths(&mut random);
    let site = Arc::new(Site::new(Counter::start(random.split()).await));
    let mut visitors = JoinSet::new();
    for number in PIPELINES {
        visitors.spawn(Visitor::new(Arc::clone(&site), name(number), random.split()).work());
    }
    let lives = async {
        for death in &deaths {
            site.live(death).await;
        }
        let child = site.serve().await;
        site.end();
        child
    };
    let child = tokio::select! {
        child = lives => child,
        Some(failed) = visitors.join_next() => panic!("{failed:?}, after: {}", site.log()),
    };
    let waiting = visitors.join_all().await;
    site.kill(child).await;

    let child = site.serve().await;
    future::join_all(waiting.iter().map(|waiting| waiting.check(&site))).await;
    future::join_all(waiting.into_iter().map(|waiting| waiting.approve(Arc::clone(&site)))).await;
    site.check_whole().await;
    let (calls, again) = site.counter.counts();
    let doubts = site.doubts.load(Ordering::SeqCst);
    eprintln!(
        "{test}: {} deaths, {calls} calls, {again} of them again, {doubts} commands given again",
        deaths.len() + 1
    );
    assert!(again > 0, "no death found an action in flight");
    site.stop(child).await;
    check_data(&site.data()).await;
}

/// What lies on the disk is whole.
pub async fn check_data(data: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    let artifacts = command.args(["artifacts", "check", "--data"]).arg(data).output().unwrap();
    assert!(artifacts.status.success(), "{}", String::from_utf8_lossy(&artifacts.stdout));
    let store = SledStore::open(&data.join("store"), SledStore::CACHE_BYTES_DEFAULT).unwrap();
    store.verify().await.unwrap();
}

//! A server that answers and closes before it has read all of a request.

use super::world::World;
use super::{CASE, Case, Sent};

/// A race decides whether a write fails before the answer is read.
const TIMES: usize = 100;

#[tokio::test]
async fn what_a_server_says_before_it_has_read_all_is_heard() {
    let world = World::start().await;
    for frames in [1, 20_000] {
        let case = Case {
            name: "a request that the server finds too large",
            method: "POST",
            url: "http://allowed.test:{http}/too-large",
            body: Sent::Frames(frames),
            guest: "413 large",
            journal: &["Done, "],
            ..CASE
        };
        for _ in 0..TIMES {
            world.run(&case).await;
        }
    }
}

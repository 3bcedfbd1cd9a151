//! The conformance table on the simulated cluster: the same cases that hold on the real controller. Virtual time, in
//! process, over the same client as everything else. The cases are in `tests/conformance`.

use std::sync::Arc;
use std::time::Duration;

use footplate::rehearsal::controllers::pod::Fates;
use footplate::rehearsal::store::Store;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::conformance::{self, cases, stage::Stage};

/// How much virtual time the cluster moves at once.
const TICK: Duration = Duration::from_millis(20);

#[test]
fn the_simulated_controller_behaves_as_the_table_says() {
    // One case a cluster and a runtime: time is virtual, and jumps when every task of the case waits.
    let cases = cases::all();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = cases
            .chunks(cases.len().div_ceil(2))
            .map(|half| scope.spawn(move || half.iter().flat_map(|case| play(*case)).collect::<Vec<_>>()))
            .collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} behaviours do not hold:\n{}", failed.len(), failed.join("\n"));
}

fn play(case: conformance::stage::Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let start: Timestamp = "2026-01-07T14:00:00Z".parse().unwrap();
        let store = Shared::new(Store::new(7, start));
        let mut world = World::bare(store.clone(), Fates::default(), 7);
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stage"}}));
        let begun = tokio::time::Instant::now();
        let now = move || start + SignedDuration::try_from(begun.elapsed()).unwrap();
        let driver = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                world.advance(now());
            }
        });
        let client = kube::Client::new(api::router(store), "stage");
        let failed = conformance::run(vec![case], 1, async |_| {
            Stage::new(client.clone(), "stage", "http://prometheus.stage", Arc::new(now))
        })
        .await;
        driver.abort();
        failed
    })
}

//! One list of behaviours for two grounds: the simulated cluster (`tests/it`) and a real control plane (`tests/real`).
//! Only names the rooms and runs the cases; see `cases.rs`.

#[path = "conformance/actor.rs"]
pub mod actor;
#[path = "conformance/cases.rs"]
pub mod cases;
#[path = "conformance/stage.rs"]
pub mod stage;

use futures::StreamExt;
use stage::{Case, Stage};

/// Runs every case on a stage of its own, so many at once, and gives the name and reason of each that does not hold.
pub async fn run(cases: Vec<Case>, at_once: usize, stage: impl AsyncFn(usize) -> Stage) -> Vec<String> {
    let only = std::env::var("FOOTPLATE_CASE").ok();
    let chosen = cases.into_iter().filter(|c| only.as_ref().is_none_or(|o| c.name.contains(o.as_str()))).enumerate();
    let results = futures::stream::iter(chosen).map(|(n, case)| {
        let stage = &stage;
        async move {
            let stage = stage(n).await;
            let started = tokio::time::Instant::now();
            let result = (case.run)(&stage).await;
            let said = match &result {
                Ok(_) => "holds".to_owned(),
                Err(why) => format!("DOES NOT HOLD: {why}"),
            };
            eprintln!("{:>5.1} s  {}: {said}", started.elapsed().as_secs_f64(), case.name);
            result.err().map(|why| format!("{}: {why}", case.name))
        }
    });
    results.buffer_unordered(at_once).filter_map(|r| async { r }).collect().await
}

//! Asks the metric store what the board wishes, a few wishes at a time, and brings the answers back. Has no memory.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::{Answer, Reading, Said, What, Wish};
use crate::core::gate::freshness::{self, Freshness};
use crate::core::text::Text;
use crate::ports::{Clock, Conditions, Metrics, Sample};

/// Answers wishes until no more can come or nobody takes the answers.
pub async fn answer_all(
    metrics: Arc<dyn Metrics>,
    conditions: Arc<dyn Conditions>,
    clock: Arc<dyn Clock>,
    mut wishes: mpsc::Receiver<Wish>,
    answers: mpsc::Sender<Answer>,
) {
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(said) = under_way.next(), if !under_way.is_empty() => {
                if answers.send(said).await.is_err() {
                    return;
                }
            }
            wish = wishes.recv(), if open => match wish {
                Some(wish) => under_way.push(answer(&*metrics, &*conditions, &*clock, wish)),
                None => open = false,
            },
        }
    }
}

/// Answers one wish.
pub async fn answer(metrics: &dyn Metrics, conditions: &dyn Conditions, clock: &dyn Clock, wish: Wish) -> Answer {
    let at = clock.now();
    let said = match wish.what {
        What::Past { from, to, step } => Said::Past(metrics.range(&wish.promql, from, to, step).await),
        What::Now { success, failure, freshness } => match metrics.query(&wish.promql).await {
            Err(fault) => Said::Now(Err(fault)),
            Ok(sample) => {
                let mut reading = Reading {
                    success: held(conditions, &success, &sample).await,
                    failure: held(conditions, &failure, &sample).await,
                    answer_age: sample.age,
                    values: sample.values,
                    ..Reading::default()
                };
                if let Some(freshness) = freshness {
                    look_behind(metrics, &freshness, &mut reading).await;
                }
                Said::Now(Ok(reading))
            }
        },
    };
    Answer { key: wish.key, promql: wish.promql, at, said }
}

/// What a condition says; none when there is no condition, or no data that it could speak about.
async fn held(conditions: &dyn Conditions, condition: &str, sample: &Sample) -> Option<Result<bool, Text>> {
    if condition.trim().is_empty() || sample.values.first().is_none_or(|v| v.is_nan()) {
        return None;
    }
    Some(conditions.holds(condition, sample).await)
}

/// How fresh the series are. A store that cannot tell (not all speak all of PromQL) leaves it unknown.
async fn look_behind(metrics: &dyn Metrics, freshness: &Freshness, reading: &mut Reading) {
    if let Ok(age) = metrics.query(&freshness.age).await {
        let seconds = age.values.first().copied().filter(|s| s.is_finite());
        reading.scrape_age = Some(seconds.map(|s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX)));
    }
    if let Ok(scrapes) = metrics.query(&freshness.scrapes).await {
        reading.scrape_interval = scrapes.values.first().copied().and_then(freshness::scrape_interval);
    }
}

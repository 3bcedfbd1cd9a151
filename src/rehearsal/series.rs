//! Time series of the simulated cluster's metrics: labels, samples, staleness. Written by the scrape, read by the query
//! language (`promql.rs`). No query and no traffic here.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

/// The labels of one series, `__name__` among them.
pub type Labels = BTreeMap<String, String>;

/// How long samples are kept, milliseconds.
const KEEP_MS: i64 = 2 * 3600 * 1000;

/// How old the newest sample of a series may be to count at an instant, milliseconds (Prometheus's lookback).
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;

/// One sample: milliseconds since the epoch, value. No value marks where the series ended.
pub type Sample = (i64, Option<f64>);

#[derive(Debug)]
struct One {
    labels: Labels,
    samples: VecDeque<Sample>,
}

/// Names one series of a [`Series`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SeriesId(usize);

/// All series, ordered by metric name.
#[derive(Debug, Default)]
pub struct Series {
    all: Vec<One>,
    by_name: BTreeMap<String, Vec<usize>>,
}

impl Series {
    /// Opens a series; the name is the `__name__` label.
    pub fn open(&mut self, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        let mut all: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.insert("__name__".to_owned(), name.to_owned());
        let id = self.all.len();
        self.all.push(One { labels: all, samples: VecDeque::new() });
        self.by_name.entry(name.to_owned()).or_default().push(id);
        SeriesId(id)
    }

    /// Appends a sample; one that is not newer than the last is dropped, as a real store does.
    pub fn push(&mut self, id: SeriesId, at: Timestamp, value: Option<f64>) {
        let Some(one) = self.all.get_mut(id.0) else { return };
        let at = at.as_millisecond();
        if one.samples.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        one.samples.push_back((at, value));
        while one.samples.front().is_some_and(|(first, _)| *first < at - KEEP_MS) {
            one.samples.pop_front();
        }
    }

    /// The series of a metric name (or of all names) with their samples in `(after, until]`, milliseconds.
    pub fn between<'a>(
        &'a self,
        name: Option<&str>,
        after: i64,
        until: i64,
    ) -> impl Iterator<Item = (&'a Labels, Vec<Sample>)> + 'a {
        let ids: Vec<usize> = match name {
            Some(name) => self.by_name.get(name).cloned().unwrap_or_default(),
            None => (0..self.all.len()).collect(),
        };
        ids.into_iter().filter_map(move |id| {
            let one = self.all.get(id)?;
            let from = one.samples.partition_point(|(at, _)| *at <= after);
            let to = one.samples.partition_point(|(at, _)| *at <= until);
            (to > from).then(|| (&one.labels, one.samples.range(from..to).copied().collect()))
        })
    }

    /// When the newest sample of all was taken.
    pub fn newest(&self) -> Option<Timestamp> {
        let newest = self.all.iter().filter_map(|o| o.samples.back().map(|(at, _)| *at)).max()?;
        Timestamp::from_millisecond(newest).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_on_the_left() {
        let mut series = Series::default();
        let id = series.open("up", &[("job", "a")]);
        for s in [10, 20, 30] {
            series.push(id, Timestamp::from_second(s).unwrap(), Some(1.0));
        }
        series.push(id, Timestamp::from_second(25).unwrap(), Some(9.0));
        let of = |after: i64, until: i64| {
            series.between(Some("up"), after, until).flat_map(|(_, s)| s).map(|(at, _)| at / 1000).collect::<Vec<_>>()
        };
        assert_eq!(of(10_000, 30_000), [20, 30]);
        assert_eq!(of(0, 9_000), Vec::<i64>::new());
        assert!(series.between(Some("down"), 0, 99_000).next().is_none());
    }
}

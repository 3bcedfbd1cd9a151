//! The history of one metric: measurements of analysis runs (Argo keeps only the last ten), live queries and back-fill by
//! range queries, merged without duplicates, in time order, bounded. Also its reduction to as many cells as a sparkline has.
//! Where the points come from and what they mean is not known here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::snapshot::Point;

/// How many points a history keeps, newest first: two hours at ten seconds.
pub const POINTS_MAX: usize = 720;

/// Which source a point came from, weakest first: where two speak of the same moment, the stronger one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A range query, evaluated afterwards.
    Range,
    /// A live query of our own.
    Live,
    /// A measurement by the controller: what the gate really decided by.
    Run,
}

/// What is kept of one moment. The order of the fields is the order of strength: a value beats none, then the source.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Entry {
    source: Source,
    at: Timestamp,
    value: Option<f64>,
}

impl Entry {
    /// True when this entry counts and not the other one. A total order, so that merging commutes.
    fn beats(&self, other: &Self) -> bool {
        let key = |e: &Self| (e.value.is_some(), e.source, e.at);
        match key(self).cmp(&key(other)) {
            std::cmp::Ordering::Equal => match (self.value, other.value) {
                (Some(a), Some(b)) => a.total_cmp(&b).is_gt(),
                _ => false,
            },
            order => order.is_gt(),
        }
    }
}

/// The history of one metric. Time is cut into slots of a power of two seconds; a slot holds one point, so the same
/// moment seen by several sources is there once.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// Width of a slot: 2 to the power of this, in seconds.
    grain: u8,
    slots: BTreeMap<i64, Entry>,
}

impl Series {
    /// An empty history of a metric that is measured at this interval. Slots are the largest power of two seconds that
    /// is at most half of it, so that two measurements never share one.
    pub fn new(interval: Duration) -> Self {
        let half = (interval.as_secs() / 2).clamp(1, 1 << 20);
        Self { grain: half.ilog2() as u8, slots: BTreeMap::new() }
    }

    /// Takes points of one source, in any order. Values that are not finite count as no data.
    pub fn absorb(&mut self, source: Source, points: impl IntoIterator<Item = Point>) {
        for Point { at, value } in points {
            self.put(Entry { source, at, value: value.filter(|v| v.is_finite()) });
        }
        self.bound();
    }

    /// Takes all of another history. Order and repetition make no difference; the wider slots of the two count.
    pub fn merge(&mut self, other: &Self) {
        if other.grain > self.grain {
            self.grain = other.grain;
            for entry in std::mem::take(&mut self.slots).into_values() {
                self.put(entry);
            }
        }
        for entry in other.slots.values() {
            self.put(*entry);
        }
        self.bound();
    }

    fn put(&mut self, entry: Entry) {
        let slot = entry.at.as_second() >> self.grain;
        match self.slots.get_mut(&slot) {
            Some(held) if entry.beats(held) => *held = entry,
            Some(_) => {}
            None => {
                self.slots.insert(slot, entry);
            }
        }
    }

    fn bound(&mut self) {
        while self.slots.len() > POINTS_MAX {
            self.slots.pop_first();
        }
    }

    /// The points, oldest first. Where nothing was heard for longer than `gap`, a point without data stands between, so
    /// that no line is drawn across.
    pub fn points(&self, gap: Duration) -> Vec<Point> {
        let mut out: Vec<Point> = Vec::with_capacity(self.slots.len());
        for entry in self.slots.values() {
            if let Some(last) = out.last().copied() {
                let silent = entry.at.duration_since(last.at);
                if silent > jiff::SignedDuration::try_from(gap).unwrap_or(jiff::SignedDuration::MAX)
                    && last.value.is_some()
                    && entry.value.is_some()
                {
                    let middle = last.at.checked_add(silent / 2).unwrap_or(entry.at);
                    out.push(Point { at: middle, value: None });
                }
            }
            out.push(Point { at: entry.at, value: entry.value });
        }
        out
    }

    /// The newest point.
    pub fn last(&self) -> Option<Point> {
        self.slots.last_key_value().map(|(_, e)| Point { at: e.at, value: e.value })
    }

    /// The oldest point.
    pub fn first(&self) -> Option<Point> {
        self.slots.first_key_value().map(|(_, e)| Point { at: e.at, value: e.value })
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Which end of a cell's values matters: the one nearest to the limit must not be averaged away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The largest (errors, latency).
    Max,
    /// The smallest (success rate).
    Min,
}

/// Reduces a history to `cells` cells of equal time between its first point and `until`. A cell keeps its worst value;
/// one without a point takes its neighbour's when both sides were heard within `gap`, else it is none.
pub fn cells(points: &[Point], until: Timestamp, cells: usize, gap: Duration, keep: Keep) -> Vec<Option<f64>> {
    let mut out: Vec<Option<Option<f64>>> = vec![None; cells];
    let (Some(first), true) = (points.first(), cells > 0) else { return vec![None; cells] };
    let begin = first.at.as_nanosecond();
    let span = (until.as_nanosecond() - begin).max(1);
    let place = |at: Timestamp| {
        let offset = (at.as_nanosecond() - begin).clamp(0, span);
        usize::try_from(offset * cells as i128 / span).unwrap_or(cells).min(cells - 1)
    };
    for point in points.iter().filter(|p| p.at <= until) {
        let cell = &mut out[place(point.at)];
        *cell = Some(match (cell.flatten(), point.value) {
            (Some(a), Some(b)) => Some(if keep == Keep::Max { a.max(b) } else { a.min(b) }),
            (a, b) => a.or(b),
        });
    }
    let gap = i128::try_from(gap.as_nanos()).unwrap_or(i128::MAX);
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if a.value.is_some() && b.value.is_some() && b.at <= until && b.at.as_nanosecond() - a.at.as_nanosecond() <= gap
        {
            let held = out[place(a.at)];
            for cell in &mut out[place(a.at)..place(b.at)] {
                *cell = cell.or(held);
            }
        }
    }
    out.into_iter().map(Option::flatten).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    fn point(second: i64, value: f64) -> Point {
        Point { at: at(second), value: Some(value) }
    }

    fn some_points() -> impl Strategy<Value = Vec<(u8, Point)>> {
        let one = (0u8..3, 0i64..30_000, 0u32..1_000_000_000, proptest::option::of(-5.0f64..5.0));
        proptest::collection::vec(one, 0..900).prop_map(|all| {
            all.into_iter()
                .map(|(source, second, nano, value)| {
                    let at = Timestamp::new(1_760_000_000 + second, nano as i32).unwrap();
                    (source, Point { at, value })
                })
                .collect()
        })
    }

    fn series(interval: u64, points: &[(u8, Point)]) -> Series {
        let mut series = Series::new(Duration::from_secs(interval));
        for (source, point) in points {
            let source = [Source::Range, Source::Live, Source::Run][usize::from(*source)];
            series.absorb(source, [*point]);
        }
        series
    }

    fn merged(a: &Series, b: &Series) -> Series {
        let mut out = a.clone();
        out.merge(b);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn merging_is_a_join(a in some_points(), b in some_points(), c in some_points(), i in 1u64..70, j in 1u64..70) {
            let (a, b, c) = (series(i, &a), series(j, &b), series(i, &c));
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&a, &a), a.clone());
            prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
            if i == j {
                prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            }
            let all = merged(&merged(&a, &b), &c);
            prop_assert!(all.len() <= POINTS_MAX);
            prop_assert!(all.points(Duration::MAX).windows(2).all(|w| w[0].at < w[1].at));
            prop_assert!(all.points(Duration::from_secs(3)).windows(2).all(|w| w[0].at < w[1].at));
        }

        #[test]
        fn order_of_arrival_makes_no_difference(mut points in some_points(), interval in 1u64..70) {
            let one = series(interval, &points);
            points.reverse();
            prop_assert_eq!(one, series(interval, &points));
        }

        #[test]
        fn the_worst_value_survives_reduction(points in some_points(), n in 1usize..200, max in any::<bool>()) {
            let history = series(10, &points).points(Duration::from_secs(25));
            let keep = if max { Keep::Max } else { Keep::Min };
            let until = history.last().map_or(at(0), |p| p.at);
            let out = cells(&history, until, n, Duration::from_secs(25), keep);
            prop_assert_eq!(out.len(), n);
            let worst = |all: Vec<f64>| all.into_iter().reduce(if max { f64::max } else { f64::min });
            prop_assert_eq!(
                worst(history.iter().filter_map(|p| p.value).collect()),
                worst(out.into_iter().flatten().collect())
            );
        }
    }

    #[test]
    fn the_same_moment_is_there_once_and_the_controller_is_believed() {
        let mut history = Series::new(Duration::from_secs(10));
        history.absorb(Source::Range, [point(0, 0.5), point(10, 0.5)]);
        history.absorb(Source::Live, [Point { at: at(1), value: None }, point(21, 0.2)]);
        history.absorb(Source::Run, [point(1, 0.7), point(11, 0.01)]);
        let values: Vec<_> = history.points(Duration::MAX).iter().map(|p| p.value.unwrap()).collect();
        assert_eq!(values, [0.7, 0.01, 0.2]);
    }

    #[test]
    fn a_later_back_fill_fills_a_hole_that_an_outage_left() {
        let mut history = Series::new(Duration::from_secs(10));
        history.absorb(Source::Live, [point(0, 0.1), Point { at: at(10), value: None }, point(20, 0.1)]);
        history.absorb(Source::Range, [point(9, 0.4)]);
        assert!(history.points(Duration::MAX).iter().any(|p| p.value == Some(0.4)));
    }

    #[test]
    fn silence_is_a_gap_and_not_a_line() {
        let mut history = Series::new(Duration::from_secs(10));
        history.absorb(Source::Run, [point(0, 1.0), point(10, 2.0), point(100, 3.0)]);
        let points = history.points(Duration::from_secs(25));
        assert_eq!(points.iter().map(|p| p.value).collect::<Vec<_>>(), [Some(1.0), Some(2.0), None, Some(3.0)]);
        let line = cells(&points, at(100), 10, Duration::from_secs(25), Keep::Max);
        assert_eq!(line, [Some(1.0), Some(2.0), None, None, None, None, None, None, None, Some(3.0)]);
    }

    #[test]
    fn what_cannot_be_drawn_is_no_data() {
        let mut history = Series::new(Duration::ZERO);
        history.absorb(Source::Run, [point(0, f64::NAN), point(5, f64::INFINITY)]);
        assert!(history.points(Duration::MAX).iter().all(|p| p.value.is_none()));
        assert_eq!(cells(&[], at(0), 4, Duration::ZERO, Keep::Max), [None; 4]);
        assert_eq!(cells(&[point(0, 1.0)], at(0), 0, Duration::ZERO, Keep::Max), []);
    }
}

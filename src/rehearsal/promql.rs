//! The query language of the simulated Prometheus: the part of PromQL that gates and dashboards use, with the real
//! one's answers for NaN, empty and stale. Syntax is `promql/syntax.rs`, functions are `promql/function.rs`; the HTTP
//! API is `prometheus.rs`.

mod function;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::series::{LOOKBACK_MS, Labels, Sample, Series};
use syntax::{Expr, Grouping, MatchOp, Matcher, Op};

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// One number.
    Scalar(f64),
    /// One number a series.
    Vector(Vec<(Labels, f64)>),
    /// Samples a series, milliseconds and value.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
    /// A text.
    Text(String),
}

/// Why a query has no answer, in the query engine's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

type Result<T> = std::result::Result<T, Bad>;

fn bad<T>(why: impl Into<String>) -> Result<T> {
    Err(Bad(why.into()))
}

/// A query, parsed.
#[derive(Clone, Debug)]
pub struct Query(Expr);

/// The most points that one series of a range answer may have, as Prometheus has it.
const POINTS_MAX: i64 = 11_000;

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    /// What does not parse, and where.
    pub fn parse(text: &str) -> Result<Self> {
        syntax::parse(text).map(Self)
    }

    /// The answer at one instant.
    ///
    /// # Errors
    /// Types that do not fit, functions that are not there.
    pub fn at(&self, series: &Series, at: Timestamp) -> Result<Answer> {
        Eval { series, at: at.as_millisecond() }.run(&self.0)
    }

    /// The answers at `from`, `from + step`, … up to `to`.
    ///
    /// # Errors
    /// As [`Query::at`]; a step that is not positive; too many points; an answer that is a matrix.
    pub fn range(&self, series: &Series, from: Timestamp, to: Timestamp, step_ms: i64) -> Result<Answer> {
        if step_ms <= 0 {
            return bad("zero or negative query resolution step widths are not accepted. Try a positive integer");
        }
        if (to.as_millisecond() - from.as_millisecond()) / step_ms > POINTS_MAX {
            return bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            );
        }
        let mut all: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        let mut at = from.as_millisecond();
        while at <= to.as_millisecond() {
            match (Eval { series, at }).run(&self.0)? {
                Answer::Scalar(v) => all.entry(Labels::new()).or_default().push((at, v)),
                Answer::Vector(vector) => {
                    for (labels, v) in vector {
                        all.entry(labels).or_default().push((at, v));
                    }
                }
                Answer::Matrix(_) => {
                    return bad(
                        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
                    );
                }
                Answer::Text(_) => {
                    return bad("invalid expression type \"string\" for range query, must be Scalar or instant Vector");
                }
            }
            at += step_ms;
        }
        Ok(Answer::Matrix(all.into_iter().collect()))
    }
}

struct Eval<'s> {
    series: &'s Series,
    at: i64,
}

impl Eval<'_> {
    fn run(&self, expr: &Expr) -> Result<Answer> {
        match expr {
            Expr::Number(n) => Ok(Answer::Scalar(*n)),
            Expr::Text(t) => Ok(Answer::Text(t.clone())),
            Expr::Negate(inner) => match self.run(inner)? {
                Answer::Scalar(v) => Ok(Answer::Scalar(-v)),
                Answer::Vector(v) => Ok(Answer::Vector(v.into_iter().map(|(l, v)| (nameless(l), -v)).collect())),
                _ => bad("unary expression only allowed on expressions of type scalar or instant vector"),
            },
            Expr::Select { name, matchers, range, offset } => self.select(name.as_deref(), matchers, *range, *offset),
            Expr::Binary { op, bool_modifier, on, left, right } => {
                self.binary(*op, *bool_modifier, on.as_ref(), self.run(left)?, self.run(right)?)
            }
            Expr::Aggregate { op, grouping, parameter, of } => {
                let parameter = parameter.as_ref().map(|p| self.run(p)).transpose()?;
                match self.run(of)? {
                    Answer::Vector(vector) => aggregate(op, grouping.as_ref(), parameter.as_ref(), vector),
                    _ => bad(format!("expected type instant vector in aggregation expression ({op})")),
                }
            }
            Expr::Call { name, args } if name == "timestamp" => self.timestamps(args),
            Expr::Call { name, args } => {
                let args = args.iter().map(|a| self.run(a)).collect::<Result<Vec<_>>>()?;
                let window = match expr {
                    Expr::Call { args: given, .. } => given.first().and_then(|a| match a {
                        Expr::Select { range: Some(range), offset, .. } => Some((*range, self.at - offset)),
                        _ => None,
                    }),
                    _ => None,
                };
                function::call(name, args, window, self.at)
            }
        }
    }

    fn select(&self, name: Option<&str>, matchers: &[Matcher], range: Option<i64>, offset: i64) -> Result<Answer> {
        let until = self.at - offset;
        let found = |after: i64| {
            self.series
                .between(name, after, until)
                .filter(|(labels, _)| matchers.iter().all(|m| m.fits(labels.get(&m.label).map_or("", String::as_str))))
        };
        match range {
            Some(range) => Ok(Answer::Matrix(
                found(until - range)
                    .map(|(labels, samples)| {
                        (labels.clone(), samples.into_iter().filter_map(|(at, v)| Some((at, v?))).collect::<Vec<_>>())
                    })
                    .filter(|(_, samples)| !samples.is_empty())
                    .collect(),
            )),
            None => Ok(Answer::Vector(
                found(until - LOOKBACK_MS)
                    .filter_map(|(labels, samples)| {
                        let newest: &Sample = samples.last()?;
                        Some((labels.clone(), newest.1?))
                    })
                    .collect(),
            )),
        }
    }

    /// When the newest sample of each selected series was taken; of anything but a selector, the instant of the evaluation.
    fn timestamps(&self, args: &[Expr]) -> Result<Answer> {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a date fit a double")]
        let seconds = |at: i64| at as f64 / 1000.0;
        let [of] = args else {
            return bad(format!("expected 1 argument(s) in call to \"timestamp\", got {}", args.len()));
        };
        let Answer::Vector(vector) = self.run(of)? else {
            return bad("expected type instant vector in call to function \"timestamp\"");
        };
        let Expr::Select { name, matchers, range: None, offset } = of else {
            return Ok(Answer::Vector(vector.into_iter().map(|(l, _)| (nameless(l), seconds(self.at))).collect()));
        };
        let until = self.at - offset;
        let fits = |labels: &Labels| matchers.iter().all(|m| m.fits(labels.get(&m.label).map_or("", String::as_str)));
        let found = self.series.between(name.as_deref(), until - LOOKBACK_MS, until).filter(|(labels, _)| fits(labels));
        Ok(Answer::Vector(
            found
                .filter_map(|(labels, samples)| {
                    let newest: &Sample = samples.last()?;
                    newest.1.map(|_| (nameless(labels.clone()), seconds(newest.0)))
                })
                .collect(),
        ))
    }

    fn binary(
        &self,
        op: Op,
        bool_modifier: bool,
        on: Option<&Grouping>,
        left: Answer,
        right: Answer,
    ) -> Result<Answer> {
        if op.is_set() {
            let (Answer::Vector(left), Answer::Vector(right)) = (left, right) else {
                return bad(format!("set operator {:?} not allowed in binary scalar expression", op.text()));
            };
            return Ok(Answer::Vector(set_operation(op, on, left, right)));
        }
        // For a comparison: the value that stays, or none when it does not hold.
        let one = |a: f64, b: f64| -> Option<f64> {
            if !op.compares() {
                return Some(op.apply(a, b));
            }
            let holds = op.holds(a, b);
            if bool_modifier { Some(f64::from(u8::from(holds))) } else { holds.then_some(a) }
        };
        let shorn = |labels: Labels| if op.compares() && !bool_modifier { labels } else { nameless(labels) };
        match (left, right) {
            (Answer::Scalar(a), Answer::Scalar(b)) => {
                if op.compares() && !bool_modifier {
                    return bad("comparisons between scalars must use BOOL modifier");
                }
                Ok(Answer::Scalar(one(a, b).unwrap_or(0.0)))
            }
            (Answer::Vector(v), Answer::Scalar(b)) => {
                Ok(Answer::Vector(v.into_iter().filter_map(|(l, a)| one(a, b).map(|r| (shorn(l), r))).collect()))
            }
            (Answer::Scalar(a), Answer::Vector(v)) => Ok(Answer::Vector(
                v.into_iter()
                    .filter_map(|(l, b)| {
                        let kept = one(a, b)?;
                        // A comparison keeps the vector's own value.
                        Some((shorn(l), if op.compares() && !bool_modifier { b } else { kept }))
                    })
                    .collect(),
            )),
            (Answer::Vector(left), Answer::Vector(right)) => {
                let mut by_key: BTreeMap<Labels, f64> = BTreeMap::new();
                for (labels, value) in right {
                    if by_key.insert(key(on, &labels), value).is_some() {
                        return bad(
                            "found duplicate series for the match group on the right hand-side of the operation",
                        );
                    }
                }
                let mut used = BTreeSet::new();
                let mut out = Vec::new();
                for (labels, a) in left {
                    let key = key(on, &labels);
                    let Some(b) = by_key.get(&key) else { continue };
                    if !used.insert(key.clone()) {
                        return bad(
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                        );
                    }
                    if let Some(value) = one(a, *b) {
                        out.push((if op.compares() && !bool_modifier { labels } else { key }, value));
                    }
                }
                Ok(Answer::Vector(out))
            }
            _ => bad(format!("binary expression must contain only scalar and instant vector types ({:?})", op.text())),
        }
    }
}

fn nameless(mut labels: Labels) -> Labels {
    labels.remove("__name__");
    labels
}

/// The labels by which two sides of a binary operation belong together.
fn key(on: Option<&Grouping>, labels: &Labels) -> Labels {
    match on {
        None => nameless(labels.clone()),
        Some(grouping) => grouping.keep(labels),
    }
}

fn set_operation(
    op: Op,
    on: Option<&Grouping>,
    left: Vec<(Labels, f64)>,
    right: Vec<(Labels, f64)>,
) -> Vec<(Labels, f64)> {
    let keys = |v: &[(Labels, f64)]| v.iter().map(|(l, _)| key(on, l)).collect::<BTreeSet<_>>();
    let (in_left, in_right) = (keys(&left), keys(&right));
    match op {
        Op::And => left.into_iter().filter(|(l, _)| in_right.contains(&key(on, l))).collect(),
        Op::Unless => left.into_iter().filter(|(l, _)| !in_right.contains(&key(on, l))).collect(),
        _ => left.into_iter().chain(right.into_iter().filter(|(l, _)| !in_left.contains(&key(on, l)))).collect(),
    }
}

fn aggregate(
    op: &str,
    grouping: Option<&Grouping>,
    parameter: Option<&Answer>,
    vector: Vec<(Labels, f64)>,
) -> Result<Answer> {
    let mut groups: BTreeMap<Labels, Vec<(Labels, f64)>> = BTreeMap::new();
    for (labels, value) in vector {
        let key = grouping.map_or_else(Labels::new, |g| g.keep(&labels));
        groups.entry(key).or_default().push((labels, value));
    }
    let number = match parameter {
        Some(Answer::Scalar(n)) => Some(*n),
        _ => None,
    };
    let mut out = Vec::new();
    for (key, members) in groups {
        let values: Vec<f64> = members.iter().map(|(_, v)| *v).collect();
        #[allow(clippy::cast_precision_loss, reason = "a count of series is small")]
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let value = match op {
            "sum" => values.iter().sum(),
            "avg" => mean,
            "count" => n,
            "group" => 1.0,
            "min" => values.iter().copied().fold(f64::NAN, f64::min),
            "max" => values.iter().copied().fold(f64::NAN, f64::max),
            "stddev" => (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
            "stdvar" => values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n,
            "quantile" => match number {
                Some(q) => function::quantile(q, values),
                None => return bad("expected type scalar in aggregation parameter"),
            },
            "topk" | "bottomk" => {
                let Some(k) = number else { return bad("expected type scalar in aggregation parameter") };
                let mut members = members;
                members.sort_by(|a, b| if op == "topk" { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped first")]
                members.truncate(k.clamp(0.0, 1e6) as usize);
                out.extend(members);
                continue;
            }
            other => return bad(format!("aggregation {other} is not simulated")),
        };
        out.push((key, value));
    }
    Ok(Answer::Vector(out))
}

impl Grouping {
    fn keep(&self, labels: &Labels) -> Labels {
        labels
            .iter()
            .filter(|(k, _)| {
                let listed = self.labels.iter().any(|l| l == *k);
                if self.without { !listed && *k != "__name__" } else { listed }
            })
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }
}

impl Matcher {
    fn fits(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Like(pattern) => pattern.is_match(value),
            MatchOp::NotLike(pattern) => !pattern.is_match(value),
        }
    }
}

/// A number as Prometheus writes it in JSON.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    /// Two revisions of one service over ten minutes, scraped every five seconds: the new one fails three of ten.
    fn sample() -> Series {
        let mut series = Series::default();
        for (hash, ok, errors) in [("old", 10.0, 0.0), ("new", 7.0, 3.0)] {
            let labels = |status| [("service", "billing-api"), ("pod_template_hash", hash), ("status", status)];
            let good = series.open("http_requests_total", &labels("200"));
            let bad = (errors > 0.0).then(|| series.open("http_requests_total", &labels("500")));
            let buckets: Vec<_> = ["0.1", "0.2", "0.5", "+Inf"]
                .iter()
                .map(|le| {
                    series.open(
                        "http_request_duration_seconds_bucket",
                        &[("service", "billing-api"), ("pod_template_hash", hash), ("le", le)],
                    )
                })
                .collect();
            for i in 0..=120_u32 {
                let (t, n) = (at(i64::from(i) * 5), f64::from(i) * 5.0);
                series.push(good, t, Some(ok * n));
                if let Some(bad) = bad {
                    series.push(bad, t, Some(errors * n));
                }
                for (bucket, share) in buckets.iter().zip([0.5, 0.9, 1.0, 1.0]) {
                    series.push(*bucket, t, Some((ok + errors) * n * share));
                }
            }
        }
        series
    }

    fn ask(text: &str) -> Answer {
        Query::parse(text).unwrap().at(&sample(), at(600)).unwrap()
    }

    fn value(text: &str) -> f64 {
        match ask(text) {
            Answer::Scalar(v) => v,
            Answer::Vector(v) => {
                assert_eq!(v.len(), 1, "{text}: {v:?}");
                v[0].1
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn near(text: &str, wanted: f64) {
        let got = value(text);
        assert!((got - wanted).abs() < 1e-9, "{text}: {got}, not {wanted}");
    }

    #[test]
    fn the_age_of_a_series_is_that_of_its_newest_sample() {
        let series = sample();
        let age = |text: &str, second: i64| match Query::parse(text).unwrap().at(&series, at(second)).unwrap() {
            Answer::Vector(v) => v.into_iter().map(|(_, v)| v).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let total = "http_requests_total{service=\"billing-api\"}";
        assert_eq!(age(&format!("time() - max(timestamp({total}))"), 603), [3.0]);
        assert_eq!(age(&format!("time() - max(timestamp({total}) or timestamp(absent{{a=\"b\"}}))"), 700), [100.0]);
        assert_eq!(age(&format!("time() - max(timestamp({total}))"), 1000), [] as [f64; 0], "nothing for five minutes");
        assert_eq!(age(&format!("max(timestamp({total} + 1))"), 603), [603.0]);
        assert_eq!(age(&format!("max(count_over_time({total}[300s]))"), 600), [60.0]);
    }

    #[test]
    fn the_queries_of_the_sample_templates() {
        let errors = |hash: &str| {
            format!(
                "(sum(rate(http_requests_total{{service=\"billing-api\",pod_template_hash=\"{hash}\",status=~\"5..\"}}[1m])) or vector(0))\n\
                 / sum(rate(http_requests_total{{service=\"billing-api\",pod_template_hash=\"{hash}\"}}[1m]))"
            )
        };
        near(&errors("new"), 0.3);
        near(&errors("old"), 0.0);
        assert_eq!(ask(&errors("none")), Answer::Vector(Vec::new()), "no series is an empty answer, not a zero");
        near(
            "histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket{service=\"billing-api\",pod_template_hash=\"new\"}[1m])) by (le))",
            0.35,
        );
    }

    #[test]
    fn matchers_arithmetic_and_precedence() {
        near("sum(rate(http_requests_total[1m]))", 20.0);
        near("sum(rate(http_requests_total{status!=\"500\"}[1m]))", 17.0);
        near("sum(rate(http_requests_total{status!~\"5..\"}[1m]))", 17.0);
        near("count(http_requests_total)", 3.0);
        near("max(rate(http_requests_total[1m])) - min(rate(http_requests_total[1m]))", 7.0);
        near("1 + 2 * 3 ^ 2", 19.0);
        near("-2 ^ 2", -4.0);
        near("sum by (status) (rate(http_requests_total[1m])) > 10", 17.0);
        near("sum(increase(http_requests_total{status=\"500\"}[1m]))", 180.0);
        near("scalar(vector(4)) / 2", 2.0);
        near("1 < bool 2", 1.0);
        near("time()", 600.0);
        near("sum without (status, pod_template_hash) (rate(http_requests_total[1m]))", 20.0);
    }

    #[test]
    fn nan_empty_and_stale() {
        assert!(value("vector(0) / vector(0)").is_nan());
        assert_eq!(ask("absent_metric"), Answer::Vector(Vec::new()));
        near("sum(absent_metric) or vector(0)", 0.0);
        let mut series = Series::default();
        let id = series.open("up", &[]);
        series.push(id, at(100), Some(1.0));
        let up = |s: i64, series: &Series| Query::parse("up").unwrap().at(series, at(s)).unwrap();
        assert_eq!(up(399, &series), Answer::Vector(vec![(Labels::from([("__name__".into(), "up".into())]), 1.0)]));
        assert_eq!(up(401, &series), Answer::Vector(Vec::new()), "five minutes without a sample");
        series.push(id, at(110), None);
        assert_eq!(up(111, &series), Answer::Vector(Vec::new()), "marked stale");
    }

    #[test]
    fn ranges_give_a_point_a_step() {
        let query = Query::parse("sum(rate(http_requests_total[1m]))").unwrap();
        let Answer::Matrix(matrix) = query.range(&sample(), at(300), at(360), 15_000).unwrap() else { panic!() };
        assert_eq!(matrix[0].1.len(), 5);
        assert!(query.range(&sample(), at(0), at(600), 0).is_err());
        assert!(query.range(&sample(), at(0), at(600), 1).is_err(), "more points than a real one gives");
    }

    #[test]
    fn what_does_not_parse_says_where() {
        for (text, part) in [
            ("sum(", "unexpected end of input"),
            ("rate(up)", "expected type range vector"),
            ("up{a=}", "unexpected"),
            ("up[1q]", "duration"),
            ("nonsense(up)", "unknown function"),
            ("1 < 2", "BOOL"),
            ("up{a=~\"(\"}", "regexp"),
            (")", "unexpected"),
        ] {
            let why = Query::parse(text).and_then(|q| q.at(&sample(), at(600))).unwrap_err().0;
            assert!(why.contains(part), "{text}: {why}");
        }
        let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(Query::parse(&deep).is_err(), "depth is bounded");
    }

    #[test]
    fn numbers_as_go_writes_them() {
        assert_eq!(number(0.3), "0.3");
        assert_eq!(number(5.0), "5");
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(1e21), "1000000000000000000000");
    }
}

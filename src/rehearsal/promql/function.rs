//! The functions of the query language: rates with the real one's extrapolation, histogram quantiles, the small rest.

use std::collections::BTreeMap;

use super::super::series::Labels;
use super::{Answer, Result, bad, nameless};

type Range = Vec<(Labels, Vec<(i64, f64)>)>;
type Vector = Vec<(Labels, f64)>;

/// Calls a function. `window` is the range of the first argument, where that is a range selector: its length and end,
/// milliseconds. `now` is the instant of the evaluation.
pub(super) fn call(name: &str, args: Vec<Answer>, window: Option<(i64, i64)>, now: i64) -> Result<Answer> {
    let mut args = args.into_iter();
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a date fit a double")]
    let now_s = now as f64 / 1000.0;
    let answer = match name {
        "time" => Answer::Scalar(now_s),
        "vector" => match args.next() {
            Some(Answer::Scalar(v)) => Answer::Vector(vec![(Labels::new(), v)]),
            _ => return bad("expected type scalar in call to function \"vector\""),
        },
        "scalar" => match args.next() {
            Some(Answer::Vector(v)) if v.len() == 1 => Answer::Scalar(v[0].1),
            Some(Answer::Vector(_)) => Answer::Scalar(f64::NAN),
            _ => return bad("expected type instant vector in call to function \"scalar\""),
        },
        "absent" => match args.next() {
            Some(Answer::Vector(v)) if v.is_empty() => Answer::Vector(vec![(Labels::new(), 1.0)]),
            Some(Answer::Vector(_)) => Answer::Vector(Vec::new()),
            _ => return bad("expected type instant vector in call to function \"absent\""),
        },
        "abs" | "ceil" | "floor" | "round" | "sqrt" | "exp" | "ln" | "log2" | "log10" => {
            each(name, args.next(), |v| match name {
                "abs" => v.abs(),
                "ceil" => v.ceil(),
                "floor" => v.floor(),
                "round" => (v + 0.5).floor(),
                "sqrt" => v.sqrt(),
                "exp" => v.exp(),
                "ln" => v.ln(),
                "log2" => v.log2(),
                _ => v.log10(),
            })?
        }
        "clamp_min" | "clamp_max" => {
            let vector = args.next();
            let Some(Answer::Scalar(limit)) = args.next() else {
                return bad(format!("expected type scalar in call to function \"{name}\""));
            };
            each(name, vector, |v| if name == "clamp_min" { v.max(limit) } else { v.min(limit) })?
        }
        "histogram_quantile" => {
            let (Some(Answer::Scalar(q)), Some(Answer::Vector(v))) = (args.next(), args.next()) else {
                return bad("expected type scalar and instant vector in call to function \"histogram_quantile\"");
            };
            Answer::Vector(histogram_quantile(q, v))
        }
        "rate" | "increase" | "delta" => {
            let (range, (length, end)) = ranged(name, args.next(), window)?;
            over(range, |samples| extrapolated(samples, length, end, name != "delta", name == "rate"))
        }
        "irate" | "idelta" => {
            let (range, _) = ranged(name, args.next(), window)?;
            over(range, |samples| instant(samples, name == "irate"))
        }
        "sum_over_time" | "avg_over_time" | "min_over_time" | "max_over_time" | "count_over_time"
        | "last_over_time" => {
            let (range, _) = ranged(name, args.next(), window)?;
            let keeps_name = name == "last_over_time";
            let vector = range.into_iter().filter_map(|(labels, samples)| {
                let values = samples.iter().map(|(_, v)| *v);
                #[allow(clippy::cast_precision_loss, reason = "a count of samples is small")]
                let n = samples.len() as f64;
                let value = match name {
                    "sum_over_time" => values.sum(),
                    "avg_over_time" => values.sum::<f64>() / n,
                    "min_over_time" => values.fold(f64::NAN, f64::min),
                    "max_over_time" => values.fold(f64::NAN, f64::max),
                    "count_over_time" => n,
                    _ => samples.last()?.1,
                };
                Some((if keeps_name { labels } else { nameless(labels) }, value))
            });
            Answer::Vector(vector.collect())
        }
        other => return bad(format!("parse error: unknown function with name {other:?}")),
    };
    Ok(answer)
}

fn each(name: &str, arg: Option<Answer>, f: impl Fn(f64) -> f64) -> Result<Answer> {
    match arg {
        Some(Answer::Vector(v)) => Ok(Answer::Vector(v.into_iter().map(|(l, v)| (nameless(l), f(v))).collect())),
        _ => bad(format!("expected type instant vector in call to function {name:?}")),
    }
}

fn ranged(name: &str, arg: Option<Answer>, window: Option<(i64, i64)>) -> Result<(Range, (i64, i64))> {
    match (arg, window) {
        (Some(Answer::Matrix(range)), Some(window)) => Ok((range, window)),
        _ => bad(format!("parse error: expected type range vector in call to function {name:?}, got instant vector")),
    }
}

fn over(range: Range, f: impl Fn(&[(i64, f64)]) -> Option<f64>) -> Answer {
    Answer::Vector(range.into_iter().filter_map(|(labels, s)| f(&s).map(|v| (nameless(labels), v))).collect())
}

/// Growth over a window, resets of counters taken out, carried on to the window's edges where samples come close to
/// them: within 1.1 times their own distance, else half of it, and never below zero of a counter.
#[allow(clippy::cast_precision_loss, reason = "milliseconds of a window fit a double")]
fn extrapolated(samples: &[(i64, f64)], length: i64, end: i64, counter: bool, per_second: bool) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let mut growth = last.1 - first.1;
    if counter {
        growth += samples.windows(2).filter(|w| w[1].1 < w[0].1).map(|w| w[0].1).sum::<f64>();
    }
    let start = end - length;
    let sampled = (last.0 - first.0) as f64 / 1000.0;
    let apart = sampled / (samples.len() - 1) as f64;
    let mut to_start = (first.0 - start) as f64 / 1000.0;
    let mut to_end = (end - last.0) as f64 / 1000.0;
    let close = apart * 1.1;
    if to_start >= close {
        to_start = apart / 2.0;
    }
    if counter && growth > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / growth));
    }
    if to_end >= close {
        to_end = apart / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= length as f64 / 1000.0;
    }
    Some(growth * factor)
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a window fit a double")]
fn instant(samples: &[(i64, f64)], rate: bool) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let growth = if rate && last.1 < before.1 { last.1 } else { last.1 - before.1 };
    Some(if rate { growth / ((last.0 - before.0) as f64 / 1000.0) } else { growth })
}

/// A quantile of plain values, between neighbours by their distance.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "a count of series is small")]
    let rank = q * (values.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of values")]
    let below = rank.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[below] * (1.0 - weight) + values[above] * weight
}

fn histogram_quantile(q: f64, vector: Vector) -> Vector {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, value) in vector {
        let le = match labels.get("le").map(String::as_str) {
            Some("+Inf") => f64::INFINITY,
            Some(le) => match le.parse() {
                Ok(le) => le,
                Err(_) => continue,
            },
            None => continue,
        };
        let mut key = nameless(labels);
        key.remove("le");
        histograms.entry(key).or_default().push((le, value));
    }
    histograms.into_iter().map(|(labels, buckets)| (labels, bucket_quantile(q, buckets))).collect()
}

fn bucket_quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((highest, total)) = buckets.last().copied() else { return f64::NAN };
    if highest.is_finite() || buckets.len() < 2 || total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    // Rates of buckets scraped at different moments may fall; cumulative counts never do.
    let mut most = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        most = most.max(bucket.1);
        bucket.1 = most;
    }
    let rank = q * total;
    let at = buckets[..buckets.len() - 1].iter().position(|(_, count)| *count >= rank).unwrap_or(buckets.len() - 1);
    if at == buckets.len() - 1 {
        return buckets[buckets.len() - 2].0;
    }
    if at == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (below, counted) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (above, upto) = buckets[at];
    below + (above - below) * ((rank - counted) / (upto - counted))
}

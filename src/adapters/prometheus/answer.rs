//! Answers of the query API: scalar, vector, matrix, errors. Values come as strings; NaN and infinities are kept.

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::core::gate::value;
use crate::core::text::Text;
use crate::text;

/// How many series of an answer are read.
const SERIES_MAX: usize = 1_000;

/// The values of an answer, a list a series, each with its time.
pub(super) struct Data {
    /// True when the answer was one scalar.
    pub(super) scalar: bool,
    /// The series, in the order of the answer.
    pub(super) series: Vec<Vec<(Timestamp, f64)>>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    status: String,
    #[serde(default)]
    data: Option<Payload>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    result_type: String,
    result: Value,
}

/// Reads an answer; says why it cannot.
pub(super) fn read(body: &[u8]) -> Result<Data, Text> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|why| text!("no answer of a Prometheus: {why}"))?;
    if envelope.status != "success" {
        return Err(text!("{} {}", envelope.error_type, envelope.error));
    }
    let data = envelope.data.ok_or_else(|| Text::scrub("the answer has no data"))?;
    let list = || data.result.as_array().map_or(&[][..], Vec::as_slice).iter().take(SERIES_MAX);
    match data.result_type.as_str() {
        "scalar" => Ok(Data { scalar: true, series: vec![pair(&data.result).into_iter().collect()] }),
        "vector" => {
            Ok(Data { scalar: false, series: list().map(|s| pair(&s["value"]).into_iter().collect()).collect() })
        }
        "matrix" => {
            let points = |s: &Value| s["values"].as_array().map(|v| v.iter().filter_map(pair).collect());
            Ok(Data { scalar: false, series: list().map(|s| points(s).unwrap_or_default()).collect() })
        }
        other => Err(text!("a {other} is no metric")),
    }
}

/// `[1435781451.781, "0.02"]`.
fn pair(raw: &Value) -> Option<(Timestamp, f64)> {
    let millis = raw.get(0)?.as_f64()? * 1000.0;
    if !(millis.is_finite() && millis.abs() < 1e14) {
        return None;
    }
    let at = Timestamp::from_millisecond(millis.round() as i64).ok()?;
    Some((at, value::number(raw.get(1)?.as_str()?)?))
}

/// What an error body says, where it is one of a Prometheus.
pub(super) fn error(body: &[u8]) -> Option<Text> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    (!envelope.error.is_empty()).then(|| text!("{}", envelope.error))
}

/// The server's clock.
pub(super) fn date(head: &HeaderMap) -> Option<Timestamp> {
    let raw = head.get(DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(raw).ok().map(|at| at.timestamp())
}

/// Seconds that the server asks to wait.
pub(super) fn retry_after(head: &HeaderMap) -> Option<u32> {
    head.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

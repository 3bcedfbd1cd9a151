//! What a service promises and what its gate goes by, as its team wrote it. Whether it is kept is the judge's.

use serde::{Deserialize, Serialize};

/// What a gate goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateBy {
    /// Request metrics.
    Metrics,
    /// Pods and lag, for workers without request metrics.
    Health,
}

/// Service level objectives; none where not written.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Slo {
    /// Share of failed requests, 0 to 1.
    pub error_rate: Option<f64>,
    /// 95th percentile of latency, milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile of latency, milliseconds.
    pub p99_ms: Option<f64>,
    /// Ceiling of server errors, per second.
    pub max_5xx_per_second: Option<f64>,
}

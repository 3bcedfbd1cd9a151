//! What a service promises and what its gate goes by, as its team wrote it. Whether it is kept is the judge's.

use serde::{Deserialize, Serialize};

use crate::core::text::Text;

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

/// Most synthetic checks that one service may have.
pub const CHECKS_MAX: usize = 8;

/// A synthetic check: an HTTP address that must answer while the service bakes, and while a flag of it moves (`train.md` §3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyntheticCheck {
    /// Its name among those of the service.
    pub name: Text,
    /// The address, with scheme; must be reachable from where the conductor runs.
    pub http: Text,
    /// The status that it must answer; none for any of 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl SyntheticCheck {
    /// True when this is what it must answer.
    pub fn holds(&self, status: u16) -> bool {
        self.status.map_or((200..300).contains(&status), |wanted| wanted == status)
    }
}

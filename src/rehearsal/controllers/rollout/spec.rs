//! A Rollout's spec and status as types: which fields the simulated controller reads and writes, and their defaults.
//! No behaviour.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::super::fields::{duration, int_or_percent, without_nulls};
use super::arithmetic::fenceposts;

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// How many pods.
    pub replicas: Option<i64>,
    /// Which pods.
    pub selector: Option<Value>,
    /// The pod template; for a `workloadRef` the referenced one, filled in before reconciling.
    pub template: Option<Value>,
    /// Where the template really is.
    pub workload_ref: Option<WorkloadRef>,
    /// Seconds that a pod is ready before it counts as available.
    pub min_ready_seconds: i64,
    /// How many old replica sets stay.
    pub revision_history_limit: Option<i64>,
    /// A hold by a person.
    pub paused: bool,
    /// Seconds without progress before it is called stuck.
    pub progress_deadline_seconds: Option<i64>,
    /// Abort when stuck.
    pub progress_deadline_abort: bool,
    /// Pods created before this time are restarted.
    pub restart_at: Option<String>,
    /// How many revisions back a rollback is fast.
    pub rollback_window: Option<Window>,
    /// How many analysis runs stay.
    pub analysis: Option<History>,
    /// How versions change.
    pub strategy: Strategy,
}

/// `spec.workloadRef`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRef {
    /// API version of the referenced object.
    pub api_version: String,
    /// Kind of the referenced object.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When the referenced Deployment goes to zero: never, onsuccess, progressively.
    pub scale_down: String,
}

/// `spec.rollbackWindow`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Revisions.
    pub revisions: i64,
}

/// `spec.analysis`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Successful runs kept.
    pub successful_run_history_limit: Option<i64>,
    /// Other finished runs kept.
    pub unsuccessful_run_history_limit: Option<i64>,
}

/// `spec.strategy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// Canary.
    pub canary: Option<Canary>,
    /// Blue-green.
    pub blue_green: Option<BlueGreen>,
}

/// `spec.strategy.canary`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Canary {
    /// Service of the new version.
    pub canary_service: String,
    /// Service of the stable version.
    pub stable_service: String,
    /// Steps, raw.
    pub steps: Vec<Value>,
    /// Traffic router; only nginx is simulated.
    pub traffic_routing: Option<Routing>,
    /// Pods above `replicas`.
    pub max_surge: Option<Value>,
    /// Pods below `replicas`.
    pub max_unavailable: Option<Value>,
    /// Background analysis.
    pub analysis: Option<Analysis>,
    /// Stable shrinks as the canary grows.
    pub dynamic_stable_scale: bool,
    /// Least pods of a replica set that has any.
    pub min_pods_per_replica_set: Option<i64>,
    /// Seconds before an aborted canary is scaled down; 0 is never.
    pub abort_scale_down_delay_seconds: Option<i64>,
    /// Seconds before the old stable is scaled down.
    pub scale_down_delay_seconds: Option<i64>,
    /// How many old replica sets wait for their scale-down.
    pub scale_down_delay_revision_limit: Option<i64>,
}

/// `spec.strategy.canary.trafficRouting`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// The nginx router.
    pub nginx: Option<Nginx>,
    /// The weight that means all traffic.
    pub max_traffic_weight: Option<i64>,
}

/// `spec.strategy.canary.trafficRouting.nginx`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Nginx {
    /// The ingress that carries the stable service.
    pub stable_ingress: String,
    /// Several of them.
    pub stable_ingresses: Vec<String>,
    /// Another prefix than `nginx.ingress.kubernetes.io`.
    pub annotation_prefix: Option<String>,
    /// Annotations added to the canary ingress.
    pub additional_ingress_annotations: std::collections::BTreeMap<String, String>,
}

/// An analysis: of a step, in the background, before or after promotion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Analysis {
    /// References to templates.
    pub templates: Vec<Value>,
    /// Arguments.
    pub args: Vec<Value>,
    /// Metrics that do not count.
    pub dry_run: Vec<Value>,
    /// How many measurements are kept.
    pub measurement_retention: Vec<Value>,
    /// Background only: the step from which it runs.
    pub starting_step: Option<i64>,
    /// Labels and annotations for the run.
    pub analysis_run_metadata: Value,
}

/// `spec.strategy.blueGreen`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreen {
    /// Service that users reach.
    pub active_service: String,
    /// Service that shows the new version.
    pub preview_service: String,
    /// Pods of the preview.
    pub preview_replica_count: Option<i64>,
    /// Promote without a person.
    pub auto_promotion_enabled: Option<bool>,
    /// Promote after so many seconds.
    pub auto_promotion_seconds: i64,
    /// Pods that may be missing.
    pub max_unavailable: Option<Value>,
    /// Seconds before the old version is scaled down.
    pub scale_down_delay_seconds: Option<i64>,
    /// How many old replica sets wait for their scale-down.
    pub scale_down_delay_revision_limit: Option<i64>,
    /// Seconds before an aborted preview is scaled down; 0 is never.
    pub abort_scale_down_delay_seconds: Option<i64>,
    /// Analysis before the switch.
    pub pre_promotion_analysis: Option<Analysis>,
    /// Analysis after it.
    pub post_promotion_analysis: Option<Analysis>,
}

/// One canary step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Set the canary's weight.
    SetWeight(i64),
    /// Wait: for a duration, or for a person.
    Pause(Option<SignedDuration>),
    /// Analyse, and go on when it succeeds.
    Analysis(Box<Analysis>),
    /// Scale the canary apart from its weight.
    Scale(Scale),
    /// A step that the simulation does not carry out (experiment, routes, plugin).
    Other(String),
}

/// What `setCanaryScale` asks for.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// So many pods.
    Replicas(i64),
    /// Pods for this weight.
    Weight(i64),
    /// As the traffic weight asks.
    MatchTraffic,
}

impl Step {
    /// Reads a step; the text says what is wrong with it.
    pub fn read(raw: &Value) -> Result<Self, String> {
        let Some((key, value)) = raw.as_object().and_then(|o| o.iter().find(|(_, v)| !v.is_null())) else {
            return Err("a step must have a type".to_owned());
        };
        match key.as_str() {
            "setWeight" => value.as_i64().map(Self::SetWeight).ok_or_else(|| "setWeight must be a number".to_owned()),
            "pause" => match value.get("duration").filter(|d| !d.is_null()) {
                None => Ok(Self::Pause(None)),
                Some(d) => duration(d).map(|d| Self::Pause(Some(d))).ok_or_else(|| "duration".to_owned()),
            },
            "analysis" => serde_json::from_value(without_nulls(value))
                .map(|a| Self::Analysis(Box::new(a)))
                .map_err(|e| e.to_string()),
            "setCanaryScale" => Ok(Self::Scale(
                match (value.get("weight").and_then(Value::as_i64), value.get("replicas").and_then(Value::as_i64)) {
                    (Some(weight), _) => Scale::Weight(weight),
                    (None, Some(replicas)) => Scale::Replicas(replicas),
                    (None, None) => Scale::MatchTraffic,
                },
            )),
            other => Ok(Self::Other(other.to_owned())),
        }
    }

    /// The step in the words of its completion event.
    pub fn words(&self, raw: &Value) -> String {
        match self {
            Self::SetWeight(w) => format!("setWeight: {w}"),
            Self::Pause(None) => "pause".to_owned(),
            Self::Pause(Some(_)) => match raw.pointer("/pause/duration") {
                Some(Value::String(s)) => format!("pause: {s}"),
                Some(n) => format!("pause: {n}"),
                None => "pause".to_owned(),
            },
            Self::Analysis(_) => "analysis".to_owned(),
            Self::Scale(Scale::Weight(w)) => format!("setCanaryScale{{weight: {w}}}"),
            Self::Scale(Scale::Replicas(n)) => format!("setCanaryScale{{replicas: {n}}}"),
            Self::Scale(Scale::MatchTraffic) => "setCanaryScale{matchTrafficWeight: true}".to_owned(),
            Self::Other(kind) => kind.clone(),
        }
    }
}

impl Spec {
    /// Reads a spec; the text says what could not be read.
    pub fn read(rollout: &Value) -> Result<Self, String> {
        let raw = rollout.get("spec").map(without_nulls).unwrap_or_else(|| json!({}));
        serde_json::from_value(raw).map_err(|e| e.to_string())
    }

    /// `replicas` or its default.
    pub fn size(&self) -> i64 {
        self.replicas.unwrap_or(1)
    }

    /// The weight that means all traffic.
    pub fn full(&self) -> i64 {
        self.strategy
            .canary
            .as_ref()
            .and_then(|c| c.traffic_routing.as_ref())
            .and_then(|r| r.max_traffic_weight)
            .unwrap_or(100)
    }

    /// The canary strategy's steps, raw.
    pub fn steps(&self) -> &[Value] {
        self.strategy.canary.as_ref().map_or(&[], |c| c.steps.as_slice())
    }

    /// True for a canary with a traffic router.
    pub fn routed(&self) -> bool {
        self.strategy.canary.as_ref().is_some_and(|c| c.traffic_routing.is_some())
    }

    /// Surge and unavailable pods of a canary.
    pub fn bounds(&self) -> (i64, i64) {
        let Some(canary) = &self.strategy.canary else { return (0, 0) };
        let quarter = json!("25%");
        let surge = int_or_percent(canary.max_surge.as_ref().unwrap_or(&quarter), self.size(), true).unwrap_or(0);
        let unavailable =
            int_or_percent(canary.max_unavailable.as_ref().unwrap_or(&quarter), self.size(), false).unwrap_or(0);
        let (surge, unavailable) = fenceposts(surge, unavailable);
        (surge, unavailable.min(self.size()))
    }

    /// Seconds without progress before it is called stuck.
    pub fn progress_deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.progress_deadline_seconds.unwrap_or(600))
    }

    /// Seconds before an aborted canary or preview is scaled down; none when it stays up for good.
    pub fn abort_delay(&self) -> Option<SignedDuration> {
        let set = match (&self.strategy.canary, &self.strategy.blue_green) {
            (Some(c), _) => c.abort_scale_down_delay_seconds,
            (None, Some(b)) => b.abort_scale_down_delay_seconds,
            (None, None) => None,
        };
        match set {
            Some(0) => None,
            Some(n) => Some(SignedDuration::from_secs(n)),
            None => Some(SignedDuration::from_secs(30)),
        }
    }

    /// True when the abort delay is written in the spec.
    pub fn abort_delay_set(&self) -> bool {
        self.strategy.canary.as_ref().is_some_and(|c| c.abort_scale_down_delay_seconds.is_some())
            || self.strategy.blue_green.as_ref().is_some_and(|b| b.abort_scale_down_delay_seconds.is_some())
    }

    /// How long the old version stays up after the switch.
    pub fn scale_down_delay(&self) -> SignedDuration {
        let set = match (&self.strategy.canary, &self.strategy.blue_green) {
            (Some(c), _) if c.traffic_routing.is_none() => Some(0),
            (Some(c), _) => c.scale_down_delay_seconds,
            (None, Some(b)) => b.scale_down_delay_seconds,
            (None, None) => None,
        };
        SignedDuration::from_secs(set.unwrap_or(30))
    }

    /// How many old versions may wait for their scale-down.
    pub fn scale_down_limit(&self) -> i64 {
        let set = match (&self.strategy.canary, &self.strategy.blue_green) {
            (_, Some(b)) => b.scale_down_delay_revision_limit,
            (Some(c), _) => c.scale_down_delay_revision_limit,
            (None, None) => None,
        };
        set.unwrap_or(i64::MAX)
    }
}

fn seconds<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => s.serialize_str(&super::super::fields::stamp(*at)),
        None => s.serialize_none(),
    }
}

fn lenient<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.and_then(|s| s.parse().ok()))
}

fn zero(n: &i64) -> bool {
    *n == 0
}

/// A condition of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// When its status last changed.
    #[serde(serialize_with = "seconds", deserialize_with = "lenient")]
    pub last_transition_time: Option<Timestamp>,
    /// When it was last written.
    #[serde(serialize_with = "seconds", deserialize_with = "lenient")]
    pub last_update_time: Option<Timestamp>,
    /// In words.
    pub message: String,
    /// In one word.
    pub reason: String,
    /// True, False, Unknown.
    pub status: String,
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An element of `status.pauseConditions`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PauseCondition {
    /// Why.
    pub reason: String,
    /// Since when.
    #[serde(serialize_with = "seconds", deserialize_with = "lenient")]
    pub start_time: Option<Timestamp>,
}

/// A link to an analysis run.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunLink {
    /// Its message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its name.
    pub name: String,
    /// Its phase.
    pub status: String,
}

/// One side of the traffic split.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Which pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_template_hash: String,
    /// Through which service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// How much.
    pub weight: i64,
}

/// `status.canary.weights`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Weights {
    /// The new version.
    pub canary: Destination,
    /// The stable version.
    pub stable: Destination,
}

/// `status.canary`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// The background run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_background_analysis_run_status: Option<RunLink>,
    /// The step's run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_analysis_run_status: Option<RunLink>,
    /// The split; none without a router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
}

/// `status.blueGreen`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStatus {
    /// Hash behind the active service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active_selector: String,
    /// Run after promotion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_promotion_analysis_run_status: Option<RunLink>,
    /// Run before promotion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_promotion_analysis_run_status: Option<RunLink>,
    /// Hash behind the preview service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preview_selector: String,
    /// The preview may grow to full size.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scale_up_preview_check_point: bool,
}

/// `status`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Status {
    #[serde(rename = "HPAReplicas", skip_serializing_if = "zero")]
    pub hpa_replicas: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub abort: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds", deserialize_with = "lenient")]
    pub aborted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "zero")]
    pub available_replicas: i64,
    pub blue_green: BlueGreenStatus,
    pub canary: CanaryStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub controller_pause: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_pod_hash: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_step_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_index: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub observed_generation: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pause_conditions: Vec<PauseCondition>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub promote_full: bool,
    #[serde(skip_serializing_if = "zero")]
    pub ready_replicas: i64,
    #[serde(skip_serializing_if = "zero")]
    pub replicas: i64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds", deserialize_with = "lenient")]
    pub restarted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    #[serde(rename = "stableRS", skip_serializing_if = "String::is_empty")]
    pub stable_rs: String,
    #[serde(skip_serializing_if = "zero")]
    pub updated_replicas: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload_observed_generation: String,
}

impl Status {
    /// Reads a status; what cannot be read counts as absent.
    pub fn read(rollout: &Value) -> Self {
        rollout.get("status").map(without_nulls).and_then(|s| serde_json::from_value(s).ok()).unwrap_or_default()
    }

    /// The condition of a type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    /// The pause of a reason.
    pub fn pause(&self, reason: &str) -> Option<&PauseCondition> {
        self.pause_conditions.iter().find(|p| p.reason == reason)
    }

    /// True when stable is what the template asks for.
    pub fn fully_promoted(&self) -> bool {
        self.stable_rs == self.current_pod_hash
    }
}

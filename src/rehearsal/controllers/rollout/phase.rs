//! `status.phase` and `status.message`, as the controller computes them.

use super::spec::{Spec, Status};

/// Phase and message of a Rollout with this status.
pub(super) fn phase(spec: &Spec, status: &Status) -> (&'static str, String) {
    for condition in &status.conditions {
        if condition.kind == "InvalidSpec" {
            return ("Degraded", format!("InvalidSpec: {}", condition.message));
        }
        if matches!(condition.reason.as_str(), "RolloutAborted" | "ProgressDeadlineExceeded") {
            return ("Degraded", format!("{}: {}", condition.reason, condition.message));
        }
    }
    if spec.paused {
        return ("Paused", "manually paused".to_owned());
    }
    if let Some(pause) = status.pause_conditions.first() {
        return ("Paused", pause.reason.clone());
    }
    let restart = spec.restart_at.as_ref().and_then(|r| r.parse::<jiff::Timestamp>().ok());
    let progressing = if restart.is_some() && restart != status.restarted_at {
        "rollout is restarting"
    } else if status.updated_replicas < spec.size() {
        "more replicas need to be updated"
    } else if status.available_replicas < status.updated_replicas {
        "updated replicas are still becoming available"
    } else if let Some(blue_green) = &spec.strategy.blue_green {
        if status.blue_green.active_selector.is_empty() || status.blue_green.active_selector != status.current_pod_hash
        {
            "active service cutover pending"
        } else if status.stable_rs.is_empty() || !status.fully_promoted() {
            let waits = blue_green.post_promotion_analysis.is_some()
                && status.blue_green.post_promotion_analysis_run_status.as_ref().is_none_or(|r| !over(&r.status));
            if waits {
                "waiting for analysis to complete"
            } else {
                "waiting for post-promotion verification to complete"
            }
        } else {
            return ("Healthy", String::new());
        }
    } else if let Some(canary) = &spec.strategy.canary {
        if canary.traffic_routing.is_none() && status.replicas > status.updated_replicas {
            "old replicas are pending termination"
        } else if status.stable_rs.is_empty() || !status.fully_promoted() {
            "waiting for all steps to complete"
        } else {
            return ("Healthy", String::new());
        }
    } else {
        return ("Healthy", String::new());
    };
    ("Progressing", progressing.to_owned())
}

/// True for the phase of an analysis that has ended.
pub(super) fn over(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

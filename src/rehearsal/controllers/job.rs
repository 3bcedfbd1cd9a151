//! The Job controller: one pod, and what became of it.

use serde_json::{Value, json};

use super::super::kinds;
use super::desk::Desk;
use super::fields;
use super::replica_set::create_pod;

const COMPONENT: &str = "job-controller";

/// Reconciles one Job.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(job) = desk.get(&kinds::JOB, namespace, name) else { return };
    let over = |c: &Value| matches!(fields::text(c, "/type"), "Complete" | "Failed");
    if job.pointer("/metadata/deletionTimestamp").is_some()
        || fields::items(&job, "/status/conditions").iter().any(over)
    {
        return;
    }
    let now = fields::stamp(desk.now());
    let pods = desk.owned(&kinds::POD, fields::uid(&job));
    let of = |phase: &str| pods.iter().filter(|p| fields::text(p, "/status/phase") == phase).count();
    let (succeeded, failed) = (of("Succeeded"), of("Failed"));
    let retries = usize::try_from(fields::int(&job, "/spec/backoffLimit").unwrap_or(6)).unwrap_or(0);
    let started = job.pointer("/status/startTime").cloned().unwrap_or_else(|| json!(now));
    let condition = |kind: &str, reason: &str, message: &str| {
        json!([{ "type": kind, "status": "True", "reason": reason, "message": message,
                 "lastProbeTime": now, "lastTransitionTime": now }])
    };
    let mut status = json!({ "startTime": started, "ready": 0 });
    if failed > 0 {
        status["failed"] = json!(failed);
    }
    if succeeded > 0 {
        status["succeeded"] = json!(succeeded);
        status["completionTime"] = json!(now);
        status["conditions"] = condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods");
        desk.event(COMPONENT, &job, "Completed", "Job completed");
    } else if failed > retries {
        let message = "Job has reached the specified backoff limit";
        status["conditions"] = condition("Failed", "BackoffLimitExceeded", message);
        desk.warn(COMPONENT, &job, "BackoffLimitExceeded", message);
    } else {
        if pods.len() == failed
            && let Some(pod) = create_pod(desk, &job)
        {
            desk.event(COMPONENT, &job, "SuccessfulCreate", &format!("Created pod: {}", fields::name(&pod)));
        }
        status["active"] = json!(1);
    }
    if job.get("status") != Some(&status) {
        desk.set_status(&kinds::JOB, &job, status);
    }
}

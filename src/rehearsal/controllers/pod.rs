//! What a scheduler and a node do to a pod: it gets a node, starts after a while, becomes ready, or crashes, or its image
//! cannot be pulled, as the scenario says. No container runs.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::kinds;
use super::agenda::Task;
use super::desk::Desk;
use super::{fields, hash};

/// What becomes of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It starts and becomes ready.
    Ready,
    /// Its container ends with an error each time, until the kubelet backs off.
    CrashLoop,
    /// Its image cannot be pulled.
    NoImage,
}

/// What becomes of which pods, and how long starting takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fates {
    /// (part of the image reference, fate): the first that fits.
    pub rules: Vec<(String, Fate)>,
    /// The same, for pods created from a time on: an image that was there and is gone.
    pub later: Vec<(String, Fate)>,
    /// That time.
    pub later_from: Option<Timestamp>,
    /// Shortest and longest time from node to ready, milliseconds.
    pub start_ms: (u64, u64),
}

impl Default for Fates {
    fn default() -> Self {
        Self { rules: Vec::new(), later: Vec::new(), later_from: None, start_ms: (1_200, 3_600) }
    }
}

impl Fates {
    fn of(&self, image: &str, created: Timestamp) -> Fate {
        let later = self.later_from.is_some_and(|from| created >= from).then_some(&self.later);
        let mut rules = self.rules.iter().chain(later.into_iter().flatten());
        rules.find(|(part, _)| image.contains(part.as_str())).map_or(Fate::Ready, |(_, fate)| *fate)
    }
}

/// How many nodes the cluster has.
pub const NODES: u64 = 6;

/// True when a pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    fields::items(pod, "/status/conditions")
        .iter()
        .any(|c| fields::text(c, "/type") == "Ready" && fields::text(c, "/status") == "True")
}

/// Since when a pod is ready.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    fields::items(pod, "/status/conditions")
        .iter()
        .find(|c| fields::text(c, "/type") == "Ready" && fields::text(c, "/status") == "True")
        .and_then(|c| fields::time(c, "/lastTransitionTime"))
}

fn condition(kind: &str, status: bool, now: &str) -> Value {
    json!({
        "type": kind,
        "status": if status { "True" } else { "False" },
        "lastProbeTime": null,
        "lastTransitionTime": now,
    })
}

/// Moves a pod on to its next state.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(pod) = desk.get(&kinds::POD, namespace, name) else { return };
    let task = Task::Pod(namespace.to_owned(), name.to_owned());
    let image = fields::text(&pod, "/spec/containers/0/image").to_owned();
    let salt = u64::from_str_radix(fields::uid(&pod).get(..8).unwrap_or("0"), 16).unwrap_or(0);
    if fields::text(&pod, "/spec/nodeName").is_empty() {
        let Some(node) = node_for(desk, &pod, salt) else {
            unschedulable(desk, &pod);
            desk.after(SignedDuration::from_secs(30), task);
            return;
        };
        let Some(pod) = desk.update(&kinds::POD, &pod, |o| o["spec"]["nodeName"] = json!(node)) else { return };
        desk.event(
            "default-scheduler",
            &pod,
            "Scheduled",
            &format!("Successfully assigned {namespace}/{name} to {node}"),
        );
        wait(desk, &pod, "ContainerCreating", "", 0);
        let (least, most) = desk.fates.start_ms;
        let start = least + salt.wrapping_mul(0x9e37_79b9) % (most.saturating_sub(least) + 1);
        desk.after(SignedDuration::from_millis(i64::try_from(start).unwrap_or(2_000)), task);
        return;
    }
    let restarts = fields::count(&pod, "/status/containerStatuses/0/restartCount");
    let job = fields::owner(&pod).is_some_and(|o| fields::text(o, "/kind") == "Job");
    match desk.fates.of(&image, fields::created(&pod)) {
        Fate::Ready if job => finish(desk, &pod, "Succeeded"),
        Fate::CrashLoop | Fate::NoImage if job => finish(desk, &pod, "Failed"),
        Fate::Ready => run(desk, &pod, true, restarts),
        Fate::NoImage => {
            let waiting = fields::text(&pod, "/status/containerStatuses/0/state/waiting/reason");
            let (reason, message) = if waiting == "ErrImagePull" {
                ("ImagePullBackOff", format!("Back-off pulling image \"{image}\""))
            } else {
                ("ErrImagePull", format!("failed to pull image \"{image}\": manifest unknown"))
            };
            wait(desk, &pod, reason, &message, restarts);
            desk.warn("kubelet", &pod, "Failed", &format!("Error: {reason}"));
            desk.after(SignedDuration::from_secs(20), task);
        }
        Fate::CrashLoop => {
            if fields::text(&pod, "/status/containerStatuses/0/state/running/startedAt").is_empty() {
                run(desk, &pod, false, restarts);
                desk.after(SignedDuration::from_millis(900), task);
            } else {
                let restarts = restarts + 1;
                let container = fields::text(&pod, "/spec/containers/0/name").to_owned();
                let backoff = 10_i64.saturating_mul(1 << (restarts - 1).clamp(0, 5)).min(300);
                let message =
                    format!("back-off {backoff}s restarting failed container={container} pod={name}_{namespace}");
                wait(desk, &pod, "CrashLoopBackOff", &message, restarts);
                desk.warn("kubelet", &pod, "BackOff", "Back-off restarting failed container");
                desk.after(SignedDuration::from_secs(backoff), task);
            }
        }
    }
}

/// A node whose labels answer the pod's node selector; which of them, the salt says.
fn node_for(desk: &Desk<'_>, pod: &Value, salt: u64) -> Option<String> {
    let wanted = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let fits = |node: &Value| {
        wanted.is_none_or(|labels| {
            labels.iter().all(|(key, value)| node.pointer("/metadata/labels").and_then(|l| l.get(key)) == Some(value))
        })
    };
    let nodes: Vec<String> = desk
        .all(&kinds::NODE)
        .iter()
        .filter(|n| fits(n))
        .map(|n| fields::text(n, "/metadata/name").to_owned())
        .collect();
    let at = usize::try_from(salt % u64::try_from(nodes.len()).ok()?.max(1)).ok()?;
    nodes.get(at).cloned()
}

/// Says as the scheduler does that no node takes the pod.
fn unschedulable(desk: &mut Desk<'_>, pod: &Value) {
    let message = format!("0/{NODES} nodes are available: {NODES} node(s) didn't match Pod's node affinity/selector.");
    let mut scheduled = condition("PodScheduled", false, &fields::stamp(desk.now()));
    scheduled["reason"] = json!("Unschedulable");
    scheduled["message"] = json!(message);
    desk.set_status(
        &kinds::POD,
        pod,
        json!({ "phase": "Pending", "conditions": [scheduled], "qosClass": "BestEffort" }),
    );
    desk.warn("default-scheduler", pod, "FailedScheduling", &message);
}

fn container_status(pod: &Value, ready: bool, restarts: i64, state: Value) -> Value {
    let mut status = json!({
        "name": fields::text(pod, "/spec/containers/0/name"),
        "image": fields::text(pod, "/spec/containers/0/image"),
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {},
    });
    if restarts > 0 {
        status["lastState"] = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    }
    status
}

fn ips(pod: &Value) -> (String, String) {
    let digest = hash::suffix(&[fields::uid(pod)]);
    let mut bytes = digest.bytes();
    let (a, b) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
    (format!("10.{}.{}.{}", 4, a, b), format!("10.0.0.{}", a))
}

fn write(desk: &mut Desk<'_>, pod: &Value, phase: &str, ready: bool, container: Value) {
    let now = fields::stamp(desk.now());
    let kept = |kind: &str, status: bool| {
        // A condition keeps its time while it does not change.
        fields::items(pod, "/status/conditions")
            .iter()
            .find(|c| fields::text(c, "/type") == kind && (fields::text(c, "/status") == "True") == status)
            .cloned()
            .unwrap_or_else(|| condition(kind, status, &now))
    };
    let (pod_ip, host_ip) = ips(pod);
    let mut status = json!({
        "phase": phase,
        "conditions": [
            kept("PodReadyToStartContainers", true),
            kept("Initialized", true),
            kept("Ready", ready),
            kept("ContainersReady", ready),
            kept("PodScheduled", true),
        ],
        "containerStatuses": [container],
        "startTime": pod.pointer("/status/startTime").cloned().unwrap_or_else(|| json!(now)),
        "hostIP": host_ip,
        "qosClass": "BestEffort",
    });
    if phase != "Pending" {
        status["podIP"] = json!(pod_ip);
        status["podIPs"] = json!([{ "ip": pod_ip }]);
    }
    desk.set_status(&kinds::POD, pod, status);
}

fn wait(desk: &mut Desk<'_>, pod: &Value, reason: &str, message: &str, restarts: i64) {
    let mut waiting = json!({ "reason": reason });
    if !message.is_empty() {
        waiting["message"] = json!(message);
    }
    let container = container_status(pod, false, restarts, json!({ "waiting": waiting }));
    let phase = if restarts > 0 { "Running" } else { "Pending" };
    write(desk, pod, phase, false, container);
}

fn run(desk: &mut Desk<'_>, pod: &Value, ready: bool, restarts: i64) {
    let since = fields::stamp(desk.now());
    let container = container_status(pod, ready, restarts, json!({ "running": { "startedAt": since } }));
    write(desk, pod, "Running", ready, container);
    let name = fields::text(pod, "/spec/containers/0/name").to_owned();
    desk.event("kubelet", pod, "Started", &format!("Started container {name}"));
}

fn finish(desk: &mut Desk<'_>, pod: &Value, phase: &str) {
    let now = fields::stamp(desk.now());
    let code = i64::from(phase == "Failed");
    let reason = if phase == "Failed" { "Error" } else { "Completed" };
    let state = json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": now } });
    let container = container_status(pod, false, 0, state);
    write(desk, pod, phase, false, container);
}

//! Columns and cells of the built-in kinds, as a real server prints them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Head, age, human};
use crate::rehearsal::api::view;
use crate::rehearsal::kinds::Kind;
use crate::rehearsal::store::text;

const NAME: Head = Head("Name", "string", "name", 0);
const AGE: Head = Head("Age", "string", "", 0);

const fn word(name: &'static str) -> Head {
    Head(name, "string", "", 0)
}

const fn count(name: &'static str) -> Head {
    Head(name, "integer", "", 0)
}

const fn wide(name: &'static str) -> Head {
    Head(name, "string", "", 1)
}

/// The columns of a built-in kind.
pub fn heads(kind: &Kind) -> Vec<Head> {
    let workload = || [wide("Containers"), wide("Images"), wide("Selector")];
    match kind.kind {
        "Pod" => vec![
            NAME,
            word("Ready"),
            word("Status"),
            word("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        "ReplicaSet" => {
            [NAME, count("Desired"), count("Current"), count("Ready"), AGE].into_iter().chain(workload()).collect()
        }
        "Deployment" => {
            [NAME, word("Ready"), word("Up-to-date"), word("Available"), AGE].into_iter().chain(workload()).collect()
        }
        "Job" => {
            [NAME, word("Status"), word("Completions"), word("Duration"), AGE].into_iter().chain(workload()).collect()
        }
        "Service" => {
            vec![NAME, word("Type"), word("Cluster-IP"), word("External-IP"), word("Port(s)"), AGE, wide("Selector")]
        }
        "Ingress" => vec![NAME, word("Class"), word("Hosts"), word("Address"), word("Ports"), AGE],
        "ConfigMap" => vec![NAME, word("Data"), AGE],
        "Namespace" => vec![NAME, word("Status"), AGE],
        "Node" => vec![NAME, word("Status"), word("Roles"), AGE, word("Version")],
        "Lease" => vec![NAME, word("Holder"), AGE],
        "PodDisruptionBudget" => {
            vec![NAME, word("Min Available"), word("Max Unavailable"), count("Allowed Disruptions"), AGE]
        }
        "HorizontalPodAutoscaler" => {
            vec![NAME, word("Reference"), word("Targets"), word("MinPods"), word("MaxPods"), word("Replicas"), AGE]
        }
        "Event" => vec![
            word("Last Seen"),
            word("Type"),
            word("Reason"),
            word("Object"),
            wide("Subobject"),
            wide("Source"),
            word("Message"),
            wide("First Seen"),
            wide("Count"),
            Head("Name", "string", "name", 1),
        ],
        "CustomResourceDefinition" => vec![NAME, Head("Created At", "date", "", 0)],
        _ => vec![NAME, AGE],
    }
}

/// The cells of an object of a built-in kind.
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let old = json!(age(object["metadata"]["creationTimestamp"].as_str(), now));
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let workload = || {
        let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let all = |field: &str| {
            let values: Vec<&str> = containers.into_iter().flatten().filter_map(|c| c[field].as_str()).collect();
            json!(values.join(","))
        };
        let selector = match view::label_selector(&object["spec"]["selector"]) {
            empty if empty.is_empty() => "<none>".to_owned(),
            selector => selector,
        };
        [all("name"), all("image"), json!(selector)]
    };
    match kind.kind {
        "Pod" => pod(object, now),
        "ReplicaSet" => [
            name,
            json!(number("/spec/replicas")),
            json!(number("/status/replicas")),
            json!(number("/status/readyReplicas")),
            old,
        ]
        .into_iter()
        .chain(workload())
        .collect(),
        "Deployment" => [
            name,
            json!(format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"))),
            json!(number("/status/updatedReplicas")),
            json!(number("/status/availableReplicas")),
            old,
        ]
        .into_iter()
        .chain(workload())
        .collect(),
        "Job" => {
            let wanted = object.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
            let time = |pointer: &str| text(object, pointer).parse::<Timestamp>().ok();
            let ran = time("/status/startTime").map(|start| {
                let end = time("/status/completionTime").unwrap_or(now);
                human(end.as_second() - start.as_second())
            });
            let completions = format!("{}/{wanted}", number("/status/succeeded"));
            [name, json!(job_status(object)), json!(completions), json!(ran.unwrap_or_default()), old]
                .into_iter()
                .chain(workload())
                .collect()
        }
        "Service" => service(object, name, old),
        "Ingress" => ingress(object, name, old),
        "ConfigMap" => {
            let of = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
            vec![name, json!(of("data") + of("binaryData")), old]
        }
        "Namespace" => vec![name, json!(text(object, "/status/phase")), old],
        "Node" => vec![
            name,
            json!(node_status(object)),
            json!("<none>"),
            old,
            object["status"]["nodeInfo"]["kubeletVersion"].clone(),
        ],
        "Lease" => vec![name, json!(text(object, "/spec/holderIdentity")), old],
        "PodDisruptionBudget" => {
            let limit = |field: &str| match &object["spec"][field] {
                Value::Null => "N/A".to_owned(),
                Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            let allowed = json!(number("/status/disruptionsAllowed"));
            vec![name, json!(limit("minAvailable")), json!(limit("maxUnavailable")), allowed, old]
        }
        "HorizontalPodAutoscaler" => {
            let target = &object["spec"]["scaleTargetRef"];
            let reference = format!("{}/{}", text(target, "/kind"), text(target, "/name"));
            let least = object.pointer("/spec/minReplicas").map_or_else(|| "<unset>".to_owned(), Value::to_string);
            vec![
                name,
                json!(reference),
                json!("<unknown>"),
                json!(least),
                json!(number("/spec/maxReplicas")),
                json!(number("/status/currentReplicas")),
                old,
            ]
        }
        "Event" => event(object, now),
        "CustomResourceDefinition" => vec![name, object["metadata"]["creationTimestamp"].clone()],
        _ => vec![name, old],
    }
}

fn has_condition(object: &Value, ty: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == ty && c["status"] == "True")
}

fn job_status(job: &Value) -> &'static str {
    if has_condition(job, "Complete") {
        "Complete"
    } else if has_condition(job, "Failed") {
        "Failed"
    } else if job["metadata"].get("deletionTimestamp").is_some() {
        "Terminating"
    } else if has_condition(job, "Suspended") {
        "Suspended"
    } else {
        "Running"
    }
}

fn node_status(node: &Value) -> String {
    let ready = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = ready.into_iter().flatten().find(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready".to_owned(),
        Some(false) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn service(service: &Value, name: Value, old: Value) -> Vec<Value> {
    let ty = text(service, "/spec/type");
    let ip = match text(service, "/spec/clusterIP") {
        "" => "<none>",
        ip => ip,
    };
    let list = |pointer: &str, field: &str| -> Vec<String> {
        let items = service.pointer(pointer).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|i| i[field].as_str().or(i.as_str())).map(str::to_owned).collect()
    };
    let external = match ty {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => {
            let mut all = list("/status/loadBalancer/ingress", "ip");
            all.extend(list("/spec/externalIPs", ""));
            match (all.is_empty(), ty) {
                (true, "LoadBalancer") => "<pending>".to_owned(),
                (true, _) => "<none>".to_owned(),
                (false, _) => all.join(","),
            }
        }
    };
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or("TCP");
            match p["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{}:{node}/{protocol}", p["port"]),
                _ => format!("{}/{protocol}", p["port"]),
            }
        })
        .collect();
    let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
    let selector: Vec<String> = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    let selector = if selector.is_empty() { "<none>".to_owned() } else { selector.join(",") };
    vec![name, json!(ty), json!(ip), json!(external), json!(ports), old, json!(selector)]
}

fn ingress(ingress: &Value, name: Value, old: Value) -> Vec<Value> {
    let class = match text(ingress, "/spec/ingressClassName") {
        "" => "<none>",
        class => class,
    };
    let rules = ingress["spec"]["rules"].as_array();
    let named: Vec<&str> = rules.into_iter().flatten().filter_map(|r| r["host"].as_str()).collect();
    let total = rules.map_or(0, Vec::len);
    let hosts = match named.as_slice() {
        [] => "*".to_owned(),
        few if total <= 3 => few.join(","),
        many => format!("{} + {} more...", many[..many.len().min(3)].join(","), total - 3),
    };
    let addresses: Vec<&str> = ingress
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()))
        .collect();
    let ports = match ingress["spec"]["tls"].as_array().is_some_and(|t| !t.is_empty()) {
        true => "80, 443",
        false => "80",
    };
    vec![name, json!(class), json!(hosts), json!(addresses.join(",")), json!(ports), old]
}

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let first = age(at("/firstTimestamp").or(at("/eventTime")), now);
    let last = match at("/lastTimestamp").or(at("/series/lastObservedTime")) {
        Some(time) => age(Some(time), now),
        None => first.clone(),
    };
    let kind = text(event, "/involvedObject/kind").to_lowercase();
    let target = match text(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = match text(event, "/source/component") {
        "" => text(event, "/reportingComponent"),
        component => component,
    };
    let source = match text(event, "/source/host") {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    };
    let times = event["count"].as_i64().filter(|c| *c > 0).unwrap_or(1);
    vec![
        json!(last),
        json!(text(event, "/type")),
        json!(text(event, "/reason")),
        json!(target),
        json!(text(event, "/involvedObject/fieldPath")),
        json!(source),
        json!(text(event, "/message").trim()),
        json!(first),
        json!(times),
        event["metadata"]["name"].clone(),
    ]
}

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let statuses = |field: &str| pod["status"][field].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let mut reason = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase"),
        reason => reason,
    }
    .to_owned();
    let (mut ready, mut restarts, mut running) = (0, 0, false);
    let mut failed = None;
    let mut last_restart: Option<&str> = None;
    let initializing = init(pod, statuses("initContainerStatuses"));
    if let Some(initializing) = initializing.filter(|_| !has_condition(pod, "Initialized")) {
        reason = initializing;
        restarts = statuses("initContainerStatuses").iter().filter_map(|c| c["restartCount"].as_i64()).sum();
    } else {
        for container in statuses("containerStatuses").iter().rev() {
            restarts += container["restartCount"].as_i64().unwrap_or(0);
            last_restart =
                last_restart.max(container.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str));
            let waiting = text(container, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if let Some(ended) = container.pointer("/state/terminated").filter(|t| !t.is_null()) {
                reason = ended_as(ended);
                if ended["exitCode"].as_i64().unwrap_or(0) != 0 {
                    failed = Some(reason.clone());
                }
            } else if container["ready"] == true && container.pointer("/state/running").is_some() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" {
            if running && has_condition(pod, "Ready") {
                "Running".clone_into(&mut reason);
            } else if let Some(failed) = failed {
                reason = failed;
            } else if running {
                "NotReady".clone_into(&mut reason);
            }
        }
    }
    let over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if pod["metadata"].get("deletionTimestamp").is_some() && !over {
        "Terminating".clone_into(&mut reason);
    }
    let restarts = match last_restart {
        Some(_) if restarts != 0 => format!("{restarts} ({} ago)", age(last_restart, now)),
        _ => restarts.to_string(),
    };
    let or_none = |pointer: &str| match text(pod, pointer) {
        "" => json!("<none>"),
        value => json!(value),
    };
    vec![
        pod["metadata"]["name"].clone(),
        json!(format!("{ready}/{total}")),
        json!(reason),
        json!(restarts),
        json!(age(pod["metadata"]["creationTimestamp"].as_str(), now)),
        or_none("/status/podIP"),
        or_none("/spec/nodeName"),
        or_none("/status/nominatedNodeName"),
        json!("<none>"),
    ]
}

fn ended_as(ended: &Value) -> String {
    match (text(ended, "/reason"), ended["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// What a pod says while its init containers are not done.
fn init(pod: &Value, statuses: &[Value]) -> Option<String> {
    let total = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    for (index, container) in statuses.iter().enumerate() {
        let ended = container.pointer("/state/terminated").filter(|t| !t.is_null());
        if ended.is_some_and(|t| t["exitCode"] == 0) {
            continue;
        }
        if let Some(ended) = ended {
            return Some(format!("Init:{}", ended_as(ended)));
        }
        return Some(match text(container, "/state/waiting/reason") {
            "" | "PodInitializing" => format!("Init:{index}/{total}"),
            reason => format!("Init:{reason}"),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::kinds;

    fn now() -> Timestamp {
        "2025-10-02T13:05:00Z".parse().unwrap()
    }

    fn row(kind: &Kind, object: Value) -> Vec<String> {
        let cells = cells(kind, &object, now());
        assert_eq!(cells.len(), heads(kind).len(), "{}", kind.kind);
        cells.into_iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect()
    }

    #[test]
    fn a_pod_says_what_is_wrong_with_it() {
        let pod = |status: Value| {
            let object = json!({
                "metadata": { "name": "p", "creationTimestamp": "2025-10-02T13:00:00Z" },
                "spec": { "containers": [{ "name": "app" }], "nodeName": "n1" },
                "status": status,
            });
            row(&kinds::POD, object)[1..4].join(" ")
        };
        let running = json!({ "phase": "Running", "containerStatuses": [
            { "ready": true, "restartCount": 0, "state": { "running": {} } },
        ] });
        assert_eq!(pod(running), "1/1 Running 0");
        let crashing = json!({ "phase": "Running", "containerStatuses": [
            { "ready": false, "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
              "lastState": { "terminated": { "finishedAt": "2025-10-02T13:04:30Z", "exitCode": 1 } } },
        ] });
        assert_eq!(pod(crashing), "0/1 CrashLoopBackOff 3 (30s ago)");
        assert_eq!(pod(json!({ "phase": "Pending" })), "0/1 Pending 0");
    }

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        for kind in kinds::ALL.iter().filter(|k| !k.custom) {
            row(kind, json!({ "metadata": { "name": "x", "creationTimestamp": "2025-10-02T13:00:00Z" } }));
        }
    }
}

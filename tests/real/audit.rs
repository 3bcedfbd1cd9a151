//! What the API server wrote down of the writes that matter (`controlplane/up.sh`), and what has to be true of them, read from
//! there alone: nothing here imports a line of the program, or asks it.

use std::path::PathBuf;

use serde_json::Value;

use crate::controlplane::ControlPlane;

/// A write that the server took, in the order in which it took them.
#[derive(Debug)]
pub struct Write {
    /// Whole seconds and more, as the server has them.
    pub at: jiff::Timestamp,
    pub user: String,
    pub verb: String,
    /// `rollouts`, `rollouts/status`, `leases`, …
    pub resource: String,
    pub body: Value,
}

impl Write {
    /// The operations of a JSON Patch; controllers send other patches, which have none.
    fn ops(&self) -> impl Iterator<Item = &Value> {
        self.body.as_array().into_iter().flatten()
    }

    /// The epoch in whose name a conductor sent it; safe writes, and those of others, name none.
    fn epoch(&self) -> Option<(u64, String)> {
        let stamp = self.ops().rfind_op("/metadata/annotations/footplate.dev~1epoch")?;
        let (number, holder) = stamp.split_once('/')?;
        Some((number.parse().ok()?, holder.to_owned()))
    }

    /// The Lease as it is from this write on: its epoch and its holder.
    fn lease(&self) -> Option<(u64, String)> {
        let spec = match &self.body {
            Value::Array(ops) => &ops.iter().find(|op| op["op"] == "add" && op["path"] == "/spec")?["value"],
            created => &created["spec"],
        };
        Some((spec["leaseTransitions"].as_u64()?, spec["holderIdentity"].as_str()?.to_owned()))
    }

    /// True for an order to take back that is written into a Release.
    fn orders_undo(&self) -> bool {
        let undo = |op: &Value| op["path"] == "/spec/intents/-" && op["value"]["want"].as_str().is_some_and(is_undo);
        self.resource == "releases" && self.ops().any(undo)
    }

    /// True when it sets a pod template, or its image, to this version.
    fn deploys(&self, version: &str) -> bool {
        let changes = self.ops().filter(|op| op["op"] != "test");
        let mut values = changes.filter(|op| op["path"].as_str().is_some_and(|p| p.starts_with("/spec/template")));
        values.any(|op| op["value"].to_string().contains(&format!(":{version}\"")))
    }
}

/// An order to take back, as a Release has it.
pub fn is_undo(want: &str) -> bool {
    want.starts_with("{\"undo\"")
}

trait Ops<'a>: Iterator<Item = &'a Value> + Sized {
    /// The last value that a patch tests or sets there: what it sets comes after what it tests.
    fn rfind_op(self, path: &str) -> Option<&'a str> {
        self.filter(|op| op["path"] == path).filter_map(|op| op["value"].as_str()).last()
    }
}

impl<'a, I: Iterator<Item = &'a Value>> Ops<'a> for I {}

/// Every write in a namespace that was not refused.
pub fn writes(plane: &ControlPlane, namespace: &str) -> Vec<Write> {
    let file: PathBuf = plane.kubeconfig().with_file_name("logs").join("audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let here = lines.filter(|e| e["objectRef"]["namespace"] == namespace);
    let took = here.filter(|e| e["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    took.map(|e| Write {
        at: e["stageTimestamp"].as_str().unwrap().parse().unwrap(),
        user: text(e["impersonatedUser"].get("username").unwrap_or(&e["user"]["username"])),
        verb: text(&e["verb"]),
        resource: match e["objectRef"]["subresource"].as_str() {
            Some(sub) => format!("{}/{sub}", text(&e["objectRef"]["resource"])),
            None => text(&e["objectRef"]["resource"]),
        },
        body: e["requestObject"].clone(),
    })
    .collect()
}

/// Everything that went forward did so in the name of whoever held the Lease then, under its present epoch. Answers with the epochs
/// that moved something, in order.
pub fn nothing_went_forward_under_an_old_epoch(writes: &[Write]) -> Vec<u64> {
    let (mut held, mut moved) = ((0, String::new()), Vec::new());
    for write in writes {
        if write.resource == "leases" {
            let now = write.lease().unwrap_or_else(|| panic!("a Lease in other words: {write:?}"));
            assert!(now.0 >= held.0, "an epoch came back: {held:?}, then {write:?}");
            held = now;
        } else if let Some(epoch) = write.epoch() {
            assert_eq!(epoch, held, "in the name of an epoch that is not the present one: {write:?}");
            if moved.last() != Some(&epoch.0) {
                moved.push(epoch.0);
            }
        }
    }
    moved
}

/// No version is deployed any more once its train was ordered back: only what was on its way may land, for a second. The versions of
/// each train are its own, and it begins where a Release is made.
pub fn nothing_is_deployed_after_an_undo_of_its_train(writes: &[Write], versions: &[&str]) {
    let trains: Vec<&[Write]> = writes.split(|w| w.resource == "releases" && w.verb == "create").skip(1).collect();
    assert!(!trains.is_empty(), "no train was recorded");
    for train in trains {
        let order = train.iter().position(Write::orders_undo).expect("each was ordered back");
        let late = train[order].at + jiff::SignedDuration::from_secs(1);
        let deployed = train[..order].iter().any(|w| versions.iter().any(|v| w.deploys(v)));
        assert!(deployed, "before that something was deployed");
        for write in train.iter().filter(|w| w.at > late && w.resource == "rollouts") {
            assert!(versions.iter().all(|v| !write.deploys(v)), "deployed after the undo was ordered: {write:?}");
        }
    }
}

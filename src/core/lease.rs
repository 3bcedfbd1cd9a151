//! The Lease that says who conducts an environment, as an object: what the elector knows of it, and the writes that it asks for.
//! Each write tests the version that was read, so of two candidates one loses (`reliability-and-security.md` §2). When to
//! write is the elector's; times in it are written down and never believed.

use jiff::Timestamp;
use serde_json::json;

use super::effect::{Change, Direction, Effect};
use super::elector::Lease;
use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;
use crate::text;

/// Its name, one a namespace: one train at a time in an environment.
pub const NAME: &str = "footplate-conductor";

/// Where it lies.
pub fn id(cluster: &Text, namespace: &Text) -> ObjectRef {
    ObjectRef { cluster: cluster.clone(), kind: ObjectKind::Lease, namespace: namespace.clone(), name: NAME.into() }
}

/// What the elector knows of it, with its version, which counts renewals too: no two writes share one, as they may share a time.
///
/// # Errors
/// When the server's version is no number: then nobody can be fenced off, and nobody conducts.
pub fn read(object: &Object) -> Result<(Lease, u64), Text> {
    let version: u64 = object.version().parse().map_err(|_| text!("the version of lease {NAME} is no number"))?;
    let number = |pointer: &str| object.int(pointer).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
    let lease = Lease {
        holder: object.text("/spec/holderIdentity").unwrap_or_default(),
        transitions: number("/spec/leaseTransitions"),
        renewal: version,
    };
    Ok((lease, version))
}

/// The write that the elector asks for: over the version that was read, or a new one.
pub fn write(id: &ObjectRef, lease: &Lease, over: Option<u64>, duration_s: u64, now: Timestamp) -> Effect {
    let micro = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let spec = json!({
        "holderIdentity": lease.holder, "leaseDurationSeconds": duration_s, "leaseTransitions": lease.transitions,
        "renewTime": micro, "acquireTime": micro,
    });
    let change = match over {
        None => Change::Create(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": id.name, "namespace": id.namespace},
            "spec": spec,
        })),
        Some(version) => {
            let ops = json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": version.to_string()},
                {"op": "add", "path": "/spec", "value": spec},
            ]);
            Change::Patch(serde_json::from_value(ops).unwrap_or_default())
        }
    };
    let says = if lease.holder.is_empty() { text!("give the lease back") } else { text!("hold the lease") };
    Effect { object: id.clone(), change, direction: Direction::Forward, says }
}

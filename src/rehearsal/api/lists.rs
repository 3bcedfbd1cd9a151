//! How lists merge: which are keyed and by what, which are sets, which are replaced whole. Strategic merge patch and
//! server-side apply both read it; each format has keys of its own for a few lists.

use crate::rehearsal::kinds::{self, Kind};

/// How a list merges under server-side apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Replaced whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Elements with these keys.
    Keyed(&'static [&'static str]),
}

/// The shape of the list at a path of field names (list elements add nothing to the path).
pub fn shape(kind: &Kind, path: &[&str]) -> Shape {
    match path {
        ["metadata", "ownerReferences"] => return Shape::Keyed(&["uid"]),
        ["metadata", "finalizers"] => return Shape::Set,
        ["status", "conditions"] if !kind.custom => return Shape::Keyed(&["type"]),
        ["spec", "ports"] if *kind == kinds::SERVICE => return Shape::Keyed(&["port", "protocol"]),
        _ => {}
    }
    if !path.contains(&"template") && *kind != kinds::POD {
        return Shape::Atomic;
    }
    match path.last().copied().unwrap_or_default() {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates"
        | "claims" => Shape::Keyed(&["name"]),
        // In the Argo definitions the list of volumes has no key.
        "volumes" if !kind.custom => Shape::Keyed(&["name"]),
        "ports" => Shape::Keyed(&["containerPort", "protocol"]),
        "volumeMounts" => Shape::Keyed(&["mountPath"]),
        "volumeDevices" => Shape::Keyed(&["devicePath"]),
        "hostAliases" => Shape::Keyed(&["ip"]),
        "topologySpreadConstraints" => Shape::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        _ => Shape::Atomic,
    }
}

/// The merge key of a list in a strategic merge patch; none replaces the list.
pub fn merge_key(kind: &Kind, path: &[&str]) -> Option<&'static str> {
    Some(match path {
        ["metadata", "ownerReferences"] => "uid",
        ["status", "conditions"] => "type",
        ["spec", "ports"] if *kind == kinds::SERVICE => "port",
        _ => match path.last().copied()? {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "env"
            | "imagePullSecrets"
            | "volumes"
            | "resourceClaims"
            | "schedulingGates" => "name",
            "ports" => "containerPort",
            "volumeMounts" => "mountPath",
            "volumeDevices" => "devicePath",
            "hostAliases" => "ip",
            "topologySpreadConstraints" => "topologyKey",
            _ => return None,
        },
    })
}

/// Whether a list of scalars merges as a set in a strategic merge patch.
pub fn merges_scalars(path: &[&str]) -> bool {
    matches!(path, ["metadata", "finalizers"])
}

/// Whether a map is replaced whole under server-side apply.
pub fn atomic_map(path: &[&str]) -> bool {
    matches!(path.last(), Some(&("selector" | "labelSelector" | "fieldRef" | "configMapKeyRef" | "secretKeyRef")))
}

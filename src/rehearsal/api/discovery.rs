//! Discovery: which groups, versions and resources there are, one document each or all in one (aggregated).

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::target::Accept;
use super::{raw, respond};
use crate::rehearsal::kinds::{self, Kind, Verbs};
use crate::rehearsal::refusal::Refusal;

/// Answers `/api`, `/api/v1`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`.
pub(super) fn answer(path: &[String], accept: &Accept) -> Result<Response, Refusal> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let document = match path.as_slice() {
        ["api"] => match accept.discovery {
            Some(version) => return Ok(aggregated(&[""], version)),
            None => json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1" }],
            }),
        },
        ["apis"] => match accept.discovery {
            Some(version) => return Ok(aggregated(&groups(), version)),
            None => {
                let groups: Vec<Value> = groups().into_iter().map(group).collect();
                json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
            }
        },
        ["apis", name] if groups().contains(name) => {
            let mut group = group(name);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["api", version] => resources("", version)?,
        ["apis", group, version] => resources(group, version)?,
        _ => return Err(nowhere()),
    };
    Ok(respond(200, &document))
}

fn nowhere() -> Refusal {
    Refusal::new(404, "NotFound", "the server could not find the requested resource")
}

fn of_group(group: &str) -> impl Iterator<Item = &'static Kind> {
    kinds::ALL.iter().copied().filter(move |k| k.group == group)
}

/// Named groups, in the order of the registry.
fn groups() -> Vec<&'static str> {
    let mut groups = Vec::new();
    for kind in kinds::ALL {
        if !kind.group.is_empty() && !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

fn versions(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&str> = of_group(group).map(|k| k.version).collect();
    versions.dedup();
    versions
}

fn group(name: &str) -> Value {
    let versions: Vec<Value> =
        versions(name).into_iter().map(|v| json!({ "groupVersion": format!("{name}/{v}"), "version": v })).collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

fn verbs(kind: &Kind) -> &'static [&'static str] {
    match kind.verbs {
        Verbs::All | Verbs::Mirror => {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
        Verbs::Read => &["get", "list", "watch"],
        Verbs::Review => &["create"],
    }
}

/// (name, group of its kind, version of its kind, its kind) of each subresource.
fn subresources(kind: &Kind) -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let mut all = Vec::new();
    if *kind == kinds::POD {
        all.push(("eviction", "policy", "v1", "Eviction"));
    }
    if kind.scale {
        all.push(("scale", "autoscaling", "v1", "Scale"));
    }
    if kind.status {
        all.push(("status", kind.group, kind.version, kind.kind));
    }
    all
}

fn subverbs(name: &str) -> &'static [&'static str] {
    if name == "eviction" { &["create"] } else { &["get", "patch", "update"] }
}

fn resources(group: &str, version: &str) -> Result<Value, Refusal> {
    let mut resources = Vec::new();
    for kind in of_group(group).filter(|k| k.version == version) {
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs(kind),
        });
        if !kind.short.is_empty() {
            resource["shortNames"] = json!(kind.short);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for (name, group, version, sub) in subresources(kind) {
            resources.push(json!({
                "name": format!("{}/{name}", kind.plural),
                "singularName": "",
                "namespaced": kind.namespaced,
                "group": group,
                "version": version,
                "kind": sub,
                "verbs": subverbs(name),
            }));
        }
    }
    if resources.is_empty() {
        return Err(nowhere());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn aggregated(groups: &[&str], discovery: &str) -> Response {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions(group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        of_group(group).filter(|k| k.version == version).map(aggregated_resource).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{discovery}"),
        "metadata": {},
        "items": items,
    });
    let media = match discovery {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    raw(200, media, Body::from(document.to_string()))
}

fn aggregated_resource(kind: &'static Kind) -> Value {
    let gvk = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let subresources: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, group, version, sub)| {
            json!({ "subresource": name, "responseKind": gvk(group, version, sub), "verbs": subverbs(name) })
        })
        .collect();
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": gvk(kind.group, kind.version, kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs(kind),
    });
    for (field, values) in [("shortNames", kind.short), ("categories", kind.categories)] {
        if !values.is_empty() {
            resource[field] = json!(values);
        }
    }
    if !subresources.is_empty() {
        resource["subresources"] = Value::Array(subresources);
    }
    resource
}

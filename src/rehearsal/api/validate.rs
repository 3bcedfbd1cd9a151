//! What an API server itself refuses or fills in, before any controller sees an object: names, the types of a Rollout's
//! fields as its definition has them, immutable ConfigMaps and selectors, defaults that other clients rely on. Whether
//! a Rollout makes sense is its controller's to say.

mod rollout;

use serde_json::{Value, json};

use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};
use crate::rehearsal::store::text;

/// The largest ConfigMap, in bytes of keys and values.
const CONFIG_MAP_LIMIT: usize = 1024 * 1024;

/// Fills in what the server fills in; of a custom kind with a closed schema, drops nulls as its pruning does.
pub fn default(kind: &Kind, object: &mut Value) {
    if kind.custom && *kind != kinds::FEATURE_FLAG {
        drop_nulls(object);
    }
    let mut fill = |pointer: &str, field: &str, value: Value| {
        if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
            map.entry(field).or_insert(value);
        }
    };
    if *kind == kinds::DEPLOYMENT {
        fill("/spec", "replicas", json!(1));
        fill("/spec", "revisionHistoryLimit", json!(10));
        fill("/spec", "progressDeadlineSeconds", json!(600));
        fill(
            "/spec",
            "strategy",
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } }),
        );
    } else if *kind == kinds::REPLICA_SET {
        fill("/spec", "replicas", json!(1));
    } else if *kind == kinds::JOB {
        fill("/spec", "backoffLimit", json!(6));
        fill("/spec", "completions", json!(1));
        fill("/spec", "parallelism", json!(1));
        fill("/spec", "suspend", json!(false));
    } else if *kind == kinds::SERVICE {
        fill("/spec", "type", json!("ClusterIP"));
        fill("/spec", "sessionAffinity", json!("None"));
        for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let number = port["port"].clone();
            if let Some(map) = port.as_object_mut() {
                map.entry("protocol").or_insert(json!("TCP"));
                map.entry("targetPort").or_insert(number);
            }
        }
    }
}

/// Drops the fields that the kind's closed schema does not know, as a server does unless it is asked to refuse them.
/// Answers with their paths.
pub fn prune(kind: &Kind, object: &mut Value) -> Vec<String> {
    if *kind == kinds::ROLLOUT { rollout::prune(object) } else { Vec::new() }
}

/// Refuses an object that a server would refuse.
///
/// # Errors
/// 422 with every cause; 400 for a type that cannot even be decoded.
pub fn object(kind: &Kind, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
    let name = text(new, "/metadata/name");
    let mut causes = Vec::new();
    if old.is_none() && !name.is_empty() && !is_subdomain(name) {
        causes.push(Cause::invalid(
            "metadata.name",
            &json!(name),
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ));
    }
    for map in ["labels", "annotations"] {
        for (key, value) in new["metadata"][map].as_object().into_iter().flatten() {
            if !value.is_string() {
                return Err(Refusal::bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into Go struct field \
                     ObjectMeta.metadata.{map} of type string (key {key:?})",
                    kind.kind,
                    kind.version,
                    kind.kind,
                    go_type(value),
                )));
            }
        }
    }
    if *kind == kinds::ROLLOUT {
        rollout::check(new, &mut causes);
    } else if *kind == kinds::CONFIG_MAP {
        config_map(old, new, &mut causes)?;
    } else if *kind == kinds::DEPLOYMENT || *kind == kinds::REPLICA_SET {
        workload(old, new, &mut causes);
    } else if *kind == kinds::LEASE
        && let Some(seconds) = new.pointer("/spec/leaseDurationSeconds")
        && seconds.as_i64().is_none_or(|s| s <= 0)
    {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid(kind, name, &causes)) }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(label.chars().next())
                && edge(label.chars().next_back())
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type of a value as Go's decoder names it.
fn go_type(value: &Value) -> &'static str {
    match json_type(value) {
        "integer" => "number",
        "boolean" => "bool",
        other => other,
    }
}

fn config_map(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) -> Result<(), Refusal> {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in new[field].as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else {
                return Err(Refusal::bad_request(format!(
                    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal {} into Go \
                     struct field ConfigMap.{field} of type string",
                    go_type(value)
                )));
            };
            size += key.len() + value.len();
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &json!(key),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                ));
            }
        }
    }
    if size > CONFIG_MAP_LIMIT {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {CONFIG_MAP_LIMIT} bytes"),
            field: "[]".to_owned(),
        });
    }
    let Some(old) = old.filter(|o| o["immutable"] == true) else { return Ok(()) };
    let forbidden = |field: &str| Cause {
        reason: "FieldValueForbidden",
        message: "Forbidden: field is immutable when `immutable` is set".to_owned(),
        field: field.to_owned(),
    };
    for field in ["immutable", "data", "binaryData"] {
        if new.get(field) != old.get(field) {
            causes.push(forbidden(field));
        }
    }
    Ok(())
}

fn workload(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let labels = new.pointer("/spec/template/metadata/labels");
    for (key, value) in new.pointer("/spec/selector/matchLabels").and_then(Value::as_object).into_iter().flatten() {
        if labels.and_then(|l| l.get(key)) != Some(value) {
            let labels = labels.cloned().unwrap_or_default();
            let field = "spec.template.metadata.labels";
            causes.push(Cause::invalid(field, &labels, "`selector` does not match template `labels`"));
            break;
        }
    }
    let selector = new.pointer("/spec/selector");
    match old {
        None if selector.is_none_or(Value::is_null) => causes.push(Cause::required("spec.selector", "")),
        Some(old) if old.pointer("/spec/selector") != selector => {
            let value = selector.cloned().unwrap_or_default();
            causes.push(Cause::invalid("spec.selector", &value, "field is immutable"));
        }
        _ => {}
    }
    if let Some(replicas) = new.pointer("/spec/replicas")
        && replicas.as_i64().is_none_or(|r| r < 0)
    {
        causes.push(Cause::invalid("spec.replicas", replicas, "must be greater than or equal to 0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_has_the_types_of_its_definition() {
        let of = |patch: Value| {
            let mut rollout = json!({ "metadata": { "name": "r" }, "spec": { "replicas": 1 } });
            json_patch::merge(&mut rollout, &patch);
            object(&kinds::ROLLOUT, None, &rollout)
        };
        assert!(of(json!({})).is_ok());
        let refusal = of(json!({ "spec": { "replicas": "three" } })).unwrap_err();
        assert_eq!(
            refusal.message,
            "Rollout.argoproj.io \"r\" is invalid: [spec.replicas: Invalid value: \"string\": spec.replicas in body must \
             be of type integer: \"string\", <nil>: Invalid value: null: some validation rules were not checked because \
             the object was invalid; correct the existing errors to complete validation]"
        );
        assert_eq!(of(json!({ "status": { "abort": "yes" } })).unwrap_err().code, 422);
        assert_eq!(of(json!({ "metadata": { "name": "Bad_Name" } })).unwrap_err().code, 422);
        assert_eq!(of(json!({ "metadata": { "labels": { "a": 1 } } })).unwrap_err().code, 400);
    }

    #[test]
    fn an_immutable_config_map_stays_as_it_is() {
        let old = json!({ "metadata": { "name": "c" }, "immutable": true, "data": { "a": "1" } });
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({ "x": "y" });
        assert!(object(&kinds::CONFIG_MAP, Some(&old), &new).is_ok());
        new["data"]["a"] = json!("2");
        let refusal = object(&kinds::CONFIG_MAP, Some(&old), &new).unwrap_err();
        assert!(refusal.message.ends_with("data: Forbidden: field is immutable when `immutable` is set"), "{refusal}");
    }

    #[test]
    fn a_selector_cannot_change() {
        let old = json!({
            "metadata": { "name": "d" },
            "spec": {
                "selector": { "matchLabels": { "app": "d" } },
                "template": { "metadata": { "labels": { "app": "d" } } },
            },
        });
        assert!(object(&kinds::DEPLOYMENT, Some(&old), &old).is_ok());
        let mut new = old.clone();
        new["spec"]["selector"]["matchLabels"]["app"] = json!("e");
        let refusal = object(&kinds::DEPLOYMENT, Some(&old), &new).unwrap_err();
        assert_eq!(refusal.details["causes"].as_array().map(Vec::len), Some(2));
    }
}

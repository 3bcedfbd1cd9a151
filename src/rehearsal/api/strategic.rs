//! Strategic merge patch, for built-in kinds: lists merge by key, `$patch`, `$deleteFromPrimitiveList`,
//! `$setElementOrder` and `$retainKeys` are obeyed.

use serde_json::{Map, Value, json};

use super::lists;
use crate::rehearsal::kinds::Kind;
use crate::rehearsal::refusal::Refusal;

/// Merges a patch into an object.
///
/// # Errors
/// 400 for a directive that means nothing, 500 for an element without its key.
pub fn merge(kind: &Kind, value: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let mut path = Vec::new();
    merge_value(kind, &mut path, value, patch)
}

fn merge_value<'p>(kind: &Kind, path: &mut Vec<&'p str>, value: &mut Value, patch: &'p Value) -> Result<(), Refusal> {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").map(|d| d.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *value = Value::Object(plain(patch));
            return Ok(());
        }
        Some("delete") => {
            *value = json!({});
            return Ok(());
        }
        Some(other) => return Err(Refusal::bad_request(format!("unknown patch type: {other:?}"))),
    }
    if !value.is_object() {
        *value = json!({});
    }
    let Some(map) = value.as_object_mut() else { return Ok(()) };
    if let Some(keys) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| keys.iter().any(|k| k == key));
    }
    for (field, wanted) in patch {
        if let Some(list) = field.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Some(gone)) = (map.get_mut(list), wanted.as_array()) {
                items.retain(|i| !gone.contains(i));
            }
            continue;
        }
        if field.starts_with('$') {
            continue;
        }
        if wanted.is_null() {
            map.remove(field);
            continue;
        }
        path.push(field);
        let order = patch.get(&format!("$setElementOrder/{field}")).and_then(Value::as_array);
        match wanted {
            Value::Array(items) => {
                let slot = map.entry(field.clone()).or_insert_with(|| json!([]));
                merge_list(kind, path, slot, items, order)?;
            }
            Value::Object(_) => {
                let slot = map.entry(field.clone()).or_insert_with(|| json!({}));
                merge_value(kind, path, slot, wanted)?;
            }
            scalar => drop(map.insert(field.clone(), scalar.clone())),
        }
        path.pop();
    }
    // An order without elements only sorts.
    for (field, order) in patch {
        let Some(list) = field.strip_prefix("$setElementOrder/") else { continue };
        if patch.contains_key(list) {
            continue;
        }
        path.push(list);
        if let (Some(Value::Array(items)), Some(order)) = (map.get_mut(list), order.as_array()) {
            sort(items, order, lists::merge_key(kind, path));
        }
        path.pop();
    }
    Ok(())
}

fn merge_list<'p>(
    kind: &Kind,
    path: &mut Vec<&'p str>,
    slot: &mut Value,
    wanted: &'p [Value],
    order: Option<&Vec<Value>>,
) -> Result<(), Refusal> {
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = lists::merge_key(kind, path);
    let replaces = wanted.iter().any(|i| directive(i) == "replace" && i.as_object().is_some_and(|o| o.len() == 1));
    if replaces || (key.is_none() && !lists::merges_scalars(path)) {
        let kept = wanted.iter().filter(|i| directive(i).is_empty());
        *slot = kept.map(|i| i.as_object().map_or_else(|| i.clone(), |o| Value::Object(plain(o)))).collect();
        return Ok(());
    }
    if !slot.is_array() {
        *slot = json!([]);
    }
    let Some(items) = slot.as_array_mut() else { return Ok(()) };
    let Some(key) = key else {
        for item in wanted {
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
        return Ok(());
    };
    for item in wanted {
        let Some(id) = item.get(key) else {
            // Not the client's fault in the eyes of a real server.
            return Err(Refusal::new(500, "", format!("map: {item} does not contain declared merge key: {key}")));
        };
        let place = items.iter().position(|i| i.get(key) == Some(id));
        match (directive(item).as_str(), place) {
            ("delete", Some(place)) => drop(items.remove(place)),
            ("delete", None) => {}
            (_, Some(place)) => merge_value(kind, path, &mut items[place], item)?,
            (_, None) => {
                let mut fresh = json!({});
                merge_value(kind, path, &mut fresh, item)?;
                items.push(fresh);
            }
        }
    }
    if let Some(order) = order {
        sort(items, order, Some(key));
    }
    Ok(())
}

/// Sorts those elements that the order names; the others stay behind them in the order they had.
fn sort(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let id = |value: &Value| key.and_then(|k| value.get(k)).unwrap_or(value).clone();
    items.sort_by_key(|item| order.iter().position(|o| id(o) == id(item)).unwrap_or(usize::MAX));
}

/// A value of a patch without its directives.
fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(field, value)| !field.starts_with('$') && !value.is_null())
        .map(|(field, value)| {
            let value = match value {
                Value::Object(map) => Value::Object(plain(map)),
                other => other.clone(),
            };
            (field.clone(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::kinds;

    fn merged(patch: Value) -> Value {
        let mut value = json!({
            "metadata": { "finalizers": ["a", "b"] },
            "spec": { "template": { "spec": { "containers": [
                { "name": "app", "image": "app:1", "env": [{ "name": "A", "value": "1" }], "args": ["x"] },
                { "name": "proxy", "image": "proxy:1" },
            ] } }, "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } },
        });
        merge(&kinds::DEPLOYMENT, &mut value, &patch).unwrap();
        value
    }

    #[test]
    fn lists_merge_by_their_key_and_the_rest_is_replaced() {
        let value = merged(json!({ "spec": { "template": { "spec": {
            "$setElementOrder/containers": [{ "name": "proxy" }, { "name": "app" }],
            "containers": [{ "name": "app", "image": "app:2", "env": [{ "name": "B", "value": "2" }], "args": ["y"] }],
        } } } }));
        let containers = &value["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["name"], "proxy");
        assert_eq!(
            containers[1],
            json!({
                "name": "app", "image": "app:2", "args": ["y"],
                "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
            })
        );
    }

    #[test]
    fn directives_delete_replace_and_retain() {
        let value = merged(json!({
            "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"] },
            "spec": {
                "template": { "spec": { "containers": [{ "name": "proxy", "$patch": "delete" }] } },
                "strategy": { "$retainKeys": ["type"], "type": "Recreate" },
            },
        }));
        assert_eq!(value["metadata"]["finalizers"], json!(["b", "c"]));
        assert_eq!(value["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
        assert_eq!(value["spec"]["strategy"], json!({ "type": "Recreate" }));
        let value = merged(json!({ "spec": { "strategy": { "$patch": "replace", "type": "Recreate" } } }));
        assert_eq!(value["spec"]["strategy"], json!({ "type": "Recreate" }));
    }

    #[test]
    fn a_keyed_element_without_its_key_is_refused() {
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "image": "x" }] } } } });
        assert_eq!(merge(&kinds::DEPLOYMENT, &mut json!({}), &patch).unwrap_err().code, 500);
    }
}

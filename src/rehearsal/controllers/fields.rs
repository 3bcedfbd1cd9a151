//! Reading and writing fields of raw objects, as the simulated controllers need it: a missing field has the value that
//! the API's own types give it. Nothing here knows what a field means.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The string at a JSON pointer; empty when absent.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a JSON pointer.
pub fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The integer at a JSON pointer; 0 when absent.
pub fn count(object: &Value, pointer: &str) -> i64 {
    int(object, pointer).unwrap_or(0)
}

/// The boolean at a JSON pointer; false when absent.
pub fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements at a JSON pointer; none when absent.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The time at a JSON pointer.
pub fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.generation`.
pub fn generation(object: &Value) -> i64 {
    count(object, "/metadata/generation")
}

/// `metadata.creationTimestamp`; the epoch when absent.
pub fn created(object: &Value) -> Timestamp {
    time(object, "/metadata/creationTimestamp").unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// A label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// Sets the value at a path of keys, making the maps on the way.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry((*key).to_owned()).or_insert(Value::Null);
    }
    *at = value;
}

/// Removes the value at a path of keys, if it is there.
pub fn remove(object: &mut Value, path: &[&str]) {
    let Some((last, way)) = path.split_last() else { return };
    let mut at = object;
    for key in way {
        match at.get_mut(*key) {
            Some(next) => at = next,
            None => return,
        }
    }
    if let Value::Object(map) = at {
        map.remove(*last);
    }
}

/// A time as the API writes it: whole seconds, UTC.
pub fn stamp(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// Cuts a time to whole seconds, as writing it into an object does.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The controlling owner reference of an object.
pub fn owner(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|o| flag(o, "/controller"))
}

/// An owner reference to a controlling object.
pub fn owner_reference(of: &Value) -> Value {
    json!({
        "apiVersion": text(of, "/apiVersion"),
        "kind": text(of, "/kind"),
        "name": name(of),
        "uid": uid(of),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// True when a set of labels fits a label selector (matchLabels and matchExpressions; a plain map is a Service's).
pub fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let of = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let exact = if plain { selector.as_object() } else { selector.get("matchLabels").and_then(Value::as_object) };
    exact.into_iter().flatten().all(|(k, v)| of(k) == v.as_str())
        && items(selector, "/matchExpressions").iter().all(|e| {
            let has = of(text(e, "/key"));
            let listed = has.is_some_and(|h| items(e, "/values").iter().any(|v| v.as_str() == Some(h)));
            match text(e, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => has.is_some(),
                "DoesNotExist" => has.is_none(),
                _ => false,
            }
        })
}

/// The same value with keys in order and without nulls and empty maps and lists: two objects that mean the same to the
/// API's own types are equal in this form.
pub fn canonical(value: &Value) -> Value {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<&String, Value> =
                map.iter().map(|(k, v)| (k, canonical(v))).filter(|(_, v)| !empty(v)).collect();
            Value::Object(sorted.into_iter().map(|(k, v)| (k.clone(), v)).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// A copy without nulls, at every depth: what the API server keeps of an object.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Absolute number or percentage of a total, rounded up or down; none when it is neither.
pub fn int_or_percent(value: &Value, total: i64, up: bool) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => {
            let percent: i64 = s.strip_suffix('%')?.parse().ok()?;
            Some(if up { (percent * total + 99).div_euclid(100) } else { (percent * total).div_euclid(100) })
        }
        _ => None,
    }
}

/// A duration as Go writes it (`1h30m`, `60s`, `500ms`), or whole seconds as number or digits. None when it is neither.
pub fn duration(value: &Value) -> Option<jiff::SignedDuration> {
    match value {
        Value::Number(n) => n.as_i64().map(jiff::SignedDuration::from_secs),
        Value::String(s) => duration_text(s),
        _ => None,
    }
}

/// See [`duration`].
pub fn duration_text(text: &str) -> Option<jiff::SignedDuration> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(jiff::SignedDuration::from_secs(seconds));
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        nanos += number * unit;
        rest = &rest[end..];
    }
    let nanos = if negative { -nanos } else { nanos };
    #[allow(clippy::cast_possible_truncation, reason = "a pause is far shorter than what an i64 of nanoseconds holds")]
    Some(jiff::SignedDuration::from_nanos(nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_canonically_equal() {
        let a = json!({"b": 1, "a": {"x": null}, "c": []});
        let b = json!({"c": [], "b": 1, "resources": {}});
        assert_eq!(canonical(&a).to_string(), canonical(&b).to_string());
        assert_ne!(canonical(&a), canonical(&json!({"b": 2})));
    }

    #[test]
    fn durations_as_go_writes_them() {
        let secs = |v: Value| duration(&v).map(|d| d.as_millis());
        assert_eq!(secs(json!("60s")), Some(60_000));
        assert_eq!(secs(json!("1h30m")), Some(5_400_000));
        assert_eq!(secs(json!(10)), Some(10_000));
        assert_eq!(secs(json!("10")), Some(10_000));
        assert_eq!(secs(json!("1.5s")), Some(1_500));
        assert_eq!(secs(json!("soon")), None);
        assert_eq!(secs(json!("10x")), None);
    }

    #[test]
    fn percentages_round_as_asked() {
        assert_eq!(int_or_percent(&json!("25%"), 6, true), Some(2));
        assert_eq!(int_or_percent(&json!("25%"), 6, false), Some(1));
        assert_eq!(int_or_percent(&json!(3), 6, false), Some(3));
        assert_eq!(int_or_percent(&json!("many"), 6, false), None);
    }

    #[test]
    fn selectors_of_both_forms() {
        let labels = json!({"app": "a", "tier": "web"});
        assert!(selects(&json!({"app": "a"}), Some(&labels)));
        assert!(!selects(&json!({"matchLabels": {"app": "b"}}), Some(&labels)));
        let e = |op: &str| json!({"matchExpressions": [{"key": "tier", "operator": op, "values": ["web"]}]});
        assert!(selects(&e("In"), Some(&labels)));
        assert!(!selects(&e("NotIn"), Some(&labels)));
        assert!(selects(&e("Exists"), Some(&labels)));
        assert!(!selects(&e("DoesNotExist"), Some(&labels)));
    }
}

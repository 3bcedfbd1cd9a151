//! Label and field selectors: parsing and matching.

use serde_json::Value;

use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::Refusal;
use crate::rehearsal::store::text;

/// One condition on labels.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Need {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Above(String, i64),
    Below(String, i64),
}

/// What a list or a watch is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<Need>,
    /// (JSON pointer, value, equal).
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Parses both selectors of a request.
    ///
    /// # Errors
    /// 400 with the words of a real server.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut selector = Self::default();
        for clause in clauses(labels) {
            let need = need(&clause).ok_or_else(|| {
                Refusal::bad_request(format!("unable to parse requirement: invalid label selector {clause:?}"))
            })?;
            selector.labels.push(need);
        }
        for clause in fields.split(',').filter(|c| !c.is_empty()) {
            let (field, value, equal) = if let Some((field, value)) = clause.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
                (field, value, true)
            } else {
                return Err(Refusal::bad_request(format!("invalid selector: '{fields}'; can't understand '{clause}'")));
            };
            let pointer = field_pointer(kind, field)
                .ok_or_else(|| Refusal::bad_request(format!("field label not supported: {field}")))?;
            selector.fields.push((pointer, value.to_owned(), equal));
        }
        Ok(selector)
    }

    /// Whether nothing is narrowed.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object matches.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        let labels = self.labels.iter().all(|need| match need {
            Need::In(key, values) => label(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Need::NotIn(key, values) => label(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Need::Exists(key) => label(key).is_some(),
            Need::Absent(key) => label(key).is_none(),
            Need::Above(key, limit) => label(key).and_then(|v| v.parse().ok()).is_some_and(|v: i64| v > *limit),
            Need::Below(key, limit) => label(key).and_then(|v| v.parse().ok()).is_some_and(|v: i64| v < *limit),
        });
        labels
            && self.fields.iter().all(|(pointer, value, equal)| {
                let is = match object.pointer(pointer) {
                    Some(Value::Number(n)) => n.to_string() == *value,
                    Some(Value::Bool(b)) => b.to_string() == *value,
                    _ => text(object, pointer) == value,
                };
                is == *equal
            })
    }
}

/// Which field selectors a kind has. Custom kinds have the two that all have.
fn field_pointer(kind: &Kind, field: &str) -> Option<String> {
    let own: &[&str] = if *kind == kinds::POD {
        &["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase"]
    } else if *kind == kinds::EVENT {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ]
    } else if *kind == kinds::EVENTS_EVENT {
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "reason",
            "reportingController",
            "type",
        ]
    } else if *kind == kinds::NAMESPACE {
        &["status.phase"]
    } else if *kind == kinds::REPLICA_SET {
        &["status.replicas"]
    } else if *kind == kinds::JOB {
        &["status.successful"]
    } else if *kind == kinds::NODE {
        &["spec.unschedulable"]
    } else {
        &[]
    };
    let known = matches!(field, "metadata.name" | "metadata.namespace") || own.contains(&field);
    known.then(|| format!("/{}", field.replace('.', "/")))
}

/// Splits at commas outside parentheses.
fn clauses(text: &str) -> Vec<String> {
    let mut clauses = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                clauses.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = clauses.last_mut() {
            last.push(c);
        }
    }
    clauses.into_iter().map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect()
}

fn need(clause: &str) -> Option<Need> {
    let key = |text: &str| {
        let key = text.trim();
        let good = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        good.then(|| key.to_owned())
    };
    if let Some(absent) = clause.strip_prefix('!') {
        return Some(Need::Absent(key(absent)?));
    }
    if let Some(list) = clause.strip_suffix(')') {
        let (head, values) = list.split_once('(')?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let (name, word) = head.trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => Some(Need::In(key(name)?, values)),
            "notin" => Some(Need::NotIn(key(name)?, values)),
            _ => None,
        };
    }
    if let Some((name, value)) = clause.split_once("!=") {
        return Some(Need::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
        return Some(Need::In(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = clause.split_once('>') {
        return Some(Need::Above(key(name)?, value.trim().parse().ok()?));
    }
    if let Some((name, value)) = clause.split_once('<') {
        return Some(Need::Below(key(name)?, value.trim().parse().ok()?));
    }
    Some(Need::Exists(key(clause)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select() {
        let pod = json!({
            "metadata": { "name": "p", "labels": { "app": "billing", "tier": "3" } },
            "status": { "phase": "Running" },
        });
        for (labels, fields, want) in [
            ("", "", true),
            ("app=billing", "", true),
            ("app==billing,tier in (2, 3)", "", true),
            ("app!=billing", "", false),
            ("other!=x", "", true),
            ("app notin (a,b),!other,app", "", true),
            ("!app", "", false),
            ("tier>2,tier<4", "", true),
            ("tier>3", "", false),
            ("", "metadata.name=p,status.phase!=Failed", true),
            ("", "status.phase=Failed", false),
        ] {
            let selector = Selector::parse(&kinds::POD, labels, fields).unwrap();
            assert_eq!(selector.matches(&pod), want, "{labels} | {fields}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (labels, fields) in [("a b", ""), ("x in y", ""), ("(a)", ""), ("", "spec.foo=1"), ("", "metadata.name")] {
            assert_eq!(Selector::parse(&kinds::POD, labels, fields).unwrap_err().code, 400, "{labels} | {fields}");
        }
        assert!(Selector::parse(&kinds::ROLLOUT, "", "status.phase=Paused").is_err());
    }
}

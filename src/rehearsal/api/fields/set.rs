//! A set of field paths, as a tree: the `FieldsV1` format and the algebra on it. Knows no kind and no value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of field paths below one point.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Set {
    /// Whether the point itself is in it.
    pub member: bool,
    /// Below it, by `f:NAME`, `k:{keys}`, `v:VALUE` or `i:INDEX`.
    pub children: BTreeMap<String, Set>,
}

impl Set {
    /// The point itself, and nothing below.
    pub fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// What is below an element, made when it is not there.
    pub fn child(&mut self, name: &str) -> &mut Self {
        self.children.entry(name.to_owned()).or_default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    /// Drops branches with nothing in them.
    pub fn tidy(&mut self) {
        self.children.values_mut().for_each(Self::tidy);
        self.children.retain(|_, c| c.member || !c.children.is_empty());
    }

    /// Adds another set.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (name, child) in &other.children {
            self.child(name).add(child);
        }
    }

    /// Removes the paths of another set.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (name, child) in &other.children {
            if let Some(mine) = self.children.get_mut(name) {
                mine.subtract(child);
            }
        }
        self.tidy();
    }

    /// Removes the paths of another set and all that lies below them.
    pub fn remove_below(&mut self, other: &Self) {
        for (name, child) in &other.children {
            if child.member {
                self.children.remove(name);
            } else if let Some(mine) = self.children.get_mut(name) {
                mine.remove_below(child);
            }
        }
        self.tidy();
    }

    /// What both have.
    pub fn common(&self, other: &Self) -> Self {
        let children = self
            .children
            .iter()
            .filter_map(|(name, child)| Some((name.clone(), child.common(other.children.get(name)?))))
            .collect();
        let mut common = Self { member: self.member && other.member, children };
        common.tidy();
        common
    }

    /// Its paths as conflicts print them: `.spec.containers[name="app"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.walk(&mut String::new(), &mut paths);
        paths
    }

    fn walk(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (name, child) in &self.children {
            let length = path.len();
            if let Some(field) = name.strip_prefix("f:") {
                path.push('.');
                path.push_str(field);
            } else if let Some(Ok(keys)) = name.strip_prefix("k:").map(serde_json::from_str::<Map<String, Value>>) {
                let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                path.push_str(&format!("[{}]", keys.join(",")));
            } else {
                let rest = name.split_once(':').map_or("", |(_, rest)| rest);
                path.push_str(&if name.starts_with('v') { format!("[={rest}]") } else { format!("[{rest}]") });
            }
            child.walk(path, paths);
            path.truncate(length);
        }
    }

    /// Reads `FieldsV1`.
    pub fn read(value: &Value) -> Self {
        let mut set = Self::default();
        for (name, child) in value.as_object().into_iter().flatten() {
            if name == "." {
                set.member = true;
                continue;
            }
            let mut inner = Self::read(child);
            inner.member |= inner.children.is_empty();
            set.children.insert(name.clone(), inner);
        }
        set
    }

    /// Writes `FieldsV1`.
    pub fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (name, child) in &self.children {
            map.insert(name.clone(), child.write());
        }
        Value::Object(map)
    }
}

/// The name of an element of a keyed list: its keys in order of name; a key that is not there counts as its default
/// (`protocol`) or null.
pub fn element_key(item: &Value, keys: &[&str]) -> String {
    let pairs: BTreeMap<&str, Value> = keys
        .iter()
        .map(|key| {
            let value = item.get(*key).cloned();
            (*key, value.unwrap_or_else(|| if *key == "protocol" { json!("TCP") } else { Value::Null }))
        })
        .collect();
    format!("k:{}", json!(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_reads_back() {
        let wire = json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": { "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } }, "f:x": {} },
        });
        let set = Set::read(&wire);
        assert_eq!(set.write(), wire);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].port",
                ".spec.x",
            ]
        );
    }

    #[test]
    fn the_algebra_holds() {
        let a = Set::read(&json!({ "f:a": { "f:b": {}, "f:c": {} }, "f:d": {} }));
        let b = Set::read(&json!({ "f:a": { "f:b": {} }, "f:e": {} }));
        let mut difference = a.clone();
        difference.subtract(&b);
        assert_eq!(difference.paths(), [".a.c", ".d"]);
        assert_eq!(a.common(&b).paths(), [".a.b"]);
        let mut union = a.clone();
        union.add(&b);
        assert_eq!(union.paths(), [".a.b", ".a.c", ".d", ".e"]);
        let mut below = a;
        below.remove_below(&Set::read(&json!({ "f:a": {} })));
        assert_eq!(below.paths(), [".d"]);
    }
}

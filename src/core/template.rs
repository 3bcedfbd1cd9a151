//! Pod templates as values: taken out of a replica set as they may be written back, compared, and changed in the few
//! fields a release owns. Whether and when to write one is not decided here.

use serde_json::{Map, Value, json};

use super::object::Object;
use super::text::Text;

/// The annotation with which Argo Rollouts remembers what it injected into a replica set's pods.
const EPHEMERAL: &str = "rollout.argoproj.io/ephemeral-metadata";

/// Labels that the controllers add to the template of a replica set.
const HASH_LABELS: [&str; 2] = ["rollouts-pod-template-hash", "pod-template-hash"];

/// The annotation that makes a template differ from one that was there before (`train.md` §1).
pub const ANEW: &str = "footplate.dev/train";

/// The annotation with which `kubectl rollout restart` makes a template differ.
pub const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// The template of a replica set as it was before the controller made a replica set of it: without the pod hash, without
/// what Argo injects into canary or stable pods only, without its anti-affinity. Restoring anything more would make a new
/// hash, and Argo would run all steps instead of going straight back.
pub fn of_set(set: &Object) -> Option<Value> {
    let mut template = set.raw("/spec/template")?.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        let injected: Value = set.annotation(EPHEMERAL).and_then(|e| serde_json::from_str(e).ok()).unwrap_or_default();
        for (part, ours) in [("labels", &HASH_LABELS[..]), ("annotations", &[])] {
            let injected = injected[part].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
            if let Some(map) = metadata.get_mut(part).and_then(Value::as_object_mut) {
                for key in injected.chain(ours.iter().copied()) {
                    map.remove(key);
                }
                if map.is_empty() {
                    metadata.remove(part);
                }
            }
        }
    }
    drop_anti_affinity(&mut template);
    Some(template)
}

/// Removes the anti-affinity that Argo injects: the terms that select by its own pod hash.
fn drop_anti_affinity(template: &mut Value) {
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) else { return };
    let Some(anti) = affinity.get_mut("podAntiAffinity").and_then(Value::as_object_mut) else { return };
    let injected = |term: &Value| {
        let expressions = term["labelSelector"]["matchExpressions"].as_array();
        expressions.is_some_and(|e| e.iter().any(|e| e["key"] == HASH_LABELS[0]))
    };
    for key in ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"] {
        if let Some(terms) = anti.get_mut(key).and_then(Value::as_array_mut) {
            let before = terms.len();
            terms.retain(|t| !injected(t) && !injected(&t["podAffinityTerm"]));
            if terms.is_empty() && before > 0 {
                anti.remove(key);
            }
        }
    }
    if anti.is_empty() {
        affinity.remove("podAntiAffinity");
    }
    if affinity.is_empty() {
        spec.remove("affinity");
    }
}

/// The index of a container by name.
pub fn container_index(template: &Value, container: &str) -> Option<usize> {
    template["spec"]["containers"].as_array()?.iter().position(|c| c["name"] == container)
}

/// The index of the volume called `config`, which carries a service's configuration, and the ConfigMap it names.
pub fn config_volume(template: &Value) -> Option<(usize, &str)> {
    let volumes = template["spec"]["volumes"].as_array()?;
    let index = volumes.iter().position(|v| v["name"] == "config")?;
    Some((index, volumes[index]["configMap"]["name"].as_str()?))
}

/// Sets the fields that a release owns: the image of one container, the ConfigMap of the volume `config`. Fields that the
/// template does not have stay absent.
pub fn with_ours(mut template: Value, container: &str, image: &str, config: Option<&str>) -> Value {
    if let Some(index) = container_index(&template, container) {
        template["spec"]["containers"][index]["image"] = json!(image);
    }
    if let Some(config) = config
        && let Some((index, _)) = config_volume(&template)
    {
        template["spec"]["volumes"][index]["configMap"]["name"] = json!(config);
    }
    template
}

/// A recorded template in the words of the one that is there now, where the two differ in no more than images, the volume
/// `config` and our mark. A replica set's template has the API server's defaults filled in, a Rollout's has not; only the
/// latter makes the pod hash that the replica set bears. `now` is the replica set of what is there.
pub fn in_words_of(live: &Value, now: &Value, recorded: &Value) -> Option<Value> {
    equal(&with_versions_of(now.clone(), recorded)?, recorded).then(|| with_versions_of(live.clone(), recorded))?
}

/// Takes over images, the ConfigMap of the volume `config` and our mark.
fn with_versions_of(mut template: Value, from: &Value) -> Option<Value> {
    let images = from["spec"]["containers"].as_array()?;
    let containers = template["spec"]["containers"].as_array_mut()?;
    if images.len() != containers.len() {
        return None;
    }
    for (container, from) in containers.iter_mut().zip(images) {
        container["image"] = from["image"].clone();
    }
    if let (Some((index, _)), Some((_, name))) = (config_volume(&template), config_volume(from)) {
        let name = json!(name);
        template["spec"]["volumes"][index]["configMap"]["name"] = name;
    }
    let mark = &from["metadata"]["annotations"][ANEW];
    if mark.is_null() {
        if let Some(annotations) = template.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(ANEW);
        }
    } else {
        template["metadata"]["annotations"][ANEW] = mark.clone();
    }
    prune_annotations(&mut template);
    Some(template)
}

fn prune_annotations(template: &mut Value) {
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        metadata.remove("annotations");
    }
}

/// The same without what tells nothing of what it runs: nulls, empty maps and lists, and the marks that make an equal
/// template new (ours, and `kubectl rollout restart`'s).
pub fn bare(template: &Value) -> Value {
    let mut bare = template.clone();
    if let Some(annotations) = bare.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANEW);
        annotations.remove(RESTARTED);
    }
    prune(&mut bare);
    bare
}

fn prune(value: &mut Value) {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, v| !empty(v));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// True when two templates run the same.
pub fn same(a: &Value, b: &Value) -> bool {
    bare(a) == bare(b)
}

/// True when two templates are equal in all that makes a pod hash; nulls, empty maps and lists say nothing.
pub fn equal(a: &Value, b: &Value) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    prune(&mut a);
    prune(&mut b);
    a == b
}

/// True when everything that `asked` says is so in `is`, which may say more (what the API server filled in).
pub fn holds(is: &Value, asked: &Value) -> bool {
    match (is, asked) {
        (_, Value::Null) => true,
        (Value::Object(is), Value::Object(asked)) => {
            asked.iter().all(|(key, asked)| holds(is.get(key).unwrap_or(&Value::Null), asked))
        }
        (Value::Array(is), Value::Array(asked)) => {
            is.len() == asked.len() && is.iter().zip(asked).all(|(is, asked)| holds(is, asked))
        }
        (Value::Null, Value::Object(asked)) => asked.values().all(Value::is_null),
        (Value::Null, Value::Array(asked)) => asked.is_empty(),
        (is, asked) => is == asked,
    }
}

/// Where two templates differ, in lines for a person (`spec.containers.0.env: … → …`); at most `lines_max`, the last line then
/// says how many more there are.
pub fn differences(from: &Value, to: &Value, lines_max: usize) -> Vec<Text> {
    let mut all = Vec::new();
    differ("", &bare(from), &bare(to), &mut all);
    if all.len() > lines_max {
        let more = all.len() - lines_max + 1;
        all.truncate(lines_max.saturating_sub(1));
        all.push(crate::text!("and {more} more"));
    }
    all
}

fn differ(at: &str, from: &Value, to: &Value, out: &mut Vec<Text>) {
    let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differ(&join(key), a, b, out);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for n in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(n).unwrap_or(&Value::Null), b.get(n).unwrap_or(&Value::Null));
                differ(&join(&n.to_string()), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(crate::text!("{at}: {} → {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 { text } else { text.chars().take(59).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "b"}}, "spec": {
            "containers": [{"name": "side", "image": "s:1"}, {"name": "app", "image": "b:1"}],
            "volumes": [{"name": "config", "configMap": {"name": "b-config-1"}}]}})
    }

    #[test]
    fn what_the_controllers_add_is_taken_out() {
        let mut raw = template();
        raw["metadata"]["creationTimestamp"] = Value::Null;
        raw["metadata"]["labels"] = json!({"app": "b", "rollouts-pod-template-hash": "abc", "role": "canary"});
        raw["metadata"]["annotations"] = json!({"note": "canary only"});
        raw["spec"]["affinity"] = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions":
                [{"key": "rollouts-pod-template-hash", "operator": "In", "values": ["abc"]}]}}}]}});
        let set = Object::new(json!({"metadata": {"annotations": {
            EPHEMERAL: r#"{"labels":{"role":"canary"},"annotations":{"note":"x"}}"#}}, "spec": {"template": raw}}));
        assert_eq!(of_set(&set), Some(template()));
        assert_eq!(of_set(&Object::new(json!({}))), None);
    }

    #[test]
    fn a_persons_own_affinity_stays() {
        let mut raw = template();
        raw["spec"]["affinity"] = json!({"nodeAffinity": {"x": 1}, "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {"matchLabels": {"app": "b"}}}]}});
        let set = Object::new(json!({"spec": {"template": raw.clone()}}));
        assert_eq!(of_set(&set), Some(raw));
    }

    #[test]
    fn ours_are_two_fields() {
        let set = with_ours(template(), "app", "b:2", Some("b-config-2"));
        assert_eq!(set["spec"]["containers"][1]["image"], "b:2");
        assert_eq!(set["spec"]["containers"][0]["image"], "s:1");
        assert_eq!(config_volume(&set), Some((0, "b-config-2")));
        assert_eq!(
            differences(&template(), &set, 5).iter().map(|t| t.to_string()).collect::<Vec<_>>(),
            ["spec.containers.1.image: b:1 → b:2", "spec.volumes.0.configMap.name: b-config-1 → b-config-2"]
        );
        assert_eq!(differences(&template(), &set, 1), [Text::scrub("and 2 more")]);
        assert_eq!(with_ours(template(), "other", "b:2", None), template());
    }

    #[test]
    fn a_record_is_told_in_the_words_of_what_is_there() {
        let mut defaulted = template();
        defaulted["spec"]["restartPolicy"] = json!("Always");
        let recorded = with_ours(defaulted.clone(), "app", "b:0", Some("b-config-0"));
        let mut live = template();
        live["metadata"]["annotations"] = json!({ANEW: "hand/1"});
        let mut now = defaulted.clone();
        now["metadata"]["annotations"] = json!({ANEW: "hand/1"});
        let told = in_words_of(&live, &now, &recorded).unwrap();
        assert_eq!(told, with_ours(template(), "app", "b:0", Some("b-config-0")), "no defaults, no mark");
        let mut other = recorded;
        other["spec"]["containers"][1]["env"] = json!([{"name": "A", "value": "1"}]);
        assert_eq!(in_words_of(&live, &now, &other), None, "the environment differs too");
    }

    #[test]
    fn marks_and_nothings_make_no_difference() {
        let mut marked = template();
        marked["metadata"]["annotations"] = json!({ANEW: "x", RESTARTED: "y"});
        marked["spec"]["securityContext"] = json!({});
        marked["metadata"]["creationTimestamp"] = Value::Null;
        assert!(same(&marked, &template()));
        assert!(!equal(&marked, &template()), "a mark makes another pod hash");
        assert!(holds(&marked, &template()));
        assert!(!holds(&template(), &marked));
        marked["metadata"]["annotations"] = json!({});
        assert!(equal(&marked, &template()));
    }
}

//! A version in a pod template, written as a patch: the image of one container, the ConfigMap of the volume `config`, and the
//! annotation that makes a template new. Shared by hand and train; whether and when it is written is theirs.

use serde_json::{Value, json};

use super::draft::Draft;
use crate::core::object::Object;
use crate::core::template::{self, ANEW};

/// Sets image, config (none leaves it) and mark (none takes one away), under tests that they hit the container and the volume
/// that were read, and that nobody set them since. `holder` is the object with the template.
pub(in crate::core) fn set(
    d: Draft,
    holder: &Object,
    template: &Value,
    container: &str,
    image: &str,
    config: Option<&str>,
    mark: Option<&str>,
) -> Draft {
    let Some(index) = template::container_index(template, container) else { return d };
    let index = index.to_string();
    let at = ["spec", "template", "spec", "containers", index.as_str()];
    let name = [&at[..], &["name"]].concat();
    let field = [&at[..], &["image"]].concat();
    let d = d.same(holder, &name).same(holder, &field).set(&field, json!(image));
    let d = match config {
        Some(config) => mount(d, holder, template, config),
        None => d,
    };
    match mark {
        Some(mark) => note(d, template, ANEW, mark),
        None => d.clear(holder, &["spec", "template", "metadata", "annotations", ANEW]),
    }
}

/// Names the ConfigMap in the volume, under tests that it is the volume and the name that were read.
pub(in crate::core) fn mount(d: Draft, holder: &Object, template: &Value, config: &str) -> Draft {
    let Some((index, _)) = template::config_volume(template) else { return d };
    let index = index.to_string();
    let at = ["spec", "template", "spec", "volumes", index.as_str()];
    let (name, field) = ([&at[..], &["name"]].concat(), [&at[..], &["configMap", "name"]].concat());
    d.same(holder, &name).same(holder, &field).set(&field, json!(config))
}

/// Writes an annotation into the template.
pub(in crate::core) fn note(d: Draft, template: &Value, key: &str, value: &str) -> Draft {
    let notes = ["spec", "template", "metadata", "annotations"];
    if template["metadata"].is_null() {
        d.set(&notes[..3], json!({"annotations": {key: value}}))
    } else if template["metadata"]["annotations"].is_null() {
        d.set(&notes, json!({key: value}))
    } else {
        d.set(&[&notes[..], &[key]].concat(), json!(value))
    }
}

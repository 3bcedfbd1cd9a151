//! Arguments of an analysis: where their values come from, and their place in texts. Secrets are never read: they show as
//! `(secret)`, and a text that needs one cannot be used. How Argo Rollouts does it: utils/analysis and utils/template there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::object::Object;
use super::super::text::Text;

/// The longest text that substitution may make.
pub const RESOLVED_BYTES_MAX: usize = 16 * 1024;

/// Shown in place of a value that lies in a Secret.
const SECRET: &str = "(secret)";

/// The value of one argument.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Argument {
    Value(String),
    Secret,
    Missing(Text),
}

/// The arguments of one analysis, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments(BTreeMap<String, Argument>);

/// A text with its arguments filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The text; secrets stand as `(secret)`, what is missing as it was written.
    pub text: String,
    /// Why the text cannot be used as it stands; none when it can.
    pub unusable: Option<Text>,
}

impl Arguments {
    /// The arguments of an analysis run, as its spec carries them.
    pub fn of_run(run: &Object) -> Self {
        let mut out = Self::default();
        out.declare(run.items("/spec/args"), None);
        out
    }

    /// The arguments that an analysis of this rollout would run with: those that the templates declare, with the step's
    /// values put in.
    pub fn of_step(templates: &[&Object], given: &[Value], rollout: &Object) -> Self {
        let mut out = Self::default();
        for template in templates {
            out.declare(template.items("/spec/args"), Some(rollout));
        }
        for argument in given {
            if let Some(name) = argument["name"].as_str()
                && let Some(place) = out.0.get_mut(name)
            {
                *place = of_rollout(argument, rollout);
            }
        }
        out
    }

    /// Takes a list of declared arguments; the first value that is given for a name counts.
    fn declare(&mut self, list: &[Value], rollout: Option<&Object>) {
        for argument in list {
            let Some(name) = argument["name"].as_str() else { continue };
            let value = if let Some(value) = argument["value"].as_str() {
                Argument::Value(value.to_owned())
            } else if argument["valueFrom"]["secretKeyRef"].is_object() {
                Argument::Secret
            } else if let (Some(path), Some(rollout)) =
                (argument["valueFrom"]["fieldRef"]["fieldPath"].as_str(), rollout)
            {
                field(rollout, path)
            } else {
                Argument::Missing(crate::text!("argument {name} has no value"))
            };
            let held = self.0.entry(name.to_owned()).or_insert_with(|| value.clone());
            if matches!(held, Argument::Missing(_)) {
                *held = value;
            }
        }
    }

    /// Fills the arguments into a text.
    pub fn resolve(&self, text: &str) -> Resolved {
        let mut out = Resolved { text: String::with_capacity(text.len()), unusable: None };
        let mut rest = text;
        while let Some((before, tag, after)) = next_tag(rest) {
            out.text.push_str(before);
            let name = tag.trim();
            match name.strip_prefix("args.").and_then(|name| self.0.get(name)) {
                Some(Argument::Value(value)) => out.text.push_str(value),
                Some(Argument::Secret) => {
                    out.text.push_str(SECRET);
                    out.fails(crate::text!("{name} is a secret, which is not read here"));
                }
                Some(Argument::Missing(why)) => {
                    out.text.push_str(&rest[before.len()..rest.len() - after.len()]);
                    out.fails(why.clone());
                }
                None => {
                    out.text.push_str(&rest[before.len()..rest.len() - after.len()]);
                    out.fails(crate::text!("{{{{{name}}}}} is no argument of this analysis"));
                }
            }
            rest = after;
            if out.text.len() > RESOLVED_BYTES_MAX {
                break;
            }
        }
        out.text.push_str(rest);
        if out.text.len() > RESOLVED_BYTES_MAX {
            let end = (0..=RESOLVED_BYTES_MAX).rev().find(|i| out.text.is_char_boundary(*i)).unwrap_or(0);
            out.text.truncate(end);
            out.fails(crate::text!("longer than {RESOLVED_BYTES_MAX} bytes"));
        }
        out
    }
}

impl Resolved {
    fn fails(&mut self, why: Text) {
        self.unusable.get_or_insert(why);
    }

    /// The text, if it can be used.
    pub fn usable(self) -> Result<String, Text> {
        match self.unusable {
            None => Ok(self.text),
            Some(why) => Err(why),
        }
    }
}

/// The text before the next `{{tag}}`, the tag, and the text after it.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (tag, after) = rest.split_once("}}")?;
    Some((before, tag, after))
}

/// An argument as a rollout's step gives it.
fn of_rollout(argument: &Value, rollout: &Object) -> Argument {
    let from = &argument["valueFrom"];
    let hash = |pointer: &str, what: &str| match rollout.str(pointer) {
        Some(hash) if !hash.is_empty() => Argument::Value(hash.to_owned()),
        _ => Argument::Missing(crate::text!("the {what} pod hash is not known yet")),
    };
    match (from["podTemplateHashValue"].as_str(), from["fieldRef"]["fieldPath"].as_str()) {
        (Some("Latest"), _) => hash("/status/currentPodHash", "latest"),
        (Some("Stable"), _) => hash("/status/stableRS", "stable"),
        (_, Some(path)) => field(rollout, path),
        _ if from["secretKeyRef"].is_object() => Argument::Secret,
        _ => Argument::Value(argument["value"].as_str().unwrap_or_default().to_owned()),
    }
}

/// A field of the rollout: `metadata.name`, `metadata.labels['team']`, `spec.replicas`, `status.canary.weights`.
fn field(rollout: &Object, path: &str) -> Argument {
    let missing = || Argument::Missing(crate::text!("the rollout has no field {path}"));
    let quoted = |prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_suffix(']')?;
        Some(key.trim_matches(['\'', '"']))
    };
    if let Some(key) = quoted("metadata.labels[") {
        return Argument::Value(rollout.label(key).unwrap_or_default().to_owned());
    }
    if let Some(key) = quoted("metadata.annotations[") {
        return Argument::Value(rollout.annotation(key).unwrap_or_default().to_owned());
    }
    let mut at = rollout.whole();
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        let next = match at {
            Value::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
            Value::Object(fields) => fields.get(part),
            _ => None,
        };
        let Some(next) = next else { return missing() };
        at = next;
    }
    match at {
        Value::String(s) => Argument::Value(s.clone()),
        Value::Number(n) => Argument::Value(n.to_string()),
        Value::Bool(b) => Argument::Value(b.to_string()),
        _ => missing(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rollout() -> Object {
        Object::new(json!({
            "metadata": {"name": "billing-api", "namespace": "payments", "labels": {"team/x": "pay"}},
            "spec": {"replicas": 8, "template": {"spec": {"containers": [{"image": "i:1"}]}}},
            "status": {"currentPodHash": "new1", "stableRS": "old1"}
        }))
    }

    #[test]
    fn arguments_come_from_where_the_controller_takes_them() {
        let template = Object::new(json!({"spec": {"args": [
            {"name": "service"}, {"name": "hash"}, {"name": "base"}, {"name": "max", "value": "0.02"}, {"name": "none"},
            {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "team"}, {"name": "image"}, {"name": "replicas"}
        ]}}));
        let given = json!([
            {"name": "service", "value": "billing-api"},
            {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
            {"name": "base", "valueFrom": {"podTemplateHashValue": "Stable"}},
            {"name": "team", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team/x']"}}},
            {"name": "image", "valueFrom": {"fieldRef": {"fieldPath": "spec.template.spec.containers[0].image"}}},
            {"name": "replicas", "valueFrom": {"fieldRef": {"fieldPath": "spec.replicas"}}},
            {"name": "undeclared", "value": "x"}
        ]);
        let args = Arguments::of_step(&[&template], given.as_array().unwrap(), &rollout());
        let text = |s: &str| args.resolve(s);
        assert_eq!(
            text("{{args.service}} {{ args.hash }} {{args.base}} {{args.team}} {{args.image}} {{args.replicas}}")
                .usable(),
            Ok("billing-api new1 old1 pay i:1 8".to_owned())
        );
        assert_eq!(text("result[0] < {{args.max}}").usable(), Ok("result[0] < 0.02".to_owned()));
        assert_eq!(text("a {{args.token}} b").text, "a (secret) b");
        assert!(text("a {{args.token}} b").unusable.is_some());
        assert_eq!(text("{{args.none}}").usable().unwrap_err().as_str(), "argument none has no value");
        assert_eq!(text("{{args.undeclared}}").text, "{{args.undeclared}}");
        assert!(text("{{args.undeclared}}").unusable.is_some());
        assert_eq!(text("x{a=\"b\"} {{ not closed").usable(), Ok("x{a=\"b\"} {{ not closed".to_owned()));
    }

    #[test]
    fn a_value_is_not_resolved_again_and_cannot_grow_without_end() {
        let run = Object::new(json!({"spec": {"args": [
            {"name": "a", "value": "{{args.b}}"}, {"name": "b", "value": "x".repeat(9000)}
        ]}}));
        let args = Arguments::of_run(&run);
        assert_eq!(args.resolve("{{args.a}}").text, "{{args.b}}");
        let long = args.resolve(&"{{args.b}}".repeat(1000));
        assert!(long.text.len() <= RESOLVED_BYTES_MAX && long.unusable.is_some());
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*|[a-z{}. é]{0,60}", path in "[a-z.\\[\\]'0-9]{0,40}") {
            let args = Arguments::of_run(&Object::new(json!({"spec": {"args": [{"name": "a", "value": "b"}]}})));
            args.resolve(&text);
            field(&rollout(), &path);
        }
    }
}

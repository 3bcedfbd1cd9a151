//! What is read of objects as a real control plane (Kubernetes 1.36, Argo Rollouts 1.10.1, Flagger 1.36.1) wrote them, held
//! to what `kubectl argo rollouts get rollout` printed for the same object at the same moment. Each file of `objects/` is one
//! moment: the object, what belongs to it, and the plugin's lines.

use footplate::core::object::{Object, ObjectKind, ObjectRef};
use footplate::core::workload::{Phase, Related, Role, Strategy, UndoPath, Workload, observe};
use serde_json::Value;

struct Moment {
    workload: Workload,
    plugin: Vec<String>,
}

fn moment(name: &str) -> Moment {
    let path = format!("{}/tests/it/objects/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let raw: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let object = |key: &str| Some(raw[key].clone()).filter(|v| !v.is_null()).map(Object::new);
    let list =
        |key: &str| -> Vec<Object> { raw[key].as_array().into_iter().flatten().cloned().map(Object::new).collect() };
    let (it, target, primary, sets, runs) =
        (object("object").unwrap(), object("target"), object("primary"), list("sets"), list("runs"));
    let kinds = [ObjectKind::Rollout, ObjectKind::Deployment, ObjectKind::Canary];
    let kind = kinds.into_iter().find(|k| it.str("/kind") == Some(k.api().3)).unwrap();
    let id = ObjectRef { cluster: "dev".into(), kind, namespace: it.namespace(), name: it.name() };
    let (sets, runs): (Vec<&Object>, Vec<&Object>) = (sets.iter().collect(), runs.iter().collect());
    let related =
        Related { sets: &sets, runs: &runs, target: target.as_ref(), primary: primary.as_ref(), ..Related::default() };
    let workload = observe(&id, &it, &related, Some("app"), "2026-11-23T23:05:00Z".parse().unwrap());
    let plugin = raw["plugin"].as_array().into_iter().flatten().map(|l| l.as_str().unwrap().to_owned()).collect();
    Moment { workload, plugin }
}

impl Moment {
    /// The plugin's value for a label; empty when it prints no such line.
    fn plugin(&self, label: &str) -> &str {
        let line = self.plugin.iter().find_map(|l| l.trim_start().strip_prefix(label)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }
}

#[test]
fn rollouts_read_as_the_plugin_prints_them() {
    let folder = format!("{}/tests/it/objects", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".json").unwrap();
        let m = moment(name);
        if m.plugin.is_empty() {
            continue;
        }
        seen += 1;
        let w = &m.workload;
        assert_eq!(format!("{:?}", w.phase), m.plugin("Status").split_whitespace().last().unwrap(), "{name}");
        assert_eq!(w.reason.as_str(), m.plugin("Message"), "{name}");
        let step = match (w.step, w.steps) {
            (Some(step), Some(steps)) => format!("{step}/{steps}"),
            _ => String::new(),
        };
        assert_eq!(step, m.plugin("Step"), "{name}");
        let weight = |weight: Option<u32>| weight.map(|w| w.to_string()).unwrap_or_default();
        assert_eq!(weight(w.set_weight), m.plugin("SetWeight"), "{name}");
        assert_eq!(weight(w.actual_weight), m.plugin("ActualWeight"), "{name}");
        for (ours, label) in [
            (w.replicas.desired, "Desired"),
            (w.replicas.current, "Current"),
            (w.replicas.updated, "Updated"),
            (w.replicas.ready, "Ready"),
            (w.replicas.available, "Available"),
        ] {
            assert_eq!(ours.to_string(), m.plugin(label), "{name}: {label}");
        }
        let images = m.plugin.iter().filter(|l| l.contains("registry.example/"));
        let mut tagged = 0;
        for line in images {
            let line = line.trim_start_matches("Images:").trim();
            let (image, tags) = line.split_once(" (").unwrap_or((line, ""));
            for (tag, role) in [
                ("canary", Role::Canary),
                ("active", Role::Active),
                ("preview", Role::Preview),
                ("stable", Role::Stable),
            ] {
                let active_and_stable = role == Role::Stable && tags.contains("active");
                if tags.contains(tag) && !active_and_stable {
                    tagged += 1;
                    assert!(w.sets.iter().any(|s| s.role == role && s.image == *image), "{name}: {line}");
                }
            }
        }
        assert!(tagged > 0, "{name}: no image is tagged");
    }
    assert!(seen >= 11, "only {seen} moments of Rollouts were found");
}

#[test]
fn the_plugins_words_are_not_all_that_is_said() {
    let held = moment("basic-held").workload;
    assert!(held.held);
    assert_eq!(held.held_by, "ana: try");
    assert_eq!(held.waits_for, "held by ana: try: a person to resume it");
    // Held inside a timed pause: the pause goes on counting underneath.
    assert_eq!(held.pause.as_ref().and_then(|p| p.seconds), Some(30));

    let paused = moment("basic-first-pause").workload;
    assert_eq!(paused.waits_for, "a person to approve the pause of step 1/5");
    assert_eq!(paused.undo, UndoPath::ToStable);
    assert_eq!((paused.version.as_deref(), paused.stable_version.as_deref()), (Some("2.0.0"), Some("1.0.0")));

    let aborted = moment("basic-aborted").workload;
    assert!(aborted.aborted && aborted.pause.is_none());
    assert_eq!(aborted.waits_for, "a person: aborted; retry or undo");

    let stuck = moment("basic-no-pods").workload;
    assert_eq!(stuck.waits_for, "1 of 1 new pods to become available");

    let full = moment("routed-full").workload;
    assert_eq!(full.undo, UndoPath::Slow, "no rollbackWindow");
    assert_eq!(full.undo_to.map(|u| (u.version.unwrap().to_string(), u.known)), Some(("1.0.0".into(), true)));

    let referenced = moment("workloadref-pause").workload;
    assert_eq!(referenced.version.as_deref(), Some("2.0.0"), "the template is the Deployment's");

    let preview = moment("bluegreen-preview").workload;
    assert_eq!((preview.strategy, preview.waits_for.as_str()), (Strategy::BlueGreen, "a person to approve the switch"));
}

#[test]
fn deployments_and_canaries_are_mapped() {
    let w = moment("deployment-healthy").workload;
    assert_eq!((w.phase, w.actual_weight, w.undo), (Phase::Healthy, Some(100), UndoPath::NotNeeded));
    assert!(!w.hash.is_empty() && w.hash == w.stable_hash);

    let w = moment("deployment-stuck").workload;
    assert_eq!((w.phase, w.reason.as_str()), (Phase::Progressing, "2 of 3 new pods to be created"));
    assert_eq!((w.version.as_deref(), w.stable_version.as_deref()), (Some("2.0.0"), Some("1.0.0")));
    assert_eq!((w.actual_weight, w.undo), (Some(0), UndoPath::Window));
    assert_eq!(w.sets.iter().map(|s| s.role).collect::<Vec<_>>(), [Role::Canary, Role::Stable]);

    let w = moment("canary-rest").workload;
    assert_eq!((w.strategy, w.phase, w.actual_weight), (Strategy::Flagger, Phase::Healthy, Some(100)));
    assert_eq!((w.step, w.steps), (Some(5), Some(5)));

    let w = moment("canary-moving").workload;
    assert_eq!((w.phase, w.actual_weight, w.set_weight), (Phase::Progressing, Some(20), Some(20)));
    assert_eq!((w.step, w.steps, w.step_text.as_str()), (Some(2), Some(5), "analysis, then weight 30"));
    assert_eq!(w.weights, [10, 20, 30, 40, 50]);
    assert_eq!((w.version.as_deref(), w.stable_version.as_deref()), (Some("6.0.0"), Some("1.0.0")));
    assert_eq!(w.waits_for, "its analysis");
    assert_eq!(w.undo, UndoPath::ToStable);
}

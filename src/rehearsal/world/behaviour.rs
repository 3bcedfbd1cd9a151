//! Behaviours of the simulated controllers, one test each, driven as the kubectl plugin and kubectl drive them. The same
//! behaviours run on the real controller in `tests/real/`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::Shared;
use super::super::controllers::fields;
use super::super::controllers::pod::{Fate, Fates};
use super::super::controllers::rollout::REVISION;
use super::super::kinds::{self, Kind};
use super::super::store::Store;
use super::World;

const NS: &str = "shop";

/// A cluster with one workload and a hand on it.
struct Stage {
    world: World,
    now: Timestamp,
}

impl Stage {
    fn with(fates: Fates, objects: &[Value]) -> Self {
        let now: Timestamp = "2025-10-01T13:00:00Z".parse().unwrap();
        let mut world = World::bare(Shared::new(Store::new(5, now)), fates, 5);
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}));
        for object in objects {
            let mut object = object.clone();
            object["metadata"]["namespace"] = json!(NS);
            world.create(object);
        }
        let mut stage = Self { world, now };
        stage.wait(15);
        stage
    }

    fn new(objects: &[Value]) -> Self {
        Self::with(Fates::default(), objects)
    }

    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds * 4 {
            self.now += SignedDuration::from_millis(250);
            self.world.advance(self.now);
        }
    }

    fn get(&self, kind: &Kind, name: &str) -> Value {
        self.world.store().lock().get(kind, NS, name).map(|o| Value::clone(&o)).unwrap_or_default()
    }

    fn rollout(&self) -> Value {
        self.get(&kinds::ROLLOUT, "web")
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        self.world.store().lock().update(&kinds::ROLLOUT, NS, "web", change).unwrap();
    }

    fn edit_status(&mut self, change: impl FnOnce(&mut Value)) {
        self.world.store().lock().update_status(&kinds::ROLLOUT, NS, "web", change).unwrap();
    }

    fn image(&mut self, tag: &str) {
        self.edit(|o| o["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("reg/web:{tag}")));
    }

    /// `kubectl argo rollouts promote` on a pause.
    fn promote(&mut self) {
        self.edit_status(|o| o["status"]["pauseConditions"] = Value::Null);
    }

    fn abort(&mut self) {
        self.edit_status(|o| o["status"]["abort"] = json!(true));
    }

    fn status(&self, pointer: &str) -> Value {
        self.rollout().pointer(&format!("/status{pointer}")).cloned().unwrap_or_default()
    }

    fn phase(&self) -> (String, String) {
        let text = |p: &str| self.status(p).as_str().unwrap_or_default().to_owned();
        (text("/phase"), text("/message"))
    }

    fn is(&self, phase: &str, message: &str) {
        assert_eq!(self.phase(), (phase.to_owned(), message.to_owned()), "{:#}", self.status(""));
    }

    fn weight(&self) -> i64 {
        self.status("/canary/weights/canary/weight").as_i64().unwrap_or(-1)
    }

    fn step(&self) -> i64 {
        self.status("/currentStepIndex").as_i64().unwrap_or(-1)
    }

    /// (image tag, wanted pods, available pods) of the sets with pods, oldest first.
    fn sets(&self) -> Vec<(String, i64, i64)> {
        let mut sets = self.all_sets();
        sets.retain(|s| fields::count(s, "/spec/replicas") > 0);
        sets.iter()
            .map(|s| {
                let image = fields::text(s, "/spec/template/spec/containers/0/image");
                let tag = image.rsplit(':').next().unwrap().to_owned();
                (tag, fields::count(s, "/spec/replicas"), fields::count(s, "/status/availableReplicas"))
            })
            .collect()
    }

    fn all_sets(&self) -> Vec<Value> {
        let store = self.world.store().lock();
        let mut sets: Vec<Value> = store.list(&kinds::REPLICA_SET, Some(NS)).map(|o| Value::clone(o)).collect();
        sets.sort_by_key(|s| (fields::created(s), fields::name(s).to_owned()));
        sets
    }

    fn runs(&self) -> Vec<Value> {
        self.world.store().lock().list(&kinds::ANALYSIS_RUN, Some(NS)).map(|o| Value::clone(o)).collect()
    }

    fn event(&self, reason: &str, part: &str) -> bool {
        self.world
            .store()
            .lock()
            .list(&kinds::EVENT, Some(NS))
            .any(|e| fields::text(e, "/reason") == reason && fields::text(e, "/message").contains(part))
    }
}

fn tags(expected: &[(&str, i64)]) -> Vec<(String, i64, i64)> {
    expected.iter().map(|(t, n)| ((*t).to_owned(), *n, *n)).collect()
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {"app": "web"}}})
}

fn ingress() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": {
        "ingressClassName": "nginx",
        "rules": [{"host": "web.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web-stable", "port": {"number": 80}}}}]}}]}})
}

fn rollout(strategy: Value, replicas: i64) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "reg/web:1"}]}},
        "strategy": strategy}})
}

/// A canary behind nginx with these steps.
fn routed(steps: Value) -> Vec<Value> {
    let strategy = json!({"canary": {"stableService": "web-stable", "canaryService": "web-canary",
        "trafficRouting": {"nginx": {"stableIngress": "web"}}, "steps": steps}});
    vec![service("web-stable"), service("web-canary"), ingress(), rollout(strategy, 4)]
}

fn basic(steps: Value) -> Vec<Value> {
    vec![rollout(json!({"canary": {"steps": steps}}), 4)]
}

fn template(query: &str, success: &str, more: Value) -> Value {
    let mut metric = json!({"name": "errors", "interval": "2s", "count": 2, "successCondition": success,
        "provider": {"prometheus": {"address": "http://prometheus", "query": query}}});
    for (key, value) in more.as_object().unwrap() {
        metric[key] = value.clone();
    }
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": "gate"},
        "spec": {"args": [{"name": "hash"}], "metrics": [metric]}})
}

fn analysis() -> Value {
    json!({"analysis": {"templates": [{"templateName": "gate"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]}})
}

#[test]
fn the_first_deploy_skips_all_steps() {
    let stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.is("Healthy", "");
    assert_eq!((stage.step(), stage.weight()), (2, 0));
    assert_eq!(stage.sets(), tags(&[("1", 4)]));
    assert_eq!(stage.status("/observedGeneration"), json!("1"), "a string");
    assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"));
    assert!(stage.event("RolloutCompleted", "Initial deploy"));
    assert_eq!(fields::annotation(&stage.rollout(), REVISION), Some("1"));
    let status = stage.status("/conditions");
    let healthy = status.as_array().unwrap().iter().find(|c| c["type"] == "Healthy").unwrap();
    assert_eq!((healthy["status"].as_str(), healthy["reason"].as_str()), (Some("True"), Some("RolloutHealthy")));
}

#[test]
fn a_pause_without_end_waits_for_a_person() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.is("Paused", "CanaryPauseStep");
    assert_eq!((stage.step(), stage.weight()), (1, 25));
    assert_eq!(stage.sets(), tags(&[("1", 4), ("2", 1)]));
    assert_eq!(stage.status("/controllerPause"), json!(true));
    let canary = stage.get(&kinds::INGRESS, "web-web-canary");
    assert_eq!(fields::annotation(&canary, "nginx.ingress.kubernetes.io/canary-weight"), Some("25"));
    assert_eq!(fields::annotation(&canary, "nginx.ingress.kubernetes.io/canary"), Some("true"));
    stage.wait(600);
    stage.is("Paused", "CanaryPauseStep");
    stage.promote();
    stage.wait(10);
    assert_eq!((stage.step(), stage.weight()), (3, 50));
    stage.is("Paused", "CanaryPauseStep");
    stage.promote();
    stage.wait(10);
    assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"));
    stage.wait(40);
    stage.is("Healthy", "");
    assert_eq!(stage.sets(), tags(&[("2", 4)]), "the old set went 30 s after the switch");
}

#[test]
fn a_timed_pause_ends_by_itself() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {"duration": "20s"}}])));
    stage.image("2");
    stage.wait(15);
    stage.is("Paused", "CanaryPauseStep");
    stage.wait(15);
    assert_eq!(stage.step(), 2);
    assert!(stage.event("RolloutStepCompleted", "Rollout step 2/2 completed (pause: 20s)"));
}

#[test]
fn promoting_twice_at_a_pause_does_not_skip_a_step() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.promote();
    stage.promote();
    stage.wait(10);
    assert_eq!(stage.step(), 3);
    stage.is("Paused", "CanaryPauseStep");
}

#[test]
fn an_abort_takes_the_traffic_back_at_once_and_the_pods_later() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    assert_eq!(stage.weight(), 50);
    stage.abort();
    stage.wait(2);
    stage.is("Degraded", "RolloutAborted: Rollout aborted update to revision 2");
    assert_eq!((stage.step(), stage.weight()), (0, 0));
    assert!(stage.status("/abortedAt").is_string());
    assert!(stage.status("/pauseConditions").is_null());
    assert_eq!(stage.sets(), tags(&[("1", 4), ("2", 2)]), "kept for 30 s");
    stage.wait(35);
    assert_eq!(stage.sets(), tags(&[("1", 4)]));
    assert!(stage.rollout().to_string().contains("reg/web:2"), "the spec still names the bad version");
}

#[test]
fn an_abort_of_a_held_rollout_moves_traffic_but_not_pods() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.edit(|o| o["spec"]["paused"] = json!(true));
    stage.wait(2);
    stage.is("Paused", "manually paused");
    stage.abort();
    stage.wait(60);
    assert_eq!(stage.weight(), 0);
    assert_eq!(stage.phase().0, "Degraded");
    assert_eq!(stage.sets(), tags(&[("1", 4), ("2", 1)]), "held");
    stage.edit(|o| o["spec"]["paused"] = json!(false));
    stage.wait(40);
    assert_eq!(stage.sets(), tags(&[("1", 4)]));
}

#[test]
fn a_retry_begins_again_at_the_first_step() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.promote();
    stage.wait(10);
    stage.abort();
    stage.wait(3);
    stage.edit_status(|o| o["status"]["abort"] = json!(false));
    stage.wait(10);
    stage.is("Paused", "CanaryPauseStep");
    assert_eq!((stage.step(), stage.weight()), (1, 25));
    assert!(stage.status("/abortedAt").is_null());
}

#[test]
fn a_full_promotion_skips_pauses_and_ignores_an_abort_until_done() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.edit_status(|o| o["status"]["promoteFull"] = json!(true));
    stage.wait(1);
    stage.abort();
    stage.wait(10);
    assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"));
    assert!(stage.status("/promoteFull").is_null() && stage.status("/abort").is_null());
    assert!(stage.event("RolloutCompleted", "Full promotion requested"));
    stage.wait(40);
    stage.is("Healthy", "");
}

#[test]
fn undo_in_mid_canary_goes_straight_back() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    let generation = fields::generation(&stage.rollout());
    stage.image("2");
    stage.wait(10);
    stage.image("1");
    stage.wait(2);
    assert_eq!((stage.step(), stage.weight()), (2, 0));
    assert!(stage.event("SkipSteps", "Rollback to stable ReplicaSets"));
    assert_eq!(fields::generation(&stage.rollout()), generation + 2);
    stage.wait(40);
    stage.is("Healthy", "");
    assert_eq!(stage.sets(), tags(&[("1", 4)]));
    assert_eq!(fields::annotation(&stage.rollout(), REVISION), Some("3"), "a new revision of the old set");
}

#[test]
fn undo_after_an_abort_clears_it() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.abort();
    stage.wait(3);
    stage.image("1");
    stage.wait(40);
    stage.is("Healthy", "");
    assert!(stage.status("/abort").is_null() && stage.status("/abortedAt").is_null());
}

#[test]
fn undo_of_a_finished_release_is_fast_only_inside_the_window() {
    for (window, fast) in [(Some(3), true), (None, false)] {
        let mut objects = routed(json!([{"setWeight": 25}, {"pause": {"duration": 5}}, {"setWeight": 100}]));
        if let Some(revisions) = window {
            objects.last_mut().unwrap()["spec"]["rollbackWindow"] = json!({"revisions": revisions});
        }
        let mut stage = Stage::new(&objects);
        stage.image("2");
        stage.wait(20);
        assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"));
        stage.image("1");
        stage.wait(2);
        if fast {
            assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"), "{:#}", stage.status(""));
            assert!(stage.event("RolloutCompleted", "Rollback within window"));
        } else {
            assert_ne!(stage.status("/stableRS"), stage.status("/currentPodHash"));
            assert_eq!(stage.phase().0, "Paused");
        }
    }
}

#[test]
fn a_third_version_in_mid_canary_starts_over_and_drops_the_second() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.promote();
    stage.wait(10);
    stage.image("3");
    stage.wait(10);
    stage.is("Paused", "CanaryPauseStep");
    assert_eq!((stage.step(), stage.weight()), (1, 25));
    assert_eq!(stage.sets(), tags(&[("1", 4), ("3", 1)]));
}

#[test]
fn changed_steps_start_over_too() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.promote();
    stage.wait(10);
    stage.edit(|o| o["spec"]["strategy"]["canary"]["steps"] = json!([{"setWeight": 75}, {"pause": {}}]));
    stage.wait(10);
    assert_eq!((stage.step(), stage.weight()), (1, 75));
}

#[test]
fn a_basic_canary_splits_by_pods() {
    let mut stage = Stage::new(&basic(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(15);
    stage.is("Paused", "CanaryPauseStep");
    assert_eq!(stage.sets(), tags(&[("1", 3), ("2", 1)]));
    assert!(stage.status("/canary/weights").is_null());
    stage.promote();
    stage.wait(15);
    assert_eq!(stage.sets(), tags(&[("1", 2), ("2", 2)]));
    stage.abort();
    stage.wait(15);
    assert_eq!(stage.sets(), tags(&[("1", 4)]), "a basic canary goes at once");
    assert_eq!(stage.phase().0, "Degraded");
}

#[test]
fn a_basic_canary_completes_and_leaves_no_old_pods() {
    let mut stage = Stage::new(&basic(json!([{"setWeight": 50}, {"pause": {"duration": 2}}])));
    stage.image("2");
    stage.wait(40);
    stage.is("Healthy", "");
    assert_eq!(stage.sets(), tags(&[("2", 4)]));
}

#[test]
fn a_canary_without_steps_rolls() {
    let mut stage = Stage::new(&[rollout(json!({"canary": {"maxSurge": 1, "maxUnavailable": 0}}), 3)]);
    stage.image("2");
    stage.wait(40);
    stage.is("Healthy", "");
    assert_eq!(stage.sets(), tags(&[("2", 3)]));
    assert!(stage.status("/currentStepIndex").is_null());
}

#[test]
fn a_hold_stops_steps_and_scaling_and_its_end_goes_on_where_it_was() {
    let mut stage =
        Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {"duration": 10}}, {"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(6);
    stage.edit(|o| o["spec"]["paused"] = json!(true));
    stage.wait(60);
    stage.is("Paused", "manually paused");
    assert_eq!((stage.step(), stage.weight()), (1, 25));
    stage.edit(|o| o["spec"]["paused"] = json!(false));
    stage.wait(10);
    assert_eq!((stage.step(), stage.weight()), (3, 50));
}

#[test]
fn scaling_while_paused_keeps_the_step() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 50}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    stage.edit(|o| o["spec"]["replicas"] = json!(8));
    stage.wait(15);
    stage.is("Paused", "CanaryPauseStep");
    assert_eq!(stage.sets(), tags(&[("1", 8), ("2", 4)]));
    assert_eq!(stage.step(), 1);
}

#[test]
fn set_canary_scale_parts_pods_from_weight() {
    let steps = json!([{"setCanaryScale": {"replicas": 3}}, {"pause": {}}, {"setCanaryScale": {"matchTrafficWeight": true}}, {"setWeight": 25}, {"pause": {}}]);
    let mut stage = Stage::new(&routed(steps));
    stage.image("2");
    stage.wait(10);
    assert_eq!(stage.sets(), tags(&[("1", 4), ("2", 3)]));
    assert_eq!(stage.weight(), 0);
    stage.promote();
    stage.wait(15);
    assert_eq!(stage.sets(), tags(&[("1", 4), ("2", 1)]));
    assert_eq!(stage.weight(), 25);
}

#[test]
fn a_dynamic_stable_shrinks_and_an_abort_grows_it_back_first() {
    let mut objects = routed(json!([{"setWeight": 50}, {"pause": {}}]));
    objects.last_mut().unwrap()["spec"]["strategy"]["canary"]["dynamicStableScale"] = json!(true);
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(15);
    assert_eq!(stage.sets(), tags(&[("1", 2), ("2", 2)]));
    stage.abort();
    stage.wait(1);
    assert_eq!(stage.weight(), 50, "stable cannot carry it yet");
    stage.wait(30);
    assert_eq!(stage.weight(), 0);
    assert_eq!(stage.sets(), tags(&[("1", 4)]));
}

#[test]
fn a_gate_that_fails_aborts_and_says_why() {
    let mut objects = routed(json!([{"setWeight": 25}, analysis(), {"setWeight": 50}]));
    objects.insert(0, template("vector(0.3)", "result[0] < 0.02", json!({"failureLimit": 0})));
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(15);
    stage.is(
        "Degraded",
        "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase error/failed: Metric \"errors\" assessed Failed due to failed (1) > failureLimit (0)",
    );
    assert_eq!(stage.weight(), 0);
    let runs = stage.runs();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    let hash = stage.status("/currentPodHash").as_str().unwrap().to_owned();
    assert_eq!(fields::name(run), format!("web-{hash}-2-1"));
    assert_eq!(fields::label(run, "rollout-type"), Some("Step"));
    assert_eq!(fields::label(run, "step-index"), Some("1"));
    assert_eq!(run["status"]["phase"], "Failed");
    assert_eq!(run["status"]["metricResults"][0]["measurements"][0]["value"], "[0.3]");
    assert_eq!(run["spec"]["args"][0]["value"], json!(hash));
    assert!(stage.event("AnalysisRunFailed", "Step Analysis Run"));
}

#[test]
fn a_gate_that_passes_goes_on() {
    let mut objects = routed(json!([{"setWeight": 25}, analysis(), {"setWeight": 50}, {"pause": {}}]));
    objects.insert(0, template("vector(0.001)", "result[0] < 0.02", json!({})));
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(15);
    assert_eq!((stage.step(), stage.weight()), (3, 50));
    let run = &stage.runs()[0];
    assert_eq!(run["status"]["phase"], "Successful");
    assert_eq!(run["status"]["metricResults"][0]["count"], 2);
    assert_eq!(run["status"]["runSummary"], json!({"count": 1, "successful": 1}));
}

#[test]
fn an_inconclusive_gate_pauses_and_a_person_may_go_past_it() {
    let mut objects = routed(json!([{"setWeight": 25}, analysis(), {"setWeight": 50}, {"pause": {}}]));
    let more = json!({"failureCondition": "len(result) > 0 && result[0] > 9", "inconclusiveLimit": 0});
    objects.insert(0, template("absent_metric", "len(result) > 0 && result[0] < 1", more));
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(15);
    stage.is("Paused", "InconclusiveAnalysisRun");
    assert_eq!((stage.step(), stage.weight()), (1, 25));
    assert_eq!(stage.runs()[0]["status"]["phase"], "Inconclusive");
    // Only ending the pause starts the analysis again.
    stage.promote();
    stage.wait(10);
    assert_eq!(stage.runs().len(), 2);
    assert_eq!(stage.step(), 1);
    stage.is("Paused", "InconclusiveAnalysisRun");
    stage.edit_status(|o| {
        o["status"]["pauseConditions"] = Value::Null;
        o["status"]["controllerPause"] = json!(false);
        o["status"]["currentStepIndex"] = json!(2);
    });
    stage.wait(10);
    assert_eq!((stage.step(), stage.weight()), (3, 50));
}

#[test]
fn no_data_under_the_limit_counts_as_success_in_argo() {
    // What `train.md` §3 warns of: count reached with nothing but inconclusive measurements inside their limit.
    let mut objects = routed(json!([{"setWeight": 25}, analysis(), {"setWeight": 50}, {"pause": {}}]));
    let more = json!({"failureCondition": "len(result) > 0 && result[0] > 9", "inconclusiveLimit": 2});
    objects.insert(0, template("absent_metric", "len(result) > 0 && result[0] < 1", more));
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(20);
    let run = &stage.runs()[0];
    assert_eq!(run["status"]["phase"], "Successful");
    assert_eq!(run["status"]["metricResults"][0]["inconclusive"], 2);
    assert_eq!(stage.weight(), 50);
}

#[test]
fn a_gate_in_error_is_tried_again_and_aborts_after_five() {
    let mut objects = routed(json!([{"setWeight": 25}, analysis()]));
    objects.insert(0, template("absent_metric", "result[0] < 1", json!({})));
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(30);
    assert_eq!(stage.runs()[0]["status"]["phase"], "Running");
    stage.wait(35);
    let run = &stage.runs()[0];
    assert_eq!(run["status"]["phase"], "Error");
    assert_eq!(run["status"]["metricResults"][0]["consecutiveError"], 5);
    assert_eq!(stage.phase().0, "Degraded");
}

#[test]
fn a_background_analysis_keeps_ten_measurements_and_ends_with_the_update() {
    let mut objects = routed(json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]));
    let mut gate = template("vector(0.001)", "result[0] < 0.02", json!({"interval": "1s"}));
    fields::remove(&mut gate["spec"]["metrics"][0], &["count"]);
    objects.insert(0, gate);
    objects.last_mut().unwrap()["spec"]["strategy"]["canary"]["analysis"] = analysis()["analysis"].clone();
    let mut stage = Stage::new(&objects);
    stage.image("2");
    stage.wait(40);
    let name = stage.status("/canary/currentBackgroundAnalysisRunStatus/name");
    let run = stage.get(&kinds::ANALYSIS_RUN, name.as_str().unwrap());
    assert_eq!(run["status"]["phase"], "Running");
    assert_eq!(run["status"]["metricResults"][0]["measurements"].as_array().unwrap().len(), 10);
    assert!(fields::count(&run, "/status/metricResults/0/count") > 20);
    assert_eq!(fields::label(&run, "rollout-type"), Some("Background"));
    stage.promote();
    stage.wait(10);
    stage.promote();
    stage.wait(15);
    let run = stage.get(&kinds::ANALYSIS_RUN, name.as_str().unwrap());
    assert_eq!(run["status"]["phase"], "Successful");
    assert_eq!(run["spec"]["terminate"], true);
}

fn blue_green(more: Value) -> Vec<Value> {
    let mut strategy = json!({"blueGreen": {"activeService": "web-active", "previewService": "web-preview"}});
    for (key, value) in more.as_object().unwrap() {
        strategy["blueGreen"][key] = value.clone();
    }
    vec![service("web-active"), service("web-preview"), rollout(strategy, 3)]
}

#[test]
fn blue_green_shows_a_preview_and_switches_when_told() {
    let mut stage = Stage::new(&blue_green(json!({"autoPromotionEnabled": false})));
    stage.is("Healthy", "");
    let old = stage.status("/blueGreen/activeSelector");
    stage.image("2");
    stage.wait(10);
    stage.is("Paused", "BlueGreenPause");
    assert_eq!(stage.sets(), tags(&[("1", 3), ("2", 3)]));
    assert_eq!(stage.status("/blueGreen/activeSelector"), old);
    assert_eq!(stage.status("/blueGreen/previewSelector"), stage.status("/currentPodHash"));
    stage.promote();
    stage.wait(3);
    assert_eq!(stage.status("/blueGreen/activeSelector"), stage.status("/currentPodHash"));
    assert_eq!(stage.status("/stableRS"), stage.status("/currentPodHash"));
    assert_eq!(stage.sets().len(), 2, "the old one stays for 30 s");
    stage.wait(35);
    assert_eq!(stage.sets(), tags(&[("2", 3)]));
    stage.is("Healthy", "");
}

#[test]
fn blue_green_promotes_by_itself_after_its_seconds() {
    let mut stage = Stage::new(&blue_green(json!({"autoPromotionSeconds": 10})));
    stage.image("2");
    stage.wait(8);
    stage.is("Paused", "BlueGreenPause");
    stage.wait(10);
    assert_eq!(stage.status("/blueGreen/activeSelector"), stage.status("/currentPodHash"));
}

#[test]
fn blue_green_goes_back_fast_and_an_abort_stays_on_the_old_version() {
    let mut stage = Stage::new(&blue_green(json!({"autoPromotionEnabled": false})));
    let old = stage.status("/blueGreen/activeSelector");
    stage.image("2");
    stage.wait(10);
    stage.abort();
    stage.wait(3);
    assert_eq!(stage.phase().0, "Degraded");
    assert_eq!(stage.status("/blueGreen/activeSelector"), old);
    stage.wait(35);
    assert_eq!(stage.sets(), tags(&[("1", 3)]));
    stage.image("1");
    stage.wait(10);
    stage.is("Healthy", "");
}

#[test]
fn blue_green_gates_before_the_switch() {
    let gate = template("vector(0.3)", "result[0] < 0.02", json!({}));
    let mut objects = blue_green(json!({"prePromotionAnalysis": analysis()["analysis"]}));
    objects.insert(0, gate);
    let mut stage = Stage::new(&objects);
    let old = stage.status("/blueGreen/activeSelector");
    stage.image("2");
    stage.wait(20);
    assert!(stage.phase().1.contains("Blue/green pre-promotion analysis phase error/failed"), "{:?}", stage.phase());
    assert_eq!(stage.status("/blueGreen/activeSelector"), old);
    assert!(fields::name(&stage.runs()[0]).ends_with("-2-pre"));
}

#[test]
fn an_invalid_spec_is_named_and_its_repair_seen() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.edit(|o| o["spec"]["strategy"]["canary"]["steps"][0]["setWeight"] = json!(250));
    stage.wait(3);
    let (phase, message) = stage.phase();
    assert_eq!(phase, "Degraded");
    assert!(
        message.starts_with("InvalidSpec: The Rollout \"web\" is invalid: spec.strategy.steps[0].setWeight"),
        "{message}"
    );
    stage.edit(|o| o["spec"]["strategy"]["canary"]["steps"][0]["setWeight"] = json!(25));
    stage.wait(5);
    stage.is("Healthy", "");
}

#[test]
fn a_missing_service_is_an_invalid_spec_until_it_is_there() {
    let mut objects = routed(json!([{"setWeight": 25}]));
    objects.remove(1);
    let mut stage = Stage::new(&objects);
    assert!(stage.phase().1.contains("service \"web-canary\" not found"), "{:?}", stage.phase());
    let mut missing = service("web-canary");
    missing["metadata"]["namespace"] = json!(NS);
    stage.world.create(missing);
    stage.wait(15);
    stage.is("Healthy", "");
}

#[test]
fn pods_that_never_start_leave_the_weight_at_zero_and_time_out() {
    let fates = Fates { rules: vec![("web:2".to_owned(), Fate::CrashLoop)], ..Fates::default() };
    let mut objects = routed(json!([{"setWeight": 25}, {"pause": {}}]));
    objects.last_mut().unwrap()["spec"]["progressDeadlineSeconds"] = json!(30);
    let mut stage = Stage::with(fates, &objects);
    stage.image("2");
    stage.wait(10);
    assert_eq!(stage.phase().0, "Progressing");
    assert_eq!((stage.step(), stage.weight()), (0, 0));
    let crashed = |stage: &Stage| {
        stage.world.store().lock().list(&kinds::POD, Some(NS)).any(|p| {
            fields::text(p, "/status/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff"
                && fields::count(p, "/status/containerStatuses/0/restartCount") >= 1
        })
    };
    assert!(crashed(&stage));
    stage.wait(35);
    let (phase, message) = stage.phase();
    assert_eq!(phase, "Degraded");
    assert!(message.starts_with("ProgressDeadlineExceeded: ReplicaSet \"web-"), "{message}");
    stage.image("1");
    stage.wait(5);
    stage.is("Healthy", "");
}

#[test]
fn a_missing_image_is_pulled_in_vain() {
    let fates = Fates { rules: vec![("web:2".to_owned(), Fate::NoImage)], ..Fates::default() };
    let mut stage = Stage::with(fates, &basic(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.image("2");
    stage.wait(40);
    let store = stage.world.store().lock();
    let waiting: Vec<String> = store
        .list(&kinds::POD, Some(NS))
        .map(|p| fields::text(p, "/status/containerStatuses/0/state/waiting/reason").to_owned())
        .filter(|r| !r.is_empty())
        .collect();
    assert_eq!(waiting, ["ImagePullBackOff"]);
}

#[test]
fn a_stuck_update_aborts_itself_when_asked_to() {
    let fates = Fates { rules: vec![("web:2".to_owned(), Fate::CrashLoop)], ..Fates::default() };
    let mut objects = routed(json!([{"setWeight": 25}, {"pause": {}}]));
    let rollout = objects.last_mut().unwrap();
    rollout["spec"]["progressDeadlineSeconds"] = json!(20);
    rollout["spec"]["progressDeadlineAbort"] = json!(true);
    let mut stage = Stage::with(fates, &objects);
    stage.image("2");
    stage.wait(35);
    assert_eq!(stage.status("/abort"), json!(true));
    assert!(stage.phase().1.contains("has timed out progressing"), "{:?}", stage.phase());
}

#[test]
fn a_restart_replaces_every_pod_without_a_new_revision() {
    let mut stage = Stage::new(&basic(json!([{"setWeight": 50}])));
    let names = |stage: &Stage| -> std::collections::BTreeSet<String> {
        stage.world.store().lock().list(&kinds::POD, Some(NS)).map(|p| p.name().to_owned()).collect()
    };
    let before = names(&stage);
    let at = fields::stamp(stage.now);
    stage.edit(|o| o["spec"]["restartAt"] = json!(at));
    stage.wait(2);
    stage.is("Progressing", "rollout is restarting");
    stage.wait(150);
    stage.is("Healthy", "");
    assert!(before.is_disjoint(&names(&stage)));
    assert_eq!(stage.status("/restartedAt"), json!(at));
    assert_eq!(stage.all_sets().len(), 1);
}

#[test]
fn a_referenced_deployment_gives_the_template_and_is_scaled_down() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-deploy"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "reg/web:1"}]}}}});
    let mut rollout = rollout(json!({"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}), 2);
    fields::remove(&mut rollout, &["spec", "template"]);
    fields::remove(&mut rollout, &["spec", "selector"]);
    rollout["spec"]["workloadRef"] =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-deploy", "scaleDown": "onsuccess"});
    let mut stage = Stage::new(&[deployment, rollout]);
    stage.wait(20);
    stage.is("Healthy", "");
    assert_eq!(fields::int(&stage.get(&kinds::DEPLOYMENT, "web-deploy"), "/spec/replicas"), Some(0));
    stage
        .world
        .store()
        .lock()
        .update(&kinds::DEPLOYMENT, NS, "web-deploy", |o| {
            o["spec"]["template"]["spec"]["containers"][0]["image"] = json!("reg/web:2");
        })
        .unwrap();
    stage.wait(15);
    stage.is("Paused", "CanaryPauseStep");
    let generation = fields::generation(&stage.get(&kinds::DEPLOYMENT, "web-deploy")).to_string();
    assert_eq!(stage.status("/workloadObservedGeneration"), json!(generation));
}

#[test]
fn history_is_kept_to_its_limit() {
    let mut objects = basic(json!([]));
    objects.last_mut().unwrap()["spec"]["revisionHistoryLimit"] = json!(2);
    let mut stage = Stage::new(&objects);
    for version in ["2", "3", "4", "5"] {
        stage.image(version);
        stage.wait(25);
    }
    assert_eq!(stage.all_sets().len(), 3, "the live one and two");
    stage.is("Healthy", "");
}

#[test]
fn deleting_a_rollout_takes_all_it_owns() {
    let mut stage = Stage::new(&routed(json!([{"setWeight": 25}, {"pause": {}}])));
    stage.image("2");
    stage.wait(10);
    let propagation = super::super::store::Propagation::Cascade;
    stage.world.store().lock().delete(&kinds::ROLLOUT, NS, "web", propagation).unwrap();
    stage.wait(5);
    let store = stage.world.store().lock();
    assert_eq!(store.list(&kinds::POD, Some(NS)).count(), 0);
    assert_eq!(store.list(&kinds::REPLICA_SET, Some(NS)).count(), 0);
}

fn deployment(more: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"}, "spec": {
        "replicas": 4, "selector": {"matchLabels": {"app": "worker"}},
        "template": {"metadata": {"labels": {"app": "worker"}}, "spec": {"containers": [{"name": "app", "image": "reg/worker:1"}]}}}});
    for (key, value) in more.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

impl Stage {
    fn worker(&mut self, change: impl FnOnce(&mut Value)) {
        self.world.store().lock().update(&kinds::DEPLOYMENT, NS, "worker", change).unwrap();
    }

    fn worker_image(&mut self, tag: &str) {
        self.worker(|o| o["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("reg/worker:{tag}")));
    }

    fn worker_condition(&self, kind: &str) -> (String, String) {
        let worker = self.get(&kinds::DEPLOYMENT, "worker");
        fields::items(&worker, "/status/conditions")
            .iter()
            .find(|c| fields::text(c, "/type") == kind)
            .map(|c| (fields::text(c, "/status").to_owned(), fields::text(c, "/reason").to_owned()))
            .unwrap_or_default()
    }
}

#[test]
fn a_deployment_rolls_pauses_and_comes_back() {
    let mut stage = Stage::new(&[deployment(json!({}))]);
    assert_eq!(stage.worker_condition("Progressing"), ("True".into(), "NewReplicaSetAvailable".into()));
    stage.worker_image("2");
    stage.wait(1);
    let total: i64 = stage.sets().iter().map(|s| s.1).sum();
    assert!(total <= 5, "surge of a quarter: {:?}", stage.sets());
    stage.wait(30);
    assert_eq!(stage.sets(), tags(&[("2", 4)]));
    let worker = stage.get(&kinds::DEPLOYMENT, "worker");
    assert_eq!(fields::annotation(&worker, "deployment.kubernetes.io/revision"), Some("2"));
    assert_eq!(worker["status"]["updatedReplicas"], 4);
    assert_eq!(fields::count(&worker, "/status/observedGeneration"), fields::generation(&worker));
    stage.worker(|o| o["spec"]["paused"] = json!(true));
    stage.worker_image("3");
    stage.wait(20);
    assert_eq!(stage.sets(), tags(&[("2", 4)]), "paused");
    assert_eq!(stage.worker_condition("Progressing").1, "DeploymentPaused");
    stage.worker(|o| o["spec"]["paused"] = json!(false));
    stage.wait(30);
    assert_eq!(stage.sets(), tags(&[("3", 4)]));
    stage.worker_image("2");
    stage.wait(30);
    assert_eq!(stage.sets(), tags(&[("2", 4)]));
    assert_eq!(stage.all_sets().len(), 3, "the old set came back");
}

#[test]
fn a_stuck_deployment_says_so() {
    let fates = Fates { rules: vec![("worker:2".to_owned(), Fate::CrashLoop)], ..Fates::default() };
    let mut stage = Stage::with(fates, &[deployment(json!({"progressDeadlineSeconds": 20}))]);
    stage.worker_image("2");
    stage.wait(40);
    assert_eq!(stage.worker_condition("Progressing"), ("False".into(), "ProgressDeadlineExceeded".into()));
    assert_eq!(stage.worker_condition("Available").0, "True", "old pods serve on");
}

#[test]
fn recreate_never_runs_both() {
    let mut stage = Stage::new(&[deployment(json!({"strategy": {"type": "Recreate"}}))]);
    stage.worker_image("2");
    for _ in 0..20 {
        stage.wait(1);
        let store = stage.world.store().lock();
        let images: std::collections::BTreeSet<String> =
            store.list(&kinds::POD, Some(NS)).map(|p| fields::text(p, "/spec/containers/0/image").to_owned()).collect();
        assert!(images.len() <= 1, "{images:?}");
    }
    assert_eq!(stage.sets(), tags(&[("2", 4)]));
}

#[test]
fn a_job_runs_once_and_completes() {
    let job = |name: &str, image: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "m", "image": image}]}}}})
    };
    let fates = Fates { rules: vec![("bad".to_owned(), Fate::CrashLoop)], ..Fates::default() };
    let stage = Stage::with(fates, &[job("good", "psql:16"), job("bad", "bad:1")]);
    let verdict = |name: &str| stage.get(&kinds::JOB, name)["status"]["conditions"][0]["type"].clone();
    assert_eq!(verdict("good"), "Complete");
    assert_eq!(verdict("bad"), "Failed");
}

#[test]
fn two_runs_of_one_seed_are_the_same_byte_for_byte() {
    let run = || {
        let mut stage = Stage::new(&routed(
            json!([{"setWeight": 25}, {"pause": {"duration": 5}}, {"setWeight": 50}, {"pause": {}}]),
        ));
        stage.image("2");
        stage.wait(20);
        stage.abort();
        stage.wait(40);
        let store = stage.world.store().lock();
        kinds::ALL.iter().flat_map(|k| store.list(k, None)).map(|o| o.to_string()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(run(), run());
}

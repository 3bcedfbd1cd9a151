//! What a train of one service does to its objects, on whatever ground: each scene sets a workload up, conducts a train over it
//! with the words of `core/frozen`, and reads the objects back.

use std::sync::Arc;

use footplate::core::train::event::{HoldFor, Reading, Scope, Spec, Want};
use footplate::core::train::resolved::Kind;
use footplate::core::train::state::{Ended, Stage};
use footplate::core::verdict::Verdict;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::{Clock, Conductor, frozen};

const OLD: &str = "registry.example/app:1.0.0";
const NEW: &str = "registry.example/app:2.0.0";
/// uid of a Release.
pub const RELEASE: &str = "4fe1c0de-0000-4000-8000-000000000001";

/// Where a scene is played.
#[derive(Clone)]
pub struct Ground {
    pub client: kube::Client,
    pub namespace: String,
    pub clock: Clock,
}

/// How a template lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Rollout,
    Referring,
    Deployment,
    /// Only where Flagger runs.
    #[allow(dead_code, reason = "the rehearsal has no Flagger; the real suite does")]
    Canary,
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "app"}},
        "spec": {
            "containers": [{"name": "app", "image": OLD, "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}]}],
            "volumes": [{"name": "config", "configMap": {"name": "app-config-1"}}],
        },
    })
}

impl Ground {
    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn of(&self, shape: Shape) -> (Api<DynamicObject>, Api<DynamicObject>, &'static str) {
        let deployments = self.api("apps", "v1", "Deployment");
        let rollouts = self.api("argoproj.io", "v1alpha1", "Rollout");
        match shape {
            Shape::Rollout => (rollouts.clone(), rollouts, "app"),
            Shape::Referring => (rollouts, deployments, "tpl"),
            Shape::Deployment => (deployments.clone(), deployments, "app"),
            Shape::Canary => (self.api("flagger.app", "v1beta1", "Canary"), deployments, "tpl"),
        }
    }

    async fn create(&self, group: &str, version: &str, object: Value) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let object = serde_json::from_value(object).unwrap();
        self.api(group, version, &kind).create(&PostParams::default(), &object).await.unwrap();
    }

    /// A workload at rest on the old version.
    async fn set_up(&self, shape: Shape, steps: Value) {
        for n in [1, 2] {
            self.create(
                "",
                "v1",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
                "metadata": {"name": format!("app-config-{n}")}, "data": {"limits.yaml": format!("limit: {n}\n")}}),
            )
            .await;
        }
        let selector = json!({"matchLabels": {"app": "app"}});
        let strategy = json!({"canary": {"steps": steps}});
        let deployment = |name: &str, replicas: u32| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": selector, "template": template()}})
        };
        let rollout = |how: Value| {
            let mut rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "app"},
                "spec": {"replicas": 4, "strategy": strategy, "rollbackWindow": {"revisions": 3}}});
            for (key, value) in how.as_object().unwrap() {
                rollout["spec"][key] = value.clone();
            }
            rollout
        };
        match shape {
            Shape::Rollout => {
                let own = json!({"selector": selector, "template": template()});
                self.create("argoproj.io", "v1alpha1", rollout(own)).await;
            }
            Shape::Referring => {
                self.create("apps", "v1", deployment("tpl", 0)).await;
                let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "tpl"});
                self.create("argoproj.io", "v1alpha1", rollout(json!({"workloadRef": reference}))).await;
            }
            Shape::Deployment => self.create("apps", "v1", deployment("app", 4)).await,
            Shape::Canary => {
                self.create("apps", "v1", deployment("tpl", 2)).await;
                let service = json!({"name": "tpl", "port": {"number": 80}});
                let path = json!({"path": "/", "pathType": "Prefix", "backend": {"service": service}});
                self.create(
                    "networking.k8s.io",
                    "v1",
                    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                    "metadata": {"name": "tpl", "annotations": {"kubernetes.io/ingress.class": "nginx"}},
                    "spec": {"rules": [{"host": "app.example", "http": {"paths": [path]}}]}}),
                )
                .await;
                self.create("flagger.app", "v1beta1", json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
                    "metadata": {"name": "app"},
                    "spec": {"provider": "nginx", "progressDeadlineSeconds": 60,
                        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tpl"},
                        "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "tpl"},
                        "service": {"port": 80, "targetPort": 8080},
                        "analysis": {"interval": "3s", "threshold": 1, "maxWeight": 50, "stepWeight": 25, "metrics": []}}}))
                    .await;
            }
        }
    }

    async fn template(&self, shape: Shape) -> Value {
        let (_, holders, name) = self.of(shape);
        holders.get(name).await.unwrap().data["spec"]["template"].clone()
    }

    async fn annotation(&self, shape: Shape, key: &str) -> Option<String> {
        let (workloads, ..) = self.of(shape);
        workloads.get("app").await.unwrap().metadata.annotations?.get(key).cloned()
    }

    async fn images_of_sets(&self) -> Vec<String> {
        let sets = self.api("apps", "v1", "ReplicaSet").list(&ListParams::default()).await.unwrap();
        let image = |set: DynamicObject| {
            set.data["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
        };
        sets.items.into_iter().map(image).collect()
    }

    fn conductor(&self, shape: Shape, me: &str) -> Conductor {
        let kind = match shape {
            Shape::Rollout | Shape::Referring => Kind::Rollout,
            Shape::Deployment => Kind::Deployment,
            Shape::Canary => Kind::Canary,
        };
        let frozen = frozen(kind, RELEASE, &self.namespace, NEW, Some("app-config-2"));
        Conductor::new(self.client.clone(), frozen, me, Arc::clone(&self.clock))
    }

    async fn at_rest(&self, shape: Shape, steps: Value) -> Conductor {
        self.set_up(shape, steps).await;
        let mut conductor = self.conductor(shape, "one");
        conductor.until("it is at rest", |_, r| r.observed && r.healthy && r.current == r.stable).await;
        conductor
    }
}

fn steps() -> Value {
    json!([{"setWeight": 25}, {"pause": {"duration": "5s"}}, {"setWeight": 50}, {"pause": {}}, {"setWeight": 100}])
}

fn stage(conductor: &Conductor) -> Stage {
    conductor.state().memory().services[0].stage
}

fn pinned(template: &Value) -> bool {
    let spec = &template["spec"];
    spec["containers"][0]["image"] == NEW && spec["volumes"][0]["configMap"]["name"] == "app-config-2"
}

/// Forward, with a hold on the way, to the end.
pub async fn goes_through(ground: &Ground, shape: Shape) {
    let mut c = ground.at_rest(shape, steps()).await;
    c.start().await;
    if shape != Shape::Deployment {
        c.until("it is at its first pause", |_, r| r.weight == 25).await;
        c.order(50, Want::Hold(None, HoldFor::Person)).await;
        c.until("the workload says itself that it is held", |state, r| state.held() && r.paused && r.observed).await;
        assert_eq!(ground.annotation(shape, "footplate.dev/hold").await, Some(format!("{RELEASE}/32")));
        assert_eq!(ground.annotation(shape, "footplate.dev/hold-by").await.as_deref(), Some("train QKZD"));
        c.order(51, Want::Resume(50)).await;
    }
    let end = c.until_ended(Ended::Completed).await;
    assert_eq!((end.spec, end.healthy, end.paused, end.stable == end.current), (Spec::Pinned, true, false, true));
    assert_eq!(end.mark, 1, "{end:?}");
    assert!(pinned(&ground.template(shape).await));
    for gone in ["train", "hold", "hold-by", "undo"] {
        assert_eq!(ground.annotation(shape, &format!("footplate.dev/{gone}")).await, None, "{}", c.said.join("\n"));
    }
    assert!(ground.annotation(shape, "footplate.dev/epoch").await.is_some_and(|e| e.ends_with("/one")));
    assert!(end.record.is_some(), "the record stays");
}

/// Undone when it is through.
pub async fn goes_back(ground: &Ground, shape: Shape) {
    let mut c = ground.at_rest(shape, steps()).await;
    let before = (ground.template(shape).await, c.read().await);
    c.start().await;
    c.until("it bakes", |state, _| state.memory().services[0].stage == Stage::Baking).await;
    assert!(pinned(&ground.template(shape).await));
    c.order(61, Want::Undo(Scope::All)).await;
    let end = c.until_ended(Ended::RolledBack).await;
    is_as_before(&before, &(ground.template(shape).await, end));
}

/// Undone in mid-flight, from a hold: everything is as it was, in the same words.
pub async fn goes_back_from_a_hold(ground: &Ground, shape: Shape) {
    let mut c = ground.at_rest(shape, steps()).await;
    let before = (ground.template(shape).await, c.read().await);
    c.start().await;
    c.until("the new version moves", |state, r| {
        state.memory().services[0].stage == Stage::Stepping && r.weight > 0 && r.stable != r.current
    })
    .await;
    c.order(60, Want::Hold(None, HoldFor::Person)).await;
    c.until("it is held", |state, _| state.held()).await;
    c.order(61, Want::Undo(Scope::All)).await;
    let end = c.until_ended(Ended::RolledBack).await;
    is_as_before(&before, &(ground.template(shape).await, end));
}

fn is_as_before(before: &(Value, Reading), after: &(Value, Reading)) {
    assert_eq!(before.0, after.0, "the template is the recorded one, in its own words");
    let (was, is) = (&before.1, &after.1);
    assert_eq!((&is.current, &is.stable, is.spec), (&was.current, &was.stable, Spec::Recorded));
    assert!(
        is.healthy && is.observed && !is.paused && !is.aborted && is.hold.is_none() && is.train.is_none(),
        "{is:?}"
    );
}

/// Aborted, tried again, then undone when it is through.
pub async fn is_aborted_and_tried_again(ground: &Ground, shape: Shape) {
    let mut c = ground.at_rest(shape, steps()).await;
    let before = (ground.template(shape).await, c.read().await);
    c.start().await;
    let moving = c.until("it is at its first pause", |_, r| r.weight == 25).await;
    c.order(70, Want::Abort(0, moving.current.clone())).await;
    let off = c.until("it is aborted", |state, _| state.memory().services[0].stage == Stage::Aborted).await;
    assert_eq!((off.aborted, off.weight, off.paused), (true, 0, false), "{off:?}");
    assert_eq!(ground.annotation(shape, "footplate.dev/undo").await, Some(format!("{RELEASE}/46")));
    c.order(71, Want::Retry(0)).await;
    let holds: Vec<u64> = c.state().memory().holds.iter().map(|h| h.id).collect();
    for (n, id) in holds.into_iter().enumerate() {
        c.order(72 + n as u64, Want::Resume(id)).await;
    }
    c.until("it walks again", |_, r| !r.aborted && r.weight > 0 && r.undo.is_none()).await;
    c.until("it bakes", |state, _| state.memory().services[0].stage == Stage::Baking).await;
    c.verdict = Verdict::Fail;
    let end = c.until_ended(Ended::RolledBack).await;
    is_as_before(&before, &(ground.template(shape).await, end));
}

/// Undone alone, tried again: its template was there, so it is made new and walks all its steps.
pub async fn walks_its_steps_again_after_an_undo(ground: &Ground, shape: Shape) {
    let mut c = ground.at_rest(shape, steps()).await;
    c.start().await;
    let first = c.until("the new version moves", |_, r| r.weight > 0 && r.stable != r.current).await;
    c.order(80, Want::Undo(Scope::Only(0))).await;
    c.until("it is back", |state, _| state.memory().services[0].stage == Stage::Undone).await;
    let back = c.until("a part was taken back", |state, _| state.memory().undo.is_none()).await;
    assert_eq!((back.spec, back.mark), (Spec::Recorded, 1));
    c.order(81, Want::Retry(0)).await;
    let holds: Vec<u64> = c.state().memory().holds.iter().map(|h| h.id).collect();
    for (n, id) in holds.into_iter().enumerate() {
        c.order(82 + n as u64, Want::Resume(id)).await;
    }
    let again = c.until("it moves again", |_, r| r.spec == Spec::Pinned && r.weight > 0 && r.stable != r.current).await;
    assert_ne!(again.current, first.current, "its hash is new");
    if shape != Shape::Deployment {
        assert_eq!(again.step, 1, "it walks from its first step");
    }
    c.until_ended(Ended::Completed).await;
    let template = ground.template(shape).await;
    assert_eq!(template["metadata"]["annotations"]["footplate.dev/train"], format!("{RELEASE}-1"));
    assert_eq!(ground.images_of_sets().await.iter().filter(|image| *image == NEW).count(), 2);
}

/// A second conductor takes over in mid-flight; what the first one still has in its hands lands nowhere.
pub async fn a_later_conductor_fences_off_the_first(ground: &Ground, shape: Shape) {
    let mut one = ground.at_rest(shape, steps()).await;
    one.start().await;
    one.until("the new version moves", |state, r| {
        state.memory().services[0].stage == Stage::Stepping && r.weight > 0 && r.stable != r.current
    })
    .await;
    let mut two = ground.conductor(shape, "two");
    two.take_over(&one);
    two.until("it is stamped by the second", |_, r| {
        r.epoch.as_ref().is_some_and(|(_, holder)| holder.as_str() == "two")
    })
    .await;
    one.verdict = Verdict::NoData;
    let said = one.said.len();
    one.order(90, Want::Full(0, one.read().await.current)).await;
    for _ in 0..5 {
        one.look().await;
    }
    assert!(!one.said[said..].iter().any(|line| line.contains("Landed")), "{}", one.said[said..].join("\n"));
    two.until_ended(Ended::Completed).await;
    assert_eq!(stage(&two), Stage::Done);
}

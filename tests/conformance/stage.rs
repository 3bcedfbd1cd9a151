//! The ground a conformance case stands on: one namespace of one cluster, simulated or real, with one Rollout `app` in it.
//! Cases read through `core::workload::observe` and act through the same driver as the program. No behaviour is asserted here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use footplate::core::config_files::ConfigFiles;
use footplate::core::text::Text;
use footplate::core::verb::Verb;
use footplate::core::workload::Workload;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::actor::{Actor, Clock};

/// What a case ends with: the workload as last seen, or why it did not hold.
pub type Play = Result<Workload, String>;

type Run = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Play> + Send + 'a>>;

/// One behaviour.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: Run,
}

pub fn case(name: &'static str, run: Run) -> Case {
    Case { name, run }
}

/// How a verb ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Done(String),
    Refused(String),
    Failed(String),
}

/// The ConfigMap that is mounted before a case deploys another one.
pub const CONFIG_BEFORE: &str = "app-config-0000000000";

/// How long a case waits for a state, in the cluster's own time.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct Stage {
    client: kube::Client,
    namespace: String,
    /// Where the analysis controller finds Prometheus.
    prometheus: String,
    actor: Arc<Actor>,
}

impl Stage {
    /// Takes an existing, empty namespace.
    pub fn new(client: kube::Client, namespace: &str, prometheus: &str, clock: Clock) -> Self {
        let actor = Arc::new(Actor::new(client.clone(), namespace, clock));
        Self { client, namespace: namespace.to_owned(), prometheus: prometheus.to_owned(), actor }
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn rollouts(&self) -> Api<DynamicObject> {
        self.api("argoproj.io", "v1alpha1", "Rollout")
    }

    async fn create(&self, object: Value) -> Result<(), String> {
        let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), object["apiVersion"].as_str().unwrap_or_default().to_owned()),
        };
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let object: DynamicObject = serde_json::from_value(object).map_err(|e| e.to_string())?;
        let api = self.api(&group, &version, &kind);
        api.create(&PostParams::default(), &object).await.map_err(|e| format!("create {kind}: {e}"))?;
        Ok(())
    }

    /// Creates the Rollout and the Services and Ingress that its strategy names.
    pub async fn rollout(&self, rollout: Value) -> Result<(), String> {
        let strategy = &rollout["spec"]["strategy"];
        for field in
            ["/canary/stableService", "/canary/canaryService", "/blueGreen/activeService", "/blueGreen/previewService"]
        {
            if let Some(name) = strategy.pointer(field).and_then(Value::as_str) {
                self.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                    "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8080}]}}))
                    .await?;
            }
        }
        if let Some(name) = strategy.pointer("/canary/trafficRouting/nginx/stableIngress").and_then(Value::as_str) {
            self.create(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
                "spec": {"ingressClassName": "nginx", "rules": [{"host": "app.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "app-stable", "port": {"number": 80}}}}]}}]}}))
                .await?;
        }
        self.create(rollout).await
    }

    /// A ConfigMap, and a volume `config` in a workload's template that names it.
    pub async fn with_config(&self, mut workload: Value) -> Result<Value, String> {
        self.create(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "metadata": {"name": CONFIG_BEFORE},
            "data": {"limits.yaml": "limit: 1\n"}}),
        )
        .await?;
        let spec = &mut workload["spec"]["template"]["spec"];
        spec["volumes"] = json!([{"name": "config", "configMap": {"name": CONFIG_BEFORE}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "config", "mountPath": "/etc/app"}]);
        Ok(workload)
    }

    /// Starts a version with config files.
    pub async fn start_with(&self, version: &str, files: &ConfigFiles) -> Result<Outcome, String> {
        let (image, container) = (Text::scrub(&image(version)), Text::scrub("app"));
        self.verb(Verb::Start { image, container, config: Some(files.clone()) }).await
    }

    /// The ConfigMap that the volume `config` names: of the Rollout, or of the Deployment that it refers to.
    pub async fn mounted(&self) -> Result<String, String> {
        let rollout = self.rollouts().get("app").await.map_err(|e| e.to_string())?;
        let holder = match rollout.data.pointer("/spec/workloadRef") {
            Some(_) => self.api("apps", "v1", "Deployment").get("app").await.map_err(|e| e.to_string())?,
            None => rollout,
        };
        let name = holder.data.pointer("/spec/template/spec/volumes/0/configMap/name").and_then(Value::as_str);
        Ok(name.unwrap_or_default().to_owned())
    }

    /// What a ConfigMap holds under a key, and whether it can be changed.
    pub async fn config(&self, name: &str, key: &str) -> Result<(String, bool), String> {
        let map = self.api("", "v1", "ConfigMap").get(name).await.map_err(|e| e.to_string())?;
        let text = map.data["data"][key].as_str().unwrap_or_default().to_owned();
        Ok((text, map.data["immutable"] != true))
    }

    /// A Deployment without replicas and a basic canary that refers to it.
    pub async fn rollout_with_ref(&self, replicas: u32) -> Result<(), String> {
        self.with_ref(basic(replicas)).await
    }

    /// The same of a Rollout, whose template becomes the Deployment's.
    pub async fn with_ref(&self, mut rollout: Value) -> Result<(), String> {
        let template = rollout["spec"]["template"].take();
        self.create(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "app"}}, "template": template}}))
            .await?;
        let spec = rollout["spec"].as_object_mut().ok_or("no spec")?;
        spec.remove("template");
        spec.remove("selector");
        spec.insert("workloadRef".into(), json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}));
        self.create(rollout).await
    }

    /// An AnalysisTemplate that measures a constant query.
    pub async fn template(&self, name: &str, query: &str, count: u32, metric: Value) -> Result<(), String> {
        let mut full = json!({"name": "constant", "interval": "1s", "count": count,
            "provider": {"prometheus": {"address": self.prometheus, "query": query}}});
        for (key, value) in metric.as_object().into_iter().flatten() {
            full[key.as_str()] = value.clone();
        }
        self.create(
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
            "spec": {"metrics": [full]}}),
        )
        .await
    }

    /// Merge patch of the Rollout, as another hand would do it.
    pub async fn patch(&self, patch: Value) -> Result<(), String> {
        self.rollouts()
            .patch("app", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|e| format!("patch: {e}"))?;
        Ok(())
    }

    /// Merge patch of its status.
    pub async fn patch_status(&self, patch: Value) -> Result<(), String> {
        let params = PatchParams::default();
        self.rollouts()
            .patch_status("app", &params, &Patch::Merge(patch))
            .await
            .map_err(|e| format!("patch status: {e}"))?;
        Ok(())
    }

    /// Sets the image as another hand would: no record, no stamp.
    pub async fn image(&self, version: &str) -> Result<(), String> {
        self.patch(json!({"spec": {"template": {"spec": {"containers": [container(version)]}}}})).await
    }

    /// Sets an image whose pods no node takes, so that they never become ready.
    pub async fn image_unschedulable(&self, version: &str) -> Result<(), String> {
        self.patch(json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "nowhere"},
            "containers": [container(version)]}}}}))
            .await
    }

    /// The workload now.
    pub async fn now(&self) -> Play {
        self.actor.observe().await?.ok_or_else(|| "the rollout is gone".to_owned())
    }

    /// Waits until the workload is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Workload) -> bool + Send) -> Play {
        let mut last = None;
        let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks {
            if let Some(w) = self.actor.observe().await? {
                if so(&w) {
                    return Ok(w);
                }
                last = Some(w);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("never came: {what}; last seen {}", short(last.as_ref())))
    }

    /// Looks for some seconds that the workload stays so.
    pub async fn holds_still(&self, what: &str, seconds: u32, so: impl Fn(&Workload) -> bool + Send) -> Play {
        let mut w = self.now().await?;
        for _ in 0..seconds * 5 {
            if !so(&w) {
                return Err(format!("did not hold: {what}; seen {}", short(Some(&w))));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            w = self.now().await?;
        }
        Ok(w)
    }

    /// Carries a verb out as a person would.
    pub async fn verb(&self, verb: Verb) -> Result<Outcome, String> {
        self.actor.act(verb).await
    }

    /// The verb must be carried out.
    pub async fn done(&self, verb: Verb) -> Result<String, String> {
        match self.verb(verb.clone()).await? {
            Outcome::Done(said) => Ok(said),
            other => Err(format!("{verb:?} was not carried out: {other:?}")),
        }
    }

    /// The verb must be refused.
    pub async fn refused(&self, verb: Verb) -> Result<String, String> {
        match self.verb(verb.clone()).await? {
            Outcome::Refused(why) => Ok(why),
            other => Err(format!("{verb:?} was not refused: {other:?}")),
        }
    }

    /// Several hands at once.
    pub async fn verbs_at_once(&self, verbs: Vec<Verb>) -> Result<Vec<Outcome>, String> {
        futures::future::join_all(verbs.into_iter().map(|v| self.actor.act(v))).await.into_iter().collect()
    }

    /// The verb as it was aimed when the workload stood at `step`.
    pub async fn verb_as_of_step(&self, verb: Verb, step: u32) -> Result<Outcome, String> {
        self.actor.act_as_of_step(verb, step).await
    }

    /// Starts a version: recorded first, then deployed.
    pub async fn start(&self, version: &str) -> Result<String, String> {
        self.done(Verb::Start { image: Text::scrub(&image(version)), container: Text::scrub("app"), config: None })
            .await
    }

    pub async fn annotation(&self, key: &str) -> Result<Option<String>, String> {
        let object = self.rollouts().get("app").await.map_err(|e| e.to_string())?;
        Ok(object.metadata.annotations.and_then(|a| a.get(key).cloned()))
    }

    /// How many events of a reason the Rollout has had.
    pub async fn event_count(&self, reason: &str) -> Result<i64, String> {
        let events = self.api("", "v1", "Event").list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let ours =
            events.items.iter().filter(|e| e.data["reason"] == reason && e.data["involvedObject"]["name"] == "app");
        Ok(ours.map(|e| e.data["count"].as_i64().unwrap_or(1)).sum())
    }

    /// The weight annotation of the canary Ingress that the controller keeps.
    pub async fn ingress_weight(&self) -> Result<Option<i64>, String> {
        let api = self.api("networking.k8s.io", "v1", "Ingress");
        let Some(ingress) = api.get_opt("app-app-canary").await.map_err(|e| e.to_string())? else { return Ok(None) };
        let annotations = ingress.metadata.annotations.unwrap_or_default();
        Ok(annotations.get("nginx.ingress.kubernetes.io/canary-weight").and_then(|w| w.parse().ok()))
    }

    pub async fn pod_names(&self) -> Result<Vec<String>, String> {
        let pods = self.api("", "v1", "Pod").list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        Ok(pods
            .items
            .into_iter()
            .filter(|p| p.metadata.deletion_timestamp.is_none())
            .filter_map(|p| p.metadata.name)
            .collect())
    }

    pub async fn until_pods(&self, what: &str, so: impl Fn(&[String]) -> bool) -> Result<(), String> {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if so(&self.pod_names().await?) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("never came: {what}"))
    }

    /// How many measurements the longest metric of any analysis run here still has.
    pub async fn measurements_kept(&self) -> Result<usize, String> {
        let runs = self
            .api("argoproj.io", "v1alpha1", "AnalysisRun")
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let kept = runs.items.iter().flat_map(|r| {
            let results = r.data["status"]["metricResults"].as_array().cloned().unwrap_or_default();
            results.into_iter().map(|m| m["measurements"].as_array().map_or(0, Vec::len))
        });
        Ok(kept.max().unwrap_or(0))
    }

    pub fn same<T: PartialEq + std::fmt::Debug>(&self, what: &str, is: T, should: T) -> Result<(), String> {
        if is == should { Ok(()) } else { Err(format!("{what}: is {is:?}, should be {should:?}")) }
    }

    pub fn starts(&self, what: &str, is: &str, should: &str) -> Result<(), String> {
        if is.starts_with(should) { Ok(()) } else { Err(format!("{what}: is {is:?}, should begin with {should:?}")) }
    }

    pub fn not_done(&self, what: &str, outcome: &Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Refused(_) => Ok(()),
            other => Err(format!("{what} was not refused: {other:?}")),
        }
    }

    pub fn fail(&self, why: String) -> Play {
        Err(why)
    }
}

fn short(w: Option<&Workload>) -> String {
    w.map_or_else(
        || "nothing".to_owned(),
        |w| {
            let sets: Vec<_> = w.sets.iter().map(|s| format!("{:?} {} {}/{}", s.role, s.image, s.ready, s.desired)).collect();
            format!(
                "{:?} {:?} version {:?} step {:?}/{:?} weight {:?}/{:?} held {} aborted {} full {} observed {} sets [{}]",
                w.phase, w.reason, w.version, w.step, w.steps, w.set_weight, w.actual_weight, w.held, w.aborted, w.promote_full, w.observed,
                sets.join(", ")
            )
        },
    )
}

pub fn image(version: &str) -> String {
    format!("registry.example/payments/app:{version}")
}

fn container(version: &str) -> Value {
    json!({"name": "app", "image": image(version), "ports": [{"containerPort": 8080}]})
}

/// A canary without traffic routing: 25 %, a pause for a person, 50 %, a pause of 3 s, 100 %.
pub fn basic(replicas: u32) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "app"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [container("1.0.0")]}},
            "strategy": {"canary": {"maxSurge": 1, "maxUnavailable": 0,
                "steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "3s"}}, {"setWeight": 100}]}}}})
}

/// The same with nginx traffic routing.
pub fn routed(replicas: u32) -> Value {
    let mut r = basic(replicas);
    r["spec"]["strategy"]["canary"] = json!({"stableService": "app-stable", "canaryService": "app-canary",
        "trafficRouting": {"nginx": {"stableIngress": "app"}},
        "steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "3s"}}, {"setWeight": 100}]});
    r
}

/// Blue-green that a person promotes.
pub fn blue_green(replicas: u32) -> Value {
    let mut r = basic(replicas);
    r["spec"]["strategy"] = json!({"blueGreen": {"activeService": "app-active", "previewService": "app-preview", "autoPromotionEnabled": false}});
    r
}

//! The rehearsal cluster's API, asked in process by the real Kubernetes client: no socket, virtual time.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use footplate::rehearsal::api::{self, Access, Rule};
use footplate::rehearsal::faults::{self, Fault, Faults};
use footplate::rehearsal::store::Store;
use footplate::rehearsal::{Shared, kinds};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::GroupVersionKind;
use kube::runtime::{reflector, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// A cluster with the namespace `payments` and some Rollouts in it.
pub fn cluster(rollouts: &[&str]) -> Shared {
    let mut store = Store::new(11, "2025-10-02T13:00:00Z".parse().unwrap());
    store.create(&kinds::NAMESPACE, "", json!({ "metadata": { "name": "payments" } })).unwrap();
    for name in rollouts {
        store.create(&kinds::ROLLOUT, "payments", rollout(name)).unwrap();
    }
    Shared::new(store)
}

/// A paused canary.
pub fn rollout(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "replicas": 4,
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "canary": { "steps": [{ "setWeight": 25 }, { "pause": {} }] } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": format!("registry.example/{name}:1.0.0") }] },
            },
        },
        "status": { "phase": "Paused", "currentPodHash": "abc", "stableRS": "def", "currentStepIndex": 1 },
    })
}

fn api_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"))
}

fn rollouts(client: &Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &api_resource())
}

fn client(shared: &Shared) -> Client {
    Client::new(api::router(shared.clone()), "payments")
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason, status.message),
        other => panic!("no answer of the API: {other}"),
    }
}

#[tokio::test]
async fn typed_and_dynamic_objects_are_listed_read_and_written() {
    let shared = cluster(&["billing-api", "ledger-api"]);
    let client = client(&shared);
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
    let names: Vec<String> = rollouts(&client)
        .list(&ListParams::default().labels("app=billing-api"))
        .await
        .unwrap()
        .iter()
        .map(|r| r.name_any())
        .collect();
    assert_eq!(names, ["billing-api"]);
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "plain" },
        "spec": {
            "selector": { "matchLabels": { "app": "plain" } },
            "template": {
                "metadata": { "labels": { "app": "plain" } },
                "spec": { "containers": [{ "name": "app", "image": "a:1" }] },
            },
        },
    }))
    .unwrap();
    let made = deployments.create(&PostParams::default(), &deployment).await.unwrap();
    assert_eq!((made.metadata.generation, made.spec.replicas), (Some(1), Some(1)));
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scaled = deployments.patch_scale("plain", &PatchParams::default(), &three).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(3));
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    assert!(pods.list(&ListParams::default().fields("status.phase=Running")).await.unwrap().items.is_empty());
    assert_eq!(refused(deployments.create(&PostParams::default(), &deployment).await).1, "AlreadyExists");
    deployments.delete("plain", &DeleteParams::default()).await.unwrap();
    assert_eq!(refused(deployments.get("plain").await).0, 404);
}

#[tokio::test]
async fn a_json_patch_is_fenced_by_its_tests_and_status_is_a_world_of_its_own() {
    let shared = cluster(&["billing-api"]);
    let rollouts = rollouts(&client(&shared));
    let patch = |operations: Value| Patch::Json::<()>(serde_json::from_value(operations).unwrap());
    let params = PatchParams::default();
    let before = rollouts.get("billing-api").await.unwrap();
    let fenced = |uid: &str| {
        patch(json!([
            { "op": "test", "path": "/metadata/uid", "value": uid },
            { "op": "test", "path": "/status/currentStepIndex", "value": 1 },
            { "op": "add", "path": "/status/abort", "value": true },
        ]))
    };
    let (code, reason, _) = refused(rollouts.patch_status("billing-api", &params, &fenced("another")).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    let uid = before.uid().unwrap();
    let aborted = rollouts.patch_status("billing-api", &params, &fenced(&uid)).await.unwrap();
    assert_eq!((aborted.data["status"]["abort"].as_bool(), aborted.metadata.generation), (Some(true), Some(1)));
    // The main resource drops status, the status resource drops the rest.
    let both = json!({ "spec": { "paused": true }, "status": { "abort": false } });
    let main = rollouts.patch("billing-api", &params, &Patch::Merge(&both)).await.unwrap();
    assert_eq!((&main.data["spec"]["paused"], &main.data["status"]["abort"]), (&json!(true), &json!(true)));
    assert_eq!(main.metadata.generation, Some(2));
    let both =
        json!({ "metadata": { "labels": { "x": "y" } }, "spec": { "paused": false }, "status": { "abort": false } });
    let status = rollouts.patch_status("billing-api", &params, &Patch::Merge(&both)).await.unwrap();
    assert_eq!((&status.data["spec"]["paused"], &status.data["status"]["abort"]), (&json!(true), &json!(false)));
    assert!(!status.labels().contains_key("x"));
    let strategic =
        rollouts.patch("billing-api", &params, &Patch::Strategic(json!({ "spec": { "replicas": 1 } }))).await;
    assert_eq!(refused(strategic).0, 415);
    // An AnalysisRun has no status subresource: its status is written like everything else, and there is no such path.
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let version = rollouts.get("billing-api").await.unwrap().resource_version();
    let shown = rollouts.patch("billing-api", &dry, &Patch::Merge(json!({ "spec": { "replicas": 9 } }))).await.unwrap();
    assert_eq!(shown.data["spec"]["replicas"], 9);
    assert_eq!(rollouts.get("billing-api").await.unwrap().resource_version(), version);
}

#[tokio::test]
async fn a_stale_writer_is_told_so() {
    let shared = cluster(&["billing-api"]);
    let rollouts = rollouts(&client(&shared));
    let old = rollouts.get("billing-api").await.unwrap();
    let pause = Patch::Merge(json!({ "spec": { "paused": true } }));
    rollouts.patch("billing-api", &PatchParams::default(), &pause).await.unwrap();
    let (code, reason, message) = refused(rollouts.replace("billing-api", &PostParams::default(), &old).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("the object has been modified"), "{message}");
    let with_version = Patch::Merge(json!({ "metadata": { "resourceVersion": old.resource_version() } }));
    assert_eq!(refused(rollouts.patch("billing-api", &PatchParams::default(), &with_version).await).0, 409);
    let gone = DeleteParams::default()
        .preconditions(kube::api::Preconditions { uid: Some("another".to_owned()), resource_version: None });
    assert_eq!(refused(rollouts.delete("billing-api", &gone).await.map(|_| ())).0, 409);
}

#[tokio::test]
async fn server_side_apply_settles_who_owns_what() {
    let shared = cluster(&[]);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&shared));
    let map = |value: &str| {
        Patch::Apply(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "limits" }, "data": { "a": value } }),
        )
    };
    let made = maps.patch("limits", &PatchParams::apply("one"), &map("1")).await.unwrap();
    assert_eq!(made.metadata.managed_fields.unwrap()[0].operation.as_deref(), Some("Apply"));
    let (code, _, message) = refused(maps.patch("limits", &PatchParams::apply("two"), &map("2")).await);
    assert_eq!(code, 409);
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let forced = maps.patch("limits", &PatchParams::apply("two").force(), &map("2")).await.unwrap();
    assert_eq!(forced.data.unwrap()["a"], "2");
    let version = maps.get("limits").await.unwrap().resource_version();
    maps.patch("limits", &PatchParams::apply("two"), &map("2")).await.unwrap();
    assert_eq!(
        maps.get("limits").await.unwrap().resource_version(),
        version,
        "applying the same again changes nothing"
    );
}

#[tokio::test]
async fn metadata_alone_and_pages_of_a_moment() {
    let names: Vec<String> = (0..25).map(|n| format!("service-{n:02}")).collect();
    let shared = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let rollouts = rollouts(&client(&shared));
    let metadata = rollouts.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items.len(), 25);
    assert_eq!(metadata.items[3].name_any(), "service-03");
    let mut seen = Vec::new();
    let mut params = ListParams::default().limit(10);
    loop {
        let page = rollouts.list(&params).await.unwrap();
        assert!(page.items.len() <= 10);
        if seen.is_empty() {
            assert_eq!(page.metadata.remaining_item_count, Some(15));
            // What happens between two pages does not show in the second.
            rollouts.delete("service-20", &DeleteParams::default()).await.unwrap();
        }
        seen.extend(page.items.iter().map(|r| r.name_any()));
        let Some(next) = page.metadata.continue_.filter(|c| !c.is_empty()) else { break };
        params.continue_token = Some(next);
    }
    assert_eq!(seen, names);
    let mut late = ListParams::default().limit(10);
    late.continue_token = rollouts.list(&late).await.unwrap().metadata.continue_;
    rollouts.delete("service-21", &DeleteParams::default()).await.unwrap();
    shared.lock().compact();
    assert_eq!(refused(rollouts.list(&late).await).1, "Expired");
}

#[tokio::test(start_paused = true)]
async fn a_reflector_follows_through_changes_bookmarks_and_a_forgotten_past() {
    let shared = cluster(&["billing-api", "ledger-api"]);
    for streaming in [false, true] {
        let api = rollouts(&client(&shared));
        let config = if streaming { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let writer = reflector::store::Writer::new(api_resource());
        let reader = writer.as_reader();
        let mut stream = Box::pin(reflector(writer, watcher(api.clone(), config)).map_err(|e| e.to_string()));
        let mut until = async |what: &str, there: &dyn Fn() -> bool| {
            let reached = tokio::time::timeout(Duration::from_secs(900), async {
                while !there() {
                    // Errors are part of a watch's life; the next poll goes on.
                    let _ = stream.next().await.unwrap();
                }
            });
            assert!(reached.await.is_ok(), "never saw: {what}");
        };
        let names = || {
            let mut names: Vec<String> = reader.state().iter().map(|r| r.name_any()).collect();
            names.sort();
            names
        };
        until("both", &|| names() == ["billing-api", "ledger-api"]).await;
        shared.lock().create(&kinds::ROLLOUT, "payments", rollout("pricing-api")).unwrap();
        until("a third", &|| names().len() == 3).await;
        // Longer than a watch lives: it is started again from where it ended.
        tokio::time::sleep(Duration::from_secs(400)).await;
        shared
            .lock()
            .update(&kinds::ROLLOUT, "payments", "billing-api", |r| r["spec"]["paused"] = json!(streaming))
            .unwrap();
        // The past is gone before the watch has read it: 410, list again.
        shared.lock().compact();
        until("the change", &|| {
            reader.state().iter().any(|r| r.name_any() == "billing-api" && r.data["spec"]["paused"] == streaming)
        })
        .await;
        api.delete("pricing-api", &DeleteParams::default()).await.unwrap();
        until("its end", &|| names().len() == 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn watch_events_come_in_order_and_a_selector_turns_changes_into_comings_and_goings() {
    let shared = cluster(&["billing-api"]);
    let api = rollouts(&client(&shared));
    let version = shared.lock().version().to_string();
    let params = WatchParams::default().labels("team=pay").timeout(10);
    let mut stream = api.watch(&params, &version).await.unwrap().boxed();
    let label = |value: Option<&str>| {
        shared
            .lock()
            .update(&kinds::ROLLOUT, "payments", "billing-api", |r| r["metadata"]["labels"]["team"] = json!(value))
            .unwrap();
    };
    label(Some("pay"));
    shared.lock().update(&kinds::ROLLOUT, "payments", "billing-api", |r| r["spec"]["replicas"] = json!(5)).unwrap();
    label(Some("ops"));
    shared.lock().create(&kinds::ROLLOUT, "payments", rollout("other")).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = stream.try_next().await.unwrap() {
        seen.push(match event {
            WatchEvent::Added(o) => format!("added {}", o.name_any()),
            WatchEvent::Modified(o) => format!("modified {}", o.data["spec"]["replicas"]),
            WatchEvent::Deleted(o) => format!("deleted {}", o.name_any()),
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(e) => format!("error {}", e.code),
        });
    }
    assert_eq!(seen, ["added billing-api", "modified 5", "deleted billing-api", "bookmark"]);
}

#[tokio::test]
async fn rights_are_asked_for_and_enforced_alike() {
    let shared = cluster(&["billing-api"]);
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<String>>();
    let read = Rule {
        verbs: words(&["get", "list", "watch"]),
        groups: words(&["*"]),
        resources: words(&["*"]),
        namespaces: words(&["payments"]),
    };
    let pause = Rule {
        verbs: words(&["patch"]),
        groups: words(&["argoproj.io"]),
        resources: words(&["rollouts"]),
        ..read.clone()
    };
    let access = Arc::new(RwLock::new(Access { others: vec![read, pause], ..Access::everything() }));
    let client = Client::new(api::guarded(shared, access.clone()), "payments");
    let may = async |verb: &str, subresource: &str, namespace: &str| {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.to_owned()),
                    group: Some("argoproj.io".to_owned()),
                    resource: Some("rollouts".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    assert!(may("patch", "", "payments").await && may("list", "", "payments").await);
    assert!(!may("patch", "status", "payments").await && !may("list", "", "other").await);
    let rollouts = rollouts(&client);
    let patch = Patch::Merge(json!({ "spec": { "paused": true }, "status": {} }));
    rollouts.patch("billing-api", &PatchParams::default(), &patch).await.unwrap();
    let (code, _, message) = refused(rollouts.patch_status("billing-api", &PatchParams::default(), &patch).await);
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "rollouts.argoproj.io \"billing-api\" is forbidden: User \"captain\" cannot patch resource \"rollouts/status\" in \
         API group \"argoproj.io\" in the namespace \"payments\""
    );
    *access.write().unwrap() = Access::everything();
    rollouts.patch_status("billing-api", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_client_sees_faults_as_it_would_see_real_ones() {
    let shared = cluster(&["billing-api"]);
    let faults = Faults::new(1, shared.lock().now());
    let router = faults::around(api::router(shared.clone()), shared.clone(), faults.clone());
    let rollouts = rollouts(&Client::new(router, "payments"));
    let pause = Patch::Merge(json!({ "spec": { "paused": true } }));
    let once = |fault| faults.add(faults::Rule { times: Some(1), ..faults::Rule::always(fault) });
    once(Fault::Reset { landed: true });
    let broken = rollouts.patch("billing-api", &PatchParams::default(), &pause).await.unwrap_err();
    assert!(!matches!(broken, kube::Error::Api(_)), "no Status came back: {broken}");
    assert_eq!(rollouts.get("billing-api").await.unwrap().data["spec"]["paused"], true);
    once(Fault::Garbage);
    assert!(rollouts.get("billing-api").await.is_err());
    once(Fault::Refuse { code: 409 });
    assert_eq!(refused(rollouts.patch("billing-api", &PatchParams::default(), &pause).await).1, "Conflict");
    assert_eq!(faults.injected().len(), 3);
}

#[tokio::test]
async fn a_thousand_rollouts_with_ten_thousand_pods_stay_usable() {
    let shared = cluster(&[]);
    {
        let mut store = shared.lock();
        for n in 0..1_000 {
            let name = format!("service-{n:04}");
            store.create(&kinds::ROLLOUT, "payments", rollout(&name)).unwrap();
            for _ in 0..10 {
                let pod = json!({
                    "metadata": { "generateName": format!("{name}-"), "labels": { "app": name } },
                    "spec": { "containers": [{ "name": "app", "image": "a:1" }] },
                    "status": { "phase": "Running" },
                });
                store.create(&kinds::POD, "payments", pod).unwrap();
            }
        }
    }
    let client = client(&shared);
    assert_eq!(rollouts(&client).list(&ListParams::default()).await.unwrap().items.len(), 1_000);
    let pods: Api<Pod> = Api::default_namespaced(client);
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 10_000);
    // What was written once is not written again: a further list joins the same bytes.
    let bytes =
        |shared: &Shared| shared.lock().list(&kinds::POD, None).map(|p| p.json().as_ptr() as usize).collect::<Vec<_>>();
    let before = bytes(&shared);
    let started = std::time::Instant::now();
    assert_eq!(pods.list_metadata(&ListParams::default().labels("app=service-0500")).await.unwrap().items.len(), 10);
    assert_eq!(pods.list(&ListParams::default().limit(500)).await.unwrap().items.len(), 500);
    // Measured at 30 ms in an unoptimized build on two cores; only a copy of everything would come near this.
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
    assert_eq!(bytes(&shared), before);
}

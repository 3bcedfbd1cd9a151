//! Other people's side of the rehearsal cluster's wire: the Argo Rollouts plugin drives it, the real controller works
//! on it, and its API is held to a real API server:
//! the same requests go to both, in the same order, and the answers must be the same, word for word but for uids, versions and times. What differs is listed with its reason.

use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, wednesday};
use footplate::rehearsal::faults::Faults;
use footplate::rehearsal::scenario::Scenario;
use footplate::rehearsal::store::Store;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, kinds, serve};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use crate::controlplane::shared;

/// What of two answers must be the same.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// Status code and body.
    All,
    /// Status code, kind and reason: the words are those of Go's decoders, or of defaults that a rehearsal leaves out.
    Outline,
}

struct Case {
    what: &'static str,
    method: &'static str,
    path: String,
    body: Vec<u8>,
    media: &'static str,
    accept: &'static str,
    same: Same,
}

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

/// The requests of a run, in order.
struct Script {
    namespace: String,
    cases: Vec<Case>,
}

impl Script {
    fn ask(
        &mut self,
        what: &'static str,
        method: &'static str,
        path: &str,
        body: impl Into<Option<Value>>,
    ) -> &mut Case {
        let body = body.into().map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let path = path
            .replace("RO", "/apis/argoproj.io/v1alpha1/namespaces/NS/rollouts")
            .replace("AR", "/apis/argoproj.io/v1alpha1/namespaces/NS/analysisruns")
            .replace("DE", "/apis/apps/v1/namespaces/NS/deployments")
            .replace("CM", "/api/v1/namespaces/NS/configmaps")
            .replace("LE", "/apis/coordination.k8s.io/v1/namespaces/NS/leases")
            .replace("NS", &self.namespace);
        self.cases.push(Case { what, method, path, body, media: JSON, accept: JSON, same: Same::All });
        self.cases.last_mut().unwrap()
    }

    fn patch(&mut self, what: &'static str, path: &str, media: &'static str, body: Value) -> &mut Case {
        let case = self.ask(what, "PATCH", path, body);
        case.media = media;
        case
    }
}

impl Case {
    fn raw(&mut self, body: &[u8]) -> &mut Self {
        self.body = body.to_vec();
        self
    }

    fn accept(&mut self, accept: &'static str) -> &mut Self {
        self.accept = accept;
        self
    }

    fn outline(&mut self) -> &mut Self {
        self.same = Same::Outline;
        self
    }
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } })
}

fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        // Of an instance that nobody runs, so that no controller writes in between.
        "metadata": { "name": name, "labels": { "argo-rollouts.argoproj.io/controller-instance-id": "nobody" } },
        "spec": {
            "paused": true,
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "x:1" }] },
            },
            "strategy": { "canary": {} },
        },
    })
}

fn deployment(name: &str) -> Value {
    let mut deployment = rollout(name);
    deployment["apiVersion"] = json!("apps/v1");
    deployment["kind"] = json!("Deployment");
    deployment["spec"].as_object_mut().unwrap().remove("strategy");
    deployment["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "proxy", "image": "p:1" }));
    deployment
}

fn with(mut object: Value, patch: Value) -> Value {
    json_patch::merge(&mut object, &patch);
    object
}

fn creates(s: &mut Script) {
    s.ask("create", "POST", "CM", with(config_map("a"), json!({ "data": { "k": "v" } })));
    s.ask("create again", "POST", "CM", config_map("a"));
    s.ask("create with a bad name", "POST", "CM", config_map("Bad_Name"));
    s.ask("create with data of a wrong type", "POST", "CM", with(config_map("b"), json!({ "data": { "k": 1 } })));
    s.ask("create without a name", "POST", "CM", json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} }));
    s.ask("create another kind", "POST", "CM", with(config_map("q"), json!({ "kind": "Pod" })));
    s.ask(
        "create in another namespace",
        "POST",
        "CM",
        with(config_map("q"), json!({ "metadata": { "namespace": "other" } })),
    );
    s.ask("create in no namespace", "POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"));
    s.ask(
        "create with a version",
        "POST",
        "CM",
        with(config_map("q"), json!({ "metadata": { "resourceVersion": "5" } })),
    );
    s.ask("create from garbage", "POST", "CM", None).raw(b"{nope").outline();
    s.ask("create from an array", "POST", "CM", None).raw(b"[]").outline();
    s.ask("create by yaml", "POST", "CM", None)
        .raw(b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\ndata: {a: 'on'}\n")
        .media = "application/yaml";
    s.ask("create from an unknown form", "POST", "CM", config_map("z")).outline().media = "text/plain";
    s.ask("create dry", "POST", "CM?dryRun=All", config_map("dry"));
    s.ask("that was dry", "GET", "CM/dry", None);
    s.ask("create a rollout", "POST", "RO", rollout("r"));
    s.ask("create a rollout of wrong types", "POST", "RO", with(rollout("s"), json!({ "spec": { "paused": "yes" } })));
    let bare = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "s" } });
    s.ask("create a rollout without a spec", "POST", "RO", bare);
    s.ask("create a rollout with a bad name", "POST", "RO", rollout("S_"));
    let typo = with(rollout("s"), json!({ "spec": { "replcas": 1 } }));
    s.ask("create with a typo, strictly", "POST", "RO?fieldValidation=Strict", typo).outline();
    s.ask("create a deployment", "POST", "DE", deployment("d")).outline();
}

fn updates(s: &mut Script) {
    let put = |s: &mut Script, what, patch: Value| {
        s.ask(what, "PUT", "CM/a", with(config_map("a"), patch));
    };
    put(s, "put a stale version", json!({ "metadata": { "resourceVersion": "1" } }));
    put(s, "put another name", json!({ "metadata": { "name": "z" } }));
    put(s, "put without a version", json!({ "data": { "k": "w" } }));
    s.ask("put what is not there", "PUT", "CM/zz", config_map("zz"));
    s.ask("put a rollout without a version", "PUT", "RO/r", rollout("r"));
    s.patch("make it immutable", "CM/a", MERGE, json!({ "immutable": true }));
    s.patch("change the immutable", "CM/a", MERGE, json!({ "data": { "k": "x" } }));
    s.patch("make it mutable", "CM/a", MERGE, json!({ "immutable": null }));
    s.patch("label the immutable", "CM/a", MERGE, json!({ "metadata": { "labels": { "l": "m" } } }));
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" }, "spec": { "holderIdentity": "me" } });
    s.ask("put makes a lease", "PUT", "LE/l", lease.clone());
    s.ask("put a lease without a version", "PUT", "LE/l", lease);
    s.patch("a lease of no duration", "LE/l", MERGE, json!({ "spec": { "leaseDurationSeconds": 0 } }));
    let run = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
        "metadata": { "name": "run", "labels": { "argo-rollouts.argoproj.io/controller-instance-id": "nobody" } },
        "spec": { "metrics": [] }, "status": { "phase": "Running" },
    });
    s.ask("an analysis run with its status", "POST", "AR", run);
    s.patch("its status is like the rest of it", "AR/run", MERGE, json!({ "status": { "phase": "Failed" } }));
    s.patch("and has no resource of its own", "AR/run/status", MERGE, json!({ "status": { "phase": "Running" } }));
}

fn json_patches(s: &mut Script) {
    let mut json = |what, operations: Value| {
        s.patch(what, "RO/r", JSON_PATCH, operations);
    };
    let test = |path: &str, value: Value| json!([{ "op": "test", "path": path, "value": value }]);
    json("a failed test", test("/metadata/uid", json!("x")));
    json("null where nothing holds it", test("/metadata/annotations/foo", Value::Null));
    json(
        "null for the whole map, which is then made",
        json!([
            { "op": "test", "path": "/metadata/annotations", "value": null },
            { "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } },
        ]),
    );
    json("null for an absent key", test("/metadata/annotations/foo", Value::Null));
    json("null for a present key", test("/metadata/annotations/a", Value::Null));
    json("a value for an absent key", test("/metadata/annotations/zz", json!("q")));
    json("a test without a value", json!([{ "op": "test", "path": "/metadata/annotations/zz" }]));
    json("another form of a number", test("/spec/replicas", json!(0.0)));
    json("null far below what is absent", test("/status/canary/x/y", Value::Null));
    json("null past the end of a list", test("/spec/template/spec/containers/5", Value::Null));
    json("from the end of a list", test("/spec/template/spec/containers/-1/name", json!("app")));
    json("an unknown operation", json!([{ "op": "frob", "path": "/spec/replicas" }]));
    json("remove what is absent", json!([{ "op": "remove", "path": "/spec/zz" }]));
    json("replace what is absent", json!([{ "op": "replace", "path": "/spec/zz", "value": 1 }]));
    json("add below what is absent", json!([{ "op": "add", "path": "/spec/zz/y", "value": 1 }]));
    json("add a null", json!([{ "op": "add", "path": "/spec/restartAt", "value": null }]));
    json("replace by a null", json!([{ "op": "replace", "path": "/spec/paused", "value": null }]));
    json("replace by another type", json!([{ "op": "replace", "path": "/spec/minReadySeconds", "value": "x" }]));
    json("status on the main resource", json!([{ "op": "add", "path": "/status", "value": { "abort": true } }]));
    json(
        "move and copy",
        json!([
            { "op": "copy", "from": "/metadata/annotations/a", "path": "/metadata/annotations/c" },
            { "op": "move", "from": "/metadata/annotations/a", "path": "/metadata/annotations/d" },
        ]),
    );
    s.patch("no list of operations", "RO/r", JSON_PATCH, json!({ "op": "test" })).outline();
    s.patch("no JSON", "RO/r", JSON_PATCH, json!(0)).raw(b"nope").outline();
}

fn merge_patches(s: &mut Script) {
    s.patch("no JSON", "RO/r", MERGE, json!(0)).raw(b"nope").outline();
    s.patch("no object", "RO/r", MERGE, json!([1])).outline();
    let mut merge = |what, patch: Value| {
        s.patch(what, "RO/r", MERGE, patch);
    };
    merge("a stale version", json!({ "metadata": { "resourceVersion": "1" } }));
    merge("another name", json!({ "metadata": { "name": "nope" } }));
    merge("another namespace", json!({ "metadata": { "namespace": "nope" } }));
    merge("status on the main resource", json!({ "status": { "abort": true } }));
    merge("a change of nothing", json!({ "spec": { "replicas": 0 } }));
    s.patch("another uid", "RO/r", MERGE, json!({ "metadata": { "uid": "nope" } })).outline();
    s.patch("a label that is no text", "RO/r", MERGE, json!({ "metadata": { "labels": { "a": 1 } } })).outline();
    let all =
        json!({ "status": { "message": "hi" }, "spec": { "replicas": 9 }, "metadata": { "labels": { "l": "m" } } });
    s.patch("everything on the status resource", "RO/r/status", MERGE, all);
    s.patch("status of another type", "RO/r/status", MERGE, json!({ "status": { "abort": "yes" } })).outline();
    s.patch(
        "a null list in the status",
        "RO/r/status",
        JSON_PATCH,
        json!([{ "op": "add", "path": "/status/pauseConditions", "value": null }]),
    );
    s.patch(
        "a fenced abort",
        "RO/r/status",
        JSON_PATCH,
        json!([
            { "op": "test", "path": "/status/message", "value": "hi" },
            { "op": "test", "path": "/metadata/annotations/c", "value": "b" },
            { "op": "add", "path": "/status/abort", "value": true },
        ]),
    );
    s.patch("a strategic patch of a custom kind", "RO/r", STRATEGIC, json!({ "spec": { "replicas": 1 } }));
    s.patch("a patch of no kind", "RO/r", "text/plain", json!({ "spec": { "replicas": 1 } }));
    s.patch("what is not there", "RO/nope", MERGE, json!({ "spec": { "replicas": 1 } }));
    s.patch("a dry run of no kind", "RO/r?dryRun=Some", MERGE, json!({ "spec": { "replicas": 1 } }));
    s.patch("a dry run", "RO/r?dryRun=All", MERGE, json!({ "spec": { "minReadySeconds": 1 } }));
    s.patch("scale", "RO/r/scale", MERGE, json!({ "spec": { "replicas": 2 } }));
    s.ask("the scale", "GET", "RO/r/scale", None);
    s.ask("all of it", "GET", "RO/r", None);
}

fn strategic_patches(s: &mut Script) {
    let template = |containers: Value| json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let mut strategic = |what, patch: Value| {
        s.patch(what, "DE/d", STRATEGIC, patch).outline();
    };
    strategic("merge by name", template(json!([{ "name": "app", "env": [{ "name": "A", "value": "1" }] }])));
    strategic("delete by name", template(json!([{ "name": "proxy", "$patch": "delete" }])));
    strategic("an element without its key", template(json!([{ "image": "y" }])));
    s.patch("another selector", "DE/d", MERGE, json!({ "spec": { "selector": { "matchLabels": { "app": "e" } } } }));
    s.patch("fewer than none", "DE/d", MERGE, json!({ "spec": { "replicas": -1 } }));
    s.patch("a word for a number", "DE/d", MERGE, json!({ "spec": { "replicas": "x" } })).outline();
    s.ask("the scale", "GET", "DE/d/scale", None);
}

fn applies(s: &mut Script) {
    let applied = |spec: Value| json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "r" }, "spec": spec });
    s.patch("without a manager", "RO/r", APPLY, applied(json!({})));
    s.patch("without a kind", "RO/r?fieldManager=two", APPLY, json!({ "metadata": { "name": "r" } }));
    let managed = with(applied(json!({})), json!({ "metadata": { "managedFields": [{ "manager": "x" }] } }));
    s.patch("with managed fields", "RO/r?fieldManager=two", APPLY, managed);
    s.patch("a conflict", "RO/r?fieldManager=two", APPLY, applied(json!({ "replicas": 3 })));
    s.patch(
        "by force",
        "RO/r?fieldManager=two&force=true",
        APPLY,
        applied(json!({ "replicas": 3, "minReadySeconds": 5 })),
    );
    s.patch("again", "RO/r?fieldManager=two", APPLY, applied(json!({ "replicas": 3, "minReadySeconds": 5 })));
    s.patch("and less", "RO/r?fieldManager=two", APPLY, applied(json!({ "replicas": 3 })));
    let container = json!({ "template": { "spec": { "containers": [{ "name": "app", "image": "x:2" }, { "name": "more", "image": "y:1" }] } } });
    s.patch("containers by name", "RO/r?fieldManager=two&force=true", APPLY, applied(container));
    let map = |data: Value| with(config_map("applied"), json!({ "data": data }));
    s.patch("makes what is not there", "CM/applied?fieldManager=one", APPLY, map(json!({ "a": "1", "b": "2" })));
    s.patch("two conflicts", "CM/applied?fieldManager=two", APPLY, map(json!({ "a": "3", "b": "4" })));
    s.patch("shared", "CM/applied?fieldManager=two", APPLY, map(json!({ "a": "1" })));
    s.patch("given up by one of two", "CM/applied?fieldManager=one", APPLY, map(json!({ "b": "2" })));
    s.patch("given up by both", "CM/applied?fieldManager=two", APPLY, config_map("applied"));
    s.ask("what remains", "GET", "CM/applied", None);
}

fn reads(s: &mut Script) {
    s.ask("what is not there", "GET", "RO/nope", None);
    s.ask("a subresource that is not there", "GET", "RO/r/foo", None);
    s.ask("an unknown kind", "GET", "/apis/argoproj.io/v1alpha1/namespaces/NS/foos", None);
    s.ask("an unknown group", "GET", "/apis/foo.io/v1/bars", None);
    s.ask("a field that cannot be selected by", "GET", "RO?fieldSelector=status.phase%3DPaused", None);
    s.ask("no label selector", "GET", "RO?labelSelector=a%20b", None).outline();
    s.ask("no limit", "GET", "RO?limit=x", None);
    s.ask("no version", "GET", "RO?resourceVersion=x", None);
    s.ask("a version to come", "GET", "RO?resourceVersion=99999999&resourceVersionMatch=NotOlderThan", None);
    s.ask("no token", "GET", "RO?continue=zzz&limit=1", None).outline();
    s.ask("no match", "GET", "RO?resourceVersionMatch=Foo", None);
    s.ask("by label", "GET", "RO?labelSelector=argo-rollouts.argoproj.io/controller-instance-id%20in%20(nobody)", None);
    s.ask("by name", "GET", "RO?fieldSelector=metadata.name%21%3Dr", None);
    s.ask("metadata", "GET", "RO/r", None).accept(METADATA);
    s.ask("metadata of many", "GET", "RO", None).accept(METADATA_LIST);
    s.ask("a table of rollouts", "GET", "RO", None).accept(TABLE);
    s.ask("a table of config maps", "GET", "CM?labelSelector=l%3Dm", None).accept(TABLE);
    s.ask("a table of one lease", "GET", "LE/l", None).accept(TABLE);
    s.ask("a watch from no version", "GET", "RO?watch=true&resourceVersion=x&timeoutSeconds=1", None);
    s.ask("initial events without a match", "GET", "RO?watch=true&sendInitialEvents=true&timeoutSeconds=1", None);
    s.ask(
        "may I",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } },
        }),
    )
    .outline();
}

fn deletes(s: &mut Script) {
    s.ask("of another uid", "DELETE", "RO/r", json!({ "preconditions": { "uid": "nope" } }));
    s.ask("of another version", "DELETE", "RO/r", json!({ "preconditions": { "resourceVersion": "1" } }));
    s.ask("what is not there", "DELETE", "RO/nope", None);
    s.ask("a rollout", "DELETE", "RO/r", None);
    s.ask("a config map", "DELETE", "CM/a", None);
    s.ask("a deployment", "DELETE", "DE/d?propagationPolicy=Background", None);
    s.ask("once more", "DELETE", "CM/a", None);
}

/// What no two clusters share, and the descriptions of columns, which a rehearsal leaves out.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(k, _)| {
                !matches!(k.as_str(), "uid" | "creationTimestamp" | "resourceVersion" | "time" | "description")
            })
            .map(|(k, v)| {
                let mut v = plain(v);
                // The server orders the owners of fields by the second of their write: which of two written close
                // together comes first is chance.
                if let ("managedFields", Value::Array(owners)) = (k.as_str(), &mut v) {
                    owners.sort_by_key(|o| (o["manager"].to_string(), o["subresource"].to_string()));
                }
                (k, v)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::String(text) => Value::String(words(&text)),
        other => other,
    }
}

/// A text without uids, versions of objects and ages.
fn words(text: &str) -> String {
    let version = ["current: ", "in record ("].iter().find_map(|before| {
        let (head, tail) = text.split_once(before)?;
        Some(format!("{head}{before}#{}", tail.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '-')))
    });
    let age = text.len() < 6 && text.ends_with('s') && text.chars().all(|c| c.is_ascii_digit() || "ms".contains(c));
    if age { "AGE".to_owned() } else { version.unwrap_or_else(|| text.to_owned()) }
}

fn outline(value: &Value) -> Value {
    json!({ "kind": value["kind"], "reason": value["reason"], "name": value["metadata"]["name"] })
}

async fn answer(client: &kube::Client, case: &Case) -> (u16, Value) {
    let request = Request::builder()
        .method(case.method)
        .uri(&case.path)
        .header("accept", case.accept)
        .header("user-agent", "table/1")
        .header("content-type", case.media)
        .body(Body::from(case.body.clone()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn the_rehearsal_answers_as_a_real_server_does() {
    let plane = shared();
    let namespace = plane.namespace();
    let config = kube::config::Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some("dev".to_owned()), ..Default::default() };
    let mut config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
    // Each request once: a 504 is an answer to compare.
    config.default_retry = false;
    let real = kube::Client::try_from(config).unwrap();
    let mut store = Store::new(1, jiff::Timestamp::now());
    store.create(&kinds::NAMESPACE, "", json!({ "metadata": { "name": namespace.name() } })).unwrap();
    let rehearsed = kube::Client::new(api::router(Shared::new(store)), namespace.name().to_owned());

    let mut script = Script { namespace: namespace.name().to_owned(), cases: Vec::new() };
    for part in [creates, updates, json_patches, merge_patches, strategic_patches, applies, reads, deletes] {
        part(&mut script);
    }
    let mut different = Vec::new();
    for case in &script.cases {
        let (a, b) = tokio::join!(answer(&real, case), answer(&rehearsed, case));
        let (a, b) = ((a.0, plain(a.1)), (b.0, plain(b.1)));
        let same = match case.same {
            Same::All => a == b,
            Same::Outline => (a.0, outline(&a.1)) == (b.0, outline(&b.1)),
        };
        if !same {
            different.push(format!(
                "{} ({} {})\n  real      {} {}\n  rehearsed {} {}",
                case.what, case.method, case.path, a.0, a.1, b.0, b.1
            ));
        }
    }
    let total = script.cases.len();
    assert!(different.is_empty(), "{} of {total} answers differ:\n{}", different.len(), different.join("\n"));
    assert!(total >= 100, "{total} requests were compared");
}

/// What the plugin prints against a served rehearsal.
async fn plugin(kubeconfig: &std::path::Path, args: &[&str]) -> String {
    let mut command = tokio::process::Command::from(shared().command("kubectl-argo-rollouts"));
    let output = command.args(args).env("KUBECONFIG", kubeconfig).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `status` of a degraded rollout is a failure to it, and an answer to us.
    assert!(
        output.status.success() || args[0] == "status",
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_of_argo_rollouts_drives_a_rehearsal() {
    let start = wednesday();
    let world = SharedWorld::new(World::open(Scenario::named("green").unwrap(), 1, start).unwrap());
    let store = world.lock().store().clone();
    let listener = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    serve::write_kubeconfig(&kubeconfig, listener.local_addr().unwrap(), "payments").unwrap();
    let clock = RehearsalClock::new(start, 20.0);
    let faults = Faults::new(1, start);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve::run(listener, world, clock, faults, async {
        let _ = stopped.await;
    }));
    let billing = || store.lock().get(&kinds::ROLLOUT, "payments", "billing-api").unwrap();
    let ask = async |args: &[&str]| plugin(&kubeconfig, args).await;
    let until = async |what: &str, there: &dyn Fn(&Value) -> bool| {
        let reached = tokio::time::timeout(std::time::Duration::from_secs(60), async {
            while !there(&billing()) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        assert!(reached.await.is_ok(), "never {what}: {}", billing()["status"]);
    };
    let list = ask(&["list", "rollouts"]).await;
    assert!(list.lines().any(|l| l.starts_with("billing-api") && l.contains("Healthy")), "{list}");
    ask(&["set", "image", "billing-api", "*=registry.example/payments/billing-api:2.8.0"]).await;
    until("at its first pause", &|r| r["status"]["currentStepIndex"] == 1 && r["status"]["phase"] == "Paused").await;
    let tree = ask(&["get", "rollout", "billing-api", "--no-color"]).await;
    for line in ["SetWeight:     25", "ActualWeight:  25", "2.7.4 (stable)", "2.8.0 (canary)", "# revision:2"] {
        assert!(tree.contains(line), "{line} in {tree}");
    }
    ask(&["promote", "billing-api"]).await;
    until("past its pause", &|r| r["status"]["currentStepIndex"].as_i64() > Some(1)).await;
    ask(&["pause", "billing-api"]).await;
    until("held", &|r| r["status"]["message"] == "manually paused").await;
    ask(&["abort", "billing-api"]).await;
    until("aborted", &|r| r["status"]["phase"] == "Degraded").await;
    assert!(ask(&["status", "billing-api", "--timeout", "1s"]).await.contains("Degraded"));
    ask(&["promote", "billing-api"]).await;
    ask(&["retry", "rollout", "billing-api"]).await;
    until("tried again", &|r| r["status"]["abort"] != true && r["status"]["phase"] != "Degraded").await;
    ask(&["undo", "billing-api"]).await;
    until("undone", &|r| {
        r["status"]["phase"] == "Healthy"
            && r["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/payments/billing-api:2.7.4"
    })
    .await;
    ask(&["set", "image", "billing-api", "*=registry.example/payments/billing-api:2.8.0"]).await;
    until("under way again", &|r| r["status"]["phase"] == "Paused").await;
    ask(&["promote", "billing-api", "--full"]).await;
    until("fully promoted", &|r| {
        r["status"]["phase"] == "Healthy" && r["status"]["stableRS"] == r["status"]["currentPodHash"]
    })
    .await;
    ask(&["restart", "billing-api"]).await;
    assert!(!billing().str("/spec/restartAt").is_empty());
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

/// A port that nobody listens on at this moment.
fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_rollouts_controller_works_on_the_rehearsals_api() {
    let mut store = Store::new(1, jiff::Timestamp::now());
    store.create(&kinds::NAMESPACE, "", json!({ "metadata": { "name": "payments" } })).unwrap();
    let mut canary = rollout("r");
    canary["metadata"]["labels"] = json!({});
    canary["spec"] = with(
        canary["spec"].take(),
        json!({ "paused": null, "replicas": 4, "strategy": { "canary": { "steps": [{ "setWeight": 25 }, { "pause": {} }] } } }),
    );
    store.create(&kinds::ROLLOUT, "payments", canary).unwrap();
    let store = Shared::new(store);
    let listener = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    serve::write_kubeconfig(&kubeconfig, listener.local_addr().unwrap(), "payments").unwrap();
    let served = tokio::spawn(serve::serve(listener, api::router(store.clone()), std::future::pending()));
    // Time passes, and every ReplicaSet is as large and as ready as it should be: nobody else does that here.
    let cluster = store.clone();
    let alive = tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let mut store = cluster.lock();
            store.set_now(jiff::Timestamp::now());
            let sets: Vec<_> = store.list(&kinds::REPLICA_SET, None).cloned().collect();
            for set in sets {
                let (replicas, generation) = (set["spec"]["replicas"].clone(), set["metadata"]["generation"].clone());
                let status = json!({
                    "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                    "observedGeneration": generation,
                });
                store.update_status(&kinds::REPLICA_SET, "payments", set.name(), |s| s["status"] = status).unwrap();
            }
        }
    });
    let mut controller = tokio::process::Command::from(shared().command("rollouts-controller"))
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(["--leader-elect=false", "--loglevel=warn", "--healthzPort", &free_port(), "--metricsPort", &free_port()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let now = || store.lock().get(&kinds::ROLLOUT, "payments", "r").unwrap();
    let until = async |what: &str, there: &dyn Fn(&Value) -> bool| {
        let reached = tokio::time::timeout(std::time::Duration::from_secs(90), async {
            while !there(&now()) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        assert!(reached.await.is_ok(), "never {what}: {}", now()["status"]);
    };
    until("healthy", &|r| r["status"]["phase"] == "Healthy").await;
    plugin(&kubeconfig, &["set", "image", "r", "app=x:2"]).await;
    until("at its pause", &|r| r["status"]["phase"] == "Paused" && r["status"]["currentStepIndex"] == 1).await;
    plugin(&kubeconfig, &["abort", "r"]).await;
    until("aborted", &|r| r["status"]["phase"] == "Degraded" && r["status"]["currentStepIndex"] == 0).await;
    plugin(&kubeconfig, &["retry", "rollout", "r"]).await;
    until("at its pause again", &|r| r["status"]["phase"] == "Paused").await;
    plugin(&kubeconfig, &["promote", "r"]).await;
    until("promoted", &|r| {
        r["status"]["phase"] == "Healthy" && r["status"]["stableRS"] == r["status"]["currentPodHash"]
    })
    .await;
    let reasons: Vec<String> =
        store.lock().list(&kinds::EVENT, Some("payments")).map(|e| e.str("/reason").to_owned()).collect();
    for reason in ["NewReplicaSetCreated", "ScalingReplicaSet", "RolloutPaused", "RolloutAborted", "RolloutCompleted"] {
        assert!(reasons.iter().any(|r| r == reason), "{reason} in {reasons:?}");
    }
    controller.kill().await.unwrap();
    alive.abort();
    served.abort();
}

//! An object as the cluster sent it, and how one is named. Raw JSON stays behind accessors: what may be shown comes out
//! as scrubbed [`Text`]; what is written back (a recorded template) comes out raw. An object that is only kept is packed:
//! a thousand of them fit into a few megabytes. No meaning of any kind lives here.

use jiff::Timestamp;
use serde_json::Value;

use super::text::Text;

/// The kinds of object the program reads or writes. One cluster kind each, with the API it is served under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKind {
    /// `argoproj.io/v1alpha1` Rollout.
    Rollout,
    /// `argoproj.io/v1alpha1` AnalysisRun.
    AnalysisRun,
    /// `argoproj.io/v1alpha1` AnalysisTemplate.
    AnalysisTemplate,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `v1` Pod.
    Pod,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Event.
    Event,
    /// `v1` Namespace.
    Namespace,
    /// `flagger.app/v1beta1` Canary.
    Canary,
    /// `core.openfeature.dev/v1beta1` FeatureFlag.
    FeatureFlag,
    /// `argoproj.io/v1alpha1` Application (Argo CD).
    Application,
    /// `releases.footplate.dev/v1alpha1` Release.
    Release,
    /// `coordination.k8s.io/v1` Lease.
    Lease,
    /// `batch/v1` Job.
    Job,
    /// `v1` ResourceQuota.
    ResourceQuota,
}

impl ObjectKind {
    /// (group, version, plural, kind) as the API server names them; the group of core objects is empty.
    pub const fn api(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Rollout => ("argoproj.io", "v1alpha1", "rollouts", "Rollout"),
            Self::AnalysisRun => ("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun"),
            Self::AnalysisTemplate => ("argoproj.io", "v1alpha1", "analysistemplates", "AnalysisTemplate"),
            Self::Deployment => ("apps", "v1", "deployments", "Deployment"),
            Self::ReplicaSet => ("apps", "v1", "replicasets", "ReplicaSet"),
            Self::Pod => ("", "v1", "pods", "Pod"),
            Self::ConfigMap => ("", "v1", "configmaps", "ConfigMap"),
            Self::Event => ("", "v1", "events", "Event"),
            Self::Namespace => ("", "v1", "namespaces", "Namespace"),
            Self::Canary => ("flagger.app", "v1beta1", "canaries", "Canary"),
            Self::FeatureFlag => ("core.openfeature.dev", "v1beta1", "featureflags", "FeatureFlag"),
            Self::Application => ("argoproj.io", "v1alpha1", "applications", "Application"),
            Self::Release => ("releases.footplate.dev", "v1alpha1", "releases", "Release"),
            Self::Lease => ("coordination.k8s.io", "v1", "leases", "Lease"),
            Self::Job => ("batch", "v1", "jobs", "Job"),
            Self::ResourceQuota => ("", "v1", "resourcequotas", "ResourceQuota"),
        }
    }

    /// The `apiVersion` of an object of this kind.
    pub fn api_version(self) -> String {
        let (group, version, _, _) = self.api();
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }
}

/// Where one object is: cluster (kube context), kind, namespace, name. The cluster is a value, never a global.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectRef {
    /// The kube context, by name.
    pub cluster: Text,
    /// What kind of object.
    pub kind: ObjectKind,
    /// Its namespace; empty for what has none.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.api().3.to_lowercase(), self.namespace, self.name)
    }
}

/// An object of the cluster, raw. Its strings are hostile until they come out as [`Text`].
#[derive(Clone, PartialEq, Debug)]
pub struct Object(Value);

impl Object {
    /// Takes an object as it came over the wire.
    pub fn new(raw: Value) -> Self {
        Self(raw)
    }

    /// The raw value at a JSON pointer, for writing back or for numbers; never for display. A null counts as absent.
    pub fn raw(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|v| !v.is_null())
    }

    /// The whole raw value, for writing back; never for display.
    pub fn whole(&self) -> &Value {
        &self.0
    }

    /// A string, scrubbed. Numbers and booleans are written out; other types are absent.
    pub fn text(&self, pointer: &str) -> Option<Text> {
        match self.raw(pointer)? {
            Value::String(s) => Some(Text::scrub(s)),
            Value::Number(n) => Some(Text::scrub(&n.to_string())),
            Value::Bool(b) => Some(Text::scrub(if *b { "true" } else { "false" })),
            _ => None,
        }
    }

    /// A string as it is, for comparing and for writing back; never for display.
    pub fn str(&self, pointer: &str) -> Option<&str> {
        self.raw(pointer)?.as_str()
    }

    /// An integer; a string of digits counts too (`status.observedGeneration` of a Rollout is one).
    pub fn int(&self, pointer: &str) -> Option<i64> {
        match self.raw(pointer)? {
            Value::Number(n) => n.as_i64(),
            Value::String(s) => s.parse().ok(),
            _ => None,
        }
    }

    /// A boolean; absent counts as false, as in the API's own types.
    pub fn flag(&self, pointer: &str) -> bool {
        self.raw(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    /// An RFC 3339 time.
    pub fn time(&self, pointer: &str) -> Option<Timestamp> {
        self.str(pointer)?.parse().ok()
    }

    /// The elements of an array; none when it is absent or no array.
    pub fn items(&self, pointer: &str) -> &[Value] {
        self.raw(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// An annotation, raw.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// A label, raw.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// The uid of the owner that controls it; empty when none does.
    pub fn controller(&self) -> &str {
        let refs = self.items("/metadata/ownerReferences");
        let owner = refs.iter().find(|r| r["controller"].as_bool() == Some(true));
        owner.and_then(|r| r["uid"].as_str()).unwrap_or_default()
    }

    /// `metadata.creationTimestamp`.
    pub fn created(&self) -> Option<Timestamp> {
        self.time("/metadata/creationTimestamp")
    }

    /// `metadata.generation`; 0 when absent.
    pub fn generation(&self) -> i64 {
        self.int("/metadata/generation").unwrap_or_default()
    }

    /// `metadata.name`, scrubbed; empty when absent.
    pub fn name(&self) -> Text {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// `metadata.namespace`, scrubbed; empty when absent.
    pub fn namespace(&self) -> Text {
        self.text("/metadata/namespace").unwrap_or_default()
    }

    /// `metadata.uid`; empty when absent.
    pub fn uid(&self) -> &str {
        self.str("/metadata/uid").unwrap_or_default()
    }

    /// `metadata.resourceVersion`; empty when absent.
    pub fn version(&self) -> &str {
        self.str("/metadata/resourceVersion").unwrap_or_default()
    }
}

/// An object that is kept for later: its JSON as text, which takes a tenth of the room that the tree takes.
#[derive(Clone, PartialEq, Debug)]
pub struct Packed {
    json: Box<[u8]>,
    name: Text,
    version: Box<str>,
    uid: Box<str>,
    controller: Box<str>,
}

impl Packed {
    /// Packs an object.
    pub fn of(object: &Object) -> Self {
        Self {
            json: object.0.to_string().into_bytes().into(),
            name: object.name(),
            version: object.version().into(),
            uid: object.uid().into(),
            controller: object.controller().into(),
        }
    }

    /// The object as it was.
    pub fn open(&self) -> Object {
        // It was written by `of`, so it reads; a null would read as an object of which nothing is known.
        Object(serde_json::from_slice(&self.json).unwrap_or(Value::Null))
    }

    /// `metadata.name`, scrubbed; empty when absent.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// `metadata.resourceVersion`; empty when absent.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `metadata.uid`; empty when absent.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The uid of the owner that controls it; empty when none does.
    pub fn controller(&self) -> &str {
        &self.controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_packed_is_what_comes_out() {
        let object = Object::new(json!({
            "metadata": {"name": "a\u{202e}", "uid": "u1", "resourceVersion": "7",
                "ownerReferences": [{"uid": "x"}, {"uid": "o1", "controller": true}]},
            "status": {"share": 0.1, "big": u64::MAX, "nothing": null},
        }));
        let packed = Packed::of(&object);
        assert_eq!(packed.open(), object);
        assert_eq!((packed.version(), packed.uid(), packed.controller()), ("7", "u1", "o1"));
        assert_eq!(packed.name().as_str(), "a\u{fffd}");
        assert_eq!(Packed::of(&Object::new(Value::Null)).open(), Object::new(Value::Null));
    }
}

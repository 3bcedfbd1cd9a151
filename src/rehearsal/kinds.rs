//! What the simulated cluster serves: one static descriptor a kind, with the names and subresources which the real
//! definitions have. Only data; nothing here reads or writes an object.

/// One served kind.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Name in paths (`rollouts`).
    pub plural: &'static str,
    /// Singular name (`rollout`).
    pub singular: &'static str,
    /// `kind` of its objects (`Rollout`).
    pub kind: &'static str,
    /// Short names for kubectl.
    pub short: &'static [&'static str],
    /// Categories for kubectl (`all`).
    pub categories: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// Whether it has a `status` subresource, so that the main resource drops status and `status` drops the rest.
    pub status: bool,
    /// Whether it has a `scale` subresource.
    pub scale: bool,
    /// How `metadata.generation` is kept.
    pub generation: Generation,
    /// Whether a CustomResourceDefinition defines it (no strategic merge patch, printer columns from the definition).
    pub custom: bool,
    /// What may be asked of it.
    pub verbs: Verbs,
    /// Printer columns of a custom kind, beside Name.
    pub columns: &'static [Column],
}

/// When `metadata.generation` grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// The kind has none.
    None,
    /// When `spec` changes.
    Spec,
    /// When `spec` or the annotations change (Deployments).
    SpecAndAnnotations,
    /// When anything but `metadata` changes, and but `status` where that is a subresource (custom kinds).
    AllButMetadata,
}

/// What may be asked of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verbs {
    /// Everything.
    All,
    /// get, list, watch.
    Read,
    /// create: an access review, answered and not stored.
    Review,
    /// Everything, but stored as another kind: `events.k8s.io` Events are a view of core Events.
    Mirror,
}

/// A printer column of a custom kind.
#[derive(Debug)]
pub struct Column {
    /// Title.
    pub name: &'static str,
    /// OpenAPI type (`integer`, `string`, `date`, `boolean`).
    pub ty: &'static str,
    /// Simple JSON path (`.status.phase`).
    pub path: &'static str,
    /// 0 shows always, above that with `-o wide`.
    pub priority: u8,
}

impl Kind {
    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `rollouts.argoproj.io`, or `pods`.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.plural) == (other.group, other.plural)
    }
}

impl Eq for Kind {}

/// The kind served under this group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.group == group && k.version == version && k.plural == plural)
}

/// The kind whose objects say this `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.kind == kind && k.api_version() == api_version)
}

/// What most built-in kinds have in common.
pub(super) const BUILT_IN: Kind = Kind {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    short: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
    generation: Generation::None,
    custom: false,
    verbs: Verbs::All,
    columns: &[],
};

const CUSTOM: Kind = Kind { custom: true, generation: Generation::AllButMetadata, ..BUILT_IN };

const AGE: Column = Column { name: "Age", ty: "date", path: ".metadata.creationTimestamp", priority: 0 };

const fn column(name: &'static str, ty: &'static str, path: &'static str) -> Column {
    Column { name, ty, path, priority: 0 }
}

const fn wide(name: &'static str, ty: &'static str, path: &'static str) -> Column {
    Column { name, ty, path, priority: 1 }
}

/// `v1` Namespace.
pub static NAMESPACE: Kind = Kind {
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    short: &["ns"],
    namespaced: false,
    status: true,
    ..BUILT_IN
};
/// `v1` Node.
pub static NODE: Kind = Kind {
    plural: "nodes",
    singular: "node",
    kind: "Node",
    short: &["no"],
    namespaced: false,
    status: true,
    ..BUILT_IN
};
/// `v1` Service.
pub static SERVICE: Kind = Kind {
    plural: "services",
    singular: "service",
    kind: "Service",
    short: &["svc"],
    categories: &["all"],
    status: true,
    ..BUILT_IN
};
/// `v1` ConfigMap.
pub static CONFIG_MAP: Kind =
    Kind { plural: "configmaps", singular: "configmap", kind: "ConfigMap", short: &["cm"], ..BUILT_IN };
/// `v1` Secret. There are none, and none can be made: other people's controllers wait until they have listed them.
pub static SECRET: Kind =
    Kind { plural: "secrets", singular: "secret", kind: "Secret", verbs: Verbs::Read, ..BUILT_IN };
/// `v1` Pod.
pub static POD: Kind = Kind {
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    short: &["po"],
    categories: &["all"],
    status: true,
    generation: Generation::Spec,
    ..BUILT_IN
};
/// `v1` Event.
pub static EVENT: Kind = Kind { plural: "events", singular: "event", kind: "Event", short: &["ev"], ..BUILT_IN };
/// `events.k8s.io/v1` Event: a view of the core Events.
pub static EVENTS_EVENT: Kind = Kind {
    group: "events.k8s.io",
    plural: "events",
    singular: "event",
    kind: "Event",
    short: &["ev"],
    verbs: Verbs::Mirror,
    ..BUILT_IN
};
/// `apps/v1` Deployment.
pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    plural: "deployments",
    singular: "deployment",
    kind: "Deployment",
    short: &["deploy"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: Generation::SpecAndAnnotations,
    ..BUILT_IN
};
/// `apps/v1` ReplicaSet.
pub static REPLICA_SET: Kind = Kind {
    group: "apps",
    plural: "replicasets",
    singular: "replicaset",
    kind: "ReplicaSet",
    short: &["rs"],
    categories: &["all"],
    status: true,
    scale: true,
    generation: Generation::Spec,
    ..BUILT_IN
};
/// `batch/v1` Job.
pub static JOB: Kind = Kind {
    group: "batch",
    plural: "jobs",
    singular: "job",
    kind: "Job",
    categories: &["all"],
    status: true,
    generation: Generation::Spec,
    ..BUILT_IN
};
/// `networking.k8s.io/v1` Ingress.
pub static INGRESS: Kind = Kind {
    group: "networking.k8s.io",
    plural: "ingresses",
    singular: "ingress",
    kind: "Ingress",
    short: &["ing"],
    status: true,
    generation: Generation::Spec,
    ..BUILT_IN
};
/// `policy/v1` PodDisruptionBudget.
pub static POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    kind: "PodDisruptionBudget",
    short: &["pdb"],
    status: true,
    generation: Generation::Spec,
    ..BUILT_IN
};
/// `autoscaling/v2` HorizontalPodAutoscaler.
pub static HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    kind: "HorizontalPodAutoscaler",
    short: &["hpa"],
    categories: &["all"],
    status: true,
    ..BUILT_IN
};
/// `coordination.k8s.io/v1` Lease.
pub static LEASE: Kind =
    Kind { group: "coordination.k8s.io", plural: "leases", singular: "lease", kind: "Lease", ..BUILT_IN };
/// `authorization.k8s.io/v1` SelfSubjectAccessReview.
pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    kind: "SelfSubjectAccessReview",
    namespaced: false,
    verbs: Verbs::Review,
    ..BUILT_IN
};
/// `authorization.k8s.io/v1` SelfSubjectRulesReview.
pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    kind: "SelfSubjectRulesReview",
    namespaced: false,
    verbs: Verbs::Review,
    ..BUILT_IN
};
/// `authorization.k8s.io/v1` SubjectAccessReview.
pub static SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    kind: "SubjectAccessReview",
    namespaced: false,
    verbs: Verbs::Review,
    ..BUILT_IN
};
/// `apiextensions.k8s.io/v1` CustomResourceDefinition, one an entry of [`ALL`] that is custom.
pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    group: "apiextensions.k8s.io",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    kind: "CustomResourceDefinition",
    short: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    status: true,
    generation: Generation::Spec,
    verbs: Verbs::Read,
    ..BUILT_IN
};
/// `argoproj.io/v1alpha1` Rollout.
pub static ROLLOUT: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "rollouts",
    singular: "rollout",
    kind: "Rollout",
    short: &["ro"],
    status: true,
    scale: true,
    columns: &[
        column("Desired", "integer", ".spec.replicas"),
        column("Current", "integer", ".status.replicas"),
        column("Up-to-date", "integer", ".status.updatedReplicas"),
        column("Available", "integer", ".status.availableReplicas"),
        AGE,
    ],
    ..CUSTOM
};
/// `argoproj.io/v1alpha1` AnalysisTemplate.
pub static ANALYSIS_TEMPLATE: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "analysistemplates",
    singular: "analysistemplate",
    kind: "AnalysisTemplate",
    short: &["at"],
    columns: &[AGE],
    ..CUSTOM
};
/// `argoproj.io/v1alpha1` ClusterAnalysisTemplate.
pub static CLUSTER_ANALYSIS_TEMPLATE: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "clusteranalysistemplates",
    singular: "clusteranalysistemplate",
    kind: "ClusterAnalysisTemplate",
    short: &["cat"],
    namespaced: false,
    columns: &[AGE],
    ..CUSTOM
};
/// `argoproj.io/v1alpha1` AnalysisRun. Its definition has no status subresource.
pub static ANALYSIS_RUN: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "analysisruns",
    singular: "analysisrun",
    kind: "AnalysisRun",
    short: &["ar"],
    columns: &[column("Status", "string", ".status.phase"), AGE],
    ..CUSTOM
};
/// `argoproj.io/v1alpha1` Experiment. Its definition has no status subresource.
pub static EXPERIMENT: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "experiments",
    singular: "experiment",
    kind: "Experiment",
    short: &["exp"],
    columns: &[column("Status", "string", ".status.phase"), AGE],
    ..CUSTOM
};
/// `argoproj.io/v1alpha1` Application (Argo CD). Its definition has no status subresource.
pub static APPLICATION: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    plural: "applications",
    singular: "application",
    kind: "Application",
    short: &["app", "apps"],
    columns: &[
        column("Sync Status", "string", ".status.sync.status"),
        column("Health Status", "string", ".status.health.status"),
        wide("Revision", "string", ".status.sync.revision"),
        wide("Project", "string", ".spec.project"),
    ],
    ..CUSTOM
};
/// `core.openfeature.dev/v1beta1` FeatureFlag.
pub static FEATURE_FLAG: Kind = Kind {
    group: "core.openfeature.dev",
    version: "v1beta1",
    plural: "featureflags",
    singular: "featureflag",
    kind: "FeatureFlag",
    short: &["ff"],
    status: true,
    columns: &[AGE],
    ..CUSTOM
};
/// `flagger.app/v1beta1` Canary.
pub static CANARY: Kind = Kind {
    group: "flagger.app",
    version: "v1beta1",
    plural: "canaries",
    singular: "canary",
    kind: "Canary",
    short: &["cd"],
    categories: &["all"],
    status: true,
    columns: &[
        column("Status", "string", ".status.phase"),
        column("Weight", "string", ".status.canaryWeight"),
        wide("Suspended", "boolean", ".spec.suspend"),
        wide("FailedChecks", "string", ".status.failedChecks"),
        wide("Interval", "string", ".spec.analysis.interval"),
        wide("StepWeight", "string", ".spec.analysis.stepWeight"),
        wide("MaxWeight", "string", ".spec.analysis.maxWeight"),
        column("LastTransitionTime", "string", ".status.lastTransitionTime"),
    ],
    ..CUSTOM
};
/// `releases.footplate.dev/v1alpha1` Release.
pub static RELEASE: Kind = Kind {
    group: "releases.footplate.dev",
    version: "v1alpha1",
    plural: "releases",
    singular: "release",
    kind: "Release",
    short: &["rel"],
    status: true,
    columns: &[
        column("Phase", "string", ".status.phase"),
        column("Wave", "integer", ".status.wave"),
        column("Result", "string", ".status.result"),
        AGE,
    ],
    ..CUSTOM
};

/// Every served kind.
pub static ALL: &[&Kind] = &[
    &NAMESPACE,
    &NODE,
    &SERVICE,
    &CONFIG_MAP,
    &SECRET,
    &POD,
    &EVENT,
    &DEPLOYMENT,
    &REPLICA_SET,
    &EVENTS_EVENT,
    &JOB,
    &INGRESS,
    &POD_DISRUPTION_BUDGET,
    &HORIZONTAL_POD_AUTOSCALER,
    &LEASE,
    &SELF_SUBJECT_ACCESS_REVIEW,
    &SELF_SUBJECT_RULES_REVIEW,
    &SUBJECT_ACCESS_REVIEW,
    &CUSTOM_RESOURCE_DEFINITION,
    &ROLLOUT,
    &ANALYSIS_TEMPLATE,
    &CLUSTER_ANALYSIS_TEMPLATE,
    &ANALYSIS_RUN,
    &EXPERIMENT,
    &APPLICATION,
    &FEATURE_FLAG,
    &CANARY,
    &RELEASE,
];

//! `services/<name>/service.yaml`: what a service needs, offers, and is judged by (design.md §3).

use super::reader::{Reader, short};
use super::yaml::Node;
use crate::core::finding::{At, FileId, Findings, Place, Sources};
use crate::core::image;
pub use crate::core::slo::{CHECKS_MAX, GateBy, Slo, SyntheticCheck};
use crate::core::text::{Text, is_hostile};
use crate::text;

/// A service, as its team describes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    /// Its name; the folder's name too.
    pub name: Text,
    /// The file.
    pub file: FileId,
    /// Where the name stands.
    pub place: Place,
    /// Services that must go before it.
    pub depends_on: Vec<At<Text>>,
    /// Contracts it exposes.
    pub exposes: Vec<At<Text>>,
    /// Contracts it consumes.
    pub consumes: Vec<At<Text>>,
    /// Kind of its workload, where written.
    pub workload: Option<WorkloadKind>,
    /// Name of its workload; the service's name where not written.
    pub workload_name: Text,
    /// The container whose image is pinned; none means the only one.
    pub container: Option<Text>,
    /// The image without tag and digest.
    pub image: Option<Text>,
    /// The namespace, where written; must match the environment's.
    pub namespace: Option<At<Text>>,
    /// Service level objectives.
    pub slo: Slo,
    /// What its gate goes by.
    pub gate: GateBy,
    /// PromQL of its lag (`gate: health`).
    pub lag: Option<Text>,
    /// Greatest lag that is healthy.
    pub max_lag: Option<f64>,
    /// Where the edge key stands, when the service faces users and goes last.
    pub edge: Option<Place>,
    /// Flags whose ramp it is watched for.
    pub flags: Vec<At<Text>>,
    /// Configuration files it owns, below `config/`.
    pub configs: Vec<At<Text>>,
    /// Path of its health endpoint.
    pub health: Option<Text>,
    /// Addresses that must answer while it bakes and while a flag of it moves.
    pub checks: Vec<SyntheticCheck>,
}

/// Kinds of workload that a train can move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkloadKind {
    /// Argo Rollouts.
    Rollout,
    /// Flagger.
    Canary,
    /// Plain Deployment.
    Deployment,
}

/// Reads a service file that lies in the folder of this name. What could be read is given even when findings are errors; none when nothing could.
pub fn read(sources: &Sources, file: FileId, folder: &str) -> (Option<Service>, Findings) {
    let mut reader = Reader::new(sources, file);
    let service = reader.tree().and_then(|node| service(&mut reader, &node, file, folder));
    let findings = reader.finish();
    (service, findings)
}

const KEYS: [&str; 16] = [
    "name",
    "dependsOn",
    "exposesContracts",
    "consumesContracts",
    "workload",
    "image",
    "namespace",
    "slo",
    "gate",
    "lag",
    "maxLag",
    "edge",
    "flags",
    "configs",
    "health",
    "checks",
];

fn service(r: &mut Reader<'_>, node: &Node<'_>, file: FileId, folder: &str) -> Option<Service> {
    let top = r.fields(node, "the service", &KEYS)?;
    let label = |r: &mut Reader<'_>, raw: &str, span| r.label(raw, span, "the service name");
    let contract = |r: &mut Reader<'_>, raw: &str, span| r.name(raw, span, "the contract", 253);
    let flag = |r: &mut Reader<'_>, raw: &str, span| r.name(raw, span, "the flag", 253);
    let named = r.required(&top, "the service", "name", &format!("write `name: {}`", short(folder)));
    let name = named.and_then(|n| {
        let raw = r.scalar(n, "name")?;
        let name = r.label(raw, n.span, "the service name")?;
        if raw != folder {
            let message = text!("the service is called `{name}`, its folder `{}`", short(folder));
            r.error(n.span, message, "give both the same name");
        }
        Some(At { value: name, place: r.place(n.span) })
    });
    let depends_on = top.get("dependsOn").map(|n| r.names(n, "dependsOn", label)).unwrap_or_default();
    let exposes = top.get("exposesContracts").map(|n| r.names(n, "exposesContracts", contract)).unwrap_or_default();
    let consumes = top.get("consumesContracts").map(|n| r.names(n, "consumesContracts", contract)).unwrap_or_default();
    let flags = top.get("flags").map(|n| r.names(n, "flags", flag)).unwrap_or_default();
    let configs = top.get("configs").map(|n| configs(r, n)).unwrap_or_default();
    let (mut workload, mut workload_name, mut container) = (None, None, None);
    if let Some(w) = top.get("workload").and_then(|n| r.fields(n, "workload", &["kind", "name", "container"])) {
        let kinds = [
            ("Rollout", WorkloadKind::Rollout),
            ("Canary", WorkloadKind::Canary),
            ("Deployment", WorkloadKind::Deployment),
        ];
        workload = w.get("kind").and_then(|n| r.word(n, "kind", &kinds));
        let mut labelled = |key: &str, what: &str| {
            let n = w.get(key)?;
            let raw = r.scalar(n, what)?;
            r.label(raw, n.span, what)
        };
        workload_name = labelled("name", "the workload name");
        container = labelled("container", "the container name");
    }
    let namespace = top.get("namespace").and_then(|n| {
        let raw = r.scalar(n, "namespace")?;
        let value = r.label(raw, n.span, "namespace")?;
        Some(At { value, place: r.place(n.span) })
    });
    let image = top.get("image").and_then(|n| image_name(r, n));
    let slo = top.get("slo").map(|n| slo(r, n)).unwrap_or_default();
    let gates = [("metrics", GateBy::Metrics), ("health", GateBy::Health)];
    let gate = top.get("gate").and_then(|n| r.word(n, "gate", &gates)).unwrap_or(GateBy::Metrics);
    let lag = top.get("lag").and_then(|n| r.line(n, "lag"));
    let max_lag = top.get("maxLag").and_then(|n| r.number(n, "maxLag", 0.0, f64::MAX));
    for (key, other) in [("lag", "maxLag"), ("maxLag", "lag")] {
        if let (Some(n), None) = (top.get(key), top.get(other)) {
            r.error(n.span, text!("{key} is there without {other}"), "write both, or neither");
        }
    }
    if let (Some(n), GateBy::Metrics) = (top.get("lag"), gate) {
        r.warn(n.span, "lag counts only with `gate: health`".into(), "add `gate: health`, or remove lag and maxLag");
    }
    let edge = top.get("edge").and_then(|n| r.boolean(n, "edge")?.then(|| r.place(n.span)));
    let health = top.get("health").and_then(|n| {
        let path = r.line(n, "health")?;
        let good = path.starts_with('/') && !path.contains(char::is_whitespace);
        if !good {
            r.error(n.span, text!("health `{}` is not a path", short(&path)), "write it like /readyz");
        }
        good.then_some(path)
    });
    let checks = top.get("checks").map(|n| checks(r, n)).unwrap_or_default();
    let name = name?;
    Some(Service {
        workload_name: workload_name.unwrap_or_else(|| name.value.clone()),
        name: name.value,
        file,
        place: name.place,
        depends_on,
        exposes,
        consumes,
        workload,
        container,
        image,
        namespace,
        slo,
        gate,
        lag,
        max_lag,
        edge,
        flags,
        configs,
        health,
        checks,
    })
}

fn slo(r: &mut Reader<'_>, node: &Node<'_>) -> Slo {
    let Some(slo) = r.fields(node, "slo", &["errorRate", "p95", "p99", "max5xxPerSecond"]) else {
        return Slo::default();
    };
    let error_rate = slo.get("errorRate").and_then(|n| r.number(n, "errorRate", 0.0, 1.0));
    let p95_ms = slo.get("p95").and_then(|n| r.duration_ms(n, "p95"));
    let p99_ms = slo.get("p99").and_then(|n| r.duration_ms(n, "p99"));
    let max_5xx_per_second = slo.get("max5xxPerSecond").and_then(|n| r.number(n, "max5xxPerSecond", 0.0, f64::MAX));
    if let (Some(p95), Some(p99), Some(n)) = (p95_ms, p99_ms, slo.get("p99"))
        && p99 < p95
    {
        r.error(n.span, "p99 is shorter than p95".into(), "exchange them, or correct one");
    }
    Slo { error_rate, p95_ms, p99_ms, max_5xx_per_second }
}

/// Synthetic checks; a failing one is known by its name.
fn checks(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<SyntheticCheck> {
    let mut out: Vec<SyntheticCheck> = Vec::new();
    for item in r.list(node, "checks") {
        let Some(check) = r.fields(item, "a check", &["name", "http", "status"]) else { continue };
        let named = r.required(&check, "a check", "name", "write `name: smoke`");
        let name = named.and_then(|n| {
            let raw = r.scalar(n, "name")?;
            let name = r.label(raw, n.span, "the check name")?;
            if out.iter().any(|c| c.name == name) {
                r.error(n.span, text!("check `{name}` is there twice"), "rename one of them");
            }
            Some(name)
        });
        let http = r.required(&check, "a check", "http", "write `http: https://billing.example/smoke`");
        let http = http.and_then(|n| r.address(n, "http"));
        let status = check.get("status").and_then(|n| {
            let status = r.number(n, "status", 100.0, 599.0)?;
            if status.fract() > 0.0 {
                r.error(n.span, text!("status {status} is not one of HTTP's"), "write it like `status: 204`");
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 100 to 599")]
            Some(status as u16)
        });
        let (Some(name), Some(http)) = (name, http) else { continue };
        out.push(SyntheticCheck { name, http, status });
    }
    if out.len() > CHECKS_MAX {
        r.error(node.span, text!("{} checks, and at most {CHECKS_MAX} are made", out.len()), "leave the best ones");
        out.truncate(CHECKS_MAX);
    }
    out
}

/// Files a service owns; two with the same base name cannot lie in one ConfigMap (`train.md` §1).
fn configs(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<At<Text>> {
    let list = r.names(node, "configs", |r, raw, span| r.path(raw, span, "the config file"));
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    for (n, file) in list.iter().enumerate() {
        if let Some(first) = list[..n].iter().find(|f| base(&f.value) == base(&file.value)) {
            let span = |at: &At<Text>| (at.place.start, at.place.end);
            let message = text!("`{}` and `{}` have the same base name", first.value, file.value);
            r.error_also(span(file), message, "rename one of them", ("the first".into(), span(first)));
        }
    }
    list
}

/// An image reference without tag and digest: those come from the release.
fn image_name(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Text> {
    let raw = r.scalar(node, "image")?;
    let parts = image::parse(raw);
    if parts.repository.len() < raw.len() {
        let message = text!("image `{}` carries its own tag or digest", short(raw));
        r.error(node.span, message, text!("write {}; the release pins the version", short(parts.repository)));
        return None;
    }
    let good = !raw.is_empty()
        && raw.len() <= 255
        && !raw.chars().any(|c| c.is_whitespace() || is_hostile(c))
        && raw.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':'))
        && !raw.split('/').any(str::is_empty);
    if !good {
        let message = text!("image `{}` is not an image name", short(raw));
        r.error(node.span, message, "write it like registry.example/payments/accounts-api");
    }
    good.then(|| Text::scrub(raw))
}

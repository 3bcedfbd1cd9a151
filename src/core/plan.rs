//! The plan of a release: waves, edges, flags and warnings, from a checked repository. Its formats live one a file in
//! `plan/`; nothing here knows a cluster.

pub mod dot;
pub mod json;
pub mod mermaid;
pub mod svg;
pub mod table;

use super::manifest::{FlagValue, GateBy};
use super::repository::Repository;
use super::text::Text;
use crate::text;

/// What a train of this release would do, and in which order.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Name of the release.
    pub release: Text,
    /// SHA-256 of the manifest, lower-case hex.
    pub manifest_sha256: Text,
    /// The waves, in order; the expand wave, if any, is the first.
    pub waves: Vec<Wave>,
    /// What goes before what, by name.
    pub edges: Vec<PlanEdge>,
    /// The pairs `(from, to)` that a picture needs: without those that follow from others.
    pub drawn: Vec<(Text, Text)>,
    /// Flags and their value at the end.
    pub flags: Vec<(Text, FlagValue)>,
    /// What a captain should know before.
    pub warnings: Vec<Text>,
}

/// One wave.
#[derive(Clone, PartialEq, Debug)]
pub struct Wave {
    /// What happens in it.
    pub kind: WaveKind,
    /// Expand steps: name and path. Only in an expand wave.
    pub migrations: Vec<(Text, Text)>,
    /// Services, by name.
    pub services: Vec<PlanService>,
}

/// What happens in a wave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaveKind {
    /// Database expand steps.
    Expand,
    /// Services.
    Services,
    /// Services that face users.
    Edge,
}

impl WaveKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Services => "services",
            Self::Edge => "edge",
        }
    }
}

/// A service in a wave.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanService {
    /// Its name.
    pub name: Text,
    /// The pinned version.
    pub version: Text,
    /// The pinned digest.
    pub digest: Option<Text>,
    /// Services of the release that must go before it, by name.
    pub depends_on: Vec<Text>,
    /// The kube context it runs in, where an environment was named.
    pub cluster: Option<Text>,
}

/// `from` goes before `to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanEdge {
    /// Goes first.
    pub from: Text,
    /// Goes later.
    pub to: Text,
    /// `dependsOn`, `contract:NAME`, `edge-last` or `through:NAME`.
    pub why: Text,
}

/// Makes the plan.
pub fn plan(repository: &Repository) -> Plan {
    let Repository { release, graph, services, .. } = repository;
    let cluster = repository.environment.as_ref().map(|e| e.context.clone());
    let before = graph.before();
    let mut waves: Vec<Wave> = Vec::new();
    if !release.migrations.is_empty() {
        let migrations = release.migrations.iter().map(|m| (m.name.clone(), m.path.value.clone())).collect();
        waves.push(Wave { kind: WaveKind::Expand, migrations, services: Vec::new() });
    }
    let first = waves.len();
    for _ in 0..graph.waves {
        waves.push(Wave { kind: WaveKind::Services, migrations: Vec::new(), services: Vec::new() });
    }
    let mut warnings: Vec<Text> = repository.warnings.iter().map(warning).collect();
    for (stop, depends_on) in graph.services.iter().zip(before) {
        let pin = &release.services[stop.pin];
        let wave = &mut waves[first + stop.wave as usize];
        if stop.edge {
            wave.kind = WaveKind::Edge;
        }
        wave.services.push(PlanService {
            name: stop.name.clone(),
            version: text!("{}", pin.version),
            digest: pin.digest.clone(),
            depends_on,
            cluster: cluster.clone(),
        });
        let service = &services[stop.service];
        let slo = &service.slo;
        if service.gate == GateBy::Health {
            warnings.push(text!("{}: no metric gate; its pods and lag alone decide", stop.name));
        } else if slo.error_rate.is_none() && slo.p95_ms.is_none() && slo.p99_ms.is_none() {
            warnings.push(text!("{}: no SLO; its gate has no limits of its own", stop.name));
        }
    }
    let name = |n: u32| graph.services[n as usize].name.clone();
    let edges = graph.edges.iter();
    let edges = edges.map(|e| PlanEdge { from: name(e.from), to: name(e.to), why: text!("{}", e.why) }).collect();
    let drawn = graph.reduced().into_iter().map(|(from, to)| (name(from), name(to))).collect();
    let flags = release.flags.iter().map(|f| (f.key.value.clone(), f.value.clone())).collect();
    Plan {
        release: release.name.clone(),
        manifest_sha256: repository.manifest_sha256.clone(),
        waves,
        edges,
        drawn,
        flags,
        warnings,
    }
}

fn warning(finding: &super::finding::Finding) -> Text {
    match &finding.spot {
        Some(spot) => text!("{spot}: {}", finding.message),
        None => text!("{}: {}", finding.file, finding.message),
    }
}

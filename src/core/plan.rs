//! The plan of a release: waves, edges, flags and warnings, from a checked repository. Its formats live one a file in
//! `plan/`; nothing here knows a cluster.

pub mod dot;
pub mod json;
pub mod mermaid;
pub mod svg;
pub mod table;

use super::graph::{Graph, Why};
use super::manifest::GateBy;
use super::manifest::release::{FlagGoal, MigrationStep};
use super::repository::Repository;
use super::text::Text;
use crate::text;

/// What a train of this release would do, and in which order.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan<'r> {
    /// Name of the release.
    pub release: &'r Text,
    /// SHA-256 of the manifest, lower-case hex.
    pub manifest_sha256: &'r Text,
    /// The waves, in order; the expand wave, if any, is the first.
    pub waves: Vec<Wave<'r>>,
    /// What goes before what.
    pub graph: &'r Graph,
    /// Flags and their value at the end.
    pub flags: &'r [FlagGoal],
    /// What a captain should know before.
    pub warnings: Vec<Text>,
}

/// One wave.
#[derive(Clone, PartialEq, Debug)]
pub struct Wave<'r> {
    /// What happens in it.
    pub kind: WaveKind,
    /// Expand steps: name and path. Only in an expand wave.
    pub migrations: &'r [MigrationStep],
    /// Services, by name.
    pub services: Vec<PlanService<'r>>,
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
pub struct PlanService<'r> {
    /// Its name.
    pub name: &'r Text,
    /// The pinned version.
    pub version: Text,
    /// The pinned digest.
    pub digest: Option<&'r Text>,
    /// Services of the release that must go before it, by name.
    pub depends_on: Vec<&'r Text>,
    /// The kube context it runs in, where an environment was named.
    pub cluster: Option<&'r Text>,
}

impl Plan<'_> {
    /// What goes before what and why, by name, in a stable order.
    pub fn edges(&self) -> impl Iterator<Item = (&Text, &Text, &Why)> {
        self.graph.edges.iter().map(|edge| (self.name(edge.from), self.name(edge.to), &edge.why))
    }

    /// The pairs `(from, to)` that a picture needs: without those that follow from others.
    pub fn drawn(&self) -> Vec<(&Text, &Text)> {
        self.graph.reduced().into_iter().map(|(from, to)| (self.name(from), self.name(to))).collect()
    }

    fn name(&self, stop: u32) -> &Text {
        &self.graph.services[stop as usize].name
    }
}

/// Makes the plan.
pub fn plan(repository: &Repository) -> Plan<'_> {
    let Repository { release, graph, services, .. } = repository;
    let cluster = repository.environment.as_ref().map(|e| &e.context);
    let before = graph.before();
    let mut waves: Vec<Wave<'_>> = Vec::new();
    if !release.migrations.is_empty() {
        waves.push(Wave { kind: WaveKind::Expand, migrations: &release.migrations, services: Vec::new() });
    }
    let first = waves.len();
    for _ in 0..graph.waves {
        waves.push(Wave { kind: WaveKind::Services, migrations: &[], services: Vec::new() });
    }
    let mut warnings: Vec<Text> = repository.warnings.iter().map(warning).collect();
    for (stop, depends_on) in graph.services.iter().zip(before) {
        let pin = &release.services[stop.pin];
        let wave = &mut waves[first + stop.wave as usize];
        if stop.edge {
            wave.kind = WaveKind::Edge;
        }
        wave.services.push(PlanService {
            name: &stop.name,
            version: text!("{}", pin.version),
            digest: pin.digest.as_ref(),
            depends_on,
            cluster,
        });
        let service = &services[stop.service];
        let slo = &service.slo;
        if service.gate == GateBy::Health {
            warnings.push(text!("{}: no metric gate; its pods and lag alone decide", stop.name));
        } else if slo.error_rate.is_none() && slo.p95_ms.is_none() && slo.p99_ms.is_none() {
            warnings.push(text!("{}: no SLO; its gate has no limits of its own", stop.name));
        }
    }
    Plan {
        release: &release.name,
        manifest_sha256: &repository.manifest_sha256,
        waves,
        graph,
        flags: &release.flags,
        warnings,
    }
}

fn warning(finding: &super::finding::Finding) -> Text {
    match &finding.spot {
        Some(spot) => text!("{spot}: {}", finding.message),
        None => text!("{}: {}", finding.file, finding.message),
    }
}

//! The dependency graph of a release: which service goes before which and why, cycles, and the waves that follow
//! (design.md §3). Files are known here only as places to point at; drawing is `layout`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::finding::{At, Finding, Findings, Place, Sources};
use super::manifest::reader::nearest;
use super::manifest::{Release, Service};
use super::text::Text;
use crate::text;

/// Unknown names for which a near one is looked up; comparing with ten thousand names costs about a millisecond.
const SUGGESTIONS_MAX: usize = 20;

/// Why one service goes before another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// `dependsOn`.
    DependsOn,
    /// It exposes a contract that the other consumes.
    Contract(Text),
    /// The other faces users and goes last.
    EdgeLast,
    /// Through a dependency that is not in this release; only where no other edges say the same.
    Through(Text),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DependsOn => f.write_str("dependsOn"),
            Self::Contract(name) => write!(f, "contract:{name}"),
            Self::EdgeLast => f.write_str("edge-last"),
            Self::Through(name) => write!(f, "through:{name}"),
        }
    }
}

/// `from` goes before `to`; both are indices into [`Graph::services`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// Goes first.
    pub from: u32,
    /// Goes later.
    pub to: u32,
    /// Why.
    pub why: Why,
}

/// One service of the release in the graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Its name.
    pub name: Text,
    /// Index into the services that the graph was built from.
    pub service: usize,
    /// Index into the pins of the release.
    pub pin: usize,
    /// True when it faces users.
    pub edge: bool,
    /// Its wave among the waves of services, from 0; an expand wave comes before and is not counted here.
    pub wave: u32,
}

/// The services of a release, what goes before what, and the wave of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    /// Services of the release, by name.
    pub services: Vec<Stop>,
    /// All edges, by the names of `from` and `to`, then by why.
    pub edges: Vec<Edge>,
    /// How many waves of services there are.
    pub waves: u32,
}

/// An edge as written in a file.
struct Direct {
    from: usize,
    to: usize,
    why: Why,
    place: Place,
}

/// The graph of everything that service files say, by index into the services.
struct Whole<'s> {
    services: &'s [Service],
    by_name: BTreeMap<&'s str, usize>,
    direct: Vec<Direct>,
}

/// Builds the graph of a release. `services_dir` is the path to print for a service file that is missing. None when an
/// error was found.
pub fn build(
    sources: &Sources,
    services: &[Service],
    release: &Release,
    services_dir: &str,
) -> (Option<Graph>, Findings) {
    let mut findings = Findings::default();
    let whole = read_edges(sources, services, services_dir, &mut findings);
    let order = find_cycles(sources, &whole, &mut findings);
    let known = whole.by_name.keys().copied().collect();
    findings.append(strangers(sources, &known, release, services_dir));
    let mut pins = vec![None; services.len()];
    for (n, pin) in release.services.iter().enumerate() {
        if let Some(service) = whole.by_name.get(&*pin.name) {
            pins[*service] = Some(n);
        }
    }
    match order {
        Some(order) if !findings.any_error() => (Some(release_graph(&whole, &order, &pins)), findings),
        _ => (None, findings),
    }
}

/// Services of the release that no service file names; `known` are those that one does.
pub fn strangers(sources: &Sources, known: &BTreeSet<&str>, release: &Release, services_dir: &str) -> Findings {
    let mut findings = Findings::default();
    let mut suggestions = 0;
    for pin in release.services.iter().filter(|pin| !known.contains(&*pin.name)) {
        let at = At { value: pin.name.clone(), place: pin.place };
        unknown_service(sources, known, &at, services_dir, &mut suggestions, &mut findings);
    }
    findings
}

fn unknown_service(
    sources: &Sources,
    known: &BTreeSet<&str>,
    name: &At<Text>,
    services_dir: &str,
    suggestions: &mut usize,
    findings: &mut Findings,
) {
    *suggestions += 1;
    let near = if *suggestions <= SUGGESTIONS_MAX { nearest(&name.value, known.iter().copied()) } else { None };
    let fix = match near {
        Some(near) => text!("did you mean `{near}`? Otherwise write {services_dir}/{}/service.yaml", name.value),
        None => text!("write {services_dir}/{}/service.yaml", name.value),
    };
    findings.error(sources, name.place, text!("no service.yaml names the service `{}`", name.value), fix);
}

fn read_edges<'s>(
    sources: &Sources,
    services: &'s [Service],
    services_dir: &str,
    findings: &mut Findings,
) -> Whole<'s> {
    let mut by_name = BTreeMap::new();
    let mut exposers: BTreeMap<&str, (usize, Place)> = BTreeMap::new();
    for (n, service) in services.iter().enumerate() {
        by_name.insert(&*service.name, n);
        for contract in &service.exposes {
            if let Some((other, first)) = exposers.get(&*contract.value) {
                let message = text!("contract `{}` is exposed twice", contract.value);
                let fix = text!("let {} or {} expose it, under one name", services[*other].name, service.name);
                findings.error_also(sources, contract.place, message, fix, ("first here".into(), *first));
            } else {
                exposers.insert(&contract.value, (n, contract.place));
            }
        }
    }
    let names: BTreeSet<&str> = by_name.keys().copied().collect();
    let mut direct = Vec::new();
    let mut suggestions = 0;
    for (to, service) in services.iter().enumerate() {
        let mut add = |from: usize, why: Why, place: Place, findings: &mut Findings| {
            let (first, name) = (&services[from], &service.name);
            if from == to {
                let message = text!("{name} depends on itself ({why})");
                return findings.error(sources, place, message, "remove it");
            }
            if let (Some(edge), None) = (first.edge, service.edge) {
                let message = text!("{name} is no edge service but depends on one, {} ({why})", first.name);
                let fix = text!("edge services go last: remove the dependency, or mark {name} `edge: true` too");
                findings.error_also(sources, place, message, fix, (text!("{} faces users", first.name), edge));
            }
            direct.push(Direct { from, to, why, place });
        };
        for dependency in &service.depends_on {
            match by_name.get(&*dependency.value) {
                Some(from) => add(*from, Why::DependsOn, dependency.place, findings),
                None => {
                    unknown_service(sources, &names, dependency, services_dir, &mut suggestions, findings);
                }
            }
        }
        for contract in &service.consumes {
            match exposers.get(&*contract.value) {
                Some((from, _)) => add(*from, Why::Contract(contract.value.clone()), contract.place, findings),
                None => {
                    suggestions += 1;
                    let known = exposers.keys().copied();
                    let near = if suggestions <= SUGGESTIONS_MAX { nearest(&contract.value, known) } else { None };
                    let write = text!("add it to exposesContracts in {services_dir}/<its service>/service.yaml");
                    let fix = near.map_or(write.clone(), |near| text!("did you mean `{near}`? Otherwise {write}"));
                    let message = text!("no service.yaml exposes the contract `{}`", contract.value);
                    findings.error(sources, contract.place, message, fix);
                }
            }
        }
    }
    Whole { services, by_name, direct }
}

/// The services in an order in which each comes after all it depends on; none when there is a cycle, which is told.
fn find_cycles(sources: &Sources, whole: &Whole<'_>, findings: &mut Findings) -> Option<Vec<usize>> {
    let mut graph: DiGraph<(), usize> = DiGraph::with_capacity(whole.services.len(), whole.direct.len());
    for _ in whole.services {
        graph.add_node(());
    }
    for (n, edge) in whole.direct.iter().enumerate() {
        graph.add_edge(NodeIndex::new(edge.from), NodeIndex::new(edge.to), n);
    }
    if let Ok(order) = toposort(&graph, None) {
        return Some(order.into_iter().map(NodeIndex::index).collect());
    }
    let mut groups: Vec<Vec<usize>> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|group| group.len() > 1)
        .map(|group| group.into_iter().map(NodeIndex::index).collect())
        .collect();
    let name = |n: usize| &whole.services[n].name;
    for group in &mut groups {
        group.sort_by_key(|n| name(*n));
    }
    groups.sort_by_key(|group| name(group[0]));
    for group in groups {
        let cycle = shortest_cycle(&graph, group[0], &group);
        let path: Vec<&str> = cycle.iter().map(|n| &**name(whole.direct[*n].to)).rev().collect();
        let Some((first, rest)) = cycle.split_last() else { continue };
        let place = whole.direct[*first].place;
        let message = text!("services depend on each other in a circle: {} → {}", path.join(" → "), path[0]);
        let fix = "remove one of these edges";
        let mut finding = Finding::error(sources, place, message, fix.into());
        for n in rest.iter().rev() {
            let edge = &whole.direct[*n];
            let what = text!("{} needs {} ({})", name(edge.to), name(edge.from), edge.why);
            finding = finding.and(sources, edge.place, what);
        }
        findings.push(finding);
    }
    None
}

/// The edges of a shortest cycle through `start`, in the order of walking from it; all inside its group.
fn shortest_cycle(graph: &DiGraph<(), usize>, start: usize, group: &[usize]) -> Vec<usize> {
    let mut inside = vec![false; graph.node_count()];
    for n in group {
        inside[*n] = true;
    }
    let mut came: Vec<Option<(usize, usize)>> = vec![None; graph.node_count()];
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        let mut out: Vec<(usize, usize)> =
            graph.edges(NodeIndex::new(at)).map(|e| (*e.weight(), e.target().index())).collect();
        out.sort_unstable();
        for (edge, next) in out {
            if inside[next] && came[next].is_none() {
                came[next] = Some((at, edge));
                queue.push_back(next);
            }
        }
    }
    let mut path = Vec::new();
    let mut at = start;
    while let Some((from, edge)) = came[at] {
        path.push(edge);
        at = from;
        if at == start {
            break;
        }
    }
    path.reverse();
    path
}

/// A set of services of the release, one bit each.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn set(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    fn has(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }
}

/// Keeps what is in the release, and the order that holds through what is not.
fn release_graph(whole: &Whole<'_>, order: &[usize], pins: &[Option<usize>]) -> Graph {
    let mut services = Vec::new();
    let mut stop_of = vec![None; whole.services.len()];
    for (name, service) in &whole.by_name {
        if let Some(pin) = pins[*service] {
            stop_of[*service] = Some(services.len());
            let edge = whole.services[*service].edge.is_some();
            services.push(Stop { name: (*name).into(), service: *service, pin, edge, wave: 0 });
        }
    }
    let mut needs: Vec<Vec<usize>> = vec![Vec::new(); whole.services.len()];
    for (n, edge) in whole.direct.iter().enumerate() {
        needs[edge.to].push(n);
    }
    let mut position = vec![0; whole.services.len()];
    for (n, at) in order.iter().enumerate() {
        position[*at] = n;
    }
    // What an unreleased service stands in for: the released ones that it needs through unreleased ones alone, without
    // those that must go before another of them anyway. As indices into `services`.
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); whole.services.len()];
    // All that must go before a released service.
    let mut before: Vec<Bits> = vec![Bits(Vec::new()); services.len()];
    let mut edges = Vec::new();
    let index = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    for at in order {
        let mut known = Bits::new(services.len());
        let mut through: Vec<(usize, &Text)> = Vec::new();
        for edge in needs[*at].iter().map(|n| &whole.direct[*n]) {
            let by = &whole.services[edge.from].name;
            match (stop_of[edge.from], stop_of[*at]) {
                (Some(from), Some(to)) => {
                    edges.push(Edge { from: index(from), to: index(to), why: edge.why.clone() });
                    known.set(from);
                    known.join(&before[from]);
                }
                (Some(from), None) => through.push((from, by)),
                (None, _) => through.extend(behind[edge.from].iter().map(|from| (*from, by))),
            }
        }
        // Latest first, so that each is seen after those which it must go before; of two ways, the first by name.
        through.sort_by_key(|(from, by)| (std::cmp::Reverse(position[services[*from].service]), *by));
        through.retain(|(from, _)| {
            let fresh = !known.has(*from);
            if fresh {
                known.set(*from);
                known.join(&before[*from]);
            }
            fresh
        });
        match stop_of[*at] {
            None => behind[*at] = through.into_iter().map(|(from, _)| from).collect(),
            Some(to) => {
                edges.extend(through.into_iter().map(|(from, by)| Edge {
                    from: index(from),
                    to: index(to),
                    why: Why::Through(by.clone()),
                }));
                before[to] = known;
            }
        }
    }
    edge_last(&services, &mut edges);
    edges.sort_unstable();
    let waves = assign_waves(&mut services, &edges);
    Graph { services, edges, waves }
}

/// Edge services come after all others: it is enough that those edge services which wait for no other edge service wait
/// for those plain services which no other plain service waits for.
fn edge_last(services: &[Stop], edges: &mut Vec<Edge>) {
    let mut last: Vec<bool> = services.iter().map(|s| !s.edge).collect();
    let mut first: Vec<bool> = services.iter().map(|s| s.edge).collect();
    let mut have: BTreeSet<(u32, u32)> = BTreeSet::new();
    for edge in edges.iter() {
        let (from, to) = (&services[edge.from as usize], &services[edge.to as usize]);
        match (from.edge, to.edge) {
            (false, false) => last[edge.from as usize] = false,
            (true, true) => first[edge.to as usize] = false,
            (false, true) => {
                have.insert((edge.from, edge.to));
            }
            (true, false) => {}
        }
    }
    let pick = |of: &[bool]| -> Vec<u32> { (0u32..).zip(of).filter(|(_, yes)| **yes).map(|(n, _)| n).collect() };
    let (last, first) = (pick(&last), pick(&first));
    for to in &first {
        for from in last.iter().filter(|from| !have.contains(&(**from, *to))) {
            edges.push(Edge { from: *from, to: *to, why: Why::EdgeLast });
        }
    }
}

/// Puts every service in the earliest wave that its edges allow; answers how many waves there are.
fn assign_waves(services: &mut [Stop], edges: &[Edge]) -> u32 {
    let mut waits = vec![0u32; services.len()];
    let mut begin = vec![0usize; services.len() + 1];
    for edge in edges {
        waits[edge.to as usize] += 1;
        begin[edge.from as usize + 1] += 1;
    }
    for n in 0..services.len() {
        begin[n + 1] += begin[n];
    }
    let mut ready: Vec<usize> = (0..services.len()).filter(|n| waits[*n] == 0).collect();
    while let Some(at) = ready.pop() {
        let next = services[at].wave + 1;
        // Edges are sorted by `from`, so those that leave `at` stand together.
        for edge in &edges[begin[at]..begin[at + 1]] {
            let to = edge.to as usize;
            services[to].wave = services[to].wave.max(next);
            waits[to] -= 1;
            if waits[to] == 0 {
                ready.push(to);
            }
        }
    }
    services.iter().map(|s| s.wave + 1).max().unwrap_or(0)
}

impl Graph {
    /// The services of one wave, by name.
    pub fn wave(&self, wave: u32) -> impl Iterator<Item = &Stop> {
        self.services.iter().filter(move |s| s.wave == wave)
    }

    /// For each service the ones that must go before it, by name, each once; those that go first only because it faces
    /// users are left out.
    pub fn before(&self) -> Vec<Vec<&Text>> {
        let mut out = vec![Vec::new(); self.services.len()];
        for edge in self.edges.iter().filter(|e| e.why != Why::EdgeLast) {
            let name = &self.services[edge.from as usize].name;
            let list: &mut Vec<&Text> = &mut out[edge.to as usize];
            if list.last() != Some(&name) {
                list.push(name);
            }
        }
        out
    }

    /// The pairs `(from, to)` that a picture needs: without those that follow from others, each once, sorted.
    pub fn reduced(&self) -> Vec<(u32, u32)> {
        let mut next: Vec<Vec<u32>> = vec![Vec::new(); self.services.len()];
        for edge in &self.edges {
            let list = &mut next[edge.from as usize];
            if list.last() != Some(&edge.to) {
                list.push(edge.to);
            }
        }
        let wave = |n: u32| self.services[n as usize].wave;
        let mut last_first: Vec<u32> = (0u32..).take(self.services.len()).collect();
        last_first.sort_by_key(|n| std::cmp::Reverse(wave(*n)));
        let mut reach: Vec<Bits> = vec![Bits(Vec::new()); self.services.len()];
        let mut kept = Vec::new();
        for from in last_first {
            let mut seen = Bits::new(self.services.len());
            let mut list = std::mem::take(&mut next[from as usize]);
            // What another successor reaches lies in a later wave than that one.
            list.sort_by_key(|to| wave(*to));
            for to in list {
                if !seen.has(to as usize) {
                    kept.push((from, to));
                    seen.set(to as usize);
                    seen.join(&reach[to as usize]);
                }
            }
            reach[from as usize] = seen;
        }
        kept.sort_unstable();
        kept
    }
}

#[cfg(test)]
mod tests;

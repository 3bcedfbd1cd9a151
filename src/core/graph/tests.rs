//! Small repositories, and random ones, against what design.md §3 promises of their order.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::core::manifest::{release, service};
use proptest::prelude::*;
use std::fmt::Write;

/// A service in short: name, dependsOn, exposes, consumes, edge.
type Short<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], bool);

/// A repository in short, and the names released.
fn repo(services: &[Short<'_>], released: &[&str]) -> (Option<Graph>, Findings) {
    let mut sources = Sources::default();
    let mut list = Vec::new();
    for (name, deps, exposes, consumes, edge) in services {
        let mut text = format!("name: {name}\ndependsOn: [{}]\n", deps.join(", "));
        let _ =
            write!(text, "exposesContracts: [{}]\nconsumesContracts: [{}]\n", exposes.join(", "), consumes.join(", "));
        if *edge {
            text.push_str("edge: true\n");
        }
        let file = sources.add(text!("services/{name}/service.yaml"), text);
        let (service, findings) = service::read(&sources, file, name);
        assert!(findings.is_empty(), "{}", findings.plain());
        list.push(service.unwrap());
    }
    let mut text = "release: r\nservices:\n".to_owned();
    for name in released {
        let _ = writeln!(text, "  {name}: 1.0.0");
    }
    let file = sources.add("release.yaml".into(), text);
    let (release, findings) = release::read(&sources, file);
    assert!(findings.is_empty(), "{}", findings.plain());
    build(&sources, &list, &release.unwrap(), "services")
}

fn waves(graph: &Graph) -> Vec<String> {
    (0..graph.waves).map(|w| graph.wave(w).map(|s| &*s.name).collect::<Vec<_>>().join(" ")).collect()
}

fn edges(graph: &Graph) -> Vec<String> {
    let name = |n: u32| &graph.services[n as usize].name;
    graph.edges.iter().map(|e| format!("{} → {} {}", name(e.from), name(e.to), e.why)).collect()
}

#[test]
fn order_holds_through_what_is_not_released() {
    let services: &[Short<'_>] = &[
        ("a", &["b"], &[], &[], false),
        ("b", &["b2"], &[], &[], false),
        ("b2", &[], &[], &["c.http"], false),
        ("c", &[], &["c.http"], &[], false),
    ];
    let graph = repo(services, &["a", "c"]).0.unwrap();
    assert_eq!(waves(&graph), ["c", "a"]);
    assert_eq!(edges(&graph), ["c → a through:b"]);
}

#[test]
fn edge_services_come_last_and_in_their_own_order() {
    let services: &[Short<'_>] = &[
        ("a", &[], &[], &[], false),
        ("b", &["a"], &[], &[], false),
        ("web", &["gate"], &[], &[], true),
        ("gate", &[], &[], &[], true),
        ("other", &[], &[], &[], true),
    ];
    let graph = repo(services, &["a", "b", "gate", "other", "web"]).0.unwrap();
    assert_eq!(waves(&graph), ["a", "b", "gate other", "web"]);
    assert_eq!(edges(&graph), ["a → b dependsOn", "b → gate edge-last", "b → other edge-last", "gate → web dependsOn"]);
    assert_eq!(graph.before(), [vec![], vec![&Text::from("a")], vec![], vec![], vec![&Text::from("gate")]]);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let services: &[Short<'_>] = &[
        ("a", &["b"], &["a.http"], &[], false),
        ("b", &["c", "d"], &[], &[], false),
        ("c", &[], &[], &["a.http"], false),
        ("d", &[], &[], &[], false),
    ];
    let (graph, findings) = repo(services, &["a"]);
    assert_eq!(graph, None);
    insta::assert_snapshot!(findings.plain(), @"
    error: services depend on each other in a circle: a → b → c → a
     --> services/a/service.yaml:2:13
    2 | dependsOn: [b]
      |             ^
     ::: services/b/service.yaml:2:13: b needs c (dependsOn)
    2 | dependsOn: [c, d]
      |             ^
     ::: services/c/service.yaml:4:21: c needs a (contract:a.http)
    4 | consumesContracts: [a.http]
      |                     ^^^^^^
      = fix: remove one of these edges
    ");
}

#[test]
fn what_nobody_names_is_told_with_the_file_to_write() {
    let services: &[Short<'_>] = &[
        ("accounts", &["ledgr"], &["x"], &["x", "y.http"], false),
        ("ledger", &["web"], &["x"], &[], false),
        ("web", &[], &[], &[], true),
    ];
    let (graph, findings) = repo(services, &["acounts", "zzzzzzzz"]);
    assert_eq!(graph, None);
    insta::assert_snapshot!(findings.plain(), @"
    error: no service.yaml names the service `acounts`
     --> release.yaml:3:3
    3 |   acounts: 1.0.0
      |   ^^^^^^^
      = fix: did you mean `accounts`? Otherwise write services/acounts/service.yaml

    error: no service.yaml names the service `zzzzzzzz`
     --> release.yaml:4:3
    4 |   zzzzzzzz: 1.0.0
      |   ^^^^^^^^
      = fix: write services/zzzzzzzz/service.yaml

    error: no service.yaml names the service `ledgr`
     --> services/accounts/service.yaml:2:13
    2 | dependsOn: [ledgr]
      |             ^^^^^
      = fix: did you mean `ledger`? Otherwise write services/ledgr/service.yaml

    error: accounts depends on itself (contract:x)
     --> services/accounts/service.yaml:4:21
    4 | consumesContracts: [x, y.http]
      |                     ^
      = fix: remove it

    error: no service.yaml exposes the contract `y.http`
     --> services/accounts/service.yaml:4:24
    4 | consumesContracts: [x, y.http]
      |                        ^^^^^^
      = fix: add it to exposesContracts in services/<its service>/service.yaml

    error: ledger is no edge service but depends on one, web (dependsOn)
     --> services/ledger/service.yaml:2:13
    2 | dependsOn: [web]
      |             ^^^
     ::: services/web/service.yaml:5:7: web faces users
    5 | edge: true
      |       ^^^^
      = fix: edge services go last: remove the dependency, or mark ledger `edge: true` too

    error: contract `x` is exposed twice
     --> services/ledger/service.yaml:3:20
    3 | exposesContracts: [x]
      |                    ^
     ::: services/accounts/service.yaml:3:20: first here
    3 | exposesContracts: [x]
      |                    ^
      = fix: let accounts or ledger expose it, under one name
");
}

proptest! {
    /// Random repositories: waves respect every edge, each service stands in the earliest wave, order holds through
    /// what is not released, edge services come last, and the reduction reaches what the edges reach.
    #[test]
    fn waves_respect_all_edges(
        links in prop::collection::vec((0usize..14, 0usize..14, any::<bool>()), 0..40),
        released in prop::collection::vec(any::<bool>(), 14),
        first_edge in 8usize..15,
    ) {
        let names: Vec<String> = (0..14).map(|n| format!("s{n:02}")).collect();
        let contracts: Vec<String> = names.iter().map(|n| format!("{n}.http")).collect();
        // An edge leads from a lower to a higher number, so there is no cycle; high numbers face users.
        let mut deps = vec![Vec::new(); 14];
        let mut consumes = vec![Vec::new(); 14];
        let mut pairs = BTreeSet::new();
        for (a, b, contract) in links.iter().filter(|(a, b, _)| a != b) {
            let (from, to) = (*a.min(b), *a.max(b));
            pairs.insert((from, to));
            if *contract {
                if !consumes[to].contains(&&*contracts[from]) { consumes[to].push(&*contracts[from]); }
            } else if !deps[to].contains(&&*names[from]) {
                deps[to].push(&*names[from]);
            }
        }
        let exposes: Vec<[&str; 1]> = contracts.iter().map(|c| [&**c]).collect();
        let services: Vec<_> = (0..14)
            .map(|n| (&*names[n], &*deps[n], &exposes[n][..], &*consumes[n], n >= first_edge))
            .collect();
        let chosen: Vec<&str> = (0..14).filter(|n| released[*n]).map(|n| &*names[n]).collect();
        prop_assume!(!chosen.is_empty());
        let graph = repo(&services, &chosen).0.unwrap();
        let again = repo(&services, &chosen).0.unwrap();
        prop_assert_eq!(&graph, &again);
        let number = |n: u32| -> usize { graph.services[n as usize].name[1..].parse().unwrap() };
        let wave: BTreeMap<usize, u32> = (0u32..).zip(&graph.services).map(|(n, s)| (number(n), s.wave)).collect();
        prop_assert_eq!(wave.len(), chosen.len());
        // Reach in the whole repository through unreleased services alone.
        for from in (0..14).filter(|n| released[*n]) {
            let mut open: Vec<usize> = pairs.iter().filter(|p| p.0 == from).map(|p| p.1).collect();
            while let Some(at) = open.pop() {
                if released[at] {
                    prop_assert!(wave[&from] < wave[&at], "{from} before {at}");
                } else {
                    open.extend(pairs.iter().filter(|p| p.0 == at).map(|p| p.1));
                }
            }
            for at in (0..14).filter(|n| released[*n] && *n >= first_edge) {
                prop_assert!(from >= first_edge || wave[&from] < wave[&at]);
            }
        }
        for (n, stop) in (0u32..).zip(&graph.services) {
            let latest = graph.edges.iter().filter(|e| e.to == n).map(|e| graph.services[e.from as usize].wave + 1);
            prop_assert_eq!(stop.wave, latest.max().unwrap_or(0), "the earliest wave");
        }
        let reach = |list: &[(u32, u32)]| {
            let mut reach: BTreeSet<(u32, u32)> = list.iter().copied().collect();
            loop {
                let more: Vec<_> = reach
                    .iter()
                    .flat_map(|a| reach.iter().filter(|b| a.1 == b.0).map(|b| (a.0, b.1)))
                    .filter(|p| !reach.contains(p))
                    .collect();
                if more.is_empty() { return reach; }
                reach.extend(more);
            }
        };
        let all: Vec<(u32, u32)> = graph.edges.iter().map(|e| (e.from, e.to)).collect();
        let reduced = graph.reduced();
        prop_assert_eq!(reach(&reduced), reach(&all));
        for drop in &reduced {
            let rest: Vec<(u32, u32)> = reduced.iter().copied().filter(|p| p != drop).collect();
            prop_assert!(!reach(&rest).contains(drop), "nothing superfluous is kept");
        }
    }
}

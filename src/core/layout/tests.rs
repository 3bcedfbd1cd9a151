//! Golden pictures per shape, and what must hold for every graph: no overlap, connected wires, no wire through a box, no
//! junction that suggests an edge which is not there, the same bytes for the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Names and ranks; edges by name.
fn graph(ranks: &[&[&str]], edges: &[(&str, &str)], zoom: Zoom, dense: bool) -> (Picture, Vec<String>) {
    let all: Vec<(&str, u32)> =
        ranks.iter().enumerate().flat_map(|(r, names)| names.iter().map(move |n| (*n, r as u32))).collect();
    let nodes: Vec<Node<'_>> =
        all.iter().map(|&(name, rank)| Node { name, rank, width: name.len() as u16 + 2 }).collect();
    let index = |name: &str| all.iter().position(|n| n.0 == name).unwrap();
    let edges: Vec<(usize, usize)> = edges.iter().map(|(a, b)| (index(a), index(b))).collect();
    (lay_out(&nodes, &edges, zoom, dense).unwrap(), all.iter().map(|n| n.0.to_owned()).collect())
}

fn show((picture, names): &(Picture, Vec<String>), set: WireSet) -> String {
    let mut grid = vec![vec![' '; usize::from(picture.width)]; usize::from(picture.height)];
    for w in &picture.wires {
        let arrow = if set == WireSet::Ascii { '>' } else { '▸' };
        grid[usize::from(w.y)][usize::from(w.x)] = if w.arrow { arrow } else { glyph(set, w.mask, 0) };
    }
    for (b, name) in picture.boxes.iter().zip(names) {
        for (n, c) in format!("[{name}]").chars().enumerate() {
            grid[usize::from(b.y)][usize::from(b.x) + n] = c;
        }
    }
    grid.iter().fold(String::new(), |mut out, row| {
        let _ = writeln!(out, "{}", row.iter().collect::<String>().trim_end());
        out
    })
}

/// The ten services of the sample, reduced to their nearest edges.
fn sample() -> (Vec<&'static [&'static str]>, Vec<(&'static str, &'static str)>) {
    (
        vec![
            &["postgres"],
            &["accounts-api", "ledger-api", "pricing-api"],
            &["billing-api", "fraud-scorer", "ledger-consumer"],
            &["checkout-api", "notifications-worker"],
            &["edge-gateway"],
            &["storefront-web"],
        ],
        vec![
            ("postgres", "accounts-api"),
            ("postgres", "ledger-api"),
            ("postgres", "pricing-api"),
            ("accounts-api", "billing-api"),
            ("ledger-api", "billing-api"),
            ("ledger-api", "fraud-scorer"),
            ("ledger-api", "ledger-consumer"),
            ("billing-api", "checkout-api"),
            ("fraud-scorer", "checkout-api"),
            ("pricing-api", "checkout-api"),
            ("billing-api", "notifications-worker"),
            ("checkout-api", "edge-gateway"),
            ("notifications-worker", "edge-gateway"),
            ("ledger-consumer", "edge-gateway"),
            ("edge-gateway", "storefront-web"),
        ],
    )
}

#[test]
fn the_sample_train() {
    let (ranks, edges) = sample();
    insta::assert_snapshot!(show(&graph(&ranks, &edges, Zoom::Line, false), WireSet::Unicode));
    insta::assert_snapshot!(show(&graph(&ranks, &edges, Zoom::Line, true), WireSet::Ascii));
    insta::assert_snapshot!(show(&graph(&ranks, &edges, Zoom::Bar, false), WireSet::Unicode));
}

#[test]
fn a_chain_is_one_line() {
    let picture = graph(&[&["a"], &["b"], &["c"]], &[("a", "b"), ("b", "c")], Zoom::Line, false);
    insta::assert_snapshot!(show(&picture, WireSet::Unicode), @"[a]─▸[b]─▸[c]");
}

#[test]
fn a_diamond_closes() {
    let edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
    insta::assert_snapshot!(show(&graph(&[&["a"], &["b", "c"], &["d"]], &edges, Zoom::Line, false), WireSet::Unicode));
}

#[test]
fn a_fan_out_of_twenty() {
    let names: Vec<String> = (10..30).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let edges: Vec<(&str, &str)> = names.iter().map(|n| ("hub", *n)).collect();
    insta::assert_snapshot!(show(&graph(&[&["hub"], &names], &edges, Zoom::Line, true), WireSet::Unicode));
}

/// A platform of sixty services in six waves, each after two or three of the wave before.
#[test]
fn sixty_services() {
    let names: Vec<String> = (0..60).map(|n| format!("s{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ranks: Vec<&[&str]> = names.chunks(10).collect();
    let mut edges = Vec::new();
    for n in 10..60 {
        let before = n / 10 * 10 - 10;
        edges.push((names[before + n % 10], names[n]));
        edges.push((names[before + (n * 7 + 3) % 10], names[n]));
        if n % 4 == 0 {
            edges.push((names[before + (n * 3) % 10], names[n]));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    insta::assert_snapshot!(show(&graph(&ranks, &edges, Zoom::Line, true), WireSet::Unicode));
}

#[test]
fn an_edge_that_skips_waves_passes_between_the_boxes() {
    let edges = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("a", "c")];
    insta::assert_snapshot!(show(
        &graph(&[&["a"], &["b"], &["c"], &["d"]], &edges, Zoom::Line, false),
        WireSet::Unicode
    ));
}

/// Two services that the same two depend on: one trunk, no crossing to puzzle over.
#[test]
fn the_same_ends_share_one_trunk() {
    let edges = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")];
    insta::assert_snapshot!(show(&graph(&[&["a", "b"], &["x", "y"]], &edges, Zoom::Line, false), WireSet::Unicode));
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let nodes = [Node { name: "a", rank: 1, width: 3 }, Node { name: "b", rank: 1, width: 3 }];
    assert_eq!(lay_out(&nodes, &[(0, 1)], Zoom::Line, false), Err(Problem::Backward(0)));
    assert_eq!(lay_out(&nodes, &[(0, 7)], Zoom::Line, false), Err(Problem::Backward(0)));
    assert_eq!(longest_path(3, &[(0, 1), (1, 2)]), Some(vec![0, 1, 2]));
    assert_eq!(longest_path(2, &[(0, 1), (1, 0)]), None);
    let none = lay_out(&[], &[], Zoom::Full, true).unwrap();
    assert_eq!((none.width, none.height), (0, 0));
}

/// Every shape has a glyph in every weight, all different within a shape.
#[test]
fn the_glyph_tables_are_complete() {
    for mask in 1..16u8 {
        let weights: Vec<u8> = (0..16).filter(|h| h & !mask == 0).collect();
        let glyphs: BTreeSet<char> = weights.iter().map(|&h| glyph(WireSet::Unicode, mask, h)).collect();
        assert_eq!(glyphs.len(), weights.len(), "mask {mask:04b}");
        assert!(!glyphs.contains(&' '), "mask {mask:04b}");
        assert!(glyph(WireSet::Ascii, mask, 0).is_ascii_punctuation());
    }
}

/// Ranks, and edges that go forward, for a graph of at most `count` nodes.
fn forward(count: usize, edges: usize) -> impl Strategy<Value = (Vec<u32>, Vec<(usize, usize)>)> {
    (1..count).prop_flat_map(move |n| {
        let ranks = prop::collection::vec(0..6u32, n);
        let pairs = prop::collection::vec((0..n, 0..n), 0..edges);
        (ranks, pairs).prop_map(|(ranks, pairs)| {
            let mut edges: Vec<(usize, usize)> = pairs
                .into_iter()
                .filter(|&(a, b)| ranks[a] != ranks[b])
                .map(|(a, b)| if ranks[a] < ranks[b] { (a, b) } else { (b, a) })
                .collect();
            edges.sort_unstable();
            edges.dedup();
            (ranks, edges)
        })
    })
}

fn any_zoom() -> impl Strategy<Value = Zoom> {
    prop::sample::select(Zoom::ALL.to_vec())
}

fn lay(ranks: &[u32], edges: &[(usize, usize)], zoom: Zoom, dense: bool) -> Picture {
    let names: Vec<String> = (0..ranks.len()).map(|n| format!("s{n:02}")).collect();
    let nodes: Vec<Node<'_>> =
        names.iter().zip(ranks).map(|(name, &rank)| Node { name, rank, width: 4 + (rank as u16 % 3) }).collect();
    lay_out(&nodes, edges, zoom, dense).unwrap()
}

type Cells<'a> = BTreeMap<(u16, u16), &'a Wire>;

fn cells(picture: &Picture) -> Cells<'_> {
    picture.wires.iter().map(|w| ((w.x, w.y), w)).collect()
}

/// Follows what is drawn from the right of a box, only ever up, down and rightwards, as an eye does; under a wire that
/// crosses it goes straight on. Answers with the boxes reached.
fn eye(picture: &Picture, cells: &Cells<'_>, from: usize) -> BTreeSet<usize> {
    let at = picture.boxes[from];
    let mut seen = BTreeSet::new();
    let mut reached = BTreeSet::new();
    // (cell, under): under means that it is passed below, whatever it shows
    let mut todo = vec![(at.x + at.width, at.y, true)];
    while let Some((x, y, from_left)) = todo.pop() {
        if !seen.insert((x, y, from_left)) {
            continue;
        }
        if let Some(b) = picture.boxes.iter().position(|b| from_left && b.x == x && b.y == y) {
            reached.insert(b);
            continue;
        }
        let Some(wire) = cells.get(&(x, y)) else { continue };
        if from_left && wire.mask & LEFT == 0 {
            todo.push((x + 1, y, true));
            continue;
        }
        if wire.mask & RIGHT != 0 {
            todo.push((x + 1, y, true));
        }
        if wire.mask & UP != 0 {
            todo.push((x, y - 1, false));
        }
        if wire.mask & DOWN != 0 {
            todo.push((x, y + 1, false));
        }
    }
    reached
}

proptest! {
    #[test]
    fn boxes_keep_apart_and_wires_out_of_them((ranks, edges) in forward(40, 90), zoom in any_zoom(), dense: bool) {
        let picture = lay(&ranks, &edges, zoom, dense);
        let mut taken = BTreeSet::new();
        for b in &picture.boxes {
            for y in b.y..b.y + b.height {
                for x in b.x..b.x + b.width {
                    prop_assert!(taken.insert((x, y)), "two boxes at {x},{y}");
                    prop_assert!(x < picture.width && y < picture.height);
                }
            }
        }
        for w in &picture.wires {
            prop_assert!(!taken.contains(&(w.x, w.y)), "a wire in a box at {},{}", w.x, w.y);
            prop_assert!(w.x < picture.width && w.y < picture.height);
        }
    }

    #[test]
    fn every_edge_is_connected_cell_by_cell((ranks, edges) in forward(40, 90), zoom in any_zoom(), dense: bool) {
        let picture = lay(&ranks, &edges, zoom, dense);
        let cells = cells(&picture);
        for (n, &(from, to)) in edges.iter().enumerate() {
            let (start, end) = (picture.boxes[from], picture.boxes[to]);
            let (mut x, mut y, mut came) = (start.x + start.width, start.y, LEFT);
            let mut steps = 0;
            while (x, y) != (end.x, end.y) {
                let wire = cells.get(&(x, y));
                prop_assert!(wire.is_some(), "edge {n} breaks off at {x},{y}");
                let own: Vec<u8> = wire.unwrap().owners.iter().filter(|o| o.0 == n as u32).map(|o| o.1).collect();
                prop_assert_eq!(own.len(), 1);
                prop_assert!(own[0] & came != 0, "edge {} is not joined at {},{}", n, x, y);
                let on = own[0] & !came;
                (x, y, came) = match on {
                    RIGHT => (x + 1, y, LEFT),
                    LEFT => (x - 1, y, RIGHT),
                    UP => (x, y - 1, DOWN),
                    DOWN => (x, y + 1, UP),
                    _ => return Err(TestCaseError::fail(format!("edge {n} forks at {x},{y}"))),
                };
                steps += 1;
                prop_assert!(steps < 10_000);
            }
        }
    }

    #[test]
    fn an_eye_sees_these_edges_and_no_others((ranks, edges) in forward(30, 60), zoom in any_zoom(), dense: bool) {
        let picture = lay(&ranks, &edges, zoom, dense);
        let cells = cells(&picture);
        for from in 0..ranks.len() {
            let meant: BTreeSet<usize> = edges.iter().filter(|e| e.0 == from).map(|e| e.1).collect();
            prop_assert_eq!(eye(&picture, &cells, from), meant, "from {}", from);
        }
    }

    #[test]
    fn upright_arms_agree_with_their_neighbours((ranks, edges) in forward(30, 60), zoom in any_zoom(), dense: bool) {
        let picture = lay(&ranks, &edges, zoom, dense);
        let cells = cells(&picture);
        for w in &picture.wires {
            if w.mask & UP != 0 {
                prop_assert!(cells.get(&(w.x, w.y - 1)).is_some_and(|o| o.mask & DOWN != 0));
            }
            if w.mask & DOWN != 0 {
                prop_assert!(cells.get(&(w.x, w.y + 1)).is_some_and(|o| o.mask & UP != 0));
            }
        }
    }

    #[test]
    fn the_order_of_edges_does_not_matter((ranks, edges) in forward(30, 60), zoom in any_zoom()) {
        let picture = lay(&ranks, &edges, zoom, false);
        let turned: Vec<(usize, usize)> = edges.iter().rev().copied().collect();
        let other = lay(&ranks, &turned, zoom, false);
        prop_assert_eq!(&picture, &lay(&ranks, &edges, zoom, false));
        prop_assert_eq!(&picture.boxes, &other.boxes);
        let drawn = |p: &Picture| p.wires.iter().map(|w| (w.x, w.y, w.mask, w.arrow)).collect::<Vec<_>>();
        prop_assert_eq!(drawn(&picture), drawn(&other));
    }

    #[test]
    fn sweeping_never_adds_crossings((ranks, edges) in forward(30, 60)) {
        let names: Vec<String> = (0..ranks.len()).map(|n| format!("s{n:02}")).collect();
        let nodes: Vec<Node<'_>> =
            names.iter().zip(&ranks).map(|(name, &rank)| Node { name, rank, width: 4 }).collect();
        let mut layers = rank::layers(&nodes, &edges);
        let by_name = crossed_by_hand(&layers);
        let counted = order::order(&mut layers);
        prop_assert_eq!(counted, crossed_by_hand(&layers));
        prop_assert!(counted <= by_name);
    }
}

/// Counts crossings pair by pair, without the tree of the real count.
fn crossed_by_hand(layers: &rank::Layers) -> u32 {
    let place: BTreeMap<usize, usize> =
        layers.layers.iter().flat_map(|c| c.iter().enumerate().map(|(n, &i)| (i, n))).collect();
    layers.layers.iter().fold(0, |sum, column| {
        let links: Vec<(usize, usize)> = column
            .iter()
            .flat_map(|&a| layers.next[a].iter().map(move |&b| (a, b)))
            .map(|(a, b)| (place[&a], place[&b]))
            .collect();
        let crossed = links
            .iter()
            .enumerate()
            .flat_map(|(n, a)| links[n + 1..].iter().map(move |b| (a, b)))
            .filter(|(a, b)| (a.0 < b.0 && a.1 > b.1) || (a.0 > b.0 && a.1 < b.1))
            .count();
        sum + crossed as u32
    })
}

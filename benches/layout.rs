//! The picture of a train of 60 services: one layout at each zoom, beside the budget of the design (§9: 2 ms), and what a person
//! waits for when the terminal's size changes: the whole frame, with as many layouts as it takes until one fits.
//!
//! `cargo bench --bench layout [-- SERVICES EDGES]`
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../tests/it/screens/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate::cockpit::App;
use footplate::cockpit::backend::Wire;
use footplate::cockpit::glyphs::UNICODE;
use footplate::cockpit::keymap::KeyMap;
use footplate::cockpit::message::Message;
use footplate::cockpit::model::Setup;
use footplate::cockpit::theme::{Depth, Theme};
use footplate::core::layout::{Node, Zoom, lay_out};
use footplate::core::object::ObjectKind;
use footplate::core::snapshot::Snapshot;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ratatui::Terminal;
use ratatui::layout::Size;

const ROUNDS: usize = 50;
const WAVES: usize = 6;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [services, edges] = if let [services, edges, ..] = numbers[..] { [services, edges] } else { [60, 110] };
    let (names, edges) = graph(services, edges);
    println!(
        "{services} services in {WAVES} waves, {} edges; of {ROUNDS} rounds the median and the slowest",
        edges.len()
    );
    let nodes: Vec<Node<'_>> = (0..services)
        .map(|n| Node { name: &names[n], rank: wave(n, services) as u32, width: names[n].len() as u16 + 2 })
        .collect();
    for zoom in Zoom::ALL {
        let crossings = lay_out(&nodes, &edges, zoom, false).unwrap().crossings;
        let took = rounds(|| drop(std::hint::black_box(lay_out(&nodes, &edges, zoom, false))));
        println!("layout {:<6} {took}  (budget 2)  {crossings} crossings", format!("{zoom:?}"));
    }
    let snapshot = train(&names, &edges, services);
    for (width, height) in [(80, 24), (120, 36), (160, 45), (200, 60)] {
        let mut app = App::new(setup(snapshot.clone()), (width, height), fixture::now());
        let mut terminal = Terminal::new(Wire::new(std::io::sink(), Size::new(width, height))).unwrap();
        let first = rounds(|| {
            // Another width is another picture; the next draw makes this one anew.
            app.handle(Message::Resize(width - 1, height), fixture::now());
            terminal.draw(|frame| app.draw(frame)).unwrap();
        });
        let again = rounds(|| {
            terminal.draw(|frame| app.draw(frame)).unwrap();
        });
        println!("frame {width:>3}x{height}  anew {first}   unchanged {again}");
    }
}

fn wave(n: usize, services: usize) -> usize {
    n * WAVES / services
}

/// Most edges lead to the next wave, some skip waves, as dependencies do.
fn graph(services: usize, count: usize) -> (Vec<String>, Vec<(usize, usize)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let names = (0..services).map(|n| format!("service-{n:02}-{}", ["api", "worker", "gateway"][n % 3])).collect();
    let mut edges = Vec::new();
    while edges.len() < count {
        let (a, b) = (rng.random_range(0..services), rng.random_range(0..services));
        let gap = wave(b, services).saturating_sub(wave(a, services));
        if gap == 1 || (gap > 1 && rng.random_range(0..10) == 0) {
            edges.push((a, b));
        }
        edges.sort_unstable();
        edges.dedup();
    }
    (names, edges)
}

fn train(names: &[String], edges: &[(usize, usize)], services: usize) -> Snapshot {
    let mut snapshot = fixture::rolling();
    snapshot.services = (0..services)
        .map(|n| {
            let after: Vec<&str> = edges.iter().filter(|e| e.1 == n).map(|e| names[e.0].as_str()).collect();
            Arc::new(fixture::service(
                &names[n],
                1 + wave(n, services) as u32,
                &after,
                ObjectKind::Rollout,
                "1.0.0",
                "1.1.0",
            ))
        })
        .collect();
    snapshot.edges = edges.iter().map(|(a, b)| (names[*a].as_str().into(), names[*b].as_str().into())).collect();
    snapshot
}

fn setup(snapshot: Snapshot) -> Setup {
    Setup {
        snapshot: Arc::new(snapshot),
        keymap: KeyMap::new(&BTreeMap::new()).unwrap(),
        theme: Theme::named("terminal", Depth::Ansi).unwrap(),
        depth: Depth::Ansi,
        glyphs: UNICODE,
        zone: jiff::tz::TimeZone::UTC,
        who: "ana".into(),
        contexts: Vec::new(),
        copy_max: 1000,
    }
}

fn rounds(mut what: impl FnMut()) -> String {
    let mut all: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            what();
            begun.elapsed()
        })
        .collect();
    all.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    format!("{:6.2} ms ({:.2})", ms(all[ROUNDS / 2]), ms(all[ROUNDS - 1]))
}

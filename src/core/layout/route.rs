//! Tracks in the gutters. What leaves one column for the next is gathered into nets: all links of one item, and items
//! with the very same ends, share one vertical run (so a junction never suggests an edge that is not there). Tracks are
//! packed by the left-edge rule. On a row where one net starts and another ends, the one that starts must turn off
//! first; where such rules form a circle, a start steps aside into the free row next to it (a jog).

use std::collections::{BTreeMap, BTreeSet};

use super::rank::Layers;

/// Items of one column joined with items of the next; every source leads to every target.
#[derive(Clone, Debug)]
pub struct Net {
    /// Where it starts.
    pub sources: Vec<Start>,
    /// Items where it ends.
    pub targets: Vec<usize>,
    /// The track of its vertical run; none when it is one straight line.
    pub track: Option<usize>,
}

/// One start of a net.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Which item.
    pub item: usize,
    /// The row in which it reaches the track: its own, or a free one next to it.
    pub row: i32,
}

/// The space between two columns.
#[derive(Clone, Debug, Default)]
pub struct Gutter {
    /// All nets through it.
    pub nets: Vec<Net>,
    /// How many tracks.
    pub tracks: usize,
    /// True when some start steps aside; it takes one cell left of the tracks.
    pub jogs: bool,
}

impl Gutter {
    /// Cells wide: a stub, the jogs, the tracks, the entry.
    pub fn width(&self) -> u16 {
        u16::try_from(self.tracks + usize::from(self.jogs) + 2).unwrap_or(u16::MAX)
    }
}

/// One gutter after each column but the last.
pub fn gutters(layers: &Layers, rows: &[i32]) -> Vec<Gutter> {
    let count = layers.layers.len().saturating_sub(1);
    layers.layers.iter().take(count).map(|column| gutter(column, layers, rows)).collect()
}

fn gutter(column: &[usize], layers: &Layers, rows: &[i32]) -> Gutter {
    let mut by_ends: BTreeMap<&[usize], Vec<usize>> = BTreeMap::new();
    for &item in column.iter().filter(|&&i| !layers.next[i].is_empty()) {
        by_ends.entry(&layers.next[item]).or_default().push(item);
    }
    let mut nets: Vec<Net> = by_ends
        .into_iter()
        .map(|(ends, items)| Net {
            sources: items.into_iter().map(|item| Start { item, row: rows[item] }).collect(),
            targets: ends.to_vec(),
            track: None,
        })
        .collect();
    nets.sort_by_key(|n| n.sources.iter().map(|s| s.row).min());
    let (sequence, aside) = sequence(&nets, rows);
    step_aside(&mut nets, &aside, rows);
    let (tracks, of) = pack(&nets, &sequence, rows);
    for (net, track) in nets.iter_mut().zip(of) {
        net.track = track;
    }
    Gutter { nets, tracks, jogs: !aside.is_empty() }
}

/// True when the net needs a vertical run.
fn bends(net: &Net, rows: &[i32]) -> bool {
    let (low, high) = extent(net, rows);
    low != high
}

fn extent(net: &Net, rows: &[i32]) -> (i32, i32) {
    let all = || net.sources.iter().map(|s| s.row).chain(net.targets.iter().map(|&t| rows[t]));
    (all().min().unwrap_or(0), all().max().unwrap_or(0))
}

/// Which nets must be left of which, as a sequence with `before` lists, and which (net, source) must step aside for it.
type Sequence = Vec<(usize, Vec<usize>)>;

fn sequence(nets: &[Net], rows: &[i32]) -> (Sequence, BTreeSet<(usize, usize)>) {
    let bent: Vec<bool> = nets.iter().map(|n| bends(n, rows)).collect();
    let mut ends_at: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (n, net) in nets.iter().enumerate() {
        for &t in &net.targets {
            ends_at.entry(rows[t]).or_default().push(n);
        }
    }
    // rules[b] = those that must be left of b, each with the source that makes the rule
    let mut rules: Vec<BTreeSet<(usize, usize)>> = vec![BTreeSet::new(); nets.len()];
    for (a, net) in nets.iter().enumerate().filter(|&(a, _)| bent[a]) {
        for (s, start) in net.sources.iter().enumerate() {
            for &b in ends_at.get(&start.row).into_iter().flatten().filter(|&&b| b != a && bent[b]) {
                rules[b].insert((a, s));
            }
        }
    }
    let mut aside = BTreeSet::new();
    let mut left: Vec<usize> = (0..nets.len()).filter(|&n| bent[n]).collect();
    // Nets with one end go rightmost among equals: there a junction reads well.
    left.sort_by_key(|&n| (nets[n].targets.len() == 1, n));
    let mut out: Sequence = Vec::new();
    while !left.is_empty() {
        let waits = |b: usize| -> Vec<(usize, usize)> {
            rules[b].iter().copied().filter(|r| left.contains(&r.0) && !aside.contains(r)).collect()
        };
        let cost = |b: usize| -> usize {
            let straight = |(a, s): (usize, usize)| {
                let row = nets[a].sources[s].row;
                nets[a].targets.iter().any(|&t| rows[t] == row)
            };
            waits(b).into_iter().map(|r| 1 + 3 * usize::from(straight(r))).sum()
        };
        let Some((place, _)) = left.iter().enumerate().min_by_key(|&(n, &b)| (cost(b), n)) else { break };
        let b = left[place];
        let must: Vec<(usize, usize)> = waits(b);
        aside.extend(must);
        left.remove(place);
        let before = rules[b].iter().filter(|r| !aside.contains(r)).map(|r| r.0).collect();
        out.push((b, before));
    }
    (out, aside)
}

/// Gives each start that steps aside a free row: the one towards its ends, else the one below.
fn step_aside(nets: &mut [Net], aside: &BTreeSet<(usize, usize)>, rows: &[i32]) {
    let mut taken: BTreeSet<i32> = BTreeSet::new();
    let mut all: Vec<(i32, usize, usize)> = aside.iter().map(|&(n, s)| (nets[n].sources[s].row, n, s)).collect();
    all.sort_unstable();
    for (row, n, s) in all {
        let upward = nets[n].targets.iter().filter(|&&t| rows[t] < row).count() * 2 > nets[n].targets.len();
        let chosen = if upward && row > 0 && !taken.contains(&(row - 1)) { row - 1 } else { row + 1 };
        taken.insert(chosen);
        nets[n].sources[s].row = chosen;
    }
}

/// Left-edge packing: the first track right of all that must be left of it, and free over the whole run.
fn pack(nets: &[Net], sequence: &Sequence, rows: &[i32]) -> (usize, Vec<Option<usize>>) {
    let mut of: Vec<Option<usize>> = vec![None; nets.len()];
    let mut tracks: Vec<Vec<(i32, i32)>> = Vec::new();
    for (n, before) in sequence {
        let (low, high) = extent(&nets[*n], rows);
        // A net with one end goes right of those that share it and lead on: there its junction reads well.
        let single = nets[*n].targets.len() == 1;
        let shares = |b: usize| single && nets[b].targets.len() > 1 && nets[b].targets.contains(&nets[*n].targets[0]);
        let placed = (0..nets.len()).filter(|&b| before.contains(&b) || shares(b));
        let first = placed.filter_map(|b| of[b]).map(|t| t + 1).max().unwrap_or(0);
        let free = |track: &Vec<(i32, i32)>| track.iter().all(|&(l, h)| high < l || h < low);
        let found = (first..tracks.len()).find(|&t| free(&tracks[t]));
        let track = found.unwrap_or_else(|| {
            tracks.resize(tracks.len().max(first) + 1, Vec::new());
            tracks.len() - 1
        });
        tracks[track].push((low, high));
        of[*n] = Some(track);
    }
    (tracks.len(), of)
}

//! The order within a column: barycenter sweeps there and back, neighbours swapped where that helps, the best order by
//! counted crossings kept. Ties keep the order by name.

use super::rank::Layers;

/// Sweeps over all columns; more did not help on the graphs of the tests.
const SWEEPS: usize = 8;

/// Orders all layers; answers with the crossings that remain.
pub fn order(layers: &mut Layers) -> u32 {
    let mut position = vec![0usize; layers.items.len()];
    index(&layers.layers, &mut position);
    let mut best = layers.layers.clone();
    let mut least = crossings(layers, &layers.layers, &position);
    let mut columns = layers.layers.clone();
    for sweep in 0..SWEEPS {
        if least == 0 {
            break;
        }
        let down = sweep % 2 == 0;
        let count = columns.len();
        for step in 1..count {
            let l = if down { step } else { count - 1 - step };
            let links = if down { &layers.prev } else { &layers.next };
            sort_by_barycenter(&mut columns[l], links, &position);
            index_column(&columns[l], &mut position);
        }
        while transpose(layers, &mut columns, &mut position) {}
        let now = crossings(layers, &columns, &position);
        if now < least {
            least = now;
            best.clone_from(&columns);
        }
    }
    layers.layers = best;
    u32::try_from(least).unwrap_or(u32::MAX)
}

fn index(columns: &[Vec<usize>], position: &mut [usize]) {
    columns.iter().for_each(|c| index_column(c, position));
}

fn index_column(column: &[usize], position: &mut [usize]) {
    for (n, &item) in column.iter().enumerate() {
        position[item] = n;
    }
}

/// Sorts by the mean position of the neighbours, compared as fractions. What has no neighbour keeps its place: its own
/// position is its mean.
fn sort_by_barycenter(column: &mut [usize], links: &[Vec<usize>], position: &[usize]) {
    let mean = |item: usize| -> (usize, usize) {
        let near = &links[item];
        if near.is_empty() {
            return (position[item], 1);
        }
        (near.iter().map(|&n| position[n]).sum(), near.len())
    };
    column.sort_by(|&a, &b| {
        let ((sa, na), (sb, nb)) = (mean(a), mean(b));
        (sa * nb).cmp(&(sb * na))
    });
}

/// Swaps neighbours where that lowers the crossings on both sides together; true when it swapped any.
fn transpose(layers: &Layers, columns: &mut [Vec<usize>], position: &mut [usize]) -> bool {
    let mut swapped = false;
    for column in columns.iter_mut() {
        for n in 1..column.len() {
            let (a, b) = (column[n - 1], column[n]);
            let as_is =
                pair(&layers.prev[a], &layers.prev[b], position) + pair(&layers.next[a], &layers.next[b], position);
            let other =
                pair(&layers.prev[b], &layers.prev[a], position) + pair(&layers.next[b], &layers.next[a], position);
            if other < as_is {
                column.swap(n - 1, n);
                position.swap(a, b);
                swapped = true;
            }
        }
    }
    swapped
}

/// Crossings between the links of an upper and a lower item.
fn pair(upper: &[usize], lower: &[usize], position: &[usize]) -> usize {
    upper.iter().map(|&u| lower.iter().filter(|&&l| position[l] < position[u]).count()).sum()
}

/// All crossings between neighbouring layers.
fn crossings(layers: &Layers, columns: &[Vec<usize>], position: &[usize]) -> usize {
    let mut total = 0;
    let mut tree: Vec<usize> = Vec::new();
    for (l, column) in columns.iter().enumerate() {
        let below = columns.get(l + 1).map_or(0, Vec::len);
        tree.clear();
        tree.resize(below + 1, 0);
        let mut seen = 0;
        for &item in column {
            let mut ends: Vec<usize> = layers.next[item].iter().map(|&n| position[n]).collect();
            ends.sort_unstable();
            for &end in &ends {
                let mut at = end + 1;
                let mut not_after = 0;
                while at > 0 {
                    not_after += tree[at];
                    at &= at - 1;
                }
                total += seen - not_after;
            }
            for &end in &ends {
                let mut at = end + 1;
                while at <= below {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
                seen += 1;
            }
        }
    }
    total
}

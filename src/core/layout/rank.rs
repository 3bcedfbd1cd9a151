//! Columns: which item stands in which rank, and the dummy items through which an edge passes a rank that it skips.
//! All edges of one source share one chain of dummies (bundling). Order and rows are decided elsewhere.

use std::collections::BTreeMap;

use super::Node;

/// An item of a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A node, by index.
    Node(usize),
    /// The chain of this source passes here.
    Dummy(usize),
}

/// The layered graph. Items are numbered in one sequence; every link leads from one layer to the next.
#[derive(Clone, Debug)]
pub struct Layers {
    /// What each item is.
    pub items: Vec<Kind>,
    /// The layer of each item.
    pub layer_of: Vec<usize>,
    /// The rank of each layer (ranks without any node are left out).
    pub ranks: Vec<u32>,
    /// Items a layer, top to bottom.
    pub layers: Vec<Vec<usize>>,
    /// Links to the next layer, per item, sorted.
    pub next: Vec<Vec<usize>>,
    /// Links from the layer before, per item, sorted.
    pub prev: Vec<Vec<usize>>,
}

impl Layers {
    /// The item of a node.
    pub fn node(&self, node: usize) -> usize {
        node
    }

    /// The chain of items that an edge runs through, both ends included.
    pub fn chain(&self, from: usize, to: usize) -> Vec<usize> {
        let mut chain = vec![from];
        let mut at = from;
        while self.layer_of[at] + 1 < self.layer_of[to] {
            let dummy = self.next[at].iter().find(|&&i| self.items[i] == Kind::Dummy(from));
            match dummy {
                Some(&i) => at = i,
                None => break,
            }
            chain.push(at);
        }
        chain.push(to);
        chain
    }
}

/// Puts nodes and dummies into layers; within a layer by name.
pub fn layers(nodes: &[Node<'_>], edges: &[(usize, usize)]) -> Layers {
    let mut ranks: Vec<u32> = nodes.iter().map(|n| n.rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let layer = |rank: u32| ranks.partition_point(|&r| r < rank);
    let mut items: Vec<Kind> = (0..nodes.len()).map(Kind::Node).collect();
    let mut layer_of: Vec<usize> = nodes.iter().map(|n| layer(n.rank)).collect();
    let mut links: Vec<(usize, usize)> = Vec::new();
    let mut chains: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut sorted: Vec<(usize, usize)> = edges.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for (from, to) in sorted {
        let mut at = from;
        for l in layer_of[from] + 1..layer_of[to] {
            let fresh = items.len();
            let dummy = *chains.entry((from, l)).or_insert(fresh);
            if dummy == fresh {
                items.push(Kind::Dummy(from));
                layer_of.push(l);
            }
            links.push((at, dummy));
            at = dummy;
        }
        links.push((at, to));
    }
    links.sort_unstable();
    links.dedup();
    let mut next = vec![Vec::new(); items.len()];
    let mut prev = vec![Vec::new(); items.len()];
    for (a, b) in links {
        next[a].push(b);
        prev[b].push(a);
    }
    let mut layers = vec![Vec::new(); ranks.len()];
    for (item, &l) in layer_of.iter().enumerate() {
        layers[l].push(item);
    }
    let name = |item: usize| match items[item] {
        Kind::Node(n) => (nodes[n].name, false, n),
        Kind::Dummy(n) => (nodes[n].name, true, n),
    };
    for column in &mut layers {
        column.sort_by(|&a, &b| name(a).cmp(&name(b)));
    }
    Layers { items, layer_of, ranks, layers, next, prev }
}

/// Ranks for a graph without waves: each node goes right after the last of those it depends on. None when the edges
/// form a circle or name a node that is not there.
pub fn longest_path(count: usize, edges: &[(usize, usize)]) -> Option<Vec<u32>> {
    let mut next = vec![Vec::new(); count];
    let mut missing = vec![0usize; count];
    for &(a, b) in edges {
        next.get_mut(a)?.push(b);
        *missing.get_mut(b)? += 1;
    }
    let mut ranks = vec![0u32; count];
    let mut ready: Vec<usize> = (0..count).filter(|&i| missing[i] == 0).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        for &to in &next[at] {
            ranks[to] = ranks[to].max(ranks[at] + 1);
            missing[to] -= 1;
            if missing[to] == 0 {
                ready.push(to);
            }
        }
    }
    (done == count).then_some(ranks)
}

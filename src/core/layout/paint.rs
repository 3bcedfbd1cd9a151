//! Cells: where columns and gutters lie, which arms each cell of wire has and whose they are, and the tables that turn
//! arms into glyphs. Where one wire passes under another, the vertical one stays whole and the horizontal one breaks; so
//! a junction is always a real one. Styles are not decided here.

use super::rank::{Kind, Layers};
use super::route::Gutter;
use super::{Area, Column, Node, Picture, Wire, Zoom};

/// Arms of a cell, a set of [`UP`], [`DOWN`], [`LEFT`], [`RIGHT`].
pub type Arms = u8;
/// Towards the row above.
pub const UP: Arms = 1;
/// Towards the row below.
pub const DOWN: Arms = 2;
/// Towards the column before.
pub const LEFT: Arms = 4;
/// Towards the next column.
pub const RIGHT: Arms = 8;

/// Which glyphs wires are drawn with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireSet {
    /// Box-drawing characters, rounded corners.
    Unicode,
    /// `- | + . '`
    Ascii,
}

/// One owner's arms in one cell.
#[derive(Clone, Copy, Default)]
struct Piece {
    y: u16,
    x: u16,
    net: u32,
    edge: u32,
    arms: Arms,
}

/// Puts the picture together.
#[allow(clippy::too_many_arguments)]
pub fn picture(
    nodes: &[Node<'_>],
    edges: &[(usize, usize)],
    zoom: Zoom,
    dense: bool,
    layers: &Layers,
    rows: &[i32],
    gutters: &[Gutter],
    crossings: u32,
) -> Picture {
    let mut x = 0u16;
    let mut columns = Vec::with_capacity(layers.layers.len());
    for (l, items) in layers.layers.iter().enumerate() {
        let labels = items.iter().filter_map(|&i| match layers.items[i] {
            Kind::Node(n) => Some(nodes[n].width),
            Kind::Dummy(_) => None,
        });
        let width = labels.max().unwrap_or(1).max(1);
        columns.push(Column { rank: layers.ranks[l], x, width });
        x = x.saturating_add(width).saturating_add(gutters.get(l).map_or(0, Gutter::width));
    }
    let row = |item: usize| u16::try_from(rows[item]).unwrap_or(0);
    let mut boxes: Vec<Area> = (0..nodes.len())
        .map(|n| {
            let column = columns[layers.layer_of[n]];
            Area { x: column.x, y: row(n), width: column.width, height: zoom.height() }
        })
        .collect();
    let mut pieces = Vec::with_capacity(edges.len() * 32);
    for (edge, &(from, to)) in edges.iter().enumerate() {
        trace(edge, &layers.chain(from, to), layers, rows, gutters, &columns, &mut pieces);
    }
    let mut wires = join(&by_cell(&pieces, x), gutters, &columns);
    let entries: std::collections::BTreeSet<(u16, u16)> =
        edges.iter().map(|&(_, to)| (boxes[to].y, boxes[to].x.saturating_sub(1))).collect();
    for wire in &mut wires {
        wire.arrow = entries.contains(&(wire.y, wire.x));
    }
    if dense {
        tighten(&mut boxes, &mut wires);
    }
    let low = boxes.iter().map(|b| b.y + b.height).chain(wires.iter().map(|w| w.y + 1));
    Picture { zoom, width: x, height: low.max().unwrap_or(0), boxes, columns, wires, crossings }
}

/// Walks one edge from the right of its source to the left of its target.
fn trace(
    edge: usize,
    chain: &[usize],
    layers: &Layers,
    rows: &[i32],
    gutters: &[Gutter],
    columns: &[Column],
    out: &mut Vec<Piece>,
) {
    let mut corners: Vec<(i32, i32)> = Vec::with_capacity(chain.len() * 6);
    let mut nets: Vec<(i32, u32)> = Vec::with_capacity(chain.len());
    for pair in chain.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let l = layers.layer_of[a];
        let (Some(gutter), column) = (gutters.get(l), columns[l]) else { continue };
        let found = gutter.nets.iter().enumerate().find_map(|(n, net)| {
            let start = net.sources.iter().find(|s| s.item == a)?;
            Some((n, net, start))
        });
        let Some((n, net, start)) = found else { continue };
        let x0 = i32::from(column.x) + i32::from(column.width);
        let end = x0 + i32::from(gutter.width()) - 1;
        corners.push((x0, rows[a]));
        if start.row != rows[a] {
            corners.extend([(x0 + 1, rows[a]), (x0 + 1, start.row)]);
        }
        if let Some(track) = net.track {
            let track = x0 + 1 + i32::from(gutter.jogs) + i32::try_from(track).unwrap_or(0);
            corners.extend([(track, start.row), (track, rows[b])]);
        }
        corners.push((end, rows[b]));
        nets.push((end, u32::try_from(n).unwrap_or(u32::MAX)));
    }
    let mut cells: Vec<(i32, i32)> = Vec::with_capacity(64);
    for &corner in &corners {
        let Some(&(mut x, mut y)) = cells.last() else {
            cells.push(corner);
            continue;
        };
        while (x, y) != corner {
            x += (corner.0 - x).signum();
            y += (corner.1 - y).signum();
            cells.push((x, y));
        }
    }
    let edge = u32::try_from(edge).unwrap_or(u32::MAX);
    let mut part = 0;
    for (n, &(x, y)) in cells.iter().enumerate() {
        let towards = |(ox, oy): (i32, i32)| match ((ox - x).signum(), (oy - y).signum()) {
            (1, _) => RIGHT,
            (-1, _) => LEFT,
            (_, 1) => DOWN,
            _ => UP,
        };
        let before = n.checked_sub(1).and_then(|p| cells.get(p)).map_or(LEFT, |&c| towards(c));
        let after = cells.get(n + 1).map_or(RIGHT, |&c| towards(c));
        while nets.get(part).is_some_and(|&(end, _)| x > end) && part + 1 < nets.len() {
            part += 1;
        }
        let net = nets.get(part).map_or(0, |n| n.1);
        let (x, y) = (u16::try_from(x).unwrap_or(0), u16::try_from(y).unwrap_or(0));
        out.push(Piece { y, x, net, edge, arms: before | after });
    }
}

/// Brings the pieces into the order of their cells, by counting: sorting them was most of the whole layout's time. In a
/// cell they stay in the order of the edges.
fn by_cell(pieces: &[Piece], width: u16) -> Vec<Piece> {
    let width = usize::from(width.max(1));
    let cell = |p: &Piece| usize::from(p.y) * width + usize::from(p.x).min(width - 1);
    let count = pieces.iter().map(cell).max().map_or(0, |m| m + 2);
    let mut starts = vec![0u32; count];
    for p in pieces {
        starts[cell(p) + 1] += 1;
    }
    for n in 1..count {
        starts[n] += starts[n - 1];
    }
    let mut out = vec![Piece::default(); pieces.len()];
    for p in pieces {
        let at = &mut starts[cell(p)];
        out[*at as usize] = *p;
        *at += 1;
    }
    out
}

/// Joins the pieces of each cell (in the order of cells), breaking what only passes under.
fn join(pieces: &[Piece], gutters: &[Gutter], columns: &[Column]) -> Vec<Wire> {
    let mut wires: Vec<Wire> = Vec::new();
    for cell in pieces.chunk_by(|a, b| (a.y, a.x) == (b.y, b.x)) {
        let all = cell.iter().fold(0, |m, p| m | p.arms);
        let several = cell.iter().any(|p| p.net != cell[0].net);
        let mut mask = all;
        if several && let Some(upright) = cell.iter().find(|p| p.arms & (UP | DOWN) != 0).map(|p| p.net) {
            let own = cell.iter().filter(|p| p.net == upright).fold(0, |m, p| m | p.arms);
            let gutter = columns.partition_point(|c| c.x <= cell[0].x).saturating_sub(1);
            let net = gutters.get(gutter).and_then(|g| g.nets.get(upright as usize));
            let leads_on = net.is_none_or(|n| n.targets.len() > 1);
            if own & RIGHT == 0 || leads_on {
                mask = own;
            }
        }
        let owners = cell.iter().map(|p| (p.edge, p.arms)).collect();
        wires.push(Wire { x: cell[0].x, y: cell[0].y, mask, arrow: false, owners });
    }
    wires
}

/// Drops the rows in which no box stands and wires only pass straight down.
fn tighten(boxes: &mut [Area], wires: &mut Vec<Wire>) {
    let low = boxes.iter().map(|b| b.y + b.height).chain(wires.iter().map(|w| w.y + 1)).max().unwrap_or(0);
    let mut needed = vec![false; usize::from(low)];
    for b in boxes.iter() {
        needed[usize::from(b.y)..usize::from(b.y + b.height)].fill(true);
    }
    for w in wires.iter().filter(|w| w.owners.iter().any(|o| o.1 & (LEFT | RIGHT) != 0)) {
        needed[usize::from(w.y)] = true;
    }
    let mut row = 0u16;
    let to: Vec<u16> = needed
        .iter()
        .map(|&n| {
            let at = row;
            row += u16::from(n);
            at
        })
        .collect();
    for b in boxes {
        b.y = to[usize::from(b.y)];
    }
    wires.retain(|w| needed[usize::from(w.y)]);
    for w in wires {
        w.y = to[usize::from(w.y)];
    }
}

/// The glyph for a cell: `mask` are its arms, `heavy` those of the selected path (a subset counts only where it lies in
/// the mask).
pub fn glyph(set: WireSet, mask: Arms, heavy: Arms) -> char {
    let heavy = heavy & mask;
    match set {
        WireSet::Ascii => ascii(mask, heavy),
        WireSet::Unicode => unicode(mask, heavy),
    }
}

const UD: Arms = UP | DOWN;
const LR: Arms = LEFT | RIGHT;

fn ascii(mask: Arms, heavy: Arms) -> char {
    match mask {
        0 => ' ',
        LEFT | RIGHT | LR => {
            if heavy == 0 {
                '-'
            } else {
                '='
            }
        }
        UP | DOWN | UD => '|',
        m if m & UP == 0 && m & LR != LR => '.',
        m if m & DOWN == 0 && m & LR != LR => '\'',
        _ => '+',
    }
}

/// Each shape with its 16 weights, indexed by the heavy arms; where an arm is not in the shape the index cannot occur.
fn unicode(mask: Arms, heavy: Arms) -> char {
    let pick = |pairs: &[(Arms, char)]| pairs.iter().find(|p| p.0 == heavy).map_or(' ', |p| p.1);
    match mask {
        UP => pick(&[(0, '╵'), (UP, '╹')]),
        DOWN => pick(&[(0, '╷'), (DOWN, '╻')]),
        LEFT => pick(&[(0, '╴'), (LEFT, '╸')]),
        RIGHT => pick(&[(0, '╶'), (RIGHT, '╺')]),
        UD => pick(&[(0, '│'), (UP, '╿'), (DOWN, '╽'), (UD, '┃')]),
        LR => pick(&[(0, '─'), (LEFT, '╾'), (RIGHT, '╼'), (LR, '━')]),
        m if m == DOWN | RIGHT => pick(&[(0, '╭'), (RIGHT, '┍'), (DOWN, '┎'), (DOWN | RIGHT, '┏')]),
        m if m == DOWN | LEFT => pick(&[(0, '╮'), (LEFT, '┑'), (DOWN, '┒'), (DOWN | LEFT, '┓')]),
        m if m == UP | RIGHT => pick(&[(0, '╰'), (RIGHT, '┕'), (UP, '┖'), (UP | RIGHT, '┗')]),
        m if m == UP | LEFT => pick(&[(0, '╯'), (LEFT, '┙'), (UP, '┚'), (UP | LEFT, '┛')]),
        m if m == UD | RIGHT => pick(&[
            (0, '├'),
            (RIGHT, '┝'),
            (UP, '┞'),
            (DOWN, '┟'),
            (UD, '┠'),
            (UP | RIGHT, '┡'),
            (DOWN | RIGHT, '┢'),
            (UD | RIGHT, '┣'),
        ]),
        m if m == UD | LEFT => pick(&[
            (0, '┤'),
            (LEFT, '┥'),
            (UP, '┦'),
            (DOWN, '┧'),
            (UD, '┨'),
            (UP | LEFT, '┩'),
            (DOWN | LEFT, '┪'),
            (UD | LEFT, '┫'),
        ]),
        m if m == DOWN | LR => pick(&[
            (0, '┬'),
            (LEFT, '┭'),
            (RIGHT, '┮'),
            (LR, '┯'),
            (DOWN, '┰'),
            (LEFT | DOWN, '┱'),
            (RIGHT | DOWN, '┲'),
            (DOWN | LR, '┳'),
        ]),
        m if m == UP | LR => pick(&[
            (0, '┴'),
            (LEFT, '┵'),
            (RIGHT, '┶'),
            (LR, '┷'),
            (UP, '┸'),
            (LEFT | UP, '┹'),
            (RIGHT | UP, '┺'),
            (UP | LR, '┻'),
        ]),
        m if m == UD | LR => pick(&[
            (0, '┼'),
            (LEFT, '┽'),
            (RIGHT, '┾'),
            (LR, '┿'),
            (UP, '╀'),
            (DOWN, '╁'),
            (UD, '╂'),
            (LEFT | UP, '╃'),
            (RIGHT | UP, '╄'),
            (LEFT | DOWN, '╅'),
            (RIGHT | DOWN, '╆'),
            (UP | LR, '╇'),
            (DOWN | LR, '╈'),
            (UD | LEFT, '╉'),
            (UD | RIGHT, '╊'),
            (UD | LR, '╋'),
        ]),
        _ => ' ',
    }
}

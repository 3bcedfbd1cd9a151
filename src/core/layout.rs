//! The picture of the dependency graph in integer cells: one column a wave, left to right, fixed boxes, wires in the
//! gutters between. Pure geometry: the same nodes, edges and zoom give the same picture, byte for byte. Neither status
//! nor colour nor a terminal is known here; so a box cannot move because a weight did.
//!
//! The phases, one a file: `rank` (waves and the dummy items of edges that skip one), `order` (within a column), `place`
//! (rows), `route` (tracks in the gutters), `paint` (cells, and masks to glyphs).

mod order;
pub mod paint;
mod place;
mod rank;
mod route;

pub use paint::{Arms, DOWN, LEFT, RIGHT, UP, WireSet, glyph};
pub use rank::longest_path;

/// A node to place.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Breaks ties, so that the same manifest always gives the same picture.
    pub name: &'a str,
    /// Its column: the wave.
    pub rank: u32,
    /// How many cells its label needs at this zoom; a column is as wide as its widest label.
    pub width: u16,
}

/// How much of a box is shown. The height of every box follows from it alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Zoom {
    /// One glyph.
    Glyph,
    /// One row: glyph, name, weight.
    Line,
    /// Three rows: name, versions, weight bar.
    Bar,
    /// Five rows: the same, the step in words, the gate's spark line.
    Full,
}

impl Zoom {
    /// Closest first.
    pub const ALL: [Self; 4] = [Self::Full, Self::Bar, Self::Line, Self::Glyph];

    /// Rows of a box.
    pub const fn height(self) -> u16 {
        match self {
            Self::Glyph | Self::Line => 1,
            Self::Bar => 3,
            Self::Full => 5,
        }
    }

    /// One level closer, if there is one.
    pub const fn closer(self) -> Self {
        match self {
            Self::Glyph => Self::Line,
            Self::Line => Self::Bar,
            Self::Bar | Self::Full => Self::Full,
        }
    }

    /// One level farther, if there is one.
    pub const fn farther(self) -> Self {
        match self {
            Self::Full => Self::Bar,
            Self::Bar => Self::Line,
            Self::Line | Self::Glyph => Self::Glyph,
        }
    }
}

/// A rectangle of cells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Area {
    /// Left column.
    pub x: u16,
    /// Top row.
    pub y: u16,
    /// Cells wide.
    pub width: u16,
    /// Cells high.
    pub height: u16,
}

/// One column of boxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// The wave.
    pub rank: u32,
    /// Left column of its boxes.
    pub x: u16,
    /// Cells wide.
    pub width: u16,
}

/// One cell of wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Column.
    pub x: u16,
    /// Row.
    pub y: u16,
    /// The arms to draw ([`UP`], [`DOWN`], [`LEFT`], [`RIGHT`]). A wire that passes under another is not in it.
    pub mask: Arms,
    /// True where a wire enters a box.
    pub arrow: bool,
    /// The edges that run through, by index, each with its own arms.
    pub owners: Vec<(u32, Arms)>,
}

/// The graph in cells. The first row of a box carries its ports: wires leave it on the right and enter it on the left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Zoom it was made for.
    pub zoom: Zoom,
    /// Cells wide.
    pub width: u16,
    /// Cells high.
    pub height: u16,
    /// One a node, in the order given.
    pub boxes: Vec<Area>,
    /// One a rank, left to right.
    pub columns: Vec<Column>,
    /// Wires, by row, then column.
    pub wires: Vec<Wire>,
    /// How many pairs of wires cross, counted between neighbouring columns.
    pub crossings: u32,
}

/// Why there is no picture.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// An edge does not lead to a later column (or names a node that is not there).
    #[error("edge {0} does not lead to a later column")]
    Backward(usize),
    /// More than [`NODES_MAX`] nodes or [`EDGES_MAX`] edges; a list shows so many better.
    #[error("too large to draw")]
    TooLarge,
}

/// Most nodes that are drawn.
pub const NODES_MAX: usize = 500;
/// Most edges that are drawn.
pub const EDGES_MAX: usize = 3000;

/// Lays the graph out. `dense` drops the rows that no box and no bend needs.
pub fn lay_out(nodes: &[Node<'_>], edges: &[(usize, usize)], zoom: Zoom, dense: bool) -> Result<Picture, Problem> {
    if nodes.len() > NODES_MAX || edges.len() > EDGES_MAX {
        return Err(Problem::TooLarge);
    }
    if let Some(bad) =
        edges.iter().position(|&(a, b)| !matches!((nodes.get(a), nodes.get(b)), (Some(a), Some(b)) if a.rank < b.rank))
    {
        return Err(Problem::Backward(bad));
    }
    let mut layers = rank::layers(nodes, edges);
    let crossings = order::order(&mut layers);
    let rows = place::rows(&layers, zoom);
    let gutters = route::gutters(&layers, &rows);
    Ok(paint::picture(nodes, edges, zoom, dense, &layers, &rows, &gutters, crossings))
}

#[cfg(test)]
mod tests;

//! Paints the wires of a laid-out graph through a window, those of the selected path heavy. Boxes are the view's.

use std::collections::BTreeSet;

use ratatui::layout::Rect;

use crate::cockpit::ink::Ink;
use crate::cockpit::theme::Role;
use crate::core::layout::{LEFT, Picture, RIGHT, glyph};

/// Where the window onto a picture lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Cells on the screen.
    pub area: Rect,
    /// Column and row of the picture at the window's upper left.
    pub from: (u16, u16),
}

impl Window {
    /// Where a cell of the picture lies on the screen; none outside the window.
    pub fn place(&self, x: u16, y: u16) -> Option<(u16, u16)> {
        let (x, y) = (x.checked_sub(self.from.0)?, y.checked_sub(self.from.1)?);
        (x < self.area.width && y < self.area.height).then_some((self.area.x + x, self.area.y + y))
    }
}

/// Edges from and to a node, by all ways.
pub fn path(edges: &[(usize, usize)], node: usize) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for forward in [true, false] {
        let mut seen = BTreeSet::from([node]);
        let mut todo = vec![node];
        while let Some(at) = todo.pop() {
            for (n, &(a, b)) in (0u32..).zip(edges) {
                let (here, there) = if forward { (a, b) } else { (b, a) };
                if here == at {
                    found.insert(n);
                    if seen.insert(there) {
                        todo.push(there);
                    }
                }
            }
        }
    }
    found
}

/// Paints the wires; `heavy` are the edges of the selected path.
pub fn wires(ink: &mut Ink<'_>, window: &Window, picture: &Picture, heavy: &BTreeSet<u32>) {
    for wire in &picture.wires {
        let Some((x, y)) = window.place(wire.x, wire.y) else { continue };
        let strong = wire.owners.iter().filter(|o| heavy.contains(&o.0)).fold(0, |m, o| m | o.1) & wire.mask;
        let role = if strong == 0 { Role::Wire } else { Role::WirePath };
        let straight = wire.mask == LEFT | RIGHT;
        let glyph = if wire.arrow && straight { ink.g.arrow } else { glyph(ink.g.wires, wire.mask, strong) };
        ink.cell(window.area, x, y, glyph, role);
    }
}

//! Rows: where each item of a column stands. Each wants the median of its neighbours; the order of the column and the
//! heights of the boxes are kept (isotonic regression, block by block). All in units of two rows, so that between any
//! two port rows there is a row that no port uses and a wire may bend in.

use super::Zoom;
use super::rank::{Kind, Layers};

/// Rounds of fitting, alternately to the columns before and after.
const ROUNDS: usize = 8;

/// The port row of every item; the top one is row 0.
pub fn rows(layers: &Layers, zoom: Zoom) -> Vec<i32> {
    let units = i32::from(zoom.height() + 1) / 2;
    let tall = |item: usize| if matches!(layers.items[item], Kind::Node(_)) { units } else { 1 };
    let mut at = vec![0i32; layers.items.len()];
    for column in &layers.layers {
        let mut y = 0;
        for &item in column {
            at[item] = y;
            y += tall(item);
        }
    }
    let count = layers.layers.len();
    for round in 0..ROUNDS {
        let last = round + 1 == ROUNDS;
        for step in 0..count {
            let l = if round % 2 == 0 { step } else { count - 1 - step };
            let column = &layers.layers[l];
            let wanted: Vec<i32> = column
                .iter()
                .map(|&item| {
                    let (prev, next) = (&layers.prev[item], &layers.next[item]);
                    let mut near: Vec<i32> = match (round % 2 == 0, last) {
                        (_, true) => prev.iter().chain(next).map(|&n| at[n]).collect(),
                        (true, _) => prev.iter().map(|&n| at[n]).collect(),
                        (false, _) => next.iter().map(|&n| at[n]).collect(),
                    };
                    if near.is_empty() {
                        near.push(at[item]);
                    }
                    median(&mut near)
                })
                .collect();
            let mut offset = Vec::with_capacity(column.len());
            let mut sum = 0;
            for &item in column {
                offset.push(sum);
                sum += tall(item);
            }
            let free: Vec<i32> = wanted.iter().zip(&offset).map(|(w, o)| w - o).collect();
            for ((&item, fitted), o) in column.iter().zip(isotonic(&free)).zip(&offset) {
                at[item] = fitted + o;
            }
        }
    }
    let top = at.iter().copied().min().unwrap_or(0);
    at.iter().map(|y| (y - top) * 2).collect()
}

/// The lower median.
fn median(values: &mut [i32]) -> i32 {
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}

/// The closest sequence that never falls: neighbouring values that would are pooled to their median.
fn isotonic(values: &[i32]) -> Vec<i32> {
    let mut blocks: Vec<(i32, Vec<i32>)> = Vec::new();
    for &v in values {
        let mut block = (v, vec![v]);
        while let Some(before) = blocks.pop_if(|b| b.0 > block.0) {
            let mut all = before.1;
            all.append(&mut block.1);
            block = (median(&mut all), all);
        }
        blocks.push(block);
    }
    blocks.into_iter().flat_map(|(v, all)| std::iter::repeat_n(v, all.len())).collect()
}

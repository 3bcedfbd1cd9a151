//! Small drawings that views put together: each takes values and a room, none knows the model.

pub mod chart;
pub mod dag;
pub mod spark;
pub mod weightbar;

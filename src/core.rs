//! The pure core: values in, values out. No clock, I/O, threads, randomness, logging or async in this room or below it;
//! time arrives inside events. `tests/tidy.rs` fails when something here reaches outside.

pub mod confirm;
pub mod effect;
pub mod finding;
pub mod flag;
pub mod gate;
pub mod graph;
pub mod guard;
pub mod image;
pub mod intent;
pub mod layout;
pub mod manifest;
pub mod migration;
pub mod object;
pub mod order;
pub mod owner;
pub mod plan;
pub mod record;
pub mod repository;
pub mod series;
pub mod snapshot;
pub mod template;
pub mod text;
pub mod train;
pub mod verb;
pub mod verified;
pub mod workload;

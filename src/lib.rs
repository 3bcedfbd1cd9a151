//! footplate: a terminal cockpit for release trains on Kubernetes.
//!
//! Imports run one way: `cockpit`, `cli` → `engine` → `ports` → `core`, and `adapters` → `ports` → `core`. Only the
//! binary and the tests wire adapters in. `tests/tidy.rs` holds the rule; `ARCHITECTURE.md` says why.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod adapters;
pub mod cli;
pub mod cockpit;
pub mod config;
pub mod core;
pub mod engine;
pub mod ports;
pub mod rehearsal;

//! The tests that need a real Kubernetes control plane and a real Prometheus: `cargo test --test real`.
//! Only names the rooms; what is simulated, and what a unit test can prove, belongs elsewhere.
//!
//! The first run builds the control plane (`controlplane/build.sh`, about a quarter of an hour); later ones start it in seconds.
//! Each test has a namespace of its own, so all of them run at once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod act;
mod adapter;
mod audit;
mod board;
mod cockpit;
#[path = "../conformance.rs"]
mod conformance;
mod controlplane;
mod doctor;
mod gates;
mod holders;
mod openfeature;
mod outage;
#[path = "../pty/program.rs"]
mod program;
mod prometheus;
mod roles;
mod sample;
mod status;
mod survival;
mod table;
mod traffic;
mod train;
mod wire;

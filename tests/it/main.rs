//! Tests of the whole package from outside: the binary's contract, inputs of every kind, the rehearsal cluster's wire.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod bad;
mod clients;
#[path = "../conformance.rs"]
mod conformance;
mod engine;
mod flags;
mod fleet;
mod gates;
#[path = "../made.rs"]
mod made;
mod objects;
mod plan;
#[path = "../pty/program.rs"]
mod program;
mod screens;
mod table;
mod terminal;
mod wire;

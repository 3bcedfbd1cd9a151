//! Tests of the whole package from outside: the binary's contract, inputs of every kind, the rehearsal cluster's wire.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod bad;
mod binary;
mod captain;
mod clients;
mod config;
#[path = "../conformance.rs"]
mod conformance;
mod doctor;
mod engine;
mod flags;
mod fleet;
mod frozen;
mod gates;
mod guard_campaign;
mod handling;
mod hostile;
mod judging;
mod looking_back;
#[path = "../made.rs"]
mod made;
mod objects;
mod outage;
mod plan;
#[path = "../pty/program.rs"]
mod program;
mod rehearsals;
mod screens;
mod served;
mod settings;
mod table;
mod terminal;
mod wire;
mod wire_campaign;

//! Tests of the whole package from outside: the binary's contract, inputs of every kind, the rehearsal cluster's wire.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad;
mod clients;
mod plan;
mod wire;

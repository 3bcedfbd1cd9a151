//! Tests of the whole package from outside: the binary's contract, and inputs of every kind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad;
mod plan;

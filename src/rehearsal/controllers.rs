//! The controllers of the simulated cluster. Each reconciles one object from what the store holds, as the real one does;
//! `agenda.rs` says who is due when, `desk.rs` what a controller may touch. What belongs to the world outside (traffic,
//! metrics, scenarios) is not here.

pub mod agenda;
pub mod analysis_run;
pub mod deployment;
pub mod desk;
pub mod fields;
pub mod hash;
pub mod job;
pub mod pod;
pub mod replica_set;
pub mod rollout;

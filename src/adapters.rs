//! One real system a file, each behind a trait of `ports.rs`. Adapters carry out and report; they decide nothing, and
//! text from outside is scrubbed here, once.

pub mod clock;
pub mod conditions;
pub mod flagd;
pub mod git;
pub mod journal;
pub mod kubernetes;
mod outward;
pub mod probe;
pub mod prometheus;
pub mod repo;
pub mod webhook;

//! What teams write, as values: the release manifest, the services, the environment repository's own settings. Text comes
//! in with its name, values and findings go out, all findings of a file at once. Where files lie and how they are read
//! is not known here; how services depend on each other is `graph.rs`.

pub mod footplate;
pub mod reader;
pub mod release;
pub mod service;
pub mod yaml;

pub use footplate::{Environment, Footplate};
pub use release::{FlagValue, Pin, Release};
pub use service::{GateBy, Service, WorkloadKind};

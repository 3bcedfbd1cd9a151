//! What a person set for themselves, and where the program keeps its own files. Never secrets, and nothing that decides
//! how a train runs: that is footplate.yaml.

pub mod files;
pub mod layers;
pub mod pattern;
pub mod places;
pub mod settings;
pub mod template;
pub mod tree;

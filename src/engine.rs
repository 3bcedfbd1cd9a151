//! The only loop. It watches, folds what it sees into a world, drives what people order, and publishes snapshots; screens
//! read them and send intents. Knows ports and core, no terminal and no wire format.

pub mod gates;

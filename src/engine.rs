//! The only loop. It watches, folds what it sees into a [`world::World`], drives what people order, and publishes
//! snapshots; screens read them and send intents. Knows ports and core, no terminal and no wire format.

pub mod act;
pub mod captain;
pub mod carry;
pub mod conduct;
pub mod depart;
pub mod eyes;
pub mod facts;
pub mod flags;
pub mod freshness;
pub mod gates;
pub mod look;
pub mod order;
pub mod past;
pub mod pods;
pub mod replay;
pub mod run;
pub mod scope;
pub mod snapshot;
pub mod trains;
pub mod world;

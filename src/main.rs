//! The thin binary: wires the adapters in and hands over to the command line.
fn main() {}

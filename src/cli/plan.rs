//! `footplate plan`: what a train of a release would do, in several formats. No cluster is asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::console::Console;
use super::failure::Failure;
use super::{Global, Wiring, repository};
use crate::core::plan::{json, plan};

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The release manifest
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub output: Format,
}

/// Formats of a plan.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The whole plan as JSON
    Json,
}

/// Prints the plan.
pub fn run(args: &PlanArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let repository = repository::load(&args.manifest, global, wiring, console)?;
    let plan = plan(&repository);
    console.data(&match args.output {
        Format::Json => json::render(&plan),
    })
}

//! `footplate plan`: what a train of a release would do, in several formats. No cluster is asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::{Global, Wiring, repository};
use crate::core::plan::{dot, json, mermaid, plan, svg, table};

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The release manifest
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Formats of a plan.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A table for people
    Table,
    /// The whole plan as JSON
    Json,
    /// A Graphviz digraph
    Dot,
    /// A Mermaid flowchart
    Mermaid,
    /// A picture
    Svg,
}

/// Prints the plan.
pub fn run(args: &PlanArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let repository = repository::load(&args.manifest, global, wiring, console)?;
    let plan = plan(&repository);
    console.data(&match args.output {
        Format::Table => table::render(&plan),
        Format::Json => json::render(&plan),
        Format::Dot => dot::render(&plan),
        Format::Mermaid => mermaid::render(&plan),
        Format::Svg => svg::render(&plan).map_err(|problem| {
            Failure::new(FailureKind::Input, "no picture of this plan", "use -o dot or -o mermaid")
                .because(problem.to_string())
        })?,
    })
}

//! `footplate generate`: what packagers and shells want, made from the command line's own description.

use clap::{Args, CommandFactory, ValueEnum};

use super::Cli;
use super::console::Console;
use super::failure::{Failure, FailureKind};

/// Arguments of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What to write
    pub what: What,
    /// For which shell (completions)
    #[arg(required_if_eq("what", "completions"))]
    pub shell: Option<clap_complete::Shell>,
}

/// What can be written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Completions of a shell
    Completions,
    /// The man page
    Man,
}

/// Writes it to stdout.
pub fn run(args: &GenerateArgs, console: &Console) -> Result<(), Failure> {
    let mut command = Cli::command();
    let mut out = Vec::new();
    match (args.what, args.shell) {
        (What::Completions, Some(shell)) => clap_complete::generate(shell, &mut command, "footplate", &mut out),
        (What::Completions, None) => {
            return Err(Failure::new(FailureKind::Input, "no shell was named", "generate completions bash"));
        }
        (What::Man, _) => clap_mangen::Man::new(command)
            .render(&mut out)
            .map_err(|error| Failure::io("the man page", &error, "report this"))?,
    }
    console.data(&String::from_utf8_lossy(&out))
}

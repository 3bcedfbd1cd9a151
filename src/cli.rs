//! The command line (design.md §6): arguments, and which file of `cli/` carries a command out. stdout is data, stderr is
//! talk, the exit code is the answer. Real systems come in through [`Wiring`]; nothing here names an adapter.
//!
//! A new command: its arguments and `run` in a file of `cli/`, a variant of [`Command`], an arm in [`run`]. What it needs
//! of the outside: a field of [`Wiring`], filled in by `main.rs`.

pub mod act;
pub mod cockpit;
pub mod console;
pub mod depart;
pub mod doctor;
pub mod failure;
pub mod flag;
pub mod generate;
pub mod history;
pub mod incident;
pub mod install;
pub mod log;
pub mod on_train;
pub mod ordering;
pub mod person;
pub mod place;
pub mod plan;
pub mod rehearse;
pub mod replay;
pub mod repository;
pub mod run;
pub mod screen;
pub mod status;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::config::places::Places;
use crate::core::order::Want;
use crate::core::text::Text;
use crate::ports::{
    Clock, Cluster, Clusters, Conditions, ConfigHistory, Fault, FlagFile, Journal, Metrics, Post, Probe, Repo,
};
use crate::rehearsal::serve::Router;
use console::Console;
use failure::Failure;
use person::Own;

pub use crate::config::settings::{Glyphs, When};

/// Opens the journal at a path.
pub type JournalAt = Box<dyn Fn(&Path) -> Result<Arc<dyn Journal>, Fault> + Send + Sync>;

/// Most lines of a usage error that are printed.
const USAGE_LINES_MAX: usize = 100;
/// Most lines of a panic that are printed, with a backtrace where one was asked for.
const PANIC_LINES_MAX: usize = 400;
/// Opens the metric store at an address that the operator named.
pub type MetricsAt = Arc<dyn Fn(&str) -> Result<Arc<dyn Metrics>, Fault> + Send + Sync>;

/// Reaches the simulated cluster that answers behind this router, and its metric store, through the adapters for real ones;
/// with a namespace, and the seed of what a client leaves to chance.
pub type RehearsalAt = Arc<dyn Fn(Router, &str, u64) -> (Arc<dyn Cluster>, Arc<dyn Metrics>) + Send + Sync>;

/// The history of the repository whose root is this folder.
pub type HistoryAt = Box<dyn Fn(&Path) -> Arc<dyn ConfigHistory> + Send + Sync>;

/// The flag file at a path.
pub type FlagFileAt = Arc<dyn Fn(&Path) -> Arc<dyn FlagFile> + Send + Sync>;

/// The real systems, as the binary wires them in.
pub struct Wiring {
    /// The environment repository.
    pub repo: Box<dyn Repo>,
    /// The clusters of this person's kubeconfig.
    pub clusters: Arc<dyn Clusters>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Opens the journal at a path.
    pub journal: JournalAt,
    /// Opens the metric store at an address.
    pub metrics: MetricsAt,
    /// Evaluates analysis conditions.
    pub conditions: Arc<dyn Conditions>,
    /// Reaches the simulated cluster.
    pub rehearsal: RehearsalAt,
    /// Names the flag file at a path.
    pub flag_file: FlagFileAt,
    /// Names the history of a repository.
    pub history: HistoryAt,
    /// Delivers events of a train.
    pub post: Arc<dyn Post>,
    /// Makes synthetic checks.
    pub probe: Arc<dyn Probe>,
}

/// A terminal cockpit for release trains on Kubernetes.
#[derive(Parser, Debug)]
#[command(name = "footplate", version, max_term_width = 100)]
pub struct Cli {
    /// Where and how, for every command.
    #[command(flatten)]
    pub global: Global,
    /// Without a command the cockpit opens.
    #[command(flatten)]
    pub cockpit: cockpit::CockpitArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Environment of footplate.yaml: its context, namespace and rules
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub env: Option<String>,
    /// Kube context, in place of an environment
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "env", help_heading = "Everywhere")]
    pub context: Option<String>,
    /// Namespace, in place of an environment's
    #[arg(long, short = 'n', global = true, value_name = "NAME", conflicts_with = "env", help_heading = "Everywhere")]
    pub namespace: Option<String>,
    /// Folder of services [default: services/ at the root of the repository]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub services: Option<PathBuf>,
    /// Change nothing, whatever is ordered
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub read_only: bool,
    /// Act on a context that your settings make read-only by its name
    #[arg(long, global = true, conflicts_with = "read_only", help_heading = "Everywhere")]
    pub write: bool,
    /// Colour [default: auto; NO_COLOR is heeded]
    #[arg(long, global = true, value_name = "WHEN", help_heading = "Everywhere")]
    pub color: Option<When>,
    /// Which characters to draw with [default: auto]
    #[arg(long, global = true, value_name = "SET", help_heading = "Everywhere")]
    pub glyphs: Option<Glyphs>,
    /// How the screen looks [default: terminal; `footplate generate themes` names all]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub theme: Option<String>,
    /// Write a log there, one JSON object a line
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub log_file: Option<PathBuf>,
    /// What goes into the log
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        requires = "log_file",
        help_heading = "Everywhere"
    )]
    pub log_level: log::Level,
    /// What the person set, all layers laid over each other; filled in before a command runs
    #[arg(skip)]
    pub own: Arc<Own>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Open the cockpit [default]
    Cockpit(cockpit::CockpitArgs),
    /// Run a train on the embedded cluster
    Rehearse(rehearse::RehearseArgs),
    /// Show what a train of this release would do, and in which order
    Plan(plan::PlanArgs),
    /// Show what every service is doing
    Status(status::StatusArgs),
    /// Deploy the pinned version of a service
    Start(act::ActArgs),
    /// Hold a service, or all in flight, where they are
    Pause(act::ActArgs),
    /// End a hold
    Resume(act::ActArgs),
    /// Approve the pause that waits
    Promote(act::PromoteArgs),
    /// Take the traffic of a canary back, now
    Abort(act::ActArgs),
    /// Try an aborted version again
    Retry(act::ActArgs),
    /// Restart the pods of a service
    Restart(act::ActArgs),
    /// Go back to what was live before
    Undo(act::UndoArgs),
    /// Store the link of an incident in the Release
    Incident(incident::IncidentArgs),
    /// Set a flag: on, off, or for a share of users
    Flag(flag::FlagArgs),
    /// Bring one train to its end, without a screen
    Run(run::RunArgs),
    /// Conduct whatever train is active here, until stopped
    Conduct(run::ConductArgs),
    /// Take the present train over from whoever conducts it
    TakeOver(run::TakeOverArgs),
    /// Print what a cluster needs for trains: definition, roles, a conductor
    Install(install::InstallArgs),
    /// Show the trains that ran here, and how fast and how safely changes get there
    History(history::HistoryArgs),
    /// Go through a recorded train on the screen, or as lines of text
    Replay(replay::ReplayArgs),
    /// Check settings, cluster, rights, metrics and terminal, and say what to do
    Doctor(doctor::DoctorArgs),
    /// Write completions, man pages, a settings file, the keys or the themes to stdout
    Generate(generate::GenerateArgs),
}

impl Cli {
    /// True for what must not be held up by a mistake in a person's settings: what goes in the safe direction, and what
    /// helps to mend them.
    fn bears_broken_settings(&self) -> bool {
        match &self.command {
            Some(Command::Pause(_) | Command::Abort(_) | Command::Undo(_) | Command::Doctor(_)) => true,
            Some(Command::Flag(args)) => args.goes_off(),
            Some(Command::Generate(args)) => !args.what.needs_settings(),
            _ => false,
        }
    }
}

/// A panic says what it has to say in inert text: its message may quote what the cluster sent.
fn tame_panics() {
    std::panic::set_hook(Box::new(|info| {
        let backtrace = std::backtrace::Backtrace::capture();
        let traced = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        let trace = if traced { backtrace.to_string() } else { String::new() };
        let said = format!("{info}\nthis is a defect of footplate: please report it\n{trace}");
        for line in Text::scrub_lines(&said, PANIC_LINES_MAX) {
            // Nobody may be there to hear it.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }));
}

/// Reads the arguments, carries the command out, says what went wrong, answers with the exit code.
pub async fn run(wiring: Wiring) -> ExitCode {
    tame_panics();
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are an answer, everything else is bad usage, which repeats what was typed: scrubbed.
            if !usage.use_stderr() {
                let _ = usage.print();
                return ExitCode::SUCCESS;
            }
            for line in Text::scrub_lines(&usage.render().to_string(), USAGE_LINES_MAX) {
                // Nobody may be there to hear it.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            return ExitCode::from(2);
        }
    };
    let env = |key: &str| std::env::var_os(key);
    let own = Own::load(&cli.global, &Places::find(env), env);
    let console = Console::new(own.person.color.value, own.person.glyphs.value);
    let settled = if cli.bears_broken_settings() {
        own.may(&console);
        Ok(())
    } else {
        own.must(&console)
    };
    cli.global.own = Arc::new(own);
    let answer = match settled.and_then(|()| log::start(&cli.global)) {
        Ok(()) => carry_out(&cli, &wiring, &console).await,
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.fail(&failure);
            failure.exit_code()
        }
    }
}

async fn carry_out(cli: &Cli, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let Some(command) = &cli.command else {
        return cockpit::run(&cli.cockpit, &cli.global, wiring, console).await;
    };
    match command {
        Command::Cockpit(args) => cockpit::run(args, &cli.global, wiring, console).await,
        Command::Rehearse(args) => rehearse::run(args, &cli.global, wiring, console).await,
        Command::Plan(args) => plan::run(args, &cli.global, wiring, console),
        Command::Status(args) => status::run(args, &cli.global, wiring, console).await,
        Command::Start(args) => act::run(Want::Start, args, &cli.global, wiring, console).await,
        Command::Pause(args) => act::run(Want::Pause, args, &cli.global, wiring, console).await,
        Command::Resume(args) => act::run(Want::Resume, args, &cli.global, wiring, console).await,
        Command::Promote(args) => act::promote(args, &cli.global, wiring, console).await,
        Command::Abort(args) => act::run(Want::Abort, args, &cli.global, wiring, console).await,
        Command::Retry(args) => act::run(Want::Retry, args, &cli.global, wiring, console).await,
        Command::Restart(args) => act::run(Want::Restart, args, &cli.global, wiring, console).await,
        Command::Undo(args) => act::undo(args, &cli.global, wiring, console).await,
        Command::Incident(args) => incident::run(args, &cli.global, wiring, console).await,
        Command::Flag(args) => flag::run(args, &cli.global, wiring, console).await,
        Command::Run(args) => run::run(args, &cli.global, wiring, console).await,
        Command::Conduct(args) => run::conduct(args, &cli.global, wiring, console).await,
        Command::TakeOver(args) => run::take_over(args, &cli.global, wiring, console).await,
        Command::Install(args) => install::run(args, &cli.global, console),
        Command::History(args) => history::run(args, &cli.global, wiring, console).await,
        Command::Replay(args) => replay::run(args, &cli.global, wiring, console).await,
        Command::Doctor(args) => doctor::run(args, &cli.global, wiring, console).await,
        Command::Generate(args) => generate::run(args, &cli.global, console),
    }
}

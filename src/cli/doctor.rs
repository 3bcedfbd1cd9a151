//! `footplate doctor`: what an on-call runs first. Looks at everything that the other commands rest on, all that can go at
//! once at once and each with a deadline, and says of each part whether it is well, why not, and what to do. Changes
//! nothing but a file of its own in the state directory, which it removes again.

mod cluster;
mod machine;
mod metrics;
mod report;
mod rights;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::place::{self, Target};
use super::repository;
use super::status::Format;
use super::{Global, Wiring};
use crate::core::text::Text;
use crate::text;
use report::{Check, Report};

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// The release manifest [default: release.yaml of this folder or its repository]
    #[arg(value_name = "MANIFEST")]
    pub manifest: Option<PathBuf>,
    /// Prometheus to ask [default: the environment's in footplate.yaml]
    #[arg(long, value_name = "URL", env = "FOOTPLATE_PROMETHEUS")]
    pub prometheus: Option<String>,
    /// Seconds after which what has not answered is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub deadline: u64,
    /// How the answer is written
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// When everything must have answered.
#[derive(Clone, Copy, Debug)]
struct Until {
    end: tokio::time::Instant,
    seconds: u64,
}

impl Until {
    /// Waits for an answer; none when it does not come in time. Also how long it took.
    async fn wait<T>(self, answer: impl Future<Output = T>) -> (Option<T>, Duration) {
        let begun = Instant::now();
        let answer = tokio::time::timeout_at(self.end, answer).await.ok();
        (answer, begun.elapsed())
    }

    /// In words.
    fn late(self) -> Text {
        text!("no answer within {} s", self.seconds)
    }
}

/// Looks at everything, prints it, and answers with the worst.
pub async fn run(args: &DoctorArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let begun = Instant::now();
    let until = Until { end: tokio::time::Instant::now() + Duration::from_secs(args.deadline), seconds: args.deadline };
    let mut report = Report::default();
    report.extend(machine::checks(global, wiring));
    let (here, found) = repository_checks(args, global, wiring, console);
    report.extend(found);
    let contexts = wiring.clusters.contexts();
    report.push(cluster::kubeconfig(&contexts));
    let target = match here {
        Some(here) => place::of(here, global, wiring).map_err(|failure| cluster::no_place(&contexts, failure)),
        None => Err(Check::unknown("cluster.context", "context", "the environment that was named is not known")),
    };
    match target {
        Err(check) => report.push(check),
        Ok(target) => {
            report.place(&target.scope.place);
            report.push(cluster::context(&target, &contexts));
            let address = args.prometheus.as_deref().map(Text::scrub).or_else(|| target.prometheus.clone());
            let Target { scope, .. } = &target;
            let (cluster, metrics) = tokio::join!(
                cluster::checks(&target, wiring, until),
                metrics::checks(address, target.repository.as_ref(), scope, wiring, until)
            );
            report.extend(cluster);
            report.extend(metrics);
        }
    }
    report.took(begun.elapsed());
    let out = match args.output {
        Format::Json => report.json(),
        Format::Table => report.table(console),
    };
    console.data(&out)?;
    report.failure().map_or(Ok(()), Err)
}

/// The repository that the command is called in. Its findings are said in full on stderr, here only counted.
fn repository_checks(
    args: &DoctorArgs,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> (Option<repository::Here>, Vec<Check>) {
    let (id, what) = ("repository.files", "environment repository");
    match repository::here(args.manifest.as_deref(), global, wiring, console) {
        Err(failure) => (
            None,
            vec![Check::fail(id, what, FailureKind::Input, failure.what, "see the findings above, and mend them")],
        ),
        Ok(here) => {
            let check = match (&here.broken, &here.repository) {
                (Some(broken), _) => {
                    let next = "see the findings above; pause, abort and undo work without the manifest";
                    Check::fail(id, what, FailureKind::Input, broken.what.clone(), next)
                }
                (None, Some(repository)) => {
                    let (services, waves) = (repository.release.services.len(), repository.graph.waves);
                    let said = text!("release {}: {services} services in {waves} waves", repository.release.name);
                    Check::pass(id, what, said)
                }
                (None, None) if here.footplate.environments.is_empty() => {
                    Check::pass(id, what, "none here; workloads are shown as they are found")
                }
                (None, None) => {
                    let said = text!("{} environments, no release.yaml", here.footplate.environments.len());
                    Check::pass(id, what, said)
                }
            };
            (Some(here), vec![check])
        }
    }
}

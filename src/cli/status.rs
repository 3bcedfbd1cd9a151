//! `footplate status`: what every service is doing now, once or as it changes, for people and for programs
//! (design.md §6).

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::console::Console;
use super::failure::Failure;
use super::place::{Strictness, Target, resolve};
use super::{Global, Wiring};
use crate::core::object::ObjectKind;
use crate::core::snapshot::{TrainShown, Verdict};
use crate::core::text::Text;
use crate::core::train::Phase as TrainPhase;
use crate::core::workload::{Phase, Workload};
use crate::engine::gates::Moment;
use crate::engine::look::{look, look_at_trains};
use crate::engine::scope::Scope;
use crate::engine::snapshot::absence;
use crate::engine::trains::of_one_look;
use crate::engine::world::World;

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The release manifest [default: release.yaml of this folder or its repository]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Plain lines, without colour
    #[arg(long, conflicts_with = "output")]
    pub plain: bool,
    /// Format
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Formats of a status.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A table
    Table,
    /// One JSON object
    Json,
}

/// The status as programs read it. The names and the order are a contract.
#[derive(Serialize)]
struct Status<'a> {
    release: Option<&'a Text>,
    train: Option<&'a Text>,
    phase: Option<TrainPhase>,
    held: bool,
    wave: Option<u32>,
    waves: u32,
    services: Vec<Service<'a>>,
}

/// One service of a status.
#[derive(Serialize)]
struct Service<'a> {
    name: &'a Text,
    kind: &'static str,
    cluster: &'a Text,
    namespace: &'a Text,
    phase: Option<Phase>,
    reason: Text,
    version: Option<&'a Text>,
    stable_version: Option<&'a Text>,
    step: Option<u32>,
    steps: Option<u32>,
    set_weight: Option<u32>,
    actual_weight: Option<u32>,
    train_phase: Option<&'static str>,
    verdict: Option<Verdict>,
}

/// Prints the status.
pub async fn run(args: &StatusArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let Target { cluster, scope, .. } = resolve(args.manifest.as_deref(), Strictness::Must, global, wiring, console)?;
    let now = Moment { wall: wiring.clock.now(), monotonic: wiring.clock.monotonic() };
    let (world, trains) = tokio::join!(look(&*cluster, &scope, now.wall), look_at_trains(&*cluster, &scope, now));
    let world = world?;
    let train = of_one_look(&trains, scope.release.as_ref().map(|r| &r.name), now.monotonic).map(|(_, train)| train);
    console.data(&print(&world, train.as_ref(), args, console))
}

fn print(world: &World, train: Option<&TrainShown>, args: &StatusArgs, console: &Console) -> String {
    let status = status(world, train);
    match args.output {
        Some(Format::Json) => {
            let mut out = serde_json::to_string_pretty(&status).unwrap_or_default();
            out.push('\n');
            out
        }
        _ => table(&status, world.scope(), console.colour() && !args.plain),
    }
}

fn status<'a>(world: &'a World, train: Option<&'a TrainShown>) -> Status<'a> {
    let scope = world.scope();
    let release = scope.release.as_ref();
    let services = match release {
        Some(release) => release
            .services
            .iter()
            .map(|stop| match world.of_service(stop.kind, &stop.workload) {
                Some(workload) => service(&stop.name, workload, train),
                None => Service {
                    name: &stop.name,
                    kind: kind(stop.kind.unwrap_or(ObjectKind::Rollout)),
                    cluster: &scope.place.context,
                    namespace: &scope.place.namespace,
                    phase: None,
                    reason: absence(world, stop.kind, &stop.workload).1,
                    version: None,
                    stable_version: None,
                    step: None,
                    steps: None,
                    set_weight: None,
                    actual_weight: None,
                    train_phase: None,
                    verdict: None,
                },
            })
            .collect(),
        None => world.found().map(|workload| service(&workload.id.name, workload, train)).collect(),
    };
    Status {
        release: release.map(|r| &r.name).or(train.map(|t| &t.plan.release)),
        train: train.map(TrainShown::id),
        phase: train.map(|t| t.phase),
        held: train.is_some_and(|t| t.held),
        wave: train.map(|t| u32::from(t.wave)),
        waves: train.map_or(release.map_or(0, |r| r.waves), |t| u32::from(t.waves)),
        services,
    }
}

fn service<'a>(name: &'a Text, w: &'a Workload, train: Option<&TrainShown>) -> Service<'a> {
    let known = train.and_then(|t| t.service(t.service_of(&w.id)?));
    Service {
        name,
        kind: kind(w.id.kind),
        cluster: &w.id.cluster,
        namespace: &w.id.namespace,
        phase: Some(w.phase),
        reason: w.reason.clone(),
        version: w.version.as_ref(),
        stable_version: w.stable_version.as_ref(),
        step: w.step,
        steps: w.steps,
        set_weight: w.set_weight,
        actual_weight: w.actual_weight,
        train_phase: known.map(|k| k.phase.word()),
        verdict: known.and_then(|k| k.verdict),
    }
}

fn kind(kind: ObjectKind) -> &'static str {
    kind.api().3
}

const COLUMNS: [&str; 7] = ["SERVICE", "KIND", "PHASE", "VERSION", "STEP", "WEIGHT", "WAITS FOR"];

fn table(status: &Status<'_>, scope: &Scope, colour: bool) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let rows: Vec<[String; 7]> = status
        .services
        .iter()
        .map(|s| {
            let version = match (s.version, s.stable_version) {
                (Some(new), Some(old)) if new != old => format!("{old} -> {new}"),
                (Some(new), _) => new.to_string(),
                (None, _) => "unknown".to_owned(),
            };
            let weight = match (s.actual_weight, s.set_weight) {
                (Some(actual), Some(set)) if actual != set => format!("{actual} (set {set})"),
                (actual, _) => number(actual),
            };
            [
                s.name.to_string(),
                s.kind.to_owned(),
                s.phase.map_or_else(|| "unknown".to_owned(), |p| format!("{p:?}")),
                version,
                s.steps.map_or_else(|| "-".to_owned(), |steps| format!("{}/{steps}", number(s.step))),
                weight,
                s.reason.to_string(),
            ]
        })
        .collect();
    let header = COLUMNS.map(str::to_owned);
    let width = |n: usize| {
        rows.iter()
            .chain([&header])
            .map(|row| unicode_width::UnicodeWidthStr::width(row[n].as_str()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let place = &scope.place;
    let release = status.release.map_or_else(|| "no release".to_owned(), |r| format!("release {r}"));
    let environment = place.environment.as_ref().map_or_else(String::new, |e| format!("{e}  "));
    let phase = status.phase.and_then(|p| serde_json::to_value(p).ok()).and_then(|p| p.as_str().map(str::to_owned));
    let train = match (status.train, phase, status.wave) {
        (Some(id), Some(phase), Some(wave)) => {
            let held = if status.held { ", held" } else { "" };
            format!("  train {id} {phase}{held}, wave {}/{}", wave + 1, status.waves)
        }
        _ => String::new(),
    };
    let mut out = format!("{environment}{}/{}  {release}{train}\n", place.context, place.namespace);
    for (at, row) in [&header].into_iter().chain(&rows).enumerate() {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            let pad = widths[n].saturating_sub(unicode_width::UnicodeWidthStr::width(cell.as_str()));
            let shown = if colour && n == 2 && at > 0 { paint(cell) } else { cell.clone() };
            line.push_str(&shown);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if rows.is_empty() {
        out.push_str("no Rollouts, Canaries or Deployments here\n");
    }
    out
}

fn paint(phase: &str) -> String {
    let code = match phase {
        "Degraded" => "1;31",
        "Paused" => "33",
        "Progressing" => "36",
        "Healthy" => "32",
        _ => return phase.to_owned(),
    };
    format!("\u{1b}[{code}m{phase}\u{1b}[0m")
}

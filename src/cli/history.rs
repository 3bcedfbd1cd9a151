//! `footplate history`: the trains of this place, newest first, and what they say about how the team delivers.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::place::{Strictness, Target, resolve};
use super::status::Format;
use super::{Global, Wiring};
use crate::core::dora::{Dora, Number, SPAN_DAYS, dora, in_words};
use crate::core::object::ObjectKind;
use crate::core::past::{PastService, PastTrain, cause_word};
use crate::core::snapshot::Place;
use crate::core::text::Text;
use crate::engine::look::interest;
use crate::engine::past::past;
use crate::text;

/// Arguments of `history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// One train, by its four letters or the name of its Release: its services
    #[arg(value_name = "TRAIN")]
    pub train: Option<String>,
    /// How many days the numbers are about
    #[arg(long, value_name = "N", default_value_t = SPAN_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Prints the history.
pub async fn run(args: &HistoryArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    // What was is not changed by what is wrong with a manifest now.
    let Target { cluster, scope, .. } = resolve(None, Strictness::May, global, wiring, console)?;
    let objects = cluster.list(&interest(&scope, ObjectKind::Release)).await?;
    let trains = past(objects.iter(), &scope);
    let now = wiring.clock.now();
    let numbers = dora(&trains, now, args.days);
    if let Some(wanted) = &args.train {
        let is = |t: &&PastTrain| t.name == *wanted.as_str() || t.id.eq_ignore_ascii_case(wanted);
        let Some(train) = trains.iter().find(is) else {
            let what = text!("there is no train {wanted} in {} of {}", scope.place.namespace, scope.place.context);
            return Err(Failure::new(FailureKind::Input, what, "footplate history lists all of them"));
        };
        return console.data(&match args.output {
            Format::Json => pretty(&whole(train)),
            Format::Table => one(train),
        });
    }
    console.data(&match args.output {
        Format::Json => pretty(&json!({
            "environment": scope.place.environment, "context": scope.place.context, "namespace": scope.place.namespace,
            "dora": numbers, "trains": trains.iter().map(whole).collect::<Vec<_>>(),
        })),
        Format::Table => table(&scope.place, &numbers, &trains),
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A train as programs read it.
fn whole(t: &PastTrain) -> Value {
    let services = t.services.iter().map(|s| {
        json!({
            "name": s.name, "version": s.version, "train_phase": s.phase.word(), "deployed": s.deployed,
            "commit": s.commit.as_ref().map(|c| &c.0), "committed": time(s.commit.as_ref().map(|c| c.1)),
            "started": time(s.started), "healthy": time(s.healthy), "detected": time(s.detected),
            "recovered": time(s.recovered), "cause": s.cause.map(cause_word), "automatic": s.automatic,
        })
    });
    json!({
        "name": t.name, "train": t.id, "release": t.release, "environment": t.environment, "by": t.by,
        "result": t.outcome.word(), "created": time(t.created), "started": time(t.started), "ended": time(t.ended),
        "detected": time(t.detected), "decided": time(t.decided), "recovered": time(t.recovered),
        "cause": t.cause.as_ref().map(|b| json!({"service": b.service, "cause": cause_word(b.cause), "why": b.why})),
        "undone_by": t.undone.as_ref().map(|u| &u.0), "automatic": t.undone.as_ref().map(|u| u.1),
        "incident": t.incident, "why": t.trouble(), "services": services.collect::<Vec<_>>(),
    })
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn stamp(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn table(place: &Place, numbers: &Dora, trains: &[PastTrain]) -> String {
    let environment = place.environment.as_ref().map_or_else(String::new, |e| format!("{e}  "));
    let mut out = format!("{environment}{}/{}  {} trains\n", place.context, place.namespace, trains.len());
    out.push_str(&four(numbers));
    if trains.is_empty() {
        out.push_str("no train ran here yet\n");
        return out;
    }
    out.push('\n');
    let head = ["RELEASE", "TRAIN", "RESULT", "STARTED", "TOOK", "BY", "CAUSE", "INCIDENT"].map(str::to_owned);
    let rows = trains.iter().map(|t| {
        [
            if t.release.is_empty() { t.name.to_string() } else { t.release.to_string() },
            or_dash(&t.id),
            t.outcome.word().to_owned(),
            stamp(t.began()),
            t.took().map_or_else(|| "-".to_owned(), |d| in_words(d.as_secs_f64())),
            or_dash(&t.by),
            or_dash(&t.trouble()),
            or_dash(t.incident.as_deref().unwrap_or_default()),
        ]
    });
    out.push_str(&lines(std::iter::once(head).chain(rows).collect()));
    out
}

fn four(numbers: &Dora) -> String {
    let rows = numbers.lines().map(|(name, number, value, from)| [name.to_owned(), value, band(number), from]);
    let mut out = lines(rows.to_vec());
    if numbers.unreadable > 0 {
        out.push_str(&format!("{} trains cannot be read and are in none of these\n", numbers.unreadable));
    }
    out
}

fn band(number: Number) -> String {
    number.band.map_or_else(|| "-".to_owned(), |band| band.word().to_owned())
}

fn one(t: &PastTrain) -> String {
    let mut out = format!("{}  {}  {}  {}\n", t.name, t.id, t.outcome.word(), t.environment);
    let mut line = |name: &str, value: String| out.push_str(&format!("{name:<11}{value}\n"));
    line("started", format!("{} by {}", stamp(t.started), or_dash(&t.by)));
    line("ended", stamp(t.ended));
    for (name, at) in [("detected", t.detected), ("decided", t.decided), ("recovered", t.recovered)] {
        if at.is_some() {
            line(name, stamp(at));
        }
    }
    if let Some(blame) = &t.cause {
        line("cause", format!("{}: {}: {}", blame.service, cause_word(blame.cause), blame.why));
    }
    match &t.undone {
        Some((_, true)) => line("undone", "by itself".to_owned()),
        Some((who, false)) => line("undone", format!("by {who}")),
        None => {}
    }
    if let Some(url) = &t.incident {
        line("incident", url.to_string());
    }
    out.push('\n');
    let head =
        ["SERVICE", "VERSION", "PHASE", "COMMIT", "COMMITTED", "STARTED", "HEALTHY", "DETECTED", "RECOVERED", "CAUSE"];
    let rows = t.services.iter().map(|s: &PastService| {
        let cause = match (s.cause, s.automatic) {
            (None, None) => "-".to_owned(),
            (cause, how) => {
                let cause = cause.map_or("unknown", cause_word);
                let how = how.map_or("", |automatic| if automatic { ", automatic" } else { ", by hand" });
                format!("{cause}{how}")
            }
        };
        let commit: Text = s.commit.as_ref().map(|c| c.0.clone()).unwrap_or_default();
        [
            s.name.to_string(),
            s.version.to_string(),
            s.phase.word().to_owned(),
            or_dash(&commit.chars().take(12).collect::<String>()),
            stamp(s.commit.as_ref().map(|c| c.1)),
            stamp(s.started),
            stamp(s.healthy),
            stamp(s.detected),
            stamp(s.recovered),
            cause,
        ]
    });
    out.push_str(&lines(std::iter::once(head.map(str::to_owned)).chain(rows).collect()));
    out
}

/// Rows as columns.
fn lines<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |text: &str| unicode_width::UnicodeWidthStr::width(text);
    let widths: Vec<usize> = (0..N).map(|n| rows.iter().map(|row| width(&row[n])).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wide.saturating_sub(width(cell)) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

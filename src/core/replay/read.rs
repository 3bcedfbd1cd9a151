//! Which lines of a file are which train's. A file may be the local journal of a cockpit or a conductor, with much else in it and
//! with several trains; what a headless rehearsal printed; or the bare lines of one journal, as they lie in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Damage;
use crate::core::frozen::Frozen;
use crate::core::object::Object;
use crate::core::release::Release;
use crate::core::text::Text;
use crate::core::train::journal;
use crate::core::train::state::State;
use crate::text;

/// The lines of one train.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// uid of its Release.
    pub uid: Text,
    /// The four letters; empty where the plan is missing.
    pub id: Text,
    /// Its release; empty where the plan is missing.
    pub release: Text,
    /// Where it ran; empty where that is not known.
    pub namespace: Text,
    /// Lines of its journal, each with the number of the line in the file that it came from.
    pub lines: Vec<(usize, String)>,
    /// Lines of the file that cannot be read at all; whose they were is not known.
    pub damaged: Vec<Damage>,
    began: Option<Timestamp>,
    opened: bool,
}

/// What is in a file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct File {
    /// Its trains, in the order in which they begin.
    pub trains: Vec<Found>,
    /// How many lines are about something else: orders by hand, their effects.
    pub other: usize,
    /// What a rehearsal came to, where it is one's.
    pub score: Option<Value>,
}

impl Found {
    /// When its first input came.
    pub fn began(&self) -> Timestamp {
        self.began.unwrap_or_default()
    }

    /// Takes a plan in.
    fn open(&mut self, number: usize, opening: String, id: &str, release: &str) {
        (self.id, self.release) = (Text::scrub(id), Text::scrub(release));
        self.opened = true;
        self.lines.push((number, opening));
    }

    /// Takes the frozen plan of a Release in: what the conductors' lines do not say of its beginning follows from it.
    pub fn frozen(&mut self, number: usize, mut frozen: Frozen) {
        if self.opened {
            return;
        }
        frozen.of_release(&self.uid);
        self.namespace.clone_from(&frozen.namespace);
        let plan = frozen.resolved;
        self.open(number, journal::opening(&plan), &plan.id, &plan.release);
        let fresh = State::new(std::sync::Arc::new(plan));
        self.lines.push((number, journal::took_up(None, fresh.memory())));
    }

    /// Takes one line of a journal in.
    pub fn line(&mut self, number: usize, line: &Value) {
        if let Some(plan) = line.get("train") {
            let word = |key: &str| plan["plan"][key].as_str().unwrap_or_default().to_owned();
            return self.open(number, line.to_string(), &word("id"), &word("release"));
        }
        if let Some(at) = line.pointer("/input/at/wall").and_then(Value::as_str)
            && self.began.is_none()
        {
            self.began = at.parse().ok();
        }
        self.lines.push((number, line.to_string()));
    }
}

/// Reads a file.
pub fn file(text: &str) -> File {
    let mut out = File::default();
    let mut places: BTreeMap<Text, usize> = BTreeMap::new();
    let mut damaged = Vec::new();
    // Whose the bare lines are.
    let mut last = Text::default();
    for (number, raw) in (1..).zip(text.lines()) {
        if raw.trim().is_empty() {
            continue;
        }
        let line: Value = match serde_json::from_str(raw) {
            Ok(line @ Value::Object(_)) => line,
            Ok(_) => {
                damaged.push(Damage { line: number, why: "it is no JSON object".into() });
                continue;
            }
            Err(why) => {
                damaged.push(Damage { line: number, why: text!("it is no JSON: {why}") });
                continue;
            }
        };
        let what = line["what"].as_str().unwrap_or_default();
        let uid = line["train"].as_str().map(Text::scrub);
        let mut of = |uid: &Text| -> usize {
            *places.entry(uid.clone()).or_insert_with(|| {
                out.trains.push(Found { uid: uid.clone(), ..Found::default() });
                out.trains.len() - 1
            })
        };
        match (what, uid) {
            ("plan", Some(uid)) => {
                let at = of(&uid);
                match serde_json::from_value::<Frozen>(line["frozen"].clone()) {
                    Ok(frozen) => out.trains[at].frozen(number, frozen),
                    Err(why) => damaged.push(Damage { line: number, why: text!("its plan cannot be read: {why}") }),
                }
            }
            ("train", Some(uid)) => {
                let at = of(&uid);
                // An input alone, or a line of the journal as it lies in the cluster.
                match (line.get("line"), line.get("input")) {
                    (Some(inner), _) => out.trains[at].line(number, inner),
                    (None, Some(input)) if input.get("at").is_some() => {
                        out.trains[at].line(number, &json!({ "input": input }));
                    }
                    (None, Some(inner)) => out.trains[at].line(number, inner),
                    (None, None) => damaged.push(Damage { line: number, why: "it has neither line nor input".into() }),
                }
            }
            _ if line["scenario"].is_string() && line.get("result").is_some() => out.score = Some(line.clone()),
            ("", None) if line["train"].is_object() || line.get("took-up").is_some() || line["input"].is_object() => {
                if let Some(uid) = line.pointer("/train/plan/uid").and_then(Value::as_str) {
                    last = Text::scrub(uid);
                }
                let at = of(&last);
                out.trains[at].line(number, &line);
            }
            _ => out.other += 1,
        }
    }
    for train in &mut out.trains {
        train.damaged.clone_from(&damaged);
    }
    out
}

/// The train of a file that is meant: by its four letters, the name of its release, or its uid; without a word the only one.
///
/// # Errors
/// When there is none, or several fit.
pub fn choose<'f>(file: &'f File, wanted: Option<&str>) -> Result<&'f Found, Text> {
    let fits = |found: &&Found| {
        wanted.is_none_or(|w| found.id.eq_ignore_ascii_case(w) || found.release == *w || found.uid == *w)
    };
    let named = |found: &Found| {
        let id = if found.id.is_empty() { &found.uid } else { &found.id };
        if found.release.is_empty() { id.to_string() } else { format!("{id} ({})", found.release) }
    };
    let mut all = file.trains.iter().filter(fits);
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            let names: Vec<String> = file.trains.iter().filter(fits).map(named).collect();
            Err(text!("it holds {} trains: {}", names.len(), names.join(", ")))
        }
        (None, _) if file.trains.is_empty() => {
            Err(text!("there is no train in it; {} lines are about something else", file.other))
        }
        (None, _) => {
            let names: Vec<String> = file.trains.iter().map(named).collect();
            Err(text!("it holds no train {}, but {}", wanted.unwrap_or_default(), names.join(", ")))
        }
    }
}

/// The journal of a Release, from the ConfigMaps `fp-journal-<uid8>-<epoch>-<part>` that its conductors wrote, one data key a batch.
/// A batch that was written twice counts once.
pub fn pieces<'o>(release: &Release, maps: impl Iterator<Item = &'o Object>) -> Found {
    let mut found = Found { uid: release.uid.clone(), ..Found::default() };
    // By epoch, then part, then batch: the name has the first two, numbers all three.
    let place = |name: &str| -> Option<(u64, u64)> {
        let mut words = name.rsplit('-');
        let part = words.next()?.parse().ok()?;
        Some((words.next()?.parse().ok()?, part))
    };
    let mut batches = BTreeMap::new();
    for map in maps {
        let Some((epoch, part)) = place(&map.name()) else { continue };
        for (key, text) in map.raw("/data").and_then(Value::as_object).into_iter().flatten() {
            if let Some(text) = text.as_str() {
                batches.insert((epoch, part, key.clone()), text.to_owned());
            }
        }
    }
    let mut number = 0;
    let whole = batches.values().any(|text| text.contains("{\"train\":"));
    if !whole {
        found.frozen(0, Frozen::clone(&release.frozen));
    }
    found.namespace.clone_from(&release.frozen.namespace);
    let mut before: (u64, Vec<&str>) = (0, Vec::new());
    for ((epoch, ..), text) in &batches {
        let lines: Vec<&str> = text.lines().collect();
        // A batch of which nobody knew whether it landed comes again at the beginning of a later one.
        let again = before.0 == *epoch && !before.1.is_empty() && lines.starts_with(&before.1);
        let skip = if again { before.1.len() } else { 0 };
        before = (*epoch, lines.clone());
        for raw in &lines[skip..] {
            number += 1;
            match serde_json::from_str::<Value>(raw) {
                Ok(line) if line.get("at").is_some() => found.line(number, &json!({ "input": line })),
                Ok(line) => found.line(number, &line),
                Err(why) => found.damaged.push(Damage { line: number, why: text!("it is no JSON: {why}") }),
            }
        }
    }
    found
}

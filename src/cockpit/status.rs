//! How a state reads: glyph, word and role for a service, for a verdict, for the whole train. One place, so that a state
//! looks the same in every pane. Colour is the theme's; the state is the core's.

use jiff::{SignedDuration, Timestamp};

use super::glyphs::Glyphs;
use super::theme::Role;
use crate::core::snapshot::train::CheckShown;
use crate::core::snapshot::{Link, ServiceView, Snapshot, TrainPhase, TrainShown, Verdict};
use crate::core::workload::{Phase, Workload};

/// A state as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// One cell.
    pub glyph: char,
    /// One word.
    pub word: &'static str,
    /// What it means.
    pub role: Role,
    /// Where it stands; what the train as a whole is goes by it.
    pub kind: Kind,
}

/// States, from calm to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Done, healthy, unchanged.
    Well,
    /// Its turn has not come.
    Waiting,
    /// Not known (yet).
    Unknown,
    /// Moves by itself.
    Moving,
    /// Waits for a time.
    Paused,
    /// Held by a person.
    Held,
    /// Goes, or went, back.
    Back,
    /// Waits for a person.
    Asks,
    /// Failed.
    Failed,
}

/// How a service stands.
pub fn of(service: &ServiceView, g: &Glyphs) -> Status {
    let well = |word| Status { glyph: g.ok, word, role: Role::Ok, kind: Kind::Well };
    let moving = |word| Status { glyph: g.moving, word, role: Role::Moving, kind: Kind::Moving };
    let back = |glyph, word| Status { glyph, word, role: Role::Warn, kind: Kind::Back };
    let failed = |word| Status { glyph: g.failed, word, role: Role::Bad, kind: Kind::Failed };
    let asks = |word| Status { glyph: g.asks, word, role: Role::Warn, kind: Kind::Asks };
    let Some(workload) = &service.workload else {
        let word = if service.unread { "unknown" } else { "not found" };
        return Status { glyph: g.unknown, word, role: Role::Warn, kind: Kind::Unknown };
    };
    let in_flight = |word| match (&workload.pause, service.verdict) {
        (_, Some(Verdict::Fail)) => failed("gate fails"),
        _ if workload.is_held() => held(g),
        (_, Some(Verdict::Inconclusive)) => asks("gate asks"),
        (Some(pause), _) if pause.seconds.is_some() => {
            Status { glyph: g.paused, word: "paused", role: Role::Paused, kind: Kind::Paused }
        }
        (Some(_), Some(Verdict::NoData)) => asks("no data"),
        (Some(_), _) => asks("waits for you"),
        (None, _) if workload.phase == Phase::Degraded => failed("degraded"),
        (None, _) => moving(word),
    };
    match service.train_phase {
        _ if workload.aborted && !matches!(service.train_phase, TrainPhase::Undoing | TrainPhase::Undone) => {
            let word = if workload.actual_weight.unwrap_or(0) > 0 { "aborting" } else { "aborted" };
            back(g.aborted, word)
        }
        TrainPhase::Aborting => back(g.aborted, "aborting"),
        TrainPhase::Aborted => back(g.aborted, "aborted"),
        TrainPhase::Undoing => back(g.undone, "undoing"),
        TrainPhase::Undone => back(g.undone, "undone"),
        TrainPhase::Failed => failed("failed"),
        TrainPhase::Held => held(g),
        TrainPhase::Deploying => in_flight("deploying"),
        TrainPhase::Stepping => in_flight("stepping"),
        TrainPhase::Baking => in_flight("baking"),
        TrainPhase::Waiting if workload.phase == Phase::Healthy => {
            Status { glyph: g.waiting, word: "waiting", role: Role::Waiting, kind: Kind::Waiting }
        }
        TrainPhase::Done if workload.phase == Phase::Healthy => well("done"),
        TrainPhase::Unchanged if workload.phase == Phase::Healthy && service.pinned.is_some() => {
            Status { role: Role::Dim, ..well("unchanged") }
        }
        _ => match workload.phase {
            Phase::Healthy => well("healthy"),
            Phase::Progressing | Phase::Paused => in_flight("progressing"),
            Phase::Degraded => failed("degraded"),
        },
    }
}

fn held(g: &Glyphs) -> Status {
    Status { glyph: g.paused, word: "held", role: Role::Paused, kind: Kind::Held }
}

/// True while a version shift is under way.
pub fn in_flight(service: &ServiceView) -> bool {
    let Some(workload) = &service.workload else { return false };
    workload.aborted
        || workload.held
        || workload.pause.is_some()
        || matches!(workload.phase, Phase::Progressing | Phase::Paused | Phase::Degraded)
        || matches!(
            service.train_phase,
            TrainPhase::Deploying
                | TrainPhase::Stepping
                | TrainPhase::Baking
                | TrainPhase::Held
                | TrainPhase::Aborting
                | TrainPhase::Aborted
                | TrainPhase::Undoing
                | TrainPhase::Failed
        )
}

/// How a verdict reads.
pub fn verdict(v: Verdict, g: &Glyphs) -> (char, &'static str, Role) {
    match v {
        Verdict::Pass => (g.ok, "pass", Role::Ok),
        Verdict::Fail => (g.failed, "fail", Role::Bad),
        Verdict::Inconclusive => (g.asks, "inconclusive", Role::Warn),
        Verdict::NoData => (g.unknown, "no data", Role::Warn),
    }
}

/// The train as a whole, in a word or two: what a stranger reads first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overall {
    /// One cell.
    pub glyph: char,
    /// A word or two, in capitals.
    pub word: &'static str,
    /// What it means.
    pub role: Role,
    /// How many services are done, moving (or paused), waiting, in trouble, and back on what was live before.
    pub counts: [usize; 5],
    /// The first wave that is not done, from 1, in train order; none when all are, without a manifest, and after a train's end.
    pub wave: Option<u32>,
}

/// Sums the services up.
pub fn overall(snapshot: &Snapshot, g: &Glyphs) -> Overall {
    let mut counts = [0; 5];
    let mut worst = Kind::Well;
    let mut wave = None;
    for service in snapshot.services.iter() {
        let kind = of(service, g).kind;
        worst = worst.max(if kind == Kind::Waiting { Kind::Well } else { kind });
        counts[match kind {
            Kind::Well => 0,
            Kind::Moving | Kind::Paused | Kind::Held => 1,
            Kind::Waiting | Kind::Unknown => 2,
            // Everything about it is as it was.
            Kind::Back if service.train_phase == TrainPhase::Undone => 4,
            Kind::Back | Kind::Asks | Kind::Failed => 3,
        }] += 1;
        if kind != Kind::Well {
            wave = match (wave, service.wave) {
                (Some(a), Some(b)) => Some(std::cmp::min::<u32>(a, b)),
                (a, b) => a.or(b),
            };
        }
    }
    let (glyph, word, role) = match (&snapshot.link, worst) {
        (Link::Connecting, _) if snapshot.services.is_empty() => (g.ring, "CONNECTING", Role::Stale),
        (Link::Down(_), _) if snapshot.services.is_empty() => (g.failed, "NO CONNECTION", Role::Bad),
        (_, Kind::Failed) => (g.failed, "TROUBLE", Role::Bad),
        (_, Kind::Asks) => (g.asks, "WAITS FOR YOU", Role::Warn),
        (_, Kind::Back) => (g.undone, "WENT BACK", Role::Warn),
        (_, Kind::Held) => (g.paused, "HELD", Role::Paused),
        (_, Kind::Moving | Kind::Paused) => (g.arrow, "ROLLING", Role::Moving),
        (_, Kind::Unknown) => (g.unknown, "INCOMPLETE", Role::Warn),
        _ if snapshot.services.is_empty() && snapshot.gaps.iter().any(|gap| gap.needed) => {
            (g.unknown, "INCOMPLETE", Role::Warn)
        }
        _ if snapshot.services.is_empty() => (g.ring, "NOTHING HERE", Role::Dim),
        _ if counts[2] > 0 => (g.ring, "READY", Role::Accent),
        _ => (g.ok, "ALL WELL", Role::Ok),
    };
    let said = of_train(snapshot, g);
    if said.is_some() && snapshot.train.as_ref().is_some_and(|train| !train.active()) {
        wave = None;
    }
    let (glyph, word, role) = said.unwrap_or((glyph, word, role));
    Overall { glyph, word, role, counts, wave }
}

/// The train as it says itself; none without one, or when it has ended and something moves again.
fn of_train(snapshot: &Snapshot, g: &Glyphs) -> Option<(char, &'static str, Role)> {
    use crate::core::train::Phase as Train;
    let train = snapshot.train.as_ref()?;
    if !train.active() && snapshot.services.iter().any(|s| in_flight(s)) {
        return None;
    }
    Some(match train.phase {
        Train::Planned => (g.ring, "RECORDED", Role::Accent),
        Train::Preflight if train.active() => (g.moving, "PRE-FLIGHT", Role::Moving),
        Train::Preflight => return None,
        Train::Completed => (g.ok, "COMPLETED", Role::Ok),
        Train::RolledBack => (g.undone, "ROLLED BACK", Role::Warn),
        Train::Undoing => (g.undone, "UNDOING", Role::Warn),
        Train::NeedsPerson => (g.asks, "NEEDS A PERSON", Role::Warn),
        // Said only once every workload in flight says so itself.
        _ if train.held => (g.paused, "HELD", Role::Paused),
        _ if !train.holds().is_empty() => (g.paused, "BEING HELD", Role::Paused),
        Train::Expanding => (g.arrow, "EXPANDING", Role::Moving),
        Train::Rolling => (g.arrow, "ROLLING", Role::Moving),
        Train::Flags => (g.arrow, "FLAGS", Role::Moving),
    })
}

/// The checks of a train's pre-flight, what stands in the way first.
pub fn checks(train: &TrainShown) -> Vec<&CheckShown> {
    let mut rows: Vec<&CheckShown> = train.checks.iter().collect();
    rows.sort_by_key(|check| rank(check));
    rows
}

/// How much a check stands in the way: 0 refuses, 1 asks, 2 is unknown, 3 is worth a look, 4 is good.
pub fn rank(check: &CheckShown) -> u8 {
    match (check.found.as_str(), check.accepted) {
        ("refuse", _) => 0,
        ("ask", false) => 1,
        ("unknown", _) => 2,
        ("warn", _) | ("ask", true) => 3,
        _ => 4,
    }
}

/// A weight of a workload in percent of all traffic.
pub fn percent(workload: &Workload, weight: u32) -> u32 {
    (weight * 100).checked_div(workload.max_weight).unwrap_or(weight).min(100)
}

/// The share of traffic that the new version has now, in percent.
pub fn actual(workload: &Workload) -> Option<u32> {
    workload.actual_weight.map(|n| percent(workload, n))
}

/// The share that its steps ask for now, in percent.
pub fn asked(workload: &Workload) -> Option<u32> {
    workload.set_weight.map(|n| percent(workload, n))
}

/// How long the pause of a workload still lasts; none when a person ends it or it is over.
pub fn pause_left(workload: &Workload, now: Timestamp) -> Option<SignedDuration> {
    let pause = workload.pause.as_ref()?;
    let end = pause.since?.checked_add(SignedDuration::from_secs(i64::from(pause.seconds?))).ok()?;
    Some(end.duration_since(now).max(SignedDuration::ZERO))
}

/// `0:48`, `12:05`, `3 h 20 m`: seconds rounded up while something counts down.
pub fn clock(left: SignedDuration) -> String {
    let s = left.as_secs().max(0) + i64::from(left.subsec_nanos() > 0);
    if s < 3600 { format!("{}:{:02}", s / 60, s % 60) } else { format!("{} h {:02} m", s / 3600, s / 60 % 60) }
}

/// `3 s`, `4 min`, `2 h`, `5 d`: how long ago.
pub fn ago(age: SignedDuration) -> String {
    match age.as_secs().max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// Old and new version: what serves as stable, and what is rolled out or pinned. One when they are the same.
pub fn versions(service: &ServiceView) -> (Option<&str>, Option<&str>) {
    let workload = service.workload.as_ref();
    let stable = workload.and_then(|w| w.stable_version.as_deref());
    let template = workload.and_then(|w| w.version.as_deref());
    let moved = template.is_some() && template != stable;
    let new = if moved { template } else { service.pinned.as_deref().or(template) };
    match (stable, new) {
        (Some(old), Some(new)) if old == new => (None, Some(new)),
        (old, new) => (old, new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(clock(SignedDuration::from_millis(47_200)), "0:48");
        assert_eq!(clock(SignedDuration::from_secs(725)), "12:05");
        assert_eq!(clock(SignedDuration::from_secs(12_000)), "3 h 20 m");
        assert_eq!(clock(SignedDuration::from_secs(-3)), "0:00");
        assert_eq!(ago(SignedDuration::from_secs(61)), "1 min");
        assert_eq!(ago(SignedDuration::from_secs(-1)), "0 s");
    }
}

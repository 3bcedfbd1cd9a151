//! What a seed stands for: a release, a cluster, truths, and a script of faults, foreign hands and captains. All of it is
//! plain data, so that a run can be made smaller by leaving parts of the script out.

use crate::cluster::{Ms, Step, Truth};
use crate::rng::Rng;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Faults and hands for ever; only invariants.
    Safety,
    /// They stop; then it must end, or wait for a named person.
    Liveness,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Good,
    Waived,
    Unknown,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    pub needs: Vec<usize>,
    pub wave: usize,
    pub steps: Vec<Step>,
    pub routed: bool,
    pub deployment: bool,
    pub window: usize,
    pub unchanged: bool,
    /// The pinned version was there before (a downgrade).
    pub downgrade: bool,
    pub truth: Truth,
    pub gate_ends_untimed: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Flag {
    pub services: Vec<usize>,
    /// Errors once it is above 0 %.
    pub bad: bool,
}

/// What a captain does, on what their cockpit shows at that moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Start,
    Hold(Option<usize>),
    Resume,
    Approve(usize, bool),
    /// Twice within a breath.
    ApproveTwice(usize),
    Full(usize),
    Abort(usize),
    UndoAll,
    UndoService(usize),
    UndoOnly(usize),
    UndoWave(usize),
    Retry(usize),
    Again,
    Down,
    FlagBack,
    Stay,
    ResumeOutside(usize),
}

/// What somebody else does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    Promote,
    Abort,
    Retry,
    Pause,
    Unpause,
    Deploy,
    /// The version before the train, as GitOps or `undo` puts it back.
    PutBack,
    /// The pinned version, as GitOps puts it back after an undo.
    PutNew,
    WipeStamps,
    DeleteAndMake,
}

/// A fault, for so long. The names are those of the catalogue (F1-F23).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// F1: watches lag by this much.
    Stale(usize),
    /// F2, F23: killed; started again after the time.
    Crash(usize),
    /// F3, F4, F5: nothing comes over its watches.
    Deaf(usize),
    /// F6, F10: it reaches nothing.
    Cut(usize),
    /// F7: every write is answered with a conflict.
    Conflicts,
    /// F8, F10: nobody reaches the server.
    Down,
    /// F9: writes land, their answers are lost.
    AnswersLost(usize),
    /// F9: writes are lost.
    WritesLost(usize),
    /// F9, F15: writes take so long that they land after everything else.
    WritesSlow(usize),
    /// F11, F12: writes to one service are forbidden.
    Forbidden(usize),
    /// F14, F15: stands still; the monotonic clock too where the flag is set.
    Frozen(usize, bool),
    /// F14: the clock on the wall jumps.
    Wall(usize),
    /// F15: lease calls fail.
    NoLease(usize),
    /// F16: no data for anybody.
    NoMetrics,
    /// F16: verdicts come late.
    LateVerdicts,
    /// F19: the controller does nothing.
    NoController,
    /// F19: a webhook denies every patch of a service.
    Denied(usize),
    /// F20: the weight does not go down.
    StuckWeight(usize),
    /// F21: the image of the old version is gone.
    ImageGone(usize),
    /// F21, F22: the Lease is deleted.
    LeaseGone,
    /// F22: the status is wiped.
    StatusWiped,
    /// F22: somebody removes an order from the spec.
    SpecWiped,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Order(Order),
    Foreign(usize, Foreign),
    Fault(Fault, Ms),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub mode: Mode,
    pub services: Vec<Service>,
    pub waves: usize,
    pub flags: Vec<Flag>,
    pub migration: bool,
    /// The expand step hurts old code.
    pub migration_bad: bool,
    pub policies: Vec<Policy>,
    pub conductors: usize,
    pub stay: bool,
    pub script: Vec<(Ms, Act)>,
    /// When the script must be over (liveness).
    pub quiet_from: Ms,
    pub events_max: u64,
}

/// Faults that one process suffers, or all.
fn fault(rng: &mut Rng, services: usize, conductors: usize) -> Fault {
    let p = rng.within(0, conductors as u64) as usize;
    let s = rng.within(0, services as u64) as usize;
    match rng.within(0, 26) {
        0 => Fault::Stale(p),
        1..=3 => Fault::Crash(p),
        4 => Fault::Deaf(p),
        5 | 6 => Fault::Cut(p),
        7 => Fault::Conflicts,
        8 => Fault::Down,
        9 => Fault::AnswersLost(p),
        10 => Fault::WritesLost(p),
        11 | 12 => Fault::WritesSlow(p),
        13 => Fault::Forbidden(s),
        14 => Fault::Frozen(p, false),
        15 | 16 => Fault::Frozen(p, true),
        17 => Fault::Wall(p),
        18 => Fault::NoLease(p),
        19 => Fault::NoMetrics,
        20 => Fault::LateVerdicts,
        21 => Fault::NoController,
        22 => Fault::Denied(s),
        23 => Fault::StuckWeight(s),
        24 => Fault::ImageGone(s),
        _ => match rng.within(0, 3) {
            0 => Fault::LeaseGone,
            1 => Fault::StatusWiped,
            _ => Fault::SpecWiped,
        },
    }
}

fn order(rng: &mut Rng, services: usize, waves: usize) -> Order {
    let s = rng.within(0, services as u64) as usize;
    match rng.within(0, 24) {
        0..=2 => Order::Hold(None),
        3 => Order::Hold(Some(s)),
        4..=7 => Order::Resume,
        8 | 9 => Order::Approve(s, true),
        10 => Order::Approve(s, false),
        11 => Order::ApproveTwice(s),
        12 => Order::Full(s),
        13 => Order::Abort(s),
        14 => Order::UndoAll,
        15 => Order::UndoService(s),
        16 => Order::UndoOnly(s),
        17 => Order::UndoWave(rng.within(0, waves as u64) as usize),
        18 | 19 => Order::Retry(s),
        20 => Order::Again,
        21 => Order::Down,
        22 => {
            if rng.percent(50) {
                Order::FlagBack
            } else {
                Order::Stay
            }
        }
        _ => Order::ResumeOutside(s),
    }
}

fn foreign(rng: &mut Rng) -> Foreign {
    match rng.within(0, 10) {
        0 => Foreign::Promote,
        1 => Foreign::Abort,
        2 => Foreign::Retry,
        3 => Foreign::Pause,
        4 => Foreign::Unpause,
        5 => Foreign::Deploy,
        6 => Foreign::PutBack,
        7 => Foreign::PutNew,
        8 => Foreign::WipeStamps,
        _ => Foreign::DeleteAndMake,
    }
}

impl Scenario {
    /// A release without faults, hands or badness: what a seed's cluster looks like on a good Wednesday.
    pub fn clean(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let count = rng.within(2, 7) as usize;
        let mut services: Vec<Service> = Vec::new();
        for n in 0..count {
            let needs: Vec<usize> = (0..n).filter(|_| rng.percent(40)).collect();
            let wave = needs.iter().map(|d| services[*d].wave + 1).max().unwrap_or(0);
            let deployment = rng.percent(12);
            services.push(Service {
                needs,
                wave,
                steps: if deployment { Vec::new() } else { steps(&mut rng) },
                routed: rng.percent(70),
                deployment,
                window: if rng.percent(70) { 3 } else { 0 },
                unchanged: rng.percent(8),
                downgrade: rng.percent(12),
                truth: Truth::Good,
                gate_ends_untimed: true,
            });
        }
        let waves = services.iter().map(|s| s.wave).max().unwrap_or(0) + 1;
        let flags = (0..rng.within(0, 3))
            .map(|_| Flag { services: vec![rng.within(0, count as u64) as usize], bad: false })
            .collect();
        let policies =
            (0..rng.within(0, 3)).map(|_| if rng.percent(50) { Policy::Good } else { Policy::Waived }).collect();
        Self {
            seed,
            mode: Mode::Liveness,
            services,
            waves,
            flags,
            migration: rng.percent(35),
            migration_bad: false,
            policies,
            conductors: 1 + rng.within(0, 3) as usize,
            stay: rng.percent(30),
            script: vec![(1_000, Act::Order(Order::Start))],
            quiet_from: 2_000,
            events_max: 20_000,
        }
    }

    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut all = Self::clean(seed);
        let mut rng = Rng::new(seed ^ 0xfau64.rotate_left(40));
        all.mode = if seed.is_multiple_of(2) { Mode::Safety } else { Mode::Liveness };
        let count = all.services.len();
        // Half the trains carry something bad.
        if rng.percent(50) {
            let s = rng.within(0, count as u64) as usize;
            all.services[s].truth = match rng.within(0, 6) {
                // Of the errors a third are another service's.
                0 | 1 if seed.is_multiple_of(3) => Truth::Elsewhere,
                0 | 1 => Truth::Errors,
                2 => Truth::Slow,
                3 => Truth::Crash,
                4 => Truth::NoData,
                _ => Truth::Unclear,
            };
        } else if !all.flags.is_empty() && rng.percent(30) {
            all.flags[0].bad = true;
        } else if all.migration && rng.percent(25) {
            all.migration_bad = true;
        }
        for service in &mut all.services {
            service.gate_ends_untimed = rng.percent(80);
        }
        if rng.percent(4) && !all.policies.is_empty() {
            all.policies[0] = Policy::Unknown;
        }
        let span = rng.within(60_000, 240_000);
        // A third of the seeds is calm, a third is stormy.
        let (faults, orders, hands) = match rng.within(0, 3) {
            0 => (rng.within(0, 3), rng.within(0, 4), rng.within(0, 2)),
            1 => (rng.within(2, 9), rng.within(0, 8), rng.within(0, 3)),
            _ => (rng.within(6, 20), rng.within(2, 14), rng.within(0, 5)),
        };
        for _ in 0..faults {
            let f = fault(&mut rng, count, all.conductors);
            let at = rng.within(500, span);
            let lasts = if rng.percent(70) { rng.within(500, 12_000) } else { rng.within(12_000, 70_000) };
            all.script.push((at, Act::Fault(f, lasts)));
        }
        for _ in 0..orders {
            all.script.push((rng.within(2_000, span), Act::Order(order(&mut rng, count, all.waves))));
        }
        for _ in 0..hands {
            let s = rng.within(0, count as u64) as usize;
            all.script.push((rng.within(2_000, span), Act::Foreign(s, foreign(&mut rng))));
        }
        // Some things are not faults that pass: an image that is gone, a webhook that denies.
        if rng.percent(6) {
            let s = rng.within(0, count as u64) as usize;
            let f = if rng.percent(50) { Fault::ImageGone(s) } else { Fault::Denied(s) };
            all.script.push((rng.within(5_000, span), Act::Fault(f, 100_000_000)));
        }
        all.script.sort_by_key(|(at, _)| *at);
        all.quiet_from = span + 72_000;
        all.events_max = if all.mode == Mode::Safety { 1_500 } else { 20_000 };
        all
    }
}

fn steps(rng: &mut Rng) -> Vec<Step> {
    let weights: &[u8] = match rng.within(0, 3) {
        0 => &[25, 50],
        1 => &[50],
        _ => &[10, 30, 60],
    };
    let mut all = Vec::new();
    for w in weights {
        all.push(Step::Weight(*w));
        all.push(match rng.within(0, 6) {
            0 | 5 => Step::Pause(None),
            1 => Step::Pause(Some(25_000)),
            n => Step::Pause(Some(n * 4_000)),
        });
        if rng.percent(30) {
            all.push(Step::Analysis(4_000));
        }
    }
    all
}

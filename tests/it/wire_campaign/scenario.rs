//! What a seed stands for: a release, what is wrong with it, and a script of faults, orders and other hands. Plain data; nothing
//! is done with it here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Milliseconds after the train was recorded.
pub type Ms = u64;

/// Names of services, from the one that is called to the one that calls.
pub const NAMES: [&str; 4] = ["ledger", "billing", "checkout", "storefront"];

/// Versions before, pinned, and of somebody who deploys by hand.
pub const BEFORE: &str = "1.0.0";
pub const PINNED: &str = "2.0.0";
pub const STRANGE: &str = "9.9.9";

/// The flag that some releases move.
pub const FLAG: &str = "new_ledger";

/// How a service is deployed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A Rollout whose weights an Ingress carries out.
    Routed,
    /// A Rollout whose weights are shares of pods.
    Basic,
    Deployment,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    pub name: &'static str,
    pub kind: Kind,
    /// Which services go before it.
    pub needs: Vec<usize>,
    pub wave: usize,
    /// Weights of its steps, and the seconds of the pause after each; none waits until somebody approves.
    pub steps: Vec<(u8, Option<u64>)>,
}

/// What is wrong with the release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Nothing,
    /// Requests to this service fail on its pinned version.
    Errors(usize),
    /// They take far too long.
    Slow(usize),
    /// Its pods never start.
    Crash(usize),
    /// Its pinned version is not scraped.
    NoData(usize),
    /// Requests fail once the flag is on.
    Flag(usize),
}

/// Whose wire. The seats are places at which conductors sit, one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Seat(usize),
    Cockpit,
}

/// What goes wrong on a wire, for a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Trouble {
    Throttled,
    /// These refusals: 401, 403, 409, 500, 503, 504.
    Refused(u16),
    /// Seconds more for each answer.
    Slow(f64),
    /// No answer for so long; landed or not.
    Silent(bool),
    Reset(bool),
    Garbage,
    /// Watches end, expire or fall silent after some messages.
    WatchEnds,
    WatchGone,
    WatchSilent,
    /// Writes arrive this many seconds later, even when nobody waits for them any more.
    Late(u64),
    /// Watches tell everything this many seconds later.
    Stale(u64),
}

/// What a captain orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Hold,
    HoldOne(usize),
    Resume,
    Approve(usize),
    Abort(usize),
    UndoAll,
    UndoOne(usize),
    UndoFrom(usize),
    Retry(usize),
}

/// What somebody else does, past the train.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hand {
    /// `kubectl argo rollouts promote`.
    Promote,
    /// A version that is in no plan.
    Deploy,
    /// The version before, as git has it.
    PutBack,
    /// The pinned version, as git has it.
    PutNew,
    Pause,
    /// All annotations of the train are removed.
    WipeStamps,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Act {
    Order(Order),
    Hand(usize, Hand),
    /// The trouble meets this share of what is asked on this wire, percent, for so long.
    Wire(Whose, Trouble, u8, Ms),
    /// Every open watch of this wire ends, expires or falls silent.
    Cut(Whose, u8),
    /// The conductor at this seat dies; another one sits down there after the time.
    Kill(usize, Ms),
    /// The conductor at this seat is told to take the Lease.
    Take(usize),
    /// The clock on the wall of this seat jumps, seconds.
    Wall(usize, i64),
    /// The metric store answers nobody.
    NoMetrics(Ms),
    StatusWiped,
    LeaseDeleted,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub services: Vec<Service>,
    pub waves: usize,
    pub cause: Cause,
    pub flag: bool,
    /// A train that nobody answers for is taken back by itself.
    pub abandoned_is_undone: bool,
    pub script: Vec<(Ms, Act)>,
    /// From when on nothing goes wrong any more.
    pub quiet_from: Ms,
}

/// Draws numbers.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number from one up to below another.
    pub fn within(&mut self, from: u64, below: u64) -> u64 {
        from + self.0.next_u64() % (below - from)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.within(0, 100) < chance
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.within(0, below as u64)).unwrap()
    }
}

impl Scenario {
    /// A release on a good day.
    pub fn clean(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.index(3);
        let mut services: Vec<Service> = Vec::new();
        for (n, name) in NAMES.into_iter().take(count).enumerate() {
            let needs: Vec<usize> = (0..n).filter(|_| dice.percent(60)).collect();
            let wave = needs.iter().map(|d| services[*d].wave + 1).max().unwrap_or(0);
            let kind = match dice.within(0, 10) {
                0 | 1 => Kind::Deployment,
                2..=4 => Kind::Basic,
                _ => Kind::Routed,
            };
            let steps = if kind == Kind::Deployment { Vec::new() } else { steps(&mut dice) };
            services.push(Service { name, kind, needs, wave, steps });
        }
        let waves = services.iter().map(|s| s.wave).max().unwrap_or(0) + 1;
        let flag = dice.percent(30);
        let abandoned_is_undone = dice.percent(40);
        Self {
            seed,
            services,
            waves,
            cause: Cause::Nothing,
            flag,
            abandoned_is_undone,
            script: Vec::new(),
            quiet_from: 0,
        }
    }

    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut all = Self::clean(seed);
        let mut dice = Dice::new(seed ^ 0x7769_7265);
        let count = all.services.len();
        if dice.percent(50) {
            let s = dice.index(count);
            all.cause = match dice.within(0, 8) {
                0..=2 => Cause::Errors(s),
                3 => Cause::Slow(s),
                4 | 5 => Cause::Crash(s),
                6 => Cause::NoData(s),
                _ if all.flag => Cause::Flag(s),
                _ => Cause::Errors(s),
            };
        }
        // A third of the seeds is calm, a third is stormy.
        let span = dice.within(40_000, 160_000);
        let (troubles, orders, hands) = match dice.within(0, 3) {
            0 => (dice.within(1, 4), dice.within(0, 3), u64::from(dice.percent(20))),
            1 => (dice.within(3, 8), dice.within(0, 4), dice.within(0, 2)),
            _ => (dice.within(6, 16), dice.within(1, 7), dice.within(0, 3)),
        };
        for _ in 0..troubles {
            let at = dice.within(500, span);
            let act = trouble(&mut dice);
            all.script.push((at, act));
        }
        for _ in 0..orders {
            let at = dice.within(5_000, span);
            let order = order(&mut dice, count, all.waves);
            all.script.push((at, Act::Order(order)));
        }
        for _ in 0..hands {
            let at = dice.within(5_000, span);
            let s = dice.index(count);
            let hand = hand(&mut dice);
            all.script.push((at, Act::Hand(s, hand)));
        }
        all.script.sort_by_key(|(at, _)| *at);
        all.quiet_from = span + 60_000;
        all
    }
}

fn steps(dice: &mut Dice) -> Vec<(u8, Option<u64>)> {
    let weights: &[u8] = if dice.percent(40) { &[50] } else { &[25, 50] };
    weights
        .iter()
        .map(|weight| {
            let pause = match dice.within(0, 5) {
                0 => None,
                1 => Some(30),
                n => Some(4 * n),
            };
            (*weight, pause)
        })
        .collect()
}

fn trouble(dice: &mut Dice) -> Act {
    let seat = dice.index(2);
    let whose = if dice.percent(80) { Whose::Seat(seat) } else { Whose::Cockpit };
    let lasts = if dice.percent(70) { dice.within(1_000, 15_000) } else { dice.within(15_000, 60_000) };
    let share = [10, 30, 100][dice.index(3)];
    let wire = |trouble| Act::Wire(whose, trouble, share, lasts);
    match dice.within(0, 34) {
        0 => wire(Trouble::Throttled),
        1 => wire(Trouble::Refused(401)),
        2 => wire(Trouble::Refused(403)),
        3 => wire(Trouble::Refused(409)),
        4 => wire(Trouble::Refused(500)),
        5 => wire(Trouble::Refused(503)),
        6 => wire(Trouble::Refused(504)),
        7 | 8 => wire(Trouble::Slow([0.7, 3.0, 8.0][dice.index(3)])),
        9 => wire(Trouble::Silent(true)),
        10 => wire(Trouble::Silent(false)),
        11 | 12 => wire(Trouble::Reset(true)),
        13 => wire(Trouble::Reset(false)),
        14 => wire(Trouble::Garbage),
        15 => wire(Trouble::WatchEnds),
        16 => wire(Trouble::WatchGone),
        17 => wire(Trouble::WatchSilent),
        18..=20 => Act::Cut(whose, u8::try_from(dice.within(0, 3)).unwrap()),
        21..=23 => wire(Trouble::Late([2, 9, 25][dice.index(3)])),
        24 | 25 => wire(Trouble::Stale([3, 10, 40][dice.index(3)])),
        26..=28 => Act::Kill(seat, lasts),
        29 => Act::Take(seat),
        30 => Act::Wall(seat, if dice.percent(50) { 3_600 } else { -3_600 }),
        31 => Act::NoMetrics(lasts),
        32 => Act::StatusWiped,
        _ => Act::LeaseDeleted,
    }
}

fn order(dice: &mut Dice, services: usize, waves: usize) -> Order {
    let s = dice.index(services);
    match dice.within(0, 18) {
        0..=2 => Order::Hold,
        3 => Order::HoldOne(s),
        4..=8 => Order::Resume,
        9 | 10 => Order::Approve(s),
        11 => Order::Abort(s),
        12 | 13 => Order::UndoAll,
        14 => Order::UndoOne(s),
        15 => Order::UndoFrom(dice.index(waves)),
        _ => Order::Retry(s),
    }
}

fn hand(dice: &mut Dice) -> Hand {
    [Hand::Promote, Hand::Deploy, Hand::PutBack, Hand::PutNew, Hand::Pause, Hand::WipeStamps][dice.index(6)]
}

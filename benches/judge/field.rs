//! Traffic by chance, and trains of services that a judge watches: what the campaign of the guard runs on. It shares nothing
//! with the rehearsal cluster's traffic model, and draws requests and failures one for one.
#![allow(dead_code)]

use std::time::Duration;

use footplate::core::judge::sample::{Arm, Reading, Sample};
use footplate::core::judge::sequential::Counts;
use footplate::core::judge::{Arms, Judge, News, Settings, Subject};
use footplate::core::slo::{GateBy, Slo};
use footplate::core::snapshot::Verdict;
use footplate::core::text::Text;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Chance, from a seed.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn uniform(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// How many of `n` happen, each with chance `p`: by the gaps between those that do, so exact and quick for a small p.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 || n == 0 {
            return 0;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let each = (-p).ln_1p();
        let (mut at, mut hits) = (0.0, 0);
        loop {
            at += ((1.0 - self.uniform()).ln() / each).floor() + 1.0;
            if at > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }

    /// How many of `n` requests go to an arm of this weight. Only a denominator: the normal form will do.
    pub fn split(&mut self, n: u64, weight: f64) -> u64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        let z = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let drawn = n as f64 * weight + (n as f64 * weight * (1.0 - weight)).sqrt() * z;
        drawn.round().clamp(0.0, n as f64) as u64
    }
}

/// Bounds of the latency histogram, milliseconds, from where it matters.
const BOUNDS: [f64; 5] = [250.0, 500.0, 1000.0, 2500.0, 5000.0];
/// Latency is lognormal with this median and spread: its p99 is 450 ms, nine tenths of the SLO, so that the rule on latency has
/// something to trip over. Chances of more than each bound: 1 - Φ(ln(bound / median) / spread).
const OVER: [f64; 5] = [0.049_67, 0.007_181, 0.000_580_6, 8.37e-6, 1.62e-7];

/// The last minute of one arm's latency histogram.
#[derive(Clone, Default)]
pub struct Latency {
    minute: std::collections::VecDeque<(u64, [u64; 5])>,
}

impl Latency {
    fn put(&mut self, dice: &mut Dice, n: u64) {
        let (mut left, mut before, mut counts) = (n, 1.0, [0; 5]);
        for (count, over) in counts.iter_mut().zip(OVER) {
            left = dice.binomial(left, over / before);
            before = over;
            *count = left;
        }
        self.minute.push_back((n, counts));
        if self.minute.len() > 12 {
            self.minute.pop_front();
        }
    }

    /// The p99 as `histogram_quantile` gives it over a minute.
    fn p99(&self) -> Option<f64> {
        let n: u64 = self.minute.iter().map(|m| m.0).sum();
        if n == 0 {
            return Some(f64::NAN);
        }
        let beyond = n as f64 * 0.01;
        let over = |i: usize| self.minute.iter().map(|m| m.1[i]).sum::<u64>() as f64;
        let (mut low, mut more) = (100.0, n as f64);
        for (i, bound) in BOUNDS.iter().enumerate() {
            let less = over(i);
            if less <= beyond {
                return Some(low + (bound - low) * (more - beyond) / (more - less).max(1.0));
            }
            (low, more) = (*bound, less);
        }
        Some(BOUNDS[4])
    }
}

pub const TICK: Duration = Duration::from_secs(5);

/// One service under traffic, and its judge.
pub struct Service {
    pub judge: Judge,
    pub arms: Arms,
    pub rps: f64,
    pub base: f64,
    /// Failure rate of the new revision.
    pub bad: f64,
    pub weight: f64,
    latency: [Latency; 3],
    pub at: Duration,
    /// Counts of the last tick: new, stable.
    pub last: [Counts; 2],
}

impl Service {
    pub fn new(arms: Arms, rps: f64, base: f64, services: u32) -> Self {
        let slo = Slo {
            error_rate: Some((base * 3.0).max(0.02)),
            p99_ms: Some(500.0),
            max_5xx_per_second: Some(25.0),
            p95_ms: None,
        };
        let subject = Subject { name: Text::scrub("s"), slo, gate: GateBy::Metrics, max_lag: None, arms, services };
        Self {
            judge: Judge::new(subject, Settings::default()),
            arms,
            rps,
            base,
            bad: base,
            weight: 0.0,
            latency: Default::default(),
            at: Duration::ZERO,
            last: [Counts::default(); 2],
        }
    }

    /// Ten minutes of history, and the baseline from it.
    pub fn warm_up(&mut self, dice: &mut Dice) {
        for _ in 0..60 {
            self.at += Duration::from_secs(10);
            let n = (self.rps * 10.0) as u64;
            let counts = Counts { requests: n as f64, errors: dice.binomial(n, self.base) as f64 };
            let mut sample = Sample::whole(self.at, Duration::from_secs(10), counts);
            sample.p99_ms[2] = Some(450.0);
            self.judge.hear(self.at, News::Sample(sample));
        }
        self.judge.measure_baseline(self.at).expect("a healthy service");
    }

    pub fn set_weight(&mut self, weight: f64) {
        self.weight = weight;
        self.judge.hear(self.at, News::Weight(weight));
    }

    /// Five seconds of traffic; the new revision fails at its bad rate in the last `bad_for` of them.
    pub fn tick(&mut self, dice: &mut Dice, bad_for: f64) {
        self.at += TICK;
        let n = (self.rps * 5.0) as u64;
        let new = if self.weight >= 1.0 { n } else { dice.split(n, self.weight) };
        let stable = n - new;
        let share = (bad_for / 5.0).clamp(0.0, 1.0);
        let rate = self.base + (self.bad - self.base) * share;
        let new_counts = Counts { requests: new as f64, errors: dice.binomial(new, rate) as f64 };
        let stable_counts = Counts { requests: stable as f64, errors: dice.binomial(stable, self.base) as f64 };
        self.last = [new_counts, stable_counts];
        let mut all = new_counts;
        all.add(stable_counts);
        self.latency[0].put(dice, new);
        self.latency[2].put(dice, n);
        let reading = |counts| Some(Reading::Since(counts));
        let mut sample = Sample::whole(self.at, TICK, all);
        sample.age = Some(Duration::from_secs(1));
        if self.arms == Arms::Told {
            sample.arms[Arm::New.number()] = reading(new_counts);
            sample.arms[Arm::Stable.number()] = reading(stable_counts);
        }
        sample.p99_ms = [self.latency[0].p99(), None, self.latency[2].p99()];
        self.judge.hear(self.at, News::Sample(sample));
    }
}

/// What others would have said on the same requests of one flight.
pub struct Peers {
    points: [Vec<f64>; 2],
    minute: std::collections::VecDeque<Counts>,
    base: f64,
    kayenta: bool,
    pub bare: bool,
    pub kayenta_peeking: bool,
    pub kayenta_at_steps: bool,
}

impl Peers {
    /// With or without the Mann-Whitney rule, which is slow.
    pub fn new(base: f64, kayenta: bool) -> Self {
        Self {
            kayenta,
            points: Default::default(),
            minute: Default::default(),
            base,
            bare: false,
            kayenta_peeking: false,
            kayenta_at_steps: false,
        }
    }

    /// Another weight: the bare rule's minute begins anew, as the judge's window does; it waits until it is full, which spares it
    /// the first few requests.
    pub fn step(&mut self) {
        if self.kayenta && self.points[0].len() >= POINTS_MIN {
            self.kayenta_at_steps |= super::peers::kayenta_is_high(&self.points[0], &self.points[1]);
        }
        self.minute.clear();
    }

    pub fn hear(&mut self, [new, stable]: [Counts; 2]) {
        self.minute.push_back(new);
        if self.minute.len() > 12 {
            self.minute.pop_front();
        }
        let mut sum = Counts::default();
        self.minute.iter().for_each(|c| sum.add(*c));
        let full = self.minute.len() == 12;
        self.bare |= full && sum.requests >= 100.0 && sum.rate() > 2.0 * self.base;
        if self.kayenta && new.requests > 0.0 && stable.requests > 0.0 {
            self.points[0].push(new.rate());
            self.points[1].push(stable.rate());
            if !self.kayenta_peeking && self.points[0].len() >= POINTS_MIN {
                self.kayenta_peeking = super::peers::kayenta_is_high(&self.points[0], &self.points[1]);
            }
        }
    }
}

/// Points that the Mann-Whitney rule wants: one minute.
pub const POINTS_MIN: usize = 12;

/// How a train ended.
#[derive(Default, Clone)]
pub struct Run {
    /// Why it was undone; none when it completed.
    pub undone: Option<String>,
    /// True when some gate did not pass within half an hour.
    pub stuck: bool,
    pub bare: bool,
    pub kayenta_peeking: bool,
    pub kayenta_at_steps: bool,
    pub evaluations: u64,
    /// Time that gates waited beyond the 60 s of their window.
    pub waited: Duration,
    pub gates: u32,
}

const WAVES: [usize; 5] = [3, 3, 2, 1, 1];

/// A clean train of ten services in five waves: expand step, each service over 25, 50 and 100 %, flags in four steps; every service is watched
/// from the expand step to the end.
pub fn clean_train(seed: u64, arms: Arms, rps: f64, base: f64, kayenta: bool) -> Run {
    let mut dice = Dice::new(seed);
    let mut run = Run::default();
    let mut services: Vec<Service> = (0..10).map(|_| Service::new(arms, rps, base, 10)).collect();
    let mut peers: Vec<Option<Peers>> = (0..10).map(|_| None).collect();
    services.iter_mut().for_each(|s| s.warm_up(&mut dice));
    let tick = |services: &mut Vec<Service>, peers: &mut Vec<Option<Peers>>, run: &mut Run, dice: &mut Dice| {
        let mut verdicts = Vec::with_capacity(10);
        for (service, peers) in services.iter_mut().zip(peers) {
            service.tick(dice, 5.0);
            if let Some(peers) = peers.as_mut() {
                peers.hear(service.last);
            }
            let judged = service.judge.judge(service.at);
            run.evaluations += 1;
            if judged.verdict() == Verdict::Fail && run.undone.is_none() {
                run.undone = Some(judged.why().to_string());
            }
            verdicts.push(judged.verdict());
        }
        verdicts
    };
    let moved = |services: &mut Vec<Service>| services.iter_mut().for_each(|s| s.judge.hear(s.at, News::Moved));
    moved(&mut services);
    for _ in 0..12 {
        tick(&mut services, &mut peers, &mut run, &mut dice);
    }
    let mut first = 0;
    for wave in WAVES {
        let own: Vec<usize> = (first..first + wave).collect();
        first += wave;
        for &i in &own {
            let at = services[i].at;
            // The first one stands where this one cannot be taken.
            let _ = services[i].judge.measure_baseline(at);
            services[i].judge.hear(at, News::Deployed);
            let normal = services[i].judge.baseline().unwrap().counts.rate();
            peers[i] = Some(Peers::new(normal, kayenta));
        }
        for _ in 0..2 {
            tick(&mut services, &mut peers, &mut run, &mut dice);
        }
        let mut steps = vec![0usize; wave];
        let mut since = vec![Duration::ZERO; wave];
        for (slot, &i) in own.iter().enumerate() {
            services[i].set_weight(0.25);
            since[slot] = services[i].at;
        }
        while steps.iter().any(|s| *s < 3) && !run.stuck && run.undone.is_none() {
            let verdicts = tick(&mut services, &mut peers, &mut run, &mut dice);
            for (slot, &i) in own.iter().enumerate() {
                let waited = services[i].at.saturating_sub(since[slot]);
                run.stuck |= waited > Duration::from_secs(1800) && steps[slot] < 3;
                if steps[slot] < 3 && verdicts[i] == Verdict::Pass {
                    run.waited += waited.saturating_sub(Duration::from_secs(60));
                    run.gates += 1;
                    steps[slot] += 1;
                    since[slot] = services[i].at;
                    if let Some(peers) = peers[i].as_mut() {
                        peers.step();
                    }
                    match steps[slot] {
                        1 => services[i].set_weight(0.5),
                        2 => services[i].set_weight(1.0),
                        _ => {
                            services[i].weight = 0.0;
                            let at = services[i].at;
                            services[i].judge.hear(at, News::Landed);
                            if let Some(peers) = peers[i].take() {
                                run.bare |= peers.bare;
                                run.kayenta_peeking |= peers.kayenta_peeking;
                                run.kayenta_at_steps |= peers.kayenta_at_steps;
                            }
                        }
                    }
                }
            }
        }
    }
    for _ in 0..4 {
        moved(&mut services);
        for _ in 0..12 {
            if run.undone.is_none() {
                tick(&mut services, &mut peers, &mut run, &mut dice);
            }
        }
    }
    run
}

/// When a fault begins, seen from the judge.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Onset {
    /// With the step to this weight.
    WithStep,
    /// In the middle of the step, announced by nothing.
    Within,
}

/// How long each took to find a fault, in seconds from its onset; none when not within the horizon.
#[derive(Clone, Default)]
pub struct Found {
    pub ours: Option<f64>,
    pub bare: Option<f64>,
    pub kayenta: Option<f64>,
    /// Failed before there was a fault.
    pub early: bool,
    pub why: String,
}

/// One service: clean at 25 %, then at 50 % its new revision fails at `bad`. `head` is how much of the first sample's five
/// seconds the fault covers; none draws it.
#[allow(clippy::too_many_arguments)]
pub fn fault(
    seed: u64,
    arms: Arms,
    rps: f64,
    base: f64,
    bad: f64,
    onset: Onset,
    horizon: f64,
    head: Option<f64>,
) -> Found {
    let mut dice = Dice::new(seed);
    let mut service = Service::new(arms, rps, base, 10);
    service.warm_up(&mut dice);
    let mut found = Found::default();
    service.judge.hear(service.at, News::Deployed);
    let mut peers = Peers::new(service.judge.baseline().unwrap().counts.rate(), true);
    service.set_weight(0.25);
    let clean = |service: &mut Service, peers: &mut Peers, found: &mut Found, dice: &mut Dice, ticks: u32| {
        for _ in 0..ticks {
            service.tick(dice, 5.0);
            peers.hear(service.last);
            found.early |= service.judge.judge(service.at).verdict() == Verdict::Fail;
        }
    };
    clean(&mut service, &mut peers, &mut found, &mut dice, 13);
    service.set_weight(0.5);
    peers.step();
    if onset == Onset::Within {
        clean(&mut service, &mut peers, &mut found, &mut dice, 12);
    }
    (peers.bare, peers.kayenta_peeking) = (false, false);
    service.bad = bad;
    let first = head.unwrap_or_else(|| dice.uniform() * 5.0);
    let mut since = 0.0;
    while since < horizon && (found.ours.is_none() || since < horizon.min(300.0)) {
        let bad_for = if since == 0.0 { first } else { 5.0 };
        since += bad_for;
        service.tick(&mut dice, bad_for);
        peers.hear(service.last);
        let judged = service.judge.judge(service.at);
        if judged.verdict() == Verdict::Fail && found.ours.is_none() {
            found.ours = Some(since);
            found.why = judged.why().to_string();
        }
        if peers.bare && found.bare.is_none() {
            found.bare = Some(since);
        }
        if peers.kayenta_peeking && found.kayenta.is_none() {
            found.kayenta = Some(since);
        }
    }
    found
}

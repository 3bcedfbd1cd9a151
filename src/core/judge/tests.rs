//! Examples of train.md §3 and properties of the judge as a whole. The chances of false and true alarms are the campaign's
//! (`benches/judge.rs`, a part of it in `tests/it/guard_campaign.rs`).

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::reports::Word;
use super::sample::Reading;
use super::verdict::{Cause, Judgement};
use super::*;
use crate::core::confirm::Order;
use crate::core::snapshot::Verdict;
use crate::core::verified::Ground;

const S: fn(u64) -> Duration = Duration::from_secs;

fn subject(arms: Arms) -> Subject {
    Subject {
        name: "billing-api".into(),
        slo: Slo { error_rate: Some(0.02), p99_ms: Some(500.0), max_5xx_per_second: Some(25.0), p95_ms: None },
        gate: GateBy::Metrics,
        max_lag: None,
        arms,
        services: 10,
    }
}

fn counts(requests: f64, rate: f64) -> Counts {
    Counts { requests, errors: requests * rate }
}

/// A judge on a clock, fed with exact rates.
struct Stage {
    judge: Judge,
    at: u64,
    weight: f64,
    rps: f64,
    new: f64,
    stable: f64,
    p99: Option<f64>,
}

impl Stage {
    fn with(subject: Subject) -> Self {
        Self {
            judge: Judge::new(subject, Settings::default()),
            at: 0,
            weight: 0.0,
            rps: 100.0,
            new: 0.002,
            stable: 0.002,
            p99: Some(200.0),
        }
    }

    /// Ten minutes of normal traffic, the baseline, and the new revision at a weight.
    fn in_flight(arms: Arms, weight: f64) -> Self {
        let mut stage = Self::with(subject(arms));
        for _ in 0..120 {
            stage.feed();
        }
        stage.judge.measure_baseline(S(stage.at)).unwrap();
        stage.hear(News::Deployed);
        stage.weigh(weight);
        stage
    }

    fn hear(&mut self, news: News) {
        self.judge.hear(S(self.at), news);
    }

    fn weigh(&mut self, weight: f64) {
        self.weight = weight;
        self.hear(News::Weight(weight));
    }

    fn sample(&mut self) -> Sample {
        self.at += 5;
        let n = self.rps * 5.0;
        let (new, stable) = (counts(n * self.weight, self.new), counts(n * (1.0 - self.weight), self.stable));
        let mut all = new;
        all.add(stable);
        let mut sample = Sample::whole(S(self.at), S(5), all);
        if self.judge.subject.arms == Arms::Told {
            sample.arms[0] = Some(Reading::Since(new));
            sample.arms[1] = Some(Reading::Since(stable));
        }
        sample.p99_ms = [self.p99, None, self.p99];
        sample
    }

    fn feed(&mut self) {
        let sample = self.sample();
        self.hear(News::Sample(sample));
    }

    fn look(&mut self) -> Judgement {
        self.judge.judge(S(self.at))
    }

    /// Runs for so many seconds; the last judgement.
    fn run(&mut self, seconds: u64) -> Judgement {
        for _ in 0..seconds / 5 - 1 {
            self.feed();
            self.look();
        }
        self.feed();
        self.look()
    }

    /// Runs until it fails; the seconds that took.
    fn until_fail(&mut self, most: u64) -> Option<u64> {
        (1..=most / 5).find_map(|n| (self.run(5).verdict() == Verdict::Fail).then_some(n * 5))
    }
}

fn said(judgement: &Judgement) -> (Verdict, &str) {
    (judgement.verdict(), judgement.why().as_str())
}

#[test]
fn a_good_canary_passes_once_its_window_is_full() {
    let mut stage = Stage::in_flight(Arms::Told, 0.25);
    let early = stage.run(30);
    assert_eq!(said(&early), (Verdict::Inconclusive, "window 30 of 60 s, n 750"));
    assert!(early.settling() && early.needed() == Some(750));
    let full = stage.run(30);
    assert_eq!(
        said(&full),
        (Verdict::Pass, "errors 0.20 % (base 0.20 %, limit 0.70 %, n 1,500); p99 200 ms (limit 1500 ms); 60 s")
    );
    assert!(!full.settling() && full.in_flight() && full.cause().is_none());
    // At the next weight a window of its own is needed.
    stage.weigh(0.5);
    assert_eq!(stage.run(5).verdict(), Verdict::Inconclusive);
    assert_eq!(stage.run(55).verdict(), Verdict::Pass);
}

#[test]
fn a_bad_canary_fails_from_a_partial_window() {
    for (arms, most) in [(Arms::Told, 20), (Arms::Estimated, 20)] {
        let mut stage = Stage::in_flight(arms, 0.5);
        stage.new = 0.3;
        let took = stage.until_fail(60).unwrap();
        assert!(took <= most, "{arms:?} took {took} s");
        let judged = stage.look();
        assert_eq!((judged.cause(), judged.estimated()), (Some(Cause::Logic), arms == Arms::Estimated));
        let why = judged.why();
        let whose = if arms == Arms::Told { "the new revision" } else { "the new revision, estimated" };
        assert!(why.starts_with(&format!("errors 30.00 % of {whose} (base 0.20 %, limit 0.70 %, n ")), "{why}");
    }
}

#[test]
fn what_hurts_both_revisions_alike_is_not_put_on_the_new_one() {
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    (stage.new, stage.stable) = (0.006, 0.006);
    stage.run(600);
    assert!(stage.judge.concurrent.evidence() < 2.0, "{}", stage.judge.concurrent.evidence());
    assert_eq!(stage.look().verdict(), Verdict::Pass, "less than half a point above its baseline");
    // Where it is far above the baseline the whole service trips: before and after may fail, whoever did it.
    (stage.new, stage.stable) = (0.06, 0.06);
    assert!(stage.until_fail(60).is_some());
    let why = stage.look().why().clone();
    assert!(why.contains("of the whole service"), "{why}");
}

#[test]
fn a_neighbour_that_is_only_watched_trips_too() {
    let mut stage = Stage::in_flight(Arms::Told, 1.0);
    stage.run(60);
    stage.hear(News::Landed);
    stage.weight = 0.0;
    let watched = stage.run(60);
    assert_eq!((watched.verdict(), watched.in_flight()), (Verdict::Pass, false));
    assert!(watched.verified(S(stage.at), Timestamp::UNIX_EPOCH).is_err(), "there is nothing to let forward");
    stage.stable = 0.05;
    assert!(stage.until_fail(60).is_some());
}

#[test]
fn the_lower_of_two_baselines_counts() {
    let mut stage = Stage::with(subject(Arms::Whole));
    stage.stable = 0.004;
    for _ in 0..120 {
        stage.feed();
    }
    assert_eq!(stage.judge.measure_baseline(S(stage.at)).unwrap().counts.rate(), 0.004);
    stage.stable = 0.002;
    for _ in 0..120 {
        stage.feed();
    }
    let near = |rate: f64, wanted: f64| (rate - wanted).abs() < 1e-9;
    assert!(near(stage.judge.measure_baseline(S(stage.at)).unwrap().counts.rate(), 0.002));
    stage.stable = 0.004;
    for _ in 0..120 {
        stage.feed();
    }
    assert!(near(stage.judge.measure_baseline(S(stage.at)).unwrap().counts.rate(), 0.002));
    stage.stable = 0.03;
    for _ in 0..120 {
        stage.feed();
    }
    assert!(matches!(stage.judge.measure_baseline(S(stage.at)), Err(Lack::Burning(_))));
}

#[test]
fn latency_fails_after_three_evaluations_and_not_by_looking_often() {
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    stage.run(60);
    stage.p99 = Some(1600.0);
    let first = stage.run(5);
    assert_eq!(said(&first), (Verdict::Inconclusive, "p99 1600 ms (limit 1500 ms), 1 of 3 times running"));
    for _ in 0..10 {
        assert_eq!(stage.look().verdict(), Verdict::Inconclusive);
    }
    assert_eq!(stage.run(5).verdict(), Verdict::Inconclusive);
    let third = stage.run(5);
    assert_eq!((third.verdict(), third.cause()), (Verdict::Fail, Some(Cause::Performance)));
    stage.p99 = Some(f64::NAN);
    assert_eq!(said(&stage.run(5)), (Verdict::NoData, "the p99 of the new revision is NaN"));
}

#[test]
fn a_p99_of_few_requests_holds_but_does_not_fail() {
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    (stage.rps, stage.p99) = (6.0, Some(1600.0));
    assert_eq!(stage.until_fail(95), None);
    assert_eq!(stage.look().verdict(), Verdict::Inconclusive);
    assert!(stage.until_fail(20).is_none(), "the window reaches back to 100 requests, not to 300");
    stage.rps = 20.0;
    assert!(stage.until_fail(60).is_some());
}

#[test]
fn the_ceiling_trips_after_two() {
    let mut stage =
        Stage::with(Subject { slo: Slo { max_5xx_per_second: Some(25.0), ..Slo::default() }, ..subject(Arms::Told) });
    (stage.rps, stage.new, stage.stable) = (10_000.0, 0.002, 0.002);
    for _ in 0..120 {
        stage.feed();
    }
    stage.judge.measure_baseline(S(stage.at)).unwrap();
    (stage.new, stage.stable) = (0.0034, 0.0034);
    let judged = [stage.run(60), stage.run(5)].map(|j| j.verdict());
    assert!(judged.contains(&Verdict::Fail), "{judged:?}");
    assert!(stage.look().why().contains("errors/s (ceiling 25)"), "{}", stage.look().why());
}

#[test]
fn nothing_that_reads_as_healthy_without_data_passes() {
    type Spoil = fn(&mut Sample);
    let cases: [(&str, Spoil, &str); 8] = [
        (
            "NaN",
            |s| s.arms[0] = Some(Reading::Since(counts(f64::NAN, 0.0))),
            "the new revision: the request count is NaN",
        ),
        (
            "infinite",
            |s| s.arms[0] = Some(Reading::Since(counts(f64::INFINITY, 0.0))),
            "the new revision: the request count is inf",
        ),
        (
            "empty",
            |s| s.arms[0] = Some(Reading::Nothing("the answer is empty".into())),
            "the new revision: the answer is empty",
        ),
        ("vanished", |s| s.arms = [None, None, None], "no counts of both revisions came"),
        (
            "stable gone",
            |s| s.arms[1] = Some(Reading::Nothing("the answer is empty".into())),
            "the stable revision: the answer is empty",
        ),
        ("stale", |s| s.age = Some(S(60)), "the newest scrape is 60 s old"),
        (
            "nonsense",
            |s| s.arms[0] = Some(Reading::Since(Counts { requests: 5.0, errors: 50.0 })),
            "the new revision: 50 errors of 5 requests cannot be",
        ),
        (
            "wrong label",
            |s| s.arms[0] = Some(Reading::Since(Counts::default())),
            "no request was counted on the new revision at weight 50 %, 15,000 on the whole service; is the label right?",
        ),
    ];
    for (name, spoil, why) in cases {
        let mut stage = Stage::in_flight(Arms::Told, 0.5);
        for n in 0..60 {
            let mut sample = stage.sample();
            spoil(&mut sample);
            stage.hear(News::Sample(sample));
            let judged = stage.look();
            assert_eq!(judged.verdict(), Verdict::NoData, "{name} after {n}: {}", judged.why());
        }
        let judged = stage.look();
        let got = judged.why().as_str();
        assert!(got == why || name == "wrong label" && got.contains("is the label right?"), "{name}: {got}");
        assert!(!judged.settling());
    }
}

#[test]
fn a_counter_that_goes_back_is_no_data_until_the_next() {
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    let mut total = [Counts::default(); 2];
    let mut send = |stage: &mut Stage, reset: bool| {
        if reset {
            total[0] = Counts::default();
        }
        stage.at += 5;
        total.iter_mut().for_each(|t| t.add(counts(250.0, 0.002)));
        let mut sample = Sample::whole(S(stage.at), S(5), Counts::default());
        sample.arms = [Some(Reading::Total(total[0])), Some(Reading::Total(total[1])), None];
        sample.p99_ms = [Some(200.0); 3];
        stage.hear(News::Sample(sample));
        stage.look()
    };
    for _ in 0..13 {
        send(&mut stage, false);
    }
    assert_eq!(send(&mut stage, false).verdict(), Verdict::Pass);
    let reset = send(&mut stage, true);
    assert_eq!(reset.verdict(), Verdict::NoData);
    assert!(reset.why().contains("a counter went back"), "{}", reset.why());
    assert_eq!(send(&mut stage, false).verdict(), Verdict::Pass, "the window reaches over the hole");
}

#[test]
fn no_data_runs_out_only_under_traffic() {
    let blind = |weight: f64, seconds: u64| {
        let mut stage = Stage::in_flight(Arms::Told, weight);
        let mut last = None;
        for _ in 0..seconds / 5 {
            stage.at += 5;
            last = Some(stage.look());
        }
        last.unwrap()
    };
    // The first moments after a step are not held against it.
    assert!(!blind(0.5, 310).blind_too_long());
    let out = blind(0.5, 330);
    assert!(out.blind_too_long() && out.verdict() == Verdict::NoData, "{out:?}");
    assert!(!blind(0.0, 4000).blind_too_long(), "no traffic, no harm");
}

#[test]
fn thin_traffic_is_waited_for() {
    let mut stage = Stage::in_flight(Arms::Told, 0.25);
    stage.rps = 4.0;
    let early = stage.run(60);
    assert_eq!(said(&early), (Verdict::NoData, "60 requests in 60 s, 100 are needed"));
    assert_eq!(early.needed(), Some(40));
    assert_eq!(stage.run(40).verdict(), Verdict::Pass, "the window reaches back to 100 requests");
}

#[test]
fn pods_fail_without_any_statistics() {
    let mut stage = Stage::in_flight(Arms::Told, 0.0);
    let pod = PodFact {
        name: "billing-api-x".into(),
        status: "CrashLoopBackOff".into(),
        oom_killed: false,
        restarts: 1,
        unready_for: Some(S(12)),
        image_is_recorded: true,
    };
    stage.hear(News::Pods(vec![pod]));
    let judged = stage.look();
    assert_eq!(said(&judged), (Verdict::Fail, "pod billing-api-x: CrashLoopBackOff"));
    assert_eq!(judged.cause(), Some(Cause::Infrastructure));
    stage.hear(News::Deployed);
    assert_eq!(stage.look().verdict(), Verdict::NoData, "another revision begins anew");
}

#[test]
fn a_worker_is_judged_by_its_pods_and_lag() {
    let worker = Subject { gate: GateBy::Health, max_lag: Some(100.0), ..subject(Arms::Whole) };
    let mut stage = Stage::with(worker);
    let pod = PodFact {
        name: "ledger-consumer-x".into(),
        status: "Running".into(),
        oom_killed: false,
        restarts: 0,
        unready_for: None,
        image_is_recorded: true,
    };
    stage.hear(News::Deployed);
    stage.weigh(1.0);
    let mut look = |seconds: u64, lag: Option<f64>| {
        let mut last = None;
        for _ in 0..seconds / 5 {
            stage.at += 5;
            stage.hear(News::Pods(vec![pod.clone()]));
            stage.hear(News::Lag(lag));
            last = Some(stage.look());
        }
        last.unwrap()
    };
    assert_eq!(said(&look(30, Some(7.0))), (Verdict::Inconclusive, "healthy for 25 of 60 s"));
    assert_eq!(said(&look(40, Some(7.0))), (Verdict::Pass, "all pods (1) healthy for 65 s; no metric gate"));
    assert_eq!(said(&look(5, None)), (Verdict::NoData, "the lag was not measured"));
    assert_eq!(said(&look(5, Some(500.0))), (Verdict::Inconclusive, "lag 500 (limit 100)"));
    let behind = look(60, Some(500.0));
    assert_eq!(
        (said(&behind), behind.cause()),
        ((Verdict::Fail, "lag 500 (limit 100) for 60 s"), Some(Cause::Performance))
    );
}

#[test]
fn a_worker_that_falls_behind_while_others_move_trips_if_it_kept_up_before() {
    let worker = Subject { gate: GateBy::Health, max_lag: Some(100.0), ..subject(Arms::Whole) };
    let mut stage = Stage::with(worker);
    let mut look = |seconds: u64, lag: Option<f64>| {
        let mut last = None;
        for _ in 0..seconds / 5 {
            stage.at += 5;
            stage.hear(News::Lag(lag));
            last = Some(stage.look());
        }
        last.unwrap()
    };
    assert_eq!(look(120, Some(500.0)).verdict(), Verdict::Pass, "it was behind before the train came");
    assert_eq!(look(5, Some(7.0)).verdict(), Verdict::Pass);
    assert_eq!(look(60, Some(500.0)).verdict(), Verdict::Pass, "it may catch up");
    let behind = look(5, Some(500.0));
    assert_eq!(
        (said(&behind), behind.cause()),
        ((Verdict::Fail, "lag 500 over 100 for 60 s"), Some(Cause::Performance))
    );
    assert_eq!(look(5, Some(7.0)).verdict(), Verdict::Pass);
}

#[test]
fn what_others_found_counts() {
    let passing = || {
        let mut stage = Stage::in_flight(Arms::Told, 0.5);
        stage.run(60);
        stage
    };
    let with = |report: Report| {
        let mut stage = passing();
        stage.hear(News::Report(report));
        let judged = stage.run(5);
        (judged.verdict(), judged)
    };
    let report =
        |word| Report { name: "analysis run r-1".into(), word, why: "errors: x".into(), cause: Cause::Performance };
    assert_eq!(with(report(Word::Pass)).0, Verdict::Pass);
    assert_eq!(with(report(Word::Running)).0, Verdict::Inconclusive);
    assert_eq!(with(report(Word::Inconclusive)).0, Verdict::Inconclusive);
    assert_eq!(with(report(Word::NoData)).0, Verdict::NoData);
    let (verdict, failed) = with(report(Word::Fail));
    assert_eq!((verdict, failed.cause()), (Verdict::Fail, Some(Cause::Performance)));
    let (verdict, aborted) = with(report(Word::Aborted));
    assert_eq!(verdict, Verdict::NoData);
    let order = Order { who: "ana".into(), when: Timestamp::UNIX_EPOCH, why: "looks fine".into() };
    let refused = aborted.overruled(&order, aborted.at()).unwrap_err();
    assert!(refused.hint.contains("retry it, or undo"), "{}", refused.hint);
}

#[test]
fn only_a_pass_verifies_and_a_person_may_decide_what_the_gate_could_not() {
    let now = Timestamp::UNIX_EPOCH;
    let order = |why: &str| Order { who: "ana".into(), when: now, why: why.into() };
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    let early = stage.run(30);
    assert!(early.verified(early.at(), now).is_err());
    assert!(early.overruled(&order(""), early.at()).is_err(), "without a reason");
    let by_hand = early.overruled(&order("checked the logs"), early.at()).unwrap();
    assert!(matches!(by_hand.ground(), Ground::Overruled { .. }));
    assert_eq!(
        by_hand.says(),
        "override of gate billing-api (inconclusive: window 30 of 60 s, n 1,500), ana: checked the logs"
    );
    let good = stage.run(30);
    assert!(good.overruled(&order("x"), good.at()).is_err(), "a pass needs no overruling");
    let verified = good.verified(good.at(), now).unwrap();
    assert!(matches!(verified.ground(), Ground::Passed { .. }) && !verified.unverified());
    assert!(good.verified(good.at() + S(16), now).is_err(), "it was judged too long ago");
    stage.new = 0.5;
    stage.until_fail(60).unwrap();
    let bad = stage.look();
    assert!(bad.verified(bad.at(), now).is_err() && bad.overruled(&order("ship it"), bad.at()).is_err());
}

#[test]
fn the_scrape_interval_is_measured() {
    let mut stage = Stage::in_flight(Arms::Told, 0.5);
    stage.run(60);
    let detection = stage.judge.detection().unwrap();
    assert_eq!((detection.scrape, detection.at_worst), (S(5), S(25)));
    assert!(detection.warning.is_empty());
}

#[test]
fn another_conductor_goes_on_with_the_baseline() {
    let stage = Stage::in_flight(Arms::Told, 0.5);
    let held = stage.judge.baseline().unwrap();
    let written = serde_json::to_string(&held).unwrap();
    let mut next = Stage::with(subject(Arms::Told));
    next.judge.adopt(serde_json::from_str(&written).unwrap());
    next.hear(News::Deployed);
    next.weigh(0.5);
    assert_eq!(next.run(60).verdict(), Verdict::Pass);
    next.new = 0.1;
    assert!(next.until_fail(60).is_some());
}

#[test]
fn without_a_baseline_nothing_passes_and_what_is_told_apart_may_still_fail() {
    let mut stage = Stage::with(subject(Arms::Whole));
    stage.hear(News::Deployed);
    stage.weigh(1.0);
    assert_eq!(said(&stage.run(60)), (Verdict::NoData, "no baseline was measured"));
    let mut stage = Stage::with(subject(Arms::Told));
    stage.hear(News::Deployed);
    stage.weigh(0.5);
    stage.new = 0.3;
    assert!(stage.until_fail(60).is_some());
}

fn any_sample() -> impl Strategy<Value = (u64, Sample)> {
    let number = prop_oneof![
        8 => 0.0f64..2000.0,
        1 => Just(0.0),
        1 => proptest::num::f64::ANY,
    ];
    let counts =
        (number.clone(), number.clone()).prop_map(|(requests, errors)| Counts { requests, errors: errors * 0.01 });
    let reading = prop_oneof![
        6 => counts.clone().prop_map(Reading::Since),
        2 => counts.prop_map(Reading::Total),
        1 => Just(Reading::Nothing("the answer is empty".into())),
    ];
    let arm = prop::option::weighted(0.9, reading);
    let p99 = prop::option::weighted(0.8, number);
    (0u64..12, [arm.clone(), arm.clone(), arm], [p99.clone(), p99.clone(), p99], prop::option::of(0u64..100)).prop_map(
        |(after, arms, p99_ms, age)| {
            (after, Sample { at: Duration::ZERO, over: S(after.max(1)), age: age.map(S), arms, p99_ms })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes in: no panic, every verdict has a reason, and a pass stands on a full window of enough requests and an
    /// error rate below its limit, heard just now.
    #[test]
    fn a_pass_stands_on_data(
        arms in prop_oneof![Just(Arms::Told), Just(Arms::Estimated), Just(Arms::Whole)],
        samples in prop::collection::vec(any_sample(), 0..80),
        weights in prop::collection::vec(prop_oneof![Just(0.0), Just(0.25), Just(1.0), proptest::num::f64::ANY], 1..4),
    ) {
        let mut stage = Stage::in_flight(arms, 0.5);
        let each = samples.len() / weights.len() + 1;
        for (n, (after, mut sample)) in samples.into_iter().enumerate() {
            if n % each == each - 1 {
                stage.hear(News::Weight(weights[n / each]));
            }
            stage.at += after;
            sample.at = S(stage.at);
            stage.hear(News::Sample(sample));
            let judged = stage.look();
            prop_assert!(!judged.why().is_empty());
            prop_assert_eq!(judged.cause().is_some(), judged.verdict() == Verdict::Fail);
            if judged.verdict() == Verdict::Pass {
                let numbers = judged.numbers().unwrap();
                prop_assert!(judged.requests() >= 100 && numbers.rate.is_finite());
                let over = numbers.rate > numbers.base * 2.0 && numbers.rate >= numbers.base + 0.005;
                prop_assert!(!over, "{}", judged.why());
                prop_assert!(stage.judge.heard.as_ref().is_some_and(|(_, why)| why.is_empty()));
            }
        }
    }

    /// More errors on the new revision never make evidence, or a verdict, milder; fewer on the stable one neither.
    #[test]
    fn more_errors_are_never_milder(rate in 0.0f64..0.2, more in 0.0f64..0.2, stable in 0.0f64..0.1, rps in 10.0f64..500.0) {
        let run = |new: f64, stable: f64| {
            let mut stage = Stage::in_flight(Arms::Told, 0.5);
            (stage.rps, stage.new, stage.stable) = (rps, new, stable);
            let judged = stage.run(60);
            let harsh = match judged.verdict() { Verdict::Fail => 2, Verdict::Inconclusive => 1, _ => 0 };
            (harsh, stage.judge.concurrent.evidence())
        };
        let (at, worse, other) = (run(rate, stable), run(rate + more, stable), run(rate, stable / 2.0));
        prop_assert!(worse.0 >= at.0 && worse.1 >= at.1 * 0.999_999, "{:?} {:?}", at, worse);
        prop_assert!(other.1 >= at.1 * 0.999_999, "{:?} {:?}", at, other);
    }

    /// The same rates with more traffic: evidence for a real difference grows.
    #[test]
    fn evidence_grows_with_traffic(rps in 20.0f64..200.0, times in 1.5f64..10.0) {
        let run = |rps: f64| {
            let mut stage = Stage::in_flight(Arms::Told, 0.5);
            (stage.rps, stage.new) = (rps, 0.02);
            stage.run(30);
            (stage.judge.concurrent.evidence(), stage.judge.before.as_ref().unwrap().evidence())
        };
        let (less, more) = (run(rps), run(rps * times));
        prop_assert!(more.0 >= less.0 * 0.999 && more.1 >= less.1 * 0.999, "{:?} {:?}", less, more);
    }

    /// Samples that come late or twice, and whole judges in any order, change nothing.
    #[test]
    fn late_and_repeated_samples_change_nothing(late in prop::collection::vec(0u64..100, 1..20)) {
        let mut plain = Stage::in_flight(Arms::Told, 0.5);
        let mut noisy = Stage::in_flight(Arms::Told, 0.5);
        for back in late {
            let sample = plain.sample();
            plain.hear(News::Sample(sample.clone()));
            noisy.at = plain.at;
            noisy.hear(News::Sample(sample.clone()));
            let mut old = sample;
            old.at = old.at.saturating_sub(S(back));
            old.arms[0] = Some(Reading::Since(counts(5000.0, 1.0)));
            noisy.hear(News::Sample(old));
            prop_assert_eq!(plain.look(), noisy.look());
        }
    }

    /// It does not grow, whatever it hears.
    #[test]
    fn it_does_not_grow(names in prop::collection::vec("[a-z]{1,8}", 1..200)) {
        let mut stage = Stage::in_flight(Arms::Told, 0.5);
        for name in &names {
            stage.hear(News::Report(Report::of_check(&Text::scrub(name), Some(true), Text::default())));
            stage.feed();
        }
        prop_assert!(stage.judge.reports.all().len() <= 32);
    }
}

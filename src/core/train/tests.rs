//! The train in small, and the journal: what was written is read back, and a replay comes to the same state. Whole trains under
//! faults are `tests/campaign/`.

use std::sync::Arc;

use super::effect::{Change, Effect};
use super::event::{
    Answer, At, Cause, Check, Event, Fact, FlagReading, Found, HoldFor, Input, Intent, JobReading, Judged, Pause,
    Reading, Scope, Spec, Tripped, Want,
};
use super::flags::{RAMP, value_at};
use super::resolved::{Abandon, Deploy, Flag, Kind, Migration, Resolved, Service, Setting, Times, Untimed, Wave};
use super::state::{Ended, Memory, Stage};
use super::{Phase, Role, State, hands, journal, step, why};
use crate::core::confirm::Order;
use crate::core::elector::{Epoch, EpochMark};
use crate::core::text::Text;
use crate::core::verdict::Verdict;

fn plan() -> Resolved {
    let service = |name: &str, wave, needs: &[u16]| Service {
        name: name.into(),
        version: "2.0.0".into(),
        image: "r/x:2.0.0".into(),
        kind: Kind::Rollout,
        wave,
        needs: needs.to_vec(),
        untimed: Untimed::Gate,
        commit: None,
    };
    Resolved {
        release: "r1".into(),
        uid: "t1".into(),
        id: "QKZD".into(),
        environment: "dev".into(),
        captain: "ana".into(),
        abandon: Abandon::Undo,
        deploy: Deploy::Direct,
        waves: vec![
            Wave { services: vec![0], expand: false },
            Wave { services: vec![1], expand: false },
            Wave { services: vec![2], expand: false },
        ],
        services: vec![service("a", 0, &[]), service("b", 1, &[0]), service("c", 2, &[1])],
        migrations: Vec::new(),
        flags: Vec::new(),
        policies: Vec::new(),
        times: Times::default(),
        broken: None,
    }
}

fn reading(service: u16) -> Reading {
    Reading {
        uid: crate::text!("u{service}"),
        version: 1,
        generation: 1,
        observed: true,
        spec: Spec::Recorded,
        current: "old".into(),
        stable: "old".into(),
        paused: false,
        hold: None,
        undo: None,
        train: None,
        epoch: None,
        step: 2,
        steps: 2,
        pause: None,
        weight: 0,
        aborted: false,
        full: false,
        healthy: true,
        fast: true,
        mark: 0,
        record: None,
    }
}

/// A canary at its first step.
fn walks(r: &mut Reading) {
    (r.spec, r.current, r.observed, r.healthy) = (Spec::Pinned, "new".into(), true, false);
    (r.step, r.weight, r.pause) = (1, 25, Some(Pause::Timed(100_000)));
}

/// Through: the new version is all there is.
fn finished(r: &mut Reading) {
    (r.spec, r.current, r.stable, r.observed, r.healthy) = (Spec::Pinned, "new".into(), "new".into(), true, true);
    (r.step, r.weight, r.pause) = (2, 0, None);
}

/// As it was, with the mark of an undo.
fn restored(r: &mut Reading) {
    (r.spec, r.current, r.stable, r.observed, r.healthy) = (Spec::Recorded, "old".into(), "old".into(), true, true);
    (r.step, r.weight, r.pause, r.undo) = (2, 0, None, Some("t1/7".into()));
}

struct Run {
    state: State,
    now: u64,
    lines: Vec<String>,
    effects: Vec<Effect>,
}

impl Run {
    fn new() -> Self {
        Self::of(plan())
    }

    fn of(plan: Resolved) -> Self {
        let state = State::new(Arc::new(plan));
        let lines = vec![journal::opening(state.plan()), journal::took_up(Some(&"c1".into()), state.memory())];
        Self { state, now: 0, lines, effects: Vec::new() }
    }

    fn give(&mut self, event: Event) {
        self.now += 100;
        let wall = jiff::Timestamp::from_millisecond(1_759_320_000_000 + i64::try_from(self.now).unwrap()).unwrap();
        let lease = EpochMark { number: 1, holder: "c1".into(), remaining: 9_000 };
        let epoch = Epoch::replayed(1, "c1".into(), 9_000);
        let input = Input { at: At { mono: self.now, wall }, lease: Some(lease), event };
        self.lines.push(journal::line(&input));
        let (state, effects) = step(self.state.clone(), Role::Conducting(&epoch), &input);
        self.state = state;
        for effect in &effects {
            if let Effect::Keep(entry) = effect {
                let entry = *entry;
                self.effects.push(effect.clone());
                self.give(Event::Kept(entry));
            }
        }
        self.effects.extend(effects);
    }

    fn order(&mut self, id: u64, want: Want) {
        let when = jiff::Timestamp::from_second(1_759_320_000).unwrap();
        self.give(Event::Ordered(Intent {
            id,
            epoch: None,
            order: Order { who: "ana".into(), when, why: Text::default() },
            want,
        }));
    }

    fn read(&mut self, service: u16, change: impl Fn(&mut Reading)) {
        let mut r = self.state.reading(service).map_or_else(|| reading(service), |r| (**r).clone());
        r.version += 1;
        change(&mut r);
        self.give(Event::Read(service, Arc::new(r)));
    }

    fn start(&mut self) {
        self.pass_preflight();
        self.give(Event::StatusKept(self.state.memory().version));
        self.give(Event::Tick);
    }

    /// As far as it comes before a status was written.
    fn pass_preflight(&mut self) {
        self.order(1, Want::Start);
        for check in super::preflight::checks(self.state.plan()) {
            self.give(Event::Fact(Fact { check, found: Found::Good("seen".into()) }));
        }
        for s in 0..3 {
            self.read(s, |r| {
                r.train = Some("t1".into());
                r.epoch = Some((1, "c1".into()));
                r.record = Some("old".into());
            });
        }
    }

    /// Under way, with a canary of the first service at its first step.
    fn canary(&mut self) {
        self.start();
        self.give(Event::Fact(Fact { check: Check::Burning(0), found: Found::Good("0.1 %".into()) }));
        self.give(Event::Tick);
        let token = |e: &Effect| if let Effect::Forward(token, _) = e { Some(*token) } else { None };
        let token = self.effects.iter().find_map(token).expect("a deploy");
        self.give(Event::Answered(token, Answer::Landed(2)));
        self.read(0, walks);
    }

    /// The same, and the second service has a canary too.
    fn canaries(&mut self) {
        self.canary();
        (self.state.memory.services[1].touched, self.state.memory.services[1].stage) = (true, Stage::Deploying);
        self.read(1, walks);
    }

    fn stamps(&self) -> usize {
        let stamp = |e: &&Effect| matches!(e, Effect::Forward(_, f) if matches!(f.change(), Change::Stamp { .. }));
        self.effects.iter().filter(stamp).count()
    }

    fn safe(&self) -> Vec<(u16, Change)> {
        let safe = |e: &Effect| if let Effect::Safe(_, s) = e { Some((s.service(), s.change().clone())) } else { None };
        self.effects.iter().filter_map(safe).collect()
    }

    fn alarms(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for effect in &self.effects {
            if let Effect::Alarm(_, what) = effect {
                all.push(what.as_str());
            }
        }
        all
    }

    fn outside(&self, service: usize) -> Option<&str> {
        self.state.memory().services[service].outside.as_deref()
    }

    fn deploys(&self) -> Vec<u16> {
        let deploy = |e: &Effect| match e {
            Effect::Forward(_, f) if matches!(f.change(), Change::Deploy { .. }) => Some(f.service()),
            _ => None,
        };
        self.effects.iter().filter_map(deploy).collect()
    }
}

#[test]
fn the_first_wave_alone_is_deployed_and_all_waiting_says_why() {
    let mut run = Run::new();
    assert_eq!(why::train(&run.state), "somebody to start it");
    run.start();
    run.give(Event::Fact(Fact { check: Check::Burning(0), found: Found::Good("0.1 %".into()) }));
    run.give(Event::Tick);
    assert_eq!(run.deploys(), [0]);
    assert_eq!(run.state.phase(), Phase::Rolling);
    assert_eq!(why::service(&run.state, 1), "a");
    assert_eq!(why::service(&run.state, 2), "b");
    assert_eq!(why::train(&run.state), "a of wave 0");
}

#[test]
fn a_service_beside_the_train_that_fails_holds_it_before_its_first_deploy_and_takes_it_back_after() {
    let trip = || {
        let (service, why) = ("z".into(), "errors 4 %, 8x base".into());
        Event::Tripped(Tripped { service, cause: Cause::Logic, why })
    };
    let ordered = |run: &Run| {
        let order = |e: &Effect| match e {
            Effect::Order(intent) => Some(intent.clone()),
            _ => None,
        };
        run.effects.iter().rev().find_map(order)
    };
    let mut run = Run::new();
    run.pass_preflight();
    run.give(trip());
    let hold = ordered(&run).expect("an order");
    assert_eq!(hold.want, Want::Hold(None, HoldFor::Elsewhere));
    assert!(hold.order.why.contains("z, which is no part of the train: errors 4 %"), "{}", hold.order.why);
    run.give(Event::Ordered(hold.clone()));
    assert_eq!((run.state.phase(), run.deploys().len()), (Phase::NeedsPerson, 0));
    assert_eq!(run.state.memory().cause.as_ref().unwrap().0.name(run.state.plan()).as_str(), "z");
    run.now += run.state.plan().times.verdict_fresh;
    run.order(5, Want::Resume(hold.id));
    run.give(Event::StatusKept(run.state.memory().version));
    run.give(Event::Tick);
    assert_eq!(run.deploys(), [0]);
    run.read(0, |r| (r.spec, r.current, r.step, r.weight, r.healthy) = (Spec::Pinned, "new".into(), 1, 25, false));
    run.give(trip());
    let undo = ordered(&run).expect("an order");
    assert_eq!(undo.want, Want::Undo(Scope::All));
    run.give(Event::Ordered(undo));
    assert_eq!(run.state.phase(), Phase::Undoing);
    assert!(run.state.bad_traffic(), "any of what was deployed may hurt it");
}

#[test]
fn nothing_goes_forward_without_a_check_that_has_an_answer() {
    let mut run = Run::new();
    run.order(1, Want::Start);
    for check in super::preflight::checks(run.state.plan()) {
        if check != Check::WayBack(2) {
            run.give(Event::Fact(Fact { check, found: Found::Good("seen".into()) }));
        }
    }
    run.give(Event::Tick);
    assert!(!run.effects.iter().any(|e| matches!(e, Effect::Forward(..))));
    assert_eq!(why::train(&run.state), "what is found of way back of c");
    assert_eq!(why::people(&run.state).len(), 1, "somebody is named who can help");
    assert_eq!(why::calls(&run.state).len(), 0, "nobody is called for what may yet come by itself");
    run.give(Event::Fact(Fact { check: Check::WayBack(2), found: Found::Ask("is it?".into()) }));
    assert_eq!(why::calls(&run.state).len(), 1, "a question is asked at once");
    run.give(Event::Fact(Fact { check: Check::WayBack(2), found: Found::Unknown("403".into()) }));
    assert_eq!(why::calls(&run.state).len(), 0);
    for _ in 0..150 {
        run.give(Event::Tick);
    }
    assert_eq!(why::calls(&run.state).len(), 1, "what does not come needs a person");
    run.give(Event::Fact(Fact { check: Check::WayBack(2), found: Found::Refuse("image gone".into()) }));
    assert!(run.state.memory().ended.is_some());
}

#[test]
fn a_train_that_is_called_off_before_it_sets_off_ends() {
    let mut run = Run::new();
    run.order(1, Want::Start);
    run.give(Event::Tick);
    assert_eq!(run.state.phase(), Phase::Preflight);
    run.order(7, Want::Undo(Scope::All));
    run.give(Event::Tick);
    assert_eq!(run.state.memory().closing, None, "what it moved before a status was lost would show in records");
    for s in 0..3 {
        run.read(s, |_| {});
    }
    assert!(run.effects.iter().all(|e| !matches!(e, Effect::Forward(..))));
    assert_eq!(why::train(&run.state), "ana called it off before it set off");
    run.give(Event::StatusKept(run.state.memory().version));
    run.give(Event::Tick);
    assert_eq!(run.state.memory().ended, Some(Ended::Refused));
}

#[test]
fn hands_without_a_lease_take_back_and_move_nothing_forward() {
    let mut run = Run::new();
    run.start();
    run.read(0, |r| {
        r.spec = Spec::Pinned;
        r.current = "new".into();
        r.step = 1;
        r.weight = 25;
        r.healthy = false;
    });
    let memory: Memory = serde_json::from_str(&serde_json::to_string(run.state.memory()).unwrap()).unwrap();
    assert_eq!(&memory, run.state.memory(), "a status is read back as it was written");
    let mut state = State::resume(run.state.plan().clone(), memory);
    let when = jiff::Timestamp::from_second(1_759_320_000).unwrap();
    let order = Order { who: "bo".into(), when, why: Text::default() };
    let undo = Intent { id: 9, epoch: None, order, want: Want::Undo(Scope::All) };
    let mut effects = Vec::new();
    for event in [Event::Read(0, run.state.reading(0).unwrap().clone()), Event::Ordered(undo)] {
        let input = Input { at: At { mono: 5, wall: when }, lease: None, event };
        let (next, more) = step(state, Role::Hands, &input);
        state = next;
        effects.extend(more);
    }
    let changes: Vec<_> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Safe(_, s) => Some(s.change()),
            Effect::Forward(..) => panic!("{e:?}"),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [&Change::Restore]);
}

/// Whoever takes a train over looks at everything once more, and a server that is not well leaves some of it open.
#[test]
fn a_train_that_is_taken_over_under_way_does_not_wait_for_its_pre_flight_again() {
    let mut run = Run::new();
    run.start();
    run.state = State::resume(run.state.plan().clone(), run.state.memory().clone());
    for (check, found) in [
        (Check::Rights, Found::Unknown("no answer".into())),
        (Check::Drift(1), Found::Refuse("it is another one by now".into())),
        (Check::Burning(0), Found::Good("0.1 %".into())),
    ] {
        run.give(Event::Fact(Fact { check, found }));
    }
    for s in 0..3 {
        run.read(s, |r| {
            r.train = Some("t1".into());
            r.epoch = Some((1, "c1".into()));
            r.record = Some("old".into());
        });
    }
    run.give(Event::StatusKept(run.state.memory().version));
    run.give(Event::Tick);
    assert_eq!(run.deploys(), [0]);
}

/// Whoever reverts an undo puts the template back; only its controller, a moment later, makes a canary of it.
#[test]
fn an_undo_that_is_reverted_for_ever_ends_with_the_traffic_off_and_a_person_called() {
    let mut run = Run::new();
    run.start();
    run.give(Event::Fact(Fact { check: Check::Burning(0), found: Found::Good("0.1 %".into()) }));
    run.give(Event::Tick);
    let reverted = |r: &mut Reading| {
        (r.spec, r.observed, r.healthy) = (Spec::Pinned, false, false);
    };
    let taken_up = |r: &mut Reading| {
        (r.observed, r.current, r.step, r.weight) = (true, "new".into(), 1, 25);
    };
    run.read(0, reverted);
    run.read(0, taken_up);
    run.order(7, Want::Undo(Scope::All));
    let last = |run: &Run| {
        let safe = |e: &Effect| if let Effect::Safe(_, s) = e { Some(s.change().clone()) } else { None };
        run.effects.iter().filter_map(safe).next_back()
    };
    for fight in 1..=4 {
        assert_eq!(last(&run), Some(Change::Restore), "before fight {fight}");
        run.read(0, |r| {
            (r.spec, r.current, r.weight, r.healthy, r.observed) = (Spec::Recorded, "old".into(), 0, true, true);
            r.undo = Some("t1/7".into());
        });
        // Every other time it is reverted before its controller called it healthy.
        if fight % 2 == 0 {
            run.read(0, |r| r.healthy = false);
        }
        run.effects.clear();
        run.now += 60_000;
        run.read(0, reverted);
        assert!(run.effects.iter().any(|e| matches!(e, Effect::Alarm(0, _))), "fight {fight} is told");
    }
    assert_eq!(last(&run), None, "nothing can be aborted yet, and a restore would only be reverted again");
    run.read(0, taken_up);
    assert_eq!(last(&run), Some(Change::Abort));
    assert_eq!((run.state.phase(), run.state.bad_traffic()), (Phase::NeedsPerson, true));
    run.read(0, |r| (r.aborted, r.weight) = (true, 0));
    run.give(Event::Tick);
    assert_eq!((run.state.phase(), run.state.bad_traffic()), (Phase::NeedsPerson, false));
}

/// The Lease was deleted and counts anew, the status is lost, and one object has lost its stamps.
#[test]
fn nothing_is_stamped_before_every_object_was_asked_whether_the_epoch_is_used_up() {
    let mut run = Run::new();
    run.order(1, Want::Start);
    for check in super::preflight::checks(run.state.plan()) {
        run.give(Event::Fact(Fact { check, found: Found::Good("seen".into()) }));
    }
    run.read(0, |_| {});
    run.read(1, |_| {});
    assert_eq!(run.stamps(), 0, "c is not read yet");
    run.read(2, |r| (r.train, r.epoch) = (Some("t1".into()), Some((1, "c0".into()))));
    run.give(Event::Tick);
    assert_eq!(run.stamps(), 0);
    assert!(run.effects.contains(&Effect::EpochUsedUp(1)));
}

#[test]
fn a_pause_that_lost_its_stamp_is_told_once_nothing_asks_for_it_any_more() {
    let mut run = Run::new();
    run.canary();
    run.read(0, |r| r.pause = Some(Pause::Timed(20_000)));
    assert!(matches!(run.safe()[..], [(0, Change::Hold(_))]));
    run.read(0, |r| (r.paused, r.hold) = (true, Some("t1/gate-1".into())));
    run.read(0, |r| (r.hold, r.train, r.epoch) = (None, None, None));
    assert_eq!(run.outside(0), None, "it is asked for, and held anew");
    run.give(Event::Judged(Judged {
        service: 0,
        verdict: Verdict::Pass,
        hash: Some("new".into()),
        step: Some(1),
        full: true,
        error: false,
        cause: Cause::Logic,
        why: Text::default(),
    }));
    assert_eq!(run.outside(0), Some("a: another hand paused it"));
}

#[test]
fn a_pause_that_came_beside_another_change_is_told_when_that_is_answered() {
    let mut run = Run::new();
    run.canary();
    run.read(0, finished);
    run.read(0, |r| {
        restored(r);
        r.undo = None;
    });
    assert_eq!(run.outside(0), Some("a: another hand put the version before this train back"));
    run.read(0, |r| r.paused = true);
    run.order(7, Want::Retry(0));
    assert_eq!(run.outside(0), Some("a: another hand paused it"));
}

#[test]
fn what_another_hand_changes_before_the_end_is_told_ends_the_end() {
    let mut run = Run::new();
    run.canary();
    run.order(7, Want::Undo(Scope::All));
    run.read(0, restored);
    run.give(Event::Tick);
    run.now += run.state.plan().times.settle;
    for s in 0..3 {
        run.read(s, |_| {});
    }
    assert_eq!(run.state.phase(), Phase::RolledBack);
    assert_eq!(run.state.memory().ended, None, "its stamps are still there");
    run.read(1, |r| r.train = None);
    run.read(1, |r| r.spec = Spec::Other);
    assert_eq!(run.state.phase(), Phase::RolledBack, "b was let go of");
    run.read(2, |r| r.spec = Spec::Other);
    assert_eq!(run.outside(2), Some("c: another hand deployed something else before its turn"));
    assert_eq!(run.state.phase(), Phase::NeedsPerson);
}

/// Its template names the pinned version, as it did before the train.
#[test]
fn an_unchanged_service_stays_unchanged_when_a_status_was_lost() {
    let mut run = Run::new();
    run.order(7, Want::Undo(Scope::All));
    run.read(0, |r| {
        walks(r);
        (r.train, r.record) = (Some("t1".into()), Some("old".into()));
    });
    run.read(1, |r| (r.spec, r.train, r.record) = (Spec::Pinned, Some("t1".into()), Some("old".into())));
    run.read(2, |r| (r.train, r.record) = (Some("t1".into()), Some("old".into())));
    run.give(Event::Tick);
    run.give(Event::Tick);
    assert_eq!(run.state.memory().services[1].stage, Stage::Unchanged);
    assert!(run.safe().iter().all(|(s, change)| *s == 0 && *change == Change::Restore), "{:?}", run.safe());
    assert!(!run.safe().is_empty());
}

#[test]
fn an_end_waits_for_the_answer_of_a_flag_that_was_sent_forward() {
    let flag = Flag { key: "f".into(), goal: Setting::Percent(100), safe: None, services: vec![0] };
    let mut run = Run::of(Resolved { flags: vec![flag], ..plan() });
    run.give(Event::FlagRead(0, FlagReading { value: Setting::Percent(0), version: 1 }));
    run.canary();
    (run.state.memory.flags[0].moved, run.state.sight.flag_sent[0]) = (true, Some(99));
    run.order(7, Want::Undo(Scope::All));
    run.read(0, restored);
    let end = |run: &mut Run| {
        run.give(Event::Tick);
        run.now += run.state.plan().times.settle;
        (0..3).for_each(|s| run.read(s, |_| {}));
        run.state.memory().closing
    };
    assert_eq!(end(&mut run), None, "it may land yet");
    run.give(Event::Answered(99, Answer::Unknown));
    assert_eq!(end(&mut run), Some(Ended::RolledBack));
}

#[test]
fn an_aborted_version_that_comes_back_under_another_hash_is_told_each_time() {
    let mut run = Run::new();
    run.canary();
    run.order(7, Want::Abort(0, "new".into()));
    for time in 1..=2 {
        run.read(0, restored);
        run.give(Event::Tick);
        assert_eq!(run.state.memory().services[0].stage, Stage::Aborted);
        run.read(0, |r| {
            finished(r);
            r.current = "another".into();
        });
        let says = format!("a: another hand lets the aborted version go on ({time})");
        assert_eq!(run.alarms().last(), Some(&says.as_str()));
        run.now += run.state.plan().times.resend;
        run.give(Event::Tick);
        assert_eq!(run.safe().last(), Some(&(0, Change::Restore)));
    }
}

#[test]
fn what_another_hand_deploys_while_another_try_is_ordered_is_told_and_held_like_ours() {
    let mut run = Run::new();
    run.canaries();
    run.order(7, Want::Undo(Scope::Only(0)));
    run.read(0, restored);
    run.give(Event::Tick);
    run.order(8, Want::Retry(0));
    let clears = |run: &Run| {
        let clear = |e: &Effect| match e {
            Effect::Forward(token, f) if *f.change() == Change::ClearUndo => Some(*token),
            _ => None,
        };
        run.effects.iter().filter_map(clear).collect::<Vec<_>>()
    };
    let [first] = clears(&run)[..] else { panic!("{:?}", clears(&run)) };
    run.read(0, |r| {
        walks(r);
        r.undo = Some("t1/7".into());
    });
    assert_eq!(run.alarms(), ["a: another hand deployed what was taken back (1)"]);
    run.give(Event::Answered(first, Answer::Moved));
    run.read(0, |_| {});
    run.give(Event::Tick);
    assert_eq!(clears(&run).len(), 2, "with the mark of the undo no hold would land");
}

#[test]
fn what_a_let_go_service_still_serves_keeps_what_it_is_built_on() {
    let mut run = Run::new();
    run.canaries();
    run.read(0, finished);
    run.read(1, finished);
    run.read(1, |r| (r.spec, r.current, r.weight, r.healthy) = (Spec::Other, "theirs".into(), 50, false));
    run.order(7, Want::ResumeOutside(1));
    run.order(8, Want::Undo(Scope::All));
    run.give(Event::Tick);
    assert_eq!(run.safe(), [], "half of b is ours yet, and built on a");
    assert_eq!(why::service(&run.state, 0), "a: b, which was let go, still serves what this train deployed");
    assert_eq!(run.state.phase(), Phase::NeedsPerson);
    run.read(1, |r| r.stable = "theirs".into());
    assert_eq!(run.safe(), [(0, Change::Restore)]);
}

#[test]
fn a_schema_that_a_let_go_service_still_needs_waits_for_a_person() {
    let mut run =
        Run::of(Resolved { migrations: vec![Migration { name: "db".into(), script: "sql".into() }], ..plan() });
    run.canary();
    run.give(Event::JobRead(0, JobReading::Done));
    run.read(0, finished);
    run.read(0, |r| (r.spec, r.current, r.weight, r.healthy) = (Spec::Other, "theirs".into(), 50, false));
    run.order(7, Want::ResumeOutside(0));
    run.order(8, Want::Undo(Scope::All));
    run.order(9, Want::Down(0));
    run.give(Event::Tick);
    let down = |run: &Run| run.effects.iter().any(|e| matches!(e, Effect::Job { .. }));
    assert!(!down(&run));
    assert_eq!(run.state.phase(), Phase::NeedsPerson);
    assert_eq!(why::people(&run.state).len(), 1);
    run.read(0, |r| r.stable = "theirs".into());
    run.give(Event::Tick);
    assert!(down(&run));
}

#[test]
fn another_template_on_the_way_back_is_told_before_its_turn() {
    let mut run = Run::new();
    run.canaries();
    run.read(0, finished);
    run.read(1, finished);
    run.order(7, Want::Undo(Scope::All));
    assert_eq!(run.safe(), [(1, Change::Restore)], "b is built on a");
    run.read(0, |r| r.spec = Spec::Other);
    assert_eq!(run.alarms(), ["a: somebody deployed another template; footplate does not write over it"]);
}

/// Hands took it back while nobody conducted, and somebody reverted that before anybody did.
#[test]
fn an_undo_that_was_reverted_before_its_order_came_here_is_told() {
    let mut run = Run::new();
    run.canary();
    run.read(0, |r| r.undo = Some("t1/7".into()));
    run.order(7, Want::Undo(Scope::All));
    assert_eq!(run.alarms(), ["a: another hand reverted the undo (1)"]);
}

#[test]
fn a_journal_is_read_back_and_a_replay_comes_to_the_same_memory() {
    let mut run = Run::new();
    run.start();
    run.give(Event::Fact(Fact { check: Check::Burning(0), found: Found::Good("0.1 %".into()) }));
    run.give(Event::Tick);
    run.order(7, Want::Undo(Scope::All));
    let again = journal::end(&run.lines).unwrap();
    assert_eq!(format!("{again:?}"), format!("{:?}", run.state), "memory and what beside it is known");
    let moments: Vec<_> = journal::replay(&run.lines).map(Result::unwrap).collect();
    assert_eq!(moments.len(), run.lines.len() - 1, "one for each line but the plan");
    assert!(moments.iter().any(|m| !m.effects.is_empty()) && moments.iter().all(|m| !m.late));
}

#[test]
fn a_damaged_journal_says_which_line_and_what_came_before_it_is_told() {
    let mut run = Run::new();
    run.start();
    let good = run.lines.clone();
    let says = |lines: &[String]| journal::end(lines).unwrap_err().to_string();
    let with = |n: usize, line: &str| {
        let mut lines = good.clone();
        lines[n] = line.to_owned();
        lines
    };
    let cut = &good[9][..40];
    assert_eq!(says(&with(9, cut)), "line 10 is cut off after 40 bytes: EOF while parsing a string");
    assert_eq!(journal::replay(with(9, cut)).filter(|m| m.is_ok()).count(), 8, "then it ends");
    assert!(says(&with(4, "{\"input\":}")).starts_with("line 5 is damaged at column 10: expected value"));
    assert_eq!(says(&good[2..]), "line 1: a journal opens with the plan of its train; its first lines are missing");
    let headless = [good[..1].to_vec(), good[2..].to_vec()].concat();
    assert_eq!(says(&headless), "line 2: nobody has taken the train up yet; lines before this one are missing");
    assert_eq!(says(&[]), "the journal is empty: nobody has taken the train up");
    let other = journal::opening(&Resolved { id: "ZZZZ".into(), ..plan() });
    assert_eq!(says(&with(5, &other)), "line 6: the plan of another train (ZZZZ), after that of QKZD");
    let newer = good[0].replace("\"format\":1", "\"format\":2");
    assert_eq!(says(&with(0, &newer)), "line 1: a journal of format 2; this footplate reads format 1");
    let at = At { mono: 1, wall: jiff::Timestamp::from_second(1_759_320_000).unwrap() };
    let strange = journal::line(&Input { at, lease: None, event: Event::Gone(3) });
    assert_eq!(says(&with(5, &strange)), "line 6: it speaks of service number 3, and the plan has 3");
    let blank = [good[..3].to_vec(), vec![String::new()], good[3..].to_vec()].concat();
    assert!(journal::end(&blank).is_ok());
}

#[test]
fn lines_of_a_conductor_that_was_taken_over_from_change_nothing() {
    let mut run = Run::new();
    run.start();
    let late = run.lines.last().unwrap().clone();
    run.lines.push(journal::opening(run.state.plan()));
    run.lines.push(journal::took_up(Some(&"c2".into()), run.state.memory()));
    let taken = journal::end(&run.lines).unwrap();
    run.lines.push(late);
    let moments: Vec<_> = journal::replay(&run.lines).map(Result::unwrap).collect();
    let last = moments.last().unwrap();
    assert!(last.late && last.effects.is_empty());
    assert_eq!(format!("{:?}", last.state), format!("{taken:?}"));
}

#[test]
fn a_flag_walks_its_way_in_shares_in_either_direction() {
    let walk = |from: u8, to: u8| -> Vec<Setting> {
        (0..RAMP.len()).map(|n| value_at(&Setting::Percent(from), &Setting::Percent(to), n)).collect()
    };
    assert_eq!(walk(0, 100), [1, 5, 25, 100].map(Setting::Percent));
    assert_eq!(walk(100, 0), [99, 95, 75, 0].map(Setting::Percent));
    assert_eq!(walk(0, 10), [1, 1, 3, 10].map(Setting::Percent));
    let variant = Setting::Variant("b".into());
    assert_eq!(value_at(&Setting::Variant("a".into()), &variant, 0), variant);
}

#[test]
fn a_cockpit_acts_when_nobody_else_does() {
    let hands = hands::Hands::new(10_000);
    assert!(!hands.due(12_900, false, 12_900, false), "the conductor has three seconds");
    assert!(hands.due(13_000, false, 13_000, false), "it did not take it in");
    assert!(!hands.due(14_900, true, 9_000, false));
    assert!(hands.due(15_100, true, 9_000, true), "it took it in and fell silent");
    assert!(!hands.due(60_000, true, 58_000, true));
    assert!(hands.due(60_000, true, 58_000, false), "it lives, and nothing of it arrives");
}

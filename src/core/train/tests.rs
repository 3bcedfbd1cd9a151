//! The train in small, and the journal: what was written is read back, and a replay comes to the same state. Whole trains under
//! faults are `tests/campaign/`.

use std::sync::Arc;

use super::effect::{Change, Effect};
use super::event::{At, Cause, Check, Event, Fact, Found, HoldFor, Input, Intent, Reading, Scope, Spec, Tripped, Want};
use super::flags::{RAMP, value_at};
use super::resolved::{Abandon, Deploy, Kind, Resolved, Service, Setting, Times, Untimed, Wave};
use super::state::{Ended, Memory};
use super::{Phase, Role, State, hands, journal, step, why};
use crate::core::confirm::Order;
use crate::core::elector::{Epoch, EpochMark};
use crate::core::text::Text;

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

struct Run {
    state: State,
    now: u64,
    lines: Vec<String>,
    effects: Vec<Effect>,
}

impl Run {
    fn new() -> Self {
        let state = State::new(Arc::new(plan()));
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

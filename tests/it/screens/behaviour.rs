//! What keys do: what acts at once, what asks, what is refused; what a dialog takes for an answer and what not.

use std::sync::Arc;

use footplate::cockpit::model::{Mode, Pane};
use footplate::core::confirm::{Answer, Refusal};
use footplate::core::intent::{Intent, Want};
use footplate::core::snapshot::{Hand, Link, Mode as Ground, Place, ServiceView, Snapshot, Trouble, WriteMode};
use footplate::core::text::Text;
use ratatui::crossterm::event::KeyEventKind;

use super::*;

fn rolling() -> Stage {
    Stage::new(fixture::rolling(), (120, 36), UNICODE)
}

fn ordered(commands: &[Command]) -> Vec<&Intent> {
    commands
        .iter()
        .filter_map(|c| match c {
            Command::Order(intent) => Some(&**intent),
            _ => None,
        })
        .collect()
}

fn names(intent: &Intent) -> Vec<Vec<String>> {
    intent.layers.iter().map(|l| l.iter().map(|t| t.name.to_string()).collect()).collect()
}

fn trouble(why: &str, hint: &str) -> Trouble {
    Trouble { what: Text::default(), why: why.into(), hint: hint.into() }
}

fn dialog(stage: &Stage) -> bool {
    matches!(stage.app.model().mode, Mode::Dialog(_))
}

#[test]
fn pause_acts_at_once_and_twice_does_nothing_twice() {
    let mut stage = rolling();
    let commands = stage.keys("p");
    let intents = ordered(&commands);
    assert_eq!(intents.len(), 1);
    assert_eq!((&intents[0].want, names(intents[0])), (&Want::Pause, vec![vec!["billing-api".to_owned()]]));
    assert_eq!(intents[0].order.who, "ana");
    assert!(intents[0].layers[0][0].seen.as_ref().unwrap().pause == "CanaryPauseStep");
    stage.see(fixture::with(&fixture::rolling(), "billing-api", |_, w| w.held = true));
    assert!(ordered(&stage.keys("p")).is_empty());
    assert!(stage.text().contains("held already"));
}

/// One way of counting steps, the Argo Rollouts plugin's, wherever one is named.
#[test]
fn rows_reasons_and_dialogs_count_steps_alike() {
    let mut stage = rolling();
    let text = stage.text();
    assert!(text.contains("4/7"), "{text}");
    stage.keys("P");
    let text = stage.text();
    assert!(text.contains("from step 4/7 to 5/7"), "{text}");
    assert!(!text.contains("step 5 of 7"), "{text}");
}

#[test]
fn a_hold_is_said_once() {
    let mut stage = rolling();
    stage.see(fixture::with(&fixture::rolling(), "billing-api", |s, w| {
        (w.held, w.held_by) = (true, "ana".into());
        w.waits_for = "held by ana: a person to resume it".into();
        s.waits_for = w.waits_for.clone();
    }));
    let text = stage.text();
    assert!(text.contains(" held by ana: a person") && !text.contains("held  held"), "{text}");
}

#[test]
fn what_may_not_be_read_is_unknown_and_what_is_not_there_is_not_found() {
    for (unread, word, why) in
        [(true, "unknown", "cannot be read: forbidden"), (false, "not found", "there is no Rollout pricing-api")]
    {
        let mut s = fixture::rolling();
        let mut services = s.services.to_vec();
        let at = services.iter().position(|x| *x.name == *"pricing-api").unwrap();
        let mut one = ServiceView::clone(&services[at]);
        (one.workload, one.unread, one.waits_for) = (None, unread, why.into());
        services[at] = Arc::new(one);
        (s.services, s.seq) = (services.into(), s.seq + 1);
        let mut stage = Stage::new(s, (120, 36), UNICODE);
        let text = stage.text();
        assert!(text.contains(&format!("{word}  {why}")), "{text}");
        // Nobody can say that an undo would work where what it is about was not read.
        assert_eq!(text.contains("undo unknown: pricing-api"), unread, "{text}");
    }
}

/// Seconds only where all that would be undone has some; waves go one after the other.
#[test]
fn the_header_says_how_old_and_how_long_an_undo_takes() {
    let mut s = fixture::rolling();
    let seconds = |s: &mut Snapshot, of: &dyn Fn(&ServiceView) -> Option<u32>| {
        let services = s.services.iter().map(|x| {
            let mut x = ServiceView::clone(x);
            x.undo_s = of(&x);
            Arc::new(x)
        });
        s.services = services.collect();
        s.seq += 1;
    };
    let mut stage = Stage::new(s.clone(), (120, 36), UNICODE);
    let text = stage.text();
    assert!(text.contains("LIVE <10 s") && text.contains("undo ready (5)"), "{text}");
    seconds(&mut s, &|x| Some(if x.wave == Some(1) { 12 } else { 3 }));
    stage.see(s.clone());
    let text = stage.text();
    assert!(text.contains("undo ready ~15 s (5)"), "{text}");
    seconds(&mut s, &|x| (*x.name != *"billing-api").then_some(3));
    stage.see(s);
    assert!(stage.text().contains("undo ready (5)"));
}

/// The confirmation covers everything that the order may change, not only the object it is named after.
#[test]
fn an_answer_covers_what_belongs_to_the_service() {
    use footplate::core::effect::Direction;
    use footplate::core::object::{ObjectKind, ObjectRef};
    let beside = ObjectRef {
        cluster: "prod-eu".into(),
        kind: ObjectKind::Deployment,
        namespace: "payments".into(),
        name: "billing-api-pods".into(),
    };
    let mut stage = rolling();
    stage.see(fixture::with(&fixture::rolling(), "billing-api", |s, _| s.also = vec![beside.clone()]));
    let commands = stage.keys("p");
    let intent = ordered(&commands)[0];
    assert!(intent.confirmed.covers(&beside, Direction::Safe, stage.now));
    assert!(intent.confirmed.covers(intent.layers[0][0].object.as_ref().unwrap(), Direction::Safe, stage.now));
}

#[test]
fn abort_asks_yes_and_cancel_has_the_focus() {
    let mut stage = rolling();
    assert!(stage.keys("X").is_empty());
    assert!(dialog(&stage));
    assert!(ordered(&stage.keys("enter")).is_empty(), "Enter on a fresh dialog presses Cancel");
    assert!(!dialog(&stage));
    stage.keys("X");
    let commands = stage.keys("y");
    assert_eq!(ordered(&commands)[0].want, Want::Abort);
    stage.keys("X tab");
    assert_eq!(ordered(&stage.keys("enter")).len(), 1, "Tab goes to the other button");
}

#[test]
fn keys_on_their_way_held_keys_and_pastes_confirm_nothing() {
    let mut stage = rolling();
    stage.app.handle(Message::Key(press("X")), stage.now);
    let soon = stage.now.checked_add(SignedDuration::from_millis(299)).unwrap();
    assert!(stage.app.handle(Message::Key(press("y")), soon).is_empty(), "within the guard");
    assert!(dialog(&stage));
    let mut held = press("y");
    held.kind = KeyEventKind::Repeat;
    stage.later(1);
    assert!(stage.app.handle(Message::Key(held), stage.now).is_empty(), "a held key");
    assert!(stage.app.handle(Message::Paste("y\n".into()), stage.now).is_empty(), "a paste");
    assert!(dialog(&stage));
    assert_eq!(ordered(&stage.keys("y")).len(), 1);

    stage.keys("u");
    stage.app.handle(Message::Paste("billing-api\n".into()), stage.now);
    assert!(stage.text().contains("pasting confirms nothing"));
    assert!(ordered(&stage.keys("tab enter")).is_empty());
    assert!(dialog(&stage), "Enter without the word says what to type");
    stage.types("billing-api");
    assert_eq!(ordered(&stage.keys("enter")).len(), 1);
}

#[test]
fn undo_is_typed_and_goes_in_order() {
    let mut stage = rolling();
    stage.keys("u");
    assert!(ordered(&stage.keys("y")).is_empty(), "y is a letter here");
    stage.keys("esc u down down");
    let shown = stage.text();
    assert!(shown.contains("everything that moved") && shown.contains("ledger-consumer"), "{shown}");
    stage.keys("tab");
    stage.types("2025.10.02-rc1");
    let commands = stage.keys("enter");
    let layers = names(ordered(&commands)[0]);
    assert_eq!(
        layers,
        [vec!["billing-api", "fraud-scorer"], vec!["ledger-consumer"], vec!["accounts-api", "ledger-api"]]
    );
}

#[test]
fn a_plan_that_changed_is_shown_again_and_keeps_what_was_typed() {
    let mut stage = rolling();
    stage.keys("u down down");
    stage.keys("tab");
    stage.types("2025.10.02-rc1");
    let other = fixture::with(&fixture::rolling(), "fraud-scorer", |s, w| {
        s.train_phase = footplate::core::snapshot::TrainPhase::Undone;
        w.undo = footplate::core::workload::UndoPath::NotNeeded;
    });
    stage.see(other);
    assert!(ordered(&stage.keys("enter")).is_empty());
    assert!(dialog(&stage));
    let shown = stage.text();
    assert!(shown.contains("the plan changed") && shown.contains("2025.10.02-rc1"), "{shown}");
    let commands = stage.keys("enter");
    assert_eq!(names(ordered(&commands)[0])[0], ["billing-api"]);
}

#[test]
fn a_weight_that_moved_does_not_ask_again() {
    let mut stage = rolling();
    stage.keys("X");
    stage.see(fixture::with(&fixture::rolling(), "billing-api", |_, w| w.actual_weight = Some(45)));
    assert_eq!(ordered(&stage.keys("y")).len(), 1);
}

#[test]
fn full_promotion_wants_word_and_reason() {
    let mut stage = rolling();
    stage.keys("F tab");
    stage.types("billing-api");
    assert!(ordered(&stage.keys("enter")).is_empty());
    assert!(stage.text().contains("a reason is needed"));
    stage.types("hotfix for the incident");
    let commands = stage.keys("enter");
    assert_eq!(ordered(&commands)[0].order.why, "hotfix for the incident");
}

#[test]
fn what_cannot_be_done_says_why() {
    let mut stage = Stage::new(fixture::trouble(), (120, 36), UNICODE);
    assert!(stage.keys("P").is_empty() && !dialog(&stage));
    assert!(stage.text().contains("its gate fails"), "a failed gate is never approved");
    stage.keys("r");
    assert!(stage.text().contains("is not held"));
    stage.keys("t");
    assert!(stage.text().contains("was not aborted"));
    stage.keys(":");
    stage.types("retry nobody");
    stage.keys("enter");
    assert!(stage.text().contains("no service nobody"));
}

#[test]
fn read_only_stops_orders_and_by_name_arms_the_safe_ones() {
    let mut s = fixture::rolling();
    s.place.write = WriteMode::ReadOnly;
    let mut stage = Stage::new(s.clone(), (120, 36), UNICODE);
    for key in ["p", "X", "u", "P", "F"] {
        assert!(ordered(&stage.keys(key)).is_empty() && !dialog(&stage), "{key}");
        assert!(stage.text().contains("read-only"), "{key}");
    }
    s.place.write = WriteMode::ReadOnlyByPattern;
    let mut stage = Stage::new(s, (120, 36), UNICODE);
    assert_eq!(ordered(&stage.keys("p")).len(), 1, "pause is never blocked");
    assert!(ordered(&stage.keys("P")).is_empty() && !dialog(&stage));
    stage.keys("X");
    assert!(ordered(&stage.keys("y")).is_empty(), "typing arms it, y does not");
    stage.keys("esc X tab");
    stage.types("billing-api");
    assert_eq!(ordered(&stage.keys("enter")).len(), 1);
}

#[test]
fn old_and_frozen_screens_let_only_safe_orders_out() {
    let mut old = fixture::rolling();
    old.link = Link::Stale(trouble("no answer for 40 s", "check the network"));
    let mut stage = Stage::new(old, (120, 36), UNICODE);
    assert!(stage.text().contains("STALE"));
    stage.keys("P");
    assert!(!dialog(&stage) && stage.text().contains("R reads again"));
    assert_eq!(ordered(&stage.keys("p")).len(), 1);
    stage.keys("X");
    assert!(dialog(&stage));

    let mut stage = rolling();
    stage.keys("space");
    let before = stage.text();
    stage.see(fixture::trouble());
    assert!(before.contains("FROZEN") && stage.text().contains("FROZEN 1 newer"));
    assert!(!stage.text().contains("NEEDS YOU"), "a frozen display shows what it showed");
    stage.keys("P");
    assert!(!dialog(&stage) && stage.text().contains("frozen"));
    stage.keys("space");
    assert!(stage.text().contains("NEEDS YOU"));
}

#[test]
fn esc_never_quits_q_asks_ctrl_c_twice_leaves() {
    let mut stage = rolling();
    for _ in 0..5 {
        assert!(!stage.keys("esc").contains(&Command::Quit));
    }
    stage.keys("f");
    assert!(stage.keys("q").is_empty());
    assert_eq!(stage.app.model().focus, Pane::Train, "q goes back first");
    assert!(stage.keys("q").is_empty());
    assert!(stage.text().contains("leave footplate?"));
    assert!(stage.keys("enter").is_empty(), "the focus is on Cancel");
    stage.keys("q");
    assert_eq!(stage.keys("y"), [Command::Quit]);
    let mut stage = rolling();
    assert!(stage.keys("ctrl-c").is_empty());
    stage.later(2);
    assert!(stage.keys("ctrl-c").is_empty(), "too late to be the second");
    assert_eq!(stage.keys("ctrl-c"), [Command::Quit]);
    let mut stage = rolling();
    stage.keys("u ctrl-c");
    assert_eq!(stage.keys("ctrl-c"), [Command::Quit], "the same in a dialog");
}

#[test]
fn moving_about_follows_the_picture() {
    let mut stage = rolling();
    stage.text();
    let at = |s: &Stage| s.app.model().selected.clone().unwrap().to_string();
    assert_eq!(at(&stage), "billing-api", "what moves is selected first");
    stage.keys("down");
    assert_eq!(at(&stage), "fraud-scorer");
    stage.keys("right");
    assert_eq!(at(&stage), "checkout-api");
    stage.keys("h h");
    assert_eq!(at(&stage), "ledger-api");
    stage.keys("G");
    assert_eq!(at(&stage), "storefront-web");
    stage.keys("g g");
    assert_eq!(at(&stage), "accounts-api");
    stage.keys("g m");
    assert_eq!(at(&stage), "billing-api");
    stage.keys("g");
    assert!(stage.text().contains("to what needs a person"), "a prefix shows what can follow");
}

#[test]
fn the_selection_stays_when_the_state_changes() {
    let mut stage = rolling();
    stage.keys("down");
    stage.see(fixture::trouble());
    assert_eq!(stage.app.model().selected.as_deref(), Some("fraud-scorer"));
}

#[test]
fn the_bell_rings_once() {
    let mut stage = rolling();
    assert_eq!(stage.see(fixture::trouble()), [Command::Bell]);
    assert_eq!(stage.see(fixture::trouble()), []);
    stage.see(fixture::rolling());
    assert_eq!(stage.see(fixture::trouble()), [Command::Bell], "it went away and came back");
}

#[test]
fn flags_are_typed_forward_and_answered_back() {
    let mut stage = rolling();
    stage.keys("f enter tab");
    stage.types("ledger_nullable");
    let commands = stage.keys("enter");
    assert!(matches!(&ordered(&commands)[0].want, Want::Flag { key, .. } if *key == "ledger_nullable"));
    let mut on = fixture::rolling();
    let mut flag = on.flags[0].clone();
    flag.now = Some("on".into());
    on.flags = Arc::new([flag]);
    stage.see(on);
    stage.keys("f enter");
    assert_eq!(ordered(&stage.keys("y")).len(), 1, "back to what it was: one key");
}

#[test]
fn commands_are_completed_remembered_and_answered() {
    let mut stage = rolling();
    stage.keys(":");
    stage.types("pau");
    stage.keys("tab");
    stage.types("ledger-a");
    stage.keys("tab");
    let commands = stage.keys("enter");
    assert_eq!(names(ordered(&commands)[0]), [["ledger-api"]]);
    stage.keys(": up");
    assert!(stage.text().contains(":pause ledger-api"));
    stage.keys("esc");
    stage.keys(":");
    stage.types("theme mono");
    assert_eq!(stage.keys("enter"), [Command::Redraw]);
    assert_eq!(stage.app.model().setup.theme.name, "mono");
    stage.keys(":");
    stage.types("ctx staging");
    assert_eq!(stage.keys("enter"), [Command::SwitchContext("staging".into())]);
    stage.keys(":");
    stage.types("nonsense");
    stage.keys("enter");
    assert!(stage.text().contains("nonsense is no command"));
}

#[test]
fn the_filter_narrows_and_esc_clears_it() {
    let mut stage = Stage::new(fixture::rolling(), (50, 20), UNICODE);
    stage.keys("/");
    stage.types("ledger");
    stage.keys("enter");
    let shown = stage.text();
    assert!(shown.contains("ledger-consumer") && !shown.contains("storefront"), "{shown}");
    stage.keys("n");
    assert_eq!(stage.app.model().selected.as_deref(), Some("ledger-consumer"));
    stage.keys("esc");
    assert!(stage.text().contains("storefront"));
}

#[test]
fn outcomes_are_told() {
    let mut stage = rolling();
    stage.keys("p");
    assert!(stage.text().contains("ordered: pause billing-api"));
    let ended = |intent, result| Message::Outcome { intent, name: "billing-api".into(), result, last: true };
    stage.app.handle(ended(1, Ok("held at 50 %".into())), stage.now);
    assert!(stage.text().contains("pause billing-api: held at 50 %"));
    let refusal = Refusal { why: "somebody was faster".into(), hint: "R reads again".into(), already: false };
    stage.app.handle(ended(2, Err(refusal)), stage.now);
    assert!(stage.text().contains("somebody was faster · R reads again"));
    stage.later(60);
    assert!(stage.text().contains("pause"), "the keys come back");
}

#[test]
fn what_is_looked_at_is_watched() {
    let mut stage = rolling();
    assert_eq!(stage.keys("enter"), [Command::Watch(Some("billing-api".into()))]);
    assert_eq!(stage.keys("esc"), [Command::Watch(None)]);
}

#[test]
fn copies_are_what_is_selected_and_screens_can_be_saved() {
    let mut stage = rolling();
    assert_eq!(stage.keys("y"), [Command::Copy("billing-api".to_owned())]);
    let saved = stage.keys("ctrl-s");
    let [Command::Save(text)] = saved.as_slice() else { panic!("{saved:?}") };
    assert!(text.contains("1 train") && text.contains("two restarts while starting"));
}

#[test]
fn before_anything_is_known_it_says_so() {
    let mut stage = Stage::new(fixture::connecting(), (80, 24), UNICODE);
    let shown = stage.text();
    assert!(shown.contains("CONNECTING") && shown.contains("waiting for the first answer"), "{shown}");
    assert!(!shown.contains("ALL WELL"));
    let mut down = fixture::connecting();
    down.link = Link::Down(trouble("10.0.0.1:6443 refuses: the certificate expired", "renew it, then R"));
    stage.see(down);
    let shown = stage.text();
    assert!(shown.contains("NO CONNECTION") && shown.contains("the certificate expired"), "{shown}");
}

fn rehearsing(hand: Hand) -> Snapshot {
    let mode = Ground::Rehearsal { scenario: "green".into(), seed: 7, hand };
    Snapshot { mode, ..fixture::rolling() }
}

#[test]
fn any_key_takes_a_rehearsal_and_the_screen_says_whose_it_is() {
    for keys in ["j", "?", "esc", "ctrl-l", "x", "tab", "p"] {
        let mut stage = Stage::new(rehearsing(Hand::Script), (120, 36), UNICODE);
        assert!(stage.text().contains("the script drives") && stage.text().contains("any key takes the train"));
        assert_eq!(stage.keys(keys).first(), Some(&Command::Script(false)), "{keys}");
    }
    let mut stage = Stage::new(rehearsing(Hand::Person), (120, 36), UNICODE);
    assert!(stage.text().contains("you drive") && stage.text().contains("g s lets the script drive"));
    assert!(!stage.keys("j").contains(&Command::Script(false)), "it is the person's already");
    assert_eq!(stage.keys("g s"), [Command::Script(true)]);
    stage.types(":script");
    assert_eq!(stage.keys("enter"), [Command::Script(true)]);
    let mut stage = Stage::new(rehearsing(Hand::Conductor), (120, 36), UNICODE);
    assert!(stage.text().contains("it conducts itself") && !stage.text().contains("lets the script drive"));
    assert_eq!(stage.keys("g s"), []);
    assert!(stage.text().contains("a conductor runs this train"));
}

#[test]
fn elsewhere_there_is_no_script() {
    let mut stage = rolling();
    assert_eq!(stage.keys("g s"), []);
    assert!(stage.text().contains("only a rehearsal has a script"));
    assert!(!stage.text().contains("drive "));
}

#[test]
fn a_train_is_started_from_its_plan() {
    let placed = |change: &dyn Fn(&mut Place)| {
        let mut snapshot = fixture::rolling();
        change(&mut snapshot.place);
        Stage::new(snapshot, (120, 36), UNICODE)
    };
    let mut stage = placed(&|place| place.protected = false);
    stage.keys("S");
    let shown = stage.text();
    assert!(shown.contains("start the train") && shown.contains("wave 1: ") && shown.contains("by itself"), "{shown}");
    let started = stage.keys("y");
    let [Command::Depart(train)] = started.as_slice() else { panic!("{started:?}") };
    assert_eq!(train.answer, Answer::Yes);
    assert!(train.services.len() == 10 && train.services.contains(&"billing-api".into()), "{:?}", train.services);

    // A protected environment is named; no other word starts anything.
    let mut stage = rolling();
    stage.keys("S");
    assert_eq!(stage.keys("y"), []);
    assert_eq!(stage.keys("enter"), []);
    stage.keys("esc S tab");
    stage.types("prod");
    let started = stage.keys("enter");
    let typed = Answer::Typed("prod".to_owned());
    assert!(matches!(started.as_slice(), [Command::Depart(train)] if train.answer == typed), "{started:?}");

    // Without an environment there is nothing that a train could run in.
    let mut stage = placed(&|place| place.environment = None);
    assert_eq!(stage.keys("S"), []);
    assert!(stage.text().contains("a train needs an environment"), "{}", stage.text());
}

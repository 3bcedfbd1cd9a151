//! What the campaign has found, each told as shortly as it can be: a release without fault, and the one thing that goes wrong.

use super::oracle::judge;
use super::proof::release;
use super::run::{End, Run, run};
use super::scenario::{Act, Order, Scenario, Trouble, Whose};

fn plays(script: &[(u64, Act)]) -> (Scenario, Run) {
    let scenario = Scenario { script: script.to_vec(), quiet_from: 150_000, ..release() };
    let run = run(&scenario);
    let found = judge(&scenario, &run);
    assert!(found.is_empty(), "{found:?}\n{}", run.talk.join("\n"));
    (scenario, run)
}

/// What a conductor's watch had not told it yet is that the train has ended, by its own hand: it took it up again, and stamped what
/// was through.
#[test]
fn a_train_that_has_ended_is_not_taken_up_again_by_who_has_not_heard_of_it() {
    let lags = Act::Wire(Whose::Seat(0), Trouble::Stale(40), 100, 400_000);
    let (_, run) = plays(&[(500, lags)]);
    assert_eq!(run.end, End::Result("completed".to_owned()));
    let taken_up = run.talk.iter().filter(|line| line.contains(": conducts "));
    assert_eq!(taken_up.count(), 1, "{}", run.talk.join("\n"));
}

/// Whoever takes over reads what was ordered and written down last, not what its watch has told so far; and one that conducts
/// hears of an order by its own next status, which does not land.
#[test]
fn an_order_is_heard_although_the_watch_lags() {
    let lags = |seat| Act::Wire(Whose::Seat(seat), Trouble::Stale(40), 100, 400_000);
    let script = [(15_000, lags(0)), (15_000, lags(1)), (30_000, Act::Order(Order::UndoAll))];
    let (_, run) = plays(&script);
    assert_eq!(run.end, End::Result("rolled-back".to_owned()));
    let heard = run.talk.iter().find(|line| line.contains("conductor-1: Undoing")).expect("it goes back");
    let at: u64 = heard.split_whitespace().next().unwrap().parse().unwrap();
    assert!(at < 37_000, "{heard}");
    // The one that stands by takes over in the middle of an undo that its watch has not told it of.
    let script = [(15_000, lags(1)), (30_000, Act::Order(Order::UndoAll)), (30_700, Act::Kill(0, 300_000))];
    let (_, run) = plays(&script);
    assert_eq!(run.end, End::Result("rolled-back".to_owned()));
}

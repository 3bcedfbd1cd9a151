//! The screens that look back: the history with its numbers, one train of it, and a replay with its time line.

use std::sync::Arc;

use footplate::cockpit::message::Command;
use footplate::core::object::ObjectKind;
use footplate::core::past::{PastTrain, newest_first};
use footplate::core::release::Release;
use footplate::core::replay::{Seek, Tape, read};
use footplate::core::snapshot::{Gap, Snapshot, Trouble, Verdict};

use super::{Stage, UNICODE, fixture};
use crate::looking_back::made::{Ending, release};
use crate::looking_back::run::Run;

fn with_history() -> Snapshot {
    let endings = [Ending::Completed, Ending::RolledBack, Ending::Rolling];
    let mut trains: Vec<PastTrain> = (0..)
        .zip(endings)
        .map(|(n, ending)| {
            let mut object = release(n, ending);
            object["metadata"]["uid"] = format!("8d5f2c1{n}-0000").into();
            let object = footplate::core::object::Object::new(object);
            PastTrain::of(&Release::read(&object, &"prod-eu".into(), None).unwrap())
        })
        .collect();
    newest_first(&mut trains);
    Snapshot { history: Some(trains.into()), ..fixture::rolling() }
}

#[test]
fn the_history_pane() {
    for (width, height) in [(80, 24), (120, 36)] {
        let mut stage = Stage::new(with_history(), (width, height), UNICODE);
        stage.keys("7");
        insta::assert_snapshot!(format!("history-{width}x{height}"), stage.picture());
        stage.keys("j enter");
        insta::assert_snapshot!(format!("history-one-{width}x{height}"), stage.picture());
        stage.keys("esc");
        assert!(stage.text().contains("deployment frequency"), "back to the list");
    }
}

#[test]
fn a_history_that_cannot_be_read_says_why() {
    let mut s = Snapshot { history: None, ..fixture::rolling() };
    let mut stage = Stage::new(s.clone(), (80, 24), UNICODE);
    stage.keys("7");
    assert!(stage.text().contains("not read yet"));
    let hint = "install footplate's own CRD: footplate install | kubectl apply -f -";
    let trouble = Trouble { what: "list releases".into(), why: "the server serves none".into(), hint: hint.into() };
    s.gaps = Arc::new([Gap { kind: ObjectKind::Release, needed: false, trouble }]);
    stage.see(s);
    assert!(stage.text().contains("footplate install"), "{}", stage.text());
}

fn tape() -> Tape {
    let mut run = Run::new("8d5f2c11-0000", Some(1));
    run.start();
    run.run_to_the_end();
    let file = read::file(&run.lines.join("\n"));
    Tape::of(read::choose(&file, None).unwrap()).unwrap()
}

#[test]
fn a_replay_at_its_worst_moment() {
    let tape = tape();
    let text = |n: usize| tape.scene(n, &"8d5f.jsonl".into(), 1, 10, true);
    // The moment after the verdict fell.
    let fell = (0..tape.len()).find(|n| text(*n).services.iter().any(|s| s.verdict == Some(Verdict::Fail)));
    let scene = text(fell.unwrap());
    for (width, height) in [(80, 24), (120, 36)] {
        let mut stage = Stage::new(scene.clone(), (width, height), UNICODE);
        insta::assert_snapshot!(format!("replay-{width}x{height}"), stage.picture());
    }
    for (width, height) in [(1, 1), (20, 5), (40, 12), (200, 60)] {
        Stage::new(scene.clone(), (width, height), UNICODE).text();
    }
}

#[test]
fn the_keys_of_a_replay_go_about_in_it_and_order_nothing() {
    let scene = tape().scene(40, &"8d5f.jsonl".into(), 1, 1, false);
    let mut stage = Stage::new(scene, (80, 24), UNICODE);
    let seek = |stage: &mut Stage, key: &str| match stage.keys(key).as_slice() {
        [Command::Seek(seek)] => Some(*seek),
        [] => None,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(seek(&mut stage, "left"), Some(Seek::Inputs(-1)));
    assert_eq!(seek(&mut stage, "right"), Some(Seek::Inputs(1)));
    assert_eq!(seek(&mut stage, "home"), Some(Seek::First));
    assert_eq!(seek(&mut stage, "end"), Some(Seek::Last));
    assert_eq!(seek(&mut stage, "["), Some(Seek::Seconds(-60)));
    assert_eq!(seek(&mut stage, "shift-right"), Some(Seek::Seconds(60)));
    assert_eq!(seek(&mut stage, "space"), Some(Seek::Play));
    assert_eq!(seek(&mut stage, "x"), Some(Seek::Speed));
    for verb in ["p", "r", "P", "F", "X", "u", "t", "s"] {
        assert_eq!(seek(&mut stage, verb), None, "{verb} orders nothing");
        assert!(stage.text().contains("read-only"), "{verb}: {}", stage.text());
    }
    let mut live = Stage::new(fixture::rolling(), (80, 24), UNICODE);
    assert_eq!(live.keys("] left x"), [], "elsewhere there is nothing to go about in");
}

//! Journals, played again: the state at the end is the one that the train came to, the story names what happened, damage is told,
//! the screen can be gone about in and orders nothing.

use std::io::Write;
use std::time::Duration;

use footplate::core::replay::{Seek, Sign, Tape, read};
use footplate::core::snapshot::{Mode, TrainPhase};
use footplate::core::train::Phase;
use footplate::core::train::event::Want;

use super::run::Run;
use crate::binary::{Home, Screen};

fn bad_train() -> Run {
    let mut run = Run::new("8d5f2c11-0000", Some(1));
    run.start();
    run.run_to_the_end();
    run
}

fn tape(text: &str) -> Tape {
    let file = read::file(text);
    Tape::of(read::choose(&file, None).unwrap()).unwrap()
}

#[test]
fn a_replay_comes_to_the_state_that_the_train_came_to() {
    let run = bad_train();
    assert_eq!(run.state.phase(), Phase::RolledBack);
    let tape = tape(&run.local().join("\n"));
    assert_eq!(tape.damaged(), []);
    assert_eq!(tape.len(), run.memories.len() + 1, "one moment for each input, and the taking up");
    assert_eq!(tape.state(tape.len() - 1).memory(), run.state.memory());
    // Every moment is the same, from wherever one comes.
    for (n, memory) in run.memories.iter().enumerate().step_by(37) {
        assert_eq!(tape.state(n + 1).memory(), memory, "input {n}");
    }
    let scene = tape.scene(tape.len() - 1, &"j".into(), 1, 1, false);
    let Mode::Replay(place) = &scene.mode else { panic!("{:?}", scene.mode) };
    let signs: Vec<Sign> = place.marks.iter().map(|mark| mark.sign).collect();
    assert_eq!(signs, [Sign::Order, Sign::Fail, Sign::Order, Sign::Undo, Sign::End]);
    let phases: Vec<TrainPhase> = scene.services.iter().map(|s| s.train_phase).collect();
    assert_eq!(phases, [TrainPhase::Undone, TrainPhase::Undone, TrainPhase::Waiting]);
}

#[test]
fn a_take_over_goes_on_where_the_record_was() {
    let mut run = Run::new("8d5f2c11-0000", None);
    run.start();
    (0..90).for_each(|_| run.second());
    run.taken_over_by("c2");
    run.order(5, Want::Hold(None, footplate::core::train::event::HoldFor::Person));
    (0..30).for_each(|_| run.second());
    run.order(6, Want::Resume(5));
    run.run_to_the_end();
    let tape = tape(&run.lines.join("\n"));
    assert_eq!(tape.damaged(), []);
    assert_eq!(tape.state(tape.len() - 1).memory(), run.state.memory());
    let story: Vec<String> = tape.lines().map(|line| line.to_string()).collect();
    let has = |what: &str| assert!(story.iter().any(|line| line.contains(what)), "{what}: {story:#?}");
    has("c2 took over from c1 (epoch 2)");
    has("ana ordered: hold the train");
    has("held by ana");
    has("the hold of ana ended");
    has("the end: everything is at its pinned version");
}

#[test]
fn what_is_damaged_is_told_with_its_number_and_the_rest_is_replayed() {
    let run = bad_train();
    let mut lines = run.local();
    let end = lines.len();
    // Two ticks: without them it goes on all the same.
    let ticks: Vec<usize> = (0..end).filter(|n| lines[*n].contains("\"event\":\"tick\"")).collect();
    let (one, two) = (ticks[3], ticks[7]);
    lines[one] = lines[one][..40].to_owned();
    lines[two] = lines[two].replace("\"line\":", "\"lime\":");
    lines.insert(0, "{\"at\":\"2025-10-02T10:00:00Z\",\"what\":\"intent\",\"who\":\"ana\"}".to_owned());
    lines.insert(1, String::new());
    let tape = tape(&lines.join("\n"));
    let numbers: Vec<usize> = tape.damaged().iter().map(|d| d.line).collect();
    assert_eq!(numbers, [one + 3, two + 3], "{:?}", tape.damaged());
    assert_eq!(tape.len(), end - 1 - 2);
    assert_eq!(tape.state(tape.len() - 1).phase(), Phase::RolledBack);
}

#[test]
fn of_several_trains_one_is_chosen() {
    let (one, two) = (bad_train(), {
        let mut run = Run::new("99999999-1111", None);
        run.start();
        run
    });
    // Two conductors of two environments wrote at once.
    let mut lines = Vec::new();
    let (mut a, mut b) = (one.local().into_iter(), two.local().into_iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => break,
            (x, y) => lines.extend(x.into_iter().chain(y)),
        }
    }
    let file = read::file(&lines.join("\n"));
    let why = read::choose(&file, None).unwrap_err();
    assert!(why.starts_with("it holds 2 trains: "), "{why}");
    let id = &two.state.plan().id;
    let tape = Tape::of(read::choose(&file, Some(id)).unwrap()).unwrap();
    assert_eq!(tape.state(tape.len() - 1).memory(), two.state.memory());
    assert!(read::choose(&file, Some("ZZZZ")).unwrap_err().starts_with("it holds no train ZZZZ, but "));
}

#[test]
fn one_goes_about_in_it_by_inputs_and_by_time() {
    let run = bad_train();
    let tape = tape(&run.lines.join("\n"));
    let last = tape.len() - 1;
    assert_eq!(tape.seek(0, Seek::Inputs(-1)), 0);
    assert_eq!(tape.seek(5, Seek::Inputs(1)), 6);
    assert_eq!((tape.seek(5, Seek::Last), tape.seek(5, Seek::First)), (last, 0));
    let minute = tape.seek(10, Seek::Seconds(60));
    let gone = tape.at(minute).duration_since(tape.at(10)).as_secs_f64();
    assert!((58.0..=60.0).contains(&gone), "{gone}");
    assert_eq!(tape.seek(last, Seek::Seconds(60)), last);
    // The story up to a moment never tells what comes after it.
    for moment in [0, 10, minute, last / 2, last] {
        let scene = tape.scene(moment, &"j".into(), 1, 1, false);
        assert!(scene.events.iter().all(|event| event.at <= scene.at));
    }
}

#[test]
fn the_binary_tells_the_story_and_shows_it() {
    let run = bad_train();
    let home = Home::new("");
    let path = home.path("journal.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "{}", run.local().join("\n")).unwrap();
    writeln!(file, "{{cut").unwrap();
    let journal = path.to_str().unwrap();
    let ran = home.run(home.folder.path(), &["replay", journal, "--plain"]);
    let (out, err) = (String::from_utf8(ran.out).unwrap(), String::from_utf8(ran.err).unwrap());
    assert_eq!(ran.code, Some(0), "{err}");
    assert!(err.contains(&format!("line {} is left out: it is no JSON", run.lines.len() + 1)), "{err}");
    insta::with_settings!({snapshot_path => "looking_back", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("story", out);
    });
    let ran = home.run(home.folder.path(), &["replay", journal, "--train", "ZZZZ", "--plain"]);
    assert_eq!(ran.code, Some(2));
    let empty = home.path("empty.jsonl");
    std::fs::write(&empty, "{\"what\":\"intent\"}\n").unwrap();
    let ran = home.run(home.folder.path(), &["replay", empty.to_str().unwrap(), "--plain"]);
    assert_eq!(ran.code, Some(2));
    assert!(String::from_utf8(ran.err).unwrap().contains("there is no train in it; 1 lines"));

    let mut screen = Screen::open(&home, home.folder.path(), &["replay", journal], 120, 36);
    let patience = Duration::from_secs(20);
    screen.program.see_within("REPLAY", patience);
    screen.program.see(&format!("input 1/{}", run.memories.len() + 1));
    screen.press(&["\u{1b}[F"]);
    screen.program.see_within("the end: everything is as it was before", patience);
    screen.press(&["u"]);
    screen.program.see_within("read-only", patience);
    screen.press(&["\u{1b}[H", "]"]);
    let minute = |text: &str| text.contains("+1:00") || text.contains("+0:59");
    assert!(screen.program.wait(patience, minute).is_ok(), "{}", screen.program.text());
    screen.press(&["x"]);
    screen.program.send(" ");
    screen.program.see_within("plays 10x", patience);
    let _ = screen.leave();
}

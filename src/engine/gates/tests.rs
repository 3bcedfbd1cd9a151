//! Tests of the board: time, objects and answers are values.

use super::*;
use serde_json::{Value, json};

fn wall(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

fn at(second: u64) -> Moment {
    Moment { wall: wall(second as i64), monotonic: Duration::from_secs(second) }
}

fn template() -> Object {
    Object::new(json!({
        "metadata": {"name": "errors", "uid": "t", "resourceVersion": "1"},
        "spec": {
            "args": [{"name": "service"}, {"name": "hash"}],
            "metrics": [{
                "name": "error-rate", "interval": "10s", "count": 3, "failureLimit": 1,
                "successCondition": "result[0] < 0.02",
                "provider": {"prometheus": {"query": "errors{service=\"{{args.service}}\",hash=\"{{args.hash}}\"}"}}
            }]
        }
    }))
}

fn rollout(name: &str, version: u32, hash: &str, more: Value) -> Object {
    let args = json!([
        {"name": "service", "value": name}, {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
    ]);
    let mut raw = json!({
        "metadata": {"name": name, "namespace": "payments", "uid": name, "resourceVersion": version.to_string()},
        "spec": {"strategy": {"canary": {"steps": [
            {"setWeight": 25}, {"pause": {}}, {"analysis": {"templates": [{"templateName": "errors"}], "args": args}}
        ]}}},
        "status": {"currentPodHash": hash, "stableRS": "old", "currentStepIndex": 1}
    });
    for (key, value) in more.as_object().unwrap() {
        raw["status"][key] = value.clone();
    }
    Object::new(raw)
}

fn run(version: u32, hash: &str, phase: &str, values: &[&str]) -> Object {
    let good = |v: &str| v.trim_matches(['[', ']']).parse::<f64>().is_ok_and(|n| n < 0.02);
    let measurements: Vec<Value> = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let phase = if good(value) { "Successful" } else { "Failed" };
            json!({"phase": phase, "value": value, "finishedAt": wall(i as i64 * 10 + 1).to_string()})
        })
        .collect();
    let failed = values.iter().filter(|v| !good(v)).count();
    let mut spec = template().whole()["spec"].clone();
    spec["args"] = json!([{"name": "service", "value": "billing-api"}, {"name": "hash", "value": hash}]);
    Object::new(json!({
        "metadata": {"name": format!("run-{hash}"), "uid": format!("run-{hash}"), "resourceVersion": version.to_string(),
                     "creationTimestamp": wall(0).to_string(), "labels": {HASH_LABEL: hash}},
        "spec": spec,
        "status": {"phase": phase, "metricResults": [{
            "name": "error-rate", "phase": phase, "count": values.len(), "failed": failed, "measurements": measurements
        }]}
    }))
}

/// Shows the board one service.
fn show(board: &mut Board, now: Moment, rollout: &Object, runs: &[&Object], deciding: &[Text]) {
    let template = template();
    let watched = Watched { service: rollout.name(), rollout, runs: runs.to_vec(), deciding, selected: false };
    board.look(now, &[watched], &|namespace, name| (namespace == "payments" && name == "errors").then_some(&template));
}

fn only(board: &mut Board, now: Moment) -> Arc<GateView> {
    let views = board.views(now);
    assert_eq!(views.len(), 1, "{views:?}");
    Arc::clone(&views[0])
}

fn answer(wish: &Wish, now: Moment, said: Said) -> Answer {
    Answer { key: wish.key.clone(), promql: Arc::clone(&wish.promql), at: now.wall, said }
}

fn reading(value: f64) -> Reading {
    Reading {
        values: vec![value],
        success: Some(Ok(value < 0.02)),
        scrape_age: Some(Some(Duration::from_secs(3))),
        scrape_interval: Some(Duration::from_secs(5)),
        ..Reading::default()
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, what: "query".into(), why: "refused".into(), hint: "look".into() }
}

fn values(view: &GateView) -> Vec<Option<f64>> {
    view.points.iter().map(|p| p.value).collect()
}

#[test]
fn before_any_run_the_next_step_is_asked_for_first_the_past_then_now_at_its_interval() {
    let mut board = Board::new(None);
    let rollout = rollout("billing-api", 1, "new", json!({}));
    show(&mut board, at(0), &rollout, &[], &[]);
    let view = only(&mut board, at(0));
    assert_eq!((view.note.as_str(), view.verdict, view.wanted), ("not measured yet", Verdict::NoData, 3));

    let wish = board.due(at(0)).pop().unwrap();
    assert_eq!(&*wish.promql, "errors{service=\"billing-api\",hash=\"new\"}");
    let What::Past { from, to, step } = wish.what else { panic!("{wish:?}") };
    assert_eq!((from, to, step), (wall(-2400), wall(0), Duration::from_secs(10)));
    assert_eq!(board.due(at(0)), [], "one at a time");
    let past = [(-30, None), (-20, Some(0.01)), (-10, Some(0.5))].map(|(s, value)| Point { at: wall(s), value });
    board.fold(at(1), answer(&wish, at(1), Said::Past(Ok(past.to_vec()))));

    let wish = board.due(at(1)).pop().unwrap();
    let What::Now { success, failure, freshness } = &wish.what else { panic!("{wish:?}") };
    assert_eq!((success.as_str(), failure.as_str()), ("result[0] < 0.02", ""));
    assert!(freshness.as_ref().unwrap().age.contains("timestamp(errors{"));
    board.fold(at(2), answer(&wish, at(2), Said::Now(Ok(reading(0.015)))));
    let view = only(&mut board, at(2));
    assert_eq!(values(&view), [Some(0.01), Some(0.5), Some(0.015)], "what came before the first value is no gap");
    assert_eq!((view.verdict, view.note.as_str(), view.age_s, view.run.as_str()), (Verdict::Pass, "", Some(3), ""));

    assert_eq!(board.next(), Some(Duration::from_secs(12)));
    assert_eq!(board.due(at(11)), []);
    assert_eq!(board.due(at(12)).len(), 1);
}

#[test]
fn a_run_decides_and_its_measurements_join_the_history() {
    let mut board = Board::new(None);
    let rollout = rollout("billing-api", 1, "new", json!({}));
    let (old, run_1) = (run(1, "old", "Successful", &["[0.9]"]), run(1, "new", "Running", &["[0.01]", "[0.3]"]));
    show(&mut board, at(0), &rollout, &[&old, &run_1], &["run-new".into()]);
    let view = only(&mut board, at(0));
    assert_eq!(
        (view.run.as_str(), view.taken, view.failures_left, view.verdict),
        ("run-new", 2, Some(0), Verdict::Fail)
    );
    assert_eq!(values(&view), [Some(0.01), Some(0.3)], "the run of the old revision does not count");

    // The same run again, with a measurement more; and the one that the controller forgot stays.
    let mut later = run(2, "new", "Running", &["[0.01]", "[0.3]", "[0.011]"]).whole().clone();
    later["status"]["metricResults"][0]["measurements"].as_array_mut().unwrap().remove(0);
    let later = Object::new(later);
    show(&mut board, at(5), &rollout, &[&old, &later], &["run-new".into()]);
    let view = only(&mut board, at(5));
    assert_eq!(values(&view), [Some(0.01), Some(0.3), Some(0.011)]);
    assert_eq!(view.verdict, Verdict::Pass);

    // A stale answer says that what the controller measures is not worth much either.
    let wish = board.due(at(5)).pop().unwrap();
    board.fold(at(5), answer(&wish, at(5), Said::Past(Ok(Vec::new()))));
    let wish = board.due(at(5)).pop().unwrap();
    let old_scrape = Reading { scrape_age: Some(Some(Duration::from_secs(40))), ..reading(0.01) };
    board.fold(at(6), answer(&wish, at(6), Said::Now(Ok(old_scrape))));
    let view = only(&mut board, at(6));
    assert_eq!((view.verdict, view.note.as_str()), (Verdict::NoData, "the newest scrape is 40 s old"));
}

#[test]
fn the_run_that_ended_an_aborted_rollout_stays_in_sight() {
    let mut board = Board::new(None);
    let rollout = rollout("billing-api", 1, "new", json!({"abort": true}));
    let run = run(1, "new", "Failed", &["[0.3]", "[0.4]"]);
    show(&mut board, at(0), &rollout, &[&run], &[]);
    let view = only(&mut board, at(0));
    assert_eq!((view.run.as_str(), view.verdict), ("run-new", Verdict::Fail));
}

#[test]
fn a_new_revision_begins_a_new_history_and_a_step_goes_on_with_it() {
    let mut board = Board::new(None);
    let run = run(1, "new", "Successful", &["[0.01]"]);
    show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[&run], &["run-new".into()]);
    show(&mut board, at(30), &rollout("billing-api", 2, "new", json!({"currentStepIndex": 3})), &[&run], &[]);
    let view = only(&mut board, at(30));
    assert_eq!((values(&view), view.run.as_str()), (vec![Some(0.01)], ""));
    show(&mut board, at(60), &rollout("billing-api", 3, "newer", json!({})), &[&run], &[]);
    assert_eq!(values(&only(&mut board, at(60))), []);
}

#[test]
fn what_has_no_data_says_so() {
    let none = Reading::default();
    let nan = Reading { values: vec![f64::NAN], ..Reading::default() };
    let cases = [
        (Said::Now(Ok(none)), "the answer is empty"),
        (Said::Now(Ok(nan)), "the answer is NaN"),
        (
            Said::Now(Ok(Reading { scrape_age: Some(None), ..reading(0.0) })),
            "none of its series was scraped in the last minutes: the value is a default",
        ),
        (
            Said::Now(Ok(Reading { answer_age: Some(Duration::from_secs(90)), ..reading(0.0) })),
            "the answer is old: something between caches it",
        ),
        (Said::Now(Ok(Reading { success: Some(Err("no such thing".into())), ..reading(0.0) })), "no such thing"),
        (Said::Now(Err(fault(FaultKind::Unreachable))), "query: refused"),
    ];
    for (said, note) in cases {
        let mut board = Board::new(None);
        show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[], &[]);
        let wish = board.due(at(0)).pop().unwrap();
        board.fold(at(0), answer(&wish, at(0), Said::Past(Ok(Vec::new()))));
        let wish = board.due(at(0)).pop().unwrap();
        board.fold(at(1), answer(&wish, at(1), said.clone()));
        let view = only(&mut board, at(1));
        assert_eq!((view.verdict, view.note.as_str()), (Verdict::NoData, note), "{said:?}");
    }
    let mut board = Board::new(Some("no Prometheus: give --prometheus".into()));
    show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[], &[]);
    assert_eq!((board.due(at(0)), board.next()), (Vec::new(), None));
    assert_eq!(only(&mut board, at(0)).note.as_str(), "no Prometheus: give --prometheus");
}

#[test]
fn an_outage_is_asked_about_ever_less_often_and_filled_in_afterwards() {
    let mut board = Board::new(None);
    show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[], &[]);
    let (mut now, mut asked) = (0, Vec::new());
    while now < 300 {
        for wish in board.due(at(now)) {
            asked.push((now, matches!(wish.what, What::Past { .. })));
            let said = match wish.what {
                What::Past { .. } => Said::Past(Err(fault(FaultKind::Unreachable))),
                What::Now { .. } => Said::Now(Err(fault(FaultKind::Unreachable))),
            };
            board.fold(at(now), answer(&wish, at(now), said));
        }
        now += 1;
    }
    assert_eq!(
        asked,
        [(0, true), (1, false), (11, false), (31, false), (71, false), (131, false), (191, false), (251, false)]
    );
    let view = only(&mut board, at(300));
    assert!(view.points.iter().all(|p| p.value.is_none()));

    let wish = board.due(at(311)).pop().unwrap();
    board.fold(at(311), answer(&wish, at(311), Said::Now(Ok(reading(0.01)))));
    assert_eq!(only(&mut board, at(311)).verdict, Verdict::Pass);
    let wish = board.due(at(321)).pop().unwrap();
    let What::Past { from, .. } = wish.what else { panic!("{wish:?}") };
    assert_eq!(from, wall(-2079), "the whole history is wanted, as far as it reaches back");
    let filled = (0..30).map(|i| Point { at: wall(i * 10), value: Some(0.5) }).collect();
    board.fold(at(321), answer(&wish, at(321), Said::Past(Ok(filled))));
    let view = only(&mut board, at(321));
    assert!(values(&view).iter().filter(|v| v.is_some()).count() > 30, "{view:?}");
    assert!(view.points.iter().all(|p| p.value.is_some()), "{view:?}");
}

#[test]
fn rates_are_bounded_however_many_services_there_are() {
    let mut board = Board::new(None);
    let template = template();
    let rollouts: Vec<Object> = (0..200).map(|i| rollout(&format!("s{i:03}"), 1, "new", json!({}))).collect();
    let watched: Vec<Watched<'_>> = rollouts
        .iter()
        .map(|rollout| Watched {
            service: rollout.name(),
            rollout,
            runs: Vec::new(),
            deciding: &[],
            selected: rollout.name() == "s150",
        })
        .collect();
    board.look(at(0), &watched, &|_, _| Some(&template));
    let first = board.due(at(0));
    assert_eq!(first.len(), UNDER_WAY_MAX);
    assert_eq!(first[0].key.service.as_str(), "s150", "what is on the screen comes first");
    assert!(board.next().unwrap() > GIVEN_UP, "nothing can leave before an answer comes");
    let mut under_way = first;
    let (mut sent, mut now, mut turns) = (under_way.len(), Duration::ZERO, 0);
    while now < Duration::from_secs(1) {
        let moment = Moment { wall: wall(0), monotonic: now };
        for wish in under_way.drain(..) {
            let said = match wish.what {
                What::Past { .. } => Said::Past(Ok(Vec::new())),
                What::Now { .. } => Said::Now(Ok(reading(0.0))),
            };
            board.fold(moment, answer(&wish, moment, said));
        }
        under_way = board.due(moment);
        assert!(under_way.len() <= UNDER_WAY_MAX);
        sent += under_way.len();
        // Answers come at once; then the board says itself when to look again.
        now = if under_way.is_empty() { board.next().unwrap() } else { now };
        turns += 1;
    }
    assert!((10..=20).contains(&sent), "{sent} in the first second");
    assert!(turns <= 3 * sent, "{turns} turns for {sent} queries: it spins");
}

#[test]
fn a_store_that_is_throttled_is_left_alone() {
    let mut board = Board::new(None);
    show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[], &[]);
    let wish = board.due(at(0)).pop().unwrap();
    board.fold(at(0), answer(&wish, at(0), Said::Past(Err(fault(FaultKind::Throttled(30))))));
    assert_eq!((board.due(at(29)), board.next()), (Vec::new(), Some(Duration::from_secs(30))));
    assert_eq!(board.due(at(30)).len(), 1);
}

#[test]
fn answers_to_other_questions_are_dropped_and_lost_ones_given_up() {
    let mut board = Board::new(None);
    show(&mut board, at(0), &rollout("billing-api", 1, "new", json!({})), &[], &[]);
    let wish = board.due(at(0)).pop().unwrap();
    let other = Answer { promql: "up".into(), ..answer(&wish, at(0), Said::Now(Ok(reading(9.0)))) };
    board.fold(at(0), other);
    assert_eq!(values(&only(&mut board, at(0))), []);
    assert_eq!(board.due(at(60)), [], "still waited for");
    assert_eq!(board.due(at(61)).len(), 1);
}

#[test]
fn who_left_the_screen_is_not_asked_and_comes_back_with_its_history() {
    let mut board = Board::new(None);
    let rollout = rollout("billing-api", 1, "new", json!({}));
    let run = run(1, "new", "Running", &["[0.01]"]);
    show(&mut board, at(0), &rollout, &[&run], &["run-new".into()]);
    board.look(at(10), &[], &|_, _| None);
    assert_eq!((board.due(at(10)), board.views(at(10)).len()), (Vec::new(), 0));
    show(&mut board, at(100), &rollout, &[&run], &["run-new".into()]);
    assert_eq!(values(&only(&mut board, at(100))), [Some(0.01)]);
    let What::Past { from, .. } = board.due(at(100)).pop().unwrap().what else { panic!() };
    assert_eq!(from, wall(1), "only what was missed is asked for");
    board.look(at(100), &[], &|_, _| None);
    board.look(at(100 + KEPT.as_secs()), &[], &|_, _| None);
    assert!(board.gates.is_empty());
}

#[test]
fn nothing_new_gives_the_same_views() {
    let mut board = Board::new(None);
    let rollout = rollout("billing-api", 1, "new", json!({}));
    show(&mut board, at(0), &rollout, &[], &[]);
    let before = board.views(at(0));
    show(&mut board, at(1), &rollout, &[], &[]);
    assert!(Arc::ptr_eq(&before, &board.views(at(1))));
}

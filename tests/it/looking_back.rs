//! What looks back: the history of a place on the command line and on the screen, made of Releases as a cluster keeps them.

pub mod made;
mod replays;
pub mod run;

use serde_json::{Value, json};

use super::binary::Home;
use super::outage::front::{Door, Front};
use made::{Ending, release};

/// A cluster with three trains: one that went through, one that was taken back by itself, one that runs.
fn place() -> (Front, Home) {
    let front = Front::start(Door::Open);
    for (n, ending) in [Ending::Completed, Ending::RolledBack, Ending::Rolling].into_iter().enumerate() {
        let object = release(n, ending);
        let status = object["status"].clone();
        let mut store = front.store.lock();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        store.create(&footplate::rehearsal::kinds::RELEASE, "payments", object).unwrap();
        store
            .update(&footplate::rehearsal::kinds::RELEASE, "payments", &name, |o| o["status"] = status.clone())
            .unwrap();
    }
    let home = Home::new(&front.kubeconfig(&json!({})));
    (front, home)
}

fn run_it(home: &Home, args: &[&str]) -> (i32, String, String) {
    let ran = home.run(home.folder.path(), args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (ran.code.unwrap(), text(&ran.out), text(&ran.err))
}

#[test]
fn the_history_of_a_place() {
    let (_front, home) = place();
    let (code, out, err) = run_it(&home, &["history", "--days", "3650"]);
    assert_eq!(code, 0, "{err}");
    let rows: Vec<&str> = out.lines().skip_while(|line| !line.starts_with("RELEASE")).skip(1).collect();
    assert_eq!(rows.len(), 3, "{out}");
    assert!(rows[0].starts_with("2025.10.02-rc3") && rows[0].contains("rolling"), "newest first: {out}");
    assert!(rows[1].contains("rolled-back") && rows[1].contains("billing-api: logic, by itself"), "{out}");
    assert!(rows[1].contains("https://incidents.example/42"), "{out}");
    assert!(rows[2].contains("completed") && rows[2].contains("15 min"), "{out}");
    assert!(out.contains("change failure rate    50 %") && out.contains("1 of 2"), "{out}");
    assert!(out.contains("recovery time          24 s"), "{out}");

    let (code, out, _) = run_it(&home, &["history", "-o", "json"]);
    assert_eq!(code, 0);
    let all: Value = serde_json::from_str(&out).unwrap();
    let trains = all["trains"].as_array().unwrap();
    assert_eq!(trains.len(), 3);
    let bad = &trains[1];
    assert_eq!((&bad["result"], &bad["automatic"]), (&json!("rolled-back"), &json!(true)));
    assert_eq!(bad["cause"]["why"], "errors 3.1 % > 2x 0.7 %");
    let billing = &bad["services"][1];
    assert_eq!(billing["name"], "billing-api");
    assert_eq!((&billing["cause"], &billing["automatic"]), (&json!("logic"), &json!(true)));
    assert_eq!(billing["detected"], bad["detected"]);
    assert_eq!(billing["committed"], "2025-10-01T08:00:00Z");
    assert_eq!(bad["services"][0]["committed"], Value::Null, "unknown stays unknown");

    let id = bad["train"].as_str().unwrap();
    let (code, out, _) = run_it(&home, &["history", id]);
    assert_eq!(code, 0);
    assert!(out.contains("taken back by itself") || out.contains("undone     by itself"), "{out}");
    assert!(out.contains("billing-api   2.8.0    undone"), "{out}");
    let (code, _, err) = run_it(&home, &["history", "ZZZZ"]);
    assert!(code == 2 && err.contains("there is no train ZZZZ"), "{err}");
}

#[test]
fn without_the_definition_it_says_what_to_install() {
    let front = Front::start(Door::Open);
    front.unserved.lock().unwrap().push("releases.footplate.dev");
    let home = Home::new(&front.kubeconfig(&json!({})));
    let (code, out, err) = run_it(&home, &["history"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("footplate install"), "{err}");
}

#[test]
fn a_place_without_trains_has_no_numbers() {
    let front = Front::start(Door::Open);
    let home = Home::new(&front.kubeconfig(&json!({})));
    let (code, out, _) = run_it(&home, &["history"]);
    assert_eq!(code, 0);
    assert_eq!(out.matches("unknown").count(), 4, "{out}");
    assert!(out.contains("no train ran here yet"), "{out}");
    let unreadable = json!({
        "apiVersion": "releases.footplate.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": "from-tomorrow", "namespace": "payments"}, "spec": {"plan": "{\"form\":99}"},
    });
    front.store.lock().create(&footplate::rehearsal::kinds::RELEASE, "payments", unreadable).unwrap();
    let (code, out, _) = run_it(&home, &["history"]);
    assert_eq!(code, 0);
    assert!(out.contains("from-tomorrow") && out.contains("spec.plan cannot be read"), "{out}");
    assert!(out.contains("1 trains cannot be read"), "{out}");
}

#[test]
fn a_journal_that_lies_in_the_cluster_is_replayed() {
    let front = Front::start(Door::Open);
    let object = release(0, Ending::RolledBack);
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let made = front.store.lock().create(&footplate::rehearsal::kinds::RELEASE, "payments", object).unwrap();
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut run = run::Run::new(&uid, Some(1));
    run.start();
    run.run_to_the_end();
    // As the scribe writes them: inputs alone, in batches; one of them twice, since nobody knew whether it had landed.
    let inputs: Vec<String> =
        run.lines[2..].iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["input"].to_string()).collect();
    let half = inputs.len() / 2;
    let again = inputs[half / 2..].join("\n");
    let lost = inputs[half / 2..half].join("\n");
    let head = inputs[..half / 2].join("\n");
    let short = &uid[..8];
    let map = |part: usize, data: Value| {
        let labels = json!({"footplate.dev/train": uid, "footplate.dev/journal": format!("{part:03}")});
        let name = format!("fp-journal-{short}-1-{part:03}");
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data})
    };
    for object in [map(0, json!({"00000": head, "00001": lost})), map(1, json!({"00000": again}))] {
        front.store.lock().create(&footplate::rehearsal::kinds::CONFIG_MAP, "payments", object).unwrap();
    }
    let home = Home::new(&front.kubeconfig(&json!({})));
    let (code, out, err) = run_it(&home, &["replay", "--release", &name, "--plain"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.ends_with("the end: everything is as it was before"), "{out}");
    assert_eq!(out.matches("its gate FAILS").count(), 1, "{out}");
    let (code, _, err) = run_it(&home, &["replay", "--release", "nowhere", "--plain"]);
    assert!(code == 2 && err.contains("there is no Release nowhere"), "{err}");
}

//! What the cockpit and the commands do when the cluster cannot be reached, does not answer, refuses or lacks something: they
//! open, say what and what to do, keep what they knew marked as old, let only what is safe out, and recover by themselves. The
//! real binary throughout; the cluster is a rehearsal behind a door (`outage/front.rs`).

pub mod front;

use std::time::{Duration, Instant};

use footplate::rehearsal::faults::{Cut, Fault, Rule};
use serde_json::{Value, json};

use self::front::{Door, Front};
use super::binary::{Home, Ran, Screen};

/// How long anything may take that happens by itself: the longest pause between two tries is 15 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cockpit before a cluster.
struct Stage {
    front: Front,
    home: Home,
    screen: Screen,
}

impl Stage {
    fn open(door: Door, user: &Value, prepare: impl FnOnce(&Front)) -> Self {
        let front = Front::start(door);
        prepare(&front);
        let home = Home::new(&front.kubeconfig(user));
        let screen = Screen::open(&home, home.folder.path(), &[], 80, 24);
        Self { front, home, screen }
    }

    /// A cockpit that has seen the cluster.
    fn live() -> Self {
        let stage = Self::open(Door::Open, &json!({"token": "t1"}), |_| {});
        stage.sees(&["LIVE", "billing-api", "ledger-api"]);
        stage
    }

    /// Waits until all of these are on the screen at once.
    fn sees(&self, all: &[&str]) {
        let so = |text: &str| all.iter().all(|one| text.contains(one));
        if let Err(screen) = self.screen.program.wait(PATIENCE, so) {
            panic!("not all of {all:?} came; the screen is:\n{screen}");
        }
    }

    fn press(&mut self, keys: &[&str]) {
        self.screen.press(keys);
    }

    /// It is live again, and shows what happened meanwhile.
    fn recovers(&self, version: &str) {
        self.sees(&["LIVE"]);
        self.front.deploy("ledger-api", version);
        self.sees(&["LIVE", version]);
    }

    fn leave(self) {
        let raw = self.screen.leave();
        assert!(!String::from_utf8_lossy(&raw).contains("panicked"));
    }

    /// What a command says and how it ends.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        said(&self.home.run_for(self.home.folder.path(), args, Duration::from_secs(120)))
    }
}

fn said(ran: &Ran) -> (Option<i32>, String) {
    (ran.code, format!("{}{}", String::from_utf8_lossy(&ran.out), String::from_utf8_lossy(&ran.err)))
}

/// While what is shown is old: forward orders are refused with a way out, safe ones can be given.
fn only_safe_orders(stage: &mut Stage) {
    stage.press(&["P"]);
    stage.sees(&["what is shown is old", "R reads again"]);
    stage.press(&["u"]);
    stage.sees(&["undo billing-api"]);
    stage.press(&["\u{1b}"]);
    // A key that comes before the Esc was taken for one would be another key, with Alt.
    let closed = stage.screen.program.wait(PATIENCE, |text| !text.contains("to confirm"));
    closed.unwrap_or_else(|screen| panic!("the dialog stays:\n{screen}"));
}

#[test]
fn a_cluster_that_is_not_there_is_waited_for() {
    let mut stage = Stage::open(Door::Gone, &json!({"token": "t1"}), |_| {});
    stage.sees(&["DOWN never read", "NO CONNECTION", "refused", "VPN"]);
    stage.press(&["p"]);
    let (code, says) = stage.run(&["status"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("list ") && says.contains("in payments") && says.contains("next: "), "{says}");
    let (code, says) = stage.run(&["abort", "billing-api", "--yes"]);
    assert_eq!(code, Some(3), "{says}");
    stage.front.door(Door::Open);
    stage.sees(&["LIVE", "billing-api", "ledger-api"]);
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn a_cluster_that_goes_is_shown_as_it_was_and_comes_back() {
    let mut stage = Stage::live();
    stage.front.door(Door::Gone);
    stage.sees(&["s old", "billing-api", "ledger-api", "refused"]);
    stage.sees(&["DOWN 1", "was "]);
    only_safe_orders(&mut stage);
    // An abort is taken at once and carried out as soon as somebody can be reached.
    stage.press(&["X"]);
    stage.sees(&["abort billing-api"]);
    std::thread::sleep(Duration::from_millis(400));
    stage.press(&["y"]);
    stage.sees(&["ordered: abort billing-api"]);
    std::thread::sleep(Duration::from_secs(2));
    stage.front.door(Door::Open);
    stage.front.until("the abort arrives", |name, r| {
        name != "billing-api" || r["status"]["abort"] == true || r["status"]["abortedAt"].is_string()
    });
    stage.sees(&["LIVE", "aborted"]);
    stage.press(&["4"]);
    stage.sees(&["live again after"]);
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn a_connection_that_says_nothing_any_more_is_found_out() {
    let mut stage = Stage::live();
    let started = Instant::now();
    stage.front.door(Door::Silent);
    stage.sees(&["STALE", "no answer"]);
    assert!(started.elapsed() < Duration::from_secs(17), "{:?}", started.elapsed());
    only_safe_orders(&mut stage);
    stage.sees(&["DOWN", "no answer from", "VPN"]);
    let (code, says) = stage.run(&["status"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("no answer from") && says.contains("list "), "{says}");
    stage.front.door(Door::Open);
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn credentials_that_expire_are_named_and_new_ones_are_taken() {
    let mut stage = Stage::live();
    *stage.front.token.lock().unwrap() = Some("t2".to_owned());
    stage.front.faults.cut_watches(Cut::End);
    stage.sees(&["Unauthorized", "fresh token", "s old", "billing-api"]);
    only_safe_orders(&mut stage);
    let (code, says) = stage.run(&["pause", "billing-api"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("put a fresh token for user ana"), "{says}");
    *stage.front.token.lock().unwrap() = Some("t1".to_owned());
    stage.recovers("1.5.0");
    stage.leave();
}

/// A plugin whose script can be changed while the cockpit runs.
fn plugin(front: &Front, home: &Home, script: &str) -> Value {
    let path = home.path("plugin");
    write_plugin(&path, script);
    *front.token.lock().unwrap() = Some("t1".to_owned());
    json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": path, "interactiveMode": "IfAvailable"}})
}

fn write_plugin(path: &std::path::Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

const GOOD: &str = r#"echo '{"status":{"token":"t1"}}'"#;

#[test]
fn credential_plugins_that_fail_are_named_and_tried_again() {
    let noise =
        "printf '\\033[2J\\033[5;5Hsmeared\\033]0;x\\007' >&2; printf smeared > /dev/tty; echo expired >&2; exit 1";
    for (script, says) in [(noise, "ended with 1"), ("sleep 300", "has not ended"), ("", "not on PATH")] {
        let front = Front::start(Door::Open);
        let home = Home::new("");
        let mut user = plugin(&front, &home, script);
        if script.is_empty() {
            std::fs::remove_file(home.path("plugin")).unwrap();
        }
        user["exec"]["installHint"] = json!("ask the platform team for it");
        std::fs::write(home.path("kubeconfig"), front.kubeconfig(&user)).unwrap();
        let screen = Screen::open(&home, home.folder.path(), &[], 80, 24);
        let stage = Stage { front, home, screen };
        stage.sees(&["DOWN never read", says]);
        let shown = stage.screen.program.text();
        assert!(
            shown.contains("1 train") && shown.contains("another terminal") || shown.contains("platform team"),
            "{shown}"
        );
        if script == noise {
            assert!(!String::from_utf8_lossy(&stage.screen.program.raw()).contains("\u{1b}]0;"), "{shown}");
            assert!(!shown.lines().any(|line| line.trim_start().starts_with("smeared")), "{shown}");
        }
        write_plugin(&stage.home.path("plugin"), GOOD);
        if script != "sleep 300" {
            stage.recovers("1.5.0");
        }
        stage.leave();
    }
}

#[test]
fn a_missing_kind_is_named_and_seen_when_it_comes() {
    let stage = Stage::open(Door::Open, &json!({"token": "t1"}), |front| {
        front.unserved.lock().unwrap().push("argoproj.io");
    });
    stage.sees(&["INCOMPLETE", "serves no rollouts"]);
    stage.sees(&["install Argo Rollouts"]);
    let (code, says) = stage.run(&["status"]);
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("no Rollouts"), "{says}");
    stage.front.unserved.lock().unwrap().clear();
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn without_the_kind_of_flags_all_else_works_and_its_pane_says_what_to_do() {
    let mut stage = Stage::open(Door::Open, &json!({"token": "t1"}), |front| {
        front.unserved.lock().unwrap().push("core.openfeature.dev");
    });
    stage.sees(&["LIVE", "billing-api", "ledger-api"]);
    let shown = stage.screen.program.text();
    assert!(!shown.contains("INCOMPLETE"), "nothing here moves a flag: {shown}");
    stage.press(&["5", "5"]);
    stage.sees(&["featureflags.core.openfeature.dev", "install the OpenFeature operator"]);
    let (code, says) = stage.run(&["flag", "ledger_nullable", "off", "--yes"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("serves no featureflags") && says.contains("install the OpenFeature operator"), "{says}");
    // What is safe on workloads is not held up by it.
    let (code, says) = stage.run(&["pause", "billing-api"]);
    assert_eq!(code, Some(0), "{says}");
    stage.front.unserved.lock().unwrap().clear();
    stage.front.flag("ledger_nullable");
    stage.sees(&["ledger_nullable", "payments-flags"]);
    stage.press(&["1"]);
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn a_kind_that_goes_leaves_what_was_seen_marked_as_old() {
    let stage = Stage::live();
    stage.front.unserved.lock().unwrap().push("rollouts");
    stage.front.faults.cut_watches(Cut::End);
    stage.sees(&["STALE", "serves no", "install Argo Rollouts", "billing-api"]);
    stage.front.unserved.lock().unwrap().clear();
    stage.recovers("1.5.0");
    stage.leave();
}

fn refuse(code: u16, verbs: &[&str], resources: &[&str]) -> Rule {
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Rule { verbs: own(verbs), resources: own(resources), ..Rule::always(Fault::Refuse { code }) }
}

#[test]
fn rights_that_are_missing_are_named_with_the_rule_that_gives_them() {
    // May look, may not change.
    let mut stage = Stage::live();
    stage.front.faults.add(refuse(403, &["patch"], &["rollouts", "rollouts/status"]));
    stage.press(&["p"]);
    stage.sees(&["patch rollout payments/billing-api"]);
    stage.press(&["4"]);
    stage.sees(&["forbidden"]);
    let (code, says) = stage.run(&["pause", "billing-api"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("patch rollout payments/billing-api"), "{says}");
    assert!(says.contains("ask for this rule in payments") && says.contains("resources [\"rollouts\"]"), "{says}");
    // May change rollouts, not their status: promote and abort need that.
    stage.front.faults.clear();
    stage.front.faults.add(refuse(403, &["patch"], &["rollouts/status"]));
    let (code, says) = stage.run(&["promote", "billing-api", "--yes"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("resources [\"rollouts/status\"]"), "{says}");
    let (code, says) = stage.run(&["pause", "billing-api"]);
    assert_eq!(code, Some(0), "{says}");
    // May not even look.
    stage.front.faults.clear();
    stage.front.faults.add(refuse(403, &["list", "watch", "get"], &["rollouts"]));
    let (code, says) = stage.run(&["status"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("list rollouts in payments") && says.contains("verbs [\"list\"]"), "{says}");
    stage.front.faults.cut_watches(Cut::End);
    stage.sees(&["STALE", "billing-api"]);
    stage.front.faults.clear();
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn without_the_right_to_look_it_opens_and_says_so() {
    let stage = Stage::open(Door::Open, &json!({"token": "t1"}), |front| {
        front.faults.add(refuse(403, &["list", "watch", "get"], &[]));
    });
    stage.sees(&["ask for this rule"]);
    let shown = stage.screen.program.text();
    assert!(!shown.contains("ALL WELL"), "{shown}");
    stage.front.faults.clear();
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn storms_of_429_are_shown_and_sat_out() {
    let mut stage = Stage::live();
    stage.front.faults.add(Rule::always(Fault::Throttle { retry_after: Some(1) }));
    stage.front.faults.cut_watches(Cut::End);
    stage.sees(&["s old", "too many", "asks for patience", "billing-api"]);
    only_safe_orders(&mut stage);
    let (code, says) = stage.run(&["status"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("429"), "{says}");
    let asked = stage.front.faults.injected().len();
    std::thread::sleep(Duration::from_secs(5));
    let more = stage.front.faults.injected().len() - asked;
    assert!(more < 100, "{more} requests in 5 s of a storm");
    stage.front.faults.clear();
    stage.recovers("1.5.0");
    stage.leave();
}

#[test]
fn both_forms_of_410_pass_unseen() {
    let stage = Stage::live();
    for n in 0..4_u32 {
        let fault = if n % 2 == 0 { Fault::WatchGone { messages: 0 } } else { Fault::Refuse { code: 410 } };
        stage.front.faults.add(Rule { verbs: vec!["watch".to_owned()], times: Some(5), ..Rule::always(fault) });
        stage.front.faults.cut_watches(if n % 2 == 0 { Cut::Gone } else { Cut::End });
        stage.recovers(&format!("1.{}.0", n + 2));
        stage.front.faults.clear();
    }
    stage.leave();
}

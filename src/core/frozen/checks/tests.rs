//! Each check with both outcomes.

use serde_json::json;

use super::*;
use crate::core::object::ObjectKind;
use crate::core::slo::{GateBy, Slo};
use crate::core::train::event::Spec;

fn workload() -> Workload {
    Workload {
        service: "billing-api".into(),
        kind: Kind::Rollout,
        name: "billing-api".into(),
        container: Some("app".into()),
        config: Some("billing-api-config-0a".into()),
        slo: Slo::default(),
        gate: GateBy::Metrics,
        lag: None,
        max_lag: None,
        checks: Vec::new(),
        weights: Some(vec![25, 50, 100]),
    }
}

fn reading() -> Reading {
    Reading {
        uid: "u".into(),
        version: 1,
        generation: 1,
        observed: true,
        spec: Spec::Recorded,
        current: "h1".into(),
        stable: "h1".into(),
        paused: false,
        hold: None,
        undo: None,
        train: None,
        epoch: None,
        step: 0,
        steps: 0,
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

fn word(found: &Found) -> &'static str {
    found.parts().0
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_cluster_is_the_pinned_one_or_nothing_goes() {
    let (ours, other) = ("a-1".into(), "b-2".into());
    assert_eq!(word(&cluster(Some(&ours), &ours, "a-1")), "good");
    assert_eq!(word(&cluster(None, &ours, "a-1")), "good");
    let said = cluster(Some(&other), &ours, "a-1");
    assert_eq!(said, Found::Refuse("this cluster is a-1, footplate.yaml pins b-2: connect to the right one".into()));
    assert_eq!(word(&cluster(None, &other, "a-1")), "refuse", "recorded in another");
}

#[test]
fn a_missing_right_is_named_with_what_to_add() {
    let right = |kind, subresource, verb| Right { kind, subresource, verb };
    let wanted = [
        right(ObjectKind::Rollout, "status", "patch"),
        right(ObjectKind::Pod, "", "get"),
        right(ObjectKind::Pod, "", "watch"),
    ];
    assert_eq!(word(&allowed(&wanted, &[true; 3])), "good");
    assert_eq!(
        allowed(&wanted, &[false; 3]),
        Found::Refuse(
            "the role of this conductor may not patch rollouts/status: add {apiGroups: [\"argoproj.io\"], resources: \
             [rollouts/status], verbs: [patch]}; get, watch pods: add {apiGroups: [\"\"], resources: [pods], verbs: [get, watch]}"
                .into()
        )
    );
    assert_eq!(word(&allowed(&wanted, &[true])), "unknown");
}

#[test]
fn one_train_at_a_time() {
    assert_eq!(word(&alone(&[])), "good");
    assert_eq!(word(&alone(&["r-1".into()])), "refuse");
}

#[test]
fn a_train_that_would_run_into_a_freeze_does_not_start() {
    let window =
        FreezeWindow { from: at("2025-10-03T14:00:00Z"), to: at("2025-10-06T06:00:00Z"), reason: "weekend".into() };
    let hour = 3_600_000;
    assert_eq!(word(&freeze(std::slice::from_ref(&window), at("2025-10-03T12:00:00Z"), hour)), "good");
    let said = freeze(std::slice::from_ref(&window), at("2025-10-03T13:30:00Z"), hour);
    assert_eq!(
        said,
        Found::Refuse(
            "freeze from Fri 2025-10-03 14:00 UTC to Mon 2025-10-06 06:00 UTC (weekend); the train takes about 60 min"
                .into()
        )
    );
    assert_eq!(word(&freeze(std::slice::from_ref(&window), at("2025-10-05T00:00:00Z"), 0)), "refuse", "inside");
    assert_eq!(word(&freeze(&[window], at("2025-10-06T06:00:00Z"), hour)), "good", "over");
}

fn past(release: &str, created: &str, completed: bool, image: &str, taken_back: bool) -> Past {
    let service = PastService { name: "billing-api".into(), image: image.into(), config: None, taken_back };
    Past { release: release.into(), created: at(created), completed, services: vec![service] }
}

#[test]
fn what_was_taken_back_asks_for_a_word_until_it_went_through() {
    let (name, pinned) = ("billing-api".into(), "r/billing-api:2.8.0".into());
    let bad = past("r-1", "2025-10-01T00:00:00Z", false, "r/billing-api:2.8.0", true);
    let good = past("r-2", "2025-10-02T00:00:00Z", true, "r/billing-api:2.8.0", false);
    assert_eq!(word(&quarantine(&name, &pinned, &[])), "good");
    let said = quarantine(&name, &pinned, std::slice::from_ref(&bad));
    assert_eq!(
        said,
        Found::Ask("2.8.0 was taken back here by release r-1 on 2025-10-01: whoever starts it again says why".into())
    );
    assert_eq!(word(&quarantine(&name, &pinned, &[bad.clone(), good])), "good");
    assert_eq!(word(&quarantine(&name, &"r/billing-api:2.8.1".into(), &[bad])), "good", "another version");
}

#[test]
fn a_hotfix_is_shown_and_asked_about() {
    let (name, pinned): (Text, Text) = ("billing-api".into(), "r/billing-api:2.8.0".into());
    let left = past("r-1", "2025-10-01T00:00:00Z", true, "r/billing-api:2.7.4", false);
    fn running<'a>(image: &'a Text, config: Option<&'a str>) -> Running<'a> {
        Running { image, config }
    }
    let of = |live: &str, past: &[Past]| drift(&name, running(&live.into(), None), running(&pinned, Some("c-2")), past);
    assert_eq!(word(&of("r/billing-api:2.7.4", std::slice::from_ref(&left))), "good");
    assert_eq!(word(&of("r/billing-api:2.7.5", &[])), "good");
    assert_eq!(
        of("r/billing-api:2.7.5", std::slice::from_ref(&left)),
        Found::Ask("2.7.5 is live, release r-1 left 2.7.4: say whether the train may go over it".into())
    );
    let mut configured = left;
    configured.services[0].config = Some("c-1".into());
    let of = |image: &str, config| {
        drift(&name, running(&image.into(), config), running(&pinned, Some("c-2")), std::slice::from_ref(&configured))
    };
    assert_eq!(word(&of("r/billing-api:2.7.4", Some("c-1"))), "good", "as it was left");
    assert_eq!(word(&of("r/billing-api:2.8.0", Some("c-2"))), "good", "the pinned one is live");
    assert_eq!(word(&of("r/billing-api:2.8.0", Some("c-1"))), "ask", "the pinned image alone");
    assert_eq!(
        of("r/billing-api:2.7.4", Some("c-hotfix")),
        Found::Ask(
            "2.7.4 with c-hotfix is live, release r-1 left 2.7.4 with c-1: say whether the train may go over it".into()
        )
    );
    assert_eq!(
        of("r/billing-api:2.7.4", None),
        Found::Ask(
            "2.7.4 without a config is live, release r-1 left 2.7.4 with c-1: say whether the train may go over it"
                .into()
        )
    );
}

#[test]
fn a_pinned_config_needs_its_volume() {
    let with = json!({"spec": {"volumes": [{"name": "config", "configMap": {"name": "old"}}]}});
    assert_eq!(word(&config_volume(&workload(), &with)), "good");
    let said = config_volume(&workload(), &json!({"spec": {}}));
    let Found::Refuse(why) = said else { panic!("{said:?}") };
    assert!(why.contains("volumes: [{name: config, configMap: {name: billing-api-config-0a}}]"), "{why}");
    let none = Workload { config: None, ..workload() };
    assert_eq!(word(&config_volume(&none, &json!({"spec": {}}))), "good");
}

#[test]
fn steps_are_what_the_release_asks_for_with_a_pause_at_each() {
    let of =
        |steps: Value| weights(&workload(), &Object::new(json!({"spec": {"strategy": {"canary": {"steps": steps}}}})));
    let pause = json!({"pause": {"duration": "60s"}});
    let w = |n: u8| json!({"setWeight": n});
    assert_eq!(word(&of(json!([w(25), pause, w(50), pause, w(100)]))), "good");
    assert_eq!(word(&of(json!([w(25), {"analysis": {}}, pause, w(50), pause]))), "good", "the last step is implied");
    assert_eq!(
        of(json!([w(25), pause, w(75), pause])),
        Found::Refuse(
            "the release asks for 25 % → 50 % → 100 %, the steps of billing-api are 25 % → 75 % → 100 %: make one as the other"
                .into()
        )
    );
    assert_eq!(word(&of(json!([w(25), {"analysis": {}}, w(50), pause]))), "refuse", "no pause");
    assert_eq!(word(&of(json!([w(25), pause, w(50)]))), "refuse", "no pause before the rest");
    let green = Object::new(json!({"spec": {"strategy": {"blueGreen": {}}}}));
    assert_eq!(word(&weights(&workload(), &green)), "refuse");
    assert_eq!(word(&weights(&Workload { weights: None, ..workload() }, &green)), "good");
    assert_eq!(word(&weights(&Workload { kind: Kind::Deployment, ..workload() }, &green)), "good");
}

#[test]
fn a_version_of_old_walks_its_steps_or_is_refused() {
    let marked = Reading { mark: 1, ..reading() };
    assert_eq!(word(&anew(Deploy::Direct, &reading())), "good");
    assert_eq!(word(&anew(Deploy::Direct, &marked)), "good");
    assert_eq!(word(&anew(Deploy::Git, &reading())), "good");
    assert_eq!(word(&anew(Deploy::Git, &marked)), "refuse");
}

#[test]
fn a_flag_that_moved_already_stops_the_start() {
    let flag = |goal, safe| Flag { key: "f".into(), goal, safe, services: Vec::new() };
    let percent = Setting::Percent;
    let of = |goal, safe, read| word(&flag_old(&flag(goal, safe), &read));
    assert_eq!(of(percent(100), None, percent(0)), "good");
    assert_eq!(of(percent(100), None, percent(100)), "refuse");
    assert_eq!(of(percent(100), None, percent(30)), "refuse");
    assert_eq!(of(percent(100), Some(percent(30)), percent(30)), "good", "its value of old");
    let variant = |name: &str| Setting::Variant(name.into());
    assert_eq!(of(variant("new"), Some(variant("old")), variant("old")), "good");
    assert_eq!(of(variant("new"), Some(variant("old")), variant("other")), "refuse");
}

#[test]
fn the_way_back_is_open_slow_or_closed() {
    let open = Back { set: true, config: Some(("c".into(), true)), ready: 3, replicas: 3, quotas: Some(Vec::new()) };
    let of = |reading: &Reading, back: &Back| way_back(&workload(), reading, back);
    assert_eq!(of(&reading(), &open), Found::Good("fast; 3 ready pods of what is live".into()));
    assert_eq!(word(&of(&Reading { fast: false, ..reading() }, &open)), "warn");
    assert_eq!(word(&of(&reading(), &Back { quotas: None, ..open.clone() })), "warn");
    assert_eq!(word(&of(&reading(), &Back { set: false, ..open.clone() })), "unknown");
    assert_eq!(word(&of(&reading(), &Back { config: Some(("c".into(), false)), ..open.clone() })), "refuse");
    assert_eq!(word(&of(&reading(), &Back { ready: 0, ..open.clone() })), "refuse");
    assert_eq!(word(&of(&reading(), &Back { ready: 0, replicas: 0, ..open.clone() })), "warn");
    let tight = vec![("q".into(), "pods".into(), "0".into())];
    assert_eq!(word(&of(&reading(), &Back { quotas: Some(tight), ..open })), "refuse");
}

#[test]
fn a_quota_must_have_room_for_one_more_pod() {
    let quota = |hard: &str, used: &str| {
        let status = json!({"hard": {"requests.cpu": hard, "pods": "10"}, "used": {"requests.cpu": used, "pods": "9"}});
        vec![Object::new(json!({"metadata": {"name": "q"}, "status": status}))]
    };
    let live = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "500m"}}}, {}]}});
    assert!(short_quotas(&quota("4", "3500m"), &live).is_empty());
    assert_eq!(short_quotas(&quota("4", "3600m"), &live).len(), 1);
    assert!(short_quotas(&quota("nonsense", "3600m"), &live).is_empty());
    assert_eq!((quantity("1Gi"), quantity("1.5k"), quantity("x")), (Some(1_073_741_824.0), Some(1500.0), None));
}

#[test]
fn what_nothing_checks_is_unknown_and_what_is_not_built_is_refused() {
    assert_eq!(word(&policy(&"contracts.ok".into())), "unknown");
    assert_eq!(word(&push()), "refuse");
    assert_eq!(word(&schema(2)), "good");
}

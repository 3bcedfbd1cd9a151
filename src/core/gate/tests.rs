//! Tests of reading analysis runs and templates.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const GUARDED: &str = "len(result) > 0 && !isNaN(result[0]) && result[0] < {{args.max-error-rate}}";

fn metric() -> Value {
    json!({
        "name": "http-error-rate", "interval": "10s", "count": 3, "successCondition": GUARDED, "failureLimit": 1,
        "inconclusiveLimit": "{{args.bears}}",
        "provider": {"prometheus": {"address": "http://169.254.169.254", "query": "rate({{args.service}})"}}
    })
}

fn run(phase: &str, result: Value) -> Object {
    Object::new(json!({
        "metadata": {"name": "r"},
        "spec": {
            "args": [
                {"name": "service", "value": "billing-api"}, {"name": "max-error-rate", "value": "0.02"},
                {"name": "bears", "value": "3"}
            ],
            "metrics": [metric()]
        },
        "status": {"phase": phase, "metricResults": [result]}
    }))
}

fn measured(phase: &str, list: &[(&str, &str)]) -> Value {
    let count = |wanted: &str| list.iter().filter(|(phase, _)| *phase == wanted).count();
    json!({
        "name": "http-error-rate", "phase": phase, "count": list.len(), "successful": count("Successful"),
        "failed": count("Failed"), "inconclusive": count("Inconclusive"), "error": count("Error"),
        "measurements": list.iter().enumerate().map(|(i, (phase, value))| json!({
            "phase": phase, "value": value, "startedAt": "2025-10-02T13:00:00Z",
            "finishedAt": format!("2025-10-02T13:00:{:02}Z", i * 10),
        })).collect::<Vec<_>>()
    })
}

fn only(run: &Object) -> Progress {
    progress(run).pop().unwrap()
}

#[test]
fn a_running_metric_is_read_with_its_arguments() {
    let run = run("Running", measured("Running", &[("Successful", "[0.01]"), ("Failed", "[0.3]")]));
    let p = only(&run);
    assert_eq!(p.metric.limit, Some(Limit::Below(0.02)));
    assert_eq!(p.metric.query.as_deref(), Ok("rate(billing-api)"));
    assert_eq!(p.metric.condition().as_str(), "len(result) > 0 && !isNaN(result[0]) && result[0] < 0.02");
    assert_eq!(
        (p.taken, p.metric.wanted, p.failures_left, p.inconclusive_left, p.errors_left),
        (2, Some(3), Some(0), 3, 4)
    );
    assert_eq!(p.points.iter().map(|p| p.value).collect::<Vec<_>>(), [Some(0.01), Some(0.3)]);
    assert_eq!((p.verdict, p.ended), (Verdict::Fail, false));
    assert_eq!(verdict(&run), None);
}

#[test]
fn verdicts_are_those_of_the_train() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<Verdict>);
    let table: &[Case<'_>] = &[
        ("Successful", &[("Successful", "[0.01]")], Some(Verdict::Pass)),
        ("Successful", &[("Successful", "[NaN]"), ("Successful", "[0.01]")], Some(Verdict::Pass)),
        ("Successful", &[], Some(Verdict::NoData)),
        ("Successful", &[("Error", "")], Some(Verdict::NoData)),
        ("Successful", &[("Inconclusive", "[NaN]")], Some(Verdict::NoData)),
        ("Successful", &[("Successful", "[NaN]")], Some(Verdict::NoData)),
        ("Successful", &[("Successful", "[]")], Some(Verdict::NoData)),
        ("Successful", &[("Successful", "")], Some(Verdict::NoData)),
        ("Failed", &[("Failed", "[0.3]")], Some(Verdict::Fail)),
        ("Inconclusive", &[("Inconclusive", "[]")], Some(Verdict::Inconclusive)),
        ("Error", &[("Error", "")], Some(Verdict::NoData)),
        ("Running", &[("Successful", "[0.01]")], None),
        ("Pending", &[], None),
        ("", &[], None),
        ("Invented", &[], None),
    ];
    for (phase, list, wanted) in table {
        assert_eq!(verdict(&run(phase, measured(phase, list))), *wanted, "{phase} {list:?}");
    }
    assert_eq!(verdict(&Object::new(json!({"status": {"phase": "Successful"}}))), Some(Verdict::NoData));
    assert_eq!(verdict(&Object::new(json!({}))), None);
}

#[test]
fn a_dry_run_decides_nothing_and_a_job_needs_no_number() {
    let job = Object::new(json!({
        "spec": {"metrics": [{"name": "smoke", "provider": {"job": {}}}, {"name": "tried", "provider": {"web": {}}}],
                 "dryRun": [{"metricName": "tried"}]},
        "status": {"phase": "Successful", "metricResults": [
            {"name": "smoke", "phase": "Successful", "measurements": [{"phase": "Successful", "startedAt": "2025-10-02T13:00:00Z"}]},
            {"name": "tried", "phase": "Failed", "dryRun": true}
        ]}
    }));
    assert_eq!(verdict(&job), Some(Verdict::Pass));
    let all = progress(&job);
    assert_eq!(all[0].metric.wanted, Some(1));
    assert_eq!(all[0].metric.query.as_ref().unwrap_err().as_str(), "measured by the controller alone (job)");
    assert!(all[1].metric.dry_run);
}

#[test]
fn missing_data_says_so() {
    let note = |list: &[(&str, &str)]| only(&run("Running", measured("Running", list))).note.to_string();
    assert_eq!(note(&[]), "not measured yet");
    assert_eq!(note(&[("Inconclusive", "[]")]), "the answer is empty");
    assert_eq!(note(&[("Inconclusive", "[NaN]")]), "the answer is NaN");
    assert_eq!(note(&[("Failed", "[+Inf]")]), "the answer is +Inf");
    assert_eq!(note(&[("Successful", "[0.01]")]), "");
    let ended = |phase: &str, list: &[(&str, &str)]| only(&run(phase, measured(phase, list))).note.to_string();
    assert_eq!(ended("Failed", &[("Failed", "[0.3]"), ("Failed", "[0.4]")]), "2 failed, at most 1 may");
    assert_eq!(ended("Inconclusive", &[("Inconclusive", "[]")]), "1 inconclusive, at most 3 may be");
    assert_eq!(ended("Error", &[("Error", "")]), "errors: 1, at most 4 in a row");
    assert_eq!(
        only(&run("Successful", measured("Successful", &[]))).note.as_str(),
        "called successful without one good measurement"
    );
}

fn billing() -> Object {
    Object::new(json!({
        "metadata": {"name": "billing-api", "namespace": "payments"},
        "spec": {"strategy": {"canary": {"steps": [
            {"setWeight": 25},
            {"analysis": {"templates": [{"templateName": "t"}], "args": [{"name": "service", "value": "a"}]}},
            {"setWeight": 50},
            {"analysis": {"templates": [{"templateName": "t"}], "args": [
                {"name": "service", "value": "b"}, {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]}}
        ]}}},
        "status": {"currentStepIndex": 2, "currentPodHash": "abc"}
    }))
}

#[test]
fn the_next_analysis_is_found_and_resolved() {
    let template = Object::new(json!({"spec": {
        "args": [{"name": "service"}, {"name": "hash"}, {"name": "max-error-rate", "value": "0.1"}, {"name": "bears", "value": "0"}],
        "templates": [{"templateName": "t"}, {"templateName": "gone"}],
        "metrics": [metric(), {"name": "p95", "provider": {"prometheus": {"query": "p95{h=\"{{args.hash}}\"}"}}}]
    }}));
    let rollout = billing();
    let all = asked(&rollout);
    assert_eq!(all.iter().map(|a| a.place.as_str()).collect::<Vec<_>>(), ["step 3/4"]);
    let (metrics, missing) = all[0].metrics(&rollout, |name| (name == "t").then_some(&template));
    assert_eq!(missing.unwrap().as_str(), "there is no analysis template gone");
    assert_eq!(metrics.iter().map(|m| m.query.as_deref().unwrap()).collect::<Vec<_>>(), ["rate(b)", "p95{h=\"abc\"}"]);
    assert_eq!(metrics[0].limit, Some(Limit::Below(0.1)));
    assert_eq!(metrics[1].wanted, Some(1));

    let mut done = rollout.whole().clone();
    done["status"]["currentStepIndex"] = json!(4);
    assert_eq!(asked(&Object::new(done))[0].place.as_str(), "step 3/4");
}

#[test]
fn a_single_answer_is_judged_as_the_controller_would_but_no_data_stays_no_data() {
    let (yes, no, broken) = (Ok(true), Ok(false), Err(Text::scrub("?")));
    let table = [
        (vec![0.1], Some(&yes), None, Verdict::Pass),
        (vec![0.1], Some(&no), None, Verdict::Fail),
        (vec![0.1], None, Some(&yes), Verdict::Fail),
        (vec![0.1], None, Some(&no), Verdict::Pass),
        (vec![0.1], Some(&no), Some(&no), Verdict::Inconclusive),
        (vec![0.1], Some(&yes), Some(&yes), Verdict::Fail),
        (vec![0.1], None, None, Verdict::Pass),
        (vec![0.1], Some(&broken), None, Verdict::NoData),
        (vec![0.1], Some(&yes), Some(&broken), Verdict::NoData),
        (vec![], Some(&yes), None, Verdict::NoData),
        (vec![f64::NAN], Some(&yes), None, Verdict::NoData),
        (vec![f64::INFINITY], Some(&no), None, Verdict::Fail),
    ];
    for (values, success, failure, wanted) in table {
        assert_eq!(judge(&values, success, failure), wanted, "{values:?} {success:?} {failure:?}");
    }
}

/// Any JSON, so that no shape of an object brings the reading down.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|\\[NaN\\]|Successful|Failed|Running|\u{1b}\\[2J|[0-9]{1,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("name|phase|value|count|provider|measurements", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_shape_brings_it_down(a in any_json(), b in any_json(), c in any_json(), d in any_json()) {
        let object = Object::new(json!({
            "spec": {"args": a, "metrics": [b.clone(), {"name": "m", "count": c, "interval": d, "provider": b}], "dryRun": d,
                     "strategy": {"canary": {"steps": [{"analysis": c}, a], "analysis": {"templates": b, "args": d}}}},
            "status": {"phase": "Successful", "metricResults": [{"name": "m", "measurements": [a, b, c], "count": d}],
                       "currentStepIndex": c}
        }));
        verdict(&object);
        progress(&object);
        for asked in asked(&object) {
            asked.metrics(&object, |_| Some(&object));
        }
    }
}

//! Hostile text in every field of every object, in every answer and every file, through the real binary: what comes out on the
//! screen, on stdout and stderr, in the log and in the journal is inert. The corpus and the detectors are in
//! `hostile/corpus.rs`, the servers in `hostile/api.rs`.

mod api;
mod corpus;
mod own;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::api::{Server, Stage};
use self::corpus::{Depth, MARK, Spoiler, foreign_in_json, foreign_in_text, foreign_on_screen, payloads};
use super::bad::sample;
use super::binary::{Home, Ran, Screen};

/// What the binary wrote beside its streams: the log and the journal, each line of them JSON.
fn written(home: &Home, what: &str) {
    for name in ["log", "state/journal.jsonl"] {
        let raw = std::fs::read(home.path(name)).unwrap_or_default();
        clean(&format!("{what}: {name}"), &foreign_in_text(&raw));
        for line in String::from_utf8_lossy(&raw).lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{what}: {name}: {line}");
        }
    }
    for entry in std::fs::read_dir(home.path("state")).into_iter().flatten() {
        let path = entry.unwrap().path();
        clean(&format!("{what}: {}", path.display()), &foreign_in_text(&std::fs::read(path).unwrap()));
    }
}

fn clean_run(ran: &Ran, what: &str) {
    clean(&format!("{what}: stdout"), &foreign_in_text(&ran.out));
    clean(&format!("{what}: stderr"), &foreign_in_text(&ran.err));
    let err = String::from_utf8_lossy(&ran.err);
    assert!(!err.contains("panicked"), "{what}: {err}");
}

fn clean(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn plural(object: &Value) -> &'static str {
    match object["kind"].as_str().unwrap() {
        "Rollout" => "rollouts",
        "AnalysisRun" => "analysisruns",
        "AnalysisTemplate" => "analysistemplates",
        "Deployment" => "deployments",
        "ReplicaSet" => "replicasets",
        "Pod" => "pods",
        "ConfigMap" => "configmaps",
        "Event" => "events",
        "Canary" => "canaries",
        "FeatureFlag" => "featureflags",
        other => panic!("no plural of {other}"),
    }
}

/// Real objects, recorded: each a workload with what belongs to it.
fn moments() -> Vec<(String, Vec<Value>)> {
    let folder = format!("{}/tests/it", env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(format!("{folder}/objects")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let raw: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut objects: Vec<Value> = ["object", "target", "primary"].iter().map(|key| raw[key].clone()).collect();
        objects.extend(["sets", "runs"].iter().flat_map(|key| raw[key].as_array().cloned().unwrap_or_default()));
        objects.retain(|object| !object.is_null());
        out.push((file.file_stem().unwrap().to_string_lossy().into_owned(), objects));
    }
    let train: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{folder}/hostile/train.json")).unwrap()).unwrap();
    out.push(("train".to_owned(), train["items"].as_array().unwrap().clone()));
    out
}

/// The objects under names and uids of their own.
fn apart(objects: &[Value], suffix: &str) -> Vec<Value> {
    let mut text = Value::Array(objects.to_vec()).to_string();
    for object in objects {
        for key in ["name", "uid"] {
            if let Some(old) = object["metadata"][key].as_str() {
                text = text.replace(&format!("\"{old}\""), &format!("\"{old}-{suffix}\""));
            }
        }
    }
    serde_json::from_str(&text).unwrap()
}

/// Every moment, once for each payload.
fn spoiled(depth: Depth, moments: &[(String, Vec<Value>)], keep: &[&str]) -> BTreeMap<String, Vec<Value>> {
    let payloads = payloads();
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for plural in [
        "rollouts",
        "analysisruns",
        "analysistemplates",
        "deployments",
        "replicasets",
        "pods",
        "configmaps",
        "events",
        "canaries",
        "featureflags",
    ] {
        out.insert(plural.to_owned(), Vec::new());
    }
    let turns = if keep.is_empty() { payloads.len() } else { 1 };
    for (n, (_, objects)) in moments.iter().enumerate() {
        for turn in 0..turns {
            let spoiler = Spoiler { payloads: &payloads, turn: turn + n, depth, keep };
            let objects = if keep.is_empty() { apart(objects, &format!("{n}-{turn}")) } else { objects.clone() };
            for object in &objects {
                out.get_mut(plural(object)).unwrap().push(spoiler.value(object));
            }
        }
    }
    out
}

/// Refusals of the API, hostile in every field.
fn status(code: u16, turn: usize) -> Value {
    let payloads = payloads();
    let spoiler = Spoiler { payloads: &payloads, turn, depth: Depth::All, keep: &[] };
    let plain = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "the server says no", "reason": "Forbidden",
        "details": {"name": "billing-api", "group": "argoproj.io", "kind": "rollouts", "causes": [{"reason": "FieldValueInvalid", "message": "bad", "field": "spec"}]},
        "code": code,
    });
    spoiler.value(&plain)
}

fn metrics() -> Vec<(u16, Value)> {
    let payloads = payloads();
    let at = jiff::Timestamp::now().as_second();
    let mut out = Vec::new();
    for (n, (_, payload)) in payloads.iter().enumerate() {
        let labels = json!({payload.clone(): payload, "__name__": payload});
        out.push(match n % 4 {
            0 => (200, json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": labels, "value": [at, "0.01"]}]}})),
            1 => (200, json!({"status": "success", "warnings": [payload], "data": {"resultType": payload, "result": [{"metric": labels, "value": [at, payload]}]}})),
            2 => (422, json!({"status": "error", "errorType": payload, "error": payload})),
            _ => (200, json!({"status": payload, "error": payload, "data": payload})),
        });
    }
    out
}

#[test]
fn the_detectors_see_every_payload() {
    for (name, payload) in payloads() {
        assert!(
            !foreign_on_screen(in_a_frame(&payload).as_bytes()).is_empty() || harmless(name),
            "{name} is not seen on a screen"
        );
        let line = format!("x{payload}");
        // A line that is one too many is counted, where lines are counted.
        let counted = name == "lines of its own";
        assert!(
            !foreign_in_text(line.as_bytes()).is_empty() || harmless(name) || counted,
            "{name} is not seen in text"
        );
        let json = serde_json::to_vec(&json!({ "a": payload })).unwrap();
        assert!(!foreign_in_json(&json).is_empty() || harmless(name), "{name} is not seen in JSON");
        assert!(payload.contains(MARK) || payload.contains('P') || payload.contains('\u{1b}'), "{name}");
    }
    assert!(!foreign_on_screen(b"\xff").is_empty() && !foreign_in_text(b"\x9b2J").is_empty());
    let own =
        "\u{1b}[?1049h\u{1b}[?2026h\u{1b}[1;1H\u{1b}[1;38;5;8mcafé 漢 e\u{301}\u{1b}[0m\u{1b}[3C\u{1b}[?2026l\u{7}";
    clean("what the renderer sends", &foreign_on_screen(own.as_bytes()));
    clean("a whole screen", &foreign_on_screen(in_a_frame("billing-api").as_bytes()));
}

/// What only a syntax of its own or its length makes hostile.
fn harmless(name: &str) -> bool {
    matches!(name, "syntax of others" | "long" | "long and wide" | "a mark at its beginning")
}

/// A text as it would be sent if nobody had looked at it.
fn in_a_frame(text: &str) -> String {
    let enter = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?2004h\u{1b}[?1004h\u{1b}[0m\u{1b}[2J";
    let leave = "\u{1b}[?2026l\u{1b}[0m\u{1b}[?1006l\u{1b}[?1000l\u{1b}[?1004l\u{1b}[?2004l\u{1b}[?25h\u{1b}[?1049l";
    format!("{enter}\u{1b}[?2026h\u{1b}[2J\u{1b}[1;1Habc{text}def\u{1b}[?2026l{leave}")
}

#[test]
fn status_of_hostile_objects_is_inert() {
    for depth in [Depth::Deep, Depth::All] {
        let chosen: Vec<_> = moments().into_iter().rev().step_by(6).collect();
        let objects = spoiled(depth, &chosen, &[]);
        let count = objects["rollouts"].len() + objects["deployments"].len() + objects["canaries"].len();
        let server = Server::start(Stage { objects, ..Stage::default() });
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        let folder = tempfile::tempdir().unwrap();
        for args in [&["status"][..], &["status", "--plain"], &["status", "--color", "always", "--plain"]] {
            let ran = home.run(folder.path(), args);
            assert_eq!(ran.code, Some(0), "{depth:?} {args:?}: {}", String::from_utf8_lossy(&ran.err));
            clean_run(&ran, &format!("{depth:?} {args:?}"));
        }
        let ran = home.run(folder.path(), &["status", "-o", "json"]);
        assert_eq!(ran.code, Some(0), "{depth:?}: {}", String::from_utf8_lossy(&ran.err));
        clean(&format!("{depth:?}: json"), &foreign_in_json(&ran.out));
        let said: Value = serde_json::from_slice(&ran.out).unwrap();
        let services = said["services"].as_array().unwrap();
        assert!(services.len() > count / 2, "{depth:?}: {} of {count} are shown", services.len());
        if depth == Depth::Deep {
            let marked =
                |key: &str| services.iter().filter(|s| s[key].as_str().is_some_and(|t| t.contains('\u{fffd}'))).count();
            for key in ["name", "reason", "version", "stable_version"] {
                assert!(marked(key) > 20, "{key} of only {} services carries a payload", marked(key));
            }
        }
        written(&home, &format!("{depth:?}"));
    }
}

#[test]
fn refusals_of_the_api_are_inert() {
    let payloads = payloads();
    let folder = tempfile::tempdir().unwrap();
    let mut bodies: Vec<(u16, Vec<u8>)> = Vec::new();
    for (n, _) in payloads.iter().enumerate() {
        let code = [401, 403, 404, 409, 410, 422, 429, 500, 503, 504][n % 10];
        bodies.push((code, status(code, n).to_string().into_bytes()));
    }
    bodies.push((
        200,
        br#"{"metadata":{},"items":[{"metadata":{"name":"a\ud800b","annotations":{"x":"\udc00"}}}]}"#.to_vec(),
    ));
    bodies.push((200, b"{\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"a\xff\xfe\x9b2J\"}}]}".to_vec()));
    bodies.push((200, b"\x1b]0;Pq7\x07<html>\x1b[2J".to_vec()));
    bodies.push((502, b"<html>\x1b[2J\xff\x9b</html>".to_vec()));
    for (code, body) in bodies {
        let what = format!("{code} {}", String::from_utf8_lossy(&body).escape_debug().take(200).collect::<String>());
        let stage = Stage {
            instead: vec![("rollouts".to_owned(), code, body)],
            objects: spoiled(Depth::All, &[], &[]),
            ..Stage::default()
        };
        let server = Server::start(stage);
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        for args in [&["status"][..], &["status", "-o", "json"], &["undo", "billing-api", "--confirm", "billing-api"]] {
            let ran = home.run(folder.path(), args);
            clean_run(&ran, &what);
            assert!(ran.code != Some(101), "{what}");
        }
        written(&home, &what);
    }
}

/// Objects of the sample's services, hostile but for what they are called and what decides how they are read.
fn sample_objects() -> (BTreeMap<String, Vec<Value>>, Vec<String>) {
    let all = moments();
    let names = [
        "accounts-api",
        "fraud-scorer",
        "ledger-api",
        "ledger-consumer",
        "pricing-api",
        "checkout-api",
        "edge-gateway",
        "notifications-worker",
        "storefront-web",
    ];
    let kinds = [
        "basic-first-pause",
        "basic-held",
        "basic-aborted",
        "routed-first-pause",
        "routed-full",
        "bluegreen-preview",
        "workloadref-pause",
        "deployment-stuck",
        "basic-no-pods",
    ];
    let mut chosen: Vec<(String, Vec<Value>)> = Vec::new();
    for (name, kind) in names.iter().zip(kinds) {
        let (_, objects) = all.iter().find(|(n, _)| n == kind).unwrap();
        let old = objects[0]["metadata"]["name"].as_str().unwrap();
        let mut text = Value::Array(apart(objects, "s")).to_string();
        text = text.replace(&format!("\"{old}-s\""), &format!("\"{name}\""));
        let uid = format!("{name}-uid");
        text =
            text.replace(&format!("\"{}-s\"", objects[0]["metadata"]["uid"].as_str().unwrap()), &format!("\"{uid}\""));
        text = text.replace(&format!("\"{old}-"), &format!("\"{name}-"));
        chosen.push(((*name).to_owned(), serde_json::from_str(&text).unwrap()));
    }
    chosen.push(all.iter().find(|(n, _)| n == "train").unwrap().clone());
    let keep: Vec<String> = chosen
        .iter()
        .flat_map(|(_, objects)| objects)
        .filter_map(|o| Some(o["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    let kept: Vec<&str> = keep.iter().map(String::as_str).chain(["billing-api", "ledger_nullable"]).collect();
    (spoiled(Depth::Deep, &chosen, &kept), keep)
}

#[test]
fn verbs_on_hostile_objects_are_inert() {
    let (objects, _) = sample_objects();
    for refusal in [None, Some((403, status(403, 3))), Some((422, status(422, 11))), Some((500, status(500, 17)))] {
        let gives_up = refusal.as_ref().is_some_and(|(code, _)| *code != 500);
        let server = Server::start(Stage { objects: objects.clone(), refusal, ..Stage::default() });
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        for (verb, service) in [
            ("pause", "accounts-api"),
            ("resume", "fraud-scorer"),
            ("retry", "ledger-api"),
            ("abort", "ledger-consumer"),
            ("undo", "pricing-api"),
            ("promote", "billing-api"),
            ("start", "notifications-worker"),
            ("restart", "accounts-api"),
        ] {
            // What is taken and never read back would be waited for over a minute; the refusals end at once.
            let patience = if gives_up { Duration::from_secs(20) } else { Duration::from_millis(1500) };
            let what = format!("{verb} {service}");
            let (mut args, typed) =
                (vec![verb, service, "--yes", "--reason", "\u{1b}]0;Pq7\u{7}\u{202e}"], service.to_owned());
            if verb == "undo" {
                args.extend(["--confirm", &typed]);
            }
            let ran = home.run_for(&sample(), &args, patience);
            clean_run(&ran, &what);
        }
        let ran = home.run_for(
            &sample(),
            &["flag", "ledger_nullable", "on", "--confirm", "ledger_nullable"],
            Duration::from_secs(3),
        );
        clean_run(&ran, "flag");
        written(&home, "verbs");
        let journal = std::fs::read_to_string(home.path("state/journal.jsonl")).unwrap();
        assert!(journal.lines().count() > 8, "{journal}");
        assert!(journal.contains("\"effect\""), "{journal}");
    }
}

#[test]
fn credential_plugins_are_inert() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Stage { objects: spoiled(Depth::All, &[], &[]), ..Stage::default() });
    let noise: String = payloads().into_iter().map(|(_, text)| text).filter(|t| t.len() < 1000).collect();
    let raw = [noise.as_bytes(), b"\xff\xfe\x9b2J\x80"].concat();
    std::fs::write(folder.path().join("noise"), &raw).unwrap();
    let noise = folder.path().join("noise").display().to_string();
    let scripts = [
        format!("cat {noise} >&2; exit 1"),
        format!("cat {noise}; cat {noise} >&2"),
        format!(
            "tail -c 300 {noise} >&2; printf '{{\"status\":{{\"token\":\"'; cat {noise} | tr -d '\\n\"'; printf '\"}}}}'"
        ),
        format!("cat {noise} > /dev/tty; cat {noise} >&2; exit 1"),
    ];
    for script in scripts {
        for payload in ["", "\u{1b}]0;Pq7\u{7}", "\u{202e}Pq7"] {
            let user = json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script, payload],
                "installHint": payload, "interactiveMode": "IfAvailable", "env": [{"name": "X", "value": payload}],
            }});
            let home = Home::new(&server.kubeconfig("dev", &user));
            let ran = home.run(folder.path(), &["status"]);
            assert_eq!(ran.code, Some(3), "{script}");
            clean_run(&ran, &script);
            written(&home, &script);
        }
    }
}

#[test]
fn names_of_a_kubeconfig_are_inert() {
    let folder = tempfile::tempdir().unwrap();
    for (name, payload) in payloads() {
        let context = format!("dev{payload}");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": payload, "cluster": {"server": "http://127.0.0.1:1"}}, {"name": "odd", "cluster": {"server": format!("http://{payload}")}}],
            "users": [{"name": payload, "user": {"exec": {"command": format!("no-such-{payload}"), "args": [payload], "installHint": payload}}}],
            "contexts": [
                {"name": context, "context": {"cluster": payload, "user": payload, "namespace": payload}},
                {"name": "odd", "context": {"cluster": "odd", "user": payload}},
                {"name": "gone", "context": {"cluster": format!("gone{payload}"), "user": payload}},
            ],
        });
        let home = Home::new(&config.to_string());
        for args in [
            &["status"][..],
            &["status", "--context", "odd"],
            &["status", "--context", "gone"],
            &["status", "--context", "none"],
        ] {
            let ran = home.run(folder.path(), args);
            assert!(matches!(ran.code, Some(2 | 3)), "{name} {args:?} {:?}", ran.code);
            clean_run(&ran, &format!("{name} {args:?}"));
        }
        if !payload.contains('\0') {
            for args in [
                ["status", "--context", &payload],
                ["undo", &payload, "--yes"],
                ["status", "-f", &payload],
                ["flag", &payload, "on"],
                ["plan", &payload, "-o"],
                [&payload, "x", "y"],
            ] {
                clean_run(&home.run(folder.path(), &args), &format!("{name} {args:?}"));
            }
        }
        std::fs::write(home.path("kubeconfig"), format!("contexts: [{payload}\n")).unwrap();
        clean_run(&home.run(folder.path(), &["status"]), &format!("{name}: a broken file"));
        written(&home, name);
    }
}

/// A copy of the sample's repository.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How many strings a value has, keys included.
fn count(value: &Value) -> usize {
    match value {
        Value::String(_) => 1,
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(|item| 1 + count(item)).sum(),
        _ => 0,
    }
}

/// The value with its `at`th string (or key) followed by a payload.
fn with_one(value: &Value, at: &mut usize, payload: &str) -> Value {
    let mut hit = || {
        let now = *at == 0;
        *at = at.wrapping_sub(1);
        now
    };
    match value {
        Value::String(text) if hit() => json!(format!("{text}{payload}")),
        Value::Array(items) => items.iter().map(|item| with_one(item, at, payload)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| {
                let key = if *at == 0 { format!("{key}{payload}") } else { key.clone() };
                *at = at.wrapping_sub(1);
                (key, with_one(item, at, payload))
            })
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn files_of_a_repository_are_inert() {
    let payloads = payloads();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repo");
    copy(&sample(), &root);
    let home = Home::new("{}");
    let formats = ["table", "json", "dot", "mermaid", "svg"];
    let (mut turn, mut accepted) = (0, 0);
    for file in
        ["release.yaml", "footplate.yaml", "services/billing-api/service.yaml", "services/edge-gateway/service.yaml"]
    {
        let plain = std::fs::read_to_string(root.join(file)).unwrap();
        let value: Value = serde_yaml::from_str(&plain).unwrap();
        for at in 0..count(&value) {
            turn += 1;
            // Most of what acts is refused, with its place in the file; what is only syntax of others gets further.
            let syntax = payloads.iter().position(|(name, _)| *name == "syntax of others").unwrap();
            let (name, payload) = &payloads[if turn % 2 == 0 { syntax } else { turn % payloads.len() }];
            let what = format!("{file}, string {at}, {name}");
            let spoiled = with_one(&value, &mut at.clone(), payload);
            // JSON is YAML: once with escapes, which a strict reader takes, once with the raw bytes.
            let mut text = spoiled.to_string();
            if turn % 3 > 0 {
                text = text
                    .chars()
                    .map(|c| if c.is_ascii() && c != '\u{7f}' { c.to_string() } else { escaped(c) })
                    .collect();
            }
            std::fs::write(root.join(file), text).unwrap();
            for format in [formats[turn % 5], formats[(turn + 2) % 5]] {
                let ran = home.run(&root, &["plan", "release.yaml", "-o", format]);
                assert!(matches!(ran.code, Some(0 | 2)), "{what}: {:?}", ran.code);
                clean_run(&ran, &what);
                if ran.code == Some(0) {
                    accepted += 1;
                    in_its_own_syntax(&what, format, std::str::from_utf8(&ran.out).unwrap());
                }
            }
        }
        std::fs::write(root.join(file), plain).unwrap();
    }
    assert!(accepted > 5, "only {accepted} spoiled repositories were taken at all");
    written(&home, "plan");
}

fn escaped(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Text of others stays text in the language of each output.
fn in_its_own_syntax(what: &str, format: &str, out: &str) {
    match format {
        "json" => clean(what, &foreign_in_json(out.as_bytes())),
        "svg" => {
            for tag in out.split('<').skip(1) {
                let name = tag.trim_start_matches('/').split([' ', '>', '/']).next().unwrap();
                assert!(matches!(name, "svg" | "rect" | "title" | "text" | "path"), "{what}: <{name}");
            }
            for entity in out.split('&').skip(1) {
                let name = entity.split(';').next().unwrap();
                assert!(matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"), "{what}: &{name}");
            }
        }
        "dot" => {
            for line in out.lines() {
                let (mut inside, mut back) = (false, false);
                let bare: String = line
                    .chars()
                    .filter(|c| {
                        let quote = *c == '"' && !back;
                        back = *c == '\\' && inside && !back;
                        inside ^= quote;
                        !inside && !quote
                    })
                    .collect();
                assert!(!inside && !bare.contains(MARK) && !bare.contains("x->y"), "{what}: {line}");
            }
        }
        "mermaid" => {
            for quoted in out.lines().flat_map(|line| line.split('"').skip(1).step_by(2)) {
                let quoted = quoted.replace("<br/>", "");
                let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/: #;".contains(c));
                assert!(plain, "{what}: {quoted}");
            }
            assert!(out.matches('"').count().is_multiple_of(2), "{what}");
        }
        _ => {}
    }
}

#[test]
fn names_of_files_are_inert() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new("{}");
    let mut names: Vec<Vec<u8>> = payloads().into_iter().map(|(_, text)| text.into_bytes()).collect();
    names.push(b"Pq7\xff\x9b2J".to_vec());
    names.retain(|name| !name.contains(&0) && name.len() < 200);
    for name in names {
        let name: Vec<u8> = name.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect();
        let root = folder.path().join(OsString::from_vec([b"r".as_slice(), &name].concat()));
        copy(&sample(), &root);
        let what = format!("{}", root.display().to_string().escape_debug());
        // A good repository in a folder of this name, a bad manifest of this name, a service folder of this name.
        clean_run(&home.run(&root, &["plan", "release.yaml"]), &what);
        let odd = OsString::from_vec([name.as_slice(), b".yaml"].concat());
        std::fs::write(root.join(&odd), "release: [\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        let output = command.arg("plan").arg(root.join(&odd)).env_clear().envs(home.env()).output().unwrap();
        clean_run(&Ran { code: output.status.code(), out: output.stdout, err: output.stderr }, &what);
        let service = root.join("services").join(OsString::from_vec(name.clone()));
        std::fs::create_dir_all(&service).unwrap();
        std::fs::write(service.join("service.yaml"), "name: x\n").unwrap();
        clean_run(&home.run(&root, &["plan", "release.yaml"]), &what);
        let state = root.join("state");
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        std::fs::write(&state, "").unwrap();
        let output = command
            .args(["status", "--log-file"])
            .arg(&root)
            .env_clear()
            .envs(home.env())
            .env("KUBECONFIG", root.join("none"))
            .env("FOOTPLATE_STATE_DIR", &state)
            .output()
            .unwrap();
        clean_run(&Ran { code: output.status.code(), out: output.stdout, err: output.stderr }, &what);
        std::fs::remove_dir_all(&root).unwrap();
    }
}

/// Leaves, and looks at every byte that came.
fn leave(mut screen: Screen, home: &Home, what: &str) {
    screen.press(&["\u{1b}", "\u{1b}", "\u{1b}"]);
    let raw = screen.leave();
    clean(what, &foreign_on_screen(&raw));
    assert!(!String::from_utf8_lossy(&raw).contains("panicked"), "{what}");
    written(home, what);
}

const DOWN: &str = "\u{1b}[B";
const PAGE: &str = "\u{1b}[6~";

#[test]
fn every_pane_on_hostile_objects_is_inert() {
    for (depth, columns, rows) in [(Depth::Deep, 200, 60), (Depth::All, 120, 36)] {
        let chosen: Vec<_> = moments()
            .into_iter()
            .filter(|(n, _)| {
                matches!(
                    n.as_str(),
                    "basic-held" | "routed-first-pause" | "canary-moving" | "deployment-stuck" | "train"
                )
            })
            .collect();
        let objects = spoiled(depth, &chosen, &[]);
        let last_words = [
            ("events".to_owned(), status(500, 5)),
            ("analysisruns".to_owned(), status(403, 9)),
            ("replicasets".to_owned(), status(500, 23)),
        ]
        .into();
        let server = Server::start(Stage {
            objects,
            last_words,
            metrics: metrics(),
            refusal: Some((403, status(403, 8))),
            ..Stage::default()
        });
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        let prometheus = format!("http://{}/prom", server.address);
        let mut screen = Screen::open(&home, home.folder.path(), &["--prometheus", &prometheus], columns, rows);
        screen.program.see_within("1 train", Duration::from_secs(30));
        screen.press(&["z", "z", "Z", "0", "e", DOWN, DOWN, PAGE, PAGE, "G", "g", "g"]);
        screen.press(&[
            "2", "2", PAGE, "4", "4", PAGE, "G", "5", DOWN, "\r", "\u{1b}", "\u{1b}", "6", "7", "8", "\u{1b}",
        ]);
        screen.press(&["3", "\r", DOWN, "\r", DOWN, "\r", DOWN, DOWN, "\r"]);
        for _ in 0..25 {
            screen.press(&[PAGE, "\r", DOWN]);
        }
        screen.press(&[
            "1", "p", "u", "\u{1b}", "X", "\u{1b}", "P", "\u{1b}", "t", "\u{1b}", "y", "\u{13}", " ", " ", "R",
        ]);
        screen.press(&[
            ":", "undo ", "\t", "\t", "\u{1b}", ":", "ctx ", "\t", "\u{1b}", "/", "a", "\r", "n", "N", "\u{1b}",
        ]);
        leave(screen, &home, &format!("{depth:?}"));
    }
}

#[test]
fn the_sample_with_hostile_objects_is_inert() {
    for (columns, rows) in [(160, 45), (80, 24)] {
        let (objects, _) = sample_objects();
        let server = Server::start(Stage {
            objects,
            metrics: metrics(),
            refusal: Some((422, status(422, 2))),
            ..Stage::default()
        });
        let home = Home::new(&server.kubeconfig("dev", &json!({})));
        let prometheus = format!("http://{}/prom", server.address);
        let mut screen = Screen::open(
            &home,
            &sample(),
            &["release.yaml", "--env", "dev", "--prometheus", &prometheus],
            columns,
            rows,
        );
        screen.program.see_within("billing-api", Duration::from_secs(30));
        screen.settle();
        for service in ["billing-api", "ledger-api", "pricing-api", "notifications-worker"] {
            screen.press(&[
                "/", service, "\r", "2", "3", "\r", DOWN, "\r", DOWN, "\r", DOWN, DOWN, DOWN, DOWN, "1", "\u{1b}",
            ]);
            screen.press(&[
                "u", "\u{1b}", "X", "\u{1b}", "F", "\u{1b}", "s", "\u{1b}", "P", "\u{1b}", "t", "\u{1b}", "r",
                "\u{1b}", "p", "y",
            ]);
        }
        screen.press(&["z", "z", "e", "5", "\r", "\u{1b}", "4", "4", "G", "2", "2", "8", PAGE, "\u{13}"]);
        screen.press(&["1", ":", "undo billing-api\r"]);
        std::thread::sleep(Duration::from_millis(600));
        screen.press(&["billing-api\r"]);
        std::thread::sleep(Duration::from_millis(600));
        leave(screen, &home, &format!("{columns}x{rows}"));
    }
}

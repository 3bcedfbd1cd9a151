//! `footplate plan` as a pipeline sees it: stdout, stderr and exit code of the real binary in a bare environment.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::bad::sample;

/// Runs the binary in a folder with nothing of this machine's environment.
fn footplate(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_footplate"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = footplate(folder, args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_format_of_the_sample_is_as_kept() {
    for format in ["table", "json", "dot", "mermaid", "svg"] {
        let output = footplate(&sample(), &["plan", "release.yaml", "-o", format]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), "", "{format}");
        insta::with_settings!({snapshot_path => "plan", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format, text(&output.stdout));
        });
    }
    let default = footplate(&sample(), &["plan", "release.yaml"]);
    assert_eq!(default.stdout, footplate(&sample(), &["plan", "release.yaml", "-o", "table"]).stdout);
}

#[test]
fn the_waves_are_those_of_the_samples_readme() {
    let plan = json(&sample(), &["plan", "release.yaml", "-o", "json"]);
    let waves: Vec<String> = plan["waves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|wave| {
            let list = if wave["kind"] == "expand" { &wave["migrations"] } else { &wave["services"] };
            list.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>().join(", ")
        })
        .collect();
    let readme = std::fs::read_to_string(sample().join("README.md")).unwrap();
    let promised = readme.split("Waves: ").nth(1).unwrap().split("\n\n").next().unwrap().replace('\n', " ");
    let promised: Vec<String> = promised
        .trim_end_matches('.')
        .split(" · ")
        .map(|wave| wave.split_once(' ').unwrap().1.replace("expand (postgres)", "postgres"))
        .collect();
    assert_eq!(waves, promised);
    let index = |name: &Value| {
        let waves = plan["waves"].as_array().unwrap();
        waves.iter().position(|w| w["services"].as_array().unwrap().iter().any(|s| s["name"] == *name)).unwrap()
    };
    for edge in plan["edges"].as_array().unwrap() {
        assert!(index(&edge["from"]) < index(&edge["to"]), "{edge}");
    }
}

#[test]
fn another_release_of_the_same_repository_finds_its_root() {
    let plan = json(&sample().join("releases"), &["plan", "2025.09.30.yaml", "-o", "json", "--env", "prod"]);
    assert_eq!(plan["waves"][0]["kind"], "services");
    assert_eq!(plan["waves"][0]["services"][0]["cluster"], "prod-eu");
    assert_eq!(plan["flags"][0], serde_json::json!({"key": "ledger_nullable", "value": false}));
}

#[test]
fn what_is_wrong_is_exit_2_with_the_place_and_nothing_on_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(sample()).arg(dir.path().join("env")).status().unwrap();
    assert!(copied.success());
    let env = dir.path().join("env");
    let broken = std::fs::read_to_string(env.join("release.yaml")).unwrap().replace("2.8.0", "latest");
    std::fs::write(env.join("release.yaml"), broken).unwrap();
    std::fs::remove_file(env.join("db/2025-10-02_add-ledger-nullable.down.sql")).unwrap();
    let output = footplate(&env, &["plan", "release.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    insta::assert_snapshot!(text(&output.stderr), @"
    error: the version of billing-api is `latest`, which is not an exact version
     --> release.yaml:5:16
    5 |   billing-api: latest
      |                ^^^^^^
      = fix: `latest` means another image tomorrow; pin the version that was tested, such as 1.23.4

    error: migration postgres has no way back: the file is not there
      --> release.yaml:15:13
    15 |   postgres: db/2025-10-02_add-ledger-nullable.sql   # expand step
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = fix: write db/2025-10-02_add-ledger-nullable.down.sql

    error: release.yaml: 2 errors
    ");
    let output = footplate(&env, &["plan", "none.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr), @"
    error: the file is not there
     --> none.yaml
      = fix: name a release manifest, such as release.yaml

    error: none.yaml cannot be used
    ");
    let output = footplate(&env, &["plan", "release.yaml", "--env", "prd"]);
    assert!(text(&output.stderr).contains("did you mean `--env prod`?"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
    std::fs::write(env.join("db/2025-10-02_add-ledger-nullable.sql"), "DROP TABLE ledger_entries;\n").unwrap();
    let output = footplate(&env, &["plan", "release.yaml"]);
    assert!(text(&output.stderr).contains("must not drop a table"), "{}", text(&output.stderr));
}

/// Text that means something to a format is text in it.
#[test]
fn names_cannot_break_out_of_a_format() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "d\"]; <script>&'`#(b)%{x}|.sql";
    std::fs::create_dir_all(dir.path().join("services/a")).unwrap();
    std::fs::write(dir.path().join("services/a/service.yaml"), "name: a\nslo: {p95: 1s}\n").unwrap();
    std::fs::write(dir.path().join(evil), "ALTER TABLE a ADD COLUMN b int;\n").unwrap();
    std::fs::write(dir.path().join(evil.replace(".sql", ".down.sql")), "ALTER TABLE a DROP COLUMN b;\n").unwrap();
    let quoted = serde_json::to_string(evil).unwrap();
    let manifest = format!("release: r\nservices: {{a: 1.0.0}}\nmigrations: {{postgres: {quoted}}}\n");
    std::fs::write(dir.path().join("r.yaml"), manifest).unwrap();
    let out = |format: &str| {
        let output = footplate(dir.path(), &["plan", "r.yaml", "-o", format]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert_eq!(serde_json::from_str::<Value>(&out("json")).unwrap()["waves"][0]["migrations"][0]["path"], evil);
    assert!(out("dot").contains("[label=\"postgres\\nd\\\"]; <script>&'`#(b)%{x}|.sql\", shape=cylinder];"));
    assert!(out("svg").contains(">d&quot;]; &lt;script&gt;&amp;&apos;`#(b)%{x}|.sql</text>"));
    let mermaid = out("mermaid");
    let line = mermaid.lines().find(|l| l.contains("postgres")).unwrap();
    assert!(line.ends_with("|.sql\")]".replace('|', "#124;").as_str()) && line.matches('"').count() == 2, "{line}");
}

#[test]
fn a_manifest_without_settings_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("elsewhere/a")).unwrap();
    std::fs::write(dir.path().join("elsewhere/a/service.yaml"), "name: a\nslo: {p95: 1s}\n").unwrap();
    std::fs::write(dir.path().join("r.yaml"), "release: r\nservices: {a: 1.0.0}\n").unwrap();
    let args = ["plan", "r.yaml", "--services", "elsewhere", "-o", "json"];
    let plan = json(dir.path(), &args);
    assert_eq!(plan["waves"][0]["services"][0]["name"], "a");
    assert_eq!(plan["warnings"], serde_json::json!([]));
    let output = footplate(dir.path(), &["plan", "r.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr), @"
    error: the file is not there
     --> services
      = fix: each service has services/<name>/service.yaml; --services names another folder

    error: r.yaml: 1 error
    ");
}

#[test]
fn usage_is_exit_2_help_is_exit_0_and_a_reader_that_leaves_is_no_failure() {
    for args in [&["plan"][..], &["plan", "a", "-o", "pdf"], &["--nonsense"], &["generate", "completions"]] {
        let output = footplate(&sample(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
    for args in [&["--help"][..], &["plan", "--help"], &["--version"]] {
        assert_eq!(footplate(&sample(), args).status.code(), Some(0), "{args:?}");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_footplate"))
        .args(["plan", "release.yaml", "-o", "svg"])
        .current_dir(sample())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

/// Names with escape sequences: in arguments, in files, as files.
#[test]
fn what_is_typed_and_what_is_read_reaches_the_terminal_as_inert_text() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}b.yaml";
    std::fs::write(dir.path().join(evil), "release: \"\\e[31m\"\nservices: {\"\\e]0;x\\a\": 1.0.0}\n").unwrap();
    for args in
        [&["plan", evil][..], &["plan", "x", "-o", evil], &[evil], &["--color", "never", "plan", evil, "--env", evil]]
    {
        let output = footplate(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = text(&output.stderr);
        assert!(!said.is_empty() && !said.replace('\n', "").chars().any(footplate::core::text::is_hostile), "{said:?}");
    }
}

#[test]
fn completions_and_the_man_page_are_written() {
    for args in [&["generate", "completions", "bash"][..], &["generate", "completions", "zsh"], &["generate", "man"]] {
        let output = footplate(&sample(), args);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("footplate"));
    }
}

/// Many service files are read on several threads; what is said does not depend on that.
#[test]
fn a_large_repository_is_answered_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut release = "release: r\nservices:\n".to_owned();
    for n in 0..700 {
        let folder = dir.path().join(format!("services/s{n:03}"));
        std::fs::create_dir_all(&folder).unwrap();
        let before = if n == 0 { String::new() } else { format!("dependsOn: [s{:03}]\n", n / 2) };
        std::fs::write(folder.join("service.yaml"), format!("name: s{n:03}\n{before}slo: {{p95: 1s}}\n")).unwrap();
        release.push_str(&format!("  s{n:03}: 1.0.0\n"));
    }
    std::fs::write(dir.path().join("release.yaml"), release).unwrap();
    let first = footplate(dir.path(), &["plan", "release.yaml", "-o", "json"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let plan: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(plan["waves"].as_array().unwrap().len(), 11);
    assert_eq!(plan["edges"].as_array().unwrap().len(), 699);
    assert_eq!(first.stdout, footplate(dir.path(), &["plan", "release.yaml", "-o", "json"]).stdout);
    for n in [3, 300, 650] {
        std::fs::write(dir.path().join(format!("services/s{n:03}/service.yaml")), "name: x\n").unwrap();
    }
    let broken = footplate(dir.path(), &["plan", "release.yaml"]);
    assert_eq!(broken.status.code(), Some(2));
    let order = ["services/s003", "services/s300", "services/s650", "error: release.yaml: 3 errors"];
    let places: Vec<_> = order.iter().map(|o| text(&broken.stderr).find(o)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", text(&broken.stderr));
}

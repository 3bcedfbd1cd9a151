//! `footplate doctor` as an on-call calls it: on a served rehearsal cluster, on a dead one, with a credential plugin that
//! hangs, with a broken repository and broken settings.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bad::sample;
use super::served::{Served, kubeconfig};
use super::settings::{Home, Said};

/// What the doctor says, as JSON, and its exit code and stderr.
fn doctor(home: &Home, folder: &Path, args: &[&str]) -> (Value, i32, String) {
    let mut command = home.command(&[&["doctor", "-o", "json"], args].concat());
    command.current_dir(folder).env("KUBECONFIG", home.folder.path().join("kubeconfig"));
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let said = Said::of(home, command.output().unwrap());
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    assert_eq!(report["exit_code"], said.code, "{}", said.err);
    (report, said.code, said.err)
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

fn outcome(report: &Value, id: &str) -> String {
    check(report, id)["outcome"].as_str().unwrap().to_owned()
}

/// `id outcome` of every check, in order.
fn outcomes(report: &Value) -> String {
    let line = |c: &Value| format!("{} {}", c["id"].as_str().unwrap(), c["outcome"].as_str().unwrap());
    report["checks"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The sample environment with its addresses set to a served rehearsal.
fn environment(home: &Home, served: &Served) -> std::path::PathBuf {
    let folder = home.folder.path().join("env");
    let copied = Command::new("cp").arg("-r").arg(sample()).arg(&folder).status().unwrap();
    assert!(copied.success());
    let file = folder.join("footplate.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("http://127.0.0.1:9090", &served.prometheus())).unwrap();
    folder
}

#[test]
fn a_place_that_is_well_passes_everything() {
    let served = Served::start("green");
    let home = Home::new();
    served.kubeconfig(home.folder.path(), "dev", &["dev", "prod-eu"]);
    let env = environment(&home, &served);
    let (report, code, err) = doctor(&home, &env, &["--env", "dev", "--deadline", "20"]);
    assert_eq!(code, 0, "{report:#}{err}");
    insta::assert_snapshot!(outcomes(&report), @"
    machine.settings pass
    machine.terminal pass
    machine.state pass
    machine.journal pass
    repository.files pass
    cluster.kubeconfig pass
    cluster.context pass
    cluster.credentials pass
    cluster.reach pass
    cluster.clock warn
    cluster.identity pass
    cluster.kinds pass
    rights.see pass
    rights.pause pass
    rights.abort pass
    rights.undo pass
    rights.resume pass
    rights.promote pass
    rights.retry pass
    rights.start pass
    rights.flag pass
    rights.order pass
    rights.conduct pass
    flags.store pass
    metrics.reach pass
    metrics.queries pass
    metrics.scrape pass
    ");
    let place = json!({"environment": "dev", "context": "dev", "namespace": "payments", "server": format!("http://{}", served.address)});
    assert_eq!(report["place"], place);
    assert_eq!(check(&report, "cluster.kinds")["data"]["Rollout"], true);
    let seconds = check(&report, "metrics.scrape")["data"]["seconds"].as_f64().unwrap();
    assert!((4.5..6.5).contains(&seconds), "the rehearsal scrapes every 5 s: {seconds}");

    // The same cluster is not the one that prod is pinned to: a rule would refuse.
    let (report, code, err) =
        doctor(&home, &env, &["--env", "prod", "--deadline", "20", "--prometheus", &served.prometheus()]);
    assert_eq!(code, 1, "{report:#}");
    let identity = check(&report, "cluster.identity");
    assert!(identity["why"].as_str().unwrap().contains("this is another cluster"), "{identity}");
    assert!(err.contains("checks failed; first cluster uid"), "{err}");

    // Without a release, by the current context, as a table.
    let mut command = home.command(&["doctor", "--prometheus", &served.prometheus(), "--deadline", "20"]);
    command.env("KUBECONFIG", home.folder.path().join("kubeconfig")).env("LANG", "C.UTF-8").env("TERM", "xterm");
    let said = Said::of(&home, command.output().unwrap());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for text in
        ["✔ pass    API server", "✔ pass    undo", "dev/payments: ", "none here; workloads are shown as they are found"]
    {
        assert!(said.out.contains(text), "{text:?} in {}", said.out);
    }
}

/// A dead cluster costs the deadline once, whichever way it is dead.
#[test]
fn a_dead_cluster_is_told_within_the_deadline() {
    let home = Home::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let here = home.folder.path().join("here");
    for (address, word) in
        [(closed.to_string(), "refused"), (silent.local_addr().unwrap().to_string(), "no answer within 2 s")]
    {
        kubeconfig(home.folder.path(), &address, "dev", &["dev"]);
        let begun = Instant::now();
        let metrics = format!("http://{address}");
        let (report, code, _) = doctor(&home, &here, &["--deadline", "2", "--prometheus", &metrics]);
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert_eq!(code, 3, "{report:#}");
        for id in ["cluster.reach", "metrics.reach"] {
            assert_eq!(outcome(&report, id), "fail", "{report:#}");
            assert!(check(&report, id)["why"].as_str().unwrap().contains(word), "{report:#}");
            assert_ne!(check(&report, id)["next"], "");
        }
        for id in ["cluster.clock", "cluster.identity", "cluster.kinds", "rights.see", "flags.store", "metrics.queries"]
        {
            assert_eq!(outcome(&report, id), "unknown", "what was not asked is not passed: {report:#}");
        }
        assert_eq!(outcome(&report, "machine.journal"), "pass");
    }
}

#[cfg(unix)]
#[test]
fn a_credential_plugin_that_hangs_or_fails_is_named_and_smears_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let here = home.folder.path().join("here");
    let plugin = home.folder.path().join("plugin");
    let config = home.folder.path().join("kubeconfig");
    kubeconfig(home.folder.path(), "127.0.0.1:1", "dev", &["dev"]);
    let text = std::fs::read_to_string(&config).unwrap();
    let exec = format!(
        "user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: Never}}}}",
        plugin.display()
    );
    std::fs::write(&config, text.replace("user: {}", &exec)).unwrap();
    let script = |body: &str| {
        std::fs::write(&plugin, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("echo 'please log in' >&2; sleep 30");
    let begun = Instant::now();
    let (report, code, err) = doctor(&home, &here, &["--deadline", "2"]);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!((code, outcome(&report, "cluster.credentials")), (3, "fail".to_owned()), "{report:#}");
    assert!(!err.contains("please log in"), "{err}");
    assert_eq!(outcome(&report, "cluster.reach"), "unknown");

    script("printf 'token=hunter2 \\033[2Jexpired\\n' >&2; exit 3");
    let (report, code, err) = doctor(&home, &here, &[]);
    let credentials = check(&report, "cluster.credentials");
    assert_eq!((code, &credentials["outcome"]), (3, &json!("fail")), "{report:#}");
    let why = credentials["why"].as_str().unwrap();
    assert!(why.contains("ended with 3") && !why.contains("hunter2"), "{why}");
    assert!(!format!("{report}{err}").contains('\u{1b}'));

    // With a list that does not have it, it is not run at all.
    script(&format!("touch {}", home.folder.path().join("ran").display()));
    home.write("config.toml", "credential_plugins = [\"aws\", \"plugin\"]\n");
    let (report, code, _) = doctor(&home, &here, &[]);
    let credentials = check(&report, "cluster.credentials");
    assert_eq!((code, &credentials["outcome"]), (3, &json!("fail")), "{report:#}");
    let told = format!("{} {}", credentials["why"], credentials["next"]);
    assert!(told.contains("not in credential_plugins") && told.contains("if you trust it, add"), "{told}");
    assert!(!home.folder.path().join("ran").exists());
    let settings = check(&report, "machine.settings");
    assert_eq!(settings["data"]["credential_plugins"], json!(["aws", "plugin"]));
    assert!(settings["why"].as_str().unwrap().contains("credential_plugins (file)"), "{settings}");
    home.write("config.toml", &format!("credential_plugins = [\"{}\"]\n", plugin.display()));
    let (report, ..) = doctor(&home, &here, &[]);
    let why = check(&report, "cluster.credentials")["why"].to_string();
    assert!(home.folder.path().join("ran").exists() && !why.contains("credential_plugins"), "{why}");
}

#[test]
fn bad_input_is_exit_2_and_everything_else_is_looked_at_all_the_same() {
    let served = Served::start("green");
    let home = Home::with("theme = \"drak\"\nmuose = true\n");
    home.write("themes/mine.toml", "parent = \"drak\"\n");
    served.kubeconfig(home.folder.path(), "dev", &["dev"]);
    let env = environment(&home, &served);
    let manifest = std::fs::read_to_string(env.join("release.yaml")).unwrap();
    std::fs::write(env.join("release.yaml"), manifest.replace("2.8.0", "latest")).unwrap();
    let (report, code, err) = doctor(&home, &env, &["--env", "dev", "--deadline", "20"]);
    assert_eq!(code, 2, "{report:#}");
    for (id, wanted) in [
        ("machine.settings", "fail"),
        ("machine.themes", "warn"),
        ("repository.files", "fail"),
        ("cluster.reach", "pass"),
        ("rights.undo", "pass"),
        ("metrics.reach", "pass"),
    ] {
        assert_eq!(outcome(&report, id), wanted, "{id}: {report:#}");
    }
    assert!(err.contains("config.toml:1:9") && err.contains("release.yaml:"), "{err}");

    let (report, code, _) = doctor(&home, &env, &["--env", "prd"]);
    assert_eq!(code, 2, "{report:#}");
    assert_eq!(outcome(&report, "cluster.context"), "unknown");

    // A kubeconfig that is not there, and one that is broken.
    std::fs::write(home.folder.path().join("kubeconfig"), "contexts: [").unwrap();
    let (report, code, _) = doctor(&home, &home.folder.path().join("here"), &[]);
    assert_eq!((code, outcome(&report, "cluster.kubeconfig")), (3, "fail".to_owned()), "{report:#}");
    std::fs::remove_file(home.folder.path().join("kubeconfig")).unwrap();
    let (report, ..) = doctor(&home, &home.folder.path().join("here"), &[]);
    assert_eq!(outcome(&report, "cluster.kubeconfig"), "fail");
}

/// The table of the documentation has every check, and no other.
#[test]
fn every_check_is_documented() {
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")).unwrap();
    let served = Served::start("green");
    let home = Home::new();
    served.kubeconfig(home.folder.path(), "dev", &["dev"]);
    let env = environment(&home, &served);
    let (report, ..) = doctor(&home, &env, &["--env", "dev", "--deadline", "20"]);
    for check in report["checks"].as_array().unwrap() {
        let id = check["id"].as_str().unwrap();
        assert!(doc.contains(&format!("`{id}`")) || id.starts_with("rights."), "{id}");
    }
    for id in
        doc.split('`').filter(|w| w.starts_with("cluster.") || w.starts_with("metrics.") || w.starts_with("flags."))
    {
        check(&report, id);
    }
}

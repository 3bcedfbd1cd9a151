//! The roles that `footplate install` prints, on the control plane's own RBAC: who has one has enough, each verb that is taken out of
//! one is missed and named before anything moves, and a captain with no more than theirs takes a train back alone. Users are
//! impersonated: each of them exists as soon as a role is bound to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::audit;
use crate::controlplane::{ControlPlane, Namespace, must, shared, wait_for};
use crate::program::Program;
use crate::survival::{self, Glass, Recorded, SERVICES, rolls, settled, start_by};
use crate::train::Yard;

/// Users that act in one namespace.
struct Users<'p> {
    plane: &'p ControlPlane,
    namespace: String,
    dir: tempfile::TempDir,
}

impl<'p> Users<'p> {
    fn of(plane: &'p ControlPlane, ns: &Namespace) -> Self {
        Self { plane, namespace: ns.name().to_owned(), dir: tempfile::tempdir().unwrap() }
    }

    /// The kubeconfig of a user: that of the one who may do anything, in whose name this one asks.
    fn kubeconfig(&self, user: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.plane.kubeconfig()).unwrap();
        let admin = text.lines().find(|line| line.contains("{name: admin, user:")).unwrap();
        let acting = admin.replace("\"}}", &format!("\", as: {user}.{}}}}}", self.namespace));
        assert_ne!(admin, acting);
        let file = self.dir.path().join(user);
        std::fs::write(&file, text.replace(admin, &acting)).unwrap();
        file
    }

    /// Gives users these rules, all of them with one call.
    fn bind(&self, bound: &[(String, Vec<Value>)]) {
        let api = "rbac.authorization.k8s.io/v1";
        let items: Vec<Value> = bound
            .iter()
            .flat_map(|(user, rules)| {
                let metadata = json!({"name": user, "namespace": self.namespace});
                let subject = json!({"kind": "User", "name": format!("{user}.{}", self.namespace)});
                [
                    json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules}),
                    json!({"apiVersion": api, "kind": "RoleBinding", "metadata": metadata, "subjects": [subject],
                        "roleRef": {"apiGroup": api.split('/').next(), "kind": "Role", "name": user}}),
                ]
            })
            .collect();
        let file = self.dir.path().join("roles.json");
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).unwrap();
        self.plane.kubectl(&["create", "--validate=false", "-f", file.to_str().unwrap()]);
    }

    fn doctor(&self, user: &str) -> Value {
        let home = self.dir.path().join(format!("home-{user}"));
        std::fs::create_dir_all(&home).unwrap();
        let args = ["doctor", "-o", "json", "--deadline", "60", "--context", "dev", "-n", &self.namespace];
        let out = Command::new(env!("CARGO_BIN_EXE_footplate"))
            .args(args)
            .current_dir(&home)
            .env("KUBECONFIG", self.kubeconfig(user))
            .env("HOME", &home)
            .env("FOOTPLATE_STATE_DIR", home.join("state"))
            .env("FOOTPLATE_CONFIG_DIR", home.join("config"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }
}

/// The roles as they are printed, applied with all that comes with them: the captain's rules and the conductor's.
fn install(plane: &ControlPlane, namespace: &str, dir: &Path) -> (Vec<Value>, Vec<Value>) {
    let printed = must(Command::new(env!("CARGO_BIN_EXE_footplate")).args(["install", "-n", namespace]));
    let file = dir.join("install.yaml");
    std::fs::write(&file, &printed).unwrap();
    plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
    plane.kubectl(&["wait", "--for=condition=Established", "crd/releases.releases.footplate.dev", "--timeout=30s"]);
    let rules = |name: &str| {
        let role = plane.objects(&["role", name, "-n", namespace]).remove(0);
        role["rules"].as_array().unwrap().clone()
    };
    (rules("footplate-captain"), rules("footplate-conductor"))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// A right as the doctor names it.
fn in_words(verb: &str, group: &str, resource: &str) -> String {
    let (plural, sub) = resource.split_once('/').map_or((resource, String::new()), |(p, s)| (p, format!("/{s}")));
    let dot = if group.is_empty() { String::new() } else { format!(".{group}") };
    format!("{verb} {plural}{dot}{sub}")
}

/// The rules without one verb on one resource.
fn without(rules: &[Value], verb: &str, resource: &str) -> Vec<Value> {
    let mut left = Vec::new();
    for rule in rules {
        let (mut others, mut this) = (rule.clone(), rule.clone());
        others["resources"] = json!(texts(&rule["resources"]).iter().filter(|r| *r != resource).collect::<Vec<_>>());
        this["resources"] = json!(texts(&rule["resources"]).iter().filter(|r| *r == resource).collect::<Vec<_>>());
        this["verbs"] = json!(texts(&rule["verbs"]).iter().filter(|v| *v != verb).collect::<Vec<_>>());
        let empty = |rule: &Value| texts(&rule["resources"]).is_empty() || texts(&rule["verbs"]).is_empty();
        left.extend([others, this].into_iter().filter(|rule| !empty(rule)));
    }
    left
}

/// Everything that the doctor misses: in the checks of one who orders, and in that of one who conducts.
fn missed(report: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let checks = report["checks"].as_array().unwrap();
    let of = |conducts: bool| {
        let rights = checks.iter().filter(|c| c["id"].as_str().unwrap().starts_with("rights."));
        let ours = rights.filter(|c| (c["id"] == "rights.conduct") == conducts);
        ours.flat_map(|c| {
            let missing = texts(&c["data"]["missing"]);
            // What is missing is also said, and is no pass.
            assert!(missing.iter().all(|m| c["why"].as_str().unwrap().contains(m) && c["outcome"] != "pass"), "{c}");
            missing
        })
        .collect()
    };
    assert!(checks.iter().any(|c| c["id"] == "rights.conduct") && checks.iter().any(|c| c["id"] == "rights.order"));
    (of(false), of(true))
}

#[test]
fn each_verb_that_is_taken_out_of_a_printed_role_is_missed_by_name() {
    let plane = shared();
    let ns = plane.namespace();
    let users = Users::of(plane, &ns);
    let (captain, conductor) = install(plane, ns.name(), users.dir.path());
    let mut bound = vec![("captain".to_owned(), captain.clone()), ("conductor".to_owned(), conductor.clone())];
    let mut wanted: Vec<(String, bool, BTreeSet<String>)> =
        vec![("captain".to_owned(), false, BTreeSet::new()), ("conductor".to_owned(), true, BTreeSet::new())];
    for (conducts, rules) in [(false, &captain), (true, &conductor)] {
        for rule in rules {
            for (resource, verb) in
                texts(&rule["resources"]).iter().flat_map(|r| texts(&rule["verbs"]).into_iter().map(move |v| (r, v)))
            {
                let user = format!("{}-{}", if conducts { "conductor" } else { "captain" }, wanted.len());
                bound.push((user.clone(), without(rules, &verb, resource)));
                let word = in_words(&verb, &texts(&rule["apiGroups"]).concat(), resource);
                wanted.push((user, conducts, BTreeSet::from([word])));
            }
        }
    }
    users.bind(&bound);
    println!("{} verbs are taken out, one at a time", wanted.len() - 2);
    // What the authorizer knows of roles lags a little behind; once the last one is known all are.
    let (last, ..) = wanted.last().unwrap();
    wait_for("the roles are in force", Duration::from_secs(20), || {
        let (_, missed) = missed(&users.doctor(last));
        if missed.len() <= 1 { Ok(()) } else { Err(format!("{missed:?}")) }
    });
    let next = std::sync::Mutex::new(wanted.iter());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some((user, conducts, wanted)) = next.lock().unwrap().next() else { return };
                    let report = users.doctor(user);
                    let (orders, conducting) = missed(&report);
                    assert_eq!(if *conducts { conducting } else { orders }, *wanted, "{user}: {report:#}");
                }
            });
        }
    });
}

/// How long the hands of a captain may wait for a conductor that is gone, and then take for the effect and its reading back.
const ALONE: Duration = Duration::from_secs(3 + 6);

fn paused(glass: &Glass) -> bool {
    SERVICES.iter().all(|name| glass.rollout(name)["spec"]["paused"] == true)
}

/// A command of a user: what it says, and its exit code.
fn says(yard: &Yard, kubeconfig: &Path, args: &[&str]) -> (Option<i32>, String) {
    let out = yard.footplate(args).env("KUBECONFIG", kubeconfig).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code(), said)
}

/// Begins what a captain orders and looks how long it takes until the cluster shows it.
fn order(yard: &Yard, glass: &Glass, kubeconfig: &Path, args: &[&str], shows: &dyn Fn(&Glass) -> bool) -> Duration {
    let begun = Instant::now();
    let mut command = yard.begin_as("order", kubeconfig, args);
    glass.until(args[0], Duration::from_secs(30), yard, |glass| shows(glass).then_some(()));
    let took = begun.elapsed();
    assert_eq!(command.wait(Duration::from_secs(60)), Some(0), "{args:?}: {}", yard.log("order"));
    took
}

#[test]
fn a_captain_with_the_printed_role_drives_a_conductor_with_its_own_and_takes_back_with_none() {
    let plane = shared();
    let (yard, glass, sample) = survival::open(plane);
    let users = Users::of(plane, &yard.ns);
    let (captain_rules, conductor_rules) = install(plane, yard.ns.name(), users.dir.path());
    users.bind(&[
        ("captain".to_owned(), captain_rules.clone()),
        ("conductor".to_owned(), conductor_rules.clone()),
        ("scribe".to_owned(), without(&captain_rules, "create", "releases")),
        ("bystander".to_owned(), without(&conductor_rules, "patch", "rollouts")),
    ]);
    let (captain, conductor) = (users.kubeconfig("captain"), users.kubeconfig("conductor"));
    let before = Recorded::of(&glass);
    who_lacks_a_right_moves_nothing(&yard, &glass, &users, &sample);
    assert_eq!(Recorded::of(&glass), before);

    // Both have what it takes.
    let name = start_by(&yard, &glass, &captain, &sample, 1);
    let conducts = yard.begin_as("conductor-1", &conductor, &["conduct", "--env", "dev"]);
    rolls(&yard, &glass, &name);
    let took = order(&yard, &glass, &captain, &["pause", "--env", "dev"], &paused);
    println!("pause, with a conductor: {took:.1?}");
    order(&yard, &glass, &captain, &["resume", "--env", "dev", "--yes"], &|glass| {
        SERVICES.iter().all(|name| glass.rollout(name)["spec"]["paused"] != true)
    });

    // Nobody is left who conducts: by the command line.
    drop(conducts);
    let took = order(&yard, &glass, &captain, &["pause", "--env", "dev"], &paused);
    println!("pause, its conductor killed: {took:.1?}");
    assert!(took < ALONE, "{took:?}: {}", yard.log("order"));
    assert!(yard.log("order").contains("carried out from here"), "{}", yard.log("order"));
    let id = glass.release(&name)["status"]["train"].as_str().unwrap().to_owned();
    let back = |glass: &Glass| Recorded::of(glass) == before && settled(glass);
    let took = order(&yard, &glass, &captain, &["undo", "--env", "dev", "--confirm", &id], &back);
    println!("undo, its conductor killed: {took:.1?}");
    assert!(took < ALONE, "{took:?}: {}", yard.log("order"));
    ends_rolled_back(&yard, &glass, &conductor, &name);
    assert_eq!(Recorded::of(&glass), before);

    // And by keys.
    let mut cockpit = cockpit(&yard, &captain);
    let name = start_by(&yard, &glass, &captain, &sample, 2);
    let conducts = yard.begin_as("conductor-2", &conductor, &["conduct", "--env", "dev"]);
    rolls(&yard, &glass, &name);
    let id = glass.release(&name)["status"]["train"].as_str().unwrap().to_owned();
    cockpit.see(&id);
    drop(conducts);
    let begun = Instant::now();
    cockpit.send("p");
    glass.until("a pause by key", Duration::from_secs(30), &yard, |glass| paused(glass).then_some(()));
    let took = begun.elapsed();
    println!("p, its conductor killed: {took:.1?}");
    assert!(took < ALONE, "{took:?}:\n{}", cockpit.text());
    cockpit.send("u");
    cockpit.see(&format!("type {id} to confirm"));
    // A dialog takes no answer in its first 300 ms.
    std::thread::sleep(Duration::from_millis(400));
    cockpit.send(&id);
    let begun = Instant::now();
    cockpit.send("\r");
    glass.until("an undo by key", Duration::from_secs(30), &yard, |glass| back(glass).then_some(()));
    let took = begun.elapsed();
    println!("u, its conductor killed: {took:.1?}");
    assert!(took < ALONE, "{took:?}:\n{}", cockpit.text());
    ends_rolled_back(&yard, &glass, &conductor, &name);
    assert_eq!(Recorded::of(&glass), before);
    audit::nothing_went_forward_under_an_old_epoch(&audit::writes(plane, yard.ns.name()));
}

/// A start of somebody who may not record it, and a train whose conductor may not write a workload.
fn who_lacks_a_right_moves_nothing(yard: &Yard, glass: &Glass, users: &Users<'_>, sample: &str) {
    // The whole sample: its scripts would be put there before the Release.
    std::fs::write(yard.repository.path().join("release.yaml"), sample).unwrap();
    let maps = || yard.plane.objects(&["configmaps", "-n", yard.ns.name()]).len();
    let there = maps();
    let (code, said) = says(yard, &users.kubeconfig("scribe"), &["start", "--env", "dev", "--yes"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("create releases"), "{said}");
    assert!(glass.active().is_none() && maps() == there, "nothing was written");

    let name = start_by(yard, glass, &users.kubeconfig("captain"), sample, 9);
    let mut conducts = yard.begin_as("bystander", &users.kubeconfig("bystander"), &["conduct", "--env", "dev"]);
    let release = glass.until("a refused train", Duration::from_secs(60), yard, |glass| {
        let release = glass.release(&name);
        release["status"]["result"].is_string().then_some(release)
    });
    assert_eq!(release["status"]["result"], "refused", "{}", release["status"]);
    let checks = release["status"]["checks"].as_array().unwrap();
    let why = checks.iter().find(|c| c["found"] == "refuse").unwrap();
    assert!(why["says"].as_str().unwrap().contains("patch rollouts:"), "{why}");
    assert!(conducts.0.try_wait().unwrap().is_none(), "{}", yard.log("bystander"));
    let theirs = format!("bystander.{}", yard.ns.name());
    let writes = audit::writes(yard.plane, yard.ns.name());
    assert!(writes.iter().any(|w| w.user == theirs && w.resource == "leases"), "it did conduct");
    let moved = writes.iter().find(|w| w.user == theirs && !["leases", "releases"].contains(&&*w.resource));
    assert!(moved.is_none(), "{moved:?}");
    // It gives the Lease back, and the next one need not wait for it.
    must(Command::new("kill").arg(conducts.0.id().to_string()));
    assert_eq!(conducts.wait(Duration::from_secs(20)), Some(0), "{}", yard.log("bystander"));
}

/// The next conductor finds it taken back, and writes that down.
fn ends_rolled_back(yard: &Yard, glass: &Glass, conductor: &Path, name: &str) {
    let mut conducts = yard.begin_as("closing", conductor, &["conduct", "--env", "dev"]);
    let end = glass.until("the end", Duration::from_secs(60), yard, |glass| {
        let release = glass.release(name);
        release["status"]["result"].is_string().then_some(release)
    });
    assert_eq!(end["status"]["result"], "rolled-back", "{}", end["status"]);
    assert!(!end["spec"]["acted"].as_array().unwrap().is_empty(), "who took it back is written down");
    must(Command::new("kill").arg(conducts.0.id().to_string()));
    assert_eq!(conducts.wait(Duration::from_secs(20)), Some(0), "{}", yard.log("closing"));
}

fn cockpit(yard: &Yard, kubeconfig: &Path) -> Program {
    let path = |name: &str| yard.repository.path().join(name).to_str().unwrap().to_owned();
    let (manifest, state, home) = (path("release.yaml"), path(".state-cockpit"), path(".home"));
    let env = [
        ("KUBECONFIG", kubeconfig.to_str().unwrap()),
        ("HOME", &home),
        ("FOOTPLATE_STATE_DIR", &state),
        ("FOOTPLATE_CONFIG_DIR", &home),
        ("USER", "ana"),
        ("LC_ALL", "C.UTF-8"),
        ("NO_COLOR", ""),
    ];
    let program = Program::spawn(&[env!("CARGO_BIN_EXE_footplate"), &manifest, "--env", "dev"], &env, 120, 36);
    program.see_within("LIVE", Duration::from_secs(20));
    program
}

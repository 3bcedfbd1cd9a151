//! What a train survives: conductors that are killed while they take it back, two conductors at once, an API server that goes away
//! in the middle of a wave. What the server wrote down (`audit.rs`) says whether anything went forward that must not.
//!
//! The moments of the kills are drawn by chance; the seed is printed. `FOOTPLATE_REAL_KILLS=10` kills ten times instead of three,
//! `FOOTPLATE_REAL_SEED=N` draws the same waits again.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::audit;
use crate::controlplane::{ControlPlane, must};
use crate::outage;
use crate::traffic::Behaviour;
use crate::train::{Running, Yard};

/// The services of the train: what it is about is how it is conducted, so one wave will do.
pub const SERVICES: [&str; 3] = ["accounts-api", "ledger-api", "pricing-api"];

/// Kills in one undo; with more of them other trains have their turn, taken back where they stand.
const OF_ONE: usize = 3;

/// Within which another conductor must have taken over: the Lease holds for 15 s, and is looked at every 2 s.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// The versions that the n-th train of a test pins: what an earlier one took back is quarantined.
pub fn versions(nth: usize) -> [String; 3] {
    [format!("1.23.{nth}"), format!("3.10.{nth}"), format!("0.32.{nth}")]
}

/// The first wave of the sample as the n-th train, with its flag or without.
fn manifest(text: &str, nth: usize, flag: bool) -> String {
    let head = text.split("services:").next().unwrap();
    let policies = text.split_once("policies:").unwrap().1;
    let services: String = SERVICES.iter().zip(versions(nth)).map(|(s, v)| format!("  {s}: {v}\n")).collect();
    let flag = if flag { "config:\n  feature-flags:\n    ledger_nullable: true\n" } else { "" };
    format!("{head}services:\n{services}{flag}policies:{policies}")
}

/// Reads of the cluster that cost nothing beside what is measured.
pub struct Glass {
    runtime: Runtime,
    client: Client,
    namespace: String,
    /// Why the last read failed.
    trouble: Mutex<String>,
}

impl Glass {
    pub fn on(yard: &Yard) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions { context: Some("dev".to_owned()), ..KubeConfigOptions::default() };
            let read = Kubeconfig::read_from(yard.plane.kubeconfig()).unwrap();
            Client::try_from(Config::from_custom_kubeconfig(read, &options).await.unwrap()).unwrap()
        });
        Self { runtime, client, namespace: yard.ns.name().to_owned(), trouble: Mutex::default() }
    }

    /// What is at a path below a group of the namespace; nothing while the server does not answer.
    fn get(&self, group: &str, path: &str) -> Option<Value> {
        let uri = format!("/apis/{group}/namespaces/{}/{path}", self.namespace);
        let request = http::Request::get(uri).body(Vec::new()).unwrap();
        let answer = self.runtime.block_on(self.client.request(request));
        answer.inspect_err(|fault| *self.trouble.lock().unwrap() = format!("{path}: {fault:?}")).ok()
    }

    pub fn rollout(&self, name: &str) -> Value {
        self.get("argoproj.io/v1alpha1", &format!("rollouts/{name}")).unwrap_or_default()
    }

    fn flags(&self) -> Value {
        self.get("core.openfeature.dev/v1beta1", "featureflags/payments-flags").unwrap_or_default()
    }

    /// The train under way.
    pub fn active(&self) -> Option<Value> {
        let all = self.get("releases.footplate.dev/v1alpha1", "releases")?;
        all["items"].as_array()?.iter().find(|r| r["status"]["result"].is_null()).cloned()
    }

    pub fn release(&self, name: &str) -> Value {
        self.get("releases.footplate.dev/v1alpha1", &format!("releases/{name}")).unwrap_or_default()
    }

    /// The process that holds the Lease: a conductor has its number in its name.
    pub fn conductor(&self) -> Option<u32> {
        let lease = self.get("coordination.k8s.io/v1", "leases/footplate-conductor")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        holder.rsplit('-').nth(1)?.parse().ok()
    }

    /// Looks often until it is so.
    pub fn until<T>(&self, what: &str, limit: Duration, yard: &Yard, look: impl Fn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if begun.elapsed() > limit {
                panic!("{what}: not within {limit:?}\n{}\n{}", self.story(), yard.logs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn story(&self) -> String {
        let weights = SERVICES.map(|name| format!("{name}: {}", self.rollout(name)["status"]["canary"]));
        let Some(release) = self.active() else { return format!("no train is active; {weights:?}") };
        let trouble = self.trouble.lock().unwrap();
        let status = &release["status"];
        let unmet: Vec<&Value> =
            status["checks"].as_array().into_iter().flatten().filter(|c| c["found"] != "good").collect();
        format!("{} {} {}\n{unmet:?}\n{weights:?}\n{trouble}", status["phase"], status["waits"], status["services"])
    }
}

/// What must be again as it was: templates, what is stable, flags.
#[derive(PartialEq, Debug)]
pub struct Recorded {
    services: Vec<(Value, Value)>,
    flags: Value,
}

impl Recorded {
    pub fn of(glass: &Glass) -> Self {
        let services = SERVICES.map(|name| {
            let rollout = glass.rollout(name);
            assert!(rollout["status"]["stableRS"].is_string(), "{name}: {rollout} {}", glass.trouble.lock().unwrap());
            (rollout["spec"]["template"].clone(), rollout["status"]["stableRS"].clone())
        });
        let flags = glass.flags()["spec"].clone();
        assert!(flags.is_object(), "{flags}");
        Self { services: services.into(), flags }
    }
}

/// Conductors of one environment.
struct Crew<'y> {
    yard: &'y Yard,
    all: Vec<Running>,
    boarded: usize,
}

impl<'y> Crew<'y> {
    fn of(yard: &'y Yard, many: usize) -> Self {
        let mut crew = Self { yard, all: Vec::new(), boarded: 0 };
        (0..many).for_each(|_| crew.board());
        crew
    }

    fn board(&mut self) {
        self.boarded += 1;
        let log = format!("conductor-{}", self.boarded);
        self.all.push(self.yard.begin(&log, &["conduct", "--env", "dev"]));
    }

    /// Kills the one that conducts, without a word; who it was.
    fn kill(&mut self, pid: u32) {
        let at = self.all.iter().position(|c| c.0.id() == pid).expect("the Lease is held by one of ours");
        let mut dead = self.all.remove(at);
        dead.0.kill().unwrap();
        dead.0.wait().unwrap();
    }

    fn all_live(&mut self) -> bool {
        self.all.iter_mut().all(|c| c.0.try_wait().unwrap().is_none())
    }
}

/// Pins the versions of the n-th train, with the flag or without, and orders it to start; answers with its Release's name.
fn start(yard: &Yard, glass: &Glass, sample: &str, nth: usize, flag: bool) -> String {
    order_start(yard, glass, &yard.plane.kubeconfig(), &manifest(sample, nth, flag))
}

/// The same by somebody, without the flag.
pub fn start_by(yard: &Yard, glass: &Glass, kubeconfig: &Path, sample: &str, nth: usize) -> String {
    order_start(yard, glass, kubeconfig, &manifest(sample, nth, false))
}

fn order_start(yard: &Yard, glass: &Glass, kubeconfig: &Path, manifest: &str) -> String {
    std::fs::write(yard.repository.path().join("release.yaml"), manifest).unwrap();
    must(yard.footplate(&["start", "--env", "dev", "--yes"]).env("KUBECONFIG", kubeconfig));
    glass.active().expect("a train was recorded")["metadata"]["name"].as_str().unwrap().to_owned()
}

/// A yard for trains of the first wave, quick enough for its strictest gate; with the release as the sample has it.
pub fn open(plane: &'static ControlPlane) -> (Yard, Glass, String) {
    let yard = Yard::on(plane, |text| text);
    let sample = std::fs::read_to_string(yard.repository.path().join("release.yaml")).unwrap();
    for nth in 0..20 {
        for (service, version) in SERVICES.iter().zip(versions(nth)) {
            yard.traffic.behaves(service, &version, Behaviour { p95: 0.04, ..Behaviour::default() });
        }
    }
    let glass = Glass::on(&yard);
    (yard, glass, sample)
}

/// True when every service of the train has its new version beside the old one, past the first step, and none is through.
pub fn in_flight(glass: &Glass) -> bool {
    SERVICES.iter().all(|name| {
        let status = &glass.rollout(name)["status"];
        // Without a router there is no weight to read: one of the three shifts traffic by its pods alone.
        status["currentPodHash"] != status["stableRS"] && status["currentStepIndex"].as_u64() > Some(0)
    })
}

/// True when every service runs one version, and the controller says that it is well.
pub fn settled(glass: &Glass) -> bool {
    SERVICES.iter().all(|name| {
        let status = &glass.rollout(name)["status"];
        status["currentPodHash"] == status["stableRS"] && status["phase"] == "Healthy"
    })
}

/// Waits until the wave of a train is in flight.
pub fn rolls(yard: &Yard, glass: &Glass, name: &str) {
    glass.until("a wave in flight", Duration::from_secs(120), yard, |glass| {
        let status = &glass.release(name)["status"];
        assert!(status["result"].is_null(), "it ended before: {status}\n{}", yard.logs());
        in_flight(glass).then_some(())
    });
}

/// Orders an undo by the command line, whose connection then drops: the order is written down, and nobody is left at the keys.
fn order_undo_and_drop(yard: &Yard, glass: &Glass, name: &str, log: &str) {
    let id = glass.release(name)["status"]["train"].as_str().unwrap().to_owned();
    let mut order = yard.begin(log, &["undo", "--env", "dev", "--confirm", &id]);
    let undo = |i: &Value| i["want"].as_str().is_some_and(audit::is_undo);
    glass.until("an order to take back", Duration::from_secs(20), yard, |glass| {
        glass.release(name)["spec"]["intents"].as_array()?.iter().any(undo).then_some(())
    });
    order.0.kill().unwrap();
    order.0.wait().unwrap();
}

#[test]
fn whichever_conductor_is_killed_while_it_takes_back_the_next_one_finishes_it() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let chance = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let kills = usize::try_from(number("FOOTPLATE_REAL_KILLS").unwrap_or(3)).unwrap();
    let seed = number("FOOTPLATE_REAL_SEED").unwrap_or_else(chance);
    println!("{kills} kills, FOOTPLATE_REAL_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let (yard, glass, sample) = open(crate::controlplane::shared());
    let mut crew = Crew::of(&yard, 2);
    let (mut killed, mut nth, mut pinned) = (0, 0, Vec::new());
    while killed < kills {
        nth += 1;
        assert!(nth <= kills + 3, "the undo is over before anybody is killed: {killed} kills in {nth} trains");
        let before = Recorded::of(&glass);
        // The first has everything at 100 % and its flag on the way: what takes longest to take back.
        let far = nth == 1;
        let name = start(&yard, &glass, &sample, nth, far);
        pinned.extend(versions(nth));
        if far {
            glass.until("a flag on its way", Duration::from_secs(240), &yard, |glass| {
                (glass.flags()["spec"] != before.flags).then_some(())
            });
        } else {
            rolls(&yard, &glass, &name);
        }
        order_undo_and_drop(&yard, &glass, &name, &format!("undo-{nth}"));
        let begun = Instant::now();
        let over = |glass: &Glass| glass.release(&name)["status"]["result"].is_string();
        let most = kills.min(killed + OF_ONE);
        while killed < most {
            std::thread::sleep(Duration::from_millis(dice.random_range(0..if far { 2_000 } else { 1_000 })));
            let epoch = glass.release(&name)["status"]["epoch"].as_u64().unwrap();
            let pid = glass.conductor().expect("somebody conducts");
            if over(&glass) {
                break;
            }
            crew.kill(pid);
            let at = Instant::now();
            let since = begun.elapsed();
            if over(&glass) {
                // It wrote its last word while it was being killed.
                crew.board();
                break;
            }
            killed += 1;
            crew.board();
            glass.until("another conductor", TAKEN_OVER, &yard, |glass| {
                let status = &glass.release(&name)["status"];
                (status["epoch"].as_u64() > Some(epoch) && glass.conductor() != Some(pid)).then_some(())
            });
            println!("train {nth}: killed {since:.1?} after the order, taken over {:.1?} later", at.elapsed());
        }
        let end = glass.until("the end", Duration::from_secs(60), &yard, |glass| {
            let release = glass.release(&name);
            release["status"]["result"].is_string().then_some(release)
        });
        assert_eq!(end["status"]["result"], "rolled-back", "{}\n{}", end["status"], yard.logs());
        assert_eq!(Recorded::of(&glass), before, "all is as it was before train {nth}");
        for service in SERVICES {
            let rollout = glass.rollout(service);
            let marks = &rollout["metadata"]["annotations"];
            assert!(marks["footplate.dev/train"].is_null() && marks["footplate.dev/undo"].is_null(), "{marks}");
            assert_eq!(rollout["status"]["currentPodHash"], rollout["status"]["stableRS"], "{service}");
        }
        println!("train {nth}: rolled back {:.1?} after the order", begun.elapsed());
    }
    let writes = audit::writes(yard.plane, yard.ns.name());
    let moved = audit::nothing_went_forward_under_an_old_epoch(&writes);
    assert_eq!(
        moved.last(),
        Some(&u64::try_from(killed + 1).unwrap()),
        "each take-over raises the epoch by one: {moved:?}"
    );
    let pinned: Vec<&str> = pinned.iter().map(String::as_str).collect();
    audit::nothing_is_deployed_after_an_undo_of_its_train(&writes, &pinned);
}

#[test]
fn of_two_conductors_one_conducts_and_both_outlive_the_api_server() {
    // Of its own, because it is broken on purpose.
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start()));
    let (yard, glass, sample) = open(plane);
    let mut crew = Crew::of(&yard, 2);
    let name = start(&yard, &glass, &sample, 1, false);
    let begun = Instant::now();
    let completed = |name: &str, limit: u64| {
        glass.until("a train that has arrived", Duration::from_secs(limit), &yard, |glass| {
            let release = glass.release(name);
            release["status"]["result"].is_string().then_some(release)
        })
    };
    let end = completed(&name, 300);
    assert_eq!(end["status"]["result"], "completed", "{}\n{}", end["status"], yard.logs());
    println!("two conductors: completed after {:.1?}", begun.elapsed());
    let moved = audit::nothing_went_forward_under_an_old_epoch(&audit::writes(plane, yard.ns.name()));
    assert_eq!(moved, [1], "one epoch moved everything");
    let by = glass.conductor().unwrap().to_string();
    let logs = [yard.log("conductor-1"), yard.log("conductor-2")];
    let conducts: Vec<bool> = logs.iter().map(|log| log.contains("conducts 2025.10.02-rc1")).collect();
    assert_eq!(conducts.iter().filter(|c| **c).count(), 1, "{logs:?}");
    for (log, conducts) in logs.iter().zip(conducts) {
        assert_eq!(log.contains("waits: ") && log.contains(&format!("-{by}-")), !conducts, "{log}");
    }

    // The next one loses its API server with a wave in flight.
    let name = start(&yard, &glass, &sample, 2, false);
    rolls(&yard, &glass, &name);
    let line = outage::kill_api_server(plane);
    std::thread::sleep(Duration::from_secs(6));
    let again = outage::start_again(plane, &line);
    let begun = Instant::now();
    let end = completed(&name, 300);
    assert_eq!(end["status"]["result"], "completed", "{}\n{}", end["status"], yard.logs());
    println!("the API server was away for 6 s and its start; completed {:.1?} later", begun.elapsed());
    assert!(crew.all_live(), "both live: {}", yard.logs());
    for (service, version) in SERVICES.iter().zip(versions(2)) {
        let rollout = glass.rollout(service);
        let image = rollout["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        assert!(image.ends_with(&format!(":{version}")), "{service}: {image}");
        assert_eq!(rollout["status"]["currentPodHash"], rollout["status"]["stableRS"], "{service}");
    }
    audit::nothing_went_forward_under_an_old_epoch(&audit::writes(plane, yard.ns.name()));
    drop((crew, again));
    plane.stop();
}

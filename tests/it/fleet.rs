//! A thousand rollouts with ten thousand pods through the whole program, in process: the simulated cluster's wire, the engine, the
//! screen. Counts and bytes, no clock: what is asked of the server, what one change makes anew, what a frame costs. And the binary
//! in a terminal, for the memory it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use footplate::adapters::journal::FileJournal;
use footplate::adapters::kubernetes::Kubernetes;
use footplate::cockpit::App;
use footplate::cockpit::backend::Wire;
use footplate::cockpit::glyphs::UNICODE;
use footplate::cockpit::message::Message;
use footplate::cockpit::theme::Depth;
use footplate::core::snapshot::{Link, Mode, Place as Spot, ServiceView, Snapshot, WriteMode};
use footplate::core::workload::Phase;
use footplate::engine::run::{Handle, Place, Systems, start};
use footplate::engine::scope::Scope;
use footplate::ports::{Clock, Identity};
use footplate::rehearsal::clock::RehearsalClock;
use footplate::rehearsal::store::Store;
use footplate::rehearsal::{Shared, api, kinds, serve};
use ratatui::Terminal;
use ratatui::layout::Size;

use crate::made::{self, Moment, NAMESPACE, PODS};
use crate::program::Program;
use crate::screens::setup;

const START: &str = "2026-01-07T14:00:00Z";
const ROLLOUTS: usize = 1000;
const SIZE: (u16, u16) = (120, 40);

fn populated(rollouts: usize) -> Shared {
    let mut store = Store::new(7, START.parse().unwrap());
    store.create(&kinds::NAMESPACE, "", serde_json::json!({"metadata": {"name": NAMESPACE}})).unwrap();
    for n in 0..rollouts {
        let mut rollout = made::rollout(n);
        rollout["status"] = made::status(n, Moment::Healthy)["status"].take();
        let rollout = store.create(&kinds::ROLLOUT, NAMESPACE, rollout).unwrap();
        for (revision, pods) in PODS {
            let set = store.create(&kinds::REPLICA_SET, NAMESPACE, made::set(n, revision, rollout.uid())).unwrap();
            for k in 0..pods {
                store.create(&kinds::POD, NAMESPACE, made::pod(n, revision, k, set.uid())).unwrap();
            }
        }
    }
    Shared::new(store)
}

/// What was asked, by verb and kind; and every query for pods.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Log>>);

type Log = (BTreeMap<String, usize>, Vec<String>);

impl Asked {
    fn around(&self, router: Router) -> Router {
        let asked = self.clone();
        router.layer(middleware::map_request(move |request: Request| {
            asked.note(&request);
            std::future::ready(request)
        }))
    }

    fn note(&self, request: &Request) {
        let path: Vec<&str> = request.uri().path().split('/').skip_while(|p| *p != "namespaces").skip(2).collect();
        let query = request.uri().query().unwrap_or_default();
        let verb = match (request.method().as_str(), path.len()) {
            ("GET", 1) if query.contains("watch=true") => "watch",
            ("GET", 1) if query.contains("continue=") => "page",
            ("GET", 1) => "list",
            ("GET", 2) => "get",
            // Is anybody there? The first proof of the link.
            ("GET", 0) if request.uri().path() == "/version" => return,
            (other, _) => panic!("{other} {}: a screen that only looks writes nothing", request.uri()),
        };
        let mut asked = self.0.lock().unwrap();
        *asked.0.entry(format!("{verb} {}", path[0])).or_default() += 1;
        if path[0] == "pods" {
            asked.1.push(query.to_owned());
        }
    }

    /// What was asked since the last call.
    fn take(&self) -> Log {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Engine and screen over the wire of a populated cluster; the bytes of each frame.
struct Cab {
    store: Shared,
    asked: Asked,
    handle: Handle,
    app: App,
    terminal: Terminal<Wire<Vec<u8>>>,
    clock: RehearsalClock,
    _state: tempfile::TempDir,
}

impl Cab {
    async fn open(rollouts: usize) -> Self {
        let store = populated(rollouts);
        let asked = Asked::default();
        let router = asked.around(api::router(store.clone()));
        let identity = Identity {
            context: "sim".into(),
            server: "in process".into(),
            user: "ana".into(),
            namespace: NAMESPACE.into(),
        };
        let cluster = Arc::new(Kubernetes::over(kube::Client::new(router, NAMESPACE), identity));
        let place = Spot {
            environment: None,
            context: "sim".into(),
            namespace: NAMESPACE.into(),
            server: "in process".into(),
            protected: false,
            write: WriteMode::ReadWrite,
        };
        let scope = Scope { place, mode: Mode::Live, cluster_uid: None, release: None };
        let place = Place { cluster, scope: Arc::new(scope), metrics: Err("no metrics here".into()) };
        let again = place.clone();
        let state = tempfile::tempdir().unwrap();
        let clock = RehearsalClock::new(START.parse().unwrap(), 1.0);
        let systems = Systems {
            clock: Arc::new(clock),
            journal: Arc::new(FileJournal::open(&state.path().join("journal.jsonl")).unwrap()),
            conditions: Arc::new(footplate::adapters::conditions::Conditions::default()),
            open: Arc::new(move |_| Ok(again.clone())),
            take_over: None,
            depart: None,
        };
        let handle = start(place, systems);
        let first = handle.snapshots.borrow().clone();
        let app = App::new(setup((*first).clone(), UNICODE, Depth::Ansi), SIZE, clock.now());
        let terminal = Terminal::new(Wire::new(Vec::new(), Size::new(SIZE.0, SIZE.1))).unwrap();
        let mut cab = Self { store, asked, handle, app, terminal, clock, _state: state };
        cab.until("all are healthy", |s| s.count(Phase::Healthy) == rollouts).await;
        cab
    }

    /// Waits for a snapshot; at most five minutes of virtual time.
    async fn until(&mut self, what: &str, test: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = tokio::time::timeout(Duration::from_secs(300), self.handle.snapshots.wait_for(|s| test(s))).await;
        found.map(|s| Arc::clone(&s.unwrap())).unwrap_or_else(|_| {
            let last = self.handle.snapshots.borrow().clone();
            panic!("never: {what}; {:?}, {} services, {:?}", last.link, last.services.len(), last.gaps)
        })
    }

    fn set(&self, n: usize, moment: Moment) {
        let change = made::status(n, moment)["status"].take();
        let set = |object: &mut serde_json::Value| json_patch::merge(&mut object["status"], &change);
        self.store.lock().update_status(&kinds::ROLLOUT, NAMESPACE, &made::name(n), set).unwrap();
    }

    /// Shows a snapshot; the bytes that it cost.
    fn frame(&mut self, snapshot: &Arc<Snapshot>) -> usize {
        self.app.handle(Message::Snapshot(Arc::clone(snapshot)), self.clock.now());
        self.terminal.draw(|frame| self.app.draw(frame)).unwrap();
        let wire = self.terminal.backend_mut();
        let sent = wire.send().unwrap();
        wire.writer().clear();
        sent
    }

    fn screen(&mut self) -> String {
        let mut test = Terminal::new(ratatui::backend::TestBackend::new(SIZE.0, SIZE.1)).unwrap();
        test.draw(|frame| self.app.draw(frame)).unwrap();
        test.backend().to_string()
    }
}

fn weight(n: usize, weight: u32) -> impl Fn(&Snapshot) -> bool {
    move |s| s.services[n].workload.as_ref().is_some_and(|w| w.actual_weight == Some(weight))
}

fn differing(a: &[Arc<ServiceView>], b: &[Arc<ServiceView>]) -> Vec<usize> {
    (0..a.len().max(b.len()))
        .filter(|n| !matches!((a.get(*n), b.get(*n)), (Some(a), Some(b)) if Arc::ptr_eq(a, b)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_rollouts_stay_usable() {
    let mut cab = Cab::open(ROLLOUTS).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let first = cab.handle.snapshots.borrow().clone();
    let full = cab.frame(&first);
    assert!(full > 0 && full <= 16 * 1024, "the first frame takes {full} bytes");
    let screen = cab.screen();
    assert!(screen.contains("ALL WELL  1000 healthy") && screen.contains("svc-0000"), "{screen}");

    // One list and one watch a kind, large lists in pages, and of ten thousand pods none, since nothing is in flight.
    let (asked, pods) = cab.asked.take();
    for (what, n) in &asked {
        let most = match what.as_str() {
            "page rollouts" => 1,
            "page replicasets" => 3,
            what if what.starts_with("list ") || what.starts_with("watch ") => 1,
            _ => 0,
        };
        assert!(*n <= most, "{n} x {what}: {asked:?}");
    }
    assert_eq!((asked.get("list rollouts"), asked.get("watch rollouts")), (Some(&1), Some(&1)), "{asked:?}");
    assert_eq!(pods, Vec::<String>::new());

    // Ten quiet minutes: nothing is shown anew, nothing is read but one object every few seconds, and a watch ends now and
    // then because it was asked to.
    let before = cab.handle.snapshots.borrow().seq;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cab.handle.snapshots.borrow().seq, before);
    let (asked, _) = cab.asked.take();
    assert!(!asked.keys().any(|what| what.starts_with("list") || what.starts_with("page")), "{asked:?}");
    assert!(asked["get rollouts"] <= 121 && asked["watch rollouts"] <= 4, "{asked:?}");

    // One change makes one service anew and is a few bytes.
    let mut before = cab.handle.snapshots.borrow().clone();
    cab.frame(&before);
    for n in [12, 13, 14] {
        cab.set(7, Moment::Stepping { step: 0, weight: n });
        let after = cab.until("the weight", weight(7, n)).await;
        assert_eq!(differing(&before.services, &after.services), [7]);
        let sent = cab.frame(&after);
        assert!(sent > 0 && sent <= 400, "a weight tick takes {sent} bytes");
        before = after;
    }
    assert!(cab.screen().contains(" 14"), "{}", cab.screen());
    // What is in flight has its pods watched, and only its new revision's.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (asked, pods) = cab.asked.take();
    assert!(!asked.contains_key("list rollouts"), "{asked:?}");
    let new = made::hash(7, "b");
    assert!(pods.len() == 2 && pods.iter().all(|query| query.contains(&new)), "{pods:?}");

    // Ten at once: all ten are shown, for no more bytes than a line of each.
    for n in 0..10 {
        cab.set(n, Moment::Stepping { step: 0, weight: 20 });
    }
    let after = cab.until("ten move", |s| (0..10).all(|n| weight(n, 20)(s))).await;
    cab.frame(&after);
    for n in 0..10 {
        cab.set(n, Moment::Stepping { step: 2, weight: 41 + n as u32 });
    }
    let after = cab.until("ten step", |s| (0..10).all(|n| weight(n, 41 + n as u32)(s))).await;
    let sent = cab.frame(&after);
    assert!(sent > 0 && sent <= 3000, "ten steps take {sent} bytes");
    let screen = cab.screen();
    for n in 0..10 {
        let row = |line: &str| line.contains(&made::name(n)) && line.contains(&(41 + n).to_string());
        assert!(screen.lines().any(row), "{n} of ten: {screen}");
    }
    assert_eq!(after.link, Link::Live);
}

/// The binary in a terminal, ten of its rollouts in flight. The design (§9) gives it 25 MiB at 50 rollouts and 60 MiB at 1,000
/// with 10,000 pods; some 17 of them are the mapped code of a release build, so what it holds beside that is limited here.
#[test]
fn a_thousand_rollouts_fit_in_memory() {
    for (rollouts, limit_mib) in [(50, 8.0), (ROLLOUTS, 40.0)] {
        let store = populated(rollouts);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(serve::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve::serve(listener, api::router(store.clone()), std::future::pending()));
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        serve::write_kubeconfig(&kubeconfig, address, NAMESPACE).unwrap();
        let home = home.path().to_str().unwrap();
        let env = [
            ("KUBECONFIG", kubeconfig.to_str().unwrap()),
            ("HOME", home),
            ("FOOTPLATE_STATE_DIR", home),
            ("FOOTPLATE_CONFIG_DIR", home),
        ];
        let mut program = Program::spawn(&[env!("CARGO_BIN_EXE_footplate")], &env, SIZE.0, SIZE.1);
        program.see_within(&format!("{rollouts} healthy"), Duration::from_secs(60));
        for n in 0..10 {
            let change = made::status(n, Moment::Stepping { step: 0, weight: 20 })["status"].take();
            let set = |object: &mut serde_json::Value| json_patch::merge(&mut object["status"], &change);
            store.lock().update_status(&kinds::ROLLOUT, NAMESPACE, &made::name(n), set).unwrap();
        }
        program.see_within("10 moving", Duration::from_secs(60));
        let mib = |line: &str| program.memory(line) as f64 / 1024.0;
        let (held, code) = (mib("RssAnon"), mib("RssFile"));
        println!("{rollouts} rollouts: {held:.1} MiB held, {code:.1} MiB of code and files mapped");
        assert!(held > 1.0 && held <= limit_mib, "{rollouts} rollouts take {held:.1} MiB");
        program.send("q");
        program.send("\r");
    }
}

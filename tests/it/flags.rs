//! Flags over the rehearsal cluster's wire: shown, flipped, read back; in FeatureFlag objects, in a ConfigMap that flagd reads,
//! in a file. What a flip changes in a definition is tested beside `core::flag`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use footplate::adapters::clock::SystemClock;
use footplate::adapters::flagd::FlagFile;
use footplate::adapters::journal::FileJournal;
use footplate::adapters::kubernetes::Kubernetes;
use footplate::core::confirm::{Answer, Confirm, Confirmed, Order, Question};
use footplate::core::effect::Direction;
use footplate::core::flag::FlagSetting;
use footplate::core::guard::Cleared;
use footplate::core::intent::{Intent as Ordered, Target, Want};
use footplate::core::object::{Object, ObjectKind, ObjectRef};
use footplate::core::snapshot::{FlagView, Mode, Place as Spot, Snapshot, WriteMode};
use footplate::core::text::Text;
use footplate::engine::act::{Driver, NoJournal, Outcome};
use footplate::engine::flags::{At, Flip, flip, read, views};
use footplate::engine::order::Intent;
use footplate::engine::run::{Place, Systems, start};
use footplate::engine::scope::{FlagHome, FlagStore, Release, Scope};
use footplate::ports::{Access, Cluster, Fault, FaultKind, FlagFile as _, Fut, Identity, Interest, Journal, Seen};
use footplate::rehearsal::store::Store;
use footplate::rehearsal::{Shared, api, kinds};
use jiff::Timestamp;
use serde_json::{Value, json};

const KEY: &str = "ledger_nullable";

fn definition() -> Value {
    json!({"flags": {
        KEY: {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": {},
              "metadata": {"owner": "payments"}},
        "theme": {"state": "ENABLED", "variants": {"a": "1", "b": "2"}, "defaultVariant": "a"}
    }})
}

/// A cluster with the flag in an object and in a ConfigMap; and a file with it.
struct Rig {
    store: Shared,
    cluster: Arc<Kubernetes>,
    state: tempfile::TempDir,
    file: Arc<FlagFile>,
}

fn named(kind: ObjectKind, name: &str) -> ObjectRef {
    ObjectRef { cluster: "sim".into(), kind, namespace: "payments".into(), name: name.into() }
}

impl Rig {
    fn new() -> Self {
        let mut store = Store::new(3, Timestamp::now());
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "payments"}})).unwrap();
        let object = json!({"metadata": {"name": "payments-flags"}, "spec": {"flagSpec": definition()}});
        store.create(&kinds::FEATURE_FLAG, "payments", object).unwrap();
        let text = serde_json::to_string_pretty(&definition()).unwrap();
        let map = json!({"metadata": {"name": "flagd"}, "data": {"flags.json": text, "other": "kept"}});
        store.create(&kinds::CONFIG_MAP, "payments", map).unwrap();
        let store = Shared::new(store);
        let identity = Identity {
            context: "sim".into(),
            server: "in process".into(),
            user: "ana".into(),
            namespace: "payments".into(),
        };
        let cluster = Arc::new(Kubernetes::over(kube::Client::new(api::router(store.clone()), "payments"), identity));
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("flags.json");
        std::fs::write(&path, &text).unwrap();
        Self { store, cluster, state, file: Arc::new(FlagFile::at(path)) }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(FileJournal::open(&self.state.path().join("journal.jsonl")).unwrap())
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.state.path().join("journal.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn driver(&self) -> Driver {
        Driver {
            cluster: Arc::clone(&self.cluster) as Arc<dyn Cluster>,
            clock: Arc::new(SystemClock::default()),
            journal: self.journal(),
            write: WriteMode::ReadWrite,
            cluster_uid: None,
        }
    }

    /// All three places, by the name of the place.
    fn homes(&self) -> [(At, FlagStore); 3] {
        let (object, map) = (named(ObjectKind::FeatureFlag, "payments-flags"), named(ObjectKind::ConfigMap, "flagd"));
        let file: Arc<dyn footplate::ports::FlagFile> = self.file.clone();
        [
            (At::Object(object, None), FlagStore::Objects),
            (At::Object(map, Some("flags.json".into())), FlagStore::ConfigMap("flagd".into(), "flags.json".into())),
            (At::File(Arc::clone(&file)), FlagStore::File(file)),
        ]
    }

    async fn shown(&self, store: &FlagStore) -> Vec<FlagView> {
        views(&read(&*self.cluster, &spot(), store).await.unwrap(), None)
    }

    fn object(&self) -> Value {
        let store = self.store.lock();
        serde_json::from_slice(&store.get(&kinds::FEATURE_FLAG, "payments", "payments-flags").unwrap().json()).unwrap()
    }
}

fn spot() -> Spot {
    Spot {
        environment: None,
        context: "sim".into(),
        namespace: "payments".into(),
        server: "in process".into(),
        protected: false,
        write: WriteMode::ReadWrite,
    }
}

fn order() -> Order {
    Order { who: "ana".into(), when: Timestamp::now(), why: "game day".into() }
}

fn confirmed(at: &At, direction: Direction) -> Confirmed {
    let targets = match at {
        At::Object(id, _) => vec![id.clone()],
        At::File(_) => Vec::new(),
    };
    let question = Question { level: Confirm::Type(KEY.into()), direction, targets };
    question.answer(&Answer::Typed(KEY.into()), Timestamp::now()).unwrap()
}

fn to(setting: FlagSetting, at: &At) -> Flip {
    let confirmed = confirmed(at, setting.direction(None));
    Flip { key: KEY.into(), setting, at: at.clone(), safe: None, confirmed, order: order() }
}

#[tokio::test]
async fn a_flag_is_flipped_wherever_it_lives_and_all_else_stays() {
    let rig = Rig::new();
    let (driver, before) = (rig.driver(), rig.object());
    for (at, store) in rig.homes() {
        let now = async || {
            let shown = rig.shown(&store).await;
            assert_eq!(shown.len(), 2, "{shown:?}");
            shown.into_iter().find(|f| f.key == KEY).unwrap().now.unwrap().to_string()
        };
        assert_eq!(now().await, "off");
        for (setting, says, after) in [
            (FlagSetting::Percent(25), "off -> 25 %", "25 %"),
            (FlagSetting::On, "25 % -> on", "on"),
            (FlagSetting::On, "flag ledger_nullable is on already", "on"),
            (FlagSetting::Off, "on -> off", "off"),
        ] {
            assert_eq!(flip(&driver, &to(setting, &at)).await, Outcome::Done(says.into()), "{store:?}");
            assert_eq!(now().await, after);
        }
    }
    let (mut before, mut after) = (before, rig.object());
    for object in [&mut before, &mut after] {
        for field in ["resourceVersion", "generation", "managedFields"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
    }
    assert_eq!(before, after);
    let map: Value = {
        let store = rig.store.lock();
        serde_json::from_slice(&store.get(&kinds::CONFIG_MAP, "payments", "flagd").unwrap().json()).unwrap()
    };
    assert_eq!(map["data"]["other"], "kept");
    // Each flip: the order, the effect with what was there before, the outcome.
    let words: Vec<String> = rig.lines().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    let each = [
        "intent", "effect", "outcome", "intent", "effect", "outcome", "intent", "outcome", "intent", "effect",
        "outcome",
    ];
    assert_eq!(words, [each, each, each].concat());
    assert_eq!(rig.lines()[0]["orders"][0]["to"], "25 %");
}

#[tokio::test]
async fn what_was_not_confirmed_is_not_written() {
    let rig = Rig::new();
    for (at, store) in rig.homes() {
        let safe_only = Flip { confirmed: confirmed(&at, Direction::Safe), ..to(FlagSetting::Off, &at) };
        let forward = Flip { setting: FlagSetting::On, ..safe_only.clone() };
        let elsewhere = At::Object(named(ObjectKind::FeatureFlag, "other"), None);
        let other = Flip { confirmed: confirmed(&elsewhere, Direction::Forward), ..to(FlagSetting::On, &at) };
        let read_only = Driver { write: WriteMode::ReadOnly, ..rig.driver() };
        let by_pattern = Driver { write: WriteMode::ReadOnlyByPattern, ..rig.driver() };
        let mut outcomes = vec![flip(&rig.driver(), &other).await, flip(&read_only, &to(FlagSetting::On, &at)).await];
        outcomes.push(flip(&by_pattern, &to(FlagSetting::On, &at)).await);
        if matches!(at, At::File(_)) {
            outcomes.push(flip(&rig.driver(), &forward).await);
        }
        for outcome in outcomes {
            assert!(matches!(outcome, Outcome::Refused(_)), "{store:?}: {outcome:?}");
        }
        assert_eq!(rig.shown(&store).await[0].now.as_deref(), Some("off"));
    }
}

#[tokio::test]
async fn a_flag_goes_back_even_when_nothing_can_be_written_down() {
    let rig = Rig::new();
    let full = Fault {
        kind: FaultKind::Server,
        what: "write journal".into(),
        why: "disk full".into(),
        hint: "free it".into(),
    };
    let without = Driver { journal: Arc::new(NoJournal(full)), ..rig.driver() };
    for (at, store) in rig.homes() {
        let forward = flip(&without, &to(FlagSetting::On, &at)).await;
        assert!(matches!(&forward, Outcome::Refused(r) if r.why.contains("disk full")), "{forward:?}");
        flip(&rig.driver(), &to(FlagSetting::On, &at)).await;
        assert_eq!(flip(&without, &to(FlagSetting::Off, &at)).await, Outcome::Done("on -> off".into()), "{store:?}");
    }
}

/// Somebody else who writes just before each of our first writes.
struct Meddled {
    inner: Arc<Kubernetes>,
    store: Shared,
    left: AtomicUsize,
}

impl Cluster for Meddled {
    fn identity(&self) -> Identity {
        self.inner.identity()
    }
    fn watch(&self, interest: Interest, out: tokio::sync::mpsc::Sender<Seen>) -> Fut<'static, ()> {
        self.inner.watch(interest, out)
    }
    fn read<'a>(&'a self, object: &'a ObjectRef) -> Fut<'a, Result<Option<Object>, Fault>> {
        self.inner.read(object)
    }
    fn list<'a>(&'a self, interest: &'a Interest) -> Fut<'a, Result<Vec<Object>, Fault>> {
        self.inner.list(interest)
    }
    fn send<'a>(&'a self, effect: &'a Cleared) -> Fut<'a, Result<Object, Fault>> {
        let left = self.left.load(Ordering::SeqCst);
        if left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
            let theirs = json!({"fractional": [["on", left], ["off", 100 - left]]});
            let change = |flag: &mut Value| flag["spec"]["flagSpec"]["flags"][KEY]["targeting"] = theirs;
            self.store.lock().update(&kinds::FEATURE_FLAG, "payments", "payments-flags", change).unwrap();
        }
        self.inner.send(effect)
    }
    fn may<'a>(&'a self, wanted: &'a [Access]) -> Fut<'a, Result<Vec<bool>, Fault>> {
        self.inner.may(wanted)
    }
    fn serves<'a>(&'a self, kinds: &'a [ObjectKind]) -> Fut<'a, Result<Vec<bool>, Fault>> {
        self.inner.serves(kinds)
    }
    fn credentials(&self) -> Fut<'_, Result<Option<Text>, Fault>> {
        self.inner.credentials()
    }
    fn about(&self) -> Fut<'_, Result<(Text, Option<i64>), Fault>> {
        self.inner.about()
    }
}

#[tokio::test]
async fn a_change_by_somebody_else_stops_a_flip_forward_and_not_one_back() {
    let rig = Rig::new();
    let at = At::Object(named(ObjectKind::FeatureFlag, "payments-flags"), None);
    let meddled = |times: usize| Driver {
        cluster: Arc::new(Meddled {
            inner: Arc::clone(&rig.cluster),
            store: rig.store.clone(),
            left: AtomicUsize::new(times),
        }),
        ..rig.driver()
    };
    let forward = flip(&meddled(1), &to(FlagSetting::On, &at)).await;
    assert!(matches!(&forward, Outcome::Refused(r) if r.why.contains("meanwhile")), "{forward:?}");
    assert_eq!(flip(&meddled(2), &to(FlagSetting::Off, &at)).await, Outcome::Done("1 % -> off".into()));
    let never = flip(&meddled(9), &to(FlagSetting::Off, &at)).await;
    // The first reading says off already; then they meddle no more.
    assert!(matches!(never, Outcome::Done(_)), "{never:?}");
    flip(&rig.driver(), &to(FlagSetting::On, &at)).await;
    let never = flip(&meddled(9), &to(FlagSetting::Off, &at)).await;
    assert!(matches!(&never, Outcome::Refused(r) if r.why.contains("meanwhile")), "{never:?}");
}

#[tokio::test]
async fn what_cannot_be_flipped_says_why() {
    let rig = Rig::new();
    let object = |name: &str| At::Object(named(ObjectKind::FeatureFlag, name), None);
    let refused = async |flip_: Flip| match flip(&rig.driver(), &flip_).await {
        Outcome::Refused(refusal) => refusal.why.to_string(),
        other => panic!("{other:?}"),
    };
    let on = |at: &At| to(FlagSetting::On, at);
    assert_eq!(refused(on(&object("gone"))).await, "there is no featureflag payments/gone");
    let unknown = Flip { key: "nobody".into(), ..on(&object("payments-flags")) };
    assert_eq!(refused(unknown).await, "there is no flag nobody");
    let theme = Flip { key: "theme".into(), ..on(&object("payments-flags")) };
    assert!(refused(theme).await.contains("cannot be switched"));
    std::fs::write(rig.state.path().join("flags.json"), "{\"flags\": ").unwrap();
    let file: Arc<dyn footplate::ports::FlagFile> = rig.file.clone();
    assert!(refused(on(&At::File(Arc::clone(&file)))).await.contains("no JSON"));
    std::fs::remove_file(rig.state.path().join("flags.json")).unwrap();
    let gone = flip(&rig.driver(), &on(&At::File(file))).await;
    assert!(matches!(&gone, Outcome::Failed(f) if f.kind == FaultKind::NotFound), "{gone:?}");
}

#[tokio::test]
async fn what_the_release_wants_and_nobody_defines_is_shown_as_unknown() {
    let rig = Rig::new();
    let release =
        Release { flags: vec![(KEY.into(), "on".into()), ("missing".into(), "25 %".into())], ..Release::default() };
    let shelves = read(&*rig.cluster, &spot(), &FlagStore::Objects).await.unwrap();
    let shown = views(&shelves, Some(&release));
    let rows: Vec<_> =
        shown.iter().map(|f| (f.key.as_str(), f.now.as_deref(), f.wanted.as_deref(), f.note.as_str())).collect();
    assert_eq!(
        rows,
        [
            (KEY, Some("off"), Some("on"), ""),
            ("missing", None, Some("25 %"), "it is defined nowhere"),
            ("theme", Some("a"), None, "its variants are no booleans, and none is named on"),
        ]
    );
    let lost = read(&*rig.cluster, &spot(), &FlagStore::Object("gone".into())).await.unwrap();
    assert_eq!(views(&lost, Some(&release))[0].note.as_str(), "there is no featureflag payments/gone");
    let twice = views(&[shelves.clone(), shelves].concat(), None);
    assert!(twice.iter().all(|f| f.note.contains("2 places")), "{twice:?}");
}

/// Waits for a snapshot.
async fn until(
    snapshots: &mut tokio::sync::watch::Receiver<Arc<Snapshot>>,
    test: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let found = tokio::time::timeout(Duration::from_secs(20), snapshots.wait_for(|s| test(s))).await;
    Arc::clone(&found.expect("the flag is never shown so").unwrap())
}

#[tokio::test]
async fn the_loop_shows_flags_and_flips_them() {
    for n in 0..3 {
        let rig = Rig::new();
        let (_, store) = rig.homes().into_iter().nth(n).unwrap();
        let release = Release {
            flags: vec![(KEY.into(), "on".into())],
            flag_home: FlagHome { store, safe: [(KEY.into(), false)].into() },
            ..Release::default()
        };
        let scope = Scope { place: spot(), mode: Mode::Live, cluster_uid: None, release: Some(release) };
        let cluster: Arc<dyn Cluster> = rig.cluster.clone();
        let place = Place { cluster, scope: Arc::new(scope), metrics: Err("no metrics here".into()) };
        let again = place.clone();
        let systems = Systems {
            clock: Arc::new(SystemClock::default()),
            journal: rig.journal(),
            conditions: Arc::new(footplate::adapters::conditions::Conditions::default()),
            open: Arc::new(move |_| Ok(again.clone())),
            take_over: None,
            depart: None,
        };
        let mut handle = start(place, systems);
        let is = |wanted: &'static str| {
            move |s: &Snapshot| s.flags.first().is_some_and(|f| f.key == KEY && f.now.as_deref() == Some(wanted))
        };
        let shown = until(&mut handle.snapshots, is("off")).await;
        let view = shown.flags[0].clone();
        assert_eq!(view.wanted.as_deref(), Some("on"));

        let setting = FlagSetting::Percent(5);
        let targets = view.object.iter().cloned().collect();
        let question = Question { level: Confirm::Type(KEY.into()), direction: Direction::Forward, targets };
        let ordered = Ordered {
            id: 7,
            want: Want::Flag { key: KEY.into(), source: view.source.clone(), setting },
            layers: vec![vec![Target { name: KEY.into(), object: view.object.clone(), seen: None }]],
            train: None,
            confirmed: question.answer(&Answer::Typed(KEY.into()), Timestamp::now()).unwrap(),
            order: order(),
        };
        handle.intents.send(Intent::Order(Box::new(ordered))).await.unwrap();
        let report = tokio::time::timeout(Duration::from_secs(20), handle.reports.recv()).await.unwrap().unwrap();
        assert_eq!((report.id, report.last, report.outcome), (7, true, Outcome::Done("off -> 5 %".into())));
        until(&mut handle.snapshots, is("5 %")).await;

        // Somebody else's change is seen, too.
        if n == 2 {
            let text = rig.file.read().unwrap();
            rig.file.replace(&text, &serde_json::to_string(&definition()).unwrap()).unwrap();
            until(&mut handle.snapshots, is("off")).await;
        }
        assert!(Path::new(&rig.state.path().join("journal.jsonl")).exists());
    }
}

//! The smallest conductor there can be, for one ground or another (the simulated cluster, a real control plane): it steps the
//! train with what it reads, sends what the train orders through the program's own adapter, and says yes to everything else. Its
//! gate is a word of the test. What the train decides is not asserted here.

#[path = "conducted/scenes.rs"]
pub mod scenes;

use std::sync::Arc;
use std::time::Duration;

use footplate::adapters::kubernetes::Kubernetes;
use footplate::core::confirm::Order;
use footplate::core::elector::{self, Elector, Epoch, Pace};
use footplate::core::frozen::patch::{Cannot, Ordered, landed, of_forward, of_safe, record, record_ref};
use footplate::core::frozen::reading::reading;
use footplate::core::frozen::{FORM, FlagPlace, Frozen, Queries, Raw, Workload};
use footplate::core::guard::{TrainStanding, clear_for_train};
use footplate::core::judge;
use footplate::core::object::{Object, ObjectKind, ObjectRef};
use footplate::core::slo::{GateBy, Slo};
use footplate::core::snapshot::WriteMode;
use footplate::core::text::Text;
use footplate::core::train::effect::Effect;
use footplate::core::train::event::{Answer, At, Cause, Event, Fact, Found, Input, Intent, Judged, Reading, Want};
use footplate::core::train::preflight::checks;
use footplate::core::train::resolved::{Abandon, Deploy, Kind, Resolved, Service, Times, Untimed, Wave};
use footplate::core::train::state::{Ended, State};
use footplate::core::train::{Role, step};
use footplate::core::verdict::Verdict;
use footplate::ports::{Cluster, FaultKind, Identity, Interest};
use jiff::Timestamp;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What time it is in the cluster.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub struct Conductor {
    cluster: Kubernetes,
    clock: Clock,
    begun: Timestamp,
    pub frozen: Frozen,
    pub state: Option<State>,
    elector: Elector,
    version: u64,
    /// What the gate says of the service.
    pub verdict: Verdict,
    /// What was sent and how it was answered, for a person.
    pub said: Vec<String>,
}

/// A train of one service `app`, on its way to this image.
pub fn frozen(kind: Kind, uid: &str, namespace: &str, image: &str, config: Option<&str>) -> Frozen {
    let service = Service {
        name: "app".into(),
        version: "2.0.0".into(),
        image: image.into(),
        kind,
        wave: 0,
        needs: Vec::new(),
        untimed: Untimed::Gate,
        synthetic: false,
        commit: None,
    };
    // As fast as the rules allow: nothing here is about how long things take.
    let times = Times { window: 4_000, bake: 2_000, ..Times::default() };
    let resolved = Resolved {
        release: "words".into(),
        uid: uid.into(),
        id: "QKZD".into(),
        environment: "test".into(),
        captain: "ana".into(),
        abandon: Abandon::Stay,
        deploy: Deploy::Direct,
        waves: vec![Wave { services: vec![0], expand: false }],
        services: vec![service],
        migrations: Vec::new(),
        flags: Vec::new(),
        policies: Vec::new(),
        times,
    };
    let workload = Workload {
        service: "app".into(),
        kind,
        name: "app".into(),
        container: Some("app".into()),
        config: config.map(Into::into),
        slo: Slo::default(),
        gate: GateBy::Metrics,
        lag: None,
        max_lag: None,
        weights: None,
    };
    Frozen {
        form: FORM,
        resolved,
        manifest_sha256: Text::default(),
        cluster_uid: "cluster-1".into(),
        pinned_uid: None,
        namespace: namespace.into(),
        protected: false,
        workloads: vec![workload],
        watched: Vec::new(),
        flags: FlagPlace::Objects,
        scripts: Vec::new(),
        prometheus: None,
        queries: Queries { requests: Text::default(), errors: Text::default(), latency: Text::default() },
        guard: judge::Settings::default(),
        freeze: Vec::new(),
        incidents: Vec::new(),
        edges: Vec::new(),
        estimate: 0,
    }
}

impl Conductor {
    pub fn new(client: kube::Client, frozen: Frozen, me: &str, clock: Clock) -> Self {
        let name: Text = "words".into();
        let identity =
            Identity { context: name.clone(), server: name.clone(), user: name, namespace: frozen.namespace.clone() };
        let state = State::new(Arc::new(frozen.resolved.clone()));
        let begun = clock();
        Self {
            cluster: Kubernetes::over(client, identity),
            clock,
            begun,
            frozen,
            state: Some(state),
            elector: Elector::new(me.into(), Pace::default()),
            version: 0,
            verdict: Verdict::Pass,
            said: Vec::new(),
        }
    }

    pub fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    fn now(&self) -> u64 {
        u64::try_from((self.clock)().duration_since(self.begun).as_millis()).unwrap() + 1
    }

    /// Wins an election in which nobody else stands, and renews.
    fn epoch(&mut self) -> Epoch {
        let now = self.now();
        let mut act = self.elector.step(now, elector::Event::Tick);
        while let Some(next) = act {
            act = match next {
                elector::Act::Read => self.elector.step(now, elector::Event::Read(None)),
                elector::Act::Write(..) => {
                    self.version += 1;
                    self.elector.step(now, elector::Event::Wrote(self.version))
                }
            };
        }
        self.elector.epoch(now).expect("nobody else stands")
    }

    fn at(&self, kind: ObjectKind, name: &str) -> ObjectRef {
        ObjectRef { kind, name: name.into(), ..self.frozen.object(0, &"words".into()) }
    }

    async fn object(&self, at: &ObjectRef) -> Option<Object> {
        self.cluster.read(at).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Reads everything of the service, freshly.
    pub async fn with<T>(&self, f: impl FnOnce(&Raw<'_>) -> T) -> T {
        let cluster: Text = "words".into();
        let object = self.object(&self.frozen.object(0, &cluster)).await.expect("the workload is there");
        let refers = ["/spec/workloadRef/name", "/spec/targetRef/name"].iter().find_map(|at| object.str(at));
        let (mut target, mut primary) = (None, None);
        if let Some(name) = refers {
            target = self.object(&self.at(ObjectKind::Deployment, name)).await;
            primary = self.object(&self.at(ObjectKind::Deployment, &format!("{name}-primary"))).await;
        }
        let all = Interest {
            kind: ObjectKind::ReplicaSet,
            namespace: self.frozen.namespace.clone(),
            labels: Text::default(),
            fields: Text::default(),
        };
        let sets = self.cluster.list(&all).await.unwrap_or_else(|fault| panic!("{fault}"));
        let sets: Vec<&Object> = sets.iter().collect();
        let record = self.object(&record_ref(&self.frozen, 0, &cluster)).await;
        f(&Raw {
            cluster: &cluster,
            object: &object,
            target: target.as_ref(),
            primary: primary.as_ref(),
            sets: &sets,
            record: record.as_ref(),
            now: (self.clock)(),
        })
    }

    pub async fn read(&self) -> Reading {
        self.with(|raw| reading(&self.frozen, 0, raw)).await.expect("it can be read")
    }

    /// Sends, one after the other.
    async fn send(&mut self, orders: Result<Vec<Ordered>, Cannot>, epoch: &Epoch) -> Answer {
        let orders = match orders {
            Ok(orders) => orders,
            Err(cannot) => {
                self.said.push(format!("not sent: {}", cannot.why()));
                return cannot.answer();
            }
        };
        let mut answer = Answer::Moved;
        for ordered in orders {
            let says = ordered.effect().says.clone();
            let object = ordered.effect().object.name.clone();
            let standing = TrainStanding {
                write: WriteMode::ReadWrite,
                cluster_uid: (None, None),
                read_ago: Duration::ZERO,
                ordered_ago: Duration::ZERO,
                epoch: Some(epoch),
            };
            let cleared = clear_for_train(ordered, &standing).unwrap_or_else(|refusal| panic!("{}", refusal.why));
            answer = match self.cluster.send(&cleared).await {
                Ok(object) => landed(cleared.effect(), &object),
                Err(fault) if fault.kind == FaultKind::Unprocessable => {
                    self.said.push(format!("{fault}"));
                    Answer::Moved
                }
                Err(fault) => panic!("{fault}"),
            };
            self.said.push(format!("{} ms: {object}: {says}: {answer:?}", self.now()));
            if answer == Answer::Moved {
                break;
            }
        }
        answer
    }

    /// One input, and everything that follows from it.
    pub async fn hear(&mut self, event: Event) {
        let mut inbox = vec![event];
        while let Some(event) = inbox.pop() {
            assert!(self.said.len() < 300, "it goes round in circles:\n{}", self.said.join("\n"));
            let epoch = self.epoch();
            let input = Input { at: At { mono: self.now(), wall: (self.clock)() }, lease: None, event };
            let (state, effects) = step(self.state.take().unwrap(), Role::Conducting(&epoch), &input);
            self.state = Some(state);
            for effect in effects {
                match effect {
                    Effect::Safe(token, safe) => {
                        let orders = self.with(|raw| of_safe(&self.frozen, &safe, raw)).await;
                        inbox.push(Event::Answered(token, self.send(orders, &epoch).await));
                    }
                    Effect::Forward(token, forward) => {
                        let orders = self.with(|raw| of_forward(&self.frozen, &forward, raw)).await;
                        inbox.push(Event::Answered(token, self.send(orders, &epoch).await));
                    }
                    Effect::Record(token, service) => {
                        let order = self.with(|raw| record(&self.frozen, service, raw)).await;
                        let orders = order.map(|order| vec![order]);
                        inbox.push(Event::Answered(token, self.send(orders, &epoch).await));
                    }
                    Effect::Read(service) => inbox.push(Event::Read(service, Arc::new(self.read().await))),
                    Effect::Order(intent) => inbox.push(Event::Ordered(intent)),
                    Effect::Keep(entry) => inbox.push(Event::Kept(entry)),
                    Effect::Status(version) => inbox.push(Event::StatusKept(version)),
                    Effect::Measure(service) => inbox.push(Event::Fact(Fact {
                        check: footplate::core::train::event::Check::Burning(service),
                        found: Found::Good("measured".into()),
                    })),
                    Effect::Alarm(_, what) | Effect::Page(what) => self.said.push(format!("told: {what}")),
                    Effect::Tell(what) => self.said.push(format!("event: {what:?}")),
                    other => panic!("not in this train: {other:?}"),
                }
            }
        }
    }

    /// Goes on with what another one remembers, under a later epoch.
    pub fn take_over(&mut self, other: &Self) {
        let memory = other.state().memory().clone();
        self.elector.raise(memory.epoch.0);
        self.state = Some(State::resume(Arc::new(self.frozen.resolved.clone()), memory));
        self.begun = other.begun;
    }

    /// Orders something, in ana's name.
    pub async fn order(&mut self, id: u64, want: Want) {
        let order = Order { who: "ana".into(), when: (self.clock)(), why: "a test".into() };
        self.hear(Event::Ordered(Intent { id, order, want, epoch: None })).await;
    }

    /// Sets off: all checks are good.
    pub async fn start(&mut self) {
        self.order(1, Want::Start).await;
        for check in checks(&self.frozen.resolved) {
            self.hear(Event::Fact(Fact { check, found: Found::Good("it is so".into()) })).await;
        }
    }

    /// One look: reads, judges, lets time pass.
    pub async fn look(&mut self) -> Reading {
        tokio::time::sleep(LOOK_EVERY).await;
        let read = self.read().await;
        self.hear(Event::Read(0, Arc::new(read.clone()))).await;
        let judged = Judged {
            service: 0,
            verdict: self.verdict,
            hash: Some(read.current.clone()),
            step: Some(read.step),
            full: true,
            error: false,
            cause: Cause::Logic,
            why: "the test says so".into(),
        };
        self.hear(Event::Judged(judged)).await;
        read
    }

    /// Looks until this is read.
    pub async fn until(&mut self, what: &str, test: impl Fn(&State, &Reading) -> bool) -> Reading {
        let since = self.now();
        loop {
            let read = self.look().await;
            if test(self.state(), &read) {
                return read;
            }
            if self.now() > since + 120_000 {
                panic!("never: {what}\n{read:#?}\n{}\n{:#?}", self.said.join("\n"), self.state().memory().services);
            }
        }
    }

    pub async fn until_ended(&mut self, end: Ended) -> Reading {
        self.until(&format!("the train ends {end:?}"), |state, _| state.memory().ended == Some(end)).await;
        // What was read in that look may be from before its last write.
        self.read().await
    }
}

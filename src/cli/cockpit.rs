//! `footplate [cockpit] [MANIFEST]`: the screen on live state.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;

use super::console::Console;
use super::depart::{Luggage, files, set_off};
use super::failure::{Failure, FailureKind};
use super::ordering::who;
use super::place::{Strictness, Target, elsewhere, resolve};
use super::run::{office, stopped};
use super::screen::{Opening, first_frame, show};
use super::{Global, MetricsAt, Wiring};
use crate::cockpit::message::ContextRow;
use crate::cockpit::terminal::Ending;
use crate::core::confirm::Refusal;
use crate::core::elector::Pace;
use crate::core::intent::Departing;
use crate::core::lease;
use crate::core::manifest::Environment;
use crate::core::release::Release;
use crate::core::repository::Repository;
use crate::core::snapshot::{Place as Where, WriteMode};
use crate::core::text::Text;
use crate::engine::act::{Driver, Outcome};
use crate::engine::conduct::{self, Office, Say};
use crate::engine::depart::Files;
use crate::engine::run::{self, Depart, Opener, Place, Systems, TakeOver};
use crate::ports::{Clusters, Fault, Metrics};

/// How long giving a Lease back may take.
const HANDED_OVER_IN: Duration = Duration::from_secs(5);

/// Arguments of the cockpit.
#[derive(Args, Clone, Debug, Default)]
pub struct CockpitArgs {
    /// The release manifest [default: release.yaml of this folder or its repository]
    #[arg(value_name = "MANIFEST")]
    pub manifest: Option<PathBuf>,
    /// Prometheus to ask about gates [default: the environment's in footplate.yaml]
    #[arg(long, value_name = "URL", env = "FOOTPLATE_PROMETHEUS")]
    pub prometheus: Option<String>,
}

/// Opens the screen; returns when the person leaves.
pub async fn run(args: &CockpitArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    // A manifest that was named must be right; one that happens to lie here must not stand in the way at 3 a.m.
    let strictness = if args.manifest.is_some() { Strictness::Must } else { Strictness::May };
    let target = resolve(args.manifest.as_deref(), strictness, global, wiring, console)?;
    let office = office(&target, None, Pace::default(), wiring, console);
    let Target { cluster, scope, prometheus, environments, repository, .. } = target;
    let luggage = packed(repository, args, global, wiring);
    let address = args.prometheus.as_deref().map(Text::scrub).or(prometheus);
    let user = cluster.identity().user;
    let first = Place { cluster, scope: Arc::clone(&scope), metrics: metrics(address.as_ref(), &wiring.metrics) };
    let environments_here = environments.clone();
    let opener: Opener = {
        let (clusters, first, metrics_at) = (Arc::clone(&wiring.clusters), first.clone(), Arc::clone(&wiring.metrics));
        let own = Arc::clone(&global.own);
        Arc::new(move |context: &Text| {
            // Back to where the screen was opened: whatever was said then holds again.
            if *context == first.scope.place.context {
                return Ok(first.clone());
            }
            let cluster = clusters.connect(context, &own.plugins())?;
            let (there, environment) = elsewhere(&first.scope, &environments, cluster.identity(), &own.person);
            let address = environment.and_then(|e| e.prometheus);
            Ok(Place { cluster, scope: Arc::new(there), metrics: metrics(address.as_ref(), &metrics_at) })
        })
    };
    let embedded = Embedded::default();
    let take_over = embedded.taker(office.clone());
    let systems = Systems {
        clock: Arc::clone(&wiring.clock),
        journal: Arc::clone(&office.journal),
        conditions: Arc::clone(&wiring.conditions),
        open: opener,
        depart: Some(departs(luggage, environments_here, office, Arc::clone(&take_over))),
        take_over: Some(take_over),
    };
    let contexts = contexts(&*wiring.clusters, &scope.place, global);
    let (painted, seen) = first_frame();
    let handle = run::start_when(first, systems, seen);
    let opening = Opening { clock: Arc::clone(&wiring.clock), who: who(&user), contexts, painted: Some(painted) };
    let ending = show(handle, opening, global).await;
    let vanished = matches!(ending, Ok(Ending::Vanished));
    embedded.end(vanished).await;
    ending.map(|_| ())
}

/// What trains from here are made of: the repository as it was when the screen was opened. None without a manifest.
type Packed = Option<(Repository, Result<Files, Text>)>;

fn packed(repository: Option<Repository>, args: &CockpitArgs, global: &Global, wiring: &Wiring) -> Packed {
    let repository = repository?;
    let root = wiring.repo.open(args.manifest.as_deref(), global.services.as_deref());
    let read = root.map_err(|finding| finding.message).and_then(|root| files(&repository, &root, &*wiring.repo));
    Some((repository, read))
}

/// Records a train of what was packed, and conducts it where nobody holds the Lease.
fn departs(luggage: Packed, environments: Vec<Environment>, office: Office, take_over: TakeOver) -> Depart {
    let luggage = Arc::new((luggage, environments));
    Arc::new(move |place: Place, train: Departing| {
        let (luggage, office, take_over) = (Arc::clone(&luggage), office.clone(), Arc::clone(&take_over));
        Box::pin(async move {
            match depart(&luggage.0, &luggage.1, &office, &place, &train).await {
                Err(failure) => {
                    let causes: Vec<&str> = failure.causes.iter().map(Text::as_str).collect();
                    let why = if causes.is_empty() {
                        failure.what
                    } else {
                        crate::text!("{}: {}", failure.what, causes.join("; "))
                    };
                    Outcome::Refused(Refusal { why, hint: failure.hint, already: false })
                }
                Ok(release) => {
                    let id = &release.frozen.resolved.id;
                    let lease = lease::id(&place.cluster.identity().context, &place.scope.place.namespace);
                    let free = match place.cluster.read(&lease).await {
                        Ok(None) => true,
                        Ok(Some(held)) => lease::read(&held).is_ok_and(|(lease, _)| lease.holder.is_empty()),
                        Err(_) => false,
                    };
                    let by = if free { take_over(&place, &release).ok() } else { None };
                    let by = by.unwrap_or_else(|| "whoever holds the Lease conducts it".into());
                    Outcome::Done(crate::text!("train {id} is recorded; {by}"))
                }
            }
        })
    })
}

async fn depart(
    luggage: &Packed,
    environments: &[Environment],
    office: &Office,
    place: &Place,
    train: &Departing,
) -> Result<Release, Failure> {
    let input = |what: Text, hint: &str| Failure::new(FailureKind::Input, what, hint);
    let Some((repository, files)) = luggage else {
        return Err(input("a train needs a manifest".into(), "open the cockpit with a release.yaml"));
    };
    let files = files.as_ref().map_err(|why| input(why.clone(), "mend it, and open the cockpit anew"))?;
    let named = place.scope.place.environment.as_ref();
    let Some(environment) = named.and_then(|name| environments.iter().find(|e| e.name == *name)) else {
        return Err(input("a train needs an environment".into(), "open the cockpit with --env"));
    };
    let driver = Driver {
        cluster: Arc::clone(&place.cluster),
        clock: Arc::clone(&office.clock),
        journal: Arc::clone(&office.journal),
        write: place.scope.place.write,
        cluster_uid: place.scope.cluster_uid.clone(),
    };
    let luggage = Luggage { repository, environment, files };
    set_off(&driver, &place.scope, &luggage, &train.order, |departure, _| {
        let services = departure.frozen.resolved.services.iter().map(|s| &s.name);
        let (now, seen): (BTreeSet<&Text>, BTreeSet<&Text>) = (services.collect(), train.services.iter().collect());
        if now != seen {
            let why = "the train is another one than was shown".into();
            return Err(Refusal { why, hint: "look again, and start it anew".into(), already: false });
        }
        Ok(train.answer.clone())
    })
    .await
}

/// The conductors that this cockpit has become, a train each.
#[derive(Clone, Default)]
struct Embedded(Arc<Mutex<Vec<conduct::Handle>>>);

impl Embedded {
    /// Has this process conduct a train, from wherever it stands. Of the office everything counts but the place.
    fn taker(&self, office: Office) -> TakeOver {
        let held = Arc::clone(&self.0);
        Arc::new(move |place: &Place, release: &Release| {
            if place.scope.place.write != WriteMode::ReadWrite {
                return Err(Refusal {
                    why: crate::text!("{} is read-only: nothing is conducted from here", place.scope.place.context),
                    hint: "open it so that it may write".into(),
                    already: false,
                });
            }
            let handle = conduct::start(Office {
                cluster: Arc::clone(&place.cluster),
                namespace: place.scope.place.namespace.clone(),
                write: place.scope.place.write,
                only: Some(release.uid.clone()),
                ..office.clone()
            });
            let taken = handle.say.try_send(Say::Take).is_ok();
            // Who holds the Lease without a train keeps the next one from everybody.
            let (mut views, leave) = (handle.views.clone(), handle.say.clone());
            tokio::spawn(async move {
                if views.wait_for(|view| view.idle).await.is_ok() {
                    let _ = leave.send(Say::Leave).await;
                }
            });
            held.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
            debug_assert!(taken, "an empty channel takes one word");
            Ok(crate::text!("this cockpit conducts it as {}", office.me))
        })
    }

    /// Hands the trains over when a person leaves. Where the terminal vanished they are brought to their end first: nobody
    /// decided to leave them (`train.md` §9).
    async fn end(self, vanished: bool) {
        let stop = stopped();
        tokio::pin!(stop);
        let mut stopping = !vanished;
        let held = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for mut handle in held {
            while !stopping && !handle.ended.is_finished() {
                let over = handle.views.borrow_and_update().train.as_ref().is_some_and(|t| t.ended.is_some());
                if over {
                    break;
                }
                tokio::select! {
                    changed = handle.views.changed() => if changed.is_err() { break },
                    // Told to go, it hands over.
                    () = &mut stop => stopping = true,
                }
            }
            let _ = handle.say.send(Say::Leave).await;
            let _ = tokio::time::timeout(HANDED_OVER_IN, handle.ended).await;
        }
    }
}

fn metrics(address: Option<&Text>, at: &MetricsAt) -> Result<Arc<dyn Metrics>, Text> {
    let Some(address) = address else {
        return Err("no Prometheus: name one in footplate.yaml, or with --prometheus".into());
    };
    at(address).map_err(|Fault { what, why, .. }| crate::text!("{what}: {why}"))
}

/// The contexts to switch to, each with how it would be opened.
fn contexts(clusters: &dyn Clusters, here: &Where, global: &Global) -> Vec<ContextRow> {
    let all = clusters.contexts().map(|list| list.all).unwrap_or_default();
    let write = |name: &Text| match here.write {
        WriteMode::ReadOnly => WriteMode::ReadOnly,
        write if *name == here.context => write,
        _ => global.own.person.write_mode_elsewhere(name),
    };
    all.into_iter().map(|c| ContextRow { write: write(&c.name), name: c.name, namespace: c.namespace }).collect()
}

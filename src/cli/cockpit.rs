//! `footplate [cockpit] [MANIFEST]`: the screen on live state.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::act::{journal, who};
use super::console::Console;
use super::failure::Failure;
use super::place::{Strictness, Target, elsewhere, resolve};
use super::screen::{Opening, first_frame, show};
use super::{Global, MetricsAt, Wiring};
use crate::cockpit::message::ContextRow;
use crate::core::snapshot::{Place as Where, WriteMode};
use crate::core::text::Text;
use crate::engine::run::{self, Opener, Place, Systems};
use crate::ports::{Clusters, Fault, Metrics};

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
    let Target { cluster, scope, prometheus, environments, .. } =
        resolve(args.manifest.as_deref(), strictness, global, wiring, console)?;
    let address = args.prometheus.as_deref().map(Text::scrub).or(prometheus);
    let user = cluster.identity().user;
    let first = Place { cluster, scope: Arc::clone(&scope), metrics: metrics(address.as_ref(), &wiring.metrics) };
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
    let systems = Systems {
        clock: Arc::clone(&wiring.clock),
        journal: journal(wiring, true, console),
        conditions: Arc::clone(&wiring.conditions),
        open: opener,
    };
    let contexts = contexts(&*wiring.clusters, &scope.place, global);
    let (painted, seen) = first_frame();
    let handle = run::start_when(first, systems, seen);
    let opening = Opening { clock: Arc::clone(&wiring.clock), who: who(&user), contexts, painted: Some(painted) };
    show(handle, opening, global).await.map(|_| ())
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

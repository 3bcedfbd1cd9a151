//! The thin binary: wires the adapters in and hands over to the command line.

use std::process::ExitCode;
use std::sync::Arc;

use footplate::adapters::clock::SystemClock;
use footplate::adapters::conditions::Conditions;
use footplate::adapters::flagd::FlagFile;
use footplate::adapters::git::GitHistory;
use footplate::adapters::journal::FileJournal;
use footplate::adapters::kubernetes::{Kubeconfigs, Kubernetes};
use footplate::adapters::probe::Probe;
use footplate::adapters::prometheus::Prometheus;
use footplate::adapters::repo::DiskRepo;
use footplate::adapters::webhook::Webhook;
use footplate::cli::{self, Wiring};
use footplate::core::text::Text;
use footplate::ports::Identity;
use footplate::rehearsal::prometheus;

fn main() -> ExitCode {
    // One TLS provider for every client; a second installation is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::from(3);
        }
    };
    let code = runtime.block_on(cli::run(Wiring {
        repo: Box::new(DiskRepo),
        clusters: Arc::new(Kubeconfigs),
        clock: Arc::new(SystemClock::default()),
        journal: Box::new(|path| Ok(Arc::new(FileJournal::open(path)?))),
        metrics: Arc::new(|address| Ok(Arc::new(Prometheus::at(address)?))),
        conditions: Arc::new(Conditions::default()),
        rehearsal: Arc::new(|router, namespace, seed| {
            let metrics = Prometheus::within(router.clone(), prometheus::PREFIX);
            let name = Text::scrub("rehearsal");
            let identity = Identity {
                context: name.clone(),
                server: "in process".into(),
                user: "captain".into(),
                namespace: Text::scrub(namespace),
            };
            (Arc::new(Kubernetes::seeded(kube::Client::new(router, namespace), identity, seed)), Arc::new(metrics))
        }),
        flag_file: Arc::new(|path| Arc::new(FlagFile::at(path))),
        history: Box::new(|root| Arc::new(GitHistory::of(root))),
        post: Arc::new(Webhook::default()),
        probe: Arc::new(Probe::default()),
    }));
    // A look-up of a name that never ends must not hold up the end of the program.
    // Nor is a screen waited for that hangs in a terminal which takes nothing any more.
    runtime.shutdown_background();
    code
}

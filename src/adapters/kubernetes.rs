//! One Kubernetes cluster behind [`Cluster`]: the API server of a kubeconfig context, of a pod's service account, or
//! any client that somebody hands in (the rehearsal server in process). Carries out and reports; decides nothing.

mod context;
mod credentials;
mod fault;
mod read;
mod send;
mod trim;
mod watch;
mod wire;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use context::{Contexts, IN_CLUSTER, Selected};
pub use credentials::PLUGIN_DEADLINE;
pub use send::FIELD_MANAGER;

use crate::core::guard::Cleared;
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;
use crate::ports::{Access, Cluster, Clusters, ContextList, Fault, Fut, Identity, Interest, Plugins, Seen};
use wire::Wire;

/// One Kubernetes cluster.
#[derive(Clone)]
pub struct Kubernetes {
    wire: Arc<Wire>,
}

impl Kubernetes {
    /// To the server of a context, with these credential plugins and no others. Nothing is sent before the first call, and certificates and keys of the kubeconfig that
    /// cannot be used are told then. Fails when its credential plugin has no command.
    pub fn connect(selected: Selected, plugins: &Plugins) -> Result<Self, Fault> {
        Ok(Self { wire: Arc::new(Wire::connect(selected, plugins)?) })
    }

    /// Over a client that exists already, known by this identity.
    pub fn over(client: kube::Client, identity: Identity) -> Self {
        Self::seeded(client, identity, wire::seed())
    }

    /// The same with the seed of what is left to chance: the length of watches and pauses.
    pub fn seeded(client: kube::Client, identity: Identity, seed: u64) -> Self {
        Self { wire: Arc::new(Wire::over(client, identity, seed)) }
    }
}

/// The contexts of this person's kubeconfig files, read anew each time, since a login rewrites them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kubeconfigs;

impl Clusters for Kubeconfigs {
    fn contexts(&self) -> Result<ContextList, Fault> {
        Ok(Contexts::load(|key| std::env::var_os(key))?.info())
    }

    fn connect(&self, context: &str, plugins: &Plugins) -> Result<Arc<dyn Cluster>, Fault> {
        let selected = Contexts::load(|key| std::env::var_os(key))?.select(context)?;
        Ok(Arc::new(Kubernetes::connect(selected, plugins)?))
    }
}

impl Cluster for Kubernetes {
    fn identity(&self) -> Identity {
        self.wire.caller.identity.clone()
    }

    fn watch(&self, interest: Interest, out: mpsc::Sender<Seen>) -> Fut<'static, ()> {
        Box::pin(watch::run(Arc::clone(&self.wire), interest, out))
    }

    fn read<'a>(&'a self, object: &'a ObjectRef) -> Fut<'a, Result<Option<Object>, Fault>> {
        Box::pin(read::read(&self.wire, object))
    }

    fn list<'a>(&'a self, interest: &'a Interest) -> Fut<'a, Result<Vec<Object>, Fault>> {
        Box::pin(async move { read::list(&self.wire, "list", interest, Object::new).await.map(|(objects, _)| objects) })
    }

    fn send<'a>(&'a self, effect: &'a Cleared) -> Fut<'a, Result<Object, Fault>> {
        Box::pin(send::send(&self.wire, effect))
    }

    fn may<'a>(&'a self, wanted: &'a [Access]) -> Fut<'a, Result<Vec<bool>, Fault>> {
        Box::pin(read::may(&self.wire, wanted))
    }

    fn serves<'a>(&'a self, kinds: &'a [ObjectKind]) -> Fut<'a, Result<Vec<bool>, Fault>> {
        Box::pin(read::serves(&self.wire, kinds))
    }

    fn credentials(&self) -> Fut<'_, Result<Option<Text>, Fault>> {
        Box::pin(self.wire.credentials())
    }

    fn held_up(&self) -> Option<Fault> {
        self.wire.held_up()
    }

    fn about(&self) -> Fut<'_, Result<(Text, Option<i64>), Fault>> {
        Box::pin(read::about(&self.wire))
    }
}

//! Puts the rehearsal cluster on a loopback port, for unmodified clients of other people. There is no TLS and nobody has
//! to say who they are, so nothing but loopback is bound, and a web page of another origin is turned away.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

pub use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::ListenerExt;
use http::{HeaderMap, header};
use tokio::net::TcpListener;

use super::api::{self, refuse};
use super::clock::{RehearsalClock, SharedWorld, drive};
use super::faults::{self, Faults};
use super::prometheus;
use super::refusal::Refusal;
use super::world::World;

/// Opens a loopback port; port 0 takes a free one.
///
/// # Errors
/// When the address is not on loopback, or cannot be bound.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let why = format!("{address} is not a loopback address; use 127.0.0.1:PORT or [::1]:PORT");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    TcpListener::bind(address).await
}

/// A kubeconfig with one context, `rehearsal`, for a served cluster.
pub fn kubeconfig(address: SocketAddr, namespace: &str) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: rehearsal\n\
         clusters:\n\
         - name: rehearsal\n  cluster: {{server: \"http://{address}\"}}\n\
         users:\n\
         - name: captain\n  user: {{}}\n\
         contexts:\n\
         - name: rehearsal\n  context: {{cluster: rehearsal, user: captain, namespace: {namespace}}}\n"
    )
}

/// Writes a served cluster's kubeconfig to a file, whose folder is made when it is not there.
///
/// # Errors
/// When the file cannot be written.
pub fn write_kubeconfig(path: &Path, address: SocketAddr, namespace: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, kubeconfig(address, namespace))
}

/// What to tell a person about a served cluster.
pub fn advice(address: SocketAddr, kubeconfig: &Path, scenario: &str) -> String {
    let path = kubeconfig.display();
    format!(
        "rehearsal {scenario}: API server on http://{address}, Prometheus on http://{address}{}\n\
         kubectl --kubeconfig {path} get rollouts -w\n\
         kubectl argo rollouts --kubeconfig {path} list rollouts\n\
         Ctrl-C ends it, and everything in it is gone.\n",
        prometheus::PREFIX
    )
}

/// The whole rehearsal behind one router: the API server with its faults, and the Prometheus API beside it.
pub fn router(world: &World, faults: Faults) -> Router {
    let store = world.store().clone();
    let server = faults::around(api::router(store.clone()), store.clone(), faults);
    prometheus::router(store, world.metrics().clone()).merge(server)
}

/// Lets a world run by a clock and serves it until `stop` is ready.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    listener: TcpListener,
    world: SharedWorld,
    clock: RehearsalClock,
    faults: Faults,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(&world.lock(), faults);
    tokio::select! {
        () = drive(world, clock) => Ok(()),
        ended = serve(listener, router, stop) => ended,
    }
}

/// Serves a router until `stop` is ready; open watches are cut then.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    // A watch event is small and must not wait for the next one.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = router.layer(middleware::from_fn(local_only));
    tokio::select! {
        ended = axum::serve(listener, router) => ended,
        () = stop => Ok(()),
    }
}

/// Ready when the process is told to end: SIGINT or SIGTERM.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn local_only(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        next.run(request).await
    } else {
        refuse(&Refusal::new(403, "Forbidden", "the rehearsal cluster answers clients on this machine only"))
    }
}

/// Whether a request names a loopback host and comes from no web page.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    loopback && !headers.contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_bound() {
        let refused = bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("not a loopback address"), "{refused}");
        assert!(bind("127.0.0.1:0".parse().unwrap()).await.unwrap().local_addr().unwrap().port() > 0);
    }

    #[test]
    fn strangers_are_turned_away() {
        let local = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_local(&headers)
        };
        assert!(
            local(&[("host", "127.0.0.1:8001")]) && local(&[("host", "localhost:1")]) && local(&[("host", "[::1]:1")])
        );
        assert!(!local(&[("host", "rebound.example.com:8001")]));
        assert!(!local(&[("host", "127.0.0.1:8001"), ("origin", "https://example.com")]));
    }
}

//! One connection pool to one API server: requests with a deadline, credentials, TCP keepalive and proxies. What is
//! asked and what an answer means is said elsewhere. Nothing here retries, but for one replay after a 401 when a
//! credential plugin gave out something new: a 401 is certain not to have been carried out.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ConfigExt};
use kube::config::{AuthInfo, Config};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use tokio::time::Instant;
use tower::{BoxError, ServiceBuilder};

use super::context::Selected;
use super::credentials::{Grant, PLUGIN_DEADLINE, Plugin};
use super::fault::{Asked, Caller, redact};
use crate::core::object::ObjectKind;
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Identity, Plugins};
use crate::text;

/// The deadline of every read, body included.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// A connection must be there in this time.
const CONNECT: Duration = Duration::from_secs(5);
/// A silent connection is probed after this long, and given up after three probes: 25 s instead of the minutes that a
/// load balancer's silent drop would cost (Azure/kars#456).
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// A server that shares one connection among all requests is asked this often whether it is still there, and given up when it
/// does not answer in this time: a connection that died takes everything with it, and is noticed before a key is pressed.
const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// Longest patience that a server is granted, in seconds.
const PATIENCE_MAX: u64 = 60;
/// Most that is read of an error's body.
const ERROR_BODY_MAX: usize = 1 << 20;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub method: Method,
    pub uri: String,
    pub content_type: Option<&'static str>,
    pub body: Bytes,
}

impl Draft {
    /// A GET.
    pub fn get(uri: String) -> Self {
        Self { method: Method::GET, uri, content_type: None, body: Bytes::new() }
    }

    fn build(&self, grant: Option<&Grant>) -> Result<Request<Body>, http::Error> {
        // Watches of 1.37 gzip each event by itself; plain text is what every version can stream.
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.uri)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("footplate/", env!("CARGO_PKG_VERSION")));
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(bearer) = grant.and_then(|g| g.bearer.as_ref()) {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        request.body(Body::from(self.body.clone()))
    }
}

/// The path of a collection.
pub(super) fn collection(kind: ObjectKind, namespace: &str) -> String {
    let (group, version, plural, _) = kind.api();
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    match namespace {
        "" => format!("{root}/{plural}"),
        namespace => format!("{root}/namespaces/{}/{plural}", segment(namespace)),
    }
}

/// A name as one segment of a path or one value of a query.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// How clients are made, again when a plugin hands out a new client certificate.
struct Transport {
    config: Config,
    proxy: Option<http::Uri>,
}

/// One connection pool to one API server.
pub(super) struct Wire {
    pub caller: Caller,
    /// Made with the first request: the system's trust store alone is hundreds of files, and the first frame of a screen does
    /// not wait for them. With the turn of the credentials that it was made for.
    client: Mutex<Option<(u64, Client)>>,
    transport: Option<Transport>,
    plugin: Option<Plugin>,
    chance: AtomicU64,
    pub patience: Patience,
}

/// What a server that throttles asked for, kept by all watches together: a dozen of them that each waited for themselves would
/// come back as a dozen.
#[derive(Default)]
pub(super) struct Patience {
    asked: AtomicBool,
    until: tokio::sync::Mutex<Option<Instant>>,
}

impl Patience {
    /// Asks; but while the server wants patience one at a time, each as long after the last refusal as that said. The first
    /// answer that is another one lets all others go.
    pub async fn kept<T>(&self, asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut turn = match self.asked.load(Ordering::Relaxed) {
            true => Some(self.until.lock().await),
            false => None,
        };
        match turn.as_deref() {
            Some(Some(until)) => tokio::time::sleep_until(*until).await,
            _ => turn = None,
        }
        let answer = asking.await;
        let refused = match &answer {
            Err(Fault { kind: FaultKind::Throttled(seconds), .. }) => {
                Some(Instant::now() + Duration::from_secs(u64::from(*seconds).clamp(1, PATIENCE_MAX)))
            }
            _ => None,
        };
        if refused.is_some() || turn.is_some() {
            self.asked.store(refused.is_some(), Ordering::Relaxed);
            let mut turn = match turn {
                Some(turn) => turn,
                None => self.until.lock().await,
            };
            *turn = refused;
        }
        answer
    }
}

impl Wire {
    /// Over a client that somebody else made, with the seed of what it leaves to chance.
    pub fn over(client: Client, identity: Identity, seed: u64) -> Self {
        let renew = Text::scrub("renew the credentials of this client");
        Self {
            caller: Caller { identity, renew },
            client: Mutex::new(Some((0, client))),
            transport: None,
            plugin: None,
            chance: AtomicU64::new(seed),
            patience: Patience::default(),
        }
    }

    /// To the server of a context. Certificates and keys are read, and a connection is made, with the first request.
    pub fn connect(selected: Selected, plugins: &Plugins) -> Result<Self, Fault> {
        let Selected { identity, config, auth, proxy, files } = selected;
        let exec = auth.exec.as_ref().filter(|_| auth.token.is_none() && auth.token_file.is_none());
        let plugin = exec.map(|exec| Plugin::new(exec, &identity.user, plugins, PLUGIN_DEADLINE)).transpose()?;
        let renew = match &plugin {
            Some(plugin) => plugin.renew(),
            None => renewal(&auth, &identity, &files),
        };
        let transport = Transport { config, proxy };
        Ok(Self {
            caller: Caller { identity, renew },
            client: Mutex::default(),
            transport: Some(transport),
            plugin,
            chance: AtomicU64::new(seed()),
            patience: Patience::default(),
        })
    }

    /// A number from 0 to below 1 (SplitMix64), so that many clients do not do everything at the same moment.
    pub fn chance(&self) -> f64 {
        let mut z = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(((z ^ (z >> 31)) >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }

    /// Gets what the plugin hands out, without asking the server anything; the plugin's command, none without a plugin.
    pub async fn credentials(&self) -> Result<Option<Text>, Fault> {
        match &self.plugin {
            Some(plugin) => plugin.grant(None).await.map(|_| Some(plugin.command_line())),
            None => Ok(None),
        }
    }

    /// A credential plugin that runs for longer than it should.
    pub fn held_up(&self) -> Option<Fault> {
        self.plugin.as_ref()?.held_up()
    }

    /// Sends and reads the whole answer, all within the deadline. An answer that is no success is a fault.
    pub async fn ask(
        &self,
        asked: &Asked,
        draft: &Draft,
        deadline: Duration,
    ) -> Result<(http::HeaderMap, Bytes), Fault> {
        let started = Instant::now();
        let (parts, body) = self.open(asked, draft, deadline).await?.into_parts();
        let body = tokio::time::timeout_at(started + deadline.max(READ_DEADLINE), body.collect());
        let body = body.await.map_err(|_| self.caller.late(asked, deadline.as_secs()))?;
        let body = body.map_err(|why| self.caller.broken(asked, &why))?;
        Ok((parts.headers, body.to_bytes()))
    }

    /// Sends and waits for the head of the answer; the body may stream for as long as it likes.
    pub async fn open(&self, asked: &Asked, draft: &Draft, deadline: Duration) -> Result<Response<Body>, Fault> {
        if let Some(fault) = self.caller.unnameable(asked) {
            return Err(fault);
        }
        let mut refused = None;
        loop {
            let grant = match &self.plugin {
                Some(plugin) => Some(plugin.grant(refused).await?),
                None => None,
            };
            let client = self.client(grant.as_ref())?;
            let request = draft.build(grant.as_ref()).map_err(|why| self.caller.malformed(asked, why))?;
            let response = tokio::time::timeout(deadline, client.send(request)).await;
            let response = response.map_err(|_| self.caller.late(asked, deadline.as_secs()))?;
            let response = response.map_err(|why| self.caller.broken(asked, &why))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED
                && refused.is_none()
                && let Some(grant) = &grant
            {
                refused = Some(grant.turn);
                continue;
            }
            let (parts, body) = response.into_parts();
            let body = tokio::time::timeout(deadline, Limited::new(body, ERROR_BODY_MAX).collect()).await;
            let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(self.caller.refused(asked, status, &parts.headers, &body));
        }
    }

    fn client(&self, grant: Option<&Grant>) -> Result<Client, Fault> {
        let mut current = self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let certificate = grant.and_then(|g| g.certificate.as_ref());
        let turn = grant.filter(|g| g.certificate.is_some()).map_or(0, |g| g.turn);
        if let Some((made_for, client)) = &*current
            && (*made_for >= turn || self.transport.is_none())
        {
            return Ok(client.clone());
        }
        let unusable = |why: &BoxError| unusable(&self.caller.identity, why);
        let transport = self.transport.as_ref().ok_or_else(|| unusable(&"it has no way to the server".into()))?;
        let client = transport.client(certificate).map_err(|why| unusable(&why))?;
        *current = Some((turn, client.clone()));
        Ok(client)
    }
}

impl Transport {
    fn client(&self, certificate: Option<&(String, String)>) -> Result<Client, BoxError> {
        let mut config = self.config.clone();
        if let Some((certificate, key)) = certificate {
            let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
            config.auth_info.client_certificate_data = Some(encode(certificate));
            config.auth_info.client_key_data = Some(SecretString::from(encode(key)));
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        http.set_keepalive(Some(KEEPALIVE.0));
        http.set_keepalive_interval(Some(KEEPALIVE.1));
        http.set_keepalive_retries(Some(KEEPALIVE.2));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(KEEPALIVE.0 + KEEPALIVE.1 * KEEPALIVE.2));
        let proxy = self
            .proxy
            .clone()
            .map(|uri| (uri, None))
            .or_else(|| proxy_of(&config.cluster_url, |k| std::env::var(k).ok()));
        let Some((proxy, auth)) = proxy else {
            // Without TLS there is nothing to trust, and no store of trust to read.
            let plain = config.cluster_url.scheme_str() == Some("http");
            return if plain { pooled(&config, http) } else { client(&config, http) };
        };
        match proxy.scheme_str() {
            Some("socks5" | "socks5h") => client(&config, SocksV5::new(proxy, http)),
            Some("https") => {
                let tunnel = Tunnel::new(proxy, config.rustls_https_connector_with_connector(http)?);
                client(&config, with_auth(tunnel, auth))
            }
            _ => client(&config, with_auth(Tunnel::new(proxy, http), auth)),
        }
    }
}

/// A seed that differs from client to client; the standard library's own hash seeds are enough.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn with_auth<C>(tunnel: Tunnel<C>, auth: Option<http::HeaderValue>) -> Tunnel<C> {
    match auth {
        Some(auth) => tunnel.with_auth(auth),
        None => tunnel,
    }
}

fn client<C>(config: &Config, connector: C) -> Result<Client, BoxError>
where
    C: tower::Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send,
    C::Error: Into<BoxError>,
{
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone().try_into()?));
    }
    // The server chooses. One connection for fifty aborts, where HTTP/1 would begin with fifty handshakes.
    pooled(config, builder.enable_all_versions().wrap_connector(connector))
}

fn pooled<C>(config: &Config, connector: C) -> Result<Client, BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let pool: Pool<_, Body> = Pool::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING.0)
        .http2_keep_alive_timeout(PING.1)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(pool);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// The proxy that the environment asks for, as Go's clients read it: HTTPS_PROXY and NO_PROXY, upper case first,
/// never for the machine itself. Plain http servers are reached directly.
fn proxy_of(
    server: &http::Uri,
    env: impl Fn(&str) -> Option<String>,
) -> Option<(http::Uri, Option<http::HeaderValue>)> {
    let host = server.host()?.trim_matches(['[', ']']);
    let own = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if own || server.scheme_str() != Some("https") {
        return None;
    }
    let get = |key: &str| env(key).or_else(|| env(&key.to_lowercase())).filter(|v| !v.is_empty());
    let matcher = Matcher::builder().https(get("HTTPS_PROXY")?).no(get("NO_PROXY").unwrap_or_default()).build();
    let found = matcher.intercept(server)?;
    Some((found.uri().clone(), found.basic_auth().cloned()))
}

fn renewal(auth: &AuthInfo, identity: &Identity, files: &[std::path::PathBuf]) -> Text {
    let place = files.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    let user = &identity.user;
    if let Some(file) = &auth.token_file {
        text!("the token in {file} is refused: see who writes it")
    } else if auth.token.is_some() {
        text!("put a fresh token for user {user} into {place}")
    } else if auth.client_certificate.is_some() || auth.client_certificate_data.is_some() {
        text!("renew the client certificate of user {user} in {place}")
    } else if auth.auth_provider.is_some() {
        text!("log in again with the tool that wrote user {user} into {place}; auth-provider is no longer maintained")
    } else {
        text!("user {user} in {place} has no credentials: log in to the cluster with its own tool")
    }
}

fn unusable(identity: &Identity, why: &BoxError) -> Fault {
    Fault {
        kind: FaultKind::Unauthorized,
        what: text!("use context {}", identity.context),
        why: redact(&why.to_string()),
        hint: text!("check certificates and keys of user {} in the kubeconfig", identity.user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(server: &str, vars: &[(&str, &str)]) -> Option<String> {
        let env = |key: &str| vars.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned());
        proxy_of(&server.parse().unwrap(), env).map(|(uri, _)| uri.to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_as_it_does_for_kubectl() {
        let on = [("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "10.0.0.0/8,.internal,exact.example")];
        assert_eq!(proxied("https://api.example:6443", &on).as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxied("https://10.1.2.3:6443", &on), None);
        assert_eq!(proxied("https://a.internal", &on), None);
        assert_eq!(proxied("https://exact.example:6443", &on), None);
        assert_eq!(proxied("https://127.0.0.1:6443", &on), None);
        assert_eq!(proxied("https://[::1]:6443", &on), None);
        assert_eq!(proxied("http://api.example:8080", &on), None);
        assert_eq!(proxied("https://api.example", &[("https_proxy", "proxy:1")]).as_deref(), Some("http://proxy:1/"));
        assert_eq!(proxied("https://api.example", &[]), None);
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(collection(ObjectKind::Rollout, "b?x"), "/apis/argoproj.io/v1alpha1/namespaces/b%3Fx/rollouts");
        assert_eq!(collection(ObjectKind::Namespace, ""), "/api/v1/namespaces");
        assert_eq!(segment("billing-api_1.x~"), "billing-api_1.x~");
    }
}

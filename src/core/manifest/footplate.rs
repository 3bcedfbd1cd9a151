//! `footplate.yaml`: how the trains of an environment repository run (design.md §3). It marks the root of the repository.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};

use super::reader::{Fields, Reader, short};
use super::release::{FlagValue, flag_goals};
use super::yaml::Node;
use crate::core::finding::{At, FileId, Findings, Place, Sources};
use crate::core::judge::Settings as Guard;
use crate::core::text::Text;
use crate::core::train::resolved::Times;
use crate::text;

/// How the trains of a repository run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Footplate {
    /// Environments, in promotion order.
    pub environments: Vec<Environment>,
    /// Where flags live; none when the file says nothing.
    pub flags: Option<FlagStore>,
    /// Values that flags go back to where none was recorded.
    pub safe: BTreeMap<Text, FlagValue>,
    /// Where events of a train are sent: HTTP addresses.
    pub incidents: Vec<Text>,
    /// Template of the Job that runs a migration, relative to the root.
    pub migration_job: Option<At<Text>>,
    /// PromQL with placeholders.
    pub metrics: Metrics,
    /// Who must have signed the images.
    pub signature: Option<Signature>,
    /// Policies that somebody let pass.
    pub waivers: Vec<Waiver>,
    /// How long things take in a train, and what its guard goes by.
    pub train: Pace,
}

/// How long things take in a train, and what its guard goes by (`train.md`: numbers are defaults).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pace {
    /// What the train waits for.
    pub times: Times,
    /// What the guard goes by.
    pub guard: Guard,
}

/// Where a train runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Environment {
    /// Its name.
    pub name: Text,
    /// Where it is named.
    pub place: Place,
    /// The kube context.
    pub context: Text,
    /// uid of the kube-system namespace; another cluster is refused.
    pub cluster_uid: Option<Text>,
    /// The namespace.
    pub namespace: Text,
    /// Address of its Prometheus.
    pub prometheus: Option<Text>,
    /// True when deploys are commits that a GitOps controller carries out.
    pub git: bool,
    /// Asks for more before a forward step.
    pub protected: bool,
    /// What becomes of a train that nobody answers for.
    pub on_abandon: OnAbandon,
    /// When no train starts or runs.
    pub freeze: Vec<Freeze>,
}

/// What becomes of a train that waits for a person in vain (`train.md` §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnAbandon {
    /// It is taken back.
    Undo,
    /// It stays as it is.
    Stay,
}

/// A window in which no train starts or runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freeze {
    /// Begin.
    pub from: FreezeTime,
    /// End.
    pub to: FreezeTime,
    /// IANA time zone; UTC where not written.
    pub timezone: At<Text>,
    /// Why.
    pub reason: Text,
}

/// One end of a freeze window; both ends are of one sort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreezeTime {
    /// Every week (`Fri 16:00`).
    Weekly(Weekday, Time),
    /// Once (`2025-12-24 16:00`, `2025-12-24`).
    Once(DateTime),
}

/// Where flags live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlagStore {
    /// `FeatureFlag` objects of the OpenFeature operator; the name of the object.
    FeatureFlag(Text),
    /// A ConfigMap that flagd reads: its name, and the key that holds the flags.
    ConfigMap(Text, Text),
    /// A file that flagd reads, relative to the root.
    File(At<Text>),
}

/// PromQL with `{{service}}`, `{{revision}}`, `{{window}}`, `{{quantile}}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// Requests per second.
    pub requests: Text,
    /// Failed requests per second.
    pub errors: Text,
    /// Latency in seconds at a quantile.
    pub latency: Text,
}

impl Default for Metrics {
    /// The names that common HTTP instrumentation exposes, as in the sample environment.
    fn default() -> Self {
        let by = r#"service="{{service}}",pod_template_hash=~"{{revision}}""#;
        Self {
            requests: text!("sum(rate(http_requests_total{{{by}}}[{{{{window}}}}]))"),
            errors: text!("sum(rate(http_requests_total{{{by},status=~\"5..\"}}[{{{{window}}}}])) or vector(0)"),
            latency: text!(
                "histogram_quantile({{{{quantile}}}}, \
                 sum(rate(http_request_duration_seconds_bucket{{{by}}}[{{{{window}}}}])) by (le))"
            ),
        }
    }
}

/// Who must have signed the images.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// A public key, relative to the root.
    Key(At<Text>),
    /// A keyless identity and its issuer.
    Identity(Text, Text),
}

/// A policy that somebody let pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiver {
    /// Which policy.
    pub policy: Text,
    /// Where it is named.
    pub place: Place,
    /// In which environments; empty for all.
    pub environments: Vec<At<Text>>,
    /// Who.
    pub by: Text,
    /// Why.
    pub reason: Text,
    /// The last day on which it holds.
    pub until: Date,
}

impl Footplate {
    /// An environment by name.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|e| e.name == *name)
    }

    /// Tells freeze windows whose time zone is not known to this machine.
    pub fn check_zones(&self, sources: &Sources, known: impl Fn(&str) -> bool) -> Findings {
        let mut findings = Findings::default();
        for freeze in self.environments.iter().flat_map(|e| &e.freeze) {
            let zone = &freeze.timezone;
            if !known(&zone.value) {
                let message = text!("time zone `{}` is not known", zone.value);
                findings.error(sources, zone.place, message, "write an IANA name such as Europe/Berlin");
            }
        }
        findings
    }
}

/// Reads the settings of a repository. What could be read is given even when findings are errors; none when nothing could.
pub fn read(sources: &Sources, file: FileId) -> (Option<Footplate>, Findings) {
    let mut reader = Reader::new(sources, file);
    let footplate = reader.tree().and_then(|node| footplate(&mut reader, &node));
    let findings = reader.finish();
    (footplate, findings)
}

fn footplate(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Footplate> {
    let known = ["environments", "flags", "incidents", "migrations", "metrics", "signature", "train", "waivers"];
    let top = r.fields(node, "footplate.yaml", &known)?;
    let fix = "list where trains run: `environments: [{name: dev, context: dev, namespace: payments}]`";
    let mut named = Vec::new();
    let environments = r.required(&top, "footplate.yaml", "environments", fix).map(|n| environments(r, n, &mut named));
    let environments = environments.unwrap_or_default();
    let (mut flags, mut safe) = (None, BTreeMap::new());
    if let Some(n) = top.get("flags") {
        (flags, safe) = flag_store(r, n);
    }
    let mut sinks = Vec::new();
    if let Some(n) = top.get("incidents") {
        for item in r.list(n, "incidents") {
            let Some(sink) = r.fields(item, "an incident sink", &["kind", "url"]) else { continue };
            let kind = r.required(&sink, "an incident sink", "kind", "write `kind: webhook`");
            kind.map(|n| r.word(n, "kind", &[("webhook", ())]));
            let url = r.required(&sink, "an incident sink", "url", "write `url: https://…`");
            sinks.extend(url.and_then(|n| r.address(n, "url")));
        }
    }
    let migrations = top.get("migrations").and_then(|n| r.fields(n, "migrations", &["runner", "template"]));
    let migration_job = migrations.and_then(|m| {
        m.get("runner").map(|n| r.word(n, "runner", &[("job", ())]));
        file_at(r, &m, "template")
    });
    let metrics = top.get("metrics").map(|n| metrics(r, n)).unwrap_or_default();
    let signature = top.get("signature").and_then(|n| signature(r, n));
    let waivers = top.get("waivers").map(|n| waivers(r, n, &named)).unwrap_or_default();
    let train = top.get("train").map(|n| pace(r, n)).unwrap_or_default();
    Some(Footplate { environments, flags, safe, incidents: sinks, migration_job, metrics, signature, waivers, train })
}

fn pace(r: &mut Reader<'_>, node: &Node<'_>) -> Pace {
    let mut out = Pace::default();
    let times = [
        "window",
        "bake",
        "flagStep",
        "noData",
        "baseline",
        "evaluate",
        "ready",
        "page",
        "undoPatience",
        "deployPatience",
        "detect",
    ];
    let numbers = ["requests", "ratio", "margin", "alpha", "p99Ratio"];
    let known: Vec<&str> = times.iter().chain(&numbers).copied().collect();
    let Some(fields) = r.fields(node, "train", &known) else { return out };
    for key in times {
        let Some(ms) = fields.get(key).and_then(|n| r.duration_ms(n, key)) else { continue };
        let whole = Duration::from_secs_f64(ms / 1000.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "read as a length of time")]
        let ms = ms as u64;
        let Pace { times: t, guard: g } = &mut out;
        match key {
            "window" => (t.window, g.window) = (ms, whole),
            "bake" => (t.bake, g.bake) = (ms, whole),
            "flagStep" => t.flag_step = ms,
            "noData" => (t.no_data, g.no_data) = (ms, whole),
            "baseline" => g.baseline = whole,
            "evaluate" => g.evaluate = whole,
            "ready" => g.ready = whole,
            "page" => t.page = ms,
            "undoPatience" => t.undo_patience = ms,
            "deployPatience" => t.deploy_patience = ms,
            _ => g.detect = whole,
        }
    }
    // A window that holds too few requests reaches further back, in the same proportion.
    out.guard.window_max = out.guard.window * 5;
    out.times.verdict_fresh = out.times.verdict_fresh.min(out.times.window);
    for (key, slot, min, max) in [
        ("requests", &mut out.guard.requests_min, 1.0, 1e9),
        ("ratio", &mut out.guard.ratio, 1.0, 1e3),
        ("margin", &mut out.guard.margin, 0.0, 1.0),
        ("alpha", &mut out.guard.alpha, 1e-6, 0.5),
        ("p99Ratio", &mut out.guard.p99_ratio, 1.0, 1e3),
    ] {
        if let Some(value) = fields.get(key).and_then(|n| r.number(n, key, min, max)) {
            *slot = value;
        }
    }
    out
}

/// The environments that are complete, and in `named` the names of all.
fn environments(r: &mut Reader<'_>, node: &Node<'_>, named: &mut Vec<At<Text>>) -> Vec<Environment> {
    let known =
        ["name", "context", "clusterUid", "namespace", "prometheus", "deploy", "protected", "on_abandon", "freeze"];
    let mut out: Vec<Environment> = Vec::new();
    let items = r.list(node, "environments");
    for item in items {
        let Some(env) = r.fields(item, "an environment", &known) else { continue };
        let name = r.required(&env, "an environment", "name", "write `name: dev`");
        let name = name.and_then(|n| {
            let raw = r.scalar(n, "name")?;
            let value = r.label(raw, n.span, "the environment name")?;
            if let Some(first) = named.iter().find(|e| e.value == value) {
                let also = ("first here".into(), (first.place.start, first.place.end));
                r.error_also(n.span, text!("environment `{value}` is there twice"), "keep one", also);
            }
            let name = At { value, place: r.place(n.span) };
            named.push(name.clone());
            Some(name)
        });
        let what = name.as_ref().map_or("an environment".to_owned(), |n| format!("environment {}", n.value));
        let context = r.required(&env, &what, "context", "name the kube context: `context: dev`");
        let context = context.and_then(|n| r.line(n, "context"));
        let namespace = r.required(&env, &what, "namespace", "name the namespace: `namespace: payments`");
        let namespace = namespace.and_then(|n| {
            let raw = r.scalar(n, "namespace")?;
            r.label(raw, n.span, "namespace")
        });
        let cluster_uid = env.get("clusterUid").and_then(|n| cluster_uid(r, n));
        let prometheus = env.get("prometheus").and_then(|n| r.address(n, "prometheus"));
        let deploy = env.get("deploy").and_then(|n| r.word(n, "deploy", &[("direct", false), ("git", true)]));
        let protected = env.get("protected").and_then(|n| r.boolean(n, "protected")).unwrap_or(false);
        let abandon = [("undo", OnAbandon::Undo), ("stay", OnAbandon::Stay)];
        let on_abandon = env.get("on_abandon").and_then(|n| r.word(n, "on_abandon", &abandon));
        let freeze = env.get("freeze").map(|n| freezes(r, n)).unwrap_or_default();
        if let (Some(name), Some(context), Some(namespace)) = (name, context, namespace) {
            out.push(Environment {
                name: name.value,
                place: name.place,
                context,
                cluster_uid,
                namespace,
                prometheus,
                git: deploy.unwrap_or(false),
                protected,
                on_abandon: on_abandon.unwrap_or(if protected { OnAbandon::Undo } else { OnAbandon::Stay }),
                freeze,
            });
        }
    }
    out
}

fn cluster_uid(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Text> {
    let raw = r.scalar(node, "clusterUid")?;
    let groups: Vec<usize> = raw.split('-').map(str::len).collect();
    let hex = raw.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c) || c == '-');
    if groups == [8, 4, 4, 4, 12] && hex {
        return Some(Text::scrub(raw));
    }
    let fix = "write what `kubectl get ns kube-system -o jsonpath={.metadata.uid}` prints";
    r.error(node.span, text!("clusterUid `{}` is not a uid", short(raw)), fix);
    None
}

fn freezes(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<Freeze> {
    let mut out = Vec::new();
    for item in r.list(node, "freeze") {
        let Some(window) = r.fields(item, "a freeze window", &["from", "to", "timezone", "reason"]) else { continue };
        let fix = "write `from: \"Fri 16:00\", to: \"Mon 08:00\"`";
        let end = |r: &mut Reader<'_>, key: &str| {
            let node = r.required(&window, "a freeze window", key, fix)?;
            freeze_time(r, node, key)
        };
        let (from, to) = (end(r, "from"), end(r, "to"));
        let timezone = window.get("timezone").and_then(|n| {
            let value = r.line(n, "timezone")?;
            Some(At { value, place: r.place(n.span) })
        });
        let timezone = timezone.unwrap_or_else(|| At { value: "UTC".into(), place: r.place(window.span) });
        let reason = window.get("reason").and_then(|n| r.line(n, "reason")).unwrap_or_default();
        let (Some(from), Some(to)) = (from, to) else { continue };
        let fits = match (from, to) {
            (FreezeTime::Weekly(..), FreezeTime::Weekly(..)) => from != to,
            (FreezeTime::Once(from), FreezeTime::Once(to)) => from < to,
            _ => false,
        };
        if fits {
            out.push(Freeze { from, to, timezone, reason });
        } else {
            r.error(
                window.span,
                "these ends make no window".into(),
                "both ends weekly, or both dates, the end after the begin",
            );
        }
    }
    out
}

fn freeze_time(r: &mut Reader<'_>, node: &Node<'_>, what: &str) -> Option<FreezeTime> {
    let raw = r.scalar(node, what)?;
    let clock = |s: &str| -> Option<Time> {
        let (hour, minute) = s.split_once(':')?;
        let two = |s: &str| if s.len() == 2 { s.parse::<i8>().ok() } else { None };
        Time::new(two(hour)?, two(minute)?, 0, 0).ok()
    };
    let weekday = |s: &str| {
        Some(match s {
            "Mon" => Weekday::Monday,
            "Tue" => Weekday::Tuesday,
            "Wed" => Weekday::Wednesday,
            "Thu" => Weekday::Thursday,
            "Fri" => Weekday::Friday,
            "Sat" => Weekday::Saturday,
            "Sun" => Weekday::Sunday,
            _ => return None,
        })
    };
    let parts = raw.split_once([' ', 'T']);
    let weekly = parts.and_then(|(day, time)| Some(FreezeTime::Weekly(weekday(day)?, clock(time)?)));
    let once = || {
        let (day, time) = parts.unwrap_or((raw, "00:00"));
        let date: Date = if day.len() == 10 { day.parse().ok()? } else { return None };
        Some(FreezeTime::Once(date.to_datetime(clock(time)?)))
    };
    let time = weekly.or_else(once);
    if time.is_none() {
        let message = text!("{what} `{}` is not a time of a freeze window", short(raw));
        r.error(node.span, message, "write \"Fri 16:00\" for every week, or 2025-12-24 16:00");
    }
    time
}

fn flag_store(r: &mut Reader<'_>, node: &Node<'_>) -> (Option<FlagStore>, BTreeMap<Text, FlagValue>) {
    let known = ["provider", "object", "key", "path", "safe"];
    let Some(flags) = r.fields(node, "flags", &known) else { return (None, BTreeMap::new()) };
    let safe = flags.get("safe").map(|n| flag_goals(r, n, "safe")).unwrap_or_default();
    let safe = safe.into_iter().map(|goal| (goal.key.value, goal.value)).collect();
    let words = [("featureflag", 0u8), ("configmap", 1), ("file", 2)];
    let provider = r.required(&flags, "flags", "provider", "write `provider: featureflag`, configmap or file");
    let provider = provider.and_then(|n| r.word(n, "provider", &words));
    let object = |r: &mut Reader<'_>, fix: &str| {
        let n = r.required(&flags, "flags", "object", fix)?;
        let raw = r.scalar(n, "object")?;
        r.name(raw, n.span, "object", 253)
    };
    let store = match provider {
        Some(0) => object(r, "name the FeatureFlag object: `object: payments-flags`").map(FlagStore::FeatureFlag),
        Some(1) => {
            let key = flags.get("key").and_then(|n| r.line(n, "key")).unwrap_or_else(|| "flags.json".into());
            object(r, "name the ConfigMap: `object: flagd`").map(|name| FlagStore::ConfigMap(name, key))
        }
        Some(_) => {
            r.required(&flags, "flags", "path", "name the file: `path: flags.json`");
            file_at(r, &flags, "path").map(FlagStore::File)
        }
        None => None,
    };
    (store, safe)
}

/// A file of the repository, named by a key.
fn file_at(r: &mut Reader<'_>, fields: &Fields<'_, '_>, key: &str) -> Option<At<Text>> {
    let n = fields.get(key)?;
    let raw = r.scalar(n, key)?;
    let value = r.path(raw, n.span, key)?;
    Some(At { value, place: r.place(n.span) })
}

fn metrics(r: &mut Reader<'_>, node: &Node<'_>) -> Metrics {
    let mut out = Metrics::default();
    let Some(fields) = r.fields(node, "metrics", &["requests", "errors", "latency"]) else { return out };
    for (key, slot, needs) in [
        ("requests", &mut out.requests, &["service", "window"][..]),
        ("errors", &mut out.errors, &["service", "window"]),
        ("latency", &mut out.latency, &["service", "window", "quantile"]),
    ] {
        if let Some(n) = fields.get(key)
            && let Some(query) = promql(r, n, key, needs)
        {
            *slot = query;
        }
    }
    out
}

/// A query whose placeholders are known and complete. Several lines become one.
fn promql(r: &mut Reader<'_>, node: &Node<'_>, what: &str, needs: &[&str]) -> Option<Text> {
    const KNOWN: [&str; 4] = ["service", "revision", "window", "quantile"];
    let raw = r.scalar(node, what)?.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut used = Vec::new();
    for part in raw.split("{{").skip(1) {
        let word = part.split("}}").next().unwrap_or_default().trim();
        if !KNOWN.contains(&word) || !part.contains("}}") {
            let message = text!("{what} has a placeholder `{{{{{}}}}}` that nothing fills in", short(word));
            r.error(node.span, message, "use {{service}}, {{revision}}, {{window}}, {{quantile}}");
            return None;
        }
        used.push(word);
    }
    for need in needs.iter().filter(|need| !used.contains(need)) {
        r.error(node.span, text!("{what} does not use {{{{{need}}}}}"), text!("put {{{{{need}}}}} where it belongs"));
    }
    Some(Text::scrub(&raw))
}

fn signature(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Signature> {
    let fields = r.fields(node, "signature", &["key", "identity", "issuer"])?;
    let key = file_at(r, &fields, "key");
    let mut line = |key: &str| fields.get(key).and_then(|n| r.line(n, key));
    match (key, line("identity"), line("issuer")) {
        (Some(key), None, None) => Some(Signature::Key(key)),
        (None, Some(identity), Some(issuer)) => Some(Signature::Identity(identity, issuer)),
        _ => {
            let fix = "write `key: cosign.pub`, or identity and issuer";
            r.error(fields.span, "signature needs a key, or an identity and its issuer".into(), fix);
            None
        }
    }
}

fn waivers(r: &mut Reader<'_>, node: &Node<'_>, environments: &[At<Text>]) -> Vec<Waiver> {
    let mut out = Vec::new();
    for item in r.list(node, "waivers") {
        let known = ["policy", "environments", "by", "reason", "until"];
        let Some(waiver) = r.fields(item, "a waiver", &known) else { continue };
        let fix = "a waiver says who let the policy pass, why, and until when";
        let must = |r: &mut Reader<'_>, key: &str| r.required(&waiver, "a waiver", key, fix);
        let policy = must(r, "policy").and_then(|n| {
            let raw = r.scalar(n, "policy")?;
            Some((r.name(raw, n.span, "policy", 253)?, r.place(n.span)))
        });
        let by = must(r, "by").and_then(|n| r.line(n, "by"));
        let reason = must(r, "reason").and_then(|n| r.line(n, "reason"));
        let until = must(r, "until").and_then(|n| r.date(n, "until"));
        let mut listed = Vec::new();
        if let Some(n) = waiver.get("environments") {
            listed = r.names(n, "environments", |r, raw, span| {
                if environments.iter().any(|e| e.value == *raw) {
                    return Some(Text::scrub(raw));
                }
                let names: Vec<&str> = environments.iter().map(|e| &*e.value).collect();
                let message = text!("environment `{}` is not one of this file", short(raw));
                r.error(span, message, text!("known: {}", names.join(", ")));
                None
            });
        }
        if let (Some((policy, place)), Some(by), Some(reason), Some(until)) = (policy, by, reason, until) {
            out.push(Waiver { policy, place, environments: listed, by, reason, until });
        }
    }
    out
}

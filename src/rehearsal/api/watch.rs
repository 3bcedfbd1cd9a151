//! watch: changes as lines of JSON, from a version on, with the starting states, bookmarks and ends of a real one. A
//! watch reads the store's history at its own pace; one that falls behind what is kept ends with 410.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::selector::Selector;
use super::target::Form;
use super::{Call, raw, read, table, view};
use crate::rehearsal::Shared;
use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};
use crate::rehearsal::signal::Seen;
use crate::rehearsal::store::{Held, What};

/// How often a bookmark says that nothing was missed.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long a watch lives when the client does not say.
const LIFE: u64 = 3600;

struct Watch {
    store: Shared,
    signal: Seen,
    kind: &'static Kind,
    namespace: Option<String>,
    selector: Selector,
    form: Form,
    include: String,
    /// The version up to which all was sent.
    cursor: u64,
    /// What is to be sent before anything else.
    first: Option<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    over: bool,
}

/// Answers a watch.
pub(super) fn start(call: &Call<'_>) -> Result<Response, Refusal> {
    let (kind, query) = (call.target.kind, call.query);
    let mut fields = query.get("fieldSelector").to_owned();
    if let Some(name) = &call.target.name {
        fields = format!("metadata.name={name}");
    }
    let selector = Selector::parse(kind, query.get("labelSelector"), &fields)?;
    let version = query.version().map_err(|why| Refusal::new(500, "", why))?.unwrap_or(0);
    let initial = query.flag("sendInitialEvents");
    if initial && query.get("resourceVersionMatch") != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Refusal::options("ListOptions", &[Cause::forbidden("resourceVersionMatch", why)]));
    }
    let store = call.api.store.lock();
    let now = Instant::now();
    let life = query.number("timeoutSeconds")?.filter(|s| *s > 0).unwrap_or(LIFE);
    let mut watch = Watch {
        store: call.api.store.clone(),
        signal: store.subscribe(),
        kind,
        namespace: call.target.namespace.clone(),
        selector,
        form: call.accept.form,
        include: query.get("includeObject").to_owned(),
        cursor: version,
        first: None,
        bookmarks: query.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK,
        end: now + Duration::from_secs(life),
        over: false,
    };
    let wants_state = initial || (version == 0 && query.get("sendInitialEvents").is_empty());
    if wants_state {
        let mut lines = Vec::new();
        for object in store.list(view::stored(kind), watch.namespace.as_deref()) {
            if watch.selector.matches(&read::of(kind, object)) {
                watch.line(&mut lines, "ADDED", object, store.now());
            }
        }
        watch.cursor = store.version();
        if initial && watch.bookmarks {
            watch.bookmark(&mut lines, true);
        }
        watch.first = Some(Bytes::from(lines)).filter(|l| !l.is_empty());
    } else if version == 0 {
        watch.cursor = store.version();
    }
    drop(store);
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(line), watch))
    });
    Ok(raw(200, "application/json", Body::from_stream(lines)))
}

impl Watch {
    /// The next lines; none when the watch has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.over {
            self.signal.mark();
            if let Some(lines) = self.news() {
                return Some(lines);
            }
            let until = if self.bookmarks { self.end.min(self.next_bookmark) } else { self.end };
            tokio::select! {
                biased;
                () = self.signal.changed() => {}
                () = tokio::time::sleep_until(until) => {
                    let now = Instant::now();
                    self.over = now >= self.end;
                    self.next_bookmark = now + BOOKMARK;
                    if self.bookmarks {
                        let mut lines = Vec::new();
                        self.bookmark(&mut lines, false);
                        return Some(Bytes::from(lines));
                    }
                }
            }
        }
        None
    }

    /// What changed since the last lines; none when nothing did that this watch wants.
    fn news(&mut self) -> Option<Bytes> {
        let shared = self.store.clone();
        let store = shared.lock();
        let mut lines = Vec::new();
        match store.changes(view::stored(self.kind), self.cursor) {
            Err(expired) => {
                line(&mut lines, "ERROR", expired.status().to_string().as_bytes());
                self.over = true;
            }
            Ok(changes) => {
                for change in changes {
                    if self.namespace.as_deref().is_some_and(|n| change.object.namespace() != n) {
                        continue;
                    }
                    let fits = |o: &Held| self.selector.matches(&read::of(self.kind, o));
                    let before = change.before.as_ref().is_some_and(|o| fits(o));
                    let after = change.what != What::Deleted && fits(&change.object);
                    let ty = match (before, after) {
                        (false, false) => continue,
                        (false, true) => "ADDED",
                        (true, true) => "MODIFIED",
                        (true, false) => "DELETED",
                    };
                    self.line(&mut lines, ty, &change.object, store.now());
                }
                self.cursor = self.cursor.max(store.version());
            }
        }
        (!lines.is_empty()).then(|| Bytes::from(lines))
    }

    fn line(&self, lines: &mut Vec<u8>, ty: &str, object: &Held, now: jiff::Timestamp) {
        let other = match self.form {
            Form::Full if *self.kind != kinds::EVENTS_EVENT => return line(lines, ty, &object.json()),
            Form::Full => view::event_face(object),
            Form::Metadata => return line(lines, ty, view::metadata_text(object).as_bytes()),
            Form::Table => {
                let value: &Value = object;
                let rows = table::rows(self.kind, [value].into_iter(), now, &self.include);
                table::whole(self.kind, rows, object.str("/metadata/resourceVersion"), Value::Null)
            }
        };
        line(lines, ty, other.to_string().as_bytes());
    }

    fn bookmark(&self, lines: &mut Vec<u8>, initial_end: bool) {
        let mut metadata = json!({ "resourceVersion": self.cursor.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.form {
            Form::Full => {
                json!({ "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata })
            }
            Form::Metadata => view::metadata_only(&json!({ "metadata": metadata })),
            Form::Table => table::whole(self.kind, Vec::new(), "", metadata),
        };
        line(lines, "BOOKMARK", object.to_string().as_bytes());
    }
}

fn line(lines: &mut Vec<u8>, ty: &str, object: &[u8]) {
    lines.extend_from_slice(b"{\"type\":\"");
    lines.extend_from_slice(ty.as_bytes());
    lines.extend_from_slice(b"\",\"object\":");
    lines.extend_from_slice(object);
    lines.extend_from_slice(b"}\n");
}

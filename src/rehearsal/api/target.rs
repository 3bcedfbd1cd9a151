//! What a request asks for: path, query parameters and the Accept header, taken apart. Nothing is answered here.

use std::collections::BTreeMap;

use http::{HeaderMap, Uri, header};

use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};

/// Where a path leads.
pub enum Place {
    /// Objects of a kind.
    Object(Target),
    /// `/api`, `/apis` or below, without a kind: the path's segments.
    Discovery(Vec<String>),
    /// `/openapi/…`: the segments after `openapi`.
    OpenApi(Vec<String>),
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// Nothing is served there.
    Nowhere,
}

/// The objects, object or subresource that a path names.
#[derive(Clone, Debug)]
pub struct Target {
    pub kind: &'static Kind,
    /// None at cluster scope, or for all namespaces.
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub sub: Option<String>,
}

impl Target {
    /// The namespace as the store takes it; empty for none.
    pub fn space(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The name; empty for none.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// `rollouts` or `rollouts/status`, as rules name it.
    pub fn resource(&self) -> String {
        match &self.sub {
            Some(sub) => format!("{}/{sub}", self.kind.plural),
            None => self.kind.plural.to_owned(),
        }
    }
}

/// Takes a path apart.
pub fn parse(path: &str) -> Place {
    let Some(segments) = path.split('/').filter(|s| !s.is_empty()).map(decode).collect::<Option<Vec<_>>>() else {
        return Place::Nowhere;
    };
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match names.as_slice() {
        ["version"] => return Place::Version,
        ["healthz" | "livez" | "readyz", ..] => return Place::Health,
        ["openapi", rest @ ..] => return Place::OpenApi(rest.iter().map(|s| (*s).to_owned()).collect()),
        ["api"] | ["api", _] | ["apis"] | ["apis", _] | ["apis", _, _] => return Place::Discovery(segments),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Place::Nowhere,
    };
    let owned = |s: &&str| Some((*s).to_owned());
    let find = |plural: &str| kinds::find(group, version, plural);
    let target = match rest {
        // A namespace is an object and a place; `namespaces/x/status` is the object's.
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            find("namespaces").map(|kind| Target { kind, namespace: None, name: owned(name), sub: owned(sub) })
        }
        ["namespaces", namespace, plural, rest @ ..] if rest.len() <= 2 => {
            find(plural).filter(|k| k.namespaced).map(|kind| Target {
                kind,
                namespace: owned(namespace),
                name: rest.first().and_then(owned),
                sub: rest.get(1).and_then(owned),
            })
        }
        [plural, rest @ ..] if rest.len() <= 2 => {
            find(plural).filter(|k| !k.namespaced || rest.is_empty()).map(|kind| Target {
                kind,
                namespace: None,
                name: rest.first().and_then(owned),
                sub: rest.get(1).and_then(owned),
            })
        }
        _ => None,
    };
    target.map_or(Place::Nowhere, Place::Object)
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The query parameters.
#[derive(Debug, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads them; the last of two alike counts.
    pub fn parse(uri: &Uri) -> Self {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        Self(pairs.map(|q| q.0.into_iter().collect()).unwrap_or_default())
    }

    /// A parameter; empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A boolean parameter, as the API reads them.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True" | "TRUE" | "t" | "T")
    }

    /// A number.
    ///
    /// # Errors
    /// 400 when it is there and is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.get(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }

    /// `resourceVersion`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn version(&self) -> Result<Option<u64>, String> {
        match self.get("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")
            }),
        }
    }

    /// `dryRun=All`. `options` is the kind of options of the request (`PatchOptions`).
    ///
    /// # Errors
    /// 422 for any other value.
    pub fn dry_run(&self, options: &'static str) -> Result<bool, Refusal> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                Err(Refusal::options(options, &[Cause::unsupported("dryRun", &format!("[{other:?}]"), "\"All\"")]))
            }
        }
    }
}

/// What form of an answer the client wants, best first, of those we have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The objects themselves.
    Full,
    /// A Table for printing.
    Table,
    /// Metadata only.
    Metadata,
}

/// The Accept header.
#[derive(Debug)]
pub struct Accept {
    /// The form of objects.
    pub form: Form,
    /// The aggregated discovery version that was asked for first (`v2`, `v2beta1`).
    pub discovery: Option<&'static str>,
}

impl Accept {
    /// Reads it. Media types that this server does not speak (protobuf, CBOR) are passed over for the next one; with
    /// nothing left the answer is plain JSON, which every client of these clusters reads.
    pub fn parse(headers: &HeaderMap) -> Self {
        let text = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
        let mut accept = Self { form: Form::Full, discovery: None };
        let mut decided = false;
        for clause in text.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "*/*" | "application/*") {
                continue;
            }
            let parts: BTreeMap<&str, &str> = parts.filter_map(|p| p.split_once('=')).collect();
            let version = parts.get("v").copied().unwrap_or_default();
            match parts.get("as").copied() {
                Some("APIGroupDiscoveryList") if accept.discovery.is_none() => {
                    accept.discovery = ["v2", "v2beta1"].into_iter().find(|v| *v == version);
                }
                Some("Table") if !decided && version == "v1" => (accept.form, decided) = (Form::Table, true),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if !decided && version == "v1" => {
                    (accept.form, decided) = (Form::Metadata, true);
                }
                None => decided = true,
                _ => {}
            }
        }
        accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(&'static str, String, String, String)> {
        match parse(path) {
            Place::Object(t) => {
                Some((t.kind.plural, t.space().to_owned(), t.name().to_owned(), t.sub.unwrap_or_default()))
            }
            _ => None,
        }
    }

    #[test]
    fn paths_name_kinds_places_and_subresources() {
        let is = |path: &str, want: (&'static str, &str, &str, &str)| {
            let got = target(path);
            assert_eq!(got, Some((want.0, want.1.to_owned(), want.2.to_owned(), want.3.to_owned())), "{path}");
        };
        is("/api/v1/pods", ("pods", "", "", ""));
        is("/api/v1/namespaces", ("namespaces", "", "", ""));
        is("/api/v1/namespaces/payments", ("namespaces", "", "payments", ""));
        is("/api/v1/namespaces/payments/status", ("namespaces", "", "payments", "status"));
        is("/api/v1/namespaces/payments/pods/a%2Db", ("pods", "payments", "a-b", ""));
        let rollout = "/apis/argoproj.io/v1alpha1/namespaces/payments/rollouts/billing-api/status";
        is(rollout, ("rollouts", "payments", "billing-api", "status"));
        for nowhere in
            ["/api/v1/rollouts", "/apis/apps/v1/deployments/x", "/api/v1/namespaces/a/nodes", "/api/v1/pods%zz"]
        {
            assert_eq!(target(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn the_first_form_that_we_have_wins() {
        let form = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().unwrap());
            Accept::parse(&headers).form
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        assert_eq!(form(kubectl), Form::Table);
        assert_eq!(form("application/json"), Form::Full);
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Form::Full);
        let partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(form(partial), Form::Metadata);
        assert_eq!(form(&format!("application/json, {partial}")), Form::Full);
    }
}

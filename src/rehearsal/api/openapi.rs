//! OpenAPI documents: for each group and version its paths with the operations, parameters and patch formats that
//! clients look up before they write (`kubectl apply`), and objects of open schema. `/openapi/v2` exists only as the
//! protobuf form that old clients ask for, and is refused.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::respond;
use crate::rehearsal::kinds::{self, Kind, Verbs};
use crate::rehearsal::refusal::Refusal;

/// Answers `/openapi/v2`, `/openapi/v3`, `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`.
pub(super) fn answer(path: &[String]) -> Result<Response, Refusal> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let document = match path.as_slice() {
        ["v2"] => json!({
            "swagger": "2.0",
            "info": { "title": "Kubernetes", "version": "v1.36.3" },
            "paths": {},
            "definitions": {},
        }),
        ["v3"] => {
            let mut paths = Map::new();
            for kind in kinds::ALL {
                let place = place(kind);
                let url = json!({ "serverRelativeURL": format!("/openapi/v3/{place}?hash=1") });
                paths.insert(place, url);
            }
            json!({ "paths": paths })
        }
        ["v3", "api", version] => group_version("", version)?,
        ["v3", "apis", group, version] => group_version(group, version)?,
        _ => return Err(Refusal::new(404, "NotFound", "the server could not find the requested resource")),
    };
    Ok(respond(200, &document))
}

fn place(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

fn group_version(group: &str, version: &str) -> Result<Value, Refusal> {
    let kinds: Vec<&Kind> = kinds::ALL.iter().copied().filter(|k| k.group == group && k.version == version).collect();
    if kinds.is_empty() {
        return Err(Refusal::new(404, "NotFound", "the server could not find the requested resource"));
    }
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds {
        let root = match kind.namespaced {
            true => format!("/{}/namespaces/{{namespace}}/{}", place(kind), kind.plural),
            false => format!("/{}/{}", place(kind), kind.plural),
        };
        let one = format!("{root}/{{name}}");
        if kind.verbs != Verbs::Review {
            paths.insert(one.clone(), operations(kind, &["get", "put", "patch", "delete"]));
            if kind.status {
                paths.insert(format!("{one}/status"), operations(kind, &["get", "put", "patch"]));
            }
        }
        let many: &[&str] = if kind.verbs == Verbs::Review { &["post"] } else { &["get", "post", "delete"] };
        paths.insert(root, operations(kind, many));
        schemas.insert(schema_name(kind), schema(kind));
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.36.3" },
        "paths": paths,
        "components": { "schemas": schemas },
    }))
}

fn schema_name(kind: &Kind) -> String {
    let mut labels: Vec<&str> = kind.group.split('.').filter(|l| !l.is_empty()).collect();
    labels.reverse();
    labels.extend([kind.version, kind.kind]);
    labels.join(".")
}

fn gvk(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

fn schema(kind: &Kind) -> Value {
    let open = || json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let mut schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": open(),
            "spec": open(),
            "status": open(),
        },
        "x-kubernetes-preserve-unknown-fields": true,
    });
    // A built-in kind is left without this mark: clients then compute strategic merge patches from the types that
    // they carry themselves, which know the merge keys, and not from this open schema, which does not.
    if kind.custom {
        schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    }
    schema
}

fn operations(kind: &Kind, methods: &[&str]) -> Value {
    let parameter =
        |name: &str, ty: &str| json!({ "name": name, "in": "query", "schema": { "type": ty, "uniqueItems": true } });
    let mut all = Map::new();
    for method in methods {
        let object = json!({ "$ref": format!("#/components/schemas/{}", schema_name(kind)) });
        let mut operation = json!({
            "responses": { "200": { "description": "OK", "content": { "application/json": { "schema": object } } } },
            "x-kubernetes-action": method,
            "x-kubernetes-group-version-kind": gvk(kind),
        });
        if *method != "get" {
            operation["parameters"] = json!([
                parameter("dryRun", "string"),
                parameter("fieldManager", "string"),
                parameter("fieldValidation", "string"),
            ]);
        }
        if *method == "patch" {
            let mut formats =
                vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
            if !kind.custom {
                formats.push("application/strategic-merge-patch+json");
            }
            let content: Map<String, Value> =
                formats.into_iter().map(|f| (f.to_owned(), json!({ "schema": { "type": "object" } }))).collect();
            operation["requestBody"] = json!({ "content": content, "required": true });
            if let Some(parameters) = operation["parameters"].as_array_mut() {
                parameters.push(parameter("force", "boolean"));
            }
        }
        all.insert((*method).to_owned(), operation);
    }
    Value::Object(all)
}

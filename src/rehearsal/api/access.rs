//! Who may do what: rules as RBAC has them, and the reviews that clients ask (`kubectl auth can-i`).

use axum::response::Response;
use serde_json::{Value, json};

use super::{Call, respond};
use crate::rehearsal::refusal::Refusal;
use crate::rehearsal::store::text;

/// What one rule allows; `*` stands for all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Verbs (`get`, `patch`).
    pub verbs: Vec<String>,
    /// API groups; the core group is empty.
    pub groups: Vec<String>,
    /// Resources, a subresource with its parent (`rollouts/status`).
    pub resources: Vec<String>,
    /// Namespaces; empty allows all of them and the cluster scope.
    pub namespaces: Vec<String>,
}

/// The rights of everybody. A user without an entry has those of `others`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Rights by user name.
    pub users: std::collections::BTreeMap<String, Vec<Rule>>,
    /// The rights of all other users.
    pub others: Vec<Rule>,
}

impl Access {
    /// Everybody may do everything.
    pub fn everything() -> Self {
        let all = || vec!["*".to_owned()];
        let rule = Rule { verbs: all(), groups: all(), resources: all(), namespaces: Vec::new() };
        Self { users: std::collections::BTreeMap::new(), others: vec![rule] }
    }

    /// Whether this request is allowed.
    pub fn allows(&self, user: &str, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        self.rules(user).iter().any(|rule| {
            let has = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
            has(&rule.verbs, verb)
                && has(&rule.groups, group)
                && has(&rule.resources, resource)
                && (rule.namespaces.is_empty() || has(&rule.namespaces, namespace))
        })
    }

    fn rules(&self, user: &str) -> &[Rule] {
        self.users.get(user).unwrap_or(&self.others)
    }
}

/// Answers a SelfSubjectAccessReview, SubjectAccessReview or SelfSubjectRulesReview.
pub(super) fn review(call: &Call<'_>) -> Result<Response, Refusal> {
    let mut review = super::write::body(call)?;
    let access = call.api.access.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let kind = call.target.kind;
    review["apiVersion"] = json!(kind.api_version());
    review["kind"] = json!(kind.kind);
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    if kind.kind == "SelfSubjectRulesReview" {
        let namespace = text(&review, "/spec/namespace").to_owned();
        let rules: Vec<Value> = access
            .rules(call.user)
            .iter()
            .filter(|r| r.namespaces.is_empty() || r.namespaces.iter().any(|n| n == "*" || *n == namespace))
            .map(|r| json!({ "verbs": r.verbs, "apiGroups": r.groups, "resources": r.resources }))
            .collect();
        review["status"] = json!({ "resourceRules": rules, "nonResourceRules": [
            { "verbs": ["get"], "nonResourceURLs": ["/api", "/apis", "/healthz", "/livez", "/openapi/*", "/readyz", "/version"] },
        ], "incomplete": false });
        return Ok(respond(201, &review));
    }
    let user = match text(&review, "/spec/user") {
        "" => call.user.to_owned(),
        user => user.to_owned(),
    };
    let asked = |field: &str| text(&review, &format!("/spec/resourceAttributes/{field}")).to_owned();
    let mut resource = asked("resource");
    if !asked("subresource").is_empty() {
        resource = format!("{resource}/{}", asked("subresource"));
    }
    let allowed = review.pointer("/spec/nonResourceAttributes").is_some_and(|a| !a.is_null())
        || access.allows(&user, &asked("verb"), &asked("group"), &resource, &asked("namespace"));
    review["status"] = json!({ "allowed": allowed });
    Ok(respond(201, &review))
}

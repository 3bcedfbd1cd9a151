//! Who else writes an object: the GitOps controller whose self-heal would revert a change of the spec. Read from the
//! labels, annotations and field managers that those controllers leave. What to do about it is not decided here.

use super::object::Object;
use super::text::Text;

/// The GitOps owner of an object, in words (`Argo CD app payments`); none when no trace of one is found.
///
/// Argo CD tracks by annotation `argocd.argoproj.io/tracking-id` (`<app>:<group>/<kind>:<namespace>/<name>`) or by the label
/// `app.kubernetes.io/instance`, which Helm sets too; the label counts only with an Argo CD field manager beside it.
/// Flux leaves `kustomize.toolkit.fluxcd.io/name` and `helm.toolkit.fluxcd.io/name` with their namespaces.
pub fn gitops_owner(object: &Object) -> Option<Text> {
    if let Some(id) = object.annotation("argocd.argoproj.io/tracking-id") {
        return Some(crate::text!("Argo CD app {}", id.split(':').next().unwrap_or_default()));
    }
    for key in ["argocd.argoproj.io/instance", "app.kubernetes.io/instance"] {
        if let Some(app) = object.label(key)
            && (key.starts_with("argocd") || managed_by(object, "argocd"))
        {
            return Some(crate::text!("Argo CD app {app}"));
        }
    }
    for (prefix, word) in [("kustomize", "Flux kustomization"), ("helm", "Flux helm release")] {
        let get = |what: &str| object.label(&format!("{prefix}.toolkit.fluxcd.io/{what}"));
        if let Some(name) = get("name") {
            return Some(crate::text!("{word} {}/{name}", get("namespace").unwrap_or_default()));
        }
    }
    let manager = object.items("/metadata/managedFields").iter().filter_map(|m| m["manager"].as_str());
    manager.filter_map(known_manager).next().map(Text::scrub)
}

fn managed_by(object: &Object, prefix: &str) -> bool {
    object.items("/metadata/managedFields").iter().any(|m| m["manager"].as_str().is_some_and(|m| m.starts_with(prefix)))
}

fn known_manager(manager: &str) -> Option<&'static str> {
    match manager {
        m if m.starts_with("argocd") => Some("Argo CD"),
        "kustomize-controller" | "helm-controller" => Some("Flux"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owner(metadata: serde_json::Value) -> Option<String> {
        gitops_owner(&Object::new(json!({ "metadata": metadata }))).map(|t| t.to_string())
    }

    #[test]
    fn owners_are_found_by_their_traces() {
        let argo = json!({"annotations": {"argocd.argoproj.io/tracking-id": "payments:argoproj.io/Rollout:payments/billing-api"}});
        assert_eq!(owner(argo).as_deref(), Some("Argo CD app payments"));
        let label = json!({"labels": {"app.kubernetes.io/instance": "payments"}});
        assert_eq!(owner(label), None, "Helm sets the same label");
        let managed = json!({"labels": {"app.kubernetes.io/instance": "payments"},
            "managedFields": [{"manager": "argocd-controller", "operation": "Apply"}]});
        assert_eq!(owner(managed).as_deref(), Some("Argo CD app payments"));
        let flux = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}});
        assert_eq!(owner(flux).as_deref(), Some("Flux kustomization flux-system/apps"));
        let bare = json!({"managedFields": [{"manager": "kubectl"}, {"manager": "helm-controller"}]});
        assert_eq!(owner(bare).as_deref(), Some("Flux"));
        assert_eq!(owner(json!({"managedFields": [{"manager": "kubectl-client-side-apply"}]})), None);
    }
}

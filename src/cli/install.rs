//! `footplate install`: prints what a cluster needs for trains, for `kubectl apply -f -`. It changes nothing itself.

use clap::Args;

use super::Global;
use super::console::Console;
use super::failure::{Failure, FailureKind};

/// The definition of a Release.
pub const CRD: &str = include_str!("../../assets/install/crd.yaml");
/// The role of a captain.
pub const CAPTAIN: &str = include_str!("../../assets/install/captain.yaml");
/// The conductor that runs in the cluster, with its role.
pub const CONDUCTOR: &str = include_str!("../../assets/install/conductor.yaml");

/// Arguments of `install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// The image that a conductor in the cluster runs; without it none is deployed, and its role alone is printed
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Only the definition of a Release
    #[arg(long)]
    pub crd_only: bool,
}

/// Prints the manifests.
pub fn run(args: &InstallArgs, global: &Global, console: &Console) -> Result<(), Failure> {
    let namespace = global.namespace.as_deref().unwrap_or("default");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if namespace.is_empty() || !namespace.chars().all(plain) {
        let what = crate::text!("namespace `{namespace}` is no name of a namespace");
        return Err(Failure::new(FailureKind::Input, what, "name one with --namespace"));
    }
    if args.image.as_deref().is_some_and(|image| image.is_empty() || image.contains(char::is_whitespace)) {
        return Err(Failure::new(
            FailureKind::Input,
            "that is no image",
            "name it like registry.example/footplate:0.1.0",
        ));
    }
    console.data(&manifests(namespace, args.image.as_deref(), args.crd_only))
}

/// What is printed.
pub fn manifests(namespace: &str, image: Option<&str>, crd_only: bool) -> String {
    if crd_only {
        return CRD.to_owned();
    }
    let conductor = CONDUCTOR.replace("NAMESPACE", namespace);
    let conductor = match image {
        Some(image) => conductor.replace("IMAGE", image),
        // The Deployment is the last document.
        None => conductor.rsplit_once("\n---\n").map_or_else(String::new, |(before, _)| format!("{before}\n")),
    };
    [CRD.to_owned(), CAPTAIN.replace("NAMESPACE", namespace), conductor].join("---\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_printed_is_an_object_of_the_namespace() {
        let text = manifests("payments", Some("r.example/footplate:1"), false);
        assert!(!text.contains("NAMESPACE") && !text.contains("IMAGE"));
        let kinds: Vec<String> = text
            .split("\n---\n")
            .map(|document| {
                let object: serde_json::Value = serde_yaml::from_str(document).unwrap();
                object["kind"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(kinds.iter().filter(|k| *k == "Deployment").count(), 1);
        assert_eq!(kinds[0], "CustomResourceDefinition");
        let without = manifests("payments", None, false);
        assert!(!without.contains("kind: Deployment") && without.contains("kind: RoleBinding"));
        assert_eq!(manifests("payments", None, true), CRD);
    }
}

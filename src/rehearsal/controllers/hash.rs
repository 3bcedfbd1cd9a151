//! Names for templates and steps: FNV-1 over the canonical form, written in the alphabet that Kubernetes uses for such
//! names. Equal templates have equal hashes, whatever the order of their keys.

use serde_json::Value;

use super::fields::{canonical, remove};

/// Letters and digits that cannot spell a word, as Kubernetes picks them for generated names.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The label that carries a Rollout's pod hash.
pub const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// The label that carries a Deployment's pod hash.
pub const DEPLOYMENT_HASH: &str = "pod-template-hash";

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, b| (hash ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

/// A number written in the safe alphabet, one letter for each of its digits.
pub fn safe(number: u32) -> String {
    number.to_string().bytes().map(|b| char::from(SAFE[usize::from(b) % SAFE.len()])).collect()
}

/// Five safe letters out of a hash of the parts, for pod names.
pub fn suffix(parts: &[&str]) -> String {
    let mut hash = u64::from(fnv32a(parts.join("\u{1f}").as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..5)
        .map(|_| {
            hash ^= hash >> 29;
            hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            char::from(SAFE[(hash >> 33) as usize % SAFE.len()])
        })
        .collect()
}

/// A template without the hash labels that controllers add, in canonical form.
pub fn bare_template(template: &Value) -> Value {
    let mut bare = template.clone();
    for key in [ROLLOUT_HASH, DEPLOYMENT_HASH] {
        remove(&mut bare, &["metadata", "labels", key]);
    }
    remove(&mut bare, &["metadata", "creationTimestamp"]);
    canonical(&bare)
}

/// The hash of a pod template, labels and annotations included.
pub fn of_template(template: &Value, collisions: Option<i64>) -> String {
    let mut bytes = bare_template(template).to_string().into_bytes();
    if let Some(n) = collisions {
        bytes.extend_from_slice(&n.to_le_bytes());
    }
    safe(fnv32a(&bytes))
}

/// The hash of canary steps.
pub fn of_steps(steps: &[Value]) -> String {
    safe(fnv32a(Value::Array(steps.iter().map(canonical).collect()).to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_of_the_meaning() {
        let a = json!({"metadata": {"labels": {"app": "x", ROLLOUT_HASH: "old"}}, "spec": {"containers": [{"image": "i:1"}]}});
        let b =
            json!({"spec": {"containers": [{"image": "i:1", "resources": {}}]}, "metadata": {"labels": {"app": "x"}}});
        assert_eq!(of_template(&a, None), of_template(&b, None));
        assert_ne!(of_template(&a, None), of_template(&a, Some(1)));
        let mut c = b.clone();
        super::super::fields::set(&mut c, &["metadata", "annotations", "k"], json!("v"));
        assert_ne!(of_template(&b, None), of_template(&c, None), "annotations of the template count");
        assert!(of_template(&a, None).bytes().all(|b| SAFE.contains(&b)));
    }
}

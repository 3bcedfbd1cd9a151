//! A container image reference, taken apart: repository, tag, digest. What a version means to anybody is not known here.

/// The parts of an image reference, as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// Registry and path, without tag and digest (`registry:5000/payments/billing-api`).
    pub repository: &'a str,
    /// The tag; none when there is none (the kubelet then takes `latest`).
    pub tag: Option<&'a str>,
    /// The digest with its algorithm (`sha256:…`).
    pub digest: Option<&'a str>,
}

/// Takes an image reference apart. A colon before the last slash belongs to the registry's port, not to a tag.
pub fn parse(reference: &str) -> Image<'_> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest).filter(|d| !d.is_empty())),
        None => (reference, None),
    };
    let path = name.rfind('/').map_or(0, |at| at + 1);
    match name[path..].split_once(':') {
        Some((last, tag)) => {
            Image { repository: &name[..path + last.len()], tag: Some(tag).filter(|t| !t.is_empty()), digest }
        }
        None => Image { repository: name, tag: None, digest },
    }
}

/// What tells one version of an image from another: its tag, else its digest. None for a bare name: which version that is
/// depends on the day.
pub fn version(reference: &str) -> Option<&str> {
    let image = parse(reference);
    image.tag.or(image.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_apart() {
        let table = [
            ("billing-api", "billing-api", None, None),
            ("billing-api:2.7.4", "billing-api", Some("2.7.4"), None),
            ("registry:5000/payments/billing-api", "registry:5000/payments/billing-api", None, None),
            ("registry:5000/payments/billing-api:2.7.4", "registry:5000/payments/billing-api", Some("2.7.4"), None),
            ("r.example/b@sha256:ab12", "r.example/b", None, Some("sha256:ab12")),
            ("r.example:443/b:2.8.0@sha256:ab12", "r.example:443/b", Some("2.8.0"), Some("sha256:ab12")),
            ("b:", "b", None, None),
            ("", "", None, None),
            ("@", "", None, None),
        ];
        for (reference, repository, tag, digest) in table {
            assert_eq!(parse(reference), Image { repository, tag, digest }, "{reference}");
        }
        assert_eq!(version("r/b:1@sha256:ff"), Some("1"));
        assert_eq!(version("r/b@sha256:ff"), Some("sha256:ff"));
        assert_eq!(version("r:1/b"), None);
    }
}

//! What the metric store is asked about a service: the frozen queries with their placeholders filled in. Values that come from a
//! cluster are refused where they are not plain words, so that none of them can change what a query means.

use std::time::Duration;

use super::Queries;
use crate::core::text::Text;
use crate::text;

/// What goes into a query beside the service.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked<'a> {
    /// The service's name.
    pub service: &'a str,
    /// Pod hash of a revision, or [`EVERY`].
    pub revision: &'a str,
    /// The range that a rate is taken over.
    pub window: Duration,
}

/// Matches every revision where a query compares by regular expression.
pub const EVERY: &str = ".*";

/// The longest value that is filled in: a label's.
const VALUE_BYTES_MAX: usize = 63;

/// Fills a query in. Refused where it holds a placeholder that nothing fills, and where a value is not a plain word.
pub fn resolve(query: &str, asked: &Asked<'_>) -> Result<String, Text> {
    if asked.revision != EVERY {
        plain("the revision", asked.revision)?;
    }
    plain("the service", asked.service)?;
    let mut out = String::with_capacity(query.len() + 64);
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((word, after)) = after.split_once("}}") else { break };
        out.push_str(before);
        match word.trim() {
            "service" => out.push_str(asked.service),
            "revision" => out.push_str(asked.revision),
            "window" => out.push_str(&range(asked.window)),
            "quantile" => out.push_str("0.99"),
            other => return Err(text!("nothing fills in {{{{{other}}}}} of a query")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn plain(what: &str, value: &str) -> Result<(), Text> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || value.len() > VALUE_BYTES_MAX || !value.chars().all(good) {
        return Err(text!("{what} `{}` is no word that a query can name", Text::scrub(value)));
    }
    Ok(())
}

/// A duration as PromQL writes it; never shorter than it is.
fn range(window: Duration) -> String {
    let ms = window.as_nanos().div_ceil(1_000_000).max(1);
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

impl Queries {
    /// True when requests and errors of one revision can be asked for.
    pub fn tell_revisions(&self) -> bool {
        [&self.requests, &self.errors].iter().all(|q| !revisions(q).is_empty())
    }

    /// True when the whole service can be asked for: no query names a revision, or each compares it by regular expression.
    pub fn tell_whole(&self) -> bool {
        let by_expression = |before: &str| {
            let before = before.trim_end_matches(['"', '\'', '`', '^', '(']);
            before.trim_end().ends_with("=~")
        };
        [&self.requests, &self.errors, &self.latency].iter().all(|q| revisions(q).into_iter().all(by_expression))
    }
}

/// What stands before each place of the revision.
fn revisions(query: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(open) = query[at..].find("{{").map(|n| at + n) {
        let Some(close) = query[open..].find("}}").map(|n| open + n) else { break };
        if query[open + 2..close].trim() == "revision" {
            out.push(&query[..open]);
        }
        at = close + 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queries(by: &str) -> Queries {
        let query = text!("sum(rate(x{{service=\"{{{{service}}}}\",{by}}}[{{{{window}}}}]))");
        Queries { requests: query.clone(), errors: query.clone(), latency: query }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let query = r#"q({{quantile}}, sum(rate(x{s="{{service}}",r=~"{{ revision }}"}[{{window}}])) by (le))"#;
        let asked = Asked { service: "billing-api", revision: "7c9f", window: Duration::from_millis(7500) };
        assert_eq!(
            resolve(query, &asked).unwrap(),
            r#"q(0.99, sum(rate(x{s="billing-api",r=~"7c9f"}[7500ms])) by (le))"#
        );
        let whole = Asked { revision: EVERY, window: Duration::from_secs(60), ..asked };
        assert_eq!(resolve(query, &whole).unwrap(), r#"q(0.99, sum(rate(x{s="billing-api",r=~".*"}[60s])) by (le))"#);
        assert_eq!(resolve("{{other}}", &asked).unwrap_err(), "nothing fills in {{other}} of a query");
        for hostile in ["\"} or vector(0) #", "", "a|b", ".+", "x\n"] {
            assert!(resolve(query, &Asked { revision: hostile, ..asked }).is_err(), "{hostile}");
        }
    }

    #[test]
    fn what_can_be_told_apart_follows_from_the_queries() {
        let told = |by: &str| (queries(by).tell_revisions(), queries(by).tell_whole());
        assert_eq!(told(r#"hash=~"{{revision}}""#), (true, true));
        assert_eq!(told(r#"hash =~ '^({{revision}})$'"#), (true, true));
        assert_eq!(told(r#"hash="{{revision}}""#), (true, false));
        assert_eq!(told(r#"code="1""#), (false, true));
    }

    proptest! {
        #[test]
        fn no_value_of_a_cluster_changes_a_query(revision in "\\PC{0,80}") {
            let asked = Asked { service: "a", revision: &revision, window: Duration::from_secs(1) };
            if let Ok(query) = resolve(r#"x{r="{{revision}}"}"#, &asked) {
                prop_assert_eq!(query.matches('"').count(), 2);
                prop_assert!(!query.contains('\\') && !query.contains('|'));
            }
        }
    }
}

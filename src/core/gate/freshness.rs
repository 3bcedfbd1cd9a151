//! How fresh the series behind a query are: an expression such as `errors or vector(0)` answers 0 although nothing is scraped
//! any more, or never was under that label. Asked about the selectors themselves, Prometheus tells when they were last scraped.

use std::time::Duration;

/// How many selectors of a query are looked at.
const SELECTORS_MAX: usize = 4;

/// The span over which scrapes are counted.
const SPAN: Duration = Duration::from_secs(300);

/// The scrape interval that is assumed while none was counted.
pub const SCRAPE_ASSUMED: Duration = Duration::from_secs(60);

/// Queries about the series behind another query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// Answers with the seconds since the newest scrape; empty when nothing was scraped for five minutes.
    pub age: String,
    /// Answers with the number of scrapes in the last five minutes.
    pub scrapes: String,
    /// The same of the last minute.
    pub scrapes_last_minute: String,
}

impl Freshness {
    /// The queries about the series behind `promql`; none when it names no series in braces.
    pub fn of(promql: &str) -> Option<Self> {
        let selectors = selectors(promql);
        if selectors.is_empty() {
            return None;
        }
        let union = |each: &dyn Fn(&str) -> String| selectors.iter().map(|s| each(s)).collect::<Vec<_>>().join(" or ");
        Some(Self {
            age: format!("time() - max({})", union(&|s| format!("timestamp({s})"))),
            scrapes: format!("max({})", union(&|s| format!("count_over_time({s}[{}s])", SPAN.as_secs()))),
            scrapes_last_minute: format!("max({})", union(&|s| format!("count_over_time({s}[60s])"))),
        })
    }
}

/// The scrape interval that a count of scrapes tells; a series younger than the span looks slower than it is.
pub fn scrape_interval(scrapes: f64) -> Option<Duration> {
    (scrapes >= 1.0).then(|| Duration::try_from_secs_f64(SPAN.as_secs_f64() / scrapes).ok()).flatten()
}

/// True when the newest scrape is older than two scrape intervals; two seconds are allowed for the scrape itself.
pub fn is_stale(age: Duration, scrape: Option<Duration>) -> bool {
    age > scrape.unwrap_or(SCRAPE_ASSUMED) * 2 + Duration::from_secs(2)
}

/// The selectors of a query that are written with braces, without ranges and modifiers, each once.
fn selectors(promql: &str) -> Vec<&str> {
    let bytes = promql.as_bytes();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    let mut out: Vec<&str> = Vec::new();
    let (mut at, mut name) = (0, None);
    while at < bytes.len() && out.len() < SELECTORS_MAX {
        match bytes[at] {
            b'#' => at += promql[at..].find('\n').unwrap_or(promql.len() - at),
            b'"' | b'\'' | b'`' => {
                at = after_quote(bytes, at);
                name = None;
            }
            b'{' => {
                let Some(end) = after_brace(bytes, at) else { break };
                let selector = &promql[name.unwrap_or(at)..end];
                if !out.contains(&selector) {
                    out.push(selector);
                }
                (at, name) = (end, None);
            }
            b if is_name(b) => {
                name = Some(at);
                while at < bytes.len() && is_name(bytes[at]) {
                    at += 1;
                }
            }
            b if b.is_ascii_whitespace() => at += 1,
            _ => (at, name) = (at + 1, None),
        }
    }
    out
}

fn after_quote(bytes: &[u8], begin: usize) -> usize {
    let quote = bytes[begin];
    let mut at = begin + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn after_brace(bytes: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => return Some(at + 1),
            b'"' | b'\'' | b'`' => at = after_quote(bytes, at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn selectors_are_found() {
        let query = r#"
            (sum(rate(http_requests_total{service="a}b",hash='x',status=~"5.."}[1m])) or vector(0)) # up{no="1"}
            / sum(rate(http_requests_total {service="a}b"} [1m] offset 5m)) + ns:x:rate5m{a="\"}"} + {__name__="up"} + {__name__="up"}"#;
        assert_eq!(
            selectors(query),
            [
                r#"http_requests_total{service="a}b",hash='x',status=~"5.."}"#,
                r#"http_requests_total {service="a}b"}"#,
                r#"ns:x:rate5m{a="\"}"}"#,
                r#"{__name__="up"}"#,
            ]
        );
        assert_eq!(selectors("up + sum(x)"), [] as [&str; 0]);
        assert_eq!(selectors("up{never=\"closed"), [] as [&str; 0]);
        let freshness = Freshness::of("rate(a{b=\"c\"}[1m])").unwrap();
        assert_eq!(freshness.age, "time() - max(timestamp(a{b=\"c\"}))");
        assert_eq!(freshness.scrapes, "max(count_over_time(a{b=\"c\"}[300s]))");
        assert_eq!(Freshness::of("vector(0)"), None);
    }

    #[test]
    fn stale_is_older_than_two_scrapes() {
        let s = Duration::from_secs;
        assert_eq!(scrape_interval(60.0), Some(s(5)));
        assert_eq!((scrape_interval(0.0), scrape_interval(f64::NAN)), (None, None));
        assert!(!is_stale(s(12), Some(s(5))) && is_stale(s(13), Some(s(5))));
        assert!(!is_stale(s(122), None) && is_stale(s(123), None));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*|[a-z{}\"'`\\\\#\\[\\] \n=é]{0,60}") {
            for selector in selectors(&text) {
                let whole = text.contains(selector) && selector.ends_with('}');
                prop_assert!(whole, "{}", selector);
            }
        }
    }
}

//! Durations as Argo Rollouts and Flagger write them: Go's `time.ParseDuration`, and a bare number of seconds.

use serde_json::Value;

/// Whole seconds of a duration: a number or a bare string of digits counts seconds, otherwise Go's syntax (`1h30m`,
/// `1.5s`, `300ms`). None when it is none of these, or negative.
pub fn seconds(value: &Value) -> Option<u32> {
    match value {
        Value::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::String(s) => s.parse().ok().or_else(|| go(s)),
        _ => None,
    }
}

fn go(text: &str) -> Option<u32> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (total <= f64::from(u32::MAX)).then_some(total as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (value, want) in [
            (json!(60), Some(60)),
            (json!("60"), Some(60)),
            (json!("60s"), Some(60)),
            (json!("1h30m"), Some(5400)),
            (json!("1.5m"), Some(90)),
            (json!("1500ms"), Some(1)),
            (json!("0"), Some(0)),
            (json!("1h0.5s"), Some(3600)),
            (json!("1d"), None),
            (json!("-5s"), None),
            (json!(-5), None),
            (json!(""), None),
            (json!("5"), Some(5)),
            (json!("s"), None),
            (json!("1..2s"), None),
            (json!("99999999999h"), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            assert_eq!(seconds(&value), want, "{value}");
        }
    }
}

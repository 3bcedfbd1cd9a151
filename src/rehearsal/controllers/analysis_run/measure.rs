//! Taking one measurement: arguments filled into the metric, the query put to the simulated Prometheus, the answer
//! judged.

use serde_json::Value;

use super::super::super::promql::{Answer, Query, number};
use super::super::desk::Desk;
use super::super::fields;
use super::condition::{Judged, judge};

/// The metric with `{{args.x}}` replaced everywhere.
pub(super) fn with_arguments(metric: &Value, args: &[Value]) -> Result<Value, String> {
    Ok(match metric {
        Value::String(text) => Value::String(filled(text, args)?),
        Value::Array(list) => Value::Array(list.iter().map(|v| with_arguments(v, args)).collect::<Result<_, _>>()?),
        Value::Object(map) => Value::Object(
            map.iter().map(|(k, v)| Ok((k.clone(), with_arguments(v, args)?))).collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

fn filled(text: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let Some(close) = rest[open..].find("}}") else { break };
        let tag = &rest[open + 2..open + close];
        let value = tag
            .trim()
            .strip_prefix("args.")
            .and_then(|name| args.iter().find(|a| fields::text(a, "/name") == name))
            .and_then(|a| a.get("value")?.as_str())
            .ok_or_else(|| format!("failed to resolve {{{{{tag}}}}}"))?;
        out.push_str(&rest[..open]);
        out.push_str(value);
        rest = &rest[open + close + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Phase, value and message of a measurement taken now.
pub(super) fn take(desk: &Desk<'_>, metric: &Value) -> (&'static str, String, String) {
    let error = |why: String| ("Error", String::new(), why);
    let query = fields::text(metric, "/provider/prometheus/query");
    if query.is_empty() {
        let kind = metric.get("provider").and_then(Value::as_object).and_then(|p| p.keys().next().cloned());
        return error(format!("no valid provider in metric: {} is not simulated", kind.unwrap_or_default()));
    }
    let answer = Query::parse(query).and_then(|q| q.at(desk.series, desk.now()));
    let (text, result) = match answer {
        Err(why) => return error(format!("bad_data: {why}")),
        Ok(Answer::Scalar(v)) => (number(v), Judged::Number(v)),
        Ok(Answer::Vector(vector)) => listed(vector.iter().map(|(_, v)| *v)),
        Ok(Answer::Matrix(matrix)) => listed(matrix.iter().flat_map(|(_, s)| s.iter().map(|(_, v)| *v))),
        Ok(Answer::Text(_)) => return error("Prometheus metric type not supported".to_owned()),
    };
    match judge(&result, fields::text(metric, "/successCondition"), fields::text(metric, "/failureCondition")) {
        Ok(phase) => (phase, text, String::new()),
        Err(why) => error(why),
    }
}

fn listed(values: impl Iterator<Item = f64>) -> (String, Judged) {
    let values: Vec<f64> = values.collect();
    let text = format!("[{}]", values.iter().map(|v| number(*v)).collect::<Vec<_>>().join(","));
    (text, Judged::List(values))
}

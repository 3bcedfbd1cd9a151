//! Success and failure conditions in Argo's expression language, and what they make of a measurement.

use expr::{Context, Environment, Error, Value};

/// The longest condition that is looked at, bytes.
const CONDITION_MAX: usize = 4096;

/// What a measurement brought.
#[derive(Clone, PartialEq, Debug)]
pub enum Judged {
    /// A scalar.
    Number(f64),
    /// A vector, or the samples of a matrix.
    List(Vec<f64>),
}

/// Phase of a measurement under its two conditions, either of which may be empty.
///
/// # Errors
/// A condition that cannot be evaluated, in the controller's words.
pub fn judge(result: &Judged, success: &str, failure: &str) -> Result<&'static str, String> {
    let decide = |kind: &str, condition: &str| {
        holds(result, condition).map_err(|why| match result {
            Judged::List(list) if list.is_empty() => format!(
                "could not evaluate {kind} \"{condition}\": metric result is nil or empty: no data returned from the metric provider"
            ),
            _ => format!("could not evaluate {kind} \"{condition}\": {why}"),
        })
    };
    let succeeded = if success.is_empty() { None } else { Some(decide("successCondition", success)?) };
    let failed = if failure.is_empty() { None } else { Some(decide("failureCondition", failure)?) };
    Ok(match (succeeded, failed) {
        (_, Some(true)) | (Some(false), None) => "Failed",
        (Some(false), Some(false)) => "Inconclusive",
        (Some(true), _) | (None, _) => "Successful",
    })
}

/// Whether a condition holds of a result.
///
/// # Errors
/// What cannot be parsed or evaluated, or is no boolean.
pub fn holds(result: &Judged, condition: &str) -> Result<bool, String> {
    if condition.len() > CONDITION_MAX {
        return Err("the condition is too long".to_owned());
    }
    let value = match result {
        Judged::Number(v) => Value::Float(*v),
        Judged::List(list) => Value::Array(list.iter().map(|v| Value::Float(*v)).collect()),
    };
    let mut context = Context::default();
    context.insert("result", value.clone());
    let mut environment = Environment::new();
    let first = |args: &[Value]| args.first().cloned().unwrap_or(Value::Nil);
    environment.add_function("isNaN", move |c| Ok(Value::Bool(float(&first(&c.args))?.is_nan())));
    environment.add_function("isInf", move |c| Ok(Value::Bool(float(&first(&c.args))?.is_infinite())));
    environment.add_function("isNil", |c| Ok(Value::Bool(matches!(c.args.first(), None | Some(Value::Nil)))));
    environment.add_function("default", |c| {
        Ok(match c.args.as_slice() {
            [Value::Nil, other, ..] => other.clone(),
            [value, ..] => value.clone(),
            [] => Value::Nil,
        })
    });
    environment.add_function("asFloat", move |c| float(&first(&c.args)).map(Value::Float));
    environment.add_function("asInt", move |c| {
        #[allow(clippy::cast_possible_truncation, reason = "the language truncates")]
        float(&first(&c.args)).map(|v| Value::Integer(v as i64))
    });
    match environment.eval(condition, &context) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err("expected bool".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

#[allow(clippy::cast_precision_loss, reason = "as the language converts")]
fn float(value: &Value) -> Result<f64, Error> {
    match value {
        Value::Float(v) => Ok(*v),
        Value::Integer(v) => Ok(*v as f64),
        Value::String(s) => s.parse().map_err(|_| Error::ExprError(format!("strconv.ParseFloat: parsing {s:?}"))),
        _ => Err(Error::ExprError("not a number".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "len(result) > 0 && !isNaN(result[0]) && result[0] < 0.02";
    const BAD: &str = "len(result) > 0 && !isNaN(result[0]) && result[0] >= 0.02";

    #[test]
    fn the_conditions_of_the_sample_templates() {
        let of = |values: &[f64]| judge(&Judged::List(values.to_vec()), GOOD, BAD).unwrap();
        assert_eq!(of(&[0.01]), "Successful");
        assert_eq!(of(&[0.3]), "Failed");
        assert_eq!(of(&[]), "Inconclusive");
        assert_eq!(of(&[f64::NAN]), "Inconclusive");
    }

    #[test]
    fn one_condition_or_none() {
        let one = Judged::List(vec![5.0]);
        assert_eq!(judge(&one, "result[0] > 4", ""), Ok("Successful"));
        assert_eq!(judge(&one, "result[0] < 4", ""), Ok("Failed"));
        assert_eq!(judge(&one, "", "result[0] > 4"), Ok("Failed"));
        assert_eq!(judge(&one, "", "result[0] < 4"), Ok("Successful"));
        assert_eq!(judge(&one, "", ""), Ok("Successful"));
        assert_eq!(judge(&Judged::Number(3.0), "result <= 3", ""), Ok("Successful"));
        assert_eq!(judge(&Judged::Number(3.0), "asInt(result) == 3 && asFloat(\"1.5\") == 1.5", ""), Ok("Successful"));
        assert_eq!(
            judge(&Judged::Number(3.0), "default(result, 9) == 3 && !isNil(result) && !isInf(result)", ""),
            Ok("Successful")
        );
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        let empty = judge(&Judged::List(Vec::new()), "result[0] < 1", "").unwrap_err();
        assert!(empty.contains("no data returned from the metric provider"), "{empty}");
        assert!(judge(&Judged::Number(1.0), "result + 1", "").is_err(), "no bool");
        assert!(judge(&Judged::Number(1.0), "result <", "").is_err());
        assert!(holds(&Judged::Number(1.0), &"(".repeat(9000)).is_err());
    }
}

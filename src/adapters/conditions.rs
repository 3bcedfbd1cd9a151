//! Conditions of an analysis, evaluated in Argo's expression language (expr-lang) on a result. A condition comes out of the
//! cluster and is hostile: it is measured before it is parsed, runs on a thread of its own with a large stack, and is
//! given up after a deadline. Which verdict follows is not decided here (`core/gate.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use expr::{Context, Environment, Error, Value};

use crate::core::gate::condition::{self, Kind};
use crate::core::gate::value;
use crate::core::text::Text;
use crate::ports::{self, Fut, Sample};

/// The longest condition, in bytes.
const BYTES_MAX: usize = 2 * 1024;

/// How many operators a condition may have, words such as `and` included.
const OPERATORS_MAX: usize = 64;

/// How deep its brackets may nest; and how deep its indexes, each level of which doubles the time of the parser.
const NESTING_MAX: usize = 16;
const INDEXES_MAX: usize = 4;

/// How many values a result may have, and how often a predicate may run in all.
const VALUES_MAX: usize = 1000;
const RUNS_MAX: usize = 100_000;

/// Stack of the thread that evaluates: 1,000 chained operators, the most that fit in the length, pass on it.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// How long an evaluation may take. A real one takes under a millisecond.
const DEADLINE: Duration = Duration::from_secs(2);

/// How many evaluations may be under way, those that were given up included.
const THREADS_MAX: usize = 8;

/// Functions of the language that can build a value much larger than they are given.
const REFUSED: [&str; 13] = [
    "map",
    "reduce",
    "flatten",
    "concat",
    "repeat",
    "groupBy",
    "sortBy",
    "split",
    "splitAfter",
    "join",
    "replace",
    "fromPairs",
    "toPairs",
];

/// Evaluates conditions.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    running: Arc<AtomicUsize>,
}

impl ports::Conditions for Conditions {
    fn holds<'a>(&'a self, condition: &'a str, value: &'a Sample) -> Fut<'a, Result<bool, Text>> {
        Box::pin(async move {
            fits(condition, value.values.len())?;
            let (condition, result) = (condition.to_owned(), of_sample(value));
            let running = Arc::clone(&self.running);
            // The wait is on a blocking thread, so that a virtual clock does not run away while the evaluation runs.
            tokio::task::spawn_blocking(move || in_time(running, move || decide(&condition, result)))
                .await
                .unwrap_or_else(|_| Err(Text::scrub("the evaluation broke off")))
        })
    }
}

/// Refuses what could exhaust the stack, the memory or the patience of the evaluator.
fn fits(condition: &str, values: usize) -> Result<(), Text> {
    let refuse = |why: &str| Err(crate::text!("the condition is not evaluated here: {why}"));
    if condition.len() > BYTES_MAX {
        return refuse("longer than 2 KiB");
    }
    if condition.contains("..") {
        return refuse("it makes a range");
    }
    if condition.contains(';') || condition.contains("$env") {
        return refuse("it uses let or $env");
    }
    let tokens = condition::tokens(condition);
    let words = ["and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches"];
    let operators = tokens.iter().filter(|t| match t.kind {
        Kind::Sign => !matches!(t.text, "," | "."),
        _ => words.contains(&t.text),
    });
    if operators.count() > OPERATORS_MAX {
        return refuse("more than 64 operators");
    }
    let (mut depth, mut indexes) = (0usize, 0usize);
    for token in &tokens {
        let square = usize::from(matches!(token.text, "[" | "]"));
        match token.kind {
            Kind::Open => (depth, indexes) = (depth + 1, indexes + square),
            Kind::Close => (depth, indexes) = (depth.saturating_sub(1), indexes.saturating_sub(square)),
            _ => {}
        }
        if depth > NESTING_MAX || indexes > INDEXES_MAX {
            return refuse("nested deeper than 16, or indexes deeper than 4");
        }
    }
    if values > VALUES_MAX {
        return refuse("the result has more than 1000 values");
    }
    // Every brace could be a predicate inside another one: this many runs at most.
    let braces = condition::written_out(condition).matches('{').count();
    let longest = values.max(condition.matches(',').count() + 1);
    let runs = u32::try_from(braces).ok().and_then(|braces| longest.checked_pow(braces));
    if longest > 1 && runs.is_none_or(|runs| runs > RUNS_MAX) {
        return refuse("its predicates would run more than 100,000 times");
    }
    Ok(())
}

/// Runs it on a thread of its own; gives up after the deadline.
fn in_time(
    running: Arc<AtomicUsize>,
    work: impl FnOnce() -> Result<bool, Text> + Send + 'static,
) -> Result<bool, Text> {
    if running.fetch_add(1, Ordering::AcqRel) >= THREADS_MAX {
        running.fetch_sub(1, Ordering::AcqRel);
        return Err(Text::scrub("too many conditions are being evaluated; earlier ones have not ended"));
    }
    let (answer, heard) = mpsc::sync_channel(1);
    let counted = Arc::clone(&running);
    let thread = std::thread::Builder::new().name("condition".into()).stack_size(STACK_BYTES).spawn(move || {
        // Nobody listens any more after the deadline; then there is nobody to tell.
        let _ = answer.send(work());
        counted.fetch_sub(1, Ordering::AcqRel);
    });
    if let Err(fault) = thread {
        running.fetch_sub(1, Ordering::AcqRel);
        return Err(crate::text!("no thread for the evaluation: {fault}"));
    }
    match heard.recv_timeout(DEADLINE) {
        Ok(answer) => answer,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Text::scrub("the condition took longer than 2 s and was given up")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Text::scrub("the evaluation broke off")),
    }
}

fn of_sample(sample: &Sample) -> Value {
    match sample.values.as_slice() {
        [only] if sample.scalar => Value::Float(*only),
        many => Value::Array(many.iter().copied().map(Value::Float).collect()),
    }
}

/// True or false, or why not.
fn decide(condition: &str, result: Value) -> Result<bool, Text> {
    let program = expr::compile(&condition::written_out(condition)).map_err(|why| said(&why))?;
    let mut environment = Environment::new();
    for name in REFUSED {
        environment.add_function(name, move |_| Err(Error::ExprError(format!("{name}() is not evaluated here"))));
    }
    add_argo_functions(&mut environment, &result);
    let mut context = Context::default();
    context.insert("result", result);
    match environment.run(&program, &context).map_err(|why| said(&why))? {
        Value::Bool(answer) => Ok(answer),
        other => Err(crate::text!("expected true or false, but got {}", of_type(&other))),
    }
}

/// The functions that Argo adds. `isNil` and `default` look at the result, whatever they are given; so it is there.
fn add_argo_functions(environment: &mut Environment<'_>, result: &Value) {
    environment.add_function("isNaN", |call| Ok(Value::Bool(float(&call.ident, &call.args)?.is_nan())));
    environment.add_function("isInf", |call| Ok(Value::Bool(float(&call.ident, &call.args)?.is_infinite())));
    let nil = result.is_nil();
    environment.add_function("isNil", move |_| Ok(Value::Bool(nil)));
    let held = result.clone();
    environment.add_function("default", move |call| match call.args.as_slice() {
        [_, instead] if nil => Ok(instead.clone()),
        [_, _] => Ok(held.clone()),
        _ => Err(Error::ExprError("default() takes exactly two arguments".into())),
    });
    environment.add_function("asFloat", |call| match call.args.as_slice() {
        [Value::String(text)] => match value::number(text) {
            Some(n) => Ok(Value::Float(n)),
            None => Err(Error::ExprError("asFloat() of a text that is no number".into())),
        },
        args => Ok(Value::Float(float(&call.ident, args)?)),
    });
    environment.add_function("asInt", |call| match call.args.as_slice() {
        [Value::String(text)] => match text.parse() {
            Ok(n) => Ok(Value::Integer(n)),
            Err(_) => Err(Error::ExprError("asInt() of a text that is no integer".into())),
        },
        args => Ok(Value::Integer(float(&call.ident, args)? as i64)),
    });
}

fn float(name: &str, args: &[Value]) -> expr::Result<f64> {
    match args {
        [Value::Float(n)] => Ok(*n),
        [Value::Integer(n)] => Ok(*n as f64),
        [other] => Err(Error::ExprError(format!("{name}() of {}, a number is needed", of_type(other)))),
        _ => Err(Error::ExprError(format!("{name}() takes exactly one argument"))),
    }
}

fn of_type(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "a boolean",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::String(_) | Value::Bytes(_) => "a text",
        Value::Array(_) => "a list",
        Value::Map(_) | Value::KeyedMap(_) => "a map",
    }
}

/// What went wrong, in one line. The parser draws a picture of several lines; its first says where.
fn said(why: &Error) -> Text {
    match why {
        Error::PestError(picture) => {
            let picture = picture.to_string();
            let place = picture.lines().next().unwrap_or_default().trim().trim_start_matches("--> ");
            crate::text!("the condition cannot be read at {place}")
        }
        other => crate::text!("the condition cannot be evaluated: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Conditions as _;
    use serde_json::json;

    fn json_value(value: &serde_json::Value) -> Value {
        expr::to_value(value).unwrap()
    }

    /// Conditions of the documentation of Argo Rollouts and of the sample environment, with results on both sides.
    #[test]
    fn documented_conditions_mean_what_they_mean_to_argo() {
        let table = [
            ("result[0] >= 0.95", json!([0.96]), Ok(true)),
            ("result[0] >= 0.95", json!([0.94]), Ok(false)),
            ("result[0] <= 0.01", json!([0.01]), Ok(true)),
            ("result <= 0.01", json!(0.02), Ok(false)),
            ("result < 0.02", json!(0), Ok(true)),
            ("result == true", json!(true), Ok(true)),
            ("result == 'true'", json!("true"), Ok(true)),
            ("result.ok && result.successPercent >= 0.90", json!({"ok": true, "successPercent": 0.95}), Ok(true)),
            ("result.ok && result.successPercent >= 0.90", json!({"ok": true, "successPercent": 0.5}), Ok(false)),
            ("default(result, 0) < 10", json!(null), Ok(true)),
            ("default(result, 0) < 10", json!(12), Ok(false)),
            ("default(result, 0) < 0.05", json!(0.01), Ok(true)),
            ("isNil(result)", json!(null), Ok(true)),
            ("isNaN(result) || result >= 0.95", json!(0.99), Ok(true)),
            ("isInf(result)", json!(1.5), Ok(false)),
            ("len(result) == 0 || result[0] >= 0.95", json!([]), Ok(true)),
            ("len(result) == 0 || result[0] >= 0.95", json!([0.1]), Ok(false)),
            ("len(result) > 0 && result[0] >= 0.95", json!([]), Ok(false)),
            ("all(result, # < 1000)", json!([1, 999]), Ok(true)),
            ("all(result, # < 1000)", json!([1, 1000]), Ok(false)),
            ("all(result, {# < 1})", json!([0.5]), Ok(true)),
            (
                "all(result.a.values, {asFloat(.value) >= 9900})",
                json!({"a": {"values": [{"value": "9901"}]}}),
                Ok(true),
            ),
            ("all(result.a.values, {asFloat(.value) >= 9900})", json!({"a": {"values": [{"value": "1"}]}}), Ok(false)),
            (
                "len(result[0].Values) >= 2 and all(result[0].Values, {# <= 0.01})",
                json!([{"Values": [0.0, 0.01]}]),
                Ok(true),
            ),
            ("len(result) > 0 && !isNaN(result[0]) && result[0] < 0.02", json!([0.01]), Ok(true)),
            ("len(result) > 0 && !isNaN(result[0]) && result[0] >= 0.02", json!([0.3]), Ok(true)),
            ("len(result) > 0 && !isNaN(result[0]) && result[0] >= 0.02", json!([]), Ok(false)),
            ("asInt(result) == 3", json!("3"), Ok(true)),
            ("asFloat(result) > 0.1", json!("0.2"), Ok(true)),
            ("sum(result) < 3 and max(result) < 2 and count(result, {# > 1}) == 1", json!([0.5, 1.5]), Ok(true)),
            ("result[0] > 1 ? false : true", json!([0]), Ok(true)),
            ("result[0] / 0 > 1", json!([1]), Ok(true)),
            ("not (result[0] > 1)", json!([2]), Ok(false)),
            // Errors, as there: no data, a wrong type, no boolean, a wrong name.
            ("result[0] < 0.02", json!([]), Err(())),
            ("result < 0.02", json!([0.01]), Err(())),
            ("result[0]", json!([0.01]), Err(())),
            ("results[0] >= 90.000000", json!([91]), Err(())),
            ("asFloat(result) > 1", json!("many"), Err(())),
            ("isNaN(result)", json!([1]), Err(())),
            ("result[0] <", json!([1]), Err(())),
            ("", json!([1]), Err(())),
        ];
        for (condition, result, wanted) in table {
            let said = decide(condition, json_value(&result));
            assert_eq!(said.clone().map_err(|_| ()), wanted, "{condition:?} on {result}: {said:?}");
        }
        let nan = Value::Array(vec![Value::Float(f64::NAN)]);
        assert_eq!(decide("result[0] < 1 || result[0] >= 1", nan.clone()), Ok(false));
        assert_eq!(decide("isNaN(result[0])", nan), Ok(true));
        assert_eq!(decide("isInf(result)", Value::Float(f64::INFINITY)), Ok(true));
    }

    /// Different from Argo, knowingly: an index past the end is nil here and an error there. It makes no difference to a
    /// verdict, because an empty answer is no data whatever the condition says.
    #[test]
    fn the_one_known_difference() {
        assert_eq!(decide("result[5] == nil", json_value(&json!([1]))), Ok(true));
    }

    fn sample(values: usize) -> Sample {
        Sample { values: vec![0.5; values], ..Sample::default() }
    }

    #[tokio::test]
    async fn a_sample_is_a_list_and_a_scalar_a_number() {
        let conditions = Conditions::default();
        assert_eq!(conditions.holds("result[0] < 1", &sample(1)).await, Ok(true));
        let scalar = Sample { values: vec![0.5], scalar: true, ..Sample::default() };
        assert_eq!(conditions.holds("result < 1", &scalar).await, Ok(true));
        let why = conditions.holds("result[0] < \u{1b}[2J", &scalar).await.unwrap_err();
        assert_eq!(why.as_str(), "the condition cannot be read at 1:13");
    }

    #[tokio::test]
    async fn hostile_conditions_end_soon_and_harm_nothing() {
        let deep = |open: &str, close: &str, n: usize| format!("{}1{} == 1", open.repeat(n), close.repeat(n));
        let corpus = [
            deep("(", ")", 1000),
            deep("[", "]", 1000),
            deep("abs(", ")", 500),
            deep("result[", "]", 300),
            deep("result[", "]", 16),
            deep("result[", "]", 4),
            deep("(", ")", 16),
            deep("abs(", ")", 16),
            deep("all(result, {", "})", 2),
            deep("{a: ", "}", 16),
            deep("result[0]?.[", "]", 4),
            deep("true ? (", ") : 1", 16),
            deep("if true { ", "} else { 2 }", 16),
            "(".repeat(2048),
            "result[".repeat(290),
            "a?".repeat(1000),
            "if a {".repeat(300),
            "!".repeat(2000) + "true",
            "-".repeat(2000) + "1 < 2",
            vec!["1"; 1000].join("+"),
            vec!["true"; 500].join("&&"),
            "\")))))))))\" + ".to_owned() + &"(".repeat(100),
            "`".to_owned() + &"(".repeat(100),
            "/*".to_owned() + &"(".repeat(2000),
            "len(1..1000000000) > 0".into(),
            "len(1 .. 1000000000) > 0".into(),
            "all(result, {all(result, {all(result, {all(result, {# < 1})})})})".into(),
            "let a = [result, result]; let b = [a, a]; len([b, b]) > 0".into(),
            "len(map(result, {map(result, {result})})) > 0".into(),
            "reduce(result, {[#acc, #acc]}) != nil".into(),
            "len(repeat(\"x\", 100000000)) > 0".into(),
            "len($env) > 0".into(),
            "result[0] matches \"(a{1000}){1000}{1000}\"".into(),
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" matches \"(a+)+$\"".into(),
            "result[99999999999999999999999] > 0".into(),
            "result[-9223372036854775808] > 0".into(),
            "1 % 0 == 0".into(),
            "2 ** 99999 > 0".into(),
            "9223372036854775807 + 1 < 0".into(),
            "\u{202e}result\u{0}[0] < 1".into(),
            "x".repeat(1 << 20),
            "é".repeat(1000),
        ];
        let conditions = Conditions::default();
        for (condition, values) in corpus.iter().flat_map(|c| [(c, 316), (c, VALUES_MAX)]) {
            let begun = std::time::Instant::now();
            let said = conditions.holds(condition, &sample(values)).await;
            let took = begun.elapsed();
            // One that does not end is given up at the deadline, which returns a moment after it.
            assert!(took < DEADLINE + Duration::from_secs(1), "{took:?} for {condition:.60}");
            if let Err(why) = said {
                assert!(!why.chars().any(crate::core::text::is_hostile));
                assert!(why.len() < 300, "{why}");
            }
        }
        let begun = std::time::Instant::now();
        while conditions.running.load(Ordering::Acquire) > 0 && begun.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(conditions.running.load(Ordering::Acquire), 0, "an evaluation went on after it was given up");
    }

    #[tokio::test]
    async fn what_does_not_end_is_given_up_and_cannot_pile_up() {
        let running = Arc::new(AtomicUsize::new(THREADS_MAX - 1));
        let said = tokio::task::spawn_blocking({
            let running = Arc::clone(&running);
            move || {
                in_time(running, || {
                    std::thread::sleep(DEADLINE * 2);
                    Ok(true)
                })
            }
        });
        assert!(said.await.unwrap().unwrap_err().contains("given up"));
        assert!(in_time(running, || Ok(true)).unwrap_err().contains("too many"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn any_words_of_the_language_are_taken(words in proptest::collection::vec(proptest::sample::select(vec![
            "result", "result[0]", "(", ")", "[", "]", "{", "}", "#", ".ok", "0", "0.5", "-1", "'a'", "\"", "`", "nil", "true",
            "<", ">=", "==", "&&", "||", "and", "not", "in", "matches", "?", ":", "??", "?.", "|", ",", "+", "/", "%", "**",
            "len(", "all(result, {", "filter(result, {", "isNaN(", "default(result, ", "sum(", "sort(", "abs(", "if", "else",
            "b'x'", "//", "/*", "é", "\u{202e}",
        ]), 0..24)) {
            let condition = words.join(" ");
            if fits(&condition, 3).is_ok() {
                let result = of_sample(&sample(3));
                let begun = std::time::Instant::now();
                let said = in_time(Arc::default(), move || decide(&condition, result));
                proptest::prop_assert!(begun.elapsed() < DEADLINE, "{:?}", said);
            }
        }
    }
}

//! The text of an analysis condition: its tokens, its plain threshold where it has one, and the short predicate form written
//! out. Nothing is evaluated here.

use super::super::snapshot::Limit;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A name: variable, function, word operator, `#`.
    Name,
    /// A number.
    Number,
    /// A quoted text.
    Quoted,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// Anything else: operators, commas, dots, stray characters.
    Sign,
}

/// A token of a condition, and where it begins (in bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: &'a str,
    /// Where it begins.
    pub at: usize,
}

/// Cuts a condition into tokens, comments left out. Takes any text; what is not closed ends with the text.
pub fn tokens(condition: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = condition[at..].chars().next() {
        let rest = &condition[at..];
        let (kind, len) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '/' if rest.starts_with("//") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '/' if rest.starts_with("/*") => {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
                continue;
            }
            '"' | '\'' => (Kind::Quoted, quoted(rest, c)),
            '`' => (Kind::Quoted, rest[1..].find('`').map_or(rest.len(), |end| end + 2)),
            '(' | '[' | '{' => (Kind::Open, 1),
            ')' | ']' | '}' => (Kind::Close, 1),
            c if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) => {
                (Kind::Number, number(rest))
            }
            c if is_name(c) => (Kind::Name, rest.find(|d| !is_name(d)).unwrap_or(rest.len())),
            _ => (Kind::Sign, sign(rest)),
        };
        out.push(Token { kind, text: &rest[..len], at });
        at += len;
    }
    out
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | '$')
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

fn number(rest: &str) -> usize {
    let mut previous = ' ';
    rest.find(|c: char| {
        let goes_on = c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_')
            || (matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !rest.starts_with("0x"));
        previous = c;
        !goes_on
    })
    .unwrap_or(rest.len())
}

fn sign(rest: &str) -> usize {
    let pairs = ["&&", "||", "==", "!=", "<=", ">=", "??", "?.", "**", ".."];
    match pairs.iter().find(|pair| rest.starts_with(**pair)) {
        Some(pair) => pair.len(),
        None => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// The threshold that a metric decides by, where its conditions have a plain one: a single comparison of the result with a
/// number, beside guards against missing data. The success condition is asked first.
pub fn limit(success: &str, failure: &str) -> Option<Limit> {
    comparison(&tokens(success))?.or_else(|| comparison(&tokens(failure)).flatten().map(inverse))
}

fn inverse(limit: Limit) -> Limit {
    match limit {
        Limit::Below(n) => Limit::Above(n),
        Limit::Above(n) => Limit::Below(n),
    }
}

/// None when there is something that is neither a guard nor a plain comparison, or two different comparisons; an inner
/// none when there is no comparison at all.
fn comparison(tokens: &[Token<'_>]) -> Option<Option<Limit>> {
    let tokens = bare(tokens);
    let mut found = None;
    let parts = split(tokens, |t| matches!(t.text, "&&" | "||" | "and" | "or"));
    if parts.len() == 1 {
        return match tokens {
            [] => Some(None),
            atom if is_guard(atom) => Some(None),
            atom => plain(atom).map(Some),
        };
    }
    for part in parts {
        match (comparison(part)?, found) {
            (Some(limit), Some(other)) if limit != other => return None,
            (Some(limit), _) => found = Some(limit),
            (None, _) => {}
        }
    }
    Some(found)
}

/// Without the brackets around the whole.
fn bare<'t, 'a>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    while let [first, inner @ .., last] = tokens {
        if first.text != "(" || last.text != ")" || !closes_at_end(tokens) {
            break;
        }
        tokens = inner;
    }
    tokens
}

/// True when the bracket that opens the text closes with its last token.
fn closes_at_end(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate() {
        depth += i32::from(token.kind == Kind::Open) - i32::from(token.kind == Kind::Close);
        if depth <= 0 {
            return i + 1 == tokens.len();
        }
    }
    false
}

/// Cuts at separators outside of brackets.
fn split<'t, 'a>(tokens: &'t [Token<'a>], is_separator: impl Fn(&Token<'a>) -> bool) -> Vec<&'t [Token<'a>]> {
    let (mut out, mut depth, mut begin) = (Vec::new(), 0i32, 0);
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            _ if depth == 0 && is_separator(token) => {
                out.push(&tokens[begin..i]);
                begin = i + 1;
            }
            _ => {}
        }
    }
    out.push(&tokens[begin..]);
    out
}

/// A check that there is data at all: `len(result) > 0`, `!isNaN(result[0])`, `result != nil`, `isInf(result)`.
fn is_guard(atom: &[Token<'_>]) -> bool {
    let positive = match atom {
        [not, rest @ ..] if matches!(not.text, "!" | "not") => bare(rest),
        _ => atom,
    };
    match positive {
        [call, open, inner @ .., close] if open.text == "(" && close.text == ")" && closes_at_end(&positive[1..]) => {
            matches!(call.text, "isNaN" | "isInf" | "isNil") && is_result(inner)
        }
        [call, open, inner @ .., close, op, n] if call.text == "len" && open.text == "(" && close.text == ")" => {
            op.kind == Kind::Sign && n.kind == Kind::Number && is_result(inner)
        }
        [subject @ .., op, nil] if nil.text == "nil" => matches!(op.text, "==" | "!=") && is_result(subject),
        _ => false,
    }
}

/// One comparison of the result with a number, either way round, or of all of its values.
fn plain(atom: &[Token<'_>]) -> Option<Limit> {
    if let [call, open, inner @ .., close] = atom
        && matches!(call.text, "all" | "any" | "none")
        && open.text == "("
        && close.text == ")"
        && closes_at_end(&atom[1..])
    {
        let parts = split(inner, |t| t.text == ",");
        let [subject, predicate] = parts.as_slice() else { return None };
        let predicate = match predicate {
            [open, inner @ .., close] if open.text == "{" && close.text == "}" => inner,
            other => other,
        };
        let limit = compared(predicate, |side| matches!(side, [t] if t.text == "#"))?;
        return is_result(subject).then_some(if call.text == "none" { inverse(limit) } else { limit });
    }
    compared(atom, is_result)
}

fn compared(atom: &[Token<'_>], is_subject: impl Fn(&[Token<'_>]) -> bool) -> Option<Limit> {
    let at = atom.iter().position(|t| matches!(t.text, "<" | "<=" | ">" | ">="))?;
    let (left, right) = (&atom[..at], &atom[at + 1..]);
    let below = atom[at].text.starts_with('<');
    let (number, below) = match (literal(left), literal(right)) {
        (None, Some(n)) if is_subject(left) => (n, below),
        (Some(n), None) if is_subject(right) => (n, !below),
        _ => return None,
    };
    Some(if below { Limit::Below(number) } else { Limit::Above(number) })
}

fn literal(side: &[Token<'_>]) -> Option<f64> {
    let (sign, number) = match side {
        [n] => (1.0, n),
        [minus, n] if minus.text == "-" => (-1.0, n),
        _ => return None,
    };
    if number.kind != Kind::Number {
        return None;
    }
    number.text.replace('_', "").parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| sign * n)
}

/// The measured value itself, unchanged but for its type: `result`, `result[0]`, `asFloat(result)`, `default(result, 0)`.
fn is_result(side: &[Token<'_>]) -> bool {
    match side {
        [result] => result.text == "result",
        [result, open, n, close] if open.text == "[" && close.text == "]" => {
            result.text == "result" && n.kind == Kind::Number
        }
        [call, open, inner @ .., close] if open.text == "(" && close.text == ")" => match call.text {
            "asFloat" | "float" => is_result(inner),
            "default" => matches!(split(inner, |t| t.text == ",").as_slice(), [of, _] if is_result(of)),
            _ => false,
        },
        _ => false,
    }
}

/// Functions that take a predicate.
const PREDICATED: [&str; 9] = ["all", "any", "none", "one", "filter", "count", "find", "findIndex", "sum"];

/// Writes short predicate forms out, as the evaluator needs them: `all(result, # < 1)` becomes `all(result, {# < 1})`, and
/// a field of the element, `{.ok}`, becomes `{#.ok}`.
pub fn written_out(condition: &str) -> String {
    let tokens = tokens(condition);
    let mut marks: Vec<(usize, char)> = Vec::new();
    for (i, pair) in tokens.windows(2).enumerate() {
        let after_operand =
            i > 0 && (matches!(tokens[i - 1].kind, Kind::Name | Kind::Number | Kind::Quoted | Kind::Close));
        if pair[0].text == "." && pair[1].kind == Kind::Name && !after_operand {
            marks.push((pair[0].at, '#'));
        }
        if !(PREDICATED.contains(&pair[0].text) && pair[1].text == "(") {
            continue;
        }
        let inside = &tokens[i + 2..];
        let mut depth = 1i32;
        let Some(end) = inside.iter().position(|t| {
            depth += i32::from(t.kind == Kind::Open) - i32::from(t.kind == Kind::Close);
            depth == 0
        }) else {
            continue;
        };
        let parts = split(&inside[..end], |t| t.text == ",");
        if let [_, predicate] = parts.as_slice()
            && let [first, ..] = predicate
            && first.text != "{"
            && predicate.iter().any(|t| t.text.starts_with('#'))
        {
            marks.push((first.at, '{'));
            marks.push((inside[end].at, '}'));
        }
    }
    marks.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(condition.len() + marks.len());
    let mut from = 0;
    for (at, mark) in marks {
        out.push_str(&condition[from..at]);
        out.push(mark);
        from = at;
    }
    out.push_str(&condition[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thresholds_are_found_where_they_are_plain() {
        use Limit::{Above, Below};
        let table: &[(&str, &str, Option<Limit>)] = &[
            ("result[0] < 0.02", "", Some(Below(0.02))),
            ("result <= 0.01", "", Some(Below(0.01))),
            ("result[0] >= 0.95", "result[0] < 0.5", Some(Above(0.95))),
            ("", "result[0] >= 10", Some(Below(10.0))),
            ("", "default(result, 0) > 3", Some(Below(3.0))),
            ("len(result) > 0 && !isNaN(result[0]) && result[0] < 0.02", "", Some(Below(0.02))),
            ("len(result) == 0 || result[0] >= 0.95", "", Some(Above(0.95))),
            ("isNaN(result) || result >= 0.95", "", Some(Above(0.95))),
            ("result != nil and (result[0] < 5 and not isNaN(result[0]))", "", Some(Below(5.0))),
            ("(result[0] < 1)", "", Some(Below(1.0))),
            ("(len(result) > 0) && (result[0] < 1)", "", Some(Below(1.0))),
            ("0.3 > asFloat(result)", "", Some(Below(0.3))),
            ("result > -1.5e-3", "", Some(Above(-0.0015))),
            ("all(result, # < 1000)", "", Some(Below(1000.0))),
            ("all(result, {# < 1_000})", "", Some(Below(1000.0))),
            ("none(result, {# > 7})", "", Some(Below(7.0))),
            ("", "any(result, {# > 7})", Some(Below(7.0))),
            ("", "isInf(result)", None),
            ("result[0] > 0.1 && result[0] < 0.9", "", None),
            ("result[0] * 100 < 5", "", None),
            ("result.successPercent >= 0.9", "", None),
            ("!(result[0] > 2)", "", None),
            ("result == true", "", None),
            ("len(result) > 0", "", None),
            ("result[0] < limit", "", None),
            ("result[0] < 1e999", "", None),
            ("", "", None),
        ];
        for (success, failure, wanted) in table {
            assert_eq!(limit(success, failure), *wanted, "{success:?} / {failure:?}");
        }
    }

    #[test]
    fn predicates_are_written_out() {
        assert_eq!(written_out("all(result, # < 1000)"), "all(result, {# < 1000})");
        assert_eq!(written_out("all(result, {# < 1})"), "all(result, {# < 1})");
        assert_eq!(written_out("sum(result) < 3"), "sum(result) < 3");
        assert_eq!(
            written_out("len(filter(result, # > 1)) > 0 and any(result, #>2)"),
            "len(filter(result, {# > 1})) > 0 and any(result, {#>2})"
        );
        assert_eq!(written_out("all(result, # <"), "all(result, # <");
        assert_eq!(written_out("all(result.a.b, {asFloat(.v) >= .5})"), "all(result.a.b, {asFloat(#.v) >= .5})");
    }

    #[test]
    fn quotes_and_comments_hide_what_is_in_them() {
        let texts = |s| tokens(s).into_iter().map(|t| t.text.to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(r#"a == "(\"" // ("#), ["a", "==", r#""(\"""#]);
        assert_eq!(texts("/* ( */ `(` + '\\'('"), ["`(`", "+", "'\\'('"]);
        assert_eq!(texts("1e-3-2 ..é"), ["1e-3", "-", "2", "..", "é"]);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*|[a-z0-9#<>=!&|()\\[\\]{}.,'\"`/*\\\\ -]{0,80}") {
            let tokens = tokens(&text);
            prop_assert!(tokens.windows(2).all(|w| w[0].at + w[0].text.len() <= w[1].at));
            prop_assert!(tokens.iter().all(|t| !t.text.is_empty()));
            limit(&text, &text);
            let written = written_out(&text);
            prop_assert!(written.len() <= text.len() * 2 + 2);
        }
    }
}

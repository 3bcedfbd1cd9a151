//! PromQL text to expressions. No evaluation.

use super::{Bad, Result, bad};

/// How deep expressions may nest.
const DEPTH_MAX: u32 = 64;

/// An expression.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Number(f64),
    Text(String),
    Negate(Box<Expr>),
    Select {
        name: Option<String>,
        matchers: Vec<Matcher>,
        /// Milliseconds.
        range: Option<i64>,
        /// Milliseconds.
        offset: i64,
    },
    Binary {
        op: Op,
        bool_modifier: bool,
        on: Option<Grouping>,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Aggregate {
        op: String,
        grouping: Option<Grouping>,
        parameter: Option<Box<Expr>>,
        of: Box<Expr>,
    },
    Call {
        name: String,
        args: Vec<Expr>,
    },
}

/// `by (…)` and `without (…)`; for binary operations `on (…)` and `ignoring (…)`.
#[derive(Clone, Debug)]
pub(super) struct Grouping {
    pub(super) without: bool,
    pub(super) labels: Vec<String>,
}

/// A label matcher.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) op: MatchOp,
    pub(super) value: String,
}

#[derive(Clone, Debug)]
pub(super) enum MatchOp {
    Equal,
    NotEqual,
    Like(regex::Regex),
    NotLike(regex::Regex),
}

/// A binary operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Op {
    const ALL: [(Self, &'static str); 15] = [
        (Self::Or, "or"),
        (Self::And, "and"),
        (Self::Unless, "unless"),
        (Self::Equal, "=="),
        (Self::NotEqual, "!="),
        (Self::LessOrEqual, "<="),
        (Self::GreaterOrEqual, ">="),
        (Self::Less, "<"),
        (Self::Greater, ">"),
        (Self::Add, "+"),
        (Self::Subtract, "-"),
        (Self::Multiply, "*"),
        (Self::Divide, "/"),
        (Self::Modulo, "%"),
        (Self::Power, "^"),
    ];

    pub(super) fn text(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, text)| text)
    }

    fn binds(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo => 5,
            Self::Power => 6,
        }
    }

    pub(super) fn is_set(self) -> bool {
        self.binds() <= 2
    }

    pub(super) fn compares(self) -> bool {
        self.binds() == 3
    }

    #[allow(clippy::float_cmp, reason = "the language compares exactly")]
    pub(super) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            _ => false,
        }
    }

    pub(super) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Modulo => a % b,
            Self::Power => a.powf(b),
            _ => f64::NAN,
        }
    }
}

const AGGREGATIONS: [&str; 11] =
    ["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "quantile"];

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Number(f64),
    Text(String),
    Duration(i64),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "=~", "!~", "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}", "[", "]", ",",
];

/// Parses a whole query.
pub(super) fn parse(text: &str) -> Result<Expr> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let expr = parser.expression(0)?;
    match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some((token, place)) => bad(format!("1:{}: parse error: unexpected {}", place + 1, shown(token))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(w) => format!("identifier {w:?}"),
        Token::Number(n) => format!("number {n}"),
        Token::Text(t) => format!("string {t:?}"),
        Token::Duration(_) => "duration".to_owned(),
        Token::Sign(s) => format!("{s:?}"),
    }
}

/// Milliseconds of `1h30m`; none when it is no duration.
pub(super) fn duration(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|d| *d > 0)?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = if rest.starts_with("ms") {
            (1, 2)
        } else {
            let unit = match rest.chars().next()? {
                's' => 1000,
                'm' => 60_000,
                'h' => 3_600_000,
                'd' => 86_400_000,
                'w' => 7 * 86_400_000,
                'y' => 365 * 86_400_000,
                _ => return None,
            };
            (unit, 1)
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[length..];
    }
    (total > 0).then_some(total)
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let begin = at;
        let token = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if c == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if c == '"' || c == '\'' || c == '`' {
            let (value, length) =
                quoted(rest, c).ok_or_else(|| Bad("parse error: unterminated quoted string".into()))?;
            at += length;
            Token::Text(value)
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            let mut length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            if rest[..length].ends_with(['e', 'E']) && rest[length..].starts_with(['+', '-']) {
                let tail = &rest[length + 1..];
                length += 1 + tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            }
            at += length;
            let word = &rest[..length];
            match (word.parse::<f64>(), duration(word)) {
                (Ok(number), _) => Token::Number(number),
                (Err(_), Some(duration)) => Token::Duration(duration),
                (Err(_), None) => {
                    return bad(format!("1:{}: parse error: bad number or duration syntax: {word:?}", begin + 1));
                }
            }
        } else if c.is_alphabetic() || c == '_' || c == ':' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            at += length;
            Token::Word(rest[..length].to_owned())
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            at += sign.len();
            Token::Sign(sign)
        } else {
            return bad(format!("1:{}: parse error: unexpected character: {c:?}", begin + 1));
        };
        out.push((token, begin));
    }
    Ok(out)
}

/// A quoted string at the start of a text: its value, and how many bytes it takes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        if c == quote {
            return Some((value, i + c.len_utf8()));
        }
        if c == '\\' && quote != '`' {
            let (_, escaped) = chars.next()?;
            value.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
        } else {
            value.push(c);
        }
    }
    None
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: u32,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(t, _)| t)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|(t, _)| t.clone());
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(s)) if *s == sign)
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(w)) => Some(w),
            _ => None,
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn unexpected<T>(&self, where_: &str) -> Result<T> {
        match self.tokens.get(self.at) {
            None => bad(format!("parse error: unexpected end of input in {where_}")),
            Some((token, place)) => {
                bad(format!("1:{}: parse error: unexpected {} in {where_}", place + 1, shown(token)))
            }
        }
    }

    fn expect(&mut self, sign: &str, where_: &str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { self.unexpected(where_) }
    }

    fn operator(&self) -> Option<Op> {
        let text = match self.peek()? {
            Token::Sign(s) => (*s).to_owned(),
            Token::Word(w) => w.to_lowercase(),
            _ => return None,
        };
        Op::ALL.iter().find(|(_, t)| *t == text).map(|(op, _)| *op)
    }

    fn expression(&mut self, least: u8) -> Result<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return bad("parse error: the expression nests too deep");
        }
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| op.binds() > least) {
            self.at += 1;
            let mut bool_modifier = false;
            if self.word() == Some("bool") {
                self.at += 1;
                bool_modifier = true;
            }
            let mut on = None;
            if let Some(word) = self.word().filter(|w| matches!(*w, "on" | "ignoring")) {
                let without = word == "ignoring";
                self.at += 1;
                on = Some(Grouping { without, labels: self.labels()? });
                if matches!(self.word(), Some("group_left" | "group_right")) {
                    return bad("parse error: group_left and group_right are not simulated");
                }
            }
            // Powers bind to the right.
            let right = self.expression(if op == Op::Power { op.binds() - 1 } else { op.binds() })?;
            left = Expr::Binary { op, bool_modifier, on, left: Box::new(left), right: Box::new(right) };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        if self.take("-") {
            // Binds weaker than a power, stronger than a product.
            return Ok(Expr::Negate(Box::new(self.expression(Op::Multiply.binds())?)));
        }
        if self.take("+") {
            return self.expression(Op::Multiply.binds());
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr> {
        match self.peek().cloned() {
            Some(Token::Number(n)) => {
                self.at += 1;
                Ok(Expr::Number(n))
            }
            Some(Token::Text(t)) => {
                self.at += 1;
                Ok(Expr::Text(t))
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let inner = self.expression(0)?;
                self.expect(")", "paren expression")?;
                Ok(inner)
            }
            Some(Token::Sign("{")) => self.selector(None),
            Some(Token::Word(word)) => {
                let lower = word.to_lowercase();
                match lower.as_str() {
                    "inf" => {
                        self.at += 1;
                        return Ok(Expr::Number(f64::INFINITY));
                    }
                    "nan" => {
                        self.at += 1;
                        return Ok(Expr::Number(f64::NAN));
                    }
                    _ => {}
                }
                self.at += 1;
                if AGGREGATIONS.contains(&lower.as_str())
                    && (self.is("(") || matches!(self.word(), Some("by" | "without")))
                {
                    return self.aggregation(lower);
                }
                if self.take("(") {
                    let mut args = Vec::new();
                    while !self.is(")") {
                        args.push(self.expression(0)?);
                        if !self.take(",") {
                            break;
                        }
                    }
                    self.expect(")", "function call")?;
                    return Ok(Expr::Call { name: word, args });
                }
                self.selector(Some(word))
            }
            _ => self.unexpected("expression"),
        }
    }

    fn labels(&mut self) -> Result<Vec<String>> {
        self.expect("(", "grouping opts")?;
        let mut labels = Vec::new();
        while let Some(Token::Word(label)) = self.peek().cloned() {
            self.at += 1;
            labels.push(label);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")", "grouping opts")?;
        Ok(labels)
    }

    fn grouping(&mut self) -> Result<Option<Grouping>> {
        let without = match self.word() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(Grouping { without, labels: self.labels()? }))
    }

    fn aggregation(&mut self, op: String) -> Result<Expr> {
        let before = self.grouping()?;
        self.expect("(", "aggregation")?;
        let first = self.expression(0)?;
        let (parameter, of) = if self.take(",") { (Some(Box::new(first)), self.expression(0)?) } else { (None, first) };
        self.expect(")", "aggregation")?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        Ok(Expr::Aggregate { op, grouping, parameter, of: Box::new(of) })
    }

    fn selector(&mut self, name: Option<String>) -> Result<Expr> {
        let mut matchers = Vec::new();
        if self.take("{") {
            while !self.is("}") {
                let label = match self.next() {
                    Some(Token::Word(label)) => label,
                    _ => {
                        self.at -= 1;
                        return self.unexpected("label matching");
                    }
                };
                let op = match self.next() {
                    Some(Token::Sign(op @ ("=" | "!=" | "=~" | "!~"))) => op,
                    _ => {
                        self.at -= 1;
                        return self.unexpected("label matching");
                    }
                };
                let value = match self.next() {
                    Some(Token::Text(value)) => value,
                    _ => {
                        self.at -= 1;
                        return self.unexpected("label matching");
                    }
                };
                let pattern = || {
                    regex::RegexBuilder::new(&format!("^(?s:{value})$"))
                        .size_limit(1 << 20)
                        .build()
                        .map_err(|e| Bad(format!("parse error: error parsing regexp: {e}")))
                };
                let op = match op {
                    "=" => MatchOp::Equal,
                    "!=" => MatchOp::NotEqual,
                    "=~" => MatchOp::Like(pattern()?),
                    _ => MatchOp::NotLike(pattern()?),
                };
                matchers.push(Matcher { label, op, value });
                if !self.take(",") {
                    break;
                }
            }
            self.expect("}", "label matching")?;
        }
        let mut range = None;
        if self.take("[") {
            match self.next() {
                Some(Token::Duration(d)) => range = Some(d),
                _ => return bad("parse error: missing or bad duration in range selector"),
            }
            self.expect("]", "range selector")?;
        }
        let mut offset = 0;
        if self.word() == Some("offset") {
            self.at += 1;
            let negative = self.take("-");
            match self.next() {
                Some(Token::Duration(d)) => offset = if negative { -d } else { d },
                _ => return bad("parse error: missing or bad duration in offset"),
            }
        }
        Ok(Expr::Select { name, matchers, range, offset })
    }
}

//! Text to [`Expression`]: one function per kind of token, one per level of binding.

use std::ops::Range;

use super::{Binary, Expression, Function, Kind, LENGTH_MAX, NESTING_MAX, Trouble, Unary};

/// Reads a whole condition.
pub fn parse(text: &str) -> Result<Expression, Trouble> {
    if text.len() > LENGTH_MAX {
        return Err(trouble(0..text.len(), format!("a condition has at most {LENGTH_MAX} bytes"), None));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, next: 0, depth: 0, end: text.len() };
    let (expression, _) = parser.choice()?;
    match parser.peek() {
        None => Ok(expression),
        Some((token, span)) => Err(unexpected(token, span.clone())),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Binary(Binary),
    Not,
    Open,
    Close,
    Comma,
    Question,
    Colon,
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => name.clone(),
            Self::Binary(operator) => operator.symbol().to_owned(),
            Self::Not => "!".to_owned(),
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Comma => ",".to_owned(),
            Self::Question => "?".to_owned(),
            Self::Colon => ":".to_owned(),
        }
    }
}

fn trouble(span: Range<usize>, message: impl Into<String>, hint: Option<&str>) -> Trouble {
    Trouble { span, message: message.into(), hint: hint.map(str::to_owned) }
}

fn unexpected(token: &Token, span: Range<usize>) -> Trouble {
    trouble(span, format!("`{}` does not fit here", token.text()), None)
}

fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Trouble> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = token(&text[at..], c, at)?;
        tokens.push((token, at..at + length));
        at += length;
    }
    Ok(tokens)
}

/// The token that `rest` begins with (`c` is its first character), and its length in bytes.
fn token(rest: &str, c: char, at: usize) -> Result<(Token, usize), Trouble> {
    if c.is_ascii_digit() {
        return number(rest, at);
    }
    if c.is_ascii_alphabetic() || c == '_' {
        let length = name_length(rest);
        return Ok((Token::Name(rest[..length].to_owned()), length));
    }
    let two = rest.get(..2).unwrap_or_default();
    let token = match two {
        "||" => Some(Binary::Or),
        "&&" => Some(Binary::And),
        "<=" => Some(Binary::LessOrEqual),
        ">=" => Some(Binary::GreaterOrEqual),
        "==" => Some(Binary::Equal),
        "!=" => Some(Binary::NotEqual),
        _ => None,
    };
    if let Some(operator) = token {
        return Ok((Token::Binary(operator), 2));
    }
    let token = match c {
        '<' => Token::Binary(Binary::Less),
        '>' => Token::Binary(Binary::Greater),
        '+' => Token::Binary(Binary::Add),
        '-' => Token::Binary(Binary::Subtract),
        '*' => Token::Binary(Binary::Multiply),
        '/' => Token::Binary(Binary::Divide),
        '!' => Token::Not,
        '(' => Token::Open,
        ')' => Token::Close,
        ',' => Token::Comma,
        '?' => Token::Question,
        ':' => Token::Colon,
        other => return Err(foreign(other, at)),
    };
    Ok((token, 1))
}

/// A name, or two of them with a dot between.
fn name_length(rest: &str) -> usize {
    let plain =
        |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let first = plain(rest);
    match rest[first..].strip_prefix('.') {
        Some(tail) if tail.starts_with(|c: char| c.is_ascii_alphabetic()) => first + 1 + plain(tail),
        _ => first,
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Trouble> {
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    let digits = &rest[..length];
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match digits.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok((Token::Number(number), length)),
        _ => Err(trouble(
            at..at + length,
            format!("`{digits}` is not a number"),
            Some("numbers are written as 8 or 8.5; a unit belongs to a parameter"),
        )),
    }
}

fn foreign(c: char, at: usize) -> Trouble {
    let hint = match c {
        '=' => "equality is written `==`",
        '&' => "and is written `&&`",
        '|' => "or is written `||`",
        '%' => "`%` is not in the subset",
        '"' | '\'' => "there are no texts in a condition",
        '.' | '[' | ']' | '{' | '}' => {
            "there are no lists or maps in a condition; a dot stands between two names"
        }
        '°' | 'µ' | 'μ' => "a unit belongs to a parameter: `limit = { default = \"8 °C\" }`",
        '(' | ')' => "brackets are ( and )",
        '\u{ff08}' | '\u{ff09}' => "this is a full-width bracket; write ( or )",
        '>' | '<' => "",
        '\u{ff1e}' | '\u{ff1c}' | '\u{2265}' | '\u{2264}' => "write > < >= <= with plain characters",
        _ => "names are made of a-z, 0-9 and _",
    };
    trouble(at..at + c.len_utf8(), format!("`{c}` is not part of a condition"), Some(hint))
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    /// Open brackets, signs and calls at this moment.
    depth: usize,
    end: usize,
}

/// An expression and how deep it is.
type Deep = (Expression, usize);

impl Parser {
    fn peek(&self) -> Option<&(Token, Range<usize>)> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<(Token, Range<usize>)> {
        let taken = self.tokens.get(self.next).cloned();
        self.next += 1;
        taken
    }

    /// `c ? a : b`, which binds weakest and from the right.
    fn choice(&mut self) -> Result<Deep, Trouble> {
        let (condition, depth) = self.binary(0)?;
        let Some((Token::Question, at)) = self.peek() else { return Ok((condition, depth)) };
        let at = at.clone();
        self.next += 1;
        let (yes, yes_depth) = self.nested(&at, Self::choice)?;
        self.expect(&Token::Colon, "`:`")?;
        let (no, no_depth) = self.nested(&at, Self::choice)?;
        let depth = self.deeper(depth.max(yes_depth).max(no_depth), &at)?;
        let span = condition.span.start..no.span.end;
        let kind = Kind::Choice(Box::new(condition), Box::new(yes), Box::new(no));
        Ok((Expression { span, kind }, depth))
    }

    /// Operators that bind at least as strongly as `strength`, from the left.
    fn binary(&mut self, strength: u8) -> Result<Deep, Trouble> {
        let (mut left, mut depth) = self.unary()?;
        while let Some((Token::Binary(operator), span)) = self.peek() {
            let (operator, at) = (*operator, span.clone());
            if operator.strength() < strength {
                break;
            }
            self.next += 1;
            let (right, right_depth) = self.binary(operator.strength() + 1)?;
            depth = self.deeper(depth.max(right_depth), &at)?;
            let span = left.span.start..right.span.end;
            left = Expression { span, kind: Kind::Binary(operator, Box::new(left), Box::new(right)) };
        }
        Ok((left, depth))
    }

    fn deeper(&self, depth: usize, at: &Range<usize>) -> Result<usize, Trouble> {
        if depth + 1 + self.depth > NESTING_MAX {
            return Err(trouble(at.clone(), format!("a condition is at most {NESTING_MAX} deep"), None));
        }
        Ok(depth + 1)
    }

    /// Runs `read` one level deeper.
    fn nested<T>(
        &mut self,
        at: &Range<usize>,
        read: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.deeper(0, at)?;
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn unary(&mut self) -> Result<Deep, Trouble> {
        let operator = match self.peek() {
            Some((Token::Not, _)) => Unary::Not,
            Some((Token::Binary(Binary::Subtract), _)) => Unary::Negate,
            _ => return self.primary(),
        };
        let at = self.take().map_or(self.end..self.end, |(_, span)| span);
        let (inner, depth) = self.nested(&at, Self::unary)?;
        let depth = self.deeper(depth, &at)?;
        let span = at.start..inner.span.end;
        Ok((Expression { span, kind: Kind::Unary(operator, Box::new(inner)) }, depth))
    }

    fn primary(&mut self) -> Result<Deep, Trouble> {
        let Some((token, span)) = self.take() else {
            return Err(trouble(self.end..self.end, "the condition ends too early", None));
        };
        let kind = match token {
            Token::Number(number) => Kind::Number(number),
            Token::Name(name) if self.peek().is_some_and(|(token, _)| *token == Token::Open) => {
                return self.call(&name, span);
            }
            Token::Name(name) => match name.as_str() {
                "true" => Kind::Truth(true),
                "false" => Kind::Truth(false),
                _ => Kind::Name(name),
            },
            Token::Open => {
                let (inner, depth) = self.nested(&span, Self::choice)?;
                let close = self.expect(&Token::Close, "`)`")?;
                return Ok((Expression { span: span.start..close.end, kind: inner.kind }, depth));
            }
            other @ (Token::Binary(_)
            | Token::Not
            | Token::Close
            | Token::Comma
            | Token::Question
            | Token::Colon) => {
                return Err(unexpected(&other, span));
            }
        };
        Ok((Expression { span, kind }, 1))
    }

    fn call(&mut self, name: &str, at: Range<usize>) -> Result<Deep, Trouble> {
        let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name) else {
            return Err(trouble(
                at,
                format!("there is no function `{name}`"),
                Some(
                    "functions: abs(a) min(a, b) max(a, b); windows: avg median min max sum count rate last (point, span), \
                     age(point); calendar: open() declared_closed() expected_off()",
                ),
            ));
        };
        let open = self.expect(&Token::Open, "`(`")?;
        let mut arguments = Vec::new();
        let mut depth = 0;
        while function.arguments() > 0 {
            let (argument, deep) = self.nested(&open, Self::choice)?;
            arguments.push(argument);
            depth = depth.max(deep);
            match self.peek() {
                Some((Token::Comma, _)) => self.next += 1,
                _ => break,
            }
        }
        let close = self.expect(&Token::Close, "`)`")?;
        let span = at.start..close.end;
        if arguments.len() != function.arguments() {
            let message =
                format!("`{name}` takes {} argument(s), not {}", function.arguments(), arguments.len());
            return Err(trouble(span, message, None));
        }
        let depth = self.deeper(depth, &span)?;
        Ok((Expression { span, kind: Kind::Call(function, arguments) }, depth))
    }

    fn expect(&mut self, wanted: &Token, name: &str) -> Result<Range<usize>, Trouble> {
        match self.take() {
            Some((token, span)) if token == *wanted => Ok(span),
            Some((token, span)) => {
                Err(trouble(span, format!("expected {name}, found `{}`", token.text()), None))
            }
            None => Err(trouble(self.end..self.end, format!("{name} is missing at the end"), None)),
        }
    }
}

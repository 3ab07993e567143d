//! Conditions: a subset of CEL's syntax, so that people can look it up.
//!
//! Numbers, `true`, `false`, names, `! -`, `* /`, `+ -`, `< <= > >= == !=`, `&&`, `||`, `c ? a : b`, brackets and the
//! functions `abs(a)`, `min(a, b)`, `max(a, b)`. No strings, lists, maps or `%`: these are refused by name. A dot in a
//! name leads to another device or to a module of the pack: `feed.visits`, `lamp.hours`.
//!
//! Ours, in CEL's form: windows over a point, `avg(t, w)`, `median(t, w)`, `min(t, w)`, `max(t, w)`, `sum(t, w)`, `count(t, w)`, `rate(t, w)`
//! (what a counter rose by, per hour) and `last(t, w)`, with `w` a parameter that is a duration; `age(t)`, the time since
//! the last believed value; and the institution's calendar, `open()`, `declared_closed()`, `expected_off()`.
//!
//! At most [`LENGTH_MAX`] bytes and [`NESTING_MAX`] deep, so that no text can exhaust a stack.

mod compile;
mod emit;
mod parse;
mod print;

use std::ops::Range;

pub use compile::{Compiled, Scope, Symbol, compile};
pub(crate) use compile::{SPAN_MAX_MS, SPAN_MIN_MS};
pub use parse::parse;

/// Bytes of a condition, at most.
pub const LENGTH_MAX: usize = 4096;
/// Depth of a condition, at most: brackets, signs and the operators of a chain each count one.
pub const NESTING_MAX: usize = 64;

/// What is wrong with a condition, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Bytes of the condition.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A parsed condition. Two are equal if they mean the same, wherever they stand.
#[derive(Debug, Clone)]
pub struct Expression {
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub kind: Kind,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `8.5`
    Number(f64),
    /// `true`
    Truth(bool),
    /// A point or a parameter.
    Name(String),
    /// `!a`
    Unary(Unary, Box<Expression>),
    /// `a < b`
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// `abs(a)`
    Call(Function, Vec<Expression>),
    /// `c ? a : b`
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
}

/// Operators with one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `-`
    Negate,
    /// `!`
    Not,
}

/// Operators with two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

impl Binary {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    /// How strongly it binds, from 0.
    fn strength(self) -> u8 {
        match self {
            Self::Or => 0,
            Self::And => 1,
            Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::Equal
            | Self::NotEqual => 2,
            Self::Add | Self::Subtract => 3,
            Self::Multiply | Self::Divide => 4,
        }
    }
}

/// Functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `abs(a)`
    Absolute,
    /// `min(a, b)`, or of a window
    Minimum,
    /// `max(a, b)`, or of a window
    Maximum,
    /// `avg(t, w)`
    Average,
    /// `median(t, w)`
    Median,
    /// `sum(t, w)`
    Sum,
    /// `count(t, w)`
    Count,
    /// `rate(t, w)`
    Rate,
    /// `last(t, w)`
    Last,
    /// `age(t)`
    Age,
    /// `open()`
    Open,
    /// `declared_closed()`
    DeclaredClosed,
    /// `expected_off()`
    ExpectedOff,
}

impl Function {
    /// All.
    pub const ALL: [Self; 13] = [
        Self::Absolute,
        Self::Minimum,
        Self::Maximum,
        Self::Average,
        Self::Median,
        Self::Sum,
        Self::Count,
        Self::Rate,
        Self::Last,
        Self::Age,
        Self::Open,
        Self::DeclaredClosed,
        Self::ExpectedOff,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absolute => "abs",
            Self::Minimum => "min",
            Self::Maximum => "max",
            Self::Average => "avg",
            Self::Median => "median",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Last => "last",
            Self::Age => "age",
            Self::Open => "open",
            Self::DeclaredClosed => "declared_closed",
            Self::ExpectedOff => "expected_off",
        }
    }

    /// Is it a question to the institution's calendar?
    pub fn asks_hours(self) -> bool {
        matches!(self, Self::Open | Self::DeclaredClosed | Self::ExpectedOff)
    }

    /// How many arguments it takes.
    pub fn arguments(self) -> usize {
        match self {
            Self::Open | Self::DeclaredClosed | Self::ExpectedOff => 0,
            Self::Absolute | Self::Age => 1,
            Self::Minimum
            | Self::Maximum
            | Self::Average
            | Self::Median
            | Self::Sum
            | Self::Count
            | Self::Rate
            | Self::Last => 2,
        }
    }
}

impl Expression {
    /// Every name in it, each once, in order of appearance, with the place of its first.
    pub fn names(&self) -> Vec<(&str, Range<usize>)> {
        let mut names: Vec<(&str, Range<usize>)> = Vec::new();
        self.visit(&mut |expression| {
            if let Kind::Name(name) = &expression.kind
                && !names.iter().any(|(known, _)| known == name)
            {
                names.push((name, expression.span.clone()));
            }
        });
        names
    }

    /// Every function in it, as often as it is called.
    pub fn functions(&self) -> impl Iterator<Item = Function> {
        let mut functions = Vec::new();
        self.visit(&mut |expression| {
            if let Kind::Call(function, _) = &expression.kind {
                functions.push(*function);
            }
        });
        functions.into_iter()
    }

    fn visit<'e>(&'e self, see: &mut impl FnMut(&'e Self)) {
        see(self);
        match &self.kind {
            Kind::Number(_) | Kind::Truth(_) | Kind::Name(_) => (),
            Kind::Unary(_, inner) => inner.visit(see),
            Kind::Binary(_, left, right) => {
                left.visit(see);
                right.visit(see);
            }
            Kind::Call(_, arguments) => arguments.iter().for_each(|argument| argument.visit(see)),
            Kind::Choice(condition, yes, no) => {
                condition.visit(see);
                yes.visit(see);
                no.visit(see);
            }
        }
    }
}

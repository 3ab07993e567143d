//! [`Expression`] to text with no more brackets than needed: parsing what was printed gives the same again.

use std::fmt;

use super::{Expression, Kind, Unary};

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(number) => write!(f, "{number}"),
            Kind::Truth(truth) => write!(f, "{truth}"),
            Kind::Name(name) => f.write_str(name),
            Kind::Unary(operator, inner) => {
                f.write_str(match operator {
                    Unary::Negate => "-",
                    Unary::Not => "!",
                })?;
                bracketed(f, inner, matches!(inner.kind, Kind::Binary(..) | Kind::Choice(..)))
            }
            Kind::Binary(operator, left, right) => {
                let weaker = |side: &Self, or_equal: bool| match side.kind {
                    Kind::Binary(inner, ..) if or_equal => inner.strength() <= operator.strength(),
                    Kind::Binary(inner, ..) => inner.strength() < operator.strength(),
                    Kind::Choice(..) => true,
                    Kind::Number(_) | Kind::Truth(_) | Kind::Name(_) | Kind::Unary(..) | Kind::Call(..) => {
                        false
                    }
                };
                bracketed(f, left, weaker(left, false))?;
                write!(f, " {} ", operator.symbol())?;
                bracketed(f, right, weaker(right, true))
            }
            Kind::Choice(condition, yes, no) => {
                bracketed(f, condition, matches!(condition.kind, Kind::Choice(..)))?;
                write!(f, " ? ")?;
                bracketed(f, yes, matches!(yes.kind, Kind::Choice(..)))?;
                write!(f, " : {no}")
            }
            Kind::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                for (n, argument) in arguments.iter().enumerate() {
                    if n > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{argument}")?;
                }
                f.write_str(")")
            }
        }
    }
}

fn bracketed(f: &mut fmt::Formatter<'_>, inner: &Expression, brackets: bool) -> fmt::Result {
    if brackets { write!(f, "({inner})") } else { write!(f, "{inner}") }
}

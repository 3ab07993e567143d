//! [`Expression`] to [`Program`]: names become slots, types and units are checked, constants are computed and
//! converted to the unit of the point they meet.
//!
//! A plain number has no unit: comparing it with a temperature is an error, so that nobody compares 8 °C with
//! 8 K or 70 µW/cm² with 70 W/m². Limits are parameters with units.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{Dimension, ModuleIx, PointIx, Program, Unit, WindowPlan};

use super::emit::Emitter;
use super::{Binary, Expression, Function, Kind, Trouble, Unary};
use crate::quantity::Quantity;
use crate::suggest::did_you_mean;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Symbol {
    /// A point of the device.
    Point {
        /// Its slot.
        point: PointIx,
        /// Its unit; [`Unit::Truth`] for truth points.
        unit: Unit,
    },
    /// A parameter.
    Constant(Quantity),
    /// An output of a module.
    Output {
        /// Slot of the module.
        module: ModuleIx,
        /// Which of its outputs.
        output: u8,
        /// Its unit; [`Unit::Truth`] for truth values.
        unit: Unit,
    },
}

/// The names a condition may use.
pub type Scope = BTreeMap<String, Symbol>;

/// A condition, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// True = violated.
    pub when: Program,
    /// True = back beyond the deadband; `None` without one.
    pub returned: Option<Program>,
    /// The point whose value is shown: the first that is compared with a constant, else the first number.
    pub shown: Option<PointIx>,
    /// The constant it is compared with, in its unit.
    pub limit: Option<f64>,
    /// What is compared with it, where that is not a bare point: a window or an output, and its unit.
    pub value: Option<(Program, Unit)>,
    /// Windows it looks through: [`Op::Window`] counts in this list.
    pub windows: Vec<WindowPlan>,
    /// True = beyond every limit by the uncertainty of its point; `None` where a limit has none.
    pub provable: Option<Program>,
}

/// Checks and compiles a condition. With a deadband, every limit is moved by it towards normal to say when the
/// condition is over; at least one limit must have its dimension.
/// `uncertainty`: expanded uncertainties of points, in their units.
pub fn compile(
    expression: &Expression,
    scope: &Scope,
    deadband: Option<Quantity>,
    uncertainty: &BTreeMap<PointIx, f64>,
) -> Result<Compiled, Vec<Trouble>> {
    let mut checker = Checker { scope, troubles: Vec::new() };
    let kind = checker.check(expression);
    if let Some(Type::Number(_)) = kind {
        checker.say(&expression.span, "a condition must be true or false, this is a number".into(), None);
    }
    if !checker.troubles.is_empty() || kind.is_none() {
        return Err(checker.troubles);
    }
    Emitter::new(scope).compile(expression, deadband, uncertainty)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Truth,
    Number(Dimension),
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Truth => "true or false",
            Self::Number(dimension) => dimension_name(dimension),
        }
    }
}

pub(super) fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::One => "a plain number",
        Dimension::Truth => "true or false",
        Dimension::Temperature => "a temperature",
        Dimension::Pressure => "a pressure",
        Dimension::Duration => "a duration",
        Dimension::Mass => "a mass",
        Dimension::Power => "a power",
        Dimension::Energy => "an energy",
        Dimension::Irradiance => "an irradiance",
        Dimension::Voltage => "a voltage",
        Dimension::Current => "a current",
        Dimension::Frequency => "a frequency",
        Dimension::Concentration => "a concentration",
        Dimension::Percent => "a percentage",
    }
}

pub(super) struct Checker<'s> {
    pub(super) scope: &'s Scope,
    pub(super) troubles: Vec<Trouble>,
}

impl Checker<'_> {
    fn say(&mut self, span: &Range<usize>, message: String, hint: Option<String>) {
        self.troubles.push(Trouble { span: span.clone(), message, hint });
    }

    /// The type; `None` after something was said.
    pub(super) fn check(&mut self, expression: &Expression) -> Option<Type> {
        match &expression.kind {
            Kind::Number(_) => Some(Type::Number(Dimension::One)),
            Kind::Truth(_) => Some(Type::Truth),
            Kind::Name(name) => self.name(name, &expression.span),
            Kind::Unary(Unary::Not, inner) => self.truth(inner),
            Kind::Unary(Unary::Negate, inner) => self.number(inner).map(Type::Number),
            Kind::Binary(operator, left, right) => self.two(*operator, left, right, &expression.span),
            Kind::Call(function, arguments) => self.call(*function, arguments, &expression.span),
            Kind::Choice(condition, yes, no) => {
                let condition = self.truth(condition);
                let (yes, no) = (self.check(yes)?, self.check(no)?);
                condition?;
                self.equal(yes, no, &expression.span).map(|()| yes)
            }
        }
    }

    fn call(&mut self, function: Function, arguments: &[Expression], span: &Range<usize>) -> Option<Type> {
        match (function, arguments) {
            (Function::Open | Function::DeclaredClosed | Function::ExpectedOff, []) => Some(Type::Truth),
            (Function::Absolute, [a]) => self.number(a).map(Type::Number),
            (Function::Age, [point]) => self.point(point).map(|_| Type::Number(Dimension::Duration)),
            (Function::Minimum | Function::Maximum, [a, b]) if !is_window(self.scope, function, a, b) => {
                self.same(a, b, span).map(Type::Number)
            }
            (_, [point, over]) => {
                let unit = self.point(point);
                let over = self.span(over);
                over.and(unit).map(|unit| Type::Number(window_unit(function, unit).dimension()))
            }
            _ => None,
        }
    }

    /// A bare point that is a number: what a window can be over.
    fn point(&mut self, expression: &Expression) -> Option<Unit> {
        if let Some((_, unit)) = bare_point(self.scope, expression) {
            return Some(unit);
        }
        // An unknown name is said as such.
        self.check(expression)?;
        let hint = "write it as avg(temperature, window)".to_owned();
        self.say(&expression.span, "a window is over a point that is a number".into(), Some(hint));
        None
    }

    fn span(&mut self, expression: &Expression) -> Option<()> {
        match bare_span(self.scope, expression) {
            Some(span_ms) if (SPAN_MIN_MS..=SPAN_MAX_MS).contains(&span_ms) => Some(()),
            Some(_) => {
                self.say(&expression.span, "a window is 10 s to 62 d long".into(), None);
                None
            }
            None => {
                self.check(expression)?;
                let hint = "parameters = { window = { default = \"15 min\" } }".to_owned();
                self.say(
                    &expression.span,
                    "a window's length is a parameter that is a duration".into(),
                    Some(hint),
                );
                None
            }
        }
    }

    fn name(&mut self, name: &str, span: &Range<usize>) -> Option<Type> {
        let unit = match self.scope.get(name) {
            Some(Symbol::Point { unit, .. } | Symbol::Output { unit, .. }) => *unit,
            Some(Symbol::Constant(quantity)) => quantity.unit,
            None => {
                let known = || self.scope.keys().map(String::as_str);
                let hint = did_you_mean(name, known()).map_or_else(
                    || format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                self.say(
                    span,
                    format!("`{name}` is neither a point nor a parameter of this rule"),
                    Some(hint),
                );
                return None;
            }
        };
        Some(if unit == Unit::Truth { Type::Truth } else { Type::Number(unit.dimension()) })
    }

    fn truth(&mut self, expression: &Expression) -> Option<Type> {
        match self.check(expression)? {
            Type::Truth => Some(Type::Truth),
            Type::Number(dimension) => {
                let message = format!("expected true or false, this is {}", dimension_name(dimension));
                self.say(&expression.span, message, Some("compare it with a parameter".into()));
                None
            }
        }
    }

    fn number(&mut self, expression: &Expression) -> Option<Dimension> {
        match self.check(expression)? {
            Type::Number(dimension) => Some(dimension),
            Type::Truth => {
                self.say(&expression.span, "expected a number, this is true or false".into(), None);
                None
            }
        }
    }

    fn two(
        &mut self,
        operator: Binary,
        left: &Expression,
        right: &Expression,
        span: &Range<usize>,
    ) -> Option<Type> {
        match operator {
            Binary::Or | Binary::And => {
                let (left, right) = (self.truth(left), self.truth(right));
                left.and(right)
            }
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                self.same(left, right, span).map(|_| Type::Truth)
            }
            Binary::Equal | Binary::NotEqual => {
                let (left_type, right_type) = (self.check(left), self.check(right));
                match (left_type?, right_type?) {
                    (Type::Truth, Type::Truth) => Some(Type::Truth),
                    (left_type, right_type) => self.equal(left_type, right_type, span).map(|()| Type::Truth),
                }
            }
            Binary::Add | Binary::Subtract => self.same(left, right, span).map(Type::Number),
            Binary::Multiply => match self.numbers(left, right)? {
                (Dimension::One, other) | (other, Dimension::One) => Some(Type::Number(other)),
                (a, b) => self.product(a, b, "times", span),
            },
            Binary::Divide => match self.numbers(left, right)? {
                (a, Dimension::One) => Some(Type::Number(a)),
                (a, b) if a == b => Some(Type::Number(Dimension::One)),
                (a, b) => self.product(a, b, "divided by", span),
            },
        }
    }

    fn numbers(&mut self, left: &Expression, right: &Expression) -> Option<(Dimension, Dimension)> {
        let (left, right) = (self.number(left), self.number(right));
        Some((left?, right?))
    }

    fn product(&mut self, a: Dimension, b: Dimension, how: &str, span: &Range<usize>) -> Option<Type> {
        let message =
            format!("{} {how} {} has no unit that is known here", dimension_name(a), dimension_name(b));
        self.say(span, message, None);
        None
    }

    fn same(&mut self, left: &Expression, right: &Expression, span: &Range<usize>) -> Option<Dimension> {
        let (a, b) = self.numbers(left, right)?;
        self.equal(Type::Number(a), Type::Number(b), span).map(|()| a)
    }

    fn equal(&mut self, left: Type, right: Type, span: &Range<usize>) -> Option<()> {
        if left == right {
            return Some(());
        }
        let plain = [left, right].contains(&Type::Number(Dimension::One));
        let hint = plain.then(|| {
            "give the number a name and a unit: parameters = { limit = { default = \"8 °C\" } }".to_owned()
        });
        self.say(span, format!("{} cannot be compared with {}", left.name(), right.name()), hint);
        None
    }
}

/// Shorter windows are points.
pub(crate) const SPAN_MIN_MS: i64 = 10_000;
pub(crate) const SPAN_MAX_MS: i64 = 62 * 86_400_000;

/// `min(t, w)` is a window where `t` is a point that is no duration and `w` a parameter that is one; two of the same
/// kind are compared.
pub(super) fn is_window(scope: &Scope, function: Function, a: &Expression, b: &Expression) -> bool {
    match function {
        Function::Minimum | Function::Maximum => {
            let point = bare_point(scope, a).filter(|(_, unit)| unit.dimension() != Dimension::Duration);
            point.is_some() && bare_span(scope, b).is_some()
        }
        Function::Average
        | Function::Median
        | Function::Sum
        | Function::Count
        | Function::Rate
        | Function::Last => true,
        Function::Absolute
        | Function::Age
        | Function::Open
        | Function::DeclaredClosed
        | Function::ExpectedOff => false,
    }
}

/// A point that is a number, by its name alone.
pub(super) fn bare_point(scope: &Scope, expression: &Expression) -> Option<(PointIx, Unit)> {
    let Kind::Name(name) = &expression.kind else { return None };
    match scope.get(name) {
        Some(Symbol::Point { point, unit }) if *unit != Unit::Truth => Some((*point, *unit)),
        Some(Symbol::Point { .. } | Symbol::Constant(_) | Symbol::Output { .. }) | None => None,
    }
}

/// A parameter that is a duration, by its name alone, in ms.
pub(super) fn bare_span(scope: &Scope, expression: &Expression) -> Option<i64> {
    let Kind::Name(name) = &expression.kind else { return None };
    match scope.get(name) {
        Some(Symbol::Constant(quantity)) if quantity.unit.dimension() == Dimension::Duration => {
            Some((quantity.value * quantity.unit.factor()).round() as i64)
        }
        Some(Symbol::Point { .. } | Symbol::Constant(_) | Symbol::Output { .. }) | None => None,
    }
}

/// The unit of what a window over a point in `unit` says.
pub(super) fn window_unit(function: Function, unit: Unit) -> Unit {
    match (function, unit) {
        (Function::Count, _) => Unit::One,
        (Function::Age, _) => Unit::Millisecond,
        (Function::Rate, Unit::KilowattHour) => Unit::Kilowatt,
        (Function::Rate, Unit::WattHour) => Unit::Watt,
        (_, unit) => unit,
    }
}

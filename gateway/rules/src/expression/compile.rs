//! [`Expression`] to [`Program`]: names become slots, types and units are checked, constants are computed and
//! converted to the unit of the point they meet.
//!
//! A plain number has no unit: comparing it with a temperature is an error, so that nobody compares 8 °C with
//! 8 K or 70 µW/cm² with 70 W/m². Limits are parameters with units.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{Dimension, Op, PointIx, Program, Unit};

use super::{Binary, Expression, Function, Kind, Trouble, Unary};
use crate::quantity::{Quantity, convert};
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
}

/// Checks and compiles a condition. With a deadband, every limit is moved by it towards normal to say when the
/// condition is over; at least one limit must have its dimension.
pub fn compile(
    expression: &Expression,
    scope: &Scope,
    deadband: Option<Quantity>,
) -> Result<Compiled, Vec<Trouble>> {
    let mut checker = Checker { scope, troubles: Vec::new() };
    let kind = checker.check(expression);
    if let Some(Type::Number(_)) = kind {
        checker.say(&expression.span, "a condition must be true or false, this is a number".into(), None);
    }
    if !checker.troubles.is_empty() || kind.is_none() {
        return Err(checker.troubles);
    }
    let emitter = Emitter { scope };
    let mut when = Vec::new();
    emitter.emit(expression, Unit::Truth, &Widen::NO, &mut when);
    let returned = deadband.map(|deadband| emitter.returned(expression, deadband)).transpose()?;
    let (shown, limit) = emitter.shown(expression);
    Ok(Compiled { when: Program(when), returned, shown, limit })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
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

fn dimension_name(dimension: Dimension) -> &'static str {
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

struct Checker<'s> {
    scope: &'s Scope,
    troubles: Vec<Trouble>,
}

impl Checker<'_> {
    fn say(&mut self, span: &Range<usize>, message: String, hint: Option<String>) {
        self.troubles.push(Trouble { span: span.clone(), message, hint });
    }

    /// The type; `None` after something was said.
    fn check(&mut self, expression: &Expression) -> Option<Type> {
        match &expression.kind {
            Kind::Number(_) => Some(Type::Number(Dimension::One)),
            Kind::Truth(_) => Some(Type::Truth),
            Kind::Name(name) => self.name(name, &expression.span),
            Kind::Unary(Unary::Not, inner) => self.truth(inner),
            Kind::Unary(Unary::Negate, inner) => self.number(inner).map(Type::Number),
            Kind::Binary(operator, left, right) => self.two(*operator, left, right, &expression.span),
            Kind::Call(Function::Absolute, arguments) => self.number(arguments.first()?).map(Type::Number),
            Kind::Call(Function::Minimum | Function::Maximum, arguments) => {
                let [left, right] = &arguments[..] else { return None };
                self.same(left, right, &expression.span).map(Type::Number)
            }
        }
    }

    fn name(&mut self, name: &str, span: &Range<usize>) -> Option<Type> {
        let unit = match self.scope.get(name) {
            Some(Symbol::Point { unit, .. }) => *unit,
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

/// How limits are moved while emitting.
struct Widen {
    deadband: Option<Quantity>,
    /// Inside an odd number of `!`.
    negated: bool,
}

impl Widen {
    const NO: Self = Self { deadband: None, negated: false };
}

struct Emitter<'s> {
    scope: &'s Scope,
}

impl Emitter<'_> {
    fn symbol(&self, name: &str) -> Symbol {
        // Unknown names never pass the checker.
        self.scope.get(name).copied().unwrap_or(Symbol::Constant(Quantity { value: 0.0, unit: Unit::One }))
    }

    /// The unit it is natural to compute in: that of the first point, else of the first constant with a unit.
    fn unit(&self, expression: &Expression) -> Unit {
        let symbols: Vec<_> = expression.names().into_iter().map(|(name, _)| self.symbol(name)).collect();
        let point = symbols.iter().find_map(|symbol| match symbol {
            Symbol::Point { unit, .. } if *unit != Unit::Truth => Some(*unit),
            Symbol::Point { .. } | Symbol::Constant(_) => None,
        });
        let constant = symbols.iter().find_map(|symbol| match symbol {
            Symbol::Constant(quantity) => Some(quantity.unit),
            Symbol::Point { .. } => None,
        });
        point.or(constant).unwrap_or(Unit::One)
    }

    /// The value of an expression without points, in `target`.
    fn constant(&self, expression: &Expression, target: Unit) -> Option<f64> {
        match &expression.kind {
            Kind::Number(number) => Some(*number),
            Kind::Truth(_) | Kind::Unary(Unary::Not, _) => None,
            Kind::Name(name) => match self.symbol(name) {
                Symbol::Constant(quantity) => convert(quantity.value, quantity.unit, target),
                Symbol::Point { .. } => None,
            },
            Kind::Unary(Unary::Negate, inner) => self.constant(inner, target).map(|value| -value),
            Kind::Binary(operator, left, right) => {
                let (left_unit, right_unit) = self.sides(*operator, left, right, target);
                let (a, b) = (self.constant(left, left_unit)?, self.constant(right, right_unit)?);
                match operator {
                    Binary::Add => Some(a + b),
                    Binary::Subtract => Some(a - b),
                    Binary::Multiply => Some(a * b),
                    Binary::Divide => Some(a / b).filter(|quotient| quotient.is_finite()),
                    Binary::Or
                    | Binary::And
                    | Binary::Less
                    | Binary::LessOrEqual
                    | Binary::Greater
                    | Binary::GreaterOrEqual
                    | Binary::Equal
                    | Binary::NotEqual => None,
                }
            }
            Kind::Call(function, arguments) => {
                let values: Option<Vec<_>> =
                    arguments.iter().map(|argument| self.constant(argument, target)).collect();
                match (function, &values?[..]) {
                    (Function::Absolute, [a]) => Some(a.abs()),
                    (Function::Minimum, [a, b]) => Some(a.min(*b)),
                    (Function::Maximum, [a, b]) => Some(a.max(*b)),
                    (Function::Absolute | Function::Minimum | Function::Maximum, _) => None,
                }
            }
        }
    }

    /// In which units the two sides of a product, quotient or sum are computed so that the result is in `target`.
    fn sides(&self, operator: Binary, left: &Expression, right: &Expression, target: Unit) -> (Unit, Unit) {
        let plain = |expression: &Expression| self.unit(expression).dimension() == Dimension::One;
        match operator {
            Binary::Multiply if plain(left) => (Unit::One, target),
            Binary::Multiply => (target, Unit::One),
            Binary::Divide if plain(right) => (target, Unit::One),
            Binary::Divide => {
                let unit = self.anchor(left, right);
                (unit, unit)
            }
            Binary::Add
            | Binary::Subtract
            | Binary::Or
            | Binary::And
            | Binary::Less
            | Binary::LessOrEqual
            | Binary::Greater
            | Binary::GreaterOrEqual
            | Binary::Equal
            | Binary::NotEqual => (target, target),
        }
    }

    /// The unit in which two sides are compared: that of the side with a point.
    fn anchor(&self, left: &Expression, right: &Expression) -> Unit {
        let left_unit = self.unit(left);
        if self.constant(left, left_unit).is_some() { self.unit(right) } else { left_unit }
    }

    fn emit(&self, expression: &Expression, target: Unit, widen: &Widen, out: &mut Vec<Op>) {
        if target != Unit::Truth
            && let Some(value) = self.constant(expression, target)
        {
            out.push(Op::Number(value));
            return;
        }
        match &expression.kind {
            Kind::Number(number) => out.push(Op::Number(*number)),
            Kind::Truth(truth) => out.push(Op::Truth(*truth)),
            Kind::Name(name) => self.emit_name(name, target, out),
            Kind::Unary(Unary::Not, inner) => {
                let widen = Widen { deadband: widen.deadband, negated: !widen.negated };
                self.emit(inner, Unit::Truth, &widen, out);
                out.push(Op::Not);
            }
            Kind::Unary(Unary::Negate, inner) => {
                self.emit(inner, target, widen, out);
                out.push(Op::Negate);
            }
            Kind::Binary(operator, left, right) => self.emit_two(*operator, left, right, target, widen, out),
            Kind::Call(function, arguments) => {
                for argument in arguments {
                    self.emit(argument, target, widen, out);
                }
                out.push(match function {
                    Function::Absolute => Op::Absolute,
                    Function::Minimum => Op::Minimum,
                    Function::Maximum => Op::Maximum,
                });
            }
        }
    }

    fn emit_name(&self, name: &str, target: Unit, out: &mut Vec<Op>) {
        match self.symbol(name) {
            Symbol::Point { point, unit: Unit::Truth } => out.push(Op::TruthPoint(point)),
            Symbol::Point { point, unit } => {
                out.push(Op::Point(point));
                let (from, to) = (unit.factor(), target.factor());
                if unit != target && from >= to {
                    out.extend([Op::Number(from / to), Op::Multiply]);
                } else if unit != target {
                    out.extend([Op::Number(to / from), Op::Divide]);
                }
            }
            Symbol::Constant(Quantity { value, unit: Unit::Truth }) => out.push(Op::Truth(value != 0.0)),
            Symbol::Constant(quantity) => out.push(Op::Number(quantity.value)),
        }
    }

    fn emit_two(
        &self,
        operator: Binary,
        left: &Expression,
        right: &Expression,
        target: Unit,
        widen: &Widen,
        out: &mut Vec<Op>,
    ) {
        let op = match operator {
            Binary::Or => Op::Or,
            Binary::And => Op::And,
            Binary::Less => Op::Less,
            Binary::LessOrEqual => Op::LessOrEqual,
            Binary::Greater => Op::Greater,
            Binary::GreaterOrEqual => Op::GreaterOrEqual,
            Binary::Equal => Op::Equal,
            Binary::NotEqual => Op::NotEqual,
            Binary::Add => Op::Add,
            Binary::Subtract => Op::Subtract,
            Binary::Multiply => Op::Multiply,
            Binary::Divide => Op::Divide,
        };
        match operator {
            Binary::Or | Binary::And => {
                self.emit(left, Unit::Truth, widen, out);
                self.emit(right, Unit::Truth, widen, out);
            }
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                let unit = self.anchor(left, right);
                let start = out.len();
                self.emit(left, unit, widen, out);
                let middle = out.len();
                self.emit(right, unit, widen, out);
                let upper = matches!(operator, Binary::Greater | Binary::GreaterOrEqual);
                let distance = widen.deadband.and_then(|band| convert(band.value, band.unit, unit));
                if let Some(distance) = distance {
                    // Under a `!`, "still violated" is the comparison failing for longer.
                    move_limit(distance, upper != widen.negated, start..middle, out);
                }
            }
            Binary::Equal | Binary::NotEqual => {
                let truth = matches!(
                    Checker { scope: self.scope, troubles: Vec::new() }.check(left),
                    Some(Type::Truth)
                );
                let unit = if truth { Unit::Truth } else { self.anchor(left, right) };
                self.emit(left, unit, widen, out);
                self.emit(right, unit, widen, out);
            }
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide => {
                let (left_unit, right_unit) = self.sides(operator, left, right, target);
                self.emit(left, left_unit, widen, out);
                self.emit(right, right_unit, widen, out);
            }
        }
        out.push(op);
    }

    /// `!(condition with every limit moved by the deadband towards normal)`.
    fn returned(&self, expression: &Expression, deadband: Quantity) -> Result<Program, Vec<Trouble>> {
        let mut plain = Vec::new();
        self.emit(expression, Unit::Truth, &Widen::NO, &mut plain);
        let mut moved = Vec::new();
        self.emit(expression, Unit::Truth, &Widen { deadband: Some(deadband), negated: false }, &mut moved);
        if moved == plain && deadband.value != 0.0 {
            let message = format!(
                "the deadband is {}, but no limit in this condition is",
                dimension_name(deadband.unit.dimension())
            );
            return Err(vec![Trouble { span: expression.span.clone(), message, hint: None }]);
        }
        moved.push(Op::Not);
        Ok(Program(moved))
    }

    fn shown(&self, expression: &Expression) -> (Option<PointIx>, Option<f64>) {
        let mut compared = None;
        let mut first = None;
        expression.visit(&mut |expression| match &expression.kind {
            Kind::Binary(
                Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual,
                left,
                right,
            ) => {
                let pair = self.limit_of(left, right).or_else(|| self.limit_of(right, left));
                compared = compared.or(pair);
            }
            Kind::Name(name) => {
                if let Symbol::Point { point, unit } = self.symbol(name)
                    && unit != Unit::Truth
                {
                    first = first.or(Some(point));
                }
            }
            Kind::Binary(..) | Kind::Number(_) | Kind::Truth(_) | Kind::Unary(..) | Kind::Call(..) => (),
        });
        compared.map_or((first, None), |(point, limit)| (Some(point), Some(limit)))
    }

    /// `value` is a bare point and `limit` a constant: both.
    fn limit_of(&self, value: &Expression, limit: &Expression) -> Option<(PointIx, f64)> {
        let Kind::Name(name) = &value.kind else { return None };
        match self.symbol(name) {
            Symbol::Point { point, unit } => self.constant(limit, unit).map(|limit| (point, limit)),
            Symbol::Constant(_) => None,
        }
    }
}

/// After both sides of a comparison (`left` is where the left one lies): moves the constant one so that the
/// comparison holds for `distance` longer. `upper`: it holds above the right side.
fn move_limit(distance: f64, upper: bool, left: Range<usize>, out: &mut Vec<Op>) {
    let moved = if upper { -distance } else { distance };
    let right_is_constant = out.len() == left.end + 1;
    match (&mut out[..], left.len() == 1) {
        ([.., Op::Number(limit)], _) if right_is_constant => *limit += moved,
        (ops, true) if matches!(ops[left.start], Op::Number(_)) => {
            if let Op::Number(limit) = &mut ops[left.start] {
                *limit -= moved;
            }
        }
        _ => out.extend([Op::Number(distance), if upper { Op::Subtract } else { Op::Add }]),
    }
}

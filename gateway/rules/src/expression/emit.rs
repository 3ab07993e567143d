//! A checked [`Expression`] to [`Program`]s: the condition, its return, its proof.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{Dimension, HoursQuestion, Op, PointIx, Program, Unit, WindowFunction, WindowPlan};

use super::compile::{
    Checker, Compiled, Scope, Symbol, Type, bare_point, bare_span, dimension_name, is_window, window_unit,
};
use super::{Binary, Expression, Function, Kind, Trouble, Unary};
use crate::quantity::{Quantity, convert};

/// An age has no window of its own; what it needs of one is the last value.
const AGE_SPAN_MS: i64 = 60_000;

/// How limits are moved while emitting.
#[derive(Clone, Copy)]
struct Widen<'u> {
    by: Move<'u>,
    /// Inside an odd number of `!`.
    negated: bool,
}

/// By how much limits are moved.
#[derive(Clone, Copy)]
enum Move<'u> {
    Not,
    /// Towards normal.
    Deadband(Quantity),
    /// Away from normal, by the uncertainty of the point that is compared, in its unit.
    Uncertainty(&'u BTreeMap<PointIx, f64>),
}

impl Widen<'_> {
    const NO: Self = Widen { by: Move::Not, negated: false };
}

pub(super) struct Emitter<'s> {
    scope: &'s Scope,
    windows: RefCell<Vec<WindowPlan>>,
    /// A limit whose point has no uncertainty was met.
    unproven: Cell<bool>,
}

impl<'s> Emitter<'s> {
    pub(super) fn new(scope: &'s Scope) -> Self {
        Self { scope, windows: RefCell::new(Vec::new()), unproven: Cell::new(false) }
    }

    pub(super) fn compile(
        self,
        expression: &Expression,
        deadband: Option<Quantity>,
        uncertainty: &BTreeMap<PointIx, f64>,
    ) -> Result<Compiled, Vec<Trouble>> {
        let mut when = Vec::new();
        self.emit(expression, Unit::Truth, &Widen::NO, &mut when);
        let returned = deadband.map(|deadband| self.returned(expression, deadband)).transpose()?;
        let mut provable = Vec::new();
        let moved = Widen { by: Move::Uncertainty(uncertainty), negated: false };
        self.emit(expression, Unit::Truth, &moved, &mut provable);
        let (shown, limit, value) = self.shown(expression);
        let proven = !self.unproven.get() && provable != when;
        Ok(Compiled {
            when: Program(when),
            returned,
            shown,
            limit,
            value,
            windows: self.windows.into_inner(),
            provable: proven.then_some(Program(provable)),
        })
    }

    /// The slot of a window, each once.
    fn window(&self, point: PointIx, span_ms: i64) -> u32 {
        let plan = WindowPlan { point, span_ms };
        let mut windows = self.windows.borrow_mut();
        let known = windows.iter().position(|known| *known == plan);
        known.unwrap_or_else(|| {
            windows.push(plan);
            windows.len() - 1
        }) as u32
    }

    /// A window or an age: its step, and its unit. The plain two-sided functions have none.
    fn window_op(&self, function: Function, arguments: &[Expression]) -> Option<(Op, Unit)> {
        let (point, span_ms, asked) = match (function, arguments) {
            (Function::Age, [point]) => (point, AGE_SPAN_MS, WindowFunction::Age),
            (_, [point, over]) if is_window(self.scope, function, point, over) => {
                let asked = match function {
                    Function::Minimum => WindowFunction::Minimum,
                    Function::Maximum => WindowFunction::Maximum,
                    Function::Average => WindowFunction::Average,
                    Function::Median => WindowFunction::Median,
                    Function::Sum => WindowFunction::Sum,
                    Function::Count => WindowFunction::Count,
                    Function::Rate => WindowFunction::Rate,
                    Function::Last => WindowFunction::Last,
                    Function::Absolute
                    | Function::Age
                    | Function::Open
                    | Function::DeclaredClosed
                    | Function::ExpectedOff => return None,
                };
                (point, bare_span(self.scope, over)?, asked)
            }
            _ => return None,
        };
        let (point, unit) = bare_point(self.scope, point)?;
        let op = Op::Window { window: self.window(point, span_ms), point, function: asked };
        Some((op, window_unit(function, unit)))
    }

    fn symbol(&self, name: &str) -> Symbol {
        // Unknown names never pass the checker.
        self.scope.get(name).copied().unwrap_or(Symbol::Constant(Quantity { value: 0.0, unit: Unit::One }))
    }

    /// The unit it is natural to compute in: that of the first point, window or output, else of the first constant
    /// with a unit.
    fn unit(&self, expression: &Expression) -> Unit {
        let (mut measured, mut constant) = (None, None);
        self.units(expression, &mut measured, &mut constant);
        measured.or(constant).unwrap_or(Unit::One)
    }

    fn units(&self, expression: &Expression, measured: &mut Option<Unit>, constant: &mut Option<Unit>) {
        match &expression.kind {
            Kind::Number(_) | Kind::Truth(_) => (),
            Kind::Name(name) => match self.symbol(name) {
                Symbol::Point { unit, .. } | Symbol::Output { unit, .. } => {
                    if unit != Unit::Truth {
                        measured.get_or_insert(unit);
                    }
                }
                Symbol::Constant(quantity) => {
                    constant.get_or_insert(quantity.unit);
                }
            },
            Kind::Unary(_, inner) => self.units(inner, measured, constant),
            Kind::Binary(_, left, right) => {
                self.units(left, measured, constant);
                self.units(right, measured, constant);
            }
            Kind::Call(function, arguments) => match self.window_op(*function, arguments) {
                Some((_, unit)) => {
                    measured.get_or_insert(unit);
                }
                None => arguments.iter().for_each(|argument| self.units(argument, measured, constant)),
            },
            Kind::Choice(_, yes, no) => {
                self.units(yes, measured, constant);
                self.units(no, measured, constant);
            }
        }
    }

    /// The value of an expression without points, in `target`.
    fn constant(&self, expression: &Expression, target: Unit) -> Option<f64> {
        match &expression.kind {
            Kind::Number(number) => Some(*number),
            Kind::Truth(_) | Kind::Unary(Unary::Not, _) | Kind::Choice(..) => None,
            Kind::Name(name) => match self.symbol(name) {
                Symbol::Constant(quantity) => convert(quantity.value, quantity.unit, target),
                Symbol::Point { .. } | Symbol::Output { .. } => None,
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
                    _ => None,
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

    fn emit(&self, expression: &Expression, target: Unit, widen: &Widen<'_>, out: &mut Vec<Op>) {
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
                let widen = Widen { negated: !widen.negated, ..*widen };
                self.emit(inner, Unit::Truth, &widen, out);
                out.push(Op::Not);
            }
            Kind::Unary(Unary::Negate, inner) => {
                self.emit(inner, target, widen, out);
                out.push(Op::Negate);
            }
            Kind::Binary(operator, left, right) => self.emit_two(*operator, left, right, target, widen, out),
            Kind::Choice(condition, yes, no) => {
                // Which way it goes is no limit: nothing in it moves.
                self.emit(condition, Unit::Truth, &Widen::NO, out);
                self.emit(yes, target, widen, out);
                self.emit(no, target, widen, out);
                out.push(Op::Select);
            }
            Kind::Call(function, arguments) => self.emit_call(*function, arguments, target, widen, out),
        }
    }

    fn emit_call(
        &self,
        function: Function,
        arguments: &[Expression],
        target: Unit,
        widen: &Widen<'_>,
        out: &mut Vec<Op>,
    ) {
        if let Some((op, unit)) = self.window_op(function, arguments) {
            out.push(op);
            in_unit(unit, target, out);
            return;
        }
        for argument in arguments {
            self.emit(argument, target, widen, out);
        }
        out.push(match function {
            Function::Absolute => Op::Absolute,
            Function::Minimum => Op::Minimum,
            Function::Maximum => Op::Maximum,
            Function::Open => Op::Hours(HoursQuestion::Open),
            Function::DeclaredClosed => Op::Hours(HoursQuestion::DeclaredClosed),
            Function::ExpectedOff => Op::Hours(HoursQuestion::ExpectedOff),
            // Windows were written above; what never passes the checker is not known.
            Function::Average
            | Function::Median
            | Function::Sum
            | Function::Count
            | Function::Rate
            | Function::Last
            | Function::Age => Op::Divide,
        });
    }

    fn emit_name(&self, name: &str, target: Unit, out: &mut Vec<Op>) {
        match self.symbol(name) {
            Symbol::Point { point, unit: Unit::Truth } => out.push(Op::TruthPoint(point)),
            Symbol::Point { point, unit } => {
                out.push(Op::Point(point));
                in_unit(unit, target, out);
            }
            Symbol::Output { module, output, unit } => {
                out.push(Op::Output { module, output });
                if unit != Unit::Truth {
                    in_unit(unit, target, out);
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
        widen: &Widen<'_>,
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
                if let Some(distance) = self.distance(widen.by, left, right, unit) {
                    // Under a `!`, "still violated" is the comparison failing for longer.
                    move_limit(distance, upper != widen.negated, start..middle, out);
                }
            }
            Binary::Equal | Binary::NotEqual => {
                if !matches!(widen.by, Move::Not | Move::Deadband(_))
                    && self.points(left).chain(self.points(right)).next().is_some()
                {
                    self.unproven.set(true);
                }
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

    /// How far a comparison in `unit` is moved towards normal; negative: away from it.
    fn distance(&self, by: Move<'_>, left: &Expression, right: &Expression, unit: Unit) -> Option<f64> {
        match by {
            Move::Not => None,
            Move::Deadband(band) => convert(band.value, band.unit, unit),
            Move::Uncertainty(known) => {
                let mut sum = 0.0;
                for (point, own) in self.points(left).chain(self.points(right)) {
                    match known.get(&point).and_then(|u| convert(*u, own, unit)) {
                        Some(uncertainty) => sum += uncertainty,
                        None => self.unproven.set(true),
                    }
                }
                Some(-sum)
            }
        }
    }

    /// The points of an expression that are numbers, as often as they stand in it.
    fn points(&self, expression: &Expression) -> impl Iterator<Item = (PointIx, Unit)> + use<> {
        let mut points = Vec::new();
        expression.visit(&mut |part| points.extend(bare_point(self.scope, part)));
        points.into_iter()
    }

    /// `!(condition with every limit moved by the deadband towards normal)`.
    fn returned(&self, expression: &Expression, deadband: Quantity) -> Result<Program, Vec<Trouble>> {
        let mut plain = Vec::new();
        self.emit(expression, Unit::Truth, &Widen::NO, &mut plain);
        let mut moved = Vec::new();
        self.emit(
            expression,
            Unit::Truth,
            &Widen { by: Move::Deadband(deadband), negated: false },
            &mut moved,
        );
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

    fn shown(&self, expression: &Expression) -> Shown {
        let mut compared = None;
        let mut first = None;
        expression.visit(&mut |expression| match &expression.kind {
            Kind::Binary(
                Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual,
                left,
                right,
            ) => {
                let pair = self.limit_of(left, right).or_else(|| self.limit_of(right, left));
                if compared.is_none() {
                    compared = pair;
                }
            }
            Kind::Name(_) => first = first.or(bare_point(self.scope, expression).map(|(point, _)| point)),
            Kind::Binary(..)
            | Kind::Number(_)
            | Kind::Truth(_)
            | Kind::Unary(..)
            | Kind::Call(..)
            | Kind::Choice(..) => (),
        });
        compared.unwrap_or((first, None, None))
    }

    /// `value` is a bare point, a window or an output, and `limit` a constant: what is shown.
    fn limit_of(&self, value: &Expression, limit: &Expression) -> Option<Shown> {
        let computed = |op, unit: Unit, point| {
            // People read a span in the unit of its limit.
            let shown = match (unit, &limit.kind) {
                (Unit::Millisecond, Kind::Name(name)) => match self.symbol(name) {
                    Symbol::Constant(quantity) if quantity.unit.dimension() == unit.dimension() => {
                        quantity.unit
                    }
                    Symbol::Constant(_) | Symbol::Point { .. } | Symbol::Output { .. } => unit,
                },
                _ => unit,
            };
            let limit = self.constant(limit, shown)?;
            let mut value = vec![op];
            in_unit(unit, shown, &mut value);
            Some((point, Some(limit), Some((Program(value), shown))))
        };
        match &value.kind {
            Kind::Name(name) => match self.symbol(name) {
                Symbol::Point { point, unit } => {
                    self.constant(limit, unit).map(|limit| (Some(point), Some(limit), None))
                }
                Symbol::Output { module, output, unit } => {
                    computed(Op::Output { module, output }, unit, None)
                }
                Symbol::Constant(_) => None,
            },
            Kind::Call(function, arguments) => {
                let (op, unit) = self.window_op(*function, arguments)?;
                let point = arguments.first().and_then(|point| bare_point(self.scope, point));
                computed(op, unit, point.map(|(point, _)| point))
            }
            Kind::Number(_) | Kind::Truth(_) | Kind::Unary(..) | Kind::Binary(..) | Kind::Choice(..) => None,
        }
    }
}

/// The point whose value is shown, the limit, and the value where it is not the point's own.
type Shown = (Option<PointIx>, Option<f64>, Option<(Program, Unit)>);

/// What was pushed in `unit`, in `target`.
fn in_unit(unit: Unit, target: Unit, out: &mut Vec<Op>) {
    let (from, to) = (unit.factor(), target.factor());
    if unit != target && from >= to {
        out.extend([Op::Number(from / to), Op::Multiply]);
    } else if unit != target {
        out.extend([Op::Number(to / from), Op::Divide]);
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

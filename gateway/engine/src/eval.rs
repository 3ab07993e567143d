//! Conditions: three-valued evaluation, and what an alert sees of its rule.

use gateway_model::{
    HoursQuestion, ModuleIx, Op, PointIx, ProcessRegion, Program, QualityRegion, WindowFunction,
};

use crate::alert::Sight;
use crate::points::{Class, Points};

/// Where a program's operands come from. `None` is always "not known".
pub(crate) trait Senses {
    /// A point's number in its unit (truth points: 0 or 1), if it can be believed.
    fn point(&self, point: PointIx) -> Option<f64>;
    /// What a window says.
    fn window(&self, window: u32, function: WindowFunction) -> Option<f64>;
    /// Numbers that the window's mean, median and extremes are not beyond, if that is known at no cost.
    fn bounds(&self, _: u32) -> Option<(f64, f64)> {
        None
    }
    /// What the institution's calendar says.
    fn hours(&self, question: HoursQuestion) -> Option<bool>;
    /// An output of a module.
    fn output(&self, module: ModuleIx, output: u8) -> Option<f64>;
}

/// Points and nothing else.
pub(crate) struct PointsOnly<F>(pub(crate) F);

impl<F: Fn(PointIx) -> Option<f64>> Senses for PointsOnly<F> {
    fn point(&self, point: PointIx) -> Option<f64> {
        (self.0)(point)
    }

    fn window(&self, _: u32, _: WindowFunction) -> Option<f64> {
        None
    }

    fn hours(&self, _: HoursQuestion) -> Option<bool> {
        None
    }

    fn output(&self, _: ModuleIx, _: u8) -> Option<f64> {
        None
    }
}

/// Deepest stack a program may need. gateway-rules refuses nesting long before; a deeper one is unknown.
pub(crate) const DEPTH_MAX: usize = 64;
/// Programs of so few steps cannot need a deeper stack, and most have no more.
const SHORT: usize = 8;

/// The program's truth under Kleene's logic: an unknown operand never hides behind `||` or `&&`, and never
/// decides either. `values` gives a point's number in its unit (truth points: 0 or 1), or `None` where it
/// cannot be believed. Windows, opening hours and outputs of modules are unknown here. Malformed programs are
/// unknown.
pub fn evaluate(program: &Program, values: impl Fn(PointIx) -> Option<f64>) -> Option<bool> {
    truth(program, &PointsOnly(values))
}

/// The program's truth, with all the senses.
pub(crate) fn truth(program: &Program, senses: &impl Senses) -> Option<bool> {
    truth_of(&program.0, senses)
}

/// As [`truth`], of the steps of a program.
pub(crate) fn truth_of(steps: &[Op], senses: &impl Senses) -> Option<bool> {
    left_by(steps, senses).map(|value| value != 0.0)
}

/// The one number the program leaves (true is 1).
pub(crate) fn number_of(program: &Program, senses: &impl Senses) -> Option<f64> {
    left_by(&program.0, senses)
}

fn left_by(steps: &[Op], senses: &impl Senses) -> Option<f64> {
    if steps.len() <= SHORT {
        worked_out(steps, senses, Stack { slots: [None; SHORT], depth: 0 })
    } else {
        worked_out(steps, senses, Stack { slots: [None; DEPTH_MAX], depth: 0 })
    }
}

#[expect(clippy::float_cmp, reason = "`==` and `!=` of a rule mean just that")]
fn worked_out<const N: usize>(steps: &[Op], senses: &impl Senses, mut stack: Stack<N>) -> Option<f64> {
    for op in steps {
        match *op {
            Op::Number(number) => stack.push(Some(number))?,
            Op::Truth(truth) => stack.push(number(truth))?,
            Op::Point(point) => stack.push(senses.point(point))?,
            Op::TruthPoint(point) => {
                stack.push(senses.point(point).and_then(|value| number(value != 0.0)))?;
            }
            Op::Window { window, function, point: _ } => stack.push(senses.window(window, function))?,
            Op::Hours(question) => stack.push(senses.hours(question).and_then(number))?,
            Op::Output { module, output } => stack.push(senses.output(module, output))?,
            Op::Select => stack.select()?,
            Op::Negate => stack.one(|a| Some(-a))?,
            Op::Absolute => stack.one(|a| Some(libm::fabs(a)))?,
            Op::Add => stack.two(|a, b| Some(a + b))?,
            Op::Subtract => stack.two(|a, b| Some(a - b))?,
            Op::Multiply => stack.two(|a, b| Some(a * b))?,
            // A division by zero is no finite number and so unknown: `push` sees to it.
            Op::Divide => stack.two(|a, b| Some(a / b))?,
            Op::Minimum => stack.two(|a, b| Some(if b < a { b } else { a }))?,
            Op::Maximum => stack.two(|a, b| Some(if b > a { b } else { a }))?,
            Op::Less => stack.two(|a, b| number(a < b))?,
            Op::LessOrEqual => stack.two(|a, b| number(a <= b))?,
            Op::Greater => stack.two(|a, b| number(a > b))?,
            Op::GreaterOrEqual => stack.two(|a, b| number(a >= b))?,
            Op::Equal => stack.two(|a, b| number(a == b))?,
            Op::NotEqual => stack.two(|a, b| number(a != b))?,
            Op::Not => stack.one(|a| number(a == 0.0))?,
            Op::And => stack.either(false)?,
            Op::Or => stack.either(true)?,
        }
    }
    let result = stack.pop()?;
    if stack.depth == 0 { result } else { None }
}

/// What the rule's alert sees now. Whether "not violated" already counts as "returned" depends on where the
/// alert stands: only an active one waits for the deadband.
pub(crate) fn sight(
    when: &Program,
    returned: Option<&Program>,
    process: ProcessRegion,
    points: &Points,
    senses: &impl Senses,
) -> Sight {
    let blind = || Sight::Blind(blindness(when, returned, points));
    match (truth(when, senses), process, returned) {
        (Some(true), _, _) => Sight::Violated,
        (None, _, _) => blind(),
        (Some(false), ProcessRegion::Active, Some(returned)) => match truth(returned, senses) {
            Some(true) => Sight::Returned,
            Some(false) => Sight::Within,
            None => blind(),
        },
        (
            Some(false),
            ProcessRegion::Normal | ProcessRegion::Pending | ProcessRegion::Clearing | ProcessRegion::Active,
            _,
        ) => Sight::Returned,
    }
}

/// Why a condition is unknown: no operand has a value; none has a fresh one; or some have, but an unknown one
/// decides.
fn blindness(when: &Program, returned: Option<&Program>, points: &Points) -> QualityRegion {
    let (mut good, mut stale, mut bad) = (false, false, false);
    let mut look = |point| match points.class(point) {
        Class::Good => good = true,
        Class::Stale => stale = true,
        Class::Bad => bad = true,
    };
    for program in core::iter::once(when).chain(returned) {
        program.points().into_iter().for_each(&mut look);
    }
    match (good, stale, bad) {
        (false, true, _) => QualityRegion::Stale,
        (false, false, true) => QualityRegion::Bad,
        (true, _, _) | (false, false, false) => QualityRegion::Unevaluable,
    }
}

/// Truth as a number: the one form in which the stack holds values.
#[expect(clippy::unnecessary_wraps, reason = "known values are what the stack holds")]
fn number(truth: bool) -> Option<f64> {
    Some(if truth { 1.0 } else { 0.0 })
}

/// A number, or not known.
type Slot = Option<f64>;

struct Stack<const N: usize> {
    slots: [Slot; N],
    depth: usize,
}

impl<const N: usize> Stack<N> {
    /// Not a finite number = not known. `None` = the program is malformed.
    fn push(&mut self, value: Slot) -> Option<()> {
        *self.slots.get_mut(self.depth)? = value.filter(|value| value.is_finite());
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<Slot> {
        self.depth = self.depth.checked_sub(1)?;
        self.slots.get(self.depth).copied()
    }

    fn one(&mut self, compute: impl Fn(f64) -> Option<f64>) -> Option<()> {
        let a = self.pop()?;
        self.push(a.and_then(compute))
    }

    fn two(&mut self, compute: impl Fn(f64, f64) -> Option<f64>) -> Option<()> {
        let (b, a) = (self.pop()?, self.pop()?);
        self.push(a.zip(b).and_then(|(a, b)| compute(a, b)))
    }

    /// `c ? a : b`. An unknown c decides nothing, unless both give the same.
    fn select(&mut self) -> Option<()> {
        let (b, a, c) = (self.pop()?, self.pop()?, self.pop()?);
        self.push(match c {
            Some(0.0) => b,
            Some(_) => a,
            None => a.filter(|a| b == Some(*a)),
        })
    }

    /// `decisive` on either side decides; otherwise an unknown side leaves it unknown.
    fn either(&mut self, decisive: bool) -> Option<()> {
        let (b, a) = (self.pop()?, self.pop()?);
        let sides = [a.map(|a| a != 0.0), b.map(|b| b != 0.0)];
        let result = if sides.contains(&Some(decisive)) {
            number(decisive)
        } else if sides.contains(&None) {
            None
        } else {
            number(!decisive)
        };
        self.push(result)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const A: Op = Op::Point(PointIx(0));
    const B: Op = Op::Point(PointIx(1));
    const C: Op = Op::TruthPoint(PointIx(2));

    fn check(ops: &[Op], values: [Option<f64>; 3], expect: Option<bool>) {
        let program = Program(ops.to_vec());
        let got = evaluate(&program, |point| values[point.slot()]);
        assert_eq!(got, expect, "{ops:?} of {values:?}");
    }

    #[test]
    fn an_unknown_operand_never_hides_behind_and_or_or() {
        let truth = [Some(1.0), Some(0.0), None];
        let kleene_and = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(0.0), _) | (_, Some(0.0)) => Some(false),
            (Some(_), Some(_)) => Some(true),
            (None, _) | (_, None) => None,
        };
        for a in truth {
            for b in truth {
                check(&[A, B, Op::And], [a, b, None], kleene_and(a, b));
                let not = |x: Option<f64>| x.map(|x| 1.0 - x);
                check(&[A, B, Op::Or], [a, b, None], kleene_and(not(a), not(b)).map(|and| !and));
            }
            check(&[A, Op::Not], [a, None, None], a.map(|a| a == 0.0));
        }
    }

    #[test]
    fn arithmetic_and_comparisons() {
        let values = [Some(6.0), Some(-1.5), Some(1.0)];
        for (ops, expect) in [
            (&[A, B, Op::Add, Op::Number(4.5), Op::Equal][..], true),
            (&[A, B, Op::Subtract, Op::Number(7.5), Op::Equal], true),
            (&[A, B, Op::Multiply, Op::Number(-9.0), Op::NotEqual], false),
            (&[A, B, Op::Divide, Op::Number(-4.0), Op::LessOrEqual], true),
            (&[B, Op::Absolute, Op::Number(1.5), Op::GreaterOrEqual], true),
            (&[B, Op::Negate, Op::Number(1.5), Op::Less], false),
            (&[A, B, Op::Minimum, B, Op::Equal, A, B, Op::Maximum, A, Op::Equal, Op::And], true),
            (&[C, A, Op::Number(5.0), Op::Greater, Op::And], true),
            (&[C, Op::Truth(false), Op::Equal], false),
        ] {
            check(ops, values, Some(expect));
        }
    }

    #[test]
    fn a_division_by_zero_is_unknown_and_so_is_an_overflow() {
        check(&[A, B, Op::Divide, Op::Number(1.0), Op::Less], [Some(1.0), Some(0.0), None], None);
        check(&[A, A, Op::Multiply, Op::Number(1.0), Op::Less], [Some(f64::MAX), None, None], None);
    }

    #[test]
    fn an_unknown_choice_is_unknown_unless_both_ways_are_the_same() {
        let choose = [C, A, B, Op::Select, Op::Number(6.0), Op::Equal];
        check(&choose, [Some(6.0), Some(7.0), Some(1.0)], Some(true));
        check(&choose, [Some(6.0), Some(7.0), Some(0.0)], Some(false));
        check(&choose, [Some(6.0), Some(7.0), None], None);
        check(&choose, [Some(6.0), Some(6.0), None], Some(true));
        check(&choose, [None, Some(6.0), Some(0.0)], Some(true));
    }

    #[test]
    fn malformed_programs_are_unknown_and_never_panic() {
        check(&[], [None; 3], None);
        check(&[Op::And], [None; 3], None);
        check(&[A, A], [Some(1.0); 3], None);
        let deep: Vec<Op> = core::iter::repeat_n(A, 1000).collect();
        check(&deep, [Some(1.0); 3], None);
    }
}

//! The short look at a condition.
//!
//! Nearly every reading finds its rules at rest and leaves them so. To see that takes the condition and one bit, and
//! neither the rule's plan nor its life, which are large and lie far apart: at ten thousand points they are in no cache
//! when their turn comes. So conditions stand here a second time, one behind the other in the order of the rules, and
//! [`Rest`] keeps one bit per rule. Whoever finds more than rest goes the long way ([`crate::engine::Engine::judge`]).

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{Op, Plan, PointIx, Program, RuleKind, WindowFunction};

use crate::eval::{self, Senses};

/// Steps of a sum that is looked at by its bounds.
const SUM_MAX: usize = 8;

/// How a point is compared with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A rule's condition.
#[derive(Debug, Clone, Copy)]
enum Test {
    /// A point against a number: most conditions are no more.
    Compare { point: PointIx, how: Comparison, number: f64 },
    /// A window's mean, median or extreme against a number: bounds of its values decide most looks.
    Window { window: u32, function: WindowFunction, how: Comparison, number: f64 },
    /// Sums and differences with windows in them (from here to there in [`Watch::steps`], then the number and the
    /// comparison) against a number: likewise.
    Range { from: u32, to: u32, how: Comparison, number: f64 },
    /// From here to there in [`Watch::parts`]: all of them have to hold.
    All { from: u32, to: u32 },
    /// From here to there in [`Watch::steps`].
    Program { from: u32, to: u32 },
    /// Not a condition: nothing is known of it here.
    Other,
}

/// The conditions of all rules, by slot.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    tests: Vec<Test>,
    parts: Vec<Test>,
    steps: Vec<Op>,
}

impl Watch {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut watch =
            Self { tests: Vec::with_capacity(plan.rules.len()), parts: Vec::new(), steps: Vec::new() };
        for rule in &plan.rules {
            let test = match &rule.kind {
                RuleKind::Condition { when, .. } => watch.test(when),
                RuleKind::Absence { .. }
                | RuleKind::CycleFailed { .. }
                | RuleKind::DeviceUnevaluable { .. }
                | RuleKind::BusUnevaluable { .. }
                | RuleKind::ClockUnevaluable { .. }
                | RuleKind::Event { .. } => Test::Other,
            };
            watch.tests.push(test);
        }
        watch
    }

    fn test(&mut self, when: &Program) -> Test {
        let conjuncts = conjuncts(&when.0);
        if conjuncts.len() < 2 {
            return Test::new(&when.0, &mut self.steps);
        }
        let from = self.parts.len() as u32;
        for part in conjuncts {
            self.parts.push(Test::new(part, &mut self.steps));
        }
        Test::All { from, to: self.parts.len() as u32 }
    }

    /// True if the rule has a condition and it does not hold; what is unknown does not count as false.
    pub(crate) fn is_false(&self, rule: usize, senses: &impl Senses) -> bool {
        self.tests.get(rule).is_some_and(|&test| self.fails(test, senses))
    }

    fn fails(&self, test: Test, senses: &impl Senses) -> bool {
        match test {
            Test::Compare { point, how, number } => {
                senses.point(point).is_some_and(|value| !how.holds(value, number))
            }
            Test::Window { window, function, how, number } => {
                senses.bounds(window).is_some_and(|bounds| how.never_holds(bounds, number))
                    || senses
                        .window(window, function)
                        .is_some_and(|value| value.is_finite() && !how.holds(value, number))
            }
            Test::Range { from, to, how, number } => {
                let steps = self.steps.get(from as usize..to as usize).unwrap_or_default();
                range(steps, senses).is_some_and(|bounds| how.never_holds(bounds, number))
                    || self.fails(Test::Program { from, to: to.saturating_add(2) }, senses)
            }
            Test::All { from, to } => {
                let parts = self.parts.get(from as usize..to as usize).unwrap_or_default();
                parts.iter().any(|&part| self.fails(part, senses))
            }
            Test::Program { from, to } => {
                let steps = self.steps.get(from as usize..to as usize).unwrap_or_default();
                eval::truth_of(steps, senses) == Some(false)
            }
            Test::Other => false,
        }
    }
}

/// What a condition asks for together (`a && b && c`): one that is false makes it false, whatever the others are. The whole
/// where it is one, or is no program that [`eval`] would work out.
fn conjuncts(steps: &[Op]) -> Vec<&[Op]> {
    if steps.len() > eval::DEPTH_MAX || operand(steps) != Some(0) {
        return vec![steps];
    }
    let (mut whole, mut parts) = (vec![steps], Vec::new());
    while let Some(steps) = whole.pop() {
        let sides = steps.strip_suffix(&[Op::And]);
        match sides.and_then(|sides| Some(sides.split_at(operand(sides)?))) {
            Some((left, right)) => whole.extend([right, left]),
            None => parts.push(steps),
        }
    }
    parts
}

/// Where the last operand begins.
fn operand(steps: &[Op]) -> Option<usize> {
    let mut wanted = 1_usize;
    for (n, op) in steps.iter().enumerate().rev() {
        wanted = wanted - 1 + takes(*op);
        if wanted == 0 {
            return Some(n);
        }
    }
    None
}

/// How many operands a step takes from the stack.
fn takes(op: Op) -> usize {
    match op {
        Op::Number(_)
        | Op::Truth(_)
        | Op::Point(_)
        | Op::TruthPoint(_)
        | Op::Window { .. }
        | Op::Hours(_)
        | Op::Output { .. } => 0,
        Op::Negate | Op::Absolute | Op::Not => 1,
        Op::Add
        | Op::Subtract
        | Op::Multiply
        | Op::Divide
        | Op::Less
        | Op::LessOrEqual
        | Op::Greater
        | Op::GreaterOrEqual
        | Op::Equal
        | Op::NotEqual
        | Op::And
        | Op::Or
        | Op::Minimum
        | Op::Maximum => 2,
        Op::Select => 3,
    }
}

impl Test {
    fn new(program: &[Op], steps: &mut Vec<Op>) -> Self {
        let compare = |point, how, number: f64| {
            // A number that is none is unknown, and so is what it is compared with.
            number.is_finite().then_some(Self::Compare { point, how, number })
        };
        let short = match *program {
            [Op::Point(point), Op::Number(number), how] => {
                Comparison::new(how).and_then(|how| compare(point, how, number))
            }
            [Op::Number(number), Op::Point(point), how] => {
                Comparison::new(how).and_then(|how| compare(point, how.turned(), number))
            }
            [Op::Window { window, function, point: _ }, Op::Number(number), how]
                if number.is_finite() && is_between(function) =>
            {
                Comparison::new(how).map(|how| Self::Window { window, function, how, number })
            }
            [Op::TruthPoint(point)] => compare(point, Comparison::NotEqual, 0.0),
            [Op::TruthPoint(point), Op::Not] => compare(point, Comparison::Equal, 0.0),
            _ => None,
        };
        short.unwrap_or_else(|| {
            let from = steps.len() as u32;
            steps.extend_from_slice(program);
            let to = steps.len() as u32;
            match *program {
                [ref sum @ .., Op::Number(number), how] if number.is_finite() && is_sum(sum) => {
                    Comparison::new(how).map(|how| Self::Range {
                        from,
                        to: to.saturating_sub(2),
                        how,
                        number,
                    })
                }
                _ => None,
            }
            .unwrap_or(Self::Program { from, to })
        })
    }
}

/// One operand made of windows, points and numbers by adding and subtracting.
fn is_sum(steps: &[Op]) -> bool {
    let plain = |op: &Op| {
        matches!(op, Op::Number(_) | Op::Point(_) | Op::Add | Op::Subtract)
            || matches!(op, Op::Window { function, .. } if is_between(*function))
    };
    steps.len() <= SUM_MAX
        && operand(steps) == Some(0)
        && steps.iter().all(plain)
        && steps.iter().any(|op| matches!(op, Op::Window { .. }))
}

/// What [`is_sum`] cannot be beyond; `None` = not known without working it out. Rounding keeps order: no rounded sum is beyond the
/// rounded sum of the bounds.
fn range(steps: &[Op], senses: &impl Senses) -> Option<(f64, f64)> {
    let (mut stack, mut depth) = ([(0.0, 0.0); SUM_MAX], 0_usize);
    for op in steps {
        let (of, next) = if let Op::Number(number) = *op {
            (0, (number, number))
        } else if let Op::Point(point) = *op {
            (0, senses.point(point).map(|value| (value, value))?)
        } else if let Op::Window { window, .. } = *op {
            (0, senses.bounds(window)?)
        } else {
            let (left, right) = (stack.get(depth.checked_sub(2)?)?, stack.get(depth - 1)?);
            let (low, high) = if *op == Op::Add { *right } else { (-right.1, -right.0) };
            (2, (left.0 + low, left.1 + high))
        };
        depth -= of;
        *stack.get_mut(depth)? = next;
        depth += 1;
    }
    stack.first().copied().filter(|(low, high)| depth == 1 && low.is_finite() && high.is_finite())
}

/// What a window says of values is not beyond the values; what it says of readings may be.
fn is_between(function: WindowFunction) -> bool {
    match function {
        WindowFunction::Average
        | WindowFunction::Minimum
        | WindowFunction::Maximum
        | WindowFunction::Median => true,
        WindowFunction::Sum
        | WindowFunction::Count
        | WindowFunction::Rate
        | WindowFunction::Last
        | WindowFunction::Age => false,
    }
}

impl Comparison {
    fn new(op: Op) -> Option<Self> {
        let all = [
            (Op::Less, Self::Less),
            (Op::LessOrEqual, Self::LessOrEqual),
            (Op::Greater, Self::Greater),
            (Op::GreaterOrEqual, Self::GreaterOrEqual),
            (Op::Equal, Self::Equal),
            (Op::NotEqual, Self::NotEqual),
        ];
        all.into_iter().find(|(one, _)| *one == op).map(|(_, how)| how)
    }

    /// With its sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// It holds for no value between these.
    fn never_holds(self, (low, high): (f64, f64), number: f64) -> bool {
        match self {
            Self::Less | Self::LessOrEqual => !self.holds(low, number),
            Self::Greater | Self::GreaterOrEqual => !self.holds(high, number),
            Self::Equal | Self::NotEqual => false,
        }
    }

    #[expect(clippy::float_cmp, reason = "`==` and `!=` of a rule mean just that")]
    fn holds(self, value: f64, number: f64) -> bool {
        match self {
            Self::Less => value < number,
            Self::LessOrEqual => value <= number,
            Self::Greater => value > number,
            Self::GreaterOrEqual => value >= number,
            Self::Equal => value == number,
            Self::NotEqual => value != number,
        }
    }
}

/// One bit per rule: a condition that does not hold would change nothing about it.
#[derive(Debug, Clone)]
pub(crate) struct Rest(Vec<u64>);

impl Rest {
    pub(crate) fn new(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    pub(crate) fn get(&self, rule: usize) -> bool {
        self.0.get(rule / 64).is_some_and(|bits| bits >> (rule % 64) & 1 == 1)
    }

    pub(crate) fn set(&mut self, rule: usize, rests: bool) {
        if let Some(bits) = self.0.get_mut(rule / 64) {
            let bit = 1 << (rule % 64);
            *bits = if rests { *bits | bit } else { *bits & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{HoursQuestion, ModuleIx};

    use super::*;
    use crate::eval::PointsOnly;

    #[test]
    fn the_short_look_sees_what_the_long_one_does() {
        const P: PointIx = PointIx(0);
        const Q: PointIx = PointIx(1);
        let comparisons =
            [Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::Equal, Op::NotEqual];
        let mut programs = vec![
            vec![Op::TruthPoint(P)],
            vec![Op::TruthPoint(P), Op::Not],
            vec![Op::Point(P), Op::Negate, Op::Number(1.0), Op::Less],
            vec![],
            vec![Op::And],
            vec![Op::Point(P), Op::TruthPoint(Q), Op::And],
            vec![Op::TruthPoint(P), Op::TruthPoint(Q), Op::Not, Op::And, Op::TruthPoint(Q), Op::And],
            vec![Op::TruthPoint(P), Op::TruthPoint(Q), Op::And, Op::Not, Op::TruthPoint(P), Op::And],
            vec![Op::TruthPoint(P), Op::TruthPoint(Q), Op::Or, Op::TruthPoint(Q), Op::And],
            vec![Op::Not, Op::TruthPoint(Q), Op::And],
        ];
        for how in comparisons {
            for number in [-1.0, 0.0, 1.0, f64::NAN, f64::INFINITY] {
                programs.push(vec![Op::Point(P), Op::Number(number), how]);
                programs.push(vec![Op::Number(number), Op::Point(P), how]);
                programs.push(vec![Op::TruthPoint(Q), Op::Point(P), Op::Number(number), how, Op::And]);
            }
        }
        for program in programs {
            let program = Program(program);
            let mut watch = Watch { tests: Vec::new(), parts: Vec::new(), steps: Vec::new() };
            let test = watch.test(&program);
            watch.tests.push(test);
            for value in [None, Some(-1.0), Some(0.0), Some(-0.0), Some(0.5), Some(1.0)] {
                for other in [None, Some(0.0), Some(1.0)] {
                    let senses = PointsOnly(|point| if point == P { value } else { other });
                    let long = eval::truth(&program, &senses) == Some(false);
                    assert_eq!(watch.is_false(0, &senses), long, "{program:?} {value:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn sums_of_windows_are_looked_at_by_their_bounds() {
        const P: Op = Op::Point(PointIx(0));
        let window = |function| Op::Window { window: 0, point: PointIx(0), function };
        let spread = vec![
            window(WindowFunction::Maximum),
            window(WindowFunction::Minimum),
            Op::Subtract,
            Op::Number(3.0),
        ];
        let sum = vec![
            Op::Number(-8.5),
            window(WindowFunction::Average),
            Op::Add,
            P,
            Op::Subtract,
            Op::Number(0.5),
        ];
        let rate = vec![window(WindowFunction::Rate), P, Op::Subtract, Op::Number(0.5)];
        let mut by_bounds = 0;
        for (steps, is_range) in [(spread, true), (sum, true), (rate, false)] {
            for how in [Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::Equal, Op::NotEqual] {
                let program = Program([&steps[..], &[how]].concat());
                let mut watch = Watch { tests: Vec::new(), parts: Vec::new(), steps: Vec::new() };
                let test = watch.test(&program);
                assert_eq!(matches!(test, Test::Range { .. }), is_range, "{program:?}");
                watch.tests.push(test);
                for value in [Some(7.0), Some(9.0), Some(9.5), Some(1e308), None] {
                    for slack in [0.0, 0.5, 1.4, 1.5, 4.0] {
                        let bounds = value.map(|value| (value - slack, value + slack));
                        let senses = OneWindow(value, bounds);
                        let long = eval::truth(&program, &senses) == Some(false);
                        assert_eq!(watch.is_false(0, &senses), long, "{program:?} {value:?} {bounds:?}");
                        let blind = OneWindow(None, bounds);
                        by_bounds += usize::from(watch.is_false(0, &blind));
                    }
                }
            }
        }
        assert!(by_bounds > 20, "{by_bounds}");
    }

    /// A window that says this, and that it may be anything between these; a point at 1.
    struct OneWindow(Option<f64>, Option<(f64, f64)>);

    impl Senses for OneWindow {
        fn point(&self, _: PointIx) -> Option<f64> {
            Some(1.0)
        }

        fn window(&self, _: u32, _: WindowFunction) -> Option<f64> {
            self.0
        }

        fn bounds(&self, _: u32) -> Option<(f64, f64)> {
            self.1
        }

        fn hours(&self, _: HoursQuestion) -> Option<bool> {
            None
        }

        fn output(&self, _: ModuleIx, _: u8) -> Option<f64> {
            None
        }
    }

    #[test]
    fn bounds_of_a_window_decide_as_its_answer_does() {
        let comparisons =
            [Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::Equal, Op::NotEqual];
        let functions = [WindowFunction::Average, WindowFunction::Maximum, WindowFunction::Rate];
        for how in comparisons {
            for function in functions {
                let window = Op::Window { window: 0, point: PointIx(0), function };
                let program = Program(vec![window, Op::Number(8.0), how]);
                let mut watch = Watch { tests: Vec::new(), parts: Vec::new(), steps: Vec::new() };
                let test = watch.test(&program);
                watch.tests.push(test);
                for value in [7.0, 7.999, 8.0, 8.001, 9.0, f64::INFINITY].map(Some).into_iter().chain([None])
                {
                    let within = value.filter(|value| value.is_finite()).map(|value| {
                        [
                            (value, value),
                            (value - 0.5, value),
                            (value, value + 0.5),
                            (value - 2.0, value + 2.0),
                        ]
                    });
                    let bounds = within.into_iter().flatten().filter(|_| function != WindowFunction::Rate);
                    for bounds in bounds.map(Some).chain([None]) {
                        let senses = OneWindow(value, bounds);
                        let long = eval::truth(&program, &senses) == Some(false);
                        assert_eq!(watch.is_false(0, &senses), long, "{program:?} {value:?} {bounds:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bit_is_its_rules_own() {
        let mut rest = Rest::new(130);
        for rule in [0, 63, 64, 129] {
            rest.set(rule, true);
        }
        rest.set(63, false);
        let resting: Vec<usize> = (0..200).filter(|&rule| rest.get(rule)).collect();
        assert_eq!(resting, [0, 64, 129]);
    }
}

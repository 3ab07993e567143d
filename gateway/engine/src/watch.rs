//! The short look at a condition.
//!
//! Nearly every reading finds its rules at rest and leaves them so. To see that takes the condition and one bit, and
//! neither the rule's plan nor its life, which are large and lie far apart: at ten thousand points they are in no cache
//! when their turn comes. So conditions stand here a second time, one behind the other in the order of the rules, and
//! [`Rest`] keeps one bit per rule. Whoever finds more than rest goes the long way ([`crate::engine::Engine::judge`]).

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{Op, Plan, PointIx, Program, RuleKind};

use crate::eval::{self, Senses};

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
    /// From here to there in [`Watch::steps`].
    Program { from: u32, to: u32 },
    /// Not a condition: nothing is known of it here.
    Other,
}

/// The conditions of all rules, by slot.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    tests: Vec<Test>,
    steps: Vec<Op>,
}

impl Watch {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut steps = Vec::new();
        let tests = plan.rules.iter().map(|rule| match &rule.kind {
            RuleKind::Condition { when, .. } => Test::new(when, &mut steps),
            RuleKind::Absence { .. }
            | RuleKind::CycleFailed { .. }
            | RuleKind::DeviceUnevaluable { .. }
            | RuleKind::BusUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Event { .. } => Test::Other,
        });
        Self { tests: tests.collect(), steps }
    }

    /// True if the rule has a condition and it does not hold; what is unknown does not count as false.
    pub(crate) fn is_false(&self, rule: usize, senses: &impl Senses) -> bool {
        match self.tests.get(rule) {
            Some(&Test::Compare { point, how, number }) => {
                senses.point(point).is_some_and(|value| !how.holds(value, number))
            }
            Some(&Test::Program { from, to }) => {
                let steps = self.steps.get(from as usize..to as usize).unwrap_or_default();
                eval::truth_of(steps, senses) == Some(false)
            }
            Some(Test::Other) | None => false,
        }
    }
}

impl Test {
    fn new(program: &Program, steps: &mut Vec<Op>) -> Self {
        let compare = |point, how, number: f64| {
            // A number that is none is unknown, and so is what it is compared with.
            number.is_finite().then_some(Self::Compare { point, how, number })
        };
        let short = match *program.0.as_slice() {
            [Op::Point(point), Op::Number(number), how] => {
                Comparison::new(how).and_then(|how| compare(point, how, number))
            }
            [Op::Number(number), Op::Point(point), how] => {
                Comparison::new(how).and_then(|how| compare(point, how.turned(), number))
            }
            [Op::TruthPoint(point)] => compare(point, Comparison::NotEqual, 0.0),
            [Op::TruthPoint(point), Op::Not] => compare(point, Comparison::Equal, 0.0),
            _ => None,
        };
        short.unwrap_or_else(|| {
            let from = steps.len() as u32;
            steps.extend_from_slice(&program.0);
            Self::Program { from, to: steps.len() as u32 }
        })
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
    use super::*;
    use crate::eval::PointsOnly;

    #[test]
    fn the_short_look_sees_what_the_long_one_does() {
        const P: PointIx = PointIx(0);
        let comparisons =
            [Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::Equal, Op::NotEqual];
        let mut programs = vec![
            vec![Op::TruthPoint(P)],
            vec![Op::TruthPoint(P), Op::Not],
            vec![Op::Point(P), Op::Negate, Op::Number(1.0), Op::Less],
            vec![],
        ];
        for how in comparisons {
            for number in [-1.0, 0.0, 1.0, f64::NAN, f64::INFINITY] {
                programs.push(vec![Op::Point(P), Op::Number(number), how]);
                programs.push(vec![Op::Number(number), Op::Point(P), how]);
            }
        }
        for program in programs {
            let program = Program(program);
            let mut steps = Vec::new();
            let watch = Watch { tests: vec![Test::new(&program, &mut steps)], steps };
            for value in [None, Some(-1.0), Some(0.0), Some(-0.0), Some(0.5), Some(1.0)] {
                let senses = PointsOnly(|_| value);
                let long = eval::truth(&program, &senses) == Some(false);
                assert_eq!(watch.is_false(0, &senses), long, "{program:?} {value:?}");
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

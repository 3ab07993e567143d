//! A rule's condition, compiled: names resolved to slots, constants converted to the points' units.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{HoursQuestion, ModuleIx, PointIx, WindowFunction};

/// A condition in reverse Polish notation. Evaluated on a stack of known or unknown values with Kleene's
/// three-valued logic; a unit-checked program always leaves exactly one truth value.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Program(#[n(0)] pub Vec<Op>);

/// One step of a [`Program`].
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub enum Op {
    /// Pushes a constant.
    #[n(0)]
    Number(#[n(0)] f64),
    /// Pushes a truth value.
    #[n(1)]
    Truth(#[n(0)] bool),
    /// Pushes a point's number (a truth point pushes a truth value); unknown unless its quality is good.
    #[n(2)]
    Point(#[n(0)] PointIx),
    /// Pushes a truth point's value.
    #[n(3)]
    TruthPoint(#[n(0)] PointIx),
    /// `-a`
    #[n(4)]
    Negate,
    /// `a + b`
    #[n(5)]
    Add,
    /// `a - b`
    #[n(6)]
    Subtract,
    /// `a * b`
    #[n(7)]
    Multiply,
    /// `a / b`; unknown where b is 0.
    #[n(8)]
    Divide,
    /// `a < b`
    #[n(9)]
    Less,
    /// `a <= b`
    #[n(10)]
    LessOrEqual,
    /// `a > b`
    #[n(11)]
    Greater,
    /// `a >= b`
    #[n(12)]
    GreaterOrEqual,
    /// `a == b`, of numbers or of truth values
    #[n(13)]
    Equal,
    /// `a != b`
    #[n(14)]
    NotEqual,
    /// `a && b`: false if either is false, else unknown if either is unknown
    #[n(15)]
    And,
    /// `a || b`: true if either is true, else unknown if either is unknown
    #[n(16)]
    Or,
    /// `!a`
    #[n(17)]
    Not,
    /// `abs(a)`
    #[n(18)]
    Absolute,
    /// `min(a, b)`
    #[n(19)]
    Minimum,
    /// `max(a, b)`
    #[n(20)]
    Maximum,
    /// `c ? a : b`; with an unknown c unknown, unless a and b are the same.
    #[n(21)]
    Select,
    /// Asks a window of a point.
    #[n(22)]
    Window {
        /// Slot in [`crate::Judging::windows`].
        #[n(0)]
        window: u32,
        /// Its point.
        #[n(1)]
        point: PointIx,
        /// What is asked.
        #[n(2)]
        function: WindowFunction,
    },
    /// Asks the institution's calendar; pushes a truth value.
    #[n(23)]
    Hours(#[n(0)] HoursQuestion),
    /// Pushes an output of a module.
    #[n(24)]
    Output {
        /// Which module.
        #[n(0)]
        module: ModuleIx,
        /// Which of its outputs: the constants of its plan.
        #[n(1)]
        output: u8,
    },
}

impl Program {
    /// Gives its windows other slots: slot `n` becomes `slots[n]`. A slot that is not in the list stays.
    pub fn move_windows(&mut self, slots: &[u32]) {
        for op in &mut self.0 {
            if let Op::Window { window, .. } = op
                && let Some(slot) = slots.get(*window as usize)
            {
                *window = *slot;
            }
        }
    }

    /// The points it reads, each once, in ascending order.
    pub fn points(&self) -> Vec<PointIx> {
        let mut points: Vec<_> = self
            .0
            .iter()
            .filter_map(|op| {
                if let Op::Point(point) | Op::TruthPoint(point) | Op::Window { point, .. } = op {
                    Some(*point)
                } else {
                    None
                }
            })
            .collect();
        points.sort_unstable();
        points.dedup();
        points
    }
}

//! What a probe shows over the hours: straight lines between knots.

use std::collections::VecDeque;

use crate::dice::Dice;

/// A signal of the near future. Values are thousandths of the unit.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// The knot behind the present second, and the value at it.
    from: (i64, i64),
    knots: VecDeque<(i64, i64)>,
    /// Noise, thousandths.
    noise: i64,
    dice: Dice,
}

impl Track {
    pub(super) fn new(value: i64, noise: i64, dice: Dice) -> Self {
        Self { from: (i64::MIN / 2, value), knots: VecDeque::new(), noise, dice }
    }

    /// From here on (a second of the run) it goes in a straight line to `value` at `second`. What would lie before
    /// something already planned is dropped: one device does one thing at a time.
    pub(super) fn to(&mut self, second: i64, value: i64) {
        if self.knots.back().is_none_or(|(last, _)| *last <= second) && self.from.0 <= second {
            self.knots.push_back((second, value));
        }
    }

    /// Stays as it is up to `second`.
    pub(super) fn stay(&mut self, second: i64) {
        let value = self.knots.back().map_or(self.from.1, |(_, value)| *value);
        self.to(second, value);
    }

    /// Is nothing planned from `second` on?
    pub(super) fn free(&self, second: i64) -> bool {
        self.knots.back().is_none_or(|(last, _)| *last < second)
    }

    /// At a second that is not before the one asked for last.
    pub(super) fn at(&mut self, second: i64) -> i64 {
        while let Some(knot) = self.knots.front().copied().filter(|(at, _)| *at <= second) {
            self.from = knot;
            self.knots.pop_front();
        }
        let (begin, value) = self.from;
        let now = match self.knots.front() {
            Some(&(end, next)) if next != value && end > begin => {
                // Before the first knot there was no beginning: it holds.
                if begin < 0 { value } else { value + (next - value) * (second - begin) / (end - begin) }
            }
            Some(_) | None => value,
        };
        if self.noise == 0 { now } else { now + self.dice.between(-self.noise, self.noise + 1) }
    }
}

impl Track {
    /// What was planned behind `second` does not happen: from there it goes to `value` within `seconds`.
    pub(super) fn cut(&mut self, second: i64, value: i64, seconds: i64) {
        let mut before = self.clone();
        before.noise = 0;
        let now = before.at(second);
        self.knots.retain(|(at, _)| *at < second);
        self.to(second, now);
        self.to(second + seconds, value);
    }
}

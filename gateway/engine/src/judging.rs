//! Windows and opening hours in the engine: when they are fed, when they are looked at again, and who sleeps.
//!
//! Readings are judged one by one, also those of one answer and one stamp: a condition over two points sees one new and one
//! old value for an instant. See decision 26.

use alloc::vec::Vec;

use gateway_model::{CivilTime, ClockInput, ClockState, Conclusion, EngineTime, RuleKind};

use crate::engine::{Engine, windows};
use crate::hours::CLOSURES_MAX;
use crate::points::Point;
use crate::timers::Timer;
use crate::wiring::listed;

/// A closure is at most this long, ms.
const CLOSURE_MAX_MS: i64 = 366 * 86_400_000;
/// Looks at an age while it doubles; but at most one a second.
const LOOKS: i64 = 1_024;
const LOOK_MIN_MS: i64 = 1_000;

impl Engine {
    /// The point has a reading (`read`), or another class.
    pub(crate) fn feed_windows(&mut self, point: usize, read: bool) {
        let value = self.points.0.get(point).and_then(Point::believed);
        for place in self.wiring.windows.span(point) {
            let Some(slot) = self.wiring.windows.entry(place) else { break };
            if let Some(window) = self.windows.get_mut(slot) {
                match value {
                    Some(value) if read => window.read(self.now, value),
                    value => window.hold(self.now, value),
                }
            }
            self.arm_window(slot);
        }
    }

    pub(crate) fn window_due(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        if let Some(window) = self.windows.get_mut(slot) {
            window.tidy(self.now);
        }
        for place in 0..listed(&self.wiring.window_rules, slot).len() {
            self.judge(self.wiring.window_rules[slot][place], out);
        }
        self.arm_window(slot);
    }

    pub(crate) fn arm_window(&mut self, slot: usize) {
        let Some((window, plan)) = self.windows.get(slot).zip(windows(&self.plan).get(slot)) else { return };
        let due = window.next_look(self.now).filter(|_| !listed(&self.wiring.window_rules, slot).is_empty());
        let good_at = self.points.get(plan.point).and_then(|point| point.good_at);
        let aged = good_at.filter(|_| self.wiring.aged.get(slot) == Some(&true));
        let due = due.into_iter().chain(aged.map(|since| self.look_again(since, LOOK_MIN_MS))).min();
        if let Some(window) = self.windows.get_mut(slot) {
            window.look = due;
        }
        self.timers.set(Timer::Window(slot), due, self.now);
    }

    /// When to look again at how long ago something was: the next of a row of moments that lie further apart
    /// the longer ago it is, at most a 1,024th of it. So it is known to 0.1 %, a jump in time costs some thousand
    /// looks and not one per second of it, and the moments do not depend on when somebody asks for them.
    pub(crate) fn look_again(&self, since: EngineTime, least_ms: i64) -> EngineTime {
        let age_ms = self.now.since(since).max(0);
        // Bands begin where a step of a 1,024th is no shorter than the least; before them every step is the least. A row ends
        // with its band: otherwise what comes next would depend on whether somebody asked before or behind that end.
        let first_ms = least_ms.max(1).saturating_mul(LOOKS);
        let (step_ms, end_ms) = if age_ms < first_ms {
            (least_ms.max(1), first_ms)
        } else {
            let bands = (age_ms / first_ms).ilog2();
            let band_ms = first_ms << bands;
            (band_ms / LOOKS, band_ms.saturating_mul(2))
        };
        let next_ms = (age_ms / step_ms).saturating_add(1).saturating_mul(step_ms);
        let next = since.plus(next_ms.min(end_ms));
        // At the end of time there is no later moment to look at.
        if next > self.now { next } else { EngineTime(i64::MAX) }
    }

    /// At a start: after a long break nobody has watched.
    pub(crate) fn start_windows(&mut self, gap: bool) {
        for (slot, plan) in self.plan.judging.iter().flat_map(|judging| &judging.windows).enumerate() {
            let value = self.points.believed(plan.point);
            if let Some(window) = self.windows.get_mut(slot) {
                if gap || !window.is_watched() {
                    window.begin(self.now, value);
                } else {
                    window.hold(self.now, value);
                }
            }
        }
        for slot in 0..self.windows.len() {
            self.arm_window(slot);
        }
    }

    /// T25: engine time has not moved, so no delay is touched; only what runs on civil time is looked at again.
    pub(crate) fn learn_clock(&mut self, clock: &ClockInput, out: &mut Vec<Conclusion>) {
        self.clock =
            ClockState { offset_ms: clock.offset_ms, error_ms: clock.error_ms, source: Some(clock.source) };
        self.settle_clock(out);
        self.redate(out);
    }

    fn redate(&mut self, out: &mut Vec<Conclusion>) {
        for slot in 0..self.lives.len() {
            self.with_life(slot, out, |life, face, _| life.redate(face));
        }
        for module in 0..self.modules.len() {
            self.count(module, 0.0, 0.0);
            self.arm_module(module);
        }
        self.hours_changed(out);
    }

    /// What the calendar says may be another.
    pub(crate) fn hours_changed(&mut self, out: &mut Vec<Conclusion>) {
        self.hours_now = self.hours().now(self.now);
        let asleep = self.hours_now.asleep();
        for slot in self.wiring.hours.clone() {
            let sleeps = self
                .plan
                .rules
                .get(slot)
                .and_then(|rule| rule.handling.as_ref())
                .is_some_and(|handling| handling.sleeps);
            if sleeps {
                self.with_life(slot, out, |life, _, desk| life.sleep(asleep, desk.now));
            }
            if let Some(RuleKind::Condition { .. }) = self.kind(slot) {
                self.judge(slot, out);
            }
        }
        self.arm_calendar();
    }

    pub(crate) fn arm_calendar(&mut self) {
        let asked = !self.wiring.hours.is_empty();
        let due = self.hours().next_change(self.now).filter(|_| asked);
        self.timers.set(Timer::Calendar, due, self.now);
    }

    /// Done, or the refusal's code.
    pub(crate) fn declare_closure(
        &mut self,
        from: CivilTime,
        to: CivilTime,
        out: &mut Vec<Conclusion>,
    ) -> Result<(), &'static str> {
        let now = self.hours().civil(self.now).ok_or("clock_unknown")?;
        if to <= from || to <= now || to.0.saturating_sub(from.0) > CLOSURE_MAX_MS {
            return Err("out_of_range");
        }
        if self.closures.len() >= CLOSURES_MAX {
            // What is over goes on counting for windows and duties that began before it, while there is room for it.
            let over = self.closures.iter().position(|(_, to)| *to <= now).ok_or("too_many")?;
            self.closures.remove(over);
        }
        self.closures.push((from, to));
        self.redate(out);
        Ok(())
    }
}

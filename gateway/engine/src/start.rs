//! The first input of an epoch: what became of everything while nobody watched (T19, T20).
//!
//! No timer fires in the downtime: nothing can be concluded about a time in which nothing was seen. Instead,
//! at the moment of the start,
//! - values are looked at again: what got too old meanwhile is stale from now on;
//! - after at most [`DOWNTIME_TOLERANCE_MS`] delays go on as if there had been no break, and those whose end
//!   fell into it end now;
//! - after more, or where nobody knows how long it was, delays start anew, and what was active stays active
//!   with a gap in its life;
//! - events lapse by the clock: a passing cycle would have to have been seen.

use alloc::vec::Vec;

use gateway_model::{Conclusion, ProcessRegion, RuleKind, StartInput};

use crate::alert::Life;
use crate::engine::Engine;
use crate::module::Module;
use crate::timers::Timer;

/// Longest break that running delays survive. A crash may lose a seal's worth of inputs (30 s), and a restart
/// takes some seconds.
pub(crate) const DOWNTIME_TOLERANCE_MS: i64 = 60_000;

impl Engine {
    pub(crate) fn start(&mut self, start: &StartInput, out: &mut Vec<Conclusion>) {
        let before = self.now;
        self.now = before.max(start.at);
        self.epoch = start.epoch;
        self.next_alert = 1;
        let gap = start.downtime_ms.is_none_or(|downtime| downtime > DOWNTIME_TOLERANCE_MS);

        for slot in 0..self.lives.len() {
            if gap {
                self.with_life(slot, out, |life, face, desk| {
                    life.gap(before, face, desk);
                    // Whether the condition still holds is seen below; if so, its delay starts there.
                    life.state.due = None;
                });
            } else if let Some(life) = self.lives.get_mut(slot) {
                life.state.due = life.state.due.map(|due| due.max(self.now));
            }
            self.rearm_blind(slot, gap);
            self.listen_anew(slot, DOWNTIME_TOLERANCE_MS);
        }
        // Nobody listened; whether for too long is seen at the next answer. A change of plan interrupts nothing.
        if start.downtime_ms != Some(0) {
            for watch in self.points.0.iter_mut().filter_map(|point| point.watch.as_mut()) {
                watch.silent(before);
            }
        }
        let aged: Vec<usize> = (0..self.points.0.len()).filter(|&point| self.refresh(point)).collect();
        for &point in &aged {
            self.count_blind(point);
        }
        self.start_windows(gap);
        for module in 0..self.modules.len() {
            if let Some(Module::Duty(duty)) = self.modules.get_mut(module) {
                duty.since.get_or_insert(self.now);
            }
            self.count(module, 0.0, 0.0);
            self.arm_module(module);
        }
        self.hours_changed(out);
        self.settle_clock(out);
        for slot in 0..self.lives.len() {
            self.judge(slot, out);
            self.arm_lapse(slot);
            let due = self.lives.get(slot).and_then(|life| life.state.due);
            self.timers.set(Timer::Rule(slot), due, self.now);
            let due = self.lives.get(slot).and_then(Life::handling_due);
            self.timers.set(Timer::Handling(slot), due, self.now);
        }
        for device in 0..self.plan.devices.len() {
            self.settle_device(device, out);
        }
        for bus in 0..self.wiring.bus_devices.len() {
            self.settle_bus(bus, out);
        }
    }

    /// Delays of "cannot be judged" start anew after a gap, unless the bus speaks for the device.
    fn rearm_blind(&mut self, slot: usize, gap: bool) {
        let Some(
            RuleKind::DeviceUnevaluable { after_ms }
            | RuleKind::BusUnevaluable { after_ms, .. }
            | RuleKind::ClockUnevaluable { after_ms },
        ) = self.kind(slot)
        else {
            return;
        };
        let due = self.now.plus((*after_ms).max(0));
        if let (true, Some(life)) = (gap, self.lives.get_mut(slot))
            && life.state.regions.process == ProcessRegion::Pending
        {
            life.state.due = Some(due);
        }
    }
}

//! Events: a failed cycle is raised, and is over when a passing cycle of the same module settles it in time or
//! when its time has lapsed. What other modules notice (a label given twice, weights that differ) lapses.

use alloc::vec::Vec;

use gateway_model::{About, ClearCause, Conclusion, EngineTime, RuleKind};

use crate::engine::Engine;
use crate::timers::Timer;
use crate::wiring::listed;

/// Open events that one rule remembers. At the limit the oldest lapses before its time.
pub(crate) const EVENTS_MAX: usize = 64;

impl Engine {
    /// A cycle of the module failed. `shown`: its peak and the set temperature, °C.
    pub(crate) fn raise_events(
        &mut self,
        module: usize,
        started: EngineTime,
        shown: (f64, f64),
        out: &mut Vec<Conclusion>,
    ) {
        for slot in listed(&self.wiring.events, module).to_vec() {
            let Some(RuleKind::CycleFailed { settle_within_ms, .. }) = self.kind(slot) else { continue };
            let lapses = self.now.plus((*settle_within_ms).max(0));
            self.raise_event(slot, (started, lapses), (Some(shown.0), Some(shown.1)), None, out);
        }
    }

    pub(crate) fn raise_event(
        &mut self,
        slot: usize,
        (since, lapses): (EngineTime, EngineTime),
        shown: (Option<f64>, Option<f64>),
        about: Option<About>,
        out: &mut Vec<Conclusion>,
    ) {
        self.with_life(slot, out, |life, face, desk| {
            if life.events.len() >= EVENTS_MAX {
                life.clear_event(ClearCause::Lapsed, face, desk);
            }
            (face.value, face.limit) = shown;
            desk.about = about;
            life.raise_event(since, lapses, face, desk);
        });
        self.arm_lapse(slot);
    }

    /// A cycle of the module passed: what failed before it is settled.
    pub(crate) fn settle_events(&mut self, module: usize, shown: (f64, f64), out: &mut Vec<Conclusion>) {
        for slot in listed(&self.wiring.events, module).to_vec() {
            self.with_life(slot, out, |life, face, desk| {
                face.value = Some(shown.0);
                face.limit = Some(shown.1);
                while !life.events.is_empty() {
                    life.clear_event(ClearCause::Settled, face, desk);
                }
            });
            self.arm_lapse(slot);
        }
    }

    /// The oldest event's time is over.
    pub(crate) fn lapse(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        self.with_life(slot, out, |life, face, desk| life.clear_event(ClearCause::Lapsed, face, desk));
        self.arm_lapse(slot);
    }

    pub(crate) fn arm_lapse(&mut self, slot: usize) {
        // Oldest first, and all with the same time to live: the first is the next to lapse.
        let due = self.lives.get(slot).and_then(|life| life.events.first()).map(|event| event.lapses);
        self.timers.set(Timer::Lapse(slot), due, self.now);
    }
}

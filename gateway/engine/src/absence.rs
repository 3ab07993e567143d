//! Absence: nothing was received of a point for a time.
//!
//! Counted from the engine time at which the last reading with a number was eaten; before the first, from the
//! start. A stale mark is no reading: it says that there was none. Ends with any reading that has a number.

use alloc::vec::Vec;

use gateway_model::{ClearCause, Conclusion, ProcessRegion, RuleKind};

use crate::engine::Engine;

impl Engine {
    /// A number was received.
    pub(crate) fn heard(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        let Some(RuleKind::Absence { after_ms, .. }) = self.kind(slot) else { return };
        let due = self.now.plus((*after_ms).max(0));
        let now = self.now;
        self.with_life(slot, out, |life, face, desk| {
            if life.is_open() {
                life.clear(ClearCause::Returned, face, desk);
            }
            life.handling.left_ms = None;
            life.enter(ProcessRegion::Normal, Some(due), now);
        });
    }

    /// Silence has lasted long enough; its beginning is where the region last changed.
    pub(crate) fn unheard(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        self.with_life(slot, out, |life, face, desk| {
            life.state.due = None;
            if !life.is_open() {
                life.raise(life.state.since, face, desk);
            }
        });
    }

    /// At a start. Silence while nobody listened does not count: after a long gap (the delay stands still) it is
    /// counted from now, after a short one there is at least `grace_ms` to be heard in.
    pub(crate) fn listen_anew(&mut self, slot: usize, grace_ms: i64) {
        let Some(RuleKind::Absence { after_ms, .. }) = self.kind(slot) else { return };
        let after_ms = (*after_ms).max(0);
        let now = self.now;
        let Some(life) = self.lives.get_mut(slot).filter(|life| !life.is_open()) else { return };
        match life.state.due {
            Some(due) => life.state.due = Some(due.max(now.plus(after_ms.min(grace_ms)))),
            None => life.enter(ProcessRegion::Normal, Some(now.plus(after_ms)), now),
        }
    }
}

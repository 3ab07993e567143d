//! Civil time: what is said of it, by whom, and what a later word does to what was dated before (design §5).
//!
//! Engine time never steps; civil time is engine time plus an offset that is an input like any other. A better word about a
//! time that was dated by a worse one (nobody knew it, or the center contradicts the system's clock) says since which
//! record it holds: whoever shows, indexes or exports applies it, no record is touched and no conclusion changes. A clock
//! that is set anew while it runs holds from then on; both words are on record.

use gateway_model::{ClockInput, ClockSource, EngineTime, Input, Seq};

use super::core::Core;

/// Civil time is compared so often, …
const CHECK_MS: i64 = 60_000;
/// … and said anew when it has moved by more than this.
const DRIFT_MS: i64 = 1_000;
/// The center's time and the system's clock this far apart: the clock is wrong. A token is good for as long.
const CONTRADICTED_MS: i64 = 5 * 60_000;

/// What was said last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dating {
    offset: Option<(i64, ClockSource)>,
    /// The record that holds the word which was not a better one about the past.
    since: Seq,
    /// The center contradicts the system's clock.
    distrusted: bool,
}

impl Core {
    pub(super) fn check_clock(&mut self, now: EngineTime) {
        self.clock_check_at = now.plus(CHECK_MS);
        let (source, error_ms) = self.settings.wall.source();
        let Some(civil) = self.settings.wall.civil() else { return };
        let offset_ms = civil.0.saturating_sub(now.0);
        let apart = |offset: i64| offset.saturating_sub(offset_ms).saturating_abs();
        let (moved, since) = match self.dating.offset {
            Some((offset, ClockSource::Center)) if self.dating.distrusted => {
                // Trusted again once somebody has set it right.
                (apart(offset) <= CONTRADICTED_MS, None)
            }
            Some((offset, ClockSource::System | ClockSource::Demo)) => (apart(offset) > DRIFT_MS, None),
            // The system's own clock is better than what a receipt says.
            Some((_, ClockSource::Center)) | None => (true, None),
            Some((_, ClockSource::Unknown)) => (true, Some(self.dating.since)),
        };
        if moved {
            self.dating.distrusted = false;
            self.clock(ClockInput { at: now, offset_ms, error_ms, source, since });
        }
    }

    /// Taken where no better source is known, and against a system clock that is far from it.
    pub(super) fn server_time(&mut self, civil_ms: i64, error_ms: i64, now: EngineTime) {
        let offset_ms = civil_ms.saturating_sub(now.0);
        let apart = |offset: i64| offset.saturating_sub(offset_ms).saturating_abs();
        let since = self.dating.since;
        let (moved, since) = match self.dating.offset {
            Some((_, ClockSource::Demo)) => (false, None),
            Some((offset, ClockSource::System)) => {
                self.dating.distrusted = apart(offset) > CONTRADICTED_MS.saturating_add(error_ms);
                (self.dating.distrusted, Some(since))
            }
            Some((offset, ClockSource::Center)) => (apart(offset) > DRIFT_MS.saturating_add(error_ms), None),
            Some((_, ClockSource::Unknown)) => (true, Some(since)),
            None => (true, None),
        };
        if moved {
            if self.dating.distrusted {
                tracing::error!(
                    offset_ms,
                    "the center's time is more than five minutes from the system's clock: the clock is wrong, set it; the center's time is used"
                );
            }
            let source = ClockSource::Center;
            self.clock(ClockInput { at: now, offset_ms, error_ms: Some(error_ms), source, since });
        }
    }

    pub(super) fn clock(&mut self, clock: ClockInput) {
        if clock.since.is_none() {
            self.dating.since = Seq(self.journal.next().seq);
        }
        self.dating.offset = Some((clock.offset_ms, clock.source));
        self.settings.civil.set(clock.error_ms.map(|_| clock.offset_ms));
        self.eat(Input::Clock(clock));
    }
}

//! One alert's life at the gateway: the regions, and how they move.
//!
//! [`turn`] is the process region's whole table (T1–T5, T21); [`Life`] carries it out and numbers what
//! happened. Occurrences that returned to normal but were never acknowledged stay behind as branches (T13).
//!
//! Latched alerts stay listed after they cleared, until somebody resets them (T9). What else becomes of an
//! open alert is in [`crate::handling`].

use alloc::vec::Vec;

use gateway_model::{
    About, AckRegion, AlertChange, AlertDetail, AlertId, AlertState, Change, ClearCause, ClockState,
    Conclusion, ConclusionBody, EngineTime, Epoch, EventState, Handling, HandlingState, LatchRegion,
    OccurrenceState, ProcessRegion, QualityRegion, Regions, RuleIx,
};

use crate::handling::Insight;
use crate::hours::Hours;

/// Unacknowledged occurrences that one rule remembers. At the limit the oldest is forgotten: the center's case
/// keeps it, and an acknowledgement that still comes for it is refused as `unknown_alert`.
pub(crate) const UNACKED_MAX: usize = 64;

/// What an alert sees of its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It holds.
    Violated,
    /// It no longer holds, but has not left the deadband.
    Within,
    /// It does not hold.
    Returned,
    /// Nobody can say.
    Blind(QualityRegion),
}

/// What the process region does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing.
    Stay,
    /// T1: the on-delay starts.
    Begin,
    /// T3: it was fleeting.
    Drop,
    /// T4: the off-delay starts.
    Wane,
    /// T5: active again, same occurrence.
    Recur,
    /// The running delay goes on; one that stood still starts anew.
    Run,
    /// T21: the running delay stands still.
    Halt,
}

/// The process region as one table.
fn turn(process: ProcessRegion, sight: Sight) -> Turn {
    use ProcessRegion::{Active, Clearing, Normal, Pending};
    use Sight::{Blind, Returned, Violated, Within};
    match (process, sight) {
        (Normal, Violated) => Turn::Begin,
        (Pending, Returned | Within) => Turn::Drop,
        (Active, Returned) => Turn::Wane,
        (Clearing, Violated) => Turn::Recur,
        (Pending, Violated) | (Clearing, Returned | Within) => Turn::Run,
        (Pending | Clearing, Blind(_)) => Turn::Halt,
        (Normal, Returned | Within | Blind(_)) | (Active, Violated | Within | Blind(_)) => Turn::Stay,
    }
}

/// A rule's delays, ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    pub(crate) on_ms: i64,
    pub(crate) off_ms: i64,
}

/// What a change of an alert shows besides itself, and what its rule asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Face<'a> {
    /// `None` = the plan no longer has it.
    pub(crate) rule: Option<RuleIx>,
    pub(crate) latching: bool,
    pub(crate) value: Option<f64>,
    pub(crate) limit: Option<f64>,
    pub(crate) handling: Option<&'a Handling>,
    pub(crate) insight: Insight,
    pub(crate) trial: bool,
    pub(crate) hours: Hours<'a>,
}

impl Face<'_> {
    /// Of a rule about which nothing else is known.
    pub(crate) fn bare(rule: Option<RuleIx>) -> Self {
        Self {
            rule,
            latching: false,
            value: None,
            limit: None,
            handling: None,
            insight: Insight::default(),
            trial: false,
            hours: Hours { plan: None, declared: &[], clock: ClockState::default() },
        }
    }
}

/// Where conclusions are written, in order, at the engine's time.
pub(crate) struct Desk<'a> {
    pub(crate) now: EngineTime,
    pub(crate) epoch: Epoch,
    pub(crate) next_alert: &'a mut u32,
    pub(crate) out: &'a mut Vec<Conclusion>,
    /// What the next change is about.
    pub(crate) about: Option<About>,
}

impl Desk<'_> {
    pub(crate) fn conclude(&mut self, body: ConclusionBody) {
        self.out.push(Conclusion { at: self.now, body });
    }

    fn open(&mut self, since: EngineTime) -> OccurrenceState {
        let alert = AlertId { epoch: self.epoch, n: *self.next_alert };
        *self.next_alert = self.next_alert.saturating_add(1);
        OccurrenceState { alert, event: 0, since }
    }

    /// `since`: where it is not since when the condition has held.
    pub(crate) fn say(
        &mut self,
        face: &Face<'_>,
        occurrence: &mut OccurrenceState,
        (regions, detail): (Regions, AlertDetail),
        change: Change,
        since: Option<EngineTime>,
    ) {
        occurrence.event = occurrence.event.saturating_add(1);
        let about = self.about.take();
        self.conclude(ConclusionBody::Alert(AlertChange {
            alert: occurrence.alert,
            event: occurrence.event,
            rule: face.rule,
            change,
            regions,
            value: face.value,
            limit: face.limit,
            since: since.or(Some(occurrence.since)),
            detail: face.handling.map(|_| detail),
            about,
        }));
    }
}

/// A rule's alerts: the condition's own life, open events, and branches nobody has acknowledged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Life {
    pub(crate) state: AlertState,
    pub(crate) events: Vec<EventState>,
    pub(crate) unacked: Vec<OccurrenceState>,
    pub(crate) handling: HandlingState,
}

impl Life {
    /// Active or clearing: an occurrence is open.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.regions.process, ProcessRegion::Active | ProcessRegion::Clearing)
    }

    /// The condition was looked at.
    pub(crate) fn see(&mut self, sight: Sight, delays: Delays, face: &Face<'_>, desk: &mut Desk<'_>) {
        let quality = if let Sight::Blind(quality) = sight { quality } else { QualityRegion::Good };
        if quality != self.state.regions.quality {
            self.state.regions.quality = quality;
            if self.is_open() {
                self.say(Change::Quality, face, desk);
            }
        }
        match turn(self.state.regions.process, sight) {
            Turn::Stay => (),
            Turn::Begin if delays.on_ms <= 0 => self.raise(desk.now, face, desk),
            Turn::Begin => self.enter(ProcessRegion::Pending, Some(desk.now.plus(delays.on_ms)), desk.now),
            Turn::Drop => {
                self.enter(ProcessRegion::Normal, None, desk.now);
                self.state.fleeting = self.state.fleeting.saturating_add(1);
            }
            Turn::Wane => match self.off_delay(delays.off_ms, face) {
                off_ms if off_ms <= 0 => self.clear(ClearCause::Returned, face, desk),
                off_ms => self.enter(ProcessRegion::Clearing, Some(desk.now.plus(off_ms)), desk.now),
            },
            Turn::Recur => {
                self.enter(ProcessRegion::Active, None, desk.now);
                self.state.chatter = self.state.chatter.saturating_add(1);
                self.recurred(face, desk);
            }
            Turn::Run if self.state.due.is_some() => (),
            Turn::Run => {
                let pending = self.state.regions.process == ProcessRegion::Pending;
                let delay = if pending { delays.on_ms } else { self.off_delay(delays.off_ms, face) };
                self.state.since = desk.now;
                self.state.due = Some(desk.now.plus(delay.max(0)));
            }
            Turn::Halt => self.state.due = None,
        }
    }

    /// A delay ran out (T2, T6, T7). It would stand still were the condition not what it was at its start.
    pub(crate) fn elapsed(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.state.due = None;
        match self.state.regions.process {
            ProcessRegion::Pending => {
                // Counted from where the condition began: an excuse that never ends is worth its delay and no more.
                let excused = face.insight.excused_ms.map(|delay_ms| self.state.since.plus(delay_ms));
                match excused.filter(|&until| until > desk.now) {
                    Some(until) => self.state.due = Some(until),
                    None => self.raise(self.state.since, face, desk),
                }
            }
            ProcessRegion::Clearing => self.clear(ClearCause::Returned, face, desk),
            ProcessRegion::Normal | ProcessRegion::Active => (),
        }
    }

    /// T2 and T13: a new occurrence, whatever became of earlier ones.
    pub(crate) fn raise(&mut self, since: EngineTime, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.enter(ProcessRegion::Active, None, desk.now);
        self.state.regions.ack = AckRegion::Unacked;
        if face.latching {
            self.state.regions.latch = LatchRegion::Latched;
        }
        self.state.chatter = 0;
        let occurrence = desk.open(since);
        self.state.occurrence = Some(occurrence);
        self.begin_handling(face);
        self.say(Change::Raised, face, desk);
        self.raised(occurrence.alert, face, desk);
    }

    /// T6, T7, T23.
    pub(crate) fn clear(&mut self, cause: ClearCause, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.enter(ProcessRegion::Normal, None, desk.now);
        self.say(Change::Cleared(cause), face, desk);
        self.end_handling(face, desk);
        let occurrence = self.state.occurrence.take();
        if self.state.regions.ack == AckRegion::Unacked {
            self.state.regions.ack = AckRegion::Acked;
            self.unacked.extend(occurrence);
            self.bound_unacked();
        } else if self.state.regions.latch == LatchRegion::Latched {
            self.state.occurrence = occurrence;
        }
    }

    /// T20: it was active while nobody watched, from `from` to now.
    pub(crate) fn gap(&mut self, from: EngineTime, face: &Face<'_>, desk: &mut Desk<'_>) {
        if let (true, Some(mut occurrence)) = (self.is_open(), self.state.occurrence) {
            desk.say(face, &mut occurrence, self.now_shown(face), Change::Gap, Some(from));
            self.state.occurrence = Some(occurrence);
        }
    }

    /// T8 for the current occurrence.
    pub(crate) fn acknowledge(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.state.regions.ack = AckRegion::Acked;
        self.say(Change::Acknowledged, face, desk);
    }

    /// T9.
    pub(crate) fn reset(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.state.regions.latch = LatchRegion::Unlatched;
        self.say(Change::Reset, face, desk);
        self.state.occurrence = None;
    }

    /// T8 for a branch: received at last, it is forgotten, unless it is latched and nothing newer is.
    pub(crate) fn acknowledge_branch(&mut self, branch: usize, face: &Face<'_>, desk: &mut Desk<'_>) {
        if branch >= self.unacked.len() {
            return;
        }
        let mut occurrence = self.unacked.remove(branch);
        let regions = Regions { ack: AckRegion::Acked, ..self.branch_regions() };
        let detail = self.detail_of(occurrence.alert, face);
        desk.say(face, &mut occurrence, (regions, detail), Change::Acknowledged, None);
        if regions.latch == LatchRegion::Latched && self.state.occurrence.is_none() {
            self.state.occurrence = Some(occurrence);
        }
    }

    /// An event happened. Events do not latch: they are over when they are settled or lapse.
    pub(crate) fn raise_event(
        &mut self,
        since: EngineTime,
        lapses: EngineTime,
        face: &Face<'_>,
        desk: &mut Desk<'_>,
    ) {
        let suppression = self.state.regions.suppression;
        let regions = Regions {
            process: ProcessRegion::Active,
            ack: AckRegion::Unacked,
            suppression,
            ..Regions::default()
        };
        let mut occurrence = desk.open(since);
        let detail = self.detail_of(occurrence.alert, face);
        desk.say(face, &mut occurrence, (regions, detail), Change::Raised, None);
        self.events.push(EventState { occurrence, regions, lapses });
        self.raised(occurrence.alert, face, desk);
    }

    /// The oldest event is over.
    pub(crate) fn clear_event(&mut self, cause: ClearCause, face: &Face<'_>, desk: &mut Desk<'_>) {
        if self.events.is_empty() {
            return;
        }
        let EventState { mut occurrence, mut regions, lapses: _ } = self.events.remove(0);
        regions.process = ProcessRegion::Normal;
        let detail = self.detail_of(occurrence.alert, face);
        desk.say(face, &mut occurrence, (regions, detail), Change::Cleared(cause), None);
        self.forget_handling(occurrence.alert);
        if regions.ack == AckRegion::Unacked {
            self.unacked.push(occurrence);
            self.bound_unacked();
        }
    }

    /// T8 for an open event.
    pub(crate) fn acknowledge_event(&mut self, event: usize, face: &Face<'_>, desk: &mut Desk<'_>) {
        if let Some(event) = self.events.get_mut(event) {
            event.regions.ack = AckRegion::Acked;
        }
        self.say_event(event, Change::Acknowledged, face, desk);
    }

    /// Regions of an occurrence that is over but was never acknowledged.
    pub(crate) fn branch_regions(&self) -> Regions {
        Regions { process: ProcessRegion::Normal, ack: AckRegion::Unacked, ..self.state.regions }
    }

    pub(crate) fn enter(&mut self, process: ProcessRegion, due: Option<EngineTime>, now: EngineTime) {
        self.state.regions.process = process;
        self.state.since = now;
        self.state.due = due;
    }

    /// A change of the current occurrence.
    pub(crate) fn say(&mut self, change: Change, face: &Face<'_>, desk: &mut Desk<'_>) {
        if let Some(mut occurrence) = self.state.occurrence {
            let face = &Face { limit: self.step_limit(face), ..*face };
            desk.say(face, &mut occurrence, self.now_shown(face), change, None);
            self.state.occurrence = Some(occurrence);
        }
    }

    /// A change of an open event.
    pub(crate) fn say_event(&mut self, event: usize, change: Change, face: &Face<'_>, desk: &mut Desk<'_>) {
        let Some(mut state) = self.events.get(event).copied() else { return };
        let detail = self.detail_of(state.occurrence.alert, face);
        desk.say(face, &mut state.occurrence, (state.regions, detail), change, None);
        if let Some(event) = self.events.get_mut(event) {
            *event = state;
        }
    }

    pub(crate) fn now_shown(&self, face: &Face<'_>) -> (Regions, AlertDetail) {
        let folded = if self.handling.chattering.is_some() { self.state.chatter } else { 0 };
        let detail = AlertDetail { folded, trial: face.trial, ..self.handling.detail };
        (self.state.regions, detail)
    }

    fn bound_unacked(&mut self) {
        if self.unacked.len() > UNACKED_MAX {
            self.unacked.remove(0);
        }
    }
}

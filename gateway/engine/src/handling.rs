//! What becomes of an alert while it is open: steps of priority (T10, T11), reminders (T12), pauses (T14–T16),
//! suppression by design (T17), out of service (T18), chatter (T26), and whose turn it is.
//!
//! A rule without a `Handling` in the plan is raised and cleared and nothing else: nothing here touches it.
//! Judging goes on whatever is suppressed; only reminding stops. Whenever a suppression ends on an active
//! alert, the alert is unacknowledged again and says so (T16): nobody has to guess what was missed.

use gateway_model::{
    AckRegion, AggravatedBy, AlertDetail, AlertId, Change, ConclusionBody, EngineTime, EscalationCause,
    Handling, OccurrenceState, PointIx, ProcessRegion, QualityRegion, Suppression, SuppressionChange,
    SuppressionEvent,
};

use crate::alert::{Desk, Face, Life};

/// Activations, past raises and windows that one rule remembers, at most; at the limit the oldest is forgotten.
const MEMORY_MAX: usize = 64;
/// Reminders of one occurrence, at most: who has not come after a thousand does not come for another.
const REMINDERS_MAX: u32 = 1_000;

/// What the programs of a rule's handling say now. `None` = not known: nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Insight {
    /// The highest step of priority that holds.
    pub(crate) step: Option<u8>,
    /// Beyond the limit by the uncertainty, with calibrations that are valid.
    pub(crate) provable: bool,
    /// Not reminded by rule.
    pub(crate) suppressed: Option<bool>,
    /// There is an excuse: the on-delay, ms.
    pub(crate) excused_ms: Option<i64>,
}

/// Who asked for a suppression, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) author: &'a str,
    pub(crate) reason: &'a str,
}

impl Life {
    /// While it chatters, an alert may clear only after it was quiet for as long as chatter is looked for.
    pub(crate) fn off_delay(&self, off_ms: i64, face: &Face<'_>) -> i64 {
        match (self.handling.chattering, face.handling.and_then(|handling| handling.chatter)) {
            (Some(_), Some(chatter)) => off_ms.max(chatter.within_ms),
            _ => off_ms,
        }
    }

    /// T5. Told one by one until it is chatter, then only counted.
    pub(crate) fn recurred(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        if self.handling.chattering.is_some() {
            self.handling.chattering = Some(desk.now);
            return;
        }
        self.say(Change::Recurred, face, desk);
        self.activated(face, desk);
    }

    /// A new occurrence begins: what was said of the one before does not hold for it.
    pub(crate) fn begin_handling(&mut self, face: &Face<'_>) {
        let Some(handling) = face.handling else { return };
        let step = face.insight.step.filter(|&step| step_hold_ms(handling, step) <= 0).unwrap_or(0);
        self.handling.detail = AlertDetail {
            step,
            provable: face.insight.provable,
            trial: face.trial,
            ..AlertDetail::default()
        };
        self.handling.rising = None;
    }

    /// After an occurrence or an event was raised.
    pub(crate) fn raised(&mut self, alert: AlertId, face: &Face<'_>, desk: &mut Desk<'_>) {
        let Some(handling) = face.handling else { return };
        self.activated(face, desk);
        self.handling.reminders = 0;
        self.handling.re_alarm = handling.re_alarm_ms.map(|ms| desk.now.plus(ms.max(1)));
        let Some(escalate) = handling.escalate else { return };
        if let Some(after_ms) = escalate.after_ms {
            let due = self_fix_ends(face, desk.now, after_ms);
            remember(&mut self.handling.windows, (alert, desk.now, due));
        }
        if let Some((n, period_ms)) = escalate.repeated {
            let from = desk.now.plus(period_ms.saturating_neg());
            self.handling.raised.retain(|&at| at > from);
            remember(&mut self.handling.raised, desk.now);
            if self.handling.raised.len() >= n as usize {
                self.escalate(alert, EscalationCause::Repeated, face, desk);
            }
        }
    }

    /// T26: counts what becomes active.
    fn activated(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        let Some(chatter) = face.handling.and_then(|handling| handling.chatter) else { return };
        let from = desk.now.plus(chatter.within_ms.saturating_neg());
        self.handling.activations.retain(|&at| at > from);
        remember(&mut self.handling.activations, desk.now);
        let often = self.handling.activations.len() >= chatter.activations.max(1) as usize;
        if often && self.handling.chattering.is_none() && self.is_open() {
            self.handling.chattering = Some(desk.now);
            self.state.chatter = 0;
            self.say(Change::Chattering, face, desk);
        }
    }

    /// The current occurrence is over: nothing about it is due any more. A pause for one occurrence ends.
    pub(crate) fn end_handling(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        if face.handling.is_none() {
            return;
        }
        if let Some(occurrence) = self.state.occurrence {
            self.forget_handling(occurrence.alert);
        }
        self.handling.detail = AlertDetail::default();
        self.handling.rising = None;
        self.handling.re_alarm = None;
        self.handling.chattering = None;
        if let Some((_, true)) = self.handling.paused {
            self.end_pause(SuppressionEvent::PauseEnded, None, face, desk);
        }
    }

    pub(crate) fn forget_handling(&mut self, alert: AlertId) {
        self.handling.windows.retain(|(known, ..)| *known != alert);
        self.handling.escalated.retain(|known| *known != alert);
        self.handling.aggravated.retain(|known| *known != alert);
    }

    /// What is said of an event, or of an occurrence that is over.
    pub(crate) fn detail_of(&self, alert: AlertId, face: &Face<'_>) -> AlertDetail {
        AlertDetail {
            step: u8::from(self.handling.aggravated.contains(&alert)),
            trial: face.trial,
            escalated: self.handling.escalated.contains(&alert),
            ..AlertDetail::default()
        }
    }

    /// Looks at what the programs of the handling say, and whether the rule sleeps.
    pub(crate) fn attend(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        let Some(handling) = face.handling else { return };
        let by_design = match (self.handling.asleep, face.insight.suppressed) {
            (true, _) => Some(true),
            (false, suppressed) if handling.suppressed.is_some() => suppressed,
            (false, _) => Some(false),
        };
        if let Some(by_design) = by_design.filter(|&now| now != self.state.regions.suppression.by_design) {
            let change = if by_design {
                SuppressionEvent::SuppressedByDesign
            } else {
                SuppressionEvent::ReleasedByDesign
            };
            let suppression = Suppression { by_design, ..self.state.regions.suppression };
            self.suppress(suppression, change, None, None, face, desk);
        }
        if !self.is_open() {
            return;
        }
        if let Some(step) = face.insight.step {
            self.step_seen(step, handling, face, desk);
        }
        if face.insight.provable && !self.handling.detail.provable {
            self.handling.detail.provable = true;
            self.say(Change::Provable, face, desk);
        }
    }

    /// A condition that does not hold would change nothing: it is normal and believed, no delay or window runs, and nothing
    /// about its suppression can be another.
    pub(crate) fn is_at_rest(&self, handling: Option<&Handling>) -> bool {
        let regions = &self.state.regions;
        let suppression = handling.is_none_or(|handling| {
            handling.suppressed.is_none() && self.handling.asleep == regions.suppression.by_design
        });
        regions.process == ProcessRegion::Normal
            && regions.quality == QualityRegion::Good
            && self.state.due.is_none()
            && suppression
            && self.handling_due().is_none()
    }

    fn step_seen(&mut self, step: u8, handling: &Handling, face: &Face<'_>, desk: &mut Desk<'_>) {
        let reached = self.handling.detail.step;
        if step <= reached {
            self.handling.rising = None;
            if step < reached {
                self.step_to(step, face, desk);
            }
            return;
        }
        let hold_ms = step_hold_ms(handling, step);
        if hold_ms <= 0 {
            self.handling.rising = None;
            self.step_to(step, face, desk);
        } else if self.handling.rising.is_none_or(|(rising, _)| rising != step) {
            self.handling.rising = Some((step, desk.now.plus(hold_ms)));
        }
    }

    /// T10 where it rises, T11 where it falls.
    fn step_to(&mut self, step: u8, face: &Face<'_>, desk: &mut Desk<'_>) {
        if step > self.handling.detail.step {
            self.state.regions.ack = AckRegion::Unacked;
        }
        self.handling.detail.step = step;
        self.say(Change::Step, face, desk);
    }

    /// When something here is next due.
    pub(crate) fn handling_due(&self) -> Option<EngineTime> {
        let handling = &self.handling;
        // Nobody's turn ends while nobody is reminded.
        let windows = handling.windows.iter().map(|(.., due)| *due).filter(|_| !self.is_suppressed());
        let paused = handling.paused.map(|(until, _)| until);
        let rising = handling.rising.map(|(_, due)| due);
        let one = [paused, handling.out_of_service, rising, handling.re_alarm];
        one.into_iter().flatten().chain(windows).min()
    }

    /// Does all that is due, in the order in which it is written here.
    pub(crate) fn handle_due(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        let now = desk.now;
        if self.handling.paused.is_some_and(|(until, _)| until <= now) {
            self.end_pause(SuppressionEvent::PauseEnded, None, face, desk);
        }
        if self.handling.out_of_service.is_some_and(|until| until <= now) {
            self.back_in_service(None, face, desk);
        }
        if let Some((step, _)) = self.handling.rising.take_if(|(_, due)| *due <= now) {
            self.step_to(step, face, desk);
        }
        if self.handling.re_alarm.is_some_and(|due| due <= now) {
            self.re_alarm_due(face, desk);
        }
        self.end_windows(face, desk);
    }

    /// Whose time to put it right is over. While it is suppressed that waits: what is paused, asleep or out of service by a
    /// decision does not come back through another door.
    fn end_windows(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        let over = |life: &Self, now| {
            let suppressed = life.is_suppressed();
            life.handling.windows.iter().position(|(.., due)| *due <= now).filter(|_| !suppressed)
        };
        while let Some(position) = over(self, desk.now) {
            let (alert, ..) = self.handling.windows.remove(position);
            self.escalate(alert, EscalationCause::Unsolved, face, desk);
        }
    }

    /// T12. Nobody is reminded of what is suppressed.
    fn re_alarm_due(&mut self, face: &Face<'_>, desk: &mut Desk<'_>) {
        let again = face.handling.and_then(|handling| handling.re_alarm_ms);
        self.handling.reminders = self.handling.reminders.saturating_add(1);
        let goes_on = self.is_open() && self.handling.reminders < REMINDERS_MAX;
        self.handling.re_alarm = again.map(|ms| desk.now.plus(ms.max(1))).filter(|_| goes_on);
        if self.is_open() && !self.is_suppressed() {
            self.state.regions.ack = AckRegion::Unacked;
            self.say(Change::ReAlarmed, face, desk);
        }
    }

    /// The limit that is shown: that of the step reached.
    pub(crate) fn step_limit(&self, face: &Face<'_>) -> Option<f64> {
        let step = usize::from(self.handling.detail.step).checked_sub(1);
        let plan = step.zip(face.handling).and_then(|(slot, handling)| handling.steps.get(slot));
        plan.and_then(|plan| plan.limit).or(face.limit)
    }

    fn is_suppressed(&self) -> bool {
        self.state.regions.suppression != Suppression::default()
    }

    /// It is a supervisor's item from now on; once per alert.
    fn escalate(&mut self, alert: AlertId, cause: EscalationCause, face: &Face<'_>, desk: &mut Desk<'_>) {
        if self.handling.escalated.contains(&alert) {
            return;
        }
        let event = self.events.iter().position(|event| event.occurrence.alert == alert);
        let trunk = self.is_open() && self.state.occurrence.is_some_and(|one| one.alert == alert);
        if event.is_none() && !trunk {
            return;
        }
        remember(&mut self.handling.escalated, alert);
        if let Some(event) = event {
            self.say_event(event, Change::Escalated(cause), face, desk);
        } else {
            self.handling.detail.escalated = true;
            self.say(Change::Escalated(cause), face, desk);
        }
    }

    /// What failed is being used: every open event gets worse, once.
    pub(crate) fn aggravate(&mut self, by: AggravatedBy, face: &Face<'_>, desk: &mut Desk<'_>) {
        let plan = face.handling.and_then(|handling| handling.aggravate).filter(|plan| plan.by == by);
        let Some(plan) = plan else { return };
        for event in 0..self.events.len() {
            let Some(OccurrenceState { alert, since, .. }) =
                self.events.get(event).map(|event| event.occurrence)
            else {
                continue;
            };
            let fresh = plan.after_ms.is_some_and(|after_ms| desk.now.since(since) < after_ms);
            if fresh || self.handling.aggravated.contains(&alert) {
                continue;
            }
            remember(&mut self.handling.aggravated, alert);
            if let Some(event) = self.events.get_mut(event) {
                event.regions.ack = AckRegion::Unacked;
            }
            self.say_event(event, Change::Aggravated, face, desk);
            self.escalate(alert, EscalationCause::Aggravated, face, desk);
        }
    }

    /// T14, T15.
    pub(crate) fn pause(
        &mut self,
        until: EngineTime,
        once: bool,
        asked: Asked<'_>,
        face: &Face<'_>,
        desk: &mut Desk<'_>,
    ) {
        self.handling.paused = Some((until, once));
        let suppression = Suppression { shelved: true, ..self.state.regions.suppression };
        self.suppress(suppression, SuppressionEvent::Paused, Some(until), Some(asked), face, desk);
    }

    /// T16.
    pub(crate) fn end_pause(
        &mut self,
        how: SuppressionEvent,
        asked: Option<Asked<'_>>,
        face: &Face<'_>,
        desk: &mut Desk<'_>,
    ) {
        self.handling.paused = None;
        let suppression = Suppression { shelved: false, ..self.state.regions.suppression };
        self.suppress(suppression, how, None, asked, face, desk);
    }

    /// T18, out.
    pub(crate) fn take_out(
        &mut self,
        until: EngineTime,
        asked: Asked<'_>,
        face: &Face<'_>,
        desk: &mut Desk<'_>,
    ) {
        self.handling.out_of_service = Some(until);
        let suppression = Suppression { out_of_service: true, ..self.state.regions.suppression };
        self.suppress(suppression, SuppressionEvent::OutOfService, Some(until), Some(asked), face, desk);
    }

    /// T18, back.
    pub(crate) fn back_in_service(&mut self, asked: Option<Asked<'_>>, face: &Face<'_>, desk: &mut Desk<'_>) {
        self.handling.out_of_service = None;
        let suppression = Suppression { out_of_service: false, ..self.state.regions.suppression };
        self.suppress(suppression, SuppressionEvent::BackInService, None, asked, face, desk);
    }

    /// The suppression region changes: said of the rule, and of whatever of it is open.
    fn suppress(
        &mut self,
        suppression: Suppression,
        change: SuppressionEvent,
        until: Option<EngineTime>,
        asked: Option<Asked<'_>>,
        face: &Face<'_>,
        desk: &mut Desk<'_>,
    ) {
        let was = self.is_suppressed();
        self.state.regions.suppression = suppression;
        let Some(rule) = face.rule else { return };
        desk.conclude(ConclusionBody::Suppression(SuppressionChange {
            rule,
            change,
            suppression,
            until,
            by: asked.map(|asked| (asked.author.into(), asked.reason.into())),
        }));
        let again = was && !self.is_suppressed();
        let told = if again { Change::ReAlarmed } else { Change::Suppression };
        if self.is_open() {
            if again {
                self.state.regions.ack = AckRegion::Unacked;
            }
            self.say(told, face, desk);
        }
        for event in 0..self.events.len() {
            if let Some(event) = self.events.get_mut(event) {
                event.regions.suppression = suppression;
                if again {
                    event.regions.ack = AckRegion::Unacked;
                }
            }
            self.say_event(event, told, face, desk);
        }
        if again {
            self.end_windows(face, desk);
        }
    }

    /// The rule falls asleep or wakes. While nobody can say, it is not suppressed, and silence is not counted.
    pub(crate) fn sleep(&mut self, asleep: Option<bool>, now: EngineTime) {
        self.handling.asleep = asleep == Some(true);
        if asleep == Some(false)
            && let Some(left_ms) = self.handling.left_ms.take()
        {
            self.state.due = Some(now.plus(left_ms));
        }
    }

    /// While it sleeps a delay stands still; what is left of it goes on when the rule wakes.
    pub(crate) fn stand_still(&mut self, now: EngineTime, still: bool) {
        if self.is_open() || !still {
            self.handling.left_ms = None;
        } else if let Some(due) = self.state.due.take() {
            let left_ms = due.since(now).max(0);
            self.handling.left_ms = Some(self.handling.left_ms.map_or(left_ms, |left| left.min(left_ms)));
        }
    }

    /// Civil time is another than was thought: windows end when they now end.
    pub(crate) fn redate(&mut self, face: &Face<'_>) {
        let Some(escalate) = face.handling.and_then(|handling| handling.escalate) else { return };
        let on_calendar = escalate.open_time || escalate.ends.is_some();
        if let (true, Some(after_ms)) = (on_calendar, escalate.after_ms) {
            for (_, from, due) in &mut self.handling.windows {
                *due = self_fix_ends(face, *from, after_ms);
            }
        }
    }
}

/// When the window of whoever is first ends.
fn self_fix_ends(face: &Face<'_>, from: EngineTime, after_ms: i64) -> EngineTime {
    let plan = face.handling.and_then(|handling| handling.escalate).unwrap_or_default();
    let day_ends = plan.ends.and_then(|ends| face.hours.window_ends(from, ends));
    match day_ends {
        Some(day_ends) => day_ends,
        None if plan.open_time => face.hours.after_open(from, after_ms),
        None => from.plus(after_ms.max(0)),
    }
}

fn step_hold_ms(handling: &Handling, step: u8) -> i64 {
    let slot = usize::from(step).checked_sub(1);
    slot.and_then(|slot| handling.steps.get(slot)).map_or(0, |step| step.hold_ms)
}

fn remember<T>(memory: &mut alloc::vec::Vec<T>, entry: T) {
    if memory.len() >= MEMORY_MAX {
        memory.remove(0);
    }
    memory.push(entry);
}

/// The point by which the open events of a rule get worse.
pub(crate) fn aggravating_point(handling: &Handling) -> Option<PointIx> {
    match handling.aggravate?.by {
        AggravatedBy::Point(point) => Some(point),
        AggravatedBy::Visit => None,
    }
}

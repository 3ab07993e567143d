//! When the institution is open, and how long a span of its open time is.
//!
//! Local time = civil time + the offset in force; a day is a local day, a week begins on Monday. All of it is
//! unknown while civil time is, and from where the plan's table ends.

use alloc::vec::Vec;

use gateway_model::{CalendarPlan, CivilTime, ClockState, EngineTime, HoursQuestion, WindowEnd};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const DAY_MIN: u16 = 1440;
/// How far ahead a change or an end of open time is looked for: further away nothing is known.
const AHEAD_DAYS: i64 = 800;
/// 2200-01-01: a clock that says so is wrong, and no calendar is worked through up to there.
const CIVIL_END_MS: i64 = 7_258_118_400_000;
/// A day that closes sooner than this is over for whoever still has to do something in it: a run takes half an hour.
const DAY_LEFT_MS: i64 = 3_600_000;
/// Closures an institution can have declared at a time; past ones are kept while there is room.
pub(crate) const CLOSURES_MAX: usize = 64;

/// What the calendar says at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HoursNow {
    pub(crate) open: Option<bool>,
    pub(crate) declared: Option<bool>,
    pub(crate) off: Option<bool>,
}

impl HoursNow {
    pub(crate) fn ask(self, question: HoursQuestion) -> Option<bool> {
        match question {
            HoursQuestion::Open => self.open,
            HoursQuestion::DeclaredClosed => self.declared,
            HoursQuestion::ExpectedOff => self.off,
        }
    }

    /// Rules that sleep outside opening hours do so now; `None` = nobody can say.
    pub(crate) fn asleep(self) -> Option<bool> {
        Some(!self.open? || self.off?)
    }
}

/// The calendar with all that changes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hours<'a> {
    pub(crate) plan: Option<&'a CalendarPlan>,
    pub(crate) declared: &'a [(CivilTime, CivilTime)],
    pub(crate) clock: ClockState,
}

/// A local day: its number since 1970-01-01, and the minute in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalTime {
    pub(crate) day: i64,
    minute: u16,
}

impl<'a> Hours<'a> {
    /// Civil time, if it is known.
    pub(crate) fn civil(&self, at: EngineTime) -> Option<CivilTime> {
        self.clock.error_ms.map(|_| at.civil(self.clock.offset_ms))
    }

    pub(crate) fn now(&self, at: EngineTime) -> HoursNow {
        let Some((plan, civil)) = self.known(at) else { return HoursNow::default() };
        let declared = self.declared_at(plan, civil);
        let day = local(plan, civil);
        HoursNow {
            open: Some(!declared && plan.spans(day.day, Spans::Open).any(|span| holds(span, day.minute))),
            declared: Some(declared),
            off: Some(declared || plan.spans(day.day, Spans::Off).any(|span| holds(span, day.minute))),
        }
    }

    /// The local day, if it is known.
    pub(crate) fn day(&self, at: EngineTime) -> Option<i64> {
        self.known(at).map(|(plan, civil)| local(plan, civil).day)
    }

    /// When the next local day begins.
    pub(crate) fn next_day(&self, at: EngineTime) -> Option<EngineTime> {
        let (plan, civil) = self.known(at)?;
        let day = local(plan, civil).day.saturating_add(1);
        Some(self.engine(utc(plan, day, 0)))
    }

    /// When what [`Hours::now`] says may next be another: the next minute boundary of any span, day or closure.
    pub(crate) fn next_change(&self, at: EngineTime) -> Option<EngineTime> {
        let (plan, civil) = self.known(at)?;
        let today = local(plan, civil).day;
        let edges = (0..=AHEAD_DAYS).map_while(|ahead| {
            let day = today.saturating_add(ahead);
            let spans = plan.spans(day, Spans::Open).chain(plan.spans(day, Spans::Off));
            let edges = spans.flat_map(|(from, to)| [from, to]).map(|minute| utc(plan, day, minute));
            Some(edges.filter(|edge| *edge > civil).min())
        });
        let span = edges.flatten().next();
        let closures = plan.closures.iter().chain(self.declared).flat_map(|&(from, to)| [from, to]);
        let next = closures.chain(plan.known_until).filter(|edge| *edge > civil).chain(span).min()?;
        Some(self.engine(next))
    }

    /// The moment at which `ms` of open time have passed since `from`. Where nobody can say, all time counts:
    /// rather too early than never.
    pub(crate) fn after_open(&self, from: EngineTime, ms: i64) -> EngineTime {
        let Some((plan, civil)) = self.known(from) else { return from.plus(ms) };
        let mut left = ms.max(0);
        let today = local(plan, civil).day;
        for ahead in 0..AHEAD_DAYS {
            let day = today.saturating_add(ahead);
            for (open, close) in plan.spans(day, Spans::Open) {
                let (open, close) = (utc(plan, day, open).max(civil), utc(plan, day, close));
                for (open, close) in self.outside_closures(plan, open, close) {
                    let span = close.0.saturating_sub(open.0);
                    if left <= span {
                        return self.engine(CivilTime(open.0.saturating_add(left)));
                    }
                    left = left.saturating_sub(span);
                }
            }
        }
        from.plus(ms)
    }

    /// When a window that ends with a day of the institution ends; `None` = nobody can say.
    pub(crate) fn window_ends(&self, from: EngineTime, ends: WindowEnd) -> Option<EngineTime> {
        let (plan, civil) = self.known(from)?;
        let today = local(plan, civil).day;
        let days = (0..AHEAD_DAYS).map(|ahead| today.saturating_add(ahead));
        let mut closings = days.filter_map(|day| Some((day, self.closing(plan, day)?)));
        let end = match ends {
            WindowEnd::Day => closings.find(|(_, closing)| closing.0.saturating_sub(civil.0) >= DAY_LEFT_MS),
            WindowEnd::WorkingDays(n) => {
                closings.filter(|(day, _)| *day > today).nth(usize::from(n).saturating_sub(1))
            }
        };
        end.map(|(_, closing)| self.engine(closing))
    }

    /// When the institution closes for the day; `None` = it does not open at all.
    fn closing(&self, plan: &CalendarPlan, day: i64) -> Option<CivilTime> {
        let spans = plan.spans(day, Spans::Open);
        let open = spans
            .flat_map(|(from, to)| self.outside_closures(plan, utc(plan, day, from), utc(plan, day, to)));
        open.map(|(_, close)| close).max()
    }

    /// On how many of these local days (from `first` to before `end`) the institution was open at all.
    pub(crate) fn open_days(&self, at: EngineTime, first: i64, end: i64) -> f64 {
        let Some((plan, _)) = self.known(at) else { return 0.0 };
        (first..end).filter(|day| self.closing(plan, *day).is_some()).count() as f64
    }

    fn known(&self, at: EngineTime) -> Option<(&'a CalendarPlan, CivilTime)> {
        let (plan, civil) = (self.plan?, self.civil(at)?);
        if !(0..CIVIL_END_MS).contains(&civil.0) {
            return None;
        }
        plan.known_until.is_none_or(|until| civil < until).then_some((plan, civil))
    }

    fn engine(&self, civil: CivilTime) -> EngineTime {
        EngineTime(civil.0.saturating_sub(self.clock.offset_ms))
    }

    fn declared_at(&self, plan: &CalendarPlan, civil: CivilTime) -> bool {
        plan.closures.iter().chain(self.declared).any(|&(from, to)| from <= civil && civil < to)
    }

    /// What is left of an open span once closures are taken out.
    fn outside_closures(
        &self,
        plan: &CalendarPlan,
        open: CivilTime,
        close: CivilTime,
    ) -> Vec<(CivilTime, CivilTime)> {
        let mut spans = Vec::new();
        if open < close {
            spans.push((open, close));
        }
        for &(from, to) in plan.closures.iter().chain(self.declared) {
            spans = spans
                .into_iter()
                .flat_map(|(open, close)| [(open, close.min(from)), (open.max(to), close)])
                .filter(|(open, close)| open < close)
                .collect();
        }
        spans
    }
}

/// How much of a span of civil time a gateway should be in contact, ms: all of it but the hours in which everything may be
/// switched off, and declared closures. Without a calendar, and where its table says nothing, all of it.
pub fn contact_due_ms(calendar: Option<&CalendarPlan>, from: CivilTime, to: CivilTime) -> i64 {
    let all_ms = to.0.saturating_sub(from.0).max(0);
    let Some(plan) = calendar else { return all_ms };
    let end = plan.known_until.map_or(to, |until| until.min(to));
    if from >= end || !(0..CIVIL_END_MS).contains(&from.0) {
        return all_ms;
    }
    let (first, last) = (local(plan, from).day, local(plan, end).day);
    let mut off = Vec::new();
    for day in first..=last.min(first.saturating_add(AHEAD_DAYS)) {
        let spans = plan.spans(day, Spans::Off);
        off.extend(spans.map(|(begin, over)| (utc(plan, day, begin), utc(plan, day, over))));
    }
    off.extend_from_slice(&plan.closures);
    off.sort_unstable();
    let mut off_ms = 0_i64;
    let mut counted = from;
    for (begin, over) in off {
        let (begin, over) = (begin.max(counted), over.min(end));
        off_ms = off_ms.saturating_add(over.0.saturating_sub(begin.0).max(0));
        counted = counted.max(over);
    }
    all_ms.saturating_sub(off_ms)
}

/// Which spans of a week.
#[derive(Clone, Copy)]
enum Spans {
    Open,
    Off,
}

/// Spans of one day, minutes, from and to.
trait OfDay {
    fn spans(&self, day: i64, spans: Spans) -> impl Iterator<Item = (u16, u16)>;
}

impl OfDay for CalendarPlan {
    fn spans(&self, day: i64, spans: Spans) -> impl Iterator<Item = (u16, u16)> {
        let special = self
            .days
            .iter()
            .find(|special| (i64::from(special.first)..=i64::from(special.last)).contains(&day))
            .map(|special| special.like);
        // 1970-01-01 was a Thursday; weeks begin on Monday.
        let weekday = (day.saturating_add(3)).rem_euclid(7) as u16;
        let weekday = match special {
            None => Some(weekday),
            Some(like) => like.map(u16::from),
        };
        let (list, all_day) = match spans {
            Spans::Open => (&self.open, false),
            // On a day on which nobody works everything may be off.
            Spans::Off => (&self.off, weekday.is_none() && !self.off.is_empty()),
        };
        let start = weekday.unwrap_or(0).min(6) * DAY_MIN;
        let end = start + DAY_MIN;
        let in_day = list
            .iter()
            .filter(move |_| weekday.is_some())
            .map(move |&(from, to)| (from.clamp(start, end) - start, to.clamp(start, end) - start))
            .filter(|(from, to)| from < to);
        in_day.chain(all_day.then_some((0, DAY_MIN)))
    }
}

fn holds((from, to): (u16, u16), minute: u16) -> bool {
    from <= minute && minute < to
}

fn offset_ms(plan: &CalendarPlan, civil: CivilTime) -> i64 {
    let at = plan.offsets.iter().rev().find(|(from, _)| *from <= civil).or(plan.offsets.first());
    at.map_or(0, |(_, minutes)| i64::from(*minutes) * MINUTE_MS)
}

fn local(plan: &CalendarPlan, civil: CivilTime) -> LocalTime {
    let local = civil.0.saturating_add(offset_ms(plan, civil));
    LocalTime { day: local.div_euclid(DAY_MS), minute: (local.rem_euclid(DAY_MS) / MINUTE_MS) as u16 }
}

/// The civil time of a local minute. Where an offset changes at that very time, the one before counts.
fn utc(plan: &CalendarPlan, day: i64, minute: u16) -> CivilTime {
    let local = day.saturating_mul(DAY_MS).saturating_add(i64::from(minute) * MINUTE_MS);
    let guess = CivilTime(local.saturating_sub(offset_ms(plan, CivilTime(local))));
    CivilTime(local.saturating_sub(offset_ms(plan, guess)))
}

#[cfg(test)]
mod tests {
    use std::vec;

    use gateway_model::SpecialDays;

    use super::*;

    /// Monday to Friday 09:00–12:00 and 13:00–18:00 in China; 2026-11-23 is a Monday.
    fn plan() -> CalendarPlan {
        let day = |n: u16| [(n * 1440 + 540, n * 1440 + 720), (n * 1440 + 780, n * 1440 + 1080)];
        CalendarPlan {
            offsets: vec![(CivilTime(0), 480)],
            open: (0..5).flat_map(day).collect(),
            off: (0..7).map(|n| (n * 1440, n * 1440 + 420)).collect(),
            ..CalendarPlan::default()
        }
    }

    /// Days since Monday 2026-11-23, local hours and minutes.
    fn at(day: i64, hour: i64, minute: i64) -> EngineTime {
        EngineTime((20_780 + day) * DAY_MS + (hour * 60 + minute - 480) * MINUTE_MS)
    }

    fn hours(plan: &CalendarPlan) -> Hours<'_> {
        let clock = ClockState { offset_ms: 0, error_ms: Some(1), source: None };
        Hours { plan: Some(plan), declared: &[], clock }
    }

    #[test]
    fn open_hours_follow_the_week_in_local_time() {
        let plan = plan();
        let open = |at| hours(&plan).now(at).open;
        assert_eq!(open(at(0, 8, 59)), Some(false));
        assert_eq!(open(at(0, 9, 0)), Some(true));
        assert_eq!(open(at(0, 12, 30)), Some(false));
        assert_eq!(open(at(4, 17, 59)), Some(true));
        assert_eq!(open(at(5, 10, 0)), Some(false), "Saturday");
        assert_eq!(hours(&plan).now(at(5, 6, 59)).off, Some(true));
        assert_eq!(hours(&plan).now(at(5, 7, 0)).off, Some(false));
    }

    #[test]
    fn a_holiday_is_closed_and_a_make_up_day_works_like_another_day() {
        let mut plan = plan();
        plan.days = vec![
            SpecialDays { first: 20_780, last: 20_781, like: None },
            SpecialDays { first: 20_785, last: 20_785, like: Some(1) },
        ];
        assert_eq!(hours(&plan).now(at(1, 10, 0)).open, Some(false));
        assert_eq!(hours(&plan).now(at(2, 10, 0)).open, Some(true));
        assert_eq!(hours(&plan).now(at(5, 10, 0)).open, Some(true), "a Saturday that is worked");
        assert_eq!(hours(&plan).now(at(1, 10, 0)).off, Some(true));
    }

    #[test]
    fn changes_are_found_and_open_time_is_added_up() {
        let plan = plan();
        let hours = hours(&plan);
        assert_eq!(hours.next_change(at(0, 9, 0)), Some(at(0, 12, 0)));
        assert_eq!(hours.next_change(at(4, 18, 0)), Some(at(5, 0, 0)), "the night's off-hours");
        assert_eq!(hours.after_open(at(0, 17, 0), 2 * 3_600_000), at(1, 10, 0));
        assert_eq!(hours.after_open(at(4, 17, 30), 3_600_000), at(7, 9, 30), "over the weekend");
        assert_eq!(hours.after_open(at(0, 11, 0), 3_600_000), at(0, 12, 0));
    }

    #[test]
    fn a_closure_is_closed_and_does_not_count() {
        let plan = plan();
        let declared = [(CivilTime(at(0, 0, 0).0), CivilTime(at(2, 0, 0).0))];
        let hours = Hours { declared: &declared, ..hours(&plan) };
        assert_eq!(hours.now(at(1, 10, 0)).declared, Some(true));
        assert_eq!(hours.now(at(1, 10, 0)).asleep(), Some(true));
        assert_eq!(hours.after_open(at(0, 10, 0), 3_600_000), at(2, 10, 0));
        assert_eq!(hours.next_change(at(1, 19, 0)), Some(at(2, 0, 0)));
    }

    #[test]
    fn contact_is_not_due_while_everything_may_be_switched_off() {
        let mut plan = plan();
        let civil = |day, hour, minute| CivilTime(at(day, hour, minute).0);
        let due_min = |plan: &CalendarPlan, from, to| contact_due_ms(Some(plan), from, to) / 60_000;
        assert_eq!(due_min(&plan, civil(0, 20, 0), civil(1, 9, 0)), 360, "off from midnight to seven");
        assert_eq!(due_min(&plan, civil(0, 1, 0), civil(0, 7, 0)), 0);
        plan.days = vec![SpecialDays { first: 20_781, last: 20_782, like: None }];
        assert_eq!(due_min(&plan, civil(0, 20, 0), civil(3, 9, 0)), 360, "two holidays");
        plan.closures = vec![(civil(3, 6, 0), civil(3, 8, 0))];
        assert_eq!(
            due_min(&plan, civil(0, 20, 0), civil(3, 9, 0)),
            300,
            "a closure that begins in off-hours"
        );
        plan.known_until = Some(civil(3, 0, 0));
        assert_eq!(due_min(&plan, civil(0, 20, 0), civil(3, 9, 0)), 780, "past the table everything is due");
        assert_eq!(contact_due_ms(None, civil(0, 0, 0), civil(0, 1, 0)), 3_600_000);
        assert_eq!(contact_due_ms(None, civil(0, 1, 0), civil(0, 0, 0)), 0);
    }

    #[test]
    fn without_civil_time_or_past_the_table_nothing_is_known() {
        let mut plan = plan();
        let unknown = Hours { clock: ClockState::default(), ..hours(&plan) };
        assert_eq!(unknown.now(at(0, 10, 0)), HoursNow::default());
        assert_eq!(unknown.next_change(at(0, 10, 0)), None);
        assert_eq!(unknown.after_open(at(0, 10, 0), 5), at(0, 10, 0).plus(5));
        plan.known_until = Some(CivilTime(at(1, 0, 0).0));
        assert_eq!(hours(&plan).now(at(1, 10, 0)).open, None);
        assert_eq!(hours(&plan).next_change(at(0, 20, 0)), Some(at(1, 0, 0)));
    }

    /// Monday to Friday until 18:00; Monday 2026-11-30 is a holiday, Saturday 2026-12-05 is worked like a Monday.
    #[test]
    fn a_window_ends_with_a_day_of_the_institution() {
        let mut plan = plan();
        plan.days = vec![
            SpecialDays { first: 20_787, last: 20_787, like: None },
            SpecialDays { first: 20_792, last: 20_792, like: Some(0) },
        ];
        // A declared closure: Thursday 2026-12-03 from 12:00 on, and all of Friday.
        let declared = [(CivilTime(at(10, 12, 0).0), CivilTime(at(11, 23, 0).0))];
        let clock = ClockState { offset_ms: 0, error_ms: Some(1), source: None };
        let hours = Hours { plan: Some(&plan), declared: &declared, clock };
        let days = WindowEnd::WorkingDays;
        let day = WindowEnd::Day;
        for (from, ends, end, why) in [
            (at(0, 9, 0), day, at(0, 18, 0), "the same day"),
            (at(0, 12, 30), day, at(0, 18, 0), "in the lunch break"),
            (at(0, 7, 0), day, at(0, 18, 0), "before opening"),
            (at(0, 17, 0), day, at(0, 18, 0), "an hour is enough"),
            (at(0, 17, 1), day, at(1, 18, 0), "less is not"),
            (at(0, 19, 0), day, at(1, 18, 0), "after closing"),
            (at(4, 18, 0), day, at(8, 18, 0), "over a weekend and a holiday"),
            (at(10, 11, 30), day, at(12, 18, 0), "closed from noon, and the day after"),
            (at(10, 10, 0), day, at(10, 12, 0), "a day that a closure cuts short"),
            (at(0, 9, 0), days(1), at(1, 18, 0), "the day itself does not count"),
            (at(0, 23, 0), days(1), at(1, 18, 0), "nor does it late in the evening"),
            (at(0, 9, 0), days(5), at(8, 18, 0), "five over a weekend and a holiday"),
            (at(5, 9, 0), days(1), at(8, 18, 0), "from a Saturday"),
            (at(9, 9, 0), days(2), at(12, 18, 0), "to the noon of a closure, and the make-up day"),
            (at(9, 9, 0), days(1), at(10, 12, 0), "half a day is one"),
        ] {
            assert_eq!(hours.window_ends(from, ends), Some(end), "{why}");
        }
        let unknown = Hours { clock: ClockState::default(), ..hours };
        assert_eq!(unknown.window_ends(at(0, 9, 0), day), None);
        assert_eq!(Hours { plan: None, ..hours }.window_ends(at(0, 9, 0), day), None);
        let never = CalendarPlan { open: Vec::new(), ..plan.clone() };
        assert_eq!(Hours { plan: Some(&never), ..hours }.window_ends(at(0, 9, 0), days(1)), None);
    }

    #[test]
    fn an_offset_that_changes_moves_the_hours() {
        let mut plan = plan();
        plan.offsets.push((CivilTime(at(1, 0, 0).0), 540));
        assert_eq!(
            hours(&plan).now(at(1, 8, 0)).open,
            Some(true),
            "08:00 in the old time is 09:00 in the new"
        );
        assert_eq!(hours(&plan).next_change(at(1, 8, 30)), Some(at(1, 11, 0)));
    }
}

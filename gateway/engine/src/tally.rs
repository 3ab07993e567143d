//! Counts per local day and their ratio, and duties that come again.

use alloc::vec::Vec;

use gateway_model::{Counted, DayCount, DutyPlan, EngineTime, RatioPlan};

use crate::hours::Hours;

/// Days of a ratio, at most.
const DAYS_MAX: u16 = 62;

/// A ratio over whole local days. What is counted while the day is not known counts in none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    days: u16,
    at_least: f64,
    /// Open days above, below the line: not counted but asked of the calendar.
    open: (bool, bool),
    /// Oldest first; the first may have begun before anybody watched.
    pub(crate) counts: Vec<DayCount>,
}

impl Ratio {
    pub(crate) fn new(plan: &RatioPlan) -> Self {
        Self {
            days: plan.days.clamp(1, DAYS_MAX),
            at_least: plan.at_least,
            open: (plan.of == Counted::OpenDays, plan.to == Counted::OpenDays),
            counts: Vec::new(),
        }
    }

    /// It is this day; so much is counted in it, above and below the line.
    pub(crate) fn count(&mut self, day: i64, of: f64, to: f64) {
        let Ok(day) = i32::try_from(day) else { return };
        let same = self.counts.last().is_some_and(|last| last.day >= day);
        if !same {
            self.counts.push(DayCount { day, of: 0.0, to: 0.0 });
            let excess = self.counts.len().saturating_sub(usize::from(self.days) + 2);
            self.counts.drain(..excess);
        }
        if let Some(last) = self.counts.last_mut() {
            last.of += of;
            last.to += to;
        }
    }

    /// By the output numbers of [`RatioPlan`], over the whole days before `today`. `open_days`: of a span of days.
    pub(crate) fn output(&self, today: i64, output: u8, open_days: impl Fn(i64, i64) -> f64) -> Option<f64> {
        let first = today - i64::from(self.days);
        let watched = self.counts.first().is_some_and(|count| i64::from(count.day) < first);
        let days = || self.counts.iter().filter(|count| (first..today).contains(&i64::from(count.day)));
        let counted = |open: bool, sum: f64| if open { open_days(first, today) } else { sum };
        let of = counted(self.open.0, days().map(|count| count.of).sum());
        let to = counted(self.open.1, days().map(|count| count.to).sum());
        if !watched {
            return None;
        }
        match output {
            RatioPlan::RATIO => Some(of / to).filter(|_| to > 0.0 && to >= self.at_least),
            RatioPlan::OF => Some(of),
            RatioPlan::TO => Some(to),
            _ => None,
        }
    }
}

/// A duty. Before it was ever done it counts from when it was first known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Duty {
    every_ms: i64,
    open_time: bool,
    pub(crate) done: Option<(EngineTime, bool)>,
    pub(crate) since: Option<EngineTime>,
    /// Good results since the last bad one; `None` = no bad one is known.
    pub(crate) good_since_bad: Option<u16>,
}

impl Duty {
    pub(crate) fn new(plan: &DutyPlan) -> Self {
        Self {
            every_ms: plan.every_ms,
            open_time: plan.open_time,
            done: None,
            since: None,
            good_since_bad: None,
        }
    }

    /// A result is entered.
    pub(crate) fn enter(&mut self, now: EngineTime, passed: bool) {
        self.done = Some((now, passed));
        self.good_since_bad =
            if passed { self.good_since_bad.map(|good| good.saturating_add(1)) } else { Some(0) };
    }

    /// When it is, or was, due.
    pub(crate) fn due(&self, hours: &Hours<'_>) -> Option<EngineTime> {
        let from = self.done.map(|(at, _)| at).or(self.since)?;
        Some(if self.open_time {
            hours.after_open(from, self.every_ms)
        } else {
            from.plus(self.every_ms.max(0))
        })
    }

    /// By the output numbers of [`DutyPlan`].
    pub(crate) fn output(&self, now: EngineTime, hours: &Hours<'_>, output: u8) -> Option<f64> {
        match output {
            DutyPlan::OVERDUE_MS => self.due(hours).map(|due| now.since(due) as f64),
            DutyPlan::PASSED => self.done.map(|(_, passed)| f64::from(u8::from(passed))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{Counted, DeviceIx};

    use super::*;

    #[test]
    fn a_ratio_is_over_whole_days_that_were_watched_and_with_enough_below_the_line() {
        let mut ratio = Ratio::new(&RatioPlan {
            device: DeviceIx(0),
            of: Counted::HandpiecesPacked,
            to: Counted::Visits,
            days: 3,
            at_least: 20.0,
        });
        ratio.count(100, 50.0, 5.0);
        for day in 101..=103 {
            assert_eq!(ratio.output(day, RatioPlan::RATIO, |_, _| 0.0), None, "not three whole days yet");
            ratio.count(day, 6.0, 8.0);
        }
        assert_eq!(
            ratio.output(104, RatioPlan::RATIO, |_, _| 0.0),
            Some(0.75),
            "the first day, begun unseen, does not count"
        );
        assert_eq!(ratio.output(105, RatioPlan::RATIO, |_, _| 0.0), None, "16 visits say nothing");
        assert_eq!(ratio.output(105, RatioPlan::TO, |_, _| 0.0), Some(16.0));
        for day in 104..200 {
            ratio.count(day, 0.0, 1.0);
        }
        assert_eq!(ratio.counts.len(), 5, "bounded");
    }
}

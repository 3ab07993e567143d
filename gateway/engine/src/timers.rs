//! When the engine next has something to do by itself.
//!
//! A slot per timer, numbered so that the order (due, slot) is the order of firing: first the points that go
//! stale, so that nothing is decided on a value in the very moment it stops counting; then modules; then
//! delays of rules; then what is due of open alerts (reminders, windows of whoever is first), before the events
//! that lapse; then windows that are looked at again; last the calendar.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use gateway_model::EngineTime;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The point's value gets too old.
    Stale(usize),
    /// The module's cycle ends, or its sight is given up.
    Module(usize),
    /// A delay of the rule elapses.
    Rule(usize),
    /// Something about the rule's open alerts is due.
    Handling(usize),
    /// The rule's oldest event lapses.
    Lapse(usize),
    /// The window's answer may be another.
    Window(usize),
    /// What the calendar says may be another.
    Calendar,
}

/// All timers. Postponing one, which every reading does, costs no change of the queue: the entry is moved
/// when its old time comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    points: usize,
    modules: usize,
    rules: usize,
    windows: usize,
    due: Vec<Option<EngineTime>>,
    queued: Vec<Option<EngineTime>>,
    queue: BTreeSet<(EngineTime, usize)>,
}

impl Timers {
    pub(crate) fn new(points: usize, modules: usize, rules: usize, windows: usize) -> Self {
        let slots = points + modules + 3 * rules + windows + 1;
        Self {
            points,
            modules,
            rules,
            windows,
            due: vec![None; slots],
            queued: vec![None; slots],
            queue: BTreeSet::new(),
        }
    }

    /// The timer fires at `due`, but not before `now`; `None` stops it, and so does the end of time.
    pub(crate) fn set(&mut self, timer: Timer, due: Option<EngineTime>, now: EngineTime) {
        let slot = self.slot(timer);
        let (Some(wanted), Some(queued)) = (self.due.get_mut(slot), self.queued.get_mut(slot)) else {
            return;
        };
        *wanted = due.filter(|due| due.0 < i64::MAX).map(|due| due.max(now));
        let Some(due) = *wanted else { return };
        match *queued {
            Some(earlier) if earlier <= due => return,
            Some(later) => self.queue.remove(&(later, slot)),
            None => false,
        };
        *queued = Some(due);
        self.queue.insert((due, slot));
    }

    /// Takes out the next timer due at or before `until`.
    pub(crate) fn pop(&mut self, until: EngineTime) -> Option<(EngineTime, Timer)> {
        loop {
            let &(at, slot) = self.queue.first()?;
            if at > until {
                return None;
            }
            self.queue.pop_first();
            let (wanted, queued) = (self.due.get_mut(slot)?, self.queued.get_mut(slot)?);
            *queued = None;
            match *wanted {
                Some(due) if due > at => {
                    *queued = Some(due);
                    self.queue.insert((due, slot));
                }
                Some(due) => {
                    *wanted = None;
                    return Some((due, self.timer(slot)));
                }
                None => (),
            }
        }
    }

    /// Takes out the next timer if it makes another point stale at exactly `due`.
    pub(crate) fn pop_stale(&mut self, due: EngineTime) -> Option<usize> {
        let next =
            self.queue.iter().find(|&&(at, slot)| at > due || self.due.get(slot) == Some(&Some(at)))?;
        if next.0 != due || next.1 >= self.points {
            return None;
        }
        match self.pop(due)? {
            (_, Timer::Stale(point)) => Some(point),
            (
                _,
                Timer::Module(_)
                | Timer::Rule(_)
                | Timer::Handling(_)
                | Timer::Lapse(_)
                | Timer::Window(_)
                | Timer::Calendar,
            ) => None,
        }
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<EngineTime> {
        let mut next: Option<EngineTime> = None;
        for &(at, slot) in &self.queue {
            if next.is_some_and(|next| next <= at) {
                break;
            }
            if let Some(&Some(due)) = self.due.get(slot) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }

    fn slot(&self, timer: Timer) -> usize {
        match timer {
            Timer::Stale(point) => point,
            Timer::Module(module) => self.points + module,
            Timer::Rule(rule) => self.points + self.modules + rule,
            Timer::Handling(rule) => self.points + self.modules + self.rules + rule,
            Timer::Lapse(rule) => self.points + self.modules + 2 * self.rules + rule,
            Timer::Window(window) => self.points + self.modules + 3 * self.rules + window,
            Timer::Calendar => self.points + self.modules + 3 * self.rules + self.windows,
        }
    }

    fn timer(&self, slot: usize) -> Timer {
        let modules = self.points;
        let rules = modules + self.modules;
        let handlings = rules + self.rules;
        let lapses = handlings + self.rules;
        let windows = lapses + self.rules;
        if slot >= windows + self.windows {
            Timer::Calendar
        } else if slot >= windows {
            Timer::Window(slot - windows)
        } else if slot >= lapses {
            Timer::Lapse(slot - lapses)
        } else if slot >= handlings {
            Timer::Handling(slot - handlings)
        } else if slot >= rules {
            Timer::Rule(slot - rules)
        } else if slot >= modules {
            Timer::Module(slot - modules)
        } else {
            Timer::Stale(slot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EngineTime = EngineTime(0);

    fn drain(timers: &mut Timers, until: i64) -> Vec<(i64, Timer)> {
        core::iter::from_fn(|| timers.pop(EngineTime(until))).map(|(due, timer)| (due.0, timer)).collect()
    }

    #[test]
    fn timers_fire_by_due_time_then_by_slot() {
        let mut timers = Timers::new(1, 1, 2, 1);
        for (timer, due) in [
            (Timer::Lapse(0), 5),
            (Timer::Calendar, 5),
            (Timer::Window(0), 5),
            (Timer::Handling(1), 5),
            (Timer::Rule(1), 5),
            (Timer::Rule(0), 3),
            (Timer::Stale(0), 5),
            (Timer::Module(0), 9),
        ] {
            timers.set(timer, Some(EngineTime(due)), NOW);
        }
        let fired = drain(&mut timers, 8);
        assert_eq!(
            fired,
            [
                (3, Timer::Rule(0)),
                (5, Timer::Stale(0)),
                (5, Timer::Rule(1)),
                (5, Timer::Handling(1)),
                (5, Timer::Lapse(0)),
                (5, Timer::Window(0)),
                (5, Timer::Calendar),
            ]
        );
        assert_eq!(timers.next(), Some(EngineTime(9)));
    }

    #[test]
    fn a_postponed_timer_fires_once_and_at_its_last_due_time() {
        let mut timers = Timers::new(1, 0, 1, 0);
        timers.set(Timer::Stale(0), Some(EngineTime(10)), NOW);
        timers.set(Timer::Rule(0), Some(EngineTime(20)), NOW);
        timers.set(Timer::Stale(0), Some(EngineTime(30)), NOW);
        assert_eq!(timers.next(), Some(EngineTime(20)));
        assert_eq!(drain(&mut timers, 25), [(20, Timer::Rule(0))]);
        timers.set(Timer::Stale(0), Some(EngineTime(27)), NOW);
        assert_eq!(drain(&mut timers, 99), [(27, Timer::Stale(0))]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_stopped_timer_never_fires() {
        let mut timers = Timers::new(1, 0, 0, 0);
        timers.set(Timer::Stale(0), Some(EngineTime(10)), NOW);
        timers.set(Timer::Stale(0), None, NOW);
        assert_eq!(timers.next(), None);
        assert_eq!(drain(&mut timers, 99), []);
    }
}

//! When the engine next has something to do by itself.
//!
//! A slot per timer, numbered so that the order (due, slot) is the order of firing: first the points that go
//! stale, so that nothing is decided on a value in the very moment it stops counting; then modules; then
//! delays of rules; then what is due of open alerts (reminders, windows of whoever is first), before the events
//! that lapse; then windows that are looked at again; last the calendar.

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

/// A timer that is stopped.
const NEVER: i64 = i64::MAX;
/// Timers, or groups of them, that share a minimum: as many as fill a cache line.
const GROUP: usize = 8;

/// All timers: when each is due, and over them a tree of minima. To set one costs a walk from its leaf as far up as
/// the minimum changes, and what is next stands at the root, at any number of points; nothing is allocated.
#[derive(Debug, Clone)]
pub(crate) struct Timers {
    points: usize,
    modules: usize,
    rules: usize,
    windows: usize,
    /// Due times by slot, then the minima of their groups, and so on up to a single one.
    levels: Vec<Vec<i64>>,
}

impl Timers {
    pub(crate) fn new(points: usize, modules: usize, rules: usize, windows: usize) -> Self {
        let mut wide = points + modules + 3 * rules + windows + 1;
        let mut levels = Vec::new();
        while wide > 1 || levels.is_empty() {
            let groups = wide.div_ceil(GROUP);
            levels.push(vec![NEVER; groups * GROUP]);
            wide = groups;
        }
        levels.push(vec![NEVER]);
        Self { points, modules, rules, windows, levels }
    }

    /// The timer fires at `due`, but not before `now`; `None` stops it, and so does the end of time.
    pub(crate) fn set(&mut self, timer: Timer, due: Option<EngineTime>, now: EngineTime) {
        let slot = self.slot(timer);
        self.put(slot, due.filter(|due| due.0 < NEVER).map_or(NEVER, |due| due.max(now).0));
    }

    /// Takes out the next timer due at or before `until`.
    pub(crate) fn pop(&mut self, until: EngineTime) -> Option<(EngineTime, Timer)> {
        let due = self.next().filter(|&due| due <= until)?;
        let slot = self.first(due)?;
        self.put(slot, NEVER);
        Some((due, self.timer(slot)))
    }

    /// Takes out the next timer if it makes another point stale at exactly `due`.
    pub(crate) fn pop_stale(&mut self, due: EngineTime) -> Option<usize> {
        self.next().filter(|&next| next == due)?;
        let point = self.first(due).filter(|&slot| slot < self.points)?;
        self.put(point, NEVER);
        Some(point)
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<EngineTime> {
        let next = *self.levels.last()?.first()?;
        (next < NEVER).then_some(EngineTime(next))
    }

    /// The first slot that is due at the time that stands at the root.
    fn first(&self, due: EngineTime) -> Option<usize> {
        let mut at = 0;
        for level in self.levels.iter().rev().skip(1) {
            let from = at * GROUP;
            at = from + level.get(from..from + GROUP)?.iter().position(|&one| one == due.0)?;
        }
        Some(at)
    }

    fn put(&mut self, slot: usize, due: i64) {
        let (mut at, mut due) = (slot, due);
        let mut levels = self.levels.as_mut_slice();
        while let Some((level, above)) = levels.split_first_mut() {
            let Some(one) = level.get_mut(at) else { return };
            let before = core::mem::replace(one, due);
            at /= GROUP;
            let Some(&least) = above.first().and_then(|level| level.get(at)) else { return };
            if due == before || due > least && before > least {
                return;
            }
            if due > least {
                // It was the first of its group: another is now.
                let group = level.get(at * GROUP..(at + 1) * GROUP).unwrap_or_default();
                due = group.iter().fold(NEVER, |least, &one| least.min(one));
            }
            levels = above;
        }
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
    fn however_many_there_are_and_whatever_is_set_they_fire_in_order() {
        let mut timers = Timers::new(700, 3, 40, 9);
        let mut plain = alloc::collections::BTreeMap::new();
        let (mut n, mut now) = (7_u32, 0);
        for _ in 0..20_000 {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let slot = (n >> 8) as usize % 833;
            match n % 5 {
                0 => {
                    timers.set(timers.timer(slot), None, EngineTime(now));
                    plain.remove(&slot);
                }
                1 => {
                    now += i64::from(n >> 28);
                    let first = plain.iter().map(|(&slot, &due)| (due, slot)).min();
                    let expected = first.filter(|(due, _)| *due <= now);
                    let fired = timers.pop(EngineTime(now)).map(|(due, timer)| (due.0, timers.slot(timer)));
                    assert_eq!(fired, expected);
                    if let Some((_, slot)) = fired {
                        plain.remove(&slot);
                    }
                }
                _ => {
                    let due = now + i64::from(n >> 22) - 100;
                    timers.set(timers.timer(slot), Some(EngineTime(due)), EngineTime(now));
                    plain.insert(slot, due.max(now));
                }
            }
            assert_eq!(timers.next().map(|next| next.0), plain.values().copied().min());
        }
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

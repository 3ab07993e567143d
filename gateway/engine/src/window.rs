//! Windows over a point: mean over time, extremes, sums, counts, rates, in bounded memory.
//!
//! A window is measured in [`STEPS`] steps of equal width on the grid of engine time; the oldest step leaves
//! as a whole, so a window is up to one step shorter than its span. What is asked never changes it: only
//! readings and changes of belief do. So the answer at a moment does not depend on how often it was asked.
//!
//! **Known.** Mean, extremes, sum, count and rate are known only where the window has been watched throughout
//! (since the first start, or since a start after a long break), and mean and extremes only where the point
//! was believed for [`KNOWN_PERMILLE`] of it. No data is not normal: half a window says nothing.
//!
//! **Median.** Of the means of the steps, each for as long as the point was believed in it: what is shorter than half of a
//! window, however great, does not move it. Exact to a step.
//!
//! **Deadband.** A mean is as exact as the deadband of its point. Counts and sums are of kept readings, so
//! whoever makes the plan gives such points a deadband of 0.
//!
//! **Cost.** Most readings find their rules far from their limits. What can be kept up to date exactly is (how long the point
//! was believed, how many readings there were), and so are bounds of its values ([`Window::bounds`]); steps are added up
//! only when those do not decide. Floating sums are always made of the same steps in the same order.

use alloc::collections::VecDeque;
use core::cell::Cell;

use gateway_model::{EngineTime, WindowBucket, WindowFunction, WindowPlan, WindowState};

/// Steps of a window.
const STEPS: i64 = 60;
/// A step is at least this wide, ms.
const STEP_MIN_MS: i64 = 1_000;
/// So much of a window must be believed for a mean or an extreme.
const KNOWN_PERMILLE: i64 = 800;
const HOUR_MS: f64 = 3_600_000.0;

/// One window at work.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    step_ms: i64,
    span_ms: i64,
    since: EngineTime,
    upto: EngineTime,
    value: Option<f64>,
    counter: Option<f64>,
    buckets: VecDeque<WindowBucket>,
    /// When it is looked at again.
    pub(crate) look: Option<EngineTime>,
    /// What is known of the buckets without adding them up. Follows from them; never saved.
    outline: Outline,
    /// All steps but the newest, added up once: they do not change. Follows from the buckets; never saved.
    behind: Cell<Option<Behind>>,
}

/// What is known of all buckets together: whole numbers exactly, and values between two that none is beyond.
#[derive(Debug, Clone, Copy)]
struct Outline {
    /// Of the buckets from this step on: those before it have left the window, whether or not they were forgotten.
    first: i64,
    known_ms: i64,
    count: u64,
    span: Option<(f64, f64)>,
    /// Buckets that have left since `span` was that of the buckets: it may be too wide, never too narrow.
    left: usize,
}

/// Steps added up, from the oldest on: the same numbers in the same order, so the same sum to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums {
    known_ms: i64,
    weighted: f64,
    span: Option<(f64, f64)>,
    count: u32,
    sum: f64,
    rise: f64,
}

/// The sums of the steps from `first` on that lie before the step `newest`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Behind {
    first: i64,
    newest: i64,
    sums: Sums,
}

/// What a window holds at a moment.
struct Content {
    sums: Sums,
    length_ms: i64,
    watched: bool,
}

impl Outline {
    const EMPTY: Self = Self { first: i64::MIN, known_ms: 0, count: 0, span: None, left: 0 };
}

impl Sums {
    fn add(&mut self, bucket: &WindowBucket) {
        self.known_ms = self.known_ms.saturating_add(bucket.known_ms);
        self.weighted += bucket.weighted;
        self.count = self.count.saturating_add(bucket.count);
        self.sum += bucket.sum;
        self.rise += bucket.rise;
        if let Some((low, high)) = bucket.span {
            widen(&mut self.span, low);
            widen(&mut self.span, high);
        }
    }
}

impl Window {
    pub(crate) fn new(plan: &WindowPlan) -> Self {
        let span_ms = plan.span_ms.max(STEP_MIN_MS);
        Self {
            step_ms: (span_ms / STEPS).max(STEP_MIN_MS),
            span_ms,
            // Until the first start nobody watches.
            since: EngineTime(i64::MAX),
            upto: EngineTime(0),
            value: None,
            counter: None,
            buckets: VecDeque::new(),
            look: None,
            outline: Outline::EMPTY,
            behind: Cell::new(None),
        }
    }

    /// It has been begun.
    pub(crate) fn is_watched(&self) -> bool {
        self.since.0 < i64::MAX
    }

    /// Nobody watched before now.
    pub(crate) fn begin(&mut self, now: EngineTime, value: Option<f64>) {
        let (step_ms, span_ms, look) = (self.step_ms, self.span_ms, self.look);
        let buckets = VecDeque::new();
        *self = Self {
            step_ms,
            span_ms,
            since: now,
            upto: now,
            value,
            counter: value,
            buckets,
            look,
            outline: Outline::EMPTY,
            behind: Cell::new(None),
        };
    }

    /// The believed number may be another from now on.
    pub(crate) fn hold(&mut self, now: EngineTime, value: Option<f64>) {
        if value == self.value {
            return;
        }
        self.count_up_to(now);
        self.value = value;
        if let Some(value) = value {
            let bucket = self.bucket(now);
            widen(&mut bucket.span, value);
            widen(&mut self.outline.span, value);
        }
    }

    /// A reading with a believed number.
    pub(crate) fn read(&mut self, now: EngineTime, value: f64) {
        self.count_up_to(now);
        self.hold(now, Some(value));
        let rise = match self.counter.replace(value) {
            Some(before) if value >= before => value - before,
            // It began anew: what it shows is what it has risen by since.
            Some(_) if value > 0.0 => value,
            Some(_) | None => 0.0,
        };
        let bucket = self.bucket(now);
        bucket.count = bucket.count.saturating_add(1);
        bucket.sum += value;
        bucket.rise += rise;
        self.outline.count += 1;
    }

    /// When the answer may be another although nothing was received; `None` = it stays.
    pub(crate) fn next_look(&self, now: EngineTime) -> Option<EngineTime> {
        let next = EngineTime(now.0.div_euclid(self.step_ms).saturating_add(1).saturating_mul(self.step_ms));
        if self.outline.count > 0 && self.is_tidy(now) {
            return Some(next);
        }
        let content = self.content(now);
        let (sums, length_ms) = (content.sums, content.length_ms);
        let same = sums.span.is_none_or(|(low, high)| low >= high);
        let idle = self.value.is_some() && sums.count == 0 && sums.known_ms == length_ms && same;
        let empty = sums.count == 0 && sums.known_ms == 0 && self.value.is_none();
        let settled = content.watched && (idle || empty);
        (!settled).then_some(next)
    }

    /// Numbers that mean, median and extremes at `now` are not beyond; `None` if that is not known without adding up, or if
    /// they are not known.
    pub(crate) fn bounds(&self, now: EngineTime) -> Option<(f64, f64)> {
        let cutoff = self.cutoff(now);
        let length_ms = now.0.saturating_sub(cutoff);
        if self.since.0 > cutoff || length_ms <= 0 || !self.is_tidy(now) {
            return None;
        }
        let (mut known_ms, mut span) = (self.outline.known_ms, self.outline.span);
        if let Some(value) = self.value {
            known_ms = known_ms.saturating_add(now.0.saturating_sub(self.upto.0.max(cutoff)).max(0));
            widen(&mut span, value);
        }
        let (low, high) = span.filter(|_| is_enough(known_ms, length_ms))?;
        // A sum of some sixty products is off by less than 1e-13 of the greatest.
        let slack = libm::fmax(libm::fabs(low), libm::fabs(high)) * 1e-9;
        Some((low - slack, high + slack)).filter(|(low, high)| low.is_finite() && high.is_finite())
    }

    /// The answer at `now`; `Last` and `Age` need more than a window knows and are none of its business.
    pub(crate) fn ask(&self, now: EngineTime, function: WindowFunction) -> Option<f64> {
        let content = self.content(now);
        if !content.watched || content.length_ms <= 0 {
            return None;
        }
        let (sums, length_ms) = (content.sums, content.length_ms);
        let enough = is_enough(sums.known_ms, length_ms);
        match function {
            WindowFunction::Average => Some(sums.weighted / sums.known_ms as f64).filter(|_| enough),
            WindowFunction::Minimum => sums.span.map(|span| span.0).filter(|_| enough),
            WindowFunction::Maximum => sums.span.map(|span| span.1).filter(|_| enough),
            WindowFunction::Median => sums.span.filter(|_| enough).and_then(|span| self.median(now, span)),
            WindowFunction::Sum => Some(sums.sum),
            WindowFunction::Count => Some(f64::from(sums.count)),
            WindowFunction::Rate => Some(sums.rise * HOUR_MS / length_ms as f64),
            WindowFunction::Last | WindowFunction::Age => None,
        }
    }

    /// The lowest mean of a step such that steps with no higher one make up half of the time in which the point was believed.
    fn median(&self, now: EngineTime, (low, high): (f64, f64)) -> Option<f64> {
        if low >= high {
            // A lamp that is off, for most of its life.
            return Some(low);
        }
        let (first, cutoff) = (self.first(now), self.cutoff(now));
        let whole = self.buckets.iter().filter(|bucket| bucket.n >= first && bucket.known_ms > 0);
        let whole = whole.map(|bucket| (bucket.weighted / bucket.known_ms as f64, bucket.known_ms));
        let held_ms = now.0.saturating_sub(self.upto.0.max(cutoff)).max(0);
        let held = self.value.map(|value| (value, held_ms)).filter(|_| held_ms > 0);
        // Every step of the window, the one that has just begun, and what holds since.
        let mut steps = [(0.0, 0_i64); STEPS as usize + 2];
        let (mut count, mut known_ms) = (0, 0_i64);
        for (slot, step) in steps.iter_mut().zip(whole.chain(held)) {
            *slot = step;
            known_ms = known_ms.saturating_add(step.1);
            count += 1;
        }
        let steps = steps.get_mut(..count)?;
        steps.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut below_ms = 0_i64;
        steps.iter().find_map(|&(value, ms)| {
            below_ms = below_ms.saturating_add(ms);
            (below_ms >= known_ms - known_ms / 2).then_some(value)
        })
    }

    /// The last believed number that was read.
    pub(crate) fn last(&self) -> Option<f64> {
        self.counter
    }

    pub(crate) fn span_ms(&self) -> i64 {
        self.span_ms
    }

    pub(crate) fn state(&self, point: &str, plan: &WindowPlan) -> WindowState {
        WindowState {
            point: point.into(),
            span_ms: plan.span_ms,
            since: self.since.0,
            upto: self.upto.0,
            value: self.value,
            counter: self.counter,
            buckets: self.buckets.iter().copied().collect(),
            look: self.look.map(|look| look.0),
        }
    }

    pub(crate) fn restore(&mut self, state: WindowState) {
        self.since = EngineTime(state.since);
        self.upto = EngineTime(state.upto);
        self.value = state.value;
        self.counter = state.counter;
        self.buckets = state.buckets.into();
        self.look = state.look.map(EngineTime);
        self.outline = Outline::EMPTY;
        for bucket in &self.buckets {
            self.outline.known_ms = self.outline.known_ms.saturating_add(bucket.known_ms);
            self.outline.count += u64::from(bucket.count);
        }
        self.outline.span = self.span();
        self.behind.set(None);
    }

    /// The first step of the window at `now`: it begins on the grid, so less than a step late.
    fn first(&self, now: EngineTime) -> i64 {
        self.span_ms.saturating_sub(now.0).div_euclid(self.step_ms).saturating_neg()
    }

    /// The first moment of the window at `now`.
    fn cutoff(&self, now: EngineTime) -> i64 {
        self.first(now).saturating_mul(self.step_ms)
    }

    /// The outline is that of the window at `now`.
    fn is_tidy(&self, now: EngineTime) -> bool {
        let first = self.first(now);
        self.outline.first >= first || self.buckets.front().is_none_or(|bucket| bucket.n >= first)
    }

    /// The outline becomes that of the window at `now`. Buckets stay: what is saved must not depend on who looked.
    pub(crate) fn tidy(&mut self, now: EngineTime) {
        let first = self.first(now);
        let outline = &mut self.outline;
        let left = self.buckets.iter().take_while(|bucket| bucket.n < first);
        for bucket in left.filter(|bucket| bucket.n >= outline.first) {
            outline.known_ms = outline.known_ms.saturating_sub(bucket.known_ms);
            outline.count = outline.count.saturating_sub(u64::from(bucket.count));
            outline.left += 1;
        }
        outline.first = outline.first.max(first);
        if self.outline.left > STEPS as usize {
            self.outline.span = self.span();
            self.outline.left = 0;
        }
    }

    fn content(&self, now: EngineTime) -> Content {
        let (first, cutoff) = (self.first(now), self.cutoff(now));
        let mut sums = Sums::default();
        if let Some(newest) = self.buckets.back().filter(|newest| newest.n >= first) {
            sums = self.behind(first, newest.n);
            sums.add(newest);
        }
        if let Some(value) = self.value {
            let held_ms = now.0.saturating_sub(self.upto.0.max(cutoff)).max(0);
            sums.known_ms = sums.known_ms.saturating_add(held_ms);
            sums.weighted += value * held_ms as f64;
            widen(&mut sums.span, value);
        }
        Content { sums, length_ms: now.0.saturating_sub(cutoff), watched: self.since.0 <= cutoff }
    }

    /// The steps from `first` on and before `end`.
    fn sums(&self, first: i64, end: i64) -> Sums {
        let mut sums = Sums::default();
        for bucket in self.buckets.iter().filter(|bucket| bucket.n >= first && bucket.n < end) {
            sums.add(bucket);
        }
        sums
    }

    /// What no longer changes, added up once: several questions at a moment cost one addition each.
    fn behind(&self, first: i64, newest: i64) -> Sums {
        let known = self.behind.get().filter(|behind| (behind.first, behind.newest) == (first, newest));
        let behind = known.unwrap_or_else(|| Behind { first, newest, sums: self.sums(first, newest) });
        self.behind.set(Some(behind));
        behind.sums
    }

    /// The values of the buckets of the outline.
    fn span(&self) -> Option<(f64, f64)> {
        let mut span = None;
        let own = self.buckets.iter().filter(|bucket| bucket.n >= self.outline.first);
        for (low, high) in own.filter_map(|bucket| bucket.span) {
            widen(&mut span, low);
            widen(&mut span, high);
        }
        span
    }

    /// Writes down what held until now.
    fn count_up_to(&mut self, now: EngineTime) {
        let from = self.upto.0.max(self.cutoff(now));
        self.upto = self.upto.max(now);
        let Some(value) = self.value else { return };
        let mut at = from;
        // At most as many rounds as a window has steps.
        while at < now.0 {
            let n = at.div_euclid(self.step_ms);
            let end = n.saturating_add(1).saturating_mul(self.step_ms).min(now.0);
            let held_ms = end.saturating_sub(at);
            let bucket = self.bucket(EngineTime(at));
            bucket.known_ms = bucket.known_ms.saturating_add(held_ms);
            bucket.weighted += value * held_ms as f64;
            widen(&mut bucket.span, value);
            self.outline.known_ms = self.outline.known_ms.saturating_add(held_ms);
            widen(&mut self.outline.span, value);
            if end <= at {
                break;
            }
            at = end;
        }
    }

    /// The step of this moment; those that have left the window are forgotten.
    fn bucket(&mut self, at: EngineTime) -> &mut WindowBucket {
        let n = at.0.div_euclid(self.step_ms);
        let first = self.first(at);
        self.tidy(at);
        while self.buckets.front().is_some_and(|bucket| bucket.n < first) {
            self.buckets.pop_front();
        }
        // Time never steps back: the newest step is the last, or is still to come.
        if self.buckets.back().is_none_or(|bucket| bucket.n < n) {
            self.buckets.push_back(WindowBucket {
                n,
                known_ms: 0,
                weighted: 0.0,
                span: None,
                count: 0,
                sum: 0.0,
                rise: 0.0,
            });
        }
        let last = self.buckets.len() - 1;
        &mut self.buckets[last]
    }
}

/// So much of a window is believed that a mean or an extreme can be told.
fn is_enough(known_ms: i64, length_ms: i64) -> bool {
    known_ms.saturating_mul(1000) >= length_ms.saturating_mul(KNOWN_PERMILLE)
}

fn widen(span: &mut Option<(f64, f64)>, value: f64) {
    *span = Some(match *span {
        None => (value, value),
        Some((low, high)) => (if value < low { value } else { low }, if value > high { value } else { high }),
    });
}

#[cfg(test)]
mod tests {
    use gateway_model::PointIx;

    use super::*;

    const START: i64 = 3_600_000;

    fn window(span_s: i64) -> Window {
        let mut window = Window::new(&WindowPlan { point: PointIx(0), span_ms: span_s * 1000 });
        window.begin(EngineTime(START), None);
        window
    }

    fn at(s: i64) -> EngineTime {
        EngineTime(START + s * 1000)
    }

    #[test]
    fn a_mean_counts_each_value_as_long_as_it_held() {
        let mut window = window(60);
        window.read(at(0), 10.0);
        window.read(at(30), 20.0);
        assert_eq!(window.ask(at(59), WindowFunction::Average), None, "not watched throughout yet");
        assert_eq!(window.ask(at(60), WindowFunction::Average), Some(15.0));
        assert_eq!(window.ask(at(60), WindowFunction::Minimum), Some(10.0));
        assert_eq!(window.ask(at(95), WindowFunction::Minimum), Some(20.0));
        assert_eq!(window.ask(at(95), WindowFunction::Average), Some(20.0));
    }

    #[test]
    fn what_is_shorter_than_half_of_a_window_does_not_move_its_median() {
        let mut window = window(300);
        for s in 0..30 {
            // A third of the time somebody stands in the light.
            window.read(at(s * 10), if s % 3 == 1 { 5.0 } else { 90.0 });
        }
        assert_eq!(window.ask(at(290), WindowFunction::Median), None, "not watched throughout yet");
        assert_eq!(window.ask(at(300), WindowFunction::Median), Some(90.0));
        assert_eq!(window.ask(at(300), WindowFunction::Average).map(f64::round), Some(62.0));
        for s in 30..46 {
            window.read(at(s * 10), 65.0);
        }
        assert_eq!(window.ask(at(460), WindowFunction::Median), Some(65.0), "160 of 300 s");
        window.hold(at(460), None);
        assert_eq!(window.ask(at(530), WindowFunction::Median), None, "too little of it is known");
    }

    #[test]
    fn half_a_window_says_nothing() {
        let mut window = window(60);
        window.read(at(0), 10.0);
        window.hold(at(40), None);
        assert_eq!(window.ask(at(62), WindowFunction::Maximum), None);
        assert_eq!(window.ask(at(62), WindowFunction::Count), Some(0.0));
        window.read(at(70), 12.0);
        assert_eq!(window.ask(at(120), WindowFunction::Maximum), Some(12.0));
    }

    #[test]
    fn a_counter_that_begins_anew_has_risen_by_what_it_shows() {
        let mut window = window(3600);
        for (s, value) in [(0, 100.0), (1000, 130.0), (2000, 4.0), (3000, 9.0)] {
            window.read(at(s), value);
        }
        assert_eq!(window.ask(at(3600), WindowFunction::Rate), Some(39.0));
        assert_eq!(window.ask(at(3600), WindowFunction::Count), Some(4.0));
        assert_eq!(window.ask(at(3660), WindowFunction::Count), Some(3.0), "the first has left");
        assert_eq!(window.ask(at(3660), WindowFunction::Sum), Some(143.0));
    }

    #[test]
    fn memory_is_bounded_however_long_it_runs() {
        let mut window = window(600);
        for s in 0..20_000 {
            window.read(at(s), f64::from(s as i32 % 7));
        }
        assert!(window.buckets.len() as i64 <= STEPS + 1, "{}", window.buckets.len());
        window.read(EngineTime(i64::MAX), 1.0);
        assert_eq!(window.ask(EngineTime(i64::MAX), WindowFunction::Count), Some(1.0));
    }

    #[test]
    fn what_was_added_up_before_is_the_same_to_the_last_bit() {
        let mut window = window(60);
        let mut n = 1_u32;
        for _ in 0..5_000 {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let now = window.upto.plus(i64::from(n >> 19));
            match n % 11 {
                0 => window.hold(now, None),
                _ => window.read(now, f64::from(n >> 8) / 977.0),
            }
            let plain = || {
                let mut plain = window.clone();
                plain.restore(window.state("p", &WindowPlan { point: PointIx(0), span_ms: 60_000 }));
                plain
            };
            for later in [0, 400, 1_700, 59_999] {
                for function in [
                    WindowFunction::Average,
                    WindowFunction::Minimum,
                    WindowFunction::Median,
                    WindowFunction::Sum,
                    WindowFunction::Rate,
                ] {
                    let asked = |window: &Window| window.ask(now.plus(later), function).map(f64::to_bits);
                    assert_eq!(asked(&window), asked(&plain()), "{function:?} {later} ms after {now:?}");
                }
                assert_eq!(window.next_look(now.plus(later)), plain().next_look(now.plus(later)));
            }
        }
    }

    #[test]
    fn no_answer_is_beyond_the_bounds() {
        let mut window = window(60);
        let (mut n, mut told) = (7_u32, 0);
        for _ in 0..20_000 {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let now = window.upto.plus(i64::from(n >> 22));
            match n % 23 {
                0 => window.hold(now, None),
                // Great and small, of both signs: where a sum loses most.
                1 => window.read(now, f64::from(n >> 8) * 1e9),
                _ => window.read(now, f64::from(n >> 16) / 977.0 - 33.0),
            }
            for later in [0, 400, 1_700, 59_999] {
                let now = now.plus(later);
                if n % 3 == 0 && later < 1_700 {
                    let state = |window: &Window| {
                        window.state("p", &WindowPlan { point: PointIx(0), span_ms: 60_000 })
                    };
                    let before = state(&window);
                    window.tidy(now);
                    assert_eq!(state(&window), before, "who looks changes nothing that is saved");
                }
                let Some((low, high)) = window.bounds(now) else { continue };
                told += 1;
                for function in [
                    WindowFunction::Average,
                    WindowFunction::Minimum,
                    WindowFunction::Maximum,
                    WindowFunction::Median,
                ] {
                    let answer = window.ask(now, function);
                    assert!(
                        answer.is_some_and(|value| low <= value && value <= high),
                        "{function:?} {answer:?}"
                    );
                }
            }
        }
        assert!(told > 20_000, "{told}");
    }

    #[test]
    fn a_window_with_one_value_in_it_needs_no_second_look() {
        let mut window = window(60);
        window.read(at(0), 5.0);
        assert!(window.next_look(at(10)).is_some());
        assert_eq!(window.next_look(at(120)), None);
        window.hold(at(130), None);
        assert!(window.next_look(at(130)).is_some());
        assert_eq!(window.next_look(at(300)), None);
    }
}

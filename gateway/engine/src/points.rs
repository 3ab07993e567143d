//! The last value of every point, and whether it may still be believed.
//!
//! - Good, and uncertain because of the clock, count as good: limits and durations run on engine time.
//! - Held (the source repeats an older value) counts as good until the point's maximum age after the last
//!   value that was *not* held: a repetition makes nothing younger. Where nothing else was ever seen, after
//!   the first held one.
//! - Anything older than the maximum age is stale, whether or not intake says so (a stale mark is a courtesy
//!   to readers of records). A maximum age of 0 or less means that the value never gets too old.
//! - Bad of cause *stuck* (it answers but does not move, `still.rs`) is bad like any other: no rule believes it.
//! - A stale mark changes a value's quality but not its stamp: a genuine answer stamped before the mark is
//!   not late.

use alloc::boxed::Box;
use alloc::vec::Vec;

use gateway_model::{
    EngineTime, Plan, PointIx, PointPlan, PointState, Quality, Raw, Reading, UncertainCause,
};

use crate::still::StillWatch;

/// What a value is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Rules and modules may judge by it.
    Good,
    /// It was good, and is too old.
    Stale,
    /// There is none.
    Bad,
}

/// What a reading changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Eaten {
    /// The class is another.
    pub(crate) class: bool,
    /// The class or the number is another.
    pub(crate) anything: bool,
}

/// One point's memory, with what of its plan every reading needs: a reading touches this and nothing far away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    gain: f64,
    offset: f64,
    max_age_ms: i64,
    pub(crate) last: Option<(EngineTime, Quality<Raw>)>,
    /// Stamp of the last value whose age counts.
    pub(crate) good_at: Option<EngineTime>,
    /// Since when the class is what it is.
    pub(crate) since: Option<EngineTime>,
    class: Class,
    /// The last number in the point's unit, believed or not.
    number: Option<f64>,
    /// How long it has stood still, where its plan watches for that.
    pub(crate) watch: Option<Box<StillWatch>>,
}

impl Point {
    pub(crate) fn new(plan: &PointPlan) -> Self {
        Self {
            gain: plan.gain,
            offset: plan.offset,
            max_age_ms: plan.max_age_ms,
            last: None,
            good_at: None,
            since: None,
            class: Class::Bad,
            number: None,
            watch: StillWatch::new(plan),
        }
    }

    pub(crate) fn restored(plan: &PointPlan, state: &PointState, now: EngineTime) -> Self {
        let mut point =
            Self { last: state.last, good_at: state.good_at, since: state.since, ..Self::new(plan) };
        if let Some(watch) = &mut point.watch {
            watch.still = state.still;
        }
        point.number = point.scaled();
        point.class = point.classify(now);
        point
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// The number, if rules and modules may judge by it.
    pub(crate) fn believed(&self) -> Option<f64> {
        self.number.filter(|_| self.class == Class::Good)
    }

    /// The last number, to be shown.
    pub(crate) fn number(&self) -> Option<f64> {
        self.number
    }

    /// Takes a reading in; `None` = late, never judged.
    pub(crate) fn eat(&mut self, reading: &Reading, now: EngineTime) -> Option<Eaten> {
        if self.last.is_some_and(|(last, _)| reading.at < last) {
            return None;
        }
        let mut stamp = reading.at;
        match reading.value {
            Quality::Good(_) | Quality::Uncertain(_, UncertainCause::Clock) => {
                self.good_at = Some(reading.at);
            }
            Quality::Uncertain(_, UncertainCause::Held) => {
                self.good_at.get_or_insert(reading.at);
            }
            Quality::Uncertain(_, UncertainCause::Stale) => {
                stamp = self.last.map_or(reading.at, |(last, _)| last);
            }
            Quality::Bad(_) => (),
        }
        self.last = Some((stamp, reading.value));
        if let Some(watch) = &mut self.watch {
            watch.eat(reading.at, reading.value);
        }
        let number = self.scaled();
        let moved = number != self.number;
        self.number = number;
        let class = self.refresh(now);
        Some(Eaten { class, anything: class || moved })
    }

    /// Looks at its age again; true if its class changed.
    pub(crate) fn refresh(&mut self, now: EngineTime) -> bool {
        let class = self.classify(now);
        let changed = class != self.class;
        if changed || self.since.is_none() {
            self.since = Some(now);
        }
        self.class = class;
        changed
    }

    /// When it will be too old, if it is not yet.
    pub(crate) fn stale_at(&self) -> Option<EngineTime> {
        let ages = self.max_age_ms > 0 && self.class == Class::Good;
        self.good_at.filter(|_| ages).map(|at| at.plus(self.max_age_ms))
    }

    pub(crate) fn state(&self, id: &str) -> PointState {
        let still = self.watch.as_ref().and_then(|watch| watch.still);
        PointState { id: id.into(), last: self.last, good_at: self.good_at, since: self.since, still }
    }

    fn scaled(&self) -> Option<f64> {
        self.last?.1.number()?.value(self.gain, self.offset)
    }

    fn classify(&self, now: EngineTime) -> Class {
        let fresh = self.max_age_ms <= 0 || self.good_at.is_some_and(|at| at.plus(self.max_age_ms) > now);
        match self.last {
            None | Some((_, Quality::Bad(_))) => Class::Bad,
            // Bits that are no finite number: nothing to believe.
            Some(_) if self.number.is_none() => Class::Bad,
            Some((_, Quality::Uncertain(_, UncertainCause::Stale))) => Class::Stale,
            Some((
                _,
                Quality::Good(_) | Quality::Uncertain(_, UncertainCause::Clock | UncertainCause::Held),
            )) => {
                if fresh {
                    Class::Good
                } else {
                    Class::Stale
                }
            }
        }
    }
}

/// All points, by slot. A slot that does not exist is a point without a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points(pub(crate) Vec<Point>);

impl Points {
    /// The points of a plan, nothing of which has been seen.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(plan.points.iter().map(Point::new).collect())
    }

    pub(crate) fn get(&self, point: PointIx) -> Option<&Point> {
        self.0.get(point.slot())
    }

    pub(crate) fn class(&self, point: PointIx) -> Class {
        self.get(point).map_or(Class::Bad, Point::class)
    }

    pub(crate) fn believed(&self, point: PointIx) -> Option<f64> {
        self.get(point).and_then(Point::believed)
    }

    pub(crate) fn number(&self, point: PointIx) -> Option<f64> {
        self.get(point).and_then(Point::number)
    }

    pub(crate) fn is_good(&self, point: PointIx) -> bool {
        self.class(point) == Class::Good
    }
}

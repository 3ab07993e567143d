//! What judging needs besides points and rules: windows over points, and when an institution is open.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{CivilTime, PointIx};

/// Windows, opening hours and the trial run of a site.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Judging {
    /// Windows, by slot; each once, whichever rules look through it.
    #[n(0)]
    pub windows: Vec<WindowPlan>,
    /// When the institution is open; `None` = nobody has said.
    #[n(1)]
    pub calendar: Option<CalendarPlan>,
    /// Trial run (试运行): alerts open no cases and are no proof.
    #[n(2)]
    pub trial: bool,
}

/// The last `span_ms` of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WindowPlan {
    /// Which point.
    #[n(0)]
    pub point: PointIx,
    /// How far back, ms.
    #[n(1)]
    pub span_ms: i64,
}

/// What is asked of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum WindowFunction {
    /// Mean over time: each value counts as long as it held.
    #[n(0)]
    Average,
    /// Lowest value that held.
    #[n(1)]
    Minimum,
    /// Highest value that held.
    #[n(2)]
    Maximum,
    /// Sum of the readings.
    #[n(3)]
    Sum,
    /// Number of readings.
    #[n(4)]
    Count,
    /// What a counter rose by, per hour; a fall is a counter that began anew.
    #[n(5)]
    Rate,
    /// Last believed number, if it is not older than the window.
    #[n(6)]
    Last,
    /// Time since the last believed number, ms.
    #[n(7)]
    Age,
    /// The value on either side of which it was for half of the time.
    #[n(8)]
    Median,
}

/// A question about opening hours. Unknown while civil time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum HoursQuestion {
    /// Open now?
    #[n(0)]
    Open,
    /// In a closure that was declared (停业、停诊报备)?
    #[n(1)]
    DeclaredClosed,
    /// Is it normal that everything is switched off now (按时关机)?
    #[n(2)]
    ExpectedOff,
}

/// When an institution is open, in local time through a table of UTC offsets.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct CalendarPlan {
    /// (from this civil time on, minutes east of UTC), ascending; the first also holds for all time before.
    #[n(0)]
    pub offsets: Vec<(CivilTime, i16)>,
    /// Open spans of a week in minutes since Monday 00:00 (0–10,080), from and to, ascending, not overlapping.
    #[n(1)]
    pub open: Vec<(u16, u16)>,
    /// Spans of a week in which everything may be switched off, as `open`.
    #[n(2)]
    pub off: Vec<(u16, u16)>,
    /// Days that are not like their weekday.
    #[n(3)]
    pub days: Vec<SpecialDays>,
    /// Closures known when the plan was made: from and to.
    #[n(4)]
    pub closures: Vec<(CivilTime, CivilTime)>,
    /// The table says nothing from here on; `None` = it holds for ever.
    #[n(5)]
    pub known_until: Option<CivilTime>,
}

/// Days that are not like their weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SpecialDays {
    /// First day: days since 1970-01-01, local.
    #[n(0)]
    pub first: i32,
    /// Last day, included.
    #[n(1)]
    pub last: i32,
    /// Works as this weekday (0 = Monday: 调休 make-up days); `None` = closed all day (public holidays).
    #[n(2)]
    pub like: Option<u8>,
}

/// A calibration certificate of a point.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Calibration {
    /// Number on the certificate.
    #[n(0)]
    pub certificate: String,
    /// Expanded uncertainty U, in the point's unit.
    #[n(1)]
    pub uncertainty: f64,
    /// Valid until.
    #[n(2)]
    pub until: CivilTime,
    /// Who calibrated it.
    #[n(3)]
    pub laboratory: Option<String>,
    /// When it was done.
    #[n(4)]
    pub done: Option<CivilTime>,
    /// Added to what the instrument says, in the point's unit; already in [`crate::PointPlan::offset`].
    #[n(5)]
    pub correction: Option<f64>,
    /// Coverage factor of U; 2 where it is not stated.
    #[n(6)]
    pub k: Option<f64>,
}

/// What is remembered of windows and of closures declared since the plan was made.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct JudgingState {
    /// Windows that have seen anything.
    #[n(0)]
    pub windows: Vec<WindowState>,
    /// Closures declared by the institution: from and to.
    #[n(1)]
    pub closures: Vec<(CivilTime, CivilTime)>,
}

/// A window's memory.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct WindowState {
    /// Its point: [`crate::PointPlan::id`].
    #[n(0)]
    pub point: String,
    /// [`WindowPlan::span_ms`].
    #[n(1)]
    pub span_ms: i64,
    /// Watched without a break since, ms of engine time.
    #[n(2)]
    pub since: i64,
    /// Up to here time is counted, ms of engine time.
    #[n(3)]
    pub upto: i64,
    /// The believed number that has held since.
    #[n(4)]
    pub value: Option<f64>,
    /// The last believed number, for counters.
    #[n(5)]
    pub counter: Option<f64>,
    /// Oldest first.
    #[n(6)]
    pub buckets: Vec<WindowBucket>,
    /// It is looked at again then, ms of engine time.
    #[n(7)]
    pub look: Option<i64>,
}

/// One step of a window.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct WindowBucket {
    /// Engine time ÷ width of a step.
    #[n(0)]
    pub n: i64,
    /// Milliseconds in which a number was believed.
    #[n(1)]
    pub known_ms: i64,
    /// Sum of number × milliseconds.
    #[n(2)]
    pub weighted: f64,
    /// Lowest and highest number that held.
    #[n(3)]
    pub span: Option<(f64, f64)>,
    /// Readings.
    #[n(4)]
    pub count: u32,
    /// Their sum.
    #[n(5)]
    pub sum: f64,
    /// What a counter rose by.
    #[n(6)]
    pub rise: f64,
}

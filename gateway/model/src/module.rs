//! Pure modules besides the heat cycle: what they compute from, and what they remember. Each has numbered
//! *outputs* that conditions read (see the constants of each plan), and some say *events*.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{DeviceIx, EngineTime, ModuleIx, PointIx};

/// Lamp hours and dose of an ultraviolet lamp, from its irradiance.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct DosePlan {
    /// Which device.
    #[n(0)]
    pub device: DeviceIx,
    /// Irradiance, in the point's unit.
    #[n(1)]
    pub irradiance: PointIx,
    /// Lit from this irradiance on, in the point's unit.
    #[n(2)]
    pub lit: f64,
    /// Not measured in the first so many ms of a session (lamps warm up).
    #[n(3)]
    pub warm_up_ms: i64,
    /// Values further apart than this leave time unseen, ms.
    #[n(4)]
    pub gap_ms: i64,
}

impl DosePlan {
    /// Output: hours lit since the counter began, h.
    pub const HOURS: u8 = 0;
    /// Output: how long the running session lasts, or the last one lasted, ms.
    pub const SESSION_MS: u8 = 1;
    /// Output: dose of that session, irradiance × s.
    pub const DOSE: u8 = 2;
    /// Output: lowest irradiance of that session after the warm-up.
    pub const LOWEST: u8 = 3;
    /// Output: 1 while lit and past the warm-up.
    pub const WARM: u8 = 4;
}

/// Did it really run? From an energy meter.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RunPlan {
    /// Which device.
    #[n(0)]
    pub device: DeviceIx,
    /// Its power, in the point's unit.
    #[n(1)]
    pub power: PointIx,
    /// Running from this power on.
    #[n(2)]
    pub running: f64,
    /// Values further apart than this leave time unseen, ms.
    #[n(3)]
    pub gap_ms: i64,
}

impl RunPlan {
    /// Output: hours run since the counter began, h.
    pub const HOURS: u8 = 0;
    /// Output: starts since the counter began.
    pub const STARTS: u8 = 1;
    /// Output: how long it has been running, ms; 0 while it is not.
    pub const RUNNING_MS: u8 = 2;
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Counted {
    /// Visits reported by any device.
    #[n(0)]
    Visits,
    /// Handpieces packed, reported by any device.
    #[n(1)]
    HandpiecesPacked,
    /// Passed cycles of a module.
    #[n(2)]
    CyclesPassed(#[n(0)] ModuleIx),
    /// Grams of waste labelled, reported by any device.
    #[n(3)]
    WasteGrams,
    /// The numbers that a point was sent, added up: occupied rooms of a day, cups taken out.
    #[n(4)]
    Readings(#[n(0)] PointIx),
    /// Days on which the institution was open at all.
    #[n(5)]
    OpenDays,
    /// Minutes in which a lamp or machine was on.
    #[n(6)]
    OnMinutes(#[n(0)] ModuleIx),
}

/// How much of one thing there is for another, over whole local days.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RatioPlan {
    /// Which device.
    #[n(0)]
    pub device: DeviceIx,
    /// Counted above the line.
    #[n(1)]
    pub of: Counted,
    /// Counted below the line.
    #[n(2)]
    pub to: Counted,
    /// Whole days, 1–62.
    #[n(3)]
    pub days: u16,
    /// Fewer below the line say nothing.
    #[n(4)]
    pub at_least: f64,
}

impl RatioPlan {
    /// Output: above ÷ below over the last whole days; unknown with too few of them, too few below the line, or
    /// while civil time is unknown.
    pub const RATIO: u8 = 0;
    /// Output: counted above the line.
    pub const OF: u8 = 1;
    /// Output: counted below the line.
    pub const TO: u8 = 2;
}

/// A duty that comes again: B-D test, biological monitoring, calibration, lamp cleaning.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct DutyPlan {
    /// Which device.
    #[n(0)]
    pub device: DeviceIx,
    /// `bowie-dick`, `biological`, …: what an entry names.
    #[n(1)]
    pub duty: String,
    /// Due again so long after it was done, ms.
    #[n(2)]
    pub every_ms: i64,
    /// Only time in which the institution is open counts.
    #[n(3)]
    pub open_time: bool,
}

impl DutyPlan {
    /// Output: how long it has been due, ms; negative = due in so long.
    pub const OVERDUE_MS: u8 = 0;
    /// Output: 1 if it was last done with a good result, 0 if with a bad one.
    pub const PASSED: u8 = 1;
}

/// Every bag of waste from its label to its hand-over.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct WastePlan {
    /// The scale whose weighings are about the next label.
    #[n(0)]
    pub scale: Option<DeviceIx>,
    /// The feed of labels and hand-overs.
    #[n(1)]
    pub feed: DeviceIx,
    /// Weights may differ by this between links, g …
    #[n(2)]
    pub tolerance_g: i64,
    /// … or by this, ‰, whichever is more.
    #[n(3)]
    pub tolerance_permille: u16,
    /// The same between scales of different houses (the receipt of who disposes of it), ‰.
    #[n(4)]
    pub other_permille: Option<u16>,
    /// A larger difference is said to be lost weight, g.
    #[n(5)]
    pub great_g: Option<i64>,
    /// What lies on the scale, kg, where it is read.
    #[n(6)]
    pub net: Option<PointIx>,
    /// It has come to rest.
    #[n(7)]
    pub stable: Option<PointIx>,
    /// A division of the scales, g: what differs by less than three of them is their rounding.
    #[n(8)]
    pub division_g: Option<i64>,
}

impl WastePlan {
    /// Output: time since the oldest bag that is here was labelled, ms; 0 with none.
    pub const OLDEST_MS: u8 = 0;
    /// Output: bags in the store.
    pub const BAGS: u8 = 1;
    /// Output: their weight, g.
    pub const GRAMS: u8 = 2;
    /// Output: time since the oldest bag that was never stored was labelled, ms; unknown until anything is stored.
    pub const AT_SOURCE_MS: u8 = 3;
    /// Output: time since the bag left that nobody has received for longest, ms; unknown until anything is received.
    pub const ON_THE_ROAD_MS: u8 = 4;
    /// Output: time in which nothing was removed although something is here, ms.
    pub const UNREMOVED_MS: u8 = 5;
}

/// What a module says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ModuleEvent {
    /// A label that is in the store, or left it within a week, was given again.
    #[n(0)]
    DuplicateLabel,
    /// A bag was handed over that has no label here.
    #[n(1)]
    UnknownLabel,
    /// The bags of a hand-over weigh something else than their labels.
    #[n(2)]
    WeightDiffers,
    /// A duty was done with a bad result.
    #[n(3)]
    DutyFailed,
    /// Bags that were here were passed over by two hand-overs.
    #[n(4)]
    Vanished,
    /// A label names a category that is not in the catalogue.
    #[n(5)]
    UnknownCategory,
    /// A cycle was not measured: nobody knows whether it was good.
    #[n(7)]
    CycleUnmeasured,
    /// As [`Self::WeightDiffers`], by more than [`WastePlan::great_g`].
    #[n(6)]
    WeightLost,
    /// A cycle was stopped before its hold: what is in it is as it was.
    #[n(8)]
    CycleAborted,
}

/// A counter of time that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct MeterState {
    /// On in all, ms.
    #[n(0)]
    pub on_ms: i64,
    /// Times it went on.
    #[n(1)]
    pub starts: u32,
    /// On since, while it is on.
    #[n(2)]
    pub since: Option<EngineTime>,
    /// Last believed value: when and what.
    #[n(3)]
    pub last: Option<(EngineTime, f64)>,
    /// Length of the running or last session, ms.
    #[n(4)]
    pub session_ms: i64,
    /// Value × s of that session.
    #[n(5)]
    pub dose: f64,
    /// Lowest value of that session after the warm-up.
    #[n(6)]
    pub lowest: Option<f64>,
}

/// A count per local day.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct DayCount {
    /// Days since 1970-01-01, local.
    #[n(0)]
    pub day: i32,
    /// Above the line.
    #[n(1)]
    pub of: f64,
    /// Below the line.
    #[n(2)]
    pub to: f64,
}

/// A bag of waste.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BagState {
    /// Its label.
    #[n(0)]
    pub label: String,
    /// When it was labelled.
    #[n(1)]
    pub at: EngineTime,
    /// Weight on the label, g.
    #[n(2)]
    pub grams: i64,
    /// When it was handed over; kept for a week, so that its label is not given twice.
    #[n(3)]
    pub gone: Option<EngineTime>,
    /// Category code of its label.
    #[n(4)]
    pub category: String,
    /// Where it was filled.
    #[n(5)]
    pub department: String,
    /// What the scale said, g.
    #[n(6)]
    pub weighed_g: Option<i64>,
    /// When it was put into the store.
    #[n(7)]
    pub stored: Option<EngineTime>,
    /// When who disposes of it received it.
    #[n(8)]
    pub received: Option<EngineTime>,
    /// Hand-overs that passed over it after the first that could have taken it.
    #[n(9)]
    pub passed_over: u8,
    /// Weight of what its label was given to again, g: another bag, or the same one entered twice.
    #[n(10)]
    pub again_g: i64,
}

impl BagState {
    /// A bag that has just got its label.
    pub fn new(label: &str, category: &str, department: &str, grams: i64, at: EngineTime) -> Self {
        Self {
            label: label.into(),
            at,
            grams,
            gone: None,
            category: category.into(),
            department: department.into(),
            weighed_g: None,
            stored: None,
            received: None,
            passed_over: 0,
            again_g: 0,
        }
    }
}

/// The ledger's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct WasteState {
    /// Bags in the store and those that left it within a week, in the order of their labels' times.
    #[n(0)]
    pub bags: Vec<BagState>,
    /// Storing is entered at this institution.
    #[n(1)]
    pub stores: bool,
    /// Receipts are entered at this institution.
    #[n(2)]
    pub receives: bool,
    /// What last lay on the scale, g, until a label was given.
    #[n(3)]
    pub weighing: Option<(EngineTime, i64)>,
    /// When anything was last removed.
    #[n(4)]
    pub removed: Option<EngineTime>,
}

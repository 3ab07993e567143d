//! The engine's whole state: what a checkpoint holds. At most 8 MiB encoded.
//!
//! Keyed by ids, not slots, so that a changed plan can take it over (T19, T23).

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{
    AlertId, ClockSource, DayCount, EngineTime, Epoch, HandlingState, JudgingState, MeterState, Quality, Raw,
    Regions, WasteState,
};

/// Everything the engine remembers.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct State {
    /// [`crate::SEMANTICS`] of the engine that saved it.
    #[n(0)]
    pub semantics: u16,
    /// Engine time when it was saved.
    #[n(1)]
    pub now: EngineTime,
    /// Epoch of the last start.
    #[n(2)]
    pub epoch: Epoch,
    /// Number of the next alert in that epoch.
    #[n(3)]
    pub next_alert: u32,
    /// What is known of civil time.
    #[n(4)]
    pub clock: ClockState,
    /// Per point.
    #[n(5)]
    pub points: Vec<PointState>,
    /// Per rule.
    #[n(6)]
    pub rules: Vec<RuleState>,
    /// Per module.
    #[n(7)]
    pub modules: Vec<ModuleState>,
    /// Windows and declared closures, where there are any.
    #[n(8)]
    pub judging: Option<JudgingState>,
}

/// What is known of civil time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ClockState {
    /// Civil − engine, ms.
    #[n(0)]
    pub offset_ms: i64,
    /// `None` = not known.
    #[n(1)]
    pub error_ms: Option<i64>,
    /// Where from; `None` = nothing has been said yet.
    #[n(2)]
    pub source: Option<ClockSource>,
}

/// The last reading of a point.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PointState {
    /// [`crate::PointPlan::id`].
    #[n(0)]
    pub id: String,
    /// Its last reading that was not late. A stale mark changes its quality, never its stamp.
    #[n(1)]
    pub last: Option<(EngineTime, Quality<Raw>)>,
    /// The last time it had a number that could be believed.
    #[n(2)]
    pub good_at: Option<EngineTime>,
    /// Since when its quality has been of its present kind (good, stale, bad).
    #[n(3)]
    pub since: Option<EngineTime>,
    /// How long it has stood still, where its plan watches for that.
    #[n(4)]
    pub still: Option<Still>,
}

/// A stretch in which a point has not moved by more than its noise.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct Still {
    /// Where it stands: the first value of the stretch.
    #[n(0)]
    pub value: Raw,
    /// Since when.
    #[n(1)]
    pub since: EngineTime,
    /// Since when nothing has been heard of it, if it is silent now.
    #[n(2)]
    pub silent: Option<EngineTime>,
}

/// One rule on one subject.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RuleState {
    /// [`crate::RulePlan::id`].
    #[n(0)]
    pub rule: String,
    /// [`crate::DevicePlan::id`].
    #[n(1)]
    pub subject: String,
    /// Hash of what the rule says; another hash supersedes its open alerts (T23).
    #[n(2)]
    pub fingerprint: u64,
    /// The condition's own life; events have none.
    #[n(3)]
    pub alert: AlertState,
    /// Open events, oldest first.
    #[n(4)]
    pub events: Vec<EventState>,
    /// Occurrences that returned to normal but were never acknowledged (T13: an old one stays until it is).
    #[n(5)]
    pub unacked: Vec<OccurrenceState>,
    /// Its handling, where the rule has one.
    #[n(6)]
    pub handling: Option<HandlingState>,
}

/// A condition's life at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct AlertState {
    /// Its regions.
    #[n(0)]
    pub regions: Regions,
    /// Since when the current process region holds.
    #[n(1)]
    pub since: EngineTime,
    /// When the running delay ends.
    #[n(2)]
    pub due: Option<EngineTime>,
    /// The current occurrence, while one is open.
    #[n(3)]
    pub occurrence: Option<OccurrenceState>,
    /// Pendings that never became alerts.
    #[n(4)]
    pub fleeting: u32,
    /// Times it came back within the off-delay in this occurrence.
    #[n(5)]
    pub chatter: u32,
}

/// One occurrence and its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct OccurrenceState {
    /// Its id.
    #[n(0)]
    pub alert: AlertId,
    /// Number of its last event.
    #[n(1)]
    pub event: u32,
    /// Since when the condition held.
    #[n(2)]
    pub since: EngineTime,
}

/// An open event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct EventState {
    /// Its occurrence.
    #[n(0)]
    pub occurrence: OccurrenceState,
    /// Its regions.
    #[n(1)]
    pub regions: Regions,
    /// When it lapses.
    #[n(2)]
    pub lapses: EngineTime,
}

/// A module's memory.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[expect(clippy::large_enum_variant, reason = "a handful of modules per site, most of them heat cycles")]
pub enum ModuleState {
    /// Of a heat cycle.
    #[n(0)]
    HeatCycle {
        /// Device id of the module.
        #[n(0)]
        device: String,
        /// Number of the next cycle.
        #[n(1)]
        next: u32,
        /// The running cycle.
        #[n(2)]
        running: Option<CycleState>,
        /// The program it is judged against: [`crate::HeatProgram::id`].
        #[n(3)]
        program: String,
    },
    /// Of a lamp or a machine that runs or not.
    #[n(1)]
    Meter {
        /// Device id of the module.
        #[n(0)]
        device: String,
        /// The counter.
        #[n(1)]
        meter: MeterState,
    },
    /// Of a ratio.
    #[n(2)]
    Ratio {
        /// Device id of the module.
        #[n(0)]
        device: String,
        /// What is counted: as text, so that another ratio of the device is another.
        #[n(1)]
        what: String,
        /// Oldest first.
        #[n(2)]
        days: Vec<DayCount>,
    },
    /// Of a duty.
    #[n(3)]
    Duty {
        /// Device id of the module.
        #[n(0)]
        device: String,
        /// [`crate::DutyPlan::duty`].
        #[n(1)]
        duty: String,
        /// When it was last done, and with what result.
        #[n(2)]
        done: Option<(EngineTime, bool)>,
        /// It counts from here as long as it was never done.
        #[n(3)]
        since: Option<EngineTime>,
        /// Good results since the last bad one; `None` = no bad one is known.
        #[n(4)]
        good_since_bad: Option<u16>,
    },
    /// Of the ledger.
    #[n(4)]
    Waste {
        /// Device id of the module.
        #[n(0)]
        device: String,
        /// The ledger.
        #[n(1)]
        waste: WasteState,
    },
}

/// Where a running cycle stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Above the start temperature, set temperature not reached.
    #[n(0)]
    Heating,
    /// At or above it.
    #[n(1)]
    Holding,
    /// Below it for less than the tolerated dip.
    #[n(2)]
    Dipping,
    /// The hold is over; waiting for the end.
    #[n(3)]
    Cooling,
}

/// A running cycle.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct CycleState {
    /// Where it stands.
    #[n(0)]
    pub phase: Phase,
    /// Heating began.
    #[n(1)]
    pub started: EngineTime,
    /// Start of the current hold.
    #[n(2)]
    pub hold_from: Option<EngineTime>,
    /// Last moment at or above the set temperature in the current hold.
    #[n(3)]
    pub hold_to: Option<EngineTime>,
    /// Lowest and highest in the current hold, °C.
    #[n(4)]
    pub hold_span: Option<(f64, f64)>,
    /// The door was opened in the current hold.
    #[n(5)]
    pub hold_door: bool,
    /// The best hold so far: (from, to, lowest, highest, door opened).
    #[n(6)]
    pub best: Option<(EngineTime, EngineTime, f64, f64, bool)>,
    /// Highest temperature so far, °C.
    #[n(7)]
    pub peak_c: f64,
    /// Since when below the end temperature.
    #[n(8)]
    pub below_since: Option<EngineTime>,
    /// Last good temperature reading.
    #[n(9)]
    pub seen_at: EngineTime,
    /// Milliseconds not measured so far.
    #[n(10)]
    pub unseen_ms: i64,
    /// While dipping: first moment below the set temperature, and the lowest since, °C.
    #[n(11)]
    pub dip: Option<(EngineTime, f64)>,
    /// What else is measured, where the program asks for it.
    #[n(12)]
    pub measures: Option<HeatMeasures>,
    /// How it heats, where stopped cycles are told apart.
    #[n(13)]
    pub start: Option<HeatStart>,
}

/// How a cycle heats up to its hold.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct HeatStart {
    /// It began then, at so many °C.
    #[n(0)]
    pub first: (EngineTime, f64),
    /// The last step upwards: when, and to what, °C.
    #[n(1)]
    pub step: (EngineTime, f64),
    /// How fast that step was, K per ms; `None` = there was none.
    #[n(2)]
    pub rate: Option<f64>,
    /// Last believed temperature: when, and °C.
    #[n(3)]
    pub last: (EngineTime, f64),
    /// The door contact said last that it is shut.
    #[n(4)]
    pub shut: bool,
    /// The heater's power was on last.
    #[n(5)]
    pub heating: bool,
    /// It was stopped.
    #[n(6)]
    pub stop: Option<HeatStop>,
}

/// What stopped a cycle before its hold.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct HeatStop {
    /// When.
    #[n(0)]
    pub at: EngineTime,
    /// At what temperature, °C.
    #[n(1)]
    pub celsius: f64,
    /// The heater went off; false = the door was opened.
    #[n(2)]
    pub power: bool,
}

/// What is measured of a cycle besides temperature and time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct HeatMeasures {
    /// F0 so far, min.
    #[n(0)]
    pub f0_min: f64,
    /// A0 so far, s.
    #[n(1)]
    pub a0_s: f64,
    /// Last believed temperature, °C: what the next stretch of time begins with.
    #[n(2)]
    pub last_c: f64,
    /// Largest difference between probes in the current hold, K.
    #[n(3)]
    pub spread_k: Option<f64>,
    /// Largest difference from saturated steam in the current hold, K.
    #[n(4)]
    pub saturation_k: Option<f64>,
    /// Of the best hold so far: the two above.
    #[n(5)]
    pub best: Option<(Option<f64>, Option<f64>)>,
}

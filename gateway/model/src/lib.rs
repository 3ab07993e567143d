//! The nouns of Nonsite: what a reading, a rule, an alert and a plan *are*.
//!
//! Plain values shared by the two machines that decide (`gateway-engine`, `center-casebook`) and the shells
//! around them. Nothing here decides, waits, reads a clock or does I/O; nothing here needs `std`.
//!
//! Types that travel in signed records carry their CBOR field numbers (`#[n(…)]`, arrays in that order).
//! A released number never changes its meaning; new fields get new numbers at the end and are optional
//! (`docs/decisions/0002-field-numbers-on-the-nouns.md`).
#![no_std]

extern crate alloc;

mod alert;
mod conclusion;
mod configuration;
mod device_fact;
mod handling;
mod id;
mod input;
mod judging;
mod module;
mod plan;
mod program;
mod quality;
mod raw;
mod state;
mod storage;
mod text;
mod time;
mod unit;

pub use alert::{
    About, AckRegion, AlertChange, Change, ClearCause, LatchRegion, ProcessRegion, QualityRegion, Regions,
    Shown, Suppression,
};
pub use conclusion::{
    Conclusion, ConclusionBody, Cycle, CycleMeasured, CycleOutcome, CycleVerdict, Gap, GapCause, OrderOutcome,
};
pub use configuration::{ConfigChange, ConfigStep};
pub use device_fact::{Acceptance, Compared, Counters, DeviceFact, Photo};
pub use handling::{
    AggravatePlan, AggravatedBy, AlertDetail, ChatterPlan, EscalatePlan, EscalationCause, Handling,
    HandlingState, PatiencePlan, ProvablePlan, ShownPlan, StepPlan, SuppressionChange, SuppressionEvent,
    WindowEnd,
};
pub use id::{
    AlertId, Cursor, DeviceIx, Epoch, GatewayId, InstitutionId, ModuleIx, PointIx, RuleIx, Seq, SiteId,
};
pub use input::{
    ClockInput, ClockSource, Command, CommandBody, Fact, FactBody, Input, PointCounts, Reading, StartCause,
    StartInput, StopCause,
};
pub use judging::{
    CalendarPlan, Calibration, HoursQuestion, Judging, JudgingState, SpecialDays, WindowBucket,
    WindowFunction, WindowPlan, WindowState,
};
pub use module::{
    BagState, Counted, DayCount, DosePlan, DutyPlan, MeterState, ModuleEvent, RatioPlan, RunPlan, WastePlan,
    WasteState,
};
pub use plan::{
    Criterion, DevicePlan, First, HeatCriteria, HeatCyclePlan, HeatProbes, HeatProgram, HeatStopPlan,
    ModulePlan, PackRef, Plan, PointPlan, Priority, RuleKind, RulePlan, RuleText, Stuck, VerifyPlan,
};
pub use program::{Op, Program};
pub use quality::{BadCause, Quality, UncertainCause};
pub use raw::Raw;
pub use state::{
    AlertState, ClockState, CycleState, EventState, HeatMeasures, HeatStart, HeatStop, ModuleState,
    OccurrenceState, Phase, PointState, RuleState, State, Still,
};
pub use storage::{Folded, Storage, StorageState};
pub use text::Text;
pub use time::{CivilTime, EngineTime};
pub use unit::{Dimension, Unit};

/// The behaviour of `gateway-engine` that a record was made with. A change that alters any conclusion raises
/// it and keeps the old path for every number ever released.
pub const SEMANTICS: u16 = 1;

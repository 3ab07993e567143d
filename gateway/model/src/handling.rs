//! What becomes of an alert while it is open: steps of priority, proof, reminders, pauses, whose turn it is.
//!
//! A rule without [`Handling`] is raised and cleared and nothing else.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{AlertId, CivilTime, EngineTime, PointIx, Priority, Program, RuleIx, Suppression, Unit};

/// What else a rule asks for.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Handling {
    /// Steps above the rule's own priority, mildest first (HI → HIHI).
    #[n(0)]
    pub steps: Vec<StepPlan>,
    /// True = beyond the limit by the expanded uncertainty of the point: the violation is provable.
    #[n(1)]
    pub provable: Option<ProvablePlan>,
    /// True = not reminded by rule (T17).
    #[n(2)]
    pub suppressed: Option<Program>,
    /// Sleeps when the institution is closed or switched off: delays stand still, what is open is not reminded.
    #[n(3)]
    pub sleeps: bool,
    /// Reminded anew after so long while active, ms (T12).
    #[n(4)]
    pub re_alarm_ms: Option<i64>,
    /// When it becomes a supervisor's item.
    #[n(5)]
    pub escalate: Option<EscalatePlan>,
    /// Coalesced when it comes and goes too often (T26).
    #[n(6)]
    pub chatter: Option<ChatterPlan>,
    /// Reminders can be paused for at most so long, ms (T14).
    #[n(7)]
    pub pause_max_ms: i64,
    /// What makes an open event worse.
    #[n(8)]
    pub aggravate: Option<AggravatePlan>,
    /// Not judged at all, by the site file (T24).
    #[n(9)]
    pub disabled: bool,
    /// The value shown, where it is not that of a point.
    #[n(10)]
    pub shown: Option<ShownPlan>,
    /// One cause, one case: at the center its alerts join the case of this rule ([`crate::RulePlan::id`]) of the same device.
    #[n(11)]
    pub joins: Option<String>,
    /// A condition's on-delay is longer where there is an excuse for it.
    #[n(12)]
    pub patience: Option<PatiencePlan>,
}

/// A longer on-delay after something that explains the condition for a while: a door that was open, a defrost.
///
/// It is counted from where the condition began, so that an excuse that never ends delays an alert and hides none.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PatiencePlan {
    /// Asked when the rule's own on-delay has elapsed; true = excused.
    #[n(0)]
    pub when: Program,
    /// The on-delay then, ms.
    #[n(1)]
    pub on_delay_ms: i64,
}

/// A step of priority above a condition's own.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct StepPlan {
    /// True = this step is reached.
    #[n(0)]
    pub when: Program,
    /// How urgent then.
    #[n(1)]
    pub priority: Priority,
    /// It must hold for so long, ms.
    #[n(2)]
    pub hold_ms: i64,
    /// The limit shown with it.
    #[n(3)]
    pub limit: Option<f64>,
}

/// When a violation is provable.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ProvablePlan {
    /// The condition with every limit moved away from normal by the expanded uncertainty of its point.
    #[n(0)]
    pub when: Program,
    /// The first of the calibrations ends here: afterwards nothing is provable.
    #[n(1)]
    pub until: CivilTime,
}

/// A computed value to be shown with an alert.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ShownPlan {
    /// Leaves one number.
    #[n(0)]
    pub value: Program,
    /// In this unit.
    #[n(1)]
    pub unit: Unit,
}

/// When an alert becomes a supervisor's item although somebody else is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct EscalatePlan {
    /// After so long unsolved, ms; `None` = never by time.
    #[n(0)]
    pub after_ms: Option<i64>,
    /// Only time in which the institution is open counts.
    #[n(1)]
    pub open_time: bool,
    /// On the nth occurrence within so many ms.
    #[n(2)]
    pub repeated: Option<(u32, i64)>,
    /// The window ends with a day of the institution's calendar; `after_ms` counts where nobody can say what day it is.
    #[n(3)]
    pub ends: Option<WindowEnd>,
}

/// A window that ends when the institution closes.
///
/// A *working day* is a local day on which it opens at all: by its opening hours, holidays and make-up days, declared closures
/// taken out. A day ends at its last closing; that of an institution which is open over midnight at midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WindowEnd {
    /// The day in which it was raised; where it was closed for the day by then, or closes within the hour, the next working day.
    #[n(0)]
    Day,
    /// The nth working day after the day in which it was raised, which does not count.
    #[n(1)]
    WorkingDays(#[n(0)] u16),
}

/// What is too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ChatterPlan {
    /// So many activations …
    #[n(0)]
    pub activations: u32,
    /// … within so many ms; as long again must be quiet before it may clear.
    #[n(1)]
    pub within_ms: i64,
}

/// What makes an open event worse: something is used although it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AggravatePlan {
    /// By what.
    #[n(0)]
    pub by: AggravatedBy,
    /// How urgent then.
    #[n(1)]
    pub priority: Priority,
    /// Not before so long after the event began, ms: until then what is used comes from before it.
    #[n(2)]
    pub after_ms: Option<i64>,
}

/// What can make an open event worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum AggravatedBy {
    /// A visit that any device of the site reports.
    #[n(0)]
    Visit,
    /// Any believed number above 0 of a point (cups taken out, handpieces used).
    #[n(1)]
    Point(#[n(0)] PointIx),
}

/// What is said of an alert besides its regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct AlertDetail {
    /// Step of priority reached: 0 = the rule's own, 1 = the first of [`Handling::steps`] …
    #[n(0)]
    pub step: u8,
    /// Beyond the limit by more than the uncertainty at some moment of this occurrence.
    #[n(1)]
    pub provable: bool,
    /// Raised in a trial run.
    #[n(2)]
    pub trial: bool,
    /// Activations that were not told one by one.
    #[n(3)]
    pub folded: u32,
    /// It is, or has been, a supervisor's item.
    #[n(4)]
    pub escalated: bool,
}

/// Why it is a supervisor's item now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EscalationCause {
    /// The window of whoever is first ended with it unsolved.
    #[n(0)]
    Unsolved,
    /// It was the nth within a period.
    #[n(1)]
    Repeated,
    /// It got worse.
    #[n(2)]
    Aggravated,
}

/// The suppression of a rule changed, whether or not an alert of it is open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SuppressionChange {
    /// Which rule.
    #[n(0)]
    pub rule: RuleIx,
    /// What happened.
    #[n(1)]
    pub change: SuppressionEvent,
    /// The region after it.
    #[n(2)]
    pub suppression: Suppression,
    /// Ends by itself then.
    #[n(3)]
    pub until: Option<EngineTime>,
    /// Who asked for it, and why.
    #[n(4)]
    pub by: Option<(String, String)>,
}

/// What happened to a suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum SuppressionEvent {
    /// T14, T15: reminders are paused.
    #[n(0)]
    Paused,
    /// T16: by a person.
    #[n(1)]
    Resumed,
    /// T16: the time was over, or a pause for one occurrence ended with it.
    #[n(2)]
    PauseEnded,
    /// T17: on.
    #[n(3)]
    SuppressedByDesign,
    /// T17: off.
    #[n(4)]
    ReleasedByDesign,
    /// T18: out.
    #[n(5)]
    OutOfService,
    /// T18: back, or the permit ended.
    #[n(6)]
    BackInService,
}

/// What is remembered of a rule's handling.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct HandlingState {
    /// A pause ends then; true = also when the condition returns.
    #[n(0)]
    pub paused: Option<(EngineTime, bool)>,
    /// A permit to be out of service ends then.
    #[n(1)]
    pub out_of_service: Option<EngineTime>,
    /// What is said of the current occurrence.
    #[n(2)]
    pub detail: AlertDetail,
    /// A higher step holds; it is reached then.
    #[n(3)]
    pub rising: Option<(u8, EngineTime)>,
    /// Reminded anew then.
    #[n(4)]
    pub re_alarm: Option<EngineTime>,
    /// Windows of whoever is first: (alert, from when, until when).
    #[n(5)]
    pub windows: Vec<(AlertId, EngineTime, EngineTime)>,
    /// Last activations, oldest first.
    #[n(6)]
    pub activations: Vec<EngineTime>,
    /// It comes and goes too often; the last time it did.
    #[n(7)]
    pub chattering: Option<EngineTime>,
    /// When it was raised before, oldest first, within the period of [`EscalatePlan::repeated`].
    #[n(8)]
    pub raised: Vec<EngineTime>,
    /// Open events that have been made worse.
    #[n(9)]
    pub aggravated: Vec<AlertId>,
    /// Alerts that are supervisors' items.
    #[n(10)]
    pub escalated: Vec<AlertId>,
    /// Sleeps now: closed or switched off on schedule.
    #[n(11)]
    pub asleep: bool,
    /// While asleep: so much of its delay is left, ms.
    #[n(12)]
    pub left_ms: Option<i64>,
    /// Reminders of the current occurrence so far.
    #[n(13)]
    pub reminders: u32,
}

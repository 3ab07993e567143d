//! An alert's five regions and how they change.
//!
//! After OPC UA Part 9 and ISA-18.2 / IEC 62682 (where they say *alarm* we say *alert*); transitions T1–T26
//! are tabled in ARCHITECTURE.md.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{AlertDetail, AlertId, EngineTime, EscalationCause, RuleIx};

/// P: does the condition hold?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum ProcessRegion {
    /// It does not.
    #[default]
    #[n(0)]
    Normal,
    /// It does, and the on-delay runs.
    #[n(1)]
    Pending,
    /// It has held for the on-delay.
    #[n(2)]
    Active,
    /// It no longer does, and the off-delay runs.
    #[n(3)]
    Clearing,
}

/// L: stays listed until reset, for rules marked latching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum LatchRegion {
    /// Not latched.
    #[default]
    #[n(0)]
    Unlatched,
    /// Latched.
    #[n(1)]
    Latched,
}

/// A: has a person at the center received it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum AckRegion {
    /// Received, or nothing to receive.
    #[default]
    #[n(0)]
    Acked,
    /// Waiting.
    #[n(1)]
    Unacked,
}

/// Q: can the condition be judged?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum QualityRegion {
    /// It can.
    #[default]
    #[n(0)]
    Good,
    /// The last value is too old.
    #[n(1)]
    Stale,
    /// There is no value.
    #[n(2)]
    Bad,
    /// Values are there, but an unknown operand decides the result.
    #[n(3)]
    Unevaluable,
}

/// S: why nobody is reminded. More than one cause may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Suppression {
    /// Reminders paused by a person, for a time.
    #[n(0)]
    pub shelved: bool,
    /// Not reminded by rule.
    #[n(1)]
    pub by_design: bool,
    /// Under a maintenance permit.
    #[n(2)]
    pub out_of_service: bool,
}

/// The five regions of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Regions {
    /// P.
    #[n(0)]
    pub process: ProcessRegion,
    /// L.
    #[n(1)]
    pub latch: LatchRegion,
    /// A.
    #[n(2)]
    pub ack: AckRegion,
    /// S.
    #[n(3)]
    pub suppression: Suppression,
    /// Q.
    #[n(4)]
    pub quality: QualityRegion,
}

/// What a person is shown for some regions; derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    /// On no list.
    Normal,
    /// Active, nobody has received it.
    Unacknowledged,
    /// Active, received.
    Acknowledged,
    /// Returned to normal before anybody received it.
    ReturnedUnacknowledged,
    /// Over, kept listed until reset.
    Latched,
    /// Reminders paused.
    Shelved,
    /// Not reminded by rule.
    SuppressedByDesign,
    /// Under maintenance.
    OutOfService,
}

impl Regions {
    /// The display state of the table in `alerts.md` §1.1 (ISA-18.2 letters A–G).
    pub fn shown(&self) -> Shown {
        if self.suppression.out_of_service {
            return Shown::OutOfService;
        }
        if self.suppression.by_design {
            return Shown::SuppressedByDesign;
        }
        if self.suppression.shelved {
            return Shown::Shelved;
        }
        match (self.process, self.latch, self.ack) {
            (ProcessRegion::Active | ProcessRegion::Clearing, _, AckRegion::Unacked) => Shown::Unacknowledged,
            (ProcessRegion::Active | ProcessRegion::Clearing, _, AckRegion::Acked) => Shown::Acknowledged,
            (ProcessRegion::Normal | ProcessRegion::Pending, LatchRegion::Latched, _) => Shown::Latched,
            (ProcessRegion::Normal | ProcessRegion::Pending, LatchRegion::Unlatched, AckRegion::Unacked) => {
                Shown::ReturnedUnacknowledged
            }
            (ProcessRegion::Normal | ProcessRegion::Pending, LatchRegion::Unlatched, AckRegion::Acked) => {
                Shown::Normal
            }
        }
    }
}

/// One change of one alert: the events of its life are numbered from 1 without holes.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct AlertChange {
    /// Which occurrence.
    #[n(0)]
    pub alert: AlertId,
    /// Number of this change in the life of `alert`, from 1.
    #[n(1)]
    pub event: u32,
    /// The rule, in the plan of the record's config; `None` = that plan no longer has it (the alert is over:
    /// superseded).
    #[n(2)]
    pub rule: Option<RuleIx>,
    /// What changed.
    #[n(3)]
    pub change: Change,
    /// The regions after it.
    #[n(4)]
    pub regions: Regions,
    /// Value of the rule's shown point when it happened, in its unit.
    #[n(5)]
    pub value: Option<f64>,
    /// The limit it was judged against, in the same unit.
    #[n(6)]
    pub limit: Option<f64>,
    /// Since when the condition has held (start of the on-delay), or the span it describes began.
    #[n(7)]
    pub since: Option<EngineTime>,
    /// What else is said of it, where its rule has a [`crate::Handling`].
    #[n(8)]
    pub detail: Option<AlertDetail>,
    /// Told when it is raised, where the rule is about things that have names.
    #[n(9)]
    pub about: Option<About>,
}

/// What an alert is about, by the names that people see on the things: the labels of waste bags.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct About {
    /// The first of them, at most [`Self::LABELS_MAX`], in the order in which they were registered or named.
    #[n(0)]
    pub labels: Vec<String>,
    /// How many more there are.
    #[n(1)]
    pub more: u32,
}

impl About {
    /// So many are told by name: enough to go and look for them, and little in a record.
    pub const LABELS_MAX: usize = 8;

    /// `None` of nothing.
    pub fn labels<'l>(labels: impl IntoIterator<Item = &'l str>) -> Option<Self> {
        let mut about = Self { labels: Vec::new(), more: 0 };
        for label in labels {
            if about.labels.len() < Self::LABELS_MAX {
                about.labels.push(label.into());
            } else {
                about.more = about.more.saturating_add(1);
            }
        }
        (!about.labels.is_empty()).then_some(about)
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Change {
    /// T2, or an event happened.
    #[n(0)]
    Raised,
    /// T6, T7, T23, or an event was settled or lapsed.
    #[n(1)]
    Cleared(#[n(0)] ClearCause),
    /// T8.
    #[n(2)]
    Acknowledged,
    /// T21, T22: the quality region changed.
    #[n(3)]
    Quality,
    /// T20: it was active through a time nobody watched.
    #[n(4)]
    Gap,
    /// T5: active again within the off-delay.
    #[n(5)]
    Recurred,
    /// T10, T11: another step of priority; T10 has made it unacknowledged again.
    #[n(6)]
    Step,
    /// T12, T16–T18: reminded anew.
    #[n(7)]
    ReAlarmed,
    /// T14–T18: the suppression region changed.
    #[n(8)]
    Suppression,
    /// T9: no longer latched.
    #[n(9)]
    Reset,
    /// T26: it comes and goes too often; from now on told once.
    #[n(10)]
    Chattering,
    /// It is beyond the limit by more than the uncertainty.
    #[n(11)]
    Provable,
    /// An open event got worse.
    #[n(12)]
    Aggravated,
    /// It is a supervisor's item now.
    #[n(13)]
    Escalated(#[n(0)] EscalationCause),
}

/// Why an alert is over at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ClearCause {
    /// The condition no longer holds.
    #[n(0)]
    Returned,
    /// What settles this event has happened (a passing cycle of the same device in time).
    #[n(1)]
    Settled,
    /// Nothing settled it in time: recorded.
    #[n(2)]
    Lapsed,
    /// T23: the rule changed; or an alert of a wider cause stands for it now (a device's, folded into its bus's).
    #[n(3)]
    Superseded,
    /// T24: the site file says that the rule is not judged.
    #[n(4)]
    Disabled,
}

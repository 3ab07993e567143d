//! What the engine eats, in the order it eats it. Everything here is journaled before anybody is told what
//! the engine concluded from it.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::{AlertId, CivilTime, DeviceFact, DeviceIx, EngineTime, Epoch, PointIx, Quality, Raw, Seq};

/// One thing the engine eats.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Input {
    /// The process started; always the first input of an epoch.
    #[n(0)]
    Start(#[n(0)] StartInput),
    /// A reading that intake kept.
    #[n(1)]
    Reading(#[n(0)] Reading),
    /// Engine time has reached this moment without another input.
    #[n(2)]
    Advance(#[n(0)] EngineTime),
    /// What is now known of civil time.
    #[n(3)]
    Clock(#[n(0)] ClockInput),
    /// Something a person asked for, through the center or the gateway's own page.
    #[n(4)]
    Command(#[n(0)] Command),
    /// Something that happened at a device: a weighing, a hand-over, a count of visits.
    #[n(5)]
    Fact(#[n(0)] Fact),
    /// The process is about to stop.
    #[n(6)]
    Stop {
        /// When.
        #[n(0)]
        at: EngineTime,
        /// Why.
        #[n(1)]
        cause: StopCause,
    },
    /// Nothing happened for five minutes, and the gateway was there.
    #[n(7)]
    Heartbeat(#[n(0)] EngineTime),
}

impl Input {
    /// The input's own stamp. The engine eats an older stamp at its current time.
    pub fn at(&self) -> EngineTime {
        match self {
            Self::Start(start) => start.at,
            Self::Reading(reading) => reading.at,
            Self::Advance(at) | Self::Heartbeat(at) | Self::Stop { at, .. } => *at,
            Self::Clock(clock) => clock.at,
            Self::Command(command) => command.at,
            Self::Fact(fact) => fact.at,
        }
    }
}

/// A point's value at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct Reading {
    /// Which point.
    #[n(0)]
    pub point: PointIx,
    /// Mid-point of the request, or arrival of the payload.
    #[n(1)]
    pub at: EngineTime,
    /// The value as received, or why there is none.
    #[n(2)]
    pub value: Quality<Raw>,
}

/// The first input of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StartInput {
    /// Engine time at which the gateway resumes.
    #[n(0)]
    pub at: EngineTime,
    /// The epoch that begins.
    #[n(1)]
    pub epoch: Epoch,
    /// The previous epoch and its last seq, as found on disk.
    #[n(2)]
    pub previous: Option<(Epoch, Seq)>,
    /// SHA-256 of that last record's bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub previous_hash: Option<[u8; 32]>,
    /// How the previous epoch ended, as far as can be told.
    #[n(4)]
    pub cause: StartCause,
    /// Milliseconds between the last sealed engine time and this start; `None` where no clock could be trusted.
    #[n(5)]
    pub downtime_ms: Option<i64>,
    /// True under the demo clock: such records are never evidence.
    #[n(6)]
    pub simulated: bool,
}

/// How the epoch before a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StartCause {
    /// There was none.
    #[n(0)]
    First,
    /// With a stop record.
    #[n(1)]
    Clean,
    /// Without one: crash, kill or power cut.
    #[n(2)]
    Unclean,
    /// It was another box's: this one replaces it and goes on from what the center had of it.
    #[n(3)]
    Replaced,
}

/// Why the process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StopCause {
    /// Asked to by the operating system or a person.
    #[n(0)]
    Asked,
    /// A part of the process failed.
    #[n(1)]
    Failed,
    /// It does not: another configuration is in force from the next epoch on, which follows at once.
    #[n(2)]
    Reconfigured,
}

/// What is known of civil time from this input on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ClockInput {
    /// When the gateway learned it.
    #[n(0)]
    pub at: EngineTime,
    /// Civil time − engine time, ms.
    #[n(1)]
    pub offset_ms: i64,
    /// Largest error the source admits, ms; `None` = the clock is not known.
    #[n(2)]
    pub error_ms: Option<i64>,
    /// Where it comes from.
    #[n(3)]
    pub source: ClockSource,
    /// Re-dating: the offset holds for everything since this record of the same epoch.
    #[n(4)]
    pub since: Option<Seq>,
}

/// Where civil time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ClockSource {
    /// Nobody could say.
    #[n(0)]
    Unknown,
    /// The system's clock, synchronised by the operating system.
    #[n(1)]
    System,
    /// `server_time` of the center's receipts.
    #[n(2)]
    Center,
    /// The demo clock.
    #[n(3)]
    Demo,
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// When the gateway took it.
    #[n(0)]
    pub at: EngineTime,
    /// Number of the order it came with: (center epoch, order seq); `None` = from the gateway's own page.
    #[n(1)]
    pub order: Option<(u64, u64)>,
    /// Opaque id of the person.
    #[n(2)]
    pub author: String,
    /// What.
    #[n(3)]
    pub body: CommandBody,
}

/// The kinds of command the engine understands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum CommandBody {
    /// T8. `event` is the number of the last event of that alert that the person saw.
    #[n(0)]
    Acknowledge {
        /// Which alert.
        #[n(0)]
        alert: AlertId,
        /// Its last event as seen.
        #[n(1)]
        event: u32,
    },
    /// T9: an alert that stays listed until reset is over.
    #[n(1)]
    Reset {
        /// Which alert.
        #[n(0)]
        alert: AlertId,
        /// Its last event as seen.
        #[n(1)]
        event: u32,
    },
    /// T14, T15: pauses the reminders of the rule that raised an alert.
    #[n(2)]
    Pause {
        /// Which alert.
        #[n(0)]
        alert: AlertId,
        /// Its last event as seen.
        #[n(1)]
        event: u32,
        /// How long at most, ms.
        #[n(2)]
        for_ms: i64,
        /// Ends as soon as the condition returns to normal.
        #[n(3)]
        once: bool,
        /// Why.
        #[n(4)]
        reason: String,
    },
    /// T16: ends a pause. The alert may be over by now, so the rule is named.
    #[n(3)]
    Resume {
        /// [`crate::RulePlan::id`].
        #[n(0)]
        rule: String,
        /// [`crate::DevicePlan::id`].
        #[n(1)]
        subject: String,
    },
    /// T18: takes a device out of service under a permit.
    #[n(4)]
    TakeOut {
        /// [`crate::DevicePlan::id`].
        #[n(0)]
        device: String,
        /// How long at most, ms.
        #[n(1)]
        for_ms: i64,
        /// Number of the permit.
        #[n(2)]
        permit: String,
        /// Why.
        #[n(3)]
        reason: String,
    },
    /// T18: back in service.
    #[n(5)]
    PutBack {
        /// [`crate::DevicePlan::id`].
        #[n(0)]
        device: String,
    },
    /// The institution declares a closure (停业、停诊报备).
    #[n(6)]
    DeclareClosure {
        /// From.
        #[n(0)]
        from: CivilTime,
        /// To.
        #[n(1)]
        to: CivilTime,
        /// Why.
        #[n(2)]
        reason: String,
    },
    /// Sign with a new key from the next epoch on. Nothing for the engine to decide: the shell does it.
    #[n(20)]
    RotateKey,
    /// Take the configuration with these bytes, which the center keeps. Nothing for the engine to decide: the shell fetches,
    /// checks and applies it, and the command is eaten once it is in force.
    #[n(21)]
    Configure {
        /// SHA-256 of the bytes.
        #[cbor(n(0), with = "minicbor::bytes")]
        config: [u8; 32],
        /// How many they are.
        #[n(1)]
        size: u64,
    },
    /// The center's TLS will show these keys, in the place of all that were named before. Nothing for the engine to
    /// decide: the shell believes them if the statement is newer than the one it holds.
    #[n(22)]
    CenterKeys {
        /// Stamp of the center's statement about itself, which says the same.
        #[n(0)]
        issued: CivilTime,
        /// SHA-256 of each key (SubjectPublicKeyInfo, DER); none = only what public roots vouch for.
        #[n(1)]
        tls_keys: Vec<ByteArray<32>>,
    },
}

/// Something that happened at a device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fact {
    /// Where.
    #[n(0)]
    pub device: DeviceIx,
    /// When.
    #[n(1)]
    pub at: EngineTime,
    /// What.
    #[n(2)]
    pub body: FactBody,
}

/// The kinds of fact. No patient data: visits are counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FactBody {
    /// One stable weight.
    #[n(0)]
    Weighing {
        /// Gross, g.
        #[n(0)]
        gross_g: i64,
        /// Tare, g.
        #[n(1)]
        tare_g: i64,
        /// Net, g.
        #[n(2)]
        net_g: i64,
    },
    /// A waste bag got its label.
    #[n(1)]
    BagLabelled {
        /// The label as printed.
        #[n(0)]
        label: String,
        /// Category code, `841-001-01` …
        #[n(1)]
        category: String,
        /// Where it was filled.
        #[n(2)]
        department: String,
        /// Weight on the label, g.
        #[n(3)]
        grams: i64,
    },
    /// Waste passed to the next party.
    #[n(2)]
    HandOver {
        /// Labels handed over.
        #[n(0)]
        labels: Vec<String>,
        /// Total, g.
        #[n(1)]
        grams: i64,
        /// Who took it.
        #[n(2)]
        to: String,
    },
    /// Visits since the last such fact.
    #[n(3)]
    Visits {
        /// How many.
        #[n(0)]
        count: u32,
    },
    /// Dental handpieces packed for sterilization since the last such fact.
    #[n(4)]
    HandpiecesPacked {
        /// How many.
        #[n(0)]
        count: u32,
    },
    /// Something happened to the instrument itself.
    #[n(5)]
    Device(#[n(0)] DeviceFact),
    /// A duty was done: B-D test, biological monitoring, calibration, lamp cleaning.
    #[n(6)]
    DutyDone {
        /// [`crate::DutyPlan::duty`].
        #[n(0)]
        duty: String,
        /// With a good result.
        #[n(1)]
        passed: bool,
    },
    /// Bags or boxes were put into the store.
    #[n(7)]
    BagsStored {
        /// Their labels.
        #[n(0)]
        labels: Vec<String>,
        /// Total, g.
        #[n(1)]
        grams: i64,
        /// Which store.
        #[n(2)]
        place: String,
    },
    /// Who disposes of waste received it.
    #[n(8)]
    WasteReceived {
        /// Labels received.
        #[n(0)]
        labels: Vec<String>,
        /// Total, g.
        #[n(1)]
        grams: i64,
        /// Who received it.
        #[n(2)]
        by: String,
    },
}

/// What became of the readings of one point between two records. `due` = `answered` + `failed`, and
/// `answered` = kept readings + `within_deadband` + `late`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct PointCounts {
    /// Which point.
    #[n(0)]
    pub point: PointIx,
    /// Readings that the plan called for.
    #[n(1)]
    pub due: u32,
    /// Answers with a usable number.
    #[n(2)]
    pub answered: u32,
    /// Of those, not kept because nothing had changed.
    #[n(3)]
    pub within_deadband: u32,
    /// Of those, older than the last of their point: kept, never judged.
    #[n(4)]
    pub late: u32,
    /// No number, per [`crate::BadCause`] in the order of `BadCause::ALL`; empty = none failed.
    #[n(5)]
    pub failed: Vec<u32>,
}

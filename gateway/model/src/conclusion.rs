//! What the engine concluded.

use alloc::string::String;

use minicbor::{Decode, Encode};

use crate::{
    AlertChange, ConfigChange, EngineTime, Epoch, Folded, ModuleIx, PointIx, Seq, Storage, SuppressionChange,
};

/// One conclusion, at the engine time it was reached.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Conclusion {
    /// When.
    #[n(0)]
    pub at: EngineTime,
    /// What.
    #[n(1)]
    pub body: ConclusionBody,
}

/// The kinds of conclusion.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum ConclusionBody {
    /// An alert changed.
    #[n(0)]
    Alert(#[n(0)] AlertChange),
    /// A cycle of a sterilizer or disinfection cabinet is over.
    #[n(1)]
    Cycle(#[n(0)] Cycle),
    /// An order was carried out, refused or came too late.
    #[n(2)]
    Order {
        /// (center epoch, order seq).
        #[n(0)]
        order: (u64, u64),
        /// What became of it.
        #[n(1)]
        outcome: OrderOutcome,
    },
    /// The recorder's room changed its state. Said by the recorder.
    #[n(3)]
    Storage(#[n(0)] Storage),
    /// What was concluded of one rule while there was no room to record each change. Said by the recorder.
    #[n(4)]
    Folded(#[n(0)] Folded),
    /// The suppression of a rule changed.
    #[n(5)]
    Suppression(#[n(0)] SuppressionChange),
    /// What becomes of another configuration. Said by the recorder.
    #[n(6)]
    Config(#[n(0)] ConfigChange),
}

impl ConclusionBody {
    /// Said by the recorder, not concluded by the engine: nobody can derive it from the inputs anew.
    pub fn said_by_recorder(&self) -> bool {
        match self {
            Self::Order { outcome, .. } => match outcome {
                OrderOutcome::Expired | OrderOutcome::Declined(_) => true,
                OrderOutcome::Done | OrderOutcome::Refused(_) => false,
            },
            Self::Storage(_) | Self::Folded(_) | Self::Config(_) => true,
            Self::Alert(_) | Self::Cycle(_) | Self::Suppression(_) => false,
        }
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OrderOutcome {
    /// Carried out.
    #[n(0)]
    Done,
    /// Not carried out: a code such as `stale`, `already_acknowledged`, `unknown_alert`.
    #[n(1)]
    Refused(#[n(0)] String),
    /// It arrived after its time.
    #[n(2)]
    Expired,
    /// Not carried out, and not by a decision of the engine: why, in words.
    #[n(3)]
    Declined(#[n(0)] String),
}

/// One run of a sterilizer or cabinet, recognised from its curve.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Cycle {
    /// Which module of the plan.
    #[n(0)]
    pub module: ModuleIx,
    /// Number of the cycle of this module, from 1 (灭菌锅次).
    #[n(1)]
    pub n: u32,
    /// Heating began.
    #[n(2)]
    pub started: EngineTime,
    /// First moment of the hold that is judged, the best one of the cycle.
    #[n(3)]
    pub hold_started: Option<EngineTime>,
    /// Its length, ms (dips within tolerance included).
    #[n(4)]
    pub hold_ms: i64,
    /// Highest temperature, °C.
    #[n(5)]
    pub peak_c: f64,
    /// Lowest temperature in that hold, °C.
    #[n(6)]
    pub hold_min_c: Option<f64>,
    /// Highest temperature in that hold, °C.
    #[n(7)]
    pub hold_max_c: Option<f64>,
    /// Opening the door ended that hold before it was long enough.
    #[n(8)]
    pub door_opened: bool,
    /// Milliseconds of the cycle that nobody measured.
    #[n(9)]
    pub unseen_ms: i64,
    /// What it amounts to.
    #[n(10)]
    pub outcome: CycleOutcome,
    /// What else was measured, where the program asks for it.
    #[n(11)]
    pub measured: Option<CycleMeasured>,
}

/// What is measured of a cycle besides temperature and time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct CycleMeasured {
    /// F0 of the whole cycle, min (z = 10 K, reference 121.1 °C).
    #[n(0)]
    pub f0_min: f64,
    /// A0 of the whole cycle, s (z = 10 K, reference 80 °C, counted from 65 °C).
    #[n(1)]
    pub a0_s: f64,
    /// Largest difference between probes in the hold that is judged, K; `None` = not measured.
    #[n(2)]
    pub spread_k: Option<f64>,
    /// Largest difference from saturated steam in it, K; `None` = not measured.
    #[n(3)]
    pub saturation_k: Option<f64>,
}

/// What a cycle amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum CycleOutcome {
    /// Judged against the program chosen in the site file.
    #[n(0)]
    Judged(#[n(0)] CycleVerdict),
    /// Only drying or warming: logged, not judged.
    #[n(1)]
    Drying,
    /// Too much of it was not measured to say.
    #[n(2)]
    NotMeasured,
    /// Stopped before the hold, while it was still heating: logged, not judged, and no pass.
    #[n(3)]
    Aborted,
}

/// Passed, or the first thing that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CycleVerdict {
    /// Temperature, time and door as the program asks.
    #[n(0)]
    Passed,
    /// The set temperature was never reached.
    #[n(1)]
    TooCool,
    /// It was reached, but not held long enough.
    #[n(2)]
    TooShort,
    /// The door was opened during the hold.
    #[n(3)]
    DoorOpened,
    /// Hotter than the program's band during the hold.
    #[n(4)]
    TooHot,
    /// F0 or A0 below what the program asks for.
    #[n(5)]
    TooWeak,
    /// Probes differed by more than the program allows.
    #[n(6)]
    Uneven,
    /// The steam was not saturated.
    #[n(7)]
    NotSaturated,
}

/// A span for which readings are not there, said so that nobody takes silence for normal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Gap {
    /// The point; `None` = every point of the site.
    #[n(0)]
    pub point: Option<PointIx>,
    /// From.
    #[n(1)]
    pub from: EngineTime,
    /// To.
    #[n(2)]
    pub to: EngineTime,
    /// Readings that were due in the span (over all its points), or that were evicted.
    #[n(3)]
    pub count: u64,
    /// Why.
    #[n(4)]
    pub cause: GapCause,
    /// Records that are gone, where they ever had numbers.
    #[n(5)]
    pub records: Option<(Epoch, Seq, Seq)>,
}

/// Why readings are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum GapCause {
    /// The process was not running, or had not sealed them.
    #[n(0)]
    Crash,
    /// The journal's limit was reached.
    #[n(1)]
    Evicted,
    /// Bytes on disk were damaged.
    #[n(2)]
    Corrupt,
    /// A queue inside the gateway was full.
    #[n(3)]
    Overrun,
    /// There was no room to record: judged all the same, so a re-computation begins again at the checkpoint that follows.
    #[n(4)]
    Full,
    /// The process had been stopped on purpose.
    #[n(5)]
    Stopped,
    /// Receipted by the center, and no longer in the gateway's own storage.
    #[n(6)]
    TailLost,
}

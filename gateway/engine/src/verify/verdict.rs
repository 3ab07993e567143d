//! What a verification says.

use alloc::vec::Vec;

use gateway_model::{EngineTime, PointIx};

/// Which way of coming to a verdict this is. Another number, another verdict may follow from the same records.
pub const METHOD: u16 = 1;

/// From and to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from: EngineTime,
    /// Last moment.
    pub to: EngineTime,
}

/// What the data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Rectified.
    Pass,
    /// Not rectified.
    Fail,
    /// They do not say: never a pass.
    Insufficient,
}

/// Why that is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Everything asked for held throughout.
    Held,
    /// The condition was true.
    Violated,
    /// At some moment it could not be judged.
    NotGood,
    /// Too few of the answers that were due came.
    Coverage,
    /// The point was silent for the rule's time.
    Silent,
    /// No reading of the point is known from before the silence.
    NeverSeen,
    /// The last judged cycle of the window failed.
    CycleFailed,
    /// No judged cycle ended in the window.
    NoCycle,
    /// There is no such rule, the window is empty, or the rule reads nothing.
    NotVerifiable,
    /// It rests on what was counted or entered before, and the records begin, or are missing, after that.
    NoHistory,
    /// It is true because of what was before the window, to its end.
    ReachesBack,
    /// Nothing was put to the test in the window, or not for long enough.
    NotTested,
    /// It happened again.
    HappenedAgain,
    /// The last result of the duty is a bad one.
    DutyFailed,
}

impl Verdict {
    /// As cases and bundles say it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Insufficient => "insufficient",
        }
    }
}

impl Reason {
    /// As cases and bundles say it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Violated => "violated",
            Self::NotGood => "not_good",
            Self::Coverage => "coverage",
            Self::Silent => "silent",
            Self::NeverSeen => "never_seen",
            Self::CycleFailed => "cycle_failed",
            Self::NoCycle => "no_cycle",
            Self::NotVerifiable => "not_verifiable",
            Self::NoHistory => "no_history",
            Self::ReachesBack => "reaches_back",
            Self::NotTested => "not_tested",
            Self::HappenedAgain => "happened_again",
            Self::DutyFailed => "duty_failed",
        }
    }
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The verdict.
    pub verdict: Verdict,
    /// Answers ÷ due of the worst point, ‰.
    pub coverage_permille: u16,
    /// Points that could not be believed at some moment of the window, in ascending order.
    pub unseen: Vec<PointIx>,
    /// When it was first violated.
    pub first_violation: Option<EngineTime>,
    /// Why.
    pub reason: Reason,
}

impl Verification {
    pub(super) fn insufficient(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Insufficient,
            coverage_permille: 0,
            unseen: Vec::new(),
            first_violation: None,
            reason,
        }
    }
}

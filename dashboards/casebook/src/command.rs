//! What people, gateways and the verifier ask of a case.

use alloc::string::String;
use alloc::vec::Vec;

use gateway_model::{AlertId, CivilTime, EngineTime, GatewayId, InstitutionId, PointIx, Priority};
use minicbor::{Decode, Encode};

use crate::{Key, Role, Window};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Actor {
    /// A person with an account.
    #[n(0)]
    Person {
        /// Opaque id of the account; names live elsewhere and may be erased.
        #[n(0)]
        id: String,
        /// In which role.
        #[n(1)]
        role: Role,
        /// Of which institution, for the role of that name.
        #[n(2)]
        institution: Option<InstitutionId>,
    },
    /// A gateway, through a signed record.
    #[n(1)]
    Gateway(#[n(0)] GatewayId),
    /// The center itself: what it raises, and verdicts from data.
    #[n(2)]
    Center,
}

/// A request about one case.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Command {
    /// Who.
    #[n(0)]
    pub actor: Actor,
    /// Number of the last event of the case that the author saw. The shell fills in the current one for machines.
    #[n(1)]
    pub seen: u32,
    /// What.
    #[n(2)]
    pub body: CommandBody,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum CommandBody {
    /// K1: an alert was raised. Opens a case, or joins the open one with the same key; one that the case has already may have
    /// become more urgent.
    #[n(0)]
    Raise {
        /// Institution, gateway, device and rule.
        #[n(0)]
        key: Key,
        /// Which occurrence.
        #[n(1)]
        alert: AlertId,
        /// How urgent.
        #[n(2)]
        priority: Priority,
        /// K17: the closed case with the same key, if there is one.
        #[n(3)]
        recurrence_of: Option<u64>,
    },
    /// K18: an alert of the case returned to normal.
    #[n(1)]
    Clear {
        /// Which.
        #[n(0)]
        alert: AlertId,
    },
    /// K3 签收.
    #[n(2)]
    Acknowledge,
    /// K5 派单.
    #[n(3)]
    Dispatch {
        /// Who shall act.
        #[n(0)]
        recipient: String,
        /// By when.
        #[n(1)]
        deadline: CivilTime,
        /// What is asked for.
        #[n(2)]
        requirement: String,
    },
    /// K6 确认收到.
    #[n(4)]
    Accept,
    /// K9 提交整改.
    #[n(5)]
    Submit {
        /// What was done.
        #[n(0)]
        text: String,
        /// SHA-256 of each attachment.
        #[cbor(n(1))]
        attachments: Vec<minicbor::bytes::ByteArray<32>>,
        /// The shell found every attachment in its store.
        #[n(2)]
        uploaded: bool,
        /// Span of engine time over which data must show it.
        #[n(3)]
        window: Window,
    },
    /// K10–K12: what the data of the window show.
    #[n(6)]
    Judge {
        /// The verdict.
        #[n(0)]
        verdict: Verdict,
        /// Where data were insufficient: the window to look at next.
        #[n(1)]
        next: Window,
    },
    /// K13, K14.
    #[n(7)]
    Review {
        /// Which way.
        #[n(0)]
        decision: Decision,
        /// Why; required to reject.
        #[n(1)]
        reason: String,
    },
    /// K21: close without a verdict from data.
    #[n(8)]
    Close {
        /// As what.
        #[n(0)]
        disposition: Disposition,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// K20.
    #[n(9)]
    Note {
        /// The note.
        #[n(0)]
        text: String,
    },
    /// The dispatch was wrong or nobody answers: the case is back with the center.
    #[n(10)]
    Recall {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// Look at the data again over a new window, where an on-site check was called for.
    #[n(11)]
    Reverify {
        /// Span of engine time.
        #[n(0)]
        window: Window,
    },
    /// K2, not yet.
    #[n(12)]
    Merge,
    /// K7, not yet.
    #[n(13)]
    Object,
    /// K8, not yet.
    #[n(14)]
    DecideObjection,
    /// K16, not yet.
    #[n(15)]
    Transfer,
    /// K22, not yet.
    #[n(16)]
    Extend,
    /// K25, not yet.
    #[n(17)]
    Withdraw,
    /// The result of a check on site, not yet.
    #[n(18)]
    OnSiteResult,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $code:literal,)*) => {
        /// What a command is about, without its content.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CommandKind { $($(#[$doc])* $name,)* }

        impl CommandKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in the API.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The kind with this code.
            pub fn parse(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.code() == code)
            }
        }
    };
}

kinds! {
    /// K1.
    Raise "raise",
    /// K18.
    Clear "clear",
    /// K3.
    Acknowledge "acknowledge",
    /// K5.
    Dispatch "dispatch",
    /// K6.
    Accept "accept",
    /// K9.
    Submit "submit",
    /// K10–K12.
    Judge "judge",
    /// K13, K14.
    Review "review",
    /// K21.
    Close "close",
    /// K20.
    Note "note",
    /// Back to the center.
    Recall "recall",
    /// Another window.
    Reverify "reverify",
    /// K2.
    Merge "merge",
    /// K7.
    Object "object",
    /// K8.
    DecideObjection "decide_objection",
    /// K16.
    Transfer "transfer",
    /// K22.
    Extend "extend",
    /// K25.
    Withdraw "withdraw",
    /// Result of an on-site check.
    OnSiteResult "on_site_result",
}

impl CommandBody {
    /// What it is about.
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Raise { .. } => CommandKind::Raise,
            Self::Clear { .. } => CommandKind::Clear,
            Self::Acknowledge => CommandKind::Acknowledge,
            Self::Dispatch { .. } => CommandKind::Dispatch,
            Self::Accept => CommandKind::Accept,
            Self::Submit { .. } => CommandKind::Submit,
            Self::Judge { .. } => CommandKind::Judge,
            Self::Review { .. } => CommandKind::Review,
            Self::Close { .. } => CommandKind::Close,
            Self::Note { .. } => CommandKind::Note,
            Self::Recall { .. } => CommandKind::Recall,
            Self::Reverify { .. } => CommandKind::Reverify,
            Self::Merge => CommandKind::Merge,
            Self::Object => CommandKind::Object,
            Self::DecideObjection => CommandKind::DecideObjection,
            Self::Transfer => CommandKind::Transfer,
            Self::Extend => CommandKind::Extend,
            Self::Withdraw => CommandKind::Withdraw,
            Self::OnSiteResult => CommandKind::OnSiteResult,
        }
    }
}

/// Which way a review goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Decision {
    /// 复核通过.
    #[n(0)]
    Approve,
    /// 退回.
    #[n(1)]
    Reject,
}

impl Decision {
    /// As in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// Why a case was closed without a verdict from data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Disposition {
    /// 误报.
    #[n(0)]
    FalseAlarm,
    /// 试验或维护.
    #[n(1)]
    TestOrMaintenance,
}

impl Disposition {
    /// Every disposition.
    pub const ALL: [Self; 2] = [Self::FalseAlarm, Self::TestOrMaintenance];

    /// As in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::FalseAlarm => "false_alarm",
            Self::TestOrMaintenance => "test_or_maintenance",
        }
    }

    /// The disposition with this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|disposition| disposition.code() == code)
    }
}

/// What the data of a window show.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Verdict {
    /// Which way.
    #[n(0)]
    pub kind: VerdictKind,
    /// The window looked at.
    #[n(1)]
    pub window: Window,
    /// Good answers ÷ due, ‰.
    #[n(2)]
    pub coverage_permille: u16,
    /// Points without enough data.
    #[n(3)]
    pub unseen: Vec<PointIx>,
    /// First moment at which the condition was violated.
    #[n(4)]
    pub first_violation: Option<EngineTime>,
    /// Code of the reason: of the engine's verification, or `silent`.
    #[n(5)]
    pub reason: String,
    /// SHA-256 over the hashes of the records looked at, in order.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub data_hash: [u8; 32],
    /// SHA-256 of the config record that holds the rule.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub config_hash: [u8; 32],
    /// Which way of coming to a verdict it was; `None` = it did not come from records.
    #[n(8)]
    pub method: Option<u16>,
}

/// Pass, fail, or not enough data to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum VerdictKind {
    /// 数据核验通过.
    #[n(0)]
    Pass,
    /// 数据核验未通过.
    #[n(1)]
    Fail,
    /// 数据不足，无法核验.
    #[n(2)]
    Insufficient,
}

impl VerdictKind {
    /// As in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Insufficient => "insufficient",
        }
    }
}

//! A case, its events, and how an event changes it.

use alloc::string::String;
use alloc::vec::Vec;

use gateway_model::{AlertId, CivilTime, EngineTime, GatewayId, InstitutionId, Priority, RulePlan};
use minicbor::{Decode, Encode};

use crate::{Actor, Decision, Disposition, Verdict, VerdictKind};

/// What joins alerts into one case: institution, device and rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Key {
    /// Whose.
    #[n(0)]
    pub institution: InstitutionId,
    /// Seen by which gateway.
    #[n(1)]
    pub gateway: GatewayId,
    /// Device id in the gateway's plan.
    #[n(2)]
    pub device: String,
    /// Rule id, `pack/rule`.
    #[n(3)]
    pub rule: String,
}

impl Key {
    /// The key of an alert of this rule, about this device. Rules that speak of one cause have one case (a fridge that is
    /// too warm, and far too warm): its rule is the one that the pack says they join, and that one is what a rectification is
    /// verified by.
    pub fn of(institution: InstitutionId, gateway: GatewayId, device: &str, rule: &RulePlan) -> Self {
        let joins = rule.handling.as_ref().and_then(|handling| handling.joins.as_ref());
        Self { institution, gateway, device: device.into(), rule: joins.unwrap_or(&rule.id).clone() }
    }
}

/// A span of a gateway's engine time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct Window {
    /// From.
    #[n(0)]
    pub from: EngineTime,
    /// To.
    #[n(1)]
    pub to: EngineTime,
}

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CaseState {
    /// 待签收.
    #[n(0)]
    Open,
    /// 已签收.
    #[n(1)]
    Acknowledged,
    /// 已派单.
    #[n(2)]
    Dispatched,
    /// 整改中.
    #[n(3)]
    Rectifying,
    /// 数据核验中.
    #[n(4)]
    Verifying,
    /// 数据不足: a check on site is needed.
    #[n(5)]
    OnSite,
    /// 数据核验通过, waiting for review.
    #[n(6)]
    Verified,
    /// 办结.
    #[n(7)]
    Closed,
}

impl CaseState {
    /// Every state, in the order of its code.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Acknowledged,
        Self::Dispatched,
        Self::Rectifying,
        Self::Verifying,
        Self::OnSite,
        Self::Verified,
        Self::Closed,
    ];

    /// As stored and as in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Dispatched => "dispatched",
            Self::Rectifying => "rectifying",
            Self::Verifying => "verifying",
            Self::OnSite => "on_site",
            Self::Verified => "verified",
            Self::Closed => "closed",
        }
    }

    /// The state with this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// Something that happened to a case; append-only.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct CaseEvent {
    /// Number in the life of the case, from 1 without holes: what `seen` refers to.
    #[n(0)]
    pub n: u32,
    /// When.
    #[n(1)]
    pub at: CivilTime,
    /// By whom.
    #[n(2)]
    pub actor: Actor,
    /// What.
    #[n(3)]
    pub body: CaseEventBody,
}

/// The kinds of event.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum CaseEventBody {
    /// K1: the case began.
    #[n(0)]
    Opened {
        /// What joins alerts to it.
        #[n(0)]
        key: Key,
        /// The first alert.
        #[n(1)]
        alert: AlertId,
        /// How urgent.
        #[n(2)]
        priority: Priority,
        /// K17.
        #[n(3)]
        recurrence_of: Option<u64>,
    },
    /// K1: a further alert with the same key.
    #[n(1)]
    Joined {
        /// Which.
        #[n(0)]
        alert: AlertId,
        /// Its urgency; the case takes the more urgent.
        #[n(1)]
        priority: Priority,
    },
    /// K18.
    #[n(2)]
    SelfCleared {
        /// Which.
        #[n(0)]
        alert: AlertId,
    },
    /// K3.
    #[n(3)]
    Acknowledged,
    /// K5.
    #[n(4)]
    Dispatched {
        /// To whom.
        #[n(0)]
        recipient: String,
        /// By when.
        #[n(1)]
        deadline: CivilTime,
        /// What is asked for.
        #[n(2)]
        requirement: String,
    },
    /// K6.
    #[n(5)]
    Accepted,
    /// K9.
    #[n(6)]
    Submitted {
        /// What was done.
        #[n(0)]
        text: String,
        /// SHA-256 of each attachment.
        #[n(1)]
        attachments: Vec<minicbor::bytes::ByteArray<32>>,
        /// Span over which data must show it.
        #[n(2)]
        window: Window,
    },
    /// K10–K12: what the data show.
    #[n(7)]
    Judged {
        /// The verdict.
        #[n(0)]
        verdict: Verdict,
    },
    /// K12: looked at again over another window.
    #[n(8)]
    Extended {
        /// Which.
        #[n(0)]
        window: Window,
    },
    /// K12: extended often enough; a check on site is needed.
    #[n(9)]
    OnSiteNeeded,
    /// K13 (and the case is closed), K14.
    #[n(10)]
    Reviewed {
        /// Which way.
        #[n(0)]
        decision: Decision,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// K21.
    #[n(11)]
    Disposed {
        /// As what.
        #[n(0)]
        disposition: Disposition,
        /// Why.
        #[n(1)]
        reason: String,
    },
    /// K20.
    #[n(12)]
    Noted {
        /// The note.
        #[n(0)]
        text: String,
    },
    /// The dispatch was taken back.
    #[n(13)]
    Recalled {
        /// Why.
        #[n(0)]
        reason: String,
    },
    /// A person asked for another window after an on-site check was called for.
    #[n(14)]
    Reverified {
        /// Which.
        #[n(0)]
        window: Window,
    },
    /// An alert of the case became more urgent than the case was (HI → HIHI, a failed load that is used).
    #[n(15)]
    Worsened {
        /// Which.
        #[n(0)]
        alert: AlertId,
        /// Its urgency now.
        #[n(1)]
        priority: Priority,
    },
}

impl CaseEventBody {
    /// As stored and as in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Joined { .. } => "joined",
            Self::SelfCleared { .. } => "self_cleared",
            Self::Acknowledged => "acknowledged",
            Self::Dispatched { .. } => "dispatched",
            Self::Accepted => "accepted",
            Self::Submitted { .. } => "submitted",
            Self::Judged { .. } => "judged",
            Self::Extended { .. } => "extended",
            Self::OnSiteNeeded => "on_site_needed",
            Self::Reviewed { .. } => "reviewed",
            Self::Disposed { .. } => "disposed",
            Self::Noted { .. } => "noted",
            Self::Recalled { .. } => "recalled",
            Self::Reverified { .. } => "reverified",
            Self::Worsened { .. } => "worsened",
        }
    }
}

/// How often it was tried to rectify and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempt {
    /// Number of the current attempt, from 1.
    pub n: u32,
    /// Windows added to the current submission for lack of data (K12).
    pub extensions: u32,
}

/// A case as it stands: the fold of its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Where it stands.
    pub state: CaseState,
    /// Number of its last event.
    pub event: u32,
    /// What joins alerts to it.
    pub key: Key,
    /// The most urgent of its alerts.
    pub priority: Priority,
    /// Its alerts, each with whether it is over.
    pub alerts: Vec<(AlertId, bool)>,
    /// K17.
    pub recurrence_of: Option<u64>,
    /// Who received it.
    pub acknowledged_by: Option<String>,
    /// Who dispatched it.
    pub dispatched_by: Option<String>,
    /// To whom.
    pub recipient: Option<String>,
    /// By when it must be rectified.
    pub deadline: Option<CivilTime>,
    /// What is asked for.
    pub requirement: Option<String>,
    /// The running attempt.
    pub attempt: Attempt,
    /// The window under verification, or the last one.
    pub window: Option<Window>,
    /// The last verdict from data.
    pub verdict: Option<VerdictKind>,
    /// How it was closed, where that was not by review.
    pub disposition: Option<Disposition>,
}

impl Case {
    /// The case that a first event opens; `None` for any other event.
    pub fn open(event: &CaseEvent) -> Option<Self> {
        let CaseEventBody::Opened { key, alert, priority, recurrence_of } = &event.body else { return None };
        Some(Self {
            state: CaseState::Open,
            event: event.n,
            key: key.clone(),
            priority: *priority,
            alerts: [(*alert, false)].into(),
            recurrence_of: *recurrence_of,
            acknowledged_by: None,
            dispatched_by: None,
            recipient: None,
            deadline: None,
            requirement: None,
            attempt: Attempt::default(),
            window: None,
            verdict: None,
            disposition: None,
        })
    }

    /// The case that these events lead to; `None` where the first does not open one.
    pub fn replay<'e>(events: impl IntoIterator<Item = &'e CaseEvent>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut case = Self::open(events.next()?)?;
        for event in events {
            case.apply(event);
        }
        Some(case)
    }

    /// Every alert of the case is over at the gateway. A badge, never a way to close (K18).
    pub fn self_cleared(&self) -> bool {
        self.alerts.iter().all(|(_, over)| *over)
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &CaseEvent) {
        self.event = event.n;
        let author = || match &event.actor {
            Actor::Person { id, .. } => Some(id.clone()),
            Actor::Gateway(_) | Actor::Center => None,
        };
        match &event.body {
            // A case opens once; the shell never appends a second opening.
            CaseEventBody::Opened { .. } | CaseEventBody::Noted { .. } => {}
            CaseEventBody::Joined { alert, priority } => {
                self.alerts.push((*alert, false));
                self.priority = self.priority.min(*priority);
            }
            CaseEventBody::Worsened { priority, .. } => self.priority = self.priority.min(*priority),
            CaseEventBody::SelfCleared { alert } => {
                for (_, over) in self.alerts.iter_mut().filter(|(known, _)| known == alert) {
                    *over = true;
                }
            }
            CaseEventBody::Acknowledged => {
                self.state = CaseState::Acknowledged;
                self.acknowledged_by = author();
            }
            CaseEventBody::Dispatched { recipient, deadline, requirement } => {
                self.state = CaseState::Dispatched;
                self.dispatched_by = author();
                self.recipient = Some(recipient.clone());
                self.deadline = Some(*deadline);
                self.requirement = Some(requirement.clone());
            }
            CaseEventBody::Accepted | CaseEventBody::Reviewed { decision: Decision::Reject, .. } => {
                self.rectify_again();
            }
            CaseEventBody::Submitted { window, .. } | CaseEventBody::Reverified { window } => {
                self.state = CaseState::Verifying;
                self.attempt.extensions = 0;
                self.window = Some(*window);
                self.verdict = None;
            }
            CaseEventBody::Judged { verdict } => {
                self.verdict = Some(verdict.kind);
                match verdict.kind {
                    VerdictKind::Pass => self.state = CaseState::Verified,
                    VerdictKind::Fail => self.rectify_again(),
                    // The next event says whether another window is opened or somebody has to go there.
                    VerdictKind::Insufficient => {}
                }
            }
            CaseEventBody::Extended { window } => {
                self.attempt.extensions += 1;
                self.window = Some(*window);
            }
            CaseEventBody::OnSiteNeeded => self.state = CaseState::OnSite,
            CaseEventBody::Reviewed { decision: Decision::Approve, .. } => self.state = CaseState::Closed,
            CaseEventBody::Disposed { disposition, .. } => {
                self.state = CaseState::Closed;
                self.disposition = Some(*disposition);
            }
            CaseEventBody::Recalled { .. } => {
                self.state = CaseState::Acknowledged;
                self.recipient = None;
                self.deadline = None;
                self.requirement = None;
            }
        }
    }

    /// The first attempt, or the next one.
    fn rectify_again(&mut self) {
        self.state = CaseState::Rectifying;
        self.attempt = Attempt { n: self.attempt.n + 1, extensions: 0 };
    }
}

//! Who may ask for something.

use minicbor::{Decode, Encode};

/// What a person is at this center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// 值班员: receives, dispatches, closes by disposition.
    #[n(0)]
    DutyOfficer,
    /// 复核员: all of that, and reviews.
    #[n(1)]
    Reviewer,
    /// 被监管单位: confirms, rectifies, submits; sees only its own institution.
    #[n(2)]
    Institution,
    /// Keeps accounts and may do what a reviewer may.
    #[n(3)]
    Admin,
    /// 卫生监督员: adds notes.
    #[n(4)]
    Inspector,
    /// 运维单位: adds notes.
    #[n(5)]
    Maintainer,
    /// 收运单位: adds notes.
    #[n(6)]
    Collector,
    /// Reads everything, changes nothing.
    #[n(7)]
    Auditor,
}

impl Role {
    /// Every role, in the order of its code.
    pub const ALL: [Self; 8] = [
        Self::DutyOfficer,
        Self::Reviewer,
        Self::Institution,
        Self::Admin,
        Self::Inspector,
        Self::Maintainer,
        Self::Collector,
        Self::Auditor,
    ];

    /// As stored and as in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::DutyOfficer => "duty_officer",
            Self::Reviewer => "reviewer",
            Self::Institution => "institution",
            Self::Admin => "admin",
            Self::Inspector => "inspector",
            Self::Maintainer => "maintainer",
            Self::Collector => "collector",
            Self::Auditor => "auditor",
        }
    }

    /// Receives, dispatches, and answers what units ask for.
    pub fn is_on_duty(self) -> bool {
        match self {
            Self::DutyOfficer | Self::Reviewer | Self::Admin => true,
            Self::Institution | Self::Inspector | Self::Maintainer | Self::Collector | Self::Auditor => false,
        }
    }

    /// The role with this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

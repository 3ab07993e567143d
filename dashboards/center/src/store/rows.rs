//! What queries answer with. Serialised as they stand: these are the shapes of the API's JSON too.
//!
//! Times are civil, in milliseconds since 1970; codes are stored and sent, words are rendered by the reader.

use serde::{Deserialize, Serialize};

pub use center_casebook::{CaseState, Role};

/// The same words in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Words {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl From<gateway_model::Text> for Words {
    fn from(text: gateway_model::Text) -> Self {
        Self { zh: text.zh, en: text.en }
    }
}

impl Words {
    /// In the language asked for.
    pub fn pick(&self, english: bool) -> &str {
        if english { &self.en } else { &self.zh }
    }
}

/// Which rows the asker may see. Everything outside does not exist for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All institutions.
    All,
    /// One.
    Institution(String),
}

/// One case in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Number of the case, from 1.
    pub id: i64,
    /// Code of [`CaseState`]: `open`, `acknowledged`, `dispatched`, `rectifying`, `verifying`, `on_site`, `verified`, `closed`.
    pub state: String,
    /// Number of its last event: what `seen` must be.
    pub event: u32,
    /// Institution id.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// Gateway id, 32 hex digits.
    pub gateway: String,
    /// Site id.
    pub site: String,
    /// Rule id, `pack/rule`.
    pub rule: String,
    /// Device id.
    pub device: String,
    /// Its name.
    pub device_name: Words,
    /// A few words.
    pub title: Words,
    /// One sentence; `{value}` and the like still in it where the alert has no value.
    pub sentence: Words,
    /// What to do.
    pub action: Words,
    /// Standard and clause.
    pub norm: Words,
    /// `red`, `orange`, `yellow`, `blue`.
    pub priority: String,
    /// When it was opened.
    pub opened_at: i64,
    /// When it last changed.
    pub updated_at: i64,
    /// Alerts in it.
    pub alert_count: i64,
    /// All of them are over at the gateway (a badge, K18).
    pub self_cleared: bool,
    /// Windows of the last submission: 0, then one more per extension (K12).
    pub extensions: u32,
    /// Attempts to rectify.
    pub attempt: u32,
    /// Last verdict from data: `pass`, `fail`, `insufficient`.
    pub verdict: Option<String>,
    /// User id of who received it.
    pub acknowledged_by: Option<String>,
    /// User id of who dispatched it.
    pub dispatched_by: Option<String>,
    /// To whom.
    pub recipient: Option<String>,
    /// By when.
    pub deadline: Option<i64>,
    /// What is asked for.
    pub requirement: Option<String>,
    /// How it was closed, where not by review.
    pub disposition: Option<String>,
    /// The closed case with the same key before it.
    pub recurrence_of: Option<i64>,
    /// The alert came from a simulated gateway.
    pub simulated: bool,
}

/// A case as one page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseDetail {
    /// The row's own fields.
    #[serde(flatten)]
    pub row: CaseRow,
    /// Its alerts, oldest first.
    pub alerts: Vec<AlertRow>,
    /// Everything that happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// The last verdict from data, or the window under verification.
    pub verification: Option<VerificationRow>,
    /// Every verdict so far, oldest first.
    pub verifications: Vec<VerificationRow>,
    /// Commands that the asker may give now, by code.
    pub next: Vec<String>,
    /// What runs against the clock.
    pub deadlines: Vec<DeadlineRow>,
}

/// One thing that happened to a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// Its number in the case.
    pub event: u32,
    /// When.
    pub at: i64,
    /// User name, gateway id or `center`.
    pub actor: String,
    /// `person`, `gateway` or `center`.
    pub actor_kind: String,
    /// Role of a person.
    pub role: Option<String>,
    /// `opened`, `joined`, `self_cleared`, `acknowledged`, `dispatched`, `accepted`, `submitted`, `judged`, `extended`,
    /// `on_site_needed`, `reviewed`, `disposed`, `noted`, `recalled`, `reverified`.
    pub kind: String,
    /// Alert id, for `opened`, `joined`, `self_cleared`.
    pub alert: Option<String>,
    /// Text, reason or requirement.
    pub text: Option<String>,
    /// To whom, for `dispatched`.
    pub recipient: Option<String>,
    /// By when, for `dispatched`.
    pub deadline: Option<i64>,
    /// SHA-256 of attachments, hex, for `submitted`.
    pub attachments: Vec<String>,
    /// Window in civil time, for `submitted`, `extended`, `reverified`.
    pub window: Option<(i64, i64)>,
    /// `approve` or `reject`, for `reviewed`; the disposition, for `disposed`.
    pub decision: Option<String>,
    /// The verdict, for `judged`.
    pub verdict: Option<VerificationRow>,
}

/// A verdict from data, or that one is awaited.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerificationRow {
    /// `pass`, `fail`, `insufficient`, or `pending` while the window runs.
    pub verdict: String,
    /// Good answers ÷ due, ‰.
    pub coverage: Option<u16>,
    /// Window, civil time.
    pub from: i64,
    /// Window, civil time.
    pub to: i64,
    /// Code of the reason.
    pub reason: Option<String>,
    /// First moment of violation, civil time.
    pub first_violation: Option<i64>,
    /// Ids of points without enough data.
    pub unseen: Vec<String>,
    /// SHA-256 over the records looked at, hex.
    pub data_hash: Option<String>,
    /// Windows added so far for lack of data.
    pub extensions: u32,
}

/// Something that must be done by a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadlineRow {
    /// `rectify` or `verify`.
    pub kind: String,
    /// When.
    pub at: i64,
    /// It has passed.
    pub overdue: bool,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Order in which the center learned of it, from 1: what `after` takes.
    pub n: i64,
    /// `<gateway>/<epoch>-<n>`.
    pub id: String,
    /// `gateway` or `center`.
    pub source: String,
    /// Gateway id, 32 hex digits.
    pub gateway: String,
    /// Institution id.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// Site id.
    pub site: String,
    /// Device id; empty for the gateway itself.
    pub device: String,
    /// Its name.
    pub device_name: Words,
    /// Rule id, `pack/rule`.
    pub rule: String,
    /// A few words.
    pub title: Words,
    /// One sentence, filled in.
    pub sentence: Words,
    /// What to do.
    pub action: Words,
    /// Standard and clause.
    pub norm: Words,
    /// `red`, `orange`, `yellow`, `blue`.
    pub priority: String,
    /// `institution`, `maintainer`, `collector`, `supervisor`.
    pub first: String,
    /// How it is told: `alert` as it comes, `duty` as a line of the day's digest, `lead` on Monday's list, `morning` as an item
    /// on the next morning.
    #[serde(default = "as_it_comes")]
    pub told: String,
    /// Raised in a trial run: it opens no case.
    #[serde(default)]
    pub trial: bool,
    /// `open` until it is over at the gateway, then `cleared`.
    pub state: String,
    /// Display state: `unacknowledged`, `acknowledged`, `returned_unacknowledged`, `latched`, `shelved`, `suppressed_by_design`,
    /// `out_of_service`, `normal`.
    pub shown: String,
    /// `good`, `stale`, `bad`, `unevaluable`.
    pub quality: String,
    /// `returned`, `settled`, `lapsed`, `superseded`, `rule_removed`, `disabled` once it is over.
    pub clear_cause: Option<String>,
    /// `closed` when every record before it is here, else `open`.
    pub chain: String,
    /// Point whose value is shown.
    pub point: Option<String>,
    /// Value when it was raised.
    pub value: Option<f64>,
    /// Limit it was judged against.
    pub limit: Option<f64>,
    /// Unit of both.
    pub unit: Option<String>,
    /// Since when the condition held, civil time.
    pub since: Option<i64>,
    /// When it was raised, civil time.
    pub raised_at: i64,
    /// When it was over, civil time.
    pub cleared_at: Option<i64>,
    /// When the center stored it, civil time.
    pub received_at: i64,
    /// Number of its last event at the gateway.
    pub event: u32,
    /// The case it is in.
    pub case: Option<i64>,
    /// Never evidence: the gateway ran under the demo clock.
    pub simulated: bool,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GatewayRow {
    /// 32 hex digits.
    pub id: String,
    /// Institution id.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// Site id.
    pub site: String,
    /// When it was enrolled.
    pub enrolled_at: i64,
    /// Last sign of life, civil time.
    pub last_seen: Option<i64>,
    /// `never`, `live`, `delayed` (90 s), `silent` (5 min of time in which contact was due), `off` on schedule.
    pub state: String,
    /// Last epoch of which a record is here.
    pub epoch: Option<i64>,
    /// Everything up to this seq of that epoch is stored, quarantined or gone.
    pub through: Option<i64>,
    /// Records here.
    pub records: i64,
    /// Of those, not understood.
    pub quarantined: i64,
    /// Records refused since the center started counting.
    pub refused: i64,
    /// Civil time of the newest record's end.
    pub data_until: Option<i64>,
    /// Software it says it runs.
    pub software: Option<String>,
    /// Alerts that are not over.
    pub open_alerts: i64,
    /// It ran under the demo clock.
    pub simulated: bool,
    /// Bytes that went over its metered line this month, as it counts them (heads and framing estimated).
    pub line_used: Option<i64>,
    /// Bytes that may; `None` = the line is not metered.
    pub line_budget: Option<i64>,
}

/// One point with its last value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointRow {
    /// Gateway id.
    pub gateway: String,
    /// `cabinet-1/temperature`.
    pub id: String,
    /// Device id.
    pub device: String,
    /// Its name.
    pub name: Words,
    /// Unit symbol.
    pub unit: String,
    /// True or false instead of a number.
    pub truth: bool,
    /// Civil time of the last reading.
    pub at: Option<i64>,
    /// `good`, `uncertain`, `bad`, `none`.
    pub quality: String,
    /// Why not good.
    pub cause: Option<String>,
    /// Its number.
    pub value: Option<f64>,
}

/// One cycle of a sterilizer or cabinet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CycleRow {
    /// Gateway id.
    pub gateway: String,
    /// Device id.
    pub device: String,
    /// Its name.
    pub device_name: Words,
    /// Number of the cycle of this device.
    pub n: i64,
    /// Civil time.
    pub started_at: i64,
    /// Civil time.
    pub hold_started_at: Option<i64>,
    /// Civil time at which it was over.
    pub ended_at: i64,
    /// Longest hold.
    pub hold_ms: i64,
    /// Highest temperature.
    pub peak_c: f64,
    /// Lowest in the hold.
    pub hold_min_c: Option<f64>,
    /// Highest in the hold.
    pub hold_max_c: Option<f64>,
    /// During the hold.
    pub door_opened: bool,
    /// Not measured.
    pub unseen_ms: i64,
    /// `passed`, `too_cool`, `too_short`, `door_opened`, `too_hot`, `drying`, `not_measured`, `aborted`.
    pub outcome: String,
    /// Program it was judged against.
    pub program: String,
}

/// One institution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstitutionRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Words,
    /// `hotel`, `clinic`, `hospital`, …
    pub kind: String,
    /// Township or street (乡镇、街道), where it was entered.
    pub township: Option<String>,
}

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Opaque id, stored in cases.
    pub id: String,
    /// The name they log in with.
    pub name: String,
    /// What they are.
    #[serde(serialize_with = "role_code")]
    pub role: Role,
    /// Whose, for the role `institution`.
    pub institution: Option<String>,
}

/// A session of a person in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Hash of the cookie's secret: the secret itself is never stored.
    pub id: [u8; 32],
    /// What must come back with every change.
    pub csrf: String,
    /// When it ends, civil time.
    pub expires: i64,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachmentRow {
    /// SHA-256, hex.
    pub sha256: String,
    /// `image/jpeg`, `image/png`, `image/webp`; `application/toml` of a rule pack.
    pub media_type: String,
    /// Bytes.
    pub bytes: i64,
    /// When and why it was erased.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub erased: Option<(i64, String)>,
}

/// One sample or gap of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Civil time.
    pub at: i64,
    /// The number; `None` where there is none.
    pub value: Option<f64>,
    /// `good`, `uncertain`, `bad`.
    pub quality: String,
    /// Why not good.
    pub cause: Option<String>,
}

/// Readings of one point over a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// The point.
    pub point: PointRow,
    /// From, civil time.
    pub from: i64,
    /// To, civil time.
    pub to: i64,
    /// Kept readings in order of time. A value holds until the next sample, but never across a gap.
    pub samples: Vec<Sample>,
    /// Spans for which no readings are there, civil time: a chart must not draw a line across.
    pub gaps: Vec<(i64, i64)>,
    /// The span held more than was decoded: ask for a shorter one.
    pub truncated: bool,
}

/// Of rows that were kept before there were others.
fn as_it_comes() -> String {
    center_casebook::Telling::Alert.code().to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn role_code<S: serde::Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.code())
}

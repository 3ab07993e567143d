//! The line "case": is every step of the center's case one that its table allows?
//!
//! The table stands here once more and not from the center's own code: what made a case must not be what checks it.

use gateway_model::GatewayId;
use gateway_wire::{hash, hex};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::walk::Walk;
use super::{ATTACHMENTS, CASE, ERASED_ATTACHMENTS, Parts};
use crate::report::Line;

/// A case as bundles hold it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CaseFile {
    /// Number at the center.
    #[n(0)]
    pub id: u64,
    /// Whose.
    #[n(1)]
    pub institution: String,
    /// Seen by which gateway.
    #[n(2)]
    pub gateway: GatewayId,
    /// Device id.
    #[n(3)]
    pub device: String,
    /// Rule id.
    #[n(4)]
    pub rule: String,
    /// 1 (red) to 4.
    #[n(5)]
    pub priority: u8,
    /// In their order.
    #[n(6)]
    pub events: Vec<CaseStep>,
}

/// Something that happened to a case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct CaseStep {
    /// From 1 without holes; its author had seen the one before.
    #[n(0)]
    pub n: u32,
    /// Civil time, ms.
    #[n(1)]
    pub at: i64,
    /// `gateway`, `center` or `person`.
    #[n(2)]
    pub actor: String,
    /// Opaque id of the person.
    #[n(3)]
    pub person: Option<String>,
    /// Code of the person's role.
    #[n(4)]
    pub role: Option<String>,
    /// What: `opened`, `acknowledged` …
    #[n(5)]
    pub code: String,
    /// Alert that it is about: (epoch, n).
    #[n(6)]
    pub alert: Option<(u64, u32)>,
    /// Words of the author.
    #[n(7)]
    pub text: Option<String>,
    /// Until when it has to be done, civil ms.
    #[n(8)]
    pub deadline: Option<i64>,
    /// Window of a verification, engine time.
    #[n(9)]
    pub window: Option<(i64, i64)>,
    /// Verdict, decision or disposition.
    #[n(10)]
    pub outcome: Option<String>,
    /// SHA-256 of each attachment.
    #[n(11)]
    pub attachments: Vec<ByteArray<32>>,
    /// Of a verdict that came from records: by which method, [`gateway_engine::verify::METHOD`].
    #[n(12)]
    pub method: Option<u16>,
}

/// A photo that a step names and that was erased by a logged act.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasedAttachment {
    /// SHA-256 of its bytes.
    #[n(0)]
    pub hash: ByteArray<32>,
    /// When, civil ms.
    #[n(1)]
    pub at: i64,
    /// Why.
    #[n(2)]
    pub reason: String,
}

const CENTER: &[&str] = &["duty_officer", "reviewer", "admin"];
const REVIEW: &[&str] = &["reviewer", "admin"];
const UNIT: &[&str] = &["institution"];
const ANYBODY: &[&str] =
    &["duty_officer", "reviewer", "admin", "institution", "inspector", "maintainer", "collector"];
/// No person: a gateway or the center.
const MACHINE: &[&str] = &[];
const OPEN: &[&str] =
    &["open", "acknowledged", "dispatched", "rectifying", "verifying", "on_site", "verified"];
const ANY: &[&str] =
    &["open", "acknowledged", "dispatched", "rectifying", "verifying", "on_site", "verified", "closed"];

/// What, who may, in which states, which state follows ("" = the same). Where it depends on the outcome, a row each.
type Row =
    (&'static str, Option<&'static str>, &'static [&'static str], &'static [&'static str], &'static str);
const TABLE: &[Row] = &[
    ("opened", None, MACHINE, &[""], "open"),
    ("joined", None, MACHINE, OPEN, ""),
    ("worsened", None, MACHINE, OPEN, ""),
    ("self_cleared", None, MACHINE, ANY, ""),
    ("acknowledged", None, CENTER, &["open"], "acknowledged"),
    ("dispatched", None, CENTER, &["acknowledged"], "dispatched"),
    ("accepted", None, UNIT, &["dispatched"], "rectifying"),
    ("submitted", None, UNIT, &["rectifying", "on_site"], "verifying"),
    ("judged", Some("pass"), MACHINE, &["verifying"], "verified"),
    ("judged", Some("fail"), MACHINE, &["verifying"], "rectifying"),
    ("judged", Some("insufficient"), MACHINE, &["verifying"], ""),
    ("extended", None, MACHINE, &["verifying"], ""),
    ("on_site_needed", None, MACHINE, &["verifying"], "on_site"),
    ("reviewed", Some("approve"), REVIEW, &["verified"], "closed"),
    ("reviewed", Some("reject"), REVIEW, &["verified"], "rectifying"),
    ("disposed", None, CENTER, &["acknowledged"], "closed"),
    ("noted", None, ANYBODY, ANY, ""),
    ("recalled", None, CENTER, &["dispatched", "rectifying", "on_site"], "acknowledged"),
    ("reverified", None, CENTER, &["on_site"], "verifying"),
];

pub(super) fn line(parts: &Parts<'_>, walk: &Walk) -> Line {
    let Some(bytes) = parts.file(CASE) else {
        return Line::nothing("case", "a bundle of a gateway: the center's case is not part of it");
    };
    let mut line = Line::new("case");
    let Ok(case) = gateway_wire::decode::<CaseFile>(CASE, bytes) else {
        line.fail("case", CASE, "cannot be read");
        return line;
    };
    if parts.manifest.as_ref().is_some_and(|manifest| manifest.gateway != case.gateway) {
        line.fail("other_gateway", CASE, "a case about another gateway");
    }
    let mut run =
        Run { state: "", dispatched_by: None, acknowledged_by: None, deadline: None, overdue: 0, alerts: 0 };
    let mut before = i64::MIN;
    for (place, step) in (1_u32..).zip(&case.events) {
        if step.n != place {
            line.fail("number", step.n, format!("event {place} has the number {}", step.n));
        }
        if step.at < before {
            line.fail("back", step.n, "earlier than the event before it");
        }
        before = step.at;
        run.step(&case, step, walk, &mut line);
    }
    attachments(parts, &case, &mut line);
    line.say = format!(
        "case {}, {} events, {}; {} deadlines missed",
        case.id,
        case.events.len(),
        run.state,
        run.overdue
    );
    line.fact("case", case.id);
    line.fact("events", case.events.len());
    line.fact("state", run.state);
    line.fact("alerts", run.alerts);
    line.fact("overdue", run.overdue);
    line
}

/// Every photo that a step names is there, or was erased by a logged act; those are told apart.
fn attachments(parts: &Parts<'_>, case: &CaseFile, line: &mut Line) {
    let erased = parts.file(ERASED_ATTACHMENTS).map_or(Some(Vec::new()), read_erased);
    let Some(erased) = erased else {
        return line.fail("erased_attachments", ERASED_ATTACHMENTS, "cannot be read");
    };
    for file in parts.files.iter().filter(|file| file.name.starts_with(ATTACHMENTS)) {
        if file.name[ATTACHMENTS.len()..] != hex(&hash(file.bytes)) {
            line.fail("attachment", file.name, "not the bytes that its name says");
        }
    }
    for step in &case.events {
        for named in &step.attachments {
            let name = hex(&named[..]);
            if parts.file(&format!("{ATTACHMENTS}{name}")).is_some() {
                continue;
            }
            match erased.iter().find(|one| one.hash == *named) {
                Some(one) => line.lack("attachment_erased", step.n, format!("{name}: {}", one.reason)),
                None => line.lack("attachment_missing", step.n, name),
            }
        }
    }
}

fn read_erased(bytes: &[u8]) -> Option<Vec<ErasedAttachment>> {
    gateway_wire::decode(ERASED_ATTACHMENTS, bytes).ok()
}

struct Run<'c> {
    state: &'static str,
    dispatched_by: Option<&'c str>,
    acknowledged_by: Option<&'c str>,
    deadline: Option<i64>,
    overdue: u64,
    alerts: u64,
}

impl<'c> Run<'c> {
    fn step(&mut self, case: &'c CaseFile, step: &'c CaseStep, walk: &Walk, line: &mut Line) {
        let matches = |row: &&Row| {
            row.0 == step.code && row.1.is_none_or(|outcome| step.outcome.as_deref() == Some(outcome))
        };
        let Some((_, _, roles, states, next)) = TABLE.iter().find(matches) else {
            return line.lack("unknown_event", step.n, format!("{}: not known to this release", step.code));
        };
        if !states.contains(&self.state) {
            line.fail(
                "transition",
                step.n,
                format!("{} is not allowed in state {:?}", step.code, self.state),
            );
        }
        let machine = step.actor != "person";
        let allowed = if machine {
            roles.is_empty()
        } else {
            step.role.as_deref().is_some_and(|role| roles.contains(&role))
        };
        if !allowed {
            let who = step.role.as_deref().unwrap_or(&step.actor);
            line.fail("role", step.n, format!("{} by {who}", step.code));
        }
        self.four_eyes(case, step, line);
        if matches!(&*step.code, "opened" | "joined") {
            self.alerts += 1;
            match step.alert.and_then(|alert| walk.raised.get(&alert)) {
                Some(rule) if *rule == case.rule => {}
                Some(_) => line.fail("other_rule", step.n, "the alert is one of another rule"),
                None => line.lack("alert", step.n, "the alert was not raised in these records"),
            }
        }
        match &*step.code {
            "dispatched" => (self.dispatched_by, self.deadline) = (step.person.as_deref(), step.deadline),
            "acknowledged" => self.acknowledged_by = step.person.as_deref(),
            "submitted" => {
                self.overdue += u64::from(self.deadline.is_some_and(|deadline| step.at > deadline));
            }
            _ => {}
        }
        if !next.is_empty() {
            self.state = next;
        }
    }

    /// At the top priority, who dispatched does not review, and who received does not dispose.
    fn four_eyes(&self, case: &CaseFile, step: &CaseStep, line: &mut Line) {
        let first = match &*step.code {
            "reviewed" => self.dispatched_by,
            "disposed" => self.acknowledged_by,
            _ => None,
        };
        if case.priority == 1 && first.is_some() && first == step.person.as_deref() {
            line.fail("four_eyes", step.n, "by the person who took the step before it");
        }
    }
}

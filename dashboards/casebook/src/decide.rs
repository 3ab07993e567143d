//! The case table: which command in which state by whom leads to which events.

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{CivilTime, Priority};

use crate::{
    Actor, Case, CaseEvent, CaseEventBody, CaseState, Command, CommandBody, CommandKind, Decision, Refusal,
    Role, VerdictKind,
};

/// Windows added for lack of data before somebody has to go there (K12).
pub const EXTENSIONS_MAX: u32 = 2;
/// Attachments of one submission, at most; more is refused.
pub const ATTACHMENTS_MAX: usize = 20;
/// Bytes of a text or reason, at most; longer is refused.
pub const TEXT_MAX: usize = 4_000;

const CENTER: &[Role] = &[Role::DutyOfficer, Role::Reviewer, Role::Admin];
const REVIEW: &[Role] = &[Role::Reviewer, Role::Admin];
const UNIT: &[Role] = &[Role::Institution];
const NOTES: &[Role] = &[
    Role::DutyOfficer,
    Role::Reviewer,
    Role::Admin,
    Role::Institution,
    Role::Inspector,
    Role::Maintainer,
    Role::Collector,
];

/// One cell of the table.
enum Cell {
    /// People in one of these roles may.
    People(&'static [Role]),
    /// A gateway or the center may.
    Machine,
    /// Nobody, and why.
    Nobody(Refusal),
}

/// The table itself. Rows are commands, columns states; each cell says who may, or why nobody may.
fn cell(state: CaseState, kind: CommandKind) -> Cell {
    use CaseState::{Acknowledged, Closed, Dispatched, OnSite, Open, Rectifying, Verified, Verifying};
    use Cell::{Machine, Nobody, People};
    use CommandKind as K;
    match (kind, state) {
        (
            K::Merge
            | K::Object
            | K::DecideObjection
            | K::Transfer
            | K::Extend
            | K::Withdraw
            | K::OnSiteResult,
            _,
        ) => Nobody(Refusal::NotYet),
        // K20: a note is possible at any time, also afterwards.
        (K::Note, _) => People(NOTES),
        (
            K::Raise
            | K::Acknowledge
            | K::Dispatch
            | K::Accept
            | K::Submit
            | K::Judge
            | K::Review
            | K::Close
            | K::Recall
            | K::Reverify,
            Closed,
        ) => Nobody(Refusal::Closed),
        // An alert of a closed case still returns to normal: recorded, nothing changes (invariant 8).
        (K::Clear, _)
        | (K::Raise, Open | Acknowledged | Dispatched | Rectifying | Verifying | OnSite | Verified)
        | (K::Judge, Verifying) => Machine,
        (K::Acknowledge, Open)
        | (K::Dispatch | K::Close, Acknowledged)
        | (K::Recall, Dispatched | Rectifying | OnSite)
        | (K::Reverify, OnSite) => People(CENTER),
        (K::Accept, Dispatched) | (K::Submit, Rectifying | OnSite) => People(UNIT),
        (K::Review, Verified) => People(REVIEW),
        (K::Close, Open) => Nobody(Refusal::AcknowledgeFirst),
        (K::Close, Dispatched | Rectifying | Verifying | OnSite | Verified) => Nobody(Refusal::NeedsPass),
        (K::Acknowledge, Acknowledged | Dispatched | Rectifying | Verifying | OnSite | Verified)
        | (K::Dispatch, Open | Dispatched | Rectifying | Verifying | OnSite | Verified)
        | (K::Accept, Open | Acknowledged | Rectifying | Verifying | OnSite | Verified)
        | (K::Submit, Open | Acknowledged | Dispatched | Verifying | Verified)
        | (K::Judge, Open | Acknowledged | Dispatched | Rectifying | OnSite | Verified)
        | (K::Review, Open | Acknowledged | Dispatched | Rectifying | Verifying | OnSite)
        | (K::Recall, Open | Acknowledged | Verifying | Verified)
        | (K::Reverify, Open | Acknowledged | Dispatched | Rectifying | Verifying | Verified) => {
            Nobody(Refusal::State)
        }
    }
}

/// May this actor give such a command now? Content is not looked at.
pub fn permits(case: &Case, actor: &Actor, kind: CommandKind) -> Result<(), Refusal> {
    match (cell(case.state, kind), actor) {
        (Cell::Nobody(refusal), _) => Err(refusal),
        (Cell::Machine, Actor::Gateway(_) | Actor::Center) => Ok(()),
        (Cell::Machine, Actor::Person { .. }) | (Cell::People(_), Actor::Gateway(_) | Actor::Center) => {
            Err(Refusal::Role)
        }
        (Cell::People(roles), Actor::Person { id, role, institution }) => {
            if !roles.contains(role) {
                return Err(Refusal::Role);
            }
            if *role == Role::Institution && institution.as_ref() != Some(&case.key.institution) {
                return Err(Refusal::OtherInstitution);
            }
            // Four eyes, for the top priority only: who dispatched does not review, who received does not dispose.
            let first = match kind {
                CommandKind::Review => &case.dispatched_by,
                CommandKind::Close => &case.acknowledged_by,
                CommandKind::Raise
                | CommandKind::Clear
                | CommandKind::Acknowledge
                | CommandKind::Dispatch
                | CommandKind::Accept
                | CommandKind::Submit
                | CommandKind::Judge
                | CommandKind::Note
                | CommandKind::Recall
                | CommandKind::Reverify
                | CommandKind::Merge
                | CommandKind::Object
                | CommandKind::DecideObjection
                | CommandKind::Transfer
                | CommandKind::Extend
                | CommandKind::Withdraw
                | CommandKind::OnSiteResult => &None,
            };
            if case.priority == Priority::Red && first.as_ref() == Some(id) {
                return Err(Refusal::SamePerson);
            }
            Ok(())
        }
    }
}

/// The commands that this actor may give now: what a page offers, and nothing else.
pub fn next(case: &Case, actor: &Actor) -> Vec<CommandKind> {
    CommandKind::ALL.iter().copied().filter(|kind| permits(case, actor, *kind).is_ok()).collect()
}

/// What the command does to the case at `now`, or why it does nothing. Number and author of each event are
/// filled in; the caller stores the events and applies them.
pub fn decide(case: Option<&Case>, command: &Command, now: CivilTime) -> Result<Vec<CaseEvent>, Refusal> {
    let bodies = bodies(case, command, now)?;
    let last = case.map_or(0, |case| case.event);
    Ok((last + 1..)
        .zip(bodies)
        .map(|(n, body)| CaseEvent { n, at: now, actor: command.actor.clone(), body })
        .collect())
}

fn bodies(case: Option<&Case>, command: &Command, now: CivilTime) -> Result<Vec<CaseEventBody>, Refusal> {
    let Some(case) = case else { return open(command) };
    permits(case, &command.actor, command.body.kind())?;
    if command.seen != case.event {
        return Err(Refusal::Stale);
    }
    match &command.body {
        CommandBody::Raise { alert, priority, key, recurrence_of: _ } => {
            if *key != case.key {
                return Err(Refusal::NoCase);
            }
            if case.alerts.iter().any(|(known, _)| known == alert) {
                // Known, and more urgent than everything so far.
                let worse = case.alerts.contains(&(*alert, false)) && *priority < case.priority;
                let worsened = CaseEventBody::Worsened { alert: *alert, priority: *priority };
                return if worse { Ok(vec![worsened]) } else { Err(Refusal::AlertKnown) };
            }
            Ok(vec![CaseEventBody::Joined { alert: *alert, priority: *priority }])
        }
        CommandBody::Clear { alert } => {
            if !case.alerts.contains(&(*alert, false)) {
                return Err(Refusal::AlertKnown);
            }
            Ok(vec![CaseEventBody::SelfCleared { alert: *alert }])
        }
        CommandBody::Acknowledge => Ok(vec![CaseEventBody::Acknowledged]),
        CommandBody::Dispatch { recipient, deadline, requirement } => {
            limited(recipient)?;
            limited(requirement)?;
            if recipient.trim().is_empty() {
                return Err(Refusal::RecipientRequired);
            }
            if requirement.trim().is_empty() {
                return Err(Refusal::TextRequired);
            }
            if *deadline <= now {
                return Err(Refusal::DeadlinePast);
            }
            Ok(vec![CaseEventBody::Dispatched {
                recipient: recipient.clone(),
                deadline: *deadline,
                requirement: requirement.clone(),
            }])
        }
        CommandBody::Accept => Ok(vec![CaseEventBody::Accepted]),
        CommandBody::Submit { text, attachments, uploaded, window } => {
            limited(text)?;
            if text.trim().is_empty() {
                return Err(Refusal::TextRequired);
            }
            if attachments.len() > ATTACHMENTS_MAX {
                return Err(Refusal::TooManyAttachments);
            }
            if !uploaded {
                return Err(Refusal::AttachmentMissing);
            }
            Ok(vec![CaseEventBody::Submitted {
                text: text.clone(),
                attachments: attachments.clone(),
                window: *window,
            }])
        }
        CommandBody::Judge { verdict, next } => {
            if case.window != Some(verdict.window) {
                return Err(Refusal::OtherWindow);
            }
            let judged = CaseEventBody::Judged { verdict: verdict.clone() };
            Ok(match verdict.kind {
                VerdictKind::Pass | VerdictKind::Fail => vec![judged],
                VerdictKind::Insufficient if case.attempt.extensions < EXTENSIONS_MAX => {
                    vec![judged, CaseEventBody::Extended { window: *next }]
                }
                VerdictKind::Insufficient => vec![judged, CaseEventBody::OnSiteNeeded],
            })
        }
        CommandBody::Review { decision, reason } => {
            limited(reason)?;
            if *decision == Decision::Reject && reason.trim().is_empty() {
                return Err(Refusal::ReasonRequired);
            }
            Ok(vec![CaseEventBody::Reviewed { decision: *decision, reason: reason.clone() }])
        }
        CommandBody::Close { disposition, reason } => {
            required(reason)?;
            Ok(vec![CaseEventBody::Disposed { disposition: *disposition, reason: reason.clone() }])
        }
        CommandBody::Note { text } => {
            limited(text)?;
            if text.trim().is_empty() {
                return Err(Refusal::TextRequired);
            }
            Ok(vec![CaseEventBody::Noted { text: text.clone() }])
        }
        CommandBody::Recall { reason } => {
            required(reason)?;
            Ok(vec![CaseEventBody::Recalled { reason: reason.clone() }])
        }
        CommandBody::Reverify { window } => Ok(vec![CaseEventBody::Reverified { window: *window }]),
        // Refused by the table already.
        CommandBody::Merge
        | CommandBody::Object
        | CommandBody::DecideObjection
        | CommandBody::Transfer
        | CommandBody::Extend
        | CommandBody::Withdraw
        | CommandBody::OnSiteResult => Err(Refusal::NotYet),
    }
}

/// Without a case only an alert of a machine can open one.
fn open(command: &Command) -> Result<Vec<CaseEventBody>, Refusal> {
    let CommandBody::Raise { key, alert, priority, recurrence_of } = &command.body else {
        return Err(Refusal::NoCase);
    };
    match command.actor {
        Actor::Gateway(_) | Actor::Center => Ok(vec![CaseEventBody::Opened {
            key: key.clone(),
            alert: *alert,
            priority: *priority,
            recurrence_of: *recurrence_of,
        }]),
        Actor::Person { .. } => Err(Refusal::Role),
    }
}

fn limited(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_MAX { Err(Refusal::TooLong) } else { Ok(()) }
}

fn required(reason: &str) -> Result<(), Refusal> {
    limited(reason)?;
    if reason.trim().is_empty() { Err(Refusal::ReasonRequired) } else { Ok(()) }
}

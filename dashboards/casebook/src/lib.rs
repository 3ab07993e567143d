//! Decisions about cases: what an alert, a person's command or a verdict from data does to a case.
//!
//! [`decide`] looks at a case as it stands and answers with events or with a refusal in words; [`Case::apply`]
//! takes an event in and cannot fail. Told the time, never asking for it: no clock, no socket, no store, no
//! randomness. A case replayed from its stored events is equal to the case that lived through them.
//!
//! Leaves out, and refuses in words as "not yet": merging, objection, extension, transfer, withdrawal and the
//! result of an on-site check (K2, K7, K8, K16, K22, K25); deadlines do not act by themselves yet (K4, K15).
#![no_std]

extern crate alloc;

mod case;
mod command;
mod contact;
mod decide;
mod item;
mod refusal;
mod role;
mod telling;

pub use case::{Attempt, Case, CaseEvent, CaseEventBody, CaseState, Key, Window};
pub use command::{Actor, Command, CommandBody, CommandKind, Decision, Disposition, Verdict, VerdictKind};
pub use contact::{
    Contact, DELAYED_MS, INCIDENT_MIN, INCIDENT_PERCENT, INCIDENT_WITHIN_MS, LOST_DUE_MS, LOST_MS, SILENT_MS,
    Silence, TOWNSHIP_MIN, incident,
};
pub use decide::{ATTACHMENTS_MAX, EXTENSIONS_MAX, TEXT_MAX, decide, next, permits};
pub use item::{is_item, priority};
pub use refusal::Refusal;
pub use role::Role;
pub use telling::{MORNING_MS, Telling, duty, next_morning, ratios, telling};

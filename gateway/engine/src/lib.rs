//! What readings mean: derived cycles, rules and alerts, decided without a clock, a file or a thread.
//!
//! One thing in, conclusions out: [`Engine::step`] is told what happened and when, and answers with what was
//! concluded from it. [`Engine::deadline`] says when it next has something to do by itself. The same inputs in
//! the same order give the same conclusions on any machine; that is what makes a journal of inputs evidence.
//!
//! Promises:
//! - **Time** only ever comes from inputs. Before an input at `t` is eaten, every timer due at or before `t`
//!   fires, in the order (due, timer id), each at its own due time. An older stamp is eaten at the engine's
//!   current time; a reading older than the last of its point is *late* and never judged.
//! - **No data is not normal.** Only a good value moves an alert; silence, stale and bad values freeze it.
//! - **No panics**, whatever the plan or the input: slots that do not exist are ignored, arithmetic saturates.
//!
//! Leaves out: reading devices, journaling, telling anybody.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod abort;
mod absence;
mod acknowledge;
mod alert;
mod cycle;
mod engine;
mod eval;
mod event;
mod fingerprint;
mod handling;
mod heat_cycle;
mod hours;
pub mod intake;
mod judging;
mod lethality;
mod meter;
mod module;
mod points;
mod quality;
mod restore;
mod senses;
mod start;
mod still;
mod tally;
mod thinning;
mod timers;
pub mod verify;
mod waste;
mod watch;
mod window;
mod wiring;

pub use acknowledge::OUT_OF_SERVICE_MAX_MS;
pub use engine::{Engine, OpenAlert};
pub use eval::evaluate;
pub use fingerprint::fingerprint;
pub use hours::contact_due_ms;
pub use restore::RestoreError;
pub use still::Restuck;

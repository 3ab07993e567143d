//! What feed faults make of a device's messages.

use super::FeedFault;
use crate::civil::Civil;
use crate::device::{Message, Tick};

/// A message held back for its successor goes out after so many seconds all the same.
const HELD_MAX_S: i64 = 600;

/// A message as it leaves: retained or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// For the broker to keep?
    pub retain: bool,
}

/// The way of one device's messages to the broker.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    faults: Vec<FeedFault>,
    last: Option<Sent>,
    held: Option<Sent>,
}

impl Feed {
    /// Forgets the faults that were on.
    pub(crate) fn mend(&mut self) {
        self.faults.clear();
    }

    /// One more is on.
    pub(crate) fn add(&mut self, fault: FeedFault) {
        self.faults.push(fault);
    }

    /// Is there nothing to do for it when its device says nothing?
    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_none() && self.faults.is_empty()
    }

    /// A message of the device goes its way.
    pub(crate) fn pass(&mut self, mut message: Message, tick: Tick, out: &mut dyn FnMut(Sent)) {
        let (mut copies, mut retain, mut hold) = (1, false, false);
        for fault in &self.faults {
            match *fault {
                FeedFault::Duplicate => copies = 2,
                FeedFault::Reordered => hold = true,
                FeedFault::Retained => retain = true,
                FeedFault::ClockWrong(by_s) => {
                    message.payload = redated(&message.payload, tick, i64::from(by_s));
                }
                FeedFault::Flood(_) => {}
            }
        }
        let sent = Sent { message, retain };
        self.last = Some(sent.clone());
        if hold && self.held.is_none() {
            self.held = Some(sent);
            return;
        }
        for _ in 0..copies {
            out(sent.clone());
        }
        if let Some(held) = self.held.take() {
            for _ in 0..copies {
                out(held.clone());
            }
        }
    }

    /// A second of the device is over.
    pub(crate) fn second(&mut self, at: Civil, out: &mut dyn FnMut(Sent)) {
        for fault in &self.faults {
            match (fault, &self.last) {
                (FeedFault::Flood(times), Some(last)) => (0..*times).for_each(|_| out(last.clone())),
                (FeedFault::Flood(_), None)
                | (
                    FeedFault::Duplicate
                    | FeedFault::Reordered
                    | FeedFault::Retained
                    | FeedFault::ClockWrong(_),
                    _,
                ) => {}
            }
        }
        let reordered = self.faults.contains(&FeedFault::Reordered);
        let stale = |sent: &Sent| at.0 - sent.message.at.0 >= HELD_MAX_S * 1000;
        if let Some(held) = self.held.take_if(|sent| !reordered || stale(sent)) {
            out(held);
        }
    }
}

/// The payload with the moment of this second replaced by one `by_s` later: as local or UTC text, or as Unix seconds.
fn redated(payload: &str, tick: Tick, by_s: i64) -> String {
    /// Date and time without the zone.
    const BARE: usize = "2026-11-22T09:30:00".len();
    let wrong = tick.at.plus_s(by_s);
    let mut payload = payload.to_owned();
    for offset in [tick.utc_offset_min, 0] {
        let (is, shown) = (tick.at.rfc3339(offset), wrong.rfc3339(offset));
        if let (Some(is), Some(shown)) = (is.get(..BARE), shown.get(..BARE)) {
            payload = payload.replace(is, shown);
        }
    }
    let seconds = |at: Civil| at.0.div_euclid(1000).to_string();
    payload.replace(&seconds(tick.at), &seconds(wrong))
}

//! What a sink does next: when to send how much, what an answer means for what was sent, how far the cursor has come.
//! No socket, file or clock: told the time and the answer, it says what must now be done.
//!
//! Promises: the cursor never passes a parcel that was neither taken by the target nor set aside nor put on the late list;
//! parcels leave in the order of their records, except those on the late list; a parcel that the target cannot take is
//! found by halving (log2 of the batch in requests) and set aside alone; a pause is never shorter than the target asked for.
//!
//! At the limits: [`Limits::count`] and [`Limits::bytes`] of one batch, [`LATE_MAX`] late parcels (then the stream waits
//! for the first of the queue), two batches read ahead.

use std::collections::{BTreeSet, VecDeque};

use gateway_journal::Position;
use serde::{Deserialize, Serialize};

pub use super::parcel::{Parcel, Trouble};

/// Milliseconds of a clock that never steps; its zero has no meaning.
pub type Millis = u64;

/// Late parcels at a time.
pub const LATE_MAX: usize = 32;
/// A parcel that failed so often makes room for those behind it, where the policy gives up some day.
const LATE_FROM: usize = 3;
/// Batches taken in a row before a batch that was made smaller grows again.
const GROW_AFTER: u32 = 16;
/// A target that has to be repaired by a person is asked again at this distance, doubling.
const REFUSED_FIRST: Millis = 30_000;
/// See [`REFUSED_FIRST`].
const REFUSED_LAST: Millis = 600_000;
/// Longest pause that a target may ask for.
const ASKED_MAX: Millis = 24 * 3_600_000;

/// How much at once, and how long a small batch waits for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Parcels of one batch.
    pub count: usize,
    /// Bytes of one batch before compression; one parcel always fits.
    pub bytes: usize,
    /// The oldest parcel waits at most so long for a full batch.
    pub linger: Millis,
}

/// How often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Doubling pauses, for ever.
    Doubling {
        /// The first pause.
        first: Millis,
        /// The longest.
        last: Millis,
    },
    /// These pauses after the first attempt; then the parcel is set aside.
    Schedule(&'static [Millis]),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these, then [`Core::report`].
    Send(Vec<Parcel>),
    /// Nothing before this moment, unless something new is fed.
    Wait(Millis),
    /// Nothing before something new is fed.
    Idle,
    /// Nothing any more: the target said so.
    Stopped,
}

/// What must be made durable, in this order, before the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Set this parcel aside, with what was said of it.
    Aside(Parcel, String),
    /// The late list is another one now: [`Core::late`].
    Late,
    /// The target wants nothing more.
    Stopped(String),
}

/// A parcel that made room for those behind it, with a schedule of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// What.
    pub parcel: Parcel,
    /// Attempts that failed.
    pub attempts: usize,
    /// What was said last.
    pub words: String,
    /// When it is tried again; at once after a restart.
    #[serde(skip)]
    due: Millis,
}

/// One record read, and what of it is still to be delivered.
#[derive(Debug)]
struct Entry {
    record: Position,
    fed: Millis,
    parcels: VecDeque<Parcel>,
}

/// What was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Queue(usize),
    Late(usize),
}

/// One sink.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    policy: Policy,
    queue: VecDeque<Entry>,
    waiting: usize,
    waiting_bytes: usize,
    cursor: Option<Position>,
    late: Vec<Late>,
    sent: Sent,
    /// Failures of the first parcel of the queue, in a row.
    attempts: usize,
    /// Failures of the target that only a person ends, in a row.
    refused: u32,
    retry_at: Option<Millis>,
    /// The first so many parcels hold at least one that cannot be taken.
    suspects: usize,
    count: usize,
    bytes: usize,
    taken_in_a_row: u32,
    /// Parcels that failed since the last one was taken.
    streak: BTreeSet<(u64, u64, u32)>,
    stopped: bool,
}

impl Core {
    /// Goes on behind `cursor`, with what was late.
    pub fn new(limits: Limits, policy: Policy, cursor: Option<Position>, late: Vec<Late>) -> Self {
        Self {
            limits,
            policy,
            queue: VecDeque::new(),
            waiting: 0,
            waiting_bytes: 0,
            cursor,
            late,
            sent: Sent::Nothing,
            attempts: 0,
            refused: 0,
            retry_at: None,
            suspects: 0,
            count: limits.count,
            bytes: limits.bytes,
            taken_in_a_row: 0,
            streak: BTreeSet::new(),
            stopped: false,
        }
    }

    /// The last record of which everything is delivered, set aside or late.
    pub fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// Parcels read and not yet delivered.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Parcels that made room for others.
    pub fn late(&self) -> &[Late] {
        &self.late
    }

    /// Failures in a row of what is tried now; 0 = it works.
    pub fn failures(&self) -> usize {
        self.attempts + self.refused as usize
    }

    /// A person wants to go on with a target that had said that it wants nothing more.
    pub fn resume(&mut self) {
        self.stopped = false;
        (self.attempts, self.retry_at) = (0, None);
    }

    /// Is there room for more records?
    pub fn wants(&self) -> bool {
        !self.stopped && self.waiting < 2 * self.limits.count && self.waiting_bytes < 2 * self.limits.bytes
    }

    /// A record was read; records are fed in order.
    pub fn feed(&mut self, record: Position, parcels: Vec<Parcel>, now: Millis) {
        self.waiting += parcels.len();
        self.waiting_bytes += parcels.iter().map(Parcel::size).sum::<usize>();
        match self.queue.back_mut().filter(|last| last.parcels.is_empty() && parcels.is_empty()) {
            // However many records hold nothing for this sink, they take no room.
            Some(last) => last.record = record,
            None => self.queue.push_back(Entry { record, fed: now, parcels: parcels.into() }),
        }
        self.settle();
    }

    /// What to do at `now`. After [`Step::Send`] comes [`Core::report`].
    pub fn step(&mut self, now: Millis) -> Step {
        if self.stopped {
            return Step::Stopped;
        }
        if let Some(ix) = self.late.iter().position(|late| late.due <= now) {
            self.sent = Sent::Late(ix);
            return Step::Send(vec![self.late[ix].parcel.clone()]);
        }
        let late = self.late.iter().map(|late| late.due).min();
        let soonest = |moment: Option<Millis>| match (moment, late) {
            (Some(a), Some(b)) => Step::Wait(a.min(b)),
            (Some(moment), None) | (None, Some(moment)) => Step::Wait(moment),
            (None, None) => Step::Idle,
        };
        let Some(oldest) = self.queue.front() else { return soonest(None) };
        if let Some(retry_at) = self.retry_at.filter(|retry_at| *retry_at > now) {
            return soonest(Some(retry_at));
        }
        let ripe = oldest.fed.saturating_add(self.limits.linger);
        let full = self.waiting >= self.count || self.waiting_bytes >= self.bytes;
        if !full && self.suspects == 0 && self.retry_at.is_none() && ripe > now {
            return soonest(Some(ripe));
        }
        let batch = self.batch();
        self.sent = Sent::Queue(batch.len());
        Step::Send(batch)
    }

    fn batch(&self) -> Vec<Parcel> {
        let most = if self.suspects > 0 { self.count.min((self.suspects / 2).max(1)) } else { self.count };
        let mut bytes = 0;
        self.queue
            .iter()
            .flat_map(|entry| &entry.parcels)
            .take(most)
            .take_while(|parcel| {
                let first = bytes == 0;
                bytes += parcel.size();
                first || bytes <= self.bytes
            })
            .cloned()
            .collect()
    }

    /// The target took the first `taken` of what was sent, and said `trouble` about the rest. `jitter` is between −1 and
    /// 1 and spreads pauses by a quarter. [`Core::cursor`] is saved after the effects.
    pub fn report(
        &mut self,
        now: Millis,
        taken: usize,
        trouble: Option<&Trouble>,
        jitter: f64,
    ) -> Vec<Effect> {
        match std::mem::replace(&mut self.sent, Sent::Nothing) {
            Sent::Nothing => Vec::new(),
            Sent::Late(ix) => self.report_late(now, ix, trouble, jitter),
            Sent::Queue(n) => self.report_queue(now, n, taken.min(n), trouble, jitter),
        }
    }

    fn report_queue(
        &mut self,
        now: Millis,
        n: usize,
        taken: usize,
        trouble: Option<&Trouble>,
        jitter: f64,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..taken {
            self.pop();
        }
        self.suspects = self.suspects.saturating_sub(taken);
        if taken > 0 {
            effects.extend(self.works(now));
        }
        let rest = n - taken;
        let Some(trouble) = trouble.filter(|_| rest > 0) else {
            self.retry_at = None;
            self.grow();
            return effects;
        };
        self.taken_in_a_row = 0;
        match trouble {
            Trouble::Poison { words, only } => {
                self.answered();
                if *only || rest == 1 {
                    self.suspects = self.suspects.saturating_sub(1);
                    effects.extend(self.pop().map(|parcel| Effect::Aside(parcel, words.clone())));
                } else {
                    self.suspects = rest;
                }
                // Not a reason to wait for company.
                self.retry_at = Some(now);
            }
            Trouble::TooLarge { words } => {
                self.answered();
                if rest == 1 {
                    self.suspects = self.suspects.saturating_sub(1);
                    effects.extend(self.pop().map(|parcel| Effect::Aside(parcel, words.clone())));
                } else {
                    self.count = (rest / 2).max(1);
                }
                self.retry_at = Some(now);
            }
            Trouble::Busy { after, .. } => effects.extend(self.failed(now, *after, trouble.words(), jitter)),
            Trouble::Refused { .. } if matches!(self.policy, Policy::Doubling { .. }) => {
                let pause = doubled(REFUSED_FIRST, REFUSED_LAST, self.refused as usize);
                self.refused = self.refused.saturating_add(1);
                self.retry_at = Some(now + spread(pause, jitter));
            }
            Trouble::Down { .. } | Trouble::Refused { .. } => {
                effects.extend(self.failed(now, None, trouble.words(), jitter));
            }
            Trouble::Gone { words } => {
                self.stopped = true;
                effects.push(Effect::Stopped(words.clone()));
            }
        }
        effects
    }

    /// The first parcel of the queue failed once more.
    fn failed(&mut self, now: Millis, asked: Option<Millis>, words: &str, jitter: f64) -> Option<Effect> {
        self.attempts += 1;
        let head = self.queue.front().and_then(|entry| entry.parcels.front());
        self.streak.extend(head.map(Parcel::key));
        let Some(pause) = self.pause(self.attempts, asked, jitter) else {
            self.attempts = 0;
            self.retry_at = Some(now);
            let words = format!("given up after the last attempt: {words}");
            return self.pop().map(|parcel| Effect::Aside(parcel, words));
        };
        self.retry_at = Some(now + pause);
        if matches!(self.policy, Policy::Schedule(_))
            && self.attempts >= LATE_FROM
            && self.late.len() < LATE_MAX
        {
            let (attempts, due) = (self.attempts, now + pause);
            let parcel = self.pop()?;
            self.late.push(Late { parcel, attempts, words: words.to_owned(), due });
            (self.attempts, self.retry_at) = (0, Some(now));
            return Some(Effect::Late);
        }
        None
    }

    fn report_late(&mut self, now: Millis, ix: usize, trouble: Option<&Trouble>, jitter: f64) -> Vec<Effect> {
        let Some(trouble) = trouble else {
            self.late.remove(ix);
            let woken = self.works(now);
            return woken.or(Some(Effect::Late)).into_iter().collect();
        };
        if let Trouble::Gone { words } = trouble {
            self.stopped = true;
            return vec![Effect::Stopped(words.clone())];
        }
        let asked = match trouble {
            Trouble::Busy { after, .. } => *after,
            Trouble::Poison { .. }
            | Trouble::TooLarge { .. }
            | Trouble::Down { .. }
            | Trouble::Refused { .. }
            | Trouble::Gone { .. } => None,
        };
        let hopeless = matches!(trouble, Trouble::Poison { .. } | Trouble::TooLarge { .. });
        let attempts = self.late[ix].attempts + 1;
        self.streak.insert(self.late[ix].parcel.key());
        if let Some(pause) = self.pause(attempts, asked, jitter).filter(|_| !hopeless) {
            let late = &mut self.late[ix];
            (late.attempts, late.due, late.words) = (attempts, now + pause, trouble.words().to_owned());
            return vec![Effect::Late];
        }
        let late = self.late.remove(ix);
        let words = format!("given up after the last attempt: {}", trouble.words());
        vec![Effect::Aside(late.parcel, words), Effect::Late]
    }

    /// Pause before the next attempt; `None` = there is none.
    fn pause(&self, attempts: usize, asked: Option<Millis>, jitter: f64) -> Option<Millis> {
        let own = match self.policy {
            Policy::Doubling { first, last } => doubled(first, last, attempts - 1),
            Policy::Schedule(pauses) => *pauses.get(attempts - 1)?,
        };
        Some(spread(own, jitter).max(asked.unwrap_or(0).min(ASKED_MAX)))
    }

    /// The target answers: whatever it says about a parcel, it is there.
    fn answered(&mut self) {
        (self.attempts, self.refused) = (0, 0);
    }

    /// Something was taken. Where several had failed in a row the target was down: what is late is due at once.
    fn works(&mut self, now: Millis) -> Option<Effect> {
        self.answered();
        let was_down = self.streak.len() > 1;
        self.streak.clear();
        if !was_down || self.late.is_empty() {
            return None;
        }
        self.late.iter_mut().for_each(|late| late.due = now);
        Some(Effect::Late)
    }

    fn grow(&mut self) {
        self.taken_in_a_row += 1;
        if self.taken_in_a_row >= GROW_AFTER {
            self.taken_in_a_row = 0;
            self.count = (self.count * 2).min(self.limits.count);
        }
    }

    fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.queue.front_mut()?.parcels.pop_front()?;
        self.waiting -= 1;
        self.waiting_bytes -= parcel.size();
        self.settle();
        Some(parcel)
    }

    /// Records of which nothing is left move the cursor.
    fn settle(&mut self) {
        while self.queue.front().is_some_and(|entry| entry.parcels.is_empty()) {
            self.cursor = self.queue.pop_front().map(|entry| entry.record);
        }
    }
}

fn doubled(first: Millis, last: Millis, times: usize) -> Millis {
    first.saturating_mul(1 << times.min(32)).min(last)
}

fn spread(pause: Millis, jitter: f64) -> Millis {
    (pause as f64 * (1.0 + 0.25 * jitter.clamp(-1.0, 1.0))) as Millis
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

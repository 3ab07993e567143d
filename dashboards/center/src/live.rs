//! The live stream: a bounded hub that open consoles listen to.
//!
//! Each event has a number; ids are `<server epoch>.<number>`. A client that comes back with an id of this epoch
//! that the ring still reaches gets what it missed; any other gets `reset` and a new snapshot, and so does a
//! client that fell behind. Nothing here can block the writer.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::broadcast;

use crate::store::{AlertRow, CaseRow, DigestRow, Scope};

/// Events a slow client may be behind, and a returning one may have missed; beyond that it starts over.
pub const RING_MAX: usize = 1_024;

/// Something that open pages show.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An alert was raised or changed.
    Alert(Box<AlertRow>),
    /// A case was opened or changed.
    Case(Box<CaseRow>),
    /// A site's duties of the day were told.
    Digest(Box<DigestRow>),
}

impl Change {
    fn institution(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.institution,
            Self::Case(case) => &case.institution,
            Self::Digest(digest) => &digest.institution,
        }
    }

    /// Does it exist for the asker?
    pub fn visible(&self, scope: &Scope) -> bool {
        scope.sees(self.institution())
    }
}

/// A change with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// From 1, without holes, within this start of the server.
    pub n: u64,
    /// What.
    pub change: Change,
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    epoch: i64,
    ring: Mutex<Ring>,
    sender: broadcast::Sender<Numbered>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    events: VecDeque<Numbered>,
}

/// What a client gets first.
#[derive(Debug)]
pub struct Subscription {
    /// Number of the last change before this subscription: everything later comes through `receiver`.
    pub last: u64,
    /// What it missed, if it could be told; `None` = start over with a snapshot.
    pub missed: Option<Vec<Numbered>>,
    /// What comes.
    pub receiver: broadcast::Receiver<Numbered>,
}

impl Hub {
    /// `epoch` differs at every start of the server.
    pub fn new(epoch: i64) -> Self {
        Self { epoch, ring: Mutex::default(), sender: broadcast::channel(RING_MAX).0 }
    }

    /// Of this start of the server.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Tells every open page. Call after the change is committed.
    pub fn publish(&self, change: Change) {
        let mut ring = self.lock();
        ring.last += 1;
        let event = Numbered { n: ring.last, change };
        if ring.events.len() == RING_MAX {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Under the lock, so that numbers leave in order. Nobody listening is no error.
        self.sender.send(event).ok();
    }

    /// Begins to listen; `seen` is the last id the client has, if it has one.
    pub fn subscribe(&self, seen: Option<&str>) -> Subscription {
        let ring = self.lock();
        let receiver = self.sender.subscribe();
        let missed = seen.and_then(|seen| {
            let (epoch, n) = seen.split_once('.')?;
            let n: u64 = n.parse().ok()?;
            let first = ring.events.front().map_or(ring.last + 1, |event| event.n);
            let reached = epoch.parse() == Ok(self.epoch) && n <= ring.last && n + 1 >= first;
            reached.then(|| ring.events.iter().filter(|event| event.n > n).cloned().collect())
        });
        Subscription { last: ring.last, missed, receiver }
    }

    /// Clients listening now.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        // Nothing panics while it is held; if it did, the ring would still be consistent.
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

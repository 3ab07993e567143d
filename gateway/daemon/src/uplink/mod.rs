//! Gateway to center: sends records until the center says it has them, and takes its orders.
//!
//! Promises: a session begins with a comparison of what both ends hold, by hash, and nothing is believed that was not said
//! in it ([`ledger`]); conclusions go first, each with the inputs that led to it and the config they name, past a batch that is
//! under way ([`sender`]); then, while a
//! backlog drains oldest first, at most half of each batch is the newest readings ([`gather`]); a batch is what the line
//! carries in a quarter of a second ([`pace`]); on a metered line readings go in bundles ([`meter`]). A record is done only when a receipt
//! says so, and every failure has one cure: send again. Numbers that the center lacks and the journal has no more are named to it. A link that swallows everything is noticed within 15 s (on a
//! metered line: at the next call). The recorder is only ever asked, never held up.
//!
//! Leaves out: attachments.

pub mod attachments;
pub mod client;
pub mod configurations;
pub mod gather;
pub mod identity;
pub mod ledger;
pub mod meter;
mod orders;
pub mod pace;
pub mod pins;
mod receipts;
mod sender;
pub mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use gateway_journal::Position;
use gateway_model::CivilTime;
use tokio::sync::mpsc;

pub use self::orders::Orders;
pub use self::sender::Sender;
use crate::clock::{self, Clock};
use crate::metrics::Metrics;
use crate::pause::{Backoff, Jitter};
use crate::recorder::{Doors, Urgent};
use crate::state::PositionFile;
use client::Client;
use ledger::Ledger;
use meter::{Bundles, Level, Meter};
use pace::Pace;

/// Distance between attempts after a failure, real time.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// See [`RETRY_FIRST`].
const RETRY_LAST: Duration = Duration::from_mins(1);
/// After a refusal that will not go away by itself.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// A long poll that comes back sooner than this, empty, is not asked again at once.
const POLL_MIN: Duration = Duration::from_secs(1);

/// Pauses of one gateway among thousands that lost the same center.
fn backoff() -> Backoff {
    Backoff::new(RETRY_FIRST, RETRY_LAST).jittered(Jitter::Wide)
}

/// The gateway has to go on in an epoch above this one: the center has other records under its numbers.
#[derive(Debug, thiserror::Error)]
#[error("the center has other records of this gateway up to epoch {floor}")]
pub struct Risen {
    /// Above which.
    pub floor: u64,
}

/// What the page shows of the uplink.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    receipted: std::sync::Mutex<Option<Position>>,
    failures: AtomicU64,
    meter: std::sync::OnceLock<Arc<Meter>>,
    /// The first call is over, well or badly.
    tried: tokio_util::sync::CancellationToken,
}

/// What went over the line this month, heads and framing estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Bytes.
    pub used: u64,
    /// Bytes that may; `None` = the line is not metered.
    pub budget: Option<u64>,
    /// How much of it that is.
    pub level: Level,
}

impl Status {
    /// How far the center has receipted without a hole.
    pub fn receipted(&self) -> Option<Position> {
        *self.0.receipted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Failed attempts in a row; 0 = the link works.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// What went over the line.
    pub fn line(&self) -> Option<Line> {
        let meter = self.0.meter.get()?;
        Some(Line { used: meter.used(), budget: meter.budget, level: meter.level() })
    }

    /// One more failure; how many there were before.
    fn failed(&self) -> u64 {
        self.0.tried.cancel();
        self.0.failures.fetch_add(1, Ordering::Relaxed)
    }

    /// The link works; how many failures there were before.
    fn answered(&self) -> u64 {
        self.0.tried.cancel();
        self.0.failures.swap(0, Ordering::Relaxed)
    }

    fn set_receipted(&self, position: Option<Position>) {
        *self.0.receipted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = position;
    }
}

/// The time a token is stamped with: our own, or what the center told when ours is not known or not accepted.
#[derive(Debug, Clone)]
struct TokenTime {
    doors: Doors,
    clock: Clock,
    /// Correction in ms that the center's last 401 asked for.
    correction: Arc<AtomicI64>,
}

impl TokenTime {
    fn now(&self) -> CivilTime {
        let now = self.clock.now();
        let civil = self.doors.civil.civil(now).unwrap_or(CivilTime(now.0));
        CivilTime(civil.0.saturating_add(self.correction.load(Ordering::Relaxed)))
    }

    fn correct(&self, server: CivilTime) {
        let moved = server.0.saturating_sub(self.now().0);
        self.correction.fetch_add(moved, Ordering::Relaxed);
    }
}

/// What an uplink remembers over a restart. Each may be lost without harm.
pub struct Cursors {
    /// How far the center has receipted.
    pub sent: PositionFile,
    /// How far branches were sent.
    pub aside: PositionFile,
    /// The last order.
    pub orders: PositionFile,
}

/// Where an uplink begins.
pub struct Beginning {
    /// The highest order that the journal knows.
    pub last_order: Option<(u64, u64)>,
    /// The epoch being written.
    pub epoch: u64,
    /// The first that this box can have written: those below are another one's.
    pub first_epoch: u64,
    /// How long to wait before the gateway leaves that epoch, should it have to.
    pub rise_after: Duration,
}

/// Both halves of an uplink.
pub fn new(
    client: Client,
    doors: &Doors,
    clock: &Clock,
    urgent: mpsc::Receiver<Urgent>,
    cursors: Cursors,
    beginning: &Beginning,
    metrics: &Metrics,
) -> (Sender, Orders, Status) {
    let time = TokenTime { doors: doors.clone(), clock: clock.clone(), correction: Arc::default() };
    let status = Status::default();
    status.0.meter.get_or_init(|| Arc::clone(client.meter()));
    let stored = cursors.sent.load();
    status.set_receipted(stored);
    let known = cursors.orders.load().map(|position| (position.epoch, position.seq));
    let orders = Orders {
        client: client.clone(),
        doors: doors.clone(),
        cursor: cursors.orders,
        last: known.max(beginning.last_order).unwrap_or((0, 0)),
        time: time.clone(),
        metrics: metrics.clone(),
        tried: status.0.tried.clone(),
        configuring: None,
        unsigned_at: None,
    };
    let ask_every = sender::ask_every(client.meter().budget.is_some());
    let sender = Sender {
        client,
        doors: doors.clone(),
        urgent,
        waiting: VecDeque::new(),
        heard: BTreeMap::new(),
        ledger: Ledger::default(),
        cursor: cursors.sent,
        stored,
        aside: cursors.aside,
        time,
        metrics: metrics.clone(),
        status: status.clone(),
        session: 0,
        pace: Pace::default(),
        bundles: Bundles::default(),
        began: clock::instant(),
        refused: BTreeMap::new(),
        asked_at: None,
        ask_every,
        jitter: Jitter::Wide,
        wants: Vec::new(),
        was_alone: false,
        written: beginning.epoch,
        first_epoch: beginning.first_epoch,
        before: None,
        compared: false,
        named: Vec::new(),
        rise_after: beginning.rise_after,
    };
    (sender, orders, status)
}

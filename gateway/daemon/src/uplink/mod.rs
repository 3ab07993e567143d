//! Gateway to center: sends records until the center says it has them, and takes its orders.
//!
//! Promises: conclusions go first, each with the inputs that led to it and the config they name; then, while a backlog
//! drains oldest first, at most half of each batch is the newest readings; a record is done only when a receipt says so,
//! and every failure has one cure: send again. A link that swallows everything is noticed within 15 s. The recorder is
//! only ever asked, never held up.
//!
//! Leaves out: attachments, pinned TLS keys (public roots only so far).

pub mod attachments;
pub mod client;
pub mod identity;
pub mod ledger;
pub mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use gateway_journal::Position;
use gateway_model::{CivilTime, Epoch, Gap, GapCause, Seq};
use gateway_wire::{Kind, Receipt, peek};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::metrics::Metrics;
use crate::pause::Backoff;
use crate::recorder::{Asks, Doors, Event, Refused, URGENT_MAX, Urgent};
use crate::state::PositionFile;
use client::{CallError, Client};
use ledger::Ledger;

/// Bytes of one batch, about: a second of a slow mobile line.
const BATCH_BYTES: usize = 512 * 1024;
/// Records of one batch, whatever the center's window allows.
const BATCH_RECORDS: usize = 256;
/// The newest records that may overtake a backlog, per batch.
const NEWEST_RECORDS: u64 = 64;
/// Distance between attempts after a failure, real time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// See [`RETRY_FIRST`].
const RETRY_LAST: Duration = Duration::from_secs(30);
/// After a refusal that will not go away by itself.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Records that the center asks for again, per receipt.
const WANTS_MAX: usize = 256;
/// An empty batch so often, when nothing else is sent: asks what the center has and tells the time.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// Bytes of a journal read while looking for conclusions of an earlier life.
const SCAN_BYTES: usize = 1 << 20;
/// A record refused so often is not sent again.
const REFUSED_MAX: u32 = 2;
/// Refusals that mean the bytes themselves are damaged.
const CORRUPT_CODES: [&str; 3] = ["signature", "malformed", "structure"];
/// A long poll that comes back sooner than this, empty, is not asked again at once.
const POLL_MIN: Duration = Duration::from_secs(1);

/// What the page shows of the uplink.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    receipted: std::sync::Mutex<Option<Position>>,
    failures: AtomicU64,
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

/// The sending half.
pub struct Sender {
    client: Client,
    doors: Doors,
    urgent: mpsc::Receiver<Urgent>,
    waiting: VecDeque<Urgent>,
    ledger: Ledger,
    cursor: PositionFile,
    stored: Option<Position>,
    time: TokenTime,
    metrics: Metrics,
    status: Status,
    window: usize,
    batch_bytes: usize,
    refused: BTreeMap<Position, u32>,
    asked_at: Option<std::time::Instant>,
    wants: Vec<Position>,
}

/// The listening half.
pub struct Orders {
    client: Client,
    doors: Doors,
    cursor: PositionFile,
    last: (u64, u64),
    time: TokenTime,
    metrics: Metrics,
}

/// Both halves of an uplink. `last_order`: the highest that the journal knows.
pub fn new(
    client: Client,
    doors: &Doors,
    clock: &Clock,
    urgent: mpsc::Receiver<Urgent>,
    cursors: (PositionFile, PositionFile),
    last_order: Option<(u64, u64)>,
    metrics: &Metrics,
) -> (Sender, Orders, Status) {
    let time = TokenTime { doors: doors.clone(), clock: clock.clone(), correction: Arc::default() };
    let status = Status::default();
    let (sent, ordered) = cursors;
    let stored = sent.load();
    status.set_receipted(stored);
    let known = ordered.load().map(|position| (position.epoch, position.seq));
    let orders = Orders {
        client: client.clone(),
        doors: doors.clone(),
        cursor: ordered,
        last: known.max(last_order).unwrap_or((0, 0)),
        time: time.clone(),
        metrics: metrics.clone(),
    };
    let sender = Sender {
        client,
        doors: doors.clone(),
        urgent,
        waiting: VecDeque::new(),
        ledger: stored.map(Ledger::resume).unwrap_or_default(),
        cursor: sent,
        stored,
        time,
        metrics: metrics.clone(),
        status: status.clone(),
        window: BATCH_RECORDS,
        batch_bytes: BATCH_BYTES,
        refused: BTreeMap::new(),
        asked_at: None,
        wants: Vec::new(),
    };
    (sender, orders, status)
}

impl Sender {
    /// Sends until told to stop.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            // The recorder has gone: whoever ended it says why.
            _ = self.send() => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), Refused> {
        let mut pause = Backoff::new(RETRY_FIRST, RETRY_LAST);
        // The first question is what the center has: only then is it known what to send.
        let mut first = true;
        loop {
            let batch = if first { Vec::new() } else { self.gather().await? };
            let due = self.asked_at.is_none_or(|at| at.elapsed() >= ASK_EVERY);
            if batch.is_empty() && !first && !due {
                self.wait().await?;
                continue;
            }
            let (positions, records): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let asked = clock::instant();
            match self.client.records(self.time.now(), &records).await {
                Ok(receipt) => {
                    self.metrics.uplink("ok");
                    if self.status.0.failures.swap(0, Ordering::Relaxed) > 0 {
                        tracing::info!("the center answers again");
                    }
                    let error_ms = asked.elapsed().as_millis() as i64 / 2;
                    self.asked_at = Some(clock::instant());
                    pause.reset();
                    let stuck = self.learn(receipt, &positions, error_ms).await?;
                    if first {
                        first = false;
                        self.recall().await?;
                    }
                    if stuck {
                        tokio::time::sleep(REFUSED_PAUSE).await;
                    }
                }
                Err(error) => {
                    let wait = self.failed(&error).unwrap_or_else(|| pause.pause());
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// How long to wait after a failure; `None` = the usual pause.
    fn failed(&mut self, error: &CallError) -> Option<Duration> {
        let (outcome, wait) = match error {
            CallError::Unreachable(_) => ("unreachable", None),
            CallError::Unauthorized { server_time, .. } => {
                if let Some(server) = server_time {
                    self.time.correct(*server);
                }
                ("unauthorized", None)
            }
            CallError::TooLarge => {
                self.batch_bytes = (self.batch_bytes / 2).max(16 * 1024);
                self.window = (self.window / 2).max(1);
                ("too_large", Some(Duration::ZERO))
            }
            CallError::Busy { after } => ("busy", *after),
            // The center's own trouble passes; what it does not want, it will not want in a second either.
            CallError::Refused { status, .. } if status.is_server_error() => ("center_error", None),
            CallError::Refused { .. } => ("refused", Some(REFUSED_PAUSE)),
            CallError::Answer(_) | CallError::TooLong => ("bad_answer", None),
        };
        self.metrics.uplink(outcome);
        if self.status.0.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                error = crate::chain(error),
                "records stay here until the center takes them; trying again, said once"
            );
        }
        wait
    }

    /// Waits for something new to send, at most until the next question is due.
    async fn wait(&mut self) -> Result<(), Refused> {
        tokio::select! {
            changed = self.doors.newest.changed() => changed.map_err(|_| Refused::Stopped),
            Some(urgent) = self.urgent.recv() => {
                self.remember(urgent);
                Ok(())
            }
            () = tokio::time::sleep(ASK_EVERY) => Ok(()),
        }
    }

    fn remember(&mut self, urgent: Urgent) {
        // Beyond the limit they travel with the backlog, in order.
        if self.waiting.len() < URGENT_MAX && !self.ledger.has(urgent.conclusions) {
            self.waiting.push_back(urgent);
        }
    }

    /// Conclusions that an earlier life of this process did not get through: they go first too.
    async fn recall(&mut self) -> Result<(), Refused> {
        let epochs = self.doors.asks.epochs().await?;
        let Some(mut from) = self.ledger.oldest_missing(&epochs) else { return Ok(()) };
        loop {
            let records = self.doors.asks.read(from, SCAN_BYTES).await?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            from = Position { epoch: last.epoch, seq: last.seq + 1 };
            for (position, bytes) in &records {
                if !matches!(peek(bytes), Ok((_, Kind::Conclusions))) || self.ledger.has(*position) {
                    continue;
                }
                // The inputs that led there stand just before it.
                let because = Position { epoch: position.epoch, seq: position.seq.saturating_sub(1) };
                self.remember(Urgent { because, conclusions: *position });
            }
            if self.waiting.len() >= URGENT_MAX {
                return Ok(());
            }
        }
    }

    /// The next batch, in the order of sending.
    async fn gather(&mut self) -> Result<Vec<(Position, Vec<u8>)>, Refused> {
        while let Ok(urgent) = self.urgent.try_recv() {
            self.remember(urgent);
        }
        let mut batch = Batch::new(self.batch_bytes, self.window);
        let asks = self.doors.asks.clone();
        self.waiting.retain(|urgent| !self.ledger.has(urgent.conclusions));
        for urgent in &self.waiting {
            let config = |seq| Position { epoch: urgent.conclusions.epoch, seq };
            for position in [config(0), config(1), urgent.because, urgent.conclusions] {
                batch.add(&asks, &self.ledger, position).await?;
            }
            if batch.full {
                break;
            }
        }
        for position in std::mem::take(&mut self.wants) {
            batch.again(&asks, position).await?;
        }
        let epochs = asks.epochs().await?;
        let Some(oldest) = self.ledger.oldest_missing(&epochs) else { return Ok(batch.records) };
        let newest = epochs.last().map_or(oldest, |(epoch, _, last)| Position { epoch: *epoch, seq: *last });
        // A backlog longer than one batch: its newest end may take half of what is left.
        let live = Position { epoch: newest.epoch, seq: newest.seq.saturating_sub(NEWEST_RECORDS) };
        if oldest < live && !batch.full {
            let half = (batch.bytes_max - batch.bytes) / 2;
            for (position, bytes) in asks.read(live, half).await? {
                if !self.ledger.has(position) {
                    batch.push(position, bytes);
                }
            }
        }
        let mut from = oldest;
        while !batch.full {
            let records = asks.read(from, batch.bytes_max - batch.bytes).await?;
            let Some((last, _)) = records.last() else { break };
            from = Position { epoch: last.epoch, seq: last.seq + 1 };
            for (position, bytes) in records {
                if !self.ledger.has(position) {
                    batch.push(position, bytes);
                }
            }
        }
        Ok(batch.records)
    }

    /// Takes a receipt to heart. True: the center took nothing of what was sent; sending more of it is no use now.
    async fn learn(&mut self, receipt: Receipt, sent: &[Position], error_ms: i64) -> Result<bool, Refused> {
        self.window = (receipt.window as usize).clamp(1, BATCH_RECORDS);
        for epoch in &receipt.epochs {
            self.ledger.learn(epoch);
        }
        let civil = receipt.server_time;
        // A full recorder can do without it: the next receipt tells the time again.
        if self.doors.inputs.try_send(Event::ServerTime { civil, error_ms }) == Err(Refused::Stopped) {
            return Err(Refused::Stopped);
        }
        let wants: Vec<Position> = receipt
            .wants
            .iter()
            .flat_map(|(epoch, from, to)| (from.0..=to.0).map(|seq| Position { epoch: epoch.0, seq }))
            .take(WANTS_MAX)
            .collect();
        // Asked for again right after it was sent: sending it a third time at once would not help.
        self.wants = wants.into_iter().filter(|wanted| !sent.contains(wanted)).collect();
        for refused in &receipt.refused {
            // No epoch is 0: a record whose header could not be read is named by its place in the batch.
            let position = match refused.epoch.0 {
                0 => sent.get(refused.seq.0 as usize).copied(),
                epoch => Some(Position { epoch, seq: refused.seq.0 }),
            };
            let Some(position) = position else { continue };
            self.refuse(position, &refused.code).await?;
        }
        let epochs = self.doors.asks.epochs().await?;
        let through = self.ledger.through(&epochs);
        self.status.set_receipted(through);
        // What the center has may give way here. A full recorder is told with the next receipt.
        if let Some(through) = through
            && self.doors.inputs.try_send(Event::Receipted(through)) == Err(Refused::Stopped)
        {
            return Err(Refused::Stopped);
        }
        if let Some(position) = through.filter(|position| Some(*position) != self.stored) {
            match self.cursor.store(position) {
                Ok(()) => self.stored = Some(position),
                Err(error) => tracing::warn!(
                    error = crate::chain(&error),
                    "cannot note how far the center has receipted"
                ),
            }
        }
        let taken = sent.iter().any(|position| self.ledger.has(*position));
        Ok(!sent.is_empty() && !taken)
    }

    async fn refuse(&mut self, position: Position, code: &str) -> Result<(), Refused> {
        self.metrics.uplink("record_refused");
        let times = self.refused.entry(position).or_insert(0);
        *times += 1;
        if *times == 1 {
            tracing::error!(%position, code, "the center refuses a record; it is read from disk and sent once more");
        }
        if *times < REFUSED_MAX || self.ledger.has(position) {
            return Ok(());
        }
        if CORRUPT_CODES.contains(&code) && self.ledger.set_aside(position) {
            self.refused.remove(&position);
            let at = self.time.clock.now();
            let records = Some((Epoch(position.epoch), Seq(position.seq), Seq(position.seq)));
            let gap = Gap { point: None, from: at, to: at, count: 0, cause: GapCause::Corrupt, records };
            self.doors.inputs.send(Event::Lost(gap)).await?;
        }
        Ok(())
    }
}

/// A batch that is being filled.
struct Batch {
    records: Vec<(Position, Vec<u8>)>,
    bytes: usize,
    bytes_max: usize,
    records_max: usize,
    full: bool,
}

impl Batch {
    fn new(bytes_max: usize, records_max: usize) -> Self {
        Self { records: Vec::new(), bytes: 0, bytes_max, records_max, full: false }
    }

    async fn add(&mut self, asks: &Asks, ledger: &Ledger, position: Position) -> Result<(), Refused> {
        if ledger.has(position) { Ok(()) } else { self.again(asks, position).await }
    }

    /// Also what the center already had once.
    async fn again(&mut self, asks: &Asks, position: Position) -> Result<(), Refused> {
        if self.full || self.records.iter().any(|(known, _)| *known == position) {
            return Ok(());
        }
        if let Some(bytes) = asks.get(position).await? {
            self.push(position, bytes);
        }
        Ok(())
    }

    /// One record always fits, however large.
    fn push(&mut self, position: Position, bytes: Vec<u8>) {
        if self.full || self.records.iter().any(|(known, _)| *known == position) {
            return;
        }
        if !self.records.is_empty() && self.bytes + bytes.len() > self.bytes_max {
            self.full = true;
            return;
        }
        self.bytes += bytes.len();
        self.records.push((position, bytes));
        self.full = self.bytes >= self.bytes_max || self.records.len() >= self.records_max;
    }
}

impl Orders {
    /// Takes orders until told to stop.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = self.listen() => Ok(()),
        }
    }

    async fn listen(&mut self) -> Result<(), Refused> {
        let mut pause = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let asked = clock::instant();
            match self.client.orders(self.time.now(), self.last).await {
                Ok((orders, foreign)) => {
                    pause.reset();
                    if foreign > 0 {
                        self.metrics.uplink("order_refused");
                        tracing::error!(
                            foreign,
                            "orders that this center did not sign for this gateway were ignored"
                        );
                    }
                    let none = orders.is_empty();
                    for order in orders {
                        self.take(order).await?;
                    }
                    if none && asked.elapsed() < POLL_MIN {
                        tokio::time::sleep(POLL_MIN).await;
                    }
                }
                Err(error) => {
                    if let CallError::Unauthorized { server_time: Some(server), .. } = &error {
                        self.time.correct(*server);
                    }
                    let asked = match &error {
                        CallError::Busy { after } => *after,
                        CallError::Refused { status, .. } if !status.is_server_error() => Some(REFUSED_PAUSE),
                        CallError::Unreachable(_)
                        | CallError::Refused { .. }
                        | CallError::Unauthorized { .. }
                        | CallError::TooLarge
                        | CallError::Answer(_)
                        | CallError::TooLong => None,
                    };
                    tokio::time::sleep(asked.unwrap_or_else(|| pause.pause())).await;
                }
            }
        }
    }

    async fn take(&mut self, order: gateway_wire::Order) -> Result<(), Refused> {
        let id = (order.center_epoch, order.seq);
        if id <= self.last {
            return Ok(());
        }
        let (taken, on_disk) = oneshot::channel();
        let expired = self.time.now() > order.expires;
        let event = Event::Order { order: id, author: order.author, body: order.body, expired, taken };
        self.doors.inputs.send(event).await?;
        if on_disk.await.is_err() {
            // The journal is full, or the recorder has ended; the next attempt to send tells which.
            tokio::time::sleep(RETRY_LAST).await;
            return Ok(());
        }
        self.metrics.uplink("order");
        self.last = id;
        // Behind the journal, never ahead of it: a second delivery is recognised by its number.
        if let Err(error) = self.cursor.store(Position { epoch: id.0, seq: id.1 }) {
            tracing::warn!(error = crate::chain(&error), "cannot note which order was the last");
        }
        Ok(())
    }
}

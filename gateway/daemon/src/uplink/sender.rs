//! The sending half: a session with the center, batch after batch.
//!
//! What goes and when is decided in [`super::gather`], [`super::ledger`], [`super::pace`] and [`super::meter`]; this is
//! the shell around them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gateway_journal::Position;
use gateway_wire::{Kind, Receipt, parts_behind, peek};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::{CallError, Client};
use super::gather::{Credit, Load, gather};
use super::ledger::{self, Ledger};
use super::meter::Bundles;
use super::pace::{self, Pace};
use super::{REFUSED_PAUSE, RETRY_FIRST, Risen, Status, TokenTime, backoff};
use crate::clock;
use crate::metrics::Metrics;
use crate::pause::{Backoff, Jitter};
use crate::recorder::{Doors, Event, Refused, URGENT_MAX, Urgent};
use crate::state::PositionFile;

/// An empty batch so often, when nothing else is sent: asks what the center has and tells the time.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// The same on a metered line, where orders are sign of life enough.
const ASK_EVERY_METERED: Duration = Duration::from_hours(1);
/// Bytes of a journal read while looking for conclusions of an earlier life.
const SCAN_BYTES: usize = 1 << 20;

/// Why sending ends.
#[derive(Debug)]
enum End {
    /// The recorder has gone: whoever ended it says why.
    Recorder,
    /// The epoch being written is taken: go on above this one.
    Rise(u64),
}

impl From<Refused> for End {
    fn from(_: Refused) -> Self {
        Self::Recorder
    }
}

/// The sending half.
pub struct Sender {
    pub(super) client: Client,
    pub(super) doors: Doors,
    pub(super) urgent: mpsc::Receiver<Urgent>,
    pub(super) waiting: VecDeque<Urgent>,
    /// When each was heard of, real time.
    pub(super) heard: BTreeMap<Position, std::time::Instant>,
    pub(super) ledger: Ledger,
    pub(super) cursor: PositionFile,
    pub(super) stored: Option<Position>,
    /// How far branches are at the center: a hint, the center knows them again by their hashes.
    pub(super) aside: PositionFile,
    pub(super) time: TokenTime,
    pub(super) metrics: Metrics,
    pub(super) status: Status,
    pub(super) session: u64,
    pub(super) pace: Pace,
    pub(super) bundles: Bundles,
    pub(super) began: std::time::Instant,
    pub(super) refused: BTreeMap<Position, u32>,
    pub(super) asked_at: Option<std::time::Instant>,
    pub(super) ask_every: Duration,
    pub(super) jitter: Jitter,
    pub(super) wants: Vec<Position>,
    /// The last batch was for conclusions alone.
    pub(super) was_alone: bool,
    /// The epoch it began in.
    pub(super) written: u64,
    /// The first that this box can have written.
    pub(super) first_epoch: u64,
    /// The oldest epoch of the journal when it was asked last, and the record before it.
    pub(super) before: Option<(u64, Option<Position>)>,
    /// Nothing was learned since the comparison.
    pub(super) compared: bool,
    /// Numbers that are neither here nor at the center, which the recorder was told of.
    pub(super) named: Vec<(u64, u64, u64)>,
    /// Not more often than this a gateway leaves its epoch: two devices with one key would chase each other.
    pub(super) rise_after: Duration,
}

/// A batch that was sent, and what came of it.
pub(super) struct Sent {
    pub(super) positions: Vec<Position>,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) aside: bool,
    pub(super) took: Duration,
    pub(super) answer: Result<Receipt, CallError>,
}

/// How often the center is asked on such a line.
pub(super) fn ask_every(metered: bool) -> Duration {
    if metered { ASK_EVERY_METERED } else { ASK_EVERY }
}

impl Sender {
    /// With this jitter of its pauses, and asking this often what the center has: for tests in virtual time.
    #[must_use]
    pub fn paced(self, jitter: Jitter, ask_every: Duration) -> Self {
        Self { ask_every, jitter, ..self }
    }

    /// Sends until told to stop, or until the gateway has to go on in another epoch ([`Risen`]).
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            end = self.send() => match end {
                Ok(never) => match never {},
                Err(End::Recorder) => Ok(()),
                Err(End::Rise(floor)) => {
                    tracing::error!(
                        epoch = self.written(),
                        floor,
                        "the center has other records under this gateway's numbers: its disk was copied or set back to an \
                         older image. Going on in a new epoch; the records of this one are kept beside the chain"
                    );
                    tokio::time::sleep(self.rise_after).await;
                    Err(Risen { floor }.into())
                }
            },
        }
    }

    /// The epoch being written: another configuration begins one without a new uplink.
    fn written(&self) -> u64 {
        self.doors.newest.borrow().map_or(self.written, |newest| newest.epoch.max(self.written))
    }

    async fn send(&mut self) -> Result<std::convert::Infallible, End> {
        let mut pause = backoff().jittered(self.jitter);
        loop {
            match self.begin().await? {
                Ok(()) => self.recall().await?,
                Err(error) => {
                    self.failed(&error, &mut pause).await;
                    continue;
                }
            }
            if let Some(floor) = self.ledger.must_rise(self.written()) {
                return Err(End::Rise(floor));
            }
            self.session(&mut pause).await?;
        }
    }

    /// Compares, epoch by epoch, what both ends hold; nothing that was believed before counts.
    async fn begin(&mut self) -> Result<Result<(), CallError>, End> {
        self.ledger.forget();
        let mut session = None;
        let mut from = None;
        loop {
            let epochs = self.doors.asks.epochs().await?;
            let asked = ledger::question(&epochs, session, from.or(Some(self.first_epoch)));
            let sent = clock::instant();
            let survey = match self.client.survey(self.time.now(), &asked).await {
                Ok(survey) => survey,
                Err(error) => return Ok(Err(error)),
            };
            self.tell_time(survey.server_time, clock::since(sent))?;
            self.learn(&survey.epochs, &BTreeMap::new(), &epochs).await?;
            session = Some(survey.session);
            from = ledger::next_page(&asked, &survey);
            if from.is_none() {
                break;
            }
        }
        self.session = session.unwrap_or_default();
        self.compared = true;
        self.metrics.uplink("session");
        self.answered();
        self.asked_at = Some(clock::instant());
        self.tell_through().await?;
        Ok(Ok(()))
    }

    /// Batch after batch, until the center says that the session has ended, or another comparison is needed.
    async fn session(&mut self, pause: &mut Backoff) -> Result<(), End> {
        loop {
            let load = self.gather().await?;
            if let Some(epochs) = &load.drained
                && self.must_compare(epochs).await?
            {
                return Ok(());
            }
            let (_, records) = self.pace.next();
            if records == 0 {
                tokio::time::sleep(self.jitter.at_least(pace::WINDOW_PAUSE)).await;
            } else if load.records.is_empty()
                && self.asked_at.is_some_and(|at| clock::since(at) < self.ask_every)
            {
                self.wait().await?;
                continue;
            }
            let sent = self.post(load).await?;
            match &sent.answer {
                Ok(receipt) => {
                    pause.reset();
                    let size: usize = sent.records.iter().map(Vec::len).sum();
                    self.pace.answered(receipt.window, (size, sent.records.len()), sent.took);
                    self.bundles.sent(size as u64);
                    let stuck = self.receipted(receipt, &sent).await?;
                    if let Some(floor) = self.ledger.must_rise(self.written()) {
                        return Err(End::Rise(floor));
                    }
                    if stuck {
                        tokio::time::sleep(REFUSED_PAUSE).await;
                    }
                }
                Err(CallError::Ended) => {
                    // The center may have been set back. It answers, so a pause that grew while it was away is over.
                    self.named.clear();
                    pause.reset();
                    self.failed(&CallError::Ended, pause).await;
                    return Ok(());
                }
                Err(error) => self.failed(error, pause).await,
            }
        }
    }

    /// Nothing is left to send. If the center lacks numbers all the same, either it has said less than it knows, and another
    /// comparison tells, or nobody has them any more: where what named them was evicted too, and the center was set back to
    /// before it had heard of it, they are named to it again.
    async fn must_compare(&mut self, epochs: &[(u64, u64, u64)]) -> Result<bool, Refused> {
        let Some(oldest) = epochs.first().map(|(epoch, ..)| *epoch) else { return Ok(false) };
        let before = match self.before {
            Some((of, before)) if of == oldest => before,
            Some(_) | None => self.doors.asks.before().await?.filter(|at| at.epoch >= self.first_epoch),
        };
        self.before = Some((oldest, before));
        let lacking = self.ledger.lacking(epochs, before);
        if lacking.is_empty() || lacking == self.named {
            return Ok(false);
        }
        if !self.compared {
            return Ok(true);
        }
        tracing::warn!(
            ranges = lacking.len(),
            first = ?lacking[0],
            "the center lacks records that are not in the journal any more, and has not heard what became of them: gap \
             records name them again"
        );
        self.metrics.uplink("gone");
        self.doors.inputs.send(Event::Gone(lacking.clone())).await?;
        self.named = lacking;
        Ok(false)
    }

    /// Sends a batch. What is concluded meanwhile does not wait for its receipt: it overtakes, on a stream of its own, one
    /// request at a time. Should the receipts come in another order than they were written, something is sent twice.
    async fn post(&mut self, load: Load) -> Result<Sent, Refused> {
        let aside = load.aside;
        let underway: BTreeSet<_> = load.records.iter().map(|(position, _)| *position).collect();
        let mut main = self.send_off(load);
        let mut ahead: Option<BoxFuture<'static, Sent>> = None;
        let (mut done, mut heard) = (None, false);
        loop {
            let overtaking = async {
                match &mut ahead {
                    Some(ahead) => ahead.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                sent = &mut main, if done.is_none() => done = Some(sent),
                sent = overtaking => {
                    ahead = None;
                    // One that failed goes again with the next batch, which tells why.
                    if let Ok(receipt) = &sent.answer {
                        self.receipted(receipt, &sent).await?;
                    }
                }
                Some(urgent) = self.urgent.recv() => {
                    self.remember(urgent);
                    heard = true;
                }
            }
            if ahead.is_none() && done.is_none() && !aside && std::mem::take(&mut heard) {
                ahead = self.overtake(&underway).await?.map(|load| self.send_off(load));
            }
            if let Some(sent) = done.take_if(|_| ahead.is_none()) {
                return Ok(sent);
            }
        }
    }

    /// The call, with what is needed when it is over.
    fn send_off(&self, load: Load) -> BoxFuture<'static, Sent> {
        let client = self.client.clone().in_pieces(self.pace.piece());
        let (now, session) = (self.time.now(), self.session);
        let asked = clock::instant();
        Box::pin(async move {
            let (positions, records): (Vec<_>, Vec<_>) = load.records.into_iter().unzip();
            let answer = client.records(now, session, load.aside, &records).await;
            Sent { positions, records, aside: load.aside, took: clock::since(asked), answer }
        })
    }

    /// Conclusions that nobody has sent yet, with what leads to them.
    async fn overtake(&self, underway: &BTreeSet<Position>) -> Result<Option<Load>, Refused> {
        let waiting = self.waiting.iter().filter(|urgent| !underway.contains(&urgent.conclusions));
        let waiting: VecDeque<_> = waiting.copied().collect();
        let (bytes, records) = self.pace.next();
        let credit = Credit { bytes, records, readings: false, alone: true };
        let mut load = gather(&self.doors.asks, &self.ledger, &waiting, &[], credit).await?;
        load.records.retain(|(position, _)| !underway.contains(position));
        Ok(Some(load).filter(|load| !load.records.is_empty()))
    }

    pub(super) fn answered(&mut self) {
        if self.status.answered() > 0 {
            tracing::info!("the center answers again");
        }
    }

    /// Waits after a failure, as long as it says or the usual pause. What is concluded meanwhile is tried soon: after an outage
    /// the pauses are long for the sake of a fleet that comes back, and an alert is worth an attempt of its own.
    async fn failed(&mut self, error: &CallError, pause: &mut Backoff) {
        let (outcome, wait) = match error {
            CallError::Unreachable(_) => {
                self.pace.failed();
                ("unreachable", None)
            }
            CallError::Unauthorized { server_time, .. } => {
                if let Some(server) = server_time {
                    self.time.correct(*server);
                }
                ("unauthorized", None)
            }
            CallError::Ended => ("session_ended", None),
            CallError::TooLarge => {
                self.pace.too_large();
                ("too_large", Some(Duration::ZERO))
            }
            CallError::Busy { after } => ("busy", after.map(|after| self.jitter.at_least(after))),
            // The center's own trouble passes; what it does not want, it will not want in a second either.
            CallError::Refused { status, .. } if status.is_server_error() => ("center_error", None),
            CallError::Refused { .. } => ("refused", Some(REFUSED_PAUSE)),
            CallError::Answer(_) | CallError::TooLong => ("bad_answer", None),
        };
        self.metrics.uplink(outcome);
        if self.status.failed() == 0 {
            tracing::warn!(
                error = crate::chain(error),
                "records stay here until the center takes them; trying again, said once"
            );
        }
        let asked = wait.is_some();
        let wait = wait.unwrap_or_else(|| pause.pause());
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            Some(urgent) = self.urgent.recv(), if !asked => {
                self.remember(urgent);
                tokio::time::sleep(wait.min(RETRY_FIRST)).await;
            }
        }
    }

    /// Waits for something new to send, at most until the next question is due.
    async fn wait(&mut self) -> Result<(), Refused> {
        let wake_every = self.wake_every();
        tokio::select! {
            biased;
            changed = self.doors.newest.changed() => changed.map_err(|_| Refused::Stopped),
            Some(urgent) = self.urgent.recv() => {
                self.remember(urgent);
                Ok(())
            }
            () = tokio::time::sleep(wake_every) => Ok(()),
        }
    }

    /// A bundle falls due in between.
    fn wake_every(&self) -> Duration {
        if self.client.meter().budget.is_some() { self.ask_every.min(ASK_EVERY) } else { self.ask_every }
    }

    fn remember(&mut self, urgent: Urgent) {
        // Beyond the limit they travel with the backlog, in order.
        if self.waiting.len() < URGENT_MAX && !self.ledger.has(urgent.conclusions) {
            self.heard.entry(urgent.conclusions).or_insert_with(clock::instant);
            self.waiting.push_back(urgent);
        }
    }

    /// Conclusions that an earlier life of this process did not get through: they go first too.
    async fn recall(&mut self) -> Result<(), Refused> {
        let epochs = self.doors.asks.epochs().await?;
        let Some(mut from) = self.ledger.oldest_missing(&epochs) else { return Ok(()) };
        let mut config = (0, (1, 1));
        loop {
            let records = self.doors.asks.read(from, SCAN_BYTES).await?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            from = Position { epoch: last.epoch, seq: last.seq + 1 };
            for (position, bytes) in &records {
                let known =
                    self.ledger.has(*position) || self.waiting.iter().any(|one| one.conclusions == *position);
                if known || !matches!(peek(bytes), Ok((_, Kind::Conclusions))) {
                    continue;
                }
                if config.0 != position.epoch {
                    let first = self.doors.asks.get(Position { epoch: position.epoch, seq: 1 }).await?;
                    config = (position.epoch, (1, 1 + first.map_or(0, |bytes| parts_behind(&bytes))));
                }
                // The inputs that led there stand just before it.
                let because = Position { epoch: position.epoch, seq: position.seq.saturating_sub(1) };
                self.remember(Urgent { config: config.1, because, conclusions: *position });
            }
            if self.waiting.len() >= URGENT_MAX {
                return Ok(());
            }
        }
    }

    /// The next batch, in the order of sending.
    async fn gather(&mut self) -> Result<Load, Refused> {
        while let Ok(urgent) = self.urgent.try_recv() {
            self.remember(urgent);
        }
        self.forget_receipted();
        let meter = self.client.meter();
        let allowed = self.bundles.allowance(clock::since(self.began), meter.used(), meter.budget);
        let (bytes, records) = self.pace.next();
        let bytes =
            if allowed == 0 { bytes } else { bytes.min(usize::try_from(allowed).unwrap_or(usize::MAX)) };
        let alone = !std::mem::replace(&mut self.was_alone, false);
        let credit = Credit { bytes, records, readings: allowed > 0, alone };
        let wants = std::mem::take(&mut self.wants);
        let load = gather(&self.doors.asks, &self.ledger, &self.waiting, &wants, credit).await?;
        self.was_alone = alone && !(self.waiting.is_empty() && wants.is_empty());
        if load.records.is_empty() && credit.readings {
            // Nothing is left: what comes now waits for the next bundle.
            self.bundles.sent(0);
        }
        Ok(load)
    }
}

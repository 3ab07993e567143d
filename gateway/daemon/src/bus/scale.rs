//! Listens to one weighing indicator that sends by itself, and takes a reading of it at each period.
//!
//! A weight that stands still is a reading; one that moves is the last that stood still, marked as held; nothing heard is
//! `Bad(NoCommunication)`, and a weight that never stood still `Bad(NeverSeen)`.
//!
//! Leaves out: what a frame is, and when a weight stands still ([`super::weigh`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, Raw};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::dial::{Dial, Stream};
use super::guard::BusError;
use super::health::{Board, Trouble};
use super::weigh::{Frames, Kind, Steadiness, Weight};
use super::{CONNECT_FIRST, CONNECT_LAST, MISSED_MAX};
use crate::clock::{self, Clock};
use crate::config::{BusPlan, StreamPlan, WeighingField, WeighingFormat};
use crate::metrics::Metrics;
use crate::pause::{Backoff, Jitter};
use crate::recorder::{Answers, Event, Inputs};

/// An indicator that says nothing for so long, or for its time-out, whichever is longer, is gone.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// Opening a connection may take this long. Real time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long `gateway once` listens for a weight that stands still.
const ONCE: Duration = Duration::from_secs(5);

/// One indicator.
pub struct Scale {
    plan: BusPlan,
    streams: Vec<StreamPlan>,
    dial: Arc<dyn Dial>,
    connect: Backoff,
    board: Board,
    metrics: Metrics,
    line: Option<Box<dyn Stream>>,
    connect_at: Option<Instant>,
    frames: Frames,
    heard: Heard,
}

/// What it last said.
#[derive(Default)]
struct Heard {
    shown: Line,
    gross: Line,
    net: Line,
    tare: Line,
    at: Option<Instant>,
    frame: Vec<u8>,
    /// Which kind the display shows.
    display: Option<Kind>,
}

/// One kind of weight.
#[derive(Default)]
struct Line {
    steadiness: Steadiness,
    /// It stands still now.
    stable: bool,
    at: Option<Instant>,
    last_stable: Option<Raw>,
}

impl Heard {
    fn line(&self, kind: Kind) -> &Line {
        match kind {
            Kind::Shown => &self.shown,
            Kind::Gross => &self.gross,
            Kind::Net => &self.net,
            Kind::Tare => &self.tare,
        }
    }

    fn take(&mut self, weight: Weight, division: u32) {
        let now = clock::instant();
        let line = match weight.kind {
            Kind::Shown => &mut self.shown,
            Kind::Gross => &mut self.gross,
            Kind::Net => &mut self.net,
            Kind::Tare => &mut self.tare,
        };
        line.stable = line.steadiness.take(weight.raw, division);
        line.at = Some(now);
        if line.stable {
            line.last_stable = Some(weight.raw);
        }
        if weight.kind != Kind::Tare {
            self.display = Some(weight.kind);
        }
        self.at = Some(now);
        self.frame = weight.frame;
    }

    fn answer(&self, field: WeighingField, silent: Duration) -> Answer {
        let kind = match field {
            WeighingField::Weight | WeighingField::Stable => self.display.unwrap_or(Kind::Shown),
            WeighingField::Gross => Kind::Gross,
            WeighingField::Net => Kind::Net,
            WeighingField::Tare => Kind::Tare,
        };
        let line = self.line(kind);
        let fresh = line.at.is_some_and(|at| clock::instant().saturating_duration_since(at) <= silent);
        match (field, line.last_stable) {
            (_, None) if self.at.is_none() => Answer::Failed(BadCause::NoCommunication),
            _ if !fresh => Answer::Failed(BadCause::NoCommunication),
            (WeighingField::Stable, _) => Answer::Raw(Raw::Int(i64::from(line.stable))),
            (_, Some(raw)) if line.stable => Answer::Raw(raw),
            (_, Some(raw)) => Answer::Held(raw),
            (_, None) => Answer::Failed(BadCause::NeverSeen),
        }
    }
}

impl Scale {
    /// Nothing is opened yet.
    pub fn new(
        plan: BusPlan,
        streams: Vec<StreamPlan>,
        dial: Arc<dyn Dial>,
        jitter: Jitter,
        metrics: Metrics,
    ) -> Self {
        let connect = Backoff::new(CONNECT_FIRST, CONNECT_LAST).jittered(jitter);
        let board = Board::new(plan.clone(), metrics.clone());
        let format = streams.first().map_or(WeighingFormat::YaohuaTf0, |stream| stream.format);
        Self {
            plan,
            streams,
            dial,
            connect,
            board,
            metrics,
            line: None,
            connect_at: None,
            frames: Frames::new(format),
            heard: Heard::default(),
        }
    }

    /// Listens until told to stop.
    pub async fn run(mut self, clock: Clock, inputs: Inputs, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(stream) = self.streams.first().cloned() else {
            stop.cancelled().await;
            return Ok(());
        };
        let every = i64::try_from(stream.every.as_millis()).unwrap_or(i64::MAX).max(1);
        // The first reading a period after the start: an indicator needs a moment to be heard.
        let mut due: EngineTime = clock.now().plus(every);
        loop {
            let end = clock.instant(due);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.listen(&stream, end) => {}
            }
            let now = clock.now();
            if now < due {
                continue;
            }
            let missed = now.since(due) / every;
            due = due.plus(every.saturating_mul(missed + 1));
            let mut events = Vec::new();
            if missed > 0 {
                let times = missed.min(MISSED_MAX) as u32;
                self.metrics.bus(&self.plan.name, "missed", u64::from(times));
                let points = stream.points.iter().map(|(point, _)| *point).collect();
                events.push(Event::Missed { points, times, cause: BadCause::NoCommunication });
            }
            events.push(Event::Answers(self.answers(&stream, &clock)));
            for event in events {
                if inputs.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Listens until every weight stands still, or for five seconds.
    pub async fn once(mut self, clock: &Clock) -> Vec<(Answers, Option<BusError>)> {
        let Some(stream) = self.streams.first().cloned() else { return Vec::new() };
        let end = clock::instant() + ONCE;
        loop {
            let step = (clock::instant() + Duration::from_millis(100)).min(end);
            self.listen(&stream, step).await;
            let settled = stream
                .points
                .iter()
                .all(|(_, field)| matches!(self.heard.answer(*field, SILENT_MAX), Answer::Raw(_)));
            if settled || clock::instant() >= end {
                break;
            }
        }
        let error = self.heard.at.is_none().then_some(BusError::Timeout { unit: 0, after: ONCE });
        vec![(self.answers(&stream, clock), error)]
    }

    fn answers(&self, stream: &StreamPlan, clock: &Clock) -> Answers {
        let silent = self.plan.timeout.max(SILENT_MAX);
        let items: Vec<_> =
            stream.points.iter().map(|(point, field)| (*point, self.heard.answer(*field, silent))).collect();
        let heard = items.iter().any(|(_, answer)| matches!(answer, Answer::Raw(_)));
        let outcome = if heard { "ok" } else { "timeout" };
        self.metrics.bus(&self.plan.name, outcome, 1);
        let at = self.heard.at.filter(|_| heard).map_or_else(|| clock.now(), |at| clock.at(at));
        Answers { at, items, frame: heard.then(|| self.heard.frame.as_slice().into()) }
    }

    /// Connects where needed and takes what comes, until a moment.
    async fn listen(&mut self, stream: &StreamPlan, end: Instant) {
        let mut bytes = [0; 64];
        while clock::instant() < end {
            let Some(line) = &mut self.line else {
                self.open(stream, end).await;
                continue;
            };
            match tokio::time::timeout_at(end.into(), line.read(&mut bytes)).await {
                Err(_) => return,
                Ok(Ok(length)) if length > 0 => {
                    for weight in self.frames.push(&bytes[..length]) {
                        self.heard.take(weight, stream.division);
                    }
                    let skipped = std::mem::take(&mut self.frames.skipped);
                    if skipped > 0 {
                        self.metrics.bus(&self.plan.name, "stray_bytes", skipped);
                    }
                }
                Ok(Ok(_) | Err(_)) => {
                    self.metrics.bus(&self.plan.name, "broken", 1);
                    self.line = None;
                }
            }
        }
    }

    /// Opens the line, when that is due; ends at `end` at the latest.
    async fn open(&mut self, stream: &StreamPlan, end: Instant) {
        if let Some(at) = self.connect_at.filter(|at| *at > clock::instant()) {
            tokio::time::sleep_until(at.min(end).into()).await;
            return;
        }
        let limit = (clock::instant() + CONNECT_TIMEOUT).max(end);
        let dialled = tokio::time::timeout_at(limit.into(), self.dial.dial(&self.plan.address)).await;
        if let Ok(Ok(line)) = dialled {
            self.board.end(None);
            self.connect.reset();
            self.frames = Frames::new(stream.format);
            self.line = Some(line);
            // A peer that hangs up at once is not dialled without a pause.
            self.connect_at = Some(clock::instant() + CONNECT_FIRST);
        } else {
            self.metrics.bus(&self.plan.name, "connect", 1);
            self.board.begin(None, Trouble::NoConnection);
            self.connect_at = Some(clock::instant() + self.connect.pause());
        }
    }
}

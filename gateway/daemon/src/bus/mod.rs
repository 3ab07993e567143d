//! Polls one bus: one task owns one connection and asks one question at a time.
//!
//! Promises: every reading that the plan calls for ends as an answer, a named failure or "missed", so that counts
//! close; each answer is stamped at the mid-point of its request; a dead unit costs its bus a bounded share: after
//! two failed requests in a row it is only probed, at growing distances, and its readings are reported as
//! `Bad(NoCommunication)` in between.
//!
//! Leaves out: checking answers ([`guard`]), encodings ([`decode`]), quality (intake).

pub mod decode;
pub mod dial;
pub mod guard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, PointIx};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::config::{BlockPlan, BusPlan, UnitId};
use crate::metrics::Metrics;
use crate::pause::{Backoff, Jitter};
use crate::recorder::{Answers, Event, Inputs};
use dial::{Dial, Tcp};
use guard::{BusError, Link, Question};

/// After this many failed requests in a row a unit is only probed.
const FAILURES_MAX: u32 = 2;
/// First distance between probes of a dead unit, real time.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// Largest distance between probes at speed 1. With the default time-out of 500 ms a dead unit takes under 2 % of the
/// line. Under the demo clock it shrinks with the speed, but not below [`PROBE_LAST_MIN`].
const PROBE_LAST: Duration = Duration::from_secs(30);
/// See [`PROBE_LAST`].
const PROBE_LAST_MIN: Duration = Duration::from_secs(2);
/// Distance between attempts to connect, real time.
const CONNECT_FIRST: Duration = Duration::from_millis(250);
/// See [`CONNECT_FIRST`].
const CONNECT_LAST: Duration = Duration::from_secs(10);
/// Periods reported one by one as missed when the bus fell behind; a longer pause (a suspended machine) is cut here.
const MISSED_MAX: i64 = 1_000;

/// One bus and what is asked on it.
pub struct Bus {
    plan: BusPlan,
    blocks: Vec<BlockPlan>,
    link: Link,
    dial: Arc<dyn Dial>,
    connect: Backoff,
    connect_at: Option<Instant>,
    units: BTreeMap<UnitId, Unit>,
    metrics: Metrics,
}

/// What is known of one unit's health.
struct Unit {
    failures: u32,
    probe: Backoff,
    probe_at: Option<Instant>,
}

impl Bus {
    /// Nothing is opened yet. `blocks` are those of this bus.
    pub fn new(plan: BusPlan, blocks: Vec<BlockPlan>, speed: f64, metrics: Metrics) -> Self {
        let last = PROBE_LAST.div_f64(speed).clamp(PROBE_LAST_MIN, PROBE_LAST);
        let units = blocks
            .iter()
            .map(|block| {
                let probe = Backoff::new(PROBE_FIRST, last);
                (block.unit, Unit { failures: 0, probe, probe_at: None })
            })
            .collect();
        let link = Link::new(plan.transport, plan.timeout, plan.gap);
        let connect = Backoff::new(CONNECT_FIRST, CONNECT_LAST);
        Self { plan, blocks, link, dial: Arc::new(Tcp), connect, connect_at: None, units, metrics }
    }

    /// Gets its connections in another way than over TCP.
    #[must_use]
    pub fn dialing(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial, ..self }
    }

    /// Draws its pauses with this jitter.
    #[must_use]
    pub fn jittered(mut self, jitter: Jitter) -> Self {
        self.connect = self.connect.jittered(jitter);
        for unit in self.units.values_mut() {
            unit.probe = unit.probe.clone().jittered(jitter);
        }
        self
    }

    /// Polls until told to stop.
    pub async fn run(mut self, clock: Clock, inputs: Inputs, stop: CancellationToken) -> anyhow::Result<()> {
        let start = clock.now();
        let mut due: Vec<EngineTime> = self.blocks.iter().map(|_| start).collect();
        loop {
            // The longest overdue first, so that none starves on a line that is too slow.
            let Some((slot, at)) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at) else {
                stop.cancelled().await;
                return Ok(());
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(clock.instant(at).into()) => {}
            }
            let now = clock.now();
            if now < at {
                continue;
            }
            let every = i64::try_from(self.blocks[slot].every.as_millis()).unwrap_or(i64::MAX).max(1);
            let missed = now.since(at) / every;
            due[slot] = at.plus(every.saturating_mul(missed + 1));
            let points: Vec<PointIx> = self.blocks[slot].points.iter().map(|point| point.point).collect();
            if missed > 0 {
                let times = missed.min(MISSED_MAX) as u32;
                self.metrics.bus(&self.plan.name, "missed", u64::from(times));
                let event = Event::Missed { points: points.clone(), times, cause: BadCause::NoCommunication };
                if inputs.send(event).await.is_err() {
                    return Ok(());
                }
            }
            let outcome = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                outcome = self.poll(slot) => outcome,
            };
            let answers = self.answers(slot, &clock, outcome);
            // A full recorder makes the bus wait: that is where the load is bounded.
            if inputs.send(Event::Answers(answers)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Reads every block once.
    pub async fn once(mut self, clock: &Clock) -> Vec<(Answers, Option<BusError>)> {
        let mut all = Vec::new();
        for slot in 0..self.blocks.len() {
            match self.poll(slot).await {
                Ok(answer) => all.push((self.answers(slot, clock, Ok(answer)), None)),
                Err(error) => {
                    let cause = error.cause();
                    let items =
                        self.blocks[slot].points.iter().map(|p| (p.point, Answer::Failed(cause))).collect();
                    all.push((Answers { at: clock.now(), items, frame: None }, Some(error)));
                }
            }
        }
        all
    }

    fn answers(&self, slot: usize, clock: &Clock, outcome: Result<guard::Answer, BusError>) -> Answers {
        let block = &self.blocks[slot];
        match outcome {
            Ok(answer) => Answers {
                at: clock.at(answer.midpoint()),
                items: block
                    .points
                    .iter()
                    .map(|point| {
                        let raw = decode::raw(point, &answer.words);
                        (point.point, raw.map_or(Answer::Failed(BadCause::Malformed), Answer::Raw))
                    })
                    .collect(),
                frame: Some(answer.frame.into()),
            },
            Err(error) => {
                let cause = error.cause();
                let items = block.points.iter().map(|point| (point.point, Answer::Failed(cause))).collect();
                Answers { at: clock.now(), items, frame: None }
            }
        }
    }

    /// Asks for one block, connecting first where needed, and keeps the health of its unit.
    async fn poll(&mut self, slot: usize) -> Result<guard::Answer, BusError> {
        let block = &self.blocks[slot];
        let question =
            Question { unit: block.unit, function: block.function, first: block.first, count: block.count };
        let now = clock::instant();
        if self.units.get(&question.unit).and_then(|unit| unit.probe_at).is_some_and(|at| now < at) {
            self.metrics.bus(&self.plan.name, "skipped", 1);
            return Err(BusError::NotConnected);
        }
        let outcome = self.ask(question).await;
        let reason = outcome.as_ref().map_or_else(BusError::reason, |_| "ok");
        self.metrics.bus(&self.plan.name, reason, 1);
        self.judge(question.unit, &outcome);
        outcome
    }

    async fn ask(&mut self, question: Question) -> Result<guard::Answer, BusError> {
        let reused = self.link.is_up();
        if !reused {
            self.connect().await?;
        }
        match self.link.ask(question).await {
            // The other side closed an idle connection: nothing was asked on it yet, so ask on a new one.
            Err(BusError::Broken(_)) if reused => {
                self.connect().await?;
                self.link.ask(question).await
            }
            outcome => outcome,
        }
    }

    async fn connect(&mut self) -> Result<(), BusError> {
        if self.connect_at.is_some_and(|at| clock::instant() < at) {
            return Err(BusError::NotConnected);
        }
        match self.link.connect(&*self.dial, &self.plan.address).await {
            Ok(()) => {
                if self.connect_at.take().is_some() {
                    tracing::info!(bus = self.plan.name, "connected again");
                }
                self.connect.reset();
                Ok(())
            }
            Err(error) => {
                if self.connect_at.is_none() {
                    tracing::warn!(
                        bus = self.plan.name,
                        error = crate::chain(&error),
                        "cannot connect; check cable, power and address. Trying again, said once"
                    );
                }
                self.connect_at = Some(clock::instant() + self.connect.pause());
                Err(error)
            }
        }
    }

    fn judge(&mut self, id: UnitId, outcome: &Result<guard::Answer, BusError>) {
        let Some(unit) = self.units.get_mut(&id) else { return };
        match outcome {
            Ok(_) | Err(BusError::Exception { .. }) => {
                if unit.probe_at.take().is_some() {
                    tracing::info!(bus = self.plan.name, unit = id.0, "answers again");
                }
                unit.failures = 0;
                unit.probe.reset();
            }
            // Nothing was learned about the unit.
            Err(BusError::Connect { .. } | BusError::NotConnected | BusError::Impossible { .. }) => {}
            Err(
                error @ (BusError::Timeout { .. }
                | BusError::Broken(_)
                | BusError::Foreign
                | BusError::Unasked
                | BusError::WrongLength { .. }
                | BusError::Malformed(_)),
            ) => {
                unit.failures = unit.failures.saturating_add(1);
                if unit.failures >= FAILURES_MAX {
                    if unit.probe_at.is_none() {
                        tracing::warn!(
                            bus = self.plan.name,
                            unit = id.0,
                            error = crate::chain(error),
                            "no usable answer; check its power and wiring. From now on only probed"
                        );
                    }
                    unit.probe_at = Some(clock::instant() + unit.probe.pause());
                }
            }
        }
    }
}

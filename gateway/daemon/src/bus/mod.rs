//! Polls one bus: one task owns one line or connection and asks one question at a time.
//!
//! Promises: every reading that the plan calls for ends as an answer, a named failure or "missed", so that counts
//! close; each answer is stamped at the mid-point of its request; a dead device costs its bus a bounded share
//! ([`breaker`]): it is only probed, with the cheapest question it is known to answer, and its readings are reported as
//! `Bad(NoCommunication)` in between; what a device refuses is cut out and remembered ([`planner`], [`learned`]).
//!
//! Of two requests that are due the longest overdue goes first; one of low priority waits, but no longer than its period or
//! ten seconds. A request whose answer could be taken for a late one waits while others are asked ([`ghosts`]).
//!
//! Leaves out: checking answers ([`guard`]), encodings ([`decode`]), quality (intake), indicators that send by themselves
//! ([`scale`]).

pub mod breaker;
pub mod decode;
pub mod dial;
pub mod forecast;
pub mod frame;
pub mod ghosts;
pub mod guard;
pub mod health;
pub mod learned;
pub mod planner;
pub mod scale;
pub mod weigh;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, PointIx};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::config::{BlockPlan, BusPlan, Site, StreamPlan, UnitId, Urgency};
use crate::metrics::{BusCounts, Metrics};
use crate::pause::{Backoff, Jitter};
use crate::recorder::slots::Slots;
use crate::recorder::{Answers, Event, Inputs};
use breaker::{Breaker, Change};
use dial::{Dial, Serial, Tcp};
use guard::{BusError, Link, Question};
use health::{Board, Trouble};
use learned::Learned;

/// Distance between attempts to connect, real time.
const CONNECT_FIRST: Duration = Duration::from_millis(250);
/// See [`CONNECT_FIRST`].
const CONNECT_LAST: Duration = Duration::from_secs(10);
/// Periods reported one by one as missed when the bus fell behind; a longer pause (a suspended machine) is cut here.
const MISSED_MAX: i64 = 1_000;
/// A request of low priority waits at most so long.
const LOW_LAG: Duration = Duration::from_secs(10);
/// Refusals in a row after which a request that never was answered is cut…
const REFUSED_NEW: u32 = 2;
/// …and one that was: noise on the line can say "exception 2" too.
const REFUSED_KNOWN: u32 = 10;
/// Distance between attempts at a register that is refused by itself, real time.
const BAN_FIRST: Duration = Duration::from_mins(10);
/// See [`BAN_FIRST`].
const BAN_LAST: Duration = Duration::from_hours(24);
/// While no device of a bus answers, one of them is asked so often, real time.
const DEAD_BUS_PROBE: Duration = Duration::from_secs(2);
/// A bus without requests looks so often whether there are any, real time.
const IDLE: Duration = Duration::from_hours(1);
/// "The register is not there", "so many are not".
const NOT_THERE: [u8; 2] = [0x02, 0x03];

/// One bus and what is asked on it.
pub struct Bus {
    plan: BusPlan,
    /// What is wanted; `slots` are the requests made of it.
    blocks: Vec<BlockPlan>,
    streams: Vec<StreamPlan>,
    slots: Vec<Slot>,
    link: Link,
    dial: Arc<dyn Dial>,
    connect: Backoff,
    connect_at: Option<Instant>,
    units: BTreeMap<UnitId, Breaker>,
    /// While all of them are open: when to try one.
    dead_probe_at: Option<Instant>,
    jitter: Jitter,
    speed: f64,
    learned: Learned,
    board: Board,
    metrics: Metrics,
    counts: BusCounts,
}

/// One request and how it went.
struct Slot {
    block: BlockPlan,
    due: EngineTime,
    /// It was answered at least once.
    good: bool,
    refused: u32,
    /// Time-outs in a row while it never was answered.
    silent: u32,
    /// Refused by itself: not asked before.
    ban: Option<(Instant, Backoff)>,
}

impl Slot {
    fn new(block: BlockPlan, due: EngineTime) -> Self {
        Self { block, due, good: false, refused: 0, silent: 0, ban: None }
    }

    fn every_ms(&self) -> i64 {
        i64::try_from(self.block.every.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// By when it goes before others.
    fn deadline(&self) -> EngineTime {
        match self.block.priority {
            Urgency::Normal => self.due,
            Urgency::Low => self.due.plus(self.every_ms().min(LOW_LAG.as_millis() as i64)),
        }
    }
}

/// Other requests for a bus that runs; its line and its devices' manners stay as they are.
#[derive(Debug)]
pub struct Replan {
    /// What is wanted from now on.
    pub blocks: Vec<BlockPlan>,
    /// Where the points of the requests so far are now.
    pub slots: Slots,
    /// Where answers go: a source that knows the new slots.
    pub inputs: Inputs,
}

/// What a bus does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing until then.
    Wait(Instant),
    /// Ask for this slot.
    Poll(usize),
    /// Report this slot without asking.
    Skip(usize, BadCause),
    /// Ask whether this unit is there again.
    Probe(UnitId),
}

impl Bus {
    /// Nothing is opened yet. `blocks` are those of this bus.
    pub fn new(plan: BusPlan, blocks: Vec<BlockPlan>, speed: f64, metrics: Metrics) -> Self {
        let jitter = Jitter::Random;
        let units =
            blocks.iter().map(|block| (block.unit, Breaker::new(plan.timeout, speed, jitter))).collect();
        let dial: Arc<dyn Dial> = match plan.line {
            Some(line) if plan.transport.is_serial() => Arc::new(Serial(line)),
            Some(_) | None => Arc::new(Tcp),
        };
        Self {
            link: Link::new(&plan),
            dial,
            connect: Backoff::new(CONNECT_FIRST, CONNECT_LAST),
            connect_at: None,
            units,
            dead_probe_at: None,
            jitter,
            speed,
            learned: Learned::default(),
            board: Board::new(plan.clone(), metrics.clone()),
            counts: metrics.of_bus(&plan.name),
            slots: Vec::new(),
            streams: Vec::new(),
            plan,
            blocks,
            metrics,
        }
    }

    /// Bus `slot` of a site; what it learns is kept under `data`.
    pub fn of(site: &Site, slot: usize, speed: f64, metrics: Metrics, data: Option<&Path>) -> Self {
        let plan = site.buses[slot].clone();
        let file = data.map(|data| data.join("bus").join(format!("{}.json", plan.name)));
        let mut bus = Self::new(plan, site.blocks_of(slot), speed, metrics);
        bus.streams = site.streams_of(slot);
        match file {
            Some(file) => bus.remembering(&file),
            None => bus,
        }
    }

    /// Keeps what it learns in a file, and begins with what is there.
    #[must_use]
    pub fn remembering(mut self, path: &Path) -> Self {
        self.learned = Learned::at(path);
        self
    }

    /// Gets its connections through this, which is given the way it has.
    #[must_use]
    pub fn dialing_through(self, wrap: impl FnOnce(Arc<dyn Dial>) -> Arc<dyn Dial>) -> Self {
        Self { dial: wrap(self.dial), ..self }
    }

    /// Gets its connections in another way than the plan says.
    #[must_use]
    pub fn dialing(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial, ..self }
    }

    /// Draws its pauses with this jitter.
    #[must_use]
    pub fn jittered(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self.connect = self.connect.jittered(jitter);
        for breaker in self.units.values_mut() {
            breaker.jittered(jitter);
        }
        self
    }

    /// Polls until told to stop.
    pub async fn run(self, clock: Clock, inputs: Inputs, stop: CancellationToken) -> anyhow::Result<()> {
        // Never spoken through; but while it lives the other end waits instead of hearing that nobody is there.
        let (_nobody, replans) = mpsc::channel(1);
        self.run_changing(clock, inputs, replans, stop).await
    }

    /// The same, and asks other questions from the moment they come. Requests that stay the same keep their turn.
    pub async fn run_changing(
        mut self,
        clock: Clock,
        mut inputs: Inputs,
        mut replans: mpsc::Receiver<Replan>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if self.plan.transport.is_weighing() {
            let scale = scale::Scale::new(self.plan, self.streams, self.dial, self.jitter, self.metrics);
            return scale.run(clock, inputs, stop).await;
        }
        self.learned.cuts.forget(clock.now());
        self.replan(clock.now());
        loop {
            if let Ok(replan) = replans.try_recv() {
                inputs = self.take(replan, &clock);
            }
            let next = self.next(&clock).unwrap_or_else(|| Next::Wait(clock::instant() + IDLE));
            let events = match next {
                Next::Wait(until) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep_until(until.into()) => {}
                        Some(replan) = replans.recv() => inputs = self.take(replan, &clock),
                    }
                    continue;
                }
                Next::Skip(slot, cause) => {
                    self.counts.count("skipped", 1);
                    let missed = self.take_turn(slot, &clock);
                    [missed, Some(Event::Answers(self.failed(slot, &clock, cause)))]
                }
                Next::Poll(slot) => {
                    let missed = self.take_turn(slot, &clock);
                    let outcome = tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        outcome = self.poll(slot) => outcome,
                    };
                    let answers = self.answers(slot, &clock, &outcome);
                    self.learn(slot, &outcome, &clock);
                    [missed, Some(Event::Answers(answers))]
                }
                Next::Probe(unit) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = self.probe(unit, &clock) => {}
                    }
                    [None, None]
                }
            };
            for event in events.into_iter().flatten() {
                // A full recorder makes the bus wait: that is where the load is bounded.
                if inputs.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Reads every block once. What a device refuses as a whole is asked in parts, until they are answered or too small to cut.
    pub async fn once(mut self, clock: &Clock) -> Vec<(Answers, Option<BusError>)> {
        if self.plan.transport.is_weighing() {
            let scale = scale::Scale::new(self.plan, self.streams, self.dial, self.jitter, self.metrics);
            return scale.once(clock).await;
        }
        self.replan(clock.now());
        let (mut all, mut done) = (Vec::new(), BTreeSet::new());
        let open =
            |slot: &Slot, done: &BTreeSet<PointIx>| points(&slot.block).iter().any(|p| !done.contains(p));
        while let Some(slot) = self.slots.iter().position(|slot| open(slot, &done)) {
            let outcome = self.poll(slot).await;
            let block = &self.slots[slot].block;
            let refused =
                matches!(&outcome, Err(BusError::Exception { code, .. }) if NOT_THERE.contains(code));
            if refused && planner::cut(block).is_some() {
                self.learn(slot, &outcome, clock);
                continue;
            }
            done.extend(points(block));
            all.push((self.answers(slot, clock, &outcome), outcome.err()));
        }
        all
    }

    /// Other requests from now on; where their answers go.
    fn take(&mut self, replan: Replan, clock: &Clock) -> Inputs {
        let Replan { blocks, slots, inputs } = replan;
        let bus = blocks.first().map_or(0, |block| block.bus);
        self.slots = std::mem::take(&mut self.slots)
            .into_iter()
            .filter_map(|slot| Some(Slot { block: slot.block.moved(bus, &slots)?, ..slot }))
            .collect();
        let units: BTreeSet<UnitId> = blocks.iter().map(|block| block.unit).collect();
        for gone in self.units.keys().filter(|unit| !units.contains(unit)) {
            self.board.end(Some(*gone));
        }
        self.units.retain(|unit, _| units.contains(unit));
        for unit in units {
            let (timeout, speed, jitter) = (self.plan.timeout, self.speed, self.jitter);
            self.units.entry(unit).or_insert_with(|| Breaker::new(timeout, speed, jitter));
        }
        self.blocks = blocks;
        self.replan(clock.now());
        inputs
    }

    /// Makes requests of what is wanted. Those that stay the same keep their turn.
    fn replan(&mut self, now: EngineTime) {
        let mut old = std::mem::take(&mut self.slots);
        for block in planner::requests(&self.plan, &self.blocks, &self.learned.cuts) {
            let known = old.iter().position(|slot| slot.block == block);
            self.slots.push(known.map_or_else(|| Slot::new(block, now), |ix| old.swap_remove(ix)));
        }
    }

    fn next(&self, clock: &Clock) -> Option<Next> {
        let (now, moment) = (clock.now(), clock::instant());
        let mut wake = None;
        let mut later = |at: Instant| wake = Some(wake.map_or(at, |wake: Instant| wake.min(at)));
        let mut soonest_due = EngineTime(i64::MAX);
        let mut best: Option<(EngineTime, usize)> = None;
        // Requests that wait for one of the same shape: it must not be asked again before them.
        let mut held = Vec::new();
        for (ix, slot) in self.slots.iter().enumerate() {
            if slot.due > now {
                soonest_due = soonest_due.min(slot.due);
                continue;
            }
            if self.units.get(&slot.block.unit).is_some_and(Breaker::is_open) {
                return Some(Next::Skip(ix, BadCause::NoCommunication));
            }
            if slot.ban.as_ref().is_some_and(|(until, _)| moment < *until) {
                return Some(Next::Skip(ix, BadCause::DeviceRefused));
            }
            let (question, deadline) = (planner::question(&slot.block), slot.deadline());
            if let Some(until) = self.link.held_until(question, moment) {
                later(until);
                held.push((question.shape(), deadline));
                continue;
            }
            if best.is_none_or(|(soonest, _)| deadline < soonest) {
                best = Some((deadline, ix));
            }
        }
        if soonest_due < EngineTime(i64::MAX) {
            later(clock.instant(soonest_due));
        }
        if let Some((at, unit)) = self.next_probe() {
            if at <= moment {
                return Some(Next::Probe(unit));
            }
            later(at);
        }
        if let Some((deadline, ix)) = best
            && held.iter().any(|(shape, waiting)| {
                *shape == planner::question(&self.slots[ix].block).shape() && *waiting < deadline
            })
        {
            return wake.map(Next::Wait);
        }
        match best {
            Some((_, ix)) => Some(Next::Poll(ix)),
            None => wake.map(Next::Wait),
        }
    }

    /// The unit to be probed next, and when. On a dead bus the next in line, at a steady pace.
    fn next_probe(&self) -> Option<(Instant, UnitId)> {
        let open = self.units.iter().filter_map(|(unit, breaker)| Some((breaker.probe_at()?, *unit)));
        let (at, unit) = open.min()?;
        Some((self.dead_probe_at.map_or(at, |dead| dead.min(at)), unit))
    }

    /// A slot's turn has come: when it is due again, and what was missed meanwhile.
    fn take_turn(&mut self, ix: usize, clock: &Clock) -> Option<Event> {
        let slot = &mut self.slots[ix];
        let every = slot.every_ms();
        let missed = clock.now().since(slot.due) / every;
        slot.due = slot.due.plus(every.saturating_mul(missed + 1));
        if missed == 0 {
            return None;
        }
        let times = missed.min(MISSED_MAX) as u32;
        self.counts.count("missed", u64::from(times));
        Some(Event::Missed { points: points(&slot.block), times, cause: BadCause::NoCommunication })
    }

    fn failed(&self, ix: usize, clock: &Clock, cause: BadCause) -> Answers {
        let points = points(&self.slots[ix].block).into_iter();
        Answers {
            at: clock.now(),
            items: points.map(|point| (point, Answer::Failed(cause))).collect(),
            frame: None,
        }
    }

    fn answers(&self, ix: usize, clock: &Clock, outcome: &Result<guard::Answer, BusError>) -> Answers {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => return self.failed(ix, clock, error.cause()),
        };
        let item = |point| {
            let raw = decode::raw(point, &answer.words);
            (point.point, raw.map_or(Answer::Failed(BadCause::Malformed), Answer::Raw))
        };
        Answers {
            at: clock.at(answer.midpoint()),
            items: self.slots[ix].block.points.iter().map(item).collect(),
            frame: Some(answer.frame.as_slice().into()),
        }
    }

    /// Asks for one slot, connecting first where needed, and keeps the health of its unit.
    async fn poll(&mut self, ix: usize) -> Result<guard::Answer, BusError> {
        let question = planner::question(&self.slots[ix].block);
        let outcome = self.ask(question).await;
        self.judge(question.unit, &outcome);
        outcome
    }

    /// Asks whether a unit is there again, with the cheapest question it is known to answer.
    async fn probe(&mut self, unit: UnitId, clock: &Clock) {
        let own = || self.slots.iter().filter(|slot| slot.block.unit == unit);
        let known = planner::cheapest(own().filter(|slot| slot.good).map(|slot| &slot.block));
        let question = known.or_else(|| planner::cheapest(own().map(|slot| &slot.block)));
        let (Some(question), Some(breaker)) = (question, self.units.get(&unit)) else { return };
        self.link.set_limit(breaker.patience());
        let outcome = self.ask(question).await;
        self.link.set_limit(self.plan.timeout);
        self.judge(unit, &outcome);
        if self.dead_probe_at.is_some() {
            self.dead_probe_at = Some(clock::instant() + clock.real(DEAD_BUS_PROBE).max(self.plan.timeout));
        }
        if !self.units.get(&unit).is_some_and(Breaker::is_open) {
            // It is back: read all of it at once.
            let now = clock.now();
            self.slots
                .iter_mut()
                .filter(|slot| slot.block.unit == unit)
                .for_each(|slot| slot.due = slot.due.min(now));
        }
    }

    async fn ask(&mut self, question: Question) -> Result<guard::Answer, BusError> {
        let outcome = self.ask_once(question).await;
        let reason = outcome.as_ref().map_or_else(BusError::reason, |_| "ok");
        self.counts.count(reason, 1);
        let tally = self.link.take_tally();
        for (what, n) in [
            ("late", tally.late),
            ("unasked_bytes", tally.unasked),
            ("stray_bytes", tally.stray),
            ("echo", tally.echoes),
            ("second_answer", tally.twins),
            ("thrown_away", tally.thrown_away),
        ] {
            if n > 0 {
                self.counts.count(what, n);
            }
        }
        self.board.fade(clock::instant());
        if tally.twins > 0 {
            self.board.begin(Some(question.unit), Trouble::TwoAnswers);
        }
        if tally.echoes > 0 {
            self.board.begin(None, Trouble::Echo);
        }
        outcome
    }

    async fn ask_once(&mut self, question: Question) -> Result<guard::Answer, BusError> {
        let reused = self.link.is_up();
        if !reused {
            self.connect().await?;
        }
        match self.link.ask(question).await {
            // The other side closed an idle connection, or had more to say: nothing was asked on it yet.
            Err(BusError::Broken(_) | BusError::Unasked) if reused && !self.link.is_up() => {
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
                    self.board.end(None);
                }
                self.connect.reset();
                Ok(())
            }
            Err(error) => {
                if self.connect_at.is_none() {
                    tracing::warn!(
                        bus = self.plan.name,
                        error = crate::chain(&error),
                        "trying again, said once"
                    );
                }
                self.board.begin(None, Trouble::NoConnection);
                self.connect_at = Some(clock::instant() + self.connect.pause());
                Err(error)
            }
        }
    }

    fn judge(&mut self, id: UnitId, outcome: &Result<guard::Answer, BusError>) {
        let now = clock::instant();
        let Some(breaker) = self.units.get_mut(&id) else { return };
        match outcome {
            Ok(_) | Err(BusError::Exception { .. }) => {
                let after = outcome.as_ref().ok().map(|a| a.answered.saturating_duration_since(a.asked));
                if breaker.answered(after) == Change::Closed {
                    self.board.end(Some(id));
                    self.bus_answers(now);
                }
            }
            Err(error) => {
                let Some(trouble) = Trouble::of(error) else { return };
                if breaker.failed(now) != Change::Opened {
                    return;
                }
                tracing::debug!(
                    bus = self.plan.name,
                    unit = id.0,
                    error = crate::chain(error),
                    "only probed"
                );
                self.board.begin(Some(id), trouble);
                if self.units.len() > 1 && self.units.values().all(Breaker::is_open) {
                    self.board.begin(None, Trouble::BusSilent);
                    self.dead_probe_at = Some(now + DEAD_BUS_PROBE);
                }
            }
        }
    }

    /// After a silence of the whole bus one device is back: the others are likely to be, too.
    fn bus_answers(&mut self, now: Instant) {
        if self.dead_probe_at.take().is_some() {
            self.board.end(None);
            self.units.values_mut().for_each(|breaker| breaker.probe_now(now));
        }
    }

    /// What an outcome says about the registers of a request.
    fn learn(&mut self, ix: usize, outcome: &Result<guard::Answer, BusError>, clock: &Clock) {
        let now = clock.now();
        let unit = self.slots[ix].block.unit;
        let alive = self.slots.iter().any(|slot| slot.block.unit == unit && slot.good)
            || !self.units.get(&unit).is_none_or(Breaker::is_open);
        let slot = &mut self.slots[ix];
        match outcome {
            Ok(_) => {
                (slot.good, slot.refused, slot.silent) = (true, 0, 0);
                if slot.ban.take().is_some() {
                    self.board.end(Some(unit));
                }
                if self.learned.cuts.forget(now) {
                    self.learned.store();
                    self.replan(now);
                }
                return;
            }
            Err(BusError::Exception { code, .. }) if NOT_THERE.contains(code) => {
                slot.refused += 1;
                if slot.refused < if slot.good { REFUSED_KNOWN } else { REFUSED_NEW } && slot.ban.is_none() {
                    return;
                }
            }
            // Some devices meet a hole with silence.
            Err(BusError::Timeout { .. }) if !slot.good && alive && planner::unused(&slot.block) > 0 => {
                slot.silent += 1;
                if slot.silent < REFUSED_NEW {
                    return;
                }
            }
            Err(_) => return,
        }
        let block = &self.slots[ix].block;
        match planner::cut(block) {
            Some(at) => {
                tracing::info!(
                    bus = self.plan.name,
                    unit = unit.0,
                    table = block.function.table(),
                    first = block.first,
                    count = block.count,
                    at,
                    "refused; read in two parts from now on"
                );
                self.learned.cuts.add(unit, block.function, at, now);
                self.learned.store();
                self.replan(now);
            }
            None => self.ban(ix),
        }
    }

    /// A single value that the device refuses: asked again only now and then.
    fn ban(&mut self, ix: usize) {
        let jitter = self.jitter;
        let slot = &mut self.slots[ix];
        let fresh = || (clock::instant(), Backoff::new(BAN_FIRST, BAN_LAST).jittered(jitter));
        let (_, mut backoff) = slot.ban.take().unwrap_or_else(fresh);
        slot.ban = Some((clock::instant() + backoff.pause(), backoff));
        self.board.begin(Some(slot.block.unit), Trouble::Refused);
    }
}

fn points(block: &BlockPlan) -> Vec<PointIx> {
    block.points.iter().map(|point| point.point).collect()
}

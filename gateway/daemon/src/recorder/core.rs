//! What the recorder's thread does, told the time: eat, conclude, seal. No clock, no channel, no socket.
//!
//! - Inputs are pushed in the order in which the engine eats them. `Advance` is pushed whenever a timer fired without
//!   an input, and at each seal.
//! - A record is sealed at once when a conclusion stands, else when it has [`READINGS_ENOUGH`] readings and what came with them is
//!   in it too, or after `seal_every`. Inputs and conclusions go to disk in one append; nobody is told before it returns.
//! - Counts close: each inputs record ends with what became of every reading that was due since the one before.
//!
//! What happens at the journal's limits stands in `room.rs` and `full.rs`, what can be asked in `ask.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use gateway_engine::Engine;
use gateway_engine::intake::Intake;
use gateway_journal::{Class, Journal, Position};
use gateway_model::{
    Change, Conclusion, ConclusionBody, DeviceFact, EngineTime, Epoch, Fact, FactBody, Gap, GapCause,
    GatewayId, Input, ModuleIx, ModulePlan, OrderOutcome, Plan, PointCounts, PointIx, RuleIx, RuleKind, Seq,
    StopCause, StorageState,
};
use gateway_wire::{
    Body, ConclusionsBody, Frame, Header, InputsBody, KeyRing, Parted, PartedKind, SigningKey, hash, seal,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::aging::Aging;
use super::dating::Dating;
use super::full::Full;
use super::room::{Pending, Purse};
use super::slots::Slots;
use super::{Answers, Civil, Event, Urgent};
use crate::clock::Wall;
use crate::metrics::Metrics;

/// With so many readings a record costs little per reading: it is sealed [`COMPANY_MS`] later…
const READINGS_ENOUGH: usize = 1_000;
/// …or with so many, at most.
const READINGS_MAX: usize = 4_000;
/// Devices of one period answer within a few milliseconds of each other. One record of them all is one signature and one sync of the disk;
/// nobody waits longer for it than this, ms.
const COMPANY_MS: i64 = 20;
/// Bytes of facts and commands in one record, at most, roughly: a record may have 1 MiB.
const TEXT_MAX: usize = 256 * 1024;
/// Conclusions in one record; more go into further records of the same append.
const CONCLUSIONS_MAX: usize = 500;
/// Frames kept with the conclusions of one record.
const FRAMES_MAX: usize = 64;
/// Nothing for so long: a heartbeat says that we were there.
const HEARTBEAT_MS: i64 = 300_000;
/// A checkpoint at least so often.
const CHECKPOINT_MS: i64 = 86_400_000;

/// Which settings a core runs with.
pub struct Settings {
    /// What a crash can lose, ms.
    pub seal_every_ms: i64,
    /// Bytes of the ring at which its oldest segment gives way.
    pub wall: Wall,
    /// Shared view of civil time.
    pub civil: Civil,
    /// Counters.
    pub metrics: Metrics,
    /// Conclusions for the uplink.
    pub urgent: mpsc::Sender<Urgent>,
}

/// Intake, engine, open record, key and journal.
pub struct Core {
    pub(super) engine: Engine,
    pub(super) intake: Intake,
    pub(super) aging: Aging,
    pub(super) journal: Journal,
    pub(super) key: SigningKey,
    pub(super) gateway: GatewayId,
    pub(super) epoch: Epoch,
    pub(super) prev: [u8; 32],
    pub(super) settings: Settings,
    pub(super) open: Open,
    pub(super) concluded: Vec<Conclusion>,
    pub(super) frames: Vec<Option<(EngineTime, Arc<[u8]>)>>,
    pub(super) last_order: Option<(u64, u64)>,
    /// The last record of the epoch's config.
    pub(super) config_end: Seq,
    pub(super) checkpoint_at: EngineTime,
    pub(super) checkpoint_position: Option<Position>,
    pub(super) checkpoint: crate::state::PositionFile,
    pub(super) clock_check_at: EngineTime,
    pub(super) dating: Dating,
    /// Full: judged, but only what must not be lost is recorded.
    pub(super) full: Option<Full>,
    /// What was said last of the room there is.
    pub(super) storage: StorageState,
    /// The center has everything up to here.
    pub(super) receipted: Option<Position>,
    /// Counts of a record that found no room: they go with the next.
    pub(super) carried: Vec<PointCounts>,
    /// Intake was last told to thin.
    pub(super) thinned: bool,
    /// When the journal is next looked after.
    pub(super) upkeep_at: EngineTime,
    /// When everything on disk is read through anew.
    pub(super) check_again_at: EngineTime,
    /// The gateway's keys, for reading what older ones signed.
    pub(super) ring: KeyRing,
    /// Cancelled when somebody ordered a new key: the next epoch signs with it.
    pub(super) rotation: CancellationToken,
    /// The plan in force, for whoever asks.
    pub(super) plan: Arc<Plan>,
    /// How often another plan has come into force in this process.
    pub(super) generation: u32,
    /// Slots of plans before, as far as sources still speak in them.
    pub(super) older: BTreeMap<u32, Slots>,
}

/// The record that is being filled.
pub(super) struct Open {
    pub(super) items: Vec<Input>,
    pub(super) readings: usize,
    pub(super) text: usize,
    /// Where the last inputs record ended: counts are of the time since.
    pub(super) from: EngineTime,
    pub(super) first_at: Option<EngineTime>,
    /// When it had readings enough.
    pub(super) enough_at: Option<EngineTime>,
    pub(super) last_inputs: Seq,
}

impl Open {
    /// The first record of an epoch, not begun.
    pub(super) fn new(from: EngineTime) -> Self {
        Self {
            items: Vec::new(),
            readings: 0,
            text: 0,
            from,
            first_at: None,
            enough_at: None,
            last_inputs: Seq(0),
        }
    }

    /// A record begins.
    pub(super) fn begin_at(&mut self, from: EngineTime) {
        self.from = from;
        (self.first_at, self.enough_at) = (None, None);
        self.readings = 0;
        self.text = 0;
    }
}

impl Core {
    /// The newest record.
    pub fn last(&self) -> Option<Position> {
        self.journal.last()
    }

    /// The epoch this process writes.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What was said last of the room there is.
    pub fn storage(&self) -> StorageState {
        self.storage
    }

    /// Cancelled when somebody ordered a new key.
    pub fn rotation(&self) -> CancellationToken {
        self.rotation.clone()
    }

    /// Where engine time stands.
    pub fn now(&self) -> EngineTime {
        self.engine.now()
    }

    /// Virtual time is over: from now on the clock is looked at.
    pub fn go_live(&mut self) {
        self.clock_check_at = self.engine.now();
    }

    /// Seals at this period from now on; returns the one before.
    pub fn seal_every_ms(&mut self, period: i64) -> i64 {
        std::mem::replace(&mut self.settings.seal_every_ms, period)
    }

    /// When [`Core::advance`] next has something to do.
    pub fn wake_at(&self) -> EngineTime {
        let retry = self.full.as_ref().map(|full| full.retry_at);
        // A record with something in it is sealed in time; only an empty one needs a heartbeat.
        let seal = match self.open.first_at {
            Some(at) => at.plus(self.settings.seal_every_ms),
            None => self.open.from.plus(HEARTBEAT_MS),
        };
        let enough = self.open.enough_at.map(|at| at.plus(COMPANY_MS));
        [self.engine.deadline(), retry, enough]
            .into_iter()
            .flatten()
            .chain([self.aging.from(), self.clock_check_at, self.upkeep_at])
            .fold(seal, EngineTime::min)
    }

    /// Lets time pass: timers, stale points, heartbeat, clock, and the seals that are due.
    pub fn advance(&mut self, now: EngineTime) -> anyhow::Result<()> {
        if self.full.as_ref().is_some_and(|full| now >= full.retry_at) {
            self.try_again(now)?;
        }
        if now >= self.upkeep_at {
            self.upkeep(now)?;
        }
        if now >= self.clock_check_at {
            self.check_clock(now);
        }
        if self.aging.from() <= now {
            for reading in self.intake.stale(now) {
                self.eat(Input::Reading(reading));
            }
            self.aging.looked(&self.intake);
        }
        if self.engine.deadline().is_some_and(|at| at <= now) {
            self.eat(Input::Advance(now));
        }
        let idle = self.open.items.is_empty() && now.since(self.open.from) >= HEARTBEAT_MS;
        if idle {
            self.eat(Input::Heartbeat(now));
        }
        let due = self.open.first_at.is_some_and(|at| now.since(at) >= self.settings.seal_every_ms);
        let enough = self.open.enough_at.is_some_and(|at| now.since(at) >= COMPANY_MS);
        if idle || due || enough || !self.concluded.is_empty() {
            self.seal(now)?;
        }
        Ok(())
    }

    /// Eats one event of a source that knows the slots of the plan of `generation`.
    pub fn hear(&mut self, generation: u32, event: Event, now: EngineTime) -> anyhow::Result<()> {
        if generation == self.generation {
            return self.take(event, now);
        }
        // Of a plan that nobody speaks of any more nothing has a place.
        let event = match self.older.get(&generation) {
            Some(slots) => slots.event(event),
            None => Slots::default().event(event),
        };
        event.map_or(Ok(()), |event| self.take(event, now))
    }

    /// Eats one event.
    pub fn take(&mut self, event: Event, now: EngineTime) -> anyhow::Result<()> {
        match event {
            Event::Answers(answers) => self.offer(answers),
            Event::Missed { points, times, cause } => {
                for _ in 0..times {
                    for point in &points {
                        self.intake.missed(*point, cause);
                    }
                }
            }
            Event::Fact(fact) => match &mut self.full {
                Some(full) => full.refuse_entry(now),
                None => self.eat(Input::Fact(fact)),
            },
            Event::Entry { fact, taken } => {
                if let Some(full) = &mut self.full {
                    full.refuse_entry(now);
                } else {
                    self.eat(Input::Fact(fact));
                    self.seal(now)?;
                    if self.full.is_none() {
                        // Who entered it may have gone away.
                        let _told = taken.send(());
                    }
                }
            }
            Event::Asked { author, body, taken } => self.asked(author, body, taken, now)?,
            Event::Receipted(position) => self.receipted = Some(position),
            Event::Overrun { from, to, count } => {
                let gap = Gap { point: None, from, to, count, cause: GapCause::Overrun, records: None };
                self.gaps(vec![gap], now)?;
            }
            Event::Lost(gap) => self.gaps(vec![gap], now)?,
            Event::Gone(ranges) => {
                let gaps = self.gone(&ranges, now);
                self.gaps(gaps, now)?;
            }
            Event::ServerTime { civil, error_ms } => self.server_time(civil.0, error_ms, now),
            Event::Reconfigure(asked) => self.replan(*asked, now)?,
            Event::Config { change, declined, said } => self.config(change, declined, said, now)?,
            Event::Order { order, author, body, expired, taken } => {
                if expired && self.last_order.is_none_or(|last| order > last) {
                    self.last_order = Some(order);
                    self.not_obeyed(order, OrderOutcome::Expired, now)?;
                } else if !expired {
                    self.obey(order, author, body, now)?;
                }
                // Not told before it is on disk: it will come again. The sender may also have gone away.
                if self.full.as_ref().is_none_or(Full::owes_nothing) {
                    let _told = taken.send(());
                }
            }
        }
        if self.open.readings >= READINGS_ENOUGH {
            self.open.enough_at.get_or_insert(now);
        }
        let full = self.open.readings >= READINGS_MAX || self.open.text >= TEXT_MAX;
        if full || !self.concluded.is_empty() {
            self.seal(now)?;
        }
        Ok(())
    }

    fn offer(&mut self, answers: Answers) {
        self.settings.metrics.readings(answers.items.len());
        self.aging.heard(answers.at, &answers.items);
        for (point, answer) in answers.items {
            if let (Some(frame), Some(slot)) = (&answers.frame, self.frames.get_mut(point.slot())) {
                *slot = Some((answers.at, frame.clone()));
            }
            if let Some(reading) = self.intake.offer(point, answers.at, answer) {
                self.eat(Input::Reading(reading));
            }
        }
    }

    /// Into the open record and into the engine, in that order.
    pub(super) fn eat(&mut self, input: Input) {
        match &input {
            Input::Reading(_) => self.open.readings += 1,
            Input::Fact(_) | Input::Command(_) => self.open.text += text_size(&input),
            Input::Start(_)
            | Input::Advance(_)
            | Input::Clock(_)
            | Input::Stop { .. }
            | Input::Heartbeat(_) => {}
        }
        if let Input::Fact(Fact { device, body: FactBody::Device(DeviceFact::Replaced { .. }), .. }) = &input
        {
            // Intake keeps the same stretches as the engine.
            let points = (0..).map(PointIx).zip(&self.plan.points);
            self.intake.replaced(points.filter(|(_, point)| point.device == *device).map(|(ix, _)| ix));
        }
        self.engine.step(&input, &mut self.concluded);
        self.open.first_at.get_or_insert(self.engine.now());
        self.open.items.push(input);
    }

    /// Seals what is open: inputs with their counts, then what was concluded from them, in one append.
    pub(super) fn seal(&mut self, now: EngineTime) -> anyhow::Result<()> {
        if now > self.engine.now() {
            self.eat(Input::Advance(now));
        }
        if self.full.is_some() {
            return self.seal_full(now);
        }
        // Before the batch is numbered: making room writes records of its own.
        self.make_room()?;
        if self.open.items.is_empty() {
            return Ok(());
        }
        let mut batch = self.inputs_batch();
        if self.engine.now().since(self.checkpoint_at) >= CHECKPOINT_MS {
            self.add_state(&mut batch)?;
        }
        self.write(batch, now)?;
        self.spare_the_busy();
        Ok(())
    }

    /// The engine's state as it is now, behind the rest of a batch.
    pub(super) fn add_state(&self, batch: &mut Vec<(Class, Body)>) -> anyhow::Result<()> {
        add_whole(batch, Body::Checkpoint(Box::new(self.engine.save())))
    }

    pub(super) fn inputs_batch(&mut self) -> Vec<(Class, Body)> {
        // The next is probably as long.
        let next = Vec::with_capacity(self.open.items.len());
        let items = std::mem::replace(&mut self.open.items, next);
        let counts = self.close_counts();
        let plain = items.iter().all(|input| match input {
            Input::Reading(_) | Input::Advance(_) | Input::Heartbeat(_) => true,
            Input::Start(_) | Input::Clock(_) | Input::Command(_) | Input::Fact(_) | Input::Stop { .. } => {
                false
            }
        });
        let concluded = std::mem::take(&mut self.concluded);
        // Inputs that led to a conclusion are as much part of it as the conclusion itself.
        let class = if plain && concluded.is_empty() { Class::Ring } else { Class::Keep };
        let because = Seq(self.journal.next().seq);
        let mut batch = vec![(class, Body::Inputs(InputsBody { items, counts }))];
        self.conclude(because, concluded, &mut batch);
        batch
    }

    /// Conclusions, with the frames of the readings that decided an alert.
    pub(super) fn conclude(&self, because: Seq, mut list: Vec<Conclusion>, batch: &mut Vec<(Class, Body)>) {
        while !list.is_empty() {
            let rest =
                if list.len() > CONCLUSIONS_MAX { list.split_off(CONCLUSIONS_MAX) } else { Vec::new() };
            let frames = self.deciding_frames(&list);
            batch.push((Class::Keep, Body::Conclusions(ConclusionsBody { because, list, frames })));
            list = rest;
        }
    }

    fn deciding_frames(&self, list: &[Conclusion]) -> Vec<Frame> {
        let mut points: Vec<PointIx> = list
            .iter()
            .filter_map(|conclusion| match &conclusion.body {
                ConclusionBody::Alert(change) if change.change == Change::Raised => change.rule,
                ConclusionBody::Alert(_)
                | ConclusionBody::Cycle(_)
                | ConclusionBody::Order { .. }
                | ConclusionBody::Suppression(_)
                | ConclusionBody::Storage(_)
                | ConclusionBody::Folded(_)
                | ConclusionBody::Config(_) => None,
            })
            .flat_map(|rule| self.deciding_points(rule))
            .collect();
        points.sort_unstable();
        points.dedup();
        points
            .into_iter()
            .filter_map(|point| {
                let (at, bytes) = self.frames.get(point.slot())?.as_ref()?;
                Some(Frame::new(point, *at, bytes))
            })
            .take(FRAMES_MAX)
            .collect()
    }

    pub(super) fn deciding_points(&self, rule: RuleIx) -> Vec<PointIx> {
        let plan = self.engine.plan();
        let module =
            |module: ModuleIx| plan.modules.get(module.slot()).map_or_else(Vec::new, ModulePlan::points);
        match plan.rules.get(rule.slot()).map(|rule| &rule.kind) {
            Some(RuleKind::Condition { when, .. }) => when.points(),
            Some(RuleKind::Absence { point, .. }) => vec![*point],
            Some(RuleKind::CycleFailed { module: ix, .. } | RuleKind::Event { module: ix, .. }) => {
                module(*ix)
            }
            Some(
                RuleKind::DeviceUnevaluable { .. }
                | RuleKind::BusUnevaluable { .. }
                | RuleKind::ClockUnevaluable { .. },
            )
            | None => Vec::new(),
        }
    }

    /// Seals the bodies as the next records of this epoch and makes them durable. What found no room comes back, with
    /// what was lacking; `reserved` takes from what is set aside, and then all are there or none.
    pub(super) fn put(
        &mut self,
        batch: Vec<(Class, Body)>,
        reserved: bool,
    ) -> anyhow::Result<Option<Pending>> {
        self.put_from(batch, if reserved { Purse::Reserve } else { Purse::Ordinary })
    }

    /// The same from this room.
    pub(super) fn put_from(
        &mut self,
        mut batch: Vec<(Class, Body)>,
        purse: Purse,
    ) -> anyhow::Result<Option<Pending>> {
        if batch.is_empty() {
            return Ok(None);
        }
        let first = Seq(self.journal.next().seq);
        let t1 = self.engine.now();
        let mut prev = self.prev;
        let mut sealed = Vec::with_capacity(batch.len());
        for (seq, (class, body)) in (first.0..).zip(&batch) {
            let header = Header {
                gateway: self.gateway,
                epoch: self.epoch,
                seq: Seq(seq),
                prev,
                config: if seq <= CONFIG_SEQ.0 { Seq(0) } else { CONFIG_SEQ },
                t0: if matches!(body, Body::Inputs(_)) { self.open.from } else { t1 },
                t1,
            };
            let bytes = seal(&self.key, &header, body);
            prev = hash(&bytes);
            sealed.push((*class, bytes));
        }
        let needed = || sealed.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>();
        let appended = match purse {
            Purse::Ordinary => {
                let records: Vec<_> =
                    sealed.iter().map(|(class, bytes)| (*class, bytes.as_slice())).collect();
                self.journal.append_all(&records)
            }
            Purse::Reserve => self.journal.append_reserved(&needed()),
            Purse::Instead(bytes) => self.journal.append_instead(&needed(), bytes),
        };
        // After an error the first of them may be there all the same: what is on disk counts.
        let stored = match &appended {
            Ok(_) => batch.len(),
            Err(_) => (self.journal.next().seq.saturating_sub(first.0) as usize).min(batch.len()),
        };
        if let Some((_, bytes)) = stored.checked_sub(1).and_then(|last| sealed.get(last)) {
            self.prev = hash(bytes);
        }
        let rest = batch.split_off(stored);
        self.told(first, &batch, t1);
        match appended {
            Ok(_) => Ok(None),
            Err(error) => Pending::new(rest, error).map(Some),
        }
    }

    /// After the append: what others may now know.
    fn told(&mut self, first: Seq, batch: &[(Class, Body)], t1: EngineTime) {
        let position = |seq: u64| Position { epoch: self.epoch.0, seq };
        for (seq, (_, body)) in (first.0..).zip(batch) {
            self.settings.metrics.record(kind_name(body));
            match body {
                Body::Inputs(_) => {
                    self.open.begin_at(t1);
                    self.open.last_inputs = Seq(seq);
                }
                Body::Conclusions(conclusions) => {
                    let urgent = Urgent {
                        config: (CONFIG_SEQ.0, self.config_end.0),
                        because: position(conclusions.because.0),
                        conclusions: position(seq),
                    };
                    // Full: it travels with the backlog.
                    let _queued = self.settings.urgent.try_send(urgent);
                }
                Body::Checkpoint(_) | Body::Parted(Parted { of: PartedKind::Checkpoint, .. }) => {
                    self.checkpoint_at = t1;
                    self.checkpoint_position = Some(position(seq));
                    // A hint only: without it the newest checkpoint is searched for.
                    if let Err(error) = self.checkpoint.store(position(seq)) {
                        tracing::warn!(error = crate::chain(&error), "cannot note where the checkpoint lies");
                    }
                }
                // Its parts are there too: they are of the same append and class.
                Body::Parted(Parted { of: PartedKind::Config, head }) => {
                    self.config_end = Seq(seq + u64::from(head.parts));
                }
                Body::Config(_) => self.config_end = Seq(seq),
                Body::Start(_) | Body::Gap(_) | Body::Part(_) => {}
            }
        }
    }

    /// Gap records, after everything eaten before them.
    fn gaps(&mut self, gaps: Vec<Gap>, now: EngineTime) -> anyhow::Result<()> {
        self.seal(now)?;
        match &mut self.full {
            Some(full) => gaps.into_iter().for_each(|gap| full.add(Body::Gap(gap))),
            None => self.write(gaps.into_iter().map(|gap| (Class::Keep, Body::Gap(gap))).collect(), now)?,
        }
        Ok(())
    }

    /// An order that came too late, or that is nothing for the engine, is not eaten; the shell says so itself.
    pub(super) fn not_obeyed(
        &mut self,
        order: (u64, u64),
        outcome: OrderOutcome,
        now: EngineTime,
    ) -> anyhow::Result<()> {
        self.seal(now)?;
        self.say(ConclusionBody::Order { order, outcome }, now)
    }

    /// The clean end: a stop input, what follows from it, and a checkpoint, in one append.
    pub fn stop(mut self, now: EngineTime, cause: StopCause) -> anyhow::Result<()> {
        let at = now.max(self.engine.now());
        self.eat(Input::Stop { at, cause });
        if self.full.is_some() {
            return self.stop_full();
        }
        self.make_room()?;
        let mut batch = self.inputs_batch();
        self.add_state(&mut batch)?;
        self.write(batch, at)
    }
}

/// Every epoch's config record.
pub(super) const CONFIG_SEQ: Seq = Seq(1);

fn kind_name(body: &Body) -> &'static str {
    match body {
        Body::Start(_) => "start",
        Body::Config(_) | Body::Parted(Parted { of: PartedKind::Config, .. }) => "config",
        Body::Inputs(_) => "inputs",
        Body::Conclusions(_) => "conclusions",
        Body::Checkpoint(_) | Body::Parted(Parted { of: PartedKind::Checkpoint, .. }) => "checkpoint",
        Body::Gap(_) => "gap",
        Body::Part(_) => "part",
    }
}

/// A plan or state behind the rest of a batch, in parts where it has to be: all of the keep set and of one append, so that
/// all of it is there or nothing, and it goes at once when it goes.
pub(super) fn add_whole(batch: &mut Vec<(Class, Body)>, body: Body) -> anyhow::Result<()> {
    let bodies = body.cut().context("this is more than a gateway may have")?;
    batch.extend(bodies.into_iter().map(|body| (Class::Keep, body)));
    Ok(())
}

/// Roughly how many bytes an input with text takes.
fn text_size(input: &Input) -> usize {
    // Into memory, where encoding cannot fail.
    minicbor::to_vec(input).map_or(0, |bytes| bytes.len())
}

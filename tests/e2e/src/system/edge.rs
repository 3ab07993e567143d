//! One gateway through a whole simulated time: the daemon's own recorder, journal and uplink on a disk in memory that tears
//! and fills up, killed and started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gateway::clock::{Clock, Wall};
use gateway::config::Site;
use gateway::metrics::Metrics;
use gateway::pause::Jitter;
use gateway::recorder::core::Settings;
use gateway::recorder::start::{Heritage, Setup, start_on};
use gateway::recorder::{self, Answers, Civil, Event, URGENT_MAX};
use gateway::run::resume_at;
use gateway::state::DataDir;
use gateway::uplink::client::Client;
use gateway::uplink::meter::Meter;
use gateway::uplink::{self, Beginning, Cursors, Status};
use gateway_journal::faulty::Faulty;
use gateway_journal::{Class, Journal, Limits, Position};
use gateway_model::Epoch;
use gateway_wire::{Kind, SigningKey, hash, hex, peek};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::house::House;
use super::incident::Incident;
use super::line::{Fates, Weather, Wire};
use super::signals::{self, Signals};
use super::{BEGIN, Plant};
use crate::dice::Dice;

/// How often points are polled.
pub(super) const POLL_S: i64 = 60;
/// Polls do not fall together with timers of whole seconds.
const PHASE: Duration = Duration::from_millis(137);
/// How often a gateway with nothing to send asks what the center has: rarer than in the product, which is cheaper.
const ASK_EVERY: Duration = Duration::from_mins(10);
/// After a process ended with an error it is started again, as systemd does.
const RESTART: Duration = Duration::from_secs(5);
/// When everything works again, everything is at the center within this.
const DRAINED_WITHIN: Duration = Duration::from_hours(12);
const JOURNAL: &str = "/journal";
const KEEP_BYTES: u64 = 32 << 20;
/// Where the center is set back, a gateway may also have given up what only its backup lacks. Some ten states of such a site:
/// less is not even room for one epoch's own, of which nothing may give way.
pub(super) const KEEP_SMALL: u64 = 128 << 10;
/// The disk may hold this much beside both sets: reserve, epoch, segments being begun.
const BESIDE_BYTES: usize = 4 << 20;
/// Any number above every file's.
const FILES: usize = usize::MAX;

/// What happened to one, for the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) kills: u64,
    pub(super) restarts: u64,
    pub(super) failures: u64,
    pub(super) full: u64,
    pub(super) steps: u64,
    /// Times that the center was told again of numbers that are nowhere any more.
    pub(super) named_again: u64,
    pub(super) fates: Fates,
}

/// A record of the keep set as the disk held it when the gateway was told that it was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) hash: [u8; 32],
    pub(super) conclusions: bool,
}

/// What is known of a gateway at the end.
pub(super) struct Outcome {
    pub(super) key: SigningKey,
    /// The highest number said to be durable, per epoch.
    pub(super) told: BTreeMap<u64, u64>,
    /// Records that may not give way before the center has them.
    pub(super) kept: BTreeMap<(u64, u64), Kept>,
    /// What is in the journal at the end: (epoch, seq, hash).
    pub(super) journal: Vec<(u64, u64, [u8; 32])>,
    pub(super) happened: Happened,
}

/// A gateway of the simulation.
pub(super) struct Edge {
    name: String,
    data: PathBuf,
    site: Site,
    key: SigningKey,
    client: Client,
    wire: Wire,
    disk: Faulty,
    limits: Limits,
    wall: Wall,
    step_ms: Arc<AtomicI64>,
    dice: Dice,
    signals: Signals,
    looked: Position,
    told: BTreeMap<u64, u64>,
    kept: BTreeMap<(u64, u64), Kept>,
    happened: Happened,
}

/// From one start of the process to its end.
pub(super) struct Life {
    recording: JoinSet<anyhow::Result<()>>,
    sending: JoinSet<anyhow::Result<()>>,
    seal: CancellationToken,
    inputs: recorder::Inputs,
    asks: recorder::Asks,
    newest: watch::Receiver<Option<Position>>,
    status: Status,
    clock: Clock,
    metrics: Metrics,
}

/// What is done next, and when.
#[derive(Debug, Clone, Copy)]
enum Mend {
    Weather,
    Room,
    PowerOn,
}

impl Edge {
    pub(super) fn new(
        n: u64,
        seed: u64,
        folder: &Path,
        house: &Arc<House>,
        begin: Instant,
        (plant, restores): (Option<Plant>, bool),
    ) -> anyhow::Result<Self> {
        let name = format!("site-{n}");
        let mut dice = Dice::new(seed, n);
        let mut secret = [0; 32];
        for chunk in secret.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next().to_be_bytes());
        }
        let data = folder.join(&name);
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("key"), hex(&secret))?;
        let key = SigningKey::from_bytes(&secret);
        let enrolled = house.enrol(&key, &name, &name, BEGIN)?;
        let wire = Wire::new(Arc::clone(house), Dice::new(seed, 100 + n), (begin, BEGIN), plant);
        let meter = Meter::new(None, DataDir::open(&data)?.position("line"));
        let client = Client::new(enrolled, key.clone(), meter)?.over(Arc::new(wire.clone()));
        let site = signals::site(&name, POLL_S);
        let ring_bytes = [32 << 10, 64 << 10, 2 << 20][dice.below(3) as usize];
        let keep_bytes = if restores && dice.percent(70) { KEEP_SMALL } else { KEEP_BYTES };
        let step_ms = Arc::new(AtomicI64::new(0));
        let disk = Faulty::new();
        disk.forget_syncs(plant == Some(Plant::LyingDisk));
        Ok(Self {
            signals: Signals::new(&site, dice.next()),
            limits: Limits { ring_bytes, keep_bytes, segment_bytes: 8 << 10 },
            wall: Wall::stepped(BEGIN, step_ms.clone()),
            looked: Position::default(),
            told: BTreeMap::new(),
            kept: BTreeMap::new(),
            happened: Happened::default(),
            name,
            data,
            site,
            key,
            client,
            wire,
            disk,
            step_ms,
            dice,
        })
    }

    /// Lives until `end` with everything that can go wrong, then in peace until the center has everything.
    pub(super) async fn live(mut self, begin: Instant, end: Instant, gap_s: i64) -> anyhow::Result<Outcome> {
        let mut life = self.start().ok();
        let mut mends: Vec<(Instant, Mend)> = Vec::new();
        let mut next = begin + self.gap(gap_s);
        let mut minute = 0;
        loop {
            let poll = begin + Duration::from_secs((minute * POLL_S) as u64) + PHASE;
            let mend = mends.iter().map(|(at, _)| *at).min();
            let now = [Some(poll), Some(next), mend, Some(end)].into_iter().flatten().min().unwrap_or(end);
            sleep_until(now).await;
            if now >= end {
                break;
            }
            if life.as_ref().is_some_and(Life::has_failed) {
                self.happened.failures += 1;
                self.end(life.take()).await?;
                mends.push((now + RESTART, Mend::PowerOn));
            }
            if mend == Some(now) {
                let (due, rest) = std::mem::take(&mut mends).into_iter().partition(|(at, _)| *at <= now);
                mends = rest;
                for (_, mend) in due {
                    self.mend(mend, &mut life, &mut mends, now);
                }
            } else if now == next {
                next = now + self.gap(gap_s);
                let incident = Incident::any(&mut self.dice);
                self.happen(incident, &mut life, &mut mends, now).await?;
            } else {
                self.poll(life.as_ref(), minute).await;
                minute += POLL_S / 60;
            }
        }
        self.drain(life).await
    }

    /// So many lives in peace, from this minute of the signals on, each with an orderly end and all of it at the center.
    pub(super) async fn lives(&mut self, lives: i64, minutes: std::ops::Range<i64>) -> anyhow::Result<()> {
        for _ in 0..lives {
            let life = self.start()?;
            for minute in minutes.clone() {
                sleep(Duration::from_secs(POLL_S as u64)).await;
                self.poll(Some(&life), minute).await;
            }
            self.drained(&life, Instant::now() + DRAINED_WITHIN).await?;
            self.stop(life).await?;
        }
        Ok(())
    }

    /// With so little room in its keep set.
    pub(super) fn small(mut self, keep_bytes: u64) -> Self {
        self.limits.keep_bytes = keep_bytes;
        self
    }

    fn gap(&mut self, mean_s: i64) -> Duration {
        Duration::from_millis(self.dice.between(mean_s * 100, mean_s * 1_900) as u64)
    }

    async fn happen(
        &mut self,
        incident: Incident,
        life: &mut Option<Life>,
        mends: &mut Vec<(Instant, Mend)>,
        now: Instant,
    ) -> anyhow::Result<()> {
        let after = |seconds: i64| now + Duration::from_secs(seconds as u64);
        match incident {
            Incident::Rough { percent, for_s } => {
                self.wire.weather(Weather::Rough(percent));
                mends.push((after(for_s), Mend::Weather));
            }
            Incident::Cut { for_s } => {
                self.wire.weather(Weather::Cut);
                mends.push((after(for_s), Mend::Weather));
            }
            Incident::Kill { away_s } => {
                if life.is_some() {
                    self.happened.kills += 1;
                    self.end(life.take()).await?;
                    self.power_cut();
                    mends.push((after(away_s), Mend::PowerOn));
                }
            }
            Incident::Restart => {
                if let Some(running) = life.take() {
                    self.happened.restarts += 1;
                    self.stop(running).await?;
                    mends.push((after(2), Mend::PowerOn));
                }
            }
            Incident::Full { spare, for_s } => {
                self.happened.full += 1;
                self.disk.room(self.disk.used() + spare, FILES);
                mends.push((after(for_s), Mend::Room));
            }
            Incident::DiskFails { after, fault } => self.disk.fail(after, fault),
            Incident::Step { ms } => {
                self.happened.steps += 1;
                self.step_ms.store(ms, Ordering::Relaxed);
            }
            Incident::HintsLost => self.lose_hints()?,
        }
        Ok(())
    }

    fn mend(&mut self, mend: Mend, life: &mut Option<Life>, mends: &mut Vec<(Instant, Mend)>, now: Instant) {
        match mend {
            Mend::Weather => self.wire.weather(Weather::Fair),
            Mend::Room => self.disk.unlimited(),
            Mend::PowerOn => {
                if life.is_none() {
                    self.disk.mend();
                    *life = self.start().ok();
                }
                if life.is_none() {
                    mends.push((now + RESTART, Mend::PowerOn));
                }
            }
        }
    }

    /// Cursors and hints are emptied or garbled: each may be lost without harm.
    fn lose_hints(&mut self) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.data.join("cursors"))? {
            let garbage: &[u8] = if self.dice.percent(50) { b"" } else { b"99 99 00000000\n" };
            std::fs::write(entry?.path(), garbage)?;
        }
        Ok(())
    }

    /// One round of polling.
    async fn poll(&mut self, life: Option<&Life>, minute: i64) {
        let answers = self.signals.at(minute);
        let Some(life) = life else { return };
        let at = life.clock.now();
        for items in answers {
            let event = Event::Answers(Answers { at, items, frame: None });
            // A recorder that has ended is noticed with the next round.
            life.inputs.send(event).await.ok();
        }
    }

    fn start(&mut self) -> anyhow::Result<Life> {
        let data = DataDir::open(&self.data)?;
        let (metrics, civil) = (Metrics::default(), Civil::default());
        let (doors, rooms) = recorder::doors(civil.clone());
        let (urgent_in, urgent) = mpsc::channel(URGENT_MAX);
        let setup = Setup {
            journal: JOURNAL.into(),
            limits: self.limits,
            key: self.key.clone(),
            plan: self.site.plan.clone(),
            epoch_floor: Epoch(0),
            heritage: Heritage::default(),
            from: None,
            checkpoint: data.position("checkpoint"),
            settings: Settings {
                seal_every_ms: i64::try_from(self.site.journal.seal_every.as_millis())?,
                wall: self.wall.clone(),
                civil: civil.clone(),
                metrics: metrics.clone(),
                urgent: urgent_in,
            },
        };
        let (core, found) = start_on(Arc::new(self.disk.clone()), setup)?;
        let clock = Clock::start(self.wall.clone(), resume_at(&core, &self.wall, &civil));
        let cursors = Cursors {
            sent: data.position("uplink"),
            aside: data.position("aside"),
            orders: data.position("orders"),
        };
        let beginning = Beginning {
            last_order: found.last_order,
            epoch: core.epoch().0,
            first_epoch: 0,
            rise_after: Duration::ZERO,
        };
        let (sender, _orders, status) =
            uplink::new(self.client.clone(), &doors, &clock, urgent, cursors, &beginning, &metrics);
        let sender = sender.paced(Jitter::None, ASK_EVERY);
        let seal = CancellationToken::new();
        let mut recording = JoinSet::new();
        {
            let (clock, seal) = (clock.clone(), seal.clone());
            recording.spawn(async move {
                // The folder is locked as long as somebody records.
                let _data = data;
                recorder::record(core, &clock, rooms, &seal).await
            });
        }
        let mut sending = JoinSet::new();
        sending.spawn(sender.run(seal.clone()));
        Ok(Life {
            recording,
            sending,
            seal,
            inputs: doors.inputs,
            asks: doors.asks,
            newest: doors.newest,
            status,
            clock,
            metrics,
        })
    }

    /// Nothing more is said or written; what was said to be durable is noted.
    async fn end(&mut self, life: Option<Life>) -> anyhow::Result<()> {
        let Some(mut life) = life else { return Ok(()) };
        life.sending.shutdown().await;
        life.recording.shutdown().await;
        self.happened.named_again += life.metrics.uplink_count("gone");
        let newest = *life.newest.borrow();
        self.look(newest)
    }

    /// An orderly end. A disk that fails just then makes it a crash.
    async fn stop(&mut self, mut life: Life) -> anyhow::Result<()> {
        life.sending.shutdown().await;
        self.happened.named_again += life.metrics.uplink_count("gone");
        life.seal.cancel();
        let ended = life.recording.join_next().await.context("a recorder ends once")?;
        let clean = ended.context("a recorder does not panic")?;
        if clean.is_err() {
            self.happened.failures += 1;
        }
        let newest = *life.newest.borrow();
        self.look(newest)
    }

    /// The disk as it is before anything of it is lost: what the process was told is durable.
    fn look(&mut self, newest: Option<Position>) -> anyhow::Result<()> {
        let used = self.disk.used();
        let most = (self.limits.ring_bytes + self.limits.keep_bytes) as usize + BESIDE_BYTES;
        ensure!(used <= most, "{}: {used} bytes on a disk that may hold {most}", self.name);
        let Some(newest) = newest else { return Ok(()) };
        let told = self.told.entry(newest.epoch).or_default();
        *told = newest.seq.max(*told);
        let journal = Arc::new(self.disk.copy());
        let (journal, _) = Journal::open_on(journal, Path::new(JOURNAL), self.limits)?;
        for stored in journal.scan(self.looked) {
            let stored = stored.with_context(|| format!("{}: read the journal again", self.name))?;
            if stored.position > newest {
                break;
            }
            self.looked = Position { epoch: stored.position.epoch, seq: stored.position.seq + 1 };
            if stored.class == Class::Keep {
                let (_, kind) = peek(&stored.bytes)?;
                let kept = Kept { hash: hash(&stored.bytes), conclusions: kind == Kind::Conclusions };
                self.kept.insert((stored.position.epoch, stored.position.seq), kept);
            }
        }
        Ok(())
    }

    /// The power goes: of what was not synced any block of 512 bytes may be on the disk.
    fn power_cut(&mut self) {
        let names = self.dice.percent(50);
        let dice = &mut self.dice;
        self.disk.power_cut(names, |_, durable, seen| {
            let mut left = seen.to_vec();
            for (i, block) in left.chunks_mut(512).enumerate() {
                let old = durable.get(i * 512..).unwrap_or_default();
                let same = old.len().min(block.len());
                if block[..same] != old[..same] || same < block.len() {
                    if dice.percent(50) {
                        continue;
                    }
                    block.fill(0);
                    block[..same].copy_from_slice(&old[..same]);
                }
            }
            left
        });
    }

    /// Everything works again: everything arrives.
    pub(super) async fn drain(mut self, life: Option<Life>) -> anyhow::Result<Outcome> {
        self.wire.weather(Weather::Fair);
        self.disk.unlimited();
        self.disk.mend();
        self.disk.forget_syncs(false);
        self.step_ms.store(0, Ordering::Relaxed);
        let deadline = Instant::now() + DRAINED_WITHIN;
        let mut life = life.filter(|life| !life.has_failed());
        // Once with what the faults left, once more after a clean end, whose last records are sent by the next life.
        for last in [false, true] {
            let running = match life.take() {
                Some(life) => life,
                None => self.start().with_context(|| format!("{}: start on a good disk", self.name))?,
            };
            self.drained(&running, deadline).await?;
            if last {
                self.end(Some(running)).await?;
            } else {
                self.stop(running).await?;
            }
        }
        let (journal, _) = Journal::open_on(Arc::new(self.disk.copy()), Path::new(JOURNAL), self.limits)?;
        let found: Result<Vec<_>, _> = journal
            .scan(Position::default())
            .map(|stored| {
                stored.map(|stored| (stored.position.epoch, stored.position.seq, hash(&stored.bytes)))
            })
            .collect();
        self.happened.fates = self.wire.fates();
        Ok(Outcome {
            key: self.key,
            told: self.told,
            kept: self.kept,
            journal: found.with_context(|| format!("{}: read the journal", self.name))?,
            happened: self.happened,
        })
    }

    async fn drained(&self, life: &Life, deadline: Instant) -> anyhow::Result<()> {
        loop {
            let (newest, through) = (*life.newest.borrow(), life.status.receipted());
            ensure!(!life.has_failed(), "{}: the recorder ended on a good disk", self.name);
            // What is owed while there is no room is not in the journal yet.
            let refusing = life.asks.snapshot().await.is_ok_and(|state| state.refusing);
            if newest.is_some() && through == newest && !refusing && self.wire.underway() == 0 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{}: not at the center {} h after everything works again: {newest:?}, receipted {through:?}, {} requests \
                 underway, the disk refuses: {refusing}",
                self.name,
                DRAINED_WITHIN.as_secs() / 3600,
                self.wire.underway()
            );
            sleep(Duration::from_secs(10)).await;
        }
    }
}

impl Life {
    fn has_failed(&self) -> bool {
        self.inputs.is_closed()
    }
}

//! Where records go besides the center: databases, brokers, web addresses. `docs/sinks.md` says what each sends and what
//! happens at each failure.
//!
//! Promises: each sink reads the journal behind a cursor of its own, which pins nothing: what is evicted before the sink
//! comes to it is in the sink's own list of gaps. At least once: after a restart up to a second of what was delivered is
//! delivered again, with the same ids. What a target will never take is set aside with its words, and the stream goes on.
//! No sink slows down the recorder, the uplink or another sink, and no trouble of a sink ends the gateway.
//!
//! Leaves out: any decision ([`core`]), what goes to the center (the uplink).

mod broker;
pub mod core;
pub mod gaps;
pub mod http;
pub mod influx;
pub mod line;
pub mod mqtt;
pub mod parcel;
pub mod reader;
pub mod scene;
pub mod sign;
pub mod status;
pub mod store;
pub mod template;
mod told;
pub mod webhook;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_journal::Position;
use gateway_model::GatewayId;
use tokio_util::sync::CancellationToken;

use self::core::{Core, Effect, Limits, Millis, Parcel, Policy, Step, Trouble};
use self::influx::Influx;
use self::mqtt::Mqtt;
use self::reader::{Read, Reader, Source};
use self::status::{State, Status};
use self::store::Store;
use self::webhook::Webhook;
use crate::clock;
use crate::config::{Begin, SinkPlan, TargetPlan};
use crate::metrics::Metrics;
use crate::recorder::{Doors, Refused};

/// The cursor is saved at most this often while much goes on.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often a sink that waits for a person or for the clock looks again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Records read before a look at what is due.
const READ_MAX: usize = 64;

/// One connection to one target.
enum Target {
    Influx(Influx),
    Mqtt(Box<Mqtt>),
    Webhook(Webhook),
}

impl Target {
    fn new(plan: &SinkPlan, site: &str, gateway: GatewayId) -> (Self, Limits, Policy) {
        match &plan.target {
            TargetPlan::Influx(influx) => {
                (Self::Influx(Influx::new(plan, influx)), Influx::limits(influx), influx::POLICY)
            }
            TargetPlan::Mqtt(mqtt) => {
                let target = Mqtt::new(plan, mqtt, site, &gateway.to_string());
                (Self::Mqtt(Box::new(target)), Mqtt::limits(), mqtt::POLICY)
            }
            TargetPlan::Webhook(hook) => {
                let policy = Policy::Schedule(webhook::SCHEDULE);
                (Self::Webhook(Webhook::new(plan, hook)), Webhook::limits(), policy)
            }
        }
    }

    async fn send(&mut self, parcels: &[Parcel]) -> (usize, Option<Trouble>) {
        match self {
            Self::Influx(influx) => influx.send(parcels).await,
            Self::Mqtt(mqtt) => mqtt.send(parcels).await,
            // The receiver compares with its own clock: real time, also under the demo clock.
            Self::Webhook(hook) => hook.send(parcels, jiff::Timestamp::now().as_second()).await,
        }
    }

    async fn close(&mut self) {
        match self {
            Self::Mqtt(mqtt) => mqtt.close().await,
            Self::Influx(_) | Self::Webhook(_) => {}
        }
    }
}

/// One sink at work.
pub struct Sink {
    name: String,
    target: Target,
    core: Core,
    reader: Reader,
    source: Source,
    store: Store,
    metrics: Metrics,
    status: Status,
    zero: Instant,
    saved_at: Option<Instant>,
    no_clock: bool,
    /// Told in the log: "failing since".
    said: bool,
}

/// Why a sink ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything there is was delivered or set aside.
    Drained,
    /// The target wants nothing more.
    Stopped,
}

/// What a sink belongs to.
#[derive(Debug, Clone)]
pub struct Home {
    /// The data directory.
    pub data: PathBuf,
    /// The site's id, for topics.
    pub site: String,
    /// The gateway's.
    pub gateway: GatewayId,
}

/// Works a sink until told to stop, whatever happens to it: a folder that cannot be opened or written now (somebody drains
/// it, the disk is full) is tried again.
pub async fn work(
    plan: SinkPlan,
    home: Home,
    mut doors: Doors,
    metrics: Metrics,
    status: Status,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut said = false;
    // Where a new sink begins is known once the recorder has said which record is the newest.
    let known = async { doors.newest.wait_for(Option::is_some).await.map(drop) };
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // If the recorder has gone, whoever ended it says why.
        known = known => if known.is_err() { return Ok(()) },
    }
    loop {
        let opened = Sink::open(&plan, &home, Source::Live(doors.clone()), &metrics);
        let ended = match opened {
            Ok(sink) => sink.shown_as(status.clone()).run(stop.clone()).await,
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return Ok(()) };
        let words = format!("{error:#}");
        if !std::mem::replace(&mut said, true) {
            tracing::error!(sink = plan.name, words, "cannot be worked; trying again, said once");
        }
        status.set(State::Broken, &words);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Sink {
    /// Opens its folder, nothing else; fails only where another process has it or the disk refuses.
    pub fn open(plan: &SinkPlan, home: &Home, source: Source, metrics: &Metrics) -> anyhow::Result<Self> {
        let mut store = Store::open(&home.data, plan)?;
        let mut saved = store.saved();
        if saved.cursor.is_none() && plan.begin == Begin::Newest {
            let newest = source.newest();
            store.save(newest, None)?;
            saved = store.saved();
        }
        let cursor = saved.cursor.map(|(epoch, seq)| Position { epoch, seq });
        let (target, limits, policy) = Target::new(plan, &home.site, home.gateway);
        let core = Core::new(limits, policy, cursor, store.late());
        let reader =
            Reader::new(source.clone(), &plan.target, home.gateway, cursor, saved.offset_ms, store.gaps());
        let status = Status::new(&plan.name, plan.target.kind());
        Ok(Self {
            name: plan.name.clone(),
            target,
            core,
            reader,
            source,
            store,
            metrics: metrics.clone(),
            status,
            zero: clock::instant(),
            saved_at: None,
            no_clock: false,
            said: false,
        })
    }

    /// What is shown of it.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Shows itself there.
    fn shown_as(mut self, status: Status) -> Self {
        status.set(State::Works, "");
        self.status = status;
        self
    }

    /// Delivers until told to stop, or until its folder cannot be written.
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = self.forever() => ended,
        };
        self.target.close().await;
        ended.and_then(|()| self.save())
    }

    async fn forever(&mut self) -> anyhow::Result<()> {
        loop {
            match self.turn(false).await? {
                Turn::Gone => return Ok(()),
                Turn::Stopped => self.wait_for_a_person().await?,
                Turn::On | Turn::End => {}
            }
        }
    }

    /// Delivers what there is, and ends. `tell` hears how far it has come after every answer.
    pub async fn drain(&mut self, mut tell: impl FnMut(&Status)) -> anyhow::Result<Ended> {
        loop {
            match self.turn(true).await? {
                Turn::On => tell(&self.status),
                Turn::End | Turn::Gone => {
                    self.save()?;
                    self.target.close().await;
                    return Ok(Ended::Drained);
                }
                Turn::Stopped => return Ok(Ended::Stopped),
            }
        }
    }

    /// Reads on, sends what is due, or waits for either. While draining it does not wait for new records.
    async fn turn(&mut self, draining: bool) -> anyhow::Result<Turn> {
        if self.store.stopped().is_some() {
            return Ok(Turn::Stopped);
        }
        let Ok(more) = self.read().await else { return Ok(Turn::Gone) };
        self.show();
        match self.core.step(self.now()) {
            Step::Send(parcels) => {
                self.send(&parcels).await?;
                Ok(Turn::On)
            }
            Step::Stopped => Ok(Turn::Stopped),
            step @ (Step::Wait(_) | Step::Idle) => {
                self.save_now_and_then()?;
                if draining && step == Step::Idle && !more {
                    anyhow::ensure!(
                        !self.no_clock,
                        "what is left cannot be dated: the clock was never known"
                    );
                    return Ok(Turn::End);
                }
                if more && step == Step::Idle && self.core.wants() {
                    // Nothing of what was read goes to this target: on to the rest, not in a while.
                    return Ok(Turn::On);
                }
                let until = match step {
                    Step::Wait(until) => Duration::from_millis(until.saturating_sub(self.now())),
                    Step::Idle | Step::Send(_) | Step::Stopped => LOOK_EVERY,
                };
                self.wait(until).await
            }
        }
    }

    /// Waits for a moment or for a new record, whichever comes first.
    async fn wait(&mut self, until: Duration) -> anyhow::Result<Turn> {
        let pause = if self.no_clock { until.min(LOOK_EVERY) } else { until };
        match &mut self.source {
            Source::Live(doors) if self.core.wants() && !self.no_clock => {
                tokio::select! {
                    changed = doors.newest.changed() => {
                        if changed.is_err() {
                            return Ok(Turn::Gone);
                        }
                    }
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Source::Live(_) | Source::Offline(_) => tokio::time::sleep(pause).await,
        }
        // A cursor that moved without anything being sent is saved here.
        self.save_now_and_then()?;
        Ok(Turn::On)
    }

    /// Reads ahead; true where there may be more.
    async fn read(&mut self) -> Result<bool, Refused> {
        for _ in 0..READ_MAX {
            if !self.core.wants() {
                return Ok(true);
            }
            match self.reader.next().await? {
                Read::Record(position, parcels) => {
                    self.no_clock = false;
                    let now = self.now();
                    self.core.feed(position, parcels, now);
                }
                Read::End => return Ok(false),
                Read::NoClock => {
                    self.no_clock = true;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn send(&mut self, parcels: &[Parcel]) -> anyhow::Result<()> {
        let (taken, trouble) = self.target.send(parcels).await;
        self.metrics.sink(&self.name, "delivered", taken as u64);
        if let Some(trouble) = &trouble {
            self.metrics.sink(&self.name, trouble.outcome(), 1);
        }
        self.say(trouble.as_ref());
        for effect in self.core.report(self.now(), taken, trouble.as_ref(), jitter()) {
            self.take_effect(effect)?;
        }
        self.save_now_and_then()
    }

    fn take_effect(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Aside(parcel, words) => {
                self.metrics.sink(&self.name, "aside", 1);
                tracing::warn!(
                    sink = self.name,
                    id = parcel.id(),
                    words,
                    "set aside: `gateway sink aside` shows it"
                );
                self.status.set_aside();
                self.store.aside(&parcel, &words)
            }
            Effect::Late => self.store.save_late(self.core.late()),
            Effect::Stopped(words) => {
                tracing::error!(
                    sink = self.name,
                    words,
                    "the target wants nothing more: `gateway sink resume` goes on"
                );
                self.store.stop(&words)
            }
        }
    }

    /// Tells log and status how it went: a failure once, then counted.
    fn say(&mut self, trouble: Option<&Trouble>) {
        match trouble {
            // One message that cannot be taken is told when it is set aside.
            None | Some(Trouble::Poison { .. } | Trouble::TooLarge { .. }) => {
                if std::mem::take(&mut self.said) {
                    tracing::info!(sink = self.name, "delivers again");
                }
                self.status.set(State::Works, "");
            }
            Some(trouble) => {
                if !std::mem::replace(&mut self.said, true) {
                    let words = trouble.words();
                    tracing::warn!(sink = self.name, words, "does not deliver; trying again, said once");
                }
                let state = match trouble {
                    Trouble::Refused { .. } => State::Refused,
                    Trouble::Gone { .. } => State::Stopped,
                    Trouble::Busy { .. } | Trouble::Down { .. } => State::Failing,
                    Trouble::Poison { .. } | Trouble::TooLarge { .. } => State::Works,
                };
                self.status.set(state, trouble.words());
            }
        }
    }

    fn show(&mut self) {
        if self.no_clock {
            self.status.set(State::NoClock, "waits until the clock is known");
        }
        let (waiting, late, gaps) = (self.core.waiting(), self.core.late().len(), self.reader.gaps());
        self.status.figures(self.core.cursor(), self.source.newest(), waiting, late, gaps);
        for (of, value) in
            [("waiting", waiting), ("late", late), ("gaps", gaps), ("failures", self.core.failures())]
        {
            self.metrics.sink_state(&self.name, of, value as u64);
        }
    }

    async fn wait_for_a_person(&mut self) -> anyhow::Result<()> {
        self.save()?;
        while let Some(stopped) = self.store.stopped() {
            self.status.set(State::Stopped, &stopped.words);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tracing::info!(sink = self.name, "resumed");
        self.core.resume();
        Ok(())
    }

    fn save_now_and_then(&mut self) -> anyhow::Result<()> {
        if self.saved_at.is_some_and(|at| at.elapsed() < SAVE_EVERY) {
            return Ok(());
        }
        self.saved_at = Some(clock::instant());
        self.save()
    }

    /// Gaps first: the cursor must not stand behind a hole that nobody has noted.
    fn save(&mut self) -> anyhow::Result<()> {
        if let Some(gaps) = self.reader.changed_gaps() {
            self.store.save_gaps(gaps)?;
        }
        let cursor = self.core.cursor();
        let offset = cursor.and_then(|cursor| self.reader.offset_at(cursor));
        self.store.save(cursor, offset)
    }

    fn now(&self) -> Millis {
        clock::instant().saturating_duration_since(self.zero).as_millis() as Millis
    }
}

/// What came of one turn.
enum Turn {
    On,
    End,
    Stopped,
    /// The recorder has ended.
    Gone,
}

/// −1 … 1; without randomness from the system there is no jitter.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return 0.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * 2.0 - 1.0
}

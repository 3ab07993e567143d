//! The recorder: one thread that owns intake, engine, open record, key and journal.
//!
//! Everything that happens comes in through one bounded channel, is eaten in order, and is on disk before anybody is
//! told what was concluded. Whoever wants to read the journal or see the state asks through a second channel, so
//! nothing is shared and nothing is locked.
//!
//! At the limits: the channel of events holds [`EVENTS_MAX`]; when it is full bus tasks wait, and MQTT counts what it
//! had to drop, which becomes a gap record. What happens when the journal is full stands in `room` and `full`.

mod aging;
mod ask;
pub mod core;
mod dating;
mod fold;
mod full;
mod reconfigure;
pub mod replay;
mod room;
pub mod slots;
pub mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use gateway_engine::OpenAlert;
use gateway_engine::intake::Answer;
use gateway_journal::Position;
use gateway_model::{
    BadCause, CivilTime, CommandBody, ConfigChange, EngineTime, Fact, Gap, Plan, PointIx, Quality, Raw,
    StopCause,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::core::Core;
use crate::clock::{self, Clock};

/// Events waiting for the recorder: about a second of 1,000 blocks, 1 MiB.
pub const EVENTS_MAX: usize = 1_024;
/// Questions waiting for the recorder: uplink, page, metrics.
const ASKS_MAX: usize = 32;
/// Events eaten before the recorder looks at its timers again.
const TURN_MAX: usize = 64;
/// Two turns that follow each other so soon are part of a burst, such as 200 buses that are read at the same moment…
const BURST: Duration = Duration::from_millis(1);
/// …and the next waits so long for company: waking the thread costs as much as what it does for twenty readings.
const LINGER: Duration = Duration::from_millis(1);
/// Conclusions announced to the uplink and not yet taken by it. When it is full they travel with the backlog, in order.
pub const URGENT_MAX: usize = 4_096;

/// What one request or payload brought.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Mid-point of the request, or arrival.
    pub at: EngineTime,
    /// Per point.
    pub items: Vec<(PointIx, Answer)>,
    /// The bytes as received: evidence, should they decide an alert.
    pub frame: Option<Arc<[u8]>>,
}

/// What can happen to a recorder.
#[derive(Debug)]
pub enum Event {
    /// Answers came, or failed to.
    Answers(Answers),
    /// Readings were due but never asked for.
    Missed {
        /// Of which points.
        points: Vec<PointIx>,
        /// How many periods.
        times: u32,
        /// As what they count.
        cause: BadCause,
    },
    /// Something happened at a device.
    Fact(Fact),
    /// Somebody entered that something happened at a device.
    Entry {
        /// What.
        fact: Fact,
        /// Told when it is on disk; dropped where there is no room for it.
        taken: oneshot::Sender<()>,
    },
    /// Somebody at the box asks for something.
    Asked {
        /// Who: an id of the site's.
        author: String,
        /// What.
        body: CommandBody,
        /// Told when it is on disk, with whether it changed anything; dropped where there is no room for it.
        taken: oneshot::Sender<bool>,
    },
    /// MQTT readings were dropped because the recorder was full.
    Overrun {
        /// First loss.
        from: EngineTime,
        /// Room again.
        to: EngineTime,
        /// How many readings.
        count: u64,
    },
    /// The center told the time.
    ServerTime {
        /// What it said.
        civil: CivilTime,
        /// Half the time its answer took, ms.
        error_ms: i64,
    },
    /// The center sent an order.
    Order {
        /// (center epoch, order seq).
        order: (u64, u64),
        /// Who.
        author: String,
        /// What.
        body: CommandBody,
        /// It arrived after its time: said so, not carried out.
        expired: bool,
        /// Told when it is on disk.
        taken: oneshot::Sender<()>,
    },
    /// The center has everything up to here.
    Receipted(Position),
    /// Records that the center cannot take and that cannot be read any better: a gap record names them.
    Lost(Gap),
    /// Numbers that the center lacks and has heard nothing of, (epoch, first, last): gap records name those that the
    /// journal does not have.
    Gone(Vec<(u64, u64, u64)>),
    /// Another plan is to be in force from here on.
    Reconfigure(Box<Reconfigure>),
    /// Something else became of a configuration: for the record.
    Config {
        /// What.
        change: ConfigChange,
        /// The order that is thereby not carried out: its number, why, and who is told when that is on disk.
        declined: Option<((u64, u64), String, oneshot::Sender<()>)>,
        /// Told when it is on disk.
        said: Option<oneshot::Sender<()>>,
    },
}

/// Another plan for a running recorder.
#[derive(Debug)]
pub struct Reconfigure {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What is said of it in the record.
    pub change: ConfigChange,
    /// The order that asked for it.
    pub ordered: Option<Ordered>,
    /// Generations of [`Inputs`] still in use: what others bring has no place any more.
    pub live: Vec<u32>,
    /// Told when the epoch under the new plan is on disk, or why there is none: the plan before is then in force.
    pub begun: oneshot::Sender<Result<Begun, String>>,
}

/// An order that is eaten once its plan is in force.
#[derive(Debug)]
pub struct Ordered {
    /// (center epoch, order seq).
    pub order: (u64, u64),
    /// Who.
    pub author: String,
    /// What.
    pub body: CommandBody,
    /// Told when it is on disk.
    pub taken: oneshot::Sender<()>,
}

/// An epoch under another plan has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Which.
    pub epoch: u64,
    /// What sources that know the slots of the new plan call themselves: see [`Inputs::of`].
    pub generation: u32,
    /// When.
    pub at: EngineTime,
}

impl Event {
    /// How many readings it carries.
    pub fn readings(&self) -> u64 {
        match self {
            Self::Answers(answers) => answers.items.len() as u64,
            Self::Missed { .. }
            | Self::Fact(_)
            | Self::Entry { .. }
            | Self::Asked { .. }
            | Self::Overrun { .. }
            | Self::ServerTime { .. }
            | Self::Receipted(_)
            | Self::Order { .. }
            | Self::Lost(_)
            | Self::Gone(_)
            | Self::Reconfigure(_)
            | Self::Config { .. } => 1,
        }
    }
}

/// What can be asked of a recorder.
pub enum Ask {
    /// Records from a position on, at most so many bytes (but at least one record).
    Read {
        /// First.
        from: Position,
        /// Bytes.
        bytes_max: usize,
        /// Answer.
        reply: oneshot::Sender<Vec<(Position, Vec<u8>)>>,
    },
    /// One record.
    Get {
        /// Which.
        position: Position,
        /// Answer.
        reply: oneshot::Sender<Option<Vec<u8>>>,
    },
    /// Which epochs there are: (epoch, first seq, last seq).
    Epochs(oneshot::Sender<Vec<(u64, u64, u64)>>),
    /// The last record before the oldest there is, as far as its start names one.
    Before(oneshot::Sender<Option<Position>>),
    /// The state, for pages and metrics.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// The state of a gateway at a moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Life of the journal.
    pub epoch: u64,
    /// The plan in force: slots below are its own.
    pub plan: Arc<Plan>,
    /// What it is called by sources that know its slots.
    pub generation: u32,
    /// Last record.
    pub last: Option<Position>,
    /// Engine time.
    pub now: EngineTime,
    /// Open alerts.
    pub alerts: Vec<OpenAlert>,
    /// Last reading per point.
    pub points: Vec<Option<(EngineTime, Quality<Raw>)>>,
    /// Per point: the last good answer, kept or not, if the last answer was a good one.
    pub answering: Vec<Option<EngineTime>>,
    /// Is a cycle running, per module?
    pub cycles: Vec<bool>,
    /// Bytes of the ring and the keep set.
    pub bytes: (u64, u64),
    /// The journal is full: judging goes on, but only what must not be lost is recorded.
    pub refusing: bool,
}

/// A conclusion that should travel ahead of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Urgent {
    /// The config to read it with, from its first to its last record.
    pub config: (u64, u64),
    /// The inputs that led to it.
    pub because: Position,
    /// The conclusions.
    pub conclusions: Position,
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No room.
    Full,
    /// The recorder has ended.
    Stopped,
}

/// Where events go in. Slots in them are those of the plan of its generation.
#[derive(Debug, Clone)]
pub struct Inputs {
    events: mpsc::Sender<(u32, Event)>,
    generation: u32,
}

impl Inputs {
    /// Waits for room.
    pub async fn send(&self, event: Event) -> Result<(), Refused> {
        self.events.send((self.generation, event)).await.map_err(|_| Refused::Stopped)
    }

    /// For a source that knows the slots of another plan.
    #[must_use]
    pub fn of(&self, generation: u32) -> Self {
        Self { events: self.events.clone(), generation }
    }

    /// Of which plan its slots are.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Has the recorder ended?
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Does not wait.
    pub fn try_send(&self, event: Event) -> Result<(), Refused> {
        self.events.try_send((self.generation, event)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })
    }
}

/// Where questions go in.
#[derive(Debug, Clone)]
pub struct Asks(mpsc::Sender<Ask>);

impl Asks {
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0.send(ask(reply)).await.map_err(|_| Refused::Stopped)?;
        answer.await.map_err(|_| Refused::Stopped)
    }

    /// See [`Ask::Read`].
    pub async fn read(&self, from: Position, bytes_max: usize) -> Result<Vec<(Position, Vec<u8>)>, Refused> {
        self.ask(|reply| Ask::Read { from, bytes_max, reply }).await
    }

    /// See [`Ask::Get`].
    pub async fn get(&self, position: Position) -> Result<Option<Vec<u8>>, Refused> {
        self.ask(|reply| Ask::Get { position, reply }).await
    }

    /// See [`Ask::Epochs`].
    pub async fn epochs(&self) -> Result<Vec<(u64, u64, u64)>, Refused> {
        self.ask(Ask::Epochs).await
    }

    /// See [`Ask::Before`].
    pub async fn before(&self) -> Result<Option<Position>, Refused> {
        self.ask(Ask::Before).await
    }

    /// See [`Ask::Snapshot`].
    pub async fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.ask(Ask::Snapshot).await
    }
}

/// What is known of civil time, for whoever translates it: written by the recorder, read by all.
#[derive(Debug, Clone)]
pub struct Civil(Arc<AtomicI64>);

/// No offset is that large; it means that civil time is not known.
const UNKNOWN: i64 = i64::MIN;

impl Default for Civil {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl Civil {
    pub(crate) fn set(&self, offset_ms: Option<i64>) {
        self.0.store(offset_ms.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// Civil − engine time, ms.
    pub fn offset_ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|offset| *offset != UNKNOWN)
    }

    /// Engine time at a civil time.
    pub fn engine(&self, civil: CivilTime) -> Option<EngineTime> {
        self.offset_ms().map(|offset| EngineTime(civil.0.saturating_sub(offset)))
    }

    /// Civil time at an engine time.
    pub fn civil(&self, at: EngineTime) -> Option<CivilTime> {
        self.offset_ms().map(|offset| at.civil(offset))
    }
}

/// A recorder's doors, for everybody else.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Events.
    pub inputs: Inputs,
    /// Questions.
    pub asks: Asks,
    /// The newest record on disk.
    pub newest: watch::Receiver<Option<Position>>,
    /// Civil time.
    pub civil: Civil,
}

/// The other ends of the doors.
pub struct Rooms {
    events: mpsc::Receiver<(u32, Event)>,
    asks: mpsc::Receiver<Ask>,
    newest: watch::Sender<Option<Position>>,
}

impl Rooms {
    /// The next event: for tests of whoever sends them.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await.map(|(_, event)| event)
    }
}

/// Doors and rooms, before the recorder stands between them.
pub fn doors(civil: Civil) -> (Doors, Rooms) {
    let (events_in, events) = mpsc::channel(EVENTS_MAX);
    let (asks_in, asks) = mpsc::channel(ASKS_MAX);
    let (newest_in, newest) = watch::channel(None);
    (
        Doors { inputs: Inputs { events: events_in, generation: 0 }, asks: Asks(asks_in), newest, civil },
        Rooms { events, asks, newest: newest_in },
    )
}

enum Turn {
    Stop,
    Event(u32, Event),
    Ask(Ask),
    Woke,
}

/// The next event or question. Whoever was heard last is looked at last: neither keeps the other waiting, and in virtual
/// time the order is the same in every run.
async fn heard(
    events: &mut mpsc::Receiver<(u32, Event)>,
    asks: &mut mpsc::Receiver<Ask>,
    asked: bool,
) -> Turn {
    if asked {
        tokio::select! {
            biased;
            Some((generation, event)) = events.recv() => Turn::Event(generation, event),
            Some(ask) = asks.recv() => Turn::Ask(ask),
            else => std::future::pending().await,
        }
    } else {
        tokio::select! {
            biased;
            Some(ask) = asks.recv() => Turn::Ask(ask),
            Some((generation, event)) = events.recv() => Turn::Event(generation, event),
            else => std::future::pending().await,
        }
    }
}

/// The thread: [`record`] on a thread of its own, because sealing waits for the disk.
pub fn run(
    core: Core,
    clock: &Clock,
    rooms: Rooms,
    stop: &CancellationToken,
    runtime: &Handle,
) -> anyhow::Result<()> {
    runtime.block_on(record_with(core, clock, rooms, stop, || std::thread::sleep(LINGER)))
}

/// What the thread does. Ends after `stop`, with everything sealed and a checkpoint, or with the error of a broken
/// journal. It waits for the disk without yielding: only a test in virtual time shares a thread with it.
pub async fn record(core: Core, clock: &Clock, rooms: Rooms, stop: &CancellationToken) -> anyhow::Result<()> {
    record_with(core, clock, rooms, stop, || {}).await
}

/// `linger` is called in a burst, before the next turn.
async fn record_with(
    mut core: Core,
    clock: &Clock,
    mut rooms: Rooms,
    stop: &CancellationToken,
    linger: impl Fn(),
) -> anyhow::Result<()> {
    let mut asked = false;
    let mut turned = clock::instant();
    loop {
        rooms.newest.send_if_modified(|newest| {
            let last = core.last();
            let changed = *newest != last;
            *newest = last;
            changed
        });
        let wake = clock.instant(core.wake_at());
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => Turn::Stop,
            turn = heard(&mut rooms.events, &mut rooms.asks, asked) => turn,
            () = tokio::time::sleep_until(wake.into()) => Turn::Woke,
        };
        asked = matches!(turn, Turn::Ask(_));
        match turn {
            Turn::Stop => break,
            Turn::Woke => {}
            Turn::Ask(ask) => core.answer(ask),
            Turn::Event(generation, first) => {
                let soon = clock::since(std::mem::replace(&mut turned, clock::instant())) < BURST;
                if soon && rooms.events.len() < TURN_MAX {
                    linger();
                }
                core.hear(generation, first, clock.now())?;
                for _ in 1..TURN_MAX {
                    let Ok((generation, event)) = rooms.events.try_recv() else { break };
                    core.hear(generation, event, clock.now())?;
                }
            }
        }
        core.advance(clock.now())?;
    }
    // What was handed over before the stop is still eaten; after it the door is shut.
    rooms.events.close();
    while let Ok((generation, event)) = rooms.events.try_recv() {
        core.hear(generation, event, clock.now())?;
    }
    core.stop(clock.now(), StopCause::Asked)
}

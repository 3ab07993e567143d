//! How a recorder begins: what the disk says, the new epoch, and its first records.
//!
//! Newest valid checkpoint, inputs after it replayed under the plan they were recorded with, then the new epoch: start,
//! config, checkpoint, a gap record for the time nobody watched, and whatever the changed plan or the gap made the
//! engine conclude, all in one append.
//!
//! A box that replaces another has no journal yet: its past is what the center had of the other one ([`Heritage`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use gateway_engine::Engine;
use gateway_engine::intake::Intake;
use gateway_journal::{Class, Disk, Journal, Limits, Position, Storage};
use gateway_model::{
    ClockInput, ClockSource, ClockState, Conclusion, EngineTime, Epoch, Gap, GapCause, Input, Plan,
    SEMANTICS, Seq, StartCause, StartInput, StorageState,
};
use gateway_wire::{
    Body, ConfigBody, Joiner, KeyRing, Kind, NotUnderstood, Opened, Parted, PartedKind, SigningKey, hash,
    whole_at,
};

use tokio_util::sync::CancellationToken;

use super::aging::Aging;
use super::core::{CONFIG_SEQ, Core, Open, Settings, add_whole};
use super::dating::Dating;
use super::replay::Replayer;
use super::room::missing;
use crate::state::PositionFile;

/// A stop leads to at most so many records of conclusions.
const STOP_DEPTH: u64 = 8;

/// Nobody leaves a box switched off for longer and then believes its clock.
const DOWNTIME_MAX_MS: i64 = 400 * 86_400_000;

/// What a recorder needs to begin.
pub struct Setup {
    /// Where records lie.
    pub journal: PathBuf,
    /// How much of them.
    pub limits: Limits,
    /// Signs them.
    pub key: SigningKey,
    /// The plan from now on.
    pub plan: Arc<Plan>,
    /// Epochs are above this, should the journal itself be new.
    pub epoch_floor: Epoch,
    /// What came before this key and this journal.
    pub heritage: Heritage,
    /// Begin at this civil time instead of now: a recording's first moment. Only in an empty journal.
    pub from: Option<gateway_model::CivilTime>,
    /// Where the newest checkpoint lies: a hint.
    pub checkpoint: PositionFile,
    /// The rest.
    pub settings: Settings,
}

/// What came before this key and this journal.
#[derive(Debug, Clone, Default)]
pub struct Heritage {
    /// All keys of the gateway; `None` = it has never had another.
    pub ring: Option<KeyRing>,
    /// Records of the box that this one replaces, from its newest checkpoint on, as the center has them. Only an empty
    /// journal begins with them.
    pub predecessor: Vec<Vec<u8>>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Engine time at which the recorder resumed.
    pub at: EngineTime,
    /// How the epoch before ended.
    pub cause: StartCause,
    /// The highest order that had been taken.
    pub last_order: Option<(u64, u64)>,
}

/// What the journal says of the past.
struct Past {
    engine: Option<Engine>,
    /// Concluded by the last inputs on disk, but cut off with the conclusions record behind them.
    owed: Vec<Conclusion>,
    last: Option<(Position, [u8; 32])>,
    /// Last sealed engine time.
    sealed: Option<EngineTime>,
    cause: StartCause,
    last_order: Option<(u64, u64)>,
}

/// Opens the journal and begins an epoch.
pub fn start(setup: Setup) -> anyhow::Result<(Core, Found)> {
    start_on(Arc::new(Disk), setup)
}

/// The same on another storage.
pub fn start_on(storage: Arc<dyn Storage>, setup: Setup) -> anyhow::Result<(Core, Found)> {
    let Setup { journal, limits, key, plan, epoch_floor, heritage, from, checkpoint, settings } = setup;
    let ring = heritage.ring.unwrap_or_else(|| KeyRing::from(key.verifying_key()));
    let (mut journal, opened) = Journal::open_on(storage, &journal, limits)?;
    if opened.torn_bytes > 0 {
        tracing::info!(
            bytes = opened.torn_bytes,
            "the last write of the journal was cut short; what it held is lost"
        );
    }
    if !opened.quarantined.is_empty() {
        tracing::error!(
            places = opened.quarantined.len(),
            "the journal was damaged; the rest of it is used. Run `gateway journal fsck` and check the storage"
        );
    }
    let past = match opened.last {
        None if !heritage.predecessor.is_empty() => inherited(&ring, &heritage.predecessor)?,
        last => past(&journal, &ring, last, &checkpoint)?,
    };
    // A recording only ever fills an empty journal.
    let from = from.filter(|_| past.last.is_none());
    let state = past.engine.as_ref().map(Engine::save);

    // Engine time resumes where it was sealed last, plus the time the process was away, as far as a clock can say.
    let known = state.as_ref().map_or(ClockState::default(), |state| state.clock);
    let civil = from.or_else(|| settings.wall.civil());
    let downtime_ms = past.sealed.and_then(|sealed| {
        known.error_ms?;
        let away = civil?.0 - sealed.civil(known.offset_ms).0;
        // A clock that was never set, or set by a slip of the hand, says nothing of how long it was.
        (0..=DOWNTIME_MAX_MS).contains(&away).then_some(away)
    });
    let at = match past.sealed {
        Some(sealed) => sealed.plus(downtime_ms.unwrap_or(0)),
        // At the very first start engine time is set near civil time.
        None => EngineTime(civil.map_or(0, |civil| civil.0)),
    };

    let epoch = journal.begin_epoch_above(epoch_floor.0)?;
    let start = StartInput {
        at,
        epoch: Epoch(epoch),
        previous: past.last.map(|(last, _)| (Epoch(last.epoch), Seq(last.seq))),
        previous_hash: past.last.map(|(_, hash)| hash),
        cause: past.cause,
        downtime_ms,
        simulated: settings.wall.simulated(),
    };
    let config = ConfigBody { plan: Plan::clone(&plan), software: software(), semantics: SEMANTICS };
    let mut batch = vec![(Class::Keep, Body::Start(start.clone()))];
    add_whole(&mut batch, Body::Config(Box::new(config)))?;
    let mut intake = Intake::new(&plan);
    let frames = vec![None; plan.points.len()];
    let cause = past.cause;
    let lost = past.sealed.map(|sealed| lost(&plan, sealed, at, cause));
    let mut concluded = past.owed;
    let mut engine = match state {
        Some(state) => {
            add_whole(&mut batch, Body::Checkpoint(Box::new(state.clone())))?;
            let (engine, superseded) = Engine::restore(plan, state)
                .map_err(|error| anyhow::anyhow!("take over the state of the last epoch: {error:?}"))?;
            concluded.extend(superseded);
            engine
        }
        None => Engine::new(plan),
    };
    engine.step(&Input::Start(start), &mut concluded);
    intake.resume(&engine);
    batch.extend(lost.flatten().map(|gap| (Class::Keep, Body::Gap(gap))));
    batch.extend(missing(&opened.quarantined, at).map(|gap| (Class::Keep, Body::Gap(gap))));

    let mut core = Core {
        aging: Aging::of(engine.plan()),
        intake,
        gateway: key.gateway_id(),
        key,
        epoch: Epoch(epoch),
        prev: past.last.map_or([0; 32], |(_, hash)| hash),
        open: Open::new(at),
        concluded: Vec::new(),
        frames,
        last_order: past.last_order,
        config_end: CONFIG_SEQ,
        checkpoint_at: at,
        checkpoint_position: None,
        checkpoint,
        // In virtual time there is nothing to compare with.
        clock_check_at: if from.is_some() { EngineTime(i64::MAX) } else { at },
        dating: Dating::default(),
        full: None,
        storage: StorageState::Enough,
        receipted: None,
        carried: Vec::new(),
        thinned: false,
        upkeep_at: at,
        check_again_at: at,
        ring,
        rotation: CancellationToken::new(),
        plan: engine.shared_plan(),
        generation: 0,
        older: BTreeMap::new(),
        settings,
        engine,
        journal,
    };
    core.conclude(Seq(0), concluded, &mut batch);
    core.write(batch, at)?;
    core.closed(&opened.quarantined)?;
    core.first_clock(from, known, at);
    Ok((core, Found { at, cause: past.cause, last_order: past.last_order }))
}

impl Core {
    /// What is known of civil time goes first into the first record.
    fn first_clock(&mut self, from: Option<gateway_model::CivilTime>, known: ClockState, at: EngineTime) {
        let (source, error_ms) = self.settings.wall.source();
        let civil = from.or_else(|| self.settings.wall.civil());
        let unknown = (known.offset_ms, None, ClockSource::Unknown);
        let (offset_ms, error_ms, source) = civil.map_or(unknown, |civil| (civil.0 - at.0, error_ms, source));
        let clock = ClockInput { at, offset_ms, error_ms, source, since: None };
        self.clock(clock);
    }
}

/// Name and version, as config records and enrolment hold it.
pub fn software() -> String {
    concat!("nonsite-gateway ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// What was due by plan in the time nobody watched; `None` where that is nothing.
fn lost(plan: &Plan, from: EngineTime, to: EngineTime, start: StartCause) -> Option<Gap> {
    let cause = match start {
        StartCause::Clean => GapCause::Stopped,
        StartCause::First | StartCause::Unclean | StartCause::Replaced => GapCause::Crash,
    };
    let span = to.since(from);
    let due = |every: i64| if every > 0 { (span / every) as u64 } else { 0 };
    let count = plan.points.iter().map(|point| due(point.every_ms)).sum();
    (span > 0).then_some(Gap { point: None, from, to, count, cause, records: None })
}

fn past(
    journal: &Journal,
    ring: &KeyRing,
    last: Option<(Position, Vec<u8>)>,
    hint: &PositionFile,
) -> anyhow::Result<Past> {
    let Some((position, bytes)) = last else {
        return Ok(Past {
            engine: None,
            owed: Vec::new(),
            last: None,
            sealed: None,
            cause: StartCause::First,
            last_order: None,
        });
    };
    let read = |position: Position| {
        let bytes = journal.read(position).ok().flatten()?;
        ring.open(&bytes).ok()
    };
    let sealed = ring.open(&bytes).ok().map(|opened| opened.header.t1);

    let (replayer, from) = newest_checkpoint(journal, hint, &read)?;
    let mut skipped = 0_u64;
    let mut joiner = Joiner::default();
    let records = journal.scan(from).filter_map(|stored| {
        let opened = stored.ok().and_then(|stored| ring.open(&stored.bytes).ok());
        skipped += u64::from(opened.is_none());
        opened.map(|opened| joiner.opened(opened))
    });
    let read_on = read_on(replayer, sealed, records)?;
    if skipped > 0 {
        tracing::error!(
            records = skipped,
            "records that cannot be read were left out when the state was restored"
        );
    }
    let cause = if ended_cleanly(position, &read) { StartCause::Clean } else { StartCause::Unclean };
    Ok(read_on.past((position, hash(&bytes)), cause))
}

/// What the records behind a checkpoint lead to.
struct ReadOn {
    engine: Option<Engine>,
    owed: Vec<Conclusion>,
    latest: Option<EngineTime>,
    last_order: Option<(u64, u64)>,
}

impl ReadOn {
    fn past(self, last: (Position, [u8; 32]), cause: StartCause) -> Past {
        let Self { engine, owed, latest, last_order } = self;
        Past { engine, owed, last: Some(last), sealed: latest, cause, last_order }
    }
}

fn read_on(
    mut replayer: Replayer,
    sealed: Option<EngineTime>,
    records: impl IntoIterator<Item = Opened>,
) -> anyhow::Result<ReadOn> {
    let mut latest = sealed;
    // What the newest inputs led to, and how much of it is on disk.
    let mut derived = Vec::new();
    let mut recorded = 0;
    for opened in records {
        latest = latest.max(Some(opened.header.t1));
        let Ok(body) = opened.body else { continue };
        match &body {
            Body::Conclusions(conclusions) => {
                derived.extend(replayer.take()?);
                let last = derived.last().map(|(because, _)| *because);
                if last == Some(conclusions.because) {
                    recorded += conclusions.list.iter().filter(|one| !one.body.said_by_recorder()).count();
                }
            }
            Body::Inputs(_) | Body::Start(_) => {
                replayer.take()?;
                derived.clear();
                recorded = 0;
            }
            // What was judged without being recorded is owed no more: it was told, or folded.
            Body::Gap(gap) if gap.cause == GapCause::Full => {
                replayer.take()?;
                derived.clear();
                recorded = 0;
            }
            Body::Config(_) | Body::Checkpoint(_) | Body::Gap(_) | Body::Parted(_) | Body::Part(_) => {}
        }
        replayer.feed(&opened.header, body)?;
    }
    derived.extend(replayer.take()?);
    let owed = derived.into_iter().skip(recorded).map(|(_, conclusion)| conclusion).collect();
    let last_order = replayer.last_order;
    Ok(ReadOn { engine: replayer.finish()?, owed, latest, last_order })
}

/// The state in which the center last knew the box that this one replaces. Numbers that the center does not have end it:
/// behind a hole nobody knows what the other box had eaten.
fn inherited(ring: &KeyRing, records: &[Vec<u8>]) -> anyhow::Result<Past> {
    let mut opened: Vec<Opened> = Vec::with_capacity(records.len());
    let mut joiner = Joiner::default();
    let mut last: Option<(Position, [u8; 32])> = None;
    // Where the records go on in the middle of the epoch whose start and config they begin with.
    let mut middle: Option<usize> = None;
    for (place, bytes) in records.iter().enumerate() {
        let record =
            ring.open(bytes).with_context(|| format!("record {place} of the box that is replaced"))?;
        let at = Position { epoch: record.header.epoch.0, seq: record.header.seq.0 };
        let follows = match (last, &record.body) {
            (None, _) => true,
            (Some((before, _)), Ok(Body::Start(start))) if before.epoch < at.epoch => {
                start.previous == Some((Epoch(before.epoch), Seq(before.seq)))
            }
            (Some((before, hash)), body) => {
                let next = (before.epoch, before.seq + 1) == (at.epoch, at.seq);
                // Start and config of an epoch, then a checkpoint in the middle of it.
                let jumps = !next
                    && before.epoch == at.epoch
                    && opened.iter().all(|record| opens(&record.body))
                    && body.as_ref().is_ok_and(|body| body.kind() == Kind::Checkpoint);
                middle = middle.or(jumps.then_some(place));
                jumps || next && record.header.prev == hash
            }
        };
        if !follows {
            tracing::warn!(%at, "the center does not have everything of the box that is replaced: its state is taken over from before the hole");
            break;
        }
        last = Some((at, hash(bytes)));
        opened.push(joiner.opened(record));
    }
    let last = last.context("the center has no record of the box that is replaced")?;
    let mut replayer = Replayer::default();
    let latest = opened.last().map(|record| record.header.t1);
    let mut skipped = 0;
    if let Some(middle) = middle {
        let config = opened[..middle].iter().find_map(|record| match &record.body {
            Ok(Body::Config(config)) => Some(config),
            Ok(_) | Err(_) => None,
        });
        let state = opened[middle..].iter().zip(middle..).find_map(|(record, place)| match &record.body {
            Ok(Body::Checkpoint(state)) => Some((state, place)),
            Ok(_) | Err(_) => None,
        });
        if let (Some(config), Some((state, place))) = (config, state) {
            replayer = Replayer::at_checkpoint(config.plan.clone(), (**state).clone())?;
            skipped = place + 1;
        }
    }
    Ok(read_on(replayer, latest, opened.into_iter().skip(skipped))?.past(last, StartCause::Replaced))
}

/// Start, config, or a part of it?
fn opens(body: &Result<Body, NotUnderstood>) -> bool {
    body.as_ref().is_ok_and(|body| match body {
        Body::Start(_)
        | Body::Config(_)
        | Body::Parted(Parted { of: PartedKind::Config, .. })
        | Body::Part(_) => true,
        Body::Inputs(_) | Body::Conclusions(_) | Body::Checkpoint(_) | Body::Gap(_) | Body::Parted(_) => {
            false
        }
    })
}

/// The last records are inputs that end with a stop, what followed from it, and a checkpoint.
fn ended_cleanly(last: Position, read: &Reader<'_>) -> bool {
    let body = |seq: u64| read(Position { seq, ..last }).and_then(|opened| opened.body.ok());
    let head = (0..=last.seq).rev().find(|seq| !matches!(body(*seq), Some(Body::Part(_))));
    let state = head.and_then(|head| Some((head, whole(Position { seq: head, ..last }, read)?)));
    let Some((head, (Body::Checkpoint(_), end))) = state else { return false };
    if end != last {
        return false;
    }
    (1..=STOP_DEPTH)
        .find_map(|back| match head.checked_sub(back).and_then(body) {
            Some(Body::Inputs(inputs)) => Some(matches!(inputs.items.last(), Some(Input::Stop { .. }))),
            Some(Body::Conclusions(_)) => None,
            Some(_) | None => Some(false),
        })
        .unwrap_or(false)
}

type Reader<'a> = dyn Fn(Position) -> Option<Opened> + 'a;

/// What the record at a position says, with its parts, and where the last of these stands.
fn whole(at: Position, read: &Reader<'_>) -> Option<(Body, Position)> {
    let (opened, last) = whole_at(Seq(at.seq), |seq| read(Position { seq: seq.0, ..at }))?;
    Some((opened.body.ok()?, Position { seq: last.0, ..at }))
}

/// An engine at the newest checkpoint that can be used, and where to read on.
fn newest_checkpoint(
    journal: &Journal,
    hint: &PositionFile,
    read: &Reader<'_>,
) -> anyhow::Result<(Replayer, Position)> {
    let mut epochs = journal.epochs();
    epochs.sort_unstable();
    let hinted = hint.load();
    for (epoch, first, last) in epochs.iter().rev().copied() {
        let (plan, behind) = match whole(Position { epoch, seq: CONFIG_SEQ.0 }, read) {
            Some((Body::Config(config), end)) => (Some(config.plan), end.seq + 1),
            Some(_) | None => (None, CONFIG_SEQ.0 + 1),
        };
        // A checkpoint in the middle of an epoch needs that epoch's plan.
        if let (Some(plan), Some(position)) =
            (plan, hinted.filter(|at| at.epoch == epoch && at.seq > behind && at.seq <= last))
            && let Some((Body::Checkpoint(state), end)) = whole(position, read)
        {
            let next = Position { epoch, seq: end.seq + 1 };
            return Ok((Replayer::at_checkpoint(plan, *state)?, next));
        }
        // One at its start is found by reading the epoch from there.
        let restored = matches!(whole(Position { epoch, seq: behind }, read), Some((Body::Checkpoint(_), _)));
        let start = read(Position { epoch, seq: 0 }).and_then(|opened| opened.body.ok());
        let is_first = matches!(start, Some(Body::Start(start)) if start.previous.is_none());
        if first == 0 && (restored || is_first) {
            return Ok((Replayer::default(), Position { epoch, seq: 0 }));
        }
    }
    // Nothing to start from: whatever is there is read from its beginning.
    let first = epochs
        .first()
        .map_or(Position { epoch: 0, seq: 0 }, |(epoch, first, _)| Position { epoch: *epoch, seq: *first });
    Ok((Replayer::default(), first))
}

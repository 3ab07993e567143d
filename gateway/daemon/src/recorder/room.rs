//! The journal's limits: what gives way, in which order, and what is recorded first.
//!
//! The ring gives way at its limit and where the disk is full, oldest segment first. The keep set gives way only as far
//! as the center has it, and never what a restart or this epoch still needs. A gap record that names what goes is
//! durable before anything is removed; the journal's reserve holds room for it. Where nothing may give way, `full.rs`.
//!
//! While four fifths of the ring hold what the center does not have, intake records steady points more sparsely, as far
//! as no judgement depends on them.

use std::collections::HashMap;

use gateway_journal::{Class, Evictable, JournalError, Position, Quarantined};
use gateway_model::{
    EngineTime, Epoch, Gap, GapCause, Input, ModuleIx, PointCounts, PointIx, Seq, StorageState,
};
use gateway_wire::{Body, peek};

use super::core::Core;

/// The journal is looked after so often, ms of engine time: a segment is read through, the reserve mended.
const UPKEEP_MS: i64 = 60_000;
/// After all has been read through once, it is again after so long.
const CHECK_AGAIN_MS: i64 = 86_400_000;
/// Share of the ring that only we have, ‰, at which thinning begins …
const THIN_FROM: u64 = 800;
/// … and below which it ends.
const THIN_TO: u64 = 700;

/// What there is no room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    Ring,
    Keep,
    Disk,
}

/// What records take their room from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purse {
    /// What everything may use.
    Ordinary,
    /// That and what is set aside.
    Reserve,
    /// That and so many bytes of the keep set that give way right afterwards.
    Instead(u64),
}

/// Bodies that found no room.
pub(super) struct Pending {
    pub(super) rest: Vec<(Class, Body)>,
    pub(super) lack: Lack,
}

impl Pending {
    /// An error that no room would cure ends the recorder.
    pub(super) fn new(rest: Vec<(Class, Body)>, error: JournalError) -> anyhow::Result<Self> {
        if !error.is_full() {
            return Err(anyhow::Error::new(error).context("write to the journal"));
        }
        let lack = match error {
            JournalError::RingFull => Lack::Ring,
            JournalError::KeepFull => Lack::Keep,
            JournalError::Io { .. }
            | JournalError::Locked(_)
            | JournalError::NoEpoch
            | JournalError::TooLarge(_)
            | JournalError::Broken
            | JournalError::Version { .. }
            | JournalError::NotOldest(_)
            | JournalError::Damaged { .. } => Lack::Disk,
        };
        Ok(Self { rest, lack })
    }
}

/// Counts of two spans as those of one.
pub(super) fn merge(mut counts: Vec<PointCounts>, more: Vec<PointCounts>) -> Vec<PointCounts> {
    if counts.is_empty() {
        return more;
    }
    let places: HashMap<PointIx, usize> =
        counts.iter().zip(0..).map(|(one, place)| (one.point, place)).collect();
    for one in more {
        let Some(sum) = places.get(&one.point).and_then(|place| counts.get_mut(*place)) else {
            counts.push(one);
            continue;
        };
        sum.due = sum.due.saturating_add(one.due);
        sum.answered = sum.answered.saturating_add(one.answered);
        sum.within_deadband = sum.within_deadband.saturating_add(one.within_deadband);
        sum.late = sum.late.saturating_add(one.late);
        sum.failed.resize(sum.failed.len().max(one.failed.len()), 0);
        for (sum, n) in sum.failed.iter_mut().zip(one.failed) {
            *sum = sum.saturating_add(n);
        }
    }
    counts
}

impl Core {
    /// What was due since the counts were last closed.
    pub(super) fn close_counts(&mut self) -> Vec<PointCounts> {
        merge(std::mem::take(&mut self.carried), self.intake.close())
    }

    /// Makes records of these, with whatever has to give way for them.
    pub(super) fn write(&mut self, batch: Vec<(Class, Body)>, now: EngineTime) -> anyhow::Result<()> {
        let Some(mut pending) = self.put(batch, false)? else { return Ok(()) };
        // Before the first record of an epoch nothing can be said, so nothing can give way.
        while self.journal.next().seq > 0 && self.free(pending.lack)? {
            let rest = self.renumbered(pending.rest);
            let Some(still) = self.put(rest, false)? else { return Ok(()) };
            pending = still;
        }
        pending.rest = self.renumbered(pending.rest);
        self.fill_up(pending, now)
    }

    /// Conclusions name the inputs before them by number, and gap records may have come in between.
    pub(super) fn renumbered(&self, mut batch: Vec<(Class, Body)>) -> Vec<(Class, Body)> {
        let mut inputs = None;
        for (seq, (_, body)) in (self.journal.next().seq..).zip(&mut batch) {
            match body {
                Body::Inputs(_) => inputs = Some(Seq(seq)),
                Body::Conclusions(conclusions) => conclusions.because = inputs.unwrap_or(conclusions.because),
                Body::Start(_)
                | Body::Config(_)
                | Body::Checkpoint(_)
                | Body::Gap(_)
                | Body::Parted(_)
                | Body::Part(_) => {}
            }
        }
        batch
    }

    /// The oldest segment of the ring gives way, but only after gap records say what goes, and never what a restart
    /// would still replay.
    pub(super) fn make_room(&mut self) -> anyhow::Result<()> {
        while let Some(oldest) = self.journal.must_evict() {
            if self.checkpoint_position.is_none_or(|checkpoint| checkpoint < oldest.last) {
                // The engine is ahead of the journal by what is open: a checkpoint may only stand behind it.
                let mut batch = Vec::new();
                if !self.open.items.is_empty() || !self.concluded.is_empty() {
                    batch = self.inputs_batch();
                    for (class, _) in &mut batch {
                        *class = Class::Keep;
                    }
                }
                self.add_state(&mut batch)?;
                self.write(batch, self.engine.now())?;
            }
            if self.full.is_some() || !self.give_up(&oldest)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets one segment give way, if one may.
    pub(super) fn free(&mut self, lack: Lack) -> anyhow::Result<bool> {
        let ring = self.journal.oldest(Class::Ring).filter(|_| lack != Lack::Keep);
        let ring = ring.filter(|oldest| self.checkpoint_position > Some(oldest.last));
        if let Some(oldest) = ring {
            return self.give_up(&oldest);
        }
        let keep = self.journal.oldest(Class::Keep).filter(|_| lack != Lack::Ring);
        // Without a record of this epoch on disk a restart still needs the ones before.
        let needed = self.checkpoint_position.filter(|at| at.epoch == self.epoch.0);
        let spare = |oldest: &Evictable| {
            oldest.last.epoch < self.epoch.0
                && needed > Some(oldest.last)
                && self.receipted >= Some(oldest.last)
        };
        match keep.filter(spare) {
            Some(oldest) => self.give_up(&oldest),
            None => Ok(false),
        }
    }

    /// Gap records for a segment, durable; then it goes. False where there is no room even for those.
    fn give_up(&mut self, oldest: &Evictable) -> anyhow::Result<bool> {
        let purse = if oldest.class == Class::Keep { Purse::Instead(oldest.bytes) } else { Purse::Reserve };
        if self.put_from(self.evicted(oldest), purse)?.is_some() {
            return Ok(false);
        }
        self.journal.evict(oldest)?;
        self.journal.mend_reserve()?;
        tracing::warn!(
            class = ?oldest.class,
            records = oldest.records,
            from = %oldest.first,
            to = %oldest.last,
            "the oldest records gave way; ring_bytes, keep_bytes and the disk decide how many days are kept"
        );
        Ok(true)
    }

    /// One gap per run of numbers that goes; records of the other set between them stay. Numbers in between that are
    /// nowhere any more have been named before.
    pub(super) fn evicted(&self, oldest: &Evictable) -> Vec<(Class, Body)> {
        let mut gaps: Vec<Gap> = Vec::new();
        let mut runs_on = false;
        for stored in self.journal.scan(oldest.first).filter_map(Result::ok) {
            if stored.position > oldest.last {
                break;
            }
            if stored.class != oldest.class {
                runs_on = false;
                continue;
            }
            let Ok(opened) = self.ring.open(&stored.bytes) else { continue };
            let (t0, t1) = (opened.header.t0, opened.header.t1);
            let readings = match opened.body {
                Ok(Body::Inputs(inputs)) => {
                    inputs.items.iter().filter(|item| matches!(item, Input::Reading(_))).count()
                }
                Ok(_) | Err(_) => 0,
            } as u64;
            let (epoch, seq) = (Epoch(stored.position.epoch), Seq(stored.position.seq));
            match gaps.last_mut() {
                Some(Gap { to, count, records: Some((last_epoch, _, last)), .. })
                    if runs_on && *last_epoch == epoch =>
                {
                    (*to, *last) = (t1, seq);
                    *count += readings;
                }
                Some(_) | None => {
                    let records = Some((epoch, seq, seq));
                    let cause = GapCause::Evicted;
                    gaps.push(Gap { point: None, from: t0, to: t1, count: readings, cause, records });
                }
            }
            runs_on = true;
        }
        gaps.into_iter().map(|gap| (Class::Keep, Body::Gap(gap))).collect()
    }

    /// What is to be said of numbers that the center lacks and has heard nothing of: they were evicted, and so was the record
    /// that said so. How many readings they held is not known any more, and of their time only that it was over when the
    /// next record that is left began.
    pub(super) fn gone(&self, ranges: &[(u64, u64, u64)], now: EngineTime) -> Vec<Gap> {
        let gap = |(epoch, first, last): &(u64, u64, u64)| {
            let (last, at) = match self.journal.scan(Position { epoch: *epoch, seq: *first }).next() {
                // Damage is named by whoever finds it.
                Some(Err(_)) => return None,
                Some(Ok(next)) => {
                    let here = next.position.epoch == *epoch && next.position.seq <= *last;
                    let last = if here { next.position.seq.checked_sub(1)? } else { *last };
                    (last, peek(&next.bytes).map_or(now, |(header, _)| header.t0))
                }
                None => (*last, now),
            };
            let records = Some((Epoch(*epoch), Seq(*first), Seq(last)));
            let gap = Gap { point: None, from: at, to: at, count: 0, cause: GapCause::Evicted, records };
            (*first <= last).then_some(gap)
        };
        ranges.iter().filter_map(gap).collect()
    }

    /// Now and then: the reserve, a segment that has not been read for long, and how full the ring is.
    pub(super) fn upkeep(&mut self, now: EngineTime) -> anyhow::Result<()> {
        self.upkeep_at = now.plus(UPKEEP_MS);
        if self.full.is_some() {
            return Ok(());
        }
        self.journal.mend_reserve()?;
        match self.journal.check_next()? {
            Some(checked) => self.report(&checked.quarantined, now)?,
            None if now >= self.check_again_at => {
                self.journal.check_again();
                self.check_again_at = now.plus(CHECK_AGAIN_MS);
            }
            None => {}
        }
        let unsent = self.journal.bytes_after(Class::Ring, self.receipted);
        let permille = unsent * 1000 / self.journal.limits().ring_bytes.max(1);
        let state = match self.storage {
            StorageState::Enough if permille >= THIN_FROM => StorageState::Thinning,
            StorageState::Thinning if permille < THIN_TO => StorageState::Enough,
            state @ (StorageState::Enough | StorageState::Thinning | StorageState::Full) => state,
        };
        self.tell_storage(state, now)?;
        self.spare_the_busy();
        Ok(())
    }

    /// Tells intake whether to thin, and which points not to.
    pub(super) fn spare_the_busy(&mut self) {
        let thinning = self.storage != StorageState::Enough;
        // Every point is told: not at each record for nothing.
        if thinning || self.thinned {
            let busy = if thinning { self.busy() } else { Vec::new() };
            self.intake.thin(thinning, &busy);
            self.thinned = thinning;
        }
    }

    /// Points of running cycles and open alerts.
    fn busy(&self) -> Vec<PointIx> {
        let plan = self.engine.plan();
        let alerts = self.engine.alerts().into_iter().flat_map(|alert| self.deciding_points(alert.rule));
        let modules = plan.modules.iter().zip(0..).filter(|(_, ix)| self.engine.cycle_running(ModuleIx(*ix)));
        let cycles = modules.flat_map(|(module, _)| module.points());
        alerts.chain(cycles).collect()
    }

    /// Damage becomes gap records, and is not reported again once they are on disk.
    pub(super) fn report(&mut self, damaged: &[Quarantined], now: EngineTime) -> anyhow::Result<()> {
        if damaged.is_empty() {
            return Ok(());
        }
        tracing::error!(
            places = damaged.len(),
            "the journal was damaged; the rest of it is used. Run `gateway journal fsck` and check the storage"
        );
        self.seal(now)?;
        let gaps: Vec<_> = missing(damaged, now).map(|gap| (Class::Keep, Body::Gap(gap))).collect();
        self.write(gaps, now)?;
        self.closed(damaged)
    }

    /// The gap records for this damage are on disk; where they are not, it is reported again at the next start.
    pub(super) fn closed(&mut self, damaged: &[Quarantined]) -> anyhow::Result<()> {
        for place in damaged.iter().filter(|_| self.full.is_none()) {
            match self.journal.closed(place) {
                Err(error) if error.is_full() => {}
                done => done?,
            }
        }
        Ok(())
    }
}

/// One gap per range of numbers that damage on disk took.
pub(super) fn missing(quarantined: &[Quarantined], at: EngineTime) -> impl Iterator<Item = Gap> {
    quarantined.iter().flat_map(|place| &place.missing).map(move |(epoch, first, last)| Gap {
        point: None,
        from: at,
        to: at,
        count: 0,
        cause: GapCause::Corrupt,
        records: Some((Epoch(*epoch), Seq(*first), Seq(*last))),
    })
}

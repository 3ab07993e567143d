//! What happens at the journal's limits.
//!
//! The ring gives way, oldest segment first, after gap records. When the keep set is full, or the disk is, nothing is
//! eaten any more: readings are refused and counted, and a gap record (cause overrun) says so when there is room again.
//! Judging stops with it: this is thinner than the design, which wants judging to go on.

use gateway_journal::{Class, Evictable, JournalError};
use gateway_model::{EngineTime, Epoch, Gap, GapCause, Input, Seq};
use gateway_wire::Body;

use super::core::{Core, Refusing};

/// While the journal is full it is tried again so often (engine time).
const RETRY_MS: i64 = 10_000;

impl Core {
    /// Stops eating: the journal did not take these.
    pub(super) fn refuse(
        &mut self,
        batch: Vec<(Class, Body)>,
        error: JournalError,
        now: EngineTime,
    ) -> anyhow::Result<()> {
        if !is_full(&error) {
            return Err(anyhow::Error::new(error).context("write to the journal"));
        }
        if self.refusing.is_none() {
            tracing::error!(
                error = crate::chain(&error),
                "the journal is full: nothing is recorded or judged until there is room; \
                 free the disk, or raise keep_bytes in the site file"
            );
        }
        let (mut from, mut lost) =
            self.refusing.as_ref().map_or((now, 0), |refusing| (refusing.from, refusing.count));
        // What the engine has eaten stays in hand and goes first when there is room.
        for (_, body) in batch {
            match body {
                Body::Inputs(inputs) => {
                    self.open.items = inputs.items;
                    // Counts of a span that the gap record will cover.
                    lost += inputs.counts.iter().map(|count| u64::from(count.due)).sum::<u64>();
                }
                Body::Conclusions(conclusions) => self.concluded.extend(conclusions.list),
                Body::Gap(gap) if gap.cause == GapCause::Overrun => {
                    from = from.min(gap.from);
                    lost += gap.count;
                }
                // Made anew when they are due again.
                Body::Start(_) | Body::Config(_) | Body::Checkpoint(_) | Body::Gap(_) => {}
            }
        }
        self.refusing = Some(Refusing { from, count: lost, retry_at: now.plus(RETRY_MS) });
        Ok(())
    }

    pub(super) fn try_again(&mut self, now: EngineTime) -> anyhow::Result<()> {
        let Some(refusing) = self.refusing.take_if(|refusing| now >= refusing.retry_at) else {
            return Ok(());
        };
        let (from, count) = (refusing.from, refusing.count);
        self.seal(now)?;
        if let Some(still) = &mut self.refusing {
            still.from = from;
            still.count += count;
            return Ok(());
        }
        tracing::info!(refused = count, "the journal has room again");
        let gap = Gap { point: None, from, to: now, count, cause: GapCause::Overrun, records: None };
        self.write(vec![(Class::Keep, Body::Gap(gap))], now)
    }

    /// The oldest segment of the ring gives way, but only after gap records say what goes, and never what a restart
    /// would still replay.
    pub(super) fn make_room(&mut self) -> anyhow::Result<()> {
        while let Some(oldest) = self.journal.must_evict() {
            let now = self.engine.now();
            let mut batch: Vec<(Class, Body)> =
                self.evicted(&oldest).map(|gap| (Class::Keep, Body::Gap(gap))).collect();
            if self.checkpoint_position.is_none_or(|checkpoint| checkpoint < oldest.last) {
                // The engine is ahead of the journal by what is open: a checkpoint may only stand behind it.
                if !self.open.items.is_empty() || !self.concluded.is_empty() {
                    let open = self.inputs_batch();
                    batch.splice(0..0, open);
                }
                batch.push((Class::Keep, Body::Checkpoint(Box::new(self.engine.save()))));
            }
            self.write(batch, now)?;
            if self.refusing.is_some() {
                return Ok(());
            }
            self.journal.evict(&oldest)?;
            tracing::warn!(
                records = oldest.records,
                from = %oldest.first,
                to = %oldest.last,
                "the ring is full: its oldest readings were given up; raise ring_bytes to keep more days"
            );
        }
        Ok(())
    }

    /// One gap per unbroken run of numbers that goes; records of the keep set between them stay.
    fn evicted(&self, oldest: &Evictable) -> impl Iterator<Item = Gap> + use<> {
        let public = self.key.verifying_key();
        let mut gaps: Vec<Gap> = Vec::new();
        for stored in self.journal.scan(oldest.first).filter_map(Result::ok) {
            if stored.position > oldest.last {
                break;
            }
            if stored.class != oldest.class {
                continue;
            }
            let Ok(opened) = gateway_wire::open(&public, &stored.bytes) else { continue };
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
                    if *last_epoch == epoch && last.0 + 1 == seq.0 =>
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
        }
        gaps.into_iter()
    }
}

fn is_full(error: &JournalError) -> bool {
    match error {
        JournalError::KeepFull | JournalError::RingFull => true,
        JournalError::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
        JournalError::Locked(_)
        | JournalError::NoEpoch
        | JournalError::TooLarge(_)
        | JournalError::Broken
        | JournalError::NotOldest(_)
        | JournalError::Damaged { .. } => false,
    }
}

//! No room: what is recorded then, and how it ends.
//!
//! Judging goes on. What the engine eats is let go unless something was concluded that has to be told; then the reserve
//! of the journal takes, in one append: what was owed before, a gap record of what was let go (cause full), chatter
//! folded (`fold.rs`), the engine's state as it was before this record, the inputs, and the conclusions. So every alert
//! that is told can still be derived anew, from the checkpoint on. Entries are refused and counted. Where the reserve is
//! used up too, what is owed waits in memory, folded, and the state is what a restart would find on disk.
//!
//! It ends when a probe finds room again: tried after 10 s, later every minute.

use gateway_journal::{Class, Room};
use gateway_model::{
    Conclusion, ConclusionBody, EngineTime, Gap, GapCause, PointCounts, Seq, State, Storage, StorageState,
};
use gateway_wire::{Body, ConclusionsBody, InputsBody};

use super::core::{Core, add_whole};
use super::fold::Folds;
use super::room::{Lack, Pending, Purse};

/// The first attempt to go on as usual, ms of engine time; each later one after twice as long, …
const RETRY_MIN_MS: i64 = 10_000;
/// … at most.
const RETRY_MAX_MS: i64 = 60_000;
/// Records that wait for room in memory: the first of an epoch, and gaps.
const UNWRITTEN_MAX: usize = 256;
/// Cycles and orders that wait for room.
const OWED_MAX: usize = 1_000;

/// What is to be written, and of it the open record's inputs and conclusions.
type WholeBatch = (Vec<(Class, Body)>, InputsBody, Vec<Conclusion>);

/// What is not on disk while there is no room.
#[derive(Default)]
pub(super) struct Full {
    pub(super) retry_at: EngineTime,
    retry_ms: i64,
    /// Go first, in this order.
    unwritten: Vec<Body>,
    owed: Vec<Conclusion>,
    folds: Folds,
    /// Readings and entries let go, since when.
    lost: u64,
    from: Option<EngineTime>,
    /// The engine where the open record begins, if what it ate before is not in the journal.
    base: Option<Box<State>>,
    entries: u64,
}

impl Full {
    /// An entry is not taken.
    pub(super) fn refuse_entry(&mut self, now: EngineTime) {
        if self.entries == 0 {
            tracing::error!("an entry was refused: there is no room to record it; said once, then counted");
        }
        self.entries += 1;
        self.lost += 1;
        self.from.get_or_insert(now);
    }

    /// Nothing waits that somebody must not be told of yet.
    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_empty() && self.unwritten.is_empty()
    }

    /// A record that waits for room.
    pub(super) fn add(&mut self, body: Body) {
        if self.unwritten.len() < UNWRITTEN_MAX {
            self.unwritten.push(body);
        } else {
            tracing::error!(?body, "a record is lost: too many wait for room already");
        }
    }

    fn let_go(&mut self, counts: &[PointCounts], from: EngineTime) {
        self.lost += counts.iter().map(|count| u64::from(count.due)).sum::<u64>();
        self.from.get_or_insert(from);
    }

    fn owe(&mut self, list: Vec<Conclusion>, now: EngineTime) {
        let others = self.folds.add(list, now);
        let room = OWED_MAX.saturating_sub(self.owed.len());
        if others.len() > room {
            tracing::error!(
                lost = others.len() - room,
                "conclusions are lost: too many wait for room already"
            );
        }
        self.owed.extend(others.into_iter().take(room));
    }

    /// Everything that waits, up to the state the open record begins with.
    fn batch(&self, to: EngineTime, last_inputs: Seq) -> anyhow::Result<Vec<(Class, Body)>> {
        let mut bodies = self.unwritten.clone();
        if let Some(from) = self.from {
            let (cause, count) = (GapCause::Full, self.lost);
            bodies.push(Body::Gap(Gap { point: None, from, to: to.max(from), count, cause, records: None }));
        }
        let list: Vec<_> = self.owed.iter().cloned().chain(self.folds.conclusions()).collect();
        if !list.is_empty() {
            bodies.push(Body::Conclusions(ConclusionsBody {
                because: last_inputs,
                list,
                frames: Vec::new(),
            }));
        }
        let mut batch = bodies.into_iter().map(|body| (Class::Keep, body)).collect();
        self.base.clone().map_or(Ok(()), |state| add_whole(&mut batch, Body::Checkpoint(state)))?;
        Ok(batch)
    }

    /// All of it is on disk.
    fn settled(&mut self, now: EngineTime) {
        self.folds.settled(now);
        (self.unwritten, self.owed, self.base) = (Vec::new(), Vec::new(), None);
        (self.lost, self.from) = (0, None);
    }
}

impl Core {
    /// There is no room for these. The reserve takes them, and a state behind them so that readings can be let go;
    /// then room may be made after all.
    pub(super) fn fill_up(&mut self, pending: Pending, now: EngineTime) -> anyhow::Result<()> {
        let Pending { rest, lack } = pending;
        let mut batch = rest;
        // A state stands behind everything that the engine ate to get there.
        if !self.open.items.is_empty() || !self.concluded.is_empty() {
            batch.extend(self.inputs_batch());
        }
        let batch = batch.into_iter().map(|(_, body)| (Class::Keep, body)).collect();
        let mut batch = self.renumbered(batch);
        let without = batch.len();
        self.add_state(&mut batch)?;
        if let Some(Pending { mut rest, .. }) = self.put(batch, true)? {
            rest.truncate(without);
            self.enter(now);
            self.keep_in_mind(rest, now);
            return Ok(());
        }
        if self.free(lack)? {
            return Ok(());
        }
        self.enter(now);
        self.tell_storage(StorageState::Full, now)
    }

    fn enter(&mut self, now: EngineTime) {
        tracing::error!(
            "no room: judging goes on, but only alerts are recorded until there is; \
             free the disk, or raise keep_bytes in the site file"
        );
        let retry_at = now.plus(RETRY_MIN_MS);
        self.full = Some(Full { retry_at, retry_ms: RETRY_MIN_MS, ..Full::default() });
    }

    /// The reserve did not take these either.
    fn keep_in_mind(&mut self, rest: Vec<(Class, Body)>, now: EngineTime) {
        let from = self.open.from;
        let state = Box::new(self.engine.save());
        let storage = self.storage_now(StorageState::Full);
        let Some(full) = &mut self.full else { return };
        for (_, body) in rest {
            match body {
                Body::Inputs(inputs) => full.let_go(&inputs.counts, from),
                Body::Conclusions(conclusions) => full.owe(conclusions.list, now),
                Body::Start(_)
                | Body::Config(_)
                | Body::Checkpoint(_)
                | Body::Gap(_)
                | Body::Parted(_)
                | Body::Part(_) => full.add(body),
            }
        }
        full.from.get_or_insert(from);
        full.base = Some(state);
        full.owed.push(Conclusion { at: now, body: ConclusionBody::Storage(storage) });
        self.storage = StorageState::Full;
        self.open.begin_at(self.engine.now());
    }

    /// What a seal is while there is no room.
    pub(super) fn seal_full(&mut self, now: EngineTime) -> anyhow::Result<()> {
        let Some(full) = &mut self.full else { return Ok(()) };
        let fresh = full.folds.fresh(&self.concluded, now);
        let due = full.folds.due(now);
        if fresh {
            let (batch, inputs, concluded) = self.whole_batch()?;
            if self.put(batch, true)?.is_none() {
                self.settled(&concluded, now);
            } else {
                self.lose_open(&inputs.counts, concluded, now);
            }
            return Ok(());
        }
        let concluded = std::mem::take(&mut self.concluded);
        self.open.items.clear();
        let counts = self.close_counts();
        self.lose_open(&counts, concluded, now);
        if due {
            let batch = self.owed_batch()?;
            if self.put(batch, true)?.is_none() {
                self.settled(&[], now);
            }
        }
        Ok(())
    }

    /// What was eaten since the last record is not recorded.
    fn lose_open(&mut self, counts: &[PointCounts], concluded: Vec<Conclusion>, now: EngineTime) {
        let (from, state) = (self.open.from, Box::new(self.engine.save()));
        if let Some(full) = &mut self.full {
            full.let_go(counts, from);
            full.owe(concluded, now);
            full.base = Some(state);
        }
        self.open.begin_at(self.engine.now());
    }

    fn settled(&mut self, concluded: &[Conclusion], now: EngineTime) {
        if let Some(full) = &mut self.full {
            full.settled(now);
            full.folds.told(concluded, now);
        }
    }

    fn owed_batch(&self) -> anyhow::Result<Vec<(Class, Body)>> {
        let full = self.full.as_ref();
        full.map_or(Ok(Vec::new()), |full| full.batch(self.open.from, self.open.last_inputs))
    }

    /// What is owed, then the open record and what was concluded from it; the latter two also by themselves.
    fn whole_batch(&mut self) -> anyhow::Result<WholeBatch> {
        let mut batch = self.owed_batch()?;
        let concluded = std::mem::take(&mut self.concluded);
        let inputs = InputsBody { items: std::mem::take(&mut self.open.items), counts: self.close_counts() };
        if inputs.items.is_empty() && inputs.counts.is_empty() {
            return Ok((batch, inputs, concluded));
        }
        let because = Seq(self.journal.next().seq + batch.len() as u64);
        batch.push((Class::Keep, Body::Inputs(inputs.clone())));
        self.conclude(because, concluded.clone(), &mut batch);
        Ok((batch, inputs, concluded))
    }

    /// Goes on as usual, if there is room for more than this.
    pub(super) fn try_again(&mut self, now: EngineTime) -> anyhow::Result<()> {
        self.begin_instead(now)?;
        if !self.find_room()? {
            if let Some(full) = &mut self.full {
                full.retry_at = now.plus(full.retry_ms);
                full.retry_ms = (full.retry_ms * 2).min(RETRY_MAX_MS);
            }
            return Ok(());
        }
        let (batch, inputs, concluded) = self.whole_batch()?;
        if self.put(batch, true)?.is_some() {
            // Somebody else was faster.
            (self.open.items, self.carried, self.concluded) = (inputs.items, inputs.counts, concluded);
            if let Some(full) = &mut self.full {
                full.retry_at = now.plus(full.retry_ms);
            }
            return Ok(());
        }
        let entries = self.full.take().map_or(0, |full| full.entries);
        tracing::info!(entries_refused = entries, "there is room again: everything is recorded");
        self.tell_storage(StorageState::Enough, now)
    }

    /// Where not even the first record of this epoch found room, nothing before it may give way by itself: a restart would
    /// still need it. So what the epoch has to say goes to disk together with the word of what gives way for it, as far as
    /// the center has that.
    fn begin_instead(&mut self, now: EngineTime) -> anyhow::Result<()> {
        if self.journal.next().seq > 0 {
            return Ok(());
        }
        let old = self.journal.evictable(Class::Keep).take_while(|old| self.receipted >= Some(old.last));
        let old: Vec<_> = old.collect();
        let (mut batch, inputs, concluded) = self.whole_batch()?;
        let mut bytes = 0;
        for (n, oldest) in old.iter().enumerate() {
            bytes += oldest.bytes;
            batch.extend(self.evicted(oldest));
            if self.put_from(batch.clone(), Purse::Instead(bytes))?.is_none() {
                old[..=n].iter().try_for_each(|gone| self.journal.evict(gone))?;
                tracing::warn!(segments = n + 1, "the oldest records gave way so that an epoch could begin");
                self.settled(&concluded, now);
                return Ok(());
            }
        }
        (self.open.items, self.carried, self.concluded) = (inputs.items, inputs.counts, concluded);
        Ok(())
    }

    /// Room to go on with: found, or made.
    fn find_room(&mut self) -> anyhow::Result<bool> {
        loop {
            let lack = match self.journal.room()? {
                Room::Enough => return Ok(true),
                Room::NoKeep => Lack::Keep,
                Room::NoDisk => Lack::Disk,
            };
            if !self.free(lack)? {
                return Ok(false);
            }
        }
    }

    /// The clean end without room: whatever the reserve still takes.
    pub(super) fn stop_full(&mut self) -> anyhow::Result<()> {
        let (mut batch, ..) = self.whole_batch()?;
        self.add_state(&mut batch)?;
        if self.put(batch, true)?.is_some() {
            tracing::error!("stopped without a record of it: there is no room");
        }
        Ok(())
    }

    /// Says a state of the room, once.
    pub(super) fn tell_storage(&mut self, state: StorageState, now: EngineTime) -> anyhow::Result<()> {
        if self.storage == state {
            return Ok(());
        }
        self.storage = state;
        self.say(ConclusionBody::Storage(self.storage_now(state)), now)
    }

    /// A conclusion of the recorder's own.
    pub(super) fn say(&mut self, body: ConclusionBody, now: EngineTime) -> anyhow::Result<()> {
        let said = Conclusion { at: self.engine.now(), body };
        if let Some(full) = &mut self.full {
            full.owed.push(said);
            let batch = self.owed_batch()?;
            if self.put(batch, true)?.is_none() {
                self.settled(&[], now);
            }
            return Ok(());
        }
        let mut batch = Vec::new();
        self.conclude(self.open.last_inputs, vec![said], &mut batch);
        self.write(batch, now)
    }

    fn storage_now(&self, state: StorageState) -> Storage {
        let (limits, (ring, keep)) = (self.journal.limits(), self.journal.bytes());
        let permille = |used: u64, of: u64| (used * 1000 / of.max(1)).min(1000) as u16;
        Storage {
            state,
            ring_permille: permille(ring, limits.ring_bytes),
            keep_permille: permille(keep, limits.keep_bytes),
        }
    }
}

//! What to send next. No connection: asks the journal, answers with records.
//!
//! The order: conclusions, each with start and config of its epoch and the inputs that led to it; what the center asked
//! for again; then, while a backlog drains oldest first, at most half of the batch is the newest readings. Records of a
//! branch ([`super::ledger`]) go last and in batches of their own.

use std::collections::VecDeque;
use std::future::Future;

use gateway_journal::Position;

use super::ledger::Ledger;
use crate::recorder::{Asks, Refused, Urgent};

/// The newest records that may overtake a backlog, per batch.
const NEWEST_RECORDS: u64 = 64;

/// Where records are read.
pub trait Source: Sync {
    /// One record.
    fn get(&self, position: Position) -> impl Future<Output = Result<Option<Vec<u8>>, Refused>> + Send;
    /// Records from a position on, at most so many bytes but at least one.
    fn read(
        &self,
        from: Position,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<(Position, Vec<u8>)>, Refused>> + Send;
    /// (epoch, first seq, last seq), ascending.
    fn epochs(&self) -> impl Future<Output = Result<Vec<(u64, u64, u64)>, Refused>> + Send;
}

impl Source for Asks {
    async fn get(&self, position: Position) -> Result<Option<Vec<u8>>, Refused> {
        Asks::get(self, position).await
    }

    async fn read(&self, from: Position, bytes_max: usize) -> Result<Vec<(Position, Vec<u8>)>, Refused> {
        Asks::read(self, from, bytes_max).await
    }

    async fn epochs(&self) -> Result<Vec<(u64, u64, u64)>, Refused> {
        Asks::epochs(self).await
    }
}

/// What may be sent now.
#[derive(Debug, Clone, Copy)]
pub struct Credit {
    /// Bytes of a batch, about.
    pub bytes: usize,
    /// Records of a batch.
    pub records: usize,
    /// Also what is not a conclusion.
    pub readings: bool,
}

/// A batch, in the order of sending.
#[derive(Debug, Default)]
pub struct Load {
    /// Records with their places.
    pub records: Vec<(Position, Vec<u8>)>,
    /// They belong to a branch: kept beside the chain.
    pub aside: bool,
}

/// The next batch.
pub async fn gather(
    source: &impl Source,
    ledger: &Ledger,
    urgent: &VecDeque<Urgent>,
    wants: &[Position],
    credit: Credit,
) -> Result<Load, Refused> {
    let mut batch = Batch::new(credit);
    for urgent in urgent {
        let config = |seq| Position { epoch: urgent.conclusions.epoch, seq };
        for position in [config(0), config(1), urgent.because, urgent.conclusions] {
            batch.add(source, ledger, position).await?;
        }
        if batch.full {
            break;
        }
    }
    for position in wants {
        batch.again(source, *position).await?;
    }
    if !credit.readings {
        return Ok(batch.load());
    }
    let epochs = source.epochs().await?;
    if let Some(oldest) = ledger.oldest_missing(&epochs) {
        backlog(source, ledger, &epochs, oldest, &mut batch).await?;
    }
    if batch.records.is_empty()
        && let Some(from) = ledger.branch_missing(&epochs)
    {
        batch.fill(source, from, |position| position.epoch == from.epoch).await?;
        return Ok(Load { aside: true, ..batch.load() });
    }
    Ok(batch.load())
}

async fn backlog(
    source: &impl Source,
    ledger: &Ledger,
    epochs: &[(u64, u64, u64)],
    oldest: Position,
    batch: &mut Batch,
) -> Result<(), Refused> {
    let newest = epochs.last().map_or(oldest, |(epoch, _, last)| Position { epoch: *epoch, seq: *last });
    // A backlog longer than one batch: its newest end may take half of what is left.
    let live = Position { epoch: newest.epoch, seq: newest.seq.saturating_sub(NEWEST_RECORDS) };
    let sendable = |position: Position| !ledger.is_branch(position.epoch) && !ledger.has(position);
    if oldest < live && !batch.full {
        let half = (batch.bytes_max - batch.bytes) / 2;
        let mut taken = 0;
        for (position, bytes) in source.read(live, half).await? {
            if sendable(position) && taken + bytes.len() <= half {
                taken += bytes.len();
                batch.push(position, bytes);
            }
        }
    }
    batch.fill(source, oldest, sendable).await
}

/// A batch that is being filled.
struct Batch {
    records: Vec<(Position, Vec<u8>)>,
    bytes: usize,
    bytes_max: usize,
    records_max: usize,
    full: bool,
}

impl Batch {
    fn new(credit: Credit) -> Self {
        let full = credit.records == 0;
        Self { records: Vec::new(), bytes: 0, bytes_max: credit.bytes, records_max: credit.records, full }
    }

    fn load(self) -> Load {
        Load { records: self.records, aside: false }
    }

    async fn add(
        &mut self,
        source: &impl Source,
        ledger: &Ledger,
        position: Position,
    ) -> Result<(), Refused> {
        let done = ledger.has(position) || ledger.is_branch(position.epoch);
        if done { Ok(()) } else { self.again(source, position).await }
    }

    /// Also what the center already had once.
    async fn again(&mut self, source: &impl Source, position: Position) -> Result<(), Refused> {
        if self.full || self.records.iter().any(|(known, _)| *known == position) {
            return Ok(());
        }
        if let Some(bytes) = source.get(position).await? {
            self.push(position, bytes);
        }
        Ok(())
    }

    /// From here on, in order, until it is full.
    async fn fill(
        &mut self,
        source: &impl Source,
        mut from: Position,
        wanted: impl Fn(Position) -> bool,
    ) -> Result<(), Refused> {
        while !self.full {
            let records = source.read(from, self.bytes_max.saturating_sub(self.bytes)).await?;
            let Some((last, _)) = records.last() else { break };
            from = Position { epoch: last.epoch, seq: last.seq + 1 };
            for (position, bytes) in records {
                if wanted(position) {
                    self.push(position, bytes);
                }
            }
        }
        Ok(())
    }

    /// One record always fits, however large.
    fn push(&mut self, position: Position, bytes: Vec<u8>) {
        if self.full || self.records.iter().any(|(known, _)| *known == position) {
            return;
        }
        if !self.records.is_empty() && self.bytes + bytes.len() > self.bytes_max {
            self.full = true;
            return;
        }
        self.bytes += bytes.len();
        self.records.push((position, bytes));
        self.full = self.bytes >= self.bytes_max || self.records.len() >= self.records_max;
    }
}

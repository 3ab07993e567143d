//! What to send next. No connection: asks the journal, answers with records.
//!
//! The order: conclusions, each with start and config (with its parts) of its epoch and the inputs that led to it, in a batch of their own
//! (every other one may take more with it, so that a storm of alerts does not hold up readings for ever); what the center
//! asked for again; then, while a backlog drains oldest first, at most half of the batch is the newest readings. Records of a
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
    /// Where there are conclusions, nothing else.
    pub alone: bool,
}

/// A batch, in the order of sending.
#[derive(Debug, Default)]
pub struct Load {
    /// Records with their places.
    pub records: Vec<(Position, Vec<u8>)>,
    /// They belong to a branch: kept beside the chain.
    pub aside: bool,
    /// There is nothing to send, of all that the journal has: its epochs.
    pub drained: Option<Vec<(u64, u64, u64)>>,
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
        let of_epoch = |seq| Position { epoch: urgent.conclusions.epoch, seq };
        let config = (urgent.config.0..=urgent.config.1).map(of_epoch);
        let needed = std::iter::once(of_epoch(0)).chain(config).chain([urgent.because, urgent.conclusions]);
        for position in needed {
            batch.add(source, ledger, position).await?;
        }
        if batch.full {
            break;
        }
    }
    for position in wants {
        batch.again(source, *position).await?;
    }
    if !credit.readings || credit.records == 0 || (credit.alone && !batch.records.is_empty()) {
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
    let drained = batch.records.is_empty().then_some(epochs);
    Ok(Load { drained, ..batch.load() })
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
        Load { records: self.records, aside: false, drained: None }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gateway_model::{Epoch, Seq};
    use gateway_wire::EpochReceipt;
    use proptest::prelude::*;

    use super::super::ledger::Own;
    use super::*;

    /// A journal in memory.
    #[derive(Default)]
    struct Shelf(BTreeMap<Position, Vec<u8>>);

    impl Source for Shelf {
        async fn get(&self, position: Position) -> Result<Option<Vec<u8>>, Refused> {
            Ok(self.0.get(&position).cloned())
        }

        async fn read(&self, from: Position, bytes_max: usize) -> Result<Vec<(Position, Vec<u8>)>, Refused> {
            let mut size = 0;
            let fits = |bytes: &Vec<u8>| {
                size += bytes.len();
                size <= bytes_max || size == bytes.len()
            };
            let mut fits = fits;
            Ok(self
                .0
                .range(from..)
                .take_while(|(_, bytes)| fits(bytes))
                .map(|(at, bytes)| (*at, bytes.clone()))
                .collect())
        }

        async fn epochs(&self) -> Result<Vec<(u64, u64, u64)>, Refused> {
            let mut epochs = BTreeMap::new();
            for at in self.0.keys() {
                let span = epochs.entry(at.epoch).or_insert((at.seq, at.seq));
                span.1 = at.seq;
            }
            Ok(epochs.into_iter().map(|(epoch, (first, last))| (epoch, first, last)).collect())
        }
    }

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    /// Records of one epoch, so many bytes each.
    fn shelf(count: u64, bytes: usize) -> Shelf {
        Shelf((0..count).map(|seq| (at(seq), vec![0; bytes])).collect())
    }

    fn seqs(load: &Load) -> Vec<u64> {
        load.records.iter().map(|(at, _)| at.seq).collect()
    }

    fn now(shelf: &Shelf, ledger: &Ledger, urgent: &VecDeque<Urgent>, credit: Credit) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(gather(shelf, ledger, urgent, &[], credit)).unwrap()
    }

    fn learned(ledger: &mut Ledger, through: Option<u64>, have: &[(u64, u64)], last: u64) {
        let have = have.iter().map(|(from, to)| (Seq(*from), Seq(*to))).collect();
        let receipt = EpochReceipt { epoch: Epoch(1), through: through.map(Seq), have, ends: None };
        ledger.learn(&receipt, Own { epochs: &[(1, 0, last)], hashes: &BTreeMap::new(), writing: true });
    }

    const ALL: Credit = Credit { bytes: 2_000, records: 256, readings: true, alone: false };

    #[test]
    fn conclusions_go_first_with_what_led_to_them_and_may_go_alone() {
        let (shelf, ledger) = (shelf(500, 100), Ledger::default());
        let urgent = VecDeque::from([Urgent { config: (1, 1), because: at(300), conclusions: at(301) }]);
        assert_eq!(seqs(&now(&shelf, &ledger, &urgent, Credit { alone: true, ..ALL })), [0, 1, 300, 301]);
        let mixed = seqs(&now(&shelf, &ledger, &urgent, ALL));
        assert_eq!(mixed[..4], [0, 1, 300, 301]);
        assert_eq!(mixed.len(), 20, "as much as fits: {mixed:?}");
        assert_eq!(seqs(&now(&shelf, &ledger, &urgent, Credit { readings: false, ..ALL })), [0, 1, 300, 301]);
    }

    #[test]
    fn the_newest_take_half_of_what_is_left_and_the_backlog_goes_oldest_first() {
        let (shelf, ledger) = (shelf(500, 100), Ledger::default());
        let sent = seqs(&now(&shelf, &ledger, &VecDeque::new(), ALL));
        assert_eq!(sent, [(435..445).collect::<Vec<_>>(), (0..10).collect()].concat());
        assert_eq!(seqs(&now(&shelf, &ledger, &VecDeque::new(), Credit { records: 0, ..ALL })), [0_u64; 0]);
        // One record always goes, however large.
        let large = self::shelf(3, 9_000);
        assert_eq!(seqs(&now(&large, &ledger, &VecDeque::new(), ALL)), [0]);
    }

    proptest! {
        /// Whatever the center has and whatever the credit is: nothing twice, nothing that is there already, and in the end
        /// everything, with new records coming in all the time.
        #[test]
        fn everything_arrives_once(
            count in 1_u64..300,
            sizes in 50_usize..400,
            records in 1_usize..40,
            urgent in prop::collection::vec(3_u64..300, 0..5),
            lost in prop::collection::vec(any::<bool>(), 64),
        ) {
            let (mut shelf, mut ledger) = (shelf(count, sizes), Ledger::default());
            let mut there = std::collections::BTreeSet::new();
            let mut waiting: VecDeque<Urgent> = urgent.iter().filter(|seq| **seq < count)
                .map(|seq| Urgent { config: (1, 1), because: at(seq - 1), conclusions: at(*seq) }).collect();
            let mut alone = true;
            for round in 0_usize.. {
                prop_assert!(round < 4_000, "it comes to an end");
                if round < 20 {
                    let next = shelf.0.len() as u64;
                    shelf.0.insert(at(next), vec![0; sizes]);
                }
                waiting.retain(|urgent| !ledger.has(urgent.conclusions));
                let credit = Credit { bytes: 2_000, records, readings: true, alone };
                alone = !alone;
                let load = now(&shelf, &ledger, &waiting, credit);
                let sent = seqs(&load);
                let mut unique = sent.clone();
                unique.sort_unstable();
                unique.dedup();
                prop_assert_eq!(unique.len(), sent.len(), "twice in one batch");
                prop_assert!(sent.len() <= records);
                prop_assert!(sent.iter().all(|seq| !ledger.has(at(*seq))), "what is there already");
                if sent.is_empty() {
                    break;
                }
                there.extend(sent);
                // The receipt may be lost; the next one says it all.
                if lost.get(round % 64).copied().unwrap_or(false) && round < 2_000 {
                    continue;
                }
                let through = (0..1_000).take_while(|seq| there.contains(seq)).last();
                let have: Vec<_> = there.iter().filter(|seq| Some(**seq) > through).map(|seq| (*seq, *seq)).take(64).collect();
                let last = shelf.0.len() as u64 - 1;
                learned(&mut ledger, through, &have, last);
            }
            prop_assert_eq!(there.len(), shelf.0.len());
        }
    }
}

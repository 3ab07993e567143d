//! What the center has, as far as its receipts say: decides what to send next. No connection.

use std::collections::{BTreeMap, BTreeSet};

use gateway_journal::Position;
use gateway_wire::EpochReceipt;

/// Records set aside because the center refuses them for good.
const ASIDE_MAX: usize = 1_024;

/// What the center has, per epoch.
#[derive(Debug, Default)]
pub struct Ledger {
    epochs: BTreeMap<u64, Coverage>,
    aside: BTreeSet<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Coverage {
    through: Option<u64>,
    have: Vec<(u64, u64)>,
}

impl Coverage {
    fn has(&self, seq: u64) -> bool {
        self.through.is_some_and(|through| seq <= through)
            || self.have.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }

    /// The first seq from `seq` on that the center does not have.
    fn first_missing(&self, seq: u64) -> u64 {
        let mut seq = seq.max(self.through.map_or(0, |through| through + 1));
        for (from, to) in &self.have {
            if (*from..=*to).contains(&seq) {
                seq = to + 1;
            }
        }
        seq
    }
}

impl Ledger {
    /// Everything up to `position` was receipted in an earlier life of this process.
    pub fn resume(position: Position) -> Self {
        let mut ledger = Self::default();
        // Cursors only ever stand where all earlier epochs were complete.
        for epoch in 0..position.epoch {
            ledger.epochs.insert(epoch, Coverage { through: Some(u64::MAX - 1), have: Vec::new() });
        }
        ledger.epochs.insert(position.epoch, Coverage { through: Some(position.seq), have: Vec::new() });
        ledger
    }

    /// Does the center have it, or need it no more?
    pub fn has(&self, position: Position) -> bool {
        self.epochs.get(&position.epoch).is_some_and(|coverage| coverage.has(position.seq))
            || self.aside.contains(&(position.epoch, position.seq))
    }

    /// A receipt is the truth: what it says of an epoch replaces what was thought, also backwards.
    pub fn learn(&mut self, receipt: &EpochReceipt) {
        let have = receipt.have.iter().map(|(from, to)| (from.0, to.0)).collect();
        let through = receipt.through.map(|seq| seq.0);
        self.epochs.insert(receipt.epoch.0, Coverage { through, have });
    }

    /// The center refuses this one for good. False = too many are aside already.
    pub fn set_aside(&mut self, position: Position) -> bool {
        let room = self.aside.len() < ASIDE_MAX;
        if room {
            self.aside.insert((position.epoch, position.seq));
        }
        room
    }

    /// The oldest record that the center does not have, given the epochs of the journal.
    pub fn oldest_missing(&self, epochs: &[(u64, u64, u64)]) -> Option<Position> {
        epochs.iter().find_map(|(epoch, first, last)| {
            let mut seq = *first;
            while seq <= *last {
                seq = self.epochs.get(epoch).map_or(seq, |coverage| coverage.first_missing(seq));
                if seq <= *last && self.aside.contains(&(*epoch, seq)) {
                    seq += 1;
                } else {
                    break;
                }
            }
            (seq <= *last).then_some(Position { epoch: *epoch, seq })
        })
    }

    /// How far everything is receipted without a hole: what may be kept as a cursor.
    pub fn through(&self, epochs: &[(u64, u64, u64)]) -> Option<Position> {
        let missing = self.oldest_missing(epochs);
        let before = |end: &Position| {
            epochs.iter().rev().find_map(|(epoch, first, last)| {
                if *epoch > end.epoch || (*epoch == end.epoch && *first >= end.seq) {
                    return None;
                }
                let seq = if *epoch == end.epoch { end.seq - 1 } else { *last };
                Some(Position { epoch: *epoch, seq })
            })
        };
        match missing {
            Some(end) => before(&end),
            None => epochs.last().map(|(epoch, _, last)| Position { epoch: *epoch, seq: *last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_model::{Epoch, Seq};

    fn receipt(epoch: u64, through: Option<u64>, have: &[(u64, u64)]) -> EpochReceipt {
        EpochReceipt {
            epoch: Epoch(epoch),
            through: through.map(Seq),
            have: have.iter().map(|(from, to)| (Seq(*from), Seq(*to))).collect(),
        }
    }

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    const EPOCHS: [(u64, u64, u64); 2] = [(1, 0, 9), (2, 0, 5)];

    #[test]
    fn the_oldest_hole_comes_first() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 0)));
        assert_eq!(ledger.through(&EPOCHS), None);
        ledger.learn(&receipt(1, Some(3), &[(4, 6), (8, 9)]));
        ledger.learn(&receipt(2, None, &[(3, 4)]));
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 7)));
        assert_eq!(ledger.through(&EPOCHS), Some(at(1, 6)));
        ledger.learn(&receipt(1, Some(9), &[]));
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(2, 0)));
        assert_eq!(ledger.through(&EPOCHS), Some(at(1, 9)));
        ledger.learn(&receipt(2, Some(5), &[]));
        assert_eq!(ledger.oldest_missing(&EPOCHS), None);
        assert_eq!(ledger.through(&EPOCHS), Some(at(2, 5)));
    }

    #[test]
    fn a_receipt_may_take_back_what_was_thought() {
        let mut ledger = Ledger::resume(at(2, 4));
        assert!(ledger.has(at(1, 7)) && ledger.has(at(2, 4)) && !ledger.has(at(2, 5)));
        ledger.learn(&receipt(2, Some(1), &[]));
        assert!(!ledger.has(at(2, 4)), "the center was restored from a backup");
        ledger.learn(&receipt(1, None, &[]));
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 0)));
    }

    #[test]
    fn what_is_set_aside_holds_up_nothing() {
        let mut ledger = Ledger::default();
        ledger.learn(&receipt(1, Some(4), &[(6, 9)]));
        assert!(ledger.set_aside(at(1, 5)));
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(2, 0)));
    }
}

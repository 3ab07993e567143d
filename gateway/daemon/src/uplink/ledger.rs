//! What the center has, as far as it says: decides what is still to send, and whether numbers are taken. No connection.
//!
//! Promises: a session begins with nothing believed; a comparison names every epoch of its span, so that what it does not
//! name is not at the center; and nothing counts as receipted under a number whose record at the center is another one.
//!
//! An epoch in which the center has another record than the journal is a *branch*: this disk was copied, or set back to
//! an older image. Its records go up beside the chain. If it is the epoch that is being written, or if the center has
//! nothing of that one but knows a later one, the gateway has to go on above everything the center has.

use std::collections::{BTreeMap, BTreeSet};

use gateway_journal::Position;
use gateway_model::{Epoch, Seq};
use gateway_wire::{EpochReceipt, Fingerprint, SURVEY_MAX, Survey, SurveyRequest};

/// Records set aside because the center refuses them for good.
const ASIDE_MAX: usize = 1_024;
/// Runs of numbers that are looked for at a time, where the center lacks more than there is to send.
const LACKING_MAX: usize = 64;

/// What the center has, per epoch.
#[derive(Debug, Default)]
pub struct Ledger {
    epochs: BTreeMap<u64, Coverage>,
    aside: BTreeSet<(u64, u64)>,
    /// The newest epoch of which the center has anything.
    newest: Option<u64>,
}

#[derive(Debug, Default)]
struct Coverage {
    through: Option<u64>,
    have: Vec<(u64, u64)>,
    branch: Option<Branch>,
}

/// How far the records of a branch are at the center, beside the chain.
#[derive(Debug, Clone, Copy, Default)]
struct Branch {
    through: Option<u64>,
}

impl Coverage {
    fn has(&self, seq: u64) -> bool {
        match self.branch {
            Some(branch) => branch.through.is_some_and(|through| seq <= through),
            None => {
                self.through.is_some_and(|through| seq <= through)
                    || self.have.iter().any(|(from, to)| (*from..=*to).contains(&seq))
            }
        }
    }

    /// The highest seq that the center has or takes for gone.
    fn last(&self) -> Option<u64> {
        self.have.last().map(|(_, last)| *last).max(self.through)
    }

    /// The first seq from `seq` on that the center does not have.
    fn first_missing(&self, seq: u64) -> u64 {
        let after = |through: Option<u64>| through.map_or(0, |through| through.saturating_add(1));
        if let Some(branch) = self.branch {
            return seq.max(after(branch.through));
        }
        let mut seq = seq.max(after(self.through));
        for (from, to) in &self.have {
            if (*from..=*to).contains(&seq) {
                seq = to.saturating_add(1);
            }
        }
        seq
    }
}

/// What the journal has, as far as a receipt must be compared with it.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Epochs: (epoch, first seq, last seq), ascending.
    pub epochs: &'a [(u64, u64, u64)],
    /// Hashes of records that the receipt names and the journal has.
    pub hashes: &'a BTreeMap<Position, [u8; 32]>,
    /// The last epoch is being written.
    pub writing: bool,
}

impl Own<'_> {
    fn last_of(&self, epoch: u64) -> Option<u64> {
        self.epochs.iter().find(|(of, ..)| *of == epoch).map(|(_, _, last)| *last)
    }

    /// Has the center another record than the journal in this epoch?
    fn differs(&self, receipt: &EpochReceipt) -> bool {
        let epoch = receipt.epoch.0;
        let differs = |(seq, hash): &(Seq, Fingerprint)| {
            self.hashes.get(&Position { epoch, seq: seq.0 }).is_some_and(|own| *own != hash.0)
        };
        let other = receipt.ends.iter().flatten().any(differs);
        // In the epoch being written nobody else writes: what is there beyond our last record is not ours.
        let written = self.writing && self.epochs.last().is_some_and(|(newest, ..)| *newest == epoch);
        let beyond = receipt.last().is_some_and(|last| Some(last.0) > self.last_of(epoch));
        other || (written && beyond)
    }
}

/// One page of the comparison with which a session begins: `from` a certain epoch on, or the first of the journal.
pub fn question(epochs: &[(u64, u64, u64)], session: Option<u64>, from: Option<u64>) -> SurveyRequest {
    let from = from.or(epochs.first().map(|(epoch, ..)| *epoch)).unwrap_or(0);
    let mut held = epochs.iter().filter(|(epoch, ..)| *epoch >= from);
    let last: Vec<_> =
        held.by_ref().take(SURVEY_MAX).map(|(epoch, _, last)| (Epoch(*epoch), Seq(*last))).collect();
    let to = held.next().and(last.last().map(|(epoch, _)| *epoch));
    SurveyRequest { session, from: Epoch(from), to, last }
}

/// Where the next page begins, if there is one.
pub fn next_page(asked: &SurveyRequest, survey: &Survey) -> Option<u64> {
    survey.next.map(|next| next.0).or(asked.to.map(|to| to.0 + 1))
}

impl Ledger {
    /// A session begins: only what the center refused for good is remembered.
    pub fn forget(&mut self) {
        *self = Self { aside: std::mem::take(&mut self.aside), ..Self::default() };
    }

    /// Does the center have it, or need it no more?
    pub fn has(&self, position: Position) -> bool {
        self.epochs.get(&position.epoch).is_some_and(|coverage| coverage.has(position.seq))
            || self.aside.contains(&(position.epoch, position.seq))
    }

    /// A receipt is the truth: what it says of an epoch replaces what was thought, also backwards. True: this epoch has
    /// just turned out to be a branch.
    pub fn learn(&mut self, receipt: &EpochReceipt, own: Own<'_>) -> bool {
        let epoch = receipt.epoch.0;
        let through = receipt.through.map(|seq| seq.0);
        if receipt.last().is_some() {
            self.newest = self.newest.max(Some(epoch));
        }
        let known = self.epochs.get(&epoch).and_then(|coverage| coverage.branch);
        let found = known.is_none() && own.differs(receipt);
        let branch = if found { Some(Branch::default()) } else { known };
        let have = receipt.have.iter().map(|(from, to)| (from.0, to.0)).collect();
        self.epochs.insert(epoch, Coverage { through, have, branch });
        found
    }

    /// Is the epoch a branch?
    pub fn is_branch(&self, epoch: u64) -> bool {
        self.epochs.get(&epoch).is_some_and(|coverage| coverage.branch.is_some())
    }

    /// The center keeps the branch's records up to here, beside the chain.
    pub fn kept_aside(&mut self, position: Position) {
        if let Some(branch) =
            self.epochs.get_mut(&position.epoch).and_then(|coverage| coverage.branch.as_mut())
        {
            branch.through = branch.through.max(Some(position.seq));
        }
    }

    /// If the gateway must not go on in the epoch it writes: above which one it may.
    pub fn must_rise(&self, written: u64) -> Option<u64> {
        let newest = self.newest?;
        let has_written =
            self.epochs.get(&written).is_some_and(|held| held.through.is_some() || !held.have.is_empty());
        let taken = self.is_branch(written) || (newest > written && !has_written);
        taken.then_some(newest.max(written))
    }

    /// The center refuses this one for good. False = too many are aside already.
    pub fn set_aside(&mut self, position: Position) -> bool {
        let room = self.aside.len() < ASIDE_MAX;
        if room {
            self.aside.insert((position.epoch, position.seq));
        }
        room
    }

    /// The oldest record of the chain that the center does not have, given the epochs of the journal.
    pub fn oldest_missing(&self, epochs: &[(u64, u64, u64)]) -> Option<Position> {
        self.first_missing(epochs, |epoch| !self.is_branch(epoch))
    }

    /// The oldest record of a branch that the center does not have.
    pub fn branch_missing(&self, epochs: &[(u64, u64, u64)]) -> Option<Position> {
        self.first_missing(epochs, |epoch| self.is_branch(epoch))
    }

    /// Numbers of the chain that the center lacks, whether the journal has them or not: (epoch, first, last), oldest first.
    /// Of the epochs of the journal all up to their ends; of those before them what `before`, the last record before the
    /// oldest in the journal, leads up to, and what the center has records behind.
    pub fn lacking(&self, epochs: &[(u64, u64, u64)], before: Option<Position>) -> Vec<(u64, u64, u64)> {
        let oldest = epochs.first().map_or(u64::MAX, |(epoch, ..)| *epoch);
        let known = self.epochs.range(..oldest).filter_map(|(epoch, held)| Some((*epoch, held.last()?)));
        let mut ends: BTreeMap<u64, u64> = known.collect();
        if let Some(before) = before {
            let end = ends.entry(before.epoch).or_insert(before.seq);
            *end = before.seq.max(*end);
        }
        ends.extend(epochs.iter().map(|(epoch, _, last)| (*epoch, *last)));
        ends.retain(|epoch, _| !self.is_branch(*epoch));
        let mut runs = Vec::new();
        for (epoch, end) in ends {
            let mut seq = 0;
            while runs.len() < LACKING_MAX
                && let Some(missing) = self.first_missing(&[(epoch, seq, end)], |_| true)
            {
                let last = self.run_to(missing).min(end);
                runs.push((epoch, missing.seq, last));
                seq = last.saturating_add(1);
            }
        }
        runs
    }

    /// The last number from this one on before the next that the center has or refuses.
    fn run_to(&self, from: Position) -> u64 {
        let have = self.epochs.get(&from.epoch).into_iter().flat_map(|held| &held.have);
        let have = have.map(|(first, _)| *first).find(|first| *first > from.seq);
        let aside = self.aside.range((from.epoch, from.seq + 1)..).next();
        let aside = aside.filter(|(epoch, _)| *epoch == from.epoch).map(|(_, seq)| *seq);
        have.into_iter().chain(aside).min().map_or(u64::MAX, |next| next - 1)
    }

    fn first_missing(&self, epochs: &[(u64, u64, u64)], of: impl Fn(u64) -> bool) -> Option<Position> {
        epochs.iter().filter(|(epoch, ..)| of(*epoch)).find_map(|(epoch, first, last)| {
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
        let missing = self.first_missing(epochs, |_| true);
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
    use proptest::prelude::*;

    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    fn hash(of: u8, position: Position) -> [u8; 32] {
        gateway_wire::hash(&[&[of][..], &position.epoch.to_be_bytes(), &position.seq.to_be_bytes()].concat())
    }

    fn receipt(epoch: u64, through: Option<u64>, have: &[(u64, u64)]) -> EpochReceipt {
        signed(0, epoch, through, have)
    }

    /// What a center says that has the records of disk `of`.
    fn signed(of: u8, epoch: u64, through: Option<u64>, have: &[(u64, u64)]) -> EpochReceipt {
        let ends = through.iter().copied().chain(have.iter().map(|(_, last)| *last));
        EpochReceipt {
            epoch: Epoch(epoch),
            through: through.map(Seq),
            have: have.iter().map(|(from, to)| (Seq(*from), Seq(*to))).collect(),
            ends: Some(ends.map(|seq| (Seq(seq), Fingerprint(hash(of, at(epoch, seq))))).collect()),
        }
    }

    const EPOCHS: [(u64, u64, u64); 2] = [(1, 0, 9), (2, 0, 5)];

    /// Every record of these epochs as disk `of` wrote it.
    fn hashes(of: u8, epochs: &[(u64, u64, u64)]) -> BTreeMap<Position, [u8; 32]> {
        let all = epochs.iter().flat_map(|(epoch, first, last)| (*first..=*last).map(|seq| at(*epoch, seq)));
        all.map(|position| (position, hash(of, position))).collect()
    }

    fn learn(ledger: &mut Ledger, receipts: &[EpochReceipt]) {
        let hashes = hashes(0, &EPOCHS);
        for receipt in receipts {
            ledger.learn(receipt, Own { epochs: &EPOCHS, hashes: &hashes, writing: true });
        }
    }

    #[test]
    fn what_is_missing_is_sent_oldest_first_and_ranges_are_skipped() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 0)));
        assert_eq!(ledger.through(&EPOCHS), None);
        learn(&mut ledger, &[receipt(1, Some(3), &[(4, 6), (8, 9)]), receipt(2, None, &[(3, 4)])]);
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 7)));
        assert_eq!(ledger.through(&EPOCHS), Some(at(1, 6)));
        learn(&mut ledger, &[receipt(1, Some(9), &[])]);
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(2, 0)));
        assert_eq!(ledger.through(&EPOCHS), Some(at(1, 9)));
        learn(&mut ledger, &[receipt(2, Some(5), &[])]);
        assert_eq!(ledger.oldest_missing(&EPOCHS), None);
        assert_eq!(ledger.through(&EPOCHS), Some(at(2, 5)));
        assert_eq!(ledger.must_rise(2), None);
    }

    #[test]
    fn a_receipt_may_take_back_what_was_thought() {
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(1, Some(9), &[]), receipt(2, Some(4), &[])]);
        assert!(ledger.has(at(1, 7)) && ledger.has(at(2, 4)) && !ledger.has(at(2, 5)));
        learn(&mut ledger, &[receipt(2, Some(1), &[])]);
        assert!(!ledger.has(at(2, 4)), "the center was restored from a backup");
        learn(&mut ledger, &[receipt(1, None, &[])]);
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 0)));
    }

    #[test]
    fn an_epoch_that_a_comparison_does_not_name_is_not_at_the_center() {
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(2, Some(5), &[])]);
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(1, 0)));
        assert_eq!(ledger.through(&EPOCHS), None);
    }

    #[test]
    fn what_the_center_lacks_is_found_also_where_the_journal_has_nothing_to_send() {
        let epochs = [(4, 7, 9), (6, 0, 5)];
        let mut ledger = Ledger::default();
        let own = Own { epochs: &epochs, hashes: &BTreeMap::new(), writing: true };
        let told =
            [receipt(2, Some(3), &[(6, 9)]), receipt(4, None, &[(2, 3), (5, 9)]), receipt(6, Some(5), &[])];
        for receipt in told {
            ledger.learn(&receipt, own);
        }
        assert_eq!(ledger.oldest_missing(&epochs), None, "nothing is left to send");
        assert_eq!(ledger.lacking(&epochs, None), [(2, 4, 5), (4, 0, 1), (4, 4, 4)]);
        assert_eq!(
            ledger.lacking(&epochs, Some(at(3, 8)))[1],
            (3, 0, 8),
            "a start names the epoch before it"
        );
        assert_eq!(ledger.lacking(&epochs, Some(at(2, 12)))[..2], [(2, 4, 5), (2, 10, 12)]);
        // What is refused for good is named by itself.
        ledger.set_aside(at(4, 4));
        assert_eq!(ledger.lacking(&epochs, None), [(2, 4, 5), (4, 0, 1)]);
        ledger.learn(&receipt(4, Some(9), &[]), own);
        ledger.learn(&receipt(2, Some(9), &[]), own);
        assert_eq!(ledger.lacking(&epochs, None), []);
    }

    #[test]
    fn what_is_set_aside_holds_up_nothing() {
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(1, Some(4), &[(6, 9)])]);
        assert!(ledger.set_aside(at(1, 5)));
        assert_eq!(ledger.oldest_missing(&EPOCHS), Some(at(2, 0)));
    }

    #[test]
    fn an_old_image_knows_that_its_numbers_are_taken() {
        // This disk was set back to the end of epoch 1; the one it was had gone on to 3.
        let mut ledger = Ledger::default();
        let theirs = [signed(0, 1, Some(9), &[]), signed(7, 2, Some(20), &[]), signed(7, 3, Some(2), &[])];
        // The last of them is beyond what this disk has, the comparison asks for the hash at its own last record.
        let mut asked = theirs.clone();
        asked[1].ends.as_mut().unwrap().push((Seq(5), Fingerprint(hash(7, at(2, 5)))));
        learn(&mut ledger, &asked);
        assert!(!ledger.is_branch(1) && ledger.is_branch(2));
        assert_eq!(ledger.must_rise(2), Some(3));
        assert_eq!(ledger.oldest_missing(&EPOCHS), None);
        assert_eq!(ledger.branch_missing(&EPOCHS), Some(at(2, 0)));
        assert_eq!(ledger.through(&EPOCHS), Some(at(1, 9)), "nothing of the branch is receipted");
        ledger.kept_aside(at(2, 5));
        assert_eq!(ledger.branch_missing(&EPOCHS), None);
        assert_eq!(ledger.through(&EPOCHS), Some(at(2, 5)));
    }

    #[test]
    fn a_clone_that_was_faster_is_noticed_in_an_ordinary_receipt() {
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(1, Some(9), &[]), receipt(2, Some(3), &[])]);
        assert_eq!(ledger.must_rise(2), None);
        // Somebody else wrote 4; our own 4 was never sent.
        let mut theirs = receipt(2, Some(4), &[]);
        theirs.ends = Some(vec![(Seq(4), Fingerprint(hash(7, at(2, 4))))]);
        learn(&mut ledger, &[theirs]);
        assert_eq!(ledger.must_rise(2), Some(2));
        // Or beyond what we have written at all.
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(2, Some(6), &[])]);
        assert_eq!(ledger.must_rise(2), Some(2));
    }

    #[test]
    fn an_epoch_that_is_ours_is_not_left_because_a_copy_went_above_it() {
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(1, Some(9), &[]), receipt(2, Some(5), &[]), signed(7, 4, Some(1), &[])]);
        assert_eq!(ledger.must_rise(2), None);
        // One of which the center has nothing yet is.
        let mut ledger = Ledger::default();
        learn(&mut ledger, &[receipt(1, Some(9), &[]), signed(7, 4, Some(1), &[])]);
        assert_eq!(ledger.must_rise(2), Some(4));
    }

    proptest! {
        /// Two disks that were the same up to a point: whatever parts of the other one the center has, nothing of ours
        /// counts as received whose number holds another record, and what is received is skipped.
        #[test]
        fn no_record_counts_as_received_under_a_number_that_is_taken(
            fork in 0_u64..12,
            through in prop::option::of(0_u64..12),
            ranges in prop::collection::btree_set(0_u64..6, 0..3),
            last in 0_u64..12,
        ) {
            let mine = |seq: u64| u8::from(seq >= fork);
            let theirs = |seq: u64| 2 * u8::from(seq >= fork);
            let epochs = [(1, 0, last), (2, 0, 0)];
            let hashes: BTreeMap<_, _> = (0..=last).map(|seq| (at(1, seq), hash(mine(seq), at(1, seq)))).collect();
            let start = through.map_or(0, |through| through + 2);
            let have: Vec<_> = ranges.iter().map(|n| (start + n * 3, start + n * 3 + 1)).collect();
            let held = |seq: u64| through.is_some_and(|through| seq <= through)
                || have.iter().any(|(from, to)| (*from..=*to).contains(&seq));
            let mut ends: Vec<u64> = through.into_iter().chain(have.iter().map(|(_, to)| *to)).collect();
            // The comparison asks for the hash at our own last record.
            if held(last) { ends.push(last); }
            let receipt = EpochReceipt {
                epoch: Epoch(1),
                through: through.map(Seq),
                have: have.iter().map(|(from, to)| (Seq(*from), Seq(*to))).collect(),
                ends: Some(ends.iter().map(|seq| (Seq(*seq), Fingerprint(hash(theirs(*seq), at(1, *seq))))).collect()),
            };
            let mut ledger = Ledger::default();
            ledger.learn(&receipt, Own { epochs: &epochs, hashes: &hashes, writing: true });
            for seq in 0..=last {
                let same = held(seq) && mine(seq) == theirs(seq);
                if ledger.has(at(1, seq)) {
                    prop_assert!(same, "{seq} is not ours at the center");
                }
                if !ledger.is_branch(1) {
                    prop_assert_eq!(ledger.has(at(1, seq)), held(seq));
                }
            }
        }
    }
}

//! What a sink will never get: the records that were evicted before it came to them.
//!
//! [`Follow`] notices holes in the numbers of the records; [`Gaps`] is the sink's durable list of them. At
//! [`GAPS_MAX`] entries the two oldest are told as one.

use gateway_journal::Position;
use gateway_model::Gap;
use serde::{Deserialize, Serialize};

/// Entries of a list: years of a sink that falls behind every day.
pub const GAPS_MAX: usize = 1_024;

/// A span that this sink did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Epoch of the records.
    pub epoch: u64,
    /// The first record.
    pub first: u64,
    /// The last record.
    pub last: u64,
    /// The point; `None` = every point of the site.
    pub point: Option<String>,
    /// From, ms since 1970, where the clock was known.
    pub from: Option<i64>,
    /// To, ms since 1970.
    pub to: Option<i64>,
    /// How many readings, once the journal's own gap record was seen.
    pub count: Option<u64>,
}

/// The list of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gaps(pub Vec<Missed>);

impl Gaps {
    /// Records are missing.
    pub fn missed(&mut self, missed: Missed) {
        match self.0.last_mut().filter(|last| last.epoch == missed.epoch && last.last + 1 == missed.first) {
            Some(last) => {
                (last.last, last.to) = (missed.last, missed.to.or(last.to));
                last.count = None;
            }
            None => self.0.push(missed),
        }
        if self.0.len() > GAPS_MAX {
            let first = self.0.remove(0);
            if let Some(second) = self.0.first_mut() {
                // Told as one: from the first record of the one to the last of the other.
                second.from = first.from.or(second.from);
                second.count = first.count.zip(second.count).map(|(a, b)| a + b);
                if first.epoch == second.epoch {
                    second.first = first.first;
                }
            }
        }
    }

    /// The journal says what was in records that are gone. True where this sink had missed some of them.
    pub fn explained(&mut self, gap: &Gap, civil: impl Fn(gateway_model::EngineTime) -> Option<i64>) -> bool {
        let Some((epoch, first, last)) = gap.records else { return false };
        let mut found = false;
        for missed in &mut self.0 {
            let apart = missed.epoch != epoch.0 || last.0 < missed.first || first.0 > missed.last;
            if apart || missed.count.is_some() && found {
                continue;
            }
            // A gap that covers more than was missed counts all of it: never too few.
            missed.count = Some(missed.count.unwrap_or(0) + gap.count);
            missed.from = missed.from.or_else(|| civil(gap.from));
            missed.to = missed.to.or_else(|| civil(gap.to));
            found = true;
        }
        found
    }
}

/// Notices what is missing between one record and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Follow {
    last: Option<Position>,
}

/// Records that are not there: epoch, first, last.
pub type Hole = (u64, u64, u64);

impl Follow {
    /// Goes on behind this record.
    pub fn behind(last: Option<Position>) -> Self {
        Self { last }
    }

    /// The next record that is there; `epochs` are the journal's own, `started_after` is what the first record of an epoch
    /// says about the one before. What is missing before it, oldest first.
    pub fn sees(
        &mut self,
        position: Position,
        epochs: &[(u64, u64, u64)],
        started_after: Option<(u64, u64)>,
    ) -> Vec<Hole> {
        let mut holes = Vec::new();
        let Some(last) = self.last.replace(position) else { return holes };
        if last.epoch == position.epoch {
            holes.extend((last.seq + 1 < position.seq).then(|| (last.epoch, last.seq + 1, position.seq - 1)));
            return holes;
        }
        let told = started_after.filter(|(epoch, _)| *epoch == last.epoch).map(|(_, seq)| seq);
        let listed = epochs.iter().find(|(epoch, ..)| *epoch == last.epoch).map(|(.., seq)| *seq);
        if let Some(end) = told.max(listed).filter(|end| *end > last.seq) {
            holes.push((last.epoch, last.seq + 1, end));
        }
        if let Some((epoch, end)) = started_after.filter(|(epoch, _)| *epoch > last.epoch) {
            holes.push((epoch, 0, end));
        }
        holes.extend((position.seq > 0).then(|| (position.epoch, 0, position.seq - 1)));
        holes
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{EngineTime, Epoch, GapCause, Seq};

    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    fn missed(first: u64, last: u64) -> Missed {
        Missed { epoch: 1, first, last, point: None, from: Some(1), to: Some(2), count: None }
    }

    #[test]
    fn holes_are_seen_within_an_epoch_and_between_two() {
        let mut follow = Follow::behind(Some(at(1, 4)));
        assert_eq!(follow.sees(at(1, 5), &[], None), []);
        assert_eq!(follow.sees(at(1, 9), &[], None), [(1, 6, 8)]);
        assert_eq!(follow.sees(at(2, 0), &[(1, 0, 9)], None), []);
        // The end of an epoch was evicted with everything that could tell, but the next one knows.
        let mut follow = Follow::behind(Some(at(1, 4)));
        assert_eq!(follow.sees(at(2, 0), &[], Some((1, 7))), [(1, 5, 7)]);
        let mut follow = Follow::behind(Some(at(1, 4)));
        assert_eq!(follow.sees(at(3, 2), &[(1, 0, 6)], None), [(1, 5, 6), (3, 0, 1)]);
        let mut follow = Follow::behind(Some(at(1, 4)));
        assert_eq!(follow.sees(at(3, 0), &[(1, 0, 4)], Some((2, 9))), [(2, 0, 9)]);
        assert_eq!(Follow::default().sees(at(7, 7), &[], None), [], "a sink that begins here misses nothing");
    }

    #[test]
    fn a_gap_record_says_what_was_missed() {
        let mut gaps = Gaps::default();
        gaps.missed(missed(5, 6));
        gaps.missed(missed(7, 9));
        assert_eq!(gaps.0.len(), 1, "neighbours are one");
        let gap = |first, last, count| Gap {
            point: None,
            from: EngineTime(0),
            to: EngineTime(9),
            count,
            cause: GapCause::Evicted,
            records: Some((Epoch(1), Seq(first), Seq(last))),
        };
        assert!(gaps.explained(&gap(4, 6, 120), |_| None));
        assert!(gaps.explained(&gap(7, 9, 60), |_| None));
        assert!(!gaps.explained(&gap(10, 12, 60), |_| None));
        assert_eq!(gaps.0[0].count, Some(180));
    }

    #[test]
    fn the_list_has_a_limit_and_forgets_nothing_at_it() {
        let mut gaps = Gaps::default();
        for n in 0..GAPS_MAX as u64 + 10 {
            gaps.missed(missed(n * 3, n * 3 + 1));
        }
        assert_eq!((gaps.0.len(), gaps.0[0].first), (GAPS_MAX, 0));
    }
}

//! Civil time of engine times, by what the gateway said of it (design §5).

use gateway_model::{CivilTime, EngineTime};

use crate::store::records::ClockRow;

/// What one gateway said of civil time, in the order it said it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClockTable(Vec<ClockRow>);

impl ClockTable {
    /// Rows in the order of (epoch, seq, item).
    pub fn new(rows: Vec<ClockRow>) -> Self {
        Self(rows)
    }

    /// Civil − engine at this engine time: the last word that covers it; before the first word, the first.
    /// `None` where the gateway never knew.
    pub fn offset_at(&self, at: EngineTime) -> Option<i64> {
        let known = || self.0.iter().filter(|row| row.known);
        known().rfind(|row| row.since <= at.0).or_else(|| known().next()).map(|row| row.offset_ms)
    }

    /// Civil − engine by its last word.
    pub fn offset_now(&self) -> Option<i64> {
        self.0.iter().rfind(|row| row.known).map(|row| row.offset_ms)
    }

    /// Civil time of an engine time; `fallback` is the offset to use where the gateway never knew.
    pub fn civil(&self, at: EngineTime, fallback: i64) -> CivilTime {
        at.civil(self.offset_at(at).unwrap_or(fallback))
    }

    /// Engine time of a civil time, by the last word.
    pub fn engine(&self, at: CivilTime) -> Option<EngineTime> {
        self.offset_now().map(|offset| EngineTime(at.0 - offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, since: i64, offset_ms: i64, known: bool) -> ClockRow {
        ClockRow { epoch: 1, seq, item: 0, since, offset_ms, known }
    }

    #[test]
    fn the_last_word_that_covers_a_time_holds() {
        let table = ClockTable::new(vec![row(1, 0, 10, true), row(2, 100, 20, true), row(3, 50, 30, true)]);
        let at = |at| table.offset_at(EngineTime(at));
        assert_eq!((at(-5), at(20), at(60), at(150)), (Some(10), Some(10), Some(30), Some(30)));
    }

    #[test]
    fn a_clock_that_is_not_known_says_nothing() {
        let table = ClockTable::new(vec![row(1, 0, 0, false)]);
        assert_eq!(table.offset_at(EngineTime(5)), None);
        assert_eq!(table.civil(EngineTime(5), 7), CivilTime(12));
    }
}

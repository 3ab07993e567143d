//! How much at once, and how soon again: bytes and records of a batch from what the line and the center take. Decisions
//! only; told how long things took.
//!
//! A batch is about as much as line and center take in [`BATCH_TIME`] (but at least [`BYTES_MIN`] or [`RECORDS_MIN`]), so that an
//! alert does not wait longer than that for its turn; a failure halves it. Small records are limited by their number: what each of
//! them costs the center is not in its bytes. The center's window limits them too; 0 means: wait and ask again.
//!
//! Some lines swallow packets above a size and tell nobody: nothing large gets through, however often it is tried. So a
//! second failure in a row goes below that minimum, and a third down to one record at a time. It grows again by doubling,
//! after some batches that got through; where the larger one does not, the smaller size is kept for longer each time. A
//! record that is larger than such a batch leaves in pieces ([`Pace::piece`]).

use std::time::Duration;

/// Bytes of one batch, at most.
pub const BYTES_MAX: usize = 512 * 1024;
/// Bytes of one batch, at least: one record goes, however large.
pub const BYTES_MIN: usize = 4 * 1024;
/// After a second failure in a row …
const BYTES_FEW: usize = 1024;
/// … and after a third: one record, with hardly more beside it.
const BYTES_LEAST: usize = 512;
/// So many full batches get through before twice as much is tried, below [`BYTES_MIN`] …
const TRY_AFTER: u32 = 8;
/// … and at most so many, where trying failed.
const TRY_AFTER_MAX: u32 = 1024;
/// Records of one batch, whatever the center's window allows.
pub const RECORDS_MAX: usize = 256;
/// Records of one batch, at least, where the center is slow.
const RECORDS_MIN: usize = 8;
/// What one batch may take of the line's time.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// A window of 0: asked again after so long.
pub const WINDOW_PAUSE: Duration = Duration::from_secs(5);

/// What is known of the line.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes: usize,
    /// What the center allows.
    window: usize,
    /// Less than that, where so many took too long, or were too many.
    records: usize,
    /// What an answer takes that carries next to nothing.
    round_trip: Duration,
    /// Failures since the last answer.
    failures: u32,
    /// The line is taken for one that swallows what is large.
    narrow: Option<Narrow>,
}

/// A line on which batches are below [`BYTES_MIN`].
#[derive(Debug, Clone)]
struct Narrow {
    /// Full batches that got through since their size was changed.
    through: u32,
    /// See [`TRY_AFTER`].
    try_after: u32,
}

impl Default for Pace {
    fn default() -> Self {
        // A slow line must not choke on the first batch; a fast one grows in a few.
        Self {
            bytes: 8 * 1024,
            window: RECORDS_MAX,
            records: RECORDS_MAX,
            round_trip: Duration::ZERO,
            failures: 0,
            narrow: None,
        }
    }
}

impl Pace {
    /// Bytes and records of the next batch; no records = wait for [`WINDOW_PAUSE`].
    pub fn next(&self) -> (usize, usize) {
        (self.bytes, self.window.min(self.records))
    }

    /// On a line that swallows what is large: bytes that may leave at once.
    pub fn piece(&self) -> Option<usize> {
        self.narrow.as_ref().map(|_| self.bytes)
    }

    /// The center answered a batch of so many bytes and records, and allows so much.
    pub fn answered(&mut self, window: u32, (bytes, records): (usize, usize), took: Duration) {
        let bytes_full = bytes * 2 >= self.bytes;
        let records_full = records > 0 && records * 2 >= self.next().1;
        self.window = (window as usize).min(RECORDS_MAX);
        self.failures = 0;
        if let Some(narrow) = &mut self.narrow {
            self.records = (self.records * 2).min(RECORDS_MAX);
            // A batch of one record that is larger than the credit is a full one too.
            narrow.through += u32::from(bytes_full);
            if narrow.through > 0 && self.bytes >= BYTES_MIN {
                self.narrow = None;
            } else if narrow.through >= narrow.try_after {
                self.bytes = (self.bytes * 2).min(BYTES_MIN);
                narrow.through = 0;
            }
            return;
        }
        // What is small says nothing of the line: its time is the round trip's.
        if !bytes_full && !records_full {
            self.round_trip = took;
            return;
        }
        let carrying = took.saturating_sub(self.round_trip).max(took / 4).max(Duration::from_millis(1));
        // At most twice as much, so that one lucky measurement does not fill the line for minutes.
        let carried = |sent: usize, limit: usize| {
            let carried = sent as f64 / carrying.as_secs_f64() * BATCH_TIME.as_secs_f64();
            (carried as usize).min(limit * 2)
        };
        if bytes_full {
            self.bytes = carried(bytes, self.bytes).clamp(BYTES_MIN, BYTES_MAX);
        }
        // Where bytes were the limit, more records may go.
        let more = (self.records * 2).min(RECORDS_MAX);
        self.records = if records_full {
            carried(records, self.records).clamp(RECORDS_MIN.min(more), RECORDS_MAX)
        } else {
            more
        };
    }

    /// A batch did not get through.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        match &mut self.narrow {
            None if self.failures == 1 => self.bytes = (self.bytes / 2).max(BYTES_MIN),
            None => {
                self.bytes = BYTES_FEW;
                self.narrow = Some(Narrow { through: 0, try_after: TRY_AFTER });
            }
            // This size gets through: the failure was another one's.
            Some(narrow) if self.failures == 1 && narrow.through > 0 => {}
            Some(narrow) => {
                if self.failures == 1 {
                    // More was tried, and was too much.
                    narrow.try_after = (narrow.try_after * 2).min(TRY_AFTER_MAX);
                }
                self.bytes = (self.bytes / 2).max(BYTES_LEAST);
                narrow.through = 0;
            }
        }
    }

    /// The center said that it was too much.
    pub fn too_large(&mut self) {
        self.failed();
        self.records = (self.records.min(self.window) / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_the_line_carries_in_a_quarter_of_a_second() {
        for (line, expected) in [(2_000.0, 4_096), (20_000.0, 5_000), (10e6, BYTES_MAX)] {
            let mut pace = Pace::default();
            for _ in 0..12 {
                let (bytes, _) = pace.next();
                pace.answered(256, (bytes, 1), Duration::from_secs_f64(bytes as f64 / line));
            }
            let (bytes, records) = pace.next();
            assert!((bytes as f64 / expected as f64 - 1.0).abs() < 0.05, "{line} B/s: {bytes}");
            assert_eq!(records, RECORDS_MAX);
        }
    }

    #[test]
    fn a_long_way_is_not_a_slow_line() {
        let mut pace = Pace::default();
        let way = Duration::from_millis(600);
        pace.answered(256, (0, 0), way);
        for _ in 0..12 {
            let (bytes, _) = pace.next();
            pace.answered(256, (bytes, 1), way + Duration::from_secs_f64(bytes as f64 / 1e6));
        }
        assert!(pace.next().0 > 200_000, "{}", pace.next().0);
    }

    #[test]
    fn many_small_records_are_as_many_as_the_center_takes_in_a_quarter_of_a_second() {
        for (a_second, expected) in [(4.0, RECORDS_MIN), (200.0, 50), (5_000.0, RECORDS_MAX)] {
            let mut pace = Pace::default();
            for _ in 0..12 {
                let (_, records) = pace.next();
                pace.answered(
                    256,
                    (records * 10, records),
                    Duration::from_secs_f64(records as f64 / a_second),
                );
            }
            assert_eq!(pace.next().1, expected, "{a_second} records a second");
        }
    }

    #[test]
    fn a_failure_halves_and_a_window_of_nothing_means_wait() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.failed();
            pace.answered(256, (0, 0), Duration::ZERO);
        }
        assert_eq!(pace.next().0, BYTES_MIN, "single failures");
        pace.answered(0, (BYTES_MIN, 1), Duration::from_millis(1));
        assert_eq!(pace.next(), (2 * BYTES_MIN, 0));
        pace.answered(1_000_000, (0, 0), Duration::from_secs(1));
        assert_eq!(pace.next().1, RECORDS_MAX, "our own limit stands");
        pace.too_large();
        assert_eq!(pace.next().1, RECORDS_MAX / 2);
    }

    /// A line that swallows every batch above `hole` bytes, for so many batches: how many got through, how many did not, and
    /// how large they were in the end.
    fn swallowing(pace: &mut Pace, hole: usize, batches: usize) -> (usize, usize, usize) {
        let (mut through, mut lost) = (0, 0);
        for _ in 0..batches {
            let (bytes, _) = pace.next();
            if bytes > hole {
                pace.failed();
                lost += 1;
            } else {
                pace.answered(256, (bytes, 1), Duration::from_millis(20));
                through += 1;
            }
        }
        (through, lost, pace.next().0)
    }

    #[test]
    fn a_line_that_swallows_what_is_large_gets_it_in_pieces() {
        for (hole, settled) in [(700, 512), (1_200, 1024), (3_000, 2048)] {
            let mut pace = Pace::default();
            let first = swallowing(&mut pace, hole, 4);
            assert!(first.0 >= 1, "{hole}: something gets through by the fourth attempt: {first:?}");
            let (_, lost, bytes) = swallowing(&mut pace, hole, 5_000);
            assert_eq!(bytes, settled, "{hole}");
            assert_eq!(pace.piece(), Some(settled), "a larger record leaves in pieces");
            assert!(lost <= 16, "{hole}: {lost} of 5,000 were tried in vain");
            // The line is good again.
            let (_, lost, _) = swallowing(&mut pace, usize::MAX, 3 * TRY_AFTER_MAX as usize + 10);
            assert_eq!(lost, 0);
            assert!(pace.next().0 > BYTES_MIN, "{}", pace.next().0);
            assert_eq!(pace.piece(), None);
        }
    }

    #[test]
    fn after_an_outage_it_is_soon_as_before() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            pace.failed();
        }
        assert_eq!(pace.next().0, BYTES_LEAST);
        swallowing(&mut pace, usize::MAX, 40);
        assert_eq!(pace.next().0, BYTES_MAX);
    }
}

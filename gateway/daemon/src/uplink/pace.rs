//! How much at once, and how soon again: bytes and records of a batch from what the line and the center take. Decisions
//! only; told how long things took.
//!
//! A batch is about as much as line and center take in [`BATCH_TIME`] (but at least [`BYTES_MIN`] or [`RECORDS_MIN`]), so that an
//! alert does not wait longer than that for its turn; a failure halves it. Small records are limited by their number: what each of
//! them costs the center is not in its bytes. The center's window limits them too; 0 means: wait and ask again.

use std::time::Duration;

/// Bytes of one batch, at most.
pub const BYTES_MAX: usize = 512 * 1024;
/// Bytes of one batch, at least: one record goes, however large.
pub const BYTES_MIN: usize = 4 * 1024;
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
}

impl Default for Pace {
    fn default() -> Self {
        // A slow line must not choke on the first batch; a fast one grows in a few.
        Self { bytes: 8 * 1024, window: RECORDS_MAX, records: RECORDS_MAX, round_trip: Duration::ZERO }
    }
}

impl Pace {
    /// Bytes and records of the next batch; no records = wait for [`WINDOW_PAUSE`].
    pub fn next(&self) -> (usize, usize) {
        (self.bytes, self.window.min(self.records))
    }

    /// The center answered a batch of so many bytes and records, and allows so much.
    pub fn answered(&mut self, window: u32, (bytes, records): (usize, usize), took: Duration) {
        let bytes_full = bytes * 2 >= self.bytes;
        let records_full = records > 0 && records * 2 >= self.next().1;
        self.window = (window as usize).min(RECORDS_MAX);
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
        self.bytes = (self.bytes / 2).max(BYTES_MIN);
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
    fn failures_halve_and_a_window_of_nothing_means_wait() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.failed();
        }
        assert_eq!(pace.next().0, BYTES_MIN);
        pace.answered(0, (BYTES_MIN, 1), Duration::from_millis(1));
        assert_eq!(pace.next(), (2 * BYTES_MIN, 0));
        pace.answered(1_000_000, (0, 0), Duration::from_secs(1));
        assert_eq!(pace.next().1, RECORDS_MAX, "our own limit stands");
        pace.too_large();
        assert_eq!(pace.next().1, RECORDS_MAX / 2);
    }
}

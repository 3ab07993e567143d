//! A metered line: how many bytes went over it this month, and what may still go.
//!
//! Promises: conclusions go at once, whatever was used, each with the inputs that led to it. Readings go in bundles, every
//! 5 min, each at most 1/800 of the month's budget; from 80 % of the budget on every 30 min; from 100 % on not before the
//! next month: they wait in the journal, by its rules. Orders and signs of life go on. Without a budget everything may go.
//!
//! Bodies are counted as they are. What HTTP, TLS and TCP add is estimated ([`on_the_wire`]), and whoever shows the sum
//! says so. Up to [`STORE_EVERY`] of it is forgotten by a crash.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_journal::Position;
use gateway_model::CivilTime;

use crate::state::PositionFile;

/// Budget of a metered line where the site file names none: bytes a month.
pub const BUDGET: u64 = 100_000_000;
/// Distance of bundles.
const BUNDLE_EVERY: Duration = Duration::from_mins(5);
/// The same from 80 % of the budget on.
const BUNDLE_SHORT: Duration = Duration::from_mins(30);
/// A bundle is at most this part of the budget: 125 kB of 100 MB.
const BUNDLE_PART: u64 = 800;
/// What is counted reaches the disk at least every so many bytes.
const STORE_EVERY: u64 = 64 * 1024;
/// Heads of request and answer with a fresh token, their frames, TLS records, acknowledgements: per call, estimated.
const CALL: u64 = 700;

/// Bytes of a call with bodies of so many bytes: 700 for heads and framing, and a sixteenth for TLS, TCP and IP.
pub fn on_the_wire(up: u64, down: u64) -> u64 {
    body(up + down) + CALL
}

fn body(bytes: u64) -> u64 {
    bytes + bytes / 16
}

/// How much of the budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Less than 80 %.
    Enough,
    /// 80 % or more.
    Short,
    /// All of it.
    Spent,
}

impl Level {
    /// What so much of so much is. No budget: always enough.
    pub fn of(used: u64, budget: Option<u64>) -> Self {
        match budget {
            Some(budget) if used >= budget => Self::Spent,
            Some(budget) if used >= budget / 5 * 4 => Self::Short,
            Some(_) | None => Self::Enough,
        }
    }

    /// As pages and metrics name it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Short => "short",
            Self::Spent => "spent",
        }
    }
}

/// When readings may go. Told the time since the process began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bundles {
    /// When the last one began.
    began: Option<Duration>,
    /// What it may still take.
    left: u64,
}

impl Bundles {
    /// Bytes of readings that may go now.
    pub fn allowance(&mut self, now: Duration, used: u64, budget: Option<u64>) -> u64 {
        let Some(budget) = budget else { return u64::MAX };
        let every = match Level::of(used, Some(budget)) {
            Level::Enough => BUNDLE_EVERY,
            Level::Short => BUNDLE_SHORT,
            Level::Spent => {
                self.left = 0;
                return 0;
            }
        };
        if self.began.is_none_or(|began| now.saturating_sub(began) >= every) {
            *self = Self { began: Some(now), left: budget / BUNDLE_PART };
        }
        self.left
    }

    /// So much of it went; nothing left to send ends it.
    pub fn sent(&mut self, bytes: u64) {
        self.left = if bytes == 0 { 0 } else { self.left.saturating_sub(bytes) };
    }
}

/// What went over the line this month.
#[derive(Debug)]
pub struct Meter {
    /// Bytes a month; `None` = not metered, only counted.
    pub budget: Option<u64>,
    used: AtomicU64,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    file: PositionFile,
    /// Months since year 0.
    month: u64,
    stored: u64,
}

impl Meter {
    /// Goes on where the file ends.
    pub fn new(budget: Option<u64>, file: PositionFile) -> Self {
        let Position { epoch: month, seq: used } = file.load().unwrap_or_default();
        let book = Mutex::new(Book { file, month, stored: used });
        Self { budget, used: AtomicU64::new(used), book }
    }

    /// Bytes this month.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How much of the budget that is.
    pub fn level(&self) -> Level {
        Level::of(self.used(), self.budget)
    }

    /// A call goes out: whatever becomes of it, it uses the line. A new month begins at zero; without a known date the
    /// old one goes on.
    pub fn out(&self, now: Option<CivilTime>, up: u64) {
        self.count(now, body(up) + CALL);
    }

    /// An answer came.
    pub fn back(&self, now: Option<CivilTime>, down: u64) {
        self.count(now, body(down));
    }

    fn count(&self, now: Option<CivilTime>, bytes: u64) {
        let mut book = self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(month) = now.and_then(month).filter(|month| *month != book.month) {
            book.month = month;
            book.stored = 0;
            self.used.store(0, Ordering::Relaxed);
        }
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used - book.stored >= STORE_EVERY || book.stored == 0 {
            book.stored = used;
            if let Err(error) = book.file.store(Position { epoch: book.month, seq: used }) {
                tracing::warn!(error = crate::chain(&error), "cannot note what went over the metered line");
            }
        }
    }
}

/// Months since year 0, in UTC.
fn month(at: CivilTime) -> Option<u64> {
    let date = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(jiff::tz::TimeZone::UTC).date();
    u64::try_from(i64::from(date.year()) * 12 + i64::from(date.month()) - 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn readings_go_in_bundles_and_less_often_when_the_budget_is_short() {
        let budget = Some(80_000);
        // A bundle of 100 bytes at most, whatever waits; how many in six hours?
        let bundles = |used: u64| {
            let mut bundles = Bundles::default();
            (0..360)
                .filter(|minute| {
                    let may = bundles.allowance(MINUTE * *minute, used, budget);
                    assert!(may == 0 || may == 100, "{may}");
                    bundles.sent(may);
                    may > 0
                })
                .count()
        };
        assert_eq!(bundles(0), 72);
        assert_eq!(bundles(63_999), 72);
        assert_eq!(bundles(64_000), 12);
        assert_eq!(bundles(80_000), 0);
        assert_eq!(Bundles::default().allowance(MINUTE, u64::MAX, None), u64::MAX);
        // A bundle in parts, and one with nothing to take.
        let mut parts = Bundles::default();
        parts.allowance(MINUTE, 0, budget);
        parts.sent(60);
        assert_eq!(parts.allowance(MINUTE * 2, 0, budget), 40);
        parts.sent(0);
        assert_eq!(parts.allowance(MINUTE * 3, 0, budget), 0);
    }

    #[test]
    fn a_month_begins_at_zero_and_the_count_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = || crate::state::DataDir::open(dir.path()).unwrap().position("line");
        let (june, july) = (CivilTime(1_782_777_600_000), CivilTime(1_782_864_000_000));
        let meter = Meter::new(Some(1_000_000), file());
        meter.out(Some(june), 16_000);
        assert_eq!(meter.used(), 17_700);
        meter.back(None, 900_000);
        assert_eq!((meter.used(), meter.level()), (973_950, Level::Short));
        assert_eq!(meter.used(), on_the_wire(16_000, 900_000));
        let meter = Meter::new(Some(1_000_000), file());
        assert_eq!(meter.used(), 973_950);
        meter.out(Some(june), 100_000);
        assert_eq!(meter.level(), Level::Spent);
        meter.out(Some(july), 0);
        assert_eq!((meter.used(), meter.level()), (CALL, Level::Enough));
    }
}

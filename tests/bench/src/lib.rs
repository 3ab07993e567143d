//! What the load programs share: spans of time on the command line, latencies, and what a process costs.
//!
//! The programs (`src/bin`) put load on something for a stated time and print one JSON object; people read the table that
//! `cargo xtask bench` makes of it. They measure; no figure of theirs is ever a test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub mod api;
pub mod engine;
pub mod gateway;
pub mod mqtt;

/// A span as people write it: `500ms`, `10s`, `5m`.
pub fn span(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(format!("`{text}` is no span of time: write 500ms, 10s or 5m")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no span of time"))?;
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

/// Buckets of a histogram: four to each doubling, from 1 µs to over a day.
const BUCKETS: usize = 148;

/// Latencies, counted in buckets 19 % wide: a percentile is right to that.
#[derive(Debug)]
pub struct Latencies {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], max_us: AtomicU64::new(0) }
    }
}

impl Latencies {
    /// One more.
    pub fn add(&self, latency: Duration) {
        let us = latency.as_micros().max(1) as u64;
        let bucket = ((us as f64).log2() * 4.0) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The latency that this share (0 to 1) stays within, µs: the upper end of its bucket, never above the greatest.
    pub fn within_us(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (n, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted && seen > 0 {
                let upper = ((n + 1) as f64 / 4.0).exp2().ceil() as u64;
                return upper.min(self.max_us());
            }
        }
        0
    }

    /// The greatest, µs.
    pub fn max_us(&self) -> u64 {
        self.max_us.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_bucket() {
        let latencies = Latencies::default();
        assert_eq!((latencies.within_us(0.5), latencies.max_us()), (0, 0));
        for us in 1..=1000 {
            latencies.add(Duration::from_micros(us));
        }
        assert_eq!((latencies.count(), latencies.max_us()), (1000, 1000));
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let told = latencies.within_us(share) as f64;
            assert!(told >= exact && told <= exact * 1.2, "{told} for {exact}");
        }
        assert_eq!(latencies.within_us(1.0), 1000);
    }

    #[test]
    fn spans() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("2m"), Ok(Duration::from_mins(2)));
        assert!(span("10").is_err() && span("s").is_err() && span("1h").is_err());
    }
}

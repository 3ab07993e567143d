//! One device's health: asked as planned, or only probed.
//!
//! After two requests in a row without a usable answer a device is only probed, at distances that double until probing takes
//! a hundredth of the line. A probe waits no longer than four times the longest answer the device ever gave.

use std::time::{Duration, Instant};

use crate::pause::{Backoff, Jitter};

/// After this many failed requests in a row a device is only probed.
const FAILURES_MAX: u32 = 2;
/// First distance between probes, real time.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// A probe may take this share of the line: one in a hundred.
const PROBE_SHARE: u32 = 100;
/// Distance between probes, at most, at speed 1.
const PROBE_LAST: Duration = Duration::from_mins(1);
/// The largest distance is never less.
const PROBE_LAST_MIN: Duration = Duration::from_secs(2);
/// How much longer than its longest answer a probe waits.
const PATIENCE: u32 = 4;
/// Added to it.
const PATIENCE_MIN: Duration = Duration::from_millis(50);

/// Share of the line that a device dead for long takes, at speed 1.
pub fn steady_share(patience: Duration) -> f64 {
    patience.as_secs_f64() / (last_distance(patience) + patience).as_secs_f64()
}

/// Distance between probes that wait for so long, in the end.
fn last_distance(patience: Duration) -> Duration {
    (patience * PROBE_SHARE).clamp(PROBE_LAST_MIN, PROBE_LAST)
}

/// What a report did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// From now on only probed.
    Opened,
    /// It answers again.
    Closed,
}

/// The breaker of one device.
#[derive(Debug)]
pub struct Breaker {
    limit: Duration,
    speed: f64,
    jitter: Jitter,
    failures: u32,
    open: Option<(Instant, Backoff)>,
    slowest: Option<Duration>,
}

impl Breaker {
    /// Closed. `limit` is how long a request may take; `speed` is that of the gateway's clock.
    pub fn new(limit: Duration, speed: f64, jitter: Jitter) -> Self {
        Self { limit, speed, jitter, failures: 0, open: None, slowest: None }
    }

    /// With this jitter from now on.
    pub fn jittered(&mut self, jitter: Jitter) {
        self.jitter = jitter;
    }

    /// Only probed?
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When to probe next; `None` while closed.
    pub fn probe_at(&self) -> Option<Instant> {
        self.open.as_ref().map(|(at, _)| *at)
    }

    /// Probe at the next chance.
    pub fn probe_now(&mut self, now: Instant) {
        if let Some((at, _)) = &mut self.open {
            *at = now;
        }
    }

    /// How long a probe waits.
    pub fn patience(&self) -> Duration {
        self.slowest.map_or(self.limit, |slowest| (slowest * PATIENCE + PATIENCE_MIN).min(self.limit))
    }

    /// The device answered, be it with a refusal, after so long.
    pub fn answered(&mut self, after: Option<Duration>) -> Change {
        self.failures = 0;
        self.slowest = self.slowest.max(after);
        if self.open.take().is_some() { Change::Closed } else { Change::None }
    }

    /// It did not, or not usably.
    pub fn failed(&mut self, now: Instant) -> Change {
        self.failures = self.failures.saturating_add(1);
        if let Some((at, backoff)) = &mut self.open {
            *at = now + backoff.pause();
            return Change::None;
        }
        if self.failures < FAILURES_MAX {
            return Change::None;
        }
        let last = last_distance(self.patience()).div_f64(self.speed).clamp(PROBE_LAST_MIN, PROBE_LAST);
        let mut backoff = Backoff::new(PROBE_FIRST, last).jittered(self.jitter);
        self.open = Some((now + backoff.pause(), backoff));
        Change::Opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_device_takes_about_a_hundredth_of_the_line() {
        let start = Instant::now();
        let limit = Duration::from_millis(500);
        let mut breaker = Breaker::new(limit, 1.0, Jitter::None);
        assert_eq!(breaker.failed(start), Change::None, "once is no pattern");
        let mut now = start + limit;
        assert_eq!(breaker.failed(now), Change::Opened);
        let mut spent = 2 * limit;
        while let Some(at) = breaker.probe_at().filter(|at| *at < start + Duration::from_mins(10)) {
            now = at + breaker.patience();
            spent += breaker.patience();
            assert_eq!(breaker.failed(now), Change::None);
        }
        let share = spent.as_secs_f64() / 600.0;
        assert!(share < 0.02, "{share}");
        assert_eq!(breaker.answered(Some(Duration::from_millis(30))), Change::Closed);
        assert_eq!(breaker.patience(), Duration::from_millis(170), "it is known how fast it is");
    }
}

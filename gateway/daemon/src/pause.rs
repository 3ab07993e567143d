//! Pauses between attempts: doubling, jittered, in real time.

use std::time::Duration;

/// How much a pause may differ from its nominal length, so that many gateways do not come back in step.
const JITTER: f64 = 0.25;

/// Doubling pauses from `first` to `last`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    nominal: Duration,
    jitter: Jitter,
}

/// Where the jitter of pauses comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// The system's randomness.
    Random,
    /// None: for tests in virtual time, where one gateway is alone and every run must be the same.
    None,
}

impl Backoff {
    /// Starts at `first`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, nominal: first, jitter: Jitter::Random }
    }

    /// With this jitter from now on.
    #[must_use]
    pub fn jittered(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The next pause, ± 25 % unless there is no jitter.
    pub fn pause(&mut self) -> Duration {
        let nominal = self.nominal;
        self.nominal = (nominal * 2).min(self.last);
        match self.jitter {
            Jitter::Random => nominal.mul_f64(1.0 + JITTER * unit_random()),
            Jitter::None => nominal,
        }
    }

    /// Success: the next pause is the first again.
    pub fn reset(&mut self) {
        self.nominal = self.first;
    }
}

/// −1 … 1. Without randomness from the system there is no jitter, which costs nothing here.
fn unit_random() -> f64 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return 0.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_limit_and_start_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for nominal in [1.0, 2.0, 4.0, 4.0] {
            let pause = backoff.pause().as_secs_f64();
            assert!((nominal * 0.75..=nominal * 1.25).contains(&pause), "{nominal}: {pause}");
        }
        backoff.reset();
        assert!(backoff.pause() < Duration::from_secs(2));
        let mut steady = backoff.jittered(Jitter::None);
        steady.reset();
        assert_eq!([steady.pause(), steady.pause()], [1, 2].map(Duration::from_secs));
    }
}

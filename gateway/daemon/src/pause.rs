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

/// How pauses of many who wait for the same thing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// ± 25 %, of the system's randomness.
    Random,
    /// Anything from a tenth to twice the nominal length: a whole fleet was cut off at the same moment.
    Wide,
    /// None: for tests in virtual time, where one gateway is alone and every run must be the same.
    None,
}

impl Jitter {
    /// A pause that somebody asked for, up to a quarter longer: others were asked for the same.
    pub fn at_least(self, asked: Duration) -> Duration {
        match self {
            Self::Random | Self::Wide => asked.mul_f64(1.0 + JITTER * (unit_random() + 1.0) / 2.0),
            Self::None => asked,
        }
    }
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

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let nominal = self.nominal;
        self.nominal = (nominal * 2).min(self.last);
        match self.jitter {
            Jitter::Random => nominal.mul_f64(1.0 + JITTER * unit_random()),
            Jitter::Wide => nominal.mul_f64(1.05 + 0.95 * unit_random()),
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
        let asked = Jitter::Wide.at_least(Duration::from_secs(8));
        assert!((8.0..=10.0).contains(&asked.as_secs_f64()), "{asked:?}");
        let mut steady = backoff.jittered(Jitter::None);
        steady.reset();
        assert_eq!([steady.pause(), steady.pause()], [1, 2].map(Duration::from_secs));
    }

    /// Ten thousand gateways lose their center at one moment and get it back after a minute.
    #[test]
    fn a_whole_fleet_does_not_come_back_in_step() {
        const FLEET: usize = 10_000;
        let mut first = [0_usize; 40];
        let mut back = vec![0_usize; 200];
        for _ in 0..FLEET {
            let mut backoff =
                Backoff::new(Duration::from_secs(2), Duration::from_mins(1)).jittered(Jitter::Wide);
            let mut at = Duration::ZERO;
            for attempt in 0.. {
                at += backoff.pause();
                if attempt == 0 {
                    first[at.as_millis() as usize / 100] += 1;
                }
                if at >= Duration::from_mins(1) {
                    back[at.as_secs() as usize - 60] += 1;
                    break;
                }
            }
        }
        let most = |slots: &[usize]| slots.iter().max().copied().unwrap();
        assert!(most(&first) < FLEET * 5 / 100, "in one tenth of a second: {first:?}");
        assert!(most(&back) < FLEET * 5 / 100, "in one second: {back:?}");
        assert_eq!(back.iter().sum::<usize>(), FLEET, "all of them within three minutes");
    }
}

//! What a probe fault makes of a value, second by second.

use super::ProbeFault;
use crate::noise;
use crate::signal::Probe;

/// One second in so many has a spike.
const SPIKE_EVERY: u64 = 10;

/// What stands between a true value and its instrument at second `n` of a fault that began at `since`. `was` is what stood
/// there before, `value` the true value, `seed` that of the signal.
#[must_use]
pub fn probe(fault: ProbeFault, was: Probe, value: f64, since: i64, n: i64, seed: u64) -> Probe {
    match fault {
        ProbeFault::Stuck => match was {
            Probe::Stuck(value) => Probe::Stuck(value),
            Probe::Sound | Probe::Open | Probe::Short | Probe::Offset(_) | Probe::Scale(_) => {
                Probe::Stuck(value)
            }
        },
        ProbeFault::Open => Probe::Open,
        ProbeFault::Short => Probe::Short,
        ProbeFault::Offset(by) => Probe::Offset(by),
        ProbeFault::Drift(per_hour) => Probe::Offset(per_hour * (n - since) as f64 / 3600.0),
        ProbeFault::Spike(by) if noise::mix(seed, n as u64).is_multiple_of(SPIKE_EVERY) => Probe::Offset(by),
        ProbeFault::Spike(_) => Probe::Sound,
        ProbeFault::WrongScale(factor) => Probe::Scale(factor),
    }
}

/// Does it change from second to second?
#[must_use]
pub const fn moves(fault: ProbeFault) -> bool {
    match fault {
        ProbeFault::Drift(_) | ProbeFault::Spike(_) => true,
        ProbeFault::Stuck
        | ProbeFault::Open
        | ProbeFault::Short
        | ProbeFault::Offset(_)
        | ProbeFault::WrongScale(_) => false,
    }
}

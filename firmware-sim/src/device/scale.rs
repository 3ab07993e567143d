//! Platform scale with its transmitter: settling, motion flag, tare, drift, overload, hundredths of a kilogram.

use super::{Quantity, Seat, Tick};
use crate::civil::DAY_S;
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order.
pub const QUANTITIES: &[Quantity] =
    &[("gross", "kg"), ("net", "kg"), ("tare", "kg"), ("unstable", ""), ("at-zero", ""), ("overload", "")];
/// Position of the net weight.
pub const NET: usize = 1;
/// Position of the tare.
pub const TARE: usize = 2;
/// Position of the motion flag.
pub const UNSTABLE: usize = 3;

/// Seconds a load swings after it was put on.
const SETTLING_S: i64 = 4;

/// See the module.
#[derive(Debug, Clone)]
pub struct Scale {
    /// What lies on the platform, kg.
    pub(crate) load: SignalIx,
    /// 1 when the tare key is down; 2 takes the tare off.
    pub(crate) key: SignalIx,
    pub(crate) seat: Seat,
    pub(crate) max_kg: f64,
    /// Its zero walks away by so much a day, kg.
    pub(crate) drift_kg_day: f64,
    pub(crate) last_load: f64,
    pub(crate) moved: i64,
    pub(crate) tare: f64,
}

/// Nearest hundredth.
fn division(kg: f64) -> f64 {
    libm::round(kg * 100.0) / 100.0
}

impl Scale {
    pub(crate) fn step(&mut self, tick: Tick, signals: &mut Signals) {
        let load = signals.value(self.load);
        if (load - self.last_load).abs() > 0.005 {
            self.moved = tick.n;
            self.last_load = load;
        }
        let since = tick.n - self.moved;
        let moving = since < SETTLING_S && self.moved > 0;
        let swing = if moving {
            (0.4 + 0.03 * load) * noise::swing(self.seat.seed, tick.n) / (since + 1) as f64
        } else {
            0.0
        };
        let drift = self.drift_kg_day * tick.n as f64 / DAY_S as f64;
        let gross = division((load + swing + drift).clamp(-1.0, self.max_kg * 1.05));
        let key = signals.value(self.key);
        if key > 1.5 {
            self.tare = 0.0;
        } else if key > 0.5 && !moving {
            self.tare = gross;
        }
        let values = [
            gross,
            division(gross - self.tare),
            self.tare,
            f64::from(u8::from(moving)),
            f64::from(u8::from(gross.abs() < 0.005)),
            f64::from(u8::from(gross > self.max_kg)),
        ];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), value);
        }
    }
}

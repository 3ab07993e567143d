//! Mains of a site, or one breaker of it: what is plugged into it goes out with it.
//!
//! An appliance names it as its `supply`; so do the endpoints and units that hang on the same breaker, and are silent then.

use super::{Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order.
pub const QUANTITIES: &[Quantity] = &[("on", ""), ("voltage", "V")];
/// Position of the signal others follow.
pub const ON: usize = 0;

/// What a scenario says of a supply.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Spans in which somebody has switched it off every day, seconds after midnight; a span may reach over midnight.
    pub off: Vec<(i64, i64)>,
    /// People miss these times by up to this many seconds either way.
    pub jitter: i64,
    /// Is it off on closed days?
    pub off_when_closed: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Supply {
    settings: Settings,
    seat: Seat,
}

impl Supply {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { settings, seat }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let on = !mishaps.has(Mishap::NoPower) && !self.is_switched_off(tick);
        let volts = 229.0 + 2.5 * noise::swing(self.seat.seed, tick.n / 60);
        signals.put(self.seat.signal(ON), f64::from(u8::from(on)));
        signals.put(self.seat.signal(1), if on { volts } else { 0.0 });
    }

    fn is_switched_off(&self, tick: Tick) -> bool {
        if tick.closed && self.settings.off_when_closed {
            return true;
        }
        let jitter = self.settings.jitter as f64;
        let day_seed = noise::mix(self.seat.seed, tick.day as u64);
        self.settings.off.iter().zip(0..).any(|((from, to), i)| {
            let from_now = from + (jitter * noise::swing(day_seed, 2 * i)) as i64;
            let to_now = to + (jitter * noise::swing(day_seed, 2 * i + 1)) as i64;
            if from < to {
                (from_now..to_now).contains(&tick.second)
            } else {
                tick.second >= from_now || tick.second < to_now
            }
        })
    }
}

//! Energy meter, fed by the appliance it measures.

use super::{Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order.
pub const QUANTITIES: &[Quantity] = &[
    ("voltage", "V"),
    ("current", "A"),
    ("power", "W"),
    ("apparent", "VA"),
    ("reactive", "var"),
    ("power-factor", ""),
    ("frequency", "Hz"),
    ("import", "kWh"),
    ("export", "kWh"),
    ("total", "kWh"),
];

/// See the module.
#[derive(Debug, Clone)]
pub struct Meter {
    pub(crate) of: SignalIx,
    pub(crate) seat: Seat,
    pub(crate) kwh: f64,
}

impl Meter {
    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let dead = mishaps.has(Mishap::NoPower);
        // The mains wander by the minute; the meter shows tenths of a volt.
        let volts = libm::round((229.0 + 2.5 * noise::swing(self.seat.seed, tick.n / 60)) * 10.0) / 10.0;
        let hertz =
            libm::round((50.0 + 0.03 * noise::swing(self.seat.seed ^ 1, tick.n / 60)) * 100.0) / 100.0;
        let watts = signals.value(self.of) * (volts / 230.0) * (volts / 230.0);
        let factor = if watts > 200.0 { 0.998 } else { 0.93 };
        let apparent = watts / factor;
        let reactive = libm::sqrt((apparent * apparent - watts * watts).max(0.0));
        self.kwh += if dead { 0.0 } else { watts / 3_600_000.0 };
        // Counters show hundredths of a kilowatt-hour.
        let shown = libm::floor(self.kwh * 100.0) / 100.0;
        let values = [
            volts,
            apparent / volts,
            watts,
            apparent,
            reactive,
            if watts > 0.0 { factor } else { 1.0 },
            hertz,
            shown,
            0.0,
            shown,
        ];
        // Without mains everything it measures is zero; its counters stand.
        let measured = if dead { 0..7 } else { 0..0 };
        for (i, value) in values.into_iter().enumerate() {
            let value = if measured.contains(&i) { 0.0 } else { value };
            signals.put(self.seat.signal(i), value);
        }
    }
}

//! Air of a room: air conditioning, humidity, pressure against the corridor, ozone of a lamp that burns in it.

use super::{Quantity, Seat, Tick, room_c};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order. The difference of pressure is against the corridor.
pub const QUANTITIES: &[Quantity] =
    &[("temperature", "°C"), ("humidity", "%"), ("difference", "Pa"), ("ozone", "ppm")];

/// The room follows its air conditioning, or the house, with this lag, s.
const ROOM_LAG_S: f64 = 1800.0;
/// Pressure follows the fan, or an open door, with this lag, s.
const PRESSURE_LAG_S: f64 = 8.0;
/// Ozone under a burning lamp goes up to this, ppm, and comes and goes with this lag, s.
const OZONE_PPM: f64 = 0.08;
const OZONE_LAG_S: f64 = 900.0;

/// What a scenario says of a room.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Air conditioning, °C.
    pub set_c: f64,
    /// Humidity at that temperature, %.
    pub humidity: f64,
    /// Pressure against the corridor while the fan runs, Pa.
    pub difference_pa: f64,
    /// The fan runs in these seconds of the day; always when empty.
    pub fan: Vec<(i64, i64)>,
    /// 1 while the door is open.
    pub door: Option<SignalIx>,
    /// 1 while a lamp burns.
    pub lamp: Option<SignalIx>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Air {
    settings: Settings,
    seat: Seat,
    celsius: f64,
    pascal: f64,
    ozone: f64,
}

impl Air {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { celsius: settings.set_c, pascal: settings.difference_pa, ozone: 0.01, settings, seat }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let is = |ix: Option<SignalIx>| ix.is_some_and(|ix| signals.value(ix) > 0.5);
        let hours = &settings.fan;
        let wanted = hours.is_empty() || hours.iter().any(|(from, to)| (*from..*to).contains(&tick.second));
        let fan = wanted && !mishaps.has(Mishap::NoPower);
        let open = is(settings.door) || mishaps.has(Mishap::DoorOpen);

        let aim_c = if fan { settings.set_c } else { room_c(tick.second) + 1.5 };
        let lag = if open { ROOM_LAG_S / 2.0 } else { ROOM_LAG_S };
        self.celsius += (aim_c - self.celsius) / lag;
        let aim_pa = match (fan, open) {
            (true, false) => settings.difference_pa,
            (true, true) => settings.difference_pa * 0.08,
            (false, _) => 0.0,
        };
        self.pascal += (aim_pa - self.pascal) / PRESSURE_LAG_S;
        let aim_ppm = if is(settings.lamp) { OZONE_PPM } else { 0.01 };
        self.ozone += (aim_ppm - self.ozone) / OZONE_LAG_S;
        // The same water in warmer air is less: some 6 % of the humidity a kelvin.
        let humidity = settings.humidity * libm::exp(-0.06 * (self.celsius - settings.set_c));
        let values = [
            self.celsius + 0.05 * noise::swing(seed, tick.n / 10),
            (humidity + 0.8 * noise::swing(seed ^ 1, tick.n / 60)).clamp(5.0, 99.0),
            self.pascal + 0.3 * noise::swing(seed ^ 2, tick.n),
            (self.ozone + 0.003 * noise::swing(seed ^ 3, tick.n / 30)).max(0.0),
        ];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), value);
        }
    }
}

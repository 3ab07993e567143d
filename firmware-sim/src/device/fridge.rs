//! Medicine fridge: compressor, contents, door, defrost, a probe in a buffer bottle.

use super::{Agenda, Quantity, Seat, Tick, room_c};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order.
pub const QUANTITIES: &[Quantity] =
    &[("temperature", "°C"), ("door", ""), ("power", "W"), ("compressor", ""), ("defrost", "")];

/// Warmth through the walls, s.
const WALL_LAG_S: f64 = 5400.0;
/// Warmth through the open door, s; and through one that is ajar.
const OPEN_LAG_S: f64 = 500.0;
const AJAR_LAG_S: f64 = 900.0;
/// Air follows the contents, contents the air, the bottle the air.
const AIR_LAG_S: f64 = 600.0;
const CONTENTS_LAG_S: f64 = 9000.0;
const BOTTLE_LAG_S: f64 = 90.0;
/// What the compressor takes out, K/s.
const COMPRESSOR_K_S: f64 = 0.012;

/// A defrost: the compressor stands and a heater warms the evaporator, K/s of the air, W, s.
const DEFROST_K_S: f64 = 0.0025;
const DEFROST_W: f64 = 160.0;
const DEFROST_S: i64 = 1200;

/// A fridge that goes warm is at this, °C…
const CROSSING_C: f64 = 12.1;
/// …this long after it began, s.
pub const CROSSING_S: i64 = 1200;
/// And ends up so much warmer still, K.
const BEYOND_K: f64 = 3.2;
/// The lag with which it does, s: no kink at the crossing.
const BEYOND_LAG_S: f64 = 480.0;

/// What a scenario says of a fridge.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Middle of the thermostat's band, °C.
    pub set_c: f64,
    /// A defrost so often, s; 0 for a fridge that never needs one.
    pub defrost_s: i64,
    /// Short openings a day, for medicine.
    pub openings: u32,
    /// People are there from…
    pub open_s: i64,
    /// …to, seconds after midnight.
    pub close_s: i64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Fridge {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<i64>,
    open_until: i64,
    air_c: f64,
    contents_c: f64,
    bottle_c: f64,
    compressor: bool,
    /// Second and temperature at which it began to go warm.
    warming: Option<(i64, f64)>,
}

impl Fridge {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        let start = settings.set_c;
        Self {
            settings,
            seat,
            agenda: Agenda::new(),
            open_until: 0,
            air_c: start,
            contents_c: start,
            bottle_c: start,
            compressor: false,
            warming: None,
        }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let day_seed = noise::mix(seed, day as u64);
            let openings = if tick.closed { 0 } else { i64::from(settings.openings) };
            (0..openings)
                .map(|i| {
                    let at = noise::pick(day_seed, 2 * i, settings.open_s, settings.close_s);
                    (at, noise::pick(day_seed, 2 * i + 1, 12, 35))
                })
                .collect()
        });
        if let Some(for_s) = due {
            self.open_until = tick.n + for_s;
        }
        let ajar = mishaps.has(Mishap::DoorOpen);
        let open = tick.n < self.open_until;
        let dead = mishaps.has(Mishap::NoPower) || mishaps.has(Mishap::CompressorOff);
        let defrost = self.settings.defrost_s;
        let defrosting =
            defrost > 0 && tick.n % defrost >= defrost - DEFROST_S && !mishaps.has(Mishap::NoPower);
        let set = self.settings.set_c;
        self.compressor = !dead
            && !defrosting
            && if self.compressor { self.air_c > set - 1.0 } else { self.air_c > set + 1.0 };

        let room = room_c(tick.second);
        let mut warmth = (room - self.air_c) / WALL_LAG_S + (self.contents_c - self.air_c) / AIR_LAG_S;
        if open {
            warmth += (room - self.air_c) / OPEN_LAG_S;
        } else if ajar {
            warmth += (room - self.air_c) / AJAR_LAG_S;
        }
        if self.compressor {
            warmth -= COMPRESSOR_K_S;
        }
        if defrosting {
            warmth += DEFROST_K_S;
        }
        self.contents_c += (self.air_c - self.contents_c) / CONTENTS_LAG_S;
        self.air_c += warmth;
        self.bottle_c += (self.air_c - self.bottle_c) / BOTTLE_LAG_S;
        if mishaps.has(Mishap::HeatGun) {
            self.bottle_c += super::heat_gun_k_s(self.bottle_c);
        }
        self.go_warm(tick, mishaps.has(Mishap::GoesWarm));

        signals.put(self.seat.signal(0), self.bottle_c + 0.015 * noise::swing(seed, tick.n));
        signals.put(self.seat.signal(1), f64::from(u8::from(open || ajar)));
        let watts = match (mishaps.has(Mishap::NoPower), self.compressor, defrosting) {
            (true, _, _) => 0.0,
            (false, true, _) => 85.0,
            (false, false, true) => DEFROST_W,
            (false, false, false) => 3.0,
        };
        signals.put(self.seat.signal(2), watts);
        signals.put(self.seat.signal(3), f64::from(u8::from(self.compressor)));
        signals.put(self.seat.signal(4), f64::from(u8::from(defrosting)));
    }

    /// The scripted incident: a curve, not physics, so that the crossing comes at its second whatever was before.
    fn go_warm(&mut self, tick: Tick, on: bool) {
        if !on {
            if self.warming.take().is_some() {
                // What was in it took less harm than the air: it is cold again within an hour.
                self.contents_c = self.contents_c.min(8.0);
            }
            return;
        }
        let (since, from) = *self.warming.get_or_insert((tick.n, self.bottle_c));
        let passed = tick.n - since;
        self.bottle_c = if passed <= CROSSING_S {
            from + (CROSSING_C - from) * passed as f64 / CROSSING_S as f64
        } else {
            CROSSING_C + BEYOND_K * (1.0 - libm::exp(-((passed - CROSSING_S) as f64) / BEYOND_LAG_S))
        };
        self.air_c = self.bottle_c;
        self.compressor = false;
    }
}

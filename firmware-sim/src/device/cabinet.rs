//! Disinfection cabinet: heating element, thermostat, door, load, sensor lag.
//!
//! A run: somebody opens the door and loads, closes, starts; the element heats until the sensor is at the set temperature,
//! the thermostat holds, the cabinet cools, somebody takes the cups out.

use super::{About, Agenda, Quantity, Seat, Tick, room_c};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order.
pub const QUANTITIES: &[Quantity] =
    &[("temperature", "°C"), ("door", ""), ("power", "W"), ("running", ""), ("loading", "")];
const TEMPERATURE: usize = 0;
const DOOR: usize = 1;
const POWER: usize = 2;
const RUNNING: usize = 3;
/// 1 while somebody puts cups in: whoever counts cups watches this.
pub const LOADING: usize = 4;

/// Heat capacity of air, walls and element, J/K.
const CHAMBER_J_K: f64 = 9000.0;
/// Heat capacity of cups, J/(kg K).
const CUPS_J_KG_K: f64 = 750.0;
/// Losses through the closed cabinet, W/K.
const LOSS_W_K: f64 = 6.0;
/// Further losses through the open door, W/K.
const DOOR_W_K: f64 = 60.0;
/// From air to cups, W/K for each kg of them.
const COUPLING_W_KG_K: f64 = 5.0;
/// The PT100 in its pocket follows with this lag, s.
const SENSOR_LAG_S: f64 = 25.0;
/// What is left of the element when it is nearly gone: the cabinet ends up below 80 °C.
const WEAK_SHARE: f64 = 0.24;
/// The cabinet's own timer gives up heating after this, s.
const GIVE_UP_S: i64 = 3600;
/// Fan and lamp while running, W.
const FAN_W: f64 = 35.0;
/// Set temperature of the drying program, °C: below 60 °C it is no disinfection.
const DRY_C: f64 = 55.0;
/// Holding time of the drying program, s.
const DRY_S: i64 = 1500;

/// One run of the day.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// When people come with the cups.
    pub about: About,
    /// Drying only.
    pub dry: bool,
}

/// What a scenario says of a cabinet.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Thermostat, °C.
    pub set_c: f64,
    /// Time at the set temperature, s.
    pub hold_s: i64,
    /// Element, W.
    pub heater_w: f64,
    /// Cups in a run, kg.
    pub load_kg: f64,
    /// The day.
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Loading { until: i64, dry: bool },
    Heating { since: i64, dry: bool },
    Holding { since: i64, dry: bool },
    Cooling { until: i64 },
    Unloading { until: i64 },
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cabinet {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<usize>,
    phase: Phase,
    chamber_c: f64,
    load_c: f64,
    sensor_c: f64,
    heater: bool,
}

impl Cabinet {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        let room = room_c(0);
        Self {
            settings,
            seat,
            agenda: Agenda::new(),
            phase: Phase::Idle,
            chamber_c: room,
            load_c: room,
            sensor_c: room,
            heater: false,
        }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let today = settings.runs.iter().enumerate().filter(|(_, run)| run.about.is_on(tick));
            today.map(|(i, run)| (run.about.draw(seed, day, i), i)).collect()
        });
        if let Some(run) = due
            && matches!(self.phase, Phase::Idle | Phase::Cooling { .. })
            && !mishaps.has(Mishap::Skip)
        {
            let dry = self.settings.runs[run].dry;
            self.phase = Phase::Loading { until: tick.n + noise::pick(seed, tick.n, 60, 150), dry };
        }
        let powered = !mishaps.has(Mishap::NoPower);
        self.turn_phase(tick, powered);
        let door = self.door(tick, mishaps);
        self.thermostat(powered);
        self.heat(tick, door, mishaps);

        let running = matches!(self.phase, Phase::Heating { .. } | Phase::Holding { .. });
        let heater_w = if self.heater { self.heater_w(mishaps) } else { 0.0 };
        let fan = if running && powered { FAN_W } else { 0.0 };
        let shown = self.sensor_c + 0.04 * noise::swing(seed, tick.n);
        signals.put(self.seat.signal(TEMPERATURE), shown);
        signals.put(self.seat.signal(DOOR), f64::from(u8::from(door)));
        signals.put(self.seat.signal(POWER), heater_w + fan);
        signals.put(self.seat.signal(RUNNING), f64::from(u8::from(running)));
        let loading = matches!(self.phase, Phase::Loading { .. });
        signals.put(self.seat.signal(LOADING), f64::from(u8::from(loading)));
    }

    fn heater_w(&self, mishaps: Mishaps) -> f64 {
        self.settings.heater_w * if mishaps.has(Mishap::WeakHeater) { WEAK_SHARE } else { 1.0 }
    }

    fn set_c(&self, dry: bool) -> f64 {
        if dry { DRY_C } else { self.settings.set_c }
    }

    fn turn_phase(&mut self, tick: Tick, powered: bool) {
        let cool = Phase::Cooling { until: tick.n + noise::pick(self.seat.seed, tick.n, 1500, 2400) };
        self.phase = match self.phase {
            Phase::Loading { until, dry } if tick.n >= until => Phase::Heating { since: tick.n, dry },
            Phase::Heating { .. } | Phase::Holding { .. } if !powered => cool,
            Phase::Heating { dry, .. } if self.sensor_c >= self.set_c(dry) - 0.5 => {
                Phase::Holding { since: tick.n, dry }
            }
            Phase::Heating { since, .. } if tick.n - since >= GIVE_UP_S => cool,
            Phase::Holding { since, dry }
                if tick.n - since >= if dry { DRY_S } else { self.settings.hold_s } =>
            {
                cool
            }
            Phase::Cooling { until } if tick.n >= until => {
                Phase::Unloading { until: tick.n + noise::pick(self.seat.seed, tick.n, 60, 120) }
            }
            Phase::Unloading { until } if tick.n >= until => Phase::Idle,
            same @ (Phase::Idle
            | Phase::Loading { .. }
            | Phase::Heating { .. }
            | Phase::Holding { .. }
            | Phase::Cooling { .. }
            | Phase::Unloading { .. }) => same,
        };
    }

    fn door(&self, tick: Tick, mishaps: Mishaps) -> bool {
        if mishaps.has(Mishap::DoorOpen) {
            return true;
        }
        match self.phase {
            // The last 20 s of loading are spent at the buttons, door closed.
            Phase::Loading { until, .. } => until - tick.n > 20,
            Phase::Unloading { .. } => true,
            Phase::Holding { since, .. } => {
                mishaps.has(Mishap::OpenedEarly) && (180..225).contains(&(tick.n - since))
            }
            Phase::Idle | Phase::Heating { .. } | Phase::Cooling { .. } => false,
        }
    }

    fn thermostat(&mut self, powered: bool) {
        self.heater = match self.phase {
            Phase::Heating { dry, .. } | Phase::Holding { dry, .. } if powered => {
                let set = self.set_c(dry);
                if self.heater { self.sensor_c < set + 0.5 } else { self.sensor_c < set - 0.5 }
            }
            Phase::Idle
            | Phase::Loading { .. }
            | Phase::Heating { .. }
            | Phase::Holding { .. }
            | Phase::Cooling { .. }
            | Phase::Unloading { .. } => false,
        };
    }

    fn heat(&mut self, tick: Tick, door: bool, mishaps: Mishaps) {
        let input = if self.heater { self.heater_w(mishaps) } else { 0.0 };
        let loss = LOSS_W_K + if door { DOOR_W_K } else { 0.0 };
        let kg = self.settings.load_kg;
        let into_load = COUPLING_W_KG_K * kg * (self.chamber_c - self.load_c);
        self.chamber_c += (input - loss * (self.chamber_c - room_c(tick.second)) - into_load) / CHAMBER_J_K;
        self.load_c += into_load / (CUPS_J_KG_K * kg);
        self.sensor_c += (self.chamber_c - self.sensor_c) / SENSOR_LAG_S;
        if mishaps.has(Mishap::HeatGun) {
            self.sensor_c += super::heat_gun_k_s(self.sensor_c);
        }
    }
}

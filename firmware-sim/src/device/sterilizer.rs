//! Small steam sterilizer, class B: three pre-vacuum pulses, heating, hold, exhaust, drying, air in; a load that failed is
//! run again, unless people use it all the same.
//!
//! Wherever there is only steam in the chamber, pressure is the saturation pressure of the temperature ([`crate::steam`]);
//! under vacuum the probe follows the jacket. Promises the order and shape of a real cycle, about 33 min long.

use super::{About, Agenda, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;
use crate::steam;

/// Signals, in order. Pressure is gauge.
pub const QUANTITIES: &[Quantity] = &[
    ("temperature", "°C"),
    ("pressure", "kPa"),
    ("door", ""),
    ("power", "W"),
    ("loading", ""),
    ("phase", ""),
    ("released", ""),
    ("good", ""),
    ("cycles", ""),
];
const TEMPERATURE: usize = 0;
const PRESSURE: usize = 1;
const DOOR: usize = 2;
const POWER: usize = 3;
/// 1 while somebody loads: whoever packs handpieces watches this.
pub const LOADING: usize = 4;
const PHASE: usize = 5;
/// Loads taken into use since the first midnight, good or not.
pub const RELEASED: usize = 6;
/// 1 if the last cycle ended as it should.
pub const GOOD: usize = 7;
const CYCLES: usize = 8;

const PULSES: u8 = 3;
/// Each pulse draws down to this, kPa absolute…
const VACUUM_KPA: f64 = 20.0;
/// …and lets steam in up to this.
const PULSE_KPA: f64 = 150.0;
/// The controller aims so far above the set temperature, K: the band of EN 13060 is 0…4.
const ABOVE_SET_K: f64 = 1.1;
/// The quick program that somebody picks by mistake: °C, s; steam in once, no vacuum, no drying.
const QUICK_C: f64 = 121.0;
const QUICK_S: i64 = 480;
/// The jacket keeps the chamber this warm between cycles, °C.
const JACKET_C: f64 = 48.0;
/// An aborting machine gives up so far below the set temperature, K.
const ABORT_BELOW_K: f64 = 6.0;
/// Hold of a cycle that is cut short, s.
const SHORT_S: i64 = 100;
/// How far air left in the load keeps the probe below the steam, K.
const COLD_SPOT_K: f64 = 3.5;
/// With a leaking seal the temperature stays below the set one by this, K.
const LEAK_BELOW_K: f64 = 1.2;
/// Drying under vacuum, s.
const DRYING_S: i64 = 540;
/// A leaking machine that does not reach its temperature gives up after this, s.
const GIVE_UP_S: i64 = 900;
/// After an abort people load again after this, s.
const AGAIN_S: i64 = 720;

/// What a scenario says of a sterilizer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Set temperature, °C: 134, or 121.
    pub set_c: f64,
    /// Time at temperature, s.
    pub hold_s: i64,
    /// When people come with the packs.
    pub runs: Vec<About>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Loading { until: i64 },
    Vacuum { pulse: u8, since: i64 },
    Steam { pulse: u8 },
    Heating { since: i64 },
    Holding { since: i64 },
    Exhaust { dry: bool },
    Drying { since: i64 },
    AirIn,
    Cooling { until: i64 },
    Unloading { until: i64 },
}

impl Phase {
    const fn number(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Loading { .. } => 1,
            Self::Vacuum { .. } => 2,
            Self::Steam { .. } => 3,
            Self::Heating { .. } => 4,
            Self::Holding { .. } => 5,
            Self::Exhaust { .. } => 6,
            Self::Drying { .. } => 7,
            Self::AirIn => 8,
            Self::Cooling { .. } => 9,
            Self::Unloading { .. } => 10,
        }
    }

    const fn is_steam(self) -> bool {
        matches!(self, Self::Steam { .. } | Self::Heating { .. } | Self::Holding { .. })
    }
}

/// What is to be remembered of the cycle that runs.
#[derive(Debug, Clone, Copy, Default)]
struct Cycle {
    /// Did anything stop it? Only then is it repeated.
    aborted: bool,
    /// Was the quick program chosen?
    quick: bool,
    /// Has it held for its whole time?
    held: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Sterilizer {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<usize>,
    phase: Phase,
    /// Second at which people load again after an abort.
    again: Option<i64>,
    cycle: Cycle,
    released: u32,
    good: bool,
    cycles: u32,
    kpa: f64,
    celsius: f64,
}

impl Sterilizer {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self {
            settings,
            seat,
            agenda: Agenda::new(),
            phase: Phase::Idle,
            again: None,
            cycle: Cycle::default(),
            released: 0,
            good: false,
            cycles: 0,
            kpa: steam::AMBIENT_KPA,
            celsius: JACKET_C,
        }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (runs, seed) = (&self.settings.runs, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let today = runs.iter().enumerate().filter(|(_, about)| about.is_on(tick));
            today.map(|(i, about)| (about.draw(seed, day, i), i)).collect()
        });
        let again = self.again.is_some_and(|at| tick.n >= at);
        if (due.is_some() || again)
            && matches!(self.phase, Phase::Idle)
            && !mishaps.has(Mishap::Skip)
            && !mishaps.has(Mishap::NoPower)
        {
            self.again = None;
            self.phase = Phase::Loading { until: tick.n + noise::pick(seed, tick.n, 150, 240) };
        }
        self.turn_phase(tick, mishaps);
        self.move_steam(tick, mishaps);

        let cold = if mishaps.has(Mishap::ColdSpot) && self.phase.is_steam() { COLD_SPOT_K } else { 0.0 };
        let door = match self.phase {
            Phase::Loading { until } => until - tick.n > 20,
            Phase::Unloading { .. } => true,
            Phase::Idle
            | Phase::Vacuum { .. }
            | Phase::Steam { .. }
            | Phase::Heating { .. }
            | Phase::Holding { .. }
            | Phase::Exhaust { .. }
            | Phase::Drying { .. }
            | Phase::AirIn
            | Phase::Cooling { .. } => false,
        };
        let watts = match self.phase {
            Phase::Steam { .. } | Phase::Heating { .. } => 2200.0,
            Phase::Holding { .. } => 900.0,
            Phase::Vacuum { .. } | Phase::Drying { .. } => 450.0,
            Phase::Idle
            | Phase::Loading { .. }
            | Phase::Exhaust { .. }
            | Phase::AirIn
            | Phase::Cooling { .. }
            | Phase::Unloading { .. } => 60.0,
        };
        let watts = if mishaps.has(Mishap::NoPower) { 0.0 } else { watts };
        let shown = self.celsius - cold + 0.04 * noise::swing(seed, tick.n);
        signals.put(self.seat.signal(TEMPERATURE), shown);
        signals.put(self.seat.signal(PRESSURE), self.kpa - steam::AMBIENT_KPA);
        signals.put(self.seat.signal(DOOR), f64::from(u8::from(door)));
        signals.put(self.seat.signal(POWER), watts);
        let loading = matches!(self.phase, Phase::Loading { .. });
        signals.put(self.seat.signal(LOADING), f64::from(u8::from(loading)));
        signals.put(self.seat.signal(PHASE), f64::from(self.phase.number()));
        signals.put(self.seat.signal(RELEASED), f64::from(self.released));
        signals.put(self.seat.signal(GOOD), f64::from(u8::from(self.good)));
        signals.put(self.seat.signal(CYCLES), f64::from(self.cycles));
    }

    /// What the program of this cycle is set to, °C.
    const fn set_c(&self) -> f64 {
        if self.cycle.quick { QUICK_C } else { self.settings.set_c }
    }

    fn turn_phase(&mut self, tick: Tick, mishaps: Mishaps) {
        let n = tick.n;
        let set_c = self.set_c();
        let stopped = mishaps.has(Mishap::NoPower);
        let leak = mishaps.has(Mishap::Leak);
        let full_s = if self.cycle.quick { QUICK_S } else { self.settings.hold_s };
        let hold_s = if mishaps.has(Mishap::ShortHold) { SHORT_S } else { full_s };
        // A leak keeps the pump from its mark: the machine goes on after three minutes.
        let drawn = |since: i64| self.kpa <= VACUUM_KPA || n - since >= 180;
        let next = match self.phase {
            Phase::Vacuum { .. } | Phase::Steam { .. } | Phase::Heating { .. } | Phase::Holding { .. }
                if stopped =>
            {
                Phase::Exhaust { dry: false }
            }
            Phase::Loading { until } if n >= until && mishaps.has(Mishap::WrongProgram) => {
                Phase::Steam { pulse: PULSES }
            }
            Phase::Loading { until } if n >= until => Phase::Vacuum { pulse: 1, since: n },
            Phase::Vacuum { pulse, since } if drawn(since) => Phase::Steam { pulse },
            Phase::Steam { pulse } if self.kpa >= PULSE_KPA => {
                if pulse < PULSES {
                    Phase::Vacuum { pulse: pulse + 1, since: n }
                } else {
                    Phase::Heating { since: n }
                }
            }
            Phase::Heating { .. } if mishaps.has(Mishap::Abort) && self.celsius >= set_c - ABORT_BELOW_K => {
                Phase::Exhaust { dry: false }
            }
            Phase::Heating { .. } if self.celsius >= set_c + ABOVE_SET_K - 0.5 && !leak => {
                Phase::Holding { since: n }
            }
            Phase::Heating { since } if n - since >= GIVE_UP_S => Phase::Exhaust { dry: false },
            Phase::Holding { since } if n - since >= hold_s => Phase::Exhaust { dry: !self.cycle.quick },
            Phase::Exhaust { dry } if self.kpa <= 108.0 => {
                if dry {
                    Phase::Drying { since: n }
                } else {
                    Phase::AirIn
                }
            }
            Phase::Drying { since } if n - since >= DRYING_S => Phase::AirIn,
            Phase::AirIn if (self.kpa - steam::AMBIENT_KPA).abs() < 1.0 => {
                Phase::Cooling { until: n + noise::pick(self.seat.seed, n, 180, 420) }
            }
            Phase::Cooling { until } if n >= until => {
                Phase::Unloading { until: n + noise::pick(self.seat.seed, n, 90, 150) }
            }
            Phase::Unloading { until } if n >= until => Phase::Idle,
            same @ (Phase::Idle
            | Phase::Loading { .. }
            | Phase::Vacuum { .. }
            | Phase::Steam { .. }
            | Phase::Heating { .. }
            | Phase::Holding { .. }
            | Phase::Exhaust { .. }
            | Phase::Drying { .. }
            | Phase::AirIn
            | Phase::Cooling { .. }
            | Phase::Unloading { .. }) => same,
        };
        self.note(next, hold_s >= full_s && !mishaps.has(Mishap::ColdSpot), mishaps, n);
        self.phase = next;
    }

    /// Keeps account of the cycle at the turn to its next phase; `whole`: does a hold that ends now count?
    fn note(&mut self, next: Phase, whole: bool, mishaps: Mishaps, n: i64) {
        match (self.phase, next) {
            (Phase::Loading { .. }, Phase::Vacuum { .. } | Phase::Steam { .. }) => {
                self.cycle = Cycle { quick: mishaps.has(Mishap::WrongProgram), ..Cycle::default() };
                self.cycles += 1;
            }
            (Phase::Holding { .. }, Phase::Exhaust { dry }) => {
                self.cycle.held = whole && dry;
                self.cycle.aborted = !dry && !self.cycle.quick;
            }
            (_, Phase::Exhaust { .. }) if !matches!(self.phase, Phase::Exhaust { .. }) => {
                self.cycle.aborted = true;
            }
            (Phase::Unloading { .. }, Phase::Idle) => {
                self.good = self.cycle.held;
                if self.cycle.aborted && !mishaps.has(Mishap::UseAnyway) {
                    self.again = Some(n + AGAIN_S);
                } else {
                    self.released += 1;
                }
                self.cycle.aborted = false;
            }
            _ => {}
        }
    }

    fn move_steam(&mut self, tick: Tick, mishaps: Mishaps) {
        let leak = mishaps.has(Mishap::Leak);
        let hold_c = self.set_c() + ABOVE_SET_K;
        let toward = |value: f64, aim: f64, lag_s: f64| value + (aim - value) / lag_s;
        match self.phase {
            Phase::Idle | Phase::Loading { .. } | Phase::Unloading { .. } | Phase::Cooling { .. } => {
                self.kpa = toward(self.kpa, steam::AMBIENT_KPA, 10.0);
                let lag = if matches!(self.phase, Phase::Unloading { .. }) { 400.0 } else { 1500.0 };
                self.celsius = toward(self.celsius, JACKET_C, lag);
            }
            Phase::Vacuum { .. } => {
                self.kpa = toward(self.kpa, if leak { 34.0 } else { 14.0 }, 38.0);
                self.celsius = toward(self.celsius, 82.0, 160.0);
            }
            Phase::Steam { .. } => {
                self.kpa += 1.9;
                self.celsius = toward(self.celsius, steam::temperature_c(self.kpa), 6.0);
            }
            Phase::Heating { .. } => {
                let top = if leak { self.set_c() - LEAK_BELOW_K } else { hold_c + 4.0 };
                self.celsius += ((top - self.celsius) / 90.0).clamp(0.0, 0.13);
                self.kpa = steam::pressure_kpa(self.celsius);
            }
            Phase::Holding { .. } => {
                // The valve hunts a little around the middle of the band.
                let hunt =
                    0.35 * libm::sin(tick.n as f64 / 6.0) + 0.1 * noise::swing(self.seat.seed, tick.n / 7);
                self.celsius = toward(self.celsius, hold_c + hunt, 4.0);
                self.kpa = steam::pressure_kpa(self.celsius);
            }
            Phase::Exhaust { .. } => {
                self.kpa = toward(self.kpa, steam::AMBIENT_KPA, 20.0);
                self.celsius = steam::temperature_c(self.kpa);
            }
            Phase::Drying { .. } => {
                self.kpa = toward(self.kpa, if leak { 34.0 } else { 11.0 }, 40.0);
                self.celsius = toward(self.celsius, 88.0, 300.0);
            }
            Phase::AirIn => {
                self.kpa = toward(self.kpa, steam::AMBIENT_KPA, 12.0);
                self.celsius = toward(self.celsius, 80.0, 300.0);
            }
        }
    }
}

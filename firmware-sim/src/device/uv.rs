//! Germicidal lamp: sessions, five minutes of warm-up, ageing, hours.

use super::{About, Agenda, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order. Irradiance is at 253.7 nm, 1 m below the lamp.
pub const QUANTITIES: &[Quantity] = &[("irradiance", "µW/cm²"), ("hours", "h"), ("on", ""), ("power", "W")];

/// What is left of the light of a dim lamp.
const DIM_SHARE: f64 = 0.68;
/// Loss of light per hour of use: 5 µW/cm² per half-year of 240 h (domain.md A.2).
const AGEING_PER_H: f64 = 0.02;

/// One session of the day.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// When it is switched on.
    pub about: About,
    /// How long, s.
    pub for_s: i64,
}

/// What a scenario says of a lamp.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When new, µW/cm².
    pub new_uw_cm2: f64,
    /// Hours on the lamp at the first midnight.
    pub hours: f64,
    /// The day.
    pub sessions: Vec<Session>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct UvLamp {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<usize>,
    /// On since and until.
    on: Option<(i64, i64)>,
    seconds: i64,
}

impl UvLamp {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { settings, seat, agenda: Agenda::new(), on: None, seconds: 0 }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (sessions, seed) = (&self.settings.sessions, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let today = sessions.iter().enumerate().filter(|(_, s)| s.about.is_on(tick));
            today.map(|(i, s)| (s.about.draw(seed, day, i), i)).collect()
        });
        if let Some(session) = due
            && !mishaps.has(Mishap::Skip)
        {
            self.on = Some((tick.n, tick.n + sessions[session].for_s));
        }
        // A lamp that went out with the mains does not come back by itself: somebody has to switch it on.
        self.on = self.on.filter(|(_, until)| tick.n < *until && !mishaps.has(Mishap::NoPower));
        let hours = self.settings.hours + self.seconds as f64 / 3600.0;
        let light = self.on.map_or(0.0, |(since, _)| {
            self.seconds += 1;
            // Half the light at once, the rest as the tube warms up.
            let warm = 1.0 - 0.5 * libm::exp(-((tick.n - since) as f64) / 75.0);
            let full = self.settings.new_uw_cm2 - AGEING_PER_H * hours;
            let share = if mishaps.has(Mishap::Dim) { DIM_SHARE } else { 1.0 };
            full * share * warm + 0.6 * noise::swing(seed, tick.n / 5)
        });
        signals.put(self.seat.signal(0), light.max(0.0));
        signals.put(self.seat.signal(1), hours);
        signals.put(self.seat.signal(2), f64::from(u8::from(self.on.is_some())));
        signals.put(self.seat.signal(3), if self.on.is_some() { 36.0 } else { 0.0 });
    }
}

//! A contact: a door of a room, or somebody in it. People come at random in their hours; an abandoned one stays open.

use super::{Agenda, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::Signals;

/// Signals, in order: 1 = open, or somebody there.
pub const QUANTITIES: &[Quantity] = &[("open", ""), ("openings", "")];
/// Position of the contact itself.
pub const OPEN: usize = 0;

/// What a scenario says of a contact.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Openings a day.
    pub openings: u32,
    /// Between these seconds of the day.
    pub between: (i64, i64),
    /// Shortest and longest, s.
    pub seconds: (i64, i64),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Contact {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<i64>,
    open_until: i64,
    openings: u32,
    was_open: bool,
}

impl Contact {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { settings, seat, agenda: Agenda::new(), open_until: 0, openings: 0, was_open: false }
    }

    pub(crate) fn step(&mut self, tick: Tick, mishaps: Mishaps, signals: &mut Signals) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let day_seed = noise::mix(seed, day as u64);
            let openings = if tick.closed { 0 } else { i64::from(settings.openings) };
            (0..openings)
                .map(|i| {
                    let at = noise::pick(day_seed, 2 * i, settings.between.0, settings.between.1);
                    (at, noise::pick(day_seed, 2 * i + 1, settings.seconds.0, settings.seconds.1))
                })
                .collect()
        });
        if let Some(for_s) = due {
            self.open_until = tick.n + for_s;
        }
        let open = tick.n < self.open_until || mishaps.has(Mishap::DoorOpen);
        self.openings += u32::from(open && !self.was_open);
        self.was_open = open;
        signals.put(self.seat.signal(OPEN), f64::from(u8::from(open)));
        signals.put(self.seat.signal(1), f64::from(self.openings));
    }
}

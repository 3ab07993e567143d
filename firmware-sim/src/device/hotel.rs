//! A hotel's day: occupied rooms, cups that come out of them, loads of the cabinets.
//!
//! Feeds (ours), each only if the scenario names its topic: occupied rooms in the morning, cups put into a cabinet, both
//! `{"v":1,"at":…,"count":…}`.

use super::{Agenda, Message, Quantity, Seat, Tick, counted};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order: rooms of today, and cups; loads since the first midnight.
pub const QUANTITIES: &[Quantity] =
    &[("occupied", ""), ("dirty-cups", ""), ("clean-cups", ""), ("loads", ""), ("undisinfected", "")];

/// Two cups a room.
const CUPS_A_ROOM: u32 = 2;
/// The night's occupancy is reported at seven.
const REPORT_S: i64 = 7 * 3600;

/// What a scenario says of a hotel day.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rooms.
    pub rooms: u32,
    /// Share that is occupied, give or take a tenth.
    pub occupancy: f64,
    /// Cups come out of the rooms between these seconds of the day.
    pub between: (i64, i64),
    /// Cups a cabinet takes.
    pub capacity: u32,
    /// 1 while somebody loads, of each cabinet.
    pub loading: Vec<SignalIx>,
    /// Topic of the occupied rooms.
    pub occupied_topic: Option<String>,
    /// Topic of the cups.
    pub cups_topic: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Report,
    Room,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HotelDay {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<Item>,
    occupied: u32,
    dirty: u32,
    clean: u32,
    loads: u32,
    undisinfected: u32,
    was_loading: Vec<bool>,
}

impl HotelDay {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        let clean = settings.rooms * CUPS_A_ROOM;
        Self {
            was_loading: vec![false; settings.loading.len()],
            settings,
            seat,
            agenda: Agenda::new(),
            occupied: 0,
            dirty: 0,
            clean,
            loads: 0,
            undisinfected: 0,
        }
    }

    fn rooms(settings: &Settings, seed: u64, tick: Tick) -> u32 {
        if tick.closed {
            return 0;
        }
        let share = settings.occupancy + 0.1 * noise::swing(seed, tick.day);
        libm::round(f64::from(settings.rooms) * share.clamp(0.0, 1.0)) as u32
    }

    pub(crate) fn step(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &mut Signals,
        out: &mut dyn FnMut(Message),
    ) {
        let (settings, seed) = (&self.settings, self.seat.seed);
        let due = self.agenda.due(tick, |day| {
            let day_seed = noise::mix(seed, day as u64);
            let (from, to) = settings.between;
            let rooms = Self::rooms(settings, seed, tick);
            let mut items: Vec<_> =
                (0..i64::from(rooms)).map(|i| (noise::pick(day_seed, i, from, to), Item::Room)).collect();
            items.push((REPORT_S, Item::Report));
            items
        });
        let talks = !mishaps.has(Mishap::FeedSilent);
        let mut publish = |topic: &Option<String>, count: u32| {
            if let Some(topic) = topic
                && talks
            {
                out(counted(tick, topic, count));
            }
        };
        match due {
            Some(Item::Report) => {
                self.occupied = Self::rooms(settings, seed, tick);
                publish(&settings.occupied_topic, self.occupied);
            }
            Some(Item::Room) => {
                self.dirty += CUPS_A_ROOM;
                // The room gets clean cups; when there are none, rinsed ones.
                let given = self.clean.min(CUPS_A_ROOM);
                self.clean -= given;
                self.undisinfected += CUPS_A_ROOM - given;
            }
            None => {}
        }
        for (loading, was) in settings.loading.iter().zip(&mut self.was_loading) {
            let now = signals.value(*loading) > 0.5;
            if now && !*was && self.dirty > 0 {
                let cups = self.dirty.min(settings.capacity);
                self.dirty -= cups;
                // They are on the shelf again after the run; nobody here looks whether it was a good one.
                self.clean += cups;
                self.loads += 1;
                publish(&settings.cups_topic, cups);
            }
            *was = now;
        }
        let values = [self.occupied, self.dirty, self.clean, self.loads, self.undisinfected];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), f64::from(value));
        }
    }
}

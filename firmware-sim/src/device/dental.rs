//! A dental clinic's day: visits, handpieces used, dirty, packed when somebody loads the sterilizer.
//!
//! Two feeds (ours): visits `{"v":1,"at":…,"count":1}`, packed `{"v":1,"at":…,"count":6}`. Counts only, no patient.

use super::{Agenda, Message, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order: totals since the first midnight, and the tray of used handpieces.
pub const QUANTITIES: &[Quantity] = &[("visits", ""), ("packed", ""), ("dirty", "")];

/// What a scenario says of a dental day.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Visits a day, give or take three.
    pub visits: u32,
    /// Half-days, seconds after midnight.
    pub hours: Vec<(i64, i64)>,
    /// Topic of the visits.
    pub visits_topic: String,
    /// Topic of the packed handpieces.
    pub packed_topic: String,
    /// 1 while somebody loads the sterilizer.
    pub loading: SignalIx,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct DentalDay {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<u32>,
    dirty: u32,
    visits: u32,
    packed: u32,
    was_loading: bool,
}

impl DentalDay {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self { settings, seat, agenda: Agenda::new(), dirty: 0, visits: 0, packed: 0, was_loading: false }
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
            let worked: i64 = settings.hours.iter().map(|(from, to)| to - from).sum();
            let visits = i64::from(settings.visits) + noise::pick(day_seed, -1, -3, 3);
            (0..visits.max(0))
                .map(|i| {
                    // One somewhere in each of the equal parts of the working time: appointments, not chance.
                    let part = worked as f64 / visits as f64;
                    let mut into = ((i as f64 + noise::share(noise::mix(day_seed, i as u64))) * part) as i64;
                    let mut at = 0;
                    for (from, to) in &settings.hours {
                        at = from + into;
                        if at < *to {
                            break;
                        }
                        into -= to - from;
                    }
                    // A handpiece each, two in every fourth treatment.
                    (at, if noise::pick(day_seed, 1000 + i, 0, 3) == 0 { 2 } else { 1 })
                })
                .collect()
        });
        let talks = !mishaps.has(Mishap::FeedSilent);
        let mut publish = |topic: &str, count: u32| {
            if talks {
                let payload = format!(r#"{{"v":1,"at":"{}","count":{count}}}"#, tick.text());
                out(Message { at: tick.at, topic: topic.to_owned(), payload });
            }
        };
        if let Some(handpieces) = due {
            self.visits += 1;
            self.dirty += handpieces;
            publish(&settings.visits_topic, 1);
        }
        let loading = signals.value(settings.loading) > 0.5;
        if loading && !self.was_loading && self.dirty > 0 {
            publish(&settings.packed_topic, self.dirty);
            self.packed += self.dirty;
            self.dirty = 0;
        }
        self.was_loading = loading;
        for (i, value) in [self.visits, self.packed, self.dirty].into_iter().enumerate() {
            signals.put(self.seat.signal(i), f64::from(value));
        }
    }
}

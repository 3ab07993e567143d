//! A dental clinic's day: appointments on chairs, handpieces that go out sterile, come back dirty, are packed, sterilized
//! and used again.
//!
//! Feeds (ours), all `{"v":1,"at":…,"count":…}`, counts only, no patient: visits; handpieces packed when somebody loads the
//! sterilizer; and if the scenario names their topics, handpieces used in a treatment and loads released for use.

use super::{Agenda, Message, Quantity, Seat, Tick, counted};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order: totals since the first midnight, and where the handpieces are now.
pub const QUANTITIES: &[Quantity] = &[
    ("visits", ""),
    ("packed", ""),
    ("dirty", ""),
    ("sterile", ""),
    ("in-sterilizer", ""),
    ("busy-chairs", ""),
    ("released", ""),
    ("used-unsterile", ""),
];

/// A treatment takes a chair for so long, s.
const TREATMENT_S: i64 = 1500;

/// What a scenario says of a dental day.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Visits a day, give or take three.
    pub visits: u32,
    /// Half-days, seconds after midnight.
    pub hours: Vec<(i64, i64)>,
    /// Chairs: more patients than chairs wait.
    pub chairs: u32,
    /// Handpieces there are.
    pub handpieces: u32,
    /// Handpieces a load takes.
    pub capacity: u32,
    /// Topic of the visits.
    pub visits_topic: String,
    /// Topic of the packed handpieces.
    pub packed_topic: String,
    /// Topic of the used handpieces.
    pub used_topic: Option<String>,
    /// Topic of the handpieces taken from the sterilizer for use.
    pub released_topic: Option<String>,
    /// 1 while somebody loads the sterilizer.
    pub loading: SignalIx,
    /// Its releases: loads taken into use, good or not, since the first midnight.
    pub releases: SignalIx,
    /// 1 if the last cycle was a good one.
    pub good: SignalIx,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct DentalDay {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<u32>,
    /// Patients waiting, by the handpieces their treatment takes.
    waiting: Vec<u32>,
    /// When each busy chair is free again.
    chairs: Vec<i64>,
    dirty: u32,
    sterile: u32,
    /// Among the sterile: taken from a load that was not good.
    doubtful: u32,
    inside: u32,
    visits: u32,
    packed: u32,
    released: u32,
    unsterile: u32,
    was_loading: bool,
    releases: f64,
}

impl DentalDay {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self {
            sterile: settings.handpieces,
            settings,
            seat,
            agenda: Agenda::new(),
            waiting: Vec::new(),
            chairs: Vec::new(),
            dirty: 0,
            doubtful: 0,
            inside: 0,
            visits: 0,
            packed: 0,
            released: 0,
            unsterile: 0,
            was_loading: false,
            releases: 0.0,
        }
    }

    pub(crate) fn step(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &mut Signals,
        out: &mut dyn FnMut(Message),
    ) {
        if let Some(handpieces) = self.due(tick) {
            self.waiting.push(handpieces);
        }
        let talks = !mishaps.has(Mishap::FeedSilent);
        let mut publish = |topic: Option<&String>, count: u32| {
            if let Some(topic) = topic.filter(|_| talks && count > 0) {
                out(counted(tick, topic, count));
            }
        };
        self.chairs.retain(|free_at| *free_at > tick.n);
        if self.chairs.len() < self.settings.chairs as usize && !self.waiting.is_empty() {
            let handpieces = self.waiting.remove(0);
            self.chairs.push(tick.n + TREATMENT_S);
            self.visits += 1;
            self.treat(handpieces);
            publish(Some(&self.settings.visits_topic), 1);
            publish(self.settings.used_topic.as_ref(), handpieces);
        }
        let loading = signals.value(self.settings.loading) > 0.5;
        if loading && !self.was_loading && self.dirty > 0 {
            let packed = self.dirty.min(self.settings.capacity.saturating_sub(self.inside));
            publish(Some(&self.settings.packed_topic), packed);
            self.packed += packed;
            self.dirty -= packed;
            self.inside += packed;
        }
        self.was_loading = loading;
        let releases = signals.value(self.settings.releases);
        if releases > self.releases {
            publish(self.settings.released_topic.as_ref(), self.inside);
            if signals.value(self.settings.good) < 0.5 {
                self.doubtful += self.inside;
            }
            self.released += self.inside;
            self.sterile += self.inside;
            self.inside = 0;
        }
        self.releases = releases;
        let values = [
            self.visits,
            self.packed,
            self.dirty,
            self.sterile,
            self.inside,
            self.chairs.len() as u32,
            self.released,
            self.unsterile,
        ];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), f64::from(value));
        }
    }

    /// The handpieces of the patient who comes now, if one does.
    fn due(&mut self, tick: Tick) -> Option<u32> {
        let (settings, seed) = (&self.settings, self.seat.seed);
        self.agenda.due(tick, |day| {
            let day_seed = noise::mix(seed, day as u64);
            let worked: i64 = settings.hours.iter().map(|(from, to)| to - from).sum();
            let visits = i64::from(settings.visits) + noise::pick(day_seed, -1, -3, 3);
            let visits = if tick.closed { 0 } else { visits.max(0) };
            (0..visits)
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
        })
    }

    /// Takes handpieces from the sterile ones; when those run out, a wiped one is used again.
    fn treat(&mut self, handpieces: u32) {
        let sterile = self.sterile.min(handpieces);
        let doubtful = self.doubtful.min(sterile);
        self.sterile -= sterile;
        self.doubtful -= doubtful;
        self.dirty += sterile;
        self.unsterile += doubtful + (handpieces - sterile);
    }
}

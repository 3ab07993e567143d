//! A waste room's day: bags come from the departments, are weighed and labelled, and leave with the collector at four.
//!
//! For each bag somebody puts the box on the scale, presses tare, puts the bag in, waits for the weight to stand still;
//! the label system publishes. Feeds (ours): bag `{"v":1,"at":…,"label":…,"category":…,"department":…,"kg":…}`, hand-over
//! `{"v":1,"at":…,"labels":[…],"kg":…,"to":…}`.

use super::{About, Agenda, Message, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order.
pub const QUANTITIES: &[Quantity] =
    &[("on-scale", "kg"), ("tare-key", ""), ("stored", ""), ("stored-weight", "kg"), ("bags", "")];
/// Position of what lies on the scale.
pub const ON_SCALE: usize = 0;
/// Position of the tare key.
pub const TARE_KEY: usize = 1;

/// The box that goes on the scale with every bag, kg.
const BOX_KG: f64 = 1.85;
/// A weighing: tare pressed, bag in, published at the earliest, all off again; seconds after the box was put on.
const TARE_AT: i64 = 7;
const BAG_AT: i64 = 11;
const PUBLISH_AT: i64 = 28;
const OFF_AT: i64 = 55;
/// What arrives in the store of a bag that loses weight on the way.
const ARRIVING: f64 = 0.65;
/// What is missing from a hand-over with lost weight, kg.
const LOST_KG: f64 = 2.4;
/// Bags in the store at most; beyond it the room is full and people keep bags on the ward.
const STORE_MAX: usize = 200;

/// Who brings how much of what: department, category, least and most kg, weight in the draw.
const SOURCES: [(&str, &str, f64, f64, i64); 8] = [
    ("内科", "841-001-01", 1.8, 4.6, 4),
    ("外科", "841-001-01", 1.5, 5.2, 4),
    ("妇产科", "841-001-01", 1.2, 4.0, 2),
    ("门诊", "841-001-01", 0.8, 2.6, 3),
    ("检验科", "841-002-01", 0.4, 1.6, 2),
    ("外科", "841-003-01", 0.3, 1.4, 1),
    ("急诊", "841-002-01", 0.3, 1.2, 2),
    ("药剂科", "841-005-01", 0.3, 0.9, 1),
];

/// What a scenario says of a waste day.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bags a day, give or take two.
    pub bags: u32,
    /// Rounds through the departments, seconds after midnight.
    pub rounds: Vec<(i64, i64)>,
    /// The collector.
    pub handover: About,
    /// Their name.
    pub to: String,
    /// Topic of the bags.
    pub bag_topic: String,
    /// Topic of the hand-overs.
    pub handover_topic: String,
    /// Topic of the bags as the wards weigh and label them; none where only the store has a scale.
    pub ward_topic: Option<String>,
    /// Net weight of the scale.
    pub net: SignalIx,
    /// Its motion flag.
    pub unstable: SignalIx,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Bag(u64),
    HandOver,
}

#[derive(Debug, Clone)]
struct Bag {
    label: String,
    kg: f64,
    forgotten: bool,
}

/// A bag on its way from the ward.
#[derive(Debug, Clone)]
struct Carried {
    draw: u64,
    /// Its label, where wards print them.
    label: Option<String>,
    /// Share of its weight that arrives.
    arrives: f64,
}

#[derive(Debug, Clone)]
struct Weighing {
    since: i64,
    bag: Carried,
    published: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct WasteDay {
    settings: Settings,
    seat: Seat,
    agenda: Agenda<Item>,
    waiting: Vec<Carried>,
    weighing: Option<Weighing>,
    store: Vec<Bag>,
    label_day: i64,
    labelled: u32,
    last_label: String,
    bags: u32,
    /// Has this span's bag been forgotten already?
    forgot: bool,
    handover_waits: bool,
}

impl WasteDay {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        Self {
            settings,
            seat,
            agenda: Agenda::new(),
            waiting: Vec::new(),
            weighing: None,
            store: Vec::new(),
            label_day: -1,
            labelled: 0,
            last_label: String::new(),
            bags: 0,
            forgot: false,
            handover_waits: false,
        }
    }

    pub(crate) fn step(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &mut Signals,
        out: &mut dyn FnMut(Message),
    ) {
        match self.due(tick) {
            Some(Item::Bag(draw)) if self.store.len() + self.waiting.len() < STORE_MAX => {
                self.collect(tick, draw, mishaps, out);
            }
            Some(Item::HandOver) if !mishaps.has(Mishap::NoCollector) => self.handover_waits = true,
            Some(Item::Bag(_) | Item::HandOver) | None => {}
        }
        if !mishaps.has(Mishap::ForgetBag) && self.forgot {
            self.forgot = false;
            for bag in &mut self.store {
                bag.forgotten = false;
            }
        }
        let talks = !mishaps.has(Mishap::FeedSilent);
        if self.weighing.is_none() && !self.waiting.is_empty() {
            let bag = self.waiting.remove(0);
            self.weighing = Some(Weighing { since: tick.n, bag, published: false });
        }
        let (load, key) = self.weigh(tick, mishaps, signals, talks, out);
        if self.handover_waits && self.weighing.is_none() {
            self.handover_waits = false;
            self.hand_over(tick, mishaps, talks, out);
        }
        let kg: f64 = self.store.iter().map(|bag| bag.kg).sum();
        let values = [load, key, self.store.len() as f64, kg, f64::from(self.bags)];
        for (i, value) in values.into_iter().enumerate() {
            signals.put(self.seat.signal(i), value);
        }
    }

    fn due(&mut self, tick: Tick) -> Option<Item> {
        let (settings, seed) = (&self.settings, self.seat.seed);
        self.agenda.due(tick, |day| {
            let day_seed = noise::mix(seed, day as u64);
            let bags = (i64::from(settings.bags) + noise::pick(day_seed, -1, -2, 2)).max(0) as usize;
            let bags = if tick.closed { 0 } else { bags };
            let mut items: Vec<_> = (0..bags)
                .map(|i| {
                    let (from, to) = settings.rounds[i % settings.rounds.len()];
                    let draw = noise::mix(day_seed, 100 + i as u64);
                    (from + (noise::share(draw) * (to - from) as f64) as i64, Item::Bag(draw))
                })
                .collect();
            if settings.handover.is_on(tick) {
                items.push((settings.handover.draw(day_seed, day, 0), Item::HandOver));
            }
            items
        })
    }

    /// What lies on the scale and which key is down.
    fn weigh(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &Signals,
        talks: bool,
        out: &mut dyn FnMut(Message),
    ) -> (f64, f64) {
        let Some(weighing) = self.weighing.take() else { return (0.0, 0.0) };
        let passed = tick.n - weighing.since;
        if passed >= OFF_AT {
            return (0.0, 2.0);
        }
        let (department, category, full_kg) = contents(weighing.bag.draw);
        let kg = full_kg * weighing.bag.arrives;
        let mut weighing = weighing;
        if passed >= PUBLISH_AT && !weighing.published && signals.value(self.settings.unstable) < 0.5 {
            let net = signals.value(self.settings.net);
            let printed = weighing.bag.label.take();
            let label = printed.unwrap_or_else(|| self.label(tick, mishaps.has(Mishap::DuplicateLabel)));
            if talks {
                let payload = labelled(tick, &label, category, department, net);
                out(Message { at: tick.at, topic: self.settings.bag_topic.clone(), payload });
            }
            let forgotten = mishaps.has(Mishap::ForgetBag) && !self.forgot;
            self.forgot |= forgotten;
            self.store.push(Bag { label, kg: net, forgotten });
            self.bags += 1;
            weighing.published = true;
        }
        self.weighing = Some(weighing);
        let key = if passed == TARE_AT { 1.0 } else { 0.0 };
        (if passed < BAG_AT { BOX_KG } else { BOX_KG + kg }, key)
    }

    /// A bag is ready on a ward: weighed and labelled there, if the wards do that, and carried to the store.
    fn collect(&mut self, tick: Tick, draw: u64, mishaps: Mishaps, out: &mut dyn FnMut(Message)) {
        let mut label = None;
        if let Some(topic) = self.settings.ward_topic.clone() {
            let (department, category, kg) = contents(draw);
            let printed = self.label(tick, mishaps.has(Mishap::DuplicateLabel));
            if !mishaps.has(Mishap::FeedSilent) {
                let payload = labelled(tick, &printed, category, department, kg);
                out(Message { at: tick.at, topic, payload });
            }
            label = Some(printed);
        }
        let arrives = if mishaps.has(Mishap::LostInside) { ARRIVING } else { 1.0 };
        self.waiting.push(Carried { draw, label, arrives });
    }

    fn label(&mut self, tick: Tick, duplicate: bool) -> String {
        if duplicate && !self.last_label.is_empty() {
            return self.last_label.clone();
        }
        if self.label_day != tick.day {
            self.label_day = tick.day;
            self.labelled = 0;
        }
        self.labelled += 1;
        let (year, month, day) = tick.at.date(tick.utc_offset_min);
        self.last_label = format!("MW-{year:04}{month:02}{day:02}-{:04}", self.labelled);
        self.last_label.clone()
    }

    fn hand_over(&mut self, tick: Tick, mishaps: Mishaps, talks: bool, out: &mut dyn FnMut(Message)) {
        let (stays, goes): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.store).into_iter().partition(|b| b.forgotten);
        self.store = stays;
        if goes.is_empty() || !talks {
            return;
        }
        let lost = if mishaps.has(Mishap::WeightLost) { LOST_KG } else { 0.0 };
        // The collector's scale is another one: a few hundredths off.
        let off = 0.05 * noise::swing(self.seat.seed, tick.day);
        let kg = (goes.iter().map(|bag| bag.kg).sum::<f64>() + off - lost).max(0.0);
        let labels: Vec<_> = goes.iter().map(|bag| format!("\"{}\"", bag.label)).collect();
        let payload = format!(
            r#"{{"v":1,"at":"{}","labels":[{}],"kg":{kg:.2},"to":{}}}"#,
            tick.text(),
            labels.join(","),
            serde_json::Value::from(self.settings.to.as_str())
        );
        out(Message { at: tick.at, topic: self.settings.handover_topic.clone(), payload });
    }
}

/// A bag as our feeds write it.
fn labelled(tick: Tick, label: &str, category: &str, department: &str, kg: f64) -> String {
    format!(
        r#"{{"v":1,"at":"{}","label":"{label}","category":"{category}","department":"{department}","kg":{kg:.2}}}"#,
        tick.text()
    )
}

/// Department, category and kg of a drawn bag.
fn contents(draw: u64) -> (&'static str, &'static str, f64) {
    let (department, category, least, most) = source(draw);
    (department, category, least + (most - least) * noise::share(noise::mix(draw, 1)))
}

/// Department, category, least and most kg of a drawn bag.
fn source(draw: u64) -> (&'static str, &'static str, f64, f64) {
    let total: i64 = SOURCES.iter().map(|s| s.4).sum();
    let mut place = noise::pick(draw, 2, 0, total - 1);
    for (department, category, least, most, weight) in SOURCES {
        if place < weight {
            return (department, category, least, most);
        }
        place -= weight;
    }
    let (department, category, least, most, _) = SOURCES[0];
    (department, category, least, most)
}

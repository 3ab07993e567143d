//! The devices of a scenario: their settings checked, in the order in which they are stepped.

use toml::Spanned;

use super::build::Builder;
use super::file::{self, File};
use crate::civil::{Span, TimeOfDay};
use crate::device::air::{self, Air};
use crate::device::cabinet::{self, Cabinet};
use crate::device::contact::{self, Contact};
use crate::device::dental::{self, DentalDay};
use crate::device::fridge::{self, Fridge};
use crate::device::hotel::{self, HotelDay};
use crate::device::meter::{self, Meter};
use crate::device::radio::{self, Radio};
use crate::device::scale::{self, Scale};
use crate::device::sterilizer::{self, Sterilizer};
use crate::device::supply::{self, Supply};
use crate::device::uv::{self, UvLamp};
use crate::device::waste::{self, WasteDay};
use crate::device::water::{self, Water};
use crate::device::{About, Device, NAMED_DAYS_MAX, Seat};
use crate::signal::SignalIx;

fn pair([from, to]: [TimeOfDay; 2]) -> (i64, i64) {
    (from.0, to.0)
}

fn pairs(list: &[[TimeOfDay; 2]]) -> Vec<(i64, i64)> {
    list.iter().copied().map(pair).collect()
}

impl Builder {
    /// All signals first: devices may then refer to each other in any order.
    pub(super) fn seats(&mut self, file: &File) {
        let ids = file.cabinet.iter().map(|d| (&d.id, cabinet::QUANTITIES));
        let ids = ids.chain(file.sterilizer.iter().map(|d| (&d.id, sterilizer::QUANTITIES)));
        let ids = ids.chain(file.uv_lamp.iter().map(|d| (&d.id, uv::QUANTITIES)));
        let ids = ids.chain(file.fridge.iter().map(|d| (&d.id, fridge::QUANTITIES)));
        let ids = ids.chain(file.meter.iter().map(|d| (&d.id, meter::QUANTITIES)));
        let ids = ids.chain(file.waste_day.iter().map(|d| (&d.id, waste::QUANTITIES)));
        let ids = ids.chain(file.scale.iter().map(|d| (&d.id, scale::QUANTITIES)));
        let ids = ids.chain(file.dental_day.iter().map(|d| (&d.id, dental::QUANTITIES)));
        let ids = ids.chain(file.hotel_day.iter().map(|d| (&d.id, hotel::QUANTITIES)));
        let ids = ids.chain(file.supply.iter().map(|d| (&d.id, supply::QUANTITIES)));
        let ids = ids.chain(file.contact.iter().map(|d| (&d.id, contact::QUANTITIES)));
        let ids = ids.chain(file.air.iter().map(|d| (&d.id, air::QUANTITIES)));
        let ids = ids.chain(file.water.iter().map(|d| (&d.id, water::QUANTITIES)));
        let ids = ids.chain(file.radio.iter().map(|d| (&d.id, radio::QUANTITIES)));
        for (id, quantities) in ids {
            self.seat(id, quantities);
        }
    }

    /// The order is that of stepping: mains first, people before what they use, appliances before what measures them, and
    /// radios, which read everything, last.
    pub(super) fn devices(&mut self, file: &File) {
        for d in &file.supply {
            let settings = supply::Settings {
                off: pairs(&d.off),
                jitter: d.jitter.seconds(),
                off_when_closed: d.off_when_closed,
            };
            self.push(&d.id, "supply", None, |seat| Device::Supply(Supply::new(settings, seat)));
        }
        for d in &file.contact {
            let [least, most] = d.stay.map(Span::seconds);
            let settings =
                contact::Settings { openings: d.openings, between: pair(d.between), seconds: (least, most) };
            self.push(&d.id, "contact", None, |seat| Device::Contact(Contact::new(settings, seat)));
        }
        self.waste(file);
        self.appliances(file);
        self.days(file);
        self.probes(file);
    }

    fn waste(&mut self, file: &File) {
        for d in &file.waste_day {
            let net = self.quantity(&d.scale, scale::QUANTITIES[scale::NET].0);
            let unstable = self.quantity(&d.scale, scale::QUANTITIES[scale::UNSTABLE].0);
            let settings = waste::Settings {
                bags: d.bags,
                rounds: self.hours(&d.rounds),
                handover: self.about(d.handover.at, d.handover.jitter, d.handover.days.as_ref()),
                to: d.to.clone(),
                bag_topic: d.bag_topic.clone(),
                handover_topic: d.handover_topic.clone(),
                ward_topic: d.ward_topic.clone(),
                net,
                unstable,
            };
            self.push(&d.id, "waste-day", None, |seat| Device::WasteDay(WasteDay::new(settings, seat)));
        }
        for d in &file.scale {
            let load = self.quantity(&d.load, waste::QUANTITIES[waste::ON_SCALE].0);
            let key = self.quantity(&d.load, waste::QUANTITIES[waste::TARE_KEY].0);
            self.scales.push((d.id.get_ref().clone(), d.max_kg));
            let (max_kg, drift_kg_day) = (f64::from(d.max_kg), d.drift_kg_day);
            self.push(&d.id, "scale", None, |seat| {
                Device::Scale(Scale {
                    load,
                    key,
                    seat,
                    max_kg,
                    drift_kg_day,
                    last_load: 0.0,
                    moved: 0,
                    tare: 0.0,
                })
            });
        }
    }

    fn appliances(&mut self, file: &File) {
        for d in &file.cabinet {
            if !(0.1..=50.0).contains(d.load_kg.get_ref()) {
                self.problems.at(d.load_kg.span(), "a cabinet takes 0.1 to 50 kg of cups".to_owned());
            }
            let run = |r: &file::Run| (r.at, r.jitter, r.days.clone(), r.dry);
            let runs = d.runs.iter().map(run).map(|(at, jitter, days, dry)| cabinet::Run {
                about: self.about(at, jitter, days.as_ref()),
                dry,
            });
            let settings = cabinet::Settings {
                set_c: d.set_c,
                hold_s: d.hold.seconds(),
                heater_w: d.heater_w,
                load_kg: *d.load_kg.get_ref(),
                runs: runs.collect(),
            };
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "cabinet", supply, |seat| Device::Cabinet(Cabinet::new(settings, seat)));
        }
        for d in &file.sterilizer {
            if !(110.0..=137.0).contains(d.set_c.get_ref()) {
                self.problems.at(d.set_c.span(), "a sterilizer is set to 110 to 137 °C".to_owned());
            }
            let runs = d.runs.iter().map(|r| self.about(r.at, r.jitter, r.days.as_ref())).collect();
            let settings = sterilizer::Settings { set_c: *d.set_c.get_ref(), hold_s: d.hold.seconds(), runs };
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "sterilizer", supply, |seat| {
                Device::Sterilizer(Sterilizer::new(settings, seat))
            });
        }
        for d in &file.uv_lamp {
            let sessions = d.sessions.iter().map(|s| uv::Session {
                about: self.about(s.at, s.jitter, s.days.as_ref()),
                for_s: s.duration.seconds(),
            });
            let sessions = sessions.collect();
            let settings = uv::Settings { new_uw_cm2: d.new_uw_cm2, hours: d.hours, sessions };
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "uv-lamp", supply, |seat| Device::UvLamp(UvLamp::new(settings, seat)));
        }
        for d in &file.fridge {
            let defrost_s = d.defrost.as_ref().map_or(0, |span| span.get_ref().seconds());
            if let Some(span) = d.defrost.as_ref().filter(|_| defrost_s < 3600) {
                self.problems.at(span.span(), "a fridge defrosts at most every hour".to_owned());
            }
            let (open_s, close_s) = pair(d.between);
            let settings =
                fridge::Settings { set_c: d.set_c, defrost_s, openings: d.openings, open_s, close_s };
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "fridge", supply, |seat| Device::Fridge(Fridge::new(settings, seat)));
        }
    }

    fn days(&mut self, file: &File) {
        for d in &file.dental_day {
            let mut of = |position: usize| self.quantity(&d.sterilizer, sterilizer::QUANTITIES[position].0);
            let (loading, releases, good) =
                (of(sterilizer::LOADING), of(sterilizer::RELEASED), of(sterilizer::GOOD));
            let settings = dental::Settings {
                visits: d.visits,
                hours: self.hours(&d.hours),
                chairs: d.chairs,
                handpieces: d.handpieces,
                capacity: d.capacity,
                visits_topic: d.visits_topic.clone(),
                packed_topic: d.packed_topic.clone(),
                used_topic: d.used_topic.clone(),
                released_topic: d.released_topic.clone(),
                loading,
                releases,
                good,
            };
            self.push(&d.id, "dental-day", None, |seat| Device::DentalDay(DentalDay::new(settings, seat)));
        }
        for d in &file.hotel_day {
            if !(0.0..=1.0).contains(d.occupancy.get_ref()) {
                self.problems.at(d.occupancy.span(), "an occupancy is between 0 and 1".to_owned());
            }
            let loading =
                d.cabinets.iter().map(|id| self.quantity(id, cabinet::QUANTITIES[cabinet::LOADING].0));
            let settings = hotel::Settings {
                loading: loading.collect(),
                rooms: d.rooms,
                occupancy: *d.occupancy.get_ref(),
                between: pair(d.between),
                capacity: d.capacity,
                occupied_topic: d.occupied_topic.clone(),
                cups_topic: d.cups_topic.clone(),
            };
            self.push(&d.id, "hotel-day", None, |seat| Device::HotelDay(HotelDay::new(settings, seat)));
        }
    }

    fn probes(&mut self, file: &File) {
        for d in &file.meter {
            let of = self.quantity(&d.of, "power");
            let kwh = d.kwh;
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "meter", supply, |seat| Device::Meter(Meter { of, seat, kwh }));
        }
        for d in &file.air {
            let door = d.door.as_ref().map(|id| self.quantity(id, contact::QUANTITIES[contact::OPEN].0));
            let lamp = d.lamp.as_ref().map(|id| self.quantity(id, "on"));
            let settings = air::Settings {
                set_c: d.set_c,
                humidity: d.humidity,
                difference_pa: d.difference_pa,
                fan: pairs(&d.fan),
                door,
                lamp,
            };
            let supply = self.supply(d.supply.as_ref());
            self.push(&d.id, "air", supply, |seat| Device::Air(Air::new(settings, seat)));
        }
        for d in &file.water {
            let settings = water::Settings {
                chlorine: d.chlorine,
                tds: d.tds,
                turbidity: d.turbidity,
                ph: d.ph,
                drawn: pairs(&d.drawn),
            };
            self.push(&d.id, "water", None, |seat| Device::Water(Water::new(settings, seat)));
        }
        for d in &file.radio {
            self.radio(d);
        }
    }

    fn radio(&mut self, d: &file::Radio) {
        let every_s = d.every.get_ref().seconds();
        if every_s < 1 {
            self.problems.at(d.every.span(), "a radio reports at most every second".to_owned());
        }
        if d.name.get_ref().is_empty() || d.name.get_ref().contains(['+', '#']) {
            self.problems.at(d.name.span(), format!("`{}` is no part of a topic", d.name.get_ref()));
        }
        let mut fields = Vec::new();
        for (name, signal) in &d.fields {
            match self.signals.find(signal.get_ref()) {
                Some(ix) => fields.push((name.clone(), radio::Kind::of(name), ix)),
                None => {
                    self.problems.at(signal.span(), format!("no signal is called `{}`", signal.get_ref()));
                }
            }
        }
        let settings = radio::Settings {
            system: d.system,
            name: d.name.get_ref().clone(),
            every_s: every_s.max(1),
            fields,
        };
        let supply = self.supply(d.supply.as_ref());
        self.push(&d.id, "radio", supply, |seat| Device::Radio(Radio::new(settings, seat)));
    }

    fn push(
        &mut self,
        id: &Spanned<String>,
        kind: &'static str,
        supply: Option<SignalIx>,
        make: impl FnOnce(Seat) -> Device,
    ) {
        let device = make(self.of(id));
        self.devices.push((id.get_ref().clone(), kind, device));
        self.supplies.push(supply);
    }

    fn about(&mut self, at: TimeOfDay, jitter: Span, days: Option<&Spanned<Vec<i64>>>) -> About {
        let mut named = None;
        for day in days.map(Spanned::get_ref).into_iter().flatten() {
            let bits = named.get_or_insert(0_u64);
            if (0..NAMED_DAYS_MAX).contains(day) {
                *bits |= 1 << day;
            } else if let Some(days) = days {
                let message = format!("day {day}: only days 0 to {} can be named", NAMED_DAYS_MAX - 1);
                self.problems.at(days.span(), message);
            }
        }
        About { at: at.0, jitter: jitter.seconds(), days: named }
    }
}

//! Checks a scenario file against itself and makes it ready to run.

use std::ops::Range;

use toml::Spanned;

use super::file::File;
use super::{Chance, Endpoint, Plant, Problem, Scenario, Unit, file};
use crate::civil::{DAY_S, TimeOfDay};
use crate::device::cabinet::{self, Cabinet};
use crate::device::dental::{self, DentalDay};
use crate::device::fridge::{self, Fridge};
use crate::device::meter::{self, Meter};
use crate::device::scale::{self, Scale};
use crate::device::sterilizer::{self, Sterilizer};
use crate::device::uv::{self, UvLamp};
use crate::device::waste::{self, WasteDay};
use crate::device::{About, Device, Quantity, Seat};
use crate::face::maps::Map;
use crate::fault::{Effect, Fault};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Problems reported at most: after that a file is simply wrong.
const PROBLEMS_MAX: usize = 50;
/// Planted faults at most, and random ones: a timeline has room for all of them.
const PLANTS_MAX: usize = 1000;

pub(super) fn build(name: &str, text: &str, seed: Option<u64>) -> Result<Scenario, Vec<Problem>> {
    let mut problems = Problems { file: name, text, list: Vec::new() };
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            problems.at(error.span().unwrap_or(0..0), error.message().to_owned());
            return Err(problems.list);
        }
    };
    let seed = seed.unwrap_or(file.scenario.seed);
    let mut builder = Builder {
        problems,
        seed,
        signals: Signals::default(),
        seats: Vec::new(),
        devices: Vec::new(),
        scales: Vec::new(),
    };
    if file.plant.len() + file.incident.len() > PLANTS_MAX || file.random.len() > PLANTS_MAX {
        builder.problems.at(0..0, format!("more than {PLANTS_MAX} planted or random faults"));
    }
    builder.seats(&file);
    builder.devices(&file);
    let endpoints = builder.endpoints(&file.endpoint);
    let (plants, incident) = builder.plants(&file, &endpoints);
    let chances = builder.chances(&file.random, &endpoints);
    let Builder { problems, signals, devices, .. } = builder;
    if !problems.list.is_empty() {
        return Err(problems.list);
    }
    Ok(Scenario {
        name: file.scenario.name,
        title: file.scenario.title,
        seed,
        utc_offset_min: file.scenario.utc_offset_min,
        devices,
        signals,
        endpoints,
        plants,
        incident,
        chances,
    })
}

struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    list: Vec<Problem>,
}

impl Problems<'_> {
    fn at(&mut self, span: Range<usize>, message: String) {
        if self.list.len() >= PROBLEMS_MAX {
            return;
        }
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        self.list.push(Problem { file: self.file.to_owned(), line, column, message });
    }
}

struct Builder<'a> {
    problems: Problems<'a>,
    seed: u64,
    signals: Signals,
    seats: Vec<(String, Seat)>,
    devices: Vec<(String, &'static str, Device)>,
    scales: Vec<(String, u32)>,
}

/// What a signal reference that was reported as wrong stands for: nothing is run then.
const NOWHERE: SignalIx = SignalIx(0);

impl Builder<'_> {
    fn seat(&mut self, id: &Spanned<String>, quantities: &[Quantity]) {
        if id.get_ref().is_empty() || id.get_ref().contains('/') {
            self.problems.at(id.span(), format!("`{}` is no device id: no `/`, not empty", id.get_ref()));
        }
        if self.seats.iter().any(|(other, _)| other == id.get_ref()) {
            self.problems.at(id.span(), format!("a device `{}` exists already", id.get_ref()));
        }
        let mut base = None;
        for (quantity, unit) in quantities {
            let ix = self.signals.add(format!("{}/{quantity}", id.get_ref()), unit);
            base.get_or_insert(ix.0);
        }
        let seat = Seat { base: base.unwrap_or(0), seed: noise::named(self.seed, id.get_ref()) };
        self.seats.push((id.get_ref().clone(), seat));
    }

    /// All signals first: devices may then refer to each other in any order.
    fn seats(&mut self, file: &File) {
        let ids = file.cabinet.iter().map(|d| (&d.id, cabinet::QUANTITIES));
        let ids = ids.chain(file.sterilizer.iter().map(|d| (&d.id, sterilizer::QUANTITIES)));
        let ids = ids.chain(file.uv_lamp.iter().map(|d| (&d.id, uv::QUANTITIES)));
        let ids = ids.chain(file.fridge.iter().map(|d| (&d.id, fridge::QUANTITIES)));
        let ids = ids.chain(file.meter.iter().map(|d| (&d.id, meter::QUANTITIES)));
        let ids = ids.chain(file.waste_day.iter().map(|d| (&d.id, waste::QUANTITIES)));
        let ids = ids.chain(file.scale.iter().map(|d| (&d.id, scale::QUANTITIES)));
        let ids = ids.chain(file.dental_day.iter().map(|d| (&d.id, dental::QUANTITIES)));
        for (id, quantities) in ids {
            self.seat(id, quantities);
        }
    }

    fn of(&self, id: &Spanned<String>) -> Seat {
        let found = self.seats.iter().find(|(other, _)| other == id.get_ref());
        found.map_or(Seat { base: 0, seed: 0 }, |(_, seat)| *seat)
    }

    fn quantity(&mut self, id: &Spanned<String>, quantity: &str) -> SignalIx {
        let found = self.signals.find(&format!("{}/{quantity}", id.get_ref()));
        if found.is_none() {
            self.problems.at(id.span(), format!("no device `{}` that has `{quantity}`", id.get_ref()));
        }
        found.unwrap_or(NOWHERE)
    }

    fn hours(&mut self, hours: &Spanned<Vec<[TimeOfDay; 2]>>) -> Vec<(i64, i64)> {
        if hours.get_ref().is_empty() || hours.get_ref().iter().any(|[from, to]| from >= to) {
            self.problems.at(hours.span(), "at least one pair of times, each from before to".to_owned());
        }
        hours.get_ref().iter().map(|[from, to]| (from.0, to.0)).collect()
    }

    /// The order is that of stepping: people before what they use, appliances before their meters.
    fn devices(&mut self, file: &File) {
        for d in &file.waste_day {
            let net = self.quantity(&d.scale, scale::QUANTITIES[scale::NET].0);
            let unstable = self.quantity(&d.scale, scale::QUANTITIES[scale::UNSTABLE].0);
            let settings = waste::Settings {
                bags: d.bags,
                rounds: self.hours(&d.rounds),
                handover: about(d.handover.at, d.handover.jitter),
                to: d.to.clone(),
                bag_topic: d.bag_topic.clone(),
                handover_topic: d.handover_topic.clone(),
                net,
                unstable,
            };
            self.push(&d.id, "waste-day", |seat| Device::WasteDay(WasteDay::new(settings, seat)));
        }
        for d in &file.scale {
            let load = self.quantity(&d.load, waste::QUANTITIES[waste::ON_SCALE].0);
            let key = self.quantity(&d.load, waste::QUANTITIES[waste::TARE_KEY].0);
            self.scales.push((d.id.get_ref().clone(), d.max_kg));
            let max_kg = f64::from(d.max_kg);
            self.push(&d.id, "scale", |seat| {
                Device::Scale(Scale { load, key, seat, max_kg, last_load: 0.0, moved: 0, tare: 0.0 })
            });
        }
        for d in &file.cabinet {
            let runs =
                d.runs.iter().map(|r| cabinet::Run { about: about(r.at, r.jitter), dry: r.dry }).collect();
            let settings =
                cabinet::Settings { set_c: d.set_c, hold_s: d.hold.seconds(), heater_w: d.heater_w, runs };
            self.push(&d.id, "cabinet", |seat| Device::Cabinet(Cabinet::new(settings, seat)));
        }
        for d in &file.sterilizer {
            let runs = d.runs.iter().map(|r| about(r.at, r.jitter)).collect();
            let settings = sterilizer::Settings { hold_s: d.hold.seconds(), runs };
            self.push(&d.id, "sterilizer", |seat| Device::Sterilizer(Sterilizer::new(settings, seat)));
        }
        for d in &file.uv_lamp {
            let session =
                |s: &file::Session| uv::Session { about: about(s.at, s.jitter), for_s: s.duration.seconds() };
            let sessions = d.sessions.iter().map(session).collect();
            let settings = uv::Settings { new_uw_cm2: d.new_uw_cm2, hours: d.hours, sessions };
            self.push(&d.id, "uv-lamp", |seat| Device::UvLamp(UvLamp::new(settings, seat)));
        }
        for d in &file.fridge {
            let [open, close] = d.between;
            let settings =
                fridge::Settings { set_c: d.set_c, openings: d.openings, open_s: open.0, close_s: close.0 };
            self.push(&d.id, "fridge", |seat| Device::Fridge(Fridge::new(settings, seat)));
        }
        for d in &file.dental_day {
            let loading = self.quantity(&d.sterilizer, sterilizer::QUANTITIES[sterilizer::LOADING].0);
            let settings = dental::Settings {
                visits: d.visits,
                hours: self.hours(&d.hours),
                visits_topic: d.visits_topic.clone(),
                packed_topic: d.packed_topic.clone(),
                loading,
            };
            self.push(&d.id, "dental-day", |seat| Device::DentalDay(DentalDay::new(settings, seat)));
        }
        for d in &file.meter {
            let of = self.quantity(&d.of, "power");
            let kwh = d.kwh;
            self.push(&d.id, "meter", |seat| Device::Meter(Meter { of, seat, kwh }));
        }
    }

    fn push(&mut self, id: &Spanned<String>, kind: &'static str, make: impl FnOnce(Seat) -> Device) {
        let device = make(self.of(id));
        self.devices.push((id.get_ref().clone(), kind, device));
    }

    fn endpoints(&mut self, file: &[file::Endpoint]) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for e in file {
            let name = e.name.get_ref();
            if name.is_empty()
                || name.contains('/')
                || endpoints.iter().any(|other| other.name == *name)
                || self.seats.iter().any(|(id, _)| id == name)
            {
                self.problems.at(
                    e.name.span(),
                    format!("`{name}` is no name for an endpoint: no `/`, not empty, not the name of another endpoint or device"),
                );
            }
            let mut units: Vec<Unit> = Vec::new();
            for u in &e.unit {
                let unit = *u.id.get_ref();
                if !(1..=247).contains(&unit) {
                    self.problems.at(u.id.span(), format!("unit id {unit} is outside 1..=247"));
                }
                if units.iter().any(|other| other.unit == unit) {
                    self.problems.at(u.id.span(), format!("unit {unit} exists already on `{name}`"));
                }
                if let Some(map) = self.map(u) {
                    units.push(Unit { unit, map });
                }
            }
            endpoints.push(Endpoint {
                name: name.clone(),
                transport: e.transport,
                connections: e.connections.max(1),
                turnaround_ms: e.turnaround.0.max(0) as u64,
                units,
            });
        }
        endpoints
    }

    fn map(&mut self, unit: &file::Unit) -> Option<Map> {
        let mut used = Vec::new();
        let map = match unit.map.get_ref().as_str() {
            "mb8art" => Map::Mb8art(std::array::from_fn(|i| {
                self.terminal(unit, &format!("channel-{}", i + 1), false, &mut used)
            })),
            "waveshare-8di" => Map::Waveshare8di(std::array::from_fn(|i| {
                self.terminal(unit, &format!("di-{}", i + 1), false, &mut used)
            })),
            "sdm120" => Map::Sdm120(self.whole_device(unit, "meter", meter::QUANTITIES, &mut used)?),
            "pressure" => Map::Pressure(self.terminal(unit, "value", true, &mut used)?),
            "jxct-uv" => Map::JxctUv(self.terminal(unit, "uv", true, &mut used)?),
            "uvc-254" => {
                let uv = self.terminal(unit, "uv", true, &mut used);
                let hours = self.terminal(unit, "hours", true, &mut used);
                Map::Uvc254(uv?, hours?)
            }
            "scale-docs" => {
                let values = self.whole_device(unit, "scale", scale::QUANTITIES, &mut used)?;
                let max_kg = self.scales.iter().find(|(id, _)| unit.terminals["scale"].get_ref() == id);
                Map::ScaleDocs(values, max_kg.map_or(0, |(_, max)| *max))
            }
            other => {
                let known = "mb8art, waveshare-8di, sdm120, pressure, jxct-uv, uvc-254, scale-docs";
                self.problems.at(unit.map.span(), format!("no map is called `{other}`; there are: {known}"));
                return None;
            }
        };
        for (terminal, signal) in &unit.terminals {
            if !used.contains(terminal) {
                self.problems
                    .at(signal.span(), format!("a `{}` has no terminal `{terminal}`", unit.map.get_ref()));
            }
        }
        Some(map)
    }

    fn terminal(
        &mut self,
        unit: &file::Unit,
        terminal: &str,
        needed: bool,
        used: &mut Vec<String>,
    ) -> Option<SignalIx> {
        used.push(terminal.to_owned());
        let Some(signal) = unit.terminals.get(terminal) else {
            if needed {
                let message = format!("a `{}` needs its terminal `{terminal}`", unit.map.get_ref());
                self.problems.at(unit.map.span(), message);
            }
            return None;
        };
        let found = self.signals.find(signal.get_ref());
        if found.is_none() {
            self.problems.at(signal.span(), format!("no signal is called `{}`", signal.get_ref()));
        }
        found
    }

    fn whole_device<const N: usize>(
        &mut self,
        unit: &file::Unit,
        terminal: &str,
        quantities: &[Quantity],
        used: &mut Vec<String>,
    ) -> Option<[SignalIx; N]> {
        used.push(terminal.to_owned());
        let Some(device) = unit.terminals.get(terminal) else {
            let message = format!("a `{}` needs its terminal `{terminal}`: a device id", unit.map.get_ref());
            self.problems.at(unit.map.span(), message);
            return None;
        };
        let mut values = [NOWHERE; N];
        for (value, (quantity, _)) in values.iter_mut().zip(quantities) {
            let found = self.signals.find(&format!("{}/{quantity}", device.get_ref()));
            let Some(found) = found else {
                self.problems.at(device.span(), format!("no {terminal} is called `{}`", device.get_ref()));
                return None;
            };
            *value = found;
        }
        Some(values)
    }

    fn effect(
        &mut self,
        target: &Spanned<String>,
        word: &Spanned<String>,
        value: Option<f64>,
        endpoints: &[Endpoint],
    ) -> Option<(Effect, &'static str)> {
        let fault = match Fault::parse(word.get_ref(), value) {
            Ok(fault) => fault,
            Err(message) => {
                self.problems.at(word.span(), message);
                return None;
            }
        };
        match resolve(target.get_ref(), fault, &self.devices, &self.signals, endpoints) {
            Ok(effect) => Some((effect, fault.word())),
            Err(message) => {
                self.problems.at(target.span(), message);
                None
            }
        }
    }

    fn plants(&mut self, file: &File, endpoints: &[Endpoint]) -> (Vec<Plant>, Vec<Plant>) {
        let mut plants = Vec::new();
        for p in &file.plant {
            if let Some((effect, fault)) = self.effect(&p.target, &p.fault, p.value, endpoints) {
                let (from, for_s) = (p.day * DAY_S + p.at.0, p.duration.seconds());
                let target = p.target.get_ref().clone();
                plants.push(Plant { from, for_s, effect, target, fault, note: p.note.clone() });
            }
        }
        let mut incident = Vec::new();
        for p in &file.incident {
            if let Some((effect, fault)) = self.effect(&p.target, &p.fault, p.value, endpoints) {
                let (from, for_s) = (p.after.seconds(), p.duration.seconds());
                let target = p.target.get_ref().clone();
                incident.push(Plant { from, for_s, effect, target, fault, note: p.note.clone() });
            }
        }
        (plants, incident)
    }

    fn chances(&mut self, file: &[file::Random], endpoints: &[Endpoint]) -> Vec<Chance> {
        let mut chances = Vec::new();
        for (i, r) in file.iter().enumerate() {
            if r.every.get_ref().seconds() < 60 {
                self.problems.at(r.every.span(), "a random fault comes at most every 60 s".to_owned());
            }
            if !(0.0..=1.0).contains(r.chance.get_ref()) {
                self.problems.at(r.chance.span(), "a chance is between 0 and 1".to_owned());
            }
            if let Some((effect, _)) = self.effect(&r.target, &r.fault, r.value, endpoints) {
                chances.push(Chance {
                    from_day: r.from_day,
                    between: r.between.map_or((0, DAY_S), |[from, to]| (from.0, to.0)),
                    every_s: r.every.get_ref().seconds().max(60),
                    chance: *r.chance.get_ref(),
                    for_s: r.duration.seconds(),
                    effect,
                    target: r.target.get_ref().clone(),
                    seed: noise::mix(self.seed, 0xFA17 + i as u64),
                });
            }
        }
        chances
    }
}

fn about(at: TimeOfDay, jitter: crate::civil::Span) -> About {
    About { at: at.0, jitter: jitter.seconds() }
}

/// Where a fault bites: `endpoint` or `endpoint/unit`, `device/quantity`, or `device`, by the kind of fault.
pub(crate) fn resolve(
    target: &str,
    fault: Fault,
    devices: &[(String, &'static str, Device)],
    signals: &Signals,
    endpoints: &[Endpoint],
) -> Result<Effect, String> {
    match fault {
        Fault::Link(fault) => {
            let (name, unit) =
                target.split_once('/').map_or((target, None), |(name, unit)| (name, Some(unit)));
            let endpoint = endpoints.iter().position(|e| e.name == name);
            let endpoint = endpoint.ok_or_else(|| format!("no endpoint is called `{name}`"))?;
            let unit = match unit {
                None => None,
                Some(text) => {
                    let number = text.parse::<u8>().ok();
                    let known = number.filter(|n| endpoints[endpoint].units.iter().any(|u| u.unit == *n));
                    Some(known.ok_or_else(|| format!("`{name}` has no unit `{text}`"))?)
                }
            };
            Ok(Effect::Link { endpoint, unit, fault })
        }
        Fault::Probe(fault) => {
            let signal = signals.find(target).ok_or_else(|| format!("no signal is called `{target}`"))?;
            Ok(Effect::Probe { signal, fault })
        }
        Fault::Feed(fault) => {
            let device = devices.iter().position(|(id, _, _)| id == target);
            let device = device.ok_or_else(|| format!("no device is called `{target}`"))?;
            Ok(Effect::Feed { device, fault })
        }
        Fault::Mishap(mishap) => {
            let device = devices.iter().position(|(id, _, _)| id == target);
            let device = device.ok_or_else(|| format!("no device is called `{target}`"))?;
            let (_, kind, it) = &devices[device];
            if it.can(mishap) {
                Ok(Effect::Mishap { device, mishap })
            } else {
                Err(format!("`{}` cannot befall a {kind}", Fault::Mishap(mishap).word()))
            }
        }
    }
}

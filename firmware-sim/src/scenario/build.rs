//! Checks a scenario file against itself and makes it ready to run.

use std::ops::Range;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::compose::{Find, Sources};
use super::expect::Written;
use super::file::File;
use super::{Chance, Endpoint, Plant, Problem, Scenario, Text, file};
use crate::civil::{DAY_S, TimeOfDay};
use crate::device::supply;
use crate::device::{Device, Quantity, Seat};
use crate::fault::{Effect, Fault};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Problems reported at most: after that a file is simply wrong.
const PROBLEMS_MAX: usize = 50;
/// Planted faults at most, and random ones: a timeline has room for all of them.
const PLANTS_MAX: usize = 1000;

/// The parts of a composed table that are for whoever checks a gateway.
const CHECK: [&str; 4] = ["run", "outage", "expect", "not_yet"];

pub(super) fn build(
    name: &str,
    text: &str,
    seed: Option<u64>,
    find: Find<'_>,
) -> Result<Scenario, Vec<Problem>> {
    let sources = Sources::gather(name, text, find)?;
    let mut table = sources.table()?;
    let mut check = DeTable::new();
    for key in CHECK {
        if let Some((key, value)) = table.remove_entry(key) {
            check.insert(key, value);
        }
    }
    let about = match table.get_mut("scenario").map(Spanned::get_mut) {
        Some(DeValue::Table(head)) => head.remove("about"),
        Some(_) | None => None,
    };
    let about = about.map(|about| Text::deserialize(about.into_deserializer())).transpose();
    let file = File::deserialize(toml::Deserializer::from(Spanned::new(0..0, table)));
    let written = Written::deserialize(toml::Deserializer::from(Spanned::new(0..0, check)));
    let mut problems = Problems { sources, list: Vec::new() };
    let (about, file, written) = match (about, file, written) {
        (Ok(about), Ok(file), Ok(written)) => (about, file, written),
        (about, file, written) => {
            for error in [about.err(), file.err(), written.err()].into_iter().flatten() {
                problems.at(error.span().unwrap_or(0..0), error.message().to_owned());
            }
            return Err(problems.list);
        }
    };
    let check = written.check(&mut |span, message| problems.at(span, message));
    let seed = seed.unwrap_or(file.scenario.seed);
    let mut builder = Builder {
        problems,
        seed,
        signals: Signals::default(),
        seats: Vec::new(),
        devices: Vec::new(),
        supplies: Vec::new(),
        scales: Vec::new(),
    };
    if file.plant.len() + file.incident.len() > PLANTS_MAX || file.random.len() > PLANTS_MAX {
        builder.problems.at(0..0, format!("more than {PLANTS_MAX} planted or random faults"));
    }
    if file.scenario.closed.iter().any(|[first, last]| first > last) {
        builder.problems.at(0..0, "`closed`: pairs of days, first and last".to_owned());
    }
    builder.seats(&file);
    builder.devices(&file);
    let endpoints = builder.endpoints(&file.endpoint);
    let (plants, incident) = builder.plants(&file, &endpoints);
    let chances = builder.chances(&file.random, &endpoints);
    let Builder { problems, signals, devices, supplies, .. } = builder;
    if !problems.list.is_empty() {
        return Err(problems.list);
    }
    Ok(Scenario {
        name: file.scenario.name,
        title: file.scenario.title,
        about,
        seed,
        utc_offset_min: file.scenario.utc_offset_min,
        devices,
        supplies,
        closed: file.scenario.closed.iter().map(|[first, last]| (*first, *last)).collect(),
        signals,
        endpoints,
        plants,
        incident,
        chances,
        check,
    })
}

pub(super) struct Problems {
    sources: Sources,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn at(&mut self, span: Range<usize>, message: String) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(self.sources.problem(&span, message));
        }
    }
}

pub(super) struct Builder {
    pub(super) problems: Problems,
    seed: u64,
    pub(super) signals: Signals,
    pub(super) seats: Vec<(String, Seat)>,
    pub(super) devices: Vec<(String, &'static str, Device)>,
    pub(super) supplies: Vec<Option<SignalIx>>,
    pub(super) scales: Vec<(String, u32)>,
}

/// What a signal reference that was reported as wrong stands for: nothing is run then.
pub(super) const NOWHERE: SignalIx = SignalIx(0);

impl Builder {
    pub(super) fn seat(&mut self, id: &Spanned<String>, quantities: &[Quantity]) {
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

    pub(super) fn of(&self, id: &Spanned<String>) -> Seat {
        let found = self.seats.iter().find(|(other, _)| other == id.get_ref());
        found.map_or(Seat { base: 0, seed: 0 }, |(_, seat)| *seat)
    }

    pub(super) fn quantity(&mut self, id: &Spanned<String>, quantity: &str) -> SignalIx {
        let found = self.signals.find(&format!("{}/{quantity}", id.get_ref()));
        if found.is_none() {
            self.problems.at(id.span(), format!("no device `{}` that has `{quantity}`", id.get_ref()));
        }
        found.unwrap_or(NOWHERE)
    }

    /// The signal of a supply that something is plugged into.
    pub(super) fn supply(&mut self, id: Option<&Spanned<String>>) -> Option<SignalIx> {
        id.map(|id| self.quantity(id, supply::QUANTITIES[supply::ON].0))
    }

    pub(super) fn hours(&mut self, hours: &Spanned<Vec<[TimeOfDay; 2]>>) -> Vec<(i64, i64)> {
        if hours.get_ref().is_empty() || hours.get_ref().iter().any(|[from, to]| from >= to) {
            self.problems.at(hours.span(), "at least one pair of times, each from before to".to_owned());
        }
        hours.get_ref().iter().map(|[from, to]| (from.0, to.0)).collect()
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

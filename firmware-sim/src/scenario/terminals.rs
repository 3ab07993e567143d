//! The endpoints of a scenario: units, their maps, and what is on the terminals of each instrument.

use std::time::Duration;

use super::build::{Builder, NOWHERE};
use super::{Endpoint, Unit, file};
use crate::device::{Quantity, scale};
use crate::face::answer::Quirks;
use crate::face::maps::Map;
use crate::face::sheet::{self, SHEETS, Sheeted, Wiring};
use crate::face::weigh;
use crate::line;
use crate::signal::SignalIx;

impl Builder {
    pub(super) fn endpoints(&mut self, file: &[file::Endpoint]) -> Vec<Endpoint> {
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
            let units = self.units(e);
            let indicator = self.indicator(e);
            endpoints.push(Endpoint {
                name: name.clone(),
                transport: e.transport,
                connections: e.connections.max(1),
                turnaround_ms: e.turnaround.0.max(0) as u64,
                line: self.line(&e.line),
                indicator,
                supply: self.supply(e.supply.as_ref()),
                units,
            });
        }
        endpoints
    }

    fn units(&mut self, e: &file::Endpoint) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for u in &e.unit {
            let unit = *u.id.get_ref();
            if !(1..=247).contains(&unit) {
                self.problems.at(u.id.span(), format!("unit id {unit} is outside 1..=247"));
            }
            if units.iter().any(|other| other.unit == unit) {
                self.problems
                    .at(u.id.span(), format!("unit {unit} exists already on `{}`", e.name.get_ref()));
            }
            let file::Quirks { base, whole_blocks, zero_holes, most } = u.quirks;
            if let Some(map) = self.map(u) {
                units.push(Unit {
                    unit,
                    map,
                    quirks: Quirks { base, whole_blocks, zero_holes, most },
                    turnaround_ms: u.turnaround.map(|span| span.0.max(0) as u64),
                    supply: self.supply(u.supply.as_ref()),
                });
            }
        }
        units
    }

    fn indicator(&mut self, e: &file::Endpoint) -> Option<weigh::Indicator> {
        let span = e.name.span();
        let Some(i) = &e.indicator else {
            if e.transport.is_weighing() {
                self.problems.at(span, "an endpoint that weighs needs its `indicator`".to_owned());
            }
            return None;
        };
        if !e.transport.is_weighing() || !e.unit.is_empty() {
            let message = "an `indicator` has an endpoint of its own: transport weighing or weighing-over-tcp, no units";
            self.problems.at(span, message.to_owned());
        }
        if *i.decimals.get_ref() > 4 {
            self.problems.at(i.decimals.span(), "an indicator shows at most 4 decimals".to_owned());
        }
        let every_ms = i.every.get_ref().0;
        if every_ms < 10 {
            self.problems.at(i.every.span(), "an indicator sends at most every 10 ms".to_owned());
        }
        let values = [0, scale::NET, scale::TARE]
            .map(|position| self.quantity(&i.scale, scale::QUANTITIES[position].0));
        Some(weigh::Indicator {
            format: i.format,
            decimals: *i.decimals.get_ref(),
            every: Duration::from_millis(every_ms.max(10) as u64),
            values,
        })
    }

    fn line(&mut self, line: &file::LineSettings) -> line::Settings {
        if !(300..=1_000_000).contains(line.baud.get_ref()) {
            self.problems.at(line.baud.span(), "a line runs at 300 to 1000000 baud".to_owned());
        }
        if !(1..=2).contains(line.stop.get_ref()) {
            self.problems.at(line.stop.span(), "a line has 1 or 2 stop bits".to_owned());
        }
        line::Settings { baud: *line.baud.get_ref(), parity: line.parity, stop: *line.stop.get_ref() }
    }

    fn map(&mut self, unit: &file::Unit) -> Option<Map> {
        let mut used = Vec::new();
        let id = *unit.id.get_ref();
        let map = match unit.map.get_ref().as_str() {
            "mb8art" => {
                let channels = std::array::from_fn(|i| {
                    self.terminal(unit, &format!("channel-{}", i + 1), false, &mut used)
                });
                Map::Mb8art(channels, id)
            }
            "scale-docs" => {
                let values = self.whole_device(unit, "scale", scale::QUANTITIES, &mut used)?;
                let max_kg = self.scales.iter().find(|(id, _)| unit.terminals["scale"].get_ref() == id);
                let values = values.try_into().unwrap_or([NOWHERE; 6]);
                Map::ScaleDocs(values, max_kg.map_or(0, |(_, max)| *max), id)
            }
            word => {
                let Some(sheet) = sheet::find(word) else {
                    let known: Vec<&str> = SHEETS.iter().map(|sheet| sheet.word).collect();
                    let known = known.join(", ");
                    let message =
                        format!("no map is called `{word}`; there are: mb8art, scale-docs, {known}");
                    self.problems.at(unit.map.span(), message);
                    return None;
                };
                let wires = match sheet.wiring {
                    Wiring::Device(terminal, quantities) => self
                        .whole_device(unit, terminal, quantities, &mut used)?
                        .into_iter()
                        .map(Some)
                        .collect(),
                    Wiring::Terminals(terminals) => terminals
                        .iter()
                        .map(|(terminal, open)| self.terminal(unit, terminal, open.is_none(), &mut used))
                        .collect(),
                };
                Map::Sheet(Sheeted { sheet, wires, unit: id, held: Vec::new(), baud: None })
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

    /// The signals of a whole device, in the order of `quantities`.
    fn whole_device(
        &mut self,
        unit: &file::Unit,
        terminal: &str,
        quantities: &[Quantity],
        used: &mut Vec<String>,
    ) -> Option<Vec<SignalIx>> {
        used.push(terminal.to_owned());
        let Some(device) = unit.terminals.get(terminal) else {
            let message = format!("a `{}` needs its terminal `{terminal}`: a device id", unit.map.get_ref());
            self.problems.at(unit.map.span(), message);
            return None;
        };
        let mut values = Vec::with_capacity(quantities.len());
        for (quantity, _) in quantities {
            let Some(found) = self.signals.find(&format!("{}/{quantity}", device.get_ref())) else {
                self.problems.at(device.span(), format!("no {terminal} is called `{}`", device.get_ref()));
                return None;
            };
            values.push(found);
        }
        Some(values)
    }
}

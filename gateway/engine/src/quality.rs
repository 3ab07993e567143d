//! "Cannot be judged": one alert per device whose points cannot be believed, one per bus where that is so of
//! all its devices.
//!
//! A device cannot be judged while any point that its conditions or modules read is bad or stale. A bus
//! cannot be judged while none of its devices can, where there are at least two. As long as a bus cannot be
//! judged and has a rule of its own, its devices keep quiet: what is pending waits, and once the bus's alert
//! is raised, theirs are cleared as superseded. When the first device is back the bus's alert clears, and the
//! devices that are still silent have their whole delay again.
//!
//! The truth of these conditions is always known, so their own quality is always good.

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{ClearCause, Conclusion, EngineTime, Plan, ProcessRegion, RuleKind};

use crate::engine::Engine;
use crate::points::Class;
use crate::wiring::{Wiring, listed};

/// Fewer devices than this are named one by one.
pub(crate) const BUS_DEVICES_MIN: usize = 2;

/// What cannot be judged, counted as it changes: a device of ten thousand costs what the only one does.
#[derive(Debug, Clone)]
pub(crate) struct Blind {
    /// By point: it cannot be believed, and its devices know.
    points: Vec<bool>,
    /// By device: how many of its watched points cannot be believed.
    devices: Vec<usize>,
    /// By bus: how many of its devices can be judged.
    seeing: Vec<usize>,
    /// By bus: it could not be judged when that was last settled.
    buses: Vec<bool>,
}

impl Blind {
    /// Nothing has been seen.
    pub(crate) fn new(plan: &Plan, wiring: &Wiring) -> Self {
        let buses = &wiring.bus_devices;
        Self {
            points: vec![true; plan.points.len()],
            devices: wiring.watched.iter().map(Vec::len).collect(),
            seeing: vec![0; buses.len()],
            buses: buses.iter().map(|devices| devices.len() >= BUS_DEVICES_MIN).collect(),
        }
    }
}

impl Engine {
    /// The point may have changed between believed and not.
    pub(crate) fn count_blind(&mut self, point: usize) {
        let unbelieved = self.points.0.get(point).is_none_or(|point| point.class() != Class::Good);
        let Some(known) = self.blind.points.get_mut(point).filter(|known| **known != unbelieved) else {
            return;
        };
        *known = unbelieved;
        for device in self.wiring.devices.of(point) {
            let Some(count) = self.blind.devices.get_mut(device) else { continue };
            let before = *count;
            *count = if unbelieved { before + 1 } else { before.saturating_sub(1) };
            let (sees, saw) = (*count == 0, before == 0);
            let bus = self.plan.devices.get(device).map(|device| usize::from(device.bus));
            if let Some(seeing) = bus.and_then(|bus| self.blind.seeing.get_mut(bus)) {
                *seeing = seeing.saturating_add(usize::from(sees)).saturating_sub(usize::from(saw));
            }
        }
    }

    /// Takes over which buses cannot be judged.
    pub(crate) fn note_blind_buses(&mut self) {
        for bus in 0..self.blind.buses.len() {
            self.blind.buses[bus] = self.bus_is_blind(bus);
        }
    }

    /// Points of the device changed between believed and not.
    pub(crate) fn settle_device(&mut self, device: usize, out: &mut Vec<Conclusion>) {
        let blind = self.is_blind(device);
        let folded = self.folded(device);
        let covered = folded && self.bus_alert_open(device);
        for slot in listed(&self.wiring.device_rules, device).to_vec() {
            let Some(RuleKind::DeviceUnevaluable { after_ms }) = self.kind(slot) else { continue };
            let due = self.now.plus((*after_ms).max(0));
            let now = self.now;
            self.with_life(slot, out, |life, face, desk| match (life.state.regions.process, blind) {
                (ProcessRegion::Normal, true) => life.enter(ProcessRegion::Pending, Some(due), now),
                (ProcessRegion::Pending, true) if !folded => {
                    life.state.due.get_or_insert(due);
                }
                (ProcessRegion::Active | ProcessRegion::Clearing, true) if covered => {
                    life.clear(ClearCause::Superseded, face, desk);
                    life.enter(ProcessRegion::Pending, None, now);
                }
                (ProcessRegion::Pending, false) => {
                    life.enter(ProcessRegion::Normal, None, now);
                    life.state.fleeting = life.state.fleeting.saturating_add(1);
                }
                (ProcessRegion::Active | ProcessRegion::Clearing, false) => {
                    life.clear(ClearCause::Returned, face, desk);
                }
                (ProcessRegion::Normal, false)
                | (ProcessRegion::Pending | ProcessRegion::Active | ProcessRegion::Clearing, true) => (),
            });
        }
    }

    /// Devices of the bus changed between judged and not. Its other devices hear of it only where the bus itself did: as long
    /// as it can be judged, each speaks for itself.
    pub(crate) fn resettle_bus(&mut self, bus: usize, out: &mut Vec<Conclusion>) {
        let settled = self.blind.buses.get(bus) == Some(&false);
        if !settled || self.bus_is_blind(bus) {
            self.settle_bus(bus, out);
        }
    }

    /// Whether the bus can be judged, and all its devices under that.
    pub(crate) fn settle_bus(&mut self, bus: usize, out: &mut Vec<Conclusion>) {
        let blind = self.bus_is_blind(bus);
        if let Some(known) = self.blind.buses.get_mut(bus) {
            *known = blind;
        }
        for slot in listed(&self.wiring.bus_rules, bus).to_vec() {
            let Some(RuleKind::BusUnevaluable { after_ms, .. }) = self.kind(slot) else { continue };
            let due = self.now.plus((*after_ms).max(0));
            self.settle_simple(slot, blind, due, out);
        }
        if !blind {
            self.settle_devices_of(bus, out);
        }
    }

    /// Civil time became known, or unknown: what asks the calendar can be judged, or cannot.
    pub(crate) fn settle_clock(&mut self, out: &mut Vec<Conclusion>) {
        let blind = self.clock.error_ms.is_none();
        for slot in self.wiring.clock_rules.clone() {
            let Some(RuleKind::ClockUnevaluable { after_ms }) = self.kind(slot) else { continue };
            let due = self.now.plus((*after_ms).max(0));
            self.settle_simple(slot, blind, due, out);
        }
    }

    /// A condition whose truth is always known, without an off-delay.
    fn settle_simple(&mut self, slot: usize, holds: bool, due: EngineTime, out: &mut Vec<Conclusion>) {
        let now = self.now;
        self.with_life(slot, out, |life, face, desk| match (life.state.regions.process, holds) {
            (ProcessRegion::Normal, true) => life.enter(ProcessRegion::Pending, Some(due), now),
            (ProcessRegion::Pending, false) => {
                life.enter(ProcessRegion::Normal, None, now);
                life.state.fleeting = life.state.fleeting.saturating_add(1);
            }
            (ProcessRegion::Active | ProcessRegion::Clearing, false) => {
                life.clear(ClearCause::Returned, face, desk);
            }
            (ProcessRegion::Pending, true) => {
                life.state.due.get_or_insert(due);
            }
            (ProcessRegion::Normal, false) | (ProcessRegion::Active | ProcessRegion::Clearing, true) => (),
        });
    }

    /// The delay of a device's or bus's rule ran out.
    pub(crate) fn blind_long_enough(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        let Some(rule) = self.plan.rules.get(slot) else { return };
        let subject = rule.subject.slot();
        match rule.kind {
            RuleKind::DeviceUnevaluable { .. } if self.folded(subject) => {
                if let Some(life) = self.lives.get_mut(slot) {
                    life.state.due = None;
                }
            }
            RuleKind::BusUnevaluable { bus, .. } => {
                self.with_life(slot, out, |life, face, desk| life.elapsed(face, desk));
                self.settle_devices_of(usize::from(bus), out);
            }
            RuleKind::DeviceUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Condition { .. }
            | RuleKind::Absence { .. }
            | RuleKind::CycleFailed { .. }
            | RuleKind::Event { .. } => {
                self.with_life(slot, out, |life, face, desk| life.elapsed(face, desk));
            }
        }
    }

    fn settle_devices_of(&mut self, bus: usize, out: &mut Vec<Conclusion>) {
        for device in listed(&self.wiring.bus_devices, bus).to_vec() {
            self.settle_device(device, out);
        }
    }

    fn is_blind(&self, device: usize) -> bool {
        self.blind.devices.get(device).is_some_and(|&points| points > 0)
    }

    fn bus_is_blind(&self, bus: usize) -> bool {
        let devices = listed(&self.wiring.bus_devices, bus).len();
        devices >= BUS_DEVICES_MIN && self.blind.seeing.get(bus) == Some(&0)
    }

    pub(crate) fn bus_of(&self, device: usize) -> Option<usize> {
        self.plan.devices.get(device).map(|device| usize::from(device.bus))
    }

    /// The device's bus speaks for it, or is about to.
    fn folded(&self, device: usize) -> bool {
        self.bus_of(device)
            .is_some_and(|bus| !listed(&self.wiring.bus_rules, bus).is_empty() && self.bus_is_blind(bus))
    }

    fn bus_alert_open(&self, device: usize) -> bool {
        let rules = self.bus_of(device).map_or(&[][..], |bus| listed(&self.wiring.bus_rules, bus));
        rules.iter().filter_map(|&slot| self.lives.get(slot)).any(crate::alert::Life::is_open)
    }
}

//! The same thing under two plans: which slot a point or device of an older plan has in a newer one.
//!
//! A source that a change of the configuration does not touch goes on with the slots of the plan it began under; the
//! recorder translates what it brings. What the newer plan no longer has is passed over.

use gateway_model::{DeviceFact, DeviceIx, Fact, FactBody, Gap, Plan, PointIx};

use super::{Answers, Event};

/// Slots of an older plan in a newer one, found again by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    points: Vec<Option<PointIx>>,
    devices: Vec<Option<DeviceIx>>,
}

impl Slots {
    /// From the slots of `old` to those of `new`.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        use std::collections::HashMap;
        let points: HashMap<&str, PointIx> =
            (0..).zip(&new.points).map(|(slot, point)| (point.id.as_str(), PointIx(slot))).collect();
        let devices: HashMap<&str, DeviceIx> =
            (0..).zip(&new.devices).map(|(slot, device)| (device.id.as_str(), DeviceIx(slot))).collect();
        Self {
            points: old.points.iter().map(|point| points.get(point.id.as_str()).copied()).collect(),
            devices: old.devices.iter().map(|device| devices.get(device.id.as_str()).copied()).collect(),
        }
    }

    /// First by this, then by `next`.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self {
            points: self.points.iter().map(|point| next.point((*point)?)).collect(),
            devices: self.devices.iter().map(|device| next.device((*device)?)).collect(),
        }
    }

    /// One entry per point, moved to where its point is now; `len` = points of the newer plan.
    pub(super) fn moved<T>(&self, entries: Vec<Option<T>>, len: usize) -> Vec<Option<T>> {
        let mut moved: Vec<Option<T>> = std::iter::repeat_with(|| None).take(len).collect();
        for (entry, slot) in entries.into_iter().zip(&self.points) {
            if let Some(place) = slot.and_then(|slot| moved.get_mut(slot.slot())) {
                *place = entry;
            }
        }
        moved
    }

    /// Where a point is now.
    pub fn point(&self, point: PointIx) -> Option<PointIx> {
        self.points.get(point.slot()).copied().flatten()
    }

    /// Where a device is now.
    pub fn device(&self, device: DeviceIx) -> Option<DeviceIx> {
        self.devices.get(device.slot()).copied().flatten()
    }

    /// An event as the newer plan says it; `None` = nothing of it is left.
    pub(super) fn event(&self, event: Event) -> Option<Event> {
        Some(match event {
            Event::Answers(Answers { at, items, frame }) => {
                let items: Vec<_> = items
                    .into_iter()
                    .filter_map(|(point, answer)| Some((self.point(point)?, answer)))
                    .collect();
                Event::Answers(Answers { at, items, frame })
            }
            Event::Missed { points, times, cause } => {
                let points = points.into_iter().filter_map(|point| self.point(point)).collect();
                Event::Missed { points, times, cause }
            }
            Event::Fact(fact) => Event::Fact(self.fact(fact)?),
            // Dropping `taken` says that it was not.
            Event::Entry { fact, taken } => Event::Entry { fact: self.fact(fact)?, taken },
            Event::Lost(gap) => {
                let point = gap.point.map(|point| self.point(point));
                Event::Lost(Gap { point: point.flatten(), ..gap })
            }
            event @ (Event::Overrun { .. }
            | Event::Asked { .. }
            | Event::ServerTime { .. }
            | Event::Order { .. }
            | Event::Receipted(_)
            | Event::Gone(_)
            | Event::Reconfigure(_)
            | Event::Config { .. }) => event,
        })
    }

    fn fact(&self, fact: Fact) -> Option<Fact> {
        let device = self.device(fact.device)?;
        let mut body = fact.body;
        let moves = |point: &mut PointIx| {
            let here = self.point(*point);
            *point = here.unwrap_or(*point);
            here.is_some()
        };
        if let FactBody::Device(DeviceFact::Calibrated { uncertainty, corrections, .. }) = &mut body {
            for list in std::iter::once(uncertainty).chain(corrections) {
                list.retain_mut(|(point, _)| moves(point));
            }
        }
        if let FactBody::Device(DeviceFact::Placed { accepted: Some(accepted), .. }) = &mut body {
            accepted.compared.retain_mut(|compared| moves(&mut compared.point));
        }
        Some(Fact { device, at: fact.at, body })
    }
}

//! What the installation's pages show of a site: its buses and devices, who answers, and how far the acceptance has come. Pure.

use gateway_model::{EngineTime, Plan, PointIx, Quality, Text, Unit};

use crate::bus::health::Told;
use crate::config::Site;
use crate::install::{Device, Installation};
use crate::recorder::Snapshot;

/// Does a device answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// Every point of it has a reading.
    All,
    /// Some have, some have not.
    Some,
    /// None has.
    None,
    /// Nothing has been heard yet, and nothing has failed.
    Waiting,
}

/// One point as it is now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PointRow {
    pub(super) id: String,
    pub(super) name: Text,
    pub(super) value: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) quality: &'static str,
    pub(super) truth: bool,
    /// How long ago the last good answer came, ms; `None` = the last one was not.
    pub(super) age_ms: Option<i64>,
    /// How far it may be off.
    pub(super) accuracy: Option<f64>,
    pub(super) source: String,
}

/// One device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DeviceRow {
    pub(super) id: String,
    pub(super) name: Text,
    pub(super) bus: String,
    pub(super) answers: Answers,
    pub(super) points: Vec<PointRow>,
    pub(super) known: Device,
}

/// One bus, or the broker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BusRow {
    pub(super) name: String,
    pub(super) found: usize,
    pub(super) of: usize,
    pub(super) troubles: Vec<Text>,
}

/// A site on the day of its installation.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct View {
    pub(super) buses: Vec<BusRow>,
    pub(super) devices: Vec<DeviceRow>,
}

impl View {
    /// Everything that is installed: what the box tells of itself is not.
    pub(super) fn of(now: &Snapshot, site: &Site, told: &[Told], installation: &Installation) -> Self {
        let own = |id: &str| {
            let sense = |sense: &crate::config::SensePlan| site.plan.points.get(sense.point.slot());
            site.senses.iter().filter_map(sense).any(|point| point.id == id)
        };
        let mut view = Self::default();
        for (slot, device) in now.plan.devices.iter().enumerate() {
            let of_device = (0..).zip(&now.plan.points).filter(|(_, point)| point.device.slot() == slot);
            let rows = of_device
                .filter(|(_, point)| !own(&point.id))
                .map(|(ix, _)| point_row(now, site, PointIx(ix)))
                .collect::<Option<Vec<_>>>()
                .unwrap_or_default();
            if rows.is_empty() {
                continue;
            }
            view.devices.push(DeviceRow {
                id: device.id.clone(),
                name: device.name.clone(),
                bus: now.plan.buses.get(usize::from(device.bus)).cloned().unwrap_or_default(),
                answers: answers(&rows),
                points: rows,
                known: installation.device(&device.id),
            });
        }
        view.buses = buses(&now.plan, &view.devices, told);
        view
    }

    /// Devices that are accepted.
    pub(super) fn done(&self) -> usize {
        self.devices.iter().filter(|device| device.known.is_done()).count()
    }

    /// One of them.
    pub(super) fn device(&self, id: &str) -> Option<&DeviceRow> {
        self.devices.iter().find(|device| device.id == id)
    }
}

fn point_row(now: &Snapshot, site: &Site, ix: PointIx) -> Option<PointRow> {
    let point = now.plan.points.get(ix.slot())?;
    let last = now.points.get(ix.slot()).copied().flatten().map(|(_, quality)| quality);
    let number = last.and_then(Quality::number).and_then(|raw| raw.value(point.gain, point.offset));
    let answered: Option<EngineTime> = now.answering.get(ix.slot()).copied().flatten();
    let known = site.plan.points.iter().position(|known| known.id == point.id).map(PointIx::of);
    Some(PointRow {
        id: point.id.clone(),
        name: point.name.clone(),
        value: number,
        unit: if point.truth { Unit::Truth.symbol() } else { point.unit.symbol() },
        quality: super::quality(last),
        truth: point.truth,
        age_ms: answered.map(|at| now.now.since(at)),
        accuracy: known.and_then(|known| site.accuracy.get(&known).copied()),
        source: point.source.clone(),
    })
}

fn answers(rows: &[PointRow]) -> Answers {
    let there = rows.iter().filter(|row| row.age_ms.is_some()).count();
    match there {
        0 if rows.iter().all(|row| row.quality == "none") => Answers::Waiting,
        0 => Answers::None,
        _ if there == rows.len() => Answers::All,
        _ => Answers::Some,
    }
}

/// The buses that have devices, in the order of the site file.
fn buses(plan: &Plan, devices: &[DeviceRow], told: &[Told]) -> Vec<BusRow> {
    let row = |name: &String| {
        let on_it: Vec<_> = devices.iter().filter(|device| device.bus == *name).collect();
        (!on_it.is_empty()).then(|| BusRow {
            name: name.clone(),
            found: on_it.iter().filter(|device| device.answers == Answers::All).count(),
            of: on_it.len(),
            troubles: told.iter().filter(|told| told.bus == *name).map(|told| told.words.clone()).collect(),
        })
    };
    plan.buses.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(age_ms: Option<i64>, quality: &'static str) -> PointRow {
        PointRow {
            id: "d/t".into(),
            name: Text { zh: "温度".into(), en: "t".into() },
            value: None,
            unit: "°C",
            quality,
            truth: false,
            age_ms,
            accuracy: None,
            source: String::new(),
        }
    }

    #[test]
    fn a_device_answers_when_all_of_it_does() {
        let (there, gone, new) = (row(Some(3), "good"), row(None, "bad"), row(None, "none"));
        for (rows, expected) in [
            (vec![there.clone(), there.clone()], Answers::All),
            (vec![there.clone(), gone.clone()], Answers::Some),
            (vec![there, new.clone()], Answers::Some),
            (vec![gone.clone(), new.clone()], Answers::None),
            (vec![gone], Answers::None),
            (vec![new], Answers::Waiting),
        ] {
            assert_eq!(answers(&rows), expected, "{rows:?}");
        }
    }
}
